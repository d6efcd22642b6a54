# SPDX-License-Identifier: GPL-3.0-or-later
"""Remotes that serve plain ostree commits on branches, and what a node knows of them.

A remote is a file of the lab, ``ostree-remotes/NAME.json``: branch -> its commits, oldest first, each with checksum,
version, timestamp and the image commit whose tree it has. Every node of the lab has every remote configured.
"""

from __future__ import annotations

import hashlib
import os
import time

from lab.simulators.host import read_json, write_json

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.simulators.host import Host

FETCHED = "{} metadata, {} content objects fetched; 335 B transferred in 0 seconds; 0 bytes content written"


class RemoteError(Exception):
    """A remote or branch is not there. ``str()`` is the tool's text."""


def plain_checksum(image_commit: str, version: str | None = None) -> str:
    """The commit that has an image's tree and nothing of its metadata."""
    suffix = "" if version is None else f" as {version}"
    return hashlib.sha256(f"plain {image_commit}{suffix}".encode()).hexdigest()


def plain_metadata(image: dict[str, Any], version: str | None = None, timestamp: int | None = None) -> dict[str, Any]:
    """What a node's repository keeps about a plain commit, in the terms of ``pull.commit_of``."""
    kept = {key: image[key] for key in ("version", "created", "timestamp", "architecture")}
    if version is not None:
        kept["version"] = version
    if timestamp is not None:
        kept["timestamp"] = timestamp
        kept["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
    return kept | {"layers": [], "cached_update": None}


class OstreeRemote:
    """One remote of a lab: `OstreeRemote(lab, "lab").commit("labos/stable/base", "127.0.0.1:5000/os:v2")`."""

    def __init__(self, lab: str | os.PathLike[str], name: str) -> None:
        self.lab = os.path.abspath(lab)
        self.name = name
        self.path = os.path.join(self.lab, "ostree-remotes", f"{name}.json")

    @property
    def branches(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = read_json(self.path) or {}
        return found

    def commit(
        self, branch: str, image: str, *, version: str | None = None, timestamp: int | None = None, arch: str = "amd64"
    ) -> str:
        """Put a commit with an image's content on top of a branch; returns its checksum.

        ``version`` and ``timestamp`` (epoch seconds) replace the image's. Raises PullError.
        """
        image_commit, metadata = _read_image(self.lab, image, arch)
        checksum = plain_checksum(image_commit, version)
        place = os.path.join(self.lab, "trees", checksum)
        if not os.path.lexists(place):
            os.symlink(image_commit, place)
        entry = {"checksum": checksum, **plain_metadata(metadata, version, timestamp)}
        branches = self.branches
        branches.setdefault(branch, []).append(entry)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        write_json(self.path, branches)
        return checksum


def _read_image(lab: str, image: str, arch: str) -> tuple[str, dict[str, Any]]:
    """Check an image of a registry out; returns its commit and metadata as ``pull.commit_of`` gives them."""
    import json

    from lab import trees
    from lab.pull import commit_checksum, commit_of
    from lab.registry_access import Access
    from lab.registry_client import RegistryClient, choose_platform
    from lab.simulators.image_reference import RegistryReference

    reference = RegistryReference(image)
    client = RegistryClient(reference, Access(insecure=True, authorization=None))
    body, digest = client.manifest(reference.wanted)
    manifest = json.loads(body)
    if "manifests" in manifest:
        body, digest = client.manifest(choose_platform(manifest, arch))
        manifest = json.loads(body)
    metadata = commit_of(manifest, json.loads(client.blob(manifest["config"]["digest"])), digest)
    digests = [layer["digest"] for layer in metadata["layers"]]
    for layer in digests:
        if not os.path.exists(trees.blob_path(lab, layer)):
            client.layer(lab, layer)
    commit = commit_checksum(digest)
    trees.check_out(lab, commit, digests)
    return commit, metadata


def names(host: Host) -> list[str]:
    """The remotes that a node knows: those of the lab, and the one it was installed from."""
    directory = os.path.join(host.lab, "ostree-remotes")
    found = [name.removesuffix(".json") for name in os.listdir(directory)] if os.path.isdir(directory) else []
    origins = [str(one.origin["refspec"]) for one in host.state.deployments if "refspec" in one.origin]
    return sorted({*found, *(refspec.split(":", 1)[0] for refspec in origins if ":" in refspec)})


def history(host: Host, refspec: str) -> list[dict[str, Any]]:
    """Commits of a branch on its remote, oldest first; empty for a branch that only the installation knew.

    Raises RemoteError for a remote or branch that does not exist.
    """
    remote, _separator, branch = refspec.rpartition(":")
    if not remote:
        raise RemoteError(f"Refspec '{branch}' not found")
    if remote not in names(host):
        raise RemoteError(f'While pulling {branch}: Remote "{remote}" not found')
    commits = OstreeRemote(host.lab, remote).branches.get(branch)
    if commits is not None:
        return list(commits)
    if any(one.origin.get("refspec") == refspec for one in host.state.deployments):
        return []
    raise RemoteError(f"While pulling {branch}: No such branch '{branch}' in repository summary")


def pull(host: Host, refspec: str, *, metadata_only: bool = False) -> dict[str, Any] | None:
    """The newest commit of a branch, known to the node from now on; None when there is nothing new to know.

    Says what was fetched, as rpm-ostree does. Raises RemoteError.
    """
    commits = history(host, refspec)
    newest = commits[-1] if commits else None
    state = host.state
    new = newest is not None and (
        newest["checksum"] not in state.commits or state.refs.get(refspec) != newest["checksum"]
    )
    print(FETCHED.format(1 if new else 0, 1 if new and not metadata_only else 0))
    if newest is None:
        return None
    state.refs[refspec] = newest["checksum"]
    state.commits[newest["checksum"]] = {key: value for key, value in newest.items() if key != "checksum"}
    host.save()
    return newest


def find(host: Host, refspec: str, revision: str) -> dict[str, Any]:
    """A commit of a branch's history by checksum or version. Raises RemoteError."""
    revision = revision.removeprefix("revision=").removeprefix("version=")
    commits = history(host, refspec)
    for commit in reversed(commits):
        if revision in (commit["checksum"], commit["version"]):
            return dict(commit)
    if len(revision) == 64 and not set(revision) - set("0123456789abcdef"):
        raise RemoteError(f"Checksum {revision} not found in {refspec}")
    raise RemoteError(f"Version {revision} not found in {refspec}")


def known(host: Host, commit: dict[str, Any]) -> str:
    """Remember a commit in the node's repository; returns its checksum."""
    host.state.commits[commit["checksum"]] = {key: value for key, value in commit.items() if key != "checksum"}
    host.save()
    return str(commit["checksum"])


def parse(text: str, base: str | None) -> str:
    """A full refspec out of what was typed; what is missing comes from ``base`` (rpm-ostree 2026.2, rpmostreed-utils.cxx).

    Raises RemoteError for a text that is none.
    """
    import re

    base_remote, _separator, base_branch = (base or "").rpartition(":")
    if text.endswith(":"):
        remote, branch = text[:-1], base_branch
        if not branch:
            raise RemoteError("Could not determine default ref to pull.")
    elif text.startswith(":"):
        return text[1:]
    else:
        name = r"[\w][\w.+-]*"
        match = re.fullmatch(rf"(?:({name}):)?({name}(?:/{name})*)", text)
        if match is None:
            raise RemoteError(f"Invalid refspec {text}")
        remote, branch = match[1] or base_remote, match[2]
    return f"{remote}:{branch}" if remote else branch
