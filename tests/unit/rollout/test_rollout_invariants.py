# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the controllers do, whoever cordons nodes, and whenever they die: one window, and everybody arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_cluster import ClusterNode
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Request, Verdict, decide
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_plan import plan_rollout
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging, StagingOutcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import Policy, PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import fail, keep, release
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rollout_examples import NEW, OLD

SIZE = 7
NODES = tuple(f"n{number}" for number in range(SIZE))
ZONES = dict(zip(NODES, "aabbbc", strict=False))  # the last node has none


class Controllers(RuleBasedStateMachine):
    """The truth is `out` (nodes that are really out of service by a rollout), `cordoned` (by other people) and `updated`; the
    store is `state`.

    A controller is a queue of nodes that have not finished. As in the play, of a queue only the first window + 2 ask.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0.0
        self.state: PoolState | None = None
        self.out: set[str] = set()
        self.updated: set[str] = set()
        self.cordoned: set[str] = set()
        self.queues: dict[Holder, list[str]] = {}
        self.working: dict[str, Holder] = {}
        self.policy = Policy()

    @initialize(
        window=st.integers(1, 3),
        max_failures=st.integers(1, 3),
        max_zones=st.integers(0, 2),
        soak=st.sampled_from([0.0, 3.0]),
        soak_between=st.sampled_from([0.0, 2.0]),
        overdue=st.sampled_from([0.0, 7200.0]),
        approval=st.booleans(),
    )
    def choose_policy(self, window: int, max_failures: int, approval: bool, **fields: Any) -> None:
        self.policy = Policy(NodeLimit(window), NodeLimit(max_failures), approval=approval, **fields)

    @rule(
        chosen=st.sets(st.sampled_from(NODES), min_size=1),
        canaries=st.lists(st.sampled_from(NODES), max_size=2, unique=True),
        approved=st.booleans(),
    )
    def start(self, chosen: set[str], canaries: list[str], approved: bool) -> None:
        """A run begins, over the whole pool or with --limit."""
        self.begin(tuple(node for node in NODES if node in chosen), tuple(canaries), approved)

    @rule(node=st.sampled_from(NODES))
    def cordon(self, node: str) -> None:
        """Somebody cordons a node that is in service; the next plan sees it."""
        if node not in self.out:
            self.cordoned.add(node)

    @rule(node=st.sampled_from(NODES))
    def uncordon(self, node: str) -> None:
        """Somebody lifts that."""
        self.cordoned.discard(node)

    def begin(self, chosen: tuple[str, ...], canaries: tuple[str, ...] = (), approved: bool = False) -> Holder:
        self.clock += 1
        holder = Holder("here", int(self.clock))
        self.queues[holder] = []
        stagings = tuple(Staging(node, self.staging(node), digest=NEW, from_digest=OLD) for node in chosen)
        request = PlanRequest(
            "p",
            NODES,
            stagings,
            self.policy,
            (NEW,),
            holder,
            self.clock,
            canaries=canaries,
            zones=ZONES,
            cluster={node: ClusterNode(cordoned=node in self.cordoned) for node in NODES},
            approved=approved,
        )
        plan = plan_rollout(self.state, request, self.alive)
        if plan.changed:
            self.state = plan.state
        self.queues[holder] = list(plan.order)
        return holder

    def staging(self, node: str) -> StagingOutcome:
        return StagingOutcome.RIGHT if node in self.updated else StagingOutcome.READY

    def alive(self, holder: Holder) -> Liveness:
        return Liveness.ALIVE if holder in self.queues else Liveness.DEAD

    def asking(self, holder: Holder) -> list[str]:
        return [
            node
            for node in self.queues[holder][: self.policy.max_unavailable.amount + 2]
            if self.working.get(node) != holder
        ]

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """A worker asks for its node's slot, in any order; or asks again though it was told to wait."""
        holder = data.draw(st.sampled_from([holder for holder, queue in self.queues.items() if queue]))
        asking = self.asking(holder)
        if asking:
            self.ask_for(data.draw(st.sampled_from(asking)), holder)

    def request(self, node: str, holder: Holder) -> Request:
        self.clock += 1
        return Request(node, holder, self.clock, zone=ZONES.get(node, ""), target_digests=(NEW,))

    def ask_for(self, node: str, holder: Holder) -> Verdict:
        assert self.state is not None
        before = self.state
        decision = decide(before, self.request(node, holder), self.alive)
        if decision.verdict is Verdict.GRANTED:
            self.check_grant(before, node)
            self.state = decision.state
            assert self.working.get(node) not in self.queues, "two live runs work on one node"
            self.working[node] = holder
            self.out.add(node)
            again = decide(self.state, self.request(node, holder), self.alive)
            assert again.state is self.state
        elif decision.verdict is not Verdict.WAIT:
            self.queues[holder].remove(node)
        return decision.verdict

    def check_grant(self, before: PoolState, node: str) -> None:
        """What must hold whenever a node leaves service that was in service."""
        if node in before.nodes and before.nodes[node].takes_window:
            return
        assert not before.canaries or node in before.canaries, "a node overtook the canaries"
        assert node in before.canaries or not before.needs_approval, "a node went without an approval"
        assert len(before.failures) < before.failure_limit, "a node left service in a rollout that had failed"
        zones = {before.nodes[name].zone for name in before.out_of_service} | {ZONES.get(node, "")}
        assert not self.policy.max_zones or len(zones) <= max(self.policy.max_zones, self.zones_before(before)), "zones"
        if self.policy.soak_between and before.last_out:
            assert self.clock - before.last_out >= self.policy.soak_between, "a node followed another too soon"

    @staticmethod
    def zones_before(before: PoolState) -> int:
        return len({before.nodes[name].zone for name in before.out_of_service})

    @precondition(lambda self: self.live_work())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A node comes back updated, and its worker says so; saying it twice is saying it once."""
        node = data.draw(st.sampled_from(self.live_work()))
        self.end(node, lambda state, holder: release(state, node, holder, self.clock))
        self.out.discard(node)
        self.updated.add(node)

    @precondition(lambda self: self.live_work())
    @rule(data=st.data())
    def break_node(self, data: st.DataObject) -> None:
        """A node does not come back."""
        node = data.draw(st.sampled_from(self.live_work()))
        self.end(node, lambda state, holder: fail(state, node, holder, self.clock, "did not come back"))

    @precondition(lambda self: self.live_work())
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """A node comes back on its old image."""
        node = data.draw(st.sampled_from(self.live_work()))
        self.end(node, lambda state, holder: keep(state, node, holder, self.clock, "unhealthy", "rolled back"))
        self.out.discard(node)

    def end(self, node: str, change: Callable[[PoolState, Holder], PoolState]) -> None:
        self.clock += 1
        assert self.state is not None
        holder = self.working.pop(node)
        self.state = change(self.state, holder)
        assert change(self.state, holder) is self.state
        self.queues[holder].remove(node)

    def live_work(self) -> list[str]:
        return sorted(node for node, holder in self.working.items() if holder in self.queues)

    @precondition(lambda self: self.queues)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """kill -9: nothing is given back."""
        self.forget_run(data.draw(st.sampled_from(list(self.queues))))

    def forget_run(self, holder: Holder) -> None:
        del self.queues[holder]
        self.working = {node: by for node, by in self.working.items() if by != holder}

    @invariant()
    def never_more_than_the_window(self) -> None:
        assert len(self.out) <= self.policy.max_unavailable.amount
        if self.state is not None:
            assert self.out <= set(self.state.nodes), "a node is out of service, and the store does not say so"

    def teardown(self) -> None:
        """Every run dies, no further node breaks and nobody cordons: approved runs over the whole pool bring everybody home."""
        for holder in list(self.queues):
            self.forget_run(holder)
        self.cordoned.clear()
        runs = 0
        while self.updated != set(NODES) or self.out:
            runs += 1
            assert runs <= 2, "a run over the whole pool did not bring everybody home"
            holder = self.begin(NODES, approved=True)
            patience = 0  # a soak takes some turns
            while self.queues[holder]:
                before = list(self.queues[holder])
                for node in self.asking(holder):
                    self.ask_for(node, holder)
                for node in self.live_work():
                    self.end(node, lambda state, by, node=node: release(state, node, by, self.clock))  # type: ignore[misc]
                    self.out.discard(node)
                    self.updated.add(node)
                patience = 0 if self.queues[holder] != before else patience + 1
                assert patience < 10, "the run waits for ever"
        self.begin(NODES)  # that a cordon was lifted is seen by the next plan
        assert self.state is None or not self.state.nodes


Controllers.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestControllers = Controllers.TestCase
