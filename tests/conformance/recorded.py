# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of the real tools, and outputs reduced to what must be the same: words, shapes, and which values are equal."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"

# What differs between any two hosts. Order matters: longer patterns first.
_VARIABLE = (
    (re.compile(r"sha256:([0-9a-f]{64})"), "digest"),
    (re.compile(r"\b([0-9a-f]{64})\b"), "checksum"),
    (re.compile(r"(?:10\.77\.0\.1|127\.0\.0\.1)(:\d+)?"), "registry"),
    (re.compile(r"lab:[a-z0-9_/]+/(?:base|v2)"), "refspec"),
)
_NOISE = (
    (re.compile(r"\d+(?:\.\d+)?[ \u00a0](?:bytes|kB|MB|GB)"), "SIZE"),
    (re.compile(r"\(\d+ seconds?\)"), "(SECONDS)"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "TIME"),
    (re.compile(r"'\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}'"), "'TIME'"),
    (re.compile(r"vmlinuz-\S+"), "vmlinuz-KERNEL"),
    (re.compile(r"initramfs-\S+\.img"), "initramfs-KERNEL.img"),
    (re.compile(r"title .* \(ostree:"), "title NAME (ostree:"),
    (re.compile(r"solvables: \d+"), "solvables: COUNT"),
    (re.compile(r"\bsshd?\.service"), "SSH.service"),
    (re.compile(r"ostree=/ostree/boot\.\d/"), "ostree=/ostree/boot.N/"),
    (re.compile(r"bootversion: boot\.\d\.\d"), "bootversion: boot.N.N"),
    (re.compile(r"dbus:1\.\d+ unit:\S+"), "dbus:SENDER unit:UNIT"),
    (re.compile(r"(Fetching (?:ostree chunk|layer)) [0-9a-f]{19}"), r"\1 ID"),
    (re.compile(r"Checking out tree [0-9a-f]{7}"), "Checking out tree ID"),
    (re.compile(r"\d+ metadata, \d+ content objects fetched.*\n"), "FETCHED\n"),
    # what was unused in the repository depends on everything that happened to the host before the recording
    (re.compile(r"Pruned images: .*\n"), ""),
    (re.compile(r"Freed: .*\n"), ""),
)
_LABELS_OF_JSON = {"timestamp": "TIME", "base-timestamp": "TIME", "pending-base-timestamp": "TIME", "created": "TIME"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One recorded command with what came of it."""

    situation: str
    name: str
    command: str
    rc: int
    stdout: str
    stderr: str


@functools.cache
def rows(file: str) -> tuple[Row, ...]:
    """All rows of ``tests/recordings/FILE.json``."""
    document = json.loads((RECORDINGS / f"{file}.json").read_text(encoding="utf-8"))
    return tuple(
        Row(row["situation"], row["name"], row["cmd"], row["rc"], row["stdout"], row["stderr"]) for row in document
    )


def row(file: str, name: str, situation: str | None = None) -> Row:
    """The row of that name; ``situation`` decides where a name occurs more than once (a prefix will do)."""
    found = [one for one in rows(file) if one.name == name and one.situation.startswith(situation or "")]
    if len(found) != 1:
        raise LookupError(f"{file}.json has {len(found)} rows {name!r} in situation {situation!r}, wanted exactly one")
    return found[0]


class Reducer:
    """Gives equal names to equal variable values, in order of first appearance, across all outputs of one host."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], str] = {}

    def name(self, kind: str, value: str) -> str:
        count = sum(1 for known, _unused in self.names if known == kind)
        return self.names.setdefault((kind, value), f"{kind.upper()}{count + 1}")

    def like(self, other: Reducer, text: str) -> str:
        """A text of the other host with this host's digests in the places of the other's."""
        ours = {name: value for (_unused, value), name in self.names.items()}
        for (kind, value), name in other.names.items():
            if kind == "digest" and name in ours:
                text = text.replace(value, ours[name])
        return text

    def text(self, text: str) -> str:
        """A text with everything variable replaced."""
        for pattern, kind in _VARIABLE:
            text = pattern.sub(lambda found, kind=kind: self.name(kind, found[0]), text)  # type: ignore[misc]
        for pattern, replacement in _NOISE:
            text = pattern.sub(replacement, text)
        return text

    def output(self, text: str) -> list[str]:
        """The lines of a text; or of the document in it when it is JSON, one per leaf, and of what stands before it."""
        start = text.find("{")
        if start >= 0 and (start == 0 or text[start - 1] == "\n"):
            try:
                document = json.loads(text[start:])
            except ValueError:
                return self.text(text).splitlines(keepends=True)
            return [text[:start], _key_order(text, document), *_lines("", self.document(document))]
        return self.text(text).splitlines(keepends=True)

    def document(self, value: Any, key: str = "") -> Any:
        if key == "base-commit-meta" or key == "layered-commit-meta":
            return sorted(set(value) & {"ostree.manifest-digest", "ostree.bootable", "rpmostree.clientlayer"})
        if isinstance(value, dict):
            return {name: self.document(item, name) for name, item in sorted(value.items())}
        if isinstance(value, list):
            return [self.document(item, key) for item in value]
        if key in _LABELS_OF_JSON and value is not None:
            return f"{type(value).__name__} {_LABELS_OF_JSON[key]}"
        if key == "transaction" and isinstance(value, str) and value.startswith(":1."):
            return "SENDER"
        return self.text(value) if isinstance(value, str) else value


def _lines(path: str, value: Any) -> list[str]:
    """A document as one line per leaf, so that a difference shows as such."""
    if isinstance(value, dict) and value:
        return [line for name, item in value.items() for line in _lines(f"{path}.{name}", item)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [line for index, item in enumerate(value) for line in _lines(f"{path}[{index}]", item)]
    return [f"{path} = {value!r}"]


def _key_order(text: str, document: dict[str, Any]) -> str:
    """How bootc arranges its keys: sorted (one line, since 1.5), or in the order of its structures, which is kept."""
    if "apiVersion" not in document:
        return "any"
    return (
        "sorted"
        if text.rstrip().endswith(json.dumps(document, sort_keys=True, separators=(",", ":")))
        else repr([list(document), list(document["status"])])
    )
