# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the path of a skopeo that can make sigstore signatures, for the tests that need a real one.

That is the machine's own where it can. On Debian 12 it cannot, so there the one of Debian 13 is unpacked into
``.cache/tools`` with the libraries it needs, by this machine's apt, which checks it against the archive's keys. Nothing
is installed, and the machine's package lists stay as they are.

Exit status 77 where there is none, with the reason on standard error.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cache/tools"
PLACE = TOOLS / "skopeo-trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("skopeo", "libc6", "libgpgme11t64", "libassuan9", "libgpg-error0", "libsqlite3-0")
SECONDS = 180
CANNOT_RUN = 77


class NotToBeHad(Exception):
    """There is no such skopeo. The text says why."""


def can_sign(skopeo: str) -> bool:
    """Whether this skopeo knows sigstore: the command that makes keys came with what signs by them."""
    done = subprocess.run([skopeo, "generate-sigstore-key", "--help"], capture_output=True, check=False)
    return done.returncode == 0 and b"output-prefix" in done.stdout


def find() -> str:
    """The path. Raises NotToBeHad."""
    own = shutil.which("skopeo")
    if own is not None and can_sign(own):
        return own
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "skopeo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unpacked = PLACE / "bin/skopeo"
        if not unpacked.exists():
            _unpack()
    if not can_sign(str(unpacked)):
        raise NotToBeHad(f"{unpacked} does not run here, or cannot make sigstore signatures either")
    return str(unpacked)


def _unpack() -> None:
    if shutil.which("apt-get") is None or not KEYRING.exists():
        raise NotToBeHad(
            "the skopeo of this machine makes no sigstore signatures, and it has no apt to get another with"
        )
    with tempfile.TemporaryDirectory(dir=TOOLS, prefix="new-") as name:
        scratch = Path(name)
        packages = _download(scratch)
        root = scratch / "tree/root"
        root.mkdir(parents=True)
        for package in packages:
            _run(["dpkg-deb", "-x", str(package), str(root)], {})
        loaders = [*root.glob("usr/lib/*/ld-linux-*.so.?"), *root.glob("lib*/ld-linux-*.so.?")]
        if not loaders:
            raise NotToBeHad("the C library that was unpacked has no loader where it should be")
        inside = loaders[0].relative_to(root)
        wrapper = scratch / "tree/bin/skopeo"
        wrapper.parent.mkdir()
        wrapper.write_text(
            "#!/bin/sh\n"
            f'root={PLACE}/root\nexec "$root/{inside}" --library-path "$root/{inside.parent}" "$root/usr/bin/skopeo" "$@"\n'
        )
        wrapper.chmod(0o755)
        shutil.rmtree(PLACE, ignore_errors=True)
        (scratch / "tree").rename(PLACE)


def _mirror() -> str:
    """Where this machine gets Debian's packages from."""
    listing = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Identifier: Packages"], {})
    mirrors = [line for line in listing.splitlines() if line.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise NotToBeHad("this machine's apt knows no mirror of Debian's packages (`apt-get update` was never run?)")
    return mirrors[0]


def _download(scratch: Path) -> list[Path]:
    """Have apt fetch the packages of the newer release, with lists and a cache of its own."""
    for directory in ("lists/partial", "cache/archives/partial", "debs"):
        (scratch / directory).mkdir(parents=True)
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} trixie main\n")
    settings = {
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "/nonexistent",
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "APT::Sandbox::User": "root",
    }
    config = scratch / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    environment = {"APT_CONFIG": str(config)}
    _run(["apt-get", "--quiet", "update"], environment)
    _run(["apt-get", "--quiet", "download", *PACKAGES], environment, scratch / "debs")
    return sorted((scratch / "debs").glob("*.deb"))


def _run(argv: list[str], environment: dict[str, str], directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToBeHad(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotToBeHad(f"`{' '.join(argv[:3])}` of Debian 13's packages failed: {said[-1] if said else 'no output'}")
    return done.stdout


def main() -> int:
    """Print the path, or why there is none."""
    try:
        print(find())
    except NotToBeHad as error:
        print(f"no skopeo with sigstore: {error}", file=sys.stderr)
        return CANNOT_RUN
    return 0


if __name__ == "__main__":
    sys.exit(main())
