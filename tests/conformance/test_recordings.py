# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded sequences of commands, run again on simulated hosts: the same exit codes, words and documents must come.

A journey starts from a host in the recording's first situation and repeats the recorded rows in order. Digests,
addresses, times and sizes are other ones; which of them are equal to each other must be the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from recorded import Reducer, Row, row
from recorded_world import HostUnderTest

KARGS_LATER = (
    *(
        "root=LABEL=root",
        "rw",
        "ostree=",
        "quiet",
        "lab.dup=2",
        "lab.dup=1",
        "lab.a=1",
        "lab.b=2",
        "lab.x=1",
        "lab.y=2",
    ),
)
JSON_STATUS = ("bootc-status-json", "bootc-status-json-v1", "rpm-ostree-status-json")
STATUS = (*JSON_STATUS, "bootc-status-human", "ostree-admin-status", "rpm-ostree-kargs", "rpm-ostree-status")
Action = Callable[[HostUnderTest], object]


@dataclasses.dataclass(frozen=True)
class Repeat:
    """One recorded row. ``alone``: it was taken on another host, so its digests mean nothing to its neighbours."""

    file: str
    name: str
    situation: str
    alone: bool


Step = Repeat | Action


def replay(file: str, *names: str, situation: str = "", alone: bool = False) -> list[Step]:
    """Rows to repeat, of one file and (where names repeat) one situation."""
    return [Repeat(file, name, situation, alone) for name in names]


def sh(command: str) -> Action:
    """A command that is not compared: it makes the recording's next situation."""
    return lambda host: host.ok(host.world.translate(command))


def reboot(host: HostUnderTest) -> None:
    host.reboot()


def retag(source: str, tag: str) -> Action:
    return lambda host: host.world.images.retag(source, tag)


def inject(fault: str, **parameters: Any) -> Action:
    return lambda host: host.node.inject(fault, **parameters)


def clear(fault: str) -> Action:
    return lambda host: host.node.clear(fault)


@dataclasses.dataclass(frozen=True)
class Journey:
    """Where a recording begins, and its steps."""

    name: str
    steps: list[Step]
    image: str = "os:v1"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


FROM_OSTREE = Journey(
    "from an ostree ref to a container, to another, and back",
    [
        *replay("01-fresh-ostree-ref", *STATUS, "bootc-rollback-none", "bootc-upgrade-check", situation="01-"),
        *replay("01-fresh-ostree-ref", "bootc-upgrade-on-ostree-ref", "rebase-same-ref", "rollback-none"),
        *replay("01-fresh-ostree-ref", "rpm-ostree-upgrade-check", "rpm-ostree-upgrade-nochange"),
        *replay("01-fresh-ostree-ref", "rpm-ostree-upgrade-unchanged77"),
        *replay("01-fresh-ostree-ref", "z-bootc-status-humanreadable", alone=True),
        *replay("02-rebase-staged", "rebase", "rebase-again-same", *STATUS, "rpm-ostree-upgrade-while-staged"),
        reboot,
        *replay("03-booted-container", *STATUS, "bootc-switch-same", "bootc-upgrade-check-nochange"),
        *replay("03-booted-container", "bootc-upgrade-nochange", "rebase-same", "rpm-ostree-upgrade-nochange"),
        *replay("03-booted-container", "rpm-ostree-upgrade-nochange77", "bootc-status-json-after"),
        *replay("04-bootc-switch-staged", "a-switch-v2", "b-switch-v2-again", "c-rebase-v2-while-staged"),
        *replay(
            "04-bootc-switch-staged", "d-bootc-upgrade-while-staged", "e-bootc-upgrade-check-while-staged", *STATUS
        ),
        reboot,
        *replay("05-booted-v2", *STATUS),
        *replay(
            "06-kargs", "a-append-if-missing", "b-again-unchanged77", "c-again-plain", "d-delete-if-present-absent"
        ),
        *replay("06-kargs", "e-delete-absent", "f-append-dup", "g-append-dup2", "h-replace", "i-replace-missing"),
        *replay(
            "06-kargs", "j-show-deploy-index0", "k-show-deploy-index1", "l-show-import-proc", "m-show", "n-combined"
        ),
        *replay("06-kargs", "n2-mix-append-and-if-missing", "o-bootc-status", "o2-upgrade77-while-kargs-staged"),
        *replay("06-kargs", "o3-bootc-upgrade-while-kargs-staged"),
        *replay("06-kargs", *STATUS, situation="06-kargs-staged"),
        reboot,
        *replay("07-booted-kargs", *STATUS, "proc-cmdline"),
        *replay("08-rollback", "a-rpm-ostree-rollback"),
        *replay("08-rollback", *STATUS, situation="08a"),
        *replay("08-rollback", "b-rpm-ostree-rollback-again"),
        *replay("08-rollback", *STATUS, situation="08b"),
        *replay("08-rollback", "c-bootc-rollback"),
        *replay("08-rollback", *STATUS, situation="08c"),
        *replay("08-rollback", "d-bootc-upgrade-during-rollback", "d2-bootc-switch-during-rollback-same"),
        *replay("08-rollback", "d3-kargs-show-during-rollback", "d4-kargs77-during-rollback"),
        *replay("08-rollback", "d5-rpm-ostree-upgrade77-during-rollback"),
    ],
    options={"origin": "ostree"},
)

