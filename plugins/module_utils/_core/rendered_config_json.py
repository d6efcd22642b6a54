# SPDX-License-Identifier: GPL-3.0-or-later
"""A rendered configuration as JSON. What is not exactly such a document is refused, since a build rests on it."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any, TypeVar

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    PathOwner,
    RenderedConfig,
    RenderedPath,
    RenderedUnit,
)

FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MODE = re.compile(r"[0-7]{4}\Z")
T = TypeVar("T")


class ManifestNotUnderstood(ValueError):
    """A text is not the manifest of a rendered configuration. The message names the place."""


def manifest_text(config: RenderedConfig) -> str:
    """The manifest, the same for the same configuration."""
    document = {
        "imagemode_rendered_config": FORMAT,
        "role": config.role,
        "sources": config.sources,
        "files": [_path_json(file) for file in config.files],
        "units": [_unit_json(unit) for unit in config.units],
        "kargs": config.kargs,
        "kargs_absent": config.kargs_absent,
        "presets": config.presets,
        "masks": config.masks,
        "extensions": config.extensions,
        "kernel_type": config.kernel_type,
        "fips": config.fips,
        "os_image": config.os_image,
        "unsupported": [
            {"origin": _origin_json(one.origin), "reason": one.reason, "accepted": one.accepted}
            for one in config.unsupported
        ],
        "var_links": dict(config.var_links),
        "warnings": config.warnings,
        "extensions_image": config.extensions_image,
        "left_out": config.left_out,
    }
    return json.dumps(document, indent=1) + "\n"


def parse_manifest(text: str) -> RenderedConfig:
    """The configuration of a manifest. Raises ManifestNotUnderstood for anything that manifest_text would not write."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestNotUnderstood(f"it is not JSON: {error}") from None
    top = _Fields("the document", document)
    version = top.take("imagemode_rendered_config", _whole)
    if version != FORMAT:
        raise ManifestNotUnderstood(f"it is of format {version}, and this version reads format {FORMAT}")
    config = RenderedConfig(
        role=top.take("role", _text),
        sources=top.take("sources", _texts),
        files=top.take("files", _list_of(_path)),
        units=top.take("units", _list_of(_unit)),
        kargs=top.take("kargs", _texts),
        kargs_absent=top.take("kargs_absent", _texts),
        presets=top.take("presets", _texts),
        masks=top.take("masks", _texts),
        extensions=top.take("extensions", _texts),
        kernel_type=top.take("kernel_type", _text),
        fips=top.take("fips", _truth),
        os_image=top.take("os_image", _or_none(_text)),
        unsupported=top.take("unsupported", _list_of(_unsupported)),
        var_links=top.take("var_links", _links),
        warnings=top.take("warnings", _texts),
        extensions_image=top.take("extensions_image", _or_none(_text)),
        left_out=top.take("left_out", _texts),
    )
    top.end()
    paths = [file.path for file in config.files]
    if paths != sorted(set(paths)):
        raise ManifestNotUnderstood("files are out of order, or a path stands there twice")
    return config


def _path_json(file: RenderedPath) -> dict[str, Any]:
    return {
        "path": file.path,
        "owner": file.owner.value,
        "reason": file.reason,
        "type": file.type.value,
        "mode": f"{file.mode:04o}",
        "user": file.user,
        "group": file.group,
        "size": file.size,
        "sha256": file.sha256,
        "target": file.target,
        "secret": file.secret,
        "actions": file.actions,
        "origin": None if file.origin is None else _origin_json(file.origin),
    }


def _unit_json(unit: RenderedUnit) -> dict[str, Any]:
    return {
        "name": unit.name,
        "given": unit.given,
        "enabled": unit.enabled,
        "masked": unit.masked,
        "links": unit.links,
        "origin": _origin_json(unit.origin),
    }


def _origin_json(origin: Origin) -> dict[str, str]:
    return {"document": origin.document, "field": origin.field}


class _Fields:
    """The fields of an object, each to be taken once, with a reader for its value."""

    def __init__(self, place: str, value: object) -> None:
        if not isinstance(value, dict):
            raise ManifestNotUnderstood(f"{place} is no object")
        self._place = place
        self._left: dict[str, object] = dict(value)

    def take(self, name: str, read: Callable[[str, object], T]) -> T:
        if name not in self._left:
            raise ManifestNotUnderstood(f"{self._place} has no field {name!r}")
        return read(f"{name} of {self._place}", self._left.pop(name))

    def end(self) -> None:
        if self._left:
            raise ManifestNotUnderstood(f"{self._place} has unknown fields: {', '.join(sorted(self._left))}")


