# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in the cluster, with tokens that can be made to expire and kubeconfig files that hold them.

All but ``admin`` are service accounts, and ``rollout`` is the one of the manifest that the role ships: what tests do as
``rollout`` is done with the rights that a site gives it, and not one more.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml

from cluster.api import Api, ApiError, Document, path_of

MANIFEST = Path(__file__).resolve().parents[2] / "roles/node_rollout/files/rbac.yml"
OTHERS = "test-users"  # the namespace of the service accounts that tests make
TOKEN_SECONDS = 3600
EXPIRES_WITHIN = 10.0
# How a kubeconfig file says who one is: the token in it, the path of a file with it, or a command that prints it.
Credentials = Literal["token", "file", "exec"]
ORDER = ("Namespace", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")


class Users:
    """The users of one cluster. ``directory`` gets their files; ``admin`` is the way of its administrator."""

    def __init__(self, directory: Path, url: str, ca_file: Path, admin: Api, admin_token: str) -> None:
        self._directory = directory
        self._url = url
        self._ca_file = ca_file
        self._admin = admin
        self._tokens = {"admin": admin_token}
        self._accounts: dict[str, tuple[str, str]] = {}  # ours -> (namespace, name) of the service account
        self._numbers: dict[str, int] = {}
        directory.mkdir()

    @property
    def names(self) -> dict[str, str]:
        """The API's names of our users to ours."""
        return {f"system:serviceaccount:{place}:{name}": ours for ours, (place, name) in self._accounts.items()}

    def add(self, user: str, rules: Sequence[Document]) -> None:
        """A new user with these rules of a ClusterRole, such as ``{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}``."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": OTHERS, "name": user}}
        self._admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHERS}})
        self._admin.apply(account)
        self._accounts[user] = (OTHERS, user)
        role = f"{OTHERS}:{user}"
        group = "rbac.authorization.k8s.io"
        metadata = {"name": role}
        version = f"{group}/v1"
        self._admin.apply({"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": list(rules)})
        self._admin.apply(
            {
                "apiVersion": version,
                "kind": "ClusterRoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "namespace": OTHERS, "name": user}],
            }
        )

    def rules(self, manifest: Path = MANIFEST) -> list[Document]:
        """All rules of all roles in a manifest, for a user that lacks some of them."""
        return [rule for document in _documents(manifest) for rule in document.get("rules") or []]

    def token(self, user: str) -> str:
        """A token of a user that is valid now, the same until it is made to expire."""
        if user not in self._tokens:
            self.renew(user)
        return self._tokens[user]

    def kubeconfig(self, user: str, credentials: Credentials = "token") -> Path:
        """A kubeconfig file of a user. Its path stays; what is in it is written anew when a token is renewed."""
        self.token(user)
        path = self._directory / f"{user}-{credentials}.kubeconfig"
        if not path.exists():
            self._write(user, credentials)
        return path

    def renew(self, user: str) -> None:
        """A new token, in every kubeconfig file of the user; the one before stays valid."""
        namespace, name = self._account(user)
        number = self._numbers[user] = self._numbers.get(user, 0) + 1
        # A token that is bound to a Secret ends with it: the API has no other way to end one before its time.
        bound = f"token-{name}-{number}"
        secret = self._admin.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": bound}}
        )
        reference = {"apiVersion": "v1", "kind": "Secret", "name": bound, "uid": secret["metadata"]["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS, "boundObjectRef": reference},
        }
        answer = self._admin.call("POST", path_of("ServiceAccount", namespace, name, "token"), request)
        self._tokens[user] = answer["status"]["token"]
        for credentials in ("token", "file", "exec"):
            if (self._directory / f"{user}-{credentials}.kubeconfig").exists():
                self._write(user, credentials)

    def expire(self, user: str, probe: Api, *, renew: bool) -> None:
        """End the token that is in the user's files; with ``renew`` they have another one before that.

        ``probe`` is a way to the API with the token that ends: this returns when it is refused.
        """
        namespace, name = self._account(user)
        number = self._numbers[user]
        if renew:
            self.renew(user)
        self._admin.delete(path_of("Secret", namespace, f"token-{name}-{number}"))
        end = time.monotonic() + EXPIRES_WITHIN
        while time.monotonic() < end:
            try:
                probe.get("/version")
            except ApiError as error:
                if error.status == 401:
                    return
            time.sleep(0.02)
        raise TimeoutError(f"the token of {user} was still accepted {EXPIRES_WITHIN:.0f} s after its end")

    def forget_tokens(self) -> None:
        """Begin anew: the next use of a user makes a token."""
        self._tokens = {"admin": self._tokens["admin"]}
        for path in self._directory.iterdir():
            path.unlink()

    def _account(self, user: str) -> tuple[str, str]:
        if user == "admin":
            raise ValueError("the token of admin is the server's own, and does not change")
        if user not in self._accounts:
            if user == "rollout":
                self._accounts[user] = self._apply_manifest()
            elif user == "nobody":
                self.add(user, [])
            else:
                raise KeyError(f"there is no user {user!r}: add it with its rules")
        return self._accounts[user]

    def _apply_manifest(self) -> tuple[str, str]:
        documents = _documents(MANIFEST)
        for document in sorted(documents, key=lambda document: ORDER.index(document["kind"])):
            self._admin.apply(document)
        (account,) = (document["metadata"] for document in documents if document["kind"] == "ServiceAccount")
        return account["namespace"], account["name"]

    def _write(self, user: str, credentials: Credentials) -> None:
        token = self._tokens[user]
        name = self._directory / f"{user}-{credentials}"
        if credentials == "token":
            who: Document = {"token": token}
        elif credentials == "file":
            _replace(name.with_suffix(".token"), token)
            who = {"tokenFile": str(name.with_suffix(".token"))}
        else:
            version = "client.authentication.k8s.io/v1"
            end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=TOKEN_SECONDS)
            status = {"token": token, "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
            credential = {"apiVersion": version, "kind": "ExecCredential", "status": status}
            _replace(name.with_suffix(".json"), json.dumps(credential))
            argument = str(name.with_suffix(".json"))
            who = {"exec": {"apiVersion": version, "command": "cat", "args": [argument], "interactiveMode": "Never"}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": self._url, "certificate-authority": str(self._ca_file)}}
            ],
            "users": [{"name": user, "user": who}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        _replace(name.with_suffix(".kubeconfig"), json.dumps(document, indent=1))


def _replace(path: Path, content: str) -> None:
    """A reader sees the old content or the new one, never a part."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(content)
    new.replace(path)


def _documents(manifest: Path) -> list[Document]:
    """What a manifest of kind List holds."""
    items: list[Document] = yaml.safe_load(manifest.read_text(encoding="utf-8"))["items"]
    return items
