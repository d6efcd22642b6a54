# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and images that were not recorded: other versions of bootc, composefs hosts, bound images, failures at the end.

What is asserted here follows bootc's sources (crates/lib/src: status.rs, spec.rs, cli.rs, deploy.rs, boundimage.rs).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from recorded_world import HostUnderTest
from small_images import layer, userland

MakeHost = Callable[..., HostUnderTest]


def document(host: HostUnderTest) -> dict[str, Any]:
    text = host.ok("bootc status --json")
    found: dict[str, Any] = json.loads(text[text.index("{") :])
    return found


# status of other versions


def entry_keys(*more: str) -> set[str]:
    return {"image", "incompatible", "pinned", "ostree", *more}


SHAPES = [
    ("0.1.5", "v1alpha1", {"isContainer"}, entry_keys(), set()),
    ("0.1.9", "v1alpha1", {"type"}, entry_keys("cachedUpdate"), set()),
    ("0.1.14", "v1alpha1", {"type", "rollbackQueued"}, entry_keys("cachedUpdate", "store"), set()),
    ("0.1.16", "v1", {"type", "rollbackQueued"}, entry_keys("cachedUpdate", "store"), set()),
    ("1.1.7", "v1", {"type", "rollbackQueued"}, entry_keys("cachedUpdate", "store"), {"architecture"}),
    (
        *("1.8.0", "v1", {"type", "rollbackQueued"}),
        *(entry_keys("cachedUpdate", "store", "softRebootCapable"), {"architecture"}),
    ),
    (
        *("1.12.1", "v1", {"type", "rollbackQueued"}),
        *(entry_keys("cachedUpdate", "store", "softRebootCapable", "downloadOnly", "composefs"), {"architecture"}),
    ),
    (
        *("1.15.2", "v1", {"type", "rollbackQueued", "usrOverlay"}),
        *(entry_keys("cachedUpdate", "store", "softRebootCapable", "downloadOnly", "composefs"), {"architecture"}),
    ),
    (
        *("1.16.9", "v1", {"type", "rollbackQueued", "usrOverlay", "readOnly"}),
        *(entry_keys("cachedUpdate", "store", "softRebootCapable", "downloadOnly", "composefs"), {"architecture"}),
    ),
]


@pytest.mark.parametrize(("version", "api", "status", "entry", "image"), SHAPES, ids=[shape[0] for shape in SHAPES])
def test_each_version_has_its_own_keys(
    make_host: MakeHost, version: str, api: str, status: set[str], entry: set[str], image: set[str]
) -> None:
    found = document(make_host(bootc=version))
    assert found["apiVersion"] == f"org.containers.bootc/{api}"
    assert set(found["status"]) == {"staged", "booted", "rollback", *status}
    assert set(found["status"]["booted"]) == entry
    assert set(found["status"]["booted"]["image"]) == {"image", "version", "timestamp", "imageDigest", *image}
    has_stateroot = tuple(int(part) for part in version.split(".")) >= (1, 3)
    assert ("stateroot" in found["status"]["booted"]["ostree"]) is has_stateroot


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("status --format=json", "0.1.13"),
        ("switch --enforce-container-sigpolicy IMAGE", "0.1.5"),
        ("switch --apply IMAGE", "0.1.16"),
        ("switch --soft-reboot=auto IMAGE", "1.7.0"),
        ("upgrade --soft-reboot=auto", "1.7.0"),
        ("upgrade --download-only", "1.12.0"),
        ("upgrade --from-downloaded", "1.12.0"),
        ("upgrade --tag v1", "1.15.0"),
        ("usr-overlay --read-only", "1.15.0"),
        ("rollback", "0.1.10"),
    ],
)
def test_an_option_is_an_error_before_the_version_that_brought_it(
    make_host: MakeHost, command: str, first: str
) -> None:
    *start, last = first.split(".")
    before = ".".join([*start, str(int(last) - 1)]) if int(last) else f"{start[0]}.{int(start[1]) - 1}.9"
    for version, refused in ((before, True), (first, False)):
        host = make_host(bootc=version)
        done = host.sh(f"bootc {command.replace('IMAGE', f'{host.world.open}/os:v1')}")
        assert (done.returncode == 2) is refused, f"{version}: {done.stderr}"


# composefs hosts


@pytest.fixture
def composefs(make_host: MakeHost) -> HostUnderTest:
    return make_host(backend="composefs")


def test_a_composefs_host_shows_composefs_and_no_ostree(composefs: HostUnderTest) -> None:
    booted = document(composefs)["status"]["booted"]
    assert (booted["ostree"], booted["store"]) == (None, None)
    assert set(booted["composefs"]) == {"verity", "bootType", "bootloader", "bootDigest", "missingVerityAllowed"}
    assert len(booted["composefs"]["verity"]) == 128
    assert booted["image"]["image"]["image"].endswith("/os:v1")
    for tool in ("rpm-ostree", "ostree"):
        assert composefs.sh(f"{tool} status").returncode == 127


