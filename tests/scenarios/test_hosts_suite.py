# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-hosts` on hosts of the lab: the checks for any real host pass here too, and say so where something is wrong."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hosts import checks, suite
from hosts.fleet import Fleet, Host, Wrong
from hosts.suite import Row, Verdict
from lab import images, sshd
from lab.fixtures import MakeNode
from lab.inventory import CHECKOUT
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry

KINDS: dict[str, dict[str, str | None]] = {
    "bootc 1.16.9": {"bootc": "1.16.9", "rpm-ostree": None},
    "rpm-ostree 2026.2": {"bootc": None, "rpm-ostree": "2026.2"},
}
STAGERS = {"bootc": "bootc_switch", "rpm-ostree": "rpmostree_rebase"}


@pytest.fixture(scope="module")
def two_images(registry: Registry) -> list[str]:
    brings: dict[str, dict[str, list[str]]] = {"v1": {}, "v2": {"10-fleet.toml": ["audit=1"]}}
    built = [
        images.build_base(registry.address, name="hosts", tag=tag, version=tag, kargs_d=arguments)
        for tag, arguments in brings.items()
    ]
    return [f"{image.partition('@')[0]}:{tag}" for image, tag in zip(built, brings, strict=True)]


@pytest.fixture
def host(make_project: Callable[..., Project], tmp_path: Path) -> Callable[..., Host]:
    """The one node of the lab as the suite sees a host."""

    def make(*wanted: str, may_reboot: bool = False) -> Host:
        project = make_project()
        work = tmp_path / "work"
        work.mkdir()
        configuration = {"ANSIBLE_CONFIG": str(project.directory / "ansible.cfg")}
        fleet = Fleet(project.directory / "inventory" / "hosts.yml", work, environment=configuration)
        return Host("n1", fleet, wanted, may_reboot)

    return make


def told(rows: list[Row]) -> str:
    return "\n".join(row.line() for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_passes_on_the_lab(
    kind: str, make_node: MakeNode, host: Callable[..., Host], two_images: list[str]
) -> None:
    node = make_node("n1", image=two_images[0], versions=KINDS[kind], python=True, boot_seconds=0.5)
    rows = suite.run([host(*two_images, may_reboot=True)], print)
    assert not [row for row in rows if row.verdict is Verdict.FAILED], told(rows)
    passed = {row.check for row in rows if row.verdict is Verdict.OK}
    for tool, stager in STAGERS.items():
        for check in ("nothing to do", "check mode", "stage and discard", "update, reboot, return"):
            assert (f"{stager}: {check}" in passed) == (KINDS[kind][tool] is not None), told(rows)
    assert "async" in passed
    assert node.is_up()


def test_a_host_where_something_is_staged_is_left_alone(
    make_node: MakeNode, host: Callable[..., Host], two_images: list[str]
) -> None:
    make_node("n1", image=two_images[0], versions=KINDS["bootc 1.16.9"])
    under_test = host(*two_images, may_reboot=True)
    under_test.act("bootc_switch", image=two_images[1])
    with checks.unchanged(under_test):
        rows = suite.run([under_test], print)
    assert not [row for row in rows if row.verdict is Verdict.FAILED], told(rows)
    staging = next(row for row in rows if row.check == "bootc_switch: stage and discard")
    assert (staging.verdict, "discard it, then test again" in staging.remark) == (Verdict.SKIPPED, True)


def test_a_changed_host_is_noticed(make_node: MakeNode, host: Callable[..., Host], two_images: list[str]) -> None:
    make_node("n1", image=two_images[0], versions=KINDS["bootc 1.16.9"])
    under_test = host(*two_images)
    said = r"`bootc status --json` says something else than before: .*hosts:v2"
    with pytest.raises(Wrong, match=said), checks.unchanged(under_test):
        under_test.act("bootc_switch", image=two_images[1])


def test_a_failed_staging_check_leaves_nothing_staged(
    make_node: MakeNode, host: Callable[..., Host], two_images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_node("n1", image=two_images[0], versions=KINDS["bootc 1.16.9"])
    under_test = host(*two_images)

    def wrong(what: str, *_values: object) -> None:
        if what.startswith("digest"):
            raise Wrong("as if")

    monkeypatch.setattr(checks, "expect", wrong)
    check = next(check for check in checks.CHECKS if check.name == "bootc_switch: stage and discard")
    assert suite.one(under_test, check).verdict is Verdict.FAILED
    assert under_test.info()["staged"] is None


@pytest.mark.skipif(sshd.missing() is not None, reason=str(sshd.missing()))
def test_the_command_over_ssh(make_node: MakeNode, tmp_path: Path, two_images: list[str]) -> None:
    """Two hosts behind real sshds and one that does not answer, in an inventory as anybody would write it."""
    nodes = {
        "bootc1": make_node("bootc1", image=two_images[0], versions=KINDS["bootc 1.16.9"]),
        "coreos1": make_node("coreos1", image=two_images[0], versions=KINDS["rpm-ostree 2026.2"]),
    }
    with contextlib.ExitStack() as daemons:
        hosts = {name: _behind_sshd(daemons, node, tmp_path) for name, node in nodes.items()}
        off = {**hosts["bootc1"], "ansible_port": 9}
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"children": {"pool": {"hosts": {**hosts, "gone1": off}}}}}))
        sound = _command(inventory, "--limit", "bootc1:coreos1", "--images", ",".join(two_images))
        broken = _command(inventory, "--limit", "gone1")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "0 FAILED" in sound.stdout
    for line in ("bootc1 bootc_switch: stage and discard ok", "coreos1 rpmostree_rebase: stage and discard ok"):
        assert line in " ".join(sound.stdout.split()), sound.stdout
    assert "not allowed: ALLOW_REBOOT=1" in sound.stdout
    assert (broken.returncode, "gone1" in broken.stdout) == (1, True)
    assert "cannot be reached" in broken.stdout


def test_nothing_to_test_is_an_error(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    assert _command(inventory).returncode == 2
    inventory.write_text("all: {hosts: {}}\n")
    nobody = _command(inventory)
    assert (nobody.returncode, "has no host" in nobody.stderr) == (2, True)


def _behind_sshd(daemons: contextlib.ExitStack, node: Node, tmp_path: Path) -> dict[str, str | int]:
    return daemons.enter_context(sshd.running(node, tmp_path / f"sshd-{node.name}")).inventory_vars()


def _command(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "hosts", "--inventory", str(inventory), *arguments]
    return subprocess.run(
        argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=600, env=dict(os.environ), check=False
    )


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests are not those of the hosts."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
