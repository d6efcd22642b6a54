# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc status --json`, every version since 0.1, to HostState (fields: bootc crates/lib/src/spec.rs)."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    NO_LOCAL_CHANGES,
    UNKNOWN_LOCAL_CHANGES,
    DeployedImage,
    Deployment,
    HostState,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    ImageReference,
    InvalidReference,
    Signature,
    SignatureKind,
    Transport,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import Fields, decode

_API_VERSIONS = ("org.containers.bootc/v1", "org.containers.bootc/v1alpha1")
_OVERLAYS = {"readOnly": "transient", "readWrite": "development"}


def parse_bootc_status(text: str) -> HostState:
    """HostState from what `bootc status --json` printed. Raises StatusNotUnderstood.

    A host that is not image-mode yields a state without `booted` (and `tool` None); a host booted from a plain ostree
    commit yields a booted deployment without image.
    """
    document = decode("bootc status", text)
    if document.text("apiVersion") not in _API_VERSIONS or document.text("kind") != "BootcHost":
        raise document.complain(
            "apiVersion", f"is {document.any('apiVersion')!r}, kind {document.any('kind')!r}: not a known bootc status."
        )
    status = document.object("status")
    if status is None:
        raise document.complain("status", "is missing.")
    booted = _deployment(status.object("booted"))
    rollback = _deployment(status.object("rollback"))
    rollback_queued = status.flag("rollbackQueued")
    if rollback_queued and rollback is None:
        raise status.complain("rollbackQueued", "is true, but there is no rollback deployment.")
    return HostState(
        tool=Tool.BOOTC if booted else None,
        booted=booted,
        staged=_deployment(status.object("staged")),
        rollback=rollback,
        others=tuple(filter(None, map(_deployment, status.objects("otherDeployments")))),
        rollback_queued=rollback_queued,
        unlocked=_overlay(status.object("usrOverlay")),
        read_only=status.flag("readOnly"),
    )


def _deployment(entry: Fields | None) -> Deployment | None:
    if entry is None:
        return None
    ostree = entry.object("ostree")
    composefs = entry.object("composefs")
    cached = entry.object("cachedUpdate")
    image = _image(entry.object("image"))
    return Deployment(
        image=image,
        checksum=ostree.text("checksum") if ostree else composefs.text("verity") if composefs else None,
        serial=ostree.number("deploySerial") if ostree else None,
        stateroot=ostree.text("stateroot") if ostree else None,
        version=image.version if image else None,
        pinned=entry.flag("pinned"),
        download_only=entry.flag("downloadOnly"),
        soft_reboot_capable=entry.flag("softRebootCapable"),
        composefs=composefs is not None,
        local_changes=UNKNOWN_LOCAL_CHANGES if entry.flag("incompatible") else NO_LOCAL_CHANGES,
        cached_update=cached.text("imageDigest") if cached else None,
    )


def _image(status: Fields | None) -> DeployedImage | None:
    spec = status.object("image") if status else None
    if status is None or spec is None:
        return None
    text = spec.text("image")
    if text is None:
        raise spec.complain("image", "is missing.")
    return DeployedImage(
        reference=_reference(spec, text),
        signature=_signature(spec),
        digest=status.text("imageDigest"),
        version=status.text("version"),
        timestamp=status.text("timestamp"),
        architecture=status.text("architecture"),
    )


def _reference(spec: Fields, text: str) -> ImageReference:
    name = spec.text("transport") or Transport.REGISTRY.value
    try:
        transport = Transport(name)
    except ValueError:
        raise spec.complain("transport", f"is {name!r}, which is not known.") from None
    try:
        return ImageReference.parse(text, transport)
    except InvalidReference:
        # The host runs it, so it is a fact; it equals nothing that can be asked for.
        return ImageReference(name=text, transport=transport, text=text)


def _signature(spec: Fields) -> Signature:
    """Absent or `insecure`: nothing checked. A string or, for an ostree remote, an object."""
    value = spec.any("signature")
    if value is None or value == "insecure":
        return UNVERIFIED
    if value == "containerPolicy":
        return POLICY
    if isinstance(value, dict) and isinstance(value.get("ostreeRemote"), str):
        return Signature(SignatureKind.OSTREE_REMOTE, value["ostreeRemote"])
    raise spec.complain("signature", f"is {value!r}, which no known version prints there.")


def _overlay(overlay: Fields | None) -> str:
    if overlay is None:
        return "none"
    if overlay.text("persistence") == "persistent":
        return "hotfix"
    return _OVERLAYS.get(overlay.text("accessMode") or "", "development")
