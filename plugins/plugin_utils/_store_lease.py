# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in a Kubernetes cluster: one Lease per pool with the state as annotation. The server does the swap."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_answer import Answer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import state_as_dict
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    Cluster,
    ClusterError,
    ClusterUnreachable,
    error_of,
    segment,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_remote import (
    PATIENCE_SECONDS,
    RemoteStore,
    StoreLost,
)

ANNOTATION = "imagemode.nodes/state"
_LABELS = {"app.kubernetes.io/managed-by": "imagemode.nodes"}
# All annotations of an object together may have 262144 bytes; some are left to others, who may annotate it too.
_MOST = 240_000
# Up to here it stays text that `kubectl get lease -o yaml` shows.
_READABLE = 120_000
# More than the compressed annotation could stand for in honesty.
_UNPACKED_AT_MOST = 16 << 20


class LeaseStore(RemoteStore):
    """The Lease `imagemode-<pool>`. The version is the state's generation; the swap is an update of the very object that had
    it, which the server refuses if its resourceVersion is old."""

    poll_seconds = 2.0

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pool: str,
        say: Callable[[str], None],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(pool, say, patience)
        self._cluster = cluster
        self._namespace = namespace
        self._name = lease_name(pool)
        self._all = f"/apis/coordination.k8s.io/v1/namespaces/{segment(namespace)}/leases"
        self._one = f"{self._all}/{segment(self._name)}"
        self._known: tuple[Mapping[str, Any] | None, int] | None = None

    @property
    def place(self) -> str:
        """Namespace, name and cluster."""
        return f"Lease {self._namespace}/{self._name} of {self._cluster.host}"

    def _fetch(self) -> PoolState | None:
        self._known = None
        answer = self._request("GET", self._one)
        if answer.status == 404:
            self._known = (None, 0)
            return None
        if not answer.ok:
            raise self._refused(answer, "read")
        return self._remembered(answer.body)

    def _probe(self) -> None:
        """The server says of a dry run what it would say of the real one: rights, namespace, policies."""
        self._fetch()
        lease = self._known[0] if self._known else None
        answer = self._send(lease or self._empty(), is_new=lease is None, dry=True)
        if not answer.ok and answer.status != 409:
            raise self._refused(answer, "written")

    def _put(self, state: PoolState, version: int) -> bool:
        if self._known is None or self._known[1] != version:
            self._fetch()
        lease, generation = self._known or (None, 0)
        if generation != version:
            return False
        self._known = None  # whatever comes back: what was known is old then
        answer = self._send(_with_state(lease or self._empty(), self._packed(state)), is_new=lease is None)
        if answer.status == 409 or (lease is not None and answer.status == 404):
            return False
        if not answer.ok:
            raise self._refused(answer, "written")
        self._remembered(answer.body)
        return True

    def _remembered(self, lease: Mapping[str, Any]) -> PoolState | None:
        text = (lease.get("metadata") or {}).get("annotations", {}).get(ANNOTATION)
        state = None if text is None else self._understood(_unpacked(str(text)))
        self._known = (lease, state.generation if state else 0)
        return state

    def _packed(self, state: PoolState) -> str:
        """The state as the annotation's value. JSON while it is short enough for people, compressed beyond that."""
        text = json.dumps(state_as_dict(state), separators=(",", ":"))
        if len(text) > _READABLE:
            text = base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")
        if len(text) > _MOST:
            raise StoreError(
                f"the state of pool {self._pool} takes {len(text)} bytes, and the annotations of a Lease may have 262144 in all. Bring "
                "nodes that failed back into service or forget them, or keep the state in another store (imagemode_store)."
            )
        return text

    def _empty(self) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace, "labels": _LABELS},
            "spec": {},
        }

    def _send(self, lease: Mapping[str, Any], is_new: bool, dry: bool = False) -> Answer:
        method, path = ("POST", self._all) if is_new else ("PUT", self._one)
        return self._request(method, path, lease, {"dryRun": "All"} if dry else None)

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Answer:
        try:
            answer = self._cluster.request(method, path, body, query)
        except ClusterUnreachable as error:
            raise StoreLost(f"{self.place} is not reached: {error}") from error
        except ClusterError as error:
            raise StoreError(f"{self.place} cannot be used: {error}") from error
        if answer.is_passing:
            raise StoreLost(f"{self.place} is not reached: the API server answered {answer.status}: {answer.told}.")
        return answer

    def _refused(self, answer: Answer, done: str) -> StoreError:
        if answer.status == 404:
            return StoreError(
                f"{self.place} cannot be {done}: {answer.told}. Create the namespace (files/rbac.yml of the role node_rollout does, "
                "with the rights), or set imagemode_store_namespace to the one that has them."
            )
        return StoreError(f"{self.place} cannot be {done}: {error_of(answer, 'leases')}")

    def _how_to_remove(self) -> str:
        return f"delete it (kubectl -n {self._namespace} delete lease {self._name})"


def lease_name(pool: str) -> str:
    """`imagemode-<pool>`. A pool whose name no Lease can have gets one that resembles it, with a digest to tell it apart."""
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,198}[a-z0-9])?", pool):
        return f"imagemode-{pool}"
    alike = re.sub(r"[^a-z0-9]+", "-", pool.lower())[:180].strip("-")
    digest = hashlib.sha256(pool.encode()).hexdigest()[:10]
    return "-".join(part for part in ("imagemode", alike, digest) if part)


def _with_state(lease: Mapping[str, Any], text: str) -> dict[str, Any]:
    metadata = dict(lease["metadata"])
    metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: text}
    metadata.pop("managedFields", None)
    return {**lease, "metadata": metadata}


def _unpacked(text: str) -> str:
    """The JSON in an annotation's value; what is neither that nor compressed comes back as it is, to be refused."""
    if text.lstrip().startswith("{"):
        return text
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _UNPACKED_AT_MOST)
        return data.decode()
    except (binascii.Error, zlib.error, ValueError):
        return text
