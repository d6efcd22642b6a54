# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that real engines built into images are found, in whichever layer and form, and nothing of the base is searched."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import EngineName
from ansible_collections.imagemode.nodes.plugins.module_utils._build.leak_search import find_leaks
from ansible_collections.imagemode.nodes.plugins.module_utils._core.leak_search import LeakPlace, LeakReport
from local_images import BASE, LocalImages, MakeImages, local_images

__all__ = ["local_images"]

TOKEN = b"tok-3f9a1c77d2e84b05\n"
ENGINES = pytest.mark.parametrize("engine", list(EngineName), ids=lambda name: str(name.value))
MOUNT = "RUN --mount=type=secret,id=t"


def search(images: LocalImages, steps: str, *options: str) -> LeakReport:
    secret = images.directory / "secret"
    secret.write_bytes(TOKEN)
    image = images.build("leaky", steps, None, f"--secret=id=t,src={secret}", *options)
    before = images.left_over()
    report = find_leaks(images.engine, image, images.diff_ids(BASE), {"t": TOKEN}, images.work)
    assert images.left_over() == before
    assert TOKEN.strip().decode() not in repr(report)
    return report


def places(report: LeakReport) -> list[tuple[int | None, str, LeakPlace, str]]:
    return [(leak.layer, leak.path, leak.place, leak.form) for leak in report.leaks]


@ENGINES
def test_a_secret_is_found_in_every_layer_also_when_it_was_removed(
    local_images: MakeImages, engine: EngineName
) -> None:
    report = search(
        local_images(engine),
        f"RUN touch /usr/lib/nothing\n{MOUNT} cat /run/secrets/t > /usr/lib/token\nRUN rm /usr/lib/token\n"
        f"{MOUNT} base64 /run/secrets/t > /usr/lib/b64\n{MOUNT} gzip -c /run/secrets/t > /usr/lib/token.gz\n"
        f"{MOUNT} touch /usr/lib/$(cat /run/secrets/t)",
    )
    assert places(report) == [
        (2, "/usr/lib/token", LeakPlace.CONTENT, "plain"),
        (4, "/usr/lib/b64", LeakPlace.CONTENT, "base64"),
        (5, "/usr/lib/token.gz", LeakPlace.COMPRESSED, "plain"),
        (6, "/usr/lib/***", LeakPlace.ENTRY, "plain"),
    ]
    assert "cat /run/secrets/t > /usr/lib/token" in str(report.leaks[0])
    assert all(leak.instruction and leak.instruction.startswith("RUN ") for leak in report.leaks)


@ENGINES
def test_a_secret_is_found_in_the_configuration(local_images: MakeImages, engine: EngineName) -> None:
    report = search(
        local_images(engine),
        "ARG TOKEN\nENV TOKEN=$TOKEN\nLABEL token=x${TOKEN}x\nRUN touch /usr/lib/a",
        f"--build-arg=TOKEN={TOKEN.strip().decode()}",
    )
    assert {leak.layer for leak in report.leaks} == {None}
    assert {"config.Env[1]", "config.Labels.token"} <= {leak.path for leak in report.leaks}
    assert any(leak.path.startswith("history[") and leak.instruction for leak in report.leaks)


@ENGINES
def test_a_secret_that_was_only_mounted_is_not_found(local_images: MakeImages, engine: EngineName) -> None:
    images = local_images(engine)
    report = search(images, f"{MOUNT} cat /run/secrets/t > /dev/null\nRUN touch /usr/lib/x")
    assert report.leaks == ()
    assert 0 < report.searched < 1_000_000


def test_the_base_is_not_searched(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    with_token = images.build("with-token", "COPY token /usr/lib/token\nRUN touch /usr/lib/x", {"token": TOKEN})
    layers = images.diff_ids(with_token)
    found = find_leaks(images.engine, with_token, layers[:1], {"t": TOKEN}, images.work)
    assert [(leak.layer, leak.path) for leak in found.leaks] == [(1, "/usr/lib/token")]
    assert find_leaks(images.engine, with_token, layers, {"t": TOKEN}, images.work).leaks == ()
    assert find_leaks(images.engine, with_token, layers, {"t": TOKEN}, images.work).searched == 0


def test_what_cannot_be_searched_for_is_said(local_images: MakeImages) -> None:
    images = local_images(EngineName.BUILDAH)
    report = find_leaks(images.engine, BASE, [], {"pin": b"1234\n"}, images.work)
    assert [(one.secret, one.reason) for one in report.unsearchable] == [
        ("pin", "it is shorter than 6 bytes, which occur by chance")
    ]
    assert report.leaks == ()
