# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of an RPM package: what it is called, and which files it brings.

The format is that of rpm's docs/manual/format_v4.md; v3 packages differ in tags that are not read here. What does not fit
it is refused: a package that is misread would be compared wrongly.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType

MOST_INDEX_ENTRIES = 0xFFFF
LARGEST_STORE = 128 << 20  # bytes; the header of a kernel's modules has a few MB
MOST_FILES = 1_000_000

_LEAD = struct.Struct(">4sBBhh66shh16s")
_INTRO = struct.Struct(">8sII")
_ENTRY = struct.Struct(">IIII")
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_HEADER_MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
_SIGNATURE_OF_HEADER_STYLE = 5
_SOURCE_PACKAGE = 1

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _SOURCE_RPM = 1000, 1001, 1002, 1003, 1022, 1044
_OLD_NAMES, _SIZES, _MODES, _DIGESTS, _TARGETS, _FLAGS = 1027, 1028, 1030, 1035, 1036, 1037
_USERS, _GROUPS, _DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORIES = 1039, 1040, 1116, 1117, 1118
_LONG_SIZES, _DIGEST_ALGORITHM = 5008, 5011

_INT16, _INT32, _INT64, _STRING, _STRING_ARRAY, _I18N_STRING = 3, 4, 5, 6, 8, 9
_FORMATS = {_INT16: "H", _INT32: "I", _INT64: "Q"}
_GHOST = 1 << 6
_MD5 = 1


class BadPackage(ValueError):
    """The bytes are no RPM package, or a damaged one; the message says where."""


@dataclass(frozen=True)
class RpmFile:
    """A path of a package. `digest` is hexadecimal, None for what has no content; `user` and `group` are names.

    A `ghost` is only owned: the package does not bring it.
    """

    path: str
    type: FileType
    mode: int
    size: int
    user: str
    group: str
    digest: str | None = None
    target: str | None = None
    ghost: bool = False


@dataclass(frozen=True)
class RpmHeader:
    """A package. `epoch` is None where it has none; `digest_algorithm` is the number that OpenPGP gives it."""

    name: str
    epoch: int | None
    version: str
    release: str
    arch: str
    is_source: bool
    digest_algorithm: int
    files: tuple[RpmFile, ...]

    @property
    def evr(self) -> str:
        """`[epoch:]version-release`, as rpm prints it."""
        return f"{f'{self.epoch}:' if self.epoch is not None else ''}{self.version}-{self.release}"

    @property
    def nevra(self) -> str:
        """`name-[epoch:]version-release.arch`, as dnf prints it."""
        return f"{self.name}-{self.evr}.{self.arch}"


def parse_package(data: bytes) -> RpmHeader:
    """The header of a package of which these are the first bytes, at least up to its payload. Raises BadPackage."""
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        position += size
        return data[position - size : position]

    return read_package(read)


def read_package(read: Callable[[int], bytes]) -> RpmHeader:
    """The same, of a stream: `read` returns so many bytes, fewer only at the end. The payload is not read.

    Raises BadPackage.
    """
    lead = _LEAD.unpack(_exactly(read, _LEAD.size, "lead"))
    magic, major, _minor, kind, _arch, _name, _os, signature, _reserved = lead
    if magic != _LEAD_MAGIC or major not in (3, 4) or kind not in (0, _SOURCE_PACKAGE):
        raise BadPackage("is no RPM package of version 3 or 4: it does not begin as one")
    if signature != _SIGNATURE_OF_HEADER_STYLE:
        raise BadPackage(f"has a signature of the unknown kind {signature}")
    _index, store = _sections(read, "signature header")
    _exactly(read, -len(store) % 8, "signature header's padding")
    return _package(_Header(*_sections(read, "header")), kind == _SOURCE_PACKAGE)


def _exactly(read: Callable[[int], bytes], size: int, what: str) -> bytes:
    data = read(size)
    if len(data) != size:
        raise BadPackage(f"ends within its {what}")
    return data


def _sections(read: Callable[[int], bytes], what: str) -> tuple[bytes, bytes]:
    """The index and the store of a header."""
    magic, entries, size = _INTRO.unpack(_exactly(read, _INTRO.size, what))
    if magic != _HEADER_MAGIC:
        raise BadPackage(f"has no {what} where one must be")
    if entries > MOST_INDEX_ENTRIES or size > LARGEST_STORE:
        raise BadPackage(f"has a {what} of {entries} entries and {size} bytes, more than a package can have")
    return _exactly(read, entries * _ENTRY.size, what), _exactly(read, size, what)


