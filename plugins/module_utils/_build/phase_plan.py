# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps the collection adds to a build, from the request and everything that was resolved for it."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import BuildInputs, ignore_file_of
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_phases import PhasePlan
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import BuildRequest, input_error
from ansible_collections.imagemode.nodes.plugins.module_utils._build.rendered_directory import RenderedDirectory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import component_steps
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import LABEL_PREFIX, text_hash
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import kargs_file_text
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_steps import (
    fips_step,
    package_steps,
    preset_step,
    rpm_component_step,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import RenderedConfig

REPOSITORIES_LABEL = f"{LABEL_PREFIX}repositories"
CONFIG_TAR = "machine-config.tar"
KARGS_FILE = "/usr/lib/bootc/kargs.d/60-imagemode.toml"


def phase_plan(request: BuildRequest, inputs: BuildInputs, platform: str) -> PhasePlan:
    """What the phases of a platform are made of. Raises BuildError of category input."""
    return PhasePlan(
        base=str(inputs.base) if inputs.base else None,
        base_steps=_base_steps(request, inputs, platform),
        config_steps=_config_steps(request, inputs),
        user_uses=inputs.user_uses,
        final_uses=inputs.final_uses,
        digests=inputs.digests,
        labels=inputs.labels,
        ignore_files=_ignore_files(request),
        packages_state=json.dumps(sorted({**inputs.repositories.inputs(), **inputs.entitlement.inputs()}.items()))
        if inputs.repositories.entries or inputs.entitlement.pairs
        else "",
    )


def _base_steps(request: BuildRequest, inputs: BuildInputs, platform: str) -> tuple[BuildStep, ...]:
    contents = request.contents
    machine = inputs.machine_config.config if inputs.machine_config else None
    # A MachineConfig says `default` of what it does not name, so that is no wish to change the base's kernel.
    by_config = machine.kernel_type if machine and machine.kernel_type != "default" else None
    if contents.kernel_type and by_config and contents.kernel_type != by_config:
        raise input_error(
            f"The option kernel_type says {contents.kernel_type}, but the machine config says {by_config}. Leave one of them out."
        )
    extensions = tuple(dict.fromkeys((*contents.extensions, *(machine.extensions if machine else ()))))
    state = inputs.repositories.state()
    return (
        # Engines do not see what is in a repository: what stands before a step decides whether its layer is taken again.
        *(
            [BuildStep("take note of the repositories", f"LABEL {REPOSITORIES_LABEL}={text_hash(state)}")]
            if state
            else []
        ),
        *package_steps(
            contents.packages,
            extensions,
            contents.extension_packages or {},
            contents.kernel_type or by_config,
            platform,
        ),
        *component_steps(inputs.components, rpm_component_step),
    )


def _config_steps(request: BuildRequest, inputs: BuildInputs) -> tuple[BuildStep, ...]:
    rendered = inputs.machine_config
    arguments = request.contents.kernel_arguments
    if rendered is None and not arguments:
        return ()
    extra = {KARGS_FILE: kargs_file_text(arguments).encode()} if arguments else {}
    directory = rendered or RenderedDirectory(Path(), RenderedConfig(role="", sources=()), {})
    tar = directory.image_tar(0, extra)
    steps = [BuildStep("put the configuration in place", f"ADD {CONFIG_TAR} /", {CONFIG_TAR: tar})]
    if rendered and rendered.config.presets:
        steps.append(preset_step(rendered.config.presets))
    if rendered and rendered.config.fips:
        steps.append(fips_step())
    return tuple(steps)


def _ignore_files(request: BuildRequest) -> dict[str, Path | None]:
    files = {"user": request.containerfile, "final": request.final}
    return {name: ignore_file_of(request, file) for name, file in files.items() if file is not None}
