# SPDX-License-Identifier: GPL-3.0-or-later
"""A real sshd with real users, whose sudo and su are those of this machine, in front of the tools of one node.

The daemon runs in a mount namespace of its own: passwd, shadow, sudoers and home directories in it are the lab's, and
`bootc` is the node's. So a login, a password, a lecture and a shell's profile are what they are on a real host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import sshd
from lab.node import Node

USER_PASSWORD = "user password"
ROOT_PASSWORD = "root password"
_USER_HASH = "$6$lablablab$4mcU7nIVXkX8eQc2g05lnP.qEfasgtPBl8YinrUViZ8S4jRWS4HLRSbu8KETRxIRJm6MNOXduq9QT7G0JKSJj1"
_ROOT_HASH = "$6$lablablab$3Z7g5ZmaVuewanevrAMgL0.0Gb2CDdwTav8/RneXKOtCuDSjITX2/OIPMPdXHEJSB3tQnNCKAavNxh2Wo/TK51"

# login -> (shell, what sudoers says of it)
USERS = {
    "nopass": ("/bin/sh", "ALL=(ALL) NOPASSWD: ALL"),
    "withpass": ("/bin/sh", "ALL=(ALL) ALL"),
    "lectured": ("/bin/sh", "ALL=(ALL) ALL\nDefaults:lectured lecture=always"),
    "needstty": ("/bin/sh", "ALL=(ALL) NOPASSWD: ALL\nDefaults:needstty requiretty"),
    "noisy": ("/bin/bash", "ALL=(ALL) NOPASSWD: ALL"),
    "plain": ("/bin/sh", ""),
}
OPEN_ROOT = "toor"  # root's rights and no password: what su needs none for
NOEXEC = "/mnt"
FIRST_UID = 60100

_PROFILE = 'echo "Welcome, $USER {\\"staged\\": null}"\necho "mail waits" >&2\n'
_SUDOERS = "Defaults !syslog, timestamp_timeout=0, passwd_tries=1\nroot ALL=(ALL:ALL) ALL\n"


@dataclasses.dataclass(frozen=True)
class Machine:
    """A running daemon; every user of USERS may log in with the key."""

    port: int
    key: Path

    def variables(self, user: str) -> dict[str, Any]:
        """What makes Ansible log in as that user."""
        return {**sshd.Sshd(self.port, self.key).inventory_vars(), "ansible_user": user, "ansible_ssh_retries": 0}


def missing() -> str | None:
    """Why there can be none here, or None."""
    absent = [program for program in ("sudo", "su", "bash", "unshare", "mount") if shutil.which(program) is None]
    return sshd.missing() or (f"{', '.join(absent)} is not installed" if absent else None)


@contextlib.contextmanager
def running(node: Node, directory: Path) -> Iterator[Machine]:
    """Start the daemon; stop it at the end."""
    directory.mkdir(mode=0o700)
    key = directory / "user"
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    _write_accounts(directory)
    _write_homes(directory / "home", (directory / "user.pub").read_text())
    (directory / "bin").mkdir()
    (directory / "bin" / "bootc").write_text(_bootc(node))
    (directory / "bin" / "bootc").chmod(0o755)
    mounts = [(directory / name, f"/etc/{name}") for name in ("passwd", "group", "shadow", "sudoers")]
    mounts += [(directory / "home", "/home"), (directory / "bin", "/usr/local/bin")]
    script = "".join(f"mount --bind '{ours}' '{theirs}' && " for ours, theirs in mounts)
    script += f'mount -t tmpfs -o noexec,mode=1777 tmpfs {NOEXEC} && exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    settings = {
        "AuthorizedKeysFile": ".ssh/authorized_keys",
        "PermitRootLogin": "no",
        "Subsystem": "sftp internal-sftp",
    }
    with sshd.daemon(directory, settings, prefix) as port:
        yield Machine(port, key)


def _write_accounts(directory: Path) -> None:
    """The machine's own accounts stay known by name, for sshd's sake; no password of them is taken over."""
    passwd = Path("/etc/passwd").read_text()
    shadow = f"root:{_ROOT_HASH}:19000:0:99999:7:::\n{OPEN_ROOT}::19000:0:99999:7:::\n"
    passwd += f"{OPEN_ROOT}:x:0:0::/root:/bin/sh\n"
    sudoers = _SUDOERS
    for uid, (user, (shell, rule)) in enumerate(USERS.items(), FIRST_UID):
        passwd += f"{user}:x:{uid}:{uid}::/home/{user}:{shell}\n"
        shadow += f"{user}:{_USER_HASH}:19000:0:99999:7:::\n"
        sudoers += f"{user} {rule}\n" if rule else ""
    for name, text, mode in (("passwd", passwd, 0o644), ("shadow", shadow, 0o600), ("sudoers", sudoers, 0o440)):
        (directory / name).write_text(text)
        (directory / name).chmod(mode)
    shutil.copy("/etc/group", directory / "group")


def _write_homes(homes: Path, public_key: str) -> None:
    homes.mkdir(mode=0o755)
    for uid, user in enumerate(USERS, FIRST_UID):
        home = homes / user
        (home / ".ssh").mkdir(parents=True)
        (home / ".ssh" / "authorized_keys").write_text(public_key)
        for name in (".bashrc", ".profile") if user == "noisy" else ():
            (home / name).write_text(_PROFILE)
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, uid)


def _bootc(node: Node) -> str:
    main = Path(__file__).resolve().parent / "simulators" / "main.py"
    refusal = (
        "error: Status: Preparing for write: Querying root privilege: This command must be executed as the root user"
    )
    return (
        "#!/bin/sh\n"
        f"[ \"$(id -u)\" = 0 ] || {{ echo '{refusal}' >&2; exit 1; }}\n"
        f"LAB_NODE='{node.directory}' exec '{os.path.realpath(sys.executable)}' -I -S '{main}' bootc \"$@\"\n"
    )
