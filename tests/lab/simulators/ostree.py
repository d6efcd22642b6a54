# SPDX-License-Identifier: GPL-3.0-or-later
"""`ostree admin status|undeploy|pin|unlock|lock-finalization|kargs edit-in-place|config-diff`, `ostree refs|--version` (2026.4)."""

from __future__ import annotations

import os
import re
import sys

from lab.simulators import boot_entries, soft_reboot, sysroot, sysroot_lock
from lab.simulators.host import Host
from lab.simulators.state import Deployment

FEATURES = (
    *("inode64", "initial-var", "libcurl", "libsoup3", "gpgme", "composefs", "ex-fsverity", "libarchive"),
    *("selinux", "avahi", "libmount", "systemd", "release", "p2p"),
)
NOT_FOR_EVERYONE = "error: You must be root to perform this command\n"


class OstreeError(Exception):
    """ostree refuses. ``str()`` is its text."""


def run(host: Host, argv: list[str]) -> int:
    if argv[:1] == ["--version"]:
        features = "\n".join(f"  - {feature}" for feature in FEATURES)
        print(f"libostree:\n Version: '{host.node['versions']['ostree']}'\n Features:\n{features}")
        return 0
    if not host.is_ostree:
        sys.stderr.write("error: Not currently booted into an OSTree system\n")
        return 1
    try:
        if argv == ["refs"]:
            print("\n".join(refs(host)))
        elif argv[:2] == ["admin", "status"]:
            sys.stdout.write(status(host))
        elif argv[:2] == ["admin", "undeploy"] and len(argv) == 3 and argv[2].isdigit():
            _undeploy(host, int(argv[2]))
        elif argv[:2] == ["admin", "pin"]:
            _pin(host, argv[2:])
        elif argv[:2] == ["admin", "prepare-soft-reboot"]:
            soft_reboot.admin(host, argv[2:])
        elif argv[:2] == ["admin", "unlock"]:
            return unlock(host, transient="--transient" in argv)
        elif argv[:3] == ["admin", "kargs", "edit-in-place"]:
            _edit_kargs_in_place(host, argv[3:])
        elif argv[:2] == ["admin", "lock-finalization"]:
            _lock_finalization(host, lock=argv[2:] not in (["--unlock"], ["-u"]))
        elif argv[:2] == ["admin", "config-diff"]:
            _config_diff(host)
        else:
            raise OstreeError(f"the lab does not simulate `ostree {' '.join(argv)}`")
    except (OstreeError, sysroot.SysrootError, soft_reboot.NotPrepared) as error:
        sys.stdout.flush()
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def refs(host: Host) -> list[str]:
    """`ostree refs`: a deployment, a layer, an image or a branch for each line, by name (recorded, ostree 2026.4)."""
    state = host.state
    found = [f"ostree/0/1/{index}" for index in range(len(state.deployments))]
    found += [f"ostree/container/blob/{_escaped(layer)}" for layer in state.layers]
    found += [f"ostree/container/image/{_escaped(name)}" for name in state.images]
    return sorted([*found, *state.refs])


def _escaped(name: str) -> str:
    """As ostree-ext makes a name of a ref from any text: a slash stays where it parts two words."""
    kept = re.compile(r"[A-Za-z0-9]|(?<=[A-Za-z0-9])/(?=[A-Za-z0-9])")
    matches = [(character, kept.match(name, place)) for place, character in enumerate(name)]
    return "".join(character if match else f"_{ord(character):02X}_" for character, match in matches)


def status(host: Host) -> str:
    """`ostree admin status`: one deployment after the other, the booted one with a star."""
    lines = []
    staged, booted = host.staged, host.state.booted
    order = [one.id for one in host.state.deployments]
    for one in sysroot.all_deployments(host):
        mark = "*" if one.id == booted else " "
        soft = " (soft-reboot)" if one.id == soft_reboot.prepared(host) else ""
        lines.append(f"{mark} {one.osname} {one.checksum}.{one.serial}{_role(one, staged, order, booted)}{soft}")
        lines += _details(host, one, one.id == booted)
    return "\n".join(lines) + "\n"


def _role(one: Deployment, staged: Deployment | None, order: list[str], booted: str) -> str:
    if staged is not None and one.id == staged.id:
        return " (finalization locked)" if one.locked else " (staged)"
    if one.id == booted:
        return ""
    if order.index(one.id) < order.index(booted):
        return " (pending)"
    return " (rollback)" if order.index(one.id) == order.index(booted) + 1 else ""


