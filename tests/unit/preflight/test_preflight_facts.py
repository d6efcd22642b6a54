# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions in real shells: what is asked is understood, no secret leaves the node, and registries are asked as the tools do."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import (
    FactsNotUnderstood,
    NodeFacts,
    RegistryAnswer,
    parse_facts,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.preflight_questions import (
    FACTS,
    ask_registry,
    registry_answer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

SHELLS = [["sh"], ["busybox", "sh"], ["bash", "--posix"]]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PASSWORD = "hunter2"
DIGEST = "sha256:" + "1" * 64


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} on this machine")
    return words


def run(shell: Sequence[str], step: Step, directory: Path) -> Outcome:
    """The step's script in another shell, with the programs of ``directory`` before those of this machine."""
    argv = (*shell, *step.argv[1:])
    environment = {"PATH": f"{directory}:{PATH}", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
    return Outcome(step.argv, done.returncode, done.stdout, done.stderr)


def program(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


def asking(policy: Path, *auth: Path) -> Step:
    """The question with other files than those of this machine."""
    sh, dash_c, script, name, *_files = FACTS.argv
    return Step((sh, dash_c, script, name, str(policy), "/nonexistent", *map(str, auth)), timeout=30)


def auth_file(path: Path, *registries: str) -> Path:
    secret = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    path.write_text(json.dumps({"auths": {registry: {"auth": secret} for registry in registries}}, indent=2))
    return path


def test_what_a_machine_tells_is_understood(shell: list[str], tmp_path: Path) -> None:
    program(
        tmp_path,
        "systemctl",
        """case $1 in
        show) printf 'Id=zincati.service\\nActiveState=inactive\\nUnitFileState=\\n\\n'
          printf 'Id=rpm-ostreed-automatic.timer\\nActiveState=active\\nUnitFileState=enabled\\n' ;;
        list-units) echo 'one.service loaded failed failed Some words'; echo 'two.mount loaded failed failed More' ;;
        esac""",
    )
    key, lost = tmp_path / "key.pub", tmp_path / "lost.pub"
    key.write_text("a key")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "sigstoreSigned", "keyPaths": [str(key), str(lost)]}]}))
    first = auth_file(tmp_path / "first.json", "registry.example.com:5000/fleet", "quay.io")
    dangling = tmp_path / "dangling.json"
    dangling.symlink_to("/nonexistent")
    answer = run(shell, asking(policy, dangling, first, tmp_path / "absent.json"), tmp_path)
    assert answer.stderr == ""
    facts = parse_facts(answer.stdout)
    assert facts.time == pytest.approx(time.time(), abs=60)
    assert facts.machine
    usage = shutil.disk_usage("/var")
    assert facts.space["/var"].total == usage.total
    assert facts.space["/var"].available == pytest.approx(usage.free, rel=0.1)
    assert facts.read_only == ()
    assert facts.units == {"zincati.service": ("", "inactive"), "rpm-ostreed-automatic.timer": ("enabled", "active")}
    assert facts.enabled("rpm-ostreed-automatic.timer")
    assert facts.failed_units == ("one.service", "two.mount")
    assert facts.auth_registries == {str(first): ("registry.example.com:5000/fleet", "quay.io")}
    assert facts.dangling == (str(dangling),)
    assert facts.missing_keys == (str(lost),)


def test_no_secret_leaves_the_node(shell: list[str], tmp_path: Path) -> None:
    file = auth_file(tmp_path / "auth.json", "quay.io")
    document = json.loads(file.read_text())
    document["auths"]["quay.io"]["identitytoken"] = PASSWORD
    document["credHelpers"] = {"gcr.io": "helper"}
    file.write_text(json.dumps(document))
    answer = run(shell, asking(tmp_path / "none", file), tmp_path)
    words = [base64.b64decode(word[1:]).decode() for word in answer.stdout.split() if word.startswith(":")]
    assert "quay.io" in words
    told = answer.stdout + " ".join(words)
    assert PASSWORD not in told
    assert document["auths"]["quay.io"]["auth"] not in told


def test_a_machine_without_anything_answers_too(shell: list[str], tmp_path: Path) -> None:
    program(tmp_path, "systemctl", "exit 1")
    facts = parse_facts(run(shell, asking(tmp_path / "none"), tmp_path).stdout)
    assert facts.units == {}
    assert facts.auth_registries == {}


@pytest.mark.parametrize("text", ["", "time 1\n", "space /boot 1 2\nend\n", "dangling no-base64\nend\n"])
def test_an_answer_that_breaks_off_is_none(text: str) -> None:
    with pytest.raises(FactsNotUnderstood):
        parse_facts(text)


def test_what_is_left_out_is_unknown() -> None:
    assert parse_facts("end\n") == NodeFacts()


SKOPEO = 'case $1 in --version) ;; *) echo "$@" >&2; {} ;; esac'
IMAGE = ImageReference.parse(f"registry.example.com:5000/fleet/node@{DIGEST}")


def ask(shell: list[str], directory: Path, *auth: Path) -> RegistryAnswer:
    sh, dash_c, script, *words = ask_registry(IMAGE, 20).argv
    given = words[: -len(FACTS.argv[6:])]
    return registry_answer(run(shell, Step((sh, dash_c, script, *given, *map(str, auth)), timeout=20), directory))


def test_skopeo_is_given_the_first_auth_file_and_no_other(shell: list[str], tmp_path: Path) -> None:
    program(tmp_path, "skopeo", SKOPEO.format("exit 0"))
    second = auth_file(tmp_path / "second.json", "quay.io")
    answer = ask(shell, tmp_path, tmp_path / "first.json", second, auth_file(tmp_path / "third.json", "quay.io"))
    assert answer.by == "skopeo"
    assert answer.ok
    assert answer.authfile == str(second)
    assert answer.message.split() == [
        *("inspect", "--raw", "--authfile", str(second)),
        f"docker://registry.example.com:5000/fleet/node@{DIGEST}",
    ]


def test_without_an_auth_file_skopeo_asks_anonymously(shell: list[str], tmp_path: Path) -> None:
    """podman's login would count otherwise, which it does not for either tool."""
    program(tmp_path, "skopeo", SKOPEO.format("exit 1"))
    answer = ask(shell, tmp_path, tmp_path / "absent.json")
    assert (answer.by, answer.ok, answer.authfile) == ("skopeo", False, None)
    assert "--no-creds" in answer.message


def test_a_node_without_skopeo_asks_with_curl(shell: list[str], tmp_path: Path) -> None:
    program(tmp_path, "skopeo", "exit 127")
    program(tmp_path, "curl", 'for last; do :; done; echo "$last" >&2; echo status=401')
    answer = ask(shell, tmp_path)
    assert (answer.by, answer.ok, answer.status) == ("curl", True, 401)
    assert answer.message.strip() == f"https://registry.example.com:5000/v2/fleet/node/manifests/{DIGEST}"
