# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tool's error text most likely means. Advice for the person who reads it; nothing is decided from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR_LINE = re.compile(r"^(?:error|Error|ERROR)(?::\s*|\s+)(?P<text>.*)$")


_NOT_IMAGE_MODE = re.compile(r"^This system was not booted via libostree", re.MULTILINE)
_BUSY = re.compile(r"\b(?:system )?transaction in progress\b|Reboot initiated, cannot start", re.IGNORECASE)


@dataclass(frozen=True)
class _Advice:
    pattern: re.Pattern[str]
    text: str


def _advice(pattern: str, text: str) -> _Advice:
    return _Advice(re.compile(pattern, re.IGNORECASE), text)


# The texts are recorded from bootc 1.1.6, bootc 1.16.9, rpm-ostree 2026.2 and skopeo 1.22. The first match wins.
_ADVICE = (
    _advice(
        r"manifest unknown|name unknown|repository name not known",
        "The registry has no such image: check repository and tag for a typo, and that the image was pushed.",
    ),
    _advice(
        r"authentication required|unauthorized|403 Forbidden|denied: ",
        "The registry refused the node's credentials, or the node has none. bootc and rpm-ostree read only the first of "
        "/run/ostree/auth.json, /etc/ostree/auth.json and /usr/lib/ostree/auth.json that exists; podman's login does not count.",
    ),
    _advice(
        r"reading JSON file|unmarshaling JSON",
        "The node's credentials cannot be read: the first of /run/ostree/auth.json, /etc/ostree/auth.json and /usr/lib/ostree/auth.json "
        "that exists is no JSON. Write it anew (role node_trust), or remove it.",
    ),
    _advice(
        r"toomanyrequests|429 Too Many",
        "The registry limits how often it may be asked: wait, give the nodes credentials, or a mirror of your own.",
    ),
    _advice(
        r"unexpected HTTP status: 5|5\d\d (?:Internal Server Error|Bad Gateway|Service Unavailable|Gateway)",
        "The registry, or a proxy before it, failed by itself: look at its log, and run again.",
    ),
    _advice(
        r"server gave HTTP response to HTTPS client",
        "The registry speaks plain HTTP. Serve it with TLS, or mark it insecure in the node's /etc/containers/registries.conf.d/.",
    ),
    _advice(
        r"x509|certificate",
        "The node does not trust the registry's certificate: its CA belongs into /etc/pki/ca-trust or /etc/containers/certs.d/.",
    ),
    _advice(
        r"refusing usage",
        "signature_policy: policy needs a /etc/containers/policy.json on the node whose default is not insecureAcceptAnything.",
    ),
    _advice(
        r"rejected by policy",
        "No rule of the node's /etc/containers/policy.json lets this repository in, signed or not. Name it in imagemode_trusted_images or "
        "imagemode_trust_also, and run the playbook imagemode.nodes.trust; or is it a typo in the image?",
    ),
    _advice(
        r"signature was required|signature verification failed",
        "The node's /etc/containers/policy.json wants this image signed with one of its keys: sign it; or correct "
        "imagemode_trusted_images, and run the playbook imagemode.nodes.trust.",
    ),
    _advice(
        r"bound image",
        "The image names further images in /usr/lib/bootc/bound-images.d, and one of them cannot be had: push it, or correct its Image= in "
        "the image. They are pulled with the same credentials as the image itself.",
    ),
    _advice(
        r"connection refused|no such host|dial tcp|i/o timeout|no route to host|network is unreachable|EOF",
        "The node cannot reach the registry: is it running, and do name, port, proxy and firewall of the node lead to it?",
    ),
    _advice(
        r"Remote .* not found|No such branch|Refspec .* not found",
        "The node knows no such ostree branch: check ref, which is REMOTE:BRANCH. `ostree remote list` on the node has its remotes.",
    ),
    _advice(
        r"Version \S+ not found",
        "The branch has no such version: check revision. `rpm-ostree status` and whoever publishes the branch tell versions.",
    ),
    _advice(
        r"Insufficient free space|min-free-space|No space left",
        "The node's disk is too full. Free space on /sysroot, for example with `rpm-ostree cleanup -b -r` or "
        "`podman image prune`; the rollback deployment takes space too.",
    ),
    _advice(
        r"does not have ostree\.bootable label",
        "The image is no bootable OS image: build it from a bootc base image (label containers.bootc or ostree.bootable).",
    ),
    _advice(
        r"Image has architecture",
        "The image was built for another architecture: build and push one for the node's, or an index that has both.",
    ),
    _advice(
        r"Failed to find kernel",
        "The image carries no kernel in /usr/lib/modules: it was not built from an OS base image.",
    ),
    _advice(
        r"kargs\.d|TOML parse error",
        "The image's /usr/lib/bootc/kargs.d cannot be read by bootc: correct it in the image (`bootc container lint` names the file).",
    ),
    _advice(
        r"fs-verity digest",
        "The node has a deployment of this very content already, and bootc's composefs backend keeps no content twice. Ask for the "
        "reference that the node follows, or reboot into what is staged.",
    ),
    _advice(
        r"both a tag and digest",
        "Name the image by its digest alone.",
    ),
    _advice(
        r"Transaction in progress|System transaction in progress",
        "Another rpm-ostree, bootc or ostree process works on this node. Wait for it, or stop it with `rpm-ostree cancel`.",
    ),
    _advice(r"Reboot initiated", "The node is about to reboot: run again when it is back."),
    _advice(
        r"Old and new refs are equal|No key '.*' found|No karg '.*' found|Multiple values for key",
        "The node is not any more as it was looked at, so somebody else changes it at the same time: run again.",
    ),
    _advice(
        r"LockLayering",
        "/etc/rpm-ostreed.conf of this node forbids local changes (LockLayering=true): put them into the image, and set "
        "local_changes: discard.",
    ),
    _advice(
        r"Packages not found|depsolve|Cannot update repo|Failed to download",
        "Layered packages are put together anew on each image, and the node's package repositories must offer them for it. Put them "
        "into the image, and set local_changes: discard.",
    ),
    _advice(
        r"allow replacement to override",
        "Only added packages can be applied to a running system, and this image changes others: leave apply_live out, and reboot.",
    ),
    _advice(
        r"Updates and deployments are driven by",
        "An update driver owns this node's updates. Stop it for good (`systemctl disable --now UNIT`), or set bypass_driver: true to go "
        "past it this time.",
    ),
    _advice(
        r"CAP_SYS_ADMIN",
        "Root has not all of its rights here: is this the inside of a container? The node itself is what has to be reached.",
    ),
    _advice(
        r"executed as the root user|root privileges|not authorized|not allowed for user|Permission denied",
        "This needs root on the node: set become: true, or connect as root.",
    ),
    _advice(
        r"requires an? (?:ostree-)?booted host system|not booted via|Not currently booted into",
        "This host was not booted from an image: bootc and rpm-ostree cannot act on it.",
    ),
    _advice(
        r"local rpm-ostree modifications",
        "The host has layered packages or overrides: remove them with `rpm-ostree reset`.",
    ),
    _advice(
        r"No image source specified|Missing image in specification",
        "bootc follows no image on this node, so there is nothing to upgrade to: name one.",
    ),
    _advice(
        r"No rollback (?:available|deployment found)",
        "The node has only one deployment; the next update keeps the present one as rollback.",
    ),
    _advice(
        r"Rollback is not container image based",
        "bootc goes back to images only; `rpm-ostree rollback` goes back to this deployment.",
    ),
    _advice(
        r"Staged deployment \(remove with cleanup",
        "Something is staged, which rpm-ostree wants to be discarded first: staged: discard does that.",
    ),
    _advice(
        r"soft.?reboot",
        "The next deployment has another kernel, other kernel arguments or another SELinux policy, or ostree cannot prepare it: "
        "reboot in full (soft: auto or never).",
    ),
    _advice(
        r"Loading sysroot|Timeout was reached|activate (?:service|remote peer)|NoReply",
        "rpm-ostreed does not start or does not answer: `systemctl status rpm-ostreed` and `journalctl -u rpm-ostreed` on the node "
        "say why.",
    ),
    _advice(
        r"unexpected argument|Unknown option",
        "The tool on this node is too old for this: image_mode_info shows its version.",
    ),
    _advice(
        r"read-only block device", "The node's /sysroot is read-only: it runs a live system, or its disk has failed."
    ),
)


