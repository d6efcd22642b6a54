# SPDX-License-Identifier: GPL-3.0-or-later
"""The same inputs are the same image under whatever name, with whatever engine; and what is no longer the same is built anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from image_builder import Builder, builder_of, tool
from lab.images import build_base
from lab.registry import Registry

NO_TLS = "--tls-verify=false"
needs_podman = pytest.mark.skipif(
    not (shutil.which("podman") and (shutil.which("crun") or shutil.which("runc"))),
    reason="podman, or the OCI runtime without which it does not start, is not installed",
)


@pytest.fixture
def builder(
    tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Builder]:
    assert base_image
    yield from builder_of(tmp_path, registry, monkeypatch, request)


PHASES: dict[str, Any] = {"kernel_arguments": ["nosmt"], "containerfile_final_content": "COPY motd /usr/lib/last\n"}


def inspected(image: str, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(tool("skopeo", "inspect", NO_TLS, *options, f"docker://{image}"))
    return document


def test_the_name_of_the_image_is_not_in_the_image(builder: Builder) -> None:
    first = builder.build(**PHASES)
    other = f"{builder.registry.address}/{builder.name}-renamed:2"
    second = builder.build(image=other, **PHASES)
    assert second["digest"] == first["digest"]
    manifest = inspected(builder.image, "--raw")
    base = "org.opencontainers.image.base"
    name, _at, digest = first["base"].rpartition("@")
    assert manifest["annotations"] == {f"{base}.name": f"{name}:base", f"{base}.digest": digest}
    assert "localhost/" not in json.dumps(inspected(builder.image, "--config"))


@needs_podman
def test_both_engines_make_the_same_image(builder: Builder) -> None:
    first = builder.build(engine="buildah", **PHASES)
    other = f"{builder.registry.address}/{builder.name}-podman:1"
    second = builder.build(engine="podman", isolation="chroot", image=other, layer_cache=False, force=True, **PHASES)
    assert second["digest"] == first["digest"]
