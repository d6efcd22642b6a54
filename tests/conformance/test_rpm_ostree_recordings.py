# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded sequences of rpm-ostree commands, run again on simulated hosts: ostree refs, packages, drivers, live changes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from lab.simulators.ostree_remote import OstreeRemote
from recorded import Reducer, row
from recorded_world import HostUnderTest
from test_recordings import (
    JSON_STATUS,
    KARGS_LATER,
    STATUS,
    Action,
    Journey,
    Repeat,
    clear,
    inject,
    reboot,
    reduced,
    repeat,
    replay,
    sh,
)

RPM_STATUS = ("rpm-ostree-status-json", "rpm-ostree-status", "rpm-ostree-kargs", "ostree-admin-status")
LATER = 1795242148  # when the second commits of the recordings were made, seconds since 1970
V3_DIGEST = [*replay("42-update-driver", "13-bootc-switch-driver-active"), sh("rpm-ostree cleanup -p")]


def publish(branch: str, image: str, version: str) -> Action:
    """A new commit on a branch of the remote that the hosts of the recordings follow."""

    def commit(host: HostUnderTest) -> None:
        remote = OstreeRemote(host.node.lab, "lab")
        remote.commit(branch, f"{host.world.open}/{image}", version=version, timestamp=LATER)

    return commit


OSTREE_REF = Journey(
    "a host on an ostree ref, and newer commits of it",
    [
        publish("labos/stable/base", "os:v1", "1.1"),
        publish("labos/stable/v2", "os:v2", "2.0"),
        *replay("11-ostree-upgrade", "a-upgrade-check", "a2-preview", "a3-status-json", "a4-status", "b-upgrade"),
        *replay("11-ostree-upgrade", "c-upgrade-again", "c2-check-while-staged", "d-rebase-equal-while-staged"),
        *replay("11-ostree-upgrade", "e-kargs-on-staged", "f-status-json", "g-rebase-v2ref", "h-kargs"),
    ],
    options={"origin": "ostree"},
)

OSTREE_UPGRADE = Journey(
    "a host on an ostree ref, upgraded without a check before",
    [
        publish("labos/stable/base", "os:v1", "1.1"),
        sh("rpm-ostree upgrade"),
        *replay("11-ostree-upgrade", *STATUS, situation="11-ostree-upgrade-staged"),
    ],
    options={"origin": "ostree"},
)

LAYERING = Journey(
    "packages on top of an ostree ref",
    [
        *replay("12-layering", "01-refresh-md", "02-install-v10", "03-bootc-status", "03-bootc-status-human"),
        *replay("12-layering", "03-status", "03-status-json", "04-install-again", "05-install-idempotent"),
        *replay("12-layering", "05b-install-noarg-unchanged", "06-install-noexist", "06b-install-existing-in-base"),
        *replay("12-layering", "06c-uninstall-not-layered", "07-uninstall-labextra"),
        sh("touch /var/tmp/labextra-2.0-1.noarch.rpm"),
        *replay("12-layering", "08-install-local", "08b-status-json", "08c-status", "08d-install-local-again"),
        reboot,
        *replay("12-layering", *STATUS, situation="12b"),
        *replay("12-layering", "01-install-again-booted", "02-idem77", "03-uninstall", "04-status", "05-reset"),
        *replay("12-layering", "06-status", "06-status-json", "07-reset-again", "08-kargs-after-reset"),
        publish("labos/stable/base", "os:v1", "1.1"),
        *replay("12-layering", "09-upgrade-check"),
    ],
    options={"origin": "ostree"},
)

DRIVER = Journey(
    "an update driver",
    [
        sh("bootc switch 10.77.0.1:5000/os:v2"),
        reboot,
        *replay("42-update-driver", "00-register-own-unit", "00a-register-empty"),
        *replay("42-update-driver", *STATUS, situation="42a"),
        *replay("42-update-driver", "02-own-unit-allowed"),
        sh("rm /run/rpm-ostree/update-driver.gv"),
        sh("systemd-run --unit=labdriver sh -c 'rpm-ostree deploy --register-driver=labd \"\"; sleep 900'; sleep 1"),
        *replay("42-update-driver", *STATUS, situation="42b"),
        *replay("42-update-driver", "04-rebase-driver-active", "05-upgrade-driver-active", "06-check-driver-active"),
        *replay("42-update-driver", "07-deploy-driver-active", "08-kargs-driver-active", "09-cleanup-driver-active"),
        *replay("42-update-driver", "10-install-driver-active", "11-reset-driver-active"),
        sh("rpm-ostree cleanup -p; rpm-ostree rollback; rpm-ostree rollback"),
        *replay("42-update-driver", "13-bootc-switch-driver-active"),
        *replay("42-update-driver", *STATUS, situation="42c"),
        *replay("42-update-driver", "14-cleanup", "15-rebase-bypass", "16-cleanup", "17-rebase-driver-stopped"),
        *replay("42-update-driver", *STATUS, situation="42d"),
    ],
    options={"kargs": KARGS_LATER},
)