LOCKED = Journey(
    "deployments that are staged and locked",
    [
        sh("bootc switch 10.77.0.1:5000/os:v2"),
        *replay("17-locked", "00-cleanup", "02-rebase-lock-finalization", "03-bootc-status-json", "03-status-json"),
        *replay(
            "17-locked",
            "03-status",
            "04-kargs-while-locked",
            "05-status",
            "06-finalize",
            "07-cleanup",
            "08-bootc-switch-v2",
        ),
        *replay("17-locked", "08b-cleanup", "09-bootc-upgrade-download-only", "10-switch-download-only"),
    ],
    options={"kargs": KARGS_LATER},
)

MOVING = Journey(
    "a tag that moves, and layers on top",
    [
        retag("v1", "stable"),
        sh("rpm-ostree rebase ostree-unverified-registry:10.77.0.1:5000/os:stable"),
        reboot,
        *replay("18-moving-tag", "00-bootc-check-nochange"),
        retag("v2", "stable"),
        *replay("18-moving-tag", "01-bootc-upgrade-check", "01b-status-json", "01d-rpm-ostree-check"),
        *replay("18-moving-tag", "01e-rpm-ostree-preview", "02-upgrade-download-only", "02b-status-json"),
        *replay(
            "18-moving-tag", "02c-rpm-ostree-status", "02d-upgrade-from-downloaded", "02e-status-json", "03-cleanup"
        ),
        *replay("18-moving-tag", "04-bootc-upgrade", "04b-status-json", "04c-rpm-ostree-status", "05-upgrade-again"),
        *replay("18-moving-tag", "06-rollback-with-staged", "06b-rpm-ostree-rollback-with-staged", "06c-status"),
        *replay("18-moving-tag", "07-cleanup", "08-rpm-ostree-upgrade77", "08b-again77", "08c-status-json"),
        sh("rpm-ostree install labtool-1.0"),
        *replay("19-container-layered", "01b-bootc-status-json", "01c-rpm-ostree-status", "02-bootc-upgrade"),
        *replay("19-container-layered", "02b-bootc-upgrade-check", "03-bootc-switch"),
        reboot,
        *replay(
            "19-container-layered", "01-bootc-upgrade", "01b-bootc-upgrade-check", "02-bootc-switch", situation="19b"
        ),
        *replay("19-container-layered", "02b-bootc-switch-same", "03-rpm-ostree-upgrade77", "04-rebase-other"),
        *replay("19-container-layered", "04b-status", "05-cleanup", "06-reset"),
        *replay("19-container-layered", "06c-bootc-upgrade-after-reset-staged", "06d-bootc-switch-after-reset-staged"),
    ],
    options={"origin": "ostree"},
)

