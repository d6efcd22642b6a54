# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a staging came to what was asked for, told by the node's state alone; and if not, what is done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import Placement
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    Slot,
    Tool,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import Desired, discard
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.bound_images import (
    bound_images_step,
    parse_bound_images,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import (
    first_failure,
    gave_way,
    steps_of,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner


@dataclass(frozen=True)
class StagingProof:
    """The proof of one plan. `desired` is None only where whatever is staged was to be discarded."""

    runner: Runner
    plan: Plan
    desired: Desired | None
    unstage: bool
    busy_timeout: int
    stage_timeout: int

    def is_staged(self, state: HostState) -> bool:
        """Whether what is staged is what was asked for, locked or not."""
        return self.desired is not None and self.desired.satisfied_by(state.staged, self._signature())

    def is_in_place(self, state: HostState) -> bool:
        """Whether the node has it where it was asked for; a lock that is still missing does not count."""
        if self.desired is None or self.unstage:
            return state.staged is None
        if self.desired.placement is Placement.DOWNLOADED:
            return self.is_staged(state) or self.desired.satisfied_by(state.booted, self._signature())
        return self.desired.satisfied_by(state.next, self._signature())

    def is_untouched(self, after: HostState) -> bool:
        """Whether what boots next and what is staged is what it was before."""
        return _places(after) == _places(self.plan.before)

    def require(self, after: HostState, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
        """Raises HostFailure if the node is not where the plan wanted it; returns what is to be warned of if it is."""
        failed = first_failure(outcomes)
        if not self.is_in_place(after):
            raise self.incomplete(after, self._tool_failure(failed) if failed is not None else self._unproven(after))
        pulls = [command.argv for command in self.plan.commands if command.pulls]
        if not pulls or not self.is_staged(after):
            return ()
        if failed is None:
            return self._not_pulled(after)
        if failed.argv not in pulls or gave_way([failed]):
            return ()
        return self._failed_after_staging(after, failed)

    def _not_pulled(self, after: HostState) -> tuple[str, ...]:
        """rpm-ostree knows of no bound images; bootc pulls them as it stages (bootc 1.16.9 crates/lib/src/boundimage.rs)."""
        if after.tool is not Tool.RPM_OSTREE or after.staged is None or after.staged.image is None:
            return ()
        bound = parse_bound_images(self.runner.run_one(bound_images_step(after.staged)))
        if not bound:
            return ()
        return (
            f"the image is bound to others ({', '.join(bound)} in /usr/lib/bootc/bound-images.d), and rpm-ostree does not pull them: "
            "what needs them will not start after the reboot unless they are on the node. bootc pulls them as it stages",
        )

    def _failed_after_staging(self, after: HostState, failed: Outcome) -> tuple[str, ...]:
        """The right image is staged, and the tool failed at what comes behind that: removing old images, or bound images."""
        said = self._tool_failure(failed).rstrip(".")
        if after.tool is Tool.BOOTC and after.staged is not None:
            bound = parse_bound_images(self.runner.run_one(bound_images_step(after.staged)))
            if bound is None:
                raise self.incomplete(
                    after, f"{said}. The image was staged, but whether all of it is there cannot be told"
                )
            if bound:
                raise self.incomplete(
                    after,
                    f"{said}. The image was staged, but images that it is bound to may be missing on the node "
                    f"({', '.join(bound)} in /usr/lib/bootc/bound-images.d)",
                )
        return (f"{said}. The image had been staged before that, and is proven",)

    def incomplete(self, after: HostState, why: str) -> HostFailure:
        """The failure, after what is unproven was withdrawn."""
        if self.is_untouched(after):
            # What the plan warns of, such as having replaced something, did not come to pass.
            plan = replace(self.plan, warnings=())
            return HostFailure(f"{_sentence(why)} Nothing on the node was changed.", staging_result(plan, after, False))
        undone, left = self._withdraw(after)
        return HostFailure(f"{_sentence(why)} {undone}", staging_result(self.plan, left, changed=True))

    def kept(self, after: HostState, why: str) -> HostFailure:
        """The failure of something that comes after the staging, which stands."""
        return HostFailure(why, staging_result(self.plan, after, changed=not self.is_untouched(after)))

    def _signature(self) -> Any:
        return self.desired.signature_on(self.plan.before) if self.desired else None

    def _tool_failure(self, failed: Outcome) -> str:
        if any(failed.argv == command.only_if for command in self.plan.commands):
            return "Somebody else changed what is staged or queued on this node since it was looked at, so it was left alone: run again"
        command = f"`{' '.join(failed.argv)}`"
        if failed.missing:
            return f"{command} cannot be run: this node has no {failed.argv[0]}"
        if failed.timed_out:
            return (
                f"{command} was stopped after {self.stage_timeout} s (stage_timeout): the registry stalls, or the link is too "
                "slow. Pull the image by hand from the node to see which; raise stage_timeout if it only needs longer."
            )
        return f"{command} failed with code {failed.rc}: {explain(failed.stderr)}"

    def _unproven(self, after: HostState) -> str:
        if self.desired is None or self.unstage:
            return f"The command reported success, but {describe(after.staged)} is still staged"
        tool = self.plan.before.tool
        return (
            f"{tool.value if tool else 'The tool'} reported success, but the node does not have {self.desired.describe()} in next place: "
            f"staged is {describe(after.staged)}. "
            "If the digest differs, the tag was moved after it was resolved: resolve the image again. Or the same content was pushed "
            "again under another digest, which no tool picks up under a tag that it follows: name the image by its digest, or "
            "push it under another tag"
        )

    def _withdraw(self, after: HostState) -> tuple[str, HostState]:
        """Unproven content must not boot at the next reboot, whoever asks for that reboot: discard it again.

        What was done, for the message, and the state that leaves.
        """
        staged = after.staged
        if staged is None or _identity(staged) == _identity(self.plan.before.staged) or staged.composefs:
            return f"Next to boot is now {describe(after.next)}: look at it before the node reboots.", after
        command = discard(staged)
        failed = first_failure(self.runner.run(steps_of([command], self.busy_timeout)))
        if failed is None:
            left = replace(after, staged=None)
            return "What had been staged was discarded again, so that it cannot boot by accident.", left
        if failed.argv == command.only_if:
            return "Somebody else has changed since what is staged: look at it before the node reboots.", after
        why = explain(failed.stderr)
        return f"It is still staged, because discarding it failed ({why}): remove it before the node reboots.", after


def staging_result(plan: Plan, after: HostState, changed: bool | None = None) -> dict[str, Any]:
    """A module's result; `changed` where the plan alone does not tell it."""
    subject = after.staged if after.staged is not None and after.staged.download_only else after.next
    result = plan.as_dict()
    if changed is not None:
        result["changed"] = changed
    return {
        **result,
        "msg": plan.summary,
        "tool": plan.before.tool.value if plan.before.tool else None,
        "before": plan.before.as_dict(),
        "after": after.as_dict(),
        "digest": subject.digest if subject else None,
        **after.reboot_facts(),
    }


def repeated_arguments(before: HostState, after: HostState) -> tuple[str, ...]:
    """What to warn of where a staging repeats kernel arguments: bootc 1.1.6 does on the way to an image without kargs.d.

    (Recorded.) Harmless for most arguments, but the line grows with every such image.
    """
    if after.next_slot is not Slot.STAGED or before.kargs_booted is None or after.kargs_next is None:
        return ()
    old, new = Counter(before.kargs_booted), Counter(after.kargs_next)
    words = [word for word in new if new[word] > max(1, old[word])]
    if not words:
        return ()
    return (
        f"the next boot has kernel arguments more than once: {' '.join(words)}. bootc 1.1.6 repeats those of kargs.d when the new image "
        "has no such directory; give the image one, even an empty one, or set each key with exact of the kargs module",
    )


def _sentence(text: str) -> str:
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def _places(state: HostState) -> object:
    return (_identity(state.next), _identity(state.staged))


def _identity(deployment: Deployment | None) -> object:
    """What makes it this deployment; what the tool merely knows about it, such as a cached update, may change at any time."""
    return (deployment.checksum, deployment.serial, deployment.image, deployment.download_only) if deployment else None
