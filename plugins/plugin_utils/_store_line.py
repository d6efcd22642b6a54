# SPDX-License-Identifier: GPL-3.0-or-later
"""The file whose byte locks are the line of the waiting workers. It is local to the play, whatever keeps the state."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from ansible import constants
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError


def open_line(pool: str) -> int:
    """A descriptor of the pool's line. Raises StoreError.

    It lies in Ansible's temporary directory, which belongs to one process and its workers, and ends with them.
    """
    file = Path(constants.DEFAULT_LOCAL_TMP) / f"imagemode-{quote(pool, safe='')}.line"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"the line of the waiting nodes cannot be kept in {file.parent}, which is ansible's own temporary directory: {error}. "
            "Make room there, or set local_tmp in ansible.cfg."
        ) from error
