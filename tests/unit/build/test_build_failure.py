# SPDX-License-Identifier: GPL-3.0-or-later
"""What the output of engines means: category, the user's line, and whether running again can help.

The outputs were recorded with buildah 1.28.2 and skopeo 1.9.3; those of package managers with dnf 4 and apt.
"""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildFailure,
    FailureCategory,
    RegistryTrouble,
    build_failure,
    registry_failure,
    registry_trouble,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource

TEXT = """\
FROM r.example.com/tools:1 AS tools
RUN make tools

FROM r.example.com/os:1
# comment
COPY f /usr/f
RUN dnf -y install \\
      tuned
RUN bootc container lint
"""
CONTAINERFILE = Containerfile.parse(TEXT)


@pytest.mark.parametrize(
    ("output", "exit_code", "category", "line", "retryable", "says"),
    [
        pytest.param(
            "[1/2] STEP 1/2: FROM r.example.com/tools@sha256:aa AS tools\n[1/2] STEP 2/2: RUN make tools\n"
            "make: *** No rule to make target 'tools'.  Stop.\nsubprocess exited with status 2\n"
            'Error: building at STEP "RUN make tools": exit status 2',
            2, FailureCategory.STEP, 2, False, "line 2 of the Containerfile exited with status 2. Its last words: make: ***",
            id="a step of the first stage",
        ),
        pytest.param(
            "[2/2] STEP 2/4: COPY f /usr/f\n"
            'Error: building at STEP "COPY f /usr/f": checking on sources under "/ctx": copier: stat: "/f": no such file or directory',
            125, FailureCategory.STEP, 6, False, "no such file or directory",
            id="a source that is not in the context",
        ),
        pytest.param(
            "[2/2] STEP 3/4: RUN dnf -y install       tuned\nError: Unable to find a match: tuned\n"
            'Error: building at STEP "RUN dnf -y install       tuned": exit status 1',
            1, FailureCategory.DEPENDENCY, 7, False, "A package",
            id="a package that does not exist",
        ),
        pytest.param(
            "[2/2] STEP 3/4: RUN dnf -y install       tuned\nErrors during downloading metadata for repository 'baseos':\n"
            "  - Curl error (6): Couldn't resolve host name for https://r/ [Could not resolve host: r]\n"
            "Error: Failed to download metadata for repo 'baseos'\n"
            'Error: building at STEP "RUN dnf -y install       tuned": exit status 1',
            1, FailureCategory.DEPENDENCY, 7, True, "A package",
            id="a package repository that is away",
        ),
        pytest.param(
            "[2/2] STEP 4/4: RUN bootc container lint\nLint error: var-run: Not a symlink: var/run\n"
            'Error: building at STEP "RUN bootc container lint": exit status 1',
            1, FailureCategory.LINT, 9, False, "var-run",
            id="lint",
        ),
        pytest.param(
            "[2/2] STEP 3/4: RUN dnf -y install       tuned\nwrite /var/x: no space left on device\n"
            'Error: building at STEP "RUN dnf": exit status 1',
            1, FailureCategory.DISK, 7, False, "disk of the build host is full",
            id="disk",
        ),
        pytest.param(
            "[2/2] STEP 3/4: RUN dnf -y install       tuned\n"
            "error running container: from  creating container for [/bin/sh -c true]: : exec: no command\n"
            'time="2026-11-21T08:57:05Z" level=error msg="did not get container create message from subprocess: EOF"\n'
            'Error: building at STEP "RUN true": while running runtime: exit status 1',
            125, FailureCategory.ENGINE, 7, False, "set isolation to chroot",
            id="no OCI runtime",
        ),
        pytest.param(
            "[1/2] STEP 1/2: FROM r.example.com/tools@sha256:aa AS tools\nTrying to pull r.example.com/tools@sha256:aa...\n"
            "Error: creating build container: initializing source docker://r.example.com/tools@sha256:aa: reading manifest "
            "sha256:aa in r.example.com/tools: manifest unknown: manifest unknown",
            125, FailureCategory.BASE_PULL, 1, False, "check the spelling",
            id="a base that is gone",
        ),
        pytest.param(
            "[1/2] STEP 1/2: FROM r.example.com/tools@sha256:aa AS tools\n"
            "Error: creating build container: initializing source docker://r.example.com/tools@sha256:aa: pinging container "
            'registry r.example.com: Get "https://r.example.com/v2/": dial tcp 10.0.0.1:443: connect: connection refused',
            125, FailureCategory.BASE_PULL, 1, True, "cannot be reached",
            id="a base registry that is away",
        ),
        pytest.param(
            "[2/2] STEP 3/7: RUN make tools && from-an-onbuild-trigger\nsubprocess exited with status 1\n"
            'Error: building at STEP "RUN make": exit status 1',
            1, FailureCategory.STEP, 7, False, "exited with status 1",
            id="the count decides where the keyword agrees",
        ),
        pytest.param(
            "[2/2] STEP 5/7: RUN bootc container lint\nsubprocess exited with status 1\n"
            'Error: building at STEP "RUN bootc container lint": exit status 1',
            1, FailureCategory.LINT, 9, False, "",
            id="a base with ONBUILD shifts the count, the text is found",
        ),
    ],
)  # fmt: skip
def test_a_failed_build(
    output: str, exit_code: int, category: FailureCategory, line: int, retryable: bool, says: str
) -> None:
    failure = build_failure(
        StepSource(CONTAINERFILE), output.splitlines(), exit_code, "r.example.com/os@sha256:bb", None
    )
    assert (failure.category, failure.line, failure.retryable) == (category, line, retryable)
    assert says in failure.message
    assert failure.excerpt