AUTH = Journey(
    "credentials, and references that lead nowhere",
    [
        *replay("30-auth", "01-switch-no-cred", "02-rebase-no-cred", "03-cred-elsewhere", "04-rebase-cred-elsewhere"),
        *replay("30-auth", "05-switch-wrong-in-run", "06-rebase-wrong-in-run", "07-switch-wrong-in-run-right-in-etc"),
        *replay("30-auth", "08-switch-broken-json", "09-rebase-broken-json", "10-missing-tag-with-cred"),
        *replay("30-auth", "11-missing-repo-with-cred", "12-rebase-missing-tag", "13-rebase-missing-repo"),
        *replay("30-auth", "14-switch-right-in-etc", "15-rebase-right-in-etc", "16-upgrade-check-no-cred"),
        *replay(
            "30-auth", "17-upgrade-no-cred", "18-rpm-ostree-upgrade-check-no-cred", "19-rpm-ostree-upgrade-no-cred"
        ),
        *replay(
            "30-auth", "20-upgrade-cred", "21-symlink", "22-dangling-symlink", "23-noport-tag-missing-open-registry"
        ),
        *replay("30-auth", "24-repo-missing-open-registry", "25-rebase-tag-missing-open", "26-connection-refused"),
        *replay("30-auth", "27-rebase-connection-refused", "30-bad-reference", "31-bad-reference-upper"),
        *replay("30-auth", "32-rebase-bad-reference", "33-rebase-without-prefix", "34-switch-with-docker-prefix"),
        *replay("10-reset-and-bad-references", "c-switch-noexist-tag", "d-rebase-noexist-tag", "e-switch-unreachable"),
        *replay("10-reset-and-bad-references", "e2-rebase-unreachable", "f-rebase-bad-syntax", "f2-rebase-bare"),
        *replay("10-reset-and-bad-references", "f3-rebase-signed"),
        *replay("37-registry-trouble", "01-switch-registry-down", "02-rebase-registry-down"),
    ],
    options={"kargs": KARGS_LATER},
)

BAD_IMAGES = Journey(
    "images that do not fit, and digests",
    [
        *replay("39-bad-images", "01-switch-arm", "01-switch-nolabel", "01-switch-nokernel", "01-switch-nocontbootc"),
        sh("rpm-ostree cleanup -p"),
        *replay(
            "39-bad-images", "02-rebase-arm", "02-rebase-nolabel", "03-switch-wrong-digest", "04-rebase-wrong-digest"
        ),
        *replay("39-bad-images", "05-switch-short-digest", "06-rebase-short-digest", "07-switch-tag-and-wrong-digest"),
    ],
)

PINNED = Journey(
    "several deployments, pinned and queued",
    [
        *replay("40-pinned", *STATUS, situation="40a"),
        *replay("40-pinned", "01-pin-booted", "01b-pin-again", "02-switch-v2"),
        reboot,
        *replay("40-pinned", *STATUS, situation="40c"),
        *replay("40-pinned", "03-switch-v3"),
        *replay("40-pinned", *STATUS, situation="40d"),
        reboot,
        *replay("40-pinned", *STATUS, situation="40e"),
        *replay("40-pinned", "04-kargs-on-three"),
        *replay("40-pinned", *STATUS, situation="40f"),
        *replay("40-pinned", "05-undeploy-0"),
        *replay("40-pinned", *STATUS, situation="40g"),
        *replay("40-pinned", "06-bootc-rollback"),
        *replay("40-pinned", *STATUS, situation="40h"),
        *replay("40-pinned", "07-undeploy-0-on-queued"),
        *replay("40-pinned", *STATUS, situation="40i"),
        *replay("40-pinned", "08-bootc-rollback-to-pinned"),
        *replay("40-pinned", *STATUS, situation="40j"),
        *replay("40-pinned", "09-cleanup-p-queued-pinned"),
        *replay("40-pinned", *STATUS, situation="40k"),
        reboot,
        *replay("40-pinned", *STATUS, situation="40l"),
        *replay("40-pinned", "11-undeploy-out-of-range", "12-cleanup-r", "13-unpin", "14-pin-staged"),
        *replay("40-pinned", *STATUS, situation="40m"),
        *replay("40-pinned", "15-rollback-with-staged-rpm-ostree", "16-undeploy-staged", "17-rpm-ostree-rollback"),
        *replay("40-pinned", "18-switch-while-rollback-queued"),
        *replay("40-pinned", *STATUS, situation="40o"),
        reboot,
        *replay("40-pinned", *STATUS, situation="40p"),
        *replay("40-pinned", "19-no-rollback"),
    ],
    options={"kargs": KARGS_LATER},
)

