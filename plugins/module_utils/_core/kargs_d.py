# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments that an image brings: /usr/lib/bootc/kargs.d/*.toml, and what bootc makes of two images' directories.

bootc 1.16.9 crates/lib/src/bootc_kargs.rs. The TOML reader is ours, because Python has one since 3.11 only, and nodes have 3.9.
It knows what such files consist of and refuses the rest: an argument that is overlooked would be worse than a failure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    ArgumentsNotUnderstood,
    KernelArguments,
    split_words,
)

_RUST_ARCHITECTURES = {
    "ppc64le": "powerpc64",
    "ppc64": "powerpc64",
    "i686": "x86",
    "armv7l": "arm",
    "loongarch64": "loongarch64",
}

_KEYS = ("kargs", "match-architectures")

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t]|\r?\n|#[^\x00-\x08\x0a-\x1f\x7f]*(?=\r?\n|\Z))*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"'([^'\x00-\x08\x0a-\x1f\x7f]*)'")
_BASIC = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*)"')
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_LINE_END = re.compile(r"[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?(?:\r?\n|\Z)")


class KargsFileNotUnderstood(ValueError):
    """A kargs.d file that bootc would refuse, or that says more than this reader knows. The message names file and place."""


@dataclass(frozen=True)
class Delta:
    """What the change from one image to another does to the command line."""

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)

    def onto(self, arguments: KernelArguments) -> KernelArguments:
        """The command line after the change: every occurrence removed, and added what is not there yet."""
        return arguments.without_words(self.removed).with_each_once(self.added)


def image_delta(old: Sequence[str] | None, new: Sequence[str] | None) -> Delta:
    """What bootc changes when it goes from an image with `old` to one with `new`; None is an image without the directory.

    Without a directory in the new image bootc removes nothing and adds the old image's words again; since 1.11 only
    those that are missing, which is what is done here.
    """
    if new is None:
        return Delta(added=tuple(dict.fromkeys(old or ())))
    before = old or ()
    return Delta(
        removed=tuple(dict.fromkeys(word for word in before if word not in new)),
        added=tuple(dict.fromkeys(word for word in new if word not in before)),
    )


def rust_architecture(machine: str) -> str:
    """The name that kargs.d files use for what `uname -m` says."""
    return _RUST_ARCHITECTURES.get(machine, machine)


def image_arguments(files: Mapping[str, str], architecture: str) -> tuple[str, ...]:
    """The words of a directory, from the text of its files by name, for a Rust architecture name.

    Only `*.toml` counts, in order of name. Raises KargsFileNotUnderstood.
    """
    words: list[str] = []
    for name in sorted(files):
        if name.endswith(".toml") and name != ".toml":
            words += _words_of(name, files[name], architecture)
    return tuple(words)


def _words_of(name: str, text: str, architecture: str) -> list[str]:
    try:
        document = parse_kargs_file(text)
        words = [word for entry in document["kargs"] for word in split_words(entry)]
    except (KargsFileNotUnderstood, ArgumentsNotUnderstood) as failure:
        raise KargsFileNotUnderstood(f"kargs.d/{name}: {failure}") from None
    return words if architecture in document.get("match-architectures", [architecture]) else []


def kargs_file_text(arguments: Sequence[str]) -> str:
    """The text of a file for kargs.d that brings these arguments, each a word or `name=value`."""
    quoted = [json.dumps(argument, ensure_ascii=True) for argument in arguments]  # JSON's strings are strings of TOML
    return "kargs = [" + ", ".join(quoted) + "]\n"


def parse_kargs_file(text: str) -> dict[str, list[str]]:
    """The keys of one file: `kargs`, and `match-architectures` if it is there. Raises KargsFileNotUnderstood."""
    document = _Reader(text).document()
    if "kargs" not in document:
        raise KargsFileNotUnderstood("the key `kargs` is missing")
    return document


class _Reader:
    """Reads `key = [strings]` lines. Anything else of TOML has no place in such a file."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def document(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        while True:
            self._skip(_BLANK)
            if self.at == len(self.text):
                return found
            key = self._key()
            if key not in _KEYS:
                raise self._error(f"the key {key!r} is not one of {' and '.join(_KEYS)}, and bootc refuses every other")
            if key in found:
                raise self._error(f"the key {key!r} stands there twice")
            self._skip(_SPACE)
            self._expect("=")
            self._skip(_SPACE)
            found[key] = self._array()
            end = _LINE_END.match(self.text, self.at)
            if not end:
                raise self._error("something follows the closing bracket on its line")
            self.at = end.end()

    def _key(self) -> str:
        if self._next() in "\"'":
            return self._string()
        bare = _BARE_KEY.match(self.text, self.at)
        if not bare:
            raise self._error("a key is expected here")
        self.at = bare.end()
        return bare.group()

    def _array(self) -> list[str]:
        self._expect("[")
        found: list[str] = []
        while True:
            self._skip(_BLANK)
            if self._next() == "]":
                self.at += 1
                return found
            found.append(self._string())
            self._skip(_BLANK)
            if self._next() != "]":
                self._expect(",")

    def _string(self) -> str:
        if self.text.startswith(('"""', "'''"), self.at):
            raise self._error("a string over several lines is not understood here; write it on one line")
        match = (_BASIC if self._next() == '"' else _LITERAL).match(self.text, self.at)
        if not match:
            raise self._error("a string in quotes is expected here")
        basic = self._next() == '"'
        value = _ESCAPE.sub(self._unescaped, match.group(1)) if basic else match.group(1)
        self.at = match.end()
        return value

    def _unescaped(self, match: re.Match[str]) -> str:
        escape = match.group(1)
        if len(escape) > 1:
            number = int(escape[1:], 16)
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                raise self._error(f"\\{escape} is not a character")
            return chr(number)
        if escape not in _ESCAPED:
            raise self._error(f"\\{escape} is not a TOML escape")
        return _ESCAPED[escape]

    def _next(self) -> str:
        """The next character; a newline at the end, which stands for none of the characters that are looked for."""
        return self.text[self.at] if self.at < len(self.text) else "\n"

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise self._error(f"`{character}` is expected here")
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _error(self, what: str) -> KargsFileNotUnderstood:
        return KargsFileNotUnderstood(f"line {self.text.count(chr(10), 0, self.at) + 1}: {what}")
