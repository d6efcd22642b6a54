# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to find that there is nothing to do: calls of tools, requests to the registry, seconds."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from crafted_image import file, push_image
from image_builder import Builder
from lab.registry import Registry

TOOLS = ("skopeo", "buildah", "podman")


class Calls:
    """The calls of tools while a block runs, and how many of them there were at once."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log = directory / "calls"
        self._log.touch()
        bin_directory = directory / "bin"
        bin_directory.mkdir()
        for name in TOOLS:
            real = shutil.which(name)
            if real is not None:
                wrapper = bin_directory / name
                wrapper.write_text(
                    f'#!/bin/sh\necho "begin {name} $*" >> {self._log}\n{real} "$@"\nstatus=$?\n'
                    # So long that calls which begin together are seen together on a busy machine, too.
                    "sleep 0.2\n"
                    f"echo end >> {self._log}\nexit $status\n"
                )
                wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", str(bin_directory), prepend=":")

    def clear(self) -> None:
        """Forget what was called."""
        self._log.write_text("")

    @property
    def made(self) -> list[str]:
        """Every call: the tool and its arguments."""
        return [line[len("begin ") :] for line in self._log.read_text().splitlines() if line != "end"]

    @property
    def rounds(self) -> int:
        """How often all calls had ended before the next began."""
        running = count = 0
        for line in self._log.read_text().splitlines():
            count += running == 0
            running += -1 if line == "end" else 1
        return count


def components(registry: Registry, number: int) -> list[dict[str, Any]]:
    found = []
    for index in range(number):
        name = f"no-op-{index}"
        push_image(registry, f"components/{name}", "1", [file(f"usr/lib/{name}", name.encode())])
        image = f"{registry.address}/components/{name}:1"
        found.append({"name": name, "image": image, "tree": None, "dest": None, "rpms": None, "version": None})
    return found


@pytest.mark.parametrize("number", [0, 4])
@pytest.mark.parametrize("check_mode", [False, True])
def test_finding_nothing_to_do_asks_the_registry_and_no_engine(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, number: int, check_mode: bool
) -> None:
    options: dict[str, Any] = {"components": components(builder.registry, number), "kernel_arguments": ["nosmt"]}
    builder.build(**options)
    calls = Calls(builder.directory, monkeypatch)
    builder.build(check_mode, **options)  # the first use of the wrappers
    calls.clear()
    seconds = []
    for _unused in range(3):
        calls.clear()
        began = time.monotonic()
        result = builder.build(check_mode, **options)
        seconds.append(time.monotonic() - began)
    assert (result["changed"], result["pushed_bytes"], result["commands"]) == (False, 0, [])
    # the base; for each component its digest, and the configuration that has its version; tag, second tag and its label
    assert [call.split()[:2] for call in calls.made] == [["skopeo", "inspect"]] * (1 + 2 * number + 3)
    assert calls.rounds <= 2
    assert min(seconds) < 1.5, seconds  # two rounds of wrappers that sleep
