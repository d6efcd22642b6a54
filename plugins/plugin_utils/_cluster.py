# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Kubernetes API server, spoken to in plain JSON. Private to this collection.

The `kubernetes` library finds and loads the credentials and sets TLS and proxies up. Its typed models are left out:
they cost ten times the processor time of the JSON, in every worker of a rollout.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

import yaml
from ansible import constants
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_answer import Answer

try:
    import urllib3
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config
    from kubernetes.client import rest as kubernetes_rest
except ImportError as error:  # pragma: no cover - which of them is missing is in the message
    IMPORT_ERROR: str | None = str(error)
else:
    IMPORT_ERROR = None

_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 30.0
_PAGE = 250
_MERGE_PATCH = "application/merge-patch+json"


class ClusterError(Exception):
    """The cluster cannot be used. The message says what was seen, and what to do."""


class ClusterUnreachable(ClusterError):
    """No answer, or one that says to come back later. The same call may succeed in a while."""


class ClusterRefused(ClusterError):
    """The cluster does not know who asks (401), or does not let them (403)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ClusterMissing(ClusterError):
    """There is no such object (404)."""


class ClusterConflict(ClusterError):
    """Somebody else changed the object in between, or made it (409)."""


@dataclass(frozen=True)
class ClusterOptions:
    """How to reach the cluster: the options of the documentation fragment `cluster`."""

    kubeconfig: str | None = None
    context: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ClusterOptions:
        """From a task's options."""
        return cls(options.get("kubeconfig") or None, options.get("context") or None)


class Cluster:
    """One API server. Threads may share it. Close it: client keys lie in files until then.

    Raises ClusterError if the library is missing or there are no credentials; makes no call by itself.
    """

    def __init__(self, options: ClusterOptions, connections: int = 4) -> None:
        if IMPORT_ERROR is not None:
            raise ClusterError(
                f"the Python library kubernetes is missing on the controller ({IMPORT_ERROR}). Install it with 'pip install kubernetes', "
                "for the Python that ansible runs with, or use an execution environment built from this collection."
            )
        self._options = options
        self._connections = connections
        self._loading = threading.Lock()
        # In Ansible's own temporary directory, which the main process removes whatever becomes of this worker.
        self._directory = tempfile.mkdtemp(prefix="imagemode-cluster-", dir=constants.DEFAULT_LOCAL_TMP)
        self.calls = 0
        self._generation = 0
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the credentials."""
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def host(self) -> str:
        """The URL of the API server."""
        return str(self._configuration.host)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
        timeout: float = _READ_TIMEOUT,
    ) -> Answer:
        """One call; whatever the server answers is an answer. A `PATCH` is a JSON merge patch.

        With 401 the credentials are read again, once. Raises ClusterUnreachable without an answer.
        """
        generation = self._generation
        answer = self._send(method, path, body, query, timeout)
        if answer.status != 401:
            return answer
        with self._loading:
            if generation == self._generation:
                self._load()
        return self._send(method, path, body, query, timeout)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> dict[str, Any]:
        """One call that must succeed; returns the object. Raises a ClusterError that tells its kind."""
        answer = self.request(method, path, body, query)
        if answer.ok:
            return dict(answer.body)
        raise error_of(answer, f"{method} {path}")

    def listed(self, path: str, query: Mapping[str, str | int] | None = None) -> Iterator[dict[str, Any]]:
        """The items of a list, in pages of 250. Raises as `call`."""
        token = ""
        while True:
            page = self.call(
                "GET", path, query={**(query or {}), "limit": _PAGE, **({"continue": token} if token else {})}
            )
            yield from page.get("items") or ()
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str | int] | None,
        timeout: float,
    ) -> Answer:
        headers = {"accept": "application/json", "user-agent": "imagemode.nodes"}
        for setting in self._configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[str(setting["key"])] = str(setting["value"])
        if body is not None:
            headers["content-type"] = _MERGE_PATCH if method == "PATCH" else "application/json"
        self.calls += 1
        try:
            response = self._rest.pool_manager.request(
                method,
                self.host + path + (f"?{urlencode(query)}" if query else ""),
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=timeout),
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterUnreachable(
                f"the API server {self.host} does not answer ({_brief(error)}). Check the address in the kubeconfig, the network from the "
                "controller to it, and that it runs."
            ) from error
        return Answer(response.status, _object(response.data), {k.lower(): v for k, v in response.headers.items()})

    def _load(self) -> None:
        """Read the credentials, again if need be: a token that rotated, a credential program's next answer."""
        configuration = kubernetes_client.Configuration()
        try:
            with _quiet_library() as complaints:
                self._find(configuration)
        except yaml.YAMLError:
            # The error would show the lines around it, and a token may be among them.
            raise ClusterError(f"the credentials cannot be read: they are not YAML. {self._looked_at()}") from None
        except (kubernetes_config.ConfigException, OSError, ValueError) as error:
            raise ClusterError(
                f"the credentials cannot be read: {self._missing() or _brief(error).rstrip('.')}. {self._looked_at()}"
            ) from error
        except (TypeError, KeyError, AttributeError, IndexError):  # the library takes the structure for granted
            raise ClusterError(
                f"the credentials cannot be read: this is YAML, but no kubeconfig. {self._looked_at()}"
            ) from None
        if complaints.seen:
            raise ClusterError(
                "the credential program that the kubeconfig names gave no credentials. What it said is not repeated here, because it may "
                f"hold secrets. {self._looked_at()} Try the same context with 'kubectl auth whoami' on the controller."
            )
        configuration.connection_pool_maxsize = self._connections
        self._configuration = configuration
        self._rest = kubernetes_rest.RESTClientObject(configuration)
        self._generation += 1

    def _find(self, configuration: Any) -> None:
        file = self._options.kubeconfig or os.environ.get("KUBECONFIG") or ""
        if not file and not self._options.context and not os.path.exists(os.path.expanduser("~/.kube/config")):
            kubernetes_config.load_incluster_config(client_configuration=configuration)
            return
        kubernetes_config.load_kube_config(
            config_file=file or None,
            context=self._options.context,
            client_configuration=configuration,
            persist_config=False,
            temp_file_path=self._directory,
        )

    def _missing(self) -> str:
        """That the file is not there, which the library calls invalid; empty if it is, or is none of ours to name."""
        file = self._options.kubeconfig or ""
        return f"there is no file {file}" if file and not os.path.exists(os.path.expanduser(file)) else ""

    def _looked_at(self) -> str:
        if self._options.kubeconfig:
            return f"The file is {self._options.kubeconfig} (kubeconfig)."
        if os.environ.get("KUBECONFIG"):
            return f"The file is {os.environ['KUBECONFIG']} (environment variable KUBECONFIG)."
        return "Looked at ~/.kube/config and at the pod's service account. Say where it is with kubeconfig."


