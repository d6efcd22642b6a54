# SPDX-License-Identifier: GPL-3.0-or-later
"""A real sshd on loopback in front of one node: what the lab's own connection only imitates."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab import enter
from lab.node import Node
from lab.session import JOURNALED_COMMAND

PROGRAM = "/usr/sbin/sshd"
START_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Sshd:
    """A running daemon: its port and the private key that it lets in as root."""

    port: int
    key: Path

    def inventory_vars(self) -> dict[str, str | int]:
        """What makes Ansible's ssh connection reach the node through it."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o IdentitiesOnly=yes",
        }


def missing() -> str | None:
    """Why no sshd can be started here, or None."""
    if not Path(PROGRAM).exists() or shutil.which("ssh") is None:
        return "sshd or ssh is not installed (Debian: openssh-server, Fedora: openssh-server openssh-clients)"
    return None if os.geteuid() == 0 else "an sshd that lets root in needs root"


@contextlib.contextmanager
def running(node: Node, directory: Path, *, prepared: bool = False) -> Iterator[Sshd]:
    """Start a daemon whose every session is a command on the node; stop it at the end.

    ``prepared``: for measurements, sessions that begin as fast as a real host's. They hold until the node boots.
    """
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    settings = {
        "AuthorizedKeysFile": str(directory / "user.pub"),
        "PermitRootLogin": "prohibit-password",
        "ForceCommand": str(_prepare(node, directory))
        if prepared
        else f"{sys.executable} -m lab.sshd {node.directory}",
    }
    with daemon(directory, settings) as port:
        yield Sshd(port, directory / "user")


def _prepare(node: Node, directory: Path) -> Path:
    """A script that is a session, without a Python to find out how to enter the node."""
    *words, _command = enter.command(node, ["/bin/sh", "-c", ""])
    entry = '{"t": %s, "event": "session"}\\n'
    path = directory / "session"
    path.write_text(
        "#!/bin/sh\n"
        f"printf '{entry}' \"$(date +%s.%N)\" >>{shlex.quote(node.journal.path)}\n"
        f'exec {shlex.join(words)} "${{SSH_ORIGINAL_COMMAND:-exec /bin/sh}}"\n'
    )
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def daemon(directory: Path, settings: Mapping[str, str], prefix: Sequence[str] = ()) -> Iterator[int]:
    """Run sshd on loopback with these settings and the key in ``directory``/host, behind ``prefix``; yields its port."""
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd confines its unprivileged half
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    everywhere = {"PidFile": "none", "StrictModes": "no", "UsePAM": "no", "HostKey": str(directory / "host")}
    lines = {"ListenAddress": f"127.0.0.1:{port}", **everywhere, **settings}
    configuration = directory / "sshd_config"
    configuration.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    process = subprocess.Popen(
        [*prefix, PROGRAM, "-D", "-e", "-f", str(configuration)],
        stderr=(directory / "log").open("w"),
        start_new_session=True,
    )
    try:
        _wait_for(port, process, directory / "log")
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"sshd did not start: {log.read_text()}")


def session(directory: Path) -> None:
    """One session: replace this process by the client's command on the node, or turn the client away."""
    node = Node.load(directory.parent.parent, directory.name)
    if not node.is_up():
        sys.exit(255)
    command = os.environ.get("SSH_ORIGINAL_COMMAND", "exec /bin/sh")
    node.journal.append("session", command=command[:JOURNALED_COMMAND])
    argv = enter.command(node, ["/bin/sh", "-c", command])
    os.execvp(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    session(Path(sys.argv[1]))
