# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request to everything that its image depends on: digests of all images, the context, the input key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    BuildRequest,
    input_error,
    invalid_containerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.context_tree import context_hash
from ansible_collections.imagemode.nodes.plugins.module_utils._build.ignore_file import IgnoreRules, find_ignore_file
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import native_platform
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import InvalidContainerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import (
    ImagePlace,
    ImageUse,
    image_uses,
    label_instruction,
    pinned_text,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import InputKey, text_hash


@dataclass(frozen=True)
class BuildInputs:
    """Everything that decides what is built.

    `digests` maps the canonical text of an image to its digest; `containerfile` is the pinned and labelled copy.
    """

    uses: tuple[ImageUse, ...]
    digests: Mapping[str, str]
    containerfile: str
    ignore_file: Path | None
    context: str
    key: InputKey

    @property
    def base(self) -> ImageReference | None:
        """The pinned image under the final stage; None when it is built from scratch."""
        origins = [use for use in self.uses if use.place in (ImagePlace.FROM, ImagePlace.INSERTED)]
        return self.pinned(origins[-1]) if origins else None

    def pinned(self, use: ImageUse) -> ImageReference:
        """The image of a use, by digest."""
        return use.reference.with_digest(self.digests[use.reference.canonical])


def collect_inputs(request: BuildRequest, registry: Registry) -> BuildInputs:
    """Resolve every image and hash the rest. Nothing is pulled. Raises BuildError of category input or base_pull."""
    try:
        uses = image_uses(request.containerfile, request.base, {**platform_arguments(), **request.build_args})
    except InvalidContainerfile as error:
        raise invalid_containerfile(error) from error
    digests: dict[str, str] = {}
    for use in uses:
        if use.reference.canonical not in digests:
            digests[use.reference.canonical] = use.reference.digest or _resolved(use, registry)
    context = hash_context(request)
    hashes = {
        "containerfile": text_hash("\n".join(request.containerfile.lines)),
        "platform": text_hash(native_platform()),
    }
    if request.context is not None:
        hashes["context"] = context
    for use in uses:
        hashes[_input_name(use, request.base)] = digests[use.reference.canonical]
    hashes.update({f"build_arg {name}": text_hash(value) for name, value in request.build_args.items()})
    hashes.update({f"label {name}": text_hash(value) for name, value in request.labels.items()})
    key = InputKey.over(hashes)
    try:
        pinned = pinned_text(request.containerfile, uses, digests)
    except InvalidContainerfile as error:
        raise invalid_containerfile(error) from error
    return BuildInputs(
        uses,
        digests,
        pinned + label_instruction({**request.labels, **key.labels()}, request.containerfile.escape),
        find_ignore_file(request.context, request.containerfile_path) if request.context else None,
        context,
        key,
    )


def hash_context(request: BuildRequest) -> str:
    """The hash of the context as it is now; empty text without a context. Raises BuildError of category input."""
    if request.context is None:
        return ""
    ignore_file = find_ignore_file(request.context, request.containerfile_path)
    try:
        rules = IgnoreRules.parse(ignore_file.read_bytes().decode("utf-8")) if ignore_file else IgnoreRules()
        return context_hash(request.context, rules)
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(f"The context {request.context} cannot be read: {error}.") from error


def platform_arguments() -> dict[str, str]:
    """The platform arguments that engines predefine for FROM."""
    platform = native_platform()
    system, _slash, architecture = platform.partition("/")
    return {
        f"{prefix}{name}": value
        for prefix in ("TARGET", "BUILD")
        for name, value in (("PLATFORM", platform), ("OS", system), ("ARCH", architecture))
    }


def _resolved(use: ImageUse, registry: Registry) -> str:
    try:
        return registry.resolve(use.reference, FailureCategory.BASE_PULL).digest
    except BuildError as error:
        if use.instruction is None:
            raise
        failure = error.failure
        raise BuildError(
            type(failure)(
                failure.category,
                f"Line {use.instruction.line}: {failure.message}",
                step=str(use.instruction),
                line=use.instruction.line,
                excerpt=failure.excerpt,
                retryable=failure.retryable,
            )
        ) from error


def _input_name(use: ImageUse, base: ImageReference | None) -> str:
    return (
        "base" if base is not None and use.reference is base else f"image {use.reference.canonical.partition('@')[0]}"
    )
