# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions about a boot, put to real shells: which deployment /usr is, and when a boot is another one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment
from ansible_collections.imagemode.nodes.plugins.module_utils._core.usr_proof import Evidence, parse_usr_witness
from ansible_collections.imagemode.nodes.plugins.module_utils._host.boot_questions import (
    BOOT_ID,
    USR_WITNESS,
    is_prepared,
    new_boot,
    same_boot,
    still_next,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step

SHELLS = [["sh"], ["bash", "--posix"], ["busybox", "sh"]]


def ask(step: Step, shell: list[str], *moved: tuple[str, str], path: str = "/usr/bin:/bin") -> tuple[int, str]:
    """Run a step's script with places of the machine exchanged for others; its exit code and output."""
    _sh, _option, script, *words = step.argv
    for place, other in moved:
        script = script.replace(place, other)
    done = subprocess.run(
        [*shell, "-c", script, *words], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def tree(root: Path, name: str, version: str, program: str = "#!/bin/sh\n") -> Path:
    usr = root / "ostree/deploy/default/deploy" / name / "usr"
    (usr / "lib").mkdir(parents=True)
    (usr / "share/lab").mkdir(parents=True)
    (usr / "bin").mkdir()
    (usr / "lib/os-release").write_text(f"VERSION={version}\n")
    (usr / "bin/program").write_text(program)
    return usr


def witness(
    root: Path, usr: Path, shell: list[str], path: str = "/usr/bin:/bin"
) -> tuple[Evidence | None, frozenset[str]]:
    rc, out = ask(USR_WITNESS, shell, ("/ostree/", f"{root}/ostree/"), (" /usr", f" {usr}"), path=path)
    assert rc == 0
    found = parse_usr_witness(out)
    return found.evidence, found.checksums


@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_usr_is_told_by_its_inode_or_else_by_its_content(tmp_path: Path, shell: list[str]) -> None:
    one, two = tree(tmp_path, "aaa.0", "1"), tree(tmp_path, "bbb.1", "2")
    assert witness(tmp_path, one, shell) == (Evidence.INODE, frozenset({"aaa"}))
    copy = tmp_path / "composefs"
    shutil.copytree(two, copy)
    assert witness(tmp_path, copy, shell) == (Evidence.CONTENT, frozenset({"bbb"}))
    tree(tmp_path, "ccc.0", "2")
    assert witness(tmp_path, copy, shell) == (Evidence.CONTENT, frozenset({"bbb", "ccc"}))
    (copy / "bin/program").write_text("changed by hand\n")
    assert witness(tmp_path, copy, shell) == (None, frozenset())


# Below a directory of the name `composefs`, files are found in another order.
FIND = """#!/bin/bash
case $PWD in */composefs) ;; *) exec /usr/bin/find "$@" ;; esac
words=("$@"); for at in "${!words[@]}"; do [ "${words[at]}" != -exec ] || break; done
command=("${words[@]:at+1:$#-at-3}")
/usr/bin/find "${words[@]:0:at}" -print0 | sort -rz | xargs -0 "${command[@]}"
"""


def test_the_order_in_which_a_composefs_lists_its_files_hid_what_usr_is(tmp_path: Path) -> None:
    usr = tree(tmp_path, "aaa.0", "1")
    for name in "abc":
        (usr / "share/lab" / name).write_text(f"{name} without a newline at its end")
    shutil.copytree(usr, tmp_path / "composefs")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "find").write_text(FIND)
    (tools / "find").chmod(0o755)
    found = witness(tmp_path, tmp_path / "composefs", ["sh"], path=f"{tools}:/usr/bin:/bin")
    assert found == (Evidence.CONTENT, frozenset({"aaa"}))


def test_where_nothing_is_deployed_nothing_is_told(tmp_path: Path) -> None:
    assert witness(tmp_path, tmp_path, ["sh"]) == (None, frozenset())


GATES = {
    # boot id and count before, boot id and count now -> whether it is the same boot, whether a new one
    ("one", 0, "one", "0"): (True, False),
    ("one", 0, "two", "0"): (False, True),
    ("one", 0, "one", "1"): (False, True),
    ("one", None, "one", "1"): (True, False),
    ("one", None, "two", ""): (False, True),
    ("one", 1, "one", ""): (False, False),
    ("one", 0, "", "0"): (False, False),
}


@pytest.mark.parametrize("situation", GATES)
@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_when_a_boot_is_another(situation: tuple[str, int | None, str, str], shell: list[str], tmp_path: Path) -> None:
    before, count_before, now, count_now = situation
    (tmp_path / "boot_id").write_text(f"{now}\n")
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho '{count_now}'\n")
    systemctl.chmod(0o755)
    answers = [
        ask(gate(before, count_before), shell, (BOOT_ID, str(tmp_path / "boot_id")), path=f"{tmp_path}:/usr/bin:/bin")[
            0
        ]
        for gate in (same_boot, new_boot)
    ]
    assert (answers[0] == 0, answers[1] == 0) == GATES[situation]


def test_which_deployment_is_prepared(tmp_path: Path) -> None:
    ostree = tmp_path / "ostree"
    ostree.write_text("#!/bin/sh\necho '  debian aaa.2 (staged) (soft-reboot)'; echo '* debian bbb.0'\n")
    ostree.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    assert ask(is_prepared("aaa"), ["sh"], path=path)[0] == 0
    assert ask(is_prepared("bbb"), ["sh"], path=path)[0] != 0
    assert ask(is_prepared("aa"), ["sh"], path=path)[0] != 0


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("  os abc.1 (staged)\n* os abc.0\n", True),
        ("  os abc.1 (staged) (soft-reboot)\n* os abc.0\n", True),
        ("  os abc.1 (pending)\n* os abc.0\n", True),
        ("  os abc.1 (finalization locked)\n* os abc.0\n", False),
        ("* os abc.0\n  os abc.1 (rollback)\n", False),
        ("  os abc.11 (staged)\n* os abc.0\n", False),
        ("  os def.0 (finalization locked)\n    Version: 1\n  os abc.1 (pending)\n* os abc.0\n", True),
        ("  os def.0 (staged)\n    Version: 1\n  os abc.1 (pending)\n* os abc.0\n", False),
        ("  other abc.1\n* os abc.0\n", True),
    ],
)
@pytest.mark.parametrize("shell", SHELLS, ids=str)
def test_what_is_still_next(answer: str, wanted: bool, shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(answer)
    tool = tmp_path / "ostree"
    tool.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    tool.chmod(0o755)
    rc, _out = ask(still_next(Deployment(None, "abc", 1)), shell, path=f"{tmp_path}:/usr/bin:/bin")
    assert (rc == 0) is wanted


def test_where_ostree_cannot_be_asked_nothing_is_in_the_way() -> None:
    assert ask(still_next(Deployment(None, "abc", 1)), ["sh"], path="/usr/bin:/bin")[0] == 0
    assert ask(still_next(Deployment(None, "verity", None)), ["sh"])[0] == 0
