# SPDX-License-Identifier: GPL-3.0-or-later
"""Registered results of a rollout's tasks, as they look in a host's variables, and whole rollouts of any size."""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_record import RolloutRecord, Run, record_of
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import NodeResults

OLD, NEW = ("sha256:" + digit * 64 for digit in "01")
HOSTILE = "\"><script>harmed=1</script><img src=x onerror=harmed=2>\x00\ud800&'</title></style>"
IMAGE = "registry.example.com/fleet/node:2026.11"
BEGIN = 1_795_226_400.0  # 2026-11-21 02:00 UTC
SKIPPED = {"skipped": True, "changed": False, "skip_reason": "Conditional result was False"}

Results = dict[str, Any]


def timed(at: float, seconds: float, **fields: Any) -> Results:
    return {"changed": True, "started_at": BEGIN + at, "seconds": seconds, **fields}


def staging(at: float = 0.0, seconds: float = 40.0, *, reboot: bool = True, **fields: Any) -> Results:
    before = {"booted": {"digest": OLD if reboot else NEW, "version": "2026.10", "checksum": "c" * 64}, "boot_id": "b"}
    return timed(at, seconds, digest=NEW, before=before, reboot_required=reboot, **fields)


def held(at: float, waited: float = 0.0, **fields: Any) -> Results:
    slot = {"since": BEGIN + at, "from_digest": OLD}
    return {"slot_state": "held", "at": BEGIN + at, "waited": waited, "slot": slot, "window": 4, **fields}


def refused(reason: str, **fields: Any) -> Results:
    return {
        "failed": True,
        "halted": True,
        "slot_state": "refused",
        "reason": reason,
        "msg": f"stays: {reason}",
        **fields,
    }


def ended(state: str, seconds: float, reason: str | None = None) -> Results:
    return {"slot_state": state, "seconds": seconds, "reason": reason, "changed": True}


def updated(
    at: float, waited: float = 0.0, *, drain: float = 30.0, reboot: float = 70.0, health: float = 8.0
) -> Results:
    """A node that went well from `at` on."""
    return {
        "staging": staging(0.0, 35.0 + waited % 17),
        "held": held(at, waited),
        "drain": timed(at + 0.3, drain, pods=[], budgets=[]),
        "reboot": timed(at + drain + 0.6, reboot, rebooted="full", booted={"digest": NEW}),
        "health": timed(at + drain + reboot + 1, health, checks=[]),
        "undrain": timed(at + drain + reboot + health + 1.4, 1.1),
        "ended": ended("released", drain + reboot + health + 3),
    }


def unhealthy(at: float, waited: float = 0.0) -> Results:
    """A node on which the image was not well, and which went back."""
    told = "the health gate was not passed within 10 min: 2 of 3 checks are not right"
    checks = [
        {"name": "kubelet", "kind": "unit", "ok": True, "seconds": 0.1, "told": "active"},
        {
            "name": "failed units",
            "kind": "failed_units",
            "ok": False,
            "seconds": 0.1,
            "told": "crio-wipe.service has failed",
        },
        {
            "name": "registry mirror",
            "kind": "http",
            "ok": False,
            "told": "http://localhost:5000/v2/ answered 503, wanted 200",
        },
    ]
    return {
        **updated(at, waited, drain=41.0, reboot=88.0),
        "health": timed(at + 130, 150.0, failed=True, msg=told, checks=checks),
        "undrain": timed(at + 390, 1.2),
        "rollback": timed(at + 281, 2.1),
        "rollback_reboot": timed(at + 284, 92.0, rebooted="full", booted={"digest": OLD}),
        "rollback_health": timed(at + 377, 9.0, checks=[]),
        "ended": ended("kept", 392.0, told),
    }


