# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node's loop answered, in words; and answers that are none."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_answer import (
    Answer,
    AnswerNotUnderstood,
    Finding,
    Verdict,
    Why,
    parse_answer,
    told,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import parse_checks

ANSWER = f"""boot 1234
why ask
first 100
now 350
well 300
lost -
check 0 ok 0123abcd 120 load=loaded active=active sub=running
check 1 ask - 300 code=200 sum=1-2
body 1 {base64.b64encode(b'{"a": 1}').decode()}
check 2 no - - code=7 late=0 say=a word=with an equals sign
end
"""


def test_an_answer() -> None:
    assert parse_answer(ANSWER) == Answer(
        "1234",
        Why.ASK,
        100,
        350,
        300,
        None,
        {
            0: Finding(
                Verdict.OK, "0123abcd", 120, {"load": "loaded", "active": "active", "sub": "running", "say": ""}
            ),
            1: Finding(Verdict.ASK, "", 300, {"code": "200", "sum": "1-2", "say": ""}, b'{"a": 1}'),
            2: Finding(Verdict.NO, "", None, {"code": "7", "late": "0", "say": "a word=with an equals sign"}),
        },
    )


def test_another_boot_answers_with_its_id_alone() -> None:
    assert parse_answer("boot 99\nwhy boot\n") == Answer("99", Why.BOOT)


BROKEN = {
    "nothing": "",
    "no end": ANSWER.replace("end\n", ""),
    "a message of the day": "Welcome to n1\n",
    "an unknown reason": ANSWER.replace("why ask", "why not"),
    "an unknown verdict": ANSWER.replace("check 2 no", "check 2 maybe"),
    "a clock that stands still": ANSWER.replace("now 350", "now"),
    "a body that is none": ANSWER.replace("body 1 ", "body 1 %"),
    "a body of nobody": ANSWER.replace("body 1", "body 5"),
    "no mktemp": "sh: mktemp: not found\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_not_an_answer(case: str) -> None:
    with pytest.raises(AnswerNotUnderstood):
        parse_answer(BROKEN[case])


UNIT: dict[str, object] = {"unit": "kubelet"}
OFF: dict[str, object] = {"unit": "debug.socket", "state": "inactive"}
HTTP: dict[str, object] = {"http": "http://localhost/healthz", "status": [200, 204]}
RUN: dict[str, object] = {"command": ["check-it"]}

WORDS: dict[str, tuple[dict[str, object], str, str]] = {
    "none has failed": ({"failed_units": {}}, "ok - 1 state=running", "no unit has failed"),
    "some may fail": (
        {"failed_units": {}},
        "ok - 1 state=degraded failed= ignored=,a.service,b.service",
        "no unit has failed but a.service, b.service, which may",
    ),
    "many have": (
        {"failed_units": {}},
        "no - - state=degraded failed=,a,b,c,d,e,f,g ignored=",
        "a, b, c, d, e and 2 more have failed. `systemctl status a` on the node says why",
    ),
    "still booting": (
        {"failed_units": {}},
        "no - - state=starting jobs=3 first=",
        "the boot is not finished, 3 jobs are open. `systemctl list-jobs` on the node names them",
    ),
    "going down": ({"failed_units": {}}, "no - - state=stopping", "systemd calls the node stopping, wanted running"),
    "systemd is not there": (
        {"failed_units": {}},
        "no - - say=Host is down.",
        "systemctl gave no answer (Host is down)",
    ),
    "it runs": (UNIT, "ok 1 1 load=loaded active=active sub=running", "kubelet.service is active (running)"),
    "it does not": (
        UNIT,
        "no 1 - load=loaded active=failed sub=failed result=exit-code",
        "kubelet.service is failed (exit-code), wanted active. `journalctl -b -u kubelet.service` on the node says more",
    ),
    "it was never started": (
        UNIT,
        "no - - load=loaded active=inactive sub=dead result=success condition=no",
        "kubelet.service is inactive (dead), wanted active. Nothing has started it, or a condition in its file kept it from that",
    ),
    "it is masked": (
        UNIT,
        "never - - load=masked active=inactive sub=dead",
        "kubelet.service is masked on this node, so it can never be active",
    ),
    "it is masked, and is not to run": (
        OFF,
        "ok - 1 load=masked active=inactive sub=dead",
        "debug.socket is inactive (dead)",
    ),
    "it was cut off": (UNIT, "no - - ", "systemctl gave no answer"),
    "an answer": (HTTP, "ok - 1 code=204", "answered 204"),
    "another answer": (HTTP, "no - - code=503 say=", "answered 503, wanted 200 or 204"),
    "no answer": (HTTP, "no - - code=000 say=curl: (7) refused", "no answer (curl: (7) refused)"),
    "nothing at all": (HTTP, "no - - ", "no answer"),
    "nothing to ask with": (HTTP, "never - - tool=none", "the node has neither curl nor wget to ask with"),
    "it works": (RUN, "ok - 1 code=0 late=0 seconds=10 say=", "exited with 0"),
    "it does not work": (RUN, "no - - code=3 late=0 seconds=10 say=oh no", "exited with 3, wanted 0 (oh no)"),
    "it takes too long": (RUN, "no - - code=124 late=1 seconds=10 say=", "was not done after 10 s"),
    "it is not there": (RUN, "never - - missing=program", "there is no program check-it on this node"),
    "good": (
        {"greenboot": True},
        "ok 1 1 load=loaded active=active file=enabled success=1 counter= fell_back=0",
        "greenboot called this boot good",
    ),
    "bad, and it tries again": (
        {"greenboot": True},
        "never - - load=loaded active=failed file=enabled success=0 counter=2 fell_back=0",
        "greenboot called this boot bad, and reboots the node by itself 2 more times at most. "
        "`journalctl -b -u greenboot-healthcheck.service` on the node says why",
    ),
    "bad, and nothing follows": (
        {"greenboot": True},
        "never - - load=loaded active=failed file=enabled success=0 counter= fell_back=1",
        "greenboot called this boot bad, and leaves it as it is. It has gone back to the previous deployment by itself. "
        "`journalctl -b -u greenboot-healthcheck.service` on the node says why",
    ),
    "not marked yet": (
        {"greenboot": True},
        "no - - load=loaded active=active file=enabled success=0 counter=2 fell_back=0",
        "greenboot's checks are done, but it has not marked the boot as good (boot_success in grub's environment)",
    ),
    "not done": (
        {"greenboot": True},
        "no - - load=loaded active=activating file=enabled success=0 counter=2 fell_back=0",
        "greenboot is not done with its checks (greenboot-healthcheck.service is activating)",
    ),
    "not enabled": (
        {"greenboot": True},
        "never - - load=loaded active=inactive file=disabled success= counter= fell_back=0",
        "greenboot-healthcheck.service is not enabled on this node, so nothing judges its boots",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_words(case: str) -> None:
    given, line, said = WORDS[case]
    (check,) = parse_checks([given])
    answer = parse_answer(f"boot 1\nwhy time\nfirst 1\nnow 1\nwell -\nlost -\ncheck 0 {line}\nend\n")
    assert told(check, answer.findings[0]) == said


def test_words_are_one_line_of_300_characters() -> None:
    (check,) = parse_checks([RUN])
    assert len(told(check, Finding(Verdict.NO, facts={"code": "1", "say": "long " * 200}))) == 300
