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
    Instruction,
    InvalidContainerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import (
    ImageUse,
    label_instruction,
    pinned_text,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.run_marks import with_marks
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource

PHASE_BEFORE = "localhost/imagemode-build/the-phase"


@dataclass(frozen=True)
class BuildPhase:
    """One run of the engine. `text` is what it reads; `source` is whose lines these are, for messages.

    `context` None stands for a directory made for this phase with `files` in it. `platform` is `os/arch`. `rests_on` is what
    stands in `text` for the image of the phase before, whose id is not known yet; None for the first phase.
    """

    name: str
    text: str
    source: StepSource
    platform: str
    context: Path | None = None
    ignore_file: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    rests_on: str | None = None

    def text_on(self, image_id: str) -> str:
        """The text for the image of the phase before, which is named by its id, 64 hexadecimal digits.

        Engines write down in the history of an image what it is FROM, and prefer a name: so the image has none, as a local
        name would make another image of the same inputs.
        """
        return self.text.replace(self.rests_on, image_id) if self.rests_on else self.text

    @property
    def runs_steps(self) -> bool:
        """Whether anything of the image is executed."""
        return any(found.keyword == "RUN" for found in self.source.containerfile.instructions)


@dataclass(frozen=True)
class PhasePlan:
    """What the phases are made of. `base` is the pinned text of the image to build on, None for a user's file that needs none.

    `packages_state` changes with what package managers see of the world; empty where nothing is known of that.
    """

    base: str | None
    base_steps: Sequence[BuildStep]
    config_steps: Sequence[BuildStep]
    user_uses: tuple[ImageUse, ...]
    final_uses: tuple[ImageUse, ...]
    digests: Mapping[str, str]
    labels: Mapping[str, str]
    ignore_files: Mapping[str, Path | None]
    packages_state: str = ""


def build_phases(request: BuildRequest, plan: PhasePlan, platform: str) -> tuple[BuildPhase, ...]:
    """The phases that have something to do. Raises BuildError of category input."""
    phases: list[BuildPhase] = []
    versions = {secret.id: f"{secret.id} {secret.version}" for secret in request.secrets if secret.version}

    def read_by(step: Instruction) -> list[str]:
        found = [versions[name] for name in step.secret_ids(with_optional=True) if name in versions]
        return [*([plan.packages_state] if plan.packages_state else []), *found]

    def rests_on() -> str | None:
        return f"{PHASE_BEFORE}-{phases[-1].name}" if phases else None

    def add_steps(name: str, steps: Sequence[BuildStep]) -> None:
        phases.append(_phase_of_steps(name, rests_on(), plan.base, steps, platform))

    def add_file(name: str, file: UserFile | None, uses: tuple[ImageUse, ...]) -> None:
        if file is not None:
            marked = with_marks(file.containerfile, read_by)
            text = _pinned(marked, uses, plan.digests, rests_on())
            source = StepSource(file.containerfile, file.called)
            ignore_file = plan.ignore_files.get(name)
            context = request.context
            phases.append(BuildPhase(name, text, source, platform, context, ignore_file, rests_on=rests_on()))

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


def _pinned(
    containerfile: Containerfile, uses: tuple[ImageUse, ...], digests: Mapping[str, str], rests_on: str | None
) -> str:
    try:
        return pinned_text(containerfile, uses, digests, rests_on)
    except InvalidContainerfile as error:
        raise invalid_containerfile(error) from error


def _phase_of_steps(
    name: str, rests_on: str | None, base: str | None, steps: Sequence[BuildStep], platform: str
) -> BuildPhase:
    origin = rests_on or _required(base)
    text = "".join(f"{line}\n" for line in (f"FROM {origin}", *(step.instruction for step in steps)))
    files = {file: content for step in steps for file, content in step.files.items()}
    source = StepSource(Containerfile.parse(text), None, tuple(step.title for step in steps))
    return BuildPhase(name, text, source, platform, files=files, rests_on=rests_on)


def _labelled(phase: BuildPhase, labels: Mapping[str, str]) -> BuildPhase:
    return replace(phase, text=phase.text + label_instruction(labels, phase.source.containerfile.escape))
