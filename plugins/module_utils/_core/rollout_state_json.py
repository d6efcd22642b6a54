# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool's state as JSON and back. What is not understood is refused whole: half a window is worse than none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import MaintenanceWindow
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Denial,
    OutsideWindow,
    Policy,
    PoolState,
    Progress,
    Slot,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit

SCHEMA = 2


class StateError(ValueError):
    """Text that is no pool state, or one of another schema. The message says what was found in it."""


def state_as_dict(state: PoolState) -> dict[str, Any]:
    """Plain data, in the order in which a person wants to read it."""
    return {
        "schema": SCHEMA,
        "pool": state.pool,
        "pool_size": state.pool_size,
        "generation": state.generation,
        "target_digests": list(state.target_digests),
        "policy": policy_as_dict(state.policy),
        "paused": state.paused,
        "denied": [vars_of(denial) for denial in state.denied],
        "canaries": list(state.canaries),
        "canaries_back": state.canaries_back,
        "approved": list(state.approved),
        "last_out": state.last_out,
        "progress": vars_of(state.progress),
        "nodes": {name: slot_as_dict(slot) for name, slot in sorted(state.nodes.items())},
        "returned": dict(sorted(state.returned.items())),
    }


def policy_as_dict(policy: Policy) -> dict[str, Any]:
    """The policy as plain data."""
    data = vars_of(policy)
    data["max_unavailable"] = str(policy.max_unavailable)
    data["max_failures"] = str(policy.max_failures)
    data["maintenance_windows"] = [window.as_dict() for window in policy.maintenance_windows]
    data["outside_window"] = policy.outside_window.value
    return data


def vars_of(value: Any) -> dict[str, Any]:
    """The fields of one flat dataclass."""
    return dict(vars(value))


def slot_as_dict(slot: Slot) -> dict[str, Any]:
    """One node's entry as plain data."""
    data = vars_of(slot)
    data["state"] = slot.state.value
    data["holder"] = vars_of(slot.holder) if slot.holder else None
    return data


def dump_state(state: PoolState) -> str:
    """JSON text, indented: somebody will read it in an emergency."""
    return json.dumps(state_as_dict(state), indent=2) + "\n"


def load_state(text: str) -> PoolState:
    """The state in `text`; raises StateError for anything that this release does not understand completely."""
    try:
        data = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise StateError(f"it is not JSON: {error}") from error
    except RecursionError:
        raise StateError("it is JSON that is nested too deeply") from None
    if not isinstance(data, dict):
        raise StateError(f"it holds a {type(data).__name__}, not an object")
    if data.get("schema") != SCHEMA:
        raise StateError(
            f"its schema is {data.get('schema')!r}, and this release of the collection reads {SCHEMA} only"
        )
    try:
        return _state(data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StateError(f"a field is missing or has a wrong value: {type(error).__name__}: {error}") from error


def _state(data: Mapping[str, Any]) -> PoolState:
    return PoolState(
        pool=_text(data["pool"]),
        pool_size=_count(data["pool_size"]),
        generation=_count(data["generation"]),
        target_digests=_texts(data["target_digests"]),
        policy=_policy(data["policy"]),
        paused=_flag(data["paused"]),
        denied=tuple(
            Denial(_text(item["digest"]), _text(item["reason"]), _number(item["since"])) for item in data["denied"]
        ),
        canaries=_texts(data["canaries"]),
        canaries_back=_number(data["canaries_back"]),
        approved=_texts(data["approved"]),
        last_out=_number(data["last_out"]),
        progress=Progress(
            _count(data["progress"]["planned"]),
            _count(data["progress"]["done"]),
            _number(data["progress"]["seconds"]),
        ),
        nodes={_text(name): _slot(item) for name, item in data["nodes"].items()},
        returned={_text(name): _number(when) for name, when in data["returned"].items()},
    )


def _policy(item: Mapping[str, Any]) -> Policy:
    return Policy(
        max_unavailable=NodeLimit.parse(item["max_unavailable"]),
        max_failures=NodeLimit.parse(item["max_failures"], "max_failures"),
        max_zones=_count(item["max_zones"]),
        soak=_number(item["soak"]),
        soak_between=_number(item["soak_between"]),
        maintenance_windows=tuple(MaintenanceWindow.parse(window) for window in item["maintenance_windows"]),
        outside_window=OutsideWindow(item["outside_window"]),
        approval=_flag(item["approval"]),
        overdue=_number(item["overdue"]),
    )


def _slot(item: Mapping[str, Any]) -> Slot:
    return Slot(
        state=SlotState(item["state"]),
        phase=_text(item["phase"]),
        since=_number(item["since"]),
        holder=_holder(item["holder"]),
        from_digest=_optional_text(item["from_digest"]),
        from_checksum=_optional_text(item["from_checksum"]),
        boot_id=_optional_text(item["boot_id"]),
        zone=_text(item["zone"]),
        phase_since=_number(item["phase_since"]),
        held_since=_number(item["held_since"]),
        cordoned=_flag(item["cordoned"]),
        reason=_optional_text(item["reason"]),
    )


def _holder(item: Mapping[str, Any] | None) -> Holder | None:
    if item is None:
        return None
    texts = ("host", "boot", "pid_namespace", "start_time", "user", "job", "machine")
    words = {name: _text(item[name]) for name in texts}
    return Holder(pid=_count(item["pid"]), **words)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A node that is there twice could be out of service in one entry, and not in the other."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice in one object")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()  # half of a surrogate pair could be neither shown nor written
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number of seconds")
    return float(value)


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(_text(item) for item in value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value
