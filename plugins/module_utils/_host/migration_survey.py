# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a node that may be migrated to bootc. Two round trips, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_plan import (
    LayerStore,
    Migration,
    layers_present,
    plan_migration,
    platform_of,
    readable_bytes,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import BUSY_SPEC, DIGESTS_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner, Step

MIGRATION_SPEC: dict[str, Any] = {
    **BUSY_SPEC,
    **DIGESTS_SPEC,
    "image": {"type": "str", "required": True},
    "layers": {"type": "dict", "default": {}},
    "signature_policy": {
        "type": "str",
        "choices": [policy.value for policy in SignaturePolicy],
        "default": SignaturePolicy.UNCHANGED.value,
    },
    "ostree_remote": {"type": "str"},
    "local_changes": {
        "type": "str",
        "choices": [LocalChangesPolicy.FAIL.value, LocalChangesPolicy.DISCARD.value],
        "default": LocalChangesPolicy.FAIL.value,
    },
}

_MACHINE = Step(("uname", "-m"), timeout=10)
_REFS = Step(("ostree", "refs"), timeout=60)


def survey_migration(
    runner: Runner, params: Mapping[str, Any], notify: Callable[[str], None] = lambda _sentence: None
) -> dict[str, Any]:
    """The result of `migration_info`. Raises ObservationFailed, InvalidReference, NodeUnreachable."""
    desired = DesiredImage(
        reference=ImageReference.parse(params["image"]).require_registry(),
        expected_digests=frozenset(params["expected_digests"]),
        signature_policy=SignaturePolicy(params["signature_policy"]),
        local_changes=LocalChangesPolicy(params["local_changes"]),
        remote=params["ostree_remote"] or None,
    )
    state = Observer(runner, params["busy_timeout"], notify).completely()
    store = _store(runner, params["layers"]) if state.image_mode else LayerStore(None)
    migration = plan_migration(state, desired, store)
    return {
        "changed": False,
        "host": state.as_dict(),
        "runs": _runs(state.booted) if state.booted else "no image",
        **migration.as_dict(),
        "msg": _sentence(migration),
    }


def _runs(booted: Deployment) -> str:
    """The booted deployment in the few words that a table has room for; what was added to it is another column."""
    image = booted.image or booted.below
    if image is not None:
        return image.describe()
    words = [booted.origin or "ostree", booted.version, f"(commit {(booted.checksum or 'unknown')[:12]})"]
    return " ".join(word for word in words if word)


def _store(runner: Runner, layers: Mapping[str, Sequence[Mapping[str, Any]]]) -> LayerStore:
    """A repository that cannot be listed counts as empty: what is told is what has to be pulled at most."""
    machine, refs = runner.run([_MACHINE, _REFS])
    platform = platform_of(machine.stdout.strip(), layers)
    if platform is None:
        return LayerStore(None)
    wanted = tuple((str(layer["digest"]), int(layer["size"])) for layer in layers[platform])
    return LayerStore(wanted, layers_present(refs.stdout) if refs.ok else frozenset())


def _sentence(migration: Migration) -> str:
    if migration.blocked:
        return f"{migration.case.value}: cannot be migrated as things stand: {migration.blocked}"
    reboots = "no reboot" if migration.reboots == 0 else f"{migration.reboots} reboot"
    return f"{migration.case.value}: {readable_bytes(migration.pull_bytes)} to pull, {reboots}"
