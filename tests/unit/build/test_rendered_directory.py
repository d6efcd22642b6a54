# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of a rendered configuration: what a build reads of it, and that writing takes nothing of anybody else's."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_rendering import render_machine_config
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._build.rendered_directory import RenderedDirectory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import PathOwner
from ansible_collections.imagemode.nodes.plugins.module_utils._host.host_files import wanted_files

SECRET = "hush-hush"


def data(text: str) -> dict[str, str]:
    return {"source": f"data:,{text}"}


def machine_config(name: str = "50-a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {"machineconfiguration.openshift.io/role": "worker"}},
        "spec": {"config": {"ignition": {"version": "3.4.0"}, **spec}},
    }


FILES = [
    {"path": "/etc/a", "mode": 0o644, "contents": data("a"), "user": {"id": 5}, "group": {"id": 6}},
    {"path": "/etc/named", "mode": 0o644, "contents": data("n"), "user": {"name": "core"}},
    {"path": "/etc/secret", "mode": 0o600, "contents": data(SECRET)},
    {"path": "/etc/binary", "mode": 0o600, "contents": {"source": "data:;base64,/wD/"}},
    {"path": "/home/core/x", "mode": 0o644, "contents": data("x")},
]
STORAGE = {
    "files": FILES,
    "directories": [{"path": "/etc/sudoers.d", "mode": 0o750}],
    "links": [{"path": "/etc/l", "target": "/usr/x"}],
}


def render(dest: Path, *documents: dict[str, Any], check_mode: bool = False, **options: Any) -> Outcome:
    params = {
        "sources": [],
        "documents": list(documents or [machine_config(storage=STORAGE)]),
        "role": "worker",
        "dest": str(dest),
        "acceptable": [],
        "disruption_policy": {},
        "owners": {},
        "var_links": {},
        "ssh_keys_file": "authorized_keys.d/ignition",
        "architecture": None,
        **options,
    }
    return render_machine_config(params, check_mode, load_yaml=lambda text: [json.loads(text)])


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    return {member.name: member for member in tarfile.open(fileobj=io.BytesIO(archive))}


def test_the_tar_has_leaves_and_named_directories_only_with_their_owners(tmp_path: Path) -> None:
    render(tmp_path / "out")
    found = members(
        RenderedDirectory.read(tmp_path / "out").image_tar(7, {"/usr/lib/bootc/kargs.d/1.toml": b"kargs = []\n"})
    )
    assert {name: (one.type, one.mode, one.uid, one.gid, one.mtime, one.linkname) for name, one in found.items()} == {
        "etc/a": (tarfile.REGTYPE, 0o644, 5, 6, 7, ""),
        "etc/l": (tarfile.SYMTYPE, 0o777, 0, 0, 7, "/usr/x"),
        "etc/named": (tarfile.REGTYPE, 0o644, 0, 0, 7, ""),
        "etc/sudoers.d": (tarfile.DIRTYPE, 0o750, 0, 0, 7, ""),
        "usr/lib/bootc/kargs.d/1.toml": (tarfile.REGTYPE, 0o644, 0, 0, 7, ""),
        "usr/lib/tmpfiles.d/imagemode-config.conf": (tarfile.REGTYPE, 0o644, 0, 0, 7, ""),
    }
    assert list(found) == sorted(found)


def test_two_renders_in_two_directories_are_the_same_bit_for_bit(tmp_path: Path) -> None:
    render(tmp_path / "one")
    render(tmp_path / "two")
    first, second = RenderedDirectory.read(tmp_path / "one"), RenderedDirectory.read(tmp_path / "two")
    assert first.image_tar(0) == second.image_tar(0)
    assert first.content_hash == second.content_hash
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_a_file_that_the_build_would_write_too_is_refused(tmp_path: Path) -> None:
    render(tmp_path / "out")
    with pytest.raises(BuildError, match="/etc/a is in it, and the build would write it too"):
        RenderedDirectory.read(tmp_path / "out").image_tar(0, {"/etc/a": b""})


def test_secrets_are_for_their_owner_only_and_nowhere_in_the_image(tmp_path: Path) -> None:
    render(tmp_path / "out")
    found = everything(tmp_path / "out")
    assert SECRET.encode() in found["host/etc/secret"][1]
    for name, (mode, content) in found.items():
        if name.startswith("host"):
            assert stat.S_IMODE(mode) & 0o077 == 0, name
        else:
            assert SECRET.encode() not in content, name
    assert SECRET.encode() not in RenderedDirectory.read(tmp_path / "out").image_tar(0)


def test_host_files_are_what_the_module_takes(tmp_path: Path) -> None:
    render(tmp_path / "out")
    files = json.loads((tmp_path / "out/host-files.json").read_text())["files"]
    defaults = {"content": None, "content_b64": None, "state": "present", "live_link": "fail"}
    wanted = wanted_files(
        {"files": [{**defaults, **one} for one in files], "exclusive": [], "directory_mode": "0755", "file_timeout": 60}
    )
    taken = {file.path: (file.content, file.mode, file.secret) for file in wanted.files}
    assert taken == {"/etc/binary": (b"\xff\0\xff", "0600", True), "/etc/secret": (SECRET.encode(), "0600", True)}


