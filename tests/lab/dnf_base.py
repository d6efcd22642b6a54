# SPDX-License-Identifier: GPL-3.0-or-later
"""A base image with a real dnf and rpm, made from this machine's Debian packages, and a repository for it.

Both are kept below ``.cache`` of the checkout under the hash of their recipe, so that only the first test ever waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab import rpm_catalogue, rpm_repository
from lab.rpm_repository import SigningKey

CREATED = 1_700_000_000  # seconds since 1970
PROGRAMS = "dnf rpm dash coreutils grep sed findutils libc-bin base-files kmod systemd"
UNNEEDED = """
    usr/share/perl usr/share/perl5 usr/share/info usr/share/man usr/share/doc usr/share/locale usr/share/lintian
    usr/share/bash-completion usr/share/common-licenses usr/bin/perl usr/bin/perl5.36.0 usr/include usr/games
    var/lib/apt var/lib/dpkg var/cache/apt var/log/apt var/lib/systemd var/local etc/apt etc/dpkg etc/init.d
"""
MAKE_MERGED = 'cd "$1" && for d in bin sbin lib lib64; do mkdir -p usr/$d && ln -s usr/$d $d; done'
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
DATABASE = "/usr/lib/sysimage/rpm"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "dnf-base"


def obstacle() -> str | None:
    """Why this machine cannot make such a base; None where it can."""
    if os.geteuid() != 0:
        return "a base with dnf is unpacked as root"
    missing = [tool for tool in ("mmdebstrap", "buildah", "skopeo") if shutil.which(tool) is None]
    missing += rpm_repository.missing_tools()
    if missing:
        return f"not installed: {', '.join(missing)} (dev/setup installs them)"
    return None if _apt_sources() else "a base with dnf is made of Debian packages, and apt has no sources here"


def base_layout() -> Path:
    """The base image as an OCI layout with the one image ``base`` in it: the same bytes from the same Debian packages."""
    return _cached("image", _make_base)


def repositories() -> Path:
    """A directory of repositories: ``main``; ``signed`` with the key ``key/RPM-GPG-KEY-lab``, and RPMs of ``kubelet-1.33``
    and ``kubelet-1.34`` as a component's image has them."""
    return _cached("repositories", _make_repositories)


