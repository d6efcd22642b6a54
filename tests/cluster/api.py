# SPDX-License-Identifier: GPL-3.0-or-later
"""A few lines of HTTP to talk to the Kubernetes API as it is: documents in, documents out, no client library."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Document = dict[str, Any]
# What a connection says whose other end is gone, RemoteDisconnected being a ConnectionError.
ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

# Where the objects of a kind are: the API's path, the plural name, whether they are in namespaces.
PLACES: Mapping[str, tuple[str, str, bool]] = {
    "Namespace": ("/api/v1", "namespaces", False),
    "Node": ("/api/v1", "nodes", False),
    "Pod": ("/api/v1", "pods", True),
    "Secret": ("/api/v1", "secrets", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "ReplicaSet": ("/apis/apps/v1", "replicasets", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "DaemonSet": ("/apis/apps/v1", "daemonsets", True),
    "Job": ("/apis/batch/v1", "jobs", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
}


class ApiError(Exception):
    """The API refused. ``status`` is HTTP's, ``reason`` is Kubernetes' word for it, such as ``AlreadyExists``."""

    def __init__(self, method: str, path: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason


def path_of(kind: str, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """The path of an object, or of all objects of a kind (in a namespace, or everywhere)."""
    api, plural, _in_namespace = PLACES[kind]
    parts = [api, *(("namespaces", namespace) if namespace is not None else ()), plural]
    return "/".join(part for part in (*parts, name, subresource) if part)


class Api:
    """One user's way to the API at ``host:port``. Threads may share it."""

    def __init__(self, host: str, port: int, ca_file: Path, token: str, timeout: float = 30.0) -> None:
        self._address = (host, port)
        self._context = ssl.create_default_context(cafile=str(ca_file))
        self._token = token
        self._timeout = timeout
        self._kept = threading.local()

    def get(self, path: str, **query: str) -> Document:
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def items(self, kind: str, namespace: str | None = None, **query: str) -> list[Document]:
        """All objects of a kind."""
        found: list[Document] = self.get(path_of(kind, namespace), **query)["items"]
        return found

    def create(self, document: Document) -> Document:
        """Create the object that a document describes, where its kind and namespace say."""
        return self.call("POST", path_of(document["kind"], document["metadata"].get("namespace")), document)

    def apply(self, document: Document) -> Document:
        """Create it, or replace what is there under its name."""
        try:
            return self.create(document)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        metadata = document["metadata"]
        return self.call("PUT", path_of(document["kind"], metadata.get("namespace"), metadata["name"]), document)

    def patch(self, path: str, change: Document) -> Document:
        """A merge patch: null removes."""
        return self.call("PATCH", path, change, "application/merge-patch+json")

    def delete(self, path: str, body: Document | None = None, **query: str) -> Document:
        return self.call("DELETE", f"{path}?{urlencode(query)}" if query else path, body)

    def call(
        self, method: str, path: str, body: Document | None = None, content_type: str = "application/json"
    ) -> Document:
        """One request. Raises ApiError when it is refused, OSError when nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = content_type
        status, content = self._exchange(method, path, data, headers)
        try:
            answer: Document = json.loads(content) if content.startswith(b"{") else {"text": content.decode()}
        except ValueError as error:
            raise OSError(f"{method} {path}: the answer broke off") from error
        if status >= 300:
            message = answer.get("message") or answer.get("text") or ""
            raise ApiError(method, path, status, answer.get("reason", ""), message)
        return answer

    def _exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection: http.client.HTTPSConnection | None = getattr(self._kept, "connection", None)
        while True:
            is_kept = connection is not None
            if connection is None:
                connection = http.client.HTTPSConnection(*self._address, timeout=self._timeout, context=self._context)
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._kept.connection = connection = None
                # The server was started anew since this connection was used; it cannot have acted on this request.
                if is_kept and isinstance(error, ENDED):
                    continue
                raise error if isinstance(error, OSError) else OSError(f"{method} {path}: {error!r}") from error
            self._kept.connection = connection
            return answer.status, content