def _path(place: str, value: object) -> RenderedPath:
    fields = _Fields(place, value)
    kind = fields.take("type", _one_of(FileType))
    file = RenderedPath(
        type=kind,
        path=fields.take("path", _absolute),
        owner=fields.take("owner", _one_of(PathOwner)),
        reason=fields.take("reason", _text),
        mode=fields.take("mode", _mode),
        user=fields.take("user", _owner),
        group=fields.take("group", _owner),
        size=fields.take("size", _whole),
        sha256=fields.take("sha256", _or_none(_sha256)),
        target=fields.take("target", _or_none(_text)),
        secret=fields.take("secret", _truth),
        actions=fields.take("actions", _texts),
        origin=fields.take("origin", _or_none(_origin)),
    )
    fields.end()
    if kind is FileType.OTHER:
        raise ManifestNotUnderstood(f"{file.path} is neither file, directory nor link")
    if (kind is FileType.LINK) != (file.target is not None):
        raise ManifestNotUnderstood(f"{file.path}: a link has a target, and nothing else has one")
    if (kind is FileType.FILE and not file.secret) != (file.sha256 is not None):
        raise ManifestNotUnderstood(f"{file.path}: a file that is no secret has a checksum, and nothing else has one")
    if file.secret and file.owner is not PathOwner.HOST:
        raise ManifestNotUnderstood(f"{file.path}: a secret that does not belong to the host")
    return file


def _unit(place: str, value: object) -> RenderedUnit:
    fields = _Fields(place, value)
    unit = RenderedUnit(
        name=fields.take("name", _text),
        given=fields.take("given", _truth),
        enabled=fields.take("enabled", _or_none(_truth)),
        masked=fields.take("masked", _or_none(_truth)),
        links=fields.take("links", _texts),
        origin=fields.take("origin", _origin),
    )
    fields.end()
    return unit


def _unsupported(place: str, value: object) -> Unsupported:
    fields = _Fields(place, value)
    one = Unsupported(fields.take("origin", _origin), fields.take("reason", _text), fields.take("accepted", _truth))
    fields.end()
    return one


def _origin(place: str, value: object) -> Origin:
    fields = _Fields(place, value)
    origin = Origin(fields.take("document", _text), fields.take("field", _text))
    fields.end()
    return origin


def _links(place: str, value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ManifestNotUnderstood(f"{place} is no object")
    return tuple((_absolute(place, link), _absolute(place, target)) for link, target in value.items())


def _list_of(read: Callable[[str, object], T]) -> Callable[[str, object], tuple[T, ...]]:
    def read_all(place: str, value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise ManifestNotUnderstood(f"{place} is no list")
        return tuple(read(f"item {number} of {place}", item) for number, item in enumerate(value))

    return read_all


def _or_none(read: Callable[[str, object], T]) -> Callable[[str, object], T | None]:
    return lambda place, value: None if value is None else read(place, value)


E = TypeVar("E", FileType, PathOwner)


def _one_of(words: type[E]) -> Callable[[str, object], E]:
    def read(place: str, value: object) -> E:
        try:
            return words(_text(place, value))
        except ValueError:
            raise ManifestNotUnderstood(f"{place} is {value!r}") from None

    return read


def _text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise ManifestNotUnderstood(f"{place} is no text")
    return value


_texts = _list_of(_text)


def _truth(place: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ManifestNotUnderstood(f"{place} is neither true nor false")
    return value


def _whole(place: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ManifestNotUnderstood(f"{place} is no whole number")
    return value


def _owner(place: str, value: object) -> int | str:
    return value if isinstance(value, str) and value else _whole(place, value)


def _absolute(place: str, value: object) -> str:
    path = _text(place, value)
    if not path.startswith("/") or path.startswith("//") or path == "/" or posixpath.normpath(path) != path:
        raise ManifestNotUnderstood(f"{place} is {path!r}, which is no plain absolute path")
    return path


def _matching(pattern: re.Pattern[str]) -> Callable[[str, object], str]:
    def read(place: str, value: object) -> str:
        if not pattern.match(_text(place, value)):
            raise ManifestNotUnderstood(f"{place} is {value!r}")
        return str(value)

    return read


_sha256 = _matching(_SHA256)


def _mode(place: str, value: object) -> int:
    return int(_matching(_MODE)(place, value), 8)
