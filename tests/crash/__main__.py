# SPDX-License-Identifier: GPL-3.0-or-later
"""Strike rollouts at every step, run each of them again, and look at what came of it.

    python -m crash [--cases 20 [--seed 1]] [--jobs 4] [--course NAME] [--only WORD] [--list]

The moments are found by rollouts that nobody strikes: every beginning and end of a task on every node, whatever tasks
there are, and every entry that a node writes into its journal. ``--cases`` takes so many of them, spread over all. What is
kept of a case that broke a rule is in .cache/crash. Exit status 1 if there is one, 77 without root.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from cluster.build import CannotBuild
from lab import images
from lab.ansible_server import AnsibleServer
from lab.inventory import CHECKOUT
from lab.registry import Registry

from crash.case import Case, NodeStep, Strike
from crash.course import COURSES, Course
from crash.course import course as course_of
from crash.fleet import Fleet, Images
from crash.kubernetes import Kubernetes
from crash.verdict import faults_of

KEPT = CHECKOUT / ".cache" / "crash"
CANNOT_RUN = 77
MANY_MISSED = 0.25  # moments that did not come again, of all: then the campaign says little


@dataclasses.dataclass(frozen=True)
class Outcome:
    """``case``: None for the rollout that nobody struck. ``faults``: rules that were broken."""

    course: Course
    case: Case | None
    struck: bool
    faults: tuple[str, ...]
    seconds: float


class Campaign:
    """All cases, with one registry and one ansible-core for all of them."""

    def __init__(self, work: Path, chosen: Images, server: AnsibleServer, kubernetes: Kubernetes | None) -> None:
        self._work, self._images, self._server, self._kubernetes = work, chosen, server, kubernetes

    def undisturbed(self, course: Course) -> tuple[Outcome, list[Case]]:
        """Run a course twice without a strike, and find every moment at which it can be struck."""
        begin = time.monotonic()
        fleet = self._fleet(f"undisturbed-{course.name.replace(' ', '-')}", course)
        try:
            before = fleet.steps()
            ended = fleet.run()
            after = fleet.steps()
            faults = faults_of(None, course, fleet, self._images, ended)
            again = fleet.run()
            faults += [f"run again: {fault}" for fault in faults_of(None, course, fleet, self._images, again)]
            if faults:
                _keep(fleet, faults)
        finally:
            fleet.close()
        cases = [Case(course.name, strike, moment) for moment in ended.boundaries for strike in Strike]
        steps = [NodeStep(name, count) for name in before for count in range(before[name] + 1, after[name] + 1)]
        cases += [Case(course.name, strike, step) for step in steps for strike in Strike]
        return Outcome(course, None, False, tuple(faults), time.monotonic() - begin), cases

    def struck(self, number: int, case: Case) -> Outcome:
        """Strike a rollout, and run it again until it was run once from its beginning to its end."""
        begin, course = time.monotonic(), course_of(case.course)
        fleet = self._fleet(f"case-{number}", course)
        faults: list[str] = ["it was interrupted"]
        try:
            struck = fleet.run(case).struck
            again = fleet.run()
            faults = faults_of(case, course, fleet, self._images, again)
        except Exception:
            struck, faults = False, [traceback.format_exc()]
        finally:
            if faults:  # while its journals are there
                _keep(fleet, [str(case), *faults])
            fleet.close()
        shutil.rmtree(fleet.directory, ignore_errors=True)
        return Outcome(course, case, struck, tuple(faults), time.monotonic() - begin)

    def _fleet(self, name: str, course: Course) -> Fleet:
        return Fleet(self._work / name, course, self._images, self._server, self._kubernetes)


def _keep(fleet: Fleet, said: Sequence[str]) -> None:
    """Save what tells why: the outputs, the orders, the journals and the store."""
    kept = KEPT / fleet.directory.name
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    (kept / "faults").write_text("\n".join([*said, ""]))
    for path in fleet.directory.iterdir():
        if path.is_file():
            shutil.copy(path, kept)
    for name, node in fleet.nodes.items():
        if Path(node.journal.path).exists():
            shutil.copy(node.journal.path, kept / f"journal-{name}.jsonl")
    (kept / "store.json").write_text(fleet.document)


def spread(cases: Sequence[Case], number: int, seed: int) -> list[Case]:
    """So many of them, one from anywhere in each of as many equal parts; all if ``number`` is 0."""
    if not 0 < number < len(cases):
        return list(cases)
    chance = random.Random(seed)  # noqa: S311 (no secret)
    return [cases[int((index + chance.random()) * len(cases) / number)] for index in range(number)]


def report(outcomes: Sequence[Outcome], cases_there_are: int, seconds: float) -> int:
    """Print the totals; return the exit status."""
    for outcome in outcomes:
        for fault in outcome.faults:
            print(f"FAIL  {outcome.case or outcome.course.name + ', undisturbed'}: {fault}")
    done = [outcome for outcome in outcomes if outcome.case]
    kinds = collections.Counter((outcome.course.name, outcome.case.strike.value) for outcome in done if outcome.case)
    for (name, strike), number in sorted(kinds.items()):
        well = sum(
            not one.faults for one in done if one.case and (one.course.name, one.case.strike.value) == (name, strike)
        )
        print(f"  {name:12} {strike:11} {well:4} of {number:4} came to their end")
    missed = sum(not outcome.struck for outcome in done)
    well = sum(not outcome.faults for outcome in done)
    print(
        f"{well} of {len(done)} struck rollouts came to their end when run again; {cases_there_are} cases in all, ",
        end="",
    )
    print(f"{missed} moments did not come again, {seconds:.0f} s")
    too_many = missed > MANY_MISSED * len(done) + 1
    if too_many:
        print("FAIL  too many moments did not come again, so the campaign says little")
    return 1 if too_many or any(outcome.faults for outcome in outcomes) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m crash", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=0, help="how many, spread over all; 0, the default: all")
    parser.add_argument("--seed", type=int, default=0, help="which of them: another number is another choice")
    parser.add_argument("--jobs", type=int, default=4, help="how many at once")
    parser.add_argument("--course", choices=[course.name for course in COURSES], action="append")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="only show the cases")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the lab mounts the file systems of its nodes, which needs root")
        return CANNOT_RUN
    begin = time.monotonic()
    courses = [course for course in COURSES if not options.course or course.name in options.course]
    work = Path(tempfile.mkdtemp(prefix="crash-"))
    try:
        with contextlib.ExitStack() as stack:
            kubernetes = skipped = None
            if any(course.cluster for course in courses):
                try:
                    kubernetes = stack.enter_context(Kubernetes.start(work / "kubernetes"))
                except CannotBuild as error:
                    skipped = f"skipped: {', '.join(course.name for course in courses if course.cluster)}: {error}"
                    print(skipped, flush=True)
                    courses = [course for course in courses if not course.cluster]
            if not courses:
                return CANNOT_RUN
            registry = stack.enter_context(Registry.start(work / "registry"))
            old = images.build_base(registry.address)
            new = images.build_base(registry.address, name="fleet", tag="v2", version="2.0")
            name, _at, digest = new.partition("@")
            campaign = Campaign(work, Images(old, f"{name}:v2", digest), AnsibleServer.start(), kubernetes)
            status = _run(campaign, courses, options, begin)
            if skipped:  # again, where somebody who sees only the end sees it
                print(skipped)
            return status
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(campaign: Campaign, courses: Sequence[Course], options: argparse.Namespace, begin: float) -> int:
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(campaign.undisturbed, courses))
        cases = [case for _outcome, of_course in found for case in of_course if options.only in str(case)]
        if options.list:
            print("\n".join(map(str, cases)))
            return 0
        outcomes = [outcome for outcome, _cases in found]
        struck = [
            pool.submit(campaign.struck, *numbered)
            for numbered in enumerate(spread(cases, options.cases, options.seed))
        ]
        for future in concurrent.futures.as_completed(struck):
            outcome = future.result()
            outcomes.append(outcome)
            mark = "FAIL" if outcome.faults else "ok" if outcome.struck else "ok, not struck"
            print(f"{mark:5} {outcome.seconds:5.1f} s  {outcome.case}", flush=True)
    return report(outcomes, len(cases), time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
