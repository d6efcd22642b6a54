# SPDX-License-Identifier: GPL-3.0-or-later
"""Every call of bootc, rpm-ostree and ostree that the collection can make: the whole list, and what must never be on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
HOST_SIDE = [*(PLUGINS / "module_utils" / "_core").glob("*.py"), *(PLUGINS / "module_utils" / "_host").glob("*.py")]
SOURCES = sorted([*HOST_SIDE, *(PLUGINS / "plugin_utils").glob("*.py"), *(PLUGINS / "action").glob("*.py")])
TOOLS = ("bootc", "rpm-ostree", "ostree")

# What stands first in an argument list, as far as it is fixed. A new one is to be looked at: can it hang, reboot, or lose?
CALLS = {
    "bootc --version",
    "bootc loader-entries set-options-for-source --source",
    "bootc rollback",
    "bootc status --json",
    "bootc switch",
    "bootc upgrade",
    "bootc upgrade --from-downloaded",
    "ostree admin kargs edit-in-place",
    "ostree admin lock-finalization",
    "ostree admin prepare-soft-reboot --reset",
    "ostree admin prepare-soft-reboot 0",
    "ostree admin undeploy 0",
    "ostree refs",
    "rpm-ostree",
    "rpm-ostree --version",
    "rpm-ostree apply-live",
    "rpm-ostree kargs",
    "rpm-ostree kargs --unchanged-exit-77",
    "rpm-ostree reset",
    "rpm-ostree rollback",
    "rpm-ostree status",
    "rpm-ostree status --json",
}
IN_SCRIPTS = {
    "bootc --version",
    "ostree --version",
    "ostree admin status",
    "rpm-ostree cancel",
    "rpm-ostree kargs",
    "rpm-ostree status --json",
}

NEVER = {
    "--apply": "never ends with code 0, and over SSH it has lost what was staged (recorded, bootc 1.16.9)",
    "--reboot": "reboots without a proof, and fails after the deployment was written",
    "-r": "the same",
    "--soft-reboot": "exits with 1 with the deployment staged (recorded, bootc 1.16.9)",
    "--check": "compares with what was pulled last, not with what is booted (recorded, bootc 1.16.9)",
    "--cache-only": "is ignored for containers",
    "-C": "the same",
    "--download-only": "bootc switch has none; rpm-ostree's protects nothing from the next cleanup",
    "--booted": "is silently ignored before bootc 1.1.7",
    "--format": "came with bootc 0.1.13, and --json is in every version",
    "--pending-exit-77": "is true for a rollback as well",
    "--append-if-missing": "of rpm-ostree: compares whole words only, and a rerun appends what differs",
    "--delete-if-present": "does nothing where the argument has another value",
    "--replace": "is an error together with --delete, and where the key is missing",
    "--mutate-in-place": "edits the first origin file that it finds, which may be that of another deployment",
    "--retain": "keeps branches that nothing boots",
    "--idempotent": "of rpm-ostree install: can bring a full update of the system along",
    "--experimental-unified-storage": "is experimental",
    "cleanup": "-p deletes a queued rollback along with what is staged (recorded, rpm-ostree 2026.2)",
    "finalize-deployment": "always reboots",
    "edit": "changes image and boot order together",
    "usr-overlay": "makes /usr another than the image's",
    "install": "is a local change",
    "override": "is a local change",
}


def constants(tree: ast.AST) -> Iterator[str]:
    """Every text in the code, docstrings left out; of a formatted one the part that leads."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def argument_lists(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Tuple, ast.List)):
            words = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if words and words[0] in TOOLS:
                yield " ".join(words)


def scripts(tree: ast.Module) -> Iterator[str]:
    """Shell texts: constants of a module that have a shell's signs in them."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            yield from (text for text in constants(node.value) if re.search(r"[$|;]", text))


def calls_in(script: str) -> Iterator[str]:
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("#")]
    for line in lines:
        for found in re.finditer(
            r"(?:^|[;&|({!] *|\$\(|\bif |\bsaid [a-z-]+ )(bootc|rpm-ostree|ostree)((?: +[a-z-]+)+)", line.strip()
        ):
            yield " ".join([found[1], *found[2].split()])


SCRIPTED = [path for path in SOURCES if path.parent.name == "_host"]
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}


def test_the_list_of_calls_is_whole() -> None:
    assert {call for tree in TREES.values() for call in argument_lists(tree)} == CALLS


def test_the_list_of_calls_in_scripts_is_whole() -> None:
    found = {call for path in SCRIPTED for script in scripts(TREES[path]) for call in calls_in(script)}
    assert found == IN_SCRIPTS


@pytest.mark.parametrize("word", NEVER)
def test_what_is_never_said_to_a_tool(word: str) -> None:
    spoken = {text for path, tree in TREES.items() if path.name != "progress.py" for text in constants(tree)}
    allowed = {"--append-if-missing": {f"{word}="}}.get(word, set())
    assert not {text for text in spoken if text == word or text.startswith(f"{word}=")} - allowed, NEVER[word]


def test_in_place_edits_alone_append_what_is_missing() -> None:
    holders = [path.name for path, tree in TREES.items() if "--append-if-missing=" in constants(tree)]
    assert holders == ["kargs_plan.py"]
    source = (PLUGINS / "module_utils" / "_core" / "kargs_plan.py").read_text()
    (line,) = [line for line in source.splitlines() if "--append-if-missing" in line]
    assert '"ostree", "admin", "kargs", "edit-in-place"' in line


def test_roles_and_playbooks_call_no_tool_themselves() -> None:
    root = PLUGINS.parent
    files = [*(root / "roles").rglob("*.yml"), *(root / "playbooks").rglob("*.yml")]
    assert files
    for path in files:
        for line in path.read_text().splitlines():
            assert not re.search(r"(?:command|shell|raw|cmd|argv):.*\b(?:bootc|rpm-ostree|ostree)\b", line), path