def _cached(name: str, make: Callable[[Path, Path], None]) -> Path:
    recipe = hashlib.sha256()
    for module in (Path(__file__), Path(rpm_catalogue.__file__), Path(rpm_repository.__file__)):
        recipe.update(module.read_bytes())
    done = CACHE / f"{name}-{recipe.hexdigest()[:16]}"
    with _locked(CACHE / f"{name}.lock"):
        if not done.exists():
            for old in CACHE.glob(f"{name}-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="making-") as work:
                made = Path(work) / "made"
                made.mkdir()
                make(made, Path(work))
                made.rename(done)
    return done


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt_sources() -> list[str]:
    directory = Path("/etc/apt")
    found = [directory / "sources.list", *sorted(directory.glob("sources.list.d/*.sources"))]
    found += sorted(directory.glob("sources.list.d/*.list"))
    return [str(file) for file in found if file.is_file() and "deb" in file.read_text()]


def _make_base(made: Path, work: Path) -> None:
    root = work / "root"
    codename = next(
        line.partition("=")[2].strip('"')
        for line in Path("/etc/os-release").read_text().splitlines()
        if line.startswith("VERSION_CODENAME=")
    )
    options = ["--quiet", "--variant=extract", f"--include={PROGRAMS.replace(' ', ',')}", "--format=directory"]
    options += ['--aptopt=Acquire::Languages "none"', f"--setup-hook={MAKE_MERGED}"]
    _run(["mmdebstrap", *options, codename, str(root), *_apt_sources()])
    for path in UNNEEDED.split():
        victim = root / path
        if victim.is_dir() and not victim.is_symlink():
            shutil.rmtree(victim)
        else:
            victim.unlink(missing_ok=True)
    _configure(root)
    rpms = work / "rpms"
    rpm_repository.build(rpm_catalogue.base_packages(), rpms, work / "rpmbuild")
    for file in rpms.glob("*.rpm"):
        shutil.copy(file, root / "tmp")
    _run(["chroot", str(root), "rpm", "--initdb"])
    installed = sorted(f"/tmp/{file.name}" for file in rpms.glob("*.rpm"))
    _run(["chroot", str(root), "rpm", "--install", "--noscripts", "--nodeps", *installed])
    for directory in ("tmp", "boot", "run", "var/log", "var/cache", "var/tmp"):
        for left in (root / directory).iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    for suffix in ("-shm", "-wal"):  # SQLite's, with random numbers in it; all changes are in the database by now
        (root / DATABASE[1:] / f"rpmdb.sqlite{suffix}").unlink(missing_ok=True)
    modules = next((root / "usr/lib/modules").iterdir())
    (modules / "initramfs.img").write_text("initramfs of the base\n")
    _run(["chroot", str(root), "depmod", modules.name])
    # without this the first dnf would leave its own, with the time of day in it
    compileall = [
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode=unchecked-hash",
        "/usr/lib/python3.11",
        "/usr/lib/python3",
    ]
    subprocess.run(["chroot", str(root), "/usr/bin/python3", *compileall], check=False, capture_output=True)
    _write_layout(root, made)


def _configure(root: Path) -> None:
    files = {
        "etc/passwd": PASSWD,
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/hostname": "",
        "etc/hosts": "",
        "etc/resolv.conf": "",
        "etc/rpm/macros.lab": f"%_dbpath {DATABASE}\n",
        "usr/lib/os-release": 'ID=lab\nID_LIKE="rhel fedora"\nVERSION_ID=9.6\nPRETTY_NAME="Lab 9.6"\n',
    }
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(content)
    for directory in ("etc/yum.repos.d", DATABASE[1:], "usr/lib/tmpfiles.d", "var/lib/dnf", "var/tmp", "var/cache"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for path, target in {"etc/os-release": "../usr/lib/os-release", "usr/bin/sh": "dash"}.items():
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)


@dataclasses.dataclass
class _Hashed(io.RawIOBase):
    """What is written goes to a file and into a hash."""

    file: gzip.GzipFile
    update: Callable[[bytes], None]

    def write(self, data: Any) -> int:
        self.update(data)
        return self.file.write(data)


def _write_layout(root: Path, layout: Path) -> None:
    """One layer with names in order and times at CREATED, compressed once and for all."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain = hashlib.sha256()
    packed = layout / "layer"
    with (
        packed.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0, filename="") as file,
        tarfile.open(fileobj=_Hashed(file, plain.update), mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        tar.add(root, arcname=".", filter=_normal)
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    size = packed.stat().st_size
    packed.rename(blobs / digest)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    created = "2023-11-14T22:13:20Z"
    configuration = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {"containers.bootc": "1"}, "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]},
        "history": [{"created": created, "created_by": "lab"}],
    }
    media = "application/vnd.oci.image."
    config = _blob(blobs, configuration, f"{media}config.v1+json")
    layer = {"mediaType": f"{media}layer.v1.tar+gzip", "digest": f"sha256:{digest}", "size": size}
    manifest_type = f"{media}manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer]}
    entry = _blob(blobs, manifest, manifest_type)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "base"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _normal(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = CREATED
    entry.uname = entry.gname = ""
    return entry


def _blob(blobs: Path, document: object, media_type: str) -> dict[str, object]:
    data = json.dumps(document, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _make_repositories(made: Path, work: Path) -> None:
    build = work / "rpmbuild"
    rpm_repository.build(rpm_catalogue.repository_packages(), made / "main", build)
    rpm_repository.index(made / "main")
    for version in ("1.33", "1.34"):
        rpm_repository.build(rpm_catalogue.kubelet(version), made / f"kubelet-{version}", build)
    rpm_repository.build([rpm_repository.Package("vouched-for")], made / "signed", build)
    with tempfile.TemporaryDirectory(prefix="gpg-") as short:  # the agent's socket has a short longest name
        key = SigningKey.create(Path(short) / "home")
        key.sign(list((made / "signed").glob("*.rpm")))
        (made / "key").mkdir()
        shutil.copy(key.public, made / "key")
    rpm_repository.build([rpm_repository.Package("unsigned")], made / "signed", build)
    rpm_repository.index(made / "signed")


def _run(argv: list[str]) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(CREATED), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise rpm_repository.ToolFailed(f"{' '.join(argv)}\n{said[-3000:]}")


if __name__ == "__main__":
    reason = obstacle()
    if reason:
        sys.exit(reason)
    print(base_layout(), repositories(), sep="\n")
