# SPDX-License-Identifier: GPL-3.0-or-later
"""host_files against a real file system: with the tools of this machine, and with nothing but busybox."""

from __future__ import annotations

import base64
import grp
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.host_files import wanted_files
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner

OWNER, GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
SECRET = "hunter2 hunter2"


class Shell(Runner):
    """A shell with the tools of one directory; remembers what went over the wire, and every argument that was passed."""

    def __init__(self, tools: Path | None) -> None:
        super().__init__()
        self.tools = tools
        self.stdout = ""

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        path = str(self.tools) if self.tools else os.environ["PATH"]
        shell = str(self.tools / "sh") if self.tools else "/bin/sh"
        script = script.replace(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "", 1)
        done = subprocess.run(
            [shell, "-s"], input=script.encode(), capture_output=True, env={"PATH": path}, check=False
        )
        self.stdout += done.stdout.decode()
        return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(params=["coreutils", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    if request.param == "coreutils":
        return Shell(None)
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        (tools / applet).symlink_to(busybox)
    return Shell(tools)


def item(path: Path | str, **fields: Any) -> dict[str, Any]:
    """One item of the option, with Ansible's defaults."""
    defaults = {"content": None, "content_b64": None, "state": "present", "mode": None, "secret": False}
    return {"path": str(path), "owner": OWNER, "group": GROUP, "live_link": "fail", **defaults, **fields}


def run(
    shell: Runner, *files: dict[str, Any], check: bool = False, show: bool = True, **options: Any
) -> dict[str, Any]:
    params = {"files": list(files), "exclusive": [], "directory_mode": "0755", "file_timeout": 20, **options}
    return wanted_files(params).on(shell, show=show).run(check_mode=check)


def etc(tmp_path: Path) -> Path:
    directory = tmp_path / "etc of this node"
    directory.mkdir(exist_ok=True)
    return directory


def mode_of(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def test_files_are_written_in_two_round_trips_and_left_alone_in_one(shell: Shell, tmp_path: Path) -> None:
    root = etc(tmp_path)
    wanted = (
        item(root / "a/b/plain.conf", content="one\ntwo"),
        item(root / "token", content=SECRET, secret=True),
        item(root / "blob", content_b64=base64.b64encode(bytes(range(256))).decode(), mode="0640"),
        item(root / "empty", content=""),
    )
    first = run(shell, *wanted)
    assert (first["changed"], shell.trips) == (True, 2)
    assert [file["changed"] for file in first["files"]] == [True] * 4
    assert (root / "a/b/plain.conf").read_text() == "one\ntwo"
    assert (root / "token").read_text() == SECRET
    assert (root / "blob").read_bytes() == bytes(range(256))
    assert (root / "empty").read_bytes() == b""
    modes = {name: mode_of(root / name) for name in ("a", "a/b", "a/b/plain.conf", "token", "blob")}
    assert modes == {"a": "0755", "a/b": "0755", "a/b/plain.conf": "0644", "token": "0600", "blob": "0640"}
    second = run(shell, *wanted)
    assert (second["changed"], second["diff"], shell.trips) == (False, [], 3)
    assert not list(root.rglob(".imagemode-*"))


def test_check_mode_says_what_the_real_run_says(shell: Shell, tmp_path: Path) -> None:
    root = etc(tmp_path)
    (root / "old").write_text("before\n")
    wanted = (
        item(root / "old", content="after\n"),
        item(root / "new", content="x"),
        item(root / "none", state="absent"),
    )
    predicted = run(shell, *wanted, check=True)
    assert ((root / "old").read_text(), (root / "new").exists()) == ("before\n", False)
    assert predicted == run(shell, *wanted)
    assert predicted["diff"][0] == {
        "before_header": str(root / "old"),
        "after_header": str(root / "old"),
        "before": "before\n",
        "after": "after\n",
    }


def test_mode_alone_is_a_change_with_its_own_diff(shell: Shell, tmp_path: Path) -> None:
    path = etc(tmp_path) / "file"
    path.write_text("same")
    path.chmod(0o666)
    result = run(shell, item(path, content="same"))
    assert (result["changed"], mode_of(path), len(result["diff"])) == (True, "0644", 1)
    assert "mode: 0666" in result["diff"][0]["before"]


def test_a_secret_is_seen_nowhere(shell: Shell, tmp_path: Path) -> None:
    path = etc(tmp_path) / "token"
    path.write_text("former secret")
    result = run(shell, item(path, content=SECRET, secret=True))
    encoded = base64.b64encode(SECRET.encode()).decode()
    for text in (repr(result), shell.stdout):
        assert not [
            word
            for word in (SECRET, encoded, "former secret", base64.b64encode(b"former secret").decode())
            if word in text
        ]
    assert result["files"][0]["sha256"] is None
    assert result["diff"][0]["before"] != result["diff"][0]["after"]


def test_a_secret_is_in_no_command_line(tmp_path: Path) -> None:
    scripts: list[str] = []

    class Recording(Shell):
        def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
            scripts.append(script)
            return super()._execute(script, limit)

    run(Recording(None), item(etc(tmp_path) / "token", content=SECRET, secret=True))
    assert all(SECRET not in text for text in scripts)
    encoded = base64.b64encode(SECRET.encode()).decode()[4:-4]
    carrying = [line for text in scripts for line in text.splitlines() if encoded in line]
    assert not [line for line in carrying if " " in line], "it stands alone in a document that a command reads"


def test_a_link_to_nothing_makes_way(shell: Shell, tmp_path: Path) -> None:
    path = etc(tmp_path) / "auth.json"
    path.symlink_to(tmp_path / "gone")
    result = run(shell, item(path, content="{}"))
    assert (path.is_symlink(), path.read_text(), (tmp_path / "gone").exists()) == (False, "{}", False)
    assert result["files"][0]["replaced_link"] == str(tmp_path / "gone")


def test_a_link_to_something_is_asked_about_and_never_written_through(shell: Shell, tmp_path: Path) -> None:
    path, target = etc(tmp_path) / "auth.json", tmp_path / "target"
    target.write_text("of somebody else")
    path.symlink_to(target)
    with pytest.raises(Refusal, match=r"is a symbolic link to .*target"):
        run(shell, item(path, content="{}"))
    result = run(shell, item(path, content="{}", live_link="replace"))
    assert (path.read_text(), target.read_text()) == ("{}", "of somebody else")
    assert "made way" in result["warnings"][0]


def test_removing_a_link_leaves_its_target(shell: Shell, tmp_path: Path) -> None:
    path, target = etc(tmp_path) / "link", tmp_path / "target"
    target.write_text("kept")
    path.symlink_to(target)
    assert run(shell, item(path, state="absent"))["changed"] is True
    assert (path.is_symlink(), target.read_text()) == (False, "kept")


def test_what_a_pattern_matches_and_nobody_wants_goes(shell: Shell, tmp_path: Path) -> None:
    root = etc(tmp_path)
    for name in ("fleet-old.conf", "fleet-kept.conf", "somebody.conf"):
        (root / name).write_text(name)
    (root / "fleet-directory.conf").mkdir()
    (root / "fleet-link.conf").symlink_to("somebody.conf")
    result = run(shell, item(root / "fleet-kept.conf", content="fleet-kept.conf"), exclusive=[f"{root}/fleet-*.conf"])
    assert sorted(path.name for path in root.iterdir()) == ["fleet-directory.conf", "fleet-kept.conf", "somebody.conf"]
    assert [file["path"] for file in result["files"] if file["changed"]] == [
        f"{root}/fleet-link.conf",
        f"{root}/fleet-old.conf",
    ]


def test_one_bad_file_leaves_all_others_as_they_were(shell: Shell, tmp_path: Path) -> None:
    root = etc(tmp_path)
    (root / "first").write_text("before")
    wanted = (item(root / "first", content="after"), item(root / "second", content="x", owner="nobody-of-that-name"))
    with pytest.raises(HostFailure, match=r"second could not be written: .*No file was changed") as failure:
        run(shell, *wanted)
    assert ((root / "first").read_text(), (root / "second").exists()) == ("before", False)
    assert failure.value.result["changed"] is False
    assert not list(root.rglob(".imagemode-*"))


def test_a_file_that_cannot_take_its_place_is_told_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = etc(tmp_path)
    tools = tmp_path / "broken"
    tools.mkdir()
    (tools / "mv").write_text(
        '#!/bin/sh\ncase "$*" in *second) echo "mv: no luck" >&2; exit 1 ;; esac\nexec /bin/mv "$@"\n'
    )
    (tools / "mv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(HostFailure) as failure:
        run(Shell(None), *(item(root / name, content=name) for name in ("first", "second", "third")))
    assert "second could not take its place: mv: no luck. Before it, " in str(failure.value)
    assert str(failure.value).endswith(f"{root}/third are as they were.")
    assert [file["changed"] for file in failure.value.result["files"]] == [True, False, False]
    assert sorted(found.name for found in root.iterdir()) == ["first"]


def test_a_node_without_base64_gets_no_empty_file(tmp_path: Path) -> None:
    tools = tmp_path / "few"
    tools.mkdir()
    busybox = shutil.which("busybox") or pytest.skip("busybox is not installed")
    for name in ("sh", "stat", "readlink", "sha256sum", "tr", "cat", "mv", "rm", "chmod", "chown", "sync", "mkdir"):
        (tools / name).symlink_to(busybox)
    for name in ("sleep", "grep", "kill"):
        (tools / name).symlink_to(busybox)
    path = etc(tmp_path) / "auth.json"
    # busybox runs its own applets before it looks at PATH, so a shell that has none is needed
    (tools / "sh").unlink()
    (tools / "sh").symlink_to("/bin/dash")
    with pytest.raises(HostFailure, match="base64"):
        run(Shell(tools), item(path, content="{}"))
    assert not path.exists()


NOT_WRITTEN: dict[str, tuple[dict[str, Any], str]] = {
    "below /usr": (item("/usr/lib/ostree/auth.json", content="{}"), "belongs to the image"),
    "a link of /usr": (item("/lib/systemd/system/a.service", content=""), "belongs to the image"),
    "a relative path": (item("etc/a", content=""), "beginning with a slash"),
    "a way around": (item("/etc/../usr/a", content=""), "'..'"),
    "a line break": (item("/etc/a\nb", content=""), "no path of a file"),
    "a mode without quotes": (item("/etc/a", content="", mode="420"), "four octal digits"),
    "no content": (item("/etc/a"), "either content or content_b64"),
    "two contents": (item("/etc/a", content="", content_b64=""), "either content or content_b64"),
    "content of an absent file": (item("/etc/a", content="", state="absent"), "Drop one"),
    "no base64": (item("/etc/a", content_b64="%"), "is not base64"),
    "an owner that is a sentence": (item("/etc/a", content="", owner="root; reboot"), "neither a name nor a number"),
}


@pytest.mark.parametrize("mistake", NOT_WRITTEN)
def test_a_mistake_is_refused_before_the_node_is_asked(mistake: str) -> None:
    wanted, said = NOT_WRITTEN[mistake]
    shell = Shell(None)
    with pytest.raises(Refusal, match=said):
        run(shell, wanted)
    assert shell.trips == 0


def test_a_directory_that_leads_into_the_image_is_refused(shell: Shell, tmp_path: Path) -> None:
    link = etc(tmp_path) / "conf.d"
    link.symlink_to("/usr/lib")
    with pytest.raises(Refusal, match="leads to /usr/lib/, which belongs to the image"):
        run(shell, item(link / "new/file", content=""))


@pytest.mark.parametrize("pattern", ["/etc/*.conf", "/*/fleet-a.conf", "/etc/fleet/*", "/etc/[a-z]*.conf", "fleet-*"])
def test_a_pattern_must_name_what_is_ours(pattern: str) -> None:
    with pytest.raises(Refusal):
        run(Shell(None), exclusive=[pattern])


def test_a_path_is_wanted_once() -> None:
    with pytest.raises(Refusal, match="wanted twice"):
        run(Shell(None), item("/etc/a", content="1"), item("/etc/a", content="2"))


def test_a_directory_is_in_the_way(shell: Shell, tmp_path: Path) -> None:
    root = etc(tmp_path)
    (root / "directory").mkdir()
    with pytest.raises(Refusal, match="is a directory"):
        run(shell, item(root / "directory", content=""))


def test_hostile_names_are_only_names(shell: Shell, tmp_path: Path) -> None:
    root = etc(tmp_path)
    names = ["$(touch pwned)", "`touch pwned`", "a'b\"c", "-rf", "*", "ü \\n %s", "; touch pwned #"]
    result = run(shell, *(item(root / name, content=name) for name in names))
    assert sorted(path.name for path in root.iterdir()) == sorted(names)
    assert [file["path"] for file in result["files"]] == [str(root / name) for name in names]
    assert all((root / name).read_text() == name for name in names)


def test_labels_are_restored_where_selinux_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "selinux"
    tools.mkdir()
    (tools / "restorecon").write_text(f'#!/bin/sh\necho "$1" >>"{tmp_path}/labelled"\ncase "$1" in *b) exit 1;; esac\n')
    (tools / "restorecon").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    root = etc(tmp_path)
    result = run(Shell(None), item(root / "new/a", content=""), item(root / "b", content=""))
    assert (tmp_path / "labelled").read_text().splitlines() == [str(root / "new"), str(root / "new/a"), str(root / "b")]
    assert result["warnings"] == [f"The SELinux label of {root}/b could not be restored."]
