# SPDX-License-Identifier: GPL-3.0-or-later
"""bootc_switch end to end against a make-believe node: what it runs, what it proves, what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.image_staging import ImageStaging, StagingOptions
from ansible_collections.imagemode.nodes.plugins.module_utils._host.long_work import LongOutcome, LongWork, Work
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import HostBusy, NotImageMode
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step
from node_on_disk import BOOTC, D1, D2, NAME, NodeOnDisk, entry

STATUS = "bootc status --json"
STAGED_COMMIT_2 = "[ \"$2\" != status ] || echo '  default commit-2222.0 (staged)'"
STAGED_COMMIT_1 = "[ \"$2\" != status ] || echo '  default commit-1111.0 (staged)'"


@pytest.fixture
def node(tmp_path: Path) -> NodeOnDisk:
    machine = NodeOnDisk(tmp_path)
    machine.tool("bootc", BOOTC)
    machine.status(entry())
    return machine


def switch(node: NodeOnDisk, tag: str, *digests: str, check: bool = False, **fields: Any) -> dict[str, Any]:
    desired = DesiredImage(ImageReference.parse(f"{NAME}:{tag}"), frozenset(digests))
    arguments = {"busy_timeout": 30, "stage_timeout": 30, **fields}
    notify = arguments.pop("notify", lambda _sentence: None)
    options = StagingOptions(Tool.BOOTC, desired, **arguments)
    return ImageStaging(node, options, notify).run(check_mode=check)


def test_nothing_to_do_costs_one_tool_and_one_round_trip(node: NodeOnDisk) -> None:
    result = switch(node, "v1", D1)
    assert (result["changed"], result["reboot_required"], result["commands"]) == (False, False, [])
    assert node.journal == [STATUS]
    assert node.trips == 1


def test_staging_on_a_node_without_systemd_costs_three_round_trips(node: NodeOnDisk) -> None:
    node.later(entry(), entry("v2", D2))
    result = switch(node, "v2", D2)
    assert (result["changed"], result["reboot_required"], result["reboot_kind"]) == (True, True, "full")
    assert (result["digest"], result["after"]["next"]) == (D2, "staged")
    assert result["commands"] == [["bootc", "switch", f"{NAME}:v2"]]
    assert node.journal == [STATUS, f"bootc switch {NAME}:v2", STATUS]
    assert node.trips == 3, "look; find no systemd; stage and look"


def test_check_mode_runs_nothing_and_predicts_the_result(node: NodeOnDisk) -> None:
    predicted = switch(node, "v2", D2, check=True)
    assert node.journal == [STATUS]
    node.later(entry(), entry("v2", D2))
    real = switch(node, "v2", D2)
    for key in ("changed", "digest", "reboot_required", "reboot_kind", "commands", "diff", "msg", "before"):
        assert predicted[key] == real[key], key
    # What only the staging can tell is null in the prediction.
    told = ("checksum", "serial", "version", "cached_update")
    for view in (predicted["after"], real["after"]):
        view["staged"] = {key: value for key, value in view["staged"].items() if key not in told}
    assert predicted["after"] == real["after"]


def test_a_failed_switch_is_told_with_its_meaning_and_nothing_is_changed(node: NodeOnDisk) -> None:
    fail = "echo 'error: Switching: reading manifest v9 in registry.example.com/os: manifest unknown' >&2; exit 1"
    node.tool("bootc", f'[ "$1" = status ] && exec cat "$NODE/status"; {fail}')
    with pytest.raises(HostFailure) as failure:
        switch(node, "v9")
    assert "manifest unknown" in str(failure.value)
    assert "check repository and tag for a typo" in str(failure.value)
    assert "Nothing on the node was changed" in str(failure.value)
    assert failure.value.result["changed"] is False


def test_success_without_a_staged_deployment_is_not_believed(node: NodeOnDisk) -> None:
    node.later(entry())
    with pytest.raises(HostFailure, match="bootc reported success, but"):
        switch(node, "v2")


def test_an_unexpected_digest_is_not_left_staged(node: NodeOnDisk) -> None:
    node.later(entry(), entry("v2", D1))
    node.tool("ostree", STAGED_COMMIT_1)
    with pytest.raises(HostFailure, match="discarded again") as failure:
        switch(node, "v2", D2)
    assert node.journal[-1] == "ostree admin undeploy 0"
    assert failure.value.result["changed"] is True
    assert (failure.value.result["reboot_required"], failure.value.result["digest"]) == (False, D1)


def fails_after_staging(node: NodeOnDisk, files: str) -> None:
    """bootc exits 1 with the image staged; `files` is what the shell prints of the staged deployment."""
    node.tool("bootc", BOOTC + '[ "$1" = status ] || { echo "error: Staging: pruning" >&2; exit 1; }')
    node.tool("ls", files)
    node.tool("ostree", STAGED_COMMIT_2)
    node.later(entry(), entry("v2", D2))


def test_exit_1_behind_the_staging_is_a_warning(node: NodeOnDisk) -> None:
    fails_after_staging(node, 'case "$*" in *usr) echo /tree/usr ;; *) exit 2 ;; esac')
    result = switch(node, "v2", D2)
    assert (result["changed"], result["reboot_required"]) == (True, True)
    assert any("failed with code 1: Staging: pruning" in warning for warning in result["warnings"])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ('case "$*" in *usr) echo /tree/usr ;; *) echo app.container ;; esac', "app.container"),
        ("exit 2", "cannot be told"),
    ],
    ids=["bound images", "no files"],
)
def test_exit_1_that_may_have_missed_bound_images_is_not_left_staged(node: NodeOnDisk, files: str, said: str) -> None:
    fails_after_staging(node, files)
    with pytest.raises(HostFailure, match=said) as failure:
        switch(node, "v2", D2)
    assert node.journal[-1] == "ostree admin undeploy 0"
    assert "discarded again" in str(failure.value)
    assert failure.value.result["reboot_required"] is False


def test_staging_has_a_deadline(node: NodeOnDisk) -> None:
    node.tool("bootc", '[ "$1" = status ] && exec cat "$NODE/status"; exec sleep 60')
    with pytest.raises(HostFailure, match=r"was stopped after 1 s \(stage_timeout\)"):
        switch(node, "v2", stage_timeout=1)


def test_layered_packages_are_named_with_the_help_of_rpm_ostree(node: NodeOnDisk) -> None:
    node.status({"image": None, "incompatible": True, "ostree": {"checksum": "c1", "deploySerial": 0}})
    node.tool(
        "rpm-ostree",
        """echo '{"deployments": [{"checksum": "c1", "serial": 0, "booted": true, "requested-packages": ["htop"]}]}'""",
    )
    with pytest.raises(Refusal, match="layered packages htop"):
        switch(node, "v2")
    assert node.journal == [STATUS, "rpm-ostree status --json"]


def test_a_busy_node_is_waited_for_and_then_said(node: NodeOnDisk) -> None:
    node.tool("bootc", "exec sleep 60")
    node.tool(
        "rpm-ostree",
        """echo '{"deployments": [{"checksum": "c", "serial": 0, "booted": true}], "transaction": ["Rebase", ":1.5", "/o"]}'""",
    )
    with pytest.raises(HostBusy, match=r"an rpm-ostree transaction \(Rebase\) has held the system lock"):
        switch(node, "v2", busy_timeout=1)


def test_a_node_that_gets_free_in_time_is_served(node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.observe._PATIENCE_SECONDS", 1)
    node.tool("bootc", '[ -e "$NODE/free" ] || { touch "$NODE/free"; exec sleep 60; }; cat "$NODE/status"')
    said: list[str] = []
    result = switch(node, "v1", notify=said.append)
    assert result["changed"] is False
    assert any("holds the system lock" in sentence for sentence in said)


def test_a_host_without_bootc_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotImageMode, match="no bootc on its PATH"):
        switch(NodeOnDisk(tmp_path), "v1")


def test_a_host_that_was_not_booted_from_an_image_is_said(node: NodeOnDisk) -> None:
    node.status(None)
    with pytest.raises(NotImageMode, match="not an image-mode host"):
        switch(node, "v1")


def test_a_node_that_gets_busy_while_staging_does_not_hide_that_something_was_run(node: NodeOnDisk) -> None:
    node.tool(
        "bootc",
        '[ "$1" = status ] || { touch "$NODE/ran"; exit 0; }; [ -e "$NODE/ran" ] && exec sleep 60; cat "$NODE/status"',
    )
    with pytest.raises(HostFailure, match="was run, but what became of it could not be read") as failure:
        switch(node, "v2", busy_timeout=1)
    assert failure.value.result["changed"] is True


def test_a_lock_after_a_long_staging_has_the_whole_busy_timeout(
    node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.observe._PATIENCE_SECONDS", 1)
    slow = 'sleep 3; mv "$NODE/later" "$NODE/status"; touch "$NODE/held"'
    busy = '[ -e "$NODE/held" ] && { rm "$NODE/held"; exec sleep 60; }'
    node.tool("bootc", f'[ "$1" = switch ] && {{ {slow}; exit; }}; {busy}; cat "$NODE/status"')
    node.later(entry(), entry("v2", D2))
    assert switch(node, "v2", D2, busy_timeout=2)["changed"] is True


def composefs_entry(tag: str, digest: str) -> dict[str, Any]:
    backend = {"verity": digest[-64:], "bootType": "Bls", "bootloader": "systemd"}
    return entry(tag, digest, ostree=None, composefs=backend)


def test_on_the_composefs_backend_what_was_staged_could_never_be_replaced(node: NodeOnDisk) -> None:
    node.tool("rpm-ostree", "echo 'error: This system was not booted via libostree.' >&2; exit 1")
    node.status(composefs_entry("v1", D1), composefs_entry("v2", D2))
    node.later(composefs_entry("v1", D1), composefs_entry("v3", D2))
    result = switch(node, "v3", D2)
    assert result["commands"] == [["bootc", "switch", f"{NAME}:v3"]]
    assert result["reboot_required"] is True


def test_arguments_on_the_composefs_backend_are_refused_for_its_own_sake(node: NodeOnDisk) -> None:
    node.tool("rpm-ostree", "echo 'error: This system was not booted via libostree.' >&2; exit 1")
    node.tool("ostree", "exit 1")
    node.status(composefs_entry("v1", D1))
    with pytest.raises(Refusal, match="composefs backend"):
        switch(node, "v2", D2, kargs=KargsWish.of(present=["quiet-as-a-mouse"]))


def test_who_was_superseded_took_back_what_the_other_controller_had_staged(
    node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def superseded(self: LongWork, work: Work, before: Sequence[Step], after: Sequence[Step]) -> LongOutcome:
        node.status(entry(), entry("v3", D2))
        outcomes = self.runner.run([*before, *after])
        ours, theirs = tuple(outcomes[: len(before)]), tuple(outcomes[len(before) :])
        return LongOutcome(Outcome(work.argv, 143), before=ours, after=theirs, stopped=True)

    monkeypatch.setattr(LongWork, "run", superseded)
    node.tool("ostree", STAGED_COMMIT_2)
    with pytest.raises(HostFailure, match="Another controller stopped this staging") as failure:
        switch(node, "v2", D2)
    assert not [call for call in node.journal if call.startswith("ostree")]
    assert f"{NAME}:v3" in str(failure.value)


def test_leaving_alone_what_others_staged_counted_as_failing_to_discard_it(node: NodeOnDisk) -> None:
    node.status(entry(), entry("v3", D2))
    result = switch(node, "v2", unstage=True)
    assert (result["changed"], result["commands"]) == (False, [])
    assert "left alone" in result["msg"]
