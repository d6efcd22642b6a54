# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of the collection hold: dependencies point downwards, and the pure part stays pure.

    action, filter          → plugin_utils, module_utils, Ansible
    modules                 → module_utils, Ansible's module_utils (this is what runs on a host)
    plugin_utils            → module_utils, Ansible
    module_utils/_host      → _core
    module_utils/_build     → _core
    module_utils/_core      → nothing that acts: no Ansible, no files, no processes, no network

Everything may use the standard library, except that _core may use only the part of it which does no I/O.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = "ansible_collections.imagemode.nodes.plugins"
CORE, HOST, BUILD = (f"module_utils._{name}" for name in ("core", "host", "build"))

# From a layer to what it may import beside itself and the standard library. The longest match of a file's path counts.
MAY_IMPORT: dict[str, frozenset[str]] = {
    CORE: frozenset(),
    HOST: frozenset({CORE}),
    BUILD: frozenset({CORE}),
    "plugin_utils": frozenset({"module_utils", "ansible", "yaml", "jmespath", "kubernetes", "urllib3"}),
    "modules": frozenset({"module_utils", "ansible.module_utils"}),
    "action": frozenset({"plugin_utils", "module_utils", "ansible"}),
    "filter": frozenset({"plugin_utils", "module_utils", "ansible"}),
    "doc_fragments": frozenset(),
}

# Standard modules through which a program reaches outside of itself, or learns something that its caller did not say.
DOES_IO = frozenset(
    """
    asyncio builtins concurrent ctypes fcntl fileinput ftplib getpass glob grp gzip http imaplib importlib
    io linecache logging mmap multiprocessing os pathlib pickle platform poplib pwd random runpy sched
    secrets select selectors shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess
    sys syslog tarfile tempfile termios threading time tty urllib.request uuid webbrowser xmlrpc zipfile
    """.split()  # noqa: SIM905 # a list of words reads better than a page of strings
)
CALLS_THAT_DO_IO = frozenset({"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"})
CLOCKS = frozenset({"now", "utcnow", "today"})


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_package(module: str) -> bool:
    """Whether ``from module import name`` names a file or a layer, not something inside a file."""
    return any(is_within(f"{PLUGINS}.{layer}", module) for layer in MAY_IMPORT)


