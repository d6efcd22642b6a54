# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a document, read field by field: a wrong type, a missing field and a typing mistake are each one clear error.

Every value is untrusted: it comes from JSON or YAML that somebody wrote. Messages show names of fields and of things,
never what a text field contains.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Union

from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin

Known = Union[Mapping[str, int], Iterable[str]]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./-]{1,60}\Z")
_GONE = {
    "filesystem": "It is from Ignition 2: in Ignition 3 `path` alone says where.",
    "networkd": "It is from Ignition 2: put the network configuration into storage.files.",
}


def shown(text: str) -> str:
    """A name for a message: printable, and not long."""
    return repr(text if len(text) <= 120 else f"{text[:120]}…")


def kind_of(value: Any) -> str:
    """What a value is, in the words of JSON, without showing it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return f"a {type(value).__name__}"


class Fields:
    """One object. `known` has its fields, each with the lowest minor version of the format that has it; None: any name is
    a field.

    Null counts as not there, as it does for the programs that read these documents in a cluster. Every method raises
    InvalidConfig.
    """

    def __init__(self, value: Any, origin: Origin, known: Known | None, minor: int = 0) -> None:
        if not isinstance(value, dict):
            raise origin.error(f"this is {kind_of(value)}, but has to be an object (fields and values)")
        self.origin = origin
        self.minor = minor
        self._value: dict[Any, Any] = value
        since = known if isinstance(known, Mapping) else dict.fromkeys(known or (), 0)
        for name in value:
            if not isinstance(name, str):
                raise origin.error(f"the name of a field is {kind_of(name)}, but has to be a text; put it in quotes")
            if known is not None:
                self._check_known(name, since)

    def _check_known(self, name: str, known: Mapping[str, int]) -> None:
        if name not in known:
            raise self.origin.error(_unknown_field(name, known))
        if known[name] > self.minor and not _says_nothing(self._value[name]):
            raise self.origin.below(name).error(
                f"this field exists from Ignition 3.{known[name]}.0 on, and the document is 3.{self.minor}.0; "
                f"set ignition.version to 3.{known[name]}.0"
            )

    def has(self, name: str) -> bool:
        """Whether the field says something: it is neither missing nor null."""
        return self._value.get(name) is not None

    def value(self, name: str) -> Any:
        """The field as it is, None when it is missing."""
        return self._value.get(name)

    def text(self, name: str) -> str | None:
        """A text field."""
        value = self._value.get(name)
        return None if value is None else require_text(value, self.origin.below(name))

    def required_text(self, name: str) -> str:
        """A text field that has to be there and say something."""
        text = self.text(name)
        if not text:
            raise self.origin.error(f"the field {name} is missing or empty")
        return text

    def boolean(self, name: str) -> bool | None:
        """A field that is true or false."""
        value = self._value.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.origin.below(name).error(f"this is {kind_of(value)}, but has to be true or false, without quotes")

    def integer(self, name: str) -> int | None:
        """A field that is a whole number."""
        value = self._value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.origin.below(name).error(
                f"this is {kind_of(value)}, but has to be a whole number, without quotes"
            )
        return value

    def object(self, name: str, known: Known) -> Fields:
        """A field that is an object; one that is missing is an empty one."""
        value = self._value.get(name)
        return Fields({} if value is None else value, self.origin.below(name), known, self.minor)

    def entries(self, name: str) -> list[tuple[Origin, Any]]:
        """The entries of a list, each with its place; none when the list is missing."""
        value = self._value.get(name)
        if value is None:
            return []
        origin = self.origin.below(name)
        if not isinstance(value, list):
            raise origin.error(f"this is {kind_of(value)}, but has to be a list")
        return [(origin.at(index), entry) for index, entry in enumerate(value)]

    def objects(self, name: str, known: Known) -> list[Fields]:
        """The entries of a list of objects."""
        return [Fields(entry, origin, known, self.minor) for origin, entry in self.entries(name)]

    def texts(self, name: str) -> list[tuple[Origin, str]]:
        """The entries of a list of texts, each with its place."""
        return [(origin, require_text(entry, origin)) for origin, entry in self.entries(name)]


def require_text(value: Any, origin: Origin) -> str:
    """The value, if it is a text that can be written down; otherwise raises InvalidConfig."""
    if not isinstance(value, str):
        hint = "; put it in quotes" if isinstance(value, (bool, int, float)) else ""
        raise origin.error(f"this is {kind_of(value)}, but has to be a text{hint}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as failure:
        raise origin.error(
            f"the character at position {failure.start} is half of a surrogate pair, not Unicode text"
        ) from None
    return value


def require_printable(text: str, origin: Origin) -> str:
    """The text, if it has no control characters; otherwise raises InvalidConfig. For names and paths, which are shown."""
    if not text.isprintable():
        raise origin.error(f"{shown(text)} contains characters that cannot be printed")
    return text


def require_no_duplicates(entries: Iterable[tuple[str, Origin]]) -> None:
    """Raises InvalidConfig with both places if two entries of one document have the same name.

    Ignition refuses these ("duplicate entry defined", config/validate/validate.go), so none of the two may win silently.
    """
    seen: dict[str, Origin] = {}
    for name, origin in entries:
        if name in seen:
            raise origin.error(f"{shown(name)} is there already, in {seen[name].field}; keep one of the two")
        seen[name] = origin


def _unknown_field(name: str, known: Mapping[str, int]) -> str:
    if not _PLAIN_NAME.match(name):
        return f"there is a field whose name ({len(name)} characters) is not a name; check the indentation"
    nearest = difflib.get_close_matches(name.lower(), [other.lower() for other in known], n=1, cutoff=0.6)
    if nearest:
        meant = next(other for other in known if other.lower() == nearest[0])
        return f"there is no field {name!r} here; did you mean {meant!r}?"
    return f"there is no field {name!r} here. {_GONE.get(name, 'Known are ' + ', '.join(sorted(known)) + '.')}"


def _says_nothing(value: Any) -> bool:
    """Whether a value is what a program writes for a field that nobody set: null, or an empty list, object or text."""
    return value is None or value in ("", [], {})