def test_a_second_render_changes_nothing_and_leftovers_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert render(out).result["changed"] is True
    before = (out / "machine-config.json").stat()
    assert render(out).result["changed"] is False
    assert (out / "machine-config.json").stat() == before
    assert render(out, machine_config(storage={"files": FILES[:1]})).result["changed"] is True
    assert not (out / "host/etc/secret").exists()
    assert not (out / "image/etc/l").is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: (out / "image/etc/a").write_text("b"),
        lambda out: (out / "image/etc/more").write_text("b"),
        lambda out: (out / "host/etc/secret").chmod(0o644),
        lambda out: (out / "image/etc/l").unlink(),
    ],
)
def test_what_was_changed_by_hand_is_put_right(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    out = tmp_path / "out"
    render(out)
    before = everything(out)
    spoil(out)
    assert render(out).result["changed"] is True
    assert everything(out) == before


def test_check_mode_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    checked = render(out, check_mode=True)
    assert list(tmp_path.iterdir()) == []
    assert checked == render(out)


def test_another_secret_is_a_change_that_shows_no_content(tmp_path: Path) -> None:
    out = tmp_path / "out"
    render(out)
    changed = render(
        out,
        machine_config(storage={**STORAGE, "files": [*FILES[:2], {**FILES[2], "contents": data("other")}, *FILES[3:]]}),
    )
    assert changed.result["changed"] is True
    assert "/etc/secret host 0600 0:0 (another secret)" in changed.result["diff"]["after"]
    assert "other\\n" not in repr(changed)
    assert SECRET not in repr(changed)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda out: (out.mkdir(), (out / "precious").write_text("x")), "is not empty"),
        (lambda out: (out.mkdir(), (out / "machine-config.json").write_text("{}")), "is not empty"),
        (lambda out: out.write_text("x"), "is no directory"),
        (lambda out: out.symlink_to("/etc"), "is no directory"),
    ],
)
def test_what_is_not_ours_is_left_alone(tmp_path: Path, make: Callable[[Path], object], what: str) -> None:
    make(tmp_path / "out")
    before = everything(tmp_path)
    outcome = render(tmp_path / "out")
    assert outcome.failed
    assert what in outcome.result["msg"]
    assert everything(tmp_path) == before


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert not render(tmp_path / "out").failed


class Killed(BaseException):
    """As the process ends here, nothing of it is tidied up."""


def dying_at(call: int) -> Callable[[Any, Any], None]:
    """A rename that kills the process at one of its calls."""
    calls = iter(range(1, 10))

    def rename(source: Any, target: Any) -> None:
        if next(calls) == call:
            raise Killed
        Path(source).replace(target)

    return rename


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("again", [FILES, FILES[:1], FILES[1:]])
def test_a_run_that_dies_leaves_the_old_or_nothing_and_the_next_one_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, again: list[dict[str, Any]]
) -> None:
    out = tmp_path / "out"
    render(out, machine_config(storage={"files": FILES}))
    whole = everything(out)
    with monkeypatch.context() as patched:
        patched.setattr("os.rename", dying_at(call))
        patched.setattr("shutil.rmtree", lambda *_left: None)
        with pytest.raises(Killed):
            render(out, machine_config(storage={"files": FILES[:1]}))
    assert not out.exists() or everything(out) == whole
    assert [path.name for path in tmp_path.iterdir()] != ["out"]
    assert not render(out, machine_config(storage={"files": again})).failed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert RenderedDirectory.read(out).config.owned_by(PathOwner.IMAGE)[0].path == "/etc/" + (
        "named" if again == FILES[1:] else "a"
    )


SPOILED = [
    (lambda out: (out / "machine-config.json").unlink(), "is not there"),
    (lambda out: (out / "machine-config.json").write_text("{"), "is not understood: it is not JSON"),
    (lambda out: (out / "image/etc/a").unlink(), "is not there"),
    (lambda out: (out / "image/etc/a").write_text("b"), "image/etc/a was changed after it was rendered"),
]


@pytest.mark.parametrize(("spoil", "what"), SPOILED)
def test_a_build_takes_no_directory_that_is_not_whole(
    tmp_path: Path, spoil: Callable[[Path], object], what: str
) -> None:
    out = tmp_path / "out"
    render(out)
    spoil(out)
    with pytest.raises(BuildError, match="Render it again with machine_config_render") as failed:
        RenderedDirectory.read(out)
    assert what in str(failed.value)


OPTIONS = [
    ({"owners": {"etc/x": "image"}}, "does not begin with a slash"),
    ({"owners": {"/etc/x": "me"}}, "there are image, tmpfiles, host"),
    ({"var_links": {"/data": "/elsewhere"}}, "to below /var"),
    ({"var_links": {"/var/x": "/var/y"}}, "from elsewhere"),
    ({"var_links": {"/data/": "/var/data"}}, "no plain absolute path"),
    ({"disruption_policy": {"files": 1}}, "files is no list"),
    ({"role": "master"}, "master"),
    ({"acceptable": ["storage.discs"]}, "storage.disks"),
    ({"sources": ["/nowhere.yaml"]}, "/nowhere.yaml: it cannot be read: No such file"),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS)
def test_an_option_that_is_wrong_is_named(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    outcome = render(tmp_path / "out", **options)
    assert outcome.failed
    assert words in outcome.result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_directories_are_read_by_name_of_their_files(tmp_path: Path) -> None:
    source = tmp_path / "configs"
    source.mkdir()
    for number, ending in enumerate(("json", "yaml", "ign", "txt", "yml")):
        document = machine_config(
            f"50-{number}", storage={"files": [{"path": f"/etc/{number}", "contents": data("x")}]}
        )
        (source / f"{9 - number}.{ending}").write_text(json.dumps(document))
    (source / ".hidden.yaml").write_text("[")
    outcome = render(tmp_path / "out", sources=[str(source)], documents=[])
    assert outcome.result["sources"] == ["50-0", "50-1", "50-2", "50-4"]
