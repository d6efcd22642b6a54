# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an image once per set of inputs: look at the registry, decide, build, push, prove what arrived."""

from __future__ import annotations

import datetime
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_files import BuildFiles
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import BuildInputs, hash_context
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import BuildRequest, input_error
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import BuildCall, Engine, choose_isolation
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layer_ledger import LayerLedger, StorageTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture, stream
from ansible_collections.imagemode.nodes.plugins.module_utils._build.push_trace import PushTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RETRY_DELAYS, Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    build_failure,
    excerpt,
    last_step,
    registry_failure,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import KEY_LABEL, recorded_inputs

TAIL_LINES = 500
PUSH_SECONDS = 3600.0
CLEAN_UP_SECONDS = 300.0  # for each image that is removed from local storage
HEREDOC_VERSIONS = {"buildah": (1, 33), "podman": (4, 9)}


class Action(str, Enum):
    """What a request comes to."""

    NOTHING = "nothing"
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


@dataclass(frozen=True)
class BuiltImage:
    """The image under the tag at the end, and what it took: less than planned where another build was faster.

    `image` is None where nothing was pushed, or would be in check mode.
    """

    action: Action
    image: ResolvedImage | None
    platform: str | None
    pushed_bytes: int
    log: str | None


@dataclass
class ImageBuild:
    """One run. `commands` collects what changes storage or registry, the removal of old layers aside."""

    request: BuildRequest
    inputs: BuildInputs
    registry: Registry
    commands: list[list[str]] = field(default_factory=list)
    log: Path | None = None

    def published(self) -> Published:
        """Look where the image would be: in the registry, or in local storage when it is not to be pushed."""
        key = self.inputs.key
        if not self.request.push:
            engine = Engine.find(self.request.engine)
            by_tag = engine.local_labels(str(self.request.image)) or {}
            by_key = engine.local_labels(str(self.request.key_tag(key.short))) or {}
            return Published(
                recorded=recorded_inputs(by_tag),
                local_key=by_key.get(KEY_LABEL) == key.value,
                local_tag=by_tag.get(KEY_LABEL) == key.value,
            )
        tag = self.registry.resolve_if_there(self.request.image)
        key_reference = self.request.key_tag(key.short)
        found = self.registry.resolve_if_there(key_reference)
        platform = None
        if found is not None:
            configuration = self.registry.configuration(key_reference, found)
            platform = configuration.platform
            if configuration.labels.get(KEY_LABEL) != key.value:
                found = None  # somebody else's image under our second tag
        if tag is None:
            return Published(found, None, {}, platform)
        if found is not None and tag.digest == found.digest:
            return Published(found, tag, key.short_inputs(), platform)
        labels = self.registry.configuration(self.request.image, tag).labels
        return Published(found, tag, recorded_inputs(labels), platform)

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
        same = published.by_tag is not None and published.by_tag.digest == published.by_key.digest
        return Action.NOTHING if same else Action.RETAG

    def planned_commands(self, action: Action) -> list[list[str]]:
        """The commands that `run` would use for this action."""
        if action is Action.NOTHING:
            return []
        files = BuildFiles(self.request.work_dir / self.request.slug)
        publish = [self._tag_argv()] if not self.request.push or action is Action.RETAG else []
        if action is Action.RETAG:
            return publish
        engine = Engine.find(self.request.engine)
        build = engine.build_argv(self._call(files, self._timestamp()))
        if not self.request.push:
            return [build]
        return [build, self._push_argv(engine, files), self._tag_argv()]

    def run(self, action: Action, published: Published) -> BuiltImage:
        """Do it. Raises BuildError; the registry then has either all of the image under a tag or nothing new."""
        if action is Action.NOTHING:
            return BuiltImage(action, published.by_key, published.platform, 0, None)
        if action is Action.RETAG:
            return self._retag(published)
        files = BuildFiles.create(self.request.work_dir, self.request.slug)
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

    def _retag(self, published: Published) -> BuiltImage:
        argv = self._tag_argv()
        self.commands.append(argv)
        if self.request.push:
            self.registry.copy(argv, self.request.image)
            return BuiltImage(Action.RETAG, self._proven(published.by_key), published.platform, 0, None)
        done = capture(argv, PUSH_SECONDS)
        if done.exit_code != 0:
            raise BuildError(BuildFailure(FailureCategory.ENGINE, f"Could not tag the image: {done.errors.strip()}"))
        return BuiltImage(Action.RETAG, None, None, 0, None)

    def _build(self, files: BuildFiles) -> BuiltImage:
        engine = Engine.find(self.request.engine)
        self._check_heredoc(engine)
        files.prepare(self.inputs.containerfile)
        self.log = files.new_log(self.inputs.key.short)
        ledger = LayerLedger(files.ledger)
        trace = StorageTrace()
        call = self._call(files, self._timestamp())
        complete = False
        if not call.use_cache:  # a result that loses its name to a new one would stay in storage without any
            capture(engine.remove_argv(self._local_name()), CLEAN_UP_SECONDS)
        try:
            self._run_engine(engine.build_argv(call), trace)
            if hash_context(self.request) != self.inputs.context:
                raise input_error(
                    f"The context {self.request.context} changed while the image was built, so what is in the image is not "
                    "what its input key says. Nothing was pushed. Run again when nothing writes there any more."
                )
            built = (
                self._publish(engine, files)
                if self.request.push
                else BuiltImage(Action.BUILD, None, None, 0, str(self.log))
            )
            complete = True
        finally:
            ledger.remember(trace, call.tags if self.request.push else ())
            if complete or not self.request.layer_cache:  # after a failure the layers are where the next run resumes
                self._prune(engine, ledger, trace, call.tags)
        return built

    def _run_engine(self, argv: list[str], trace: StorageTrace) -> None:
        log = self._log_path()
        tail: deque[str] = deque(maxlen=TAIL_LINES)

        def note(line: str) -> bool:
            tail.append(line)
            trace.read(line)
            return True

        self.commands.append(argv)
        try:
            exit_code = stream(argv, log, self.request.build_timeout, note)
        except DeadlinePassed as error:
            reached = last_step(list(tail))
            at = f" It was at: {reached.text}" if reached else ""
            failure = build_failure(self.request.containerfile, list(tail), -1, "", None)
            raise BuildError(
                BuildFailure(
                    FailureCategory.STEP if reached else FailureCategory.ENGINE,
                    f"The build was ended: {error} (build_timeout).{at}",
                    step=failure.step,
                    line=failure.line,
                    excerpt=excerpt(list(tail)),
                    log=str(log),
                )
            ) from error
        if exit_code != 0:
            base = str(self.inputs.base or "")
            failure = build_failure(
                self.request.containerfile, list(tail), exit_code, base, self.request.access.authfile
            )
            raise BuildError(failure.with_log(str(log)))

    def _publish(self, engine: Engine, files: BuildFiles) -> BuiltImage:
        """Push under the second tag, prove it, then point the first tag there: a crash between leaves a valid state."""
        target = self.request.key_tag(self.inputs.key.short)
        skipped = self._push(self._push_argv(engine, files), target)
        digest = files.digest_file.read_text().strip()
        arrived = self.registry.resolve(target, FailureCategory.PUSH)
        if arrived.digest != digest:
            raise BuildError(
                BuildFailure(
                    FailureCategory.PUSH,
                    f"{target} was pushed as {digest}, but the registry now has {arrived.digest} there: "
                    "somebody else pushed to this tag at the same time, or the registry rewrites manifests.",
                    log=str(self.log),
                )
            )
        configuration = self.registry.configuration(target, arrived)
        copied = self._tag_argv()
        self.commands.append(copied)
        self.registry.copy(copied, self.request.image)
        uploaded = sum(
            layer.size for layer, diff_id in zip(arrived.layers, configuration.diff_ids) if diff_id not in skipped
        )
        return BuiltImage(
            Action.BUILD, self._proven(arrived), configuration.platform, uploaded + arrived.config_size, str(self.log)
        )

    def _push(self, argv: list[str], target: ImageReference) -> set[str]:
        """Push, with a bounded number of attempts; the layers (diff ids) that the registry had already."""
        log = self._log_path()
        self.commands.append(argv)
        failure = None
        for delay in (0.0, *RETRY_DELAYS):
            time.sleep(delay)
            trace = PushTrace()
            try:
                exit_code = stream(argv, log, PUSH_SECONDS, trace.read)
            except DeadlinePassed as error:
                exit_code = -1
                trace = PushTrace(tail=deque([str(error)]))
            if exit_code == 0:
                return trace.skipped
            failure = registry_failure(
                FailureCategory.PUSH, "push", str(target), trace.errors, self.request.access.authfile
            ).with_log(str(log))
            if not failure.retryable:
                break
        raise BuildError(failure or BuildFailure(FailureCategory.PUSH, f"{target} was never pushed."))

    def _proven(self, wanted: ResolvedImage | None) -> ResolvedImage:
        """Read the first tag back from the registry."""
        found = self.registry.resolve(self.request.image, FailureCategory.PUSH)
        if wanted is None or found.digest != wanted.digest:
            raise BuildError(
                BuildFailure(
                    FailureCategory.PUSH,
                    f"{self.request.image} should now be {wanted.digest if wanted else 'there'}, but the registry has "
                    f"{found.digest}: somebody else pushed to this tag at the same time. Run again.",
                    log=str(self.log) if self.log else None,
                    retryable=True,
                )
            )
        return found

    def _prune(self, engine: Engine, ledger: LayerLedger, trace: StorageTrace, tags: Sequence[str]) -> None:
        """Remove layers of earlier builds; with the cache off, also of this one."""
        current = {*trace.created, *trace.pulled, *(tags if self.request.push else ())}
        bases = {str(self.inputs.pinned(use)) for use in self.inputs.uses}

        def keep(entry: str) -> bool:
            if not self.request.layer_cache:
                return False
            return entry in current or entry in bases or any(reused.startswith(entry) for reused in trace.reused)

        def remove(entry: str) -> bool:
            try:
                done = capture(engine.remove_argv(entry), CLEAN_UP_SECONDS, cleaning_up=True)
            except DeadlinePassed:
                return False
            return done.exit_code == 0 or "not known" in done.errors or "no such image" in done.errors.lower()

        ledger.prune(keep, remove)

    def _call(self, files: BuildFiles, timestamp: int) -> BuildCall:
        key = self.inputs.key
        if self.request.push:
            tags: tuple[str, ...] = (self._local_name(),)
        else:
            tags = (str(self.request.image), str(self.request.key_tag(key.short)))
        return BuildCall(
            containerfile=files.containerfile,
            context=self.request.context or files.empty_context,
            ignore_file=self.inputs.ignore_file or files.no_ignore_file,
            build_args=self.request.build_args,
            tags=tags,
            timestamp=timestamp,
            isolation=choose_isolation(self.request.isolation),
            use_cache=self.request.layer_cache and not self.request.force,
            registry_options=tuple(self.request.access.options()),
        )

    def _timestamp(self) -> int:
        """The creation time of the base in seconds since 1970: the same for the same inputs, and not in 1970."""
        base = self.inputs.base
        if base is None:
            return 0
        resolved = self.registry.resolve(base, FailureCategory.BASE_PULL)
        return _seconds(self.registry.configuration(base, resolved).created)

    def _local_name(self) -> str:
        return f"localhost/imagemode-build/{self.request.slug}:{self.inputs.key.short}"

    def _push_argv(self, engine: Engine, files: BuildFiles) -> list[str]:
        target = self.request.key_tag(self.inputs.key.short)
        return engine.push_argv(self._local_name(), str(target), files.digest_file, self.request.access.options())

    def _tag_argv(self) -> list[str]:
        key_tag = self.request.key_tag(self.inputs.key.short)
        if self.request.push:
            return self.registry.copy_argv(key_tag, self.request.image)
        return [Engine.find(self.request.engine).path, "tag", str(key_tag), str(self.request.image)]

    def _check_heredoc(self, engine: Engine) -> None:
        version = engine.version()
        needed = HEREDOC_VERSIONS[engine.name.value]
        if self.request.containerfile.uses_heredoc and version and version < needed:
            raise BuildError(
                BuildFailure(
                    FailureCategory.ENGINE,
                    f"The Containerfile has a here-document, which {engine.name.value} reads from version "
                    f"{needed[0]}.{needed[1]} on; this is {version[0]}.{version[1]}. Update it, or write the step with && and \\.",
                )
            )

    def _log_path(self) -> Path:
        if self.log is None:
            raise ValueError("the log is made before the engine runs")
        return self.log


def _seconds(created: str | None) -> int:
    """RFC 3339 to seconds since 1970; 0 where it is missing or not a time. Python 3.9 knows neither `Z` nor nanoseconds."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)\Z", created or "")
    if not match:
        return 0
    zone = "+00:00" if match.group(2) == "Z" else match.group(2)
    return max(0, int(datetime.datetime.fromisoformat(match.group(1) + zone).timestamp()))
