# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asked the API for what, from its own audit log."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Requests of the server to itself (its controllers, the scheduler and kubelet of the tests) are no matter of a test.
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: None
    users: ["system:apiserver", "admin", "system:anonymous"]
  - level: Metadata
    resources:
      - group: ""
        resources: ["secrets", "serviceaccounts/token"]
  - level: Request
    verbs: ["create", "update", "patch", "delete"]
  - level: Metadata
"""


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that was answered. ``resource`` has its subresource, as ``pods/eviction``; ``at`` is seconds since 1970.

    ``user`` is a name of cluster.users where it is one, else the API's. ``verb`` is Kubernetes': get, list, watch, create,
    patch, …; ``path`` is the request's with its query; ``body`` what was sent, for requests that change something.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    at: float
    path: str
    user_agent: str
    body: dict[str, Any] | None

    @property
    def dry_run(self) -> bool:
        """Whether it was asked only what would happen."""
        return (
            "dryRun=All" in self.path
            or (self.body or {}).get("dryRun") == ["All"]
            or (((self.body or {}).get("deleteOptions") or {}).get("dryRun") == ["All"])
        )

    @classmethod
    def parse(cls, event: dict[str, Any], names: dict[str, str]) -> Request:
        what = event.get("objectRef") or {}
        user = event["user"].get("username", "")
        at = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00"))
        return cls(
            user=names.get(user, user),
            verb=event["verb"],
            resource="/".join(part for part in (what.get("resource"), what.get("subresource")) if part),
            namespace=what.get("namespace", ""),
            name=what.get("name", ""),
            status=(event.get("responseStatus") or {}).get("code", 0),
            at=at.timestamp(),
            path=event["requestURI"],
            user_agent=event.get("userAgent", ""),
            body=event.get("requestObject"),
        )


def read(log: Path, offset: int, names: dict[str, str]) -> Iterator[Request]:
    """The requests that were logged after ``offset`` bytes, whole lines only. ``names``: the API's user names to ours."""
    if not log.exists():
        return
    with log.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            if line.endswith(b"\n"):
                yield Request.parse(json.loads(line), names)
