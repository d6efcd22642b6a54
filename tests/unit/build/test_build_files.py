# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build keeps beside the container storage: the logs, for its owner only, and not for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_files import BuildFiles


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_logs_of_the_last_ten_builds_stay_and_are_their_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    times = iter(range(100))
    monkeypatch.setattr(time, "strftime", lambda *_words: f"20261121T0000{next(times):02}Z")
    before = os.umask(umask)
    try:
        files = BuildFiles.create(tmp_path / "work", "image")
        logs = [files.new_log("0123456789ab") for _number in range(13)]
    finally:
        os.umask(before)
    assert sorted(files.directory.glob("*.log")) == logs[-10:]
    assert {log.stat().st_mode & 0o777 for log in logs[-10:]} == {0o600}
    assert files.directory.stat().st_mode & 0o077 == 0
