# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a built image with real engines: its tree, its files, and bootc container lint inside of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.built_tree import (
    ExportedTree,
    MountedTree,
    built_tree,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import EngineName
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_lint import LintOutcome, lint_image
from ansible_collections.imagemode.nodes.plugins.module_utils._build.storage_export import exported
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_checks import check_image
from local_images import BASE, LocalImages, MakeImages, local_images

__all__ = ["local_images"]

RECORDED = json.loads((Path(__file__).parents[1] / "recordings" / "46-lint.json").read_text())
ENGINES = pytest.mark.parametrize("engine", list(EngineName), ids=lambda name: str(name.value))
BOOTABLE = {"containers.bootc": "1"}


def fake_bootc(name: str | None = None, text: str = "", status: int = 0) -> dict[str, bytes]:
    """A bootc that prints what the real one printed in a recorded situation."""
    row: Mapping[str, object] = next((row for row in RECORDED if row["name"] == name), {"stdout": "", "stderr": text})
    status = int(str(row.get("rc", status)))
    return {
        "bootc": f"#!/bin/sh\ncat /usr/lib/out\ncat /usr/lib/err >&2\nexit {status}\n".encode(),
        "out": str(row["stdout"]).encode(),
        "err": str(row["stderr"]).encode(),
    }


WITH_BOOTC = "COPY out err /usr/lib/\nCOPY bootc /usr/bin/bootc\nRUN chmod 755 /usr/bin/bootc"


def lint(images: LocalImages, image: str) -> LintOutcome:
    with built_tree(images.engine, image, images.work) as tree:
        return lint_image(images.engine, image, tree.entries, "chroot", images.work, images.directory / "log", 300)


