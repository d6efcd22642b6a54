# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: E402 (the documentation comes before the imports)
"""Connection plugin ``lab``: reaches the simulated nodes of the node lab the way the ssh plugin reaches real ones."""

from __future__ import annotations

DOCUMENTATION = """
name: lab
short_description: Run tasks on the simulated nodes of the node lab
description:
  - Reaches the nodes of the node lab of this collection's tests, and behaves like an SSH connection while doing so.
  - A command without data on its standard input gets a terminal, so its two output streams are merged and its lines
    end in CRLF. A command with such data has its streams apart.
  - A node that is switched off or booting is unreachable.
author: imagemode.nodes contributors
extends_documentation_fragment:
  - connection_pipelining
options:
  host:
    description: Name of the node.
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: lab_node
  remote_user:
    description: User on the node. Anybody but C(root) is refused root's rights unless O(ignore:become) is used.
    default: root
    vars:
      - name: ansible_user
    keyword:
      - name: remote_user
  lab_directory:
    description: Directory of the lab.
    type: path
    required: true
    env:
      - name: IMAGEMODE_LAB
    vars:
      - name: lab_directory
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

TESTS = str(Path(__file__).resolve().parents[2])
if TESTS not in sys.path:
    sys.path.append(TESTS)

from lab import session
from lab.node import Node

display = Display()


class Connection(ConnectionBase):  # type: ignore[misc]
    """One connection to one node of the lab."""

    transport = "lab"
    has_pipelining = True
    _connected: bool

    def _connect(self) -> Connection:
        if not self._connected:
            super()._connect()
            node, user = self._node(), self._user()
            try:
                session.refuse_if_away(node, user)
            except session.ConnectionRefused as error:
                raise AnsibleConnectionFailure(f"Failed to connect to the host via ssh: ssh: {error}") from error
            node.journal.append("connect", user=user)
            self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run ``cmd``; returns exit status, stdout and stderr. A lost connection is unreachable, as with ssh."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        display.vvv(f"ESTABLISH LAB CONNECTION FOR USER: {self._user()}", host=self.get_option("host"))
        display.vvv(f"EXEC {cmd[:2000]}", host=self.get_option("host"))
        result = self._session(cmd, stdin=in_data, tty=not in_data and sudoable)
        return result.rc, result.stdout, result.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the controller to the node."""
        super().put_file(in_path, out_path)
        try:
            data = Path(in_path).read_bytes()
        except FileNotFoundError as error:
            raise AnsibleFileNotFound(f"file or module does not exist: {in_path}") from error
        result = self._session(f"cat > {shlex.quote(out_path)}", stdin=data)
        if result.rc != 0:
            raise AnsibleError(f"failed to transfer file to {out_path}:\n{result.stderr.decode(errors='replace')}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the node to the controller."""
        super().fetch_file(in_path, out_path)
        result = self._session(f"cat -- {shlex.quote(in_path)}", stdin=b"")
        if result.rc != 0:
            raise AnsibleError(f"failed to transfer file from {in_path}:\n{result.stderr.decode(errors='replace')}")
        Path(out_path).write_bytes(result.stdout)

    def reset(self) -> None:
        """Forget the connection; the next command opens a new one."""
        self.close()

    def close(self) -> None:
        """Nothing is held open between commands."""
        self._connected = False

    def _session(self, command: str, *, stdin: bytes | None, tty: bool = False) -> Any:
        node, user = self._node(), self._user()
        if self.become is not None and _runs_sudo(command):
            user = "root"  # the node's sudo cannot be set-uid, so the lab's sshd gives what sudo would have given
        try:
            result = session.run(node, command, user=user, stdin=stdin, tty=tty)
        except session.ConnectionRefused as error:
            raise AnsibleConnectionFailure(f"Failed to connect to the host via ssh: ssh: {error}") from error
        except session.ConnectionLost as error:
            raise AnsibleConnectionFailure(f"Failed to connect to the host via ssh: {error}") from error
        if result.rc == 255:  # the ssh plugin cannot tell a command's 255 from ssh's own
            raise AnsibleConnectionFailure(
                f"Failed to connect to the host via ssh: {result.stderr.decode(errors='replace')}"
            )
        return result

    def _user(self) -> str:
        return str(self.get_option("remote_user") or "root")

    def _node(self) -> Node:
        lab, name = Path(self.get_option("lab_directory")), str(self.get_option("host"))
        try:
            return Node.load(lab, name)
        except FileNotFoundError as error:
            raise AnsibleConnectionFailure(
                f"Failed to connect to the host via ssh: ssh: Could not resolve hostname {name}: there is no such node "
                f"in the lab {lab}"
            ) from error


def _runs_sudo(command: str) -> bool:
    """Whether a command line is sudo's, by itself or as the one thing that a shell is told to run."""
    words = shlex.split(command)
    if len(words) == 3 and words[0].endswith("sh") and words[1] == "-c":
        return words[2].startswith("sudo ")
    return bool(words) and words[0] == "sudo"
