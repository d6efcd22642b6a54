# SPDX-License-Identifier: GPL-3.0-or-later
"""A build as a chain of engine builds, each on the image of the one before.

In the order from what changes least to what changes most: what the collection installs on the base, the user's
Containerfile, the configuration, the user's last words. So a change of configuration runs nothing of the user's again, and a
user's COPY and the collection's own files have each a context of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    BuildRequest,
    UserFile,
    input_error,
    invalid_containerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import (
    Containerfile,
    InvalidContainerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import (
    ImageUse,
    label_instruction,
    pinned_text,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource


@dataclass(frozen=True)
class BuildPhase:
    """One run of the engine. `text` is what it reads; `source` is whose lines these are, for messages.

    `context` None stands for a directory made for this phase with `files` in it. `platform` is `os/arch`.
    """

    name: str
    text: str
    source: StepSource
    platform: str
    context: Path | None = None
    ignore_file: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def runs_steps(self) -> bool:
        """Whether anything of the image is executed."""
        return any(found.keyword == "RUN" for found in self.source.containerfile.instructions)


@dataclass(frozen=True)
class PhasePlan:
    """What the phases are made of. `base` is the pinned text of the image to build on, None for a user's file that needs none."""

    base: str | None
    base_steps: Sequence[BuildStep]
    config_steps: Sequence[BuildStep]
    user_uses: tuple[ImageUse, ...]
    final_uses: tuple[ImageUse, ...]
    digests: Mapping[str, str]
    labels: Mapping[str, str]
    ignore_files: Mapping[str, Path | None]


def build_phases(request: BuildRequest, plan: PhasePlan, platform: str, local_name: str) -> tuple[BuildPhase, ...]:
    """The phases that have something to do; all but the last are tagged `local_name` with `-` and their name.

    Raises BuildError of category input.
    """
    phases: list[BuildPhase] = []

    def rests_on() -> str | None:
        return f"{local_name}-{phases[-1].name}" if phases else None

    def add_steps(name: str, steps: Sequence[BuildStep]) -> None:
        phases.append(_phase_of_steps(name, rests_on() or _required(plan.base), steps, platform))

    def add_file(name: str, file: UserFile | None, uses: tuple[ImageUse, ...]) -> None:
        if file is not None:
            text = _pinned(file, uses, plan.digests, rests_on())
            source = StepSource(file.containerfile, file.called)
            ignore_file = plan.ignore_files.get(name)
            phases.append(BuildPhase(name, text, source, platform, request.context, ignore_file))

    if plan.base_steps:
        add_steps("base", plan.base_steps)
    add_file("user", request.containerfile, plan.user_uses)
    if plan.config_steps:
        add_steps("config", plan.config_steps)
    if request.final is not None and not phases:
        add_steps("base", ())
    add_file("final", request.final, plan.final_uses)
    if not phases:  # the base with other labels
        add_steps("base", ())
    return (*phases[:-1], _labelled(phases[-1], plan.labels))


def _required(base: str | None) -> str:
    if base is None:
        raise input_error("Nothing says what to build on: give the option base, or a Containerfile with a FROM.")
    return base


def _pinned(file: UserFile, uses: tuple[ImageUse, ...], digests: Mapping[str, str], rests_on: str | None) -> str:
    try:
        return pinned_text(file.containerfile, uses, digests, rests_on)
    except InvalidContainerfile as error:
        raise invalid_containerfile(error) from error


def _phase_of_steps(name: str, origin: str, steps: Sequence[BuildStep], platform: str) -> BuildPhase:
    text = "".join(f"{line}\n" for line in (f"FROM {origin}", *(step.instruction for step in steps)))
    files = {file: content for step in steps for file, content in step.files.items()}
    source = StepSource(Containerfile.parse(text), None, tuple(step.title for step in steps))
    return BuildPhase(name, text, source, platform, files=files)


def _labelled(phase: BuildPhase, labels: Mapping[str, str]) -> BuildPhase:
    return replace(phase, text=phase.text + label_instruction(labels, phase.source.containerfile.escape))
