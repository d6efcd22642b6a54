# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlives a rollout's processes: one object per pool, saying which nodes are out of service and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import MaxUnavailable


class SlotState(str, Enum):
    """Why a node is in the store. A node that is well and has nobody working on it is not in the store at all."""

    ACTIVE = "active"  # out of service, being updated
    FAILED = "failed"  # out of service, or away, and nobody is working on it
    UNSTAGED = "unstaged"  # in service on its old image: the new one could not be put beside it


@dataclass(frozen=True)
class Slot:
    """One node's place. `since`: seconds since 1970. It belongs to the node: a holder that dies leaves it behind."""

    state: SlotState
    phase: str
    since: float
    holder: Holder | None = None
    from_digest: str | None = None
    boot_id: str | None = None
    was_cordoned: bool | None = None
    reason: str | None = None

    @property
    def takes_window(self) -> bool:
        """Whether the node is out of service, so that one node fewer may go."""
        return self.state is not SlotState.UNSTAGED

    @property
    def is_failure(self) -> bool:
        """Whether the node counts towards `max_failures`."""
        return self.state is not SlotState.ACTIVE


@dataclass(frozen=True)
class Denial:
    """A digest that no node of the pool may be given."""

    digest: str
    reason: str
    since: float


@dataclass(frozen=True)
class Policy:
    """How careful the pool's owner wants a rollout to be."""

    max_unavailable: MaxUnavailable = field(default_factory=lambda: MaxUnavailable(1))
    max_failures: int = 1


@dataclass(frozen=True)
class Progress:
    """Counters for people only; no decision is made from them. `seconds`: sum over the `done` nodes out of service."""

    planned: int = 0
    done: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class PoolState:
    """The compare-and-swap object of one pool.

    `canaries`: those which are still to prove the target digests. `returned`: when (seconds since 1970) nodes came back
    into service in this rollout, so that a second controller which met one while it was away knows why.
    """

    pool: str
    pool_size: int
    generation: int = 0
    target_digests: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)
    paused: bool = False
    denied: tuple[Denial, ...] = ()
    canaries: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)
    nodes: Mapping[str, Slot] = field(default_factory=dict)
    returned: Mapping[str, float] = field(default_factory=dict)

    @property
    def window(self) -> int:
        """Nodes that may be out of service at once."""
        return self.policy.max_unavailable.window(self.pool_size)

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Names of the nodes that take a place in the window, the longest out first."""
        taken = [(slot.since, name) for name, slot in self.nodes.items() if slot.takes_window]
        return tuple(name for _since, name in sorted(taken))

    @property
    def failures(self) -> tuple[str, ...]:
        """Names of the nodes that count towards `max_failures`, sorted."""
        return tuple(sorted(name for name, slot in self.nodes.items() if slot.is_failure))
