# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests to the byte, lists of tags, copies and deletions: what maintaining a repository takes, through skopeo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._build import registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import require_tool
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._build.retry import answer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    RegistryTrouble,
    registry_failure,
    registry_trouble,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

# What skopeo makes of a 404 to a deletion, whatever was missing.
_ALREADY_GONE = "Image may not exist or is not stored with a v2 Schema"
_DAMAGED = ("digest did not match", "corrupted blob", "invalid checksum")
OTHER_DIGEST = "what was read is damaged, the content of a layer has another digest."
_DISK_FULL = "no space left on device"
_NO_DELETION = ("405 Method Not Allowed", '"UNSUPPORTED"', ": unsupported")


@dataclass(frozen=True)
class RegistryDocuments:
    """`commands` collects what changed a registry or a file."""

    access: RegistryAccess
    skopeo: str = field(default_factory=lambda: require_tool("skopeo"))
    commands: list[list[str]] = field(default_factory=list)

    def manifest(self, reference: ImageReference) -> bytes | None:
        """The bytes of a manifest or an index, None where the registry has no such thing. Raises BuildError."""
        argv = [self.skopeo, "inspect", "--raw", *self.access.options(), f"docker://{reference.pull_text}"]
        return self._ask(argv, "read", reference)

    def tags(self, repository: ImageReference) -> list[str]:
        """All tags of a repository, sorted; none where it does not exist. Raises BuildError."""
        output = self._ask(
            [self.skopeo, "list-tags", *self.access.options(), f"docker://{repository.name}"],
            "list the tags of",
            repository,
        )
        return sorted(json.loads(output)["Tags"] or []) if output else []

    def delete(self, pinned: ImageReference) -> bool:
        """Delete a manifest, and with it every tag on it. False where it was gone already. Raises BuildError."""
        argv = [self.skopeo, "delete", *self.access.options(), f"docker://{pinned.pull_text}"]
        self.commands.append(argv)
        try:
            return self._ask(argv, "delete", pinned) is not None
        except BuildError as error:
            said = "\n".join(error.failure.excerpt)
            if _ALREADY_GONE in said:
                return False
            if any(text in said for text in _NO_DELETION):
                raise BuildError(
                    BuildFailure(
                        FailureCategory.REGISTRY,
                        f"The registry {pinned.registry} does not delete images: deletion is switched off there, or not offered to "
                        "this account. For the registry of the Distribution project set REGISTRY_STORAGE_DELETE_ENABLED=true; others "
                        f"have rules of their own for old tags. {pinned} and what would have come after it are still there.",
                        excerpt=error.failure.excerpt,
                    )
                ) from error
            raise

    def copy_argv(self, arguments: Sequence[str], tmp_dir: str | None = None) -> list[str]:
        """The command of `copy`. What is copied is named by digest or was made here: no policy of this host is asked."""
        settings = ["--insecure-policy", *([f"--tmpdir={tmp_dir}"] if tmp_dir else [])]
        return [self.skopeo, *settings, "copy", "--preserve-digests", *arguments]

    def copy(
        self,
        arguments: Sequence[str],
        action: str,
        about: ImageReference,
        category: FailureCategory,
        tmp_dir: str | None = None,
    ) -> None:
        """Run `skopeo copy`. Raises BuildError of the category, or of category disk where that is the cause."""
        argv = self.copy_argv(arguments, tmp_dir)
        self.commands.append(argv)
        if self._ask(argv, action, about, category, registry.COPY_SECONDS) is None:
            raise BuildError(BuildFailure(category, f"Could not {action} {about}: the registry has no such image."))

    def _ask(
        self,
        argv: Sequence[str],
        action: str,
        about: ImageReference,
        category: FailureCategory = FailureCategory.REGISTRY,
        timeout: float = registry.ANSWER_SECONDS,
    ) -> bytes | None:
        """The output; None where the registry has no such thing. Tries again where that can help."""

        def failure_of(said: str) -> BuildFailure:
            failure = registry_failure(category, action, str(about), said, self.access.authfile)
            if registry_trouble(said) is RegistryTrouble.MISSING:
                return replace(failure, retryable=False)
            if _DISK_FULL in said:
                message = (
                    f"Could not {action} {about}: the disk of this host is full, or its directory for temporary files."
                )
                return BuildFailure(FailureCategory.DISK, message, excerpt=failure.excerpt)
            if any(text in said.lower() for text in _DAMAGED):
                return replace(failure, message=f"Could not {action} {about}: {OTHER_DIGEST}", retryable=False)
            return failure

        found = answer(argv, timeout, failure_of)
        if not isinstance(found, BuildFailure):
            return found
        if registry_trouble("\n".join(found.excerpt)) is RegistryTrouble.MISSING:
            return None
        raise BuildError(found)
