# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role makes of its variables: paths that start beside the inventory, and names that nobody reads."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.filter.beside import beside
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unknown_names import unknown_names


@pytest.mark.parametrize(
    ("value", "directory", "keys", "path"),
    [
        ("files/auth.json", "/fleet", None, "/fleet/files/auth.json"),
        ("/etc/auth.json", "/fleet", None, "/etc/auth.json"),
        ("~/auth.json", "/fleet", None, "~/auth.json"),
        ("$HOME/auth.json", "/fleet", None, "$HOME/auth.json"),
        ("", "/fleet", None, ""),
        (None, "/fleet", None, None),
        ("files/auth.json", None, None, "files/auth.json"),
        ({"id": "x", "src": "x"}, "/fleet", ["src"], {"id": "x", "src": "/fleet/x"}),
        ({"id": "x"}, "/fleet", ["src"], {"id": "x"}),
        ("id=x", "/fleet", ["src"], "id=x"),
    ],
)
def test_where_a_path_starts(value: Any, directory: str | None, keys: list[str] | None, path: Any) -> None:
    assert beside(value, directory, keys) == path


def test_a_mistyped_name_is_found_with_what_was_meant() -> None:
    known = ["imagemode_build_base", "imagemode_build_containerfile"]
    assert unknown_names(known, known) == []
    assert unknown_names(["imagemode_build_xyz", "imagemode_build_bsae", *known], known) == [
        "imagemode_build_bsae (did you mean imagemode_build_base?)",
        "imagemode_build_xyz",
    ]


def test_short_names_may_differ_more() -> None:
    assert unknown_names(["buidler", "n1"], ["builder", "localhost"]) == ["buidler (did you mean builder?)", "n1"]
