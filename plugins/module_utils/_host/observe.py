# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a node's state: one round trip where the node is idle, a bounded and audible wait where it is not."""

from __future__ import annotations

import base64
import binascii
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ansible_collections.imagemode.nodes.plugins.module_utils._core import updaters
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_status import parse_bootc_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    Slot,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import words_as_found
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_status import parse_rpm_ostree_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staged_record import (
    StagedRecordNotUnderstood,
    parse_staged_record,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import (
    explain,
    says_not_image_mode,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.lock_holder import (
    lock_holder_step,
    parse_lock_holder,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step

BOOTC_STATUS = ("bootc", "status", "--json")
RPM_OSTREE_STATUS = ("rpm-ostree", "status", "--json")

_IDENTITY = Step(("cat", "/proc/sys/kernel/random/boot_id", "/proc/cmdline"), timeout=10)

_NOT_BOOTED = (
    "This node is not an image-mode host: {tool} is installed, but it was not booted from an image (or this is the inside of a "
    "container). Image-mode hosts are installed with `bootc install` or from an ostree-based disk image."
)

# ostree's own note on what is staged, and the file that stands for a lock as well.
_LOCKED = "locked."
_SHOW_RECORD = (
    "cd /run/ostree 2>/dev/null && [ -e staged-deployment ] || exit 0; base64 staged-deployment; "
    f"[ ! -e staged-deployment-locked ] || echo {_LOCKED}"
)
_RECORD = Step(("sh", "-c", _SHOW_RECORD), timeout=10)

_PAUSE_SECONDS = 5

# How long one question may hang before the wait is reported and the question put again.
_PATIENCE_SECONDS = 20


class ObservationFailed(Exception):
    """The node's state could not be read; the message says why and what to do."""


class HostBusy(ObservationFailed):
    """Another program held the system lock until the deadline."""


class GateClosed(Exception):
    """A gate among the steps before the question was closed, so the question was not put. `outcomes` are of those steps."""

    def __init__(self, outcomes: Sequence[Outcome] = ()) -> None:
        super().__init__("a gate was closed")
        self.outcomes = tuple(outcomes)


class NotImageMode(ObservationFailed):
    """The node has neither tool, or was not booted by ostree."""


@dataclass
class Observer:
    """Reads one node's state. `notify` gets a sentence whenever a person should know why it takes so long."""

    runner: Runner
    busy_timeout: int
    notify: Callable[[str], None] = lambda _sentence: None
    sleep: Callable[[float], None] = time.sleep

    def with_any_tool(self, first: Sequence[Step] = (), gated: bool = False) -> tuple[HostState, list[Outcome]]:
        """The state as bootc sees it, or rpm-ostree on a node without bootc.

        `gated`: do not ask if a gate among `first` closes. Raises ObservationFailed, GateClosed.
        """
        return self.with_tool(None, first, gated=gated)

    def with_tool(
        self, tool: Tool | None, first: Sequence[Step] = (), last: Sequence[Step] = (), gated: bool = False
    ) -> tuple[HostState, list[Outcome]]:
        """The state as this tool sees it; None is bootc, or rpm-ostree on a node without bootc.

        `last` runs behind the answer, which may have waited for somebody to change the very things that `last` reads. Its
        outcomes follow those of `first`.
        """
        state, outcomes, _answers = self._wait_for_status(partial(self.questions, tool), first, last, gated)
        return state, outcomes

    def when_idle(
        self, tool: Tool | None, first: Sequence[Step] = (), last: Sequence[Step] = (), gated: bool = False
    ) -> tuple[HostState, list[Outcome]]:
        """The state once no transaction runs any more, for whoever is going to change something.

        bootc waits for that by itself; rpm-ostree answers at once, and names its own transactions only.
        """
        waited = 0
        while True:
            state, outcomes = self.with_tool(tool, first, last, gated)
            if state.transaction is None:
                return state, outcomes
            holder = f"an rpm-ostree transaction ({state.transaction.method})"
            if waited >= self.busy_timeout:
                raise self._busy(holder)
            self.notify(f"waits: {holder} is running ({self.busy_timeout - waited} s left)")
            pause = min(_PAUSE_SECONDS, self.busy_timeout - waited)
            self.sleep(pause)
            waited += pause

    def completely(self) -> HostState:
        """Everything that the node's tools can tell, in one round trip on an idle node. Never raises NotImageMode."""
        extras = [
            Step(("bootc", "--version"), timeout=_PATIENCE_SECONDS),
            Step(("rpm-ostree", "--version"), timeout=_PATIENCE_SECONDS),
            Step(("rpm-ostree", "kargs"), timeout=_PATIENCE_SECONDS),
            Step(updaters.QUESTION, timeout=_PATIENCE_SECONDS),
        ]
        try:
            state, outcomes, answers = self._wait_for_status(self._questions_to_both, extras)
        except NotImageMode:
            boot_id, kargs_booted = _parse_identity(self.runner.run_one(_IDENTITY))
            return HostState(tool=None, boot_id=boot_id, kargs_booted=kargs_booted)
        bootc_version, version, kargs, active = outcomes
        state = replace(
            state,
            bootc_version=_bootc_version(bootc_version),
            rpm_ostree_version=_rpm_ostree_version(version),
            updaters=updaters.active_updaters(active.stdout),
            kargs_next=words_as_found(kargs.stdout) if kargs.ok else state.kargs_next,
        )
        return self._enriched(state, answers[-1])

    def name_local_changes(self, state: HostState) -> HostState:
        """The state with the local changes spelled out, which takes a second tool; asked only where bootc saw some.

        A transient /usr is what packages applied live look like to bootc; only rpm-ostree can tell (recorded, 2026.2).
        """
        deployments = [d for d in (state.booted, state.staged, state.rollback) if d]
        if all(deployment.local_changes.known for deployment in deployments) and state.unlocked != "transient":
            return state
        return self._enriched(state, self.runner.run_one(Step(RPM_OSTREE_STATUS, timeout=_PATIENCE_SECONDS)))

    def _enriched(self, state: HostState, outcome: Outcome) -> HostState:
        """The state with rpm-ostree's view added, where there is one that can be understood: it is the second opinion."""
        try:
            return enrich(state, parse_rpm_ostree_status(outcome.stdout)) if outcome.ok else state
        except StatusNotUnderstood as failure:
            self.notify(f"goes on without what rpm-ostree knows: {failure}")
            return state

    def questions(self, tool: Tool | None, patience: int = _PATIENCE_SECONDS) -> list[Step]:
        """The steps that ask for the state, to stand at the end of a batch; their outcomes go to `understood`."""
        rpm_ostree = Step(RPM_OSTREE_STATUS, timeout=patience)
        if tool is Tool.RPM_OSTREE:
            return [_IDENTITY, _RECORD, rpm_ostree]
        bootc = Step(BOOTC_STATUS, timeout=patience)
        return [_IDENTITY, _RECORD, bootc] + ([] if tool is Tool.BOOTC else [replace(rpm_ostree, fallback=True)])

    def _questions_to_both(self, patience: int) -> list[Step]:
        """The same for either tool, with rpm-ostree's answer in any case, and once."""
        return [replace(question, fallback=False) for question in self.questions(None, patience)]

    @staticmethod
    def understood(outcomes: Sequence[Outcome]) -> HostState | None:
        """The state from the answers; None if somebody held the system lock for too long. Raises ObservationFailed."""
        identity, record, *answers = outcomes
        return None if _late(answers) else _with_record(_state(identity, answers), record)

    def _wait_for_status(
        self,
        ask: Callable[[int], list[Step]],
        first: Sequence[Step] = (),
        last: Sequence[Step] = (),
        gated: bool = False,
    ) -> tuple[HostState, list[Outcome], list[Outcome]]:
        """Ask, and ask again while somebody holds the lock: neither tool has a deadline of its own.

        The wait counts from the question on, not from the steps before it, which have deadlines of their own.
        The state, the outcomes of `first` and `last`, and the answers that the state is from.
        """
        steps = list(first)
        done: list[Outcome] = []
        waited = 0
        while True:
            patience = max(1, min(self.busy_timeout - waited, _PATIENCE_SECONDS))
            questions = [replace(question, always=not gated) for question in ask(patience)]
            outcomes = self.runner.run([*steps, *questions, *last])
            done = done or outcomes[: len(first)]
            answers = outcomes[len(steps) : len(steps) + len(questions)]
            if not answers[0].ran:
                raise GateClosed(done)
            state = self.understood(answers)
            if state is not None:
                return state, [*done, *outcomes[len(steps) + len(questions) :]], answers
            waited += patience
            holder = self.holder()
            if waited >= self.busy_timeout:
                raise self._busy(holder)
            self.notify(f"waits: {holder} holds the system lock ({self.busy_timeout - waited} s left)")
            steps = []

    def _busy(self, holder: str) -> HostBusy:
        return HostBusy(
            f"{holder} has held the system lock of this node for the {self.busy_timeout} s that busy_timeout allows. "
            "Wait for it to end and run again, with a longer busy_timeout where it is a long pull. On the node, `systemctl stop "
            "imagemode-stage.service` ends what an earlier run of this collection still stages, and `rpm-ostree cancel` any other "
            "rpm-ostree transaction that is stuck."
        )

    def pause(self, waited: int) -> int:
        """Wait a little for whoever holds the system lock, aloud; the seconds that took."""
        self.notify(f"waits: {self.holder()} holds the system lock ({self.busy_timeout - waited} s left)")
        seconds = max(1, min(_PAUSE_SECONDS, self.busy_timeout - waited))
        self.sleep(seconds)
        return seconds

    def holder(self) -> str:
        """Who holds the lock, as far as it can be told: a transaction that rpm-ostree names, or what the kernel knows."""
        status, lock = self.runner.run([Step(RPM_OSTREE_STATUS, timeout=_PATIENCE_SECONDS), lock_holder_step()])
        with contextlib.suppress(StatusNotUnderstood):
            transaction = parse_rpm_ostree_status(status.stdout).transaction if status.ok else None
            if transaction:
                return f"an rpm-ostree transaction ({transaction.method})"
        found = parse_lock_holder(lock.stdout) if lock.ok else None
        if status.timed_out and found is None:
            return "rpm-ostreed, which does not answer (`systemctl status rpm-ostreed` says why),"
        return found.describe() if found else "another program (bootc, ostree or an update timer)"


def enrich(state: HostState, other: HostState) -> HostState:
    """What only rpm-ostree can tell, added to bootc's view: local changes, origins, transaction, update driver."""
    if state.tool is not Tool.BOOTC:
        return state
    # The same commit may be deployed in another stateroot too; bootc before 1.3 names none, and then means the booted one.
    home = other.booted.stateroot if other.booted else None
    all_others = (other.booted, other.staged, other.rollback, *other.others)
    known = {(d.stateroot, d.checksum, d.serial): d for d in all_others if d}

    def merge(deployment: Deployment | None) -> Deployment | None:
        if deployment is None:
            return None
        twin = known.get((deployment.stateroot or home, deployment.checksum, deployment.serial))
        if twin is None:
            return deployment
        return replace(
            deployment,
            origin=twin.origin,
            version=deployment.version or twin.version,
            stateroot=deployment.stateroot or twin.stateroot,
            base_checksum=twin.base_checksum,
            below=twin.image if deployment.image is None else None,
            local_changes=twin.local_changes if deployment.local_changes else deployment.local_changes,
        )

    return replace(
        state,
        booted=merge(state.booted),
        staged=merge(state.staged),
        rollback=merge(state.rollback),
        others=tuple(filter(None, map(merge, state.others))),
        unlocked=other.unlocked if state.unlocked == "none" else state.unlocked,
        live_replaced=other.live_replaced,
        transaction=other.transaction,
        update_driver=other.update_driver,
    )


def _late(answers: Sequence[Outcome]) -> bool:
    """Whether one that was needed did not come in time: what follows an answer is a second opinion only."""
    needed = next((number for number, answer in enumerate(answers) if answer.ok), len(answers))
    return any(answer.timed_out for answer in answers[:needed])


def _state(identity: Outcome, answers: Sequence[Outcome]) -> HostState:
    asked = [answer for answer in answers if answer.ran]
    present = [answer for answer in asked if not answer.missing]
    answer = next((answer for answer in present if answer.ok), present[0] if present else asked[0])
    if answer.missing:
        raise NotImageMode(
            "This node has neither bootc nor rpm-ostree on its PATH: it is not an image-mode host, or not the host you meant."
            if len(answers) > 1
            else f"This node has no {answer.argv[0]} on its PATH, and this module works with {answer.argv[0]}. Is it the host you meant? "
            "image_stage takes whichever tool a node has, and image_mode_info shows it."
        )
    if not answer.ok and says_not_image_mode(answer.stderr):
        raise NotImageMode(_NOT_BOOTED.format(tool=answer.argv[0]))
    if not answer.ok:
        raise ObservationFailed(
            f"`{' '.join(answer.argv)}` failed on this node with code {answer.rc}: {explain(answer.stderr)}"
        )
    parse = parse_bootc_status if answer.argv == BOOTC_STATUS else parse_rpm_ostree_status
    state = parse(answer.stdout)
    if state.booted is None:
        raise NotImageMode(_NOT_BOOTED.format(tool=answer.argv[0]))
    boot_id, kargs = _parse_identity(identity)
    return replace(state, boot_id=boot_id, kargs_booted=kargs, kargs_next=None if state.reboot_required else kargs)


def _with_record(state: HostState, outcome: Outcome) -> HostState:
    """The state with what only ostree's own note tells of the staged deployment: its lock, and its kernel arguments."""
    text = outcome.stdout.rstrip()
    if state.staged is None or not text:
        return state
    encoded = text[: -len(_LOCKED)] if text.endswith(_LOCKED) else text
    try:
        record = parse_staged_record(base64.b64decode(encoded))
    except binascii.Error as error:
        raise StagedRecordNotUnderstood(f"/run/ostree/staged-deployment could not be read: {error}") from error
    locked = state.staged.download_only or record.locked or text.endswith(_LOCKED)
    state = replace(state, staged=replace(state.staged, download_only=locked))
    if state.next_slot is Slot.STAGED:
        return replace(state, kargs_next=record.kargs)
    return replace(state, kargs_next=None if state.reboot_required else state.kargs_booted)


def _parse_identity(outcome: Outcome) -> tuple[str | None, tuple[str, ...] | None]:
    lines = outcome.stdout.splitlines()
    if not outcome.ok or len(lines) < 2:
        return None, None
    return lines[0].strip(), words_as_found(lines[1])


def _bootc_version(outcome: Outcome) -> str | None:
    """From `bootc X.Y.Z`."""
    words = outcome.stdout.split()
    return words[1] if outcome.ok and len(words) > 1 else None


def _rpm_ostree_version(outcome: Outcome) -> str | None:
    """From the YAML that `rpm-ostree --version` prints, where the version is quoted."""
    for line in outcome.stdout.splitlines() if outcome.ok else []:
        key, _colon, value = line.strip().partition(":")
        if key == "Version":
            return value.strip().strip("'\"")
    return None
