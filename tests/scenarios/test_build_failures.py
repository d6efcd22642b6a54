# SPDX-License-Identifier: GPL-3.0-or-later
"""layered_image_build when something is wrong: each failure says what was seen, where, and what to do, and loses nothing."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import retry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import BUILD_SPEC
from lab.images import build_base
from lab.registry import Registry

BUILDAH = shutil.which("buildah") or "buildah"
SKOPEO = shutil.which("skopeo") or "skopeo"
PASSWORD = "correct-horse-battery"
PROGRAM = (
    "import json, sys\n"
    "from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build\n"
    "print(json.dumps(layered_build(json.loads(sys.argv[1]), False).result), flush=True)\n"
)


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A container storage for this test alone, and no waiting between attempts."""
    directory = tmp_path / "storage"
    directory.mkdir()
    configuration = directory / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory / "graph"}"\nrunroot = "{directory / "run"}"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))
    monkeypatch.setattr(retry, "RETRY_DELAYS", (0.0, 0.0))
    yield directory
    subprocess.run([BUILDAH, "rm", "--all"], capture_output=True, check=False)
    subprocess.run([BUILDAH, "rmi", "--all", "--force"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login."""
    with Registry.start(tmp_path_factory.mktemp("locked"), username="ci", password=PASSWORD) as running:
        build_base(running.address, username="ci", password=PASSWORD)
        yield running


def params(tmp_path: Path, registry: Registry, text: str | None, **options: Any) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in BUILD_SPEC.items()}
    chosen = {
        "image": f"{registry.address}/failures/{tmp_path.name.replace('_', '-').strip('-')}:1",
        "containerfile_content": text,
        "validate_certs": False,
        "work_dir": str(tmp_path / "work"),
    }
    return {**defaults, **chosen, **options}


def fail(tmp_path: Path, registry: Registry, text: str | None, **options: Any) -> dict[str, Any]:
    """The failure of a build that must not work, and must not leave a tag, a container or a secret behind."""
    chosen = params(tmp_path, registry, text, **options)
    outcome: Outcome = layered_build(chosen, False)
    assert outcome.failed, outcome.result
    assert outcome.result["changed"] is False
    name = chosen["image"].partition("/")[2].rpartition(":")[0]
    if registry.username is None and chosen["image"].startswith(registry.address):
        assert registry.tags(name) == []
    assert subprocess.run([BUILDAH, "containers", "-q"], capture_output=True, text=True, check=True).stdout == ""
    assert PASSWORD not in json.dumps(outcome.result)
    failure: dict[str, Any] = outcome.result["failure"]
    assert outcome.result["msg"] == failure["message"]
    return {**failure, "commands": outcome.result["commands"]}


def base(registry: Registry) -> str:
    return f"FROM {registry.address}/os:base\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("# nothing\n", None, "no instruction"),
        ("FROM {os}\n\nRUNN true\n", 3, "Did you mean RUN?"),
        ("FROM {os}\nCOPY a /a\n", 2, "the option context is not given"),
        ("RUN true\n", None, "the option base is not given"),
        ("FROM fedora:44\n", 1, "does not name its registry"),
    ],
)
def test_a_containerfile_that_does_not_parse_fails_before_anything_is_asked(
    tmp_path: Path, registry: Registry, base_image: str, text: str, line: int | None, says: str
) -> None:
    log = registry.directory / "registry.log"
    before = log.stat().st_size
    failure = fail(tmp_path, registry, text.replace("{os}", base_image))
    assert (failure["category"], failure["line"], failure["retryable"]) == ("input", line, False)
    assert says in failure["message"]
    assert failure["commands"] == []
    asked = log.read_bytes()[before:].count(b'"Buildah') + log.read_bytes()[before:].count(b'"skopeo')
    assert asked == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"containerfile": "/nowhere/Containerfile", "containerfile_content": None},
            "/nowhere/Containerfile cannot be read",
        ),
        ({"context": "/nowhere"}, "/nowhere is not a directory"),
        ({"authfile": "/nowhere/auth.json"}, "skopeo login --authfile /nowhere/auth.json"),
        ({"image": "Fleet/Node"}, "The option image"),
        ({"image": "node:1"}, "does not name its registry"),
        ({"base": "registry.example.com/os@sha256:12"}, "The option base"),
        ({"image": f"r.example.com/x@sha256:{'a' * 64}"}, "cannot have a digest"),
        ({"image": f"r.example.com/x:{'a' * 120}"}, "too long"),
        ({"labels": {"io.imagemode.input-key": "x"}}, "this collection's own"),
    ],
)
def test_options_that_cannot_work(
    tmp_path: Path, registry: Registry, base_image: str, options: dict[str, Any], says: str
) -> None:
    failure = fail(tmp_path, registry, f"FROM {base_image}\nRUN true\n", **options)
    assert failure["category"] == "input"
    assert says in failure["message"]


def test_a_step_that_fails_names_its_line_and_what_it_said(tmp_path: Path, registry: Registry, base_image: str) -> None:
    step = "RUN echo before \\\n && echo 'no disk today' >&2 \\\n && exit 7\nRUN true\n"
    text = f"# one\nFROM {base_image} AS first\nRUN true\n\nFROM first\n# two\n{step}"
    failure = fail(tmp_path, registry, text)
    assert (failure["category"], failure["line"], failure["retryable"]) == ("step", 7, False)
    assert failure["step"].startswith("RUN echo before")
    assert "no disk today" in failure["excerpt"]
    assert "exited with status 7" in failure["message"]
    assert "no disk today" in failure["message"]
    log = Path(failure["log"])
    assert log.stat().st_mode & 0o777 == 0o600
    assert "no disk today" in log.read_text()


def test_lines_count_as_the_user_wrote_them_when_a_from_is_put_before(
    tmp_path: Path, registry: Registry, base_image: str
) -> None:
    failure = fail(tmp_path, registry, "# one\n\nRUN true\nRUN false\n", base=base_image)
    assert (failure["category"], failure["line"]) == ("step", 4)


def test_a_source_that_is_not_in_the_context(tmp_path: Path, registry: Registry, base_image: str) -> None:
    (tmp_path / "context").mkdir()
    failure = fail(tmp_path, registry, f"FROM {base_image}\nCOPY motd /motd\n", context=str(tmp_path / "context"))
    assert (failure["category"], failure["line"]) == ("step", 2)
    assert "motd" in failure["message"]
    assert "no such file" in failure["message"]


def test_a_fixed_file_resumes_where_it_failed(tmp_path: Path, registry: Registry, base_image: str) -> None:
    fail(tmp_path, registry, f"FROM {base_image}\nRUN echo slow\nRUN false\n")
    outcome = layered_build(params(tmp_path, registry, f"FROM {base_image}\nRUN echo slow\nRUN true\n"), False)
    assert not outcome.failed
    assert "Using cache" in Path(outcome.result["log"]).read_text()


@pytest.mark.parametrize(
    ("reference", "says"), [("os:nosuchtag", "check the spelling"), ("nosuchname:base", "check the spelling")]
)
def test_a_base_that_does_not_exist(tmp_path: Path, registry: Registry, reference: str, says: str) -> None:
    failure = fail(tmp_path, registry, f"\nFROM {registry.address}/{reference}\nRUN true\n")
    assert (failure["category"], failure["line"], failure["retryable"]) == ("base_pull", 2, False)
    assert says in failure["message"]
    failure = fail(tmp_path, registry, "RUN true\n", base=f"{registry.address}/{reference}")
    assert (failure["category"], failure["line"]) == ("base_pull", None)


def test_a_pinned_base_that_is_gone(tmp_path: Path, registry: Registry) -> None:
    failure = fail(tmp_path, registry, f"FROM {registry.address}/os@sha256:{'a' * 64}\nRUN true\n")
    assert failure["category"] == "base_pull"
    assert "check the spelling" in failure["message"]


def test_a_registry_that_is_down(tmp_path: Path, registry: Registry, base_image: str) -> None:
    failure = fail(tmp_path, registry, f"FROM {base_image}\nRUN true\n", image="127.0.0.1:1/fleet/node:1")
    assert (failure["category"], failure["retryable"]) == ("registry", True)
    assert "127.0.0.1:1 cannot be reached" in failure["message"]


def test_plain_http_where_https_was_wanted(tmp_path: Path, registry: Registry, base_image: str) -> None:
    failure = fail(tmp_path, registry, f"FROM {base_image}\nRUN true\n", validate_certs=True)
    assert failure["category"] == "registry"
    assert "Set validate_certs to false" in failure["message"]


def _authfile(path: Path, address: str, password: str) -> str:
    token = base64.b64encode(f"ci:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {address: {"auth": token}}}))
    return str(path)


def test_credentials(tmp_path: Path, locked_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    text = base(locked_registry) + "RUN true\n"

    none = fail(tmp_path, locked_registry, text)
    assert (none["category"], none["retryable"], none["line"]) == ("base_pull", False, 1)
    assert "skopeo login --authfile" in none["message"]

    wrong = fail(
        tmp_path, locked_registry, text, authfile=_authfile(tmp_path / "wrong.json", locked_registry.address, "x")
    )
    assert wrong["category"] == "base_pull"
    assert "wrong.json" in wrong["message"]

    right = _authfile(tmp_path / "right.json", locked_registry.address, PASSWORD)
    outcome = layered_build(params(tmp_path, locked_registry, text, authfile=right), False)
    assert not outcome.failed, outcome.result
    assert layered_build(params(tmp_path, locked_registry, text, authfile=right), False).result["changed"] is False
    for secret in (PASSWORD, base64.b64encode(f"ci:{PASSWORD}".encode()).decode()):
        assert secret not in json.dumps(outcome.result)
        assert secret not in Path(outcome.result["log"]).read_text()


def test_a_credentials_file_in_the_image_is_found_before_the_push(tmp_path: Path, locked_registry: Registry) -> None:
    context = tmp_path / "context"
    context.mkdir()
    credentials = _authfile(context / "auth.json", locked_registry.address, PASSWORD)
    text = base(locked_registry) + "COPY auth.json /etc/ostree/auth.json\n"
    leaked = fail(tmp_path, locked_registry, text, authfile=credentials, context=str(context))
    assert leaked["category"] == "leak"
    assert f"the password for {locked_registry.address}" in leaked["message"]
    assert "/etc/ostree/auth.json" in leaked["message"]


def test_a_registry_that_takes_no_pushes(tmp_path: Path, registry: Registry, base_image: str) -> None:
    configuration = json.loads((registry.directory / "config.json").read_text())
    with Registry.start(tmp_path / "readonly") as other:
        address, directory = other.address, other.directory
    configuration["http"]["addr"] = address
    configuration["storage"]["maintenance"] = {"readonly": {"enabled": True}}
    configuration["storage"]["filesystem"]["rootdirectory"] = str(directory / "storage")
    (directory / "readonly.json").write_text(json.dumps(configuration))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(directory / "readonly.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)
        failure = fail(tmp_path, registry, f"FROM {base_image}\nRUN true\n", image=f"{address}/fleet/node:1")
    finally:
        process.terminate()
        process.wait()
    assert (failure["category"], failure["retryable"]) == ("push", False)
    assert "405" in failure["message"]
    assert [argv[1] for argv in failure["commands"]] == ["build", "--log-level=debug"]


class _SecretiveRegistry(http.server.BaseHTTPRequestHandler):
    """Knows its users, and refuses to talk about a repository that does not exist, as several hosted registries do."""

    def do_GET(self) -> None:
        token = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {token}":
            self._answer(401, "UNAUTHORIZED", "authentication required")
        elif self.path == "/v2/":
            self._answer(200, "", "")
        else:
            self._answer(403, "DENIED", "requested access to the resource is denied")

    do_HEAD = do_POST = do_GET

    def _answer(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]} if code else {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="r"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_repository_that_does_not_exist_yet_is_left_to_the_push(
    tmp_path: Path, registry: Registry, base_image: str
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _SecretiveRegistry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        options = {"image": f"{address}/fleet/node:1"}
        text = f"FROM {base_image}\nRUN true\n"
        wrong = fail(tmp_path, registry, text, authfile=_authfile(tmp_path / "w", address, "x"), **options)
        right = fail(tmp_path, registry, text, authfile=_authfile(tmp_path / "r", address, PASSWORD), **options)
        server.shutdown()
    assert (wrong["category"], wrong["commands"]) == ("registry", [])
    assert (right["category"], right["retryable"]) == ("push", False)
    assert "has no permission" in right["message"]
    assert [argv[1] for argv in right["commands"]] == ["build", "--log-level=debug"]


@pytest.mark.parametrize(
    ("present", "missing"),
    [((), "skopeo is not installed"), (("skopeo",), "Neither buildah nor podman is installed")],
)
def test_missing_tools_come_with_the_command_that_installs_them(
    tmp_path: Path,
    registry: Registry,
    base_image: str,
    monkeypatch: pytest.MonkeyPatch,
    present: tuple[str, ...],
    missing: str,
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in present:
        (tools / name).symlink_to({"skopeo": SKOPEO}[name])
    monkeypatch.setenv("PATH", str(tools))
    failure = fail(tmp_path, registry, f"FROM {base_image}\nRUN true\n")
    assert failure["category"] == "engine"
    assert missing in failure["message"]
    assert "install" in failure["message"].rpartition(": ")[2]


def test_a_build_that_takes_too_long_is_ended(tmp_path: Path, registry: Registry, base_image: str) -> None:
    start = time.monotonic()
    failure = fail(tmp_path, registry, f"FROM {base_image}\nRUN echo started; sleep 77\n", build_timeout=2)
    assert time.monotonic() - start < 15
    assert (failure["category"], failure["line"]) == ("step", 2)
    assert "build_timeout" in failure["message"]
    assert not _running("sleep 77")


def _running(command: str) -> bool:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return any(line.startswith(command) for line in found)


def _started(tmp_path: Path, registry: Registry, text: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PROGRAM, json.dumps(params(tmp_path, registry, text))]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not any("started\n" in log.read_text() for log in (tmp_path / "work").rglob("*.log")):
        assert time.monotonic() < end, "the build never reached its step"
        time.sleep(0.05)
    return process


def test_a_build_that_is_interrupted_leaves_nothing_half_done(
    tmp_path: Path, registry: Registry, base_image: str
) -> None:
    process = _started(tmp_path, registry, f"FROM {base_image}\nRUN echo started; sleep 78\n")
    os.kill(process.pid, signal.SIGTERM)
    result = json.loads(process.communicate(timeout=20)[0])
    assert (result["failure"]["category"], result["failure"]["retryable"]) == ("engine", True)
    assert "SIGTERM" in result["msg"]
    assert not _running("sleep 78")
    assert subprocess.run([BUILDAH, "containers", "-q"], capture_output=True, text=True, check=True).stdout == ""
    assert registry.tags(params(tmp_path, registry, "")["image"].partition("/")[2].rpartition(":")[0]) == []


def test_a_build_ends_when_its_controller_is_gone(tmp_path: Path, registry: Registry, base_image: str) -> None:
    process = _started(tmp_path, registry, f"FROM {base_image}\nRUN echo started; sleep 79\n")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=20)
    assert not _running("sleep 79")
    assert subprocess.run([BUILDAH, "containers", "-q"], capture_output=True, text=True, check=True).stdout == ""
