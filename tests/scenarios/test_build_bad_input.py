# SPDX-License-Identifier: GPL-3.0-or-later
"""layered_image_build when what it is given, or what it works with, is broken: registries, certificates, disks, rivals.

Each has a category of its own and a message that says what was seen and what to do; nothing is half pushed, and the next
run succeeds as soon as the cause is gone. Mistakes in the Containerfile and in options are in test_build_failures.py.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import retry
from faulty_registry import CutOff, Fault, FaultyRegistry, Refused, faulty_registry
from image_builder import Builder, builder_of, tool, use_storage
from lab.authority import VALID, Authority
from lab.images import build_base
from lab.registry import Registry

PUSHES = r"(POST|PUT|PATCH) "
UPLOADS = r"(PUT|PATCH) .*/blobs/"
DOWNLOADS = r"GET .*/blobs/"
NOISE = "RUN dd if=/dev/urandom of=/usr/lib/noise bs=1024 count=1024\n"
PROGRAM = (
    "import json, sys\n"
    "from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build\n"
    "print(json.dumps(layered_build(json.loads(sys.argv[1]), False).result), flush=True)\n"
)


@pytest.fixture
def builder(
    tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Builder]:
    assert base_image
    monkeypatch.setattr(retry, "RETRY_DELAYS", (0.0, 0.0))
    yield from builder_of(tmp_path, registry, monkeypatch, request)


@pytest.fixture
def way(registry: Registry) -> Iterator[FaultyRegistry]:
    with faulty_registry(registry.address) as running:
        yield running


def fail(builder: Builder, category: str, *, retryable: bool, **options: Any) -> str:
    """The message of a build that must not work, and must leave neither container nor tag."""
    before = builder.registry.digest(builder.name, "1")
    outcome = builder.outcome(**options)
    assert outcome.failed, outcome.result
    failure = outcome.result["failure"]
    assert (failure["category"], failure["retryable"]) == (category, retryable), failure
    assert builder.registry.digest(builder.name, "1") == before
    assert tool("buildah", "containers", "--quiet") == ""
    message = str(failure["message"])
    assert outcome.result["msg"] == message
    assert len(message) < 1200, message
    return message


def whole(builder: Builder, tag: str = "1") -> str:
    """The digest of a tag whose image can be had with all its layers."""
    target = builder.directory / f"copy-{time.monotonic_ns()}"
    tool("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{builder.image[:-1]}{tag}", f"dir:{target}")
    return str(builder.registry.digest(builder.name, tag))


def authfile(path: Path, address: str) -> str:
    token = base64.b64encode(b"ci:correct-horse-battery").decode()
    path.write_text(json.dumps({"auths": {address: {"auth": token}}}))
    return str(path)


def test_a_base_that_was_there_and_is_gone(builder: Builder, registry: Registry) -> None:
    build_base(registry.address, "build/leaving", "1", version="7")
    options = {"base": f"{registry.address}/build/leaving:1"}
    built = builder.build(**options)
    registry.delete("build/leaving", built["base"].rpartition("@")[2])
    message = fail(builder, "base_pull", retryable=False, **options)
    assert f"has no {registry.address}/build/leaving:1: check the spelling of the repository and the tag" in message
    assert whole(builder) == built["digest"]


@pytest.mark.parametrize(
    ("status", "code", "answer", "says"),
    [
        (
            403,
            "DENIED",
            "requested access to the resource is denied",
            "refuses this to the account in {authfile}: it has no permission for",
        ),
        (
            401,
            "UNAUTHORIZED",
            "authentication required",
            "wants a login, and the credentials in {authfile} did not satisfy it",
        ),
    ],
)
def test_an_account_that_may_pull_but_not_push(
    builder: Builder, way: FaultyRegistry, tmp_path: Path, status: int, code: str, answer: str, says: str
) -> None:
    options = {
        "image": f"{way.address}/{builder.name}:1",
        "push_authfile": authfile(tmp_path / "push.json", way.address),
    }
    way.faults = [Refused(PUSHES, status, code, answer)]
    message = fail(builder, "push", retryable=False, **options)
    assert says.format(authfile=tmp_path / "push.json") in message
    assert "skopeo login --authfile" in message
    assert builder.registry.tags(builder.name) == []

    way.faults = []
    builder.build(**options)
    assert len(builder.registry.tags(builder.name)) == 2
    whole(builder)


def test_a_connection_that_is_cut_within_a_blob_once_is_made_again(builder: Builder, way: FaultyRegistry) -> None:
    builder.containerfile.write_text(NOISE)
    way.faults = [cut := CutOff(UPLOADS, 300_000, times=1), lost := CutOff(DOWNLOADS, 100_000, times=1)]
    built = builder.build(image=f"{way.address}/{builder.name}:1", base=f"{way.address}/os:base")
    assert (cut.hits, lost.hits) == (1, 1)
    assert whole(builder) == built["digest"]


@pytest.mark.parametrize(
    ("fault", "category", "base"),
    [
        (lambda: CutOff(UPLOADS, 300_000), "push", "{registry}"),
        (lambda: CutOff(DOWNLOADS, 100_000), "base_pull", "{way}"),
    ],
    ids=["sending", "fetching"],
)
def test_a_connection_that_is_cut_within_every_blob(
    builder: Builder, way: FaultyRegistry, fault: Callable[[], Fault], category: str, base: str
) -> None:
    builder.containerfile.write_text(NOISE)
    address = base.format(registry=builder.registry.address, way=way.address)
    options = {"image": f"{way.address}/{builder.name}:1", "base": f"{address}/os:base"}
    way.faults = [cut := fault()]
    message = fail(builder, category, retryable=True, **options)
    assert cut.hits >= 3
    assert f"The connection to {way.address} was made, and dropped in the middle. Run again" in message
    assert "logs of the registry and of the proxies" in message
    assert message.endswith(("connection reset by peer", "broken pipe", "use of closed network connection", "EOF"))
    assert builder.registry.tags(builder.name) == []

    way.faults = []
    assert builder.build(**options)["digest"] == whole(builder)


def test_a_tag_that_cannot_be_written_is_written_by_the_next_run_without_a_build(
    builder: Builder, way: FaultyRegistry
) -> None:
    options = {"image": f"{way.address}/{builder.name}:1"}
    old = builder.build(**options)
    builder.containerfile.write_text("RUN true\n")
    way.faults = [Refused(r"PUT .*/manifests/1$", 500, "UNKNOWN", "disk of the registry")]
    message = fail(builder, "push", retryable=True, **options)
    assert "is overloaded, limits requests, or is broken itself" in message
    assert whole(builder) == old["digest"]

    way.faults = []
    result = builder.build(**options)
    assert (result["action"], result["pushed_bytes"]) == ("retag", 0)
    assert whole(builder) == result["digest"] != old["digest"]


@contextlib.contextmanager
def tls_way(registry: Registry, authority: Authority, directory: Path) -> Iterator[FaultyRegistry]:
    directory.mkdir()
    with faulty_registry(registry.address, authority.issue(directory)) as running:
        yield running


def test_certificates(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    """Each kind of distrust needs something else done."""
    good = Authority.create(tmp_path / "good")
    other = Authority.create(tmp_path / "other", common_name="Other Authority")
    expired = Authority.create(tmp_path / "expired", valid=datetime.timedelta(hours=-1))
    situations = {
        "no CA": (good, None, ("is not trusted here: no CA that this host knows", "in the option ca_file")),
        "another CA": (good, other, ("is not trusted here", "if that is given, it is another CA's")),
        "expired": (expired, expired, ("has expired or is not valid yet", "If the clock of this host is right")),
        "the CA expired": (dataclasses.replace(expired, valid=VALID), expired, ("or of the CA that signed it, has expired",)),
        "another name": (
            dataclasses.replace(good, names=("registry.lab",)),
            good,
            ("is for other names than the one by which the registry was called",),
        ),
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        for number, (name, (authority, trusted, says)) in enumerate(situations.items()):
            way = stack.enter_context(tls_way(registry, authority, tmp_path / str(number)))
            options = {
                "base": f"{way.address}/os:base",
                "image": f"{way.address}/{builder.name}:1",
                "validate_certs": None,
                "ca_file": str(trusted.certificate) if trusted else None,
            }
            message = fail(builder, "base_pull", retryable=False, **options)
            assert all(text in message for text in (way.address, *says)), (name, message)
            assert "x509: " in message
        way = stack.enter_context(tls_way(registry, good, tmp_path / "right"))
        built = builder.build(
            base=f"{way.address}/os:base",
            image=f"{way.address}/{builder.name}:1",
            validate_certs=None,
            ca_file=str(good.certificate),
        )
    assert whole(builder) == built["digest"]


class SmallDisk:
    """A file system of its own, `size` as mount writes it."""

    def __init__(self, place: Path, size: str) -> None:
        self.place = place
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("file systems cannot be mounted here")

    def grow(self) -> None:
        tool("mount", "-o", "remount,size=256m", str(self.place))


@pytest.fixture
def small_disk(builder: Builder) -> Iterator[Callable[[str], SmallDisk]]:
    """Made after the builder, so that it is gone before the builder cleans its own storage."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount file systems")
    place = builder.directory / "small"
    yield lambda size: SmallDisk(place, size)
    subprocess.run(["buildah", "rmi", "--all", "--force"], capture_output=True, check=False)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mounted in reversed(mounts):
        if Path(mounted) == place or place in Path(mounted).parents:
            subprocess.run(["umount", "--lazy", mounted], check=True)


