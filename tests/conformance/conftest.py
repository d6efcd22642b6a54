# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries with the images of the recordings, and hosts that can be put into any recorded situation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.node import Node, nodes
from lab.registry import Registry
from recorded_world import CREDENTIALS, HostUnderTest, World, free_ports, push_all
from small_images import Pusher


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every image that the recordings mention, pushed once."""
    directory = tmp_path_factory.mktemp("world")
    user, password = CREDENTIALS
    with (
        Registry.start(directory / "open") as first,
        Registry.start(directory / "closed", username=user, password=password) as second,
        Registry.start(directory / "plain") as third,
    ):
        down, unknown = free_ports(2)
        world = World(
            first.address,
            second.address,
            f"127.0.0.1:{down}",
            f"127.0.0.1:{unknown}",
            third.address,
            Pusher(first.address),
        )
        push_all(world)
        yield world


@pytest.fixture
def make_host(world: World, tmp_path: Path) -> Iterator[Callable[..., HostUnderTest]]:
    """``make_host("os:v1", bootc="1.1.6", origin="ostree", …)``: a booted host of stateroot debian, as recorded."""
    lab = tmp_path / "lab"
    numbers = itertools.count(1)

    def make(image: str = "os:v1", *, bootc: str = "1.16.9", **options: Any) -> HostUnderTest:
        defaults: dict[str, Any] = {"stateroot": "debian", "boot_seconds": 0.1, "versions": {"bootc": bootc}}
        node = Node.create(lab, f"n{next(numbers)}", f"{world.open}/{image}", **{**defaults, **options})
        return HostUnderTest(node, world)

    yield make
    for node in nodes(lab):
        node.destroy()


@pytest.fixture
def moving_tag(world: World, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """``moving_tag("v2")`` lets a tag of this test alone point to what v2 is; returns the reference."""
    tag = f"moving-{abs(hash(request.node.nodeid)) % 10**8}"

    def move(source: str) -> str:
        world.images.retag(source, tag)
        return f"{world.open}/os:{tag}"

    return move
