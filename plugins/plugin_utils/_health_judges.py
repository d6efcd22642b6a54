# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only the controller can judge of a node's health: JSON in an answer. Private to this collection."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterable

from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_answer import cut
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import (
    Check,
    HealthCheckError,
    Http,
    Value,
)

try:
    import jmespath  # type: ignore[import-untyped]  # has no types
except ImportError:  # only those who look into answers need it
    jmespath = None

_LONGEST_VALUE = 200

MISSING = (
    "A check has json, and the Python that Ansible runs with has no jmespath to look into answers with. Install it for that Python "
    "(`pip install jmespath`), or put it into the execution environment."
)


def require_expressions(checks: Iterable[Check]) -> None:
    """Raises HealthCheckError, with all mistakes, unless every JMESPath expression can be read, and by something that is there."""
    values = [(check.name, check.value) for check in checks if isinstance(check, Http) and check.value is not None]
    if values and jmespath is None:
        raise HealthCheckError((MISSING,))
    mistakes = [
        f"The json of {name!r} is no JMESPath expression: {value.expression!r} ({problem})."
        for name, value in values
        for problem in _problems(value)
    ]
    if mistakes:
        raise HealthCheckError(mistakes)


def judge(check: Http, body: bytes) -> tuple[bool, str]:
    """Whether the wanted value is in the body, and in half a sentence what is there, cut to 200 characters."""
    value = check.value
    if value is None:
        return True, ""
    try:
        document = json.loads(body)
    except ValueError:
        return False, "but not with JSON"
    try:
        found = jmespath.search(value.expression, document)
    except jmespath.exceptions.JMESPathError as error:
        return False, f"but {value.expression} cannot be found in it: {cut(str(error), _LONGEST_VALUE)}"
    shown = f"{value.expression} is {cut(json.dumps(found, ensure_ascii=False), _LONGEST_VALUE)}"
    if value.any_true:
        ok = _is_true(found)
        return ok, shown if ok else f"{shown}, wanted something true"
    ok = _same(found, value.equals)
    return ok, shown if ok else f"{shown}, wanted {cut(_as_json(value.equals), _LONGEST_VALUE)}"


def _problems(value: Value) -> t.Iterator[str]:
    try:
        jmespath.compile(value.expression)
    except jmespath.exceptions.JMESPathError as error:
        yield cut(str(error).partition("\n")[0], _LONGEST_VALUE)


def _is_true(found: t.Any) -> bool:
    """As JMESPath sees it: 0 is true, what is empty is not."""
    return bool(found) or (isinstance(found, (int, float)) and not isinstance(found, bool))


def _same(found: t.Any, wanted: t.Any) -> bool:
    """Equal as JSON, where true is not 1."""
    return _as_json(found) == _as_json(wanted)


def _as_json(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