@pytest.mark.parametrize("size", ["600k", "5m"], ids=["while the base is fetched", "within a step"])
def test_a_full_disk_under_the_container_storage(
    builder: Builder, small_disk: Callable[[str], SmallDisk], monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    builder.containerfile.write_text(NOISE.replace("1024\n", "4096\n"))
    disk = small_disk(size)
    use_storage(disk.place / "storage", monkeypatch)
    message = fail(builder, "disk", retryable=False)
    assert "The disk of the build host is full" in message
    assert "Free space where it wanted to write (`df -h`" in message
    assert "no space left on device" in message.lower()
    disk.grow()
    assert builder.build()["digest"] == whole(builder)


@pytest.mark.parametrize("size", ["4k", "512k"], ids=["nothing can be written", "no room for the search for secrets"])
def test_a_full_disk_under_the_working_directory(
    builder: Builder, small_disk: Callable[[str], SmallDisk], size: str
) -> None:
    builder.containerfile.write_text(NOISE)
    disk = small_disk(size)
    work = disk.place / "work"
    secret = {"id": "token", "src": None, "value": "s3cr3t-" + "of-the-fleet", "version": "1"}
    options = {"work_dir": str(work), "secrets": [secret]}
    message = fail(builder, "disk", retryable=False, **options)
    assert "disk" in message
    assert str(work) in message
    assert "then run again" in message
    left = [path.name for path in work.rglob("*") if path.is_dir() and path.name.startswith(("private", "image-"))]
    assert left == []
    disk.grow()
    assert builder.build(**options)["digest"] == whole(builder)


def test_a_secret_that_a_step_prints_into_a_file_is_not_pushed_and_the_corrected_file_is(builder: Builder) -> None:
    value = "s3cr3t-" + "of-the-fleet"
    options = {"secrets": [{"id": "token", "src": None, "value": f"{value}\n", "version": "1"}]}
    mounted = "RUN --mount=type=secret,id=token "
    builder.containerfile.write_text(f'{mounted}echo "token=$(cat /run/secrets/token)" > /etc/agent.conf\n')
    message = fail(builder, "leak", retryable=False, **options)
    assert all(word in message for word in ("secret token", "/etc/agent.conf", "was not pushed"))
    assert value not in message
    assert builder.registry.tags(builder.name) == []
    builder.containerfile.write_text(f"{mounted}test -s /run/secrets/token\n")
    assert builder.build(**options)["digest"] == whole(builder)


def test_two_builds_of_different_inputs_at_once_both_succeed_and_the_tag_names_the_last(builder: Builder) -> None:
    texts = ("RUN echo started; sleep 2; echo first > /usr/lib/who\n", "RUN echo second > /usr/lib/who\n")
    running = []
    for text in texts:
        chosen = builder.params(containerfile=None, containerfile_content=text)
        argv = [sys.executable, "-c", PROGRAM, json.dumps(chosen)]
        running.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        end = time.monotonic() + 30
        while not any("started\n" in log.read_text() for log in (builder.directory / "work").rglob("*.log")):
            assert time.monotonic() < end, "the first build never reached its step"
            time.sleep(0.05)
    first, second = (json.loads(process.communicate(timeout=60)[0]) for process in running)
    assert (first["action"], second["action"]) == ("build", "build")
    assert first["digest"] != second["digest"]
    assert whole(builder) == second["digest"]
    assert whole(builder, f"1-{first['input_key'][:12]}") == first["digest"]
