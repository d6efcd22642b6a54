# SPDX-License-Identifier: GPL-3.0-or-later
"""When a task's work began and how long it took, for whoever draws a picture of many of them."""

from __future__ import annotations

import time
from typing import Any


class Stopwatch:
    """Runs from its creation. The clock of the day tells when; how long is measured by one that nobody sets."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self._started = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """`started_at`, seconds since 1970, and `seconds` until now, rounded to a tenth."""
        return {"started_at": round(self._started_at, 3), "seconds": round(time.monotonic() - self._started, 1)}
