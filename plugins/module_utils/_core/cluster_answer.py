# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server answered, and what it means for somebody who may try again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TOLD_AT_MOST = 300
# Passing states of a server or of a load balancer before it: overloaded, starting, restarting.
_PASSING = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """An answer to one call. `headers` has names in lower case; `body` is empty where the answer was no JSON object."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    @property
    def is_passing(self) -> bool:
        """Whether the same call may succeed a little later, without anybody changing anything."""
        return self.status in _PASSING

    @property
    def told(self) -> str:
        """The server's own words, cut to 300 characters."""
        message = self.body.get("message") if self.body.get("kind") == "Status" else None
        words = " ".join(str(message or "no reason given").split())
        return words if len(words) <= _TOLD_AT_MOST else words[:_TOLD_AT_MOST] + "…"

    @property
    def causes(self) -> tuple[Mapping[str, Any], ...]:
        """`details.causes` of a Status: dicts with `reason` and `message`."""
        details = self.body.get("details")
        causes = details.get("causes") if isinstance(details, Mapping) else None
        return tuple(cause for cause in causes or () if isinstance(cause, Mapping))

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait, from the header or the Status; None if it does not say."""
        details = self.body.get("details")
        for given in (self.headers.get("retry-after"), (details or {}).get("retryAfterSeconds")):
            if re.fullmatch("[0-9]{1,6}", str(given)) and float(str(given)) > 0:
                return float(str(given))
        return None
