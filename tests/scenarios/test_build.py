# SPDX-License-Identifier: GPL-3.0-or-later
"""layered_image_build with a real engine, a real skopeo and a real registry: keys, pushes, tags, what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_builder import CONTAINERFILE, Builder, tool, use_storage
from lab.images import build_base
from lab.registry import Registry


def test_a_file_that_ends_with_a_continuation_keeps_its_labels(builder: Builder) -> None:
    builder.containerfile.write_text("RUN echo hi > /usr/lib/said \\\n\n")
    result = builder.build(labels={"team": "fleet"})
    labels = _labels(builder.image)
    assert (labels["team"], labels["io.imagemode.input-key"]) == ("fleet", result["input_key"])
    assert builder.build(labels={"team": "fleet"})["action"] == "nothing"


def test_a_first_build_is_pushed_and_proven(builder: Builder) -> None:
    before = _blob_bytes(builder.registry)
    odd = "a \"b\" $HOME ${PATH} \\ 'c'"
    result = builder.build(labels={"team": "fleet", "odd": odd})
    uploaded = _blob_bytes(builder.registry) - before

    digest = builder.registry.digest(builder.name, "1")
    key_tag = f"1-{result['input_key'][:12]}"
    assert (result["changed"], result["action"], result["digest"]) == (True, "build", digest)
    assert result["image"] == f"{builder.registry.address}/{builder.name}@{digest}"
    assert result["expected_digests"] == [digest]
    assert list(result["platforms"].values()) == [digest]
    assert builder.registry.tags(builder.name) == ["1", key_tag]
    assert builder.registry.digest(builder.name, key_tag) == digest
    # what the registry stored beyond that is the manifest
    manifest = len(_raw_manifest(builder))
    assert result["pushed_bytes"] == uploaded - manifest
    labels = _labels(builder.image)
    assert labels["io.imagemode.input-key"] == result["input_key"]
    assert (labels["team"], labels["odd"]) == ("fleet", odd)
    log = Path(result["log"])
    assert log.stat().st_mode & 0o777 == 0o600
    assert "RUN mkdir /usr/lib/done" in log.read_text()
    assert "level=debug" not in log.read_text()


def test_the_same_inputs_build_nothing_and_push_nothing(builder: Builder) -> None:
    first = builder.build()
    shutil.rmtree(builder.directory / "work")  # the registry is the only memory
    log = builder.registry.directory / "registry.log"
    seen = log.stat().st_size
    start = time.monotonic()
    second = builder.build()
    seconds = time.monotonic() - start
    asked = log.read_bytes()[seen:]
    assert (second["changed"], second["action"], second["commands"], second["pushed_bytes"]) == (
        False,
        "nothing",
        [],
        0,
    )
    same = ("image", "digest", "expected_digests", "platforms", "input_key", "inputs", "reference")
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert not any(verb in asked for verb in (b'"PUT ', b'"POST ', b'"PATCH '))
    assert second["log"] is None
    assert second["diff"]["before"] == second["diff"]["after"]
    assert seconds < 1.0


def _context_content(builder: Builder) -> dict[str, Any]:
    (builder.context / "motd").write_text("hello\n")
    return {}


def _context_mode(builder: Builder) -> dict[str, Any]:
    (builder.context / "motd").chmod(0o755)
    return {}


def _context_file(builder: Builder) -> dict[str, Any]:
    (builder.context / "new").write_text("")
    return {}


def _containerfile(builder: Builder) -> dict[str, Any]:
    builder.containerfile.write_text(CONTAINERFILE + "RUN true\n")
    return {}


def _moved_base(builder: Builder) -> dict[str, Any]:
    build_base(builder.registry.address, "build/base", "moving", version="2.0")
    return {}


def _touched(builder: Builder) -> dict[str, Any]:
    os.utime(builder.context / "motd", (1, 1))
    return {}


def _ignored(builder: Builder) -> dict[str, Any]:
    (builder.context / "trace.log").write_text("x")
    return {}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        pytest.param(_touched, None, id="a file with a new time is the same"),
        pytest.param(_ignored, None, id="an ignored file does not count"),
        pytest.param(_context_content, "context", id="content of the context"),
        pytest.param(_context_mode, "context", id="permissions in the context"),
        pytest.param(_context_file, "context", id="a new file in the context"),
        pytest.param(_containerfile, "containerfile", id="the Containerfile"),
        pytest.param(_moved_base, "base", id="the base behind the same tag"),
        pytest.param(lambda _builder: {"build_args": {"GREETING": "hi"}}, "build_arg GREETING", id="a build argument"),
        pytest.param(lambda _builder: {"labels": {"a": "b"}}, "label a", id="a label"),
    ],
)
def test_what_makes_a_new_build_and_why(
    builder: Builder, change: Callable[[Builder], dict[str, Any]], differs: str | None
) -> None:
    (builder.context / ".containerignore").write_text("*.log\n")
    build_base(builder.registry.address, "build/base", "moving", version="1.0")
    base: dict[str, Any] = {"base": f"{builder.registry.address}/build/base:moving"}
    first = builder.build(**base)
    options = change(builder)

    result = builder.build(True, **base, **options)

    assert result["changed"] is (differs is not None)
    old = {(found["name"], found["hash"]) for found in first["inputs"]}
    new = {(found["name"], found["hash"]) for found in result["inputs"]}
    assert {name for name, _hash in old ^ new} == ({differs} if differs else set())
    changed_lines = set(result["diff"]["before"].splitlines()) ^ set(result["diff"]["after"].splitlines())
    assert {line.partition(": ")[0] for line in changed_lines} == ({differs} if differs else set())


def test_check_mode_predicts_the_commands_and_does_nothing(builder: Builder) -> None:
    predicted = builder.build(True)
    assert builder.registry.tags(builder.name) == []
    assert builder.images() == []
    assert not (builder.directory / "work").exists()
    assert (predicted["changed"], predicted["digest"], predicted["image"]) == (True, None, None)

    done = builder.build()

    same = ("changed", "action", "commands", "input_key", "inputs", "diff", "reference")
    assert {name: predicted[name] for name in same} == {name: done[name] for name in same}
    again = builder.build(True)
    assert (again["changed"], again["digest"]) == (False, done["digest"])


def test_the_users_files_are_never_written_to(builder: Builder) -> None:
    text = f"FROM {builder.registry.address}/os:base\nCOPY motd /usr/lib/motd\n"
    before = sorted(path.name for path in builder.context.rglob("*"))
    builder.build(base=None, containerfile=None, containerfile_content=text)
    assert sorted(path.name for path in builder.context.rglob("*")) == before
    assert builder.containerfile.read_text() == CONTAINERFILE


def test_the_same_inputs_give_the_same_digest_on_another_host(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = builder.build()
    use_storage(builder.directory / "other-storage", monkeypatch)
    os.utime(builder.context / "motd", (1, 1))
    elsewhere = f"{builder.registry.address}/{builder.name}-elsewhere:1"
    builder.containerfile.write_text(CONTAINERFILE.replace("hello", "another"))
    builder.build(image=elsewhere)  # fills the cache of the other host with something similar
    builder.containerfile.write_text(CONTAINERFILE)
    second = builder.build(image=elsewhere, work_dir=str(builder.directory / "other-work"))
    assert second["action"] == "build"
    assert second["digest"] == first["digest"]


def test_a_tag_that_was_moved_is_moved_back_without_a_build(builder: Builder) -> None:
    first = builder.build()
    other = build_base(builder.registry.address, builder.name, "1", version="9.9")
    assert builder.registry.digest(builder.name, "1") != first["digest"]
    predicted = builder.build(True)
    result = builder.build()
    assert (result["changed"], result["action"], result["pushed_bytes"]) == (True, "retag", 0)
    assert [argv[1] for argv in result["commands"]] == ["copy"]
    assert predicted["commands"] == result["commands"]
    assert builder.registry.digest(builder.name, "1") == first["digest"] == result["digest"]
    assert other.rpartition("@")[2] != first["digest"]


def test_a_foreign_image_under_the_second_tag_is_not_taken_for_ours(builder: Builder) -> None:
    key = builder.build(True)["input_key"]
    foreign = build_base(builder.registry.address, builder.name, f"1-{key[:12]}")
    result = builder.build()
    assert result["action"] == "build"
    assert result["digest"] != foreign.rpartition("@")[2]
    assert _labels(builder.image)["io.imagemode.input-key"] == key


def test_a_change_in_the_last_step_runs_only_that_step_and_pushes_little(builder: Builder) -> None:
    builder.containerfile.write_text(
        "RUN dd if=/dev/urandom of=/usr/lib/big bs=1024 count=512\nCOPY motd /usr/lib/motd\n"
    )
    first = builder.build()
    assert first["pushed_bytes"] > 512 * 1024
    (builder.context / "motd").write_text("hello\n")
    second = builder.build()
    assert second["action"] == "build"
    assert "Using cache" in Path(second["log"]).read_text()
    assert second["pushed_bytes"] < 8 * 1024


def test_layers_of_older_builds_do_not_fill_the_disk(builder: Builder) -> None:
    counts = []
    for number in range(3):
        builder.containerfile.write_text(CONTAINERFILE.replace("hello", f"hello {number}"))
        builder.build()
        counts.append(len(builder.images()))
    assert counts[1] == counts[2] == counts[0]
    builder.build(layer_cache=False, force=True)
    assert builder.images() == []


def test_without_layer_cache_nothing_is_left(builder: Builder) -> None:
    builder.build(layer_cache=False)
    assert builder.images() == []
    assert tool("buildah", "containers", "--quiet") == ""


def test_images_of_somebody_else_stay(builder: Builder) -> None:
    base = f"{builder.registry.address}/os:base"
    tool("buildah", "pull", "--tls-verify=false", base)
    tool("buildah", "tag", base, "localhost/mine:1")
    before = builder.images()
    builder.build(layer_cache=False)
    assert builder.images() == before


def test_a_build_that_is_not_pushed_stays_in_local_storage(builder: Builder) -> None:
    first = builder.build(push=False)
    assert (first["action"], first["image"], first["pushed_bytes"]) == ("build", None, 0)
    assert first["msg"].startswith(
        f"{builder.image} is in the storage of the build host (built, 0 bytes pushed, input key "
    )
    assert builder.registry.tags(builder.name) == []
    assert builder.build(push=False)["changed"] is False
    tool("buildah", "rmi", builder.image)
    tagged = builder.build(push=False)
    assert (tagged["action"], tagged["changed"]) == ("retag", True)
    assert "(tagged again, " in tagged["msg"]
    assert builder.build(push=False)["changed"] is False


def test_force_builds_again(builder: Builder) -> None:
    first = builder.build()
    second = builder.build(force=True)
    assert (second["action"], second["changed"]) == ("build", True)
    assert second["digest"] == first["digest"]
    assert "Using cache" not in Path(second["log"]).read_text()


def test_two_builds_at_once_build_once(builder: Builder) -> None:
    builder.containerfile.write_text(CONTAINERFILE + "RUN sleep 1\n")
    program = (
        "import json, sys\n"
        "from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build\n"
        "print(json.dumps(layered_build(json.loads(sys.argv[1]), False).result))\n"
    )
    argv = [sys.executable, "-c", program, json.dumps(builder.params())]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _unused in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert sorted(result["action"] for result in results) == ["build", "nothing"]
    assert results[0]["digest"] == results[1]["digest"]


def test_a_context_that_changes_under_the_build_is_not_pushed(builder: Builder) -> None:
    builder.containerfile.write_text("COPY motd /usr/lib/motd\nRUN echo copied; sleep 2\n")
    work = builder.directory / "work"

    def disturb() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and not any("copied\n" in log.read_text() for log in work.rglob("*.log")):
            time.sleep(0.05)
        (builder.context / "motd").write_text("changed\n")

    thread = threading.Thread(target=disturb)
    thread.start()
    outcome = builder.outcome()
    thread.join()
    assert outcome.failed
    assert outcome.result["failure"]["category"] == "input"
    assert "changed while the image was built" in outcome.result["msg"]
    assert builder.registry.tags(builder.name) == []


def test_the_base_of_the_final_stage_is_replaced_and_pinned(builder: Builder, base_image: str) -> None:
    address = builder.registry.address
    other = build_base(address, "build/tools", "1", extra_files={"/usr/lib/tool": "tool"})
    builder.containerfile.write_text(
        f"ARG T=1\nFROM {address}/build/tools:$T AS tools\nFROM base\nCOPY --from=tools /usr/lib/tool /usr/lib/tool\n"
    )
    result = builder.build()
    names = {found["name"]: found["hash"] for found in result["inputs"]}
    assert names["base"] == base_image.rpartition("@")[2]
    assert names[f"image {address}/build/tools:1"] == other.rpartition("@")[2]


def test_a_final_stage_on_another_image_than_the_base_is_refused_with_its_line(builder: Builder) -> None:
    builder.containerfile.write_text("# ours\nFROM nowhere.example.com/does/not:exist\nRUN true\n")
    failure = builder.outcome().result["failure"]
    assert (failure["category"], failure["line"]) == ("input", 2)
    assert "is built FROM nowhere.example.com/does/not:exist, but the option base is" in failure["message"]


@pytest.mark.skipif(
    not (shutil.which("podman") and (shutil.which("crun") or shutil.which("runc"))),
    reason="podman and an OCI runtime are not installed",
)
def test_podman_makes_of_the_same_inputs_what_buildah_would_take_for_its_own(builder: Builder) -> None:
    first = builder.build(engine="podman", isolation="chroot")
    assert (first["action"], first["digest"]) == ("build", builder.registry.digest(builder.name, "1"))
    assert builder.build(engine="buildah")["changed"] is False
    builder.build(engine="podman", isolation="chroot", force=True, layer_cache=False)
    assert builder.images() == []


def _blob_bytes(registry: Registry) -> int:
    return sum(path.stat().st_size for path in (registry.directory / "storage").rglob("blobs/sha256/*/*/data"))


def _raw_manifest(builder: Builder) -> str:
    return tool("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{builder.image}")


def _labels(image: str) -> dict[str, str]:
    document = json.loads(tool("skopeo", "inspect", "--config", "--tls-verify=false", f"docker://{image}"))
    labels: dict[str, str] = document["config"]["Labels"]
    return labels
