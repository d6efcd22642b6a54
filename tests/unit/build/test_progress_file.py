# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that tells how far a build is: whole, private, seldom written, never in the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import progress_file
from ansible_collections.imagemode.nodes.plugins.module_utils._build.progress_file import ProgressFile
from ansible_collections.imagemode.nodes.plugins.module_utils._build.sent_bytes import bytes_sent_by_children


def note_when(path: Path, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first note that `holds`. Every note on the way is whole."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            found = {}
        if found and holds(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"never so: {path.read_text() if path.exists() else 'no file'}")


def test_it_is_there_while_the_build_runs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "progress-1.json"
    progress = ProgressFile(path)
    progress.log("/var/log/build.log")
    progress.phase("Containerfile", 1, 2)
    progress.read("STEP 3/4: RUN true")
    found = note_when(path, lambda note: "step" in note)
    assert (found["doing"], found["log"]) == ("Containerfile (1 of 2): step 3 of 4: RUN true", "/var/log/build.log")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    progress.push_began(5_000_000)
    progress.push_read(f"Copying blob sha256:{'a' * 64}")
    found = note_when(path, lambda note: note.get("push", {}).get("layers") == 1)
    assert (found["doing"], found["log"]) == ("pushing: 0 of 1 layers, 0 of 5 MB", "/var/log/build.log")
    progress.end()
    assert list(path.parent.iterdir()) == []


def test_the_last_of_many_lines_is_told_although_nothing_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    progress = ProgressFile(path)
    for number in range(1, 2000):
        progress.read(f"STEP {number}/1999: RUN true")
    assert note_when(path, lambda note: note["step"]["number"] == 1999)
    progress.end()


def test_it_is_written_at_most_twice_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[float] = []
    write = ProgressFile._write

    def count(self: ProgressFile) -> None:
        written.append(time.monotonic())
        write(self)

    monkeypatch.setattr(ProgressFile, "_write", count)
    progress = ProgressFile(tmp_path / "progress.json")
    end = time.monotonic() + 1.6
    number = 0
    while time.monotonic() < end:
        number += 1
        progress.read(f"STEP {number}: RUN true")
    progress.end()
    assert len(written) >= 2
    assert min(later - earlier for earlier, later in zip(written, written[1:])) >= 0.45


def test_without_a_path_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    progress = ProgressFile(None)
    progress.phase("base", 1, 1)
    progress.read("STEP 1/1: FROM scratch")
    progress.push_began(None)
    progress.push_read("Copying blob")
    progress.log(tmp_path / "log")
    progress.end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/below", "directory"])
def test_a_place_that_cannot_be_written_is_no_failure(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory").mkdir()
    progress = ProgressFile(tmp_path / place)
    progress.phase("base", 1, 1)
    time.sleep(0.7)
    progress.read("STEP 1/1: FROM scratch")
    progress.end()
    assert (tmp_path / "file").read_text() == "x"


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / ".progress.json.new").symlink_to("precious")
    progress = ProgressFile(tmp_path / "progress.json")
    progress.phase("base", 1, 1)
    note_when(tmp_path / "progress.json", lambda note: bool(note["doing"]))
    progress.end()
    assert (tmp_path / "precious").read_text() == "x"


def test_files_of_builds_that_were_killed_go_after_a_day(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in ("progress-1.json", "progress-2.json", "layers.json"))
    for path in (old, young, other):
        path.write_text("{}")
    past = time.time() - progress_file.LEFTOVER_SECONDS - 10
    os.utime(old, (past, past))
    os.utime(other, (past, past))
    ProgressFile(tmp_path / "progress-3.json").end()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layers.json", "progress-2.json"]


SENDER = """
import os, socket, sys, tempfile
with tempfile.TemporaryFile(dir=sys.argv[2]) as spool:
    spool.write(b"x" * 3_000_000)
    spool.flush()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        left = 2_000_000
        while left:  # with write(2), as Go does; what goes through send(2) is not counted
            left -= os.write(connection.fileno(), b"y" * min(left, 65536))
        print("sent", flush=True)
        sys.stdin.read()
"""


def test_what_a_child_sends_is_counted_and_what_it_writes_to_a_disk_is_not(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        before = bytes_sent_by_children()
        child = subprocess.Popen(
            [
                "sh",
                "-c",
                '"$@"; true',
                "sh",
                sys.executable,
                "-c",
                SENDER,
                str(listener.getsockname()[1]),
                str(tmp_path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        connection, _address = listener.accept()
        received = 0
        while received < 2_000_000:
            received += len(connection.recv(65536))
        sent = bytes_sent_by_children() - before
        child.communicate()
        connection.close()
    if sent == 0:
        pytest.skip("this kernel does not count what processes write")
    on_disk = subprocess.run(
        ["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert sent == pytest.approx(2_000_000 if on_disk.strip() != "tmpfs" else 5_000_000, abs=100_000)


def test_a_system_without_proc_counts_nothing(tmp_path: Path) -> None:
    assert bytes_sent_by_children(tmp_path) == 0
