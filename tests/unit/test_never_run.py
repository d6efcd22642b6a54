# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and commands of the tools that no plan may hold, whatever the situation, with what each of them does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NEVER = {
    "--mutate-in-place": "edits the first origin file that it finds, which may be that of another deployment",
    "--apply": "reboots under the session that runs it, which keeps the lock, so that the staged deployment is lost",
    "--reboot": "the same",
    "-r": "the short form of it in rpm-ostree",
    "--check": "bootc compares with the last pulled image, not with the booted one, and rpm-ostree's is blocked by a driver",
    "--retain": "keeps images that nothing boots",
    "--pending-exit-77": "an exit code where the status says it",
    "cleanup": "`cleanup -p` deletes a queued rollback along with what is staged",
    "--idempotent": "can bring a full update of the system along",
}
TOOLS = frozenset({"bootc", "rpm-ostree", "ostree"})

# Words that only translate what a tool prints.
ONLY_SHOWN = frozenset({"plugins/module_utils/_core/progress.py"})


def words_of_tool_calls() -> dict[str, set[str]]:
    """Every text in the code that acts on nodes: text -> files. An argument of a command is a text of its own."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in ONLY_SHOWN or "_build" in name or "doc_fragments" in name:
            continue
        tree = ast.parse(path.read_text())
        constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        for text in (value for value in constants if isinstance(value, str)):
            found.setdefault(text, set()).add(name)
    return found


@pytest.mark.parametrize("word", NEVER)
def test_no_plan_can_hold(word: str) -> None:
    assert words_of_tool_calls().get(word, set()) == set(), NEVER[word]


def test_the_scan_sees_commands() -> None:
    words = words_of_tool_calls()
    assert words.keys() >= TOOLS | {"--enforce-container-sigpolicy", "--allow-downgrade", "--unchanged-exit-77"}
