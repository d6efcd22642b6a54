# SPDX-License-Identifier: GPL-3.0-or-later
"""Let ansible-doc render the documentation of every module, plugin and role, and fail where it cannot.

ansible-doc leaves with status 0 when it could not render something, so its output is searched for each name.

Usage: python dev/render_docs.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = {"modules": "module", "filter": "filter", "test": "test", "lookup": "lookup", "inventory": "inventory"}


def names_of_plugins(folder: str) -> list[str]:
    """Fully qualified names of what lies in ``plugins/<folder>``; a filter may be documented in a YAML file."""
    found = (path for suffix in ("py", "yml") for path in (ROOT / "plugins" / folder).glob(f"*.{suffix}"))
    return sorted({f"imagemode.nodes.{path.stem}" for path in found if not path.stem.startswith("_")})


def names_of_roles() -> list[str]:
    return sorted(f"imagemode.nodes.{path.name}" for path in (ROOT / "roles").glob("*") if path.is_dir())


def ansible_doc(kind: str, names: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ansible-doc", "--type", kind, *options, *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        # Modules are found as Python packages are; for roles ansible-doc looks only along this path.
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections")},
    )


def problems(kind: str, names: list[str]) -> list[str]:
    """One line for each name which ansible-doc does not render, as text or as JSON."""
    text = ansible_doc(kind, names)
    data = ansible_doc(kind, names, "--json")
    if text.returncode or data.returncode:
        return [f"ansible-doc --type {kind}: {text.stderr}{data.stderr}"]
    documents = json.loads(data.stdout)
    found = []
    for name in names:
        document = documents.get(name)
        if not document or name.upper() not in text.stdout.upper():
            found.append(f"{kind} {name} is not rendered: {text.stderr.strip() or 'it has no documentation'}")
        elif kind == "role" and not document.get("entry_points"):
            found.append(f"role {name} has no argument specification (meta/argument_specs.yml)")
    return found


def main() -> int:
    everything = {kind: names_of_plugins(folder) for folder, kind in DOCUMENTED.items()} | {"role": names_of_roles()}
    found = [problem for kind, names in everything.items() if names for problem in problems(kind, names)]
    for kind, names in everything.items():
        print(f"{kind}: {', '.join(names) or 'none'}")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
