# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing an image into a node's ostree repository, as bootc and rpm-ostree both do it (ostree-ext, store.rs)."""

from __future__ import annotations

import calendar
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from lab import signature_policy
from lab.pull_error import DiskFull, PullError, UnsuitableImage
from lab.registry_access import Access, sources
from lab.registry_client import RegistryClient, choose_platform
from lab.simulators import sysroot
from lab.simulators.host import Host
from lab.simulators.image_reference import ImageSpec, InvalidReference, RegistryReference
from lab.trees import blob_path, check_out

STALL_POLL_SECONDS = 0.1
TELL_SECONDS = 0.2  # between two events of a progress
BOOTABLE_LABELS = ("containers.bootc", "ostree.bootable")


class Import:
    """An image that was looked up in its registry and can now be fetched.

    ``already_present``: the stored image under this name has the same manifest, or the same config (a re-push under
    the same tag is then never noticed, and ``digest`` stays the old one). ``present`` and ``needed`` are the layers
    that the node has and lacks, each ``{"digest", "size"}``.
    """

    def __init__(self, spec: ImageSpec, commit: str, metadata: dict[str, Any], *, already_present: bool) -> None:
        self.spec = spec
        self.commit = commit
        self.metadata = metadata
        self.already_present = already_present
        self.present: list[dict[str, Any]] = []
        self.needed: list[dict[str, Any]] = []
        self.client: RegistryClient | None = None

    @property
    def chunk_digests(self) -> set[str]:
        """The layers of the ostree part of the image."""
        return {layer["digest"] for layer in self.metadata["layers"][: self.metadata["chunks"]]}

    @property
    def digest(self) -> str:
        """Digest of the manifest for this architecture."""
        return str(self.metadata["manifest_digest"])

    @property
    def needed_bytes(self) -> int:
        return sum(int(layer["size"]) for layer in self.needed)

    def needed_of(self, chunks: bool) -> list[dict[str, Any]]:
        """The needed layers below (True) or above (False) the one that ends the ostree part of the image."""
        return [layer for layer in self.needed if (layer["digest"] in self.chunk_digests) is chunks]

    def present_of(self, chunks: bool) -> list[dict[str, Any]]:
        return [layer for layer in self.present if (layer["digest"] in self.chunk_digests) is chunks]


def look_up(
    host: Host,
    spec: ImageSpec,
    *,
    tag_and_digest: bool,
    access: Access | None = None,
    tool: str = "bootc",
    environment: Mapping[str, str] | None = None,
) -> Import:
    """Ask the registry what a reference stands for now; nothing is downloaded beyond manifest and config.

    ``tag_and_digest``: whether the tool accepts a reference with both (only bootc's switch and upgrade do). ``tool`` is
    who asks, bootc or rpm-ostree; ``environment`` that of the process that pulls (this one's). With ``access`` (the
    installer's) neither the node's configuration nor its signature policy counts.
    A newer manifest under the name of a stored image is remembered as that image's cached update.
    Raises PullError (also InvalidReference's text) and UnsuitableImage.
    """
    around = os.environ if environment is None else environment
    if spec.signature == "containerPolicy":
        signature_policy.refuse_permissive_default(host, tool, around)
    reference = _reference(spec, tag_and_digest)
    stored = host.state.images.get(spec.stored_as)
    if stored is not None and reference.digest == host.state.commits[stored]["manifest_digest"]:
        return Import(spec, stored, host.state.commits[stored], already_present=True)
    client, body, digest = _open(host, reference, access, around)
    if access is None:
        signature_policy.check(host, signature_policy.PulledImage(reference, digest, body, client), around)
    manifest = json.loads(body)
    if "manifests" in manifest:
        body, digest = client.manifest(choose_platform(manifest, host.arch))
        manifest = json.loads(body)
    if stored is not None:
        known = host.state.commits[stored]
        if digest == known["manifest_digest"] or manifest["config"]["digest"] == known["config_digest"]:
            return Import(spec, stored, known, already_present=True)
    config = json.loads(client.blob(manifest["config"]["digest"]))
    _refuse_unsuitable(config, host.arch)
    metadata = commit_of(manifest, config, digest)
    if stored is not None:
        host.state.commits[stored]["cached_update"] = image_status(metadata)
        host.save()
    found = Import(spec, commit_checksum(digest), metadata, already_present=False)
    found.client = client
    have = set(host.state.layers)
    found.present = [layer for layer in metadata["layers"] if layer["digest"] in have]
    found.needed = [layer for layer in metadata["layers"] if layer["digest"] not in have]
    return found


