# SPDX-License-Identifier: GPL-3.0-or-later
"""`--progress-fd`: the recorded events in the recorded order, and nothing where there is nothing to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from recorded import Reducer, row
from recorded_world import HostUnderTest
from test_recordings import repeat

MakeHost = Callable[..., HostUnderTest]
FILE = "45-progress-events"
SIZES = ("bytes", "bytesCached", "bytesTotal")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def stages(text: str) -> list[Any]:
    """The events with names for digests and without sizes; of those that only count bytes, the last of each step."""
    reducer, found = Reducer(), []
    for event in events(text):
        shape = json.loads(json.dumps(event), object_hook=lambda one: {k: v for k, v in one.items() if k not in SIZES})
        for subtask in shape.get("subtasks", []):
            for key in ("id", "description"):
                if event["task"] == "pulling":
                    subtask[key] = "LAYER"
        if shape.get("task") == "pulling" and any(
            part["bytes"] < part["bytesTotal"] or part["bytes"] > part["bytesTotal"] for part in event["subtasks"]
        ):
            continue
        found.append(reducer.document(shape))
    return found


def test_a_pull_of_several_layers_tells_what_the_recorded_one_told(make_host: MakeHost) -> None:
    host = make_host("os:v3")
    recorded = row(FILE, "02-switch-progress-pipe")
    out = host.ok(f"bootc switch --progress-fd 3 {host.world.open}/os:multi 3>&1 >/tmp/out")
    assert stages(out) == stages(recorded.stdout)
    assert out.splitlines()[0] == recorded.stdout.splitlines()[1] == '{"type":"Start","version":"0.1.0"}'
    total = events(out)[-8]
    assert total["bytes"] == total["bytesTotal"] == sum(part["bytes"] for part in total["subtasks"])
    theirs, ours = Reducer(), Reducer()
    recorded_out = row(FILE, "02b-stdout-of-it").stdout
    assert ours.text(host.ok("cat /tmp/out")) == theirs.text(recorded_out)


def test_cached_layers_are_left_out_of_the_total(make_host: MakeHost) -> None:
    host = make_host("os:b116")
    out = host.ok(
        "mkfifo /tmp/ff; cat /tmp/ff > /tmp/told & "
        f"bootc switch --progress-fd 3 {host.world.open}/os:etc1 3>/tmp/ff; wait; cat /tmp/told"
    )
    pulling = [event for event in events(out) if event.get("task") == "pulling"]
    assert pulling[-1]["bytesCached"] > 0
    assert pulling[-1]["bytesTotal"] == pulling[-1]["bytes"] < pulling[-1]["bytesCached"]
    assert stages(out) == stages(row(FILE, "09-progress-fifo").stdout)


def test_wrong_descriptors_errors_and_nothing_to_do_are_as_recorded(make_host: MakeHost) -> None:
    host = make_host()
    for name in ("06-progress-badfd", "07-progress-fd-1"):
        repeat(host, row(FILE, name), Reducer(), Reducer())
    done = host.sh(f"bootc switch --progress-fd 3 {host.world.open}/os:v2 3>/tmp/file")
    assert (done.returncode, done.stderr) == (1, row(FILE, "01-switch-progress-file").stderr)
    quiet = host.sh(f"bootc switch --progress-fd 3 {host.world.open}/os:v1 3>&1 >/tmp/out; cat /tmp/out")
    assert quiet.stdout == row(FILE, "03-progress-noop").stdout
    error = host.sh(f"bootc switch --progress-fd 3 {host.world.open}/os:nosuch 3>&1 >/tmp/out; cat /tmp/out")
    assert error.stdout == ""
    assert "manifest unknown" in error.stderr
    host.ok(f"bootc switch {host.world.open}/os:v2")
    assert events(host.ok("bootc upgrade --progress-fd 3 3>&1 >/tmp/out")) == []


def test_a_reader_that_goes_away_does_not_stop_the_pull(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("slow-pull", seconds=1.0)
    done = host.sh(
        f"mkfifo /tmp/gone; (head -n 1 /tmp/gone > /tmp/first) & bootc switch --progress-fd 3 {host.world.open}/os:v2 3>/tmp/gone"
    )
    assert done.returncode == 0
    assert "Failed to write to jsonl: Broken pipe (os error 32)\n" in done.stderr
    assert "Queued for next boot" in done.stdout


def test_a_pull_at_a_set_pace_tells_of_bytes_as_they_arrive(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("slow-pull", bytes_per_second=2_000_000)
    out = host.ok(f"bootc switch --progress-fd 3 {host.world.open}/os:v2 3>&1 >/tmp/out")
    counted = [event["bytes"] for event in events(out) if event.get("task") == "pulling"]
    assert len(counted) >= 2
    assert counted == sorted(counted)


@pytest.mark.parametrize(("version", "rc"), [("1.1.3", 2), ("1.1.4", 0)])
def test_the_option_came_with_1_1_4(make_host: MakeHost, version: str, rc: int) -> None:
    host = make_host(bootc=version)
    done = host.sh(f"bootc switch --progress-fd 3 {host.world.open}/os:v1 3>&1 >/tmp/out 2>/tmp/err")
    assert done.returncode == rc
