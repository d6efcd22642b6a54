# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection makes of the same inputs: a change of it is a change of the recipe, or old images pass for new ones."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import (
    Component,
    component_steps,
    parse_components,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import label_instruction
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import RECIPE_VERSION
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import kargs_file_text
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_steps import (
    EXTENSION_PACKAGES,
    fips_step,
    package_steps,
    preset_step,
    rpm_component_step,
)

OPTIONS = (
    {"name": "tree", "image": "r.example.com/tree:1"},
    {"name": "rpms", "image": "r.example.com/rpms:1", "rpms": "/rpms"},
)


def test_what_is_made_of_the_same_inputs_changes_with_the_recipe_version_only() -> None:
    """Where this fails, images would change without a new key: raise RECIPE_VERSION, and write both down here."""
    components = [Component(one, "sha256:" + "a" * 64, "1") for one in parse_components(OPTIONS)]
    steps = [
        *package_steps(["jq"], sorted(EXTENSION_PACKAGES), {}, None, "linux/amd64"),
        *(
            step
            for kernel in ("default", "realtime", "64k-pages")
            for step in package_steps([], [], {}, kernel, "linux/arm64" if kernel == "64k-pages" else "linux/amd64")
        ),
        *component_steps(components, rpm_component_step),
        preset_step(["kubelet.service"]),
        fips_step(),
    ]
    made = [[step.instruction, *sorted((name, text.decode()) for name, text in step.files.items())] for step in steps]
    made.append([label_instruction({"a": 'b "c" $d'}, "\\"), kargs_file_text(["a=b", 'c="d e"'])])
    found = hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]
    assert (RECIPE_VERSION, found) == ("2", "a0f54b085f875f93")
