# SPDX-License-Identifier: GPL-3.0-or-later
"""`skopeo inspect --raw`, as far as it says whether a registry gives an image to this node.

It asks as the node's own files say: registries.conf, certificates, /etc/hosts, a proxy of the environment; and of auth
files the one that it was given, which must be the one that bootc and rpm-ostree would read.
"""

from __future__ import annotations

import os
import sys
import time

from lab.pull import manifest_of
from lab.pull_error import PullError
from lab.registry_access import AUTH_FILES
from lab.simulators.host import Host
from lab.simulators.image_reference import InvalidReference, RegistryReference

PREFIX = "docker://"


def run(host: Host, argv: list[str]) -> int:
    """The exit status; a manifest on standard output, or a line of logrus on standard error (as skopeo 1.9 writes it)."""
    if argv == ["--version"]:
        print(f"skopeo version {host.version('skopeo')}")
        return 0
    if argv[:2] != ["inspect", "--raw"] or not argv[-1].startswith(PREFIX):
        sys.stderr.write(f"the lab's skopeo knows only `inspect --raw … docker://IMAGE`, not {' '.join(argv)}\n")
        return 1
    first = next((path for path in AUTH_FILES if host.read(path) is not None), None)
    expected = ["--no-creds"] if first is None else ["--authfile", first]
    if argv[2:-1] != expected:
        sys.stderr.write(
            f"the lab's skopeo reads what the tools read, {' '.join(expected)}, not {' '.join(argv[2:-1])}\n"
        )
        return 1
    image = argv[-1][len(PREFIX) :]
    stalled = host.fault("registry-stalls")
    while stalled is not None:
        time.sleep(0.1)
    try:
        body = manifest_of(host, RegistryReference(image), os.environ)
    except (PullError, InvalidReference) as error:
        told = (
            f'Error parsing image name "{argv[-1]}": {error}'.replace("\\", "\\\\")
            .replace('"', '\\"')
            .replace("\n", "\\n")
        )
        sys.stderr.write(f'time="{time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}" level=fatal msg="{told}"\n')
        return 1
    sys.stdout.write(body.decode())
    return 0
