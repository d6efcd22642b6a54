# SPDX-License-Identifier: GPL-3.0-or-later
"""An Ignition config of spec 3.0.0 to 3.5.0, from a parsed JSON or YAML document."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import ArgumentEntry, IgnitionConfig
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import Fields, shown
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_merge import merge_ignition
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_passwd import read_passwd
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_resource import REFERENCE, read_content
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_storage import (
    STORAGE,
    read_directories,
    read_files,
    read_links,
    read_not_honoured,
    require_distinct_paths,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_systemd import read_units
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    ArgumentsNotUnderstood,
    split_words,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported

NEWEST_MINOR = 5
DEEPEST_NESTING = 8
"""How many configs may be merged into each other by ignition.config; a config that contains itself has no end."""

_CONFIG = {"ignition": 0, "storage": 0, "systemd": 0, "passwd": 0, "kernelArguments": 3}
_IGNITION = {"version": 0, "config": 0, "security": 0, "timeouts": 0, "proxy": 1}
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(-[0-9A-Za-z.-]{1,40})?\Z")


def parse_ignition(value: Any, origin: Origin, nesting: int = 0) -> IgnitionConfig:
    """The config at this place. Raises InvalidConfig, and nothing else, whatever the value is.

    Configs that `ignition.config` names by data: URLs are merged in, or taken instead, as Ignition does; those behind
    other URLs are unsupported.
    """
    if value is None or value == {}:
        return IgnitionConfig()
    minor = _read_version(value, origin)
    config = Fields(value, origin, _CONFIG, minor)
    ignition = config.object("ignition", _IGNITION)
    references = ignition.object("config", ("merge", "replace"))
    replace = references.object("replace", REFERENCE)
    unsupported = _not_honoured(ignition)
    if replace.text("source") is not None:
        # Ignition takes the other config instead of everything that this one says.
        return _with_unsupported(_read_reference(replace, nesting), unsupported)
    result = _with_unsupported(_read_sections(config), unsupported)
    for reference in references.objects("merge", REFERENCE):
        if not reference.text("source"):
            raise reference.origin.error("the field source is missing or empty")
        result = merge_ignition(result, _read_reference(reference, nesting))
    return result


def _read_version(value: Any, origin: Origin) -> int:
    """The minor version, 0 to 5. Looked at first, as it decides what a field means."""
    everything = Fields(value, origin, None)
    if everything.has("variant"):
        raise origin.error(
            "this is Butane, the source of an Ignition config: transpile it first with `butane --strict`"
        )
    place = origin.below("ignition")
    if not everything.has("ignition"):
        raise origin.error("the field ignition is missing; it says the version: `ignition: {version: 3.5.0}`")
    text = Fields(everything.value("ignition"), place, None).text("version")
    place = place.below("version")
    if not text:
        raise place.error(f"the version is missing; 3.0.0 to 3.{NEWEST_MINOR}.0 can be read")
    match = _VERSION.match(text)
    if not match:
        raise place.error(f"{shown(text)} is not a version; 3.0.0 to 3.{NEWEST_MINOR}.0 can be read")
    major, minor, patch = (int(part) for part in match.groups()[:3])
    if major < 3:
        raise place.error(
            f"Ignition {text} is of the old format: convert it to 3.x (ign-converter does), or write it anew as Butane"
        )
    if major > 3 or minor > NEWEST_MINOR or patch or match.group(4):
        raise place.error(
            f"Ignition {text} is not known here, 3.0.0 to 3.{NEWEST_MINOR}.0 are; set the version to "
            f"3.{NEWEST_MINOR}.0 if the document uses nothing newer"
        )
    return minor


def _read_sections(config: Fields) -> IgnitionConfig:
    storage = config.object("storage", STORAGE)
    files = read_files(storage)
    directories, emptied = read_directories(storage)
    links = read_links(storage)
    require_distinct_paths(files, directories, links)
    users, accounts = read_passwd(config.object("passwd", ("users", "groups")))
    arguments, arguments_absent = _read_arguments(config)
    return IgnitionConfig(
        files=files,
        directories=directories,
        links=links,
        units=read_units(config.object("systemd", ("units",))),
        users=users,
        arguments=arguments,
        arguments_absent=arguments_absent,
        unsupported=(*read_not_honoured(storage), *emptied, *accounts),
    )


def _read_arguments(config: Fields) -> tuple[tuple[ArgumentEntry, ...], tuple[ArgumentEntry, ...]]:
    section = config.object("kernelArguments", ("shouldExist", "shouldNotExist"))
    present = _read_words(section, "shouldExist")
    absent = _read_words(section, "shouldNotExist")
    places: dict[str, Origin] = {}
    for entry in (*present, *absent):
        if entry.word in places:
            raise entry.origin.error(
                f"{shown(entry.word)} is there already, in {places[entry.word].field}; keep one of the two"
            )
        places[entry.word] = entry.origin
    return present, absent


def _read_words(section: Fields, name: str) -> tuple[ArgumentEntry, ...]:
    entries = []
    for origin, text in section.texts(name):
        words = read_kernel_arguments(text, origin)
        if not words:
            raise origin.error("the kernel argument is empty")
        entries += [ArgumentEntry(word, origin) for word in words]
    return tuple(entries)


def read_kernel_arguments(text: str, origin: Origin) -> list[str]:
    """The words of one entry, of which people do write several into one; quotes keep spaces. Raises InvalidConfig."""
    try:
        words = split_words(text)
    except ArgumentsNotUnderstood as failure:
        raise origin.error(f"not a kernel argument: {failure}") from None
    for word in words:
        if not word.isprintable() or word.startswith("="):
            raise origin.error(f"{shown(word)} is not a kernel argument")
    return words


def _not_honoured(ignition: Fields) -> list[Unsupported]:
    unsupported = []
    tls = ignition.object("security", ("tls",)).object("tls", ("certificateAuthorities",))
    for origin, _value in tls.entries("certificateAuthorities"):
        reason = "it says whom Ignition trusts while it fetches; for a CA that hosts trust, use a file below /etc/pki/ca-trust"
        unsupported.append(Unsupported(origin, reason, accepted=False))
    for section, names in (
        ("timeouts", ("httpResponseHeaders", "httpTotal")),
        ("proxy", ("httpProxy", "httpsProxy", "noProxy")),
    ):
        fields = ignition.object(section, names)
        for name in names:
            if fields.value(name) not in (None, "", []):
                reason = "it says how Ignition fetches, and nothing is fetched"
                unsupported.append(Unsupported(fields.origin.below(name), reason, accepted=False))
    return unsupported


def _read_reference(reference: Fields, nesting: int) -> IgnitionConfig:
    """The config that a resource names."""
    place = reference.origin.below("source")
    if nesting >= DEEPEST_NESTING:
        raise place.error(
            f"more than {DEEPEST_NESTING} configs are nested in each other; write them as documents of their own"
        )
    content = read_content(reference)
    if content is None or content.unsupported:
        return IgnitionConfig(unsupported=(content.unsupported,) if content and content.unsupported else ())
    try:
        value = json.loads(content.data)
    except (ValueError, RecursionError):
        raise place.error("the config in this URL is not JSON") from None
    return parse_ignition(value, Origin(f"{place.document} (the config in {place.field})", ""), nesting + 1)


def _with_unsupported(config: IgnitionConfig, unsupported: list[Unsupported]) -> IgnitionConfig:
    return merge_ignition(IgnitionConfig(unsupported=tuple(unsupported)), config)
