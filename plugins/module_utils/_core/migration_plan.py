# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to have bootc look after a node that rpm-ostree deployed. Pure.

There is no marker that says which tool manages a host: both work on one ostree repository, one origin and one store of
layers (bootc 1.16.9 crates/ostree-ext/src/container). A host is bootc-managed when it has bootc, and booted an image
without local changes. So what a migration costs is what it takes to boot such a deployment, and often that is nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    SignaturePolicy,
    origin_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    NO_LOCAL_CHANGES,
    DeployedImage,
    Deployment,
    HostState,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    UNVERIFIED,
    Signature,
    SignatureKind,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import StagingTool, plan_staging


class MigrationCase(str, Enum):
    """What a node is, seen from bootc."""

    MANAGED = "bootc-managed"
    STAGED = "staged"
    SAME_CONTENT = "other reference"
    OTHER_IMAGE = "other image"
    LOCAL_CHANGES = "local changes"
    BRANCH = "ostree branch"
    NO_BOOTC = "no bootc"
    NOT_IMAGE_MODE = "not image-mode"


@dataclass(frozen=True)
class LayerStore:
    """The layers of the wanted image, for the node's architecture, as digest and size in bytes; and the digests that
    the node has. `layers` is None where the image's are not known."""

    layers: tuple[tuple[str, int], ...] | None
    present: frozenset[str] = frozenset()

    @property
    def missing_bytes(self) -> int | None:
        """What the node would have to pull. Less, where bootc finds a layer again that was compressed another way."""
        if self.layers is None:
            return None
        return sum(size for digest, size in dict(self.layers).items() if digest not in self.present)


@dataclass(frozen=True)
class Way:
    """Something that a person can decide on. `pull_bytes` and `reboots` are None where they cannot be told."""

    do: str
    pull_bytes: int | None
    reboots: int | None

    def as_dict(self) -> dict[str, Any]:
        """The public shape."""
        return {"do": self.do, "pull_bytes": self.pull_bytes, "reboots": self.reboots}


@dataclass(frozen=True)
class Migration:
    """What a node is, and what it costs to migrate it. `tool` stages.

    `pull_bytes` are bytes of layers; with `reboots` None where nobody can tell. `losses` is what the migration takes
    from the node. `blocked` says why it cannot go on as things stand, and `ways` are the ways on from there.
    """

    case: MigrationCase
    tool: Tool | None = None
    pull_bytes: int | None = None
    reboots: int | None = None
    losses: tuple[str, ...] = ()
    blocked: str | None = None
    ways: tuple[Way, ...] = ()
    note: str = ""

    @property
    def free(self) -> bool:
        """Whether it costs no byte and no reboot."""
        return self.pull_bytes == 0 and self.reboots == 0 and self.blocked is None

    def as_dict(self) -> dict[str, Any]:
        """The public shape, as documented for `migration_info`."""
        return {
            "case": self.case.value,
            "tool": self.tool.value if self.tool else None,
            "pull_bytes": self.pull_bytes,
            "reboots": self.reboots,
            "losses": list(self.losses),
            "blocked": self.blocked,
            "ways": [way.as_dict() for way in self.ways],
            "note": self.note,
        }


def plan_migration(state: HostState, desired: DesiredImage, store: LayerStore) -> Migration:
    """What the way of this host to `desired` under bootc takes. Never raises: what is refused is `blocked`."""
    booted = state.booted
    if booted is None:
        return Migration(
            MigrationCase.NOT_IMAGE_MODE,
            blocked="It was not booted from ostree or an image, so there is nothing to migrate. It has to be installed anew, for "
            "example with `bootc install to-existing-root`.",
        )
    return _Survey(state, booted, desired, store).migration()