def _open(
    host: Host, reference: RegistryReference, access: Access | None, environment: Mapping[str, str]
) -> tuple[RegistryClient, bytes, str]:
    """Manifest and digest from the first place that has them: a mirror, or the registry itself. Raises PullError."""
    if access is not None:
        client = RegistryClient(reference, access)
        return (client, *client.manifest(reference.wanted))
    failures: list[tuple[RegistryReference, PullError]] = []
    for source in sources(host, reference):
        try:
            way = Access.of_node(host, source.reference, insecure=source.insecure, environment=environment)
            client = RegistryClient(source.reference, way)
            return (client, *client.manifest(source.reference.wanted))
        except PullError as error:
            failures.append((source.reference, error))
    *mirrors, (last, reason) = failures
    if not mirrors:
        raise reason
    others = "\n".join(f"[{place.text}: {failure}]" for place, failure in mirrors)
    raise PullError(f"(Mirrors also failed: {others}): {last.text}: {reason}") from reason


def manifest_of(host: Host, reference: RegistryReference, environment: Mapping[str, str]) -> bytes:
    """What the registry, or a mirror, gives this node for a reference: a manifest or an index. Raises PullError."""
    return _open(host, reference, None, environment)[1]


def _reference(spec: ImageSpec, tag_and_digest: bool) -> RegistryReference:
    if spec.transport != "registry":
        raise PullError(f"the lab does not simulate the transport {spec.transport!r}, only registry")
    try:
        reference = RegistryReference(spec.image)
    except InvalidReference as error:
        raise PullError(f"invalid reference format: {error}" if "lowercase" in str(error) else str(error)) from error
    if reference.tag and reference.digest and not tag_and_digest:
        raise PullError("Docker references with both a tag and digest are currently not supported")
    return reference


def _refuse_unsuitable(config: dict[str, Any], arch: str) -> None:
    labels = (config.get("config") or {}).get("Labels") or {}
    if not any(label in labels for label in BOOTABLE_LABELS):
        raise UnsuitableImage("Target image does not have ostree.bootable label")
    if config["architecture"] != arch:
        raise UnsuitableImage(f"Image has architecture {config['architecture']}; expected {arch}")


def commit_checksum(digest: str) -> str:
    """The lab's ostree commit of an image: a function of its manifest."""
    return hashlib.sha256(f"ostree commit of {digest}".encode()).hexdigest()


def commit_of(manifest: dict[str, Any], config: dict[str, Any], digest: str) -> dict[str, Any]:
    """What the repository keeps about an image."""
    labels = (config.get("config") or {}).get("Labels") or {}
    created = config.get("created") or "1970-01-01T00:00:00Z"
    diff_ids = config["rootfs"]["diff_ids"]
    final = labels.get("ostree.final-diffid")
    return {
        "manifest_digest": digest,
        "config_digest": manifest["config"]["digest"],
        "manifest": json.dumps(manifest, separators=(",", ":")),
        "config": json.dumps(config, separators=(",", ":")),
        "layers": [{"digest": layer["digest"], "size": layer["size"]} for layer in manifest["layers"]],
        "chunks": diff_ids.index(final) + 1 if final in diff_ids else 1,
        "version": labels.get("org.opencontainers.image.version") or labels.get("version"),
        "created": _rfc3339(created),
        "timestamp": calendar.timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S")),
        "architecture": config["architecture"],
        "cached_update": None,
    }


def _rfc3339(text: str) -> str:
    """A time as chrono prints it: no fraction when it is zero, else 3, 6 or 9 digits."""
    seconds, fraction = text[:19], text[19:].lstrip(".").rstrip("Z").rstrip("0")
    if not fraction or not fraction.isdigit():
        return f"{seconds}Z"
    return f"{seconds}.{fraction.ljust(-(-len(fraction) // 3) * 3, '0')}Z"


