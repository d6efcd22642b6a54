# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry as the build sees it, through skopeo: resolve, read labels, copy a tag."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import require_tool
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import (
    ResolvedImage,
    UnknownManifest,
    native_platform,
)
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

ANSWER_SECONDS = 60.0
COPY_SECONDS = 3600.0


@dataclass(frozen=True)
class RegistryAccess:
    """How to reach registries. `validate_certs` None leaves it to the host's registries.conf.

    `ca_file` is a bundle to trust beside the host's own; the tools find it in `cert_dir`, which `with_ca` makes.
    """

    authfile: str | None = None
    validate_certs: bool | None = None
    ca_file: str | None = None
    cert_dir: str | None = None

    def with_ca(self, directory: Path) -> RegistryAccess:
        """The same with a directory for the CA bundle below `directory`, if there is a bundle. Raises OSError."""
        if self.ca_file is None:
            return self
        content = Path(self.ca_file).read_bytes()
        place = directory / f"ca-{hashlib.sha256(content).hexdigest()[:12]}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = place / f".{os.getpid()}.new"
        new.write_bytes(content)
        new.replace(place / "ca.crt")
        return replace(self, cert_dir=str(place))

    def options(self, prefix: str = "") -> list[str]:
        """The options of a container tool; `prefix` is `src-` or `dest-` where it knows two registries."""
        found = []
        if self.authfile is not None:
            found.append(f"--{prefix}authfile={self.authfile}")
        if self.validate_certs is not None:
            found.append(f"--{prefix}tls-verify={str(self.validate_certs).lower()}")
        if self.cert_dir is not None:
            found.append(f"--{prefix}cert-dir={self.cert_dir}")
        return found


@dataclass(frozen=True)
class ImageConfiguration:
    """The configuration of one manifest. `created` is RFC 3339 text or None; `diff_ids` one per layer."""

    platform: str
    labels: dict[str, str]
    created: str | None
    diff_ids: tuple[str, ...]


@dataclass
class Registry:
    """Asks registries through skopeo. `category` is what a failure counts as."""

    access: RegistryAccess
    skopeo: str = field(default_factory=lambda: require_tool("skopeo"))

    def resolve(self, reference: ImageReference, category: FailureCategory = FailureCategory.REGISTRY) -> ResolvedImage:
        """What the reference stands for now. Raises BuildError."""
        found = self.find(reference, category)
        if isinstance(found, BuildFailure):
            raise BuildError(found)
        return found

    def resolve_if_there(self, reference: ImageReference) -> ResolvedImage | None:
        """The same, or None where the registry has no such image. Raises BuildError for all else.

        Some registries refuse to talk about a repository that does not exist yet as if it were somebody else's. Where
        they accept the credentials as such, that counts as not there: the push will tell.
        """
        found = self.find(reference, FailureCategory.REGISTRY)
        if not isinstance(found, BuildFailure):
            return found
        trouble = registry_trouble("\n".join(found.excerpt))
        refused = trouble in (RegistryTrouble.UNAUTHORIZED, RegistryTrouble.DENIED)
        if trouble is RegistryTrouble.MISSING or (refused and self._accepts_credentials(reference)):
            return None
        raise BuildError(found)

    def _accepts_credentials(self, reference: ImageReference) -> bool:
        """Whether the registry takes the stored credentials. Nothing is stored: no others are given."""
        try:
            done = capture([self.skopeo, "login", *self.access.options(), reference.registry or ""], ANSWER_SECONDS)
        except DeadlinePassed:
            return False
        return done.exit_code == 0

    def find(self, reference: ImageReference, category: FailureCategory) -> ResolvedImage | BuildFailure:
        """What the reference stands for, or why that cannot be told."""
        output = self._ask(
            ["inspect", "--raw", *self.access.options(), _url(reference)], "resolve", reference, category
        )
        if isinstance(output, BuildFailure):
            return output
        try:
            return ResolvedImage.parse(output)
        except UnknownManifest as error:
            return BuildFailure(category, f"{reference} cannot be used: {error}.")

    def configuration(self, reference: ImageReference, image: ResolvedImage) -> ImageConfiguration:
        """The configuration of the image, of this machine's platform where it has several. Raises BuildError."""
        digest = image.digest
        if image.is_index:
            if not image.platforms:
                raise BuildError(BuildFailure(FailureCategory.REGISTRY, f"{reference} is an index without any image."))
            digest = image.platforms.get(native_platform()) or next(iter(image.platforms.values()))
        pinned = reference.with_digest(digest)
        argv = ["inspect", "--config", *self.access.options(), _url(pinned)]
        output = self._ask(argv, "read the configuration of", pinned, FailureCategory.REGISTRY)
        if isinstance(output, BuildFailure):
            raise BuildError(output)
        return _configuration(json.loads(output.decode("utf-8", "replace")))

    def resolve_with_configuration(
        self, reference: ImageReference
    ) -> tuple[ResolvedImage, ImageConfiguration] | tuple[None, None]:
        """`resolve_if_there` and `configuration`, both asked for at once. Raises BuildError."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            argv = ["inspect", "--config", *self.access.options(), _url(reference)]
            asked = pool.submit(self._ask, argv, "read the configuration of", reference, FailureCategory.REGISTRY)
            found = self.resolve_if_there(reference)
            answer = asked.result()
        if found is None:
            return None, None
        if isinstance(answer, BuildFailure):  # an index without an image for this machine is asked about by digest
            return found, self.configuration(reference, found)
        return found, _configuration(json.loads(answer.decode("utf-8", "replace")))

    def copy_argv(self, source: ImageReference, target: ImageReference) -> list[str]:
        """The command that gives an image in a registry another tag, byte for byte."""
        options = [*self.access.options("src-"), *self.access.options("dest-")]
        return [self.skopeo, "copy", "--all", "--preserve-digests", *options, _url(source), _url(target)]

    def copy(self, argv: Sequence[str], target: ImageReference) -> None:
        """Run `copy_argv`. Raises BuildError of category push."""
        output = self._ask(argv[1:], "push", target, FailureCategory.PUSH, COPY_SECONDS)
        if isinstance(output, BuildFailure):
            raise BuildError(output)

    def _ask(
        self,
        arguments: Sequence[str],
        action: str,
        reference: ImageReference,
        category: FailureCategory,
        timeout: float = ANSWER_SECONDS,
    ) -> bytes | BuildFailure:
        return answer(
            [self.skopeo, *arguments],
            timeout,
            lambda said: registry_failure(category, action, str(reference), said, self.access.authfile),
        )


def _url(reference: ImageReference) -> str:
    return f"docker://{reference.pull_text}"


def _configuration(document: dict[str, Any]) -> ImageConfiguration:
    parts = (document.get("os"), document.get("architecture"), document.get("variant"))
    labels = (document.get("config") or {}).get("Labels") or {}
    return ImageConfiguration(
        platform="/".join(str(part) for part in parts if part),
        labels={str(name): str(value) for name, value in labels.items()},
        created=document.get("created"),
        diff_ids=tuple(str(digest) for digest in (document.get("rootfs") or {}).get("diff_ids") or ()),
    )
