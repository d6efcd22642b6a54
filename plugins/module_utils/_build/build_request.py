# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks to have built, checked as far as that needs neither registry nor engine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_secret import BuildSecret
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

VERSION_LABEL = "org.opencontainers.image.version"
LISTINGS = "listings"  # below work_dir: what images consist of, by digest


@dataclass(frozen=True)
class UserFile:
    """A Containerfile of the user's. `path` is None for a text given inline; `called` is what messages call it."""

    containerfile: Containerfile
    path: Path | None
    called: str


@dataclass(frozen=True)
class Release:
    """A release payload, and which of its images to build on."""

    image: ImageReference
    component: str


@dataclass(frozen=True)
class ImageContents:
    """What the collection itself puts between the base and the user's steps, or after them.

    `components` and `repositories` are as the options give them; `machine_config` is the directory of a rendered one.
    """

    components: tuple[Mapping[str, Any], ...] = ()
    packages: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    extension_packages: Mapping[str, tuple[str, ...]] | None = None
    kernel_type: str | None = None
    kernel_arguments: tuple[str, ...] = ()
    machine_config: Path | None = None
    repositories: tuple[Mapping[str, Any], ...] = ()
    entitlement: str = "none"


@dataclass(frozen=True)
class BuildRequest:
    """The options of one build. `build_timeout` in seconds; `platforms` empty for the build host's own.

    `access` is for the registry of the image, `base_access` for those that are only read.
    """

    image: ImageReference
    base: ImageReference | None
    release: Release | None
    containerfile: UserFile | None
    final: UserFile | None
    contents: ImageContents
    context: Path | None
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    secrets: tuple[BuildSecret, ...]
    platforms: tuple[str, ...]
    push: bool
    access: RegistryAccess
    base_access: RegistryAccess
    sign: Mapping[str, Any] | None
    checks: str
    engine: str
    isolation: str
    build_timeout: float
    work_dir: Path
    layer_cache: bool
    force: bool
    progress_file: Path | None

    @property
    def slug(self) -> str:
        """A name for the files of this image, without characters that a path or a repository cannot have."""
        text = str(self.image)
        readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def user_files(self) -> tuple[UserFile, ...]:
        """The user's Containerfiles in the order in which they take effect."""
        return tuple(found for found in (self.containerfile, self.final) if found is not None)

    def key_tag(self, short_key: str) -> ImageReference:
        """The second tag, which names the inputs."""
        return self.image.with_tag(f"{self.image.tag}-{short_key}")


def read_containerfile(path: Path | None, text: str | None, option: str = "containerfile") -> UserFile | None:
    """The parsed Containerfile that an option gives, None without one. Raises BuildError of category input."""
    if path is None and text is None:
        return None
    called = "the Containerfile" if option == "containerfile" else option
    try:
        content = text if text is not None else (path or Path()).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(
            f"The {option.replace('containerfile', 'Containerfile', 1)} {path} cannot be read on the build host: "
            f"{getattr(error, 'strerror', None) or error}.{_start_of(path)}"
        ) from error
    try:
        return UserFile(Containerfile.parse(content), path.absolute() if path else None, called)
    except InvalidContainerfile as error:
        raise invalid_containerfile(error, "" if option == "containerfile" else f"{option}: ") from error


def _start_of(path: Path | None) -> str:
    """Where a relative path was looked for, which nobody who wrote it can see."""
    return f" A relative path starts at {Path.cwd()}." if path is not None and not path.is_absolute() else ""


def input_error(message: str) -> BuildError:
    """A mistake in what the user gave."""
    return BuildError(BuildFailure(FailureCategory.INPUT, message))


def invalid_containerfile(error: InvalidContainerfile, file: str = "") -> BuildError:
    """A mistake in the Containerfile, with its line. `file` is what comes before the message, if it is another file."""
    return BuildError(BuildFailure(FailureCategory.INPUT, f"{file}{error}", step=error.step, line=error.line))


def check_request(request: BuildRequest) -> None:
    """Raise BuildError of category input for options that cannot lead to an image."""
    if request.image.digest is not None:
        raise input_error(f"The option image names where to push to, so it cannot have a digest: {request.image}.")
    if len(request.image.tag or "") > LONGEST_TAG:
        raise input_error(
            f"The tag {request.image.tag} is too long: the second tag adds 13 characters, "
            f"so the first can have {LONGEST_TAG}."
        )
    _check_labels(request.labels)
    for name in request.build_args:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise input_error(f"{name!r} cannot be the name of a build argument: letters, digits and underscores.")
    _check_platforms(request)
    for access in (request.access, request.base_access):
        check_authfile(access.authfile)
        check_ca_file(access.ca_file)
    if request.context is not None and not request.context.is_dir():
        raise input_error(
            f"The context {request.context} is not a directory on the build host.{_start_of(request.context)}"
        )
    for file in request.user_files:
        _check_context(file, request.context)
    _check_final(request.final)
    _check_secrets(request)
    _check_work_dir(request.work_dir)
    if request.sign and not request.push:
        raise input_error("An image is signed in its registry, so sign needs push to be true.")