def test_a_composefs_host_stages_and_boots_without_words_of_success(composefs: HostUnderTest) -> None:
    done = composefs.sh(f"bootc switch {composefs.world.open}/os:v2")
    assert (done.returncode, "Queued for next boot" in done.stdout) == (0, False)
    assert document(composefs)["status"]["staged"]["image"]["image"]["image"].endswith("/os:v2")
    composefs.reboot()
    status = document(composefs)["status"]
    assert status["booted"]["image"]["version"] == "2.0"
    composefs.ok("bootc rollback")
    assert document(composefs)["status"]["rollbackQueued"] is True
    composefs.reboot()
    assert document(composefs)["status"]["booted"]["image"]["version"] == "1.0"


def test_a_composefs_host_refuses_content_that_is_deployed_already(composefs: HostUnderTest) -> None:
    done = composefs.sh(f"bootc switch {composefs.world.open}/os:w1")  # v1 under another tag
    assert done.returncode == 1
    assert done.stderr.startswith("error: Switching: Switching (composefs): ")
    assert "same fs-verity digest" in done.stderr
    assert document(composefs)["status"]["staged"] is None


def test_a_composefs_host_refuses_what_the_lab_does_not_know(composefs: HostUnderTest) -> None:
    for command in (
        "bootc upgrade --check",
        "bootc usr-overlay",
        "bootc loader-entries set-options-for-source --source a --options x=1",
    ):
        assert composefs.sh(command).returncode == 1, command


# bound images


def bound(host: HostUnderTest, tag: str, quadlet: str) -> str:
    """An image that is bound to the one that a quadlet names."""
    files = {
        "usr/share/containers/systemd/app.container": quadlet,
        "usr/lib/bootc/bound-images.d/app.container": "-> /usr/share/containers/systemd/app.container",
    }
    host.world.images.image(tag, [userland("bound", files=host.world.files), layer(files)], version="5.0")
    return f"{host.world.open}/os:{tag}"


def test_bound_images_are_looked_for_before_success_is_told(make_host: MakeHost) -> None:
    host = make_host()
    there = bound(host, "bound-there", f"[Container]\nImage={host.world.open}/os:v3\nAuthFile=/x\n")
    assert "AuthFile is not supported" in host.sh(f"bootc switch {there}").stderr
    host.ok(f"bootc switch {bound(host, 'bound-good', f'[Container]{chr(10)}Image={host.world.open}/os:v3{chr(10)}')}")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("OPEN/os:nosuch", "manifest unknown"),
        ("OPEN/os:%i", "Systemd specifiers are not supported"),
        ("", "Missing image value"),
    ],
)
def test_a_bound_image_that_cannot_be_had_fails_a_switch_that_has_staged(
    make_host: MakeHost, image: str, words: str
) -> None:
    host = make_host()
    image = image.replace("OPEN", host.world.open)
    target = bound(host, f"bound-{abs(hash(words)) % 1000}", f"[Container]\nImage={image}\n")
    done = host.sh(f"bootc switch {target}")
    assert (done.returncode, words in done.stderr, "Queued" in done.stdout) == (1, True, False), done.stderr
    assert document(host)["status"]["staged"] is not None


# other ends


def test_a_failed_prune_leaves_the_deployment_staged(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("podman-prune-fails")
    done = host.sh(f"bootc switch {host.world.open}/os:v2")
    assert (done.returncode, "Queued for next boot" in done.stdout) == (1, False)
    assert document(host)["status"]["staged"]["image"]["version"] == "2.0"


@pytest.mark.parametrize(("version", "shown"), [("1.16.9", True), ("1.12.1", None)])
def test_a_read_only_sysroot_is_shown_and_refuses_changes(
    make_host: MakeHost, version: str, shown: bool | None
) -> None:
    host = make_host(bootc=version)
    host.node.inject("sysroot-read-only")
    assert document(host)["status"].get("readOnly") is shown
    for command in (f"switch {host.world.open}/os:v2", "upgrade", "rollback"):
        done = host.sh(f"bootc {command}")
        assert done.returncode == 1
        assert ("/sysroot is on a read-only block device" in done.stderr) is bool(shown)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("kargs = [", "TOML parse error"),
        ('kargs = ["a=1"]\nother = 1\n', "unknown field `other`"),
        ('match-architectures = ["x86_64"]\n', "missing field `kargs`"),
    ],
)
def test_an_image_with_invalid_arguments_is_not_staged(make_host: MakeHost, content: str, words: str) -> None:
    host = make_host()
    name = f"badkargs-{abs(hash(words)) % 1000}"
    files = {"usr/lib/bootc/kargs.d/10.toml": content}
    host.world.images.image(name, [userland("bad", files=files)])
    done = host.sh(f"bootc switch {host.world.open}/os:{name}")
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert document(host)["status"]["staged"] is None
