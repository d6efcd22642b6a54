# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut a node's power, and switch it on again a moment later: ``python -m crash.power LAB NODE SECONDS``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lab.node import Node


def cut(lab: Path, name: str, seconds: float) -> None:
    """Return with the node off. It boots ``seconds`` later, whoever is still there."""
    Node.load(lab, name).power_cut()
    subprocess.Popen(
        [sys.executable, "-m", "crash.power", "--on", str(lab), name, str(seconds)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
    )


def main() -> None:
    if sys.argv[1] == "--on":
        time.sleep(float(sys.argv[4]))
        Node.load(Path(sys.argv[2]), sys.argv[3]).boot()
    else:
        cut(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))


if __name__ == "__main__":
    main()