KARGS_D = Journey(
    "kargs.d of images, by both tools",
    [
        *replay("32-kargsd", "02-bootc-switch-ka"),
        *replay("32-kargsd", "rpm-ostree-kargs", situation="32a"),
        reboot,
        *replay("32-kargsd", "rpm-ostree-kargs", situation="32b-booted-ka"),
        *replay("32-kargsd", "04-local-karg-added"),
        reboot,
        *replay("32-kargsd", "06-bootc-switch-kb"),
        reboot,
        *replay("32-kargsd", "08-bootc-switch-kc-no-dir"),
        reboot,
        *replay("32-kargsd", "10-rpm-ostree-rebase-ka"),
        reboot,
        *replay("32-kargsd", "13-rpm-ostree-rebase-kb"),
        reboot,
        *replay("32-kargsd", "15-bootc-switch-ka-again"),
        reboot,
        *replay("33-staged-kargs-lost", "01-kargs-append", "02-bootc-switch-after"),
    ],
    options={"kargs": KARGS_LATER},
)

POWER = Journey(
    "power lost with something staged",
    [
        sh("bootc switch 10.77.0.1:5000/os:etc2"),
        reboot,
        *replay("36-power-cut", "01-switch-v2"),
        *replay("36-power-cut", *JSON_STATUS, situation="36a"),
        lambda host: host.power_cycle(),
        *replay("36-power-cut", *JSON_STATUS, situation="36b-after-kill"),
        *replay("36-power-cut", "03-switch-same-again", "04-rpm-ostree-cleanup"),
    ],
    image="os:etc1",
    options={"kargs": KARGS_LATER},
)

DISK = Journey(
    "a full disk",
    [
        inject("disk-full", available=63_000),
        *replay("38-disk-full", "02-switch-multi", "03-switch-v2", "04-rebase-multi"),
        inject("disk-full", available=0),
        *replay("38-disk-full", "07-switch-multi", "10-switch"),
        clear("disk-full"),
        *replay("38-disk-full", "14-free-and-retry"),
    ],
    image="os:v3",
    options={"kargs": KARGS_LATER},
)

OLD_BOOTC = Journey(
    "bootc 1.1.6",
    [
        *replay("48-bootc-1.1.6", "02-version"),
        *replay("48-bootc-1.1.6", "04-same-switch", "05-upgrade-none", "06-upgrade-check", "07-switch-b116b"),
        *replay("48-bootc-1.1.6", "08-same-switch-staged", "09-missing-tag", "10-apply-noop-flag"),
        reboot,
        *replay("48-bootc-1.1.6", *JSON_STATUS, situation="48d"),
        *replay("48-bootc-1.1.6", "11-rollback"),
        *replay("48-bootc-1.1.6", *JSON_STATUS, situation="48e"),
        *replay("48-bootc-1.1.6", "12-rollback-apply-flag", "13-rollback-again", "14-rpm-ostree-kargs"),
        *replay("48-bootc-1.1.6", *JSON_STATUS, situation="48f"),
        *replay("48-bootc-1.1.6", "15-upgrade-with-kargs-staged", "16-cleanup"),
        sh("rpm-ostree install labtool"),
        *replay("48-bootc-1.1.6", *JSON_STATUS, situation="48g"),
        *replay(
            "48-bootc-1.1.6", "18-upgrade-incompatible", "19-cleanup", "32-enforce-permissive", "33-arm", "34-nolabel"
        ),
    ],
    image="os:b116",
    options={"bootc": "1.1.6", "kargs": KARGS_LATER},
)

OLD_BOOTC_FRESH = Journey(
    "bootc 1.1.6 on an ostree ref",
    replay(
        *("48-bootc-1.1.6", "bootc-status-json-1.1.6", "bootc-status-human-1.1.6", "rollback-1.1.6", "upgrade-1.1.6"),
        *("switch-v1-1.1.6", "bootc-status-json-staged-1.1.6"),
    ),
    options={"origin": "ostree", "bootc": "1.1.6"},
)

OLD_BOOTC_KARGS = Journey(
    "bootc 1.1.6 and kargs.d: duplicates",
    [
        *replay("48-bootc-1.1.6", "03-switch-kc-by-1.1.6"),
        reboot,
        *replay("48-bootc-1.1.6", "05-switch-kb-by-1.1.6"),
        reboot,
        *replay("48-bootc-1.1.6", "07-staged-kargs-then-switch"),
        reboot,
    ],
    image="os:b116ka",
    options={"bootc": "1.1.6", "kargs": KARGS_LATER},
)

