# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers of one play tell each other through files of their own, whatever keeps the state: who waits in line, and
when one of them changed the state."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from ansible import constants
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError


def open_line(pool: str) -> int:
    """A descriptor of the pool's line. Raises StoreError.

    It lies in Ansible's temporary directory, which belongs to one process and its workers, and ends with them.
    """
    try:
        return os.open(_file(pool, "line"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            "the line of the waiting nodes cannot be kept in ansible's own temporary directory "
            f"{constants.DEFAULT_LOCAL_TMP}: {error}. Make room there, or set local_tmp in ansible.cfg."
        ) from error


def note_change(pool: str) -> None:
    """The state was changed by this worker. Without room for the note the others see it a little later."""
    with contextlib.suppress(OSError):
        _file(pool, "changed").touch(0o600)


def last_change(pool: str) -> object:
    """Something that differs after every `note_change`."""
    try:
        return _file(pool, "changed").stat().st_mtime_ns
    except OSError:
        return None


def _file(pool: str, kind: str) -> Path:
    digest = hashlib.sha256(pool.encode()).hexdigest()[:16]
    return Path(constants.DEFAULT_LOCAL_TMP) / f"imagemode-{digest}.{kind}"
