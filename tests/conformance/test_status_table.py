# SPDX-License-Identifier: GPL-3.0-or-later
"""What both tools say in each situation a host can be in: one row per situation, `bootc status` and `rpm-ostree status`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from recorded_world import HostUnderTest

REF = "lab:labos/stable/base"
MakeHost = Callable[..., HostUnderTest]


class Both:
    """Both status documents of one moment."""

    def __init__(self, host: HostUnderTest) -> None:
        self.host = host
        text = host.ok("bootc status --json")
        bootc = json.loads(text[text.index("{") :])
        self.spec: dict[str, Any] = bootc["spec"]
        self.status: dict[str, Any] = bootc["status"]
        self.rpm_ostree: dict[str, Any] = json.loads(host.ok("rpm-ostree status --json"))
        self.deployments: list[dict[str, Any]] = self.rpm_ostree["deployments"]

    @property
    def booted(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.status["booted"]
        return entry

    @property
    def staged(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.status["staged"]
        return entry

    def image(self, slot: str) -> str | None:
        """Name and tag of the image in a slot, None when the slot has none."""
        entry = self.status[slot]
        if entry is None or entry["image"] is None:
            return None
        return str(entry["image"]["image"]["image"]).rpartition("/")[2]

    def spec_image(self) -> str | None:
        image = self.spec["image"]
        return None if image is None else str(image["image"]).rpartition("/")[2]

    def order(self) -> list[str]:
        """rpm-ostree's deployments in order: what each follows, and its role."""
        return [
            f"{(one.get('origin') or one['container-image-reference']).rpartition('/')[2]}"
            f"{' staged' if one['staged'] else ''}{' booted' if one['booted'] else ''}"
            for one in self.deployments
        ]


def test_1_fresh_host_on_an_ostree_ref(make_host: MakeHost) -> None:
    both = Both(make_host(origin="ostree"))
    assert both.spec == {"bootOrder": "default", "image": None}
    assert (both.booted["image"], both.booted["ostree"]["stateroot"]) == (None, "debian")
    assert (both.status["staged"], both.status["rollback"], both.status["type"]) == (None, None, None)
    (only,) = both.deployments
    assert (only["booted"], only["origin"], only["gpg-enabled"]) == (True, REF, False)
    assert not [key for key in only if key.startswith("container-")]


def test_2_rebased_to_a_container_and_not_rebooted(make_host: MakeHost) -> None:
    host = make_host(origin="ostree")
    host.ok(f"rpm-ostree rebase ostree-unverified-registry:{host.world.open}/os:v2")
    both = Both(host)
    assert (both.spec_image(), both.image("staged"), both.image("booted")) == ("os:v2", "os:v2", None)
    assert both.status["type"] is None
    first, second = both.deployments
    assert (first["staged"], first["booted"], "origin" in first) == (True, False, False)
    assert first["container-image-reference-digest"] == both.staged["image"]["imageDigest"]
    assert (second["booted"], second["origin"]) == (True, REF)


def test_3_booted_in_the_container(make_host: MakeHost) -> None:
    host = make_host(origin="ostree")
    host.ok(f"rpm-ostree rebase ostree-unverified-registry:{host.world.open}/os:v2")
    host.reboot()
    both = Both(host)
    assert (both.image("booted"), both.status["rollback"]["image"], both.status["type"]) == ("os:v2", None, "bootcHost")
    assert both.order() == ["os:v2 booted", "base"]


def test_4_layered_packages_on_a_container(make_host: MakeHost) -> None:
    host = make_host()
    before = Both(host)
    host.node.inject("layered-packages", packages=["htop", "strace"])
    both = Both(host)
    assert (both.booted["image"], both.booted["incompatible"], both.booted["cachedUpdate"]) == (None, True, None)
    assert (both.spec["image"], both.status["type"]) == (None, None)
    (only,) = both.deployments
    assert only["requested-packages"] == only["packages"] == ["htop", "strace"]
    assert only["base-checksum"] == before.booted["ostree"]["checksum"] != only["checksum"]
    assert only["layered-commit-meta"]["rpmostree.clientlayer"] is True
    assert only["container-image-reference-digest"] == before.booted["image"]["imageDigest"]
    host.node.clear("layered-packages")
    assert Both(host).booted == before.booted