LIVE = Journey(
    "an unlocked /usr, and packages applied live",
    [
        sh("bootc switch 10.77.0.1:5000/os:v2"),
        reboot,
        *replay("43-apply-live-and-usr-overlay", "01-usr-overlay", "03-apply-live-no-target"),
        *replay("43-apply-live-and-usr-overlay", *STATUS, situation="43ba-"),
        *replay("43-apply-live-and-usr-overlay", "03b-usr-overlay-again", "03c-switch-with-overlay"),
        *replay("43-apply-live-and-usr-overlay", *STATUS, situation="43ba2"),
        *replay("43-apply-live-and-usr-overlay", "03d-cleanup"),
        reboot,
        *replay("43-apply-live-and-usr-overlay", "04b-usr-overlay-ro"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43bb"),
        *replay("43-apply-live-and-usr-overlay", "05-install", "06-apply-live"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43bc"),
        *replay("43-apply-live-and-usr-overlay", "08-apply-live-again", "09-install-live"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43bd"),
        *replay("43-apply-live-and-usr-overlay", "10a-install-again-idempotent", "10b-kargs"),
        *replay("43-apply-live-and-usr-overlay", "10c-bootc-switch-on-live"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43be"),
        *replay("43-apply-live-and-usr-overlay", "10d-cleanup"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43bf"),
        *replay("43-apply-live-and-usr-overlay", "11-reset", "11b-reset-allow"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43bg"),
        reboot,
        *replay("43-apply-live-and-usr-overlay", *STATUS, situation="43bh"),
        sh("rpm-ostree install labtool"),
        *replay("43-apply-live-and-usr-overlay", *STATUS, situation="43c"),
        sh("rpm-ostree apply-live"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43d"),
        sh("rpm-ostree install --apply-live --assumeyes labextra"),
        *replay("43-apply-live-and-usr-overlay", *RPM_STATUS, situation="43e"),
        reboot,
        *replay("43-apply-live-and-usr-overlay", *STATUS, situation="43f"),
    ],
    options={"kargs": KARGS_LATER},
)

REVISIONS = Journey(
    "a tag together with a digest, and a revision of an image",
    [
        sh("bootc switch 10.77.0.1:5000/os:v2"),
        reboot,
        *V3_DIGEST,
        *replay("39-bad-images", "01-bootc-switch-tag-digest"),
        *replay("39-bad-images", "02-rpm-ostree-kargs-staged"),
        *replay("39-bad-images", *JSON_STATUS, situation="39ga"),
        reboot,
        *replay("39-bad-images", "04-rpm-ostree-upgrade", "05-rpm-ostree-upgrade-check", "07-rpm-ostree-install"),
        *replay("39-bad-images", "07b-cleanup", "10-rpm-ostree-rebase-tag", "11-cleanup", "12-rebase-revision"),
        reboot,
        *replay("39-bad-images", *RPM_STATUS[:2], situation="39ge", alone=True),
        *replay("39-bad-images", "14-rpm-ostree-upgrade-on-override"),
    ],
    options={"kargs": KARGS_LATER},
)

WRONG_REVISION = Journey(
    "a revision of the reference that is staged",
    [
        *replay("36-power-cut", "01-switch-v2"),
        sh("rpm-ostree cleanup -p"),
        *replay("39-bad-images", "08-switch-tag-and-digest", "10-digest-only", "13-rebase-revision"),
        *replay("39-bad-images", "14-rebase-wrong-revision"),
    ],
    image="os:etc1",
)

FULL_DISK = Journey(
    "kernel arguments while the disk is nearly full",
    [
        inject("disk-full", available=63_000),
        *replay("38-disk-full", "04-rebase-multi", "05-kargs"),
        inject("disk-full", available=31_000),
        *replay("38-disk-full", "08-rebase-multi", "08b-kargs"),
        clear("disk-full"),
    ],
    image="os:v3",
    options={"kargs": KARGS_LATER},
)

REBOOTS = Journey(
    "rebooting only when something changed; another tag with the same digest",
    [
        sh("rpm-ostree kargs --append=lab.r=1"),
        reboot,
        sh("rpm-ostree cleanup -r"),
        *replay("20-apply", "06-kargs-reboot-unchanged"),
        *replay("20-apply", "12-switch-to-same-digest-other-tag", "13-rpm-ostree-rebase-same-digest-other-tag"),
    ],
    image="os:v3",
    options={"kargs": KARGS_LATER},
)

STAGED_ARGUMENTS = Journey(
    "staged kernel arguments and the loader entries they end in",
    [
        sh(
            "rpm-ostree kargs --delete=lab.two=2 --delete=labflag "
            "--append=local.karg=1 --append=lab.two=2 --append=labflag"
        ),
        reboot,
        sh("bootc switch 10.77.0.1:5000/os:v1"),
        reboot,
        *replay("33-staged-kargs-lost", "01-kargs-append"),
        *replay("33-staged-kargs-lost", "02-bootc-switch-after", "03-before-reboot", situation="33-"),
        reboot,
        *replay("33-staged-kargs-lost", "04-after-reboot", "05-bootc-switch-v3", "06-kargs-append-after-switch"),
        *replay("33-staged-kargs-lost", *RPM_STATUS, situation="33c"),
        reboot,
        *replay("33-staged-kargs-lost", "07-after-reboot", "08-status", "09-kargs-append"),
        *replay("33-staged-kargs-lost", "10-rpm-ostree-rebase-over"),
        reboot,
        *replay("33-staged-kargs-lost", "11-after-reboot", "12-kargs-append"),
        *replay("33-staged-kargs-lost", *RPM_STATUS, situation="33d"),
        *replay("33-staged-kargs-lost", "13-bootc-switch-same-as-booted", "14-bootc-upgrade", "15-before-reboot"),
        reboot,
        *replay("33-staged-kargs-lost", "16-after-reboot"),
    ],
    image="os:k-a",
    options={"kargs": KARGS_LATER},
)


def while_stalled(command: str, steps: list[Any]) -> list[Any]:
    """Steps during a pull of ``command`` that makes no progress; it ends well afterwards."""
    running: list[subprocess.Popen[str]] = []

    def begin(host: HostUnderTest) -> None:
        host.node.inject("registry-stalls")
        running.append(host.start(host.world.translate(command)))
        # Not asked of a tool: its own transaction could come first, and the command would be refused.
        host.wait_until(host.stalls)

    def end(host: HostUnderTest) -> None:
        host.node.clear("registry-stalls")
        assert running.pop().wait(30) == 0

    return [begin, *steps, end]


BUSY = Journey(
    "while a rebase runs",
    [
        *while_stalled(
            "rpm-ostree rebase ostree-unverified-registry:10.77.0.1:5000/os:v3",
            [
                *replay("15-busy", "02-status-json-during", "03-status-during", "04-kargs-during"),
                *replay("15-busy", "05-upgrade-during", "06b-kargs-show-during"),
            ],
        ),
        *replay("15-busy", "06-bootc-status-during", "07-bootc-switch-during", "08-after"),
    ],
    options={"kargs": KARGS_LATER},
)

BUSY_BOOTC = Journey(
    "while bootc pulls",
    [
        *while_stalled(
            "bootc switch 10.77.0.1:5000/os:v2",
            [*replay("16-bootc-lock", "04-kargs", "05-rpm-ostree-status", "06-rebase")],
        ),
        *replay("16-bootc-lock", *RPM_STATUS, situation="16-bootc-lock-after"),
    ],
    options={"kargs": KARGS_LATER},
)

JOURNEYS = [
    *(
        OSTREE_REF,
        OSTREE_UPGRADE,
        LAYERING,
        DRIVER,
        LIVE,
        REVISIONS,
        WRONG_REVISION,
        FULL_DISK,
        REBOOTS,
        STAGED_ARGUMENTS,
    ),
    *(BUSY, BUSY_BOOTC),
]


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


def test_the_words_of_a_pull_do_not_depend_on_its_pace(make_host: Callable[..., HostUnderTest]) -> None:
    """The rebase of the recording of a busy host, whose output came while others asked."""
    recorded = row("15-busy", "01-rebase-v3")
    host = make_host(kargs=KARGS_LATER)
    host.node.inject("slow-pull", seconds=0.5)
    done = host.sh(host.world.translate(recorded.command))
    expected = reduced(Reducer(), recorded.rc, recorded.stdout, recorded.stderr)
    assert reduced(Reducer(), done.returncode, done.stdout, done.stderr) == expected
