# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to results: what layered_image_build does between its argument specification and its exit."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import collect_inputs
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    LISTINGS,
    BuildRequest,
    unused_arguments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_build import (
    Action,
    BuiltImage,
    ImageBuild,
    Published,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import (
    Outcome,
    failed,
    hanging,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import build_request
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import (
    DeadlinePassed,
    Interrupted,
    ending_on_signals,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.progress_file import ProgressFile
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import Signer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import PREDEFINED_ARGUMENTS
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import inputs_text

SHOWN_INPUTS = 5


def layered_build(params: Mapping[str, Any], check_mode: bool) -> Outcome:
    """The result of layered_image_build."""
    build: ImageBuild | None = None
    progress: ProgressFile | None = None
    try:
        with ending_on_signals():
            request = build_request(params)
            progress = ProgressFile(None if check_mode else request.progress_file)
            build = _image_build(request, progress)
            published = build.published()
            action = build.action(published)
            if check_mode:
                build.commands.extend(build.planned_commands(action, published))
                known = published.by_key if action is not Action.BUILD else None
                built = BuiltImage(action, known, published.platform, 0, None)
            else:
                built = build.run(action, published)
    except BuildError as error:
        return failed(error.failure, _known(build))
    except Interrupted as error:
        return failed(_interrupted(error, build), _known(build))
    except DeadlinePassed as error:
        return failed(hanging(error), _known(build))
    except OSError as error:
        return failed(_refusing(error, params, build), _known(build))
    finally:
        if progress is not None:
            progress.end()
    result = {**_build_result(build, published, built), "msg": _summary(build, published, built, check_mode)}
    return Outcome(result, warnings=(*_unused(build), *build.inputs.entitlement.notes, *built.warnings))


def _image_build(request: BuildRequest, progress: ProgressFile) -> ImageBuild:
    sources = Registry(request.base_access)
    inputs = collect_inputs(request, sources, request.work_dir / LISTINGS)
    signer = Signer.of(request.sign, request.access)
    return ImageBuild(request, inputs, sources, Registry(request.access), signer, progress)


def _interrupted(error: Interrupted, build: ImageBuild | None) -> BuildFailure:
    return BuildFailure(
        FailureCategory.ENGINE,
        f"The build was interrupted: {error}. No tag was left half pushed. Run again; it resumes from the layers it has.",
        log=str(build.log) if build and build.log else None,
        retryable=True,
    )


def _refusing(error: OSError, params: Mapping[str, Any], build: ImageBuild | None) -> BuildFailure:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    places = f"work_dir ({params['work_dir']}) and {tempfile.gettempdir()}"
    if is_full:
        message = f"The disk of the build host is full: {error}. Free space in {places}, then run again. Nothing was half pushed."
    else:
        message = f"The build host refuses: {error}. The user of the task must be able to write to {places}."
    return BuildFailure(
        FailureCategory.DISK if is_full else FailureCategory.ENGINE,
        message,
        log=str(build.log) if build and build.log else None,
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
        "changed_inputs": _changed_inputs(build, built.action, published),
        "diff": _diff(build, built.action, published),
        **_known(build),
    }


def _changed_inputs(build: ImageBuild, action: Action, published: Published) -> list[str]:
    """The inputs in which the image that is now under the tag differs, or which it lacks or has beside."""
    if action is not Action.BUILD or not published.recorded:
        return []
    wanted = build.inputs.key.short_inputs()
    names = wanted.keys() | published.recorded.keys()
    return sorted(name for name in names if wanted.get(name) != published.recorded.get(name))


def _why(build: ImageBuild, published: Published, action: Action) -> str:
    """Why something is done, in a few words."""
    if action is Action.BUILD:
        names = _changed_inputs(build, action, published)
        if build.request.force:
            return "force"
        if not names:
            if not published.recorded:
                return "there is no image of this collection's under the tag"
            return "its second tag, which names the inputs, is gone"
        more = f" and {len(names) - SHOWN_INPUTS} more" if len(names) > SHOWN_INPUTS else ""
        return f"changed: {', '.join(names[:SHOWN_INPUTS])}{more}"
    return {Action.RETAG: "the tag named something else", Action.SIGN: "no signature of this key"}.get(action, "")


def _summary(build: ImageBuild, published: Published, built: BuiltImage, check_mode: bool) -> str:
    """What came of it, in a line for people."""
    words = {
        Action.BUILD: "built",
        Action.RETAG: "tagged again",
        Action.SIGN: "signed",
        Action.NOTHING: "unchanged",
    }
    reference = build.request.image
    why = _why(build, published, built.action)
    reason = f"; {why}" if why else ""
    key = f"input key {build.inputs.key.short}"
    if check_mode and built.action is not Action.NOTHING:
        return f"{reference} is yet to be {words[built.action]} ({key}{reason})"
    place = str(reference.with_digest(built.image.digest)) if built.image else "in the storage of the build host"
    return f"{reference} is {place} ({words[built.action]}, {built.pushed_bytes} bytes pushed, {key}{reason})"


def _unused(build: ImageBuild) -> tuple[str, ...]:
    unused = unused_arguments(build.request, PREDEFINED_ARGUMENTS)
    return tuple(f"No ARG of the Containerfile declares the build argument {name}." for name in unused)


def _known(build: ImageBuild | None) -> dict[str, Any]:
    if build is None:
        return {"input_key": None, "inputs": [], "commands": [], "base": None, "components": []}
    key = build.inputs.key
    return {
        "input_key": key.value,
        "inputs": [{"name": found.name, "hash": found.hash} for found in key.inputs],
        "commands": build.commands,
        "base": str(build.inputs.base) if build.inputs.base else None,
        "components": [
            {"name": one.name, "version": one.version, "image": str(one.pinned), "kind": one.kind.value}
            for one in build.inputs.components
        ],
    }


def _diff(build: ImageBuild, action: Action, published: Published) -> dict[str, str]:
    """The inputs of what the tag names now against those of what it shall name."""
    header = str(build.request.image)
    after = inputs_text(build.inputs.key.short_inputs())
    before = inputs_text(published.recorded) if action in (Action.BUILD, Action.RETAG) else after
    return {"before_header": header, "after_header": header, "before": before, "after": after}