def error_text(stderr: str) -> str:
    """The tool's own error, without its colours and progress lines; the last lines of the stream if none is marked."""
    lines = [line.strip() for line in _ANSI.sub("", stderr).splitlines() if line.strip()]
    marked = [match.group("text") for match in map(_ERROR_LINE.match, lines) if match]
    return " / ".join(marked) if marked else " / ".join(lines[-3:])


def explain(stderr: str) -> str:
    """The tool's error, followed by what it most likely means and what to do about it, where that is known."""
    text = error_text(stderr)
    for advice in _ADVICE:
        if advice.pattern.search(text):
            return f"{text.rstrip('.')}. {advice.text}"
    return text or "it printed no error message"


def says_busy(stderr: str) -> bool:
    """Whether rpm-ostree gave up because something else was at work: nothing was tried, so it may be tried again.

    A text that is not recognised only ends the waiting early; the state decides what came of it. (Recorded, 2026.2.)
    """
    return bool(_BUSY.search(error_text(stderr)))


def says_not_image_mode(stderr: str) -> bool:
    """Whether rpm-ostree, or its daemon, was asked on a host that it was only installed on.

    bootc says that in its status. A text that is not recognised makes a failure of it, and no wrong state. (Recorded, 2026.2.)
    """
    return bool(_NOT_IMAGE_MODE.search(error_text(stderr)))