def _details(host: Host, one: Deployment, is_booted: bool) -> list[str]:
    lines = []
    if "refspec" in one.origin:
        lines.append(f"    Version: {host.commit(one)['version']}")
    if one.pinned:
        lines.append("    Pinned: yes")
    if is_booted and host.state.unlocked != "none":
        lines.append(f"    Unlocked: {host.state.unlocked}")
    refspec = None if one.incompatible else one.origin.get("refspec")  # ostree knows nothing of `baserefspec`
    lines.append(f"    origin refspec: {refspec}" if refspec else "    origin: <unknown origin type>")
    return lines


def _undeploy(host: Host, index: int) -> None:
    lock = sysroot_lock.acquire(host, announce=False)
    gone, was_staged = sysroot.undeploy(host, index)
    if not was_staged:
        print(sysroot.bootloader_line(host.state, -1))
    print(f"Deleted deployment {gone.directory}")
    os.close(lock)


def _pin(host: Host, argv: list[str]) -> None:
    pin = "--unpin" not in argv and "-u" not in argv
    for word in (word for word in argv if not word.startswith("-")):
        deployments = sysroot.all_deployments(host)
        index = [one.id for one in deployments].index(host.state.booted) if word == "booted" else int(word)
        if index >= len(deployments):
            raise OstreeError(f"Out of range deployment index {index}, expected < {len(deployments)}")
        target = deployments[index]
        staged = host.staged
        if staged is not None and target.id == staged.id:
            raise OstreeError("Cannot pin staged deployment")
        verb = "pinned" if pin else "unpinned"
        already = "already" if target.pinned is pin else "now"
        target.pinned = pin
        host.save()
        sysroot.show_trees(host)
        print(f"Deployment {index} is {already} {verb}")


def _edit_kargs_in_place(host: Host, argv: list[str]) -> None:
    appended = []
    todo = list(argv)
    while todo:
        name, separator, value = todo.pop(0).partition("=")
        if name != "--append-if-missing":
            raise OstreeError(f"Unknown option {name}")
        if not separator and not todo:
            raise OstreeError(f"Missing argument for {name}")
        appended.append(value if separator else todo.pop(0))
    lock = sysroot_lock.acquire(host, announce=False)
    boot_entries.append_in_place(host, appended)
    os.close(lock)


def _lock_finalization(host: Host, *, lock: bool) -> None:
    """Toggles what bootc and rpm-ostree lock, and keeps the legacy file beside it (ostree src/libostree, since 2023.8)."""
    handle = sysroot_lock.acquire(host, announce=False)
    staged = host.staged
    if staged is None:
        raise OstreeError("No staged deployment")
    if staged.locked == lock:
        print(f"Staged deployment is already {'finalization locked' if lock else 'prepared for finalization'}")
        return
    staged.locked = lock
    host.update_staged(staged)
    legacy = host.path("run", "ostree", "staged-deployment-locked")
    if lock:
        with open(legacy, "w", encoding="ascii"):
            pass
    elif os.path.exists(legacy):
        os.unlink(legacy)
    print(f"Staged deployment is now {'finalization locked' if lock else 'queued to apply on shutdown'}")
    os.close(handle)


def unlock(host: Host, *, transient: bool) -> int:
    """`ostree admin unlock`: what `bootc usr-overlay` runs. Gone after a reboot."""
    if host.state.unlocked != "none":
        sys.stderr.write(f"error: Deployment is already in unlocked state: {host.state.unlocked}\n")
        return 1
    host.state.unlocked = "transient" if transient else "development"
    host.save()
    if transient:
        print("A writable overlayfs is prepared for /usr, but is mounted read-only by default.")
        print("All changes there will be discarded on reboot.")
    else:
        print("Development mode enabled.  A writable overlayfs is now mounted on /usr.")
        print("All changes there will be discarded on reboot.")
    return 0


def _config_diff(host: Host) -> None:
    from lab.simulators.etc_merge import config_diff

    booted = host.booted
    for change in config_diff(os.path.join(host.tree(booted), "usr/etc"), host.etc(booted)):
        kind, path = change.split(" ", 1)
        print(f"{kind}    {path}")
