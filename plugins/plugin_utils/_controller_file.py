# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that hold either a text or the path of a file on the controller that does. Private to this collection."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

# ansible-core's loader, which also opens files that ansible-vault has encrypted. Ansible ships no types.
Loader = t.Any


def plain(value: object) -> object:
    """The value with every text in it as a str: ansible-core before 2.19 has a type of its own for vaulted ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


class ControllerFiles:
    """Reads files of the controller. A relative path begins beside the inventory."""

    def __init__(self, loader: Loader, directory: str | None) -> None:
        self._loader = loader
        self._directory = directory or os.getcwd()

    def content(self, value: object, where: str) -> bytes:
        """The text itself if it is a PEM or armoured text, else what is in the file of that path. Raises Refusal."""
        value = plain(value)
        if not isinstance(value, str) or not value.strip():
            raise Refusal(f"{where}: give the text, or the path of a file on the controller.")
        return value.encode() if "-----BEGIN" in value else self.read(value, where)

    def auth_source(self, value: object, where: str) -> object:
        """A mapping or JSON text as it is, else what is in the file of that path. Raises Refusal."""
        value = plain(value)
        if not isinstance(value, str) or value.lstrip().startswith("{") or not value.strip():
            return value
        return self.read(value, where).decode(errors="replace")

    def read(self, path: str, where: str) -> bytes:
        """A file's content. Raises Refusal, which names the path only where it can be one."""
        if "\n" in path or len(path) > 4096:
            raise Refusal(f"{where}: neither a text of the right sort, nor the path of a file on the controller.")
        whole = os.path.join(self._directory, os.path.expanduser(path))
        if not os.path.exists(whole):
            raise Refusal(
                f"{where}: there is no file {whole} on the controller. Relative paths begin beside the inventory, not in the directory "
                "of the playbook."
            )
        try:
            content, _show = self._loader._get_file_contents(whole)
        except (AnsibleError, OSError) as error:
            raise Refusal(f"{where}: the file {whole} cannot be read on the controller: {error}") from error
        return bytes(content)
