# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools' own words, and the advice that goes with them."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import error_text, explain, says_busy

FETCH = "error: Switching: Switching (ostree): Preparing import: Fetching manifest: failed to invoke method OpenImage: "

# Recorded: bootc 1.16.9, bootc 1.1.6, rpm-ostree 2026.2, skopeo 1.22; what no recording has is from the tools' sources.
ERRORS = [
    (f"{FETCH}reading manifest nosuch in 10.77.0.1:5000/os: manifest unknown", "check repository and tag for a typo"),
    (f"{FETCH}reading manifest v2 in 10.77.0.1:5001/os: authentication required", "/etc/ostree/auth.json"),
    (f"{FETCH}unable to retrieve auth token: invalid username/password: unauthorized", "/etc/ostree/auth.json"),
    (f"{FETCH}Requesting bearer token: received unexpected HTTP status: 403 Forbidden", "/etc/ostree/auth.json"),
    (f'{FETCH}getting username and password: reading JSON file "/proc/self/fd/100"', "is no JSON"),
    (f"{FETCH}reading manifest v2 in r.example.com/os: toomanyrequests: slow down", "limits how often"),
    (f"{FETCH}received unexpected HTTP status: 503 Service Unavailable", "failed by itself"),
    (f'{FETCH}Get "https://10.77.0.1:5002/v2/": http: server gave HTTP response to HTTPS client', "registries.conf.d"),
    (f"{FETCH}tls: failed to verify certificate: x509: certificate signed by unknown authority", "certs.d"),
    (f"{FETCH}A signature was required, but no signature exists", "sign it"),
    (f"{FETCH}Running image docker://10.77.0.1:5000/os:v2 is rejected by policy.", "imagemode_trust_also"),
    (f"{FETCH}cryptographic signature verification failed: invalid signature", "sign it"),
    (
        "error: Switching: containers-policy.json specifies a default of `insecureAcceptAnything`; refusing usage",
        "default is not insecureAcceptAnything",
    ),
    (f"{FETCH}dial tcp 10.77.0.1:5009: connect: connection refused", "cannot reach the registry"),
    (f"{FETCH}dial tcp: lookup registry.nosuch.example on 127.0.0.1:53: read", "cannot reach the registry"),
    (f"{FETCH}dial tcp 10.77.0.99:5000: connect: no route to host", "cannot reach the registry"),
    ("error: Importing commit: unexpected end of file: unexpected EOF", "cannot reach the registry"),
    (f"{FETCH}Docker references with both a tag and digest are currently not supported", "by its digest alone"),
    ("error: Switching: Insufficient free space for os:v2 (available: 10 MB required: 300 MB)", "disk is too full"),
    ('error: While pulling os/stable: Remote "lab" not found', "ostree remote list"),
    ("error: While pulling os/stable: No such branch 'os/stable' in repository summary", "check ref"),
    ("error: Refspec 'os/stable' not found", "REMOTE:BRANCH"),
    ("error: Version 9.9 not found in lab:os/stable", "check revision"),
    ("error: Importing: Writing: min-free-space-percent '3%' would be exceeded, at least 3.0 MB", "disk is too full"),
    ("error: Staging deployment: Checking out deployment tree: mkdirat: No space left on device", "disk is too full"),
    ("error: Fetching manifest: Target image does not have ostree.bootable label", "no bootable OS image"),
    ("\x1b[31mERROR\x1b[0m Switching: Pulling: Image has architecture arm64; expected amd64", "another architecture"),
    ("error: Staging: Failed to find kernel in /usr/lib/modules, /usr/lib/ostree-boot or /boot", "carries no kernel"),
    ("error: Switching: Staging: Parsing 10.toml: TOML parse error at line 1, column 9", "correct it in the image"),
    ("error: Switching: Staging: Pulling bound images: Subprocess failed: ExitStatus(32000)", "bound-images.d"),
    ("error: Switching (composefs): Target image has the same fs-verity digest as booted", "keeps no content twice"),
    ("error: Status: Preparing for write: This command must be executed as the root user", "become: true"),
    ("ERROR Status: This command requires root privileges", "become: true"),
    ("error: rpmostreed OS operation KernelArgs not allowed for user", "become: true"),
    ("error: This command requires full root privileges (CAP_SYS_ADMIN)", "inside of a container"),
    ("error: Detected container; this command requires a booted host system.", "was not booted from an image"),
    ("error: Upgrading: System not booted via bootc", "was not booted from an image"),
    ("ERROR Upgrading: This command requires an ostree-booted host system", "was not booted from an image"),
    ("error: Upgrading: Not currently booted into an OSTree system", "was not booted from an image"),
    ("error: This system was not booted via libostree.", "was not booted from an image"),
    ("error: Cannot perform this operation: /sysroot is on a read-only block device", "runs a live system"),
    (
        "error: Upgrading: Deployment contains local rpm-ostree modifications; cannot upgrade via bootc. You can run "
        "`rpm-ostree reset` to undo the modifications.",
        "The host has layered packages",
    ),
    ("error: Upgrading: Booted deployment contains local rpm-ostree modifications", "The host has layered packages"),
    ("error: Upgrading: No image source specified", "name one"),
    ("ERROR Upgrading: Missing image in specification", "name one"),
    ("error: Rollback: Rollback (ostree): No rollback available", "only one deployment"),
    ("error: No rollback deployment found", "only one deployment"),
    ("error: Rollback: Rollback (ostree): Rollback is not container image based", "rpm-ostree rollback"),
    ("error: Staged deployment (remove with cleanup -p)", "staged: discard"),
    ("error: Soft reboot was required but staged deployment is not soft-reboot capable", "reboot in full"),
    ("error: Handling soft reboot: Failed to prepare soft-reboot: Child process exited with code 1", "reboot in full"),
    (
        "error: Transaction in progress: rebase os:v2\n You can cancel the current transaction with `rpm-ostree cancel`",
        "rpm-ostree cancel",
    ),
    ("error: System transaction in progress", "works on this node"),
    ("error: Reboot initiated, cannot start new transaction", "about to reboot"),
    ("error: Old and new refs are equal: ostree-unverified-registry:10.77.0.1:5000/os:v1", "run again"),
    ("error: No key 'nosuch' found", "run again"),
    ("error: No karg 'a=b' found", "run again"),
    ("error: Multiple values for key 'a' found", "run again"),
    ("error: Updates and deployments are driven by lab (ssh.service)", "bypass_driver"),
    ("error: Cannot operate; `LockLayering=true` in configuration.", "/etc/rpm-ostreed.conf"),
    ("error: Packages not found: nosuchpkg", "local_changes: discard"),
    ("error: packages would be removed: 2, allow replacement to override", "leave apply_live out"),
    ("error: Loading sysroot: Timeout was reached", "systemctl status rpm-ostreed"),
    ("error: unexpected argument '--enforce-container-sigpolicy' found", "too old"),
]


@pytest.mark.parametrize(("stderr", "advice"), ERRORS)
def test_known_errors_come_with_advice(stderr: str, advice: str) -> None:
    said = explain(stderr)
    assert said.startswith(error_text(stderr).rstrip("."))
    assert advice in said.removeprefix(error_text(stderr).rstrip("."))


BUSY = [text for text, _advice in ERRORS if "ransaction" in text or "Reboot initiated" in text]


@pytest.mark.parametrize(("stderr", "_advice"), ERRORS)
def test_only_a_busy_host_is_worth_another_try(stderr: str, _advice: str) -> None:
    assert says_busy(stderr) == (stderr in BUSY)


def test_colours_and_progress_are_left_out() -> None:
    assert error_text("Deploying...\n\x1b[31mERROR\x1b[0m Switching: no\n") == "Switching: no"


def test_an_unmarked_error_is_shown_by_its_last_lines() -> None:
    assert error_text("a\nb\nc\nd\n") == "b / c / d"


def test_no_error_text_is_said() -> None:
    assert explain("") == "it printed no error message"
