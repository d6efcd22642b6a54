# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a transient unit: the real shell texts against a systemd of two scripts, and a transport that can fail.

How it behaves with two controllers, stalled registries and both tools is in tests/scenarios/test_long_work.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.long_work import (
    LongOutcome,
    LongWork,
    LongWorkFailed,
    Work,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Step
from node_on_disk import NodeOnDisk

SECRET = "http://user:hunter2@proxy.example.com:3128"

# One unit, in $NODE/unit: whose it is, its process, and how that ended.
SYSTEMD_RUN = """
[ -z "$REFUSES" ] || { echo "Failed to start transient service unit: $REFUSES" >&2; exit 1; }
while [ "$1" != -- ]; do
  case $1 in --setenv=*) mark=${1#--setenv=} ;; esac
  shift
done
shift
mkdir "$NODE/unit" 2>/dev/null || { echo 'Failed to start transient service unit: Unit was already loaded' >&2; exit 1; }
echo "$mark" >"$NODE/unit/mark"
(
  env -i "PATH=$NODE/bin:/usr/bin:/bin" "MANAGER=1" "$mark" setsid "$@" & pid=$!
  echo "$pid" >"$NODE/unit/pid"
  wait "$pid"; echo "$?" >"$NODE/unit/rc"
) </dev/null >/dev/null 2>&1 &
until [ -s "$NODE/unit/pid" ]; do sleep 0.02; done
"""
SYSTEMCTL = """
case $1 in
show)
  [ -d "$NODE/unit" ] || { printf 'LoadState=not-found\\nActiveState=inactive\\nSubState=dead\\nResult=success\\n'; exit 0; }
  printf 'LoadState=loaded\\nEnvironment=%s\\n' "$(cat "$NODE/unit/mark")"
  rc=$(cat "$NODE/unit/rc" 2>/dev/null)
  case $rc in
  '') printf 'ActiveState=active\\nSubState=running\\nMainPID=%s\\n' "$(cat "$NODE/unit/pid")" ;;
  0) printf 'ActiveState=active\\nSubState=exited\\nResult=success\\nExecMainCode=1\\nExecMainStatus=0\\n' ;;
  *)
    code=1; [ "$rc" -le 128 ] || { code=2; rc=$((rc - 128)); }
    printf 'ActiveState=failed\\nSubState=failed\\nResult=exit-code\\nExecMainCode=%s\\nExecMainStatus=%s\\n' "$code" "$rc" ;;
  esac ;;
stop)
  if [ -e "$NODE/unit/pid" ] && [ ! -e "$NODE/unit/rc" ]; then
    kill "$(cat "$NODE/unit/pid")"
    until [ -e "$NODE/unit/rc" ]; do sleep 0.02; done
  fi
  rm -rf "$NODE/unit" ;;
reset-failed) [ ! -e "$NODE/unit/rc" ] || rm -rf "$NODE/unit" ;;
esac
"""


class Node(NodeOnDisk):
    """A node whose connection fails at chosen trips: `lost_before` the script arrives, `lost_after` it has run."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "run/systemd/system").mkdir(parents=True)
        self.tool("systemd-run", SYSTEMD_RUN)
        self.tool("systemctl", SYSTEMCTL)
        self.lost_before: set[int] = set()
        self.lost_after: set[int] = set()

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        if self.trips in self.lost_before:
            raise NodeUnreachable("The connection to the node failed: gone.")
        done = super()._execute(script, limit)
        if self.trips in self.lost_after:
            raise NodeUnreachable("The connection to the node failed: gone.")
        return done

    def calls(self, tool: str) -> list[str]:
        return [line for line in self.journal if line.startswith(f"{tool} ")]

    def left_behind(self) -> str:
        """The content of all files that a run left on the node."""
        files = [path for path in (self.directory / "run/imagemode").rglob("*") if path.is_file()]
        return "\n".join(path.read_text() for path in files)


class Clock:
    """Time that passes when somebody sleeps, so that a wait of minutes takes none."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def work(node: Node, said: list[str]) -> Callable[..., LongOutcome]:
    def do(
        *argv: str, before: tuple[Step, ...] = (), after: tuple[Step, ...] = (), timeout: int = 60, slices: int = 20
    ) -> LongOutcome:
        clock = Clock()
        long_work = LongWork(
            node, said.append, clock, clock.sleep, slice_seconds=slices, runtime=str(node.directory / "run")
        )
        return long_work.run(Work(argv, timeout), before, after)

    return do


Do = Callable[..., LongOutcome]


def test_one_round_trip_where_it_is_quick(node: Node, work: Do, said: list[str]) -> None:
    node.tool("bootc", "echo out; echo err >&2")
    outcome = work(
        "bootc", "rollback", before=(Step(("echo", "gate"), gate=True),), after=(Step(("ls", str(node.directory))),)
    )
    assert node.trips == 1
    assert (outcome.command.rc, outcome.command.stdout, outcome.command.stderr) == (0, "out\n", "err\n")
    assert [one.stdout for one in outcome.before] == ["gate\n"]
    assert "bin" in outcome.after[0].stdout
    assert not (node.directory / "unit").exists(), "the unit's name is released"
    assert said == []
    assert not any((outcome.adopted, outcome.superseded, outcome.direct, outcome.vanished, outcome.gated))


def test_what_fails_says_how(node: Node, work: Do) -> None:
    node.tool("bootc", "echo 'error: no' >&2; exit 7")
    outcome = work("bootc", "rollback", after=(Step(("echo", "state")),))
    assert (outcome.command.rc, outcome.command.stderr) == (7, "error: no\n")
    assert outcome.after[0].stdout == "state\n", "the state is read after a failure, too"
    assert work("bootc", "rollback").command.rc == 7, "a failed unit does not keep its name"


def test_a_command_that_a_signal_ends(node: Node, work: Do) -> None:
    node.tool("bootc", "kill -KILL $$")
    assert work("bootc", "rollback").command.rc == 137


def test_a_command_that_does_not_exist(work: Do) -> None:
    assert work("bootc", "rollback").command.missing


def test_a_closed_gate_starts_nothing(node: Node, work: Do) -> None:
    node.tool("bootc", "")
    outcome = work("bootc", "rollback", before=(Step(("false",), gate=True),), after=(Step(("echo",), always=True),))
    assert outcome.gated
    assert outcome.before[0].rc == 1
    assert not outcome.command.ran
    assert node.journal == []


def test_words_arrive_as_they_are(node: Node, work: Do) -> None:
    hostile = ["a b", "$HOME", "${PATH}", "$$", "`id`", "'", '"', "%n", "*", "", "line\nbreak", "; touch /x", "-n"]
    node.tool("rpm-ostree", """for word in "$@"; do printf '<%s>' "$word"; done""")
    outcome = work("rpm-ostree", *hostile)
    assert outcome.command.stdout == "".join(f"<{word}>" for word in hostile)


def test_proxies_reach_the_command_and_nothing_else_sees_them(
    node: Node, work: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "NO_PROXY", "NOT_A_PROXY"):
        monkeypatch.setenv(name, SECRET)
    node.tool("bootc", "env | sort")
    seen = work("bootc", "rollback").command.stdout.splitlines()
    assert f"https_proxy={SECRET}" in seen
    assert f"NO_PROXY={SECRET}" in seen
    assert "LC_ALL=C" in seen
    assert "MANAGER=1" in seen
    assert not [line for line in seen if line.startswith("NOT_A_PROXY")]
    assert SECRET not in "\n".join(node.journal), "an argument of some tool"
    node.tool("bootc", "true")
    work("bootc", "rollback")
    assert not list((node.directory / "run/imagemode").rglob("environment.*"))


def test_what_is_kept_is_for_root_only(node: Node, work: Do) -> None:
    node.tool("bootc", "")
    work("bootc", "rollback")
    base = node.directory / "run/imagemode"
    assert base.stat().st_mode & 0o777 == 0o700
    assert not [path for path in base.rglob("*") if path.stat().st_mode & 0o077]


@pytest.mark.parametrize(
    ("version", "told"), [("1.1.3", False), ("1.1.4", True), ("1.16.9", True), ("2.0.0-rc1", True), ("odd", False)]
)
def test_progress_where_bootc_has_it(node: Node, work: Do, said: list[str], version: str, told: bool) -> None:
    event = '{"type":"ProgressBytes","bytes":120000000,"bytesTotal":412000000}'
    node.tool(
        "bootc",
        f"""
        [ "$1" != --version ] || {{ echo "bootc {version}"; exit 0; }}
        [ "$2" != --progress-fd ] || echo '{event}' >&3
        sleep 2
        """,
    )
    outcome = work("bootc", "switch", "reg.example.com/os", slices=1)
    assert outcome.command.ok
    assert said[0] == ("pulled 120 of 412 MB (29 %), 0 s" if told else "still staging after 0 s")
    arguments = "switch --progress-fd 3 reg.example.com/os" if told else "switch reg.example.com/os"
    assert f"bootc {arguments}" in node.journal


def test_no_systemd(node: Node, work: Do) -> None:
    (node.directory / "run/systemd/system").rmdir()
    node.tool("bootc", "echo out; exit 3")
    outcome = work("bootc", "rollback", before=(Step(("true",)),), after=(Step(("echo", "state")),))
    assert outcome.direct
    assert (outcome.command.rc, outcome.command.stdout) == (3, "out\n")
    assert outcome.after[0].stdout == "state\n"
    assert len(outcome.before) == 1
    assert node.trips == 2
    assert node.calls("systemd-run") == []


def test_a_systemd_that_refuses(node: Node, work: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "Access denied")
    with pytest.raises(
        LongWorkFailed, match=r"`bootc rollback` could not be started as imagemode-stage.service: .*Access denied"
    ):
        work("bootc", "rollback")
    assert node.left_behind() == ""


class TestTheConnection:
    """It may be lost at any time; the command runs once all the same."""

    @pytest.fixture(autouse=True)
    def tool(self, node: Node) -> None:
        node.tool("bootc", "echo out; sleep 2")

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            pytest.param({1}, set(), id="before-anything-was-sent"),
            pytest.param(set(), {1}, id="while-it-ran"),
            pytest.param({2, 3}, {4}, id="several-times"),
        ],
    )
    def test_lost_and_found(self, node: Node, work: Do, before: set[int], after: set[int]) -> None:
        node.lost_before, node.lost_after = before, after
        outcome = work("bootc", "rollback", after=(Step(("echo", "state")),), slices=1)
        assert (outcome.command.rc, outcome.command.stdout) == (0, "out\n")
        assert outcome.after[0].stdout == "state\n"
        assert node.calls("bootc") == ["bootc rollback"]

    def test_the_result_is_still_there_when_its_delivery_failed(self, node: Node, work: Do) -> None:
        node.tool("bootc", "echo out")
        node.lost_after = {1}
        outcome = work("bootc", "rollback")
        assert outcome.command.stdout == "out\n"
        assert node.calls("bootc") == ["bootc rollback"]

    def test_gone_for_good(self, node: Node, work: Do, said: list[str]) -> None:
        node.lost_before = set(range(2, 100))
        with pytest.raises(NodeUnreachable, match=r"imagemode-stage.service; the next run waits for it"):
            work("bootc", "rollback", slices=1)
        assert "lost the node" in said[-1]
        node.lost_before = set()
        outcome = work("bootc", "rollback")
        assert outcome.adopted or outcome.command.ok
        assert outcome.command.stdout == "out\n"


def test_a_unit_that_vanished(node: Node, work: Do) -> None:
    node.tool("bootc", f"echo out; sleep 1; rm -rf {node.directory}/unit; sleep 1")
    outcome = work("bootc", "rollback", after=(Step(("echo", "state")),), slices=1)
    assert outcome.vanished
    assert outcome.command.rc is None
    assert outcome.after[0].stdout == "state\n"


def test_a_reboot_in_between(node: Node, work: Do) -> None:
    node.tool("bootc", f"sleep 2; rm -rf {node.directory}/unit {node.directory}/run/imagemode; sleep 1")
    outcome = work("bootc", "rollback", after=(Step(("echo", "state")),), slices=1)
    assert outcome.vanished
    assert outcome.after[0].stdout == "state\n"
