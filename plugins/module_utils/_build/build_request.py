# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks to have built, checked as far as that needs neither registry nor engine."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import (
    Containerfile,
    InvalidContainerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import LABEL_PREFIX, LONGEST_TAG


@dataclass(frozen=True)
class BuildRequest:
    """The options of one build. `build_timeout` in seconds; `containerfile_path` None for a text given inline."""

    image: ImageReference
    base: ImageReference | None
    containerfile: Containerfile
    containerfile_path: Path | None
    context: Path | None
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    push: bool
    access: RegistryAccess
    engine: str
    isolation: str
    build_timeout: float
    work_dir: Path
    layer_cache: bool
    force: bool

    @property
    def slug(self) -> str:
        """A name for the files of this image, without characters that a path or a repository cannot have."""
        text = str(self.image)
        readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def key_tag(self, short_key: str) -> ImageReference:
        """The second tag, which names the inputs."""
        return self.image.with_tag(f"{self.image.tag}-{short_key}")


def read_containerfile(path: Path | None, text: str | None) -> Containerfile:
    """The parsed Containerfile. Raises BuildError of category input with the user's line."""
    try:
        content = text if text is not None else (path or Path("Containerfile")).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(
            f"The Containerfile {path} cannot be read: {error}. A relative path starts at {Path.cwd()} on the build host."
        ) from error
    try:
        return Containerfile.parse(content)
    except InvalidContainerfile as error:
        raise invalid_containerfile(error) from error


def input_error(message: str) -> BuildError:
    """A mistake in what the user gave."""
    return BuildError(BuildFailure(FailureCategory.INPUT, message))


def invalid_containerfile(error: InvalidContainerfile) -> BuildError:
    """A mistake in the Containerfile, with its line."""
    return BuildError(BuildFailure(FailureCategory.INPUT, str(error), step=error.step, line=error.line))


def check_request(request: BuildRequest) -> None:
    """Raise BuildError of category input for options that cannot lead to an image."""
    if request.image.digest is not None:
        raise input_error(f"The option image names where to push to, so it cannot have a digest: {request.image}.")
    if len(request.image.tag or "") > LONGEST_TAG:
        raise input_error(
            f"The tag {request.image.tag} is too long: the second tag adds 13 characters, "
            f"so the first can have {LONGEST_TAG}."
        )
    reserved = sorted(name for name in request.labels if name.startswith(LABEL_PREFIX))
    if reserved:
        raise input_error(
            f"The labels {', '.join(reserved)} are this collection's own: names must not begin with {LABEL_PREFIX}"
        )
    broken = sorted(name for name, value in request.labels.items() if "\n" in name + value)
    if broken:
        raise input_error(f"The labels {', '.join(broken)} have a line break, which a label cannot have.")
    check_authfile(request.access.authfile)
    if request.context is not None and not request.context.is_dir():
        raise input_error(
            f"The context {request.context} is not a directory on the build host. A relative path starts at {Path.cwd()}."
        )
    needing = request.containerfile.needs_context()
    if request.context is None and needing is not None:
        raise BuildError(
            BuildFailure(
                FailureCategory.INPUT,
                f"Line {needing.line}: {needing.keyword} takes files from the build context, but the option context is not given.",
                step=str(needing),
                line=needing.line,
            )
        )


def check_authfile(authfile: str | None) -> None:
    """Raise BuildError of category input for a credentials file that is not there."""
    if authfile is not None and not os.access(authfile, os.R_OK):
        raise input_error(
            f"The credentials file {authfile} does not exist or cannot be read on this host. "
            f"`skopeo login --authfile {authfile} REGISTRY` makes one."
        )


def unused_arguments(request: BuildRequest, predefined: frozenset[str]) -> list[str]:
    """The build arguments that no ARG declares: most likely mistyped."""
    declared = request.containerfile.declared_arguments() | predefined
    return sorted(name for name in request.build_args if name not in declared)