def test_5_staged_kernel_arguments(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("rpm-ostree kargs --append-if-missing=nosmt")
    both = Both(host)
    assert both.staged["image"]["imageDigest"] == both.booted["image"]["imageDigest"]
    assert both.staged["ostree"] == {**both.booted["ostree"], "deploySerial": 1}
    assert (both.staged["softRebootCapable"], both.status["type"]) == (False, "bootcHost")
    first, second = both.deployments
    assert (first["staged"], first["checksum"], first["serial"]) == (True, second["checksum"], second["serial"] + 1)
    assert "nosmt" in host.ok("rpm-ostree kargs").split()
    assert "nosmt" not in host.ok("cat /proc/cmdline").split()


def test_6_fresh_bootc_installation(make_host: MakeHost) -> None:
    both = Both(make_host(stateroot="default"))
    assert (both.image("booted"), both.status["staged"], both.status["rollback"]) == ("os:v1", None, None)
    assert (both.booted["ostree"]["stateroot"], both.status["type"]) == ("default", "bootcHost")
    (only,) = both.deployments
    assert only["osname"] == "default"
    assert only["container-image-reference"].startswith("ostree-unverified-registry:")


def test_7_switch_staged(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:v2")
    both = Both(host)
    assert (both.spec_image(), both.image("staged"), both.image("booted")) == ("os:v2", "os:v2", "os:v1")
    assert both.staged["downloadOnly"] is False
    assert both.order() == ["os:v2 staged", "os:v1 booted"]
    assert "/run/reboot-required" in host.ok("ls /run/reboot-required")


def test_8_rollback_queued(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:v2")
    host.reboot()
    host.ok("bootc rollback")
    both = Both(host)
    assert (both.spec["bootOrder"], both.status["rollbackQueued"], both.status["staged"]) == ("rollback", True, None)
    assert both.image("rollback") == "os:v1"
    assert both.order() == ["os:v1", "os:v2 booted"]


def test_9_staged_local_changes_on_a_clean_ostree_host(make_host: MakeHost) -> None:
    host = make_host(origin="ostree")
    host.ok("rpm-ostree install htop")
    both = Both(host)
    assert (both.staged["incompatible"], both.staged["image"], both.booted["image"]) == (True, None, None)
    assert (both.spec["image"], both.status["type"]) == (None, None)
    assert (both.deployments[0]["staged"], both.deployments[0]["requested-packages"]) == (True, ["htop"])


def test_10_not_an_ostree_host(make_host: MakeHost) -> None:
    host = make_host(origin="none")
    status = json.loads(host.ok("bootc status --json"))
    assert status["spec"] == {"bootOrder": "default", "image": None}
    assert {key for key, value in status["status"].items() if value} == set()
    done = host.sh("rpm-ostree status --json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: This system was not booted via libostree.\n"
    assert host.sh("bootc upgrade").returncode == 1


def test_11_locked_staged_deployment(make_host: MakeHost) -> None:
    """rpm-ostree since 2024.6 does not show a lock that staging set, only one that was toggled on."""
    host = make_host()
    host.ok(f"rpm-ostree rebase --lock-finalization ostree-unverified-registry:{host.world.open}/os:v2")
    both = Both(host)
    assert both.staged["downloadOnly"] is True
    assert (both.deployments[0]["staged"], "finalization-locked" in both.deployments[0]) == (True, False)
    host.ok("bootc upgrade --from-downloaded && bootc upgrade --download-only")
    assert Both(host).deployments[0]["finalization-locked"] is True
    host.reboot()
    assert Both(host).order() == ["os:v1 booted"]


def test_12_pinned_older_deployment(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("ostree admin pin booted")
    for image in ("os:v2", "os:v3"):
        host.ok(f"bootc switch {host.world.open}/{image}")
        host.reboot()
    both = Both(host)
    (other,) = both.status["otherDeployments"]
    assert (both.image("booted"), both.image("rollback"), other["pinned"]) == ("os:v3", "os:v2", True)
    assert [one["pinned"] for one in both.deployments] == [False, False, True]


def test_13_applied_live(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("rpm-ostree install --apply-live htop")
    both = Both(host)
    assert both.status["usrOverlay"] == {"accessMode": "readOnly", "persistence": "transient"}
    assert both.staged["incompatible"] is True
    staged, booted = both.deployments
    assert (booted["unlocked"], booted["live-replaced"]) == ("transient", staged["checksum"])


def test_14_transaction_running(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("transaction-stuck", method="Rebase", title="rebase x")
    document = json.loads(host.ok("rpm-ostree status --json"))
    method, sender, path = document["transaction"]
    assert (method, path) == ("Rebase", "/org/projectatomic/rpmostree1/debian")
    assert sender.startswith(":1.")
    waiting = host.start("bootc status --json")
    with pytest.raises(TimeoutError):
        _wait(waiting, 0.4)
    host.ok("rpm-ostree cancel")
    assert waiting.wait(10) == 0


def _wait(process: Any, seconds: float) -> None:
    import subprocess

    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error


def test_15_usr_overlay_active(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("bootc usr-overlay")
    both = Both(host)
    assert both.status["usrOverlay"] == {"accessMode": "readWrite", "persistence": "transient"}
    assert both.deployments[0]["unlocked"] == "development"
    host.reboot()
    assert (Both(host).status["usrOverlay"], Both(host).deployments[0]["unlocked"]) == (None, "none")


def test_16_update_known(make_host: MakeHost, moving_tag: Callable[[str], str]) -> None:
    moving_tag("v1")
    host = make_host(moving_tag("v1").partition("/")[2])
    moving_tag("v2")
    host.ok("bootc upgrade --check")
    both = Both(host)
    cached = both.booted["cachedUpdate"]
    assert cached["image"] == both.booted["image"]["image"]
    assert (cached["version"], cached["imageDigest"] == both.booted["image"]["imageDigest"]) == ("2.0", False)
    assert both.rpm_ostree["cached-update"] is None


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        ("1.16.9", set()),
        (
            "1.1.6",
            {"architecture", "stateroot", "softRebootCapable", "downloadOnly", "composefs", "usrOverlay", "readOnly"},
        ),
    ],
)
def test_keys_by_version(make_host: MakeHost, version: str, absent: set[str]) -> None:
    host = make_host(bootc=version)
    text = host.ok("bootc status --json")
    known = {"architecture", "stateroot", "softRebootCapable", "downloadOnly", "composefs", "usrOverlay", "readOnly"}
    assert {key for key in known if f'"{key}"' not in text} == absent
    assert not text.endswith("\n")


def test_booted_only_is_ignored_before_1_1_7(make_host: MakeHost) -> None:
    for version, shown in (("1.16.9", False), ("1.1.6", True)):
        host = make_host(bootc=version)
        host.ok(f"bootc switch {host.world.open}/os:v2")
        status = json.loads(host.ok("bootc status --json --booted"))
        assert (status["status"]["staged"] is not None) is shown
        assert status["spec"]["image"]["image"].endswith("os:v2")
