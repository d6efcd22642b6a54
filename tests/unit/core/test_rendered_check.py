# SPDX-License-Identifier: GPL-3.0-or-later
"""A built image against its configuration: every single change is found, and nothing else is."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_check import check_rendered
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    TMPFILES_PATH,
    PathOwner,
    RenderedConfig,
)
from render_examples import PEM, SERVICE, directory, file, keys, link, rendered, unit

UNITS, ETC = "/usr/lib/systemd/system", "/etc/systemd/system"
WANTS = f"{ETC}/multi-user.target.wants"

CONFIG = rendered(
    file("/etc/a", "a", 0o755, user=3, group=4),
    file("/etc/named", "b", user="core"),
    file("/etc/key", PEM),
    file("/home/core/x", "c"),
    directory("/etc/sudoers.d", 0o750),
    link("/etc/l", "/usr/x"),
    keys("core", "ssh-rsa AAAA"),
    unit("given.service", SERVICE, enabled=True, dropins={"1.conf": "[Unit]\n"}),
    unit("base.service", enabled=True),
    unit("off@one.service", enabled=False),
    unit("masked.service", mask=True),
).config


def entry(path: str, kind: FileType = FileType.FILE, target: str | None = None) -> TreeEntry:
    return TreeEntry(path, kind, 0o644, target=target)


def good_tree(config: RenderedConfig = CONFIG) -> dict[str, TreeEntry]:
    """The image as a build would leave it, with what its base brings."""
    tree = {
        file.path: TreeEntry(
            file.path,
            file.type,
            file.mode,
            file.user if isinstance(file.user, int) else 0,
            file.group if isinstance(file.group, int) else 0,
            file.size,
            file.target,
            file.sha256,
        )
        for file in config.owned_by(PathOwner.IMAGE)
    }
    base = [
        entry(f"{UNITS}/base.service"),
        entry(f"{WANTS}/base.service", FileType.LINK, f"{UNITS}/base.service"),
        entry(f"{UNITS}/off@.service"),
        entry("/home", FileType.LINK, "var/home"),
        entry("/usr/bin/other"),
    ]
    return {**tree, **{one.path: one for one in base}}


def test_an_image_as_wanted_has_no_findings() -> None:
    assert check_rendered(CONFIG, good_tree()) == ()


@pytest.mark.parametrize("path", sorted(file.path for file in CONFIG.owned_by(PathOwner.IMAGE)))
def test_each_path_is_missed(path: str) -> None:
    tree = good_tree()
    del tree[path]
    found = check_rendered(CONFIG, tree)
    assert path in [finding.path for finding in found]
    assert "found nothing" in str(next(finding for finding in found if finding.path == path))


CHANGES = [
    ("/etc/a", {"sha256": "0" * 64}, "sha256"),
    ("/etc/a", {"sha256": None}, "not read"),
    ("/etc/a", {"mode": 0o644}, "expected mode 0755, found mode 0644"),
    ("/etc/a", {"mode": 0o4755}, "found mode 4755"),
    ("/etc/a", {"uid": 0}, "expected owner 3:4, found owner 0:4"),
    ("/etc/a", {"gid": 0}, "found owner 3:0"),
    ("/etc/a", {"type": FileType.LINK, "target": "/x"}, "expected a file, found a link"),
    ("/etc/named", {"uid": 1000}, "expected owner 0:0"),
    ("/etc/l", {"target": "/usr/y"}, "expected a link to /usr/x, found a link to /usr/y"),
    ("/etc/sudoers.d", {"mode": 0o755}, "expected mode 0750"),
    (f"{ETC}/masked.service", {"target": "/x"}, "expected a link to /dev/null"),
    (f"{WANTS}/given.service", {"target": "/x"}, f"expected a link to {UNITS}/given.service"),
    (TMPFILES_PATH, {"sha256": "0" * 64}, "sha256"),
]


@pytest.mark.parametrize(("path", "change", "words"), CHANGES)
def test_each_change_is_found(path: str, change: dict[str, object], words: str) -> None:
    tree = good_tree()
    tree[path] = dataclasses.replace(tree[path], **change)  # type: ignore[arg-type]
    (found,) = check_rendered(CONFIG, tree)
    assert found.path == path
    assert words in str(found)


ADDED = [
    (entry(f"{ETC}/given.service"), f"{ETC}/given.service", "would hide"),
    (entry(f"{ETC}/given.service.d/1.conf"), f"{ETC}/given.service.d/1.conf", "would hide"),
    (entry("/etc/key"), "/etc/key", "a secret belongs to the host alone"),
    (entry(f"{WANTS}/off@one.service", FileType.LINK, f"{UNITS}/off@.service"), f"{UNITS}/off@.service", "shall be disabled"),
    (entry("/home", FileType.DIRECTORY), "/home", "expected a link to /var/home (see var_links), found a directory"),
    (entry("/home", FileType.LINK, "/elsewhere"), "/home", "found a link to /elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "path", "words"), ADDED, ids=[case[1] for case in ADDED])
def test_what_must_not_be_there_is_found(added: TreeEntry, path: str, words: str) -> None:
    (found,) = check_rendered(CONFIG, {**good_tree(), added.path: added})
    assert found.path == path
    assert words in str(found)


def test_a_unit_that_the_base_does_not_have() -> None:
    tree = good_tree()
    del tree[f"{UNITS}/base.service"]
    (found,) = check_rendered(CONFIG, tree)
    assert "no such unit in the image" in str(found)


def test_a_unit_of_the_base_that_nothing_starts() -> None:
    tree = good_tree()
    del tree[f"{WANTS}/base.service"]
    (found,) = check_rendered(CONFIG, tree)
    assert "has it an [Install] section?" in str(found)


def test_a_vendor_link_or_an_alias_starts_a_unit_too() -> None:
    for path in (f"{UNITS}/basic.target.wants/base.service", f"{ETC}/alias.service"):
        tree = good_tree()
        del tree[f"{WANTS}/base.service"]
        tree[path] = entry(path, FileType.LINK, f"{UNITS}/base.service")
        assert check_rendered(CONFIG, tree) == ()


def test_a_directory_that_is_a_link_in_the_base_is_named() -> None:
    tree = good_tree(rendered(file("/etc/d/x")).config)
    del tree["/etc/d/x"]
    tree["/etc/d"] = entry("/etc/d", FileType.LINK, "../usr/etc/d")
    (found,) = check_rendered(rendered(file("/etc/d/x")).config, tree)
    assert found.found == "nothing, because /etc/d is a link to ../usr/etc/d"
