# SPDX-License-Identifier: GPL-3.0-or-later
"""What ostree does with deployments: stage, finalize, reorder, delete, and collect garbage."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil

from lab.simulators import boot_entries, deployment_trees, etc_merge
from lab.simulators.host import Host
from lab.simulators.image_reference import ImageSpec
from lab.simulators.state import Deployment, State

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

NO_KERNEL = "Failed to find kernel in /usr/lib/modules, /usr/lib/ostree-boot or /boot"


class SysrootError(Exception):
    """ostree refuses. ``str()`` is its text."""


class Pruned:
    """What garbage collection removed: images, layers, and the layers' bytes."""

    def __init__(self, images: int, layers: int, size: int) -> None:
        self.images = images
        self.layers = layers
        self.size = size

    def __bool__(self) -> bool:
        return bool(self.images or self.layers)


def all_deployments(host: Host) -> list[Deployment]:
    """In boot order, the staged one first."""
    staged = host.staged
    return [*([staged] if staged else []), *host.state.deployments]


def pending(host: Host) -> Deployment:
    """What rpm-ostree builds on: the first deployment, be it staged, a queued rollback or booted."""
    return all_deployments(host)[0]


def rollback_of(host: Host) -> Deployment | None:
    """bootc's rollback slot: the first other deployment of the booted stateroot (bootc 1.16.9, status.rs)."""
    booted = host.booted
    others = [one for one in host.state.deployments if one.id != booted.id and one.osname == booted.osname]
    return others[0] if others else None


def rollback_queued(host: Host) -> bool:
    rollback = rollback_of(host)
    order = [one.id for one in host.state.deployments]
    return rollback is not None and order.index(rollback.id) < order.index(host.state.booted)


def next_serial(host: Host, checksum: str) -> int:
    """One more than the highest serial of that commit on disk, where lost staged deployments stay until a cleanup."""
    names = os.listdir(host.path("deploy"))
    serials = [int(name.rpartition(".")[2]) for name in names if name.startswith(f"{checksum}.")]
    return max(serials) + 1 if serials else 0


def check_kernel(tree: str) -> str:
    """Version of the kernel in a tree. Raises SysrootError as ostree does when there is none."""
    kernels = sorted(glob.glob(os.path.join(tree, "usr/lib/modules/*/vmlinuz")))
    if not kernels:
        raise SysrootError(NO_KERNEL)
    return os.path.basename(os.path.dirname(kernels[0]))


def boot_checksum(tree: str) -> str:
    """ostree's checksum over kernel and initramfs, as in the path of ``ostree=``."""
    total = hashlib.sha256()
    for name in ("vmlinuz", "initramfs.img"):
        for path in sorted(glob.glob(os.path.join(tree, "usr/lib/modules/*", name))):
            with open(path, "rb") as handle:
                total.update(handle.read())
    return total.hexdigest()


def kernel_of(tree: str) -> boot_entries.Kernel:
    """Kernel and initramfs of a tree. Raises SysrootError when it has none."""
    return boot_entries.Kernel(boot_checksum(tree), check_kernel(tree))


def stage(host: Host, deployment: Deployment) -> None:
    """Make a deployment the staged one, instead of any that was. It takes effect when the host goes down in order."""
    check_kernel(host.tree(deployment))
    if deployment.sources is None:
        deployment.sources = host.booted.sources  # ostree copies them from the merge deployment, the booted one
    os.makedirs(host.path("deploy", deployment.directory), exist_ok=True)
    host.write_staged(None)
    host.write_staged(deployment)
    show_trees(host)


def show_trees(host: Host) -> None:
    """Let /ostree/deploy of the node show what is deployed now."""
    if host.is_ostree:
        deployment_trees.refresh(host, all_deployments(host))


def finalize(host: Host) -> Deployment | None:
    """What ostree-finalize-staged does at shutdown; returns the new first deployment, None with nothing to do.

    Merges /etc, drops the old rollback and pending deployments, keeps pinned ones and those of other stateroots.
    Raises MergeConflict, with nothing changed.
    """
    staged = host.staged
    if staged is None or staged.locked:
        return None
    state, booted = host.state, host.booted
    target = host.etc(staged)
    shutil.rmtree(os.path.dirname(target), ignore_errors=True)
    os.makedirs(os.path.dirname(target))
    etc_merge.merge(
        os.path.join(host.tree(booted), "usr/etc"),
        host.etc(booted),
        os.path.join(host.tree(staged), "usr/etc"),
        target,
    )
    kept = [one for one in state.deployments if one.id == booted.id or one.pinned or one.osname != booted.osname]
    replace_deployments(host, [staged, *kept])
    host.write_staged(None)
    return staged


