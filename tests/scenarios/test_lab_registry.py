# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's registry and base images are real, reproducible and gone when they should be."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from lab import images
from lab.registry import Registry, RegistryError


def test_the_same_arguments_give_the_same_image_and_others_another(registry: Registry) -> None:
    first, again = (images.build_base(registry.address, name="same", tag=tag) for tag in ("a", "b"))
    other = images.build_base(registry.address, name="same", tag="c", kargs_d={"10-x.toml": ["x=1"]})
    assert first == again
    assert first != other
    assert registry.tags("same") == ["a", "b", "c"]
    assert registry.digest("same", "a") == first.partition("@")[2]


def test_a_registry_with_authentication_refuses_strangers_and_serves_who_is_known(tmp_path: Path) -> None:
    with Registry.start(tmp_path / "locked", username="lab", password="it's secret") as locked:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{locked.address}/v2/", timeout=5)
        assert refused.value.code == 401
        with pytest.raises(images.ImageBuildError, match=r"authentication required|unauthorized"):
            images.build_base(locked.address)
        reference = images.build_base(locked.address, username="lab", password="it's secret")
        assert locked.digest("os", "base") == reference.partition("@")[2]


def test_a_stopped_registry_is_gone_and_keeps_what_it_stored(tmp_path: Path, base_image: str) -> None:
    del base_image  # buildah is warm
    with Registry.start(tmp_path) as first:
        reference = images.build_base(first.address)
        assert Registry.running(tmp_path) is not None
    assert Registry.running(tmp_path) is None
    with pytest.raises(urllib.error.URLError):
        first.tags("os")
    with Registry.start(tmp_path) as second:
        assert second.digest("os", "base") == reference.partition("@")[2]


def test_a_deleted_image_is_not_found(registry: Registry) -> None:
    digest = images.build_base(registry.address, name="deleted").partition("@")[2]
    registry.delete("deleted", digest)
    assert registry.digest("deleted", "base") is None


def test_a_port_that_is_taken_is_said(registry: Registry, tmp_path: Path) -> None:
    port = int(registry.address.rpartition(":")[2])
    with pytest.raises(RegistryError, match=r"address already in use"):
        Registry.start(tmp_path, port=port)
