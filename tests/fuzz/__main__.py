# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzzing with atheris: every target for its share of the time, two beside each other, and at the end how often each ran.

    python -m fuzz [--seconds 60] [--seed 1] [TARGET …]
    python -m fuzz --replay FILE TARGET       run one input again, with its traceback

Exit status 1 if a target found a defect; its input is kept in .cache/fuzz. 77 if atheris is not installed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

from fuzz.targets import TARGETS, Target, target

CHECKOUT = Path(__file__).resolve().parents[2]
FOUND = CHECKOUT / ".cache" / "fuzz"
BESIDE_EACH_OTHER = 2
START_SECONDS = 120
CANNOT_RUN = 77


@dataclasses.dataclass(frozen=True)
class Share:
    """How one target went."""

    name: str
    executions: int
    seconds: float
    rc: int
    output: str


def share_of(chosen: Target, seconds: int, seed: int) -> Share:
    """Fuzz one target in a process of its own."""
    begin = time.monotonic()
    argv = [sys.executable, "-m", "fuzz.engine", chosen.name, str(seconds), str(seed), str(FOUND)]
    try:
        done = subprocess.run(
            argv,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + START_SECONDS,
            check=False,
        )
        rc, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        rc, output = 1, f"it did not end within {late.timeout:.0f} s"
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    return Share(chosen.name, int(executions[1]) if executions else 0, time.monotonic() - begin, rc, output)


def everything(chosen: list[Target], seconds: int, seed: int) -> int:
    """Fuzz all of them and print the totals."""
    FOUND.mkdir(parents=True, exist_ok=True)
    each = max(1, seconds * BESIDE_EACH_OTHER // max(1, len(chosen)))
    with concurrent.futures.ThreadPoolExecutor(BESIDE_EACH_OTHER) as pool:
        shares = list(pool.map(lambda one_target: share_of(one_target, each, seed), chosen))
    defects = [share for share in shares if share.rc != 0 or share.executions == 0]
    for share in defects:
        print(f"--- {share.name}: a defect ---\n{share.output[-6000:]}\n")
    print("target                 executions   seconds  result")
    for share in shares:
        print(f"{share.name:22} {share.executions:10}  {share.seconds:8.1f}  {'DEFECT' if share in defects else 'ok'}")
    total = sum(share.executions for share in shares)
    print(f"{'all':22} {total:10}  {'':8}  {len(defects)} with a defect")
    if defects:
        print(f"inputs: {FOUND}; again, with traceback: python -m fuzz --replay FILE TARGET")
    return 1 if defects else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=Path, help="an input that failed")
    parser.add_argument("targets", nargs="*", choices=[[], *(known.name for known in TARGETS)], metavar="TARGET")
    options = parser.parse_args()
    chosen = [target(name) for name in options.targets] or [known for known in TARGETS if known.instrumented]
    if options.replay:
        chosen[0].run(options.replay.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        print(f"atheris is not installed: it has no package for Python {version} on this machine")
        return CANNOT_RUN
    return everything(chosen, options.seconds, options.seed)


if __name__ == "__main__":
    sys.exit(main())