def replace_deployments(host: Host, deployments: list[Deployment]) -> None:
    """Write a new boot order: boot entries are rewritten, directories of dropped deployments deleted."""
    state = host.state
    dropped = {one.id: one for one in state.deployments}
    for one in deployments:
        dropped.pop(one.id, None)
    state.deployments = deployments
    state.bootversion = 1 - state.bootversion
    write_boot_entries(host, state)
    host.save()
    for gone in dropped.values():
        shutil.rmtree(host.path("deploy", gone.directory), ignore_errors=True)
    show_trees(host)


def write_boot_entries(host: Host, state: State) -> None:
    """Write what the boot loader reads, with ``ostree=`` of every deployment set to its place in the order."""
    seen: dict[tuple[str, str], int] = {}
    kernels = []
    for one in state.deployments:
        kernel = kernel_of(host.tree(one))
        kernels.append(kernel)
        index = seen.get((one.osname, kernel.checksum), 0)
        seen[one.osname, kernel.checksum] = index + 1
        entry = f"ostree=/ostree/boot.{state.bootversion}/{one.osname}/{kernel.checksum}/{index}"
        if any(argument.startswith("ostree=") for argument in one.kargs):
            one.kargs = [entry if argument.startswith("ostree=") else argument for argument in one.kargs]
        else:
            one.kargs = [*one.kargs, entry]
    if host.is_ostree:
        boot_entries.write(host, kernels)


def bootloader_line(state: State, change: int) -> str:
    """What ostree prints after it has written a new boot order (recorded, ostree 2026.4)."""
    return (
        f"Bootloader updated; bootconfig swap: yes; bootversion: boot.{state.bootversion}.1, "
        f"deployment count change: {change}"
    )


def undeploy(host: Host, index: int) -> tuple[Deployment, bool]:
    """Delete the deployment at an index of the list with the staged one in front; returns it and whether it was staged."""
    deployments = all_deployments(host)
    if index >= len(deployments):
        raise SysrootError(f"Out of range deployment index {index}, expected < {len(deployments)}")
    target = deployments[index]
    staged = host.staged
    if staged is not None and index == 0:
        host.write_staged(None)
        return target, True
    if target.id == host.state.booted:
        raise SysrootError(f"Cannot undeploy currently booted deployment {index}")
    replace_deployments(host, [one for one in host.state.deployments if one.id != target.id])
    return target, False


def prune(host: Host) -> Pruned:
    """Clean up: images that no deployment's origin names, layers and commits that nothing uses, lost deployments."""
    state, deployments = host.state, all_deployments(host)
    _delete_lost(host, {one.directory for one in deployments})
    specs = [ImageSpec.parse_origin(str(one.origin.get("container", ""))) for one in deployments]
    named = {spec.stored_as for spec in specs if spec is not None}
    gone = [name for name in state.images if name not in named]
    for name in gone:
        del state.images[name]
    used = {*state.images.values(), *state.refs.values(), *(one.base for one in deployments)}
    state.commits = {checksum: commit for checksum, commit in state.commits.items() if checksum in used}
    needed = {layer["digest"] for commit in state.commits.values() for layer in commit["layers"]}
    unused = [known for known in state.layers if known not in needed]
    state.layers = [known for known in state.layers if known in needed]
    host.save()
    return Pruned(len(gone), len(unused), sum(_blob_size(host, known) for known in unused))


def _delete_lost(host: Host, kept: set[str]) -> None:
    for name in os.listdir(host.path("deploy")):
        if name not in kept:
            shutil.rmtree(host.path("deploy", name), ignore_errors=True)
    show_trees(host)


def _blob_size(host: Host, digest: str) -> int:
    try:
        return os.path.getsize(os.path.join(host.lab, "blobs", digest.replace(":", "/")))
    except FileNotFoundError:
        return 0


def image_of(host: Host, deployment: Deployment) -> tuple[ImageSpec, dict[str, Any]] | None:
    """Spec and commit metadata of a container deployment; None for a plain ostree one."""
    spec = ImageSpec.parse_origin(str(deployment.origin.get("container", "")))
    return (spec, host.commit(deployment)) if spec is not None else None


def format_size(size: int) -> str:
    """Bytes as GLib writes them: decimal units, one digit, a no-break space before the unit."""
    if size < 1000:
        return f"{size} bytes" if size != 1 else "1 byte"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 1000 or unit == "TB":
            break
    return f"{value:.1f}\u00a0{unit}"
