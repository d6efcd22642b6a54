# SPDX-License-Identifier: GPL-3.0-or-later
"""The links that `systemctl enable` would make, and the preset lines with which first boot comes to the same.

Rules as of systemd 252, held to its systemctl by a test; UpheldBy is that of systemd 254.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

LINKS_DIRECTORY = "/etc/systemd/system"

_DIRECTORIES = {"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}
_KEYS = (*_DIRECTORIES, "Alias", "Also", "DefaultInstance")
_WORD = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_NAME = re.compile(
    r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\@-]*)?"
    r"\.(?:service|socket|device|mount|automount|swap|target|path|timer|slice|scope)\Z"
)
_SPECIFIER = re.compile(r"%(.)")


@dataclass(frozen=True)
class UnitName:
    """A name such as `prefix@instance.service`. `instance` is None for a plain name and empty for a template."""

    prefix: str
    instance: str | None
    suffix: str

    @classmethod
    def parse(cls, name: str) -> UnitName:
        """From a name. Raises ValueError for what is none."""
        if not _NAME.match(name) or len(name) > 255:
            raise ValueError(f"{name!r} is no name of a systemd unit")
        stem, _dot, suffix = name.rpartition(".")
        prefix, at, instance = stem.partition("@")
        return cls(prefix, instance if at else None, suffix)

    def __str__(self) -> str:
        return f"{self.prefix}{'' if self.instance is None else '@' + self.instance}.{self.suffix}"

    @property
    def is_template(self) -> bool:
        """Whether it is a template, without instance."""
        return self.instance == ""

    @property
    def template(self) -> UnitName:
        """The template of an instance; any other name itself."""
        return self if self.instance is None else UnitName(self.prefix, "", self.suffix)

    def with_instance(self, instance: str | None) -> UnitName:
        """The same with another instance."""
        return UnitName(self.prefix, instance, self.suffix)


@dataclass(frozen=True)
class KnownUnit:
    """A unit whose text is known: where it is, and the text of it and its drop-ins, in the order in which they are read."""

    path: str
    texts: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Enablement:
    """What enabling a unit makes. `also` are the units that go with it."""

    links: Mapping[str, str]
    also: tuple[str, ...]
    warnings: tuple[str, ...]


def enablement(name: str, unit: KnownUnit) -> Enablement:
    """The links of one unit, from the link to its target. Raises ValueError for a name that is none."""
    install = _install_section(unit.texts)
    own = UnitName.parse(name)
    default = install["DefaultInstance"]
    started = own.with_instance(default[-1]) if own.is_template and default else own
    links: dict[str, str] = {}
    warnings: list[str] = []
    for key, directory in _DIRECTORIES.items():
        for word in install[key]:
            try:
                starter = UnitName.parse(_expanded(word, started))
                if started.is_template and not starter.is_template:
                    raise ValueError(
                        f"a template has to be enabled with an instance, such as {own.prefix}@x.{own.suffix}"
                    )
            except ValueError as error:
                warnings.append(f"{name}: {key}={word} starts nothing, because {error}.")
                continue
            links[f"{LINKS_DIRECTORY}/{starter}.{directory}/{started}"] = unit.path
    for word in install["Alias"]:
        try:
            alias = _alias(UnitName.parse(_expanded(word, own)), own)
        except ValueError as error:
            warnings.append(f"{name}: Alias={word} is left out, because {error}.")
            continue
        if alias != own:
            links[f"{LINKS_DIRECTORY}/{alias}"] = unit.path
    also = []
    for word in install["Also"]:
        try:
            also.append(str(UnitName.parse(_expanded(word, started))))
        except ValueError as error:
            warnings.append(f"{name}: Also={word} is left out, because {error}.")
    if not any(install.values()):
        warnings.append(f"{name} shall be enabled and has no [Install] section, so nothing starts it.")
    return Enablement(links, tuple(also), tuple(warnings))


def preset_text(states: Mapping[str, bool]) -> str:
    """A preset file: for each name whether it is enabled. Instances of a template share its line."""
    lines: dict[str, list[str]] = {}
    for name, enabled in sorted(states.items()):
        unit = UnitName.parse(name)
        if unit.instance and enabled:
            lines.setdefault(f"enable {unit.template}", []).append(unit.instance)
        else:
            lines.setdefault(f"{'enable' if enabled else 'disable'} {unit}", [])
    # An instance's own line must come before that of its template, since the first that matches counts.
    ordered = sorted(lines.items(), key=lambda line: ("@." in line[0], line[0]))
    return "".join(" ".join([line, *instances]) + "\n" for line, instances in ordered)


def parse_presets(text: str) -> dict[str, bool]:
    """What preset_text was given."""
    states = {}
    for line in text.splitlines():
        word, name, *instances = line.split()
        template = UnitName.parse(name)
        for unit in [template.with_instance(one) for one in instances] or [template]:
            states[str(unit)] = word == "enable"
    return states


def _alias(alias: UnitName, own: UnitName) -> UnitName:
    """The alias as a link can have it. Raises ValueError for one that systemd refuses."""
    if alias.suffix != own.suffix:
        raise ValueError(f"{own} cannot be called {alias}, which is of another type")
    if own.instance and alias.is_template:
        return alias.with_instance(own.instance)
    if alias.instance != own.instance:
        raise ValueError(f"{own} cannot be called {alias}: plain names, templates and instances do not mix")
    return alias


def _expanded(word: str, name: UnitName) -> str:
    """A word with its specifiers replaced. Raises ValueError for those that only the node itself knows."""
    values = {
        "%": "%",
        "i": name.instance or "",
        "p": name.prefix,
        "n": str(name),
        "N": str(name).rpartition(".")[0],
        "j": name.prefix.rpartition("-")[2],
    }

    def value(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise ValueError(f"what {match.group()} stands for is known on the node only")
        return values[match.group(1)]

    return _SPECIFIER.sub(value, word)


def _install_section(texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {key: [] for key in _KEYS}
    for text in texts:
        for key, value in _settings(text, "Install"):
            if key not in found:
                continue
            if not value:
                found[key] = []
            elif key == "DefaultInstance":
                found[key] = [value]
            else:
                found[key] += [first or second or third for first, second, third in _WORD.findall(value)]
    return found


def _settings(text: str, wanted: str) -> Iterator[tuple[str, str]]:
    """Keys and values of a section. A backslash at the end of a line goes on in the next, over comments in between."""
    section, begun = "", ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or (not stripped and not begun):
            continue
        begun += stripped
        if begun.endswith("\\"):
            begun = begun[:-1] + " "
            continue
        whole, begun = begun, ""
        if whole.startswith("["):
            section = whole.strip("[]")
        elif section == wanted and "=" in whole:
            key, _equals, value = whole.partition("=")
            yield key.strip(), value.strip()
