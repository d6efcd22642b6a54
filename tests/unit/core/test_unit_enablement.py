# SPDX-License-Identifier: GPL-3.0-or-later
"""Links and presets of units, held to the real systemctl where this machine has one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unit_enablement import (
    KnownUnit,
    UnitName,
    enablement,
    parse_presets,
    preset_text,
)

SYSTEMCTL = shutil.which("systemctl")
WHERE = "/usr/lib/systemd/system"
BODY = "[Service]\nExecStart=/usr/bin/true\n"

# From the unit that is enabled to its file and the lines of its [Install] section.
UNITS = {
    "wanted by two": ("a.service", "a.service", "WantedBy=multi-user.target foo.target"),
    "required and called otherwise": ("a.service", "a.service", "RequiredBy=x.service\nAlias=al.service b.service"),
    "an empty value forgets": ("a.service", "a.service", "WantedBy=multi-user.target\nWantedBy=\nWantedBy=basic.target"),
    "over two lines": ("a.service", "a.service", "WantedBy=multi-user.target \\\n# why\n  foo.target"),
    "quotes": ("a.service", "a.service", "WantedBy=\"multi-user.target\" 'foo.target'"),
    "specifiers": ("a-b.service", "a-b.service", "WantedBy=%p.target %N.target %n.wants.target x%%y.target %j.target"),
    "alias of another type": ("a.service", "a.service", "WantedBy=multi-user.target\nAlias=a.socket"),
    "an instance": ("t@one.service", "t@.service", "WantedBy=multi-user.target dev-%i.device"),
    "an instance with a template as alias": ("t@one.service", "t@.service", "Alias=other@.service other@%i.service"),
    "an instance with a plain alias": ("t@one.service", "t@.service", "WantedBy=multi-user.target\nAlias=plain.service"),
    "a template with a default": ("t@.service", "t@.service", "WantedBy=dev-%i.device\nDefaultInstance=def\nAlias=s@.service"),
    "a template without one": ("t@.service", "t@.service", "WantedBy=multi-user.target"),
    "a template in a template": ("t@.service", "t@.service", "WantedBy=s@.service"),
    "a default is not for instances": ("t@one.service", "t@.service", "WantedBy=basic.target\nDefaultInstance=def"),
    "another section": ("a.service", "a.service", "WantedBy=basic.target\n[X-Install]\nWantedBy=multi-user.target"),
    "a name that is none": ("a.service", "a.service", "WantedBy=\"q q.target\" basic.target"),
    "a socket": ("a.socket", "a.socket", "WantedBy=sockets.target"),
    "itself as alias": ("a.service", "a.service", "WantedBy=basic.target\nAlias=a.service"),
}  # fmt: skip


@pytest.mark.skipif(SYSTEMCTL is None, reason="this machine has no systemctl")
@pytest.mark.parametrize("case", UNITS)
def test_links_are_those_of_systemctl(case: str, tmp_path: Path) -> None:
    name, file, install = UNITS[case]
    text = f"{BODY}[Install]\n{install}\n"
    units = tmp_path / WHERE[1:]
    units.mkdir(parents=True)
    (units / file).write_text(text)
    subprocess.run([str(SYSTEMCTL), f"--root={tmp_path}", "enable", name], capture_output=True, check=False)
    made = {
        f"/{path.relative_to(tmp_path)}": str(path.readlink())
        for path in (tmp_path / "etc").rglob("*")
        if path.is_symlink()
    }
    assert enablement(name, KnownUnit(f"{WHERE}/{file}", (text,))).links == made


@pytest.mark.skipif(SYSTEMCTL is None, reason="this machine has no systemctl")
def test_a_preset_file_comes_to_the_same_as_the_links(tmp_path: Path) -> None:
    units = tmp_path / WHERE[1:]
    units.mkdir(parents=True)
    known = {}
    for file in ("t@.service", "on.service", "off.service", "unsaid.service"):
        text = f"{BODY}[Install]\nWantedBy=multi-user.target\n"
        (units / file).write_text(text)
        known[file] = KnownUnit(f"{WHERE}/{file}", (text,))
    states = {"t@a.service": True, "t@b.service": True, "on.service": True, "off.service": False}
    presets = tmp_path / "usr/lib/systemd/system-preset"
    presets.mkdir()
    (presets / "10-imagemode-config.preset").write_text(preset_text(states))
    (presets / "99-default.preset").write_text("enable off.service\ndisable *\n")
    subprocess.run([str(SYSTEMCTL), f"--root={tmp_path}", "preset-all"], capture_output=True, check=True)
    made = {f"/{path.relative_to(tmp_path)}" for path in (tmp_path / "etc").rglob("*") if path.is_symlink()}
    wanted: set[str] = set()
    for name, enabled in states.items():
        wanted |= set(enablement(name, known[str(UnitName.parse(name).template)]).links) if enabled else set()
    assert made == wanted


def test_upheld_by_makes_links_too() -> None:
    unit = KnownUnit(f"{WHERE}/a.service", ("[Install]\nUpheldBy=b.target\n",))
    assert enablement("a.service", unit).links == {
        "/etc/systemd/system/b.target.upholds/a.service": f"{WHERE}/a.service"
    }


def test_units_that_go_with_another_are_named() -> None:
    unit = KnownUnit(f"{WHERE}/a@.service", ("[Install]\nAlso=b.socket c@%i.service\n",))
    assert enablement("a@x.service", unit).also == ("b.socket", "c@x.service")


def test_a_drop_in_can_bring_the_install_section() -> None:
    unit = KnownUnit(f"{WHERE}/a.service", (BODY, "[Install]\nWantedBy=basic.target\n"))
    assert list(enablement("a.service", unit).links) == ["/etc/systemd/system/basic.target.wants/a.service"]


@pytest.mark.parametrize(
    ("install", "complaint"),
    [
        ("", "has no [Install] section"),
        ("WantedBy=host-%H.target", "known on the node only"),
        ("WantedBy=multi user", "is no name of a systemd unit"),
        ("Alias=a.socket", "of another type"),
    ],
)
def test_what_starts_nothing_is_said(install: str, complaint: str) -> None:
    found = enablement("a.service", KnownUnit("/a", (f"{BODY}[Install]\n{install}\n",)))
    assert found.links == {}
    assert complaint in found.warnings[0]


def test_presets_are_read_back() -> None:
    states = {"a.service": True, "b.timer": False, "t@x.service": True, "t@y.service": True, "t@z.service": False}
    assert parse_presets(preset_text(states)) == states


@pytest.mark.parametrize(
    "name", ["a", "a.services", "a b.service", "../a.service", "@x.service", ".service", "a/b.service"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a systemd unit"):
        UnitName.parse(name)
