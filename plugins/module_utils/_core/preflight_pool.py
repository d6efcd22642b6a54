# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a rollout as a whole: the image, the settings, the state of the pool, the cluster around it.

The results come as the modules return them. None is a task that did not run, as a skipped one, and no finding. One that
failed has none of the fields of success; whether it says `failed` is the play's choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import HealthCheckError, parse_checks
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    Finding,
    Severity,
    error,
    note,
    warning,
)

Result = Mapping[str, Any]


def judge_variables(unknown: Sequence[str]) -> list[Finding]:
    """`unknown`: variables that nobody reads."""
    if not unknown:
        return []
    told = f"nobody reads these variables: {', '.join(unknown)}"
    return [
        warning(
            Check.VARIABLES, told, "Correct the names; or call yours something that does not begin with imagemode_."
        )
    ]


def judge_mistakes(mistakes: Sequence[str]) -> list[Finding]:
    """What the play found wrong with its own variables, in sentences."""
    return [error(Check.VARIABLES, mistake) for mistake in mistakes]


def judge_health_checks(given: object) -> Iterator[Finding]:
    """Every mistake in the list of health checks."""
    try:
        parse_checks(given)
    except HealthCheckError as mistakes:
        for mistake in mistakes.mistakes:
            yield error(Check.HEALTH_CHECKS, mistake, "Correct imagemode_health_checks.")


def judge_image(result: Result | None) -> Iterator[Finding]:
    """Whether the controller found the image, and a digest to prove."""
    if result is None or result.get("skipped"):
        return
    if "expected_digests" not in result:
        yield error(Check.IMAGE, f"the image was not found: {_said(result)}")
    elif not result["expected_digests"]:
        yield error(
            Check.IMAGE,
            "the image was resolved to no digest that a node could be proven to run",
            "Name an image of the registry by its tag, or by the digest of its manifest.",
        )


def judge_rollout(checked: Result | None) -> Iterator[Finding]:
    """What `rollout_plan` says before anything is staged: the options, the forks, the store and what is in it."""
    if checked is None or checked.get("skipped"):
        return
    if "window" not in checked:
        yield error(Check.ROLLOUT, _said(checked))
        return
    if checked.get("denied"):
        yield error(
            Check.ROLLOUT,
            str(checked["denied"]),
            "Roll out another image; or lift it, when it was not to blame: imagemode.nodes.rollout_store with allow.",
        )
    if checked.get("halted"):
        yield error(Check.ROLLOUT, f"no node would leave service now: {checked.get('reason') or 'the pool is halted'}")
    finish = checked.get("finish") or []
    if finish:
        yield warning(
            Check.ROLLOUT,
            f"out of service since an earlier run: {', '.join(map(str, finish))}. The rollout finishes them first",
        )


def judge_cluster(result: Result | None, drains: bool) -> Iterator[Finding]:
    """What the cluster says of the pool. `drains`: whether the rollout is going to drain, so that budgets and rights count."""
    if result is None or result.get("skipped"):
        return
    if "nodes" not in result:
        yield error(Check.CLUSTER, f"the cluster could not be asked: {_said(result)}")
        return
    for node, seen in result["nodes"].items():
        for finding in _cluster_node(seen, drains):
            yield replace(finding, node=str(node))
    etcd = result.get("etcd")
    if etcd and not etcd.get("healthy"):
        yield error(
            Check.CLUSTER,
            f"etcd has no majority: {etcd.get('ready')} of {etcd.get('members')} members are ready",
            "Mend etcd first; no node of a control plane may leave now.",
        )
    elif etcd and etcd.get("ready") != etcd.get("members"):
        yield warning(
            Check.CLUSTER,
            f"{etcd.get('ready')} of {etcd.get('members')} members of etcd are ready, so one that leaves may take its majority",
        )
    for budget in (result.get("budgets") or []) if drains else ():
        yield from _budget(budget)
    for right in result.get("missing_rights") or []:
        yield error(
            Check.RIGHTS,
            f"the user of the kubeconfig may not {right}",
            "Apply the role's files/rbac.yml, and use the service account that it makes.",
        )


def _cluster_node(seen: Result, drains: bool) -> Iterator[Finding]:
    if not seen.get("found"):
        yield (error if drains else note)(
            Check.CLUSTER_NODE,
            f"the cluster has no node {seen.get('name')}",
            "Set the node's variable imagemode_node_name to its name in the cluster.",
        )
        return
    if not seen.get("ready"):
        yield warning(
            Check.CLUSTER_NODE,
            f"the cluster sees it as not ready: {seen.get('told') or 'it does not say why'}; it counts as failed",
            "Mend it first, or let the rollout take it first if the image mends it.",
        )
    if seen.get("cordoned") and not seen.get("cordoned_by_us"):
        by = f" for the pool {seen['cordoned_for']}" if seen.get("cordoned_for") else ", and not by a rollout"
        yield warning(
            Check.CLUSTER_NODE,
            f"it was cordoned{by}: it takes a place of the window, and stays cordoned",
            f"`kubectl uncordon {seen.get('name')}` once the reason is gone.",
        )
    elif seen.get("cordoned"):
        yield note(Check.CLUSTER_NODE, "an earlier rollout of this pool cordoned it, and finishes it when run again")


def _budget(budget: Result) -> Iterator[Finding]:
    """One finding for each node that could not be drained, so that the report names the budget once."""
    name = f"{budget.get('namespace')}/{budget.get('name')}"
    pods = budget.get("pods") or []
    finding = error(
        Check.BUDGETS,
        f"the disruption budget {name} never lets a pod go: {budget.get('reason')}. It holds {', '.join(map(str, pods[:5]))}"
        + (f" and {len(pods) - 5} more" if len(pods) > 5 else ""),
        "Set that right first: the drain would wait until its deadline, and then give up.",
    )
    nodes = budget.get("nodes") or []
    yield from (replace(finding, node=str(node)) for node in nodes)
    if not nodes:
        yield finding


def judge_look(node: str, result: Result | None) -> list[Finding]:
    """The findings of `node_preflight_info` for one node; one of their own for a node that was not looked at."""
    if result is None or result.get("skipped"):
        return [replace(error(Check.REACHABLE, "it was not looked at, as the run ended before"), node=node)]
    if "findings" not in result:
        return [replace(error(Check.STAGING, f"it could not be looked at: {_said(result)}"), node=node)]
    return [
        Finding(Check(one["check"]), Severity(one["severity"]), str(one["told"]), str(one["fix"] or ""), node)
        for one in result["findings"]
    ]


def _said(result: Result) -> str:
    return str(result.get("msg") or "it failed without a word").strip()
