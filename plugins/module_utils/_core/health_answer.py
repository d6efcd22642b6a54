# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node's loop answered, and what that means in words."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import (
    Check,
    Command,
    FailedUnits,
    Greenboot,
    Http,
    Unit,
    UnitState,
)

_LONGEST_WORDS = 300
_NAMED_UNITS = 5


class Why(Enum):
    """Why the loop came back."""

    WELL = "well"
    """All is right, for as long as it has to be."""
    ASK = "ask"
    """All is right that the node can judge; the controller has to look at an answer."""
    TIME = "time"
    """The trip's time is up."""
    NEVER = "never"
    """Something can never become right."""
    BOOT = "boot"
    """The node runs another boot than the one that was to be looked at."""


class Verdict(Enum):
    """Of one check."""

    OK = "ok"
    NO = "no"
    NEVER = "never"
    ASK = "ask"


class AnswerNotUnderstood(ValueError):
    """The loop did not end by itself, or something else wrote into its answer."""


@dataclass(frozen=True)
class Finding:
    """One check as the node saw it last. `since`: when it began to be right, on the node's clock in hundredths of a second."""

    verdict: Verdict
    identity: str = ""
    since: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def fact(self, name: str) -> str:
        """Empty if it was not told."""
        return self.facts.get(name, "")


@dataclass(frozen=True)
class Answer:
    """What one trip brought back; times on the node's clock, in hundredths of a second since its boot."""

    boot_id: str
    why: Why
    first: int = 0
    now: int = 0
    well: int | None = None
    lost: int | None = None
    findings: Mapping[int, Finding] = field(default_factory=dict)


def parse_answer(text: str) -> Answer:
    """From what the script printed. Raises AnswerNotUnderstood."""
    values: dict[str, str] = {}
    findings: dict[int, Finding] = {}
    try:
        for line in text.splitlines():
            key, _blank, rest = line.partition(" ")
            if key == "check":
                number, _blank, finding = rest.partition(" ")
                findings[int(number)] = _finding(finding)
            elif key == "body":
                number, _blank, encoded = rest.partition(" ")
                body = base64.b64decode(encoded, validate=True)
                findings[int(number)] = replace(findings[int(number)], body=body)
            elif key:
                values[key] = rest
        why = Why(values.get("why", "nothing"))
        if why is Why.BOOT:
            return Answer(values["boot"], why)
        first, now = int(values["first"]), int(values["now"])
        well, lost = _time(values["well"]), _time(values["lost"])
        ended = "end" in values
    except (ValueError, KeyError) as error:
        raise AnswerNotUnderstood(
            f"The loop that looks at the node's health did not run as it should: {cut(text, 200) or error}"
        ) from error
    if not ended:
        raise AnswerNotUnderstood("The loop that looks at the node's health ended in the middle.")
    return Answer(values["boot"], why, first, now, well, lost, findings)


def _finding(text: str) -> Finding:
    verdict, identity, since, facts = (*text.split(" ", 3), "", "", "", "")[:4]
    return Finding(Verdict(verdict), "" if identity == "-" else identity, _time(since), _facts(facts))


def _time(text: str) -> int | None:
    return None if text == "-" else int(text)


def _facts(text: str) -> dict[str, str]:
    """From `name=value name=value say=anything to the end`."""
    words, _mark, said = f" {text}".partition(" say=")
    pairs = (word.partition("=") for word in words.split())
    return {**{name: value for name, _equals, value in pairs}, "say": said.strip()}


def told(check: Check, finding: Finding) -> str:
    """What was found, in one line of at most 300 characters, with what to do where it is not right."""
    return cut(_words(check, finding), _LONGEST_WORDS)