DIGESTS = Journey(
    "references with a digest, with and without a tag",
    [
        *replay("36-power-cut", "01-switch-v2"),
        sh("rpm-ostree cleanup -p"),
        *replay("39-bad-images", "08-switch-tag-and-digest", "09-same-again", "10-digest-only", "11-rebase-digest"),
        *replay("39-bad-images", "12-rebase-tag-and-digest"),
        reboot,
        *replay("39-bad-images", "16-upgrade-on-digest-pinned", "17-upgrade-on-digest-pinned"),
        *replay("39-bad-images", "18-rpm-ostree-upgrade-digest-pinned", "19-rpm-ostree-upgrade-digest-pinned"),
    ],
    image="os:etc1",
)

SPELLINGS = Journey(
    "other spellings of the same image, and an unlocked /usr",
    [
        sh("for number in 1 2 3 4 5 6; do rpm-ostree kargs --append=number=$number; done"),
        reboot,
        sh("rpm-ostree cleanup -r"),
        *replay("10-reset-and-bad-references", "a-reset", "f4-rebase-unverified-image"),
        *replay("10-reset-and-bad-references", *JSON_STATUS, situation="10b"),
        *replay("10-reset-and-bad-references", "f5-rebase-remote-image", "h-usroverlay", "h2-status-json"),
        *replay("10-reset-and-bad-references", "h3-rpmostree-status", "h4-usroverlay-again"),
        *replay("10-reset-and-bad-references", "h5-rpm-ostree-status-json"),
    ],
    image="os:v2",
)

DOWNLOAD_ONLY = Journey(
    "an update that is downloaded, lost at the reboot, and toggled",
    [
        sh("bootc switch 10.77.0.1:5000/os:v2"),
        reboot,
        sh("bootc switch 10.77.0.1:5000/os:track"),
        reboot,
        retag("v2", "track"),
        sh("rpm-ostree kargs --append-if-missing=up.k=2"),
        sh("rpm-ostree upgrade --allow-downgrade"),
        reboot,
        retag("v3", "track"),
        *replay("37-registry-trouble", "01-download-only"),
        *replay("37-registry-trouble", *JSON_STATUS, "ostree-admin-status", situation="37ca"),
        reboot,
        *replay("37-registry-trouble", "02-after-reboot", "03-check", "04-from-downloaded", "05-upgrade"),
        *replay("37-registry-trouble", "06-from-downloaded-again", "07-lock-again"),
        # not rpm-ostree's: its daemon had not noticed the new lock yet, which is a matter of its own time
        *replay(
            "37-registry-trouble", "bootc-status-json", "bootc-status-json-v1", "ostree-admin-status", situation="37cc"
        ),
        *replay("37-registry-trouble", "08-from-downloaded"),
        *replay("37-registry-trouble", *JSON_STATUS, "ostree-admin-status", situation="37cd"),
        *replay("37-registry-trouble", "09-switch-over-locked"),
        *replay("37-registry-trouble", *JSON_STATUS, "ostree-admin-status", situation="37ce"),
    ],
    options={"kargs": KARGS_LATER},
)

JOURNEYS = [
    *(FROM_OSTREE, LOCKED, MOVING, AUTH, BAD_IMAGES, PINNED, KARGS_D, POWER, DISK),
    *(DIGESTS, SPELLINGS, DOWNLOAD_ONLY, OLD_BOOTC, OLD_BOOTC_FRESH, OLD_BOOTC_KARGS),
]


def reduced(reducer: Reducer, rc: int, stdout: str, stderr: str) -> list[str]:
    """One line per fact, so that pytest shows which one differs."""
    return [f"rc {rc}", *reducer.output(stdout), "stderr:", *reducer.output(stderr)]


def repeat(host: HostUnderTest, recorded: Row, ours: Reducer, theirs: Reducer) -> None:
    """Run a recorded command and hold what comes of it to the recording."""
    command = host.world.translate(ours.like(theirs, recorded.command)).replace("/var/tmp/bootc116", "bootc")
    done = host.sh(command)
    expected = reduced(theirs, recorded.rc, recorded.stdout, recorded.stderr)
    assert reduced(ours, done.returncode, done.stdout, done.stderr) == expected, f"{recorded.name}: {command}"


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)
def test_a_simulated_host_answers_as_the_recorded_one_did(
    journey: Journey, make_host: Callable[..., HostUnderTest]
) -> None:
    host = make_host(journey.image, **journey.options)
    ours, theirs = Reducer(), Reducer()
    for step in journey.steps:
        if isinstance(step, Repeat):
            pair = (Reducer(), Reducer()) if step.alone else (ours, theirs)
            repeat(host, row(step.file, step.name, step.situation), *pair)
        else:
            step(host)
