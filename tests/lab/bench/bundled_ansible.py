# SPDX-License-Identifier: GPL-3.0-or-later
"""The PyPI package ``ansible``, with the collections of the community that a plain playbook is written with.

In a virtual environment of its own in ``.cache``, made when it is asked for the first time; its ansible-core is of the series
that this checkout's has.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from lab import inventory

# ansible 12 is made of ansible-core 2.19, 13 of 2.20, and so on.
_CORE_MINOR_BEHIND = 7
_NEEDED_BY_ITS_MODULES = "kubernetes"


class CannotInstall(Exception):
    """pip could not install it; the text is the end of what it said."""


def ensure() -> Path:
    """The directory with its ``ansible-playbook``. Takes minutes and 700 MB the first time. Raises CannotInstall."""
    minor = int(importlib.metadata.version("ansible-core").split(".")[1])
    wanted = f"ansible=={minor - _CORE_MINOR_BEHIND}.*"
    directory = inventory.CHECKOUT / ".cache" / f"bench-ansible-{minor - _CORE_MINOR_BEHIND}"
    directory.parent.mkdir(exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = directory / "complete"
        if not complete.exists():
            _install(directory, wanted)
            complete.touch()
    return directory / "bin"


def _install(directory: Path, wanted: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    print(f"\ninstalling {wanted} into {directory.relative_to(inventory.CHECKOUT)}, once", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    pip = [str(directory / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = subprocess.run([*pip, wanted, _NEEDED_BY_ITS_MODULES], capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        raise CannotInstall("\n".join(installed.stderr.strip().splitlines()[-3:]))


def versions(programs: Path) -> str:
    """What is compared with, such as ``ansible 12.3.0, ansible-core 2.19.14``."""
    script = (
        "from importlib.metadata import version as v; "
        "print(f\"ansible {v('ansible')}, ansible-core {v('ansible-core')}, kubernetes {v('kubernetes')}\")"
    )
    return subprocess.run(
        [str(programs / "python"), "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()
