# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a built image into its registry: push, prove, sign, and only then the tag that hosts follow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build import retry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import BuildRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture, stream
from ansible_collections.imagemode.nodes.plugins.module_utils._build.progress_file import ProgressFile
from ansible_collections.imagemode.nodes.plugins.module_utils._build.push_trace import PushTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import Signer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    registry_failure,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

PUSH_SECONDS = 3600.0
LOCAL_SECONDS = 300.0  # for a command on local storage


@dataclass
class Publication:
    """One image on its way. `target` is the second tag; `commands` collects what changes storage or registry."""

    request: BuildRequest
    registry: Registry
    signer: Signer | None
    target: ImageReference
    digest_file: Path
    log: Path | None
    progress: ProgressFile
    commands: list[list[str]]

    def publish(self, engine: Engine, local: Mapping[str, str]) -> tuple[ResolvedImage, int]:
        """Push local images (platform to name) under the second tag, then point the first tag there.

        A crash at any moment leaves the old image under the first tag, or the new one. Returns what the first tag is then,
        and the bytes that were sent. Raises BuildError.
        """
        skipped = self._push_images(engine, local)
        digest = self.digest_file.read_text().strip()
        arrived = self.registry.resolve(self.target, FailureCategory.PUSH)
        if arrived.digest != digest:
            raise BuildError(
                BuildFailure(
                    FailureCategory.PUSH,
                    f"{self.target} was pushed as {digest}, but the registry now has {arrived.digest} there: "
                    "somebody else pushed to this tag at the same time, or the registry rewrites manifests.",
                    log=str(self.log),
                )
            )
        sent = self._sent_bytes(arrived, skipped)
        self.sign(arrived)
        return self.point_tag(arrived), sent

    def push_argvs(self, engine: Engine, local: Mapping[str, str]) -> list[list[str]]:
        """The commands that push, in their order."""
        options = self.request.access.options()
        if len(local) == 1:
            return [engine.push_argv(next(iter(local.values())), str(self.target), self.digest_file, options)]
        index = self._index_name(local)
        return [
            *engine.index_argvs(index, list(local.values())),
            engine.push_index_argv(index, str(self.target), self.digest_file, options),
        ]

    def tag_argv(self) -> list[str]:
        """The command that points the first tag to what is under the second."""
        return self.registry.copy_argv(self.target, self.request.image)

    def sign(self, image: ResolvedImage) -> None:
        """Sign what is under the second tag, as far as it is not signed. Raises BuildError of category sign."""
        if self.signer is not None:
            self.commands.extend(self.signer.sign(self.request.image, self.target, image))

    def point_tag(self, wanted: ResolvedImage) -> ResolvedImage:
        """Let the first tag name the image, and read it back from the registry."""
        argv = self.tag_argv()
        self.commands.append(argv)
        self.registry.copy(argv, self.request.image)
        found = self.registry.resolve(self.request.image, FailureCategory.PUSH)
        if found.digest != wanted.digest:
            raise BuildError(
                BuildFailure(
                    FailureCategory.PUSH,
                    f"{self.request.image} should now be {wanted.digest}, but the registry has "
                    f"{found.digest}: somebody else pushed to this tag at the same time. Run again.",
                    log=str(self.log) if self.log else None,
                    retryable=True,
                )
            )
        return found

    def _push_images(self, engine: Engine, local: Mapping[str, str]) -> set[str]:
        *preparing, push = self.push_argvs(engine, local)
        index = self._index_name(local)
        try:
            if preparing:
                capture(engine.remove_index_argv(index), LOCAL_SECONDS)  # of a run that was killed
            for argv in preparing:
                self.commands.append(argv)
                done = capture(argv, LOCAL_SECONDS)
                if done.exit_code != 0:
                    raise BuildError(
                        BuildFailure(FailureCategory.ENGINE, f"Could not make the index: {done.errors.strip()}")
                    )
            return self._push(push)
        finally:
            if preparing:
                capture(engine.remove_index_argv(index), LOCAL_SECONDS, cleaning_up=True)

    def _index_name(self, local: Mapping[str, str]) -> str:
        return f"{next(iter(local.values()))}-index"

    def _push(self, argv: list[str]) -> set[str]:
        """Push, with a bounded number of attempts; the layers (diff ids) that the registry had already."""
        if self.log is None:
            raise ValueError("the log is made before anything is pushed")
        self.commands.append(argv)
        failure = None
        for delay in (0.0, *retry.RETRY_DELAYS):
            time.sleep(delay)
            trace = PushTrace()
            self.progress.push_began()

            def read(line: str, trace: PushTrace = trace) -> bool:
                self.progress.push_read(line)
                return trace.read(line)

            try:
                exit_code = stream(argv, self.log, PUSH_SECONDS, read)
            except DeadlinePassed as error:
                exit_code = -1
                trace = PushTrace(tail=deque([str(error)]))
            if exit_code == 0:
                return trace.skipped
            failure = registry_failure(
                FailureCategory.PUSH, "push", str(self.target), trace.errors, self.request.access.authfile
            ).with_log(str(self.log))
            if not failure.retryable:
                break
        raise BuildError(failure or BuildFailure(FailureCategory.PUSH, f"{self.target} was never pushed."))

    def _sent_bytes(self, arrived: ResolvedImage, skipped: set[str]) -> int:
        """The compressed size of what the push sent: layers, each once, and configurations."""
        manifests = [arrived]
        if arrived.is_index:
            manifests = [self.registry.resolve(self.target.with_digest(digest)) for digest in arrived.manifests]
        sent: dict[str, int] = {}
        configurations = 0
        for manifest in manifests:
            configuration = self.registry.configuration(self.target.with_digest(manifest.digest), manifest)
            configurations += manifest.config_size
            for layer, diff_id in zip(manifest.layers, configuration.diff_ids):
                if diff_id not in skipped:
                    sent[layer.digest] = layer.size
        return sum(sent.values()) + configurations
