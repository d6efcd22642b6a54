# SPDX-License-Identifier: GPL-3.0-or-later
"""node_reboot against a node that is a list of boots: the order is given once, and the landing is proven."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import InvalidReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import (
    Inhibitors,
    RebootPolicy,
    SoftReboot,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed
from ansible_collections.imagemode.nodes.plugins.module_utils._host.reboot import Reboot
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Outcome, Runner, Step
from node_on_disk import D1, D2, bootc_status, entry

OLD, NEW = entry(), entry("v2", D2)


@dataclass
class Boot:
    """One userspace: what a node answers while it runs."""

    boot_id: str
    status: str
    soft_reboots: int | None = 0
    usr: str = ""
    facts: str = ""


@dataclass
class RebootingNode(Runner):
    """`boots[0]` runs now; a reboot moves on to the next one after `silence` polls without an answer, or never."""

    boots: list[Boot]
    silence: int = 2
    refused: bool = False
    ignored: bool = False
    overtaken: bool = False
    restaged: bool = False
    unprepared: bool = False
    garbled: int = 0
    inhibited_for: int = 0
    orders: list[tuple[str, ...]] = field(default_factory=list)
    now: float = 0.0
    quiet: int = field(default=0)
    lost: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        super().__init__()

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        self.trips += 1
        if self.quiet:
            self.quiet -= 1
            if not self.quiet and len(self.boots) > 1:
                self.boots.pop(0)
            raise NodeUnreachable("no route to host")
        outcomes, go, rc = [], True, 0
        for step in steps:
            if not (step.always or go) or (step.fallback and rc == 0):
                outcomes.append(Outcome(step.argv, None))
                continue
            outcome = self._answer(step.argv)
            rc = outcome.rc or 0
            go = go and not (step.gate and rc)
            outcomes.append(outcome)
        return outcomes

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        raise AssertionError("run is answered above")

    def _answer(self, argv: tuple[str, ...]) -> Outcome:
        boot = self.boots[0]
        if argv[0] == "cat":
            return Outcome(argv, 0, f"{boot.boot_id}\nroot=LABEL=root\n")
        if argv[:2] == ("sh", "-c"):
            return self._question(argv, *argv[3:])
        if argv == ("bootc", "status", "--json"):
            if self.garbled and len(self.boots) == 1:
                self.garbled -= 1
                return Outcome(argv, 1, "", "error: storage is not ready")
            return Outcome(argv, 0, boot.status)
        if argv == ("rpm-ostree", "status", "--json"):
            return Outcome(argv, 127)
        if argv[:3] == ("ostree", "admin", "prepare-soft-reboot"):
            self.orders.append(argv)
            failed = self.unprepared and "--reset" not in argv
            return Outcome(
                argv, int(failed), "", "error: soft reboot not supported without composefs" if failed else ""
            )
        if argv in (("rpm-ostree", "status"), ("journalctl", *argv[1:])):
            return Outcome(argv, 0, self.lost[argv[0] == "journalctl"])
        return self._reboot(argv)

    def _question(self, argv: tuple[str, ...], name: str = "", *given: str) -> Outcome:
        boot = self.boots[0]
        if not name:
            return Outcome(argv, 0)
        count = "" if boot.soft_reboots is None else str(boot.soft_reboots)
        if name == "boot-facts":
            lock = "inhibitor=backup 0 root 812 backup shutdown Backup is running block\n"
            held = self.now < self.inhibited_for
            return Outcome(argv, 0, f"soft_reboots={count}\n{boot.facts}\n{lock if held else ''}")
        if name == "usr-witness":
            return Outcome(argv, 0, boot.usr)
        if name == "is-prepared":
            return Outcome(argv, 0)
        if name == "still-next":
            return Outcome(argv, int(self.restaged))
        if name == "same-boot" and self.overtaken and len(self.boots) > 1:
            self.boots.pop(0)
        boot = self.boots[0]
        same = given == (boot.boot_id, "" if boot.soft_reboots is None else str(boot.soft_reboots))
        return Outcome(argv, 0 if same == (name == "same-boot") else 1)

    def _reboot(self, argv: tuple[str, ...]) -> Outcome:
        assert argv[0] in ("env", "systemctl")
        self.orders.append(argv)
        if self.refused:
            return Outcome(argv, 1, "", "Operation inhibited by backup")
        if not self.ignored:
            self.quiet = self.silence
            raise NodeUnreachable("connection closed")
        return Outcome(argv, 0)


FULL = ("env", "SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1", "systemctl", "reboot")
SOFT = ("systemctl", "soft-reboot")
PREPARE = ("ostree", "admin", "prepare-soft-reboot", "0")
RESET = ("ostree", "admin", "prepare-soft-reboot", "--reset")


def reboot(
    node: RebootingNode,
    *digests: str,
    check: bool = False,
    soft: SoftReboot = SoftReboot.NEVER,
    inhibitors: Inhibitors = Inhibitors.FAIL,
) -> dict[str, Any]:
    def sleep(seconds: float) -> None:
        node.now += seconds

    return Reboot(
        runner=node,
        policy=RebootPolicy(frozenset(digests), soft, inhibitors),
        busy_timeout=30,
        reboot_timeout=60,
        inhibitor_timeout=40,
        reconnect=lambda: None,
        clock=lambda: node.now,
        sleep=sleep,
    ).run(check_mode=check)


STAGED = Boot("one", bootc_status(OLD, NEW))
LANDED = Boot("two", bootc_status(NEW, rollback=OLD))


def test_nothing_staged_nothing_rebooted() -> None:
    node = RebootingNode([LANDED])
    result = reboot(node, D2)
    assert (result["changed"], node.orders, node.trips) == (False, [], 1)
    assert result["boot_id_before"] == result["boot_id_after"] == "two"


def test_reboots_once_and_proves_the_landing() -> None:
    node = RebootingNode([STAGED, LANDED])
    result = reboot(node, D1, D2)
    assert (result["changed"], node.orders, result["booted"]["digest"]) == (True, [FULL], D2)
    assert (result["boot_id_before"], result["boot_id_after"]) == ("one", "two")
    assert result["reboot_required"] is False


def test_what_another_controller_staged_meanwhile_was_booted() -> None:
    node = RebootingNode([STAGED, LANDED], restaged=True)
    with pytest.raises(HostFailure, match="Somebody else stages on it") as failure:
        reboot(node, D2)
    assert node.orders == []
    assert failure.value.result["changed"] is False


def test_check_mode_predicts() -> None:
    node = RebootingNode([STAGED])
    result = reboot(node, D2, check=True)
    assert (result["changed"], result["reboot_required"], result["booted"]["digest"], node.orders) == (
        True,
        False,
        D2,
        [],
    )


def test_a_node_that_would_boot_something_else_is_left_alone() -> None:
    node = RebootingNode([STAGED])
    with pytest.raises(HostFailure, match="Not rebooted") as refused:
        reboot(node, "sha256:" + "9" * 64)
    assert node.orders == []
    left = {key: refused.value.result[key] for key in ("changed", "rebooted", "landed", "reboot_required")}
    assert left == {"changed": False, "rebooted": None, "landed": None, "reboot_required": True}


def test_an_expectation_that_is_no_digest_is_a_mistake() -> None:
    with pytest.raises(InvalidReference, match=r"'2\.0' is not a digest"):
        reboot(RebootingNode([STAGED]), "2.0")


def test_a_reboot_by_another_controller_is_not_called_ours() -> None:
    node = RebootingNode([STAGED, LANDED], overtaken=True)
    result = reboot(node, D2)
    assert (result["changed"], node.orders, result["booted"]["digest"]) == (False, [], D2)


def test_a_refused_reboot_is_said_at_once() -> None:
    with pytest.raises(HostFailure, match="Operation inhibited by backup") as failure:
        reboot(RebootingNode([STAGED], refused=True))
    assert failure.value.result["changed"] is False


def test_a_node_that_never_comes_back() -> None:
    node = RebootingNode([STAGED], silence=10_000)
    with pytest.raises(HostFailure, match="did not come back") as failure:
        reboot(node)
    assert "no route to host" in str(failure.value)
    assert node.orders == [FULL]


def test_a_reboot_that_does_not_happen() -> None:
    with pytest.raises(HostFailure, match="still answers in the old boot"):
        reboot(RebootingNode([STAGED], ignored=True))


LANDINGS = {
    "the staged deployment was lost": (Boot("two", bootc_status(OLD)), "was not finalized at shutdown"),
    "the boot loader fell back": (Boot("two", bootc_status(OLD, rollback=NEW)), "the boot loader fell back"),
    "somebody else was there": (
        Boot("two", bootc_status(entry("v3", "sha256:" + "3" * 64))),
        "somebody else changed the node",
    ),
}


@pytest.mark.parametrize("landing", LANDINGS)
def test_a_wrong_landing_is_told_apart(landing: str) -> None:
    boot, said = LANDINGS[landing]
    with pytest.raises(HostFailure, match="came back on") as failure:
        reboot(RebootingNode([STAGED, boot]), D1, D2)
    assert said in str(failure.value)
    assert failure.value.result["boot_id_after"] == "two"


def test_a_rollback_queued_below_a_lost_deployment_is_named() -> None:
    old = entry("v0", "sha256:" + "4" * 64)
    before = Boot("one", bootc_status(OLD, NEW, rollback=old, rollbackQueued=True))
    with pytest.raises(HostFailure, match="a rollback was still queued below it"):
        reboot(RebootingNode([before, Boot("two", bootc_status(old, rollback=OLD))]), D1, D2)


def test_an_unlocked_usr_is_said_even_if_nothing_waits_for_a_reboot() -> None:
    """Packages that were applied live stay, and the discarded deployment is not there to ask for a reboot."""
    overlay = {"accessMode": "readOnly", "persistence": "transient"}
    result = reboot(RebootingNode([Boot("one", bootc_status(OLD, usrOverlay=overlay))]))
    assert result["changed"] is False
    assert any("/usr is unlocked (transient)" in warning for warning in result["warnings"])


def test_the_own_words_of_a_lost_deployment_are_quoted() -> None:
    note = "State: idle\nWarning: failed to finalize previous deployment\n  error: Copying passwd: No space left on device\n"
    node = RebootingNode([STAGED, Boot("two", bootc_status(OLD))], lost=(note, ""))
    with pytest.raises(HostFailure, match="No space left on device") as failure:
        reboot(node)
    assert "disk is too full" in str(failure.value)
    journal = "error: Finalizing deployment: conflict\n"
    node = RebootingNode([STAGED, Boot("two", bootc_status(OLD))], lost=("State: idle\n", journal))
    with pytest.raises(HostFailure, match=r"The node says: .*Finalizing deployment: conflict"):
        reboot(node)


def test_a_node_that_runs_commands_but_tells_no_state() -> None:
    with pytest.raises(HostFailure, match=r"its state cannot be read .*storage is not ready.*systemctl --failed"):
        reboot(RebootingNode([STAGED, LANDED], garbled=1000))


def test_a_status_that_is_late_is_waited_for() -> None:
    assert reboot(RebootingNode([STAGED, LANDED], garbled=2))["booted"]["digest"] == D2


# /usr as a second witness


def test_what_ostree_left_behind_says_nothing_about_a_composefs_backend() -> None:
    verity = {"verity": "abc", "bootType": "Bls"}
    old, new = (entry(tag, digest, ostree=None, composefs=verity) for tag, digest in (("v1", D1), ("v2", D2)))
    before = Boot("one", bootc_status(old, new))
    after = Boot("two", bootc_status(new, rollback=old), usr="content left-over.0")
    assert reboot(RebootingNode([before, after]), D2)["usr_proven"] is None


SAID = {"commit-2222": True, "commit-1111": False, "": None}


@pytest.mark.parametrize("commit", SAID)
@pytest.mark.parametrize("evidence", ["inode", "content"])
def test_usr_is_compared_with_what_is_said_to_be_booted(commit: str, evidence: str) -> None:
    usr = f"{evidence} {commit}.0\n" if commit else ""
    node = RebootingNode([STAGED, replace(LANDED, usr=usr)])
    if SAID[commit] is False:
        with pytest.raises(HostFailure, match="/usr is not that of its deployment"):
            reboot(node, D2)
    else:
        assert reboot(node, D2)["usr_proven"] is SAID[commit]


def test_deployments_that_cannot_be_told_apart_prove_nothing() -> None:
    node = RebootingNode([STAGED, replace(LANDED, usr="content commit-1111.0\ncontent commit-2222.0\n")])
    assert reboot(node, D2)["usr_proven"] is None


def test_after_soft_reboots_usr_is_looked_at_even_if_nothing_is_to_do() -> None:
    mistaken = replace(LANDED, soft_reboots=2, usr="content commit-1111.0\n")
    with pytest.raises(HostFailure, match="it is that of ostree commit commit-1111"):
        reboot(RebootingNode([mistaken]), D2)
    node = RebootingNode([replace(mistaken, usr="content commit-2222.0\n")])
    assert (reboot(node, D2)["usr_proven"], node.orders) == (True, [])


# soft reboots

CAPABLE = Boot("one", bootc_status(OLD, {**NEW, "softRebootCapable": True}), facts="composefs=yes")
SOFTLY = Boot("one", bootc_status(NEW, rollback=OLD), soft_reboots=1)


@pytest.mark.parametrize("soft", [SoftReboot.AUTO, SoftReboot.REQUIRED])
def test_a_soft_reboot_keeps_the_boot_id_and_is_counted(soft: SoftReboot) -> None:
    node = RebootingNode([CAPABLE, SOFTLY])
    result = reboot(node, D2, soft=soft)
    assert (result["rebooted"], node.orders) == ("soft", [PREPARE, SOFT])
    assert (result["boot_id_before"], result["boot_id_after"]) == ("one", "one")
    assert result["commands"] == [list(PREPARE), list(SOFT)]


def test_never_soft_unless_asked() -> None:
    node = RebootingNode([CAPABLE, LANDED])
    assert (reboot(node, D2)["rebooted"], node.orders) == ("full", [FULL])


def test_a_root_prepared_by_somebody_is_prepared_anew() -> None:
    node = RebootingNode([replace(CAPABLE, facts="composefs=yes\nprepared=yes"), SOFTLY])
    reboot(node, soft=SoftReboot.AUTO)
    assert node.orders == [RESET, PREPARE, SOFT]


def test_a_root_prepared_by_somebody_does_not_make_a_full_reboot_soft() -> None:
    node = RebootingNode([replace(STAGED, facts="prepared=yes"), LANDED])
    result = reboot(node, D2)
    assert (result["rebooted"], node.orders) == ("full", [FULL])
    assert "rebooted in full nevertheless" in result["warnings"][0]


OBSTACLES: dict[str, tuple[Boot, str]] = {
    "not capable": (replace(STAGED, facts="composefs=yes"), "not soft-reboot capable"),
    "no composefs": (replace(CAPABLE, facts=""), "no composefs"),
    "not counted": (replace(CAPABLE, soft_reboots=None), "does not count soft reboots"),
    "the second in this boot": (replace(CAPABLE, soft_reboots=1), "has seen a soft reboot already"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_where_a_soft_reboot_cannot_do(obstacle: str) -> None:
    boot, said = OBSTACLES[obstacle]
    node = RebootingNode([boot, LANDED])
    result = reboot(node, D2, soft=SoftReboot.AUTO)
    assert (result["rebooted"], node.orders) == ("full", [FULL])
    assert said in result["warnings"][0]
    node = RebootingNode([boot, LANDED])
    with pytest.raises(HostFailure, match=said):
        reboot(node, D2, soft=SoftReboot.REQUIRED)
    assert node.orders == []


def test_a_soft_reboot_that_cannot_be_prepared_becomes_a_full_one_or_none() -> None:
    node = RebootingNode([CAPABLE, LANDED], unprepared=True)
    result = reboot(node, D2, soft=SoftReboot.AUTO)
    assert (result["rebooted"], node.orders, result["commands"]) == ("full", [PREPARE, FULL], [list(FULL)])
    assert "not supported without composefs" in result["warnings"][0]
    node = RebootingNode([CAPABLE, LANDED], unprepared=True)
    with pytest.raises(HostFailure, match="not supported without composefs") as failure:
        reboot(node, D2, soft=SoftReboot.REQUIRED)
    assert (failure.value.result["changed"], node.orders) == (False, [PREPARE, RESET])


def test_a_soft_reboot_in_place_of_a_full_one_is_a_failure_and_no_endless_wait() -> None:
    with pytest.raises(HostFailure, match="the old kernel still runs"):
        reboot(RebootingNode([STAGED, SOFTLY]), D2)


def test_a_soft_reboot_of_the_old_root() -> None:
    restarted = Boot("one", bootc_status(OLD, rollback=NEW, rollbackQueued=True), soft_reboots=1)
    with pytest.raises(HostFailure, match=r"restarted .* a full reboot boots what is next"):
        reboot(RebootingNode([CAPABLE, restarted]), D2, soft=SoftReboot.AUTO)


def test_check_mode_predicts_a_soft_reboot() -> None:
    result = reboot(RebootingNode([CAPABLE]), soft=SoftReboot.AUTO, check=True)
    assert (result["rebooted"], result["after"]["boot_id"]) == ("soft", "one")


# inhibitors


def test_who_inhibits_is_named_and_nothing_is_rebooted() -> None:
    node = RebootingNode([STAGED, LANDED], inhibited_for=1000)
    with pytest.raises(HostFailure, match=r"backup \(process 812\): Backup is running.*inhibitors: ignore") as failure:
        reboot(node)
    assert node.orders == []
    assert failure.value.result["inhibitors"] == [{"who": "backup", "why": "Backup is running", "pid": 812}]


def test_inhibitors_can_be_waited_for_with_a_deadline() -> None:
    node = RebootingNode([STAGED, LANDED], inhibited_for=25)
    assert reboot(node, inhibitors=Inhibitors.WAIT)["rebooted"] == "full"
    with pytest.raises(HostFailure, match="going down for 40 s by backup"):
        reboot(RebootingNode([STAGED, LANDED], inhibited_for=1000), inhibitors=Inhibitors.WAIT)


def test_inhibitors_can_be_ignored() -> None:
    node = RebootingNode([STAGED, LANDED], inhibited_for=1000)
    reboot(node, inhibitors=Inhibitors.IGNORE)
    assert node.orders == [(*FULL, "--ignore-inhibitors")]


def test_check_mode_tells_of_inhibitors() -> None:
    result = reboot(RebootingNode([STAGED], inhibited_for=1000), check=True)
    assert "inhibited by backup" in result["warnings"][0]


def test_no_reboot_no_inhibitor() -> None:
    assert reboot(RebootingNode([LANDED], inhibited_for=1000))["changed"] is False


def test_on_the_composefs_backend_only_what_bootc_prepared_is_used() -> None:
    backend = {"composefs": {"verity": "f" * 128, "bootType": "Bls"}, "ostree": None}
    old, new = {**OLD, **backend}, {**NEW, **backend, "softRebootCapable": True}
    staged, landed = Boot("one", bootc_status(old, new)), Boot("one", bootc_status(new, rollback=old), soft_reboots=1)
    with pytest.raises(HostFailure, match="bootc has to prepare it"):
        reboot(RebootingNode([staged]), soft=SoftReboot.REQUIRED)
    node = RebootingNode([replace(staged, facts="prepared=yes"), landed])
    result = reboot(node, D2, soft=SoftReboot.AUTO)
    assert (result["rebooted"], result["usr_proven"], node.orders) == ("soft", None, [SOFT])


def test_a_running_transaction_is_not_rebooted_away() -> None:
    status = json.dumps(
        {
            "deployments": [
                {"checksum": "b", "serial": 0, "osname": "os", "staged": True, "booted": False},
                {"checksum": "a", "serial": 0, "osname": "os", "staged": False, "booted": True},
            ],
            "transaction": ["Upgrade", ":1.5", "/org/projectatomic/rpmostree1/os"],
        }
    )

    class BusyNode(RebootingNode):
        def _answer(self, argv: tuple[str, ...]) -> Outcome:
            if argv[0] == "bootc":
                return Outcome(argv, 127)
            return Outcome(argv, 0, status) if argv == ("rpm-ostree", "status", "--json") else super()._answer(argv)

    node = BusyNode([Boot("one", "")])
    with pytest.raises(ObservationFailed, match=r"transaction .Upgrade. still runs"):
        reboot(node)
    assert node.orders == []
