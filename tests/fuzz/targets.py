# SPDX-License-Identifier: GPL-3.0-or-later
"""All targets by name. A target takes bytes and returns; whatever it raises is a defect."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from fuzz import (
    image_targets,
    kargs_targets,
    machine_config_targets,
    reference_targets,
    runner_targets,
    status_targets,
    text_targets,
    unchanged_rpm_ostree_target,
    unchanged_target,
)

Run = Callable[[bytes], None]


@dataclasses.dataclass(frozen=True)
class Target:
    """``examples``: how many Hypothesis tries. ``instrumented``: atheris looks into it too; not where a shell does the work."""

    name: str
    run: Run
    examples: int = 300
    instrumented: bool = True


TARGETS = (
    Target("bootc-status", status_targets.bootc_status),
    Target("rpm-ostree-status", status_targets.rpm_ostree_status),
    Target("status-json", status_targets.status_json),
    Target("tool-failure", status_targets.tool_failure),
    Target("bootc-unchanged", unchanged_target.bootc_unchanged),
    Target("rpm-ostree-unchanged", unchanged_rpm_ostree_target.rpm_ostree_unchanged),
    Target("image-reference", reference_targets.image_reference),
    Target("ostree-reference", reference_targets.ostree_reference),
    Target("containerfile", text_targets.containerfile),
    Target("rollout-state", text_targets.rollout_state),
    Target("kernel-command-line", kargs_targets.kernel_command_line),
    Target("kernel-argument-wish", kargs_targets.kernel_argument_wish),
    Target("kargs-d", kargs_targets.kargs_d),
    Target("staged-record", kargs_targets.staged_record),
    Target("progress", kargs_targets.progress),
    Target("machine-config", machine_config_targets.machine_config),
    Target("data-url", machine_config_targets.data_url),
    Target("rpm-header", image_targets.rpm_header),
    Target("image-layers", image_targets.layers),
    Target("image-references", image_targets.image_references),
    Target("runner-output", runner_targets.runner_output),
    Target("runner-script", runner_targets.runner_script, examples=60, instrumented=False),
)


def target(name: str) -> Target:
    """The target of that name. Raises KeyError."""
    return {target.name: target for target in TARGETS}[name]