def _check_work_dir(work_dir: Path) -> None:
    odd = sorted(character for character in ":," if character in str(work_dir))
    if odd:
        raise input_error(
            f"The work_dir {work_dir} has {' and '.join(odd)} in its name, which the engines take for the end of a path. "
            "Name another."
        )


def _check_labels(labels: Mapping[str, str]) -> None:
    reserved = sorted(name for name in labels if name.startswith(LABEL_PREFIX))
    if reserved:
        raise input_error(
            f"The labels {', '.join(reserved)} are this collection's own: names must not begin with {LABEL_PREFIX}"
        )
    unusable = sorted(name for name in labels if "=" in name or not name.strip())
    if unusable:
        raise input_error(
            f"{', '.join(map(repr, unusable))} cannot be the name of a label: it is empty or has a = in it."
        )
    broken = sorted(name for name, value in labels.items() if "\n" in name + value)
    if broken:
        raise input_error(f"The labels {', '.join(broken)} have a line break, which a label cannot have.")


def _check_platforms(request: BuildRequest) -> None:
    for platform in request.platforms:
        if not re.fullmatch(r"linux/[a-z0-9_]+(/[a-z0-9_.]+)?", platform):
            raise input_error(f"{platform!r} is not a platform: it is written as linux/amd64 or linux/arm64.")
    if len(set(request.platforms)) < len(request.platforms):
        raise input_error(f"The option platforms names one twice: {', '.join(request.platforms)}.")
    if len(request.platforms) > 1 and not request.push:
        raise input_error(
            "An image of several platforms is an index in a registry, so platforms needs push to be true."
        )


def _check_context(file: UserFile, context: Path | None) -> None:
    needing = file.containerfile.needs_context()
    if context is None and needing is not None:
        raise BuildError(
            BuildFailure(
                FailureCategory.INPUT,
                f"Line {needing.line} of {file.called}: {needing.keyword} takes files from the build context, "
                "but the option context is not given.",
                step=str(needing),
                line=needing.line,
            )
        )


def _check_final(final: UserFile | None) -> None:
    for instruction in final.containerfile.instructions if final else ():
        if instruction.keyword == "FROM":
            raise BuildError(
                BuildFailure(
                    FailureCategory.INPUT,
                    f"Line {instruction.line} of containerfile_final: it goes on with the image that is being built, so it "
                    "cannot have a FROM. Stages belong into the Containerfile.",
                    step=str(instruction),
                    line=instruction.line,
                )
            )


def _check_secrets(request: BuildRequest) -> None:
    names = [secret.id for secret in request.secrets]
    for name in names:
        if names.count(name) > 1:
            raise input_error(f"The option secrets has {name} twice.")
    for file in request.user_files:
        for instruction in file.containerfile.instructions:
            for wanted in instruction.secret_ids():
                if wanted not in names:
                    raise BuildError(
                        BuildFailure(
                            FailureCategory.INPUT,
                            f"Line {instruction.line} of {file.called} mounts the secret {wanted}, which the option secrets "
                            f"does not give. It has: {', '.join(names) or 'none'}.",
                            step=str(instruction),
                            line=instruction.line,
                        )
                    )


def check_authfile(authfile: str | None) -> None:
    """Raise BuildError of category input for a credentials file that is not there, or is none."""
    if authfile is None:
        return
    made = f"`skopeo login --authfile {authfile} REGISTRY` makes one."
    try:
        content = json.loads(Path(authfile).read_bytes())
    except OSError:
        place = _start_of(Path(authfile))
        raise input_error(
            f"The credentials file {authfile} does not exist or cannot be read on this host.{place} {made}"
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise input_error(f"The credentials file {authfile} is not JSON as skopeo and podman write it. {made}")


def check_ca_file(ca_file: str | None) -> None:
    """Raise BuildError of category input for a CA bundle that is none."""
    if ca_file is None:
        return
    try:
        content = Path(ca_file).read_bytes()
    except OSError as error:
        raise input_error(f"The CA bundle {ca_file} cannot be read on this host: {error.strerror}.") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise input_error(f"The CA bundle {ca_file} has no certificate in PEM format.")
    if b"PRIVATE KEY-----" in content:
        raise input_error(f"The CA bundle {ca_file} has a private key in it. Keep only the certificates.")


def unused_arguments(request: BuildRequest, predefined: frozenset[str]) -> list[str]:
    """The build arguments that no ARG declares: most likely mistyped."""
    declared = predefined.union(*(file.containerfile.declared_arguments() for file in request.user_files))
    return sorted(name for name in request.build_args if name not in declared)
