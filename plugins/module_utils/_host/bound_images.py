# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a staged deployment is bound to. bootc pulls them after it has staged, so that its failure may mean that
they are missing although the right image boots next (bootc 1.16.9 crates/lib/src/deploy.rs, boundimage.rs).
"""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

_FILES = "/ostree/deploy/*/deploy/$1/usr"
_LIST = f"ls -d {_FILES} || exit 1; ls -A {_FILES}/lib/bootc/bound-images.d 2>/dev/null; true"


def bound_images_step(staged: Deployment) -> Step:
    """The question; its outcome goes to `parse_bound_images`."""
    return Step(("sh", "-c", _LIST, "bound-images", f"{staged.checksum}.{staged.serial}"), timeout=10)


def parse_bound_images(outcome: Outcome) -> tuple[str, ...] | None:
    """The names of the files that bind images; None where the deployment's files were not found."""
    if not outcome.ok:
        return None
    tree, *names = outcome.stdout.splitlines() or [""]
    return tuple(names) if tree else None
