# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of one platform: each index is replaced by the manifest of that platform.

buildah 1.28 takes an index that it has pulled for one platform for the next one as well, so the wrong image would be used.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import BuildInputs
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference


def inputs_of_platform(inputs: BuildInputs, platform: str, registry: Registry) -> BuildInputs:
    """The same inputs for one platform, so that the build host's own is the same whether or not it was named. Raises BuildError."""
    digests = dict(inputs.digests)
    for use in (*inputs.user_uses, *inputs.final_uses):
        known = inputs.digests.get(use.reference.canonical)
        # A stage with a platform of its own, such as $BUILDPLATFORM, is left to the engine.
        if known is not None and (use.instruction is None or use.instruction.flag("platform") is None):
            digests[use.reference.canonical] = _manifest(use.reference.with_digest(known), platform, registry)
    base = inputs.base
    return replace(
        inputs,
        base=base.with_digest(_manifest(base, platform, registry)) if base else None,
        digests=digests,
        components=tuple(
            replace(one, digest=one.pinned_for(platform).digest or one.digest) for one in inputs.components
        ),
    )


def _manifest(image: ImageReference, platform: str, registry: Registry) -> str:
    """The digest of the platform's manifest; that of the image itself where it is no index, or lacks the platform."""
    resolved = registry.resolve(image, FailureCategory.BASE_PULL)
    return next(
        (digest for name, digest in resolved.platforms.items() if name == platform or name.startswith(platform + "/")),
        resolved.digest,
    )
