# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request to everything that its image depends on: digests of all images, contents, the input key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    BuildRequest,
    UserFile,
    input_error,
    invalid_containerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.components import resolve_components
from ansible_collections.imagemode.nodes.plugins.module_utils._build.context_tree import context_hash
from ansible_collections.imagemode.nodes.plugins.module_utils._build.entitlement import Entitlement
from ansible_collections.imagemode.nodes.plugins.module_utils._build.ignore_file import IgnoreRules, find_ignore_file
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.release_payload import component_of_release
from ansible_collections.imagemode.nodes.plugins.module_utils._build.rendered_directory import RenderedDirectory
from ansible_collections.imagemode.nodes.plugins.module_utils._build.repositories import Repositories
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import native_platform
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import (
    Component,
    component_inputs,
    component_labels,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import InvalidContainerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import (
    ImageUse,
    image_uses,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import LABEL_PREFIX, InputKey, text_hash

BASE_NAME_LABEL = "org.opencontainers.image.base.name"
BASE_DIGEST_LABEL = "org.opencontainers.image.base.digest"
RELEASE_LABEL = f"{LABEL_PREFIX}release"


@dataclass(frozen=True)
class BuildInputs:
    """Everything that decides what is built.

    `base` is pinned; None where the user's file starts from scratch. `digests` maps the canonical text of an image to its
    digest. `labels` are all that the image gets, the key included.
    """

    base: ImageReference | None
    user_uses: tuple[ImageUse, ...]
    final_uses: tuple[ImageUse, ...]
    digests: Mapping[str, str]
    components: tuple[Component, ...]
    machine_config: RenderedDirectory | None
    repositories: Repositories
    entitlement: Entitlement
    context: str
    labels: Mapping[str, str]
    key: InputKey

    @property
    def annotations(self) -> Mapping[str, str]:
        """What engines would write into the manifest by themselves, about the image of the phase before instead of the base."""
        return {name: self.labels[name] for name in (BASE_NAME_LABEL, BASE_DIGEST_LABEL) if name in self.labels}

    def pinned_images(self) -> tuple[str, ...]:
        """The images that the engine pulls, by digest."""
        uses = _from_outside(self.user_uses, self.final_uses)
        found = [str(use.reference.with_digest(self.digests[use.reference.canonical])) for use in uses]
        return tuple(dict.fromkeys([*([str(self.base)] if self.base else []), *found]))


def wanted_platforms(request: BuildRequest) -> tuple[str, ...]:
    """The platforms to build for, the build host's own where none is named."""
    return request.platforms or (native_platform(),)


def collect_inputs(request: BuildRequest, registry: Registry, cache: Path) -> BuildInputs:
    """Resolve every image and hash the rest. Nothing is pulled, but a release payload that was never read.

    Raises BuildError of category input, base_pull or dependency.
    """
    platform = wanted_platforms(request)[0]
    base, release = request.base, None
    if request.release is not None:
        base, release = component_of_release(
            request.release.image, request.release.component, registry, cache, platform
        )
    user_uses, final_uses = _uses(request, base, platform)
    root = next((use.reference for use in user_uses if use.is_root), None if request.containerfile else base)
    if root is None and request.containerfile is None:
        raise input_error("Nothing says what to build on: give the option base, or a Containerfile with a FROM.")
    contents = request.contents
    with ThreadPoolExecutor(max_workers=3) as pool:  # all that goes over the network at once
        asked = pool.submit(_digests, registry, _from_outside(user_uses, final_uses), base)
        asked_components = pool.submit(resolve_components, contents.components, registry, platform)
        asked_repositories = pool.submit(Repositories.of, contents.repositories, request.base_access.ca_file)
        machine_config = RenderedDirectory.read(contents.machine_config) if contents.machine_config else None
        entitlement = Entitlement.of(contents.entitlement)
        context = hash_context(request)
        digests = asked.result()
        components = asked_components.result()
        repositories = asked_repositories.result()
    pinned = root.with_digest(digests[root.canonical]) if root else None
    hashes = {
        **_file_hashes(request),
        **{f"build_arg {name}": text_hash(value) for name, value in _used_arguments(request).items()},
        **{f"label {name}": text_hash(value) for name, value in request.labels.items()},
        **{f"secret {secret.id}": text_hash(f"version {secret.version}") for secret in request.secrets},
        **_content_hashes(request, machine_config),
        **component_inputs(components),
        **repositories.inputs(),
        **entitlement.inputs(),
        "platform": text_hash(",".join(wanted_platforms(request))),
    }
    if request.context is not None:
        hashes["context"] = context
    if release is not None:
        hashes["release"] = release
    if machine_config is not None:
        hashes["machine_config"] = machine_config.content_hash
    for use in _from_outside(user_uses, final_uses):
        hashes[_input_name(use, base)] = digests[use.reference.canonical]
    if root is not None:
        hashes["base" if root is base else f"image {root.canonical.partition('@')[0]}"] = digests[root.canonical]
    if root is not None and root is base:
        hashes["base name"] = text_hash(root.without_digest)  # which is in a label, and in the history
    key = InputKey.over(hashes)
    return BuildInputs(
        pinned,
        user_uses,
        final_uses,
        digests,
        components,
        machine_config,
        repositories,
        entitlement,
        context,
        {
            **_base_labels(root, pinned, release),
            **component_labels(components),
            **request.labels,
            **key.labels(),
        },
        key,
    )


def _uses(
    request: BuildRequest, base: ImageReference | None, platform: str
) -> tuple[tuple[ImageUse, ...], tuple[ImageUse, ...]]:
    """The images from outside that the Containerfile and containerfile_final read."""
    values = {**platform_arguments(platform), **request.build_args}
    try:
        user = image_uses(request.containerfile.containerfile, base, values) if request.containerfile else ()
        # It goes on with the image being built: what is put in the place of its FROM is no image from outside.
        anything = base or request.image
        final = image_uses(request.final.containerfile, anything, values) if request.final else ()
    except InvalidContainerfile as error:
        raise invalid_containerfile(error) from error
    return user, final


def _from_outside(user: Iterable[ImageUse], final: Iterable[ImageUse]) -> tuple[ImageUse, ...]:
    """All but what containerfile_final rests on, which is the image that is being built."""
    return (*user, *(use for use in final if not use.is_root))


def _digests(registry: Registry, uses: Iterable[ImageUse], base: ImageReference | None) -> dict[str, str]:
    """The digest of every image, asked for side by side: a registry far away answers in a tenth of a second each."""
    wanted: dict[str, tuple[ImageReference, ImageUse | None]] = {}
    if base is not None:
        wanted[base.canonical] = (base, None)
    for use in uses:
        wanted.setdefault(use.reference.canonical, (use.reference, use))
    open_questions = {name: pair for name, pair in wanted.items() if pair[0].digest is None}
    found = {name: pair[0].digest or "" for name, pair in wanted.items()}
    if open_questions:
        with ThreadPoolExecutor(max_workers=min(8, len(open_questions))) as pool:
            answers = pool.map(lambda pair: _resolved(pair[0], pair[1], registry), open_questions.values())
            found.update(zip(open_questions, answers))
    return found


def _resolved(reference: ImageReference, use: ImageUse | None, registry: Registry) -> str:
    try:
        return registry.resolve(reference, FailureCategory.BASE_PULL).digest
    except BuildError as error:
        if use is None or use.instruction is None:
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


def _file_hashes(request: BuildRequest) -> dict[str, str]:
    files = {"containerfile": request.containerfile, "containerfile_final": request.final}
    return {name: text_hash("\n".join(file.containerfile.lines)) for name, file in files.items() if file is not None}


def _used_arguments(request: BuildRequest) -> dict[str, str]:
    """The build arguments that can change anything: those that an ARG declares, and those of platforms, which need none."""
    declared = frozenset().union(*(file.containerfile.declared_arguments() for file in request.user_files))
    return {
        name: value
        for name, value in request.build_args.items()
        if name in declared or (request.user_files and name.startswith(("TARGET", "BUILD")))
    }


def _content_hashes(request: BuildRequest, machine_config: RenderedDirectory | None) -> dict[str, str]:
    """The hashes of what the collection itself puts in; packages and the like in any order are the same.

    Components are not: each is a layer, in the order in which they are given.
    """
    contents = request.contents
    hashes = {}
    if len(contents.components) > 1:
        hashes["component order"] = text_hash("\n".join(str(one["name"]) for one in contents.components))
    for name, words in (("packages", contents.packages), ("extensions", contents.extensions)):
        if words:
            hashes[name] = text_hash("\n".join(sorted(set(words))))
    extensions = {*contents.extensions, *(machine_config.config.extensions if machine_config else ())}
    pairs = sorted(
        (name, *sorted(set(words))) for name, words in (contents.extension_packages or {}).items() if name in extensions
    )
    if pairs:
        hashes["extension_packages"] = text_hash("\n".join(" ".join(pair) for pair in pairs))
    if contents.kernel_type is not None:
        hashes["kernel_type"] = text_hash(contents.kernel_type)
    if contents.kernel_arguments:
        hashes["kernel_arguments"] = text_hash("\n".join(contents.kernel_arguments))
    if request.base_access.ca_file is not None:
        hashes["ca_file"] = "sha256:" + hashlib.sha256(Path(request.base_access.ca_file).read_bytes()).hexdigest()
    return hashes


def _base_labels(root: ImageReference | None, pinned: ImageReference | None, release: str | None) -> dict[str, str]:
    """What the image rests on, in the words of the OCI annotations."""
    labels = {}
    if root is not None and pinned is not None:
        labels[BASE_NAME_LABEL] = root.without_digest
        labels[BASE_DIGEST_LABEL] = pinned.digest or ""
    if release is not None:
        labels[RELEASE_LABEL] = release
    return labels


def hash_context(request: BuildRequest) -> str:
    """The hash of the context as it is now; empty text without a context. Raises BuildError of category input."""
    if request.context is None:
        return ""
    ignore_files = {ignore_file_of(request, file) for file in request.user_files} or {None}
    try:
        return text_hash("\n".join(sorted(_hash_below(request.context, found) for found in ignore_files)))
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(f"The context {request.context} cannot be read: {error}.") from error


def _hash_below(context: Path, ignore_file: Path | None) -> str:
    rules = IgnoreRules.parse(ignore_file.read_bytes().decode("utf-8")) if ignore_file else IgnoreRules()
    return context_hash(context, rules)


def ignore_file_of(request: BuildRequest, file: UserFile) -> Path | None:
    """The file that hides parts of the context from a Containerfile of the user's, if there is one."""
    return find_ignore_file(request.context, file.path) if request.context else None


def platform_arguments(platform: str) -> dict[str, str]:
    """The platform arguments that engines predefine for FROM."""
    build = native_platform()
    return {
        f"{prefix}{name}": value
        for prefix, text in (("TARGET", platform), ("BUILD", build))
        for name, value in (("PLATFORM", text), ("OS", text.split("/")[0]), ("ARCH", text.split("/")[1]))
    }


def _input_name(use: ImageUse, base: ImageReference | None) -> str:
    return (
        "base" if base is not None and use.reference is base else f"image {use.reference.canonical.partition('@')[0]}"
    )