@ENGINES
def test_a_tree_is_the_same_mounted_and_exported_and_leaves_nothing(
    local_images: MakeImages, engine: EngineName
) -> None:
    images = local_images(engine)
    image = images.build(
        "tree",
        "RUN mkdir -p /usr/lib/d && echo one > /usr/lib/d/x && ln -s ../lib/d /usr/lib/l && chmod 4750 /usr/lib/d/x && touch /boot/loader\n"
        "RUN rm /boot/loader && ln /usr/lib/d/x /usr/lib/d/y && rm -rf /usr/lib/modules && mkdir -p /usr/lib/modules/new",
    )
    before = images.left_over()
    with built_tree(images.engine, image, images.work) as mounted:
        assert isinstance(mounted, MountedTree)
        with exported(images.engine, image, images.work) as copy:
            other = ExportedTree(copy.layers)
            paths = ["/usr/lib/d/x", "/usr/lib/l/y", "/usr/bin/sh"]
            left, right = mounted.with_hashes(paths), other.with_hashes(paths)
            made_by_engine = {"/", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv"}
            assert {path: left[path] for path in left if path not in made_by_engine} == {
                path: right[path] for path in right if path not in made_by_engine
            }
            assert mounted.read("/usr/lib/l/x") == other.read("/usr/lib/l/x") == b"one\n"
        assert {path for path in mounted.entries if path.startswith(("/boot/", "/usr/lib/modules/"))} == {
            "/usr/lib/modules/new"
        }
        assert mounted.entries["/usr/lib/d/x"].mode == 0o4750
    assert images.left_over() == before


def test_a_tree_that_a_killed_run_left_mounted_goes_away_with_the_next(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    child = os.fork()
    if child == 0:
        with built_tree(images.engine, BASE, images.work):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert len(images.left_over()[0]) == 1
    with built_tree(images.engine, BASE, images.work) as tree:
        assert tree.entries
    assert images.left_over()[0] == []


def test_two_trees_are_open_at_once(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    image = images.build("more", "RUN touch /usr/lib/more")
    with built_tree(images.engine, image, images.work) as tree, built_tree(images.engine, BASE, images.work) as base:
        assert set(tree.entries) - set(base.entries) >= {"/usr/lib/more"}
    assert images.left_over()[0] == []


def test_an_image_that_is_not_there_is_named(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    tree = built_tree(images.engine, "localhost/no/such:1", images.work)
    with pytest.raises(BuildError, match="localhost/no/such:1 is not in the container storage") as raised:
        tree.__enter__()
    assert raised.value.failure.category is FailureCategory.ENGINE
    assert images.left_over()[0] == []


@ENGINES
def test_what_a_real_build_adds_is_found(local_images: MakeImages, engine: EngineName) -> None:
    images = local_images(engine)
    image = images.build(
        "bad",
        "RUN mkdir -p /usr/lib/modules/6.2 /usr/lib/bootc/kargs.d /var/lib/app /var/log /usr/etc && touch /var/lib/app/db\n"
        "RUN echo k > /usr/lib/modules/6.2/vmlinuz && echo 'kargs = nosmt' > /usr/lib/bootc/kargs.d/1.toml && echo l > /var/log/l",
    )
    with built_tree(images.engine, image, images.work) as tree, built_tree(images.engine, BASE, images.work) as base:
        labels = images.engine.local_labels(image) or {}
        findings = check_image(tree.entries, tree.read, labels, base.entries)
        assert check_image(base.entries, base.read, BOOTABLE, base.entries) == ()
    assert [(finding.severity.value, finding.check) for finding in findings] == [
        *[("error", name) for name in ("kernel", "kernel", "bootc-kargs", "etc-usretc")],
        *[("warning", name) for name in ("var-log", "var-tmpfiles")],
    ]


def test_a_mounted_secret_leaves_no_finding(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    secret = images.directory / "secret"
    secret.write_text("tok-3f9a1c77d2e84b05")
    image = images.build(
        "secret", "RUN --mount=type=secret,id=t cat /run/secrets/t > /dev/null", None, f"--secret=id=t,src={secret}"
    )
    with built_tree(images.engine, image, images.work) as tree, built_tree(images.engine, BASE, images.work) as base:
        assert check_image(tree.entries, tree.read, BOOTABLE, base.entries) == ()


@ENGINES
def test_lint_passes_with_its_warnings_and_leaves_nothing(local_images: MakeImages, engine: EngineName) -> None:
    images = local_images(engine)
    image = images.build("linted", WITH_BOOTC, fake_bootc("22-lint-warning-only"))
    before = images.left_over()
    warning = "bootc container lint warns: var-log: Found non-empty logfiles: /var/log/foo.log"
    assert lint(images, image) == LintOutcome(True, (warning,))
    assert lint(images, image).ran  # not answered from a cache
    assert images.left_over() == before
    assert (images.directory / "log").read_text().count("Checks passed: 12") == 2


@ENGINES
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("25-lint-one-failure", "refuses the image, so it was not pushed: var-run: Not a symlink: var/run."),
        ("07-lint-unknown-key", "running lint bootc-kargs: Parsing x.toml"),
        ("09-lint-two-kernels", "Found multiple subdirectories in usr/lib/modules"),
    ],
)
def test_lint_fails_with_what_bootc_says(local_images: MakeImages, engine: EngineName, name: str, says: str) -> None:
    images = local_images(engine)
    image = images.build("refused", WITH_BOOTC, fake_bootc(name))
    before = images.left_over()
    with pytest.raises(BuildError) as raised:
        lint(images, image)
    failure = raised.value.failure
    assert failure.category is FailureCategory.LINT
    assert says in failure.message
    assert any("error: Linting: " in line for line in failure.excerpt)
    assert failure.log == str(images.directory / "log")
    assert images.left_over() == before


def test_lint_is_skipped_where_there_is_none(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    assert lint(images, BASE) == LintOutcome(
        False, note="bootc container lint was not run, as the image has no /usr/bin/bootc."
    )
    # what clap says of a subcommand it does not know; bootc before 0.1.12 has no lint
    said = "error: unrecognized subcommand 'lint'\n\nUsage: bootc container <COMMAND>\n"
    old = images.build("old", WITH_BOOTC, fake_bootc(None, said, 2))
    assert lint(images, old) == LintOutcome(
        False, note="bootc container lint was not run, as the image's bootc is too old to have it."
    )


def test_a_bootc_that_cannot_run_is_no_passed_lint(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    image = images.build("broken", WITH_BOOTC, fake_bootc(None, "bootc: cannot load libostree-1.so.1\n", 127))
    with pytest.raises(BuildError, match=r"libostree-1\.so\.1"):
        lint(images, image)


def test_a_lint_that_is_ended_leaves_nothing(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    files = {**fake_bootc(None, ""), "bootc": b"#!/bin/sh\nsleep 600\n"}
    image = images.build("slow", WITH_BOOTC, files)
    before = images.left_over()
    with built_tree(images.engine, image, images.work) as tree, pytest.raises(Exception, match="did not end within"):
        lint_image(images.engine, image, tree.entries, "chroot", images.work, images.directory / "log", 5)
    end = time.monotonic() + 60
    while images.left_over() != before and time.monotonic() < end:
        time.sleep(0.5)
    assert images.left_over() == before


def test_who_may_not_mount_gets_the_tree_from_an_export(local_images: MakeImages, tmp_path: Path) -> None:
    images = local_images(EngineName.BUILDAH)
    stand_in = tmp_path / "bin" / "buildah"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = mount ] && exit 125\nexec {shutil.which("buildah")} "$@"\n')
    stand_in.chmod(0o755)
    engine = type(images.engine)(EngineName.BUILDAH, str(stand_in))
    with built_tree(engine, BASE, images.work) as tree:
        assert isinstance(tree, ExportedTree)
        assert tree.read("/usr/lib/modules/6.1/vmlinuz") == b"kernel"
    assert images.left_over()[0] == []
    assert subprocess.run(["buildah", "containers", "--quiet"], capture_output=True, check=True).stdout == b""
