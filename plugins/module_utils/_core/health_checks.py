# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a node healthy: the checks that a person wrote down, each of exactly one kind.

    checks = parse_checks([{"failed_units": {}}, {"unit": "kubelet", "state": "active"}, {"node": "ready"}])

Nothing here looks at a node. Every mistake in the list is found at once, so that a preflight can show all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import DurationError, parse_duration

_TIMEOUT_SECONDS = 10
_LONGEST_SECONDS = 3600
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,254}\Z")
_UNIT_PATTERN = re.compile(r"[A-Za-z0-9:_.\\@*?\[\]][A-Za-z0-9:_.\\@*?\[\]-]{0,254}\Z")
_UNIT_TYPES = ("service", "socket", "target", "timer", "mount", "automount", "path", "slice", "scope", "swap", "device")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}\Z")
_LOOPBACK = re.compile(r"localhost\Z|127\.\d+\.\d+\.\d+\Z|::1\Z")


class HealthCheckError(ValueError):
    """The list of checks cannot be understood. `mistakes` has a sentence for each thing that is wrong with it."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        head = "There is a mistake" if len(mistakes) == 1 else f"There are {len(mistakes)} mistakes"
        super().__init__(f"{head} in the health checks, so nothing was looked at. " + " ".join(mistakes))
        self.mistakes = tuple(mistakes)


class Kind(str, Enum):
    """What is looked at. The value is the key that says so in a check."""

    FAILED_UNITS = "failed_units"
    UNIT = "unit"
    HTTP = "http"
    COMMAND = "command"
    GREENBOOT = "greenboot"
    NODE = "node"


class UnitState(str, Enum):
    """What a unit is to be."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True)
class Check:
    """`name` is what a person calls it; it has one line and no secret."""

    name: str

    @property
    def kind(self) -> Kind:
        """Of which kind it is."""
        raise NotImplementedError

    @property
    def patience(self) -> int:
        """Seconds that one look may take."""
        return _TIMEOUT_SECONDS

    @property
    def on_node(self) -> bool:
        """Whether the node can be asked; if not, the controller asks somebody else."""
        return True


@dataclass(frozen=True)
class FailedUnits(Check):
    """The boot is finished, and no unit has failed but those whose names match one of `ignore` (shell patterns)."""

    ignore: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return Kind.FAILED_UNITS


@dataclass(frozen=True)
class Unit(Check):
    """One unit of systemd is in this state."""

    unit: str
    state: UnitState = UnitState.ACTIVE

    @property
    def kind(self) -> Kind:
        return Kind.UNIT


@dataclass(frozen=True)
class Value:
    """What a JMESPath expression is to find in a JSON body: `equals`, or anything that JMESPath calls true."""

    expression: str
    equals: Any = None
    any_true: bool = True


@dataclass(frozen=True)
class Http(Check):
    """A GET from the node is answered with one of these statuses, and with such a value in the body."""

    url: str
    status: tuple[int, ...] = (200,)
    value: Value | None = None
    ca_file: str | None = None
    validate_certs: bool = True
    timeout: int = _TIMEOUT_SECONDS

    @property
    def kind(self) -> Kind:
        return Kind.HTTP

    @property
    def patience(self) -> int:
        return self.timeout

    @property
    def loopback(self) -> bool:
        """Whether the node asks itself, for which no proxy is of any use."""
        return _LOOPBACK.match(urlsplit(self.url).hostname or "") is not None


@dataclass(frozen=True)
class Command(Check):
    """A program on the node exits with one of these codes in time."""

    argv: tuple[str, ...]
    rc: tuple[int, ...] = (0,)
    timeout: int = _TIMEOUT_SECONDS

    @property
    def kind(self) -> Kind:
        return Kind.COMMAND

    @property
    def patience(self) -> int:
        return self.timeout


@dataclass(frozen=True)
class Greenboot(Check):
    """greenboot has called this boot good."""

    @property
    def kind(self) -> Kind:
        return Kind.GREENBOOT


@dataclass(frozen=True)
class ClusterNode(Check):
    """Kubernetes calls the node ready."""

    @property
    def kind(self) -> Kind:
        return Kind.NODE

    @property
    def on_node(self) -> bool:
        return False


