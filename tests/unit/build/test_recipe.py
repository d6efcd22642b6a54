# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the recipe is an input of every image; this is what reminds whoever changes a step to raise it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import RECIPE_VERSION
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_steps import (
    fips_step,
    package_steps,
    preset_step,
    rpm_component_step,
)

# Of the steps below. If they changed so that images differ, raise RECIPE_VERSION in _core/input_key.py and write both
# here, and every fleet builds once more. If images stay the same, the version stays and only the hash is new.
RECORDED = ("2", "dea4873966b25388")


def steps() -> Iterator[BuildStep]:
    """Every kind of step that the collection writes itself."""
    yield from package_steps(["jq"], ["usbguard"], {}, "realtime", "linux/amd64")
    yield from package_steps([], [], {}, "default", "linux/amd64")
    yield from package_steps([], [], {}, "64k-pages", "linux/arm64")
    yield rpm_component_step("kubelet", f"r.example.com/kubelet@sha256:{'a' * 64}", "/rpms")
    yield preset_step(["kubelet.service"])
    yield fips_step()


def test_steps_that_change_have_a_new_recipe_version() -> None:
    found = hashlib.sha256()
    for step in steps():
        found.update(step.instruction.encode())
        for name, content in sorted(step.files.items()):
            found.update(name.encode() + b"\0" + content)
    assert (RECIPE_VERSION, found.hexdigest()[:16]) == RECORDED
