# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check on every host, hosts beside each other; and the table of what came of it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import enum
import time
from collections.abc import Callable, Sequence

from hosts.checks import CHECKS, Check, Level
from hosts.fleet import Host, NotHere, Refused, Wrong


class Verdict(str, enum.Enum):
    """How a check ended."""

    OK = "ok"
    REFUSED = "refused"
    SKIPPED = "skipped"
    FAILED = "FAILED"


@dataclasses.dataclass(frozen=True)
class Row:
    """One check on one host."""

    host: str
    check: str
    verdict: Verdict
    seconds: float
    remark: str

    def line(self) -> str:
        """The row of the table."""
        remark = " ".join(self.remark.split())
        return f"{self.host:20} {self.check:40} {self.verdict.value:8} {self.seconds:7.1f}  {remark}".rstrip()


HEADING = f"{'host':20} {'check':40} {'result':8} {'seconds':>7}  remark"


def one(host: Host, check: Check) -> Row:
    """Run one check on one host."""
    begin = time.monotonic()
    try:
        verdict, remark = Verdict.OK, check.run(host)
    except Wrong as failure:
        verdict, remark = Verdict.FAILED, str(failure)
    except Refused as refusal:
        # A refusal that changed nothing is an answer; after something was changed it is a failure.
        verdict = Verdict.REFUSED if check.level is Level.READ else Verdict.FAILED
        remark = str(refusal)
    except NotHere as reason:
        verdict, remark = Verdict.SKIPPED, str(reason)
    except Exception as bug:  # whatever a host answers, the other checks and hosts get their turn
        verdict, remark = Verdict.FAILED, f"the check itself broke: {type(bug).__name__}: {bug}"
    return Row(host.name, check.name, verdict, time.monotonic() - begin, remark)


def run(
    hosts: Sequence[Host], say: Callable[[Row], object], checks: Sequence[Check] = CHECKS, beside: int = 4
) -> list[Row]:
    """All rows, host by host. A host that fails the first check is not bothered further."""

    def all_of(host: Host) -> list[Row]:
        rows = []
        for check in checks:
            row = one(host, check)
            say(row)
            rows.append(row)
            if check is CHECKS[0] and row.verdict is not Verdict.OK:
                break
        return rows

    with concurrent.futures.ThreadPoolExecutor(beside) as pool:
        return [row for rows in pool.map(all_of, hosts) for row in rows]


def summary(rows: Sequence[Row]) -> str:
    """The last line."""
    counted = {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}
    return ", ".join(f"{number} {verdict.value}" for verdict, number in counted.items())
