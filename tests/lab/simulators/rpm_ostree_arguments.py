# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a command line as GLib does it for rpm-ostree."""

from __future__ import annotations

from lab.simulators.rpm_ostree_transaction import RpmOstreeError


class Arguments:
    """Options and words of one call: ``--name=value`` and ``--name value`` alike where a value is expected."""

    def __init__(self, argv: list[str], flags: tuple[str, ...], options: tuple[str, ...] = ()) -> None:
        self.flags: set[str] = set()
        self.values: dict[str, list[str]] = {}
        self.words: list[str] = []
        todo = list(argv)
        while todo:
            word = todo.pop(0)
            name, separator, value = word.partition("=")
            if name in options:
                if not separator and not todo:
                    raise RpmOstreeError(f"Missing argument for {name}")
                self.values.setdefault(name, []).append(value if separator else todo.pop(0))
            elif word in flags:
                self.flags.add(word)
            elif word.startswith("-") and len(word) > 1:
                raise RpmOstreeError(f"Unknown option {word}")
            else:
                self.words.append(word)
