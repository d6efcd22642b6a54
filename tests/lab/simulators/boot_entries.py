# SPDX-License-Identifier: GPL-3.0-or-later
"""What the boot loader reads on a node: /boot/loader/entries, and the links behind ``ostree=`` of each entry."""

from __future__ import annotations

import os
import shutil

from lab.simulators import kernel_arguments
from lab.simulators.host import Host

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.state import Deployment

UNNAMED = "Linux"


class Kernel:
    """Kernel and initramfs of a tree: ``checksum`` is what ostree calls the boot checksum."""

    def __init__(self, checksum: str, version: str) -> None:
        self.checksum = checksum
        self.version = version

    def directory(self, osname: str) -> str:
        """Where both lie below /boot, as the entries write it."""
        return f"/ostree/{osname}-{self.checksum}"


def write(host: Host, kernels: list[Kernel]) -> None:
    """Write the entries and links of all finalized deployments (``kernels``: theirs), and remove those of before."""
    state = host.state
    _write_links(host, kernels)
    entries = host.path("boot", f"loader.{state.bootversion}", "entries")
    shutil.rmtree(os.path.dirname(entries), ignore_errors=True)
    os.makedirs(entries)
    for index, (one, kernel) in enumerate(zip(state.deployments, kernels)):
        number = len(kernels) - index
        with open(os.path.join(entries, f"ostree-{number}.conf"), "w", encoding="utf-8") as handle:
            handle.write(_entry(host, one, kernel, index, number))
    _link(f"loader.{state.bootversion}", host.path("boot", "loader"))
    shutil.rmtree(host.path("boot", f"loader.{1 - state.bootversion}"), ignore_errors=True)


def _entry(host: Host, one: Deployment, kernel: Kernel, index: int, number: int) -> str:
    """One file, its lines in ostree's order (recorded, ostree 2026.4)."""
    directory = kernel.directory(one.osname)
    lines = [
        f"title {_title(host, one)} (ostree:{index})",
        f"version {number}",
        f"options {' '.join(one.kargs)}",
        f"linux {directory}/vmlinuz-{kernel.version}",
        f"initrd {directory}/initramfs-{kernel.version}.img",
        *(f"x-options-source-{name} {options}" for name, options in sorted((one.sources or {}).items())),
    ]
    return "\n".join(lines) + "\n"


def _title(host: Host, one: Deployment) -> str:
    """The system's name; the version of the commit behind it where the commit itself has one, as an image's has not."""
    name = UNNAMED
    for place in ("etc/os-release", "usr/lib/os-release"):
        try:
            with open(os.path.join(host.tree(one), place), encoding="utf-8") as handle:
                found = [
                    line.split("=", 1)[1].strip().strip("\"'") for line in handle if line.startswith("PRETTY_NAME=")
                ]
        except FileNotFoundError:
            continue
        if found:
            name = found[0]
            break
    version = host.commit(one)["version"] if "refspec" in one.origin else None
    return f"{name} {version}" if version and version not in name else name


def _write_links(host: Host, kernels: list[Kernel]) -> None:
    """/ostree/boot.N: what ``ostree=`` of an entry names; those of the other boot version are gone (ostree-sysroot-cleanup.c)."""
    state = host.state
    ostree = host.path("sysroot", "ostree")
    for version in (0, 1):
        shutil.rmtree(os.path.join(ostree, f"boot.{version}.1"), ignore_errors=True)
    for one, kernel in zip(state.deployments, kernels):
        directory = os.path.join(ostree, f"boot.{state.bootversion}.1", one.osname, kernel.checksum)
        os.makedirs(directory, exist_ok=True)
        place = os.path.join(directory, str(len(os.listdir(directory))))
        os.symlink(f"../../../deploy/{one.osname}/deploy/{one.directory}", place)
    _link(f"boot.{state.bootversion}.1", os.path.join(ostree, f"boot.{state.bootversion}"))
    other = os.path.join(ostree, f"boot.{1 - state.bootversion}")
    if os.path.islink(other):
        os.unlink(other)


def _link(target: str, place: str) -> None:
    temporary = f"{place}.{os.getpid()}.new"
    os.symlink(target, temporary)
    os.replace(temporary, place)


def append_in_place(host: Host, arguments: list[str]) -> None:
    """`ostree admin kargs edit-in-place`: every deployment, the staged one included, gets the keys that it lacks.

    No deployment is made, and the boot version stays (ostree 2026.4, ot-admin-kargs-builtin-edit-in-place.c).
    """
    staged = host.staged
    if staged is not None:
        staged.kargs = kernel_arguments.with_keys(staged.kargs, arguments)
        host.update_staged(staged)
    entries = host.path("boot", "loader", "entries")
    for index, one in enumerate(host.state.deployments):
        one.kargs = kernel_arguments.with_keys(one.kargs, arguments)
        _replace_options(os.path.join(entries, f"ostree-{len(host.state.deployments) - index}.conf"), one.kargs)
    host.save()


def _replace_options(path: str, arguments: list[str]) -> None:
    with open(path, encoding="utf-8") as handle:
        lines = handle.read().splitlines()
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "w", encoding="utf-8") as handle:
        for line in lines:
            handle.write((f"options {' '.join(arguments)}" if line.startswith("options ") else line) + "\n")
    os.replace(temporary, path)
