# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the levels of the tests one after the other, and say at the end what passed.

A step that fails hides no other step: all of them run. What a step printed is kept in ``.cache/test-logs``, and of a
failed one the end is shown. The last line is ``N passed, N failed, N skipped``, over every test and gate; the exit
status is 0 when nothing failed.

Usage: python dev/run_tests.py [--levels lint,unit]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from levels import LEVELS, ROOT, Level, Step

LOGS = ROOT / ".cache/test-logs"
HOME = ROOT / ".cache/test-home"
TAIL_LINES = 60
CANNOT_RUN = 77
SECOND_TRIES = 3  # more failures than this are no matter of speed
PATIENCE = 3  # how many budgets a level may use before it is ended


@dataclasses.dataclass
class Tally:
    """How many tests and gates came out how, and why some were skipped (reason to number)."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, other: Tally) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.reasons.update(other.reasons)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def environment() -> dict[str, str]:
    """The environment of every step: this one, less whatever a user's own settings would change in a result."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "PYTHON", "PYTEST_", "MOLECULE_", "IMAGEMODE_"))
    }
    HOME.mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "HOME": str(HOME),
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), kept["PATH"], "/usr/local/sbin:/usr/sbin:/sbin")),
        # Git refuses a checkout that belongs to another user, such as one mounted into a build container.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def tally_of_pytest(report: Path, status: int) -> Tally:
    """Count the tests in a JUnit report. A run that broke off, or in which no test was found, counts as one failure."""
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 # our own pytest wrote it
    except (OSError, ElementTree.ParseError):
        return Tally(failed=1)
    tests, bad, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    reasons = collections.Counter(skip.get("message", "") for suite in suites for skip in suite.iter("skipped"))
    tally = Tally(tests - bad - skipped, bad, skipped, reasons)
    if status != 0 and tally.failed == 0:
        tally.failed = 1
    return tally


def run(step: Step, log: Path, seconds: float, variables: Mapping[str, str]) -> Tally:
    """Run one step, at most for ``seconds``, its output to ``log``."""
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    argv = [*step.argv, f"--junitxml={report}", "--color=no"] if step.is_pytest else list(step.argv)
    with log.open("w") as output:
        output.write(f"$ {shlex.join(argv)}\n")
        output.flush()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=dict(variables),
            start_new_session=True,  # so that it can be ended with everything it started
        )
        try:
            status = process.wait(seconds)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            status = -1
            output.write(f"\nended after {seconds:.0f} s: that is {PATIENCE} times the budget of its level\n")
    if step.is_pytest:
        return tally_of_pytest(report, status)
    if status == CANNOT_RUN:
        return Tally(skipped=1, reasons=collections.Counter([log.read_text().splitlines()[-1]]))
    return Tally(passed=1) if status == 0 else Tally(failed=1)


def show_tail(log: Path) -> None:
    lines = log.read_text(errors="replace").splitlines()
    print(f"      the end of {log.relative_to(ROOT)}:")
    for line in lines[-TAIL_LINES:]:
        print(f"      | {line}")


def try_alone(step: Step, first: Tally, log: Path, seconds: float, variables: Mapping[str, str]) -> Tally:
    """Give the tests that failed a second try without others beside them. It is said aloud, and both logs are kept."""
    show_tail(log)
    print(f"      {first.failed} failed beside other tests; once more, alone", flush=True)
    again = run(dataclasses.replace(step, argv=step.alone), log.with_stem(f"{log.stem}-alone"), seconds, variables)
    if again.failed:
        show_tail(log.with_stem(f"{log.stem}-alone"))
        return first
    print(f"      passed alone: {first.failed}. What made the difference is in {log.relative_to(ROOT)}")
    return dataclasses.replace(first, passed=first.passed + first.failed, failed=0)


def run_level(level: Level, variables: Mapping[str, str]) -> tuple[Tally, float]:
    """Run all steps of a level; return what came of them and the seconds it took."""
    print(f"{level.name} (budget {level.budget} s)", flush=True)
    total = Tally()
    begin = time.monotonic()
    if level.needs_root and os.geteuid() != 0:
        print("  skipped: the lab mounts the file systems of its nodes, which needs root (sudo make test)")
        return Tally(skipped=len(level.steps)), 0.0
    for step in level.steps:
        step_begin = time.monotonic()
        log = LOGS / f"{level.name}-{re.sub('[^a-z0-9]+', '-', step.name.lower())}.log"
        left = max(level.budget * PATIENCE - (step_begin - begin), 1)
        tally = run(step, log, left, variables)
        if step.alone and 0 < tally.failed <= SECOND_TRIES:
            tally = try_alone(step, tally, log, left, variables)
        total.add(tally)
        verdict = "FAIL" if tally.failed else "ok" if tally.passed else "skip"
        details = f"  ({tally})" if step.is_pytest else ""
        print(f"  {verdict:4}  {step.name:24}{time.monotonic() - step_begin:7.1f} s{details}", flush=True)
        for reason, number in sorted(tally.reasons.items()):
            print(f"      {number} skipped: {reason}")
        for line in log.read_text(errors="replace").splitlines()[-step.shows :] if step.shows else ():
            print(f"      {line}")
        if tally.failed and not (step.alone and tally.failed <= SECOND_TRIES):
            show_tail(log)
    return total, time.monotonic() - begin


@contextlib.contextmanager
def preparations(levels: Sequence[Level], variables: Mapping[str, str]) -> Iterator[None]:
    """Run in the background, with the time that nothing else wants, what a level needs that is not the first."""
    started = []
    for level in levels[1:]:
        if level.prepared_by and not (level.needs_root and os.geteuid() != 0):
            with (LOGS / f"{level.name}-preparation.log").open("w") as log:
                process = subprocess.Popen(
                    ("nice", "-n", "19", *level.prepared_by),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=ROOT,
                    env=dict(variables),
                    start_new_session=True,
                )
            started.append(process)
    try:
        yield
    finally:
        for process in started:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def end(number: int, frame: object) -> None:
    """Leave through the handlers which end what was started."""
    del frame
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [level.name for level in LEVELS]
    parser.add_argument("--levels", default=",".join(names), help=f"comma-separated, from: {', '.join(names)}")
    wanted = [name for name in re.split(r"[\s,]+", parser.parse_args().levels) if name]
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no level {', '.join(unknown)}; there are {', '.join(names)}")
    # A job in the background of a shell ignores interrupts, and so would every controller that a test interrupts:
    # what is caught here is at its default in what is started from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, end)
    LOGS.mkdir(parents=True, exist_ok=True)
    variables = environment()
    total = Tally()
    report: list[str] = []
    levels = [level for level in LEVELS if level.name in wanted]
    with preparations(levels, variables):
        for level in levels:
            tally, seconds = run_level(level, variables)
            total.add(tally)
            over = "  OVER BUDGET" if seconds > level.budget else ""
            report.append(f"  {level.name:14}{seconds:7.0f} s of {level.budget:5} s   {tally}{over}")
    print("\n".join(["", *report]))
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
