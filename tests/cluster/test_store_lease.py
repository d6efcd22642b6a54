# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in a Lease, at a real API server, with the rights of the shipped manifest."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_answer import Answer
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    Cluster as Client,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    ClusterOptions,
    ClusterUnreachable,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError, transact
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_lease import ANNOTATION, LeaseStore
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_remote import StoreLost

from cluster.api import path_of
from cluster.cluster import Cluster
from cluster.store_behaviour import OpenStore, StoreBehaviour, state_of

NAMESPACE = "imagemode"
LEASE = path_of("Lease", NAMESPACE, "imagemode-workers")
STATE = state_of("workers")
OpenAs = Callable[..., LeaseStore]


class LossyClient(Client):
    """Loses requests as told, once each: `before` the server has one, or `after`."""

    losses: list[str]

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        loss = self.losses.pop(0) if self.losses else ""
        if loss == "before":
            raise ClusterUnreachable("the API server does not answer (lost before).")
        answer = super().request(method, path, body, query, timeout)
        if loss == "after":
            raise ClusterUnreachable("the API server does not answer (lost after).")
        return answer


@pytest.fixture
def open_as(cluster: Cluster) -> Iterator[OpenAs]:
    """Opens the store of a pool as a user, with losses if there are to be any, every time as another process would."""
    with ExitStack() as opened:

        def open_one(
            pool: str = "workers",
            user: str = "rollout",
            namespace: str = NAMESPACE,
            patience: float = 30.0,
            losses: tuple[str, ...] = (),
        ) -> LeaseStore:
            client = LossyClient(ClusterOptions(kubeconfig=str(cluster.kubeconfig(user))))
            client.losses = list(losses)
            return LeaseStore(opened.enter_context(client), namespace, pool, print, patience)

        yield open_one


@pytest.fixture
def open_store(open_as: OpenAs) -> OpenStore:
    return open_as


class TestLease(StoreBehaviour):
    """As every store."""


def annotation(cluster: Cluster) -> str:
    return str(cluster.api.get(LEASE)["metadata"]["annotations"][ANNOTATION])


def test_a_person_can_read_it(cluster: Cluster, open_as: OpenAs) -> None:
    assert open_as().swap(STATE, 0)
    assert json.loads(annotation(cluster))["target_digests"] == ["sha256:new"]


def test_what_others_wrote_on_the_lease_stays(cluster: Cluster, open_as: OpenAs) -> None:
    store = open_as()
    assert store.swap(STATE, 0)
    cluster.api.patch(LEASE, {"metadata": {"annotations": {"team": "a"}, "labels": {"cost": "b"}}})
    assert not store.swap(STATE, 1), "the object that it knew is not the server's any more"
    transact(store, lambda _state: (state_of("workers", paused=True, generation=1), None))
    metadata = cluster.api.get(LEASE)["metadata"]
    assert (metadata["annotations"]["team"], metadata["labels"]["cost"]) == ("a", "b")
    assert open_as().read()[1] == 2


def test_what_is_asked_of_the_server(cluster: Cluster, open_as: OpenAs) -> None:
    """A look is one request; a change is two; and no other right is used than those of the manifest."""
    assert open_as().swap(STATE, 0)
    store = open_as()
    cluster.begin()
    store.stamp()
    state, version = store.read()
    assert state is not None
    assert store.swap(state, version)
    assert store.swap(state, version + 1)
    cluster.wait_for(lambda: len(cluster.requests()) >= 3, "the requests are not in the audit log")
    asked = [(request.user, request.verb, request.status) for request in cluster.requests()]
    assert asked == [("rollout", "get", 200), ("rollout", "update", 200), ("rollout", "update", 200)]


def test_a_check_stores_nothing(cluster: Cluster, open_as: OpenAs) -> None:
    open_as().check_usable()
    assert cluster.api.items("Lease", NAMESPACE) == []


@pytest.mark.parametrize(
    ("user", "namespace", "told"),
    [
        ("nobody", NAMESPACE, r"leases.* is forbidden.*rbac.yml"),
        ("rollout", "default", r"Lease default/imagemode-workers .*forbidden"),
        ("admin", "no-such-namespace", r"namespaces .*not found.*imagemode_store_namespace"),
    ],
)
def test_who_may_not_is_told_at_once(open_as: OpenAs, user: str, namespace: str, told: str) -> None:
    store = open_as(user=user, namespace=namespace)
    for use in (store.check_usable, lambda: store.swap(STATE, 0)):
        with pytest.raises(StoreError, match=told) as caught:
            use()
        assert not isinstance(caught.value, StoreLost), "nobody waits for rights"