def error_of(answer: Answer, asked: str) -> ClusterError:
    """The error behind an answer that is none of success; `asked` says what was wanted, such as `GET /api/v1/nodes`."""
    if answer.status == 401:
        return ClusterRefused(
            f"the cluster does not accept the credentials (401 at {asked}), also after reading them again. Renew the token or certificate "
            "in the kubeconfig.",
            401,
        )
    if answer.status == 403:
        return ClusterRefused(
            f"the cluster refuses: {answer.told}. The rights that a rollout needs are in files/rbac.yml of the role node_rollout; "
            "apply it, or bind it to this user.",
            403,
        )
    if answer.status == 404:
        return ClusterMissing(f"the cluster has no such object ({asked}: {answer.told})")
    if answer.status == 409:
        return ClusterConflict(f"somebody else changed it in between ({asked}: {answer.told})")
    kind = ClusterUnreachable if answer.is_passing else ClusterError
    return kind(f"the API server answered {answer.status} at {asked}: {answer.told}")


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += record.levelno >= logging.ERROR


@contextlib.contextmanager
def _quiet_library() -> Iterator[_Complaints]:
    """The library logs a credential program's output, secrets and all, and goes on without credentials."""
    root = logging.getLogger()
    complaints = _Complaints()
    handlers = root.handlers[:]
    root.handlers[:] = [complaints]
    try:
        yield complaints
    finally:
        root.handlers[:] = handlers


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _brief(error: BaseException) -> str:
    """The innermost reason: urllib3 wraps one error in another, and object addresses help nobody."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__
        if not isinstance(inner, BaseException):
            break
        error = inner
    words = str(error).rpartition(">: ")[2] or type(error).__name__
    return words[:200]
