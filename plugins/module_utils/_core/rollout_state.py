# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlives a rollout's processes: one object per pool, saying which nodes are out of service and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import MaintenanceWindow
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit


class SlotState(str, Enum):
    """Why a node is in the store. A node that is well and has nobody working on it is not in the store at all."""

    ACTIVE = "active"  # out of service, being updated
    FAILED = "failed"  # out of service, or not to be reached, and nobody is working on it
    KEPT = "kept"  # in service on its old image, although it should not be; the phase says where that ended
    AWAY = "away"  # out of service by somebody else's hand: cordoned by others


@dataclass(frozen=True)
class Slot:
    """One node's place. It belongs to the node: a holder that dies leaves it behind.

    Times are seconds since 1970: `since` when the node left service, or was noticed here first; `phase_since` when `phase`
    began; `held_since` when somebody last took up the work on it. `cordoned`: by others, so that it is out of service
    even after its update. `zone`: empty if the node has none.
    """

    state: SlotState
    phase: str
    since: float
    holder: Holder | None = None
    from_digest: str | None = None
    from_checksum: str | None = None
    boot_id: str | None = None
    zone: str = ""
    phase_since: float = 0.0
    held_since: float = 0.0
    cordoned: bool = False
    reason: str | None = None

    @property
    def takes_window(self) -> bool:
        """Whether the node is out of service, so that one node fewer may go."""
        return self.state is not SlotState.KEPT or self.cordoned

    @property
    def is_failure(self) -> bool:
        """Whether the node counts towards `max_failures`, whatever the time is."""
        return self.state in (SlotState.FAILED, SlotState.KEPT)

    def is_overdue(self, overdue: float, now: float) -> bool:
        """Whether it is being updated for longer than `overdue` seconds, which count as failure; 0: never."""
        return self.state is SlotState.ACTIVE and 0 < overdue < now - self.held_since


@dataclass(frozen=True)
class Denial:
    """A digest that no node of the pool may be given."""

    digest: str
    reason: str
    since: float


class OutsideWindow(str, Enum):
    """What becomes of nodes whose turn comes while no maintenance window is open."""

    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True)
class Policy:
    """How careful the pool's owner wants a rollout to be. Times are in seconds; 0 is none, and no limit.

    `max_zones`: zones that may have nodes out of service at once. `soak`: between the return of the last canary and the
    others. `soak_between`: between two nodes that leave service. `overdue`: how long a node may be updated before it counts
    as failed.
    """

    max_unavailable: NodeLimit = field(default_factory=lambda: NodeLimit(1))
    max_failures: NodeLimit = field(default_factory=lambda: NodeLimit(1))
    max_zones: int = 0
    soak: float = 0.0
    soak_between: float = 0.0
    maintenance_windows: tuple[MaintenanceWindow, ...] = ()
    outside_window: OutsideWindow = OutsideWindow.WAIT
    approval: bool = False
    overdue: float = 7200.0


@dataclass(frozen=True)
class Progress:
    """Counters for people only; no decision is made from them. `seconds`: sum over the `done` nodes out of service."""

    planned: int = 0
    done: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class PoolState:
    """The compare-and-swap object of one pool. Times are seconds since 1970.

    `canaries`: those which are still to prove the target digests. `canaries_back`: when the last of them came back, 0 if
    none did. `approved`: the target digests for which a person has let the rest follow the canaries. `last_out`: when a
    node last left service. `returned`: when nodes came back into service in this rollout, so that a second controller which
    met one while it was away knows why.
    """

    pool: str
    pool_size: int
    generation: int = 0
    target_digests: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)
    paused: bool = False
    denied: tuple[Denial, ...] = ()
    canaries: tuple[str, ...] = ()
    canaries_back: float = 0.0
    approved: tuple[str, ...] = ()
    last_out: float = 0.0
    progress: Progress = field(default_factory=Progress)
    nodes: Mapping[str, Slot] = field(default_factory=dict)
    returned: Mapping[str, float] = field(default_factory=dict)

    @property
    def window(self) -> int:
        """Nodes that may be out of service at once."""
        return self.policy.max_unavailable.of(self.pool_size)

    @property
    def failure_limit(self) -> int:
        """The number of failures at which no further node leaves service."""
        return self.policy.max_failures.of(self.pool_size)

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Names of the nodes that take a place in the window, the longest out first."""
        taken = [(slot.since, name) for name, slot in self.nodes.items() if slot.takes_window]
        return tuple(name for _since, name in sorted(taken))

    @property
    def failures(self) -> tuple[str, ...]:
        """Names of the nodes that failed, sorted. Those that are overdue, which is a matter of the time, are not among them."""
        return tuple(sorted(name for name, slot in self.nodes.items() if slot.is_failure))

    def overdue(self, now: float) -> tuple[str, ...]:
        """Names of the nodes whose update takes too long, sorted: they count as failures, and keep their places."""
        late = self.policy.overdue
        return tuple(sorted(name for name, slot in self.nodes.items() if slot.is_overdue(late, now)))

    @property
    def needs_approval(self) -> bool:
        """Whether only canaries may leave service, until a person approves of these target digests."""
        return self.policy.approval and set(self.approved) != set(self.target_digests)

    def denial(self, digests: Iterable[str]) -> Denial | None:
        """The first denial of one of these digests."""
        wanted = set(digests)
        return next((denial for denial in self.denied if denial.digest in wanted), None)
