# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a command line as clap does it for bootc: the same options refused, with the same words."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

BAD_USAGE = 2


class Parsed:
    """Flags that were given, values of options (all of them, in order), and the remaining words."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.values: dict[str, list[str]] = {}
        self.words: list[str] = []

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def value(self, option: str) -> str | None:
        return self.values[option][-1] if option in self.values else None


def parse(
    argv: Sequence[str],
    *,
    usage: str,
    flags: Sequence[str] = (),
    options: Mapping[str, Sequence[str] | None] | None = None,
    words: Sequence[str] = (),
    short: Mapping[str, str] | None = None,
) -> Parsed:
    """Parse one subcommand's arguments, or exit 2 with clap's message.

    ``options`` maps an option to its possible values (None: any). ``words`` names the required positional arguments.
    """
    options, short = options or {}, short or {}
    parsed = Parsed()
    todo = list(argv)
    while todo:
        word = todo.pop(0)
        if word == "--":
            parsed.words += todo
            break
        name, separator, value = word.partition("=")
        name = short.get(name, name)
        if name in flags and not separator:
            parsed.flags.add(name)
        elif name in options:
            if not separator:
                if not todo:
                    fail(f"a value is required for '{name} <{_placeholder(name)}>' but none was supplied", None)
                value = todo.pop(0)
            _check_value(name, value, options[name])
            parsed.values.setdefault(name, []).append(value)
        elif word.startswith("-") and word != "-":
            _unexpected(name, usage, bool(words))
        elif len(parsed.words) < len(words):
            parsed.words.append(word)
        else:
            fail(f"unexpected argument '{word}' found", usage)
    missing = words[len(parsed.words) :]
    if missing:
        listing = "\n".join(f"  <{name}>" for name in missing)
        fail(f"the following required arguments were not provided:\n{listing}", usage)
    return parsed


def _check_value(name: str, value: str, possible: Sequence[str] | None) -> None:
    if possible is not None and value not in possible:
        fail(
            f"invalid value '{value}' for '{name} <{_placeholder(name)}>'\n  [possible values: {', '.join(possible)}]",
            None,
        )


def _placeholder(name: str) -> str:
    return name.lstrip("-").upper().replace("-", "_")


def _unexpected(name: str, usage: str, takes_words: bool) -> NoReturn:
    tip = f"\n\n  tip: to pass '{name}' as a value, use '-- {name}'" if takes_words else ""
    fail(f"unexpected argument '{name}' found{tip}", usage)


def fail(message: str, usage: str | None) -> NoReturn:
    """Exit 2 as clap does."""
    usage_line = f"Usage: {usage}\n\n" if usage else ""
    sys.stderr.write(f"error: {message}\n\n{usage_line}For more information, try '--help'.\n")
    raise SystemExit(BAD_USAGE)
