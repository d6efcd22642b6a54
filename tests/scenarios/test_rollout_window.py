# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollout playbook over pretended nodes: the window, two controllers, killed controllers, failures, guards.

Only the nodes are pretended. Playbook, role, rollout modules, store, strategy and processes are the real ones.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rollout_project import RolloutProject, Run, wait_until

STORE = "imagemode.nodes.rollout_store"
SIX = tuple(f"w{number}" for number in range(1, 7))


@pytest.fixture
def six(tmp_path: Path) -> RolloutProject:
    """Six nodes, a window of two; every reboot takes a second."""
    return RolloutProject(tmp_path, SIX, imagemode_max_unavailable=2)


def assert_all_updated_once(project: RolloutProject, window: int = 2) -> None:
    assert {name: node.read()["booted"] for name, node in project.nodes.items()} == dict.fromkeys(
        project.nodes, "sha256:new"
    )
    assert sorted(project.events("down")) == sorted(project.nodes), "every node reboots once"
    assert project.most_away_at_once() <= window
    assert project.state["nodes"] == {}


def test_the_window_slides_and_a_second_run_does_nothing(six: RolloutProject) -> None:
    first = six.run()
    assert first.rc == 0, first.output
    assert_all_updated_once(six)
    assert six.most_away_at_once() == 2
    assert [event for _when, event, _name in six.journal()][:6] == ["staged"] * 6, "first everybody is staged"
    assert first.rows == dict.fromkeys(SIX, ("sha256:old", "sha256:new", "updated"))
    for said in (
        "workers: 6 nodes, 6 in this run; 6 to update to sha256:new, 0 already right; window 2",
        "workers: w1 goes now (",
        " waits behind w",
        " of 6 done, about ",
        "workers: 6 nodes: 6 updated",
    ):
        assert said in first.output

    stored = six.state
    second = six.run()
    assert second.rc == 0
    assert second.rows == dict.fromkeys(SIX, ("sha256:new", "sha256:new", "already right"))
    assert [second.recap(node)["changed"] for node in SIX] == [0] * 6
    assert "WARNING" not in second.output
    assert len(six.events("down")) == 6
    assert six.state == stored


def test_two_controllers_share_one_window(six: RolloutProject) -> None:
    runs = [six.start(log="log-a"), six.start(log="log-b")]
    ends = [six.finish(process, log) for process, log in zip(runs, ("log-a", "log-b"), strict=True)]
    assert [end.rc for end in ends] == [0, 0], ends[0].output + ends[1].output
    assert_all_updated_once(six)


def test_a_controller_that_starts_later_waits_for_the_first(six: RolloutProject) -> None:
    first = six.start(log="log-a")
    wait_until(lambda: len(six.events("down")) >= 3, "three reboots")
    second = six.finish(six.start(log="log-b"), "log-b")
    assert six.finish(first, "log-a").rc == 0, six.log("log-a")
    assert second.rc == 0, second.output
    assert_all_updated_once(six)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_controller_that_ends_in_mid_window_is_continued(six: RolloutProject, how: signal.Signals) -> None:
    process = six.start()
    wait_until(lambda: len(six.events("down")) >= 3, "three reboots")
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        # ansible-core's own handler can fail half-way ("process object is closed") and then waits for its workers, for ever.
        # Who stops a process sends SIGKILL after a while, service managers and the platform alike.
        assert how is not signal.SIGKILL
        process.kill()
    killed = six.finish(process)
    assert killed.rc != 0
    wait_until(lambda: not six.leftovers(), "orphaned workers end themselves")
    assert six.state["nodes"], "what it took out of service is known"
    done = len(six.events("down"))
    assert done < 6

    again = six.run()
    assert again.rc == 0, again.output
    assert "to be finished first" in again.output
    assert_all_updated_once(six)


