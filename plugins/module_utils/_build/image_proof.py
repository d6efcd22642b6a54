# SPDX-License-Identifier: GPL-3.0-or-later
"""What a built image has to pass before anybody else sees it: its own checks, its configuration, and that no secret is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_files import BuildFiles
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import BuildInputs
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import LISTINGS, BuildRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.built_tree import BuiltTree, built_tree
from ansible_collections.imagemode.nodes.plugins.module_utils._build.components import check_base_survived
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine, choose_isolation
from ansible_collections.imagemode.nodes.plugins.module_utils._build.given_secrets import given_secrets
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_lint import lint_image
from ansible_collections.imagemode.nodes.plugins.module_utils._build.leak_search import find_leaks
from ansible_collections.imagemode.nodes.plugins.module_utils._build.platform_base import PlatformBase
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_secrets import registry_secrets
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    EXCERPT_LINES,
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_checks import (
    Finding,
    Severity,
    check_image,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_check import check_rendered
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import PathOwner

LINT_SECONDS = 600.0


@dataclass(frozen=True)
class ImageProof:
    """The checks of one platform's image, which is in local storage and not pushed yet."""

    engine: Engine
    request: BuildRequest
    inputs: BuildInputs
    base: PlatformBase
    files: BuildFiles
    log: Path
    platform: str
    sources: Registry

    def prove(self, image: str) -> tuple[str, ...]:
        """Raise BuildError of category leak, verify or lint; returns what is only to be warned of."""
        warnings = list(self._search_leaks(image))
        with contextlib.ExitStack() as stack:

            def tree_of(name: str) -> BuiltTree:
                return stack.enter_context(built_tree(self.engine, name, self.files.directory))

            base = tree_of(str(self.inputs.base)).entries if self.inputs.base and self._looks_at_base else None
            if base is not None and self.inputs.components:
                cache = self.request.work_dir / LISTINGS
                warnings.extend(check_base_survived(self.inputs.components, self.sources, self.platform, cache, base))
            if self.request.checks != "skip" or self.inputs.machine_config is not None:
                tree = tree_of(image)
                self._check_configuration(tree)
                if self.request.checks != "skip":
                    warnings.extend(self._check_files(tree, image, base))
                    warnings.extend(self._lint(tree.entries, image))
        return tuple(warnings)

    @property
    def _looks_at_base(self) -> bool:
        return self.request.checks != "skip" or bool(self.inputs.components)

    def _search_leaks(self, image: str) -> Iterator[str]:
        secrets = given_secrets(self.request, self.inputs)
        # No step can read these, but a context can have a copy of the file.
        kept_out = self.inputs.machine_config.secrets() if self.inputs.machine_config else {}
        secrets.update(kept_out)
        for authfile in {self.request.access.authfile, self.request.base_access.authfile} - {None}:
            secrets.update(registry_secrets(Path(str(authfile))))
        if not secrets:
            return
        report = find_leaks(self.engine, image, self.base.diff_ids, secrets, self.files.directory)
        if report.leaks:
            places = [str(leak) for leak in report.leaks]
            raise self._failed(
                FailureCategory.LEAK,
                f"A secret is in the image, which was not pushed: {places[0]}. Whoever can pull the image could read it. Write it "
                "nowhere but below /run or /tmp within the one RUN step that mounts it, and let no tool print or cache it.",
                places,
            )
        for one in report.unsearchable:
            if one.secret in kept_out:  # a file that nobody may read need not have anything telling in it
                continue
            yield f"Whether {one.secret} is in a layer was not searched: {one.reason}."

    def _check_configuration(self, tree: BuiltTree) -> None:
        if self.inputs.machine_config is None:
            return
        config = self.inputs.machine_config.config
        hashed = tree.with_hashes([file.path for file in config.owned_by(PathOwner.IMAGE)])
        findings = [str(finding) for finding in check_rendered(config, {**tree.entries, **hashed})]
        if findings:
            raise self._failed(
                FailureCategory.VERIFY,
                f"The image differs from the machine config at {len(findings)} places, so it was not pushed. "
                f"The first: {findings[0]}. Something after the configuration changes it (containerfile_final), or the base hides it.",
                findings,
            )

    def _check_files(self, tree: BuiltTree, image: str, base: FileTree | None) -> list[str]:
        labels = self.engine.local_labels(image) or {}
        return self._verdict(check_image(tree.entries, tree.read, labels, base))

    def _verdict(self, findings: Sequence[Finding]) -> list[str]:
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        if errors and self.request.checks == "fail":
            lines = [_line(finding) for finding in errors]
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            raise self._failed(
                FailureCategory.LINT,
                f"The image would not work on a host, so it was not pushed: {lines[0]}{more}. "
                "Mend it, or say checks: warn to push it all the same.",
                lines,
            )
        return [_line(finding) for finding in findings]

    def _lint(self, tree: FileTree, image: str) -> tuple[str, ...]:
        isolation = choose_isolation(self.request.isolation)
        try:
            outcome = lint_image(self.engine, image, tree, isolation, self.files.directory, self.log, LINT_SECONDS)
        except BuildError as error:
            if self.request.checks != "warn" or error.failure.category is not FailureCategory.LINT:
                raise
            return (error.failure.message,)
        return (*outcome.warnings, *((outcome.note,) if outcome.note else ()))

    def _failed(self, category: FailureCategory, message: str, lines: Sequence[str]) -> BuildError:
        return BuildError(BuildFailure(category, message, excerpt=tuple(lines[:EXCERPT_LINES]), log=str(self.log)))


def _line(finding: Finding) -> str:
    return f"{finding.path}: {finding.message}" if finding.path else finding.message
