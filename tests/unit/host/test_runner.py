# SPDX-License-Identifier: GPL-3.0-or-later
"""Both runners, held to the same results: inside a module, and over a connection with and without pipelining."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Runner,
    ShellFailed,
    Step,
    parse_output,
    quote,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._wall_clock import bounded
from hypothesis import given, settings
from hypothesis import strategies as st


class LocalConnection:
    """As much of an Ansible connection as the runner looks at."""

    def __init__(self, become: Any, has_pipelining: bool = True) -> None:
        self.become = become
        self.has_pipelining = has_pipelining
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


class Become:
    def __init__(self, pipelining: bool) -> None:
        self.pipelining = pipelining


class LocalAction:
    """The low-level side of an ActionBase, on this machine. Without in_data it imitates a terminal: merged, CRLF."""

    def __init__(self, directory: Path, become: Any = None, has_pipelining: bool = True) -> None:
        self._connection = LocalConnection(become, has_pipelining)
        self.directory = directory
        self.environment: dict[str, str] = {}

    def _compute_environment_string(self, raw_environment_out: dict[str, Any]) -> str:
        raw_environment_out.update(self.environment)
        return ""

    def _low_level_execute_command(self, command: str, in_data: bytes | None = None) -> dict[str, Any]:
        if in_data is not None:
            done = subprocess.run(["/bin/sh", "-c", command], input=in_data, capture_output=True, check=False)
            return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}
        merged = subprocess.run(["/bin/sh", "-c", f"exec 2>&1; {command}"], capture_output=True, check=False)
        return {"rc": merged.returncode, "stdout": merged.stdout.decode().replace("\n", "\r\n"), "stderr": ""}

    def _make_tmp_path(self) -> str:
        path = self.directory / "tmp"
        path.mkdir()
        return f"{path}/"

    def _transfer_data(self, path: str, data: str) -> str:
        Path(path).write_text(data)
        return path

    def _fixup_perms2(self, paths: list[str]) -> None:
        assert all(Path(path).exists() for path in paths)

    def _remove_tmp_path(self, path: str) -> None:
        shutil.rmtree(path)


@pytest.fixture(params=["module", "connection", "sudo", "su", "paramiko"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    become = {"sudo": Become(True), "su": Become(False)}.get(request.param)
    return (
        LocalRunner()
        if request.param == "module"
        else ConnectionRunner(LocalAction(tmp_path, become, has_pipelining=request.param != "paramiko"))
    )


def test_streams_and_exit_codes_stay_apart(runner: Runner) -> None:
    outcomes = runner.run(
        [
            Step(("sh", "-c", "echo out; echo err >&2; exit 3")),
            Step(("printf", "no newline at the end")),
            Step(("true",)),
        ]
    )
    assert [(o.rc, o.stdout, o.stderr) for o in outcomes] == [
        (3, "out\n", "err\n"),
        (0, "no newline at the end", ""),
        (0, "", ""),
    ]
    assert runner.trips == 1


def test_words_reach_the_command_as_they_are(runner: Runner) -> None:
    words = ("a b", "it's", '"', "$HOME", "`id`", "\\", "*", "", "-n", "new\nline", "ünï")
    outcome = runner.run_one(Step(("printf", "%s|", *words)))
    assert outcome.stdout == "|".join(words) + "|"


def test_standard_input_is_empty(runner: Runner) -> None:
    assert runner.run_one(Step(("cat",))).stdout == ""
    assert runner.run_one(Step(("cat",), timeout=5)).stdout == ""


def test_a_missing_command_is_told_from_a_failing_one(runner: Runner) -> None:
    missing, bounded, failing = runner.run(
        [Step(("no-such-tool",)), Step(("no-such-tool",), timeout=5), Step(("false",))]
    )
    assert (missing.missing, bounded.missing, failing.missing) == (True, True, False)


def test_a_deadline_ends_a_step_and_the_batch_goes_on(runner: Runner) -> None:
    late, next_one = runner.run([Step(("sleep", "30"), timeout=1), Step(("echo", "after"))])
    assert (late.timed_out, late.ok) == (True, False)
    assert (next_one.stdout, next_one.timed_out) == ("after\n", False)


def test_a_step_that_is_in_time_is_not_called_late(runner: Runner) -> None:
    outcome = runner.run_one(Step(("sh", "-c", "exit 5"), timeout=30))
    assert (outcome.rc, outcome.timed_out) == (5, False)


def test_a_closed_gate_stops_all_but_what_is_always_run(runner: Runner) -> None:
    gate, skipped, always = runner.run(
        [Step(("false",), gate=True), Step(("echo", "no")), Step(("echo", "yes"), always=True)]
    )
    assert (gate.rc, skipped.ran, always.stdout) == (1, False, "yes\n")


def test_a_late_step_closes_its_gate(runner: Runner) -> None:
    _late, skipped = runner.run(
        [Step(("sh", "-c", "trap 'exit 0' TERM; sleep 30 & wait"), timeout=1, gate=True), Step(("true",))]
    )
    assert not skipped.ran


def test_a_fallback_runs_only_after_a_failure(runner: Runner) -> None:
    outcomes = runner.run(
        [Step(("true",)), Step(("echo", "a"), fallback=True), Step(("false",)), Step(("echo", "b"), fallback=True)]
    )
    assert [outcome.ran for outcome in outcomes] == [True, False, True, True]


def test_much_output_and_a_long_script(runner: Runner) -> None:
    word = "x" * 1000
    outcomes = runner.run([Step(("printf", "%s\n", *[word] * 100)) for _unused in range(30)])
    assert [len(outcome.stdout) for outcome in outcomes] == [100 * 1001] * 30


def test_a_connection_that_ends_early_is_unreachable() -> None:
    steps = [Step(("true",)), Step(("true",))]
    with pytest.raises(NodeUnreachable, match="still working"):
        parse_output(steps, "mark", "mark ready\nmark begin 0\n\nmark end 0 0 0\n", "")


class Failing(LocalAction):
    def _low_level_execute_command(self, command: str, in_data: bytes | None = None) -> dict[str, Any]:
        raise AnsibleConnectionFailure("no route to host")


def test_a_failed_connection_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable, match="no route to host"):
        ConnectionRunner(Failing(tmp_path)).run_one(Step(("true",)))


class NoPrivileges(LocalAction):
    def _low_level_execute_command(self, command: str, in_data: bytes | None = None) -> dict[str, Any]:
        return {"rc": 1, "stdout": "", "stderr": "sudo: a password is required\n"}


def test_a_shell_that_does_not_answer_says_why(tmp_path: Path) -> None:
    with pytest.raises(ShellFailed, match="a password is required"):
        ConnectionRunner(NoPrivileges(tmp_path)).run_one(Step(("true",)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=8), min_size=1, max_size=4))
def test_any_words_survive_the_shell(words: list[str]) -> None:
    assert LocalRunner().run_one(Step(("printf", "%s|", *words))).stdout == "|".join(words) + "|"


class Vanishing(LocalAction):
    """A node that takes the command and never answers: what a power cut looks like from the other end of an ssh."""

    def _low_level_execute_command(self, command: str, in_data: bytes | None = None) -> dict[str, Any]:
        try:
            time.sleep(60)
        except Exception as error:
            raise AssertionError("a connection plugin would try again, for ever") from error
        raise AssertionError("nobody ended the wait")


def test_a_node_that_vanishes_in_mid_command_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.runner._CONNECTION_SECONDS", 1)
    monkeypatch.setattr(
        "ansible_collections.imagemode.nodes.plugins.module_utils._host.runner._GRACE_SECONDS_OTHERS", 0
    )
    action = Vanishing(tmp_path)
    with pytest.raises(NodeUnreachable, match="did not answer within 2 s"):
        ConnectionRunner(action).run_one(Step(("true",), timeout=1))
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert action._connection.resets == 1, "the next task must not inherit a connection that hangs"


def test_clean_up_on_a_dead_connection_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.plugin_utils._wall_clock._AGAIN", 1)
    monkeypatch.setattr(Vanishing, "_remove_tmp_path", lambda *_: time.sleep(60))
    with pytest.raises(NodeUnreachable, match="did not answer within 1 s"):
        ConnectionRunner(Vanishing(tmp_path, Become(False)))._execute("true", 1)


def test_the_alarm_of_a_task_keeps_its_own_deadline() -> None:
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_unused: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with bounded(60):
            time.sleep(0.5)
        with bounded(1):
            time.sleep(0.01)
        assert rung == [True]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@given(st.binary(min_size=1, max_size=5000))
@settings(max_examples=30, deadline=None)
def test_what_a_command_shall_read_arrives_byte_for_byte(content: bytes) -> None:
    outcomes = LocalRunner().run(
        [
            Step(("od", "-An", "-v", "-tx1"), timeout=20, input=content),
            Step(("wc", "-c"), input=content),
            Step(("cat",)),
        ]
    )
    assert bytes.fromhex("".join(outcomes[0].stdout.split())) == content
    assert int(outcomes[1].stdout) == len(content)
    assert outcomes[2].stdout == "", "a step without input reads nothing"


def test_every_way_to_the_node_carries_input(runner: Runner) -> None:
    assert (
        runner.run_one(Step(("cat",), timeout=20, input=b"one\n$HOME `id` 'two'\n")).stdout == "one\n$HOME `id` 'two'\n"
    )


def test_a_step_can_ask_for_another_signal_than_term() -> None:
    program = (
        "import signal, sys, time\n"
        "def stop(number, frame):\n    print(signal.Signals(number).name, flush=True)\n    sys.exit(3)\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n    signal.signal(number, stop)\n"
        "time.sleep(60)"
    )
    outcome = LocalRunner().run_one(Step((sys.executable, "-c", program), timeout=2, signal="INT"))
    assert outcome.timed_out
    assert outcome.stdout.strip() == "SIGINT"


@pytest.mark.parametrize("become", [None, Become(False)], ids=["stdin", "file"])
def test_the_environment_of_the_task_reaches_the_command(become: Any, tmp_path: Path) -> None:
    action = LocalAction(tmp_path, become)
    action.environment = {"https_proxy": "http://user:pass'word $(id)@proxy.example.com:3128"}
    outcome = ConnectionRunner(action).run_one(Step(("sh", "-c", 'printf %s "$https_proxy"'), timeout=20))
    assert outcome.stdout == "http://user:pass'word $(id)@proxy.example.com:3128"


def test_what_is_no_variable_never_reaches_the_shell(tmp_path: Path) -> None:
    action = LocalAction(tmp_path)
    action.environment = {"a; touch /tmp/x;": "1"}
    with pytest.raises(ShellFailed, match="not the name of an environment variable"):
        ConnectionRunner(action).run_one(Step(("true",)))


def test_a_word_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote(["echo", "a\0b"])


def test_an_end_line_that_somebody_wrote_into_is_not_believed() -> None:
    stream = "m ready\nm begin 0\nout\nm end 0 0 Broadcast message\nm done\n"
    with pytest.raises(ShellFailed, match="Something else wrote"):
        parse_output([Step(("true",))], "m", stream, "")