def parse_checks(given: object) -> tuple[Check, ...]:
    """The checks from what a playbook says, in its order. Raises HealthCheckError with all mistakes.

    Whether a JMESPath expression can be read is not known here: nothing pure can tell.
    """
    if not isinstance(given, (list, tuple)):
        raise HealthCheckError((f"The checks are {_shown(given)}, and wanted is a list of dictionaries.",))
    checks: list[Check] = []
    mistakes: list[str] = []
    for number, entry in enumerate(given, start=1):
        reader = _Reader(f"Check {number}", entry)
        check = reader.check()
        mistakes += reader.mistakes
        if check is not None and not reader.mistakes:
            checks.append(check)
    if mistakes:
        raise HealthCheckError(mistakes)
    return tuple(checks)


class _Reader:
    """One entry of the list, and what is wrong with it."""

    def __init__(self, where: str, entry: object) -> None:
        self.where = where
        self.mistakes: list[str] = []
        self.entry: dict[str, Any] = {}
        if isinstance(entry, Mapping):
            self.entry = {str(key): value for key, value in entry.items()}
        else:
            self._wrong(f"is {_shown(entry)}, and wanted is a dictionary such as {{unit: kubelet.service}}")

    def check(self) -> Check | None:
        """The check, or None with a mistake noted."""
        if self.mistakes:
            return None
        kinds = [kind for kind in Kind if kind.value in self.entry]
        if len(kinds) != 1:
            known = ", ".join(kind.value for kind in Kind)
            has = (
                " and ".join(kind.value for kind in kinds)
                if kinds
                else f"none of them, only {', '.join(self.entry) or 'nothing'}"
            )
            self._wrong(f"needs exactly one of {known}, and has {has}")
            return None
        (kind,) = kinds
        self.where = f"{self.where} ({kind.value})"
        if self.entry.get("name") is not None and not (
            isinstance(self.entry["name"], str) and _NAME.match(self.entry["name"])
        ):
            self._wrong("needs a name of 1 to 100 characters in one line")
        unknown = sorted(set(self.entry) - {"name", kind.value, *_OPTIONS[kind]})
        if unknown:
            allowed = ", ".join(("name", *_OPTIONS[kind]))
            self._wrong(f"has {', '.join(unknown)}, which it does not know; it knows {allowed}")
        return _PARSERS[kind](self)

    def named(self, otherwise: str) -> str:
        """The name that was given, or this one."""
        return str(self.entry.get("name") or otherwise[:100])

    def failed_units(self) -> Check:
        given = self.entry["failed_units"]
        options: Mapping[str, Any] = {}
        if isinstance(given, Mapping):
            options = given
        elif given not in (None, True):
            self._wrong(f"is {_shown(given)}, and wanted is a dictionary, empty or with ignore")
        if set(options) - {"ignore"}:
            self._wrong(f"has {', '.join(sorted(map(str, set(options) - {'ignore'})))} in it; it knows only ignore")
        ignore = self._texts("ignore", options.get("ignore", []))
        for pattern in ignore:
            if not _UNIT_PATTERN.match(pattern):
                self._wrong(f"ignores {pattern!r}, which is not the name of a unit nor a pattern for such")
        return FailedUnits(self.named("failed units"), tuple(map(_whole_name, ignore)))

    def unit(self) -> Check:
        name, state = self.entry["unit"], self.entry.get("state", UnitState.ACTIVE.value)
        if not isinstance(name, str) or not _UNIT.match(name):
            self._wrong(f"names {_shown(name)}, which is not the name of a unit such as kubelet.service")
            name = ""
        states = [known.value for known in UnitState]
        if state not in states:
            self._wrong(f"wants the state {_shown(state)}; it can be {' or '.join(states)}")
            state = UnitState.ACTIVE.value
        unit = _whole_name(name)
        return Unit(self.named(unit or "unit"), unit, UnitState(state))

    def http(self) -> Check:
        url = self.entry["http"]
        address = self._address(url)
        status = self._numbers("status", self.entry.get("status", 200), 100, 599)
        ca_file = self.entry.get("ca_file")
        if ca_file is not None and not (isinstance(ca_file, str) and ca_file.startswith("/") and "\0" not in ca_file):
            self._wrong(f"has the ca_file {_shown(ca_file)}; wanted is the path of a file on the node, from / on")
        validate = self.entry.get("validate_certs", True)
        if not isinstance(validate, bool):
            self._wrong(f"has validate_certs {_shown(validate)}; it is true or false")
        value = self._value()
        return Http(
            self.named(f"http {address}"), str(url), status, value, ca_file, validate is not False, self._timeout()
        )

    def command(self) -> Check:
        given = self.entry["command"]
        if isinstance(given, str):
            self._wrong("is text; wanted is a list of words such as [pg_isready, -q], because no shell takes it apart")
            given = ["?"]
        argv = self._texts("command", given)
        if not argv or not argv[0] or any("\0" in word for word in argv):
            self._wrong("needs a list with the program and its arguments")
            argv = ("?",)
        rc = self._numbers("rc", self.entry.get("rc", 0), 0, 255)
        return Command(self.named(argv[0].rpartition("/")[2] or argv[0]), argv, rc, self._timeout())

    def greenboot(self) -> Check:
        if self.entry["greenboot"] is not True:
            self._wrong(
                f"is {_shown(self.entry['greenboot'])}; it can only be true. Leave the check out to not make it"
            )
        return Greenboot(self.named("greenboot"))

    def node(self) -> Check:
        if self.entry["node"] != "ready":
            self._wrong(f"is {_shown(self.entry['node'])}; it can only be ready, which the cluster is asked")
        return ClusterNode(self.named("node"))

    def _value(self) -> Value | None:
        expression = self.entry.get("json")
        if expression is None:
            if "equals" in self.entry:
                self._wrong("has equals but no json, which says where in the answer to look")
            return None
        if not isinstance(expression, str) or not expression.strip():
            self._wrong(f"has the json {_shown(expression)}; wanted is a JMESPath expression such as status")
            return None
        return Value(expression, self.entry.get("equals"), "equals" not in self.entry)

    def _address(self, url: object) -> str:
        """The URL without its query, which may hold a token, for people to read."""
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            understood = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            understood = False
        if not isinstance(url, str) or not understood or not re.match(r"[!-~]+\Z", url):
            self._wrong("needs the URL to ask, such as http://127.0.0.1:10248/healthz")
            return ""
        if parts.username is not None or parts.password is not None:
            self._wrong("has a user in its URL, which every process on the node could read; ask where none is needed")
            return ""
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def _timeout(self) -> int:
        given = self.entry.get("timeout", _TIMEOUT_SECONDS)
        try:
            seconds = parse_duration(given, "timeout")
        except DurationError as error:
            self._wrong(f"has a timeout that cannot be understood: {str(error).rstrip('.')}")
            return _TIMEOUT_SECONDS
        if not 1 <= seconds <= _LONGEST_SECONDS:
            self._wrong(f"has the timeout {_shown(given)}; it can be from 1 second to an hour")
            return _TIMEOUT_SECONDS
        return int(seconds)

    def _numbers(self, option: str, given: object, low: int, high: int) -> tuple[int, ...]:
        """One number or several. Text with a number in it will do, because that is what a template gives."""
        several = list(given) if isinstance(given, (list, tuple)) else [given]
        numbers = [int(str(value)) for value in several if re.fullmatch(r"\d{1,3}", str(value))]
        if not numbers or len(numbers) != len(several) or not all(low <= number <= high for number in numbers):
            self._wrong(f"has {option} {_shown(given)}; wanted is a number from {low} to {high}, or a list of such")
            return (low,)
        return tuple(dict.fromkeys(numbers))

    def _texts(self, option: str, given: object) -> tuple[str, ...]:
        if isinstance(given, str) or not isinstance(given, Sequence) or not all(_is_word(value) for value in given):
            self._wrong(f"has {option} {_shown(given)}; wanted is a list of words")
            return ()
        return tuple(str(value) for value in given)

    def _wrong(self, sentence: str) -> None:
        self.mistakes.append(f"{self.where} {sentence}.")


def _is_word(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _whole_name(unit: str) -> str:
    """As systemctl does: what has no type is a service."""
    return unit if unit.rpartition(".")[2] in (*_UNIT_TYPES, "*") else f"{unit}.service"


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}..."


_PARSERS: dict[Kind, Callable[[_Reader], Check]] = {
    Kind.FAILED_UNITS: _Reader.failed_units,
    Kind.UNIT: _Reader.unit,
    Kind.HTTP: _Reader.http,
    Kind.COMMAND: _Reader.command,
    Kind.GREENBOOT: _Reader.greenboot,
    Kind.NODE: _Reader.node,
}

_OPTIONS: dict[Kind, tuple[str, ...]] = {
    Kind.FAILED_UNITS: (),
    Kind.UNIT: ("state",),
    Kind.HTTP: ("status", "json", "equals", "ca_file", "validate_certs", "timeout"),
    Kind.COMMAND: ("rc", "timeout"),
    Kind.GREENBOOT: (),
    Kind.NODE: (),
}
