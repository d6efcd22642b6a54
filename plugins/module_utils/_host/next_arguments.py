# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments on top of a staged image, so that both boot together: what was asked for, what others had staged, and
what the image brings and rpm-ostree ignores.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.carried_arguments import (
    CarriedArguments,
    parse_carried,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, Slot, Tool, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import Delta, image_delta
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_decision import (
    KargsTools,
    choose_backend,
    require_changeable,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import (
    IMAGE_WAY,
    NO_DELTA,
    Backend,
    loader_entries,
    next_arguments,
    rpm_ostree_kargs,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    Difference,
    KernelArguments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs import memory_step
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs_view import KargsView
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step

_NOTE = "/run/imagemode/carried-arguments"
_WRITE = 'umask 077; mkdir -p "${1%/*}" && cat > "$1.new" && mv -f "$1.new" "$1"'

READ_NOTE = Step(("sh", "-c", '[ ! -e "$1" ] || cat "$1"', "sh", _NOTE), timeout=10)
"""Its standard output goes to `NextArguments.resume`."""

DROP_NOTE = Step(("rm", "-f", _NOTE), timeout=10)


@dataclass(frozen=True)
class Addition:
    """What is to be done on top of a staged image, or of what is booted. Empty `commands`: the arguments are right."""

    before: KernelArguments
    after: KernelArguments
    commands: tuple[Command, ...] = ()
    memory: Step | None = None


@dataclass
class NextArguments:
    """The arguments of one run. `target` is the canonical text of the image."""

    wish: KargsWish | None
    target: str
    carried: Difference | None = None

    def resume(self, note: str) -> None:
        """Take over what an earlier run for the same image could not finish."""
        self.carried = parse_carried(note, self.target)

    @property
    def matter(self) -> bool:
        """Whether arguments have to be looked at even where nothing else is to be done."""
        return self.wish is not None or self.carried is not None

    def prepare(self, state: HostState, view: KargsView, replaces_staged: bool) -> Step | None:
        """Before anything is staged: find out what would be lost, and whether this node can take arguments at all.

        The step writes the note of what is carried. Raises Refusal, ObservationFailed.
        """
        if replaces_staged and state.tool is Tool.BOOTC:
            self.carried = view.carried(state)
            if state.next_slot is Slot.STAGED and view.next(state) is None:
                raise Refusal(
                    f"{describe(state.staged)} is staged, and nothing on this node tells whether somebody changed kernel arguments with "
                    "it, which staging another image would lose. Reboot into it first, or discard it with state: unstaged."
                )
        if self.carried is None and not self._asks_for_change(state, view):
            return None
        backend = _backend(view, state)
        require_changeable(backend, state)
        if backend is Backend.OSTREE:
            raise Refusal(
                "This node has neither rpm-ostree nor a usable `bootc loader-entries`, so kernel arguments cannot be put on top of a "
                f"staged image. {IMAGE_WAY} Or add them with the kargs module first, which edits the boot entries in place, and stage "
                "the image then."
            )
        if self.carried is None:
            return None
        note = CarriedArguments(self.target, self.carried).text().encode()
        return Step(("sh", "-c", _WRITE, "sh", _NOTE), timeout=10, input=note, gate=True)

    def addition(self, state: HostState, view: KargsView) -> Addition:
        """What is left to do in this state. Doing it and asking again leaves nothing. Raises Refusal, ObservationFailed."""
        current = view.next(state)
        if current is None:
            raise ObservationFailed(
                f"{describe(state.next)} is next, and nothing on this node tells its kernel arguments, so they cannot be changed."
            )
        owned, keep = self._owned(state, view), self._keep(state, view)
        delta = _ignored_by_rpm_ostree(state, view)
        wanted = next_arguments(current, delta, self.carried, self.wish, owned, keep)
        if wanted.same_as(current):
            return Addition(current, wanted, (), self._memory(view, state, owned, current))
        backend = _backend(view, state)
        require_changeable(backend, state)
        memory = self._memory(view, state, owned, current)
        if backend is Backend.RPM_OSTREE:
            argv = rpm_ostree_kargs(current, wanted)
            commands = (Command(argv, "change kernel arguments of the next boot"),) if argv else ()
            return Addition(current, wanted, commands, memory)
        if backend is Backend.LOADER_ENTRIES:
            plan = loader_entries(current, view.sources(state), self._as_wish(delta), keep)
            purpose = "change kernel arguments of the next boot"
            return Addition(current, plan.after, tuple(Command(argv, purpose) for argv in plan.commands))
        raise Refusal(
            f"{describe(state.next)} is next without the wanted kernel arguments, and this node can only edit the boot entries of "
            f"deployments that were booted before. {IMAGE_WAY}"
        )

    def predicted(self, state: HostState, view: KargsView, stages: bool) -> tuple[Command, ...]:
        """The commands that a real run would need, as far as they can be told before the image is there.

        bootc starts from the booted arguments, rpm-ostree from the pending ones.
        """
        if not stages:
            return self.addition(state, view).commands
        current = view.booted(state) if state.tool is Tool.BOOTC else view.next(state)
        if current is None or _backend(view, state) is not Backend.RPM_OSTREE:
            return ()
        wanted = next_arguments(
            current, NO_DELTA, self.carried, self.wish, self._owned(state, view), self._keep(state, view)
        )
        argv = rpm_ostree_kargs(current, wanted)
        return (Command(argv, "change kernel arguments of the next boot"),) if argv else ()

    def _asks_for_change(self, state: HostState, view: KargsView) -> bool:
        booted = view.booted(state)
        return self.wish is not None and not self.wish.met_by(booted, self._owned(state, view), self._keep(state, view))

    def _owned(self, state: HostState, view: KargsView) -> tuple[str, ...]:
        return view.owned_by(self.wish.owner if self.wish else None, state)

    def _keep(self, state: HostState, view: KargsView) -> frozenset[str]:
        return view.needed_by_others(self.wish.owner if self.wish else None, state)

    def _memory(
        self, view: KargsView, state: HostState, owned: tuple[str, ...], current: KernelArguments
    ) -> Step | None:
        if self.wish is None or self.wish.owner is None:
            return None
        words = self.wish.owned_after(owned, view.booted(state), view.running, current)
        return None if words == view.owned(self.wish.owner) else memory_step(self.wish.owner, words)

    def _as_wish(self, delta: Delta) -> KargsWish:
        """All of it as one wish, for a tool that knows sources only."""
        wish = self.wish or KargsWish()
        carried = self.carried
        return KargsWish(
            present=(*wish.present, *delta.added, *(carried.added if carried else ())),
            absent=(*wish.absent, *delta.removed, *(carried.removed if carried else ())),
            exact=wish.exact,
            owner=wish.owner,
            exclusive=wish.exclusive,
        )


def _ignored_by_rpm_ostree(state: HostState, view: KargsView) -> Delta:
    """What the staged image's kargs.d would change on a bootc host, and rpm-ostree left out (recorded, 2026.2)."""
    if state.tool is not Tool.RPM_OSTREE or state.next_slot is not Slot.STAGED:
        return NO_DELTA
    return image_delta(view.image(state.booted), view.image(state.staged))


def _backend(view: KargsView, state: HostState) -> Backend:
    tools = KargsTools(view.rpm_ostree, view.bootc_version, view.ostree_version)
    return choose_backend(Backend.AUTO, tools, state)
