# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the demo on the oldest ansible-core that meta/runtime.yml promises to work with.

That release gets a virtual environment of its own, ``.cache/oldest-core``, which later runs find again. It ends with
status 77 where this Python is too new for that release.

Usage: python dev/oldest_core.py [options of the demo]
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".cache/oldest-core"
REQUIREMENTS = ("ansible-core==2.16.19", "bcrypt==5.0.0", "PyYAML==6.0.3")
NEWEST_PYTHON = (3, 12)
CANNOT_RUN = 77


def make_environment() -> Path:
    """The Python of the environment, which is made if it is not there or was made from something else."""
    python = VENV / "bin/python"
    stamp = VENV / "stamp"
    wanted = "\n".join((*REQUIREMENTS, sys.version, str(ROOT)))
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    venv.create(VENV, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    subprocess.run([*pip, *REQUIREMENTS], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(VENV), "platbase": str(VENV)}))
    (packages / "imagemode_nodes.pth").write_text(f"{ROOT / '.venv/collections'}\n{ROOT / 'tests'}\n")
    stamp.write_text(wanted)
    return python


def main(arguments: list[str]) -> int:
    if sys.version_info[:2] > NEWEST_PYTHON:
        print(f"{REQUIREMENTS[0]} runs on Python {'.'.join(map(str, NEWEST_PYTHON))} at most")
        return CANNOT_RUN
    demo = [str(make_environment()), "-m", "lab.demo", "--lab", str(ROOT / ".lab/oldest-core"), *arguments]
    return subprocess.run(demo, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
