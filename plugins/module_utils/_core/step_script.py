# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts that a build runs in the image: how a RUN instruction gets one, and how it says why it failed."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep

MOUNT_POINT = "/run/imagemode"

# What a script prints before it ends with status 1: `imagemode: dependency: The package jq is not installed, …`.
SCRIPT_FAILURE = re.compile(r"^imagemode: (?P<category>[a-z_]+): (?P<message>.+)$", re.MULTILINE)

# The tmpfs takes the mount points and what a script keeps for itself away with it. It is not mounted over /run, as buildah
# removes the targets of its mounts when they are empty (seen with 1.28): the image would lose its /run.
_TMPFS = f"type=tmpfs,target={MOUNT_POINT}"


def script_step(
    title: str,
    name: str,
    body: str,
    arguments: Sequence[str] = (),
    *,
    mounts: Sequence[str] = (),
    depends_on: str = "",
) -> BuildStep:
    """A step that runs a script under the image's own `sh`.

    `name` is that of the file in the context. `mounts` are values of further `--mount` options. The script and the text
    `depends_on`, such as the state of the repositories, are in the instruction as a hash, since engines do not look at
    what is mounted to decide whether a cached layer still fits.
    """
    script = (PRELUDE + body).encode()
    options = [_TMPFS, f"type=bind,source={name},target={MOUNT_POINT}/{name}", *mounts]
    marker = hashlib.sha256(script + b"\0" + depends_on.encode()).hexdigest()[:12]
    words = [f": inputs-{marker} &&", "sh", f"{MOUNT_POINT}/{name}"]
    words.extend(shlex.quote(argument) for argument in arguments)
    flags = " ".join(f"--mount={option}" for option in options)
    return BuildStep(title, f"RUN {flags} {' '.join(words)}", {name: script})


def script_failure(output: str) -> tuple[FailureCategory, str] | None:
    """Category and message that a script of ours printed last; None where it printed none."""
    found: Mapping[str, str] | None = None
    for match in SCRIPT_FAILURE.finditer(output):
        found = match.groupdict()
    if found is None or found["category"] not in {category.value for category in FailureCategory}:
        return None
    return FailureCategory(found["category"]), found["message"]


# The first lines of every script. `fail` is the only way out with an error that was foreseen.
PRELUDE = """\
# Run by the collection imagemode.nodes while it builds this image; not part of it.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
PYTHONDONTWRITEBYTECODE=1
export PATH LC_ALL PYTHONDONTWRITEBYTECODE
fail() { # category, message
  echo "imagemode: $1: $2" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
"""
