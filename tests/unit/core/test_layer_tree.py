# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers merge to the tree that a container of the image would see, and hostile ones are refused."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import (
    BadLayer,
    ContentPlace,
    LayerEntry,
    LayerTree,
    below,
    merge_layers,
    printable,
    resolve_path,
)

DIR, FILE, LINK = FileType.DIRECTORY, FileType.FILE, FileType.LINK


def d(name: str, mode: int = 0o755) -> LayerEntry:
    return LayerEntry(name, DIR, mode)


def f(name: str, size: int = 1) -> LayerEntry:
    return LayerEntry(name, FILE, 0o644, size=size)


def ln(name: str, target: str) -> LayerEntry:
    return LayerEntry(name, LINK, 0o777, target=target)


def hard(name: str, other: str) -> LayerEntry:
    return LayerEntry(name, FILE, hard_link=other)


def shape(merged: LayerTree) -> str:
    """Everything but the root, as one line: directories with a slash, links with their target, files with their place."""
    words = []
    for path, entry in sorted(merged.tree.items()):
        if entry.type is DIR:
            words.append(path.rstrip("/") + "/" if path != "/" else "")
        elif entry.type is LINK:
            words.append(f"{path}->{entry.target}")
        else:
            place = merged.places[path]
            words.append(f"{path}={place.layer}.{place.member}")
    return " ".join(word for word in words if word)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param([[d("./usr/"), f("./usr/a")], [f("usr/b")]], "/usr/ /usr/a=0.1 /usr/b=1.0", id="additions"),
        pytest.param([[f("/usr/lib/a")]], "/usr/ /usr/lib/ /usr/lib/a=0.0", id="absolute name, implied parents"),
        pytest.param([[f("a")], [f("a"), f("a")]], "/a=1.1", id="the last of a name counts"),
        pytest.param([[f("d/a"), f("d/b")], [f("d/.wh.a")]], "/d/ /d/b=0.1", id="whiteout"),
        pytest.param([[f("d/a")], [f(".wh.d")]], "", id="whiteout of a directory"),
        pytest.param([[f("d/a")], [f("d/.wh.a"), f("d/a")]], "/d/ /d/a=1.1", id="whiteout and again, before"),
        pytest.param([[f("d/a")], [f("d/a"), f("d/.wh.a")]], "/d/ /d/a=1.0", id="whiteout and again, after"),
        pytest.param([[f("d/.wh.a"), f("d/a")]], "/d/ /d/a=0.1", id="whiteout of nothing"),
        pytest.param(
            [[f("d/a"), f("d/e/b")], [f("d/n"), f("d/.wh..wh..opq")]], "/d/ /d/n=1.0", id="opaque keeps its own layer"
        ),
        pytest.param([[f("d/a")], [f(".wh..wh..opq"), f("x")]], "/x=1.1", id="opaque root"),
        pytest.param([[f("d/a")], [f("d/.wh..wh.plnk")]], "/d/ /d/a=0.0", id="a storage driver's note"),
        pytest.param([[d("d"), f("d/a")], [f("d")]], "/d=1.0", id="file over directory"),
        pytest.param([[f("d/a")], [ln("d", "e")]], "/d->e", id="link over directory"),
        pytest.param([[f("d")], [d("d")]], "/d/", id="directory over file"),
        pytest.param([[f("d/a")], [d("d", 0o700)]], "/d/ /d/a=0.0", id="directory over directory keeps what is in it"),
        pytest.param([[d("r"), ln("l", "r")], [f("l/a")]], "/l/ /l/a=1.0 /r/", id="a lower layer's link is replaced"),
        pytest.param([[d("r"), ln("l", "r"), f("l/a")]], "/l->r /r/ /r/a=0.2", id="a layer's own link is followed"),
        pytest.param(
            [[d("u/r"), ln("u/l", "../u/./r"), ln("m", "/u/l"), f("m/a")]],
            "/m->/u/l /u/ /u/l->../u/./r /u/r/ /u/r/a=0.3",
            id="links over links",
        ),
        pytest.param([[ln("l", "../../.."), f("l/a")]], "/a=0.1 /l->../../..", id="a link cannot lead out"),
        pytest.param([[f("a"), hard("d/b", "a")]], "/a=0.0 /d/ /d/b=0.0", id="hard link"),
        pytest.param([[f("a")], [hard("b", "./a")]], "/a=0.0 /b=0.0", id="hard link to a lower layer"),
        pytest.param([[f("a"), hard("a", "a")]], "/a=0.0", id="hard link to itself"),
        pytest.param([[ln("a", "x"), hard("b", "a")]], "/a->x /b->x", id="hard link to a link"),
        pytest.param([[f("a"), hard("b", "a")], [f(".wh.a")]], "/b=0.0", id="a hard link outlives its origin"),
    ],
)
def test_layers_merge(layers: list[list[LayerEntry]], expected: str) -> None:
    assert shape(merge_layers(layers)) == expected


def test_what_an_entry_says_is_kept() -> None:
    entry = LayerEntry("usr/x", FILE, 0o4755, 7, 8, 99)
    merged = merge_layers([[d("."), d("usr", 0o711), entry], [LayerEntry("./", DIR, 0o700, 1, 2)]])
    found = merged.tree["/usr/x"]
    assert (found.mode, found.uid, found.gid, found.size) == (0o4755, 7, 8, 99)
    assert merged.tree["/usr"].mode == 0o711
    assert (merged.tree["/"].mode, merged.tree["/"].uid, merged.tree["/"].gid) == (0o700, 1, 2)
    assert merged.places == {"/usr/x": ContentPlace(0, 2)}


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ([f("../etc/passwd")], "leads out of the image"),
        ([f("usr/../../etc")], "leads out of the image"),
        ([f("a\0b")], "no file system can hold"),
        ([f("a/" * 257)], "no file system can hold"),
        ([f("x" * 5000)], "no file system can hold"),
        ([f("a"), f("a/b")], "/a/b below /a, which is not a directory"),
        ([ln("a", "b"), ln("b", "a"), f("a/x")], "which is not a directory"),
        ([hard("a", "nothing")], "hard link to nothing, which is not there"),
        ([d("e"), hard("a", "e")], "hard link to e, which is not there"),
        ([hard("a", "../x")], "leads out of the image"),
        ([f("d/.wh.")], "hides nothing that can be"),
        ([f("d/.wh...")], "hides nothing that can be"),
    ],
)
def test_a_hostile_layer_is_refused(layer: list[LayerEntry], says: str) -> None:
    with pytest.raises(BadLayer) as caught:
        merge_layers([layer])
    assert says in str(caught.value)


def test_a_path_is_resolved_over_links() -> None:
    layer = [f("usr/lib/a"), ln("lib", "usr/lib"), ln("usr/lib/b", "../../lib/a"), ln("r", "r"), ln("out", "../../usr")]
    tree = merge_layers([layer]).tree
    assert resolve_path(tree, "/lib/a") == "/usr/lib/a"
    assert resolve_path(tree, "/lib/b") == "/usr/lib/a"
    assert resolve_path(tree, "/out/lib") == "/usr/lib"
    assert resolve_path(tree, "/r") is None
    assert resolve_path(tree, "/lib/none") is None
    assert [entry.path for entry in below(tree, "/usr")] == ["/usr/lib", "/usr/lib/a", "/usr/lib/b"]


def test_names_can_be_shown() -> None:
    assert printable("ä\x1b[31m\udcff\n\ud800") == "ä\\x1b[31m\\xff\\n\\ud800"
