# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the container tools: what comes back from them."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import capture, stream
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    FailureCategory,
    build_failure,
    registry_failure,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile

LATIN_1 = "printf 'Stra\\337e\\n'"


def test_output_that_is_not_utf_8_reaches_a_result(tmp_path: Path) -> None:
    lines: list[str] = ["STEP 2/2: RUN a"]

    def note(line: str) -> bool:
        lines.append(line)
        return True

    assert stream(["sh", "-c", f"{LATIN_1}; exit 3"], tmp_path / "log", 10, note) == 3
    failure = build_failure(Containerfile.parse("FROM a.io/x\nRUN a\n"), lines, 3, "a.io/x", None)
    assert failure.excerpt == ("Stra\ufffde",)
    json.dumps(failure.as_result(), ensure_ascii=False).encode()
    assert (tmp_path / "log").read_bytes() == b"Stra\xdfe\n"


def test_errors_that_are_not_utf_8_reach_a_result() -> None:
    done = capture(["sh", "-c", f"{LATIN_1}; {LATIN_1} >&2"], 10)
    assert (done.raw, done.output, done.errors) == (b"Stra\xdfe\n", "Stra\ufffde\n", "Stra\ufffde\n")
    failure = registry_failure(FailureCategory.REGISTRY, "resolve", "r.io/os:1", done.errors, None)
    json.dumps(failure.as_result(), ensure_ascii=False).encode()