def test_a_node_that_a_killed_run_left_rebooting_is_waited_for(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"))
    project.nodes["w1"].create(seconds=8.0)
    process = project.start()
    wait_until(lambda: project.events("down") == ["w1"], "the reboot")
    process.kill()
    project.finish(process)

    again = project.run()
    assert again.rc == 0, again.output
    assert "w1 goes now, carries on from process" in again.output
    assert again.rows == dict.fromkeys(("w1", "w2"), ("sha256:old", "sha256:new", "updated"))
    assert sorted(project.events("staged")) == ["w1", "w2"], "nothing is pulled while a node is out of service"
    assert_all_updated_once(project, window=1)


def test_a_check_run_after_a_crash_predicts_that_the_next_run_carries_on(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"))
    process = project.start()
    wait_until(lambda: project.events("down") == ["w1"], "the reboot")
    process.kill()
    project.finish(process)
    wait_until(lambda: not project.leftovers(), "orphaned workers end themselves")
    stored = project.state

    check = project.run("--check")
    assert check.rc == 0, check.output
    assert check.table == {"w1": "would be updated", "w2": "would be updated"}
    assert project.state == stored


def test_a_node_that_waits_longer_than_it_may_stays_in_service(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"), imagemode_slot_timeout=2)
    project.nodes["w1"].create(seconds=8.0)
    run = project.run()
    assert run.rc == 2
    assert run.table == {"w1": "updated", "w2": "not its turn"}
    assert "w2 waits behind w1 (rebooting for" in run.output
    assert "(waited 2 s, which is wait_timeout)" in run.output
    assert project.events("down") == ["w1"]
    assert project.state["nodes"] == {}


def test_a_node_that_is_slow_to_say_that_it_is_away_is_given_up_in_time(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"), imagemode_reboot_timeout=10)
    project.nodes["w1"].create(fault="hangs in boot", seconds_to_notice=8.0)
    process = project.start()
    wait_until(lambda: project.events("down") == ["w1"], "the reboot")
    process.kill()
    project.finish(process)

    started = time.monotonic()
    again = project.run()
    assert again.rc == 2
    assert again.rows["w1"] == ("sha256:old", "-", "failed")
    assert "w1 does not answer" in again.output
    # Two tries, of which the second one ends after the time; by their number there would be four.
    assert time.monotonic() - started < 40


def test_a_node_that_does_not_come_back_stops_the_rollout_until_it_is_repaired(six: RolloutProject) -> None:
    for node in SIX:
        six.nodes[node].create(seconds=2.0, fault="hangs in boot" if node == "w2" else None)
    six.set_variables(imagemode_image="registry.test/os:new", imagemode_max_unavailable=2, imagemode_reboot_timeout=3)
    broken = six.run()
    assert broken.rc == 2, broken.output
    assert six.most_away_at_once() <= 2
    assert broken.table["w2"] == "failed"
    assert set(broken.table.values()) == {"failed", "updated", "not its turn"}
    assert "keeps its place in the window: it did not come back" in broken.output
    assert "stays in service on its old image: 1 failed (w2), and max_failures is 1" in broken.output
    assert broken.recap("w2")["failed"] == 1
    assert broken.recap("w1")["failed"] == 0
    assert {name: slot["state"] for name, slot in six.state["nodes"].items()} == {"w2": "failed"}
    out = len(six.events("down"))

    still_broken = six.run()
    assert still_broken.rc == 2
    assert "No node is taken out of service" in still_broken.output
    assert len(six.events("down")) == out

    without_it = six.run("--limit", "w6")
    assert without_it.rc == 2
    assert len(six.events("down")) == out

    six.nodes["w2"].repair()
    repaired = six.run()
    assert repaired.rc == 0, repaired.output
    assert "w2: failed before, tried again" in repaired.output
    assert_all_updated_once(six)


def test_an_unreachable_node_makes_the_window_smaller(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3"), imagemode_max_unavailable=2, imagemode_max_failures=2)
    project.nodes["w1"].create(fault="off")
    run = project.run()
    assert run.rc == 2
    assert run.table == {"w1": "unreachable", "w2": "updated", "w3": "updated"}
    assert project.most_away_at_once() == 1
    assert "workers: w1: not reachable: counts as out of service" in run.output
    assert run.recap("w1")["unreachable"] == 0


@pytest.mark.parametrize("fault", ["no space", "off"])
def test_too_many_failures_before_the_start_reboot_nobody(tmp_path: Path, fault: str) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"))
    project.nodes["w2"].create(fault=fault)
    run = project.run()
    assert run.rc == 2
    assert project.events("down") == []
    assert run.table["w1"] == "not its turn"
    assert "workers: w2 failed: w2 " in run.output
    assert "workers: stopped: 1 failed (w2), and max_failures is 1" in run.output


def test_canaries_go_first_and_alone(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3"), imagemode_max_unavailable=3, imagemode_canaries=["w3"])
    run = project.run()
    assert run.rc == 0, run.output
    journal = [(event, name) for _when, event, name in project.journal() if event != "staged"]
    assert journal[:2] == [("down", "w3"), ("up", "w3")]
    assert "waits behind w3" in run.output


def test_limit_updates_a_part_and_counts_the_whole(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, SIX, imagemode_max_unavailable="34%")
    run = project.run("--limit", "w5,w6")
    assert run.rc == 0, run.output
    assert "6 nodes, 2 in this run; 2 to update" in run.output
    assert "window 2" in run.output
    assert sorted(project.events("down")) == ["w5", "w6"]
    assert set(project.events("staged")) == {"w5", "w6"}


def test_a_check_run_predicts_and_changes_nothing(six: RolloutProject) -> None:
    run = six.run("--check", "--diff")
    assert run.rc == 0, run.output
    assert run.table == dict.fromkeys(SIX, "would be updated")
    assert six.events("staged") == six.events("down") == []
    assert list((six.inventory.parent / ".imagemode").glob("*.json")) == []
    assert [run.recap(node)["changed"] > 0 for node in SIX] == [True] * 6


REFUSALS: dict[str, tuple[list[str], int, str]] = {
    "a mistyped pool": (["-e", "imagemode_pool=wrokers"], 8, "no such group. Did you mean workers?"),
    "the pool all": (["-e", "imagemode_pool=all"], 8, "is no pool"),
    "no pool": (["-e", "imagemode_pool="], 8, "imagemode_pool is not set"),
    "too few forks": ([], 3, "Run with --forks 4"),
    "a window of nothing": (["-e", "imagemode_max_unavailable=0"], 8, "no node could ever be updated"),
    "a window that is no number": (["-e", "imagemode_max_unavailable=some"], 8, "max_unavailable is 'some'"),
    "no failure allowed": (["-e", "imagemode_max_failures=0"], 8, "max_failures is '0'"),
    "an image without a digest": (["-e", "imagemode_image=registry.test/os:nothing"], 8, "resolved to no digest"),
    "an unknown canary": (["-e", '{"imagemode_canaries": ["w9"]}'], 8, "names w9"),
    "zones that no node has": (["-e", "imagemode_max_zones=1"], 8, "no node of workers has a zone"),
    "a job of the platform": (["-e", "awx_job_id=42"], 8, "imagemode_store_shared=true"),
    "a store that cannot be written": (
        ["-e", "imagemode_store_path=/proc/nowhere"],
        8,
        "cannot be kept in /proc/nowhere",
    ),
}


@pytest.mark.parametrize("mistake", REFUSALS)
def test_a_mistake_shows_before_anything_is_touched(six: RolloutProject, mistake: str) -> None:
    arguments, forks, told = REFUSALS[mistake]
    run = six.run(*arguments, forks=forks)
    assert run.rc not in (0, None)
    assert told in " ".join(run.output.split()), run.output
    assert six.events("staged") == []


def test_a_store_that_is_not_understood_stops_everything(six: RolloutProject) -> None:
    store = six.inventory.parent / ".imagemode" / "workers.json"
    store.parent.mkdir()
    store.write_text('{"schema": 99}', encoding="ascii")
    run = six.run()
    assert run.rc == 2
    assert f"{store} is not a rollout state that can be used: its schema is 99" in run.output
    assert six.events("staged") == []
    assert store.read_text(encoding="ascii") == '{"schema": 99}'


def test_a_retired_node_is_named_and_can_be_released(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"))
    project.nodes["w1"].create(fault="off")
    assert project.run().rc == 2
    project.inventory.write_text("[workers]\nw2\n", encoding="ascii")
    stranger = project.run()
    assert stranger.rc == 2
    assert "the store says that w1 of pool workers is out of service" in stranger.output
    assert project.events("down") == []
    told = json.dumps({"imagemode_store_state": "released", "imagemode_store_nodes": ["w1"]})
    released = project.run("-e", told, playbook=STORE)
    assert released.rc == 0, released.output
    assert "workers: w1 released" in released.output
    again = project.run()
    assert again.rc == 0, again.output
    assert project.events("down") == ["w2"]


STRATEGY_PLAY = """
- hosts: workers
  gather_facts: false
  strategy: {strategy}
  tasks:
    - imagemode.nodes.rollout_slot:
        state: held
        pool: workers
"""


@pytest.mark.parametrize("strategy", ["linear", "free"])
def test_a_strategy_that_would_wait_for_ever_is_refused(six: RolloutProject, strategy: str) -> None:
    playbook = six.directory / "play.yml"
    playbook.write_text(STRATEGY_PLAY.format(strategy=strategy), encoding="ascii")
    run: Run = six.run(playbook=str(playbook))
    assert run.rc == 2
    assert "strategy: ansible.builtin.host_pinned" in run.output


def test_a_pause_holds_the_next_nodes_back(six: RolloutProject) -> None:
    process = six.start(log="rollout")
    wait_until(lambda: len(six.events("down")) >= 2, "two reboots")
    assert six.run("-e", "imagemode_store_state=paused", playbook=STORE).rc == 0
    paused = six.finish(process, "rollout")
    assert paused.rc == 2
    assert "the rollout of pool workers is paused" in paused.output
    assert len(six.events("down")) < 6
    assert six.state["nodes"] == {}, "what was out of service came back"

    assert "workers: paused by a person" in six.run(playbook=STORE).output
    assert six.run("-e", "imagemode_store_state=resumed", playbook=STORE).rc == 0
    resumed = six.run()
    assert resumed.rc == 0, resumed.output
    assert_all_updated_once(six)