def cut(text: str, longest: int) -> str:
    """The text in one line, of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _words(check: Check, finding: Finding) -> str:
    if isinstance(check, FailedUnits):
        return _failed_units(finding)
    if isinstance(check, Unit):
        return _unit(check, finding)
    if isinstance(check, Http):
        return _http(check, finding)
    if isinstance(check, Command):
        return _command(check, finding)
    if isinstance(check, Greenboot):
        return _greenboot(finding)
    raise TypeError(f"no node answers for {check.kind.value}")


def _no_systemd(finding: Finding) -> str:
    return f"systemctl gave no answer{_because(finding.fact('say'))}"


def _because(said: str) -> str:
    return f" ({said.rstrip('.')})" if said else ""


def _failed_units(finding: Finding) -> str:
    state = finding.fact("state")
    failed, ignored = (list(filter(None, finding.fact(name).split(","))) for name in ("failed", "ignored"))
    if not state:
        return _no_systemd(finding)
    if state in ("starting", "initializing"):
        first = f", the first for {finding.fact('first')}" if finding.fact("first") else ""
        return (
            f"the boot is not finished, {finding.fact('jobs')} jobs are open{first}. "
            "`systemctl list-jobs` on the node names them"
        )
    if state not in ("running", "degraded"):
        return f"systemd calls the node {state}, wanted running"
    if failed:
        more = f" and {len(failed) - _NAMED_UNITS} more" if len(failed) > _NAMED_UNITS else ""
        have = "has" if len(failed) == 1 else "have"
        names = ", ".join(failed[:_NAMED_UNITS])
        return f"{names}{more} {have} failed. `systemctl status {failed[0]}` on the node says why"
    return f"no unit has failed but {', '.join(ignored)}, which may" if ignored else "no unit has failed"


def _unit(check: Unit, finding: Finding) -> str:
    active, load = finding.fact("active"), finding.fact("load")
    if not load:
        return _no_systemd(finding)
    if load == "not-found":
        return f"there is no {check.unit} on this node, so nothing can become of it. Is the name right?"
    found = f"{check.unit} is {active}{_because(finding.fact('result' if active == 'failed' else 'sub'))}"
    if finding.verdict is Verdict.OK:
        return found
    if load == "masked" and check.state is UnitState.ACTIVE:
        return f"{check.unit} is masked on this node, so it can never be active"
    if active == "inactive" and finding.fact("condition") == "no":
        return (
            f"{found}, wanted {check.state.value}. Nothing has started it, or a condition in its file kept it from that"
        )
    return f"{found}, wanted {check.state.value}. `journalctl -b -u {check.unit}` on the node says more"


def _http(check: Http, finding: Finding) -> str:
    missing, code = finding.fact("missing"), finding.fact("code")
    if finding.fact("tool") == "none":
        return "the node has neither curl nor wget to ask with"
    if missing == "ca_file":
        return f"the node has no file {check.ca_file} that can be read, which ca_file names"
    if missing == "tls":
        return "the node has no curl, and its wget cannot verify a server. Install curl, or ask over plain HTTP on the node"
    if code in ("", "000"):
        return f"no answer{_because(finding.fact('say'))}"
    if finding.fact("size") == "large":
        return f"answered {code} with more than 1 MiB, which is too much to look into"
    if int(code) not in check.status:
        return f"answered {code}, wanted {' or '.join(map(str, check.status))}"
    return f"answered {code}"


def _command(check: Command, finding: Finding) -> str:
    program, code = check.argv[0], finding.fact("code")
    if finding.fact("missing") == "program":
        return f"there is no program {program} on this node"
    if finding.fact("late") == "1":
        return f"was not done after {finding.fact('seconds')} s{_because(finding.fact('say'))}"
    if finding.verdict is Verdict.OK:
        return f"exited with {code}"
    if not code:
        return f"{program} gave no answer"
    return f"exited with {code}, wanted {' or '.join(map(str, check.rc))}{_because(finding.fact('say'))}"


def _greenboot(finding: Finding) -> str:
    load, active, counter = finding.fact("load"), finding.fact("active"), finding.fact("counter")
    back = ". It has gone back to the previous deployment by itself" if finding.fact("fell_back") == "1" else ""
    if not load:
        return _no_systemd(finding)
    if load in ("not-found", "masked"):
        return f"greenboot-healthcheck.service is {load} on this node, so there is no greenboot to judge its boots"
    if finding.verdict is Verdict.OK:
        return f"greenboot called this boot good{back}"
    if active == "failed":
        following = (
            f"reboots the node by itself {counter} more times at most" if counter.isdigit() else "leaves it as it is"
        )
        return (
            f"greenboot called this boot bad, and {following}{back}. "
            "`journalctl -b -u greenboot-healthcheck.service` on the node says why"
        )
    if finding.verdict is Verdict.NEVER:
        return "greenboot-healthcheck.service is not enabled on this node, so nothing judges its boots"
    if active == "active":
        return (
            "greenboot's checks are done, but it has not marked the boot as good (boot_success in grub's environment)"
        )
    return f"greenboot is not done with its checks (greenboot-healthcheck.service is {active})"
