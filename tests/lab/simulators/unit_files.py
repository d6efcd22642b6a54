# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit files of a node as its systemd has loaded them: fragment, drop-ins, and the conditions in them.

Simulated are the conditions of existing paths, which the manager remembers until `daemon-reload`. Drop-ins of a unit's
type (`service.d`) or of its name's beginning (`kubelet-.service.d`) are not.
"""

from __future__ import annotations

import os

from lab.simulators.host import Host, read_json, write_json

# What is earlier in the list hides a file of the same name further on (systemd.unit(5)).
PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
TARGETS = ("multi-user.target", "default.target")


class UnitFiles:
    """What the manager of a running node knows of its unit files."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.path = host.path("transient", "conditions.json")

    def fragment(self, unit: str) -> str | None:
        """The file on this machine that is the unit, None when there is none."""
        found = (self.host.resolve(f"{place}/{unit}") for place in PLACES)
        return next((path for path in found if path is not None), None)

    def masked(self, unit: str) -> bool:
        """Whether the host links the unit to nothing."""
        directories = (self.host.resolve(place) for place in PLACES[:2])
        links = [os.path.join(directory, unit) for directory in directories if directory]
        return any(os.path.islink(link) and os.readlink(link) == "/dev/null" for link in links)

    def wanted(self) -> list[str]:
        """Units that a boot starts, because a target wants them."""
        names: set[str] = set()
        for place in PLACES:
            for target in TARGETS:
                directory = self.host.resolve(f"{place}/{target}.wants")
                names.update(os.listdir(directory) if directory else ())
        return sorted(names)

    def reload(self) -> None:
        """`daemon-reload`: forget what was loaded."""
        if os.path.exists(self.path):
            os.unlink(self.path)

    def conditions_met(self, unit: str) -> bool:
        """Whether the unit may start, by the conditions that were in its files when it was loaded."""
        loaded: dict[str, list[str]] = read_json(self.path) or {}
        if unit not in loaded:
            loaded[unit] = self.values(unit, "Unit", "ConditionPathExists")
            write_json(self.path, loaded)
        checks = [word for word in loaded[unit] if not word.startswith("|")]
        triggers = [word[1:] for word in loaded[unit] if word.startswith("|")]
        return all(map(self._holds, checks)) and (not triggers or any(map(self._holds, triggers)))

    def _holds(self, condition: str) -> bool:
        wanted = not condition.startswith("!")
        return (self.host.resolve(condition.lstrip("!")) is not None) == wanted

    def values(self, unit: str, section: str, key: str) -> list[str]:
        """All values of a setting, in order; an empty one drops those before it."""
        found: list[str] = []
        for content in self._contents(unit):
            current = ""
            for line in content.splitlines():
                text = line.strip()
                if text.startswith("["):
                    current = text.strip("[]")
                name, separator, value = text.partition("=")
                if not separator or current != section or name.strip() != key:
                    continue
                found = [*found, value.strip()] if value.strip() else []
        return found

    def _contents(self, unit: str) -> list[str]:
        dropins: dict[str, str] = {}
        for place in reversed(PLACES):
            directory = self.host.resolve(f"{place}/{unit}.d")
            for name in os.listdir(directory) if directory else ():
                if name.endswith(".conf"):
                    dropins[name] = f"{place}/{unit}.d/{name}"
        fragment = self.fragment(unit)
        texts = [_read(fragment)] if fragment else []
        return [*texts, *(_read(self.host.resolve(dropins[name])) for name in sorted(dropins))]


def _read(path: str | None) -> str:
    if path is None or not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as handle:
        return handle.read()
