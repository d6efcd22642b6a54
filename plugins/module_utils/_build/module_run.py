# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to results: what the two modules do between their argument specification and their exit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import collect_inputs
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import input_error, unused_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_build import (
    Action,
    BuiltImage,
    ImageBuild,
    Published,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import (
    build_request,
    registry_access,
    registry_reference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import (
    DeadlinePassed,
    Interrupted,
    ending_on_signals,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import PREDEFINED_ARGUMENTS
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import inputs_text


@dataclass(frozen=True)
class Outcome:
    """What a module returns, whether it failed, and what it warns of."""

    result: dict[str, Any]
    failed: bool = False
    warnings: tuple[str, ...] = ()


def digest_info(params: Mapping[str, Any]) -> Outcome:
    """The result of image_digest_info."""
    try:
        reference = registry_reference("image", params["image"])
        registry = Registry(registry_access(params))
        image = registry.resolve(reference) if params["must_exist"] else registry.resolve_if_there(reference)
        if image is None:
            return Outcome(_missing_image(reference))
        configuration = registry.configuration(reference, image)
        found = image.platforms or {configuration.platform: image.digest}
        platforms = _wanted(reference, found, params["platforms"])
        layers = _layers(registry, reference, image, platforms) if params["with_layers"] else {}
    except BuildError as error:
        return _failed(error.failure, {})
    except Interrupted as error:
        return _failed(
            BuildFailure(FailureCategory.ENGINE, f"The question was interrupted: {error}.", retryable=True), {}
        )
    except DeadlinePassed as error:
        return _failed(_hanging(error), {})
    manifests = platforms.values() if params["platforms"] else image.expected_digests
    return Outcome(
        {
            "changed": False,
            "exists": True,
            "reference": reference.canonical,
            "image": str(reference.with_digest(image.digest)),
            "digest": image.digest,
            "media_type": image.media_type,
            "platforms": platforms,
            "expected_digests": list(dict.fromkeys((image.digest, *manifests))),
            "labels": configuration.labels,
            "created": configuration.created,
            "layers": layers,
        }
    )


def _wanted(reference: ImageReference, platforms: dict[str, str], wanted: list[str]) -> dict[str, str]:
    """The platforms that were asked for, or all. Raises BuildError of category input where the image lacks one."""
    absent = [name for name in wanted if not _of(platforms, name)]
    if absent:
        raise input_error(f"{reference} has no image for {', '.join(absent)}, only for {', '.join(sorted(platforms))}.")
    return {name: digest for one in wanted for name, digest in _of(platforms, one).items()} if wanted else platforms


def _layers(
    registry: Registry, reference: ImageReference, image: ResolvedImage, platforms: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """The layers of each platform, lowest first. Raises BuildError."""
    found = {}
    for name, digest in platforms.items():
        manifest = registry.resolve(reference.with_digest(digest)) if image.is_index else image
        found[name] = [{"digest": layer.digest, "size": layer.size} for layer in manifest.layers]
    return found


def _of(platforms: Mapping[str, str], wanted: str) -> dict[str, str]:
    """The entries for a platform; `os/arch` also stands for its variants."""
    return {name: digest for name, digest in platforms.items() if name == wanted or name.startswith(wanted + "/")}


def _missing_image(reference: ImageReference) -> dict[str, Any]:
    return {
        "changed": False,
        "exists": False,
        "reference": reference.canonical,
        "image": None,
        "digest": None,
        "media_type": None,
        "platforms": {},
        "expected_digests": [],
        "labels": {},
        "created": None,
        "layers": {},
    }


def layered_build(params: Mapping[str, Any], check_mode: bool) -> Outcome:
    """The result of layered_image_build."""
    build: ImageBuild | None = None
    try:
        with ending_on_signals():
            request = build_request(params)
            registry = Registry(request.access)
            build = ImageBuild(request, collect_inputs(request, registry), registry)
            published = build.published()
            action = build.action(published)
            if check_mode:
                build.commands.extend(build.planned_commands(action))
                known = published.by_key if action is not Action.BUILD else None
                built = BuiltImage(action, known, published.platform, 0, None)
            else:
                built = build.run(action, published)
    except BuildError as error:
        return _failed(error.failure, _known(build))
    except Interrupted as error:
        return _failed(
            BuildFailure(
                FailureCategory.ENGINE,
                f"The build was interrupted: {error}. No tag was left half pushed. Run again; it resumes from the layers it has.",
                log=str(build.log) if build and build.log else None,
                retryable=True,
            ),
            _known(build),
        )
    except DeadlinePassed as error:
        return _failed(_hanging(error), _known(build))
    except OSError as error:
        return _failed(
            BuildFailure(
                FailureCategory.DISK if error.errno == 28 else FailureCategory.ENGINE,
                f"The build host refuses: {error}. work_dir must be a directory that the user of the task can write.",
            ),
            _known(build),
        )
    result = {**_build_result(build, published, built), "msg": _summary(build, built, check_mode)}
    return Outcome(result, warnings=_warnings(build))


def _hanging(error: DeadlinePassed) -> BuildFailure:
    """A short local command that hangs: not the registry, whose deadlines have words of their own."""
    return BuildFailure(
        FailureCategory.ENGINE,
        f"{error}. That is a command on the machine itself, so its container storage hangs, or the machine is overloaded. Run again.",
        retryable=True,
    )


def _build_result(build: ImageBuild, published: Published, built: BuiltImage) -> dict[str, Any]:
    request = build.request
    image = built.image
    platforms: dict[str, str] = {}
    if image is not None:
        platforms = image.platforms or {built.platform or "": image.digest}
    return {
        "changed": built.action is not Action.NOTHING,
        "action": built.action.value,
        "reference": str(request.image),
        "image": str(request.image.with_digest(image.digest)) if image else None,
        "digest": image.digest if image else None,
        "expected_digests": list(image.expected_digests) if image else [],
        "platforms": platforms,
        "pushed_bytes": built.pushed_bytes,
        "log": built.log,
        "diff": _diff(build, built.action, published),
        **_known(build),
    }


def _summary(build: ImageBuild, built: BuiltImage, check_mode: bool) -> str:
    """What came of it, in a line for people."""
    done = {Action.BUILD: "built", Action.RETAG: "tagged again", Action.NOTHING: "unchanged"}[built.action]
    reference = build.request.image
    key = f"input key {build.inputs.key.short}"
    if check_mode and built.action is not Action.NOTHING:
        return f"{reference} is yet to be {done} ({key})"
    place = str(reference.with_digest(built.image.digest)) if built.image else "in the storage of the build host"
    return f"{reference} is {place} ({done}, {built.pushed_bytes} bytes pushed, {key})"


def _warnings(build: ImageBuild) -> tuple[str, ...]:
    unused = unused_arguments(build.request, PREDEFINED_ARGUMENTS)
    return tuple(f"No ARG of the Containerfile declares the build argument {name}." for name in unused)


def _known(build: ImageBuild | None) -> dict[str, Any]:
    if build is None:
        return {"input_key": None, "inputs": [], "commands": []}
    key = build.inputs.key
    return {
        "input_key": key.value,
        "inputs": [{"name": found.name, "hash": found.hash} for found in key.inputs],
        "commands": build.commands,
    }


def _diff(build: ImageBuild, action: Action, published: Published) -> dict[str, str]:
    """The inputs of what the tag names now against those of what it shall name."""
    header = str(build.request.image)
    after = inputs_text(build.inputs.key.short_inputs())
    before = after if action is Action.NOTHING else inputs_text(published.recorded)
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _failed(failure: BuildFailure, known: Mapping[str, Any]) -> Outcome:
    result = {**known, "changed": False, "msg": failure.message, "failure": failure.as_result()}
    return Outcome(result, failed=True)