def held_up(at: float, waited: float = 0.0) -> Results:
    """A node whose drain a budget held for as long as the drain may last."""
    pods = [
        {
            "namespace": "shop",
            "name": "db-0",
            "kind": "managed",
            "outcome": "held",
            "seconds": None,
            "reason": "budget db",
            "budgets": ["db"],
        },
        {
            "namespace": "shop",
            "name": "web-7d9f",
            "kind": "managed",
            "outcome": "evicted",
            "seconds": 3.0,
            "reason": None,
        },
    ]
    budgets = [
        {
            "namespace": "shop",
            "name": "db",
            "allowed": 0,
            "healthy": 2,
            "wanted": 2,
            "expected": 3,
            "pods": ["shop/db-0"],
        }
    ]
    told = "not drained within 5 min: 1 of 2 pods is left, shop/db-0, held by the budget db, which allows 0 disruptions"
    return {
        "staging": staging(),
        "held": held(at, waited),
        "drain": timed(at + 0.2, 300.0, failed=True, msg=told, pods=pods, budgets=budgets, cordoned_by_us=False),
        "reboot": SKIPPED,
        "ended": ended("kept", 301.0, told),
    }


def lost(at: float, waited: float = 0.0, node: str = "") -> Results:
    """A node that did not come back."""
    told = (
        f"{node or 'The node'} did not come back within 903 s (reboot_timeout 900 s) after it was asked to reboot into {IMAGE} 2026.11 "
        "(sha256:111111111111): no route to host. Once it is back, run the same command again: it carries on from there."
    )
    return {
        "staging": staging(),
        "held": held(at, waited),
        "drain": timed(at + 0.2, 33.0, pods=[], budgets=[]),
        "reboot": timed(at + 34, 903.0, failed=True, msg=told, changed=True),
        "ended": ended("failed", 937.4, told),
    }


def record(nodes: dict[str, Results], *, now: float = 2000.0, check_mode: bool = False, **run: Any) -> RolloutRecord:
    results = {name: NodeResults.from_variables(variables, "") for name, variables in nodes.items()}
    known = {"pool": "workers", "image": IMAGE, "digests": (NEW,), "now": BEGIN + now, **run}
    return record_of(Run(**known, check_mode=check_mode), results)


def fleet(size: int, *, window: int = 4, troubles: bool = True, seed: int = 1) -> RolloutRecord:
    """A whole rollout with a sliding window: every node goes as soon as one of the window is back."""
    chance = random.Random(seed)  # noqa: S311 - only spreads the times
    nodes: dict[str, Results] = {}
    free = [90.0] * window
    for number in range(size):
        name = f"worker-{number + 1:0{max(2, len(str(size)))}}"
        if number % 6 == 5:
            nodes[name] = {"staging": staging(0.0, 2.4, reboot=False)}
            continue
        place = min(range(window), key=free.__getitem__)
        at = free[place] + 0.4
        drain, reboot = chance.uniform(8, 70), chance.uniform(55, 150)
        going = updated(at, at - 60.0, drain=drain, reboot=reboot, health=chance.uniform(4, 30))
        if troubles and number == size // 3:
            going = unhealthy(at, at - 60.0)
        elif troubles and number == size // 2:
            going = held_up(at, at - 60.0)
        elif troubles and number == size - size // 4:
            going = lost(at, at - 60.0, name)
        elif troubles and number > size - size // 6:
            going = {"staging": staging(), "held": refused("2 nodes failed, and imagemode_max_failures is 2")}
        elif troubles and number % 37 == 4:
            full = f"{name}: no space left on the device: 2.1 GB are needed in /sysroot, and 0.4 GB are free"
            going = {"staging": timed(0.0, 12.0, failed=True, msg=full)}
        nodes[name] = going
        if "ended" in going:
            free[place] = at + going["ended"]["seconds"]
    return record(nodes, now=max(free) + 20.0, planned={"window": window})


def hostile_fleet() -> RolloutRecord:
    """Whatever a node, a pod or an inventory can say is an attack here."""
    bad, stuck = unhealthy(90.0), held_up(90.0)
    bad["ended"]["reason"] = HOSTILE
    bad["health"]["checks"][1].update(name=HOSTILE, told=HOSTILE)
    stuck["drain"]["pods"][0].update(name=HOSTILE, reason=HOSTILE)
    stuck["drain"]["budgets"][0]["name"] = HOSTILE
    unstaged = {"staging": {"failed": True, "msg": HOSTILE}}
    return record({HOSTILE: bad, "n2": stuck, "n3": unstaged}, pool=HOSTILE, image=HOSTILE, digests=(HOSTILE,))