class _Header:
    """The tags of a header. Each question names the type that the tag must have."""

    def __init__(self, index: bytes, store: bytes) -> None:
        self._store = store
        self._entries: dict[int, tuple[int, int, int]] = {}
        for tag, kind, offset, count in _ENTRY.iter_unpack(index):
            if tag in self._entries:
                raise BadPackage(f"has the tag {tag} twice")
            self._entries[tag] = (kind, offset, count)

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def text(self, tag: int, default: str | None = None) -> str:
        """A string. Raises BadPackage where there is none and no default."""
        if tag not in self._entries and default is not None:
            return default
        kind, offset, _count = self._entry(tag)
        if kind not in (_STRING, _I18N_STRING):
            raise BadPackage(f"has the tag {tag} as type {kind}, not as a string")
        return self._strings(tag, offset, 1)[0]

    def texts(self, tag: int) -> list[str]:
        """A list of strings."""
        kind, offset, count = self._entry(tag)
        if kind != _STRING_ARRAY:
            raise BadPackage(f"has the tag {tag} as type {kind}, not as strings")
        return self._strings(tag, offset, count)

    def numbers(self, tag: int) -> list[int]:
        """A list of unsigned numbers."""
        kind, offset, count = self._entry(tag)
        if kind not in _FORMATS:
            raise BadPackage(f"has the tag {tag} as type {kind}, not as numbers")
        layout = struct.Struct(f">{count}{_FORMATS[kind]}")
        if offset + layout.size > len(self._store):
            raise BadPackage(f"has the tag {tag} outside of its header")
        return list(layout.unpack_from(self._store, offset))

    def _entry(self, tag: int) -> tuple[int, int, int]:
        if tag not in self._entries:
            raise BadPackage(f"lacks the tag {tag}")
        kind, offset, count = self._entries[tag]
        if count > MOST_FILES or offset > len(self._store):
            raise BadPackage(f"has the tag {tag} outside of its header")
        return kind, offset, count

    def _strings(self, tag: int, offset: int, count: int) -> list[str]:
        found = []
        for _number in range(count):
            end = self._store.find(b"\0", offset)
            if end < 0:
                raise BadPackage(f"has the tag {tag} outside of its header")
            found.append(self._store[offset:end].decode("utf-8", "surrogateescape"))
            offset = end + 1
        return found


def _package(header: _Header, is_source: bool) -> RpmHeader:
    epochs = header.numbers(_EPOCH) if _EPOCH in header else []
    algorithms = header.numbers(_DIGEST_ALGORITHM) if _DIGEST_ALGORITHM in header else []
    return RpmHeader(
        name=header.text(_NAME),
        epoch=epochs[0] if epochs else None,
        version=header.text(_VERSION),
        release=header.text(_RELEASE),
        arch=header.text(_ARCH),
        is_source=is_source or _SOURCE_RPM not in header,
        digest_algorithm=algorithms[0] if algorithms else _MD5,
        files=_files(header),
    )


def _files(header: _Header) -> tuple[RpmFile, ...]:
    paths = _paths(header)
    if not paths:
        return ()
    sizes = header.numbers(_LONG_SIZES if _LONG_SIZES in header else _SIZES)
    flags = header.numbers(_FLAGS) if _FLAGS in header else [0] * len(paths)
    columns = (header.numbers(_MODES), header.texts(_DIGESTS), header.texts(_TARGETS))
    owners = (header.texts(_USERS), header.texts(_GROUPS))
    for column in (sizes, flags, *columns, *owners):
        if len(column) != len(paths):
            raise BadPackage(f"has {len(paths)} files, but {len(column)} values for one of their properties")
    return tuple(_file(*values) for values in zip(paths, sizes, flags, *columns, *owners))


def _file(path: str, size: int, flags: int, mode: int, digest: str, target: str, user: str, group: str) -> RpmFile:
    kind = {0o100000: FileType.FILE, 0o040000: FileType.DIRECTORY, 0o120000: FileType.LINK}.get(
        mode & 0o170000, FileType.OTHER
    )
    return RpmFile(
        path=path,
        type=kind,
        mode=mode & 0o7777,
        size=size,
        user=user,
        group=group,
        digest=digest or None,
        target=target if kind is FileType.LINK else None,
        ghost=bool(flags & _GHOST),
    )


def _paths(header: _Header) -> list[str]:
    if _OLD_NAMES in header:
        return [_absolute(path) for path in header.texts(_OLD_NAMES)]
    if _BASE_NAMES not in header:
        return []
    names, directories = header.texts(_BASE_NAMES), header.texts(_DIRECTORIES)
    indexes = header.numbers(_DIRECTORY_INDEXES)
    if len(indexes) != len(names) or any(index >= len(directories) for index in indexes):
        raise BadPackage("has files in directories that it does not name")
    return [_absolute(directories[index] + name) for index, name in zip(indexes, names)]


def _absolute(path: str) -> str:
    """The path without doubled slashes. A source package names its files without directory."""
    if ".." in path.split("/"):
        raise BadPackage(f"has a file with .. in its path: {path!r}")
    return posixpath.normpath("/" + path.lstrip("/"))