def image_status(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: metadata[key] for key in ("manifest_digest", "version", "created", "architecture")}


def fetch(
    host: Host,
    found: Import,
    on_layer: Callable[[int, int, dict[str, Any]], None] | None = None,
    on_bytes: Callable[[int, int], None] | None = None,
) -> None:
    """Download what the node lacks, and check the image out.

    ``on_layer``: called with index, count and layer after each. ``on_bytes``: called with the index of a layer and how
    much of it has arrived, as it arrives. Raises PullError, ConnectionLost, DiskFull. Nothing is remembered unless
    everything arrived.
    """
    if found.already_present:
        return
    received = 0
    _stall(host)
    for index, layer in enumerate(found.needed):
        tell = None if on_bytes is None else functools.partial(on_bytes, index)
        pace = _dawdle(host, int(layer["size"]), len(found.needed), tell)
        received += _fetch_layer(host, found, layer, pace, tell)
        if on_layer is not None:
            on_layer(index, len(found.needed), layer)
    host.journal.append(
        "pull",
        image=found.spec.image,
        digest=found.digest,
        bytes=received,
        layers=len(found.needed),
        metadata_bytes=found.client.received if found.client else 0,
    )
    _write_to_disk(host, found)
    check_out(host.lab, found.commit, [layer["digest"] for layer in found.metadata["layers"]])
    state = host.state
    state.layers += [layer["digest"] for layer in found.needed if layer["digest"] not in state.layers]
    found.metadata["cached_update"] = state.commits.get(found.commit, {}).get("cached_update")
    state.commits[found.commit] = found.metadata
    state.images[found.spec.stored_as] = found.commit
    host.save()


def _fetch_layer(
    host: Host, found: Import, layer: dict[str, Any], pace: float | None, tell: Callable[[int], None] | None
) -> int:
    """The node has no such layer, so it downloads it, whatever other nodes of the lab have downloaded before."""
    if found.client is None:
        raise PullError(f"the layer {layer['digest']} is gone from the repository")
    received = found.client.layer(host.lab, layer["digest"], pace, tell)
    if not os.path.exists(blob_path(host.lab, layer["digest"])):
        raise PullError(f"the layer {layer['digest']} vanished from {host.lab}/blobs while it was pulled")
    return received


def _write_to_disk(host: Host, found: Import) -> None:
    full = host.fault("disk-full")
    if full is not None and found.needed_bytes > full["available"]:
        missing = sysroot.format_size(found.needed_bytes - full["available"])
        raise DiskFull(
            "Writing merged filesystem to mtree: Writing content object: "
            f"min-free-space-percent '3%' would be exceeded, at least {missing} requested"
        )


def _stall(host: Host) -> None:
    host.fire("registry-stalls")
    while host.fault("registry-stalls", fresh=True) is not None:
        time.sleep(STALL_POLL_SECONDS)


def _dawdle(host: Host, size: int, layers: int, tell: Callable[[int], None] | None) -> float | None:
    """Take as long for a layer as a fault says, and tell how it goes; returns the bytes per second to download at."""
    slow = host.fault("slow-pull", fresh=True)
    if slow is None:
        return None
    if slow.get("bytes_per_second"):
        return float(slow["bytes_per_second"])
    began, seconds = time.monotonic(), slow["seconds"] / layers
    while (elapsed := time.monotonic() - began) < seconds:
        if tell is not None:
            tell(int(size * elapsed / seconds))
        time.sleep(min(TELL_SECONDS, seconds - elapsed))
    return None


class LayerDifference:
    """How the layers of two images differ: numbers and bytes, as `bootc upgrade --check` tells them."""

    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        before = {layer["digest"]: int(layer["size"]) for layer in old["layers"]}
        after = {layer["digest"]: int(layer["size"]) for layer in new["layers"]}
        self.total = (len(after), sum(after.values()))
        self.removed = _count({digest: size for digest, size in before.items() if digest not in after})
        self.added = _count({digest: size for digest, size in after.items() if digest not in before})


def _count(layers: dict[str, int]) -> tuple[int, int]:
    return len(layers), sum(layers.values())
