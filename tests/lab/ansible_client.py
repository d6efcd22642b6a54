# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands for ansible-playbook where lab.ansible_server runs it: hands over all that it was given, and waits.

Called as ``ansible_client.py SOCKET PROGRAM ARGUMENT…``. PROGRAM is the real one, for runs that the server refuses.
When this process is killed, so is the run.
"""

from __future__ import annotations

import json
import os
import socket
import sys

RUN_IT_YOURSELF = 255


def main() -> int:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(sys.argv[1])
    request = {"arguments": sys.argv[3:], "environment": dict(os.environ), "directory": os.getcwd()}
    line = json.dumps(request).encode() + b"\n"
    try:
        sent = socket.send_fds(connection, [line], [0, 1, 2])
        connection.sendall(line[sent:])
    except (BrokenPipeError, ConnectionResetError):  # the server gave up on the request before it had all of it
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (an argument list, no shell)
    status = connection.recv(1)
    if status and status[0] == RUN_IT_YOURSELF:
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (an argument list, no shell)
    return status[0] if status else 1


if __name__ == "__main__":
    sys.exit(main())
