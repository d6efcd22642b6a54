# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another controller is still there, and who of one controller's workers stands first: with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.plugin_utils import _rollout_controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_line import Announcer, WaitingLine

ALIVE, DEAD, UNKNOWN = Liveness.ALIVE, Liveness.DEAD, Liveness.UNKNOWN


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says which machine this is; in a container there may be none."""
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef" * 2, encoding="ascii")
    monkeypatch.setattr(_rollout_controller, "_MACHINE_ID", (file,))
    return file


@pytest.mark.parametrize("content", [None, "", "uninitialized\n"])
def test_a_machine_that_cannot_be_told_from_others_proves_nobody_dead(content: str | None, machine_id: Path) -> None:
    machine_id.unlink()
    if content is not None:
        machine_id.write_text(content, encoding="ascii")
    controller = Controller()
    assert controller.holder.machine == ""
    assert controller.liveness(controller.holder) is ALIVE
    assert controller.liveness(replace(controller.holder, boot="an earlier boot")) is UNKNOWN


def test_this_process_is_alive() -> None:
    controller = Controller()
    assert controller.holder.pid == os.getpid()
    assert controller.liveness(controller.holder) is ALIVE
    assert controller.liveness(replace(controller.holder, start_time="")) is ALIVE
    assert not controller.is_gone


@pytest.mark.parametrize(
    ("change", "liveness"),
    [
        ({"host": "elsewhere"}, UNKNOWN),
        ({"pid_namespace": "pid:[1]"}, UNKNOWN),
        ({"boot": "an earlier boot of this machine"}, DEAD),
        ({"boot": "the boot of another machine of this name", "machine": "f" * 32}, UNKNOWN),
        ({"boot": "the boot of a machine without a name of its own", "machine": ""}, UNKNOWN),
        ({"boot": ""}, UNKNOWN),
        ({"start_time": "1"}, DEAD),
        ({"user": "somebody", "job": "7"}, ALIVE),
    ],
)
def test_another_process_with_the_same_number(change: dict[str, str], liveness: Liveness, machine_id: Path) -> None:
    controller = Controller()
    assert controller.holder.machine == machine_id.read_text(encoding="ascii")
    assert controller.liveness(replace(controller.holder, **change)) is liveness  # type: ignore[arg-type]


@pytest.mark.parametrize("reap", [True, False])
def test_a_killed_process_is_dead_even_if_nobody_waited_for_it(reap: bool) -> None:
    controller = Controller()
    with subprocess.Popen(["sleep", "60"]) as process:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
        started = stat.rpartition(")")[2].split()[19]
        holder = replace(controller.holder, pid=process.pid, start_time=started)
        assert controller.liveness(holder) is ALIVE
        process.kill()
        if reap:
            process.wait()
            assert controller.liveness(replace(holder, start_time="")) is DEAD
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert controller.liveness(holder) is DEAD


ORPHAN = """
import multiprocessing, os, sys, time
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller

def work():
    controller = Controller()
    print(controller.holder.pid == os.getppid(), controller.is_gone, flush=True)
    while not controller.is_gone:
        time.sleep(0.05)
    print("gone", flush=True)

multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(60)
"""


def test_a_worker_holds_in_its_parents_name_and_sees_it_die() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "True False\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.readline() == "gone\n"


def test_holder_in_words() -> None:
    assert str(Holder("ctl", 7)) == "process 7 on ctl"
    assert str(Holder("ctl", 7, user="ann", job="42")) == "process 7 of ann on ctl (job 42)"


STAND = """
import os, sys
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_line import WaitingLine
line = WaitingLine(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), Holder(sys.argv[2], 7), int(sys.argv[3]))
print("standing", flush=True)
sys.stdin.readline()
"""


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


@contextlib.contextmanager
def standing(path: Path, host: str, position: int, program: str = STAND) -> Iterator[subprocess.Popen[str]]:
    """Another process that stands in line until the end of the block."""
    argv = [sys.executable, "-c", program, str(path), host, str(position)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "standing\n"
        yield process
        process.kill()


def test_the_head_of_the_line(tmp_path: Path) -> None:
    path = tmp_path / "line"
    line = WaitingLine(opened(path), Holder("here", 7), position=3)
    assert line.is_head
    with standing(path, "here", 4), standing(path, "far", 1), standing(path, "far", 3):
        assert line.is_head
        with standing(path, "here", 1) as before:
            assert not line.is_head
            before.kill()
            before.wait()
            assert line.is_head
    line.close()


def test_a_place_that_is_taken_is_waited_for_and_not_an_error(tmp_path: Path) -> None:
    """As if two controllers had one hash. The first to come has the place; the other gets it afterwards."""
    path = tmp_path / "line"
    with standing(path, "here", 1) as first:
        line = WaitingLine(opened(path), Holder("here", 7), 1)
        assert line.is_head
        first.kill()
        first.wait()
    line.join()
    says_where = STAND.replace('"standing"', '"first" if line.is_head else "standing"')
    with standing(path, "here", 2, says_where):
        pass
    line.close()


def test_who_steps_aside_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "line"
    line = WaitingLine(opened(path), Holder("here", 7), 1)
    with standing(path, "here", 0, STAND.replace("print", "line.step_aside(); print")):
        assert line.is_head
    line.close()


def test_the_announcer_says_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    said: list[str] = []
    announcer = Announcer(said.append)
    for at, key in [(0.0, "a"), (5.0, "a"), (6.0, "b"), (6.5, "c"), (7.5, "c"), (20.0, "c"), (38.0, "c")]:
        now[0] = 1000.0 + at
        announcer.tell(key, lambda at=at, key=key: f"{at:g} {key}")  # type: ignore[misc]
    assert said == ["0 a", "6 b", "7.5 c", "38 c"]
