# SPDX-License-Identifier: GPL-3.0-or-later
"""rollout_report under the real ansible: exit code, closing table, artifact and files, from what hosts' tasks would have registered."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

BEGIN = 1_795_226_400.0
OLD, NEW = ("sha256:" + digit * 64 for digit in "01")
SKIPPED = {"skipped": True, "changed": False}

Variables = dict[str, Any]


def staged(reboot: bool = True) -> Variables:
    before = {"booted": {"digest": OLD if reboot else NEW}}
    result = {"digest": NEW, "before": before, "reboot_required": reboot, "started_at": BEGIN, "seconds": 21.5}
    return {"node_rollout_staging": result}


def updated(at: float) -> Variables:
    return {
        **staged(),
        "node_rollout_held": {"slot_state": "held", "at": at, "waited": 5.0, "slot": {"since": at}, "window": 2},
        "node_rollout_drain": SKIPPED,
        "node_rollout_reboot": {"started_at": at + 1, "seconds": 60.5, "booted": {"digest": NEW}, "rebooted": "full"},
        "node_rollout_ended": {"slot_state": "released", "seconds": 63.0},
    }


def lost(at: float) -> Variables:
    told = "did not come back within 900 s"
    reboot = {"started_at": at + 1, "seconds": 900.0, "failed": True, "msg": told, "changed": True}
    ended = {"slot_state": "failed", "seconds": 902.0, "reason": told}
    return {**updated(at), "node_rollout_reboot": reboot, "node_rollout_ended": ended}


class Run:
    """A finished run. `said`: what the report itself put on the terminal."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.rc, self.output = process.returncode, process.stdout + process.stderr
        self.said = [line for line in self.output.splitlines() if line.startswith(("workers: ", "  "))]


