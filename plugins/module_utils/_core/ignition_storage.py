# SPDX-License-Identifier: GPL-3.0-or-later
"""storage.files, storage.directories and storage.links of an Ignition config."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import (
    DirectoryEntry,
    FileEntry,
    LinkEntry,
    Ownership,
    StorageEntry,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import (
    Fields,
    require_no_duplicates,
    require_printable,
    shown,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_resource import RESOURCE, read_content
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported

STORAGE = {"files": 0, "directories": 0, "links": 0, "disks": 0, "raid": 0, "filesystems": 0, "luks": 2}

_NODE = ("path", "overwrite", "user", "group")
_NOT_HONOURED = {
    "disks": "partitions are made when a host is installed, not by an image",
    "raid": "RAID arrays are made when a host is installed, not by an image",
    "filesystems": "file systems are made when a host is installed, not by an image",
    "luks": "encrypted volumes are made when a host is installed, not by an image",
}
_LARGEST_MODE = 0o7777
_LARGEST_ID = (1 << 32) - 2  # the last one means "unchanged" to chown


def read_files(storage: Fields) -> tuple[FileEntry, ...]:
    """storage.files. Raises InvalidConfig."""
    return tuple(_read_file(fields) for fields in storage.objects("files", (*_NODE, "contents", "append", "mode")))


def _read_file(fields: Fields) -> FileEntry:
    content = read_content(fields.object("contents", RESOURCE))
    if fields.boolean("overwrite") and content is None:
        # Ignition: "overwrite is true, but no content source was specified" (config/v3_5/types/file.go)
        raise fields.origin.below("overwrite").error(
            "overwrite is true, but there is no contents.source; for an empty file write contents.source as `data:,`"
        )
    reason = "a fragment is appended to what is on the host at its first boot; give the whole content instead"
    appends = tuple(Unsupported(origin, reason, accepted=False) for origin, _value in fields.entries("append"))
    return FileEntry(_read_path(fields), content, _read_mode(fields), _read_owner(fields), appends, fields.origin)


def read_directories(storage: Fields) -> tuple[tuple[DirectoryEntry, ...], list[Unsupported]]:
    """storage.directories, and what of them cannot be honoured. Raises InvalidConfig."""
    entries, unsupported = [], []
    for fields in storage.objects("directories", (*_NODE, "mode")):
        entries.append(DirectoryEntry(_read_path(fields), _read_mode(fields), _read_owner(fields), fields.origin))
        if fields.boolean("overwrite"):
            reason = "a directory of the image is not emptied first; remove it in the Containerfile"
            unsupported.append(Unsupported(fields.origin.below("overwrite"), reason, accepted=False))
    return tuple(entries), unsupported


def read_links(storage: Fields) -> tuple[LinkEntry, ...]:
    """storage.links. Raises InvalidConfig."""
    return tuple(_read_link(fields) for fields in storage.objects("links", (*_NODE, "target", "hard")))


def _read_link(fields: Fields) -> LinkEntry:
    fields.boolean("overwrite")
    place = fields.origin.below("target")
    target = require_printable(fields.required_text("target"), place)
    hard = fields.boolean("hard")
    if hard:
        _require_path(target, place)
    return LinkEntry(_read_path(fields), target, hard, _read_owner(fields), fields.origin)


def require_distinct_paths(
    files: tuple[FileEntry, ...], directories: tuple[DirectoryEntry, ...], links: tuple[LinkEntry, ...]
) -> None:
    """Raises InvalidConfig if one config has a path twice, be it in two lists (Ignition config/v3_5/types/storage.go)."""
    entries: tuple[StorageEntry, ...] = (*files, *directories, *links)
    require_no_duplicates((entry.path, entry.origin.below("path")) for entry in entries)


def read_not_honoured(storage: Fields) -> list[Unsupported]:
    """What the storage section asks for that no image can bring. Raises InvalidConfig."""
    return [
        Unsupported(origin, reason, accepted=False)
        for name, reason in _NOT_HONOURED.items()
        for origin, _value in storage.entries(name)
    ]


def _read_path(fields: Fields) -> str:
    return _require_path(fields.required_text("path"), fields.origin.below("path"))


def _require_path(path: str, place: Origin) -> str:
    require_printable(path, place)
    if not path.startswith("/"):
        raise place.error(f"{shown(path)} is not absolute; a path starts with /")
    parts = path[1:].split("/")
    if path == "/":
        raise place.error("the root directory cannot be configured; name something below it")
    if any(part in ("", ".", "..") for part in parts):
        raise place.error(f"{shown(path)} is not in its plain form: no //, no . or .. in it, no / at its end")
    if any(len(part.encode()) > 255 for part in parts) or len(path.encode()) > 4095:
        raise place.error(f"{shown(path)} is longer than Linux allows (255 bytes a name, 4095 in all)")
    return path


def _read_mode(fields: Fields) -> int | None:
    """Permission bits only: setuid, setgid and sticky bits are without effect before Ignition 3.6.0
    (config/v3_6/translate/translate.go), and the machine-config-operator refuses files that have them
    (pkg/controller/common/helpers.go). Mostly they are there because somebody wrote 644 for 0644.
    """
    value: Any = fields.value("mode")
    place = fields.origin.below("mode")
    if isinstance(value, str):
        raise place.error("the mode is a text, but has to be a decimal number: 420 is 0644, 493 is 0755, 384 is 0600")
    mode = fields.integer("mode")
    if mode is None or 0 <= mode <= 0o777:
        return mode
    if not 0 <= mode <= _LARGEST_MODE:
        raise place.error("this is not a mode; it is a decimal number: 420 is 0644, 493 is 0755, 384 is 0600")
    digits = str(mode)
    if len(digits) == 3 and not set(digits) & set("89"):
        hint = f"JSON has no octal numbers: 0{digits} is written {int(digits, 8)}"
    else:
        hint = "setuid, setgid and sticky bits have no effect before Ignition 3.6.0; set them in the Containerfile"
    raise place.error(f"{mode} is 0{mode:o}, more than 0777. {hint}")


def _read_owner(fields: Fields) -> Ownership:
    return Ownership(_read_account(fields, "user"), _read_account(fields, "group"))


def _read_account(fields: Fields, name: str) -> int | str | None:
    account = fields.object(name, ("id", "name"))
    number, word = account.integer("id"), account.text("name")
    if number is not None and word:
        raise account.origin.error("there are both an id and a name; keep one of them")
    if number is not None and not 0 <= number <= _LARGEST_ID:
        raise account.origin.below("id").error(f"an id is a number from 0 to {_LARGEST_ID}")
    if word and (not word.isprintable() or set(word) & set(" :/")):
        raise account.origin.below("name").error(f"{shown(word)} is not the name of a {name}")
    return number if number is not None else word or None