def test_rights_to_read_alone_do_not_pass_the_check(cluster: Cluster, open_as: OpenAs) -> None:
    cluster.add_user(
        "reader", [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list"]}]
    )
    assert open_as(user="reader").read() == (None, 0)
    for exists in (False, True):
        if exists:
            assert open_as().swap(STATE, 0)
        with pytest.raises(StoreError, match="cannot be written"):
            open_as(user="reader").check_usable()


@pytest.mark.parametrize("text", ["", "{", '{"schema": 99}', "e30K", base64.b64encode(zlib.compress(b"{")).decode()])
def test_an_annotation_that_is_not_understood_is_left_alone_and_named(
    cluster: Cluster, open_as: OpenAs, text: str
) -> None:
    assert open_as().swap(STATE, 0)
    cluster.api.patch(LEASE, {"metadata": {"annotations": {ANNOTATION: text}}})
    store = open_as()
    for use in (store.read, store.stamp, store.check_usable, lambda: store.swap(STATE, 1)):
        with pytest.raises(StoreError, match=r"kubectl -n imagemode delete lease imagemode-workers\) and run again"):
            use()
    assert annotation(cluster) == text


def test_a_lease_that_somebody_removed_begins_anew(cluster: Cluster, open_as: OpenAs) -> None:
    store = open_as()
    assert store.swap(STATE, 0)
    cluster.api.delete(LEASE)
    assert not store.swap(STATE, 1)
    assert store.read() == (None, 0)
    assert store.swap(STATE, 0)


@pytest.mark.parametrize(
    ("losses", "meanwhile", "expected"),
    [
        (("before",), False, True),
        (("", "before"), False, True),
        (("", "after"), False, True),
        (("", "after", "after"), False, True),
        (("before",), True, False),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_swap_whose_answer_was_lost_is_looked_up(
    open_as: OpenAs, losses: tuple[str, ...], meanwhile: bool, expected: bool, exists: bool
) -> None:
    version = 0
    if exists:
        assert open_as().swap(STATE, 0)
        version = 1
    store = open_as(losses=losses)
    if meanwhile:
        assert open_as().swap(state_of("workers", pool_size=9), version)
    assert store.swap(state_of("workers", paused=True), version) is expected
    assert open_as().read()[1] == version + 1


def test_a_server_that_restarts_is_waited_for(cluster: Cluster, open_as: OpenAs) -> None:
    store = open_as()
    assert store.swap(STATE, 0)
    cluster.down()
    swapped: list[bool] = []
    # Not the other way round: a server ends with the thread that started it.
    swapping = threading.Thread(target=lambda: swapped.append(store.swap(state_of("workers", paused=True), 1)))
    swapping.start()
    time.sleep(1.5)
    cluster.up()
    swapping.join()
    assert swapped == [True]
    state, version = open_as().read()
    assert state is not None
    assert (state.paused, version) == (True, 2)


def test_a_server_that_is_down_is_told_at_once_before_a_rollout_and_after_a_while_in_it(
    cluster: Cluster, open_as: OpenAs
) -> None:
    store = open_as(patience=3.0)
    cluster.down()
    started = time.monotonic()
    with pytest.raises(StoreLost, match="does not answer"):
        store.check_usable()
    assert time.monotonic() - started < 2.0
    with pytest.raises(StoreLost, match="asked again for"):
        store.read()


def test_a_token_that_expires_is_read_again(cluster: Cluster, open_as: OpenAs) -> None:
    store = open_as()
    assert store.swap(STATE, 0)
    cluster.expire("rollout")
    assert store.swap(STATE, 1)
    cluster.expire("rollout", renew=False)
    with pytest.raises(StoreError, match="401") as caught:
        store.swap(STATE, 2)
    assert not isinstance(caught.value, StoreLost)


def test_more_than_a_lease_can_hold_is_refused_before_it_is_sent(cluster: Cluster, open_as: OpenAs) -> None:
    noise = base64.b64encode(os.urandom(250_000)).decode()
    with pytest.raises(StoreError, match=r"takes \d+ bytes.*262144"):
        open_as().swap(state_of("workers", target_digests=(noise,)), 0)
    assert cluster.api.items("Lease", NAMESPACE) == []
