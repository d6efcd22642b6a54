# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` over this checkout, with nothing but a Python package index reachable.

ansible-test wants three things that a checkout is not: a path which ends in ``ansible_collections/imagemode/nodes`` with
no symbolic link in it, a Git repository of its own, and a pip bootstrap script which it would download from the internet.
So it gets a copy, a repository in the copy, and a stand-in which asks Python's own ``ensurepip`` instead. Everything lies
in ``.cache/sanity``, which serves as its home directory too: the virtual environments it makes are found again by the
next run, and the user's own ``~/.ansible`` is left alone.

Usage: python dev/sanity.py [options and paths for ansible-test sanity]
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache/sanity"
COPY = HOME / "ansible_collections/imagemode/nodes"

GET_PIP_STAND_IN = '''\
"""Does what get-pip.py does, from the wheel that this Python carries instead of from the internet."""
import subprocess
import sys

packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)
'''


def pip_version_wanted() -> str:
    """The pip release that this ansible-test bootstraps, e.g. ``24.2``. It differs between releases of ansible-core."""
    ansible_test = Path(importlib.import_module("ansible_test").__path__[0])
    program = (
        "from ansible_test._internal.python_requirements import get_venv_packages as packages\n"
        "from ansible_test._internal.host_configs import VirtualPythonConfig as Python\n"
        "import sys\n"
        "print(packages(Python(version='%d.%d' % sys.version_info[:2], path=sys.executable))['pip'])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ansible_test.parent
    ).stdout.strip()


def refresh_copy() -> None:
    """Make COPY equal to what a commit of the checkout would hold now: tracked files and new ones, nothing ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    shutil.rmtree(COPY, ignore_errors=True)
    for name in sorted(set(listing.split("\0")) - {""}):
        source = ROOT / name
        if source.exists():  # a file may be deleted, and the deletion not committed yet
            target = COPY / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", str(COPY)], check=True)


def path_without_broken_pythons() -> str:
    """PATH, less the directories with a ``python3.N`` that does not start.

    ansible-test tries every version it finds, and a version manager leaves a command for each version that it has
    installed, also for those which are not switched on.
    """
    kept = [str(Path(sys.executable).parent)]
    for directory in os.environ["PATH"].split(os.pathsep):
        pythons = [
            path for path in Path(directory or ".").glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)
        ]
        if all(
            subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0 for python in pythons
        ):
            kept.append(directory)
    return os.pathsep.join(kept)


def run(arguments: list[str]) -> int:
    """Run ansible-test in the copy; its output goes to ours. Returns its exit status."""
    refresh_copy()
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"get_pip_{pip_version_wanted().replace('.', '_')}.py").write_text(GET_PIP_STAND_IN)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))},
        "HOME": str(HOME),
        "PATH": path_without_broken_pythons(),
    }
    return subprocess.run(
        ["ansible-test", "sanity", "--color", "no", *arguments], cwd=COPY, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
