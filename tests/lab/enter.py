# SPDX-License-Identifier: GPL-3.0-or-later
"""How one gets into a node: a bubblewrap mount namespace whose root is the booted deployment."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.node import Node

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
BUSYBOX = "/.lab/busybox"
HOST = "/.lab/host"
PUBLIC = "/.lab/public"
OWN_MOUNTS = frozenset({"usr", "etc", "var", "run", "tmp", "proc", "dev", "sys", "sysroot", "boot"})


def command(
    node: Node, argv: Sequence[str], *, user: str = "root", environment: Mapping[str, str] | None = None
) -> list[str]:
    """The argv that runs ``argv`` as ``user`` inside the node's booted deployment.

    ``environment``: all that the command gets; by default what a login has.

    The machine's own root is visible at ``/.lab/host``, for the simulators only: the tools' shims chroot into it.
    Needs root on the machine. The caller decides about sessions and terminals; nothing here ends with its parent.
    """
    mounts = node.mounts()
    home = _home(mounts.etc, user)
    if environment is None:
        environment = {
            "PATH": SEARCH_PATH,
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
        }
    argv = list(argv)
    if user != "root":
        argv = [BUSYBOX, "su", "-s", "/bin/sh", user, "-c", shlex.join(argv)]
    return [
        # A mount table of our own, because bwrap walks it to bind the machine's root, and fails when a mount that it has
        # seen is gone a moment later: an image build next door is enough.
        *("unshare", "--mount"),
        "bwrap",
        # busybox's shell runs its own `reboot` and `poweroff`, whatever the path says: they must not reach this machine.
        *("--cap-drop", "CAP_SYS_BOOT"),
        *("--unshare-uts", "--hostname", node.name),
        *("--ro-bind", str(mounts.tree / "usr"), "/usr"),
        *_root_links(mounts.tree),
        *("--bind", str(mounts.etc), "/etc"),
        *("--bind", str(mounts.var), "/var"),
        *("--bind", str(mounts.run), "/run"),
        *("--bind", str(mounts.tmp), "/tmp"),
        *("--bind", str(mounts.sysroot), "/sysroot"),
        *("--bind", str(mounts.boot), "/boot"),
        *("--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys"),
        *("--ro-bind", str(mounts.boot_id), "/proc/sys/kernel/random/boot_id"),
        *("--ro-bind", str(mounts.cmdline), "/proc/cmdline"),
        *("--perms", "0755", "--dir", "/.lab", "--ro-bind", _busybox(), BUSYBOX),
        *("--dev-bind", "/", HOST),
        *(word for inside, outside in mounts.over.items() for word in ("--ro-bind", str(outside), inside)),
        *_public_status(node, user),
        *_python(node),
        *("--dir", "/run/systemd/system"),
        *("--clearenv", *(word for item in environment.items() for word in ("--setenv", *item))),
        *("--setenv", "LAB_NODE", str(node.directory)),
        *("--chdir", home, "--", *argv),
    ]


@functools.cache
def _root_links(tree: Path) -> tuple[str, ...]:
    """bwrap options for what else the image has at its root: links such as /bin, plain directories."""
    options: list[str] = []
    for entry in sorted(os.scandir(tree), key=lambda found: found.name):
        if entry.name in OWN_MOUNTS:
            continue
        if entry.is_symlink():
            options += ["--symlink", os.readlink(entry.path), f"/{entry.name}"]
        else:
            options += ["--ro-bind", entry.path, f"/{entry.name}"]
    return tuple(options)


def _public_status(node: Node, user: str) -> tuple[str, ...]:
    """What `rpm-ostree status` answers to everybody, as of now: only root can run the simulators."""
    if user == "root" or not node.versions.get("rpm-ostree"):
        return ()
    return ("--ro-bind", str(node.write_public_status()), PUBLIC)


def _python(node: Node) -> tuple[str, ...]:
    if not node.python:
        return ()
    from lab import node_python

    return ("--ro-bind", str(node_python.launcher(node.lab)), node_python.INSIDE)


@functools.lru_cache(maxsize=1)
def _busybox() -> str:
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox is not installed; on Debian: apt-get install busybox-static")
    return found


def _home(etc: Path, user: str) -> str:
    for line in (etc / "passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == user and len(fields) > 5:
            return {"/root": "/var/roothome"}.get(fields[5], fields[5])
    return "/"
