# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a node before a rollout: two round trips on an idle node, and nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.boot_facts import parse_boot_facts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_plan import layers_present
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import (
    FactsNotUnderstood,
    NodeFacts,
    parse_facts,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    counted,
    error,
    worst_first,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_node import (
    Judgement,
    NodeView,
    Wish,
    judge_node,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import Inhibitors
from ansible_collections.imagemode.nodes.plugins.module_utils._host import trust_scripts
from ansible_collections.imagemode.nodes.plugins.module_utils._host.boot_questions import BOOT_FACTS
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import HostBusy, ObservationFailed, Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import BUSY_SPEC, DIGESTS_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._host.preflight_questions import (
    FACTS,
    LAYERS,
    ask_registry,
    registry_answer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Runner, ShellFailed

PREFLIGHT_SPEC: dict[str, Any] = {
    **BUSY_SPEC,
    "busy_timeout": {"type": "int", "default": 20},
    **DIGESTS_SPEC,
    "image": {"type": "str"},
    "layers": {"type": "dict", "default": {}},
    "tool": {"type": "str", "choices": ["auto", *(tool.value for tool in Tool)], "default": "auto"},
    "signature_policy": {
        "type": "str",
        "choices": [policy.value for policy in SignaturePolicy],
        "default": SignaturePolicy.UNCHANGED.value,
    },
    "ostree_remote": {"type": "str"},
    "local_changes": {
        "type": "str",
        "choices": [policy.value for policy in LocalChangesPolicy],
        "default": LocalChangesPolicy.FAIL.value,
    },
    "bypass_driver": {"type": "bool", "default": False},
    "inhibitors": {"type": "str", "choices": [i.value for i in Inhibitors], "default": Inhibitors.FAIL.value},
    "registry_timeout": {"type": "int", "default": 20},
}

_LOOK_SECONDS = 20


def wish_of(params: Mapping[str, Any]) -> Wish:
    """What the rollout is going to ask for. Raises InvalidReference."""
    desired = None
    if params["image"]:
        desired = DesiredImage(
            reference=ImageReference.parse(params["image"]).require_registry(),
            expected_digests=frozenset(params["expected_digests"]),
            signature_policy=SignaturePolicy(params["signature_policy"]),
            local_changes=LocalChangesPolicy(params["local_changes"]),
            remote=params["ostree_remote"] or None,
        )
    return Wish(
        desired=desired,
        tool=None if params["tool"] == "auto" else Tool(params["tool"]),
        bypass_driver=params["bypass_driver"],
        inhibitors=Inhibitors(params["inhibitors"]),
        layers={
            platform: tuple((str(layer["digest"]), int(layer["size"])) for layer in layers)
            for platform, layers in params["layers"].items()
        },
    )


def look_before_rollout(
    runner: Runner,
    params: Mapping[str, Any],
    notify: Callable[[str], None] = lambda _sentence: None,
    clock: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """The result of `node_preflight_info`. A node that cannot be reached or read is a finding.

    Raises InvalidReference for options that make no sense.
    """
    wish = wish_of(params)
    try:
        host = Observer(runner, params["busy_timeout"], notify).completely()
        view = _look(runner, wish, host, params["registry_timeout"], clock) if host.image_mode else NodeView(host)
    except NodeUnreachable as failure:
        return unreachable(str(failure))
    except ShellFailed as failure:
        return _result(None, Judgement((error(Check.REACHABLE, str(failure), _CHECK_CONNECTION),)))
    except HostBusy as failure:
        return _result(None, Judgement((error(Check.BUSY, str(failure)),)))
    except ObservationFailed as failure:
        return _result(None, Judgement((error(Check.TOOL, str(failure)),)))
    return _result(host, judge_node(wish, view))


_CHECK_CONNECTION = "Check address, user and become of the node: `ansible NODE -m ansible.builtin.raw -a id`."


def unreachable(told: str) -> dict[str, Any]:
    """The result for a node that no connection leads to."""
    finding = error(
        Check.REACHABLE, told, "Start the node or mend its network, or take it out of the pool. It counts as failed."
    )
    return {**_result(None, Judgement((finding,))), "unreachable_host": True}


def _look(runner: Runner, wish: Wish, host: HostState, seconds: int, clock: Callable[[], float]) -> NodeView:
    steps = [FACTS, trust_scripts.look(_LOOK_SECONDS), BOOT_FACTS]
    steps += [LAYERS] if wish.layers and host.booted and not host.booted.composefs else []
    steps += [ask_registry(wish.desired.reference, seconds)] if wish.desired else []
    began = clock()
    outcomes = runner.run(steps)
    ended = clock()
    facts_said, trust_said, boot_said, *rest = outcomes
    facts = _facts(facts_said.stdout)
    layers = next((outcome for outcome in rest if outcome.argv == LAYERS.argv and outcome.ok), None)
    try:
        trust = trust_scripts.parse(trust_said.stdout)
    except (ValueError, IndexError, KeyError):
        trust = None
    return NodeView(
        host=host,
        facts=facts,
        trust=trust,
        boot=parse_boot_facts(boot_said.stdout),
        present=layers_present(layers.stdout) if layers else frozenset(),
        registry=registry_answer(rest[-1]) if wish.desired else None,
        skew=_skew(facts, began, ended),
    )


def _facts(text: str) -> NodeFacts | None:
    try:
        return parse_facts(text)
    except FactsNotUnderstood:
        return None


def _skew(facts: NodeFacts | None, began: float, ended: float) -> float | None:
    """Seconds that the node's clock was ahead, 0 where its time lies within the trip: it tells whole seconds."""
    if facts is None or facts.time is None:
        return None
    if facts.time > ended:
        return facts.time - ended
    return min(0.0, facts.time + 1 - began)


def _result(host: HostState | None, judgement: Judgement) -> dict[str, Any]:
    findings = worst_first(judgement.findings)
    counts = counted(findings)
    words = [f"{number} {name}{'' if number == 1 else 's'}" for name, number in counts.items() if number]
    return {
        "changed": False,
        "ready": judgement.ready,
        "findings": [finding.as_dict() for finding in findings],
        "pull_bytes": judgement.pull_bytes,
        "host": host.as_dict() if host else None,
        "msg": ", ".join(words) if words else "nothing found",
    }