def test_podman_without_a_runtime_is_the_engines_trouble() -> None:
    said = 'Error: default OCI runtime "runc" not found: invalid argument'
    failure = build_failure(StepSource(CONTAINERFILE), [said], 125, "r.example.com/os", None)
    assert (failure.category, failure.line) == (FailureCategory.ENGINE, None)
    assert "Install crun" in failure.message


@pytest.mark.parametrize(
    ("output", "trouble", "retryable"),
    [
        ("reading manifest 2 in r/my/img: manifest unknown: manifest unknown", RegistryTrouble.MISSING, False),
        ("reading manifest base in r/os: unauthorized: authentication required", RegistryTrouble.UNAUTHORIZED, False),
        ("denied: requested access to the resource is denied", RegistryTrouble.DENIED, False),
        ('Get "https://r/v2/": http: server gave HTTP response to HTTPS client', RegistryTrouble.PLAIN_HTTP, False),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            RegistryTrouble.CERTIFICATE,
            False,
        ),
        ("x509: certificate has expired or is not yet valid: current time …", RegistryTrouble.CERTIFICATE_TIME, False),
        ("x509: certificate is valid for r.lab, not r.example.com", RegistryTrouble.CERTIFICATE_NAME, False),
        (
            "x509: cannot validate certificate for 10.0.0.1 because of no IP SANs",
            RegistryTrouble.CERTIFICATE_NAME,
            False,
        ),
        ("writing blob: write /var/tmp/storage1/1: no space left on device", RegistryTrouble.DISK, False),
        ("read tcp 127.0.0.1:2->127.0.0.1:1: read: connection reset by peer", RegistryTrouble.DROPPED, True),
        ("write tcp 127.0.0.1:2->127.0.0.1:1: write: broken pipe", RegistryTrouble.DROPPED, True),
        ("write tcp 127.0.0.1:2->127.0.0.1:1: use of closed network connection", RegistryTrouble.DROPPED, True),
        ('Patch "https://r/v2/x/blobs/uploads/1": EOF', RegistryTrouble.DROPPED, True),
        ("dial tcp 127.0.0.1:1: connect: connection refused", RegistryTrouble.UNREACHABLE, True),
        ("dial tcp: lookup nosuch.example on 10.0.0.1:53: no such host", RegistryTrouble.UNREACHABLE, True),
        ("skopeo did not answer within 60 s", RegistryTrouble.UNREACHABLE, True),
        ("toomanyrequests: You have reached your pull rate limit", RegistryTrouble.BUSY, True),
        ("received unexpected HTTP status: 503 Service Unavailable", RegistryTrouble.BUSY, True),
        ("Initiating upload: StatusCode: 405", RegistryTrouble.OTHER, False),
        ("denied: permission denied for account ci", RegistryTrouble.DENIED, False),
        ("StatusCode: 404 (Not Found)", RegistryTrouble.MISSING, False),
        ("reading manifest 1 in h/os/x: unknown: artifact os/x:1 not found", RegistryTrouble.MISSING, False),
        ("reading manifest 1 in h/os/x: unknown: Not Found", RegistryTrouble.MISSING, False),
        (
            'error getting credentials - err: exec: "docker-credential-gcr": executable file not found in $PATH',
            RegistryTrouble.OTHER,
            False,
        ),
        ("Error loading registries configuration: registries.conf: file not found", RegistryTrouble.OTHER, False),
        ("open /run/user/1000/containers/auth.json: permission denied", RegistryTrouble.OTHER, False),
        (
            "unable to retrieve auth token: dial tcp: lookup r: Temporary failure in name resolution",
            RegistryTrouble.UNREACHABLE,
            True,
        ),
        (
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            RegistryTrouble.UNREACHABLE,
            True,
        ),
    ],
)
def test_trouble_with_a_registry(output: str, trouble: RegistryTrouble, retryable: bool) -> None:
    assert registry_trouble(output) is trouble
    failure = registry_failure(FailureCategory.REGISTRY, "resolve", "r.example.com/os:1", output, "/a/auth.json")
    assert failure.retryable is retryable
    assert "r.example.com/os:1" in failure.message
    assert output in failure.message


def test_the_cause_of_a_failed_upload_is_not_lost_behind_its_address() -> None:
    address = f"https://r.example.com/v2/{'x' * 300}/blobs/uploads/1?_state={'b' * 300}"
    said = f'Error: pushing image "a" to "b": writing blob: Patch "{address}": write: broken pipe'
    failure = registry_failure(FailureCategory.PUSH, "push", "r.example.com/os:1", said, None)
    for text in (failure.message, failure.excerpt[0]):
        assert "Error: pushing image" in text
        assert text.endswith("write: broken pipe")
        assert "bbb" not in text
    assert len(failure.excerpt[0]) <= 400


def test_a_full_disk_is_no_trouble_of_the_registry() -> None:
    said = "writing blob: write /var/tmp/storage1/1: no space left on device"
    failure = registry_failure(FailureCategory.PUSH, "push", "r.example.com/os:1", said, None)
    assert failure.category is FailureCategory.DISK
    assert "/var/tmp/storage1/1" in failure.message


def test_a_digest_with_401_in_it_is_not_a_login_problem() -> None:
    digest = "sha256:" + "401" * 21 + "4"
    assert registry_trouble(f"reading manifest {digest} in r/os: manifest unknown") is RegistryTrouble.MISSING


def test_a_failure_is_plain_data() -> None:
    assert BuildFailure(FailureCategory.PUSH, "no").with_log("/l").as_result() == {
        "category": "push",
        "message": "no",
        "step": None,
        "line": None,
        "excerpt": [],
        "log": "/l",
        "retryable": False,
    }
