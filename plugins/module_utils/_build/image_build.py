# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an image once per set of inputs: look at the registry, decide, build, check, push, prove what arrived."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_files import BuildFiles
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import (
    BuildInputs,
    hash_context,
    wanted_platforms,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_phases import BuildPhase, build_phases
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    LISTINGS,
    BuildRequest,
    input_error,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.components import check_components
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import BuildCall, Engine, choose_isolation
from ansible_collections.imagemode.nodes.plugins.module_utils._build.given_secrets import (
    OutputFilter,
    given_secrets,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_proof import ImageProof
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layer_ledger import LayerLedger, StorageTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.phase_plan import phase_plan
from ansible_collections.imagemode.nodes.plugins.module_utils._build.phase_run import (
    PhaseCalls,
    PhaseRun,
    private_directory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.platform_base import (
    PlatformBase,
    check_heredoc,
    check_that_steps_can_run,
    platform_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.platform_inputs import inputs_of_platform
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture
from ansible_collections.imagemode.nodes.plugins.module_utils._build.progress_file import ProgressFile
from ansible_collections.imagemode.nodes.plugins.module_utils._build.publication import (
    LOCAL_SECONDS,
    PUSH_SECONDS,
    Publication,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import Signer
from ansible_collections.imagemode.nodes.plugins.module_utils._build.storage_driver import storage_driver
from ansible_collections.imagemode.nodes.plugins.module_utils._build.unfinished_build import UnfinishedBuild
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import KEY_LABEL, recorded_inputs


class Action(str, Enum):
    """What a request comes to."""

    NOTHING = "nothing"
    SIGN = "sign"
    RETAG = "retag"
    BUILD = "build"


@dataclass(frozen=True)
class Published:
    """What is there already. `by_key` was built from the same inputs; `recorded` are the inputs of what the tag names."""

    by_key: ResolvedImage | None = None
    by_tag: ResolvedImage | None = None
    recorded: dict[str, str] = field(default_factory=dict)
    platform: str | None = None
    local_key: bool = False
    local_tag: bool = False
    signed: bool = True


@dataclass(frozen=True)
class BuiltImage:
    """The image under the tag at the end, and what it took: less than planned where another build was faster.

    `image` is None where nothing was pushed, or would be in check mode. `platform` is that of a single manifest.
    """

    action: Action
    image: ResolvedImage | None
    platform: str | None
    pushed_bytes: int
    log: str | None
    warnings: tuple[str, ...] = ()


@dataclass
class ImageBuild:
    """One run. `commands` collects what changes storage or registry, the removal of old layers aside.

    `pulled` are the images by digest that the engine had to have.
    """

    request: BuildRequest
    inputs: BuildInputs
    sources: Registry
    registry: Registry
    signer: Signer | None
    progress: ProgressFile
    commands: list[list[str]] = field(default_factory=list)
    log: Path | None = None
    pulled: set[str] = field(default_factory=set)

    def published(self) -> Published:
        """Look where the image would be: in the registry, or in local storage when it is not to be pushed."""
        key = self.inputs.key
        if not self.request.push:
            engine = Engine.find(self.request.engine)
            by_tag = engine.local_labels(str(self.request.image)) or {}
            by_key = engine.local_labels(str(self._key_tag)) or {}
            return Published(
                recorded=recorded_inputs(by_tag),
                local_key=by_key.get(KEY_LABEL) == key.value,
                local_tag=by_tag.get(KEY_LABEL) == key.value,
            )
        with ThreadPoolExecutor(max_workers=1) as pool:
            asked = pool.submit(self.registry.resolve_if_there, self.request.image)
            found, configuration = self.registry.resolve_with_configuration(self._key_tag)
            tag = asked.result()
        platform = configuration.platform if configuration else None
        if configuration is None or configuration.labels.get(KEY_LABEL) != key.value:
            found = None  # nothing, or somebody else's image under our second tag
        signed = found is None or self.signer is None or self.signer.is_signed(self.request.image, found)
        if tag is None:
            return Published(found, None, {}, platform, signed=signed)
        if found is not None and tag.digest == found.digest:
            return Published(found, tag, key.short_inputs(), platform, signed=signed)
        labels = self.registry.configuration(self.request.image, tag).labels
        return Published(found, tag, recorded_inputs(labels), platform, signed=signed)

    def action(self, published: Published) -> Action:
        """What has to be done about it."""
        if self.request.force:
            return Action.BUILD
        if not self.request.push:
            if not published.local_key:
                return Action.BUILD
            return Action.NOTHING if published.local_tag else Action.RETAG
        if published.by_key is None:
            return Action.BUILD
        if published.by_tag is None or published.by_tag.digest != published.by_key.digest:
            return Action.RETAG
        return Action.NOTHING if published.signed else Action.SIGN

    def planned_commands(self, action: Action, published: Published) -> list[list[str]]:
        """The commands that `run` would use for this action."""
        if action is Action.NOTHING:
            return []
        files = BuildFiles(self.request.work_dir / self.request.slug)
        publication = self._publication(files)
        if action is not Action.BUILD:
            digest = published.by_key.digest if published.by_key else None
            signing = self._planned_signing(digest) if not published.signed else []
            return [*signing, *([self._tag_argv(publication)] if action is Action.RETAG else [])]
        engine = Engine.find(self.request.engine)
        for file in self.request.user_files:
            check_heredoc(engine, file)
        planned = []
        for platform in wanted_platforms(self.request):
            base = platform_base(self.inputs.base, platform, self.sources)
            calls = self._calls(engine, files, base, files.directory / "private")
            phases = self._phases(platform)
            check_that_steps_can_run(phases, platform)
            tags = self._tags(platform)
            for phase in phases:
                planned.append(calls.argv(phase, tags if phase is phases[-1] else ()))
        if not self.request.push:
            return planned
        return [
            *planned,
            *publication.push_argvs(engine, self._local_names()),
            *self._planned_signing(None),
            publication.tag_argv(),
        ]

    def run(self, action: Action, published: Published) -> BuiltImage:
        """Do it. Raises BuildError; the registry then has either all of the image under a tag or nothing new."""
        if action is Action.NOTHING:
            return BuiltImage(action, published.by_key, published.platform, 0, None)
        files = BuildFiles.create(self.request.work_dir, self.request.slug)
        if action is not Action.BUILD:
            return self._publish_again(action, published, files)
        try:
            with files.locked(self.request.build_timeout) as waited:
                if waited and not self.request.force:
                    published = self.published()
                    action = self.action(published)
                    if action is not Action.BUILD:
                        return self.run(action, published)
                return self._build(files)
        except DeadlinePassed as error:
            raise BuildError(
                BuildFailure(FailureCategory.ENGINE, f"{error}. Raise build_timeout, or end it.")
            ) from error

    def _publish_again(self, action: Action, published: Published, files: BuildFiles) -> BuiltImage:
        """Sign, or point the tag to, what was built before."""
        publication = self._publication(files)
        if not self.request.push:
            argv = self._tag_argv(publication)
            self.commands.append(argv)
            done = capture(argv, PUSH_SECONDS)
            if done.exit_code != 0:
                raise BuildError(
                    BuildFailure(FailureCategory.ENGINE, f"Could not tag the image: {done.errors.strip()}")
                )
            return BuiltImage(action, None, None, 0, None)
        found = published.by_key
        if found is None:
            raise ValueError("there is an image whenever it is not to be built")
        publication.sign(found)
        image = publication.point_tag(found) if action is Action.RETAG else found
        return BuiltImage(action, image, published.platform, 0, None)

    def _build(self, files: BuildFiles) -> BuiltImage:
        engine = Engine.find(self.request.engine)
        storage = storage_driver(engine)
        with storage.in_use():
            built = self._build_with(engine, files)
        return replace(built, warnings=(*built.warnings, *([storage.warning] if storage.warning else [])))

    def _build_with(self, engine: Engine, files: BuildFiles) -> BuiltImage:
        for file in self.request.user_files:
            check_heredoc(engine, file)
        for platform in wanted_platforms(self.request):
            check_components(self.inputs.components, self.sources, platform, self._cache)
        files.prepare()
        ledger = LayerLedger(files.ledger)
        unfinished = UnfinishedBuild(engine, files.unfinished)
        ledger.remember(unfinished.clear())
        self.log = files.new_log(self.inputs.key.short)
        self.progress.log(self.log)
        unfinished.begin(self.log)
        trace = StorageTrace()
        complete = False
        before = [engine.local_id(local) for local in self._local_names().values()]
        try:
            warnings = self._build_platforms(engine, files, trace)
            self._check_context()
            if self.request.push:
                names = self._local_names()
                image, sent = self._publication(files).publish(engine, names)
                only = None if image.is_index else next(iter(names))
                built = BuiltImage(Action.BUILD, image, only, sent, str(self.log), warnings)
            else:
                built = BuiltImage(Action.BUILD, None, None, 0, str(self.log), warnings)
            complete = True
        finally:
            ledger.remember(trace, self._all_local_names())
            if complete or not self.request.layer_cache:  # after a failure the layers are where the next run resumes
                self._prune(engine, ledger, trace)
                self._remove_nameless(engine, before)
            if complete:
                unfinished.end()
            else:
                unfinished.clear()
        return built

    def _remove_nameless(self, engine: Engine, images: Sequence[str | None]) -> None:
        """Remove what lost its last name to the image that was built now, and that nobody else has named."""
        if any(images):
            for image in engine.nameless_images().intersection(images):
                capture(engine.remove_argv(str(image)), LOCAL_SECONDS, cleaning_up=True)

    def _build_platforms(self, engine: Engine, files: BuildFiles, trace: StorageTrace) -> tuple[str, ...]:
        warnings: list[str] = []
        output = OutputFilter.of(given_secrets(self.request, self.inputs))
        began = time.monotonic()
        with private_directory(files) as private:
            for platform in wanted_platforms(self.request):
                base = platform_base(self.inputs.base, platform, self.sources)
                inputs = inputs_of_platform(self.inputs, platform, self.sources)
                self.pulled.update(inputs.pinned_images())
                phases = self._phases(platform, inputs)
                check_that_steps_can_run(phases, platform)
                run = PhaseRun(
                    self._calls(engine, files, base, private),
                    files,
                    self._log_path(),
                    self.request.build_timeout,
                    str(self.inputs.base or ""),
                    self.request.base_access.authfile,
                    self.progress,
                    self.commands,
                    output,
                    trace,
                    began,
                )
                tags = self._tags(platform)
                self._build_platform(run, phases, platform, tags)
                proof = ImageProof(engine, self.request, inputs, base, files, self._log_path(), platform, self.sources)
                warnings.extend(proof.prove(tags[0]))
        return tuple(dict.fromkeys(warnings))

    def _build_platform(
        self, run: PhaseRun, phases: Sequence[BuildPhase], platform: str, tags: tuple[str, ...]
    ) -> None:
        """Build, and look at what it is for: buildah 1.28 takes a cached step of another platform if its layers are the same."""
        architecture = platform.split("/")[1]
        run.build(phases, tags)
        if run.calls.engine.local_architecture(tags[0]) == architecture:
            return
        run.build(phases, tags, use_cache=False)
        found = run.calls.engine.local_architecture(tags[0])
        if found != architecture:
            raise BuildError(
                BuildFailure(
                    FailureCategory.ENGINE,
                    f"{run.calls.engine.name.value} was asked for {platform} and made an image for {found}. It was not pushed. "
                    "A stage with a --platform of its own, or a base without a platform, may be the reason.",
                    log=str(self.log),
                )
            )

    def _check_context(self) -> None:
        if hash_context(self.request) != self.inputs.context:
            raise input_error(
                f"The context {self.request.context} changed while the image was built, so what is in the image is not "
                "what its input key says. Nothing was pushed. Run again when nothing writes there any more."
            )

    def _phases(self, platform: str, inputs: BuildInputs | None = None) -> tuple[BuildPhase, ...]:
        plan = phase_plan(self.request, inputs or self.inputs, platform)
        return build_phases(self.request, plan, platform)

    def _calls(self, engine: Engine, files: BuildFiles, base: PlatformBase, private: Path) -> PhaseCalls:
        """How the engine is called. `private` need not exist for a prediction."""
        is_real = private.is_dir()
        secrets = tuple(
            (secret.id, secret.path(private) if is_real else secret.src or private / f"secret-{secret.id}")
            for secret in self.request.secrets
        )
        volumes = self._written_volumes(private) if is_real else self._planned_volumes(private)

        def call(phase: BuildPhase, tags: tuple[str, ...], use_cache: bool) -> BuildCall:
            own = files.phase_context(phase.name) if phase.files else files.empty_context
            user_context = self.request.context if phase.source.called is not None else None
            return BuildCall(
                containerfile=files.containerfile(phase.name),
                context=user_context or own,
                ignore_file=phase.ignore_file or files.no_ignore_file,
                id_file=files.id_file,
                build_args=self.request.build_args if phase.source.called is not None else {},
                tags=tags,
                timestamp=base.timestamp,
                isolation=choose_isolation(self.request.isolation),
                use_cache=use_cache and self.request.layer_cache and not self.request.force,
                registry_options=tuple(self.request.base_access.options()),
                platform=phase.platform if self.request.platforms else None,
                secrets=secrets,
                volumes=volumes,
                private=private,
                annotations=self.inputs.annotations,
            )

        return PhaseCalls(engine, call)

    def _planned_volumes(self, private: Path) -> tuple[tuple[Path, str], ...]:
        repositories, entitlement = self.inputs.repositories, self.inputs.entitlement
        return (*repositories.mounts(private), *entitlement.mounts(private, bool(repositories.entries)))

    def _written_volumes(self, private: Path) -> tuple[tuple[Path, str], ...]:
        return (*self.inputs.repositories.volumes(private), *self.inputs.entitlement.volumes(private))

    def _publication(self, files: BuildFiles) -> Publication:
        return Publication(
            self.request,
            self.registry,
            self.signer,
            self._key_tag,
            files.digest_file,
            self.log,
            self.progress,
            self.commands,
        )

    def _planned_signing(self, digest: str | None) -> list[list[str]]:
        return self.signer.planned(self.request.image, self._key_tag, digest) if self.signer else []

    def _tag_argv(self, publication: Publication) -> list[str]:
        if self.request.push:
            return publication.tag_argv()
        return [Engine.find(self.request.engine).path, "tag", str(self._key_tag), str(self.request.image)]

    def _prune(self, engine: Engine, ledger: LayerLedger, trace: StorageTrace) -> None:
        """Remove layers of earlier builds; with the cache off, also of this one."""
        current = {*trace.created, *trace.pulled, *self._all_local_names()}

        def keep(entry: str) -> bool:
            if not self.request.layer_cache:
                return False
            return entry in current or entry in self.pulled or any(reused.startswith(entry) for reused in trace.reused)

        def remove(entry: str) -> bool:
            try:
                done = capture(engine.remove_argv(entry), LOCAL_SECONDS, cleaning_up=True)
            except DeadlinePassed:
                return False
            return done.exit_code == 0 or "not known" in done.errors or "no such image" in done.errors.lower()

        ledger.prune(keep, remove)

    @property
    def _key_tag(self) -> ImageReference:
        return self.request.key_tag(self.inputs.key.short)

    @property
    def _cache(self) -> Path:
        return self.request.work_dir / LISTINGS

    def _local(self, platform: str) -> str:
        return f"localhost/imagemode-build/{self.request.slug}:{platform.partition('/')[2].replace('/', '-')}"

    def _local_names(self) -> Mapping[str, str]:
        """What the result of each platform is called in local storage."""
        return {platform: self._tags(platform)[0] for platform in wanted_platforms(self.request)}

    def _tags(self, platform: str) -> tuple[str, ...]:
        if self.request.push:
            return (f"{self._local(platform)}-{self.inputs.key.short}",)
        return (str(self.request.image), str(self._key_tag))

    def _all_local_names(self) -> Sequence[str]:
        """Every name of ours in local storage; a user's own, where nothing is pushed, are the user's."""
        return (
            [name for platform in wanted_platforms(self.request) for name in self._tags(platform)]
            if self.request.push
            else []
        )

    def _log_path(self) -> Path:
        if self.log is None:
            raise ValueError("the log is made before the engine runs")
        return self.log