def layer_of(path: str) -> str | None:
    """The layer of a file, given its path below plugins/; None for a file in no layer."""
    dotted = path.removesuffix(".py").replace("/", ".")
    return max((layer for layer in MAY_IMPORT if is_within(dotted, layer)), key=len, default=None)


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str, list[str]]]:
    """Line, module and imported names of every import, those inside functions and TYPE_CHECKING included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def why_not(layer: str, module: str) -> str | None:
    """What is wrong with this import in this layer, or None."""
    if module.startswith("."):
        return "is relative; write it in full"
    if module == PLUGINS or is_within(PLUGINS, module):
        return "names a package instead of a module in it"
    if is_within(module, PLUGINS):
        target = module[len(PLUGINS) + 1 :]
        if is_within(target, layer) or any(is_within(target, allowed) for allowed in MAY_IMPORT[layer]):
            return None
        return f"points upwards or sideways: {layer} may use {', '.join(sorted(MAY_IMPORT[layer])) or 'no other layer'}"
    if module.partition(".")[0] in sys.stdlib_module_names:
        if layer == CORE and any(is_within(module, forbidden) for forbidden in DOES_IO):
            return "does I/O, and _core is pure"
        return None
    if any(is_within(module, allowed) for allowed in MAY_IMPORT[layer]):
        return None
    return f"is neither in the standard library nor below {layer}"


def impure_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS_THAT_DO_IO:
                yield node.lineno, f"calls {node.func.id}(), and _core is pure"
            if isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
                yield node.lineno, f"reads the clock with .{node.func.attr}(); let the caller say what time it is"


def violations(path: str, source: str) -> list[str]:
    """Everything in the file at ``path`` (below plugins/) that breaks the layers, one line each."""
    layer = layer_of(path)
    if layer is None:
        return [f"{path}: is in no layer that this test knows; add the layer and what it may use"]
    tree = ast.parse(source)
    found = []
    for line, module, names in imports_of(tree):
        from_package = names and is_package(module)
        modules = [f"{module}.{name}" for name in names] if from_package else [module]
        found += [f"{path}:{line}: import of {name} {why}" for name in modules if (why := why_not(layer, name))]
        found += [
            f"{path}:{line}: {name} is private to {module}"
            for name in names
            if is_within(module, PLUGINS) and not from_package and name.startswith("_")
        ]
    if layer == CORE:
        found += [f"{path}:{line}: {what}" for line, what in impure_calls(tree)]
    return found


FILES = sorted((ROOT / "plugins").rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "plugins")))
def test_file_keeps_to_its_layer(file: Path) -> None:
    assert violations(str(file.relative_to(ROOT / "plugins")), file.read_text()) == []


def test_every_layer_has_files() -> None:
    """The test above sees the layers at all: a moved folder must not leave it with nothing to look at."""
    layers = {layer_of(str(file.relative_to(ROOT / "plugins"))) for file in FILES}
    assert {CORE, HOST, "plugin_utils", "modules", "action"} <= layers


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("module_utils/_core/plan.py", "import os", "does I/O"),
        ("module_utils/_core/plan.py", "import os.path", "does I/O"),
        ("module_utils/_core/plan.py", "from pathlib import Path", "does I/O"),
        ("module_utils/_core/plan.py", "def f():\n    import subprocess", "does I/O"),
        ("module_utils/_core/plan.py", "from urllib.request import urlopen", "does I/O"),
        ("module_utils/_core/plan.py", "import time", "does I/O"),
        ("module_utils/_core/plan.py", "open('/etc/os-release')", "calls open()"),
        ("module_utils/_core/plan.py", "print('staged')", "calls print()"),
        ("module_utils/_core/plan.py", "from datetime import datetime\ndatetime.now()", "reads the clock"),
        ("module_utils/_core/plan.py", "from ansible.errors import AnsibleError", "neither in the standard library"),
        ("module_utils/_core/plan.py", "if TYPE_CHECKING:\n    import ansible", "neither in the standard library"),
        ("module_utils/_core/plan.py", "import yaml", "neither in the standard library"),
        ("module_utils/_core/plan.py", f"from {PLUGINS}.module_utils._host.runner import Runner", "points upwards"),
        ("module_utils/_core/plan.py", f"import {PLUGINS}.module_utils._host.runner", "points upwards"),
        ("module_utils/_core/plan.py", f"from {PLUGINS}.module_utils import _host", "points upwards"),
        ("module_utils/_core/plan.py", "from . import host_state", "is relative"),
        ("module_utils/_core/plan.py", f"from {PLUGINS}.module_utils._core.image import _parse", "is private to"),
        ("module_utils/_core/plan.py", "from ansible_collections.imagemode import nodes", "names a package"),
        ("module_utils/_host/a.py", f"from {PLUGINS}.module_utils._build.engine import Engine", "points upwards"),
        ("module_utils/_host/a.py", f"from {PLUGINS}.plugin_utils._connection_runner import R", "points upwards"),
        ("module_utils/_host/a.py", "from ansible.module_utils.basic import AnsibleModule", "neither in the standard"),
        ("module_utils/_build/a.py", f"from {PLUGINS}.module_utils._host.runner import Runner", "points upwards"),
        ("plugin_utils/_a.py", f"from {PLUGINS}.action.node_reboot import ActionModule", "points upwards"),
        ("modules/a.py", f"from {PLUGINS}.plugin_utils._connection_runner import R", "points upwards"),
        ("modules/a.py", "from ansible.errors import AnsibleError", "neither in the standard library"),
        ("action/a.py", f"from {PLUGINS}.modules.a import main", "points upwards"),
        ("action/a.py", "from lab.node import Node", "neither in the standard library"),
        ("action/a.py", "import tests.lab", "neither in the standard library"),
        ("action/a.py", "import pytest", "neither in the standard library"),
        ("cache/a.py", "", "in no layer"),
    ],
)
def test_a_breach_is_seen(path: str, source: str, complaint: str) -> None:
    found = violations(path, source)
    assert len(found) == 1, found
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "module_utils/_core/plan.py",
            "import dataclasses, enum, json, re, hashlib, posixpath\nfrom typing import Any",
        ),
        ("module_utils/_core/plan.py", f"from {PLUGINS}.module_utils._core.image_reference import ImageReference"),
        ("module_utils/_host/a.py", f"import os\nfrom {PLUGINS}.module_utils._core.plan import Plan"),
        ("module_utils/_host/a.py", f"from {PLUGINS}.module_utils._core import plan"),
        (
            "modules/a.py",
            f"from ansible.module_utils.basic import AnsibleModule\nimport {PLUGINS}.module_utils._host.a",
        ),
        ("action/a.py", f"from ansible.errors import AnsibleError\nfrom {PLUGINS}.plugin_utils._a import A"),
    ],
)
def test_what_is_allowed_is_not_reported(path: str, source: str) -> None:
    assert violations(path, source) == []


def documentation_of(name: str) -> dict[str, object]:
    """The three documentation strings of a module, parsed; Ansible shows them for the action of the same name."""
    tree = ast.parse((ROOT / "plugins/modules" / f"{name}.py").read_text())
    return {
        target.id: yaml.safe_load(ast.literal_eval(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("DOCUMENTATION", "EXAMPLES", "RETURN")
    }


def names_in(folder: str) -> list[str]:
    return sorted(file.stem for file in (ROOT / "plugins" / folder).glob("*.py") if not file.stem.startswith("_"))


@pytest.mark.parametrize("name", names_in("action"))
def test_an_action_is_documented_by_the_module_of_its_name(name: str) -> None:
    assert documentation_of(name).keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}


@pytest.mark.parametrize("name", names_in("modules"))
def test_a_module_is_documented_and_in_the_action_group(name: str) -> None:
    documentation = documentation_of(name)
    assert documentation.keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    assert isinstance(documentation["DOCUMENTATION"], dict)
    assert documentation["DOCUMENTATION"]["module"] == name
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert name in runtime["action_groups"]["all"]


def test_the_action_group_names_only_what_exists() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["all"]) == names_in("modules")
