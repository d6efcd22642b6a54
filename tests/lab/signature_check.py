# SPDX-License-Identifier: GPL-3.0-or-later
"""One requirement of a signature policy, held against the signatures that an image really has."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile

from lab import registries_d
from lab.pull_error import PullError
from lab.signature_policy import NO_SIGNATURE, PulledImage, scopes_of
from lab.simulators.host import Host
from lab.simulators.image_reference import InvalidReference, RegistryReference

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SIGNATURE_KEY = "dev.cosignproject.cosign/signature"
BAD_SIGNATURE = "cryptographic signature verification failed: invalid signature when validating ASN.1 encoded signature"


# sigstore


def sigstore(host: Host, image: PulledImage, requirement: Mapping[str, Any]) -> None:
    """`sigstoreSigned`: one of the attached signatures must be by the key and about this image. Raises PullError."""
    settings = registries_d.settings_for(host, scopes_of(image.reference))
    signatures = _attachments(image) if settings.get("use-sigstore-attachments") is True else []
    reasons = []
    for payload, signature in signatures:
        reason = _sigstore_reason(host, image, requirement, payload, signature)
        if reason is None:
            return
        reasons.append(reason)
    if not reasons:
        raise PullError(NO_SIGNATURE)
    raise PullError(
        reasons[0] if len(reasons) == 1 else f"None of the signatures were accepted, reasons: {'; '.join(reasons)}"
    )


def _attachments(image: PulledImage) -> list[tuple[bytes, bytes]]:
    """Payload and signature of each attached signature."""
    try:
        body, _digest = image.client.manifest(image.digest.replace(":", "-") + ".sig")
    except PullError as error:
        if "manifest unknown" in str(error):
            return []
        raise
    found = []
    for layer in json.loads(body)["layers"]:
        text = (layer.get("annotations") or {}).get(SIGNATURE_KEY, "")
        found.append((image.client.blob(layer["digest"]), base64.b64decode(text)))
    return found


def _sigstore_reason(
    host: Host, image: PulledImage, requirement: Mapping[str, Any], payload: bytes, signature: bytes
) -> str | None:
    """Why a signature does not count, None when it does."""
    verified = []
    for key, name in _keys(host, requirement):
        if key is None:
            return f"open {name}: no such file or directory"
        verified.append(_verifies(key, payload, signature))
    if not any(verified):
        return BAD_SIGNATURE
    critical = json.loads(payload)["critical"]
    about = str(critical["identity"]["docker-reference"])
    if not identity_matches(requirement.get("signedIdentity"), about, image):
        return f"Signature for identity {json.dumps(about)} is not accepted"
    signed = critical["image"]["docker-manifest-digest"]
    if signed != image.digest:
        return f"Signature for docker digest {json.dumps(signed)} does not match"
    return None


def _keys(host: Host, requirement: Mapping[str, Any]) -> list[tuple[bytes | None, str]]:
    """The requirement's keys (content, and the path they are named by); content None where there is no such file."""
    if "keyData" in requirement:
        return [(base64.b64decode(requirement["keyData"]), "")]
    if "keyDatas" in requirement:
        return [(base64.b64decode(data), "") for data in requirement["keyDatas"]]
    paths = [requirement["keyPath"]] if "keyPath" in requirement else requirement.get("keyPaths")
    if not paths:
        raise PullError("At least one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be specified")
    return [(host.read(path), path) for path in paths]


def _verifies(key: bytes, payload: bytes, signature: bytes) -> bool:
    with tempfile.TemporaryDirectory(prefix="lab-verify-") as scratch:
        for name, content in (("key", key), ("signature", signature)):
            with open(os.path.join(scratch, name), "wb") as handle:
                handle.write(content)
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", f"{scratch}/key", "-signature", f"{scratch}/signature"],
            input=payload,
            capture_output=True,
            check=False,
        )
    if b"unable to load" in done.stderr.lower() or b"could not" in done.stderr.lower():
        raise PullError("PEM data could not be parsed as a public key")
    return done.returncode == 0