class Report:
    """A project of which only the last play is left."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def reports(self) -> Path:
        return self.directory / "inventory" / ".imagemode" / "reports"

    def files(self, directory: Path | None = None) -> list[str]:
        where = directory or self.reports
        return sorted(file.name for file in where.iterdir()) if where.exists() else []

    def run(self, hosts: dict[str, Variables], *arguments: str, **options: Any) -> Run:
        given = {"pool": "workers", "image": "registry.test/os:new", "expected_digests": [NEW], **options}
        judge = {"name": "judge", "imagemode.nodes.rollout_report": {**given, "state": "node"}}
        show = {"name": "show", "imagemode.nodes.rollout_report": {**given, "state": "table"}, "run_once": True}
        play = {
            "hosts": "workers",
            "gather_facts": False,
            "tasks": [{"name": "report", "block": [judge], "always": [show]}],
        }
        inventory = self.directory / "inventory" / "hosts.yml"
        inventory.parent.mkdir(exist_ok=True)
        inventory.write_text(yaml.safe_dump({"workers": {"hosts": hosts}}), encoding="utf-8")
        (self.directory / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        command = Path(sys.executable).parent / "ansible-playbook"
        process = subprocess.run(
            [str(command), "-i", str(inventory.parent), "play.yml", *arguments],
            cwd=self.directory,
            env={**kept, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SHOW_CUSTOM_STATS": "1", "HOME": str(self.directory)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(process)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path)


def test_a_rollout_that_went_well(report: Report) -> None:
    run = report.run({"n1": updated(BEGIN + 30), "n2": staged(reboot=False)})
    assert run.rc == 0, run.output
    stamped = [name for name in report.files() if re.fullmatch(r"workers-\d{8}T\d{6}Z\.(json|html)", name)]
    assert (len(stamped), set(report.files()) - set(stamped)) == (2, {"workers-latest.html"})
    assert run.said == [
        "workers: 2 nodes: 1 updated, 1 already right",
        "  node  from                 to                   out of service  outcome",
        "  n1    sha256:000000000000  sha256:111111111111  63 s            updated",
        "  n2    sha256:111111111111  sha256:111111111111  -               already right",
        f"workers: report: {report.reports / stamped[0]}",
    ]
    assert {stat.S_IMODE((report.reports / name).stat().st_mode) for name in report.files()} == {0o600}
    assert stat.S_IMODE(report.reports.stat().st_mode) == 0o700
    page = (report.reports / "workers-latest.html").read_text(encoding="utf-8")
    assert "All 2 nodes run the image" in page
    record = json.loads((report.reports / stamped[1]).read_text(encoding="utf-8"))
    assert [step["step"] for step in record["nodes"][0]["steps"]] == ["stage", "wait", "reboot"]
    assert report.run({"n1": updated(BEGIN + 30)}).rc == 0, (
        "a directory of inventories is not spoiled by the reports in it"
    )


def test_a_rollout_that_did_not(report: Report) -> None:
    refused = {"failed": True, "halted": True, "slot_state": "refused", "reason": "n1 failed", "msg": "n1 failed"}
    halted = {**staged(), "node_rollout_held": refused}
    hosts = {"n1": lost(BEGIN + 30), "n2": updated(BEGIN + 30), "n3": halted, "n4": halted}
    run = report.run(hosts)
    assert run.rc == 2, run.output
    recap = dict(re.findall(r"^(n\d) .*failed=(\d)", run.output, re.MULTILINE))
    assert recap == {"n1": "1", "n2": "0", "n3": "1", "n4": "1"}
    assert '"msg": "workers: n1: failed. The table below says why"' in run.output
    assert run.said[-3:-1] == [
        "workers: n1 failed: did not come back within 900 s",
        "workers: 2 nodes not its turn (n3, n4): n1 failed",
    ]
    [stats] = re.findall(r"^\tRUN: (\{.*\})$", run.output, re.MULTILINE)
    artifact = json.loads(stats)["imagemode_rollout"]
    assert artifact["counts"] == {"updated": 1, "failed": 1, "not its turn": 2}
    assert (artifact["halted"], artifact["reason"], artifact["denied"], artifact["awaiting_approval"]) == (
        True,
        "n1 failed",
        "",
        False,
    )
    assert artifact["target"] == {"image": "registry.test/os:new", "digests": [NEW]}


def test_waiting_for_approval_is_no_failure(report: Report) -> None:
    waits = {
        **staged(),
        "node_rollout_held": {"awaiting_approval": True, "slot_state": "unapproved", "msg": "not approved yet"},
    }
    run = report.run({"n1": updated(BEGIN + 30), "n2": waits})
    assert run.rc == 0, run.output
    assert "workers: n2 awaits approval: not approved yet" in run.said


def test_a_check_run_writes_nothing(report: Report) -> None:
    run = report.run({"n1": updated(BEGIN + 30)}, "--check")
    assert run.rc == 0, run.output
    assert "would be updated" in run.output
    assert report.files() == []


def test_old_reports_go_and_other_files_stay(report: Report) -> None:
    given = report.directory / "kept"
    given.mkdir()
    old = [f"workers-2026010{day}T000000Z.{kind}" for day in range(1, 5) for kind in ("json", "html")]
    others = ["workers-eu-20260101T000000Z.json", "workers-notes.html"]
    for name in (*old, *others):
        (given / name).touch()
    assert report.run({"n1": updated(BEGIN + 30)}, report_dir=str(given), keep=3).rc == 0
    left = report.files(given)
    assert set(others) <= set(left)
    assert [name for name in left if name in old] == sorted(old[4:])
    assert report.files() == []


def test_the_platform_keeps_files_only_where_it_is_told_to(report: Report) -> None:
    job = ("-e", "awx_job_id=7")
    assert report.run({"n1": updated(BEGIN + 30)}, *job).rc == 0
    assert report.files() == []
    assert report.run({"n1": updated(BEGIN + 30)}, *job, report_dir=str(report.directory / "told")).rc == 0
    assert len(report.files(report.directory / "told")) == 3


def test_a_report_that_cannot_be_written_is_said_and_is_no_failure_of_the_rollout(report: Report) -> None:
    (report.directory / "file").touch()
    run = report.run({"n1": updated(BEGIN + 30)}, report_dir=str(report.directory / "file" / "reports"))
    assert run.rc == 0, run.output
    assert "workers: the report could not be kept in" in run.said[-1]
