# SPDX-License-Identifier: GPL-3.0-or-later
"""How rpm-ostree looks a container image up and pulls it, in its own words."""

from __future__ import annotations

import sys

from lab.simulators import sysroot
from lab.simulators.image_reference import ImageSpec
from lab.simulators.rpm_ostree_transaction import RpmOstreeError

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.pull import Import
    from lab.simulators.host import Host
    from lab.simulators.state import Deployment

FETCHING = "Preparing import: Fetching manifest: "


def pinned(spec: ImageSpec, digest: str) -> ImageSpec:
    """The reference that REVISION makes of an image: the digest in place of the tag."""
    name = spec.image.partition("@")[0]
    head, separator, tail = name.rpartition(":")
    if separator and "/" not in tail:
        name = head
    return ImageSpec(f"{name}@{digest}", spec.transport, spec.signature)


def look_up(host: Host, spec: ImageSpec) -> Import:
    """What a reference stands for now. Raises RpmOstreeError."""
    from lab.pull import look_up as ask
    from lab.pull_error import PullError, UnsuitableImage
    from lab.simulators.unit_environment import unit_environment

    around = unit_environment(host, "rpm-ostreed.service")
    try:
        return ask(host, spec, tag_and_digest=False, tool="rpm-ostree", environment=around)
    except UnsuitableImage as error:
        raise RpmOstreeError(f"{FETCHING}{error}") from error
    except PullError as error:
        raise RpmOstreeError(f"{FETCHING}failed to invoke method OpenImage: {error}") from error


def pull(host: Host, spec: ImageSpec) -> Import:
    """Bring an image into the repository. Raises RpmOstreeError."""
    from lab.pull import fetch
    from lab.pull_error import ConnectionLost, PullError

    print(f"Pulling manifest: {spec.origin()}", flush=True)
    found = look_up(host, spec)
    if found.already_present:
        return found
    print(f"Importing: {spec.origin()} (digest: {found.digest})")
    for kind, chunks in (("ostree chunk layers", True), ("custom layers", False)):
        if present := found.present_of(chunks):
            print(f"{kind} already present: {len(present)}")
        if needed := found.needed_of(chunks):
            size = sum(int(layer["size"]) for layer in needed)
            print(f"{kind} needed: {len(needed)} ({sysroot.format_size(size)})")
    sys.stdout.flush()
    chunk_digests = {layer["digest"] for layer in found.needed_of(chunks=True)}

    def fetched(index: int, count: int, layer: dict[str, Any]) -> None:
        kind = "ostree chunk" if layer["digest"] in chunk_digests else "layer"
        size = sysroot.format_size(int(layer["size"]))
        print(f"[{index + 1}/{count}] Fetching {kind} {layer['digest'][7:26]} ({size})...done", flush=True)

    try:
        fetch(host, found, fetched)
    except ConnectionLost as error:
        raise RpmOstreeError(
            f"Importing: Unencapsulating base: proxy failure: failed to invoke method FinishPipe: {error} "
            "and client error: Importing commit: unexpected end of file"
        ) from error
    except PullError as error:
        raise RpmOstreeError(f"Importing: {error}") from error
    return found


def print_available(current: dict[str, Any], found: Import) -> None:
    """What `rpm-ostree upgrade --check` tells about a newer image."""
    from lab.pull import LayerDifference

    difference = LayerDifference(current, found.metadata)
    print("AvailableUpdate:")
    for title, (count, size) in (
        ("  Total layers:", difference.total),
        ("Removed layers:", difference.removed),
        ("  Added layers:", difference.added),
    ):
        print(f" {title} {count}\n           Size: {sysroot.format_size(size)}")


def refuse_older(host: Host, commit: str, timestamp: int, pending: Deployment) -> None:
    """Raises RpmOstreeError when a commit is older than the one that would boot next."""
    current = host.commit(pending)
    if timestamp >= current["timestamp"]:
        return
    raise RpmOstreeError(
        f"While checking against deployment timestamp: Upgrade target revision '{commit}' with timestamp "
        f"'{_date(timestamp)}' is chronologically older than current revision '{pending.base}' "
        f"with timestamp '{_date(current['timestamp'])}'; use --allow-downgrade to permit"
    )


def _date(timestamp: int) -> str:
    import time

    return time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(timestamp))