def identity_matches(wanted: Mapping[str, Any] | None, about: str, image: PulledImage) -> bool:
    """Whether a signature about the reference ``about`` counts for the image, by the policy's ``signedIdentity``."""
    try:
        signed = RegistryReference(about)
    except InvalidReference:
        return False
    kind = (wanted or {}).get("type", "matchRepoDigestOrExact")
    reference = image.reference
    if kind == "matchRepository":
        return signed.name == reference.name
    if kind == "exactRepository":
        return signed.name == RegistryReference(str((wanted or {})["dockerRepository"])).name
    if kind == "exactReference":
        return _full(signed) == _full(RegistryReference(str((wanted or {})["dockerReference"])))
    if kind == "matchRepoDigestOrExact" and reference.digest:
        return signed.name == reference.name
    if kind in ("matchExact", "matchRepoDigestOrExact"):
        return _full(signed) == _full(reference)
    if kind == "remapIdentity":
        prefix, instead = str((wanted or {})["prefix"]), str((wanted or {})["signedPrefix"])
        name = reference.name
        if name == prefix or (name.startswith(prefix) and name[len(prefix)] in "/:@"):
            name = instead + name[len(prefix) :]
        return signed.name == name and (bool(reference.digest) or _tag(signed) == _tag(reference))
    raise PullError(f'unknown policy reference match type "{kind}"')


def _tag(reference: RegistryReference) -> str | None:
    return reference.tag


def _full(reference: RegistryReference) -> tuple[str, str | None, str | None]:
    return (reference.name, reference.tag, reference.digest)


# GPG, by the skopeo of this machine


def gpg(host: Host, image: PulledImage, requirement: Mapping[str, Any]) -> None:
    """`signedBy`: what `skopeo copy` with this requirement alone says about the image. Raises PullError.

    skopeo is given the manifest and its signatures in a directory, since it decides before it looks at anything else.
    """
    rewritten = dict(requirement)
    names: dict[str, str] = {}
    for key in ("keyPath", "keyPaths"):
        if key in requirement:
            given = requirement[key]
            paths = [_on_this_machine(host, path, names) for path in ([given] if key == "keyPath" else given)]
            rewritten[key] = paths[0] if key == "keyPath" else paths
    settings = registries_d.settings_for(host, scopes_of(image.reference))
    lookaside = str(settings.get("lookaside") or settings.get("sigstore") or "")
    if lookaside.startswith("file://"):
        lookaside = "file://" + (host.resolve(lookaside[len("file://") :]) or "/nonexistent")
    with tempfile.TemporaryDirectory(prefix="lab-policy-") as scratch:
        _write(scratch, "policy.json", json.dumps({"default": [rewritten]}))
        scope = json.dumps(image.reference.name)
        place = f"    lookaside: {json.dumps(lookaside)}\n" if lookaside else "    use-sigstore-attachments: false\n"
        _write(scratch, "lookaside.yaml", f"docker:\n  {scope}:\n{place}")
        _write(scratch, "registries.conf", _only_registry(image))
        message = _ask_skopeo(scratch, image)
    if message is not None:
        for here, there in names.items():
            message = message.replace(here, there)
        raise PullError(message)


def _on_this_machine(host: Host, path: str, names: dict[str, str]) -> str:
    found = host.resolve(path) or path
    names[found] = path
    return found


def _write(directory: str, name: str, content: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as handle:
        handle.write(content)


def _only_registry(image: PulledImage) -> str:
    """A registries.conf that leads skopeo to where the node found the image."""
    place = image.client.reference
    name, _separator, port = place.host.partition(":")
    address = image.client.access.addresses.get(name, name)
    located = f"{address}:{port}" if port else address
    return (
        f"[[registry]]\nprefix = {json.dumps(image.reference.name)}\n"
        f"location = {json.dumps(f'{located}/{place.path}')}\ninsecure = true\n"
    )


def _ask_skopeo(scratch: str, image: PulledImage) -> str | None:
    """None when skopeo begins to copy, which it does once the policy is satisfied; otherwise its refusal."""
    argv = [
        *("skopeo", "--policy", f"{scratch}/policy.json", "--registries.d", scratch),
        *("--registries-conf", f"{scratch}/registries.conf", "copy"),
        f"docker://{image.name}",
        f"dir:{scratch}/copy",
    ]
    environment = dict(os.environ)
    authorization = image.client.access.authorization
    if authorization is not None:
        entry = {"auth": authorization.removeprefix("Basic ")}
        _write(scratch, "auth.json", json.dumps({"auths": {image.reference.host: entry}}))
        environment["REGISTRY_AUTH_FILE"] = f"{scratch}/auth.json"
    try:
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, bufsize=1
        )
    except FileNotFoundError as error:
        raise PullError("the machine of the lab has no skopeo to verify GPG signatures with") from error
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline().startswith("Getting image source signatures"):
            process.kill()
            return None
        text = process.stderr.read().strip()
    message = text.partition('msg="')[2].rpartition('"')[0].replace('\\"', '"') or text
    return message.removeprefix("Source image rejected: ")
