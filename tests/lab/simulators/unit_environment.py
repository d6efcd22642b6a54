# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of a service of a node: what its drop-ins and system.conf set, and nothing of a caller's."""

from __future__ import annotations

import os
import shlex

from lab.simulators.host import Host

BASE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "HOME": "/root"}
UNIT_DIRECTORIES = ("/usr/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system")


def unit_environment(host: Host, unit: str) -> dict[str, str]:
    """Environment= and EnvironmentFile= of all drop-ins (files of one name: the last directory's), and the manager's."""
    found = dict(BASE)
    for content in _drop_ins(host, "/etc/systemd/system.conf"):
        for key, value in _settings(content):
            if key == "DefaultEnvironment":
                found.update(_assignments(value))
    for content in _drop_ins(host, *(f"{directory}/{unit}" for directory in UNIT_DIRECTORIES)):
        for key, value in _settings(content):
            if key == "Environment":
                found.update(_assignments(value))
            elif key == "EnvironmentFile":
                lines = (host.read(value.removeprefix("-")) or b"").decode(errors="replace").splitlines()
                for line in lines:
                    if not line.startswith(("#", ";")):
                        found.update(_assignments(line))
    return found


def _drop_ins(host: Host, *places: str) -> list[str]:
    """The texts of the files themselves, then those in their ``.d`` directories in order of name."""
    texts = [(host.read(place) or b"").decode(errors="replace") for place in places]
    chosen: dict[str, str] = {}
    for place in places:
        directory = host.resolve(f"{place}.d")
        if directory is not None and os.path.isdir(directory):
            chosen.update({name: f"{place}.d/{name}" for name in os.listdir(directory) if name.endswith(".conf")})
    return texts + [(host.read(path) or b"").decode(errors="replace") for _name, path in sorted(chosen.items())]


def _settings(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.lstrip().startswith(("#", ";")):
            pairs.append((key.strip(), value.strip()))
    return pairs


def _assignments(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)
