# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments as wished: read, decide, change in one call, read again, prove."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_decision import (
    KargsTools,
    choose_backend,
    require_changeable,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import (
    Backend,
    loader_entries,
    ostree_in_place,
    rpm_ostree_kargs,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import KernelArguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import (
    first_failure,
    gave_way,
    stop_signal,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs_view import (
    OWNERS,
    STEP,
    STEP_WITH_VERSIONS,
    KargsView,
    parse,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import (
    HostBusy,
    ObservationFailed,
    Observer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step

# The list is complete or as it was, whatever happens in between; an empty one needs no file.
_REMEMBER = (
    'umask 022 && mkdir -p "$1" && cat > "$1/.$2.new" && if [ -s "$1/.$2.new" ]; then mv -f "$1/.$2.new" "$1/$2"; '
    'else rm -f "$1/.$2.new" "$1/$2"; fi'
)


def memory_step(owner: str, words: tuple[str, ...]) -> Step:
    """Writes what an owner set to the node."""
    content = "".join(f"{word}\n" for word in words).encode()
    return Step(("sh", "-c", _REMEMBER, "sh", OWNERS, owner), timeout=30, input=content, gate=True)


@dataclass(frozen=True)
class _Situation:
    """What was found, and what is to become of it. `wanted` are the next boot's arguments, machine words as they were."""

    state: HostState
    view: KargsView
    backend: Backend
    current: KernelArguments
    wanted: KernelArguments
    commands: tuple[tuple[str, ...], ...]
    owned: tuple[str, ...]
    keep: frozenset[str]


@dataclass
class Kargs:
    """One run of the module on one node. Deadlines are in seconds."""

    runner: Runner
    wish: KargsWish
    backend: Backend
    busy_timeout: int
    stage_timeout: int
    notify: Callable[[str], None] = lambda _sentence: None
    sleep: Callable[[float], None] = time.sleep

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, Refusal, NodeUnreachable."""
        waited = 0
        while True:
            found = self._situation()
            if check_mode or not found.commands:
                if not check_mode:
                    self._remember(found)
                return self._result(found, found.state, found.view, found.wanted)
            after, view, failed = self._act(found)
            if failed is None or not gave_way([failed]) or self._met(found, after, view):
                return self._proven(found, after, view, failed)
            if waited >= self.busy_timeout:
                raise HostBusy(
                    f"Another program worked on this node for the {self.busy_timeout} s that busy_timeout allows, and no kernel argument "
                    f"was changed: {explain(failed.stderr)}"
                )
            waited += self._observer().pause(waited)

    def _situation(self) -> _Situation:
        """Read everything and decide. Raises Refusal, ObservationFailed."""
        state, (answer,) = self._observer().with_tool(None, last=[self._question])
        view = parse(answer)
        current = view.next(state)
        if current is None:
            raise ObservationFailed(
                f"{describe(state.staged)} is staged, and nothing on this node tells its kernel arguments: it has no rpm-ostree, and "
                "/run/ostree/staged-deployment does not say. Reboot into it, or take it away, and run again."
            )
        sources = view.sources(state)
        owned = view.owned_by(self.wish.owner, state)
        keep = view.needed_by_others(self.wish.owner, state)
        wanted = self.wish.apply(current, owned, keep)
        backend = self._backend(state, view, needed=wanted != current)
        if wanted == current:
            return _Situation(state, view, backend, current, wanted, (), owned, keep)
        require_changeable(backend, state)
        if backend is Backend.LOADER_ENTRIES:
            plan = loader_entries(current, sources, self.wish, keep)
            return _Situation(state, view, backend, current, plan.after, plan.commands, owned, keep)
        argv = (rpm_ostree_kargs if backend is Backend.RPM_OSTREE else ostree_in_place)(current, wanted)
        return _Situation(state, view, backend, current, wanted, (argv,) if argv else (), owned, keep)

    @property
    def _question(self) -> Step:
        return STEP if self.backend in (Backend.AUTO, Backend.RPM_OSTREE) else STEP_WITH_VERSIONS

    def _backend(self, state: HostState, view: KargsView, needed: bool) -> Backend:
        """The backend to use; where nothing is to be done it is only a piece of information, and its absence no failure."""
        try:
            return choose_backend(
                self.backend, KargsTools(view.rpm_ostree, view.bootc_version, view.ostree_version), state
            )
        except Refusal:
            if needed:
                raise
            return self.backend

    def _memory(self, found: _Situation) -> Step | None:
        """The step that writes the owner's list, if it is not right already; loader entries are their own memory.

        What leaves stays listed while the booted or the pending arguments have it, so that neither a rollback nor a lost
        staging brings it back unnoticed.
        """
        owner = self.wish.owner
        if owner is None or found.backend is Backend.LOADER_ENTRIES:
            return None
        words = self.wish.owned_after(found.owned, found.view.booted(found.state), found.view.running, found.current)
        return None if words == found.view.owned(owner) else memory_step(owner, words)

    def _remember(self, found: _Situation) -> None:
        """Bring the owner's list up to date where no argument changes. This is bookkeeping, and no change of the node."""
        step = self._memory(found)
        outcome = self.runner.run_one(step) if step else None
        if outcome is not None and not outcome.ok:
            raise HostFailure(
                f"What {self.wish.owner} set could not be written to {OWNERS} on this node: {explain(outcome.stderr)}. "
                "No kernel argument was changed.",
                self._result(found, found.state, found.view, found.wanted),
            )

    def _act(self, found: _Situation) -> tuple[HostState, KargsView, Outcome | None]:
        """Change, and read again in the same trip: the state after, and the step that failed, if one did."""
        memory = self._memory(found)
        steps = [Step(argv, timeout=self.stage_timeout, signal=stop_signal(argv), gate=True) for argv in found.commands]
        steps = [memory, *steps] if memory else steps
        try:
            after, outcomes = self._observer().with_tool(None, steps, [self._question])
            view = parse(outcomes[-1])
        except ObservationFailed as failure:
            raise HostFailure(
                f"{_joined(found.commands)} was run, but what became of it could not be read: {failure}",
                {"commands": [list(argv) for argv in found.commands]},
            ) from None
        return after, view, first_failure(outcomes[:-1])

    def _met(self, found: _Situation, state: HostState, view: KargsView) -> bool:
        following = view.next(state)
        return following is not None and self.wish.met_by(following, found.owned, found.keep)

    def _proven(self, found: _Situation, state: HostState, view: KargsView, failed: Outcome | None) -> dict[str, Any]:
        """The result, if the node has what was wished; told by its state alone. Raises HostFailure if it has not."""
        following = view.next(state) or KernelArguments()
        if self._met(found, state, view):
            self.notify(f"{found.backend.value}: {_change(found.current, following)}")
            return self._result(found, state, view, following, changed=not following.same_as(found.current))
        moved = not following.same_as(found.current)
        if failed is None:
            message = (
                f"{_joined(found.commands)} reported success, but the next boot's arguments are not as wished. They are: "
                f"{following.text()}"
            )
        elif failed.timed_out:
            message = (
                f"`{' '.join(failed.argv)}` was stopped after {self.stage_timeout} s (stage_timeout). Kernel arguments are staged "
                "from what is on the node, so look there for a full disk or a stuck rpm-ostreed; raise stage_timeout for a slow disk."
            )
        else:
            message = f"`{' '.join(failed.argv)}` failed with code {failed.rc}: {explain(failed.stderr)}"
        if not moved:
            message = f"{message.rstrip('.')}. No kernel argument was changed."
        raise HostFailure(message, self._result(found, state, view, following, changed=moved))

    def _observer(self) -> Observer:
        return Observer(self.runner, self.busy_timeout, self.notify, self.sleep)

    def _result(
        self,
        found: _Situation,
        state: HostState,
        view: KargsView,
        following: KernelArguments,
        changed: bool | None = None,
    ) -> dict[str, Any]:
        changed = bool(found.commands) if changed is None else changed
        in_place = found.backend is Backend.OSTREE
        predicted = changed and state is found.state
        reboot = state.reboot_required or bool(view.waiting(state)) or predicted
        image_before, image_after = (v.image(s.next) or () for v, s in ((found.view, found.state), (view, state)))
        warnings = _warnings(found, following, image_after, in_place and changed)
        return {
            "changed": changed,
            "msg": _message(found, following, changed, reboot),
            "before": self._described(found.view, found.current, image_before, found.owned),
            "after": self._described(view, following, image_after, self._owned_after(found, state, view, predicted)),
            "reboot_required": reboot,
            "backend": found.backend.value,
            "commands": [list(argv) for argv in found.commands],
            "diff": {
                "before_header": "kernel arguments of the next boot",
                "after_header": "kernel arguments of the next boot",
                "before": _lines(found.current, image_before),
                "after": _lines(following, image_after),
            },
            "warnings": warnings,
        }

    def _owned_after(self, found: _Situation, state: HostState, view: KargsView, predicted: bool) -> tuple[str, ...]:
        if self.wish.owner is None:
            return ()
        if found.backend is Backend.LOADER_ENTRIES and not predicted:
            return view.sources(state).get(self.wish.owner, ())
        return self.wish.owned_after(found.owned, found.view.booted(found.state), found.view.running, found.current)

    @staticmethod
    def _described(
        view: KargsView,
        following: KernelArguments,
        image: tuple[str, ...],
        owned: tuple[str, ...],
    ) -> dict[str, Any]:
        words = following.without_machine_words.words
        return {
            "booted": list(view.running.words),
            "next": list(following.words),
            "image": [word for word in words if word in image],
            "local": [word for word in words if word not in image],
            "owned": list(owned),
        }


def _joined(commands: tuple[tuple[str, ...], ...]) -> str:
    return " and ".join(f"`{' '.join(argv)}`" for argv in commands)


def _change(before: KernelArguments, after: KernelArguments) -> str:
    """A few words for what changed: `+quiet -nosmt`."""
    words = [f"-{word}" for word in before.missing_from(after)] + [f"+{word}" for word in after.missing_from(before)]
    return " ".join(words) or "only the order changed"


def _message(found: _Situation, following: KernelArguments, changed: bool, reboot: bool) -> str:
    if changed:
        how = (
            "added in place to the boot entries of all deployments; no deployment was staged"
            if found.backend is Backend.OSTREE
            else f"staged with {found.backend.value}"
        )
        return f"{_change(found.current, following)}: {how}; the next reboot makes it so"
    if reboot:
        return "nothing to do: the next boot has these kernel arguments, and waits for its reboot"
    return "nothing to do: the node has these kernel arguments"


def _warnings(found: _Situation, following: KernelArguments, image: tuple[str, ...], in_place: bool) -> list[str]:
    gone = found.current.missing_from(following)
    warnings = []
    for word in gone:
        if word in image and word not in following.words:
            warnings.append(
                f"{word} is brought by the image (kargs.d) and was taken away on this node only. bootc never puts it back while images "
                "bring it, and calls that undefined behaviour; take it out of the image instead."
            )
        holders = [name for name, words in found.view.sources(found.state).items() if word in words]
        if holders and found.backend is Backend.RPM_OSTREE:
            warnings.append(
                f"{word} was set by `bootc loader-entries` for the source {', '.join(holders)}, which does not know that it is gone."
            )
    if in_place:
        warnings.append(
            "`ostree admin kargs edit-in-place` has edited the boot entries of all deployments, that of the rollback too, and has staged "
            "nothing: node_reboot sees no reason to reboot, although the arguments need one. Run `systemctl reboot`, or let them wait "
            "for the next image."
        )
    return warnings


def _lines(arguments: KernelArguments, image: tuple[str, ...]) -> str:
    """One word per line, in order; what the image brings is marked."""
    words = arguments.without_machine_words.words
    return "".join(f"{word}  (image)\n" if word in image else f"{word}\n" for word in words)
