# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API of the tests, built from Go modules into ``.cache/cluster``.

The first build compiles kube-apiserver and etcd and takes minutes; as long as the Go sources beside this file stay as
they are, its result is found again, by every process of this checkout. Whoever builds holds a lock, and the others wait.

Usage: python -m cluster.build. Exit status 77 means that it cannot be built here; the last line says why.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "server"
CACHE = Path(__file__).resolve().parents[2] / ".cache/cluster"
GO_CACHE = CACHE.parent / "go"
KUBERNETES = re.compile(r"^\s*k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)$", re.MULTILINE)
OLDEST_GO = (1, 21)  # the first that fetches the Go which go.mod names
CANNOT_RUN = 77
KEPT = 3  # programs: the one that is wanted, and those of the sources before
# What go says when a file of this project is wrong, and not the network.
OUR_FAULT = re.compile(r"checksum mismatch|missing go\.sum entry|SECURITY ERROR|updates to go\.mod needed|malformed")


class CannotBuild(Exception):
    """There is no way to build here, and nothing of this project is the reason: no Go, or no module proxy."""


class BuildFailed(Exception):
    """The build went wrong; the text is the end of what the Go tools said."""


def binary() -> Path:
    """Where the program built from the sources as they are now lies, or will lie."""
    content = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix == ".go" or path.name in ("go.mod", "go.sum"):
            content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return CACHE / f"kubernetes-{content.hexdigest()[:16]}"


def ensure() -> Path:
    """The program, built now if it is not there; while somebody else builds it, this waits.

    Raises CannotBuild, BuildFailed.
    """
    if (wanted := binary()).exists():
        return wanted
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            _build(_go(), wanted)
            # Tests that run now may start again what they have started.
            for older in sorted(CACHE.glob("kubernetes-*"), key=lambda path: -path.stat().st_mtime)[KEPT:]:
                older.unlink()
    return wanted


def _go() -> str:
    # Where its own installer puts it, which is on no PATH by itself.
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise CannotBuild("the Kubernetes API of the tests is built with Go, and there is no go on PATH")
    said = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=_variables()
    ).stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        wanted = ".".join(map(str, OLDEST_GO))
        raise CannotBuild(f"the Kubernetes API of the tests needs Go {wanted} or newer; {go} is {said.strip() or '?'}")
    return go


def _variables() -> dict[str, str]:
    """Go's caches lie in ours, so that ``make clean`` removes them; whoever has set a cache of their own keeps it."""
    flags = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
    return {
        "GOMODCACHE": str(GO_CACHE / "mod"),
        "GOCACHE": str(GO_CACHE / "build"),
        **os.environ,
        "GOFLAGS": flags,
        "CGO_ENABLED": "0",
        "GOWORK": "off",
    }


def _build(go: str, wanted: Path) -> None:
    download = _run(go, "mod", "download")
    if download.returncode != 0:
        error = BuildFailed if OUR_FAULT.search(download.stdout) else CannotBuild
        raise error(f"go mod download: {_last(download.stdout, 1 if error is CannotBuild else 20)}")
    version = KUBERNETES.search((SOURCES / "go.mod").read_text())
    assert version is not None
    variable = "-X k8s.io/component-base/version"
    flags = (
        f"-s -w {variable}.gitVersion=v{'.'.join(version.groups())}"
        f" {variable}.gitMajor={version[1]} {variable}.gitMinor={version[2]}"
    )
    # Beside its place first: what is at its place is whole.
    unfinished = wanted.with_name(f"unfinished-{os.getpid()}")
    try:
        build = _run(go, "build", "-trimpath", "-ldflags", flags, "-o", str(unfinished), ".")
        if build.returncode != 0:
            raise BuildFailed(f"go build: {_last(build.stdout, 40)}")
        unfinished.replace(wanted)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()


def _run(go: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [go, *words],
        cwd=SOURCES,
        env=_variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _last(output: str, lines: int) -> str:
    return "\n".join(output.strip().splitlines()[-lines:])


def main() -> int:
    begin = time.monotonic()
    try:
        there = binary().exists()
        path = ensure()
    except CannotBuild as error:
        print(error)
        return CANNOT_RUN
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: {'was there' if there else f'there after {time.monotonic() - begin:.0f} s'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
