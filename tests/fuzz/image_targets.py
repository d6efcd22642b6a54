# SPDX-License-Identifier: GPL-3.0-or-later
"""What images bring: package headers, the members of layers, the lists of release payloads."""

from __future__ import annotations

import struct

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_references import parse_image_references
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import (
    BadLayer,
    LayerEntry,
    LayerTree,
    merge_layers,
    resolve_path,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_header import BadPackage, parse_package

from fuzz.choices import HOSTILE, Choices

_STRING, _STRINGS, _INT16, _INT32 = 6, 8, 3, 4
_MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"


def _section(*tags: tuple[int, int, int, bytes]) -> bytes:
    """A header of tags: number, type, count, content."""
    index, store = b"", b""
    for tag, kind, count, content in tags:
        index += struct.pack(">IIII", tag, kind, len(store), count)
        store += content
    return _MAGIC + struct.pack(">II", len(tags), len(store)) + index + store


_LEAD = struct.pack(">4sBBhh66shh16s", b"\xed\xab\xee\xdb", 3, 0, 0, 1, b"x-1-1", 1, 5, b"")
_PACKAGE = (
    _LEAD
    + _section()
    + _section(
        (1000, _STRING, 1, b"x\0"),
        (1001, _STRING, 1, b"1\0"),
        (1002, _STRING, 1, b"1\0"),
        (1022, _STRING, 1, b"noarch\0\0\0"),
        (1028, _INT32, 2, struct.pack(">II", 1, 0)),
        (1030, _INT16, 2, struct.pack(">HH", 0o100644, 0o40755)),
        (1035, _STRINGS, 2, b"abc\0\0"),
        (1036, _STRINGS, 2, b"\0\0"),
        (1039, _STRINGS, 2, b"root\0root\0"),
        (1040, _STRINGS, 2, b"root\0root\0\0\0"),
        (1116, _INT32, 2, struct.pack(">II", 0, 0)),
        (1117, _STRINGS, 2, b"a\0b\0"),
        (1118, _STRINGS, 1, b"/usr/\0"),
    )
)
_NAMES = ("usr", "usr/a", "usr/a/b", "lib", ".wh.a", ".wh..wh..opq", "..", "/", "./", "usr/.wh.a", "usr/a/.wh..wh..opq")


def rpm_header(data: bytes) -> None:
    """parse_package: every path is absolute and plain, or BadPackage."""
    if len(parse_package(_PACKAGE).files) != 2:
        raise AssertionError("the package that is mutated is no package")
    choices = Choices(data)
    package = bytearray(_PACKAGE)
    for _change in range(1 + choices.number(6)):
        package[choices.number(len(package))] = choices.number(256)
    try:
        header = parse_package(bytes(package[: len(package) - choices.number(3)]))
    except BadPackage as refusal:
        repr(str(refusal)).encode()
        return
    for one in header.files:
        if not one.path.startswith("/") or ".." in one.path.split("/"):
            raise AssertionError(f"a package brings {one.path!r}")


def layers(data: bytes) -> None:
    """merge_layers: a tree in which every path lies in a directory and every file has a place, or BadLayer."""
    choices = Choices(data)
    try:
        merged = merge_layers([_entry(choices) for _member in range(choices.number(8))] for _layer in range(3))
    except BadLayer as refusal:
        repr(str(refusal)).encode()
        return
    _check(merged)


def _entry(choices: Choices) -> LayerEntry:
    name = choices.of((*_NAMES, *HOSTILE)) if choices.chance(3) else choices.of(_NAMES)
    kind = choices.of(tuple(FileType))
    target = choices.of(("usr", "../lib", "/usr/a", "a", *HOSTILE))
    if kind is FileType.FILE and choices.chance(4):
        return LayerEntry(name, kind, hard_link=target)
    return LayerEntry(name, kind, target=target if kind is FileType.LINK else None)


def _check(merged: LayerTree) -> None:
    for path, entry in merged.tree.items():
        parent = merged.tree.get(path.rpartition("/")[0] or "/")
        if entry.path != path or parent is None or parent.type is not FileType.DIRECTORY:
            raise AssertionError(f"{path!r} lies in no directory")
        if (entry.type is FileType.FILE) != (path in merged.places):
            raise AssertionError(f"{path!r} has a place and is no file, or the other way round")
        found = resolve_path(merged.tree, path)
        if found is not None and merged.tree[found].type is FileType.LINK:
            raise AssertionError(f"{path!r} resolves to the link {found!r}")


def image_references(data: bytes) -> None:
    """parse_image_references: texts, or ValueError."""
    choices = Choices(data)
    pieces = ('{"kind": "ImageStream", ', '"spec": {"tags": [', '{"name": "a", "from": {', '"kind": "DockerImage", ')
    text = "".join(
        choices.of((*pieces, '"name": "x"', "}", "]", ",", *HOSTILE)) for _piece in range(choices.number(20))
    )
    try:
        found = parse_image_references(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return
    if not all(isinstance(image, str) for image in found.values()):
        raise AssertionError(f"{found!r} has more than texts")
