# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster for tests: the real API, real controllers, and nodes and pods that behave as a test says."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from cluster import audit, objects, users
from cluster.api import Api, ApiError, Document, path_of
from cluster.audit import Request
from cluster.following import Following, LabNode
from cluster.objects import Behaviour, Owner, Pod
from cluster.server import HOST, Server

if TYPE_CHECKING:
    from typing_extensions import Self

PATIENCE = 60.0  # seconds; everything here takes less than one on an idle machine
# What a test may have made, in the order in which it is removed: who makes pods goes before the pods.
REMOVED = ("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Job", "PodDisruptionBudget", "Lease")


class Cluster:
    """One running cluster. ``api`` is the way of its administrator, whose requests are not in ``requests()``."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self.api = self._api(server.admin_token)
        self.users = users.Users(directory / "users", self.url, self.ca_file, self.api, server.admin_token)
        self._numbers = itertools.count(1)
        self._followings: list[Following] = []
        self._offset = 0

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Start a server whose files are in ``directory``. Raises ServerError and what cluster.build raises."""
        server = Server(directory / "server")
        server.start()
        return cls(server, directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.follow_nobody()
        self._server.crash()

    # ways in

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def ca_file(self) -> Path:
        return self._server.ca_file

    def kubeconfig(self, user: str, credentials: users.Credentials = "token") -> Path:
        """The kubeconfig file of ``admin``, ``rollout`` (the rights of the shipped manifest), ``nobody`` or an added user."""
        return self.users.kubeconfig(user, credentials)

    def add_user(self, user: str, rules: Sequence[Document]) -> None:
        """Another user, with these rules of a ClusterRole; ``users.rules()`` are those of the shipped manifest."""
        self.users.add(user, rules)

    def expire(self, user: str, *, renew: bool = True) -> None:
        """End the user's token: 401 from now on. With ``renew`` the files have a new one for whoever reads them again."""
        self.users.expire(user, self._api(self.users.token(user)), renew=renew)

    def api_of(self, user: str) -> Api:
        """Requests as a user, with the token which is valid now."""
        return self._api(self.users.token(user))

    # the server

    def restart(self, down: float = 0.0) -> None:
        """The server crashes and comes up on the same port, with everything it knew. ``down``: seconds in between."""
        self.down()
        time.sleep(down)
        self.up()

    def down(self) -> None:
        """The server crashes: connections are refused."""
        self._server.crash()

    def up(self) -> None:
        self._server.start()

    def stop_answering(self) -> None:
        """Connections are accepted from now on, and nothing is answered."""
        self._server.freeze()

    def answer(self) -> None:
        self._server.thaw()

    # what is in it

    def namespace(self, name: str | None = None) -> str:
        """A namespace of this test's own."""
        name = name or f"test-{next(self._numbers)}"
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def node(
        self,
        name: str,
        *,
        ready: bool = True,
        labels: Mapping[str, str] | None = None,
        zone: str | None = None,
        control_plane: bool = False,
        cordoned: bool = False,
        taints: Sequence[Document] = (),
        boot_id: str = "",
    ) -> str:
        """A node. ``cordoned``: by somebody else than the rollout."""
        role = {"node-role.kubernetes.io/control-plane": ""} if control_plane else {}
        self.api.create(objects.node(name, {**role, **(labels or {})}, zone, taints))
        # Admission taints a node as not ready when it is made; what takes that off in a real cluster does not run here.
        self.api.patch(
            path_of("Node", name=name), {"spec": {"unschedulable": cordoned or None, "taints": list(taints)}}
        )
        self.set_node(name, ready=ready, boot_id=boot_id or str(uuid.uuid4()))
        return name

    def set_node(self, name: str, *, ready: bool, boot_id: str | None = None) -> None:
        """What the cluster thinks of a node. On one that is not ready no pod ends, and none is ready."""
        if boot_id is None:
            boot_id = self.get_node(name)["status"]["nodeInfo"]["bootID"]
        self.api.patch(path_of("Node", name=name, subresource="status"), objects.node_status(ready, boot_id))

    def follow(self, nodes: Iterable[LabNode], ready_after: float = 0.5) -> Following:
        """Nodes of the lab are nodes of the cluster from now on, made if they are missing: NotReady while they are down.

        ``ready_after``: seconds from when a node is up until it is Ready.
        """
        known = {document["metadata"]["name"] for document in self.api.items("Node")}
        nodes = list(nodes)
        for node in nodes:
            if node.name not in known:
                self.node(node.name, ready=node.is_up(), boot_id=node.boot_id)
        following = Following(
            nodes, lambda name, ready, boot_id: self.set_node(name, ready=ready, boot_id=boot_id), ready_after
        )
        self._followings.append(following)
        return following

    def get_node(self, name: str) -> Document:
        """The Node as the API has it."""
        return self.api.get(path_of("Node", name=name))

    def is_cordoned(self, name: str) -> bool:
        return bool(self.get_node(name)["spec"].get("unschedulable", False))

    def cordon(self, name: str, cordoned: bool = True) -> None:
        """As ``kubectl cordon`` and ``uncordon`` of another person."""
        self.api.patch(path_of("Node", name=name), {"spec": {"unschedulable": cordoned or None}})

    @contextlib.contextmanager
    def busy_node(self, name: str, every: float = 0.005) -> Iterator[None]:
        """Somebody changes the node all the time, so that what one has read of it is out of date when one writes."""
        ended = threading.Event()

        def change() -> None:
            for number in itertools.count():
                with contextlib.suppress(OSError, ApiError):
                    self.api.patch(
                        path_of("Node", name=name), {"metadata": {"annotations": {f"{objects.OURS}busy": str(number)}}}
                    )
                if ended.wait(every):
                    return

        thread = threading.Thread(target=change, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def pod(
        self,
        namespace: str,
        node: str,
        name: str | None = None,
        *,
        owner: Owner | None = "ReplicaSet",
        owner_exists: bool = True,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        empty_dir: bool = False,
        ready: bool = True,
        ready_after: float = 0.0,
        stops_after: float = 0.2,
        grace: int = 30,
        phase: str = "Running",
        finalizers: Sequence[str] = (),
    ) -> Pod:
        """A pod on a node, when it is as far as it gets. ``name`` is its owner's, where the owner gives the pod one.

        The pod of a ReplicaSet or StatefulSet comes back on another node when it was evicted, that of a StatefulSet under
        its old name; those of a DaemonSet and a Job do not, as their controllers do not run here. ``owner="static"`` is
        the mirror pod of one that the kubelet itself runs. ``owner_exists=False``: its owner was deleted since.
        ``stops_after``: seconds that it goes on after it was told to end, at most ``grace``. ``phase``: Succeeded or
        Failed for one that has ended, Pending for one that never begins. ``finalizers`` keep it from going away.
        """
        name = name or f"pod-{next(self._numbers)}"
        behaviour = Behaviour(ready, ready_after, stops_after, grace, phase, empty_dir, finalizers)
        if owner in ("ReplicaSet", "StatefulSet"):
            document = objects.controller(owner, namespace, name, behaviour, labels=labels or {}, preferred_node=node)
            document["spec"]["template"]["metadata"]["annotations"].update(annotations or {})
            self.api.create(document)
            found = self._settled(namespace, {objects.APPLICATION: name}, 1, behaviour)[0]
            if not owner_exists:
                self.api.delete(path_of(owner, namespace, name), {"propagationPolicy": "Background"})
            return found
        return self._placed_pod(
            namespace, node, name, behaviour, owner, owner_exists, labels or {}, dict(annotations or {})
        )

    def _placed_pod(
        self,
        namespace: str,
        node: str,
        name: str,
        behaviour: Behaviour,
        owner: Owner | None,
        owner_exists: bool,
        labels: Mapping[str, str],
        annotations: dict[str, str],
    ) -> Pod:
        owning: Document | None = None
        if owner == "static":
            name = f"{name}-{node}"
            owning = {**self.get_node(node), "apiVersion": "v1", "kind": "Node"}
            annotations |= {"kubernetes.io/config.mirror": uuid.uuid4().hex, "kubernetes.io/config.source": "file"}
        elif owner in ("DaemonSet", "Job"):
            wanted = objects.controller(owner, namespace, name, behaviour, labels=labels)
            try:
                owning = self.api.create(wanted)
            except ApiError as error:  # the DaemonSet has a pod on another node already
                if error.reason != "AlreadyExists":
                    raise
                owning = self.api.get(path_of(owner, namespace, name))
            name = f"{name}-{uuid.uuid4().hex[:5]}"
            labels = {**wanted["spec"]["template"]["metadata"]["labels"]}
        document = objects.pod(namespace, name, node, behaviour, labels=labels, annotations=annotations, owner=owning)
        uid = self.api.create(document)["metadata"]["uid"]
        if owning is not None and not owner_exists:
            self.api.delete(path_of(owning["kind"], namespace, owning["metadata"]["name"]))
        found = self._settled(namespace, {}, 1, behaviour, uid)
        return found[0]

    def deployment(
        self,
        namespace: str,
        name: str | None = None,
        *,
        replicas: int = 1,
        labels: Mapping[str, str] | None = None,
        node_selector: Mapping[str, str] | None = None,
        ready_after: float = 0.0,
        stops_after: float = 0.2,
        grace: int = 30,
        empty_dir: bool = False,
    ) -> list[Pod]:
        """A Deployment whose pods are spread over the nodes, and come back elsewhere; its pods when all are ready.

        Every pod has the labels, and ``objects.APPLICATION``: the name.
        """
        name = name or f"deployment-{next(self._numbers)}"
        behaviour = Behaviour(ready_after=ready_after, stops_after=stops_after, grace=grace, empty_dir=empty_dir)
        self.api.create(
            objects.controller(
                "Deployment",
                namespace,
                name,
                behaviour,
                replicas=replicas,
                labels=labels or {},
                node_selector=node_selector,
            )
        )
        return self._settled(namespace, {objects.APPLICATION: name}, replicas, behaviour)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Another number of replicas of a Deployment."""
        self.api.patch(path_of("Deployment", namespace, name), {"spec": {"replicas": replicas}})

    def budget(
        self,
        namespace: str,
        name: str | None = None,
        *,
        labels: Mapping[str, str],
        min_available: int | str | None = None,
        max_unavailable: int | str | None = None,
    ) -> str:
        """A PodDisruptionBudget over the pods with these labels, when the disruption controller has seen it."""
        name = name or f"budget-{next(self._numbers)}"
        self.api.create(objects.budget(namespace, name, labels, _limits(min_available, max_unavailable)))
        self._wait_for_budget(namespace, name)
        return name

    def set_budget(
        self,
        namespace: str,
        name: str,
        *,
        min_available: int | str | None = None,
        max_unavailable: int | str | None = None,
    ) -> None:
        """Change what a budget allows."""
        limits = {"minAvailable": None, "maxUnavailable": None, **_limits(min_available, max_unavailable)}
        self.api.patch(path_of("PodDisruptionBudget", namespace, name), {"spec": limits})
        self._wait_for_budget(namespace, name)

    def etcd_pod(self, node: str, *, ready: bool = True) -> Pod:
        """An etcd member on a node of the control plane, as kubeadm makes one: a static pod in kube-system."""
        return self.pod(
            "kube-system",
            node,
            "etcd",
            owner="static",
            ready=ready,
            labels={"component": "etcd", "tier": "control-plane"},
        )

    def pods(self, namespace: str | None = None, node: str | None = None) -> list[Pod]:
        """The pods of a namespace, of a node, or all."""
        query = {} if node is None else {"fieldSelector": f"spec.nodeName={node}"}
        return [Pod.parse(document) for document in self.api.items("Pod", namespace, **query)]

    def set_pod(self, pod: Pod, *, ready: bool) -> None:
        """A pod that got ill, or well."""
        change = {"metadata": {"annotations": {objects.READY: "true" if ready else "false"}}}
        self.api.patch(path_of("Pod", pod.namespace, pod.name), change)
        self.wait_for(
            lambda: any(now.uid == pod.uid and now.ready == ready for now in self.pods(pod.namespace)),
            f"{pod.namespace}/{pod.name} did not become {'ready' if ready else 'unready'}",
        )

    def remove_finalizers(self, pod: Pod) -> None:
        self.api.patch(path_of("Pod", pod.namespace, pod.name), {"metadata": {"finalizers": None}})

    # what was done to it

    def requests(self, user: str | None = None, verb: str | None = None, resource: str | None = None) -> list[Request]:
        """The requests of this test so far, in the order of their answers. ``resource`` as in ``pods/eviction``."""
        found = audit.read(self._server.audit_log, self._offset, self.users.names)
        return [
            request
            for request in found
            if user in (None, request.user) and verb in (None, request.verb) and resource in (None, request.resource)
        ]

    def wait_for(self, holds: Callable[[], bool], otherwise: str, seconds: float = PATIENCE) -> None:
        """Wait until something holds. Raises TimeoutError with the words ``otherwise``."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"{otherwise} within {seconds:.0f} s")
            time.sleep(0.03)

    # beginning and end of a test

    def begin(self) -> None:
        """What is asked from now on is what ``requests`` returns."""
        log = self._server.audit_log
        self._offset = log.stat().st_size if log.exists() else 0

    def reset(self) -> None:
        """Answer, and forget everything that a test made. Namespaces stay, empty: it takes seconds to remove one."""
        self.follow_nobody()
        self.answer()
        self.up()
        self.users.forget_tokens()
        namespaces = {document["metadata"]["name"] for document in self.api.items("Namespace")}
        for kind in REMOVED:
            for namespace in sorted({one["metadata"]["namespace"] for one in self.api.items(kind)} & namespaces):
                self.api.delete(path_of(kind, namespace), {"propagationPolicy": "Background"})
        self.wait_for(self._has_no_pods, "the pods of the test did not go away")
        self.api.delete(path_of("Node"))

    def _has_no_pods(self) -> bool:
        """Remove the pods there are; one that was being made comes to light at the next look."""
        found = self.api.items("Pod")
        for document in found:
            with contextlib.suppress(ApiError):
                path = path_of("Pod", document["metadata"]["namespace"], document["metadata"]["name"])
                if document["metadata"].get("finalizers"):
                    self.api.patch(path, {"metadata": {"finalizers": None}})
                self.api.delete(path, {"gracePeriodSeconds": 0})
        return not found

    def follow_nobody(self) -> None:
        """Look at no node of the lab any more: before they are destroyed."""
        while self._followings:
            self._followings.pop().stop()

    def _api(self, token: str) -> Api:
        return Api(HOST, self._server.port, self.ca_file, token)

    def _settled(
        self, namespace: str, labels: Mapping[str, str], number: int, behaviour: Behaviour, uid: str | None = None
    ) -> list[Pod]:
        """The pods with these labels, when there are so many, on nodes, and as far as they get."""
        found: list[Pod] = []

        def settled() -> bool:
            found[:] = [
                pod
                for pod in self.pods(namespace)
                if labels.items() <= pod.labels.items()
                and uid in (None, pod.uid)
                and (pod.node and pod.phase == behaviour.phase)
                and pod.ready == (behaviour.ready and behaviour.phase == "Running")
            ]
            return len(found) == number

        selected = f"uid {uid}" if uid else ", ".join(f"{name}={value}" for name, value in labels.items())
        self.wait_for(settled, f"{number} pods ({selected}) of {namespace} did not come up")
        return sorted(found, key=lambda pod: (pod.node, pod.name))

    def _wait_for_budget(self, namespace: str, name: str) -> None:
        def seen() -> bool:
            document = self.api.get(path_of("PodDisruptionBudget", namespace, name))
            return bool(document.get("status", {}).get("observedGeneration") == document["metadata"]["generation"])

        self.wait_for(seen, f"the disruption controller did not look at budget {namespace}/{name}")


def _limits(min_available: int | str | None, max_unavailable: int | str | None) -> dict[str, int | str]:
    given = {"minAvailable": min_available, "maxUnavailable": max_unavailable}
    return {name: value for name, value in given.items() if value is not None}
