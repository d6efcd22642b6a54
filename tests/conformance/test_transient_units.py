# SPDX-License-Identifier: GPL-3.0-or-later
"""Transient units and bootc's progress, held to recordings 47 and 45.

Not compared: the journal that some recorded commands print behind what systemctl says (the lab has none), times, process
numbers and invocations, and whether systemd-run knew the invocation yet when it spoke (the recordings have both).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from recorded import Reducer, Row, row
from recorded_world import HostUnderTest

FILE = "47-systemd-run"
MakeHost = Callable[..., HostUnderTest]

_VARIABLE = (
    (re.compile(r"; invocation ID: [0-9a-f]{32}"), ""),
    (re.compile(r"InvocationID=[0-9a-f]{32}"), "InvocationID=ID"),
    (re.compile(r"(MainPID|ExecMainPID)=[1-9]\d*"), r"\1=PID"),
    (re.compile(r"(Service runtime|CPU time consumed): .*"), r"\1: SOME"),
    (re.compile(r"(Pruned images|Freed|layers already present): .*\n"), ""),
)


def reduced(text: str) -> list[str]:
    for pattern, replacement in _VARIABLE:
        text = pattern.sub(replacement, text)
    return Reducer().text(text).splitlines()


def run(host: HostUnderTest, recorded: Row) -> tuple[int, list[str], list[str]]:
    done = host.sh(host.world.translate(recorded.command))
    return done.returncode, reduced(done.stdout), reduced(done.stderr)


def test_a_unit_that_succeeded_is_not_known_any_more(make_host: MakeHost) -> None:
    host = make_host()
    first = row(FILE, "01-stage-wait")
    assert run(host, first) == (first.rc, reduced(first.stdout), reduced(first.stderr))
    shown = row(FILE, "02-show-after")
    command = shown.command.partition(";")[0]
    assert host.ok(command).splitlines() == shown.stdout.splitlines()[:6]


def test_a_unit_that_failed_keeps_its_name(make_host: MakeHost) -> None:
    host = make_host()
    for name in ("03-fail-wait", "04-fail-again-same-name", "05-fail-reset"):
        recorded = row(FILE, name)
        assert run(host, recorded) == (recorded.rc, reduced(recorded.stdout), reduced(recorded.stderr)), name


def test_a_pipe_keeps_the_streams_apart(make_host: MakeHost) -> None:
    recorded = row(FILE, "06-pipe-wait")
    assert run(make_host(), recorded) == (recorded.rc, reduced(recorded.stdout), reduced(recorded.stderr))


def test_a_running_unit_refuses_a_second_start(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    for name in ("07-noblock-start", "08-second-start-while-running", "09-is-active"):
        recorded = row(FILE, name)
        assert run(host, recorded) == (recorded.rc, reduced(recorded.stdout), reduced(recorded.stderr)), name
    host.node.clear("registry-stalls")
    ended = row(FILE, "10-after")
    host.wait_until(lambda: host.sh("systemctl is-active imagemode-stage").stdout == "inactive\n")
    assert host.sh(ended.command.partition("; journalctl")[0]).stdout.splitlines() == ended.stdout.splitlines()[:8]


def test_remaining_after_exit_tells_success(make_host: MakeHost) -> None:
    host = make_host()
    recorded = row(FILE, "11-remain-after-exit")
    start, _semicolon, show = recorded.command.replace("sleep 12; ", "").partition("; ")
    host.ok(host.world.translate(start))
    host.wait_until(lambda: host.ok("systemctl show imagemode-keep -p SubState --value") == "exited\n")
    assert host.ok(show) == recorded.stdout
    again = row(FILE, "12-remain-second-start")
    assert run(host, again) == (again.rc, reduced(again.stdout), reduced(again.stderr))


def test_stopping_a_running_unit_stages_nothing(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    recorded = row(FILE, "15-stop-while-running")
    done = host.sh(host.world.translate(recorded.command.partition("; journalctl")[0]))
    assert done.stdout.splitlines() == recorded.stdout.splitlines()[:6]
    assert json.loads(host.ok("bootc status --json"))["status"]["staged"] is None


def test_the_environment_is_the_managers(make_host: MakeHost) -> None:
    host = make_host()
    recorded = row(FILE, "16-env")

    def environment(text: str) -> dict[str, str]:
        return dict(line.partition("=")[::2] for line in text.splitlines())

    command = recorded.command.replace(" env", " sh -c env")  # these images have a shell, and all else within it
    here, there = environment(host.ok(f"export http_proxy=x FOO=bar; {command}")), environment(recorded.stdout)
    same = ("LANG", "PATH", "USER")
    assert {key: here[key] for key in same} == {key: there[key] for key in same}
    assert "INVOCATION_ID" in here
    assert set(here) - set(there) <= {"LAB_NODE", "LAB_UNIT", "PWD", "SHLVL"}


def test_a_unit_that_runs_out_of_time(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    recorded = row(FILE, "17-runtime-max")
    assert run(host, recorded) == (recorded.rc, reduced(recorded.stdout), reduced(recorded.stderr))


def test_no_unit_survives_a_reboot(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("systemd-run --unit=imagemode-stage -p RemainAfterExit=yes sh -c true")
    host.ok("systemd-run --unit=other sh -c 'sleep 300'")
    assert host.ok("systemctl is-active imagemode-stage other") == "active\nactive\n"
    host.reboot()
    recorded = row(FILE, "18-show-after-reboot")
    assert host.ok(recorded.command.partition("; journalctl")[0]).splitlines() == recorded.stdout.splitlines()[:4]
    assert host.sh("systemctl is-active other").stdout == "inactive\n"


def test_a_unit_outlives_the_session_that_started_it(make_host: MakeHost) -> None:
    host = make_host()
    session = host.start(
        "systemd-run --quiet --unit=imagemode-kill sh -c 'sleep 1; touch /run/survived'; exec sleep 60"
    )
    host.wait_until(lambda: host.sh("systemctl is-active imagemode-kill").stdout == "active\n")
    session.kill()
    session.communicate()
    host.wait_until(lambda: host.sh("test -e /run/survived").returncode == 0)


def test_the_right_signal_reaches_the_main_process(make_host: MakeHost) -> None:
    """Documented in systemd.kill(5); `mixed` spares the others until the main process is gone."""
    host = make_host()
    script = "trap 'echo INT >/run/got; exit 1' INT; while :; do sleep 0.1; done"
    host.ok(
        f'systemd-run --quiet --unit=u -p KillSignal=SIGINT -p KillMode=mixed -p RemainAfterExit=yes sh -c "{script}"'
    )
    host.wait_until(lambda: host.sh("systemctl show u -p SubState --value").stdout == "running\n")
    host.ok("sleep 0.3; systemctl stop u")
    assert host.ok("cat /run/got") == "INT\n"
    assert host.ok("systemctl show u -p ActiveState -p Result -p ExecMainStatus --value").split() == [
        "failed",
        "exit-code",
        "1",
    ]


def test_a_unit_that_ignores_its_signal_is_killed(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("systemd-run --quiet --unit=u -p TimeoutStopSec=1 sh -c \"trap '' TERM; while :; do sleep 0.1; done\"")
    host.ok("sleep 0.3; systemctl stop u")
    assert host.ok("systemctl show u -p Result -p ExecMainCode -p ExecMainStatus --value").split() == [
        "timeout",
        "2",
        "9",
    ]


@pytest.mark.parametrize(
    ("timer", "tool"), [("bootc-fetch-apply-updates", "bootc"), ("rpm-ostreed-automatic", "rpm-ostree")]
)
def test_update_timers_come_with_their_tool(make_host: MakeHost, timer: str, tool: str) -> None:
    host = make_host()
    asked = f"systemctl is-active sshd {timer}.timer"
    assert host.ok(asked) == "active\ninactive\n"
    host.ok(f"systemctl enable --now {timer}.timer")
    assert host.ok(asked) == "active\nactive\n"
    host.reboot()
    assert host.ok(asked) == "active\nactive\n"
    host.ok(f"systemctl disable --now {timer}.timer")
    assert host.sh(f"systemctl is-active {timer}.timer").returncode == 3
    without = make_host(versions={"bootc": "1.16.9", "rpm-ostree": "2026.2", tool: None})
    assert without.sh(f"systemctl is-active {timer}.timer").returncode == 4
    assert without.sh(f"systemctl enable {timer}.timer").returncode == 1


class TestProgress:
    FILE = "45-progress"

    def events(self, text: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def test_events_have_the_recorded_shape(self, make_host: MakeHost) -> None:
        host = make_host()
        recorded = row(self.FILE, "09-progress-fifo")
        here = self.events(host.ok(host.world.translate(recorded.command)))
        there = self.events(recorded.stdout)

        def shapes(events: list[dict[str, Any]]) -> dict[str, Any]:
            return {
                f"{event['type']} {event.get('task')}": (
                    sorted(event),
                    sorted({key for subtask in event.get("subtasks", []) for key in subtask}),
                )
                for event in events
            }

        expected = shapes(there)
        assert {key: value for key, value in shapes(here).items() if key in expected} == expected
        assert here[0] == there[0]

    @pytest.mark.parametrize("name", ["01-switch-progress-file", "06-progress-badfd", "07-progress-fd-1"])
    def test_what_is_no_pipe_is_refused(self, make_host: MakeHost, name: str) -> None:
        host = make_host()
        recorded = row(self.FILE, name)
        done = host.sh(host.world.translate(recorded.command))
        assert (done.returncode, done.stdout, done.stderr) == (recorded.rc, recorded.stdout, recorded.stderr)

    def test_nothing_to_pull_is_no_progress(self, make_host: MakeHost) -> None:
        host = make_host()
        done = host.ok(
            f"mkfifo /run/f; cat /run/f & bootc switch --progress-fd 3 {host.world.open}/os:v1 3>/run/f; wait"
        )
        assert done == row(self.FILE, "03-progress-noop").stdout