@dataclass(frozen=True)
class _Survey:
    state: HostState
    booted: Deployment
    desired: DesiredImage
    store: LayerStore

    def migration(self) -> Migration:
        tool = self.state.tool
        if tool is Tool.RPM_OSTREE and self._is_booted:
            return Migration(
                MigrationCase.NO_BOOTC,
                tool,
                blocked="It runs the wanted image already, and that has no bootc. Build one that has, and name it in imagemode_image.",
            )
        case = self._case()
        plan, refusal = self._plan(self.desired)
        if plan is not None:
            return replace(self._costing(case, plan), note=self._note(case, plan))
        assumed, _refusal = self._plan(replace(self.desired, local_changes=LocalChangesPolicy.DISCARD))
        costs = self._costing(case, assumed) if assumed else Migration(case, tool)
        return replace(costs, blocked=refusal, ways=self._ways())

    def _case(self) -> MigrationCase:
        """The first thing that stands in the way, the most expensive one first."""
        state, signature = self.state, self._signature
        if state.tool is Tool.RPM_OSTREE:
            return MigrationCase.NO_BOOTC
        if self._is_booted:
            return MigrationCase.MANAGED
        if self.desired.satisfied_by(state.staged, signature):
            return MigrationCase.STAGED
        if _below(self.booted) is None:
            return MigrationCase.BRANCH
        if self.booted.local_changes or (state.staged is not None and state.staged.local_changes):
            return MigrationCase.LOCAL_CHANGES
        same = self.booted.digest is not None and self.booted.digest in self.desired.expected_digests
        return MigrationCase.SAME_CONTENT if same else MigrationCase.OTHER_IMAGE

    @property
    def _signature(self) -> Signature:
        return self.desired.signature_on(self.state)

    @property
    def _is_booted(self) -> bool:
        desired = replace(self.desired, local_changes=LocalChangesPolicy.FAIL)
        return desired.satisfied_by(self.booted, self._signature)

    def _plan(self, desired: DesiredImage) -> tuple[Plan | None, str | None]:
        tool: StagingTool = BootcTool() if self.state.tool is Tool.BOOTC else RpmOstreeTool()
        try:
            return plan_staging(tool, self.state, desired), None
        except Refusal as refusal:
            return None, str(refusal)

    def _costing(self, case: MigrationCase, plan: Plan) -> Migration:
        return Migration(
            case,
            self.state.tool,
            self.store.missing_bytes if any(command.pulls for command in plan.commands) else 0,
            int(plan.after.reboot_required),
            tuple(self._losses(plan)),
        )

    def _losses(self, plan: Plan) -> list[str]:
        """What is there now and is not there any more afterwards."""
        state = self.state
        losses = []
        if self.booted.local_changes and plan.after.reboot_required:
            losses.append(self.booted.local_changes.describe())
        if state.staged is not None and state.staged.local_changes and plan.changed:
            losses.append(f"{state.staged.local_changes.describe()} (staged)")
        if state.unlocked not in ("none", "transient") and plan.after.reboot_required:
            losses.append(f"what was changed in the unlocked /usr ({state.unlocked})")
        if state.live_replaced and plan.after.reboot_required:
            losses.append("packages that were applied live")
        followed = _below(origin_base(state))
        if followed and followed.signature != UNVERIFIED and self._signature == UNVERIFIED and plan.changed:
            losses.append(f"the verification of images ({followed.signature})")
        return losses

    def _note(self, case: MigrationCase, plan: Plan) -> str:
        if case is MigrationCase.NO_BOOTC:
            return "rpm-ostree gets it to the image, whose bootc takes over in that boot, at no further cost"
        if case is MigrationCase.MANAGED:
            words = {
                SignatureKind.UNVERIFIED: "bootc looks after it already: there is nothing to convert",
                SignatureKind.POLICY: "bootc looks after it already, and goes on verifying it by policy.json",
                SignatureKind.OSTREE_REMOTE: "bootc looks after it already, and `bootc upgrade` goes on verifying it through its ostree "
                "remote; no `bootc switch` to another reference could",
            }[self._signature.kind]
            return f"{words}; {plan.summary}" if plan.changed else words
        if case is MigrationCase.BRANCH:
            return "the image replaces the branch that it follows; /etc, /var and kernel arguments stay"
        return ""

    def _ways(self) -> tuple[Way, ...]:
        state = self.state
        ways = []
        if any(one is not None and one.local_changes for one in (self.booted, state.staged)):
            ways.append(Way("build what was added locally into the image", None, None))
            if self._reset_is_enough:
                ways.append(Way("run `rpm-ostree reset` on the node, and reboot it", 0, 1))
            ways.append(self._way("set imagemode_local_changes: discard", local_changes=LocalChangesPolicy.DISCARD))
        if self._signature.kind is SignatureKind.OSTREE_REMOTE:
            ways.append(self._way("set imagemode_signature_policy: policy", signature_policy=SignaturePolicy.POLICY))
            ways.append(
                self._way("set imagemode_signature_policy: unverified", signature_policy=SignaturePolicy.UNVERIFIED)
            )
            ways.append(Way("leave it on the reference that it follows, and update it with `bootc upgrade`", None, 1))
        return tuple(ways)

    @property
    def _reset_is_enough(self) -> bool:
        """Whether the node's own image, without what was added to it, is the wanted one."""
        bare = replace(self.booted, image=_below(self.booted), local_changes=NO_LOCAL_CHANGES)
        return self.state.rpm_ostree_version is not None and self.desired.satisfied_by(bare, self._signature)

    def _way(self, do: str, **changes: Any) -> Way:
        plan, _refusal = self._plan(replace(self.desired, **changes))
        if plan is None:
            return Way(do, None, None)
        costs = self._costing(MigrationCase.OTHER_IMAGE, plan)
        return Way(do, costs.pull_bytes, costs.reboots)


def _below(deployment: Deployment | None) -> DeployedImage | None:
    """The image of a deployment, local changes or not; None for a plain ostree commit."""
    return (deployment.image or deployment.below) if deployment else None


def layers_present(refs: str) -> frozenset[str]:
    """The digests of the layers in a host's repository, from what `ostree refs` prints.

    A layer is the ref `ostree/container/blob/sha256_3A_…` (recorded, bootc 1.16.9 and rpm-ostree 2026.2).
    """
    prefix, escaped = "ostree/container/blob/", "sha256_3A_"
    names = (line.strip()[len(prefix) :] for line in refs.splitlines() if line.strip().startswith(prefix))
    return frozenset(f"sha256:{name[len(escaped) :]}" for name in names if name.startswith(escaped))


def readable_bytes(count: int | None) -> str:
    """A size for people: `0`, `412 MB`; `?` for None."""
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if count else "0"
        size /= 1000
    return f"{size:.1f} GB"


def platform_of(machine: str, platforms: Collection[str]) -> str | None:
    """The platform of an image that a host with this `uname -m` takes: the only one, or that of its architecture."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    wanted = f"linux/{names.get(machine, machine)}"
    if len(platforms) == 1:
        return next(iter(platforms))
    return next((name for name in sorted(platforms) if name == wanted or name.startswith(f"{wanted}/")), None)
