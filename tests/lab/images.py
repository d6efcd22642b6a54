# SPDX-License-Identifier: GPL-3.0-or-later
"""Base images of the lab's nodes: made from nothing by a real buildah, with busybox as the whole userland."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

KERNEL_VERSION = "6.12.0-1.lab"
STORAGE_DRIVER = "vfs"  # needs no mounts, so an interrupted build leaves none behind
CREATED = 1_700_000_000  # seconds since 1970; fixed, so that the same content has the same digest every time

# Applets that a systemd host has from elsewhere (the simulators provide them) or that would act on the machine itself.
APPLETS_LEFT_OUT = """
    busybox init linuxrc reboot poweroff halt shutdown telinit runlevel mount umount swapon swapoff switch_root
    pivot_root modprobe insmod rmmod depmod ifconfig ifup ifdown route ip brctl udhcpc udhcpd getty login su passwd
    adduser addgroup deluser delgroup crond syslogd klogd httpd ftpget ftpput telnet tftp dpkg dpkg-deb rpm rpm2cpio
    hwclock adjtimex losetup mkswap mkfs.vfat mkdosfs mke2fs fdisk blkdiscard blockdev loadfont setfont
"""
DIRECTORIES = (
    "boot", "dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "var/roothome", "var/home/core",
    "usr/bin", "usr/lib/systemd/system", "usr/lib/tmpfiles.d", "usr/lib/bootc/kargs.d", "usr/lib/ostree",
    "usr/local/bin", "usr/share/pki/ca-trust-source/anchors", "usr/libexec", "etc/pki/ca-trust/source/anchors",
    "etc/pki/tls/certs", f"usr/lib/modules/{KERNEL_VERSION}",
)  # fmt: skip
LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "usr/sbin": "bin",
    "usr/lib64": "lib",
    "ostree": "sysroot/ostree",
    "root": "var/roothome",
    "home": "var/home",
    "opt": "var/opt",
    "srv": "var/srv",
    "mnt": "var/mnt",
    "etc/os-release": "../usr/lib/os-release",
    "usr/bin/sh": "busybox",
    "etc/pki/tls/certs/ca-bundle.crt": "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
}
# A namespace has no set-uid programs: whoever reaches this as root came through the connection's own `become`.
SUDO = """#!/bin/sh
if [ "$(id -u)" != 0 ]; then
    echo "sudo: a password is required" >&2
    exit 1
fi
while [ $# -gt 0 ]; do
    case "$1" in
        -u|-p|-g) shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec "$@"
"""
# What the distribution's script makes of the anchors, as far as programs in Go and OpenSSL look at it.
UPDATE_CA_TRUST = """#!/bin/sh
bundle=/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
mkdir -p /etc/pki/ca-trust/extracted/pem
for anchor in /usr/share/pki/ca-trust-source/anchors/* /etc/pki/ca-trust/source/anchors/*; do
    [ -f "$anchor" ] && cat "$anchor"
done > "$bundle.new"
mv "$bundle.new" "$bundle"
"""
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


class ImageBuildError(Exception):
    """buildah or skopeo failed. The text carries the command and what it said."""


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What a registry asks for. They reach buildah and skopeo in a file, never on a command line."""

    username: str
    password: str


def build_base(
    address: str,
    name: str = "os",
    tag: str = "base",
    *,
    version: str = "1.0",
    kargs_d: Mapping[str, Sequence[str]] | None = None,
    labels: Mapping[str, str] | None = None,
    extra_files: Mapping[str, str | bytes] | None = None,
    enabled_units: Sequence[str] = (),
    architecture: str | None = None,
    bootable: bool = True,
    kernel: bool = True,
    kargs_directory: bool = True,
    username: str | None = None,
    password: str | None = None,
) -> str:
    """Build a base image and push it to the registry at ``address``; return ``address/name@sha256:…``.

    ``kargs_d`` maps a file name under /usr/lib/bootc/kargs.d to its kernel arguments; ``extra_files`` maps absolute
    paths to content (executable where it begins with ``#!``); ``enabled_units`` start at boot. ``bootable`` and ``kernel``
    switch off the labels and the kernel, for images that bootc must refuse; without ``kargs_directory`` there is no
    /usr/lib/bootc/kargs.d at all, which is not the same as an empty one. The same arguments give the same digest.
    Raises ImageBuildError.
    """
    credentials = Credentials(username, password) if username is not None and password is not None else None
    arch = architecture or GO_ARCHITECTURES.get(platform.machine(), platform.machine())
    all_labels = {
        "org.opencontainers.image.version": version,
        **({"containers.bootc": "1", "ostree.bootable": "true"} if bootable else {}),
        **(labels or {}),
    }
    with tempfile.TemporaryDirectory(prefix="lab-image-") as scratch:
        work = Path(scratch)
        tree = work / "tree"
        _write_tree(tree, version, kargs_d or {}, extra_files or {}, kernel)
        if not kargs_directory:
            (tree / "usr/lib/bootc/kargs.d").rmdir()
        for unit in enabled_units:
            link = tree / "etc/systemd/system/multi-user.target.wants" / unit
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"/usr/lib/systemd/system/{unit}")
        return _commit_and_push(work, tree, f"{address}/{name}", tag, arch, all_labels, credentials)


def _write_tree(
    tree: Path,
    version: str,
    kargs_d: Mapping[str, Sequence[str]],
    extra_files: Mapping[str, str | bytes],
    kernel: bool,
) -> None:
    for directory in DIRECTORIES:
        (tree / directory).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    for link, points_to in LINKS.items():
        (tree / link).symlink_to(points_to)
    _install_busybox(tree / "usr/bin")
    files: dict[str, str | bytes] = dict(_system_files(version))
    if kernel:
        files[f"usr/lib/modules/{KERNEL_VERSION}/vmlinuz"] = b"lab kernel " + KERNEL_VERSION.encode() + b"\n"
        files[f"usr/lib/modules/{KERNEL_VERSION}/initramfs.img"] = b"lab initramfs\n"
    for file_name, arguments in kargs_d.items():
        files[f"usr/lib/bootc/kargs.d/{file_name}"] = f"kargs = {json.dumps(list(arguments))}\n"
    files.update({path.lstrip("/"): content for path, content in extra_files.items()})
    for inside, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        target = tree / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if data.startswith(b"#!") else 0o644)
    (tree / "etc/shadow").chmod(0o600)


def _install_busybox(directory: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise ImageBuildError("busybox is not installed; on Debian: apt-get install busybox-static")
    shutil.copyfile(busybox, directory / "busybox")
    (directory / "busybox").chmod(0o755)
    listing = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in sorted(set(listing) - set(APPLETS_LEFT_OUT.split())):
        if not (directory / applet).is_symlink():
            (directory / applet).symlink_to("busybox")


def _system_files(version: str) -> dict[str, str]:
    return {
        "usr/lib/os-release": (
            'NAME="Lab OS"\nID=labos\nID_LIKE="fedora"\n'
            f'VERSION="{version}"\nVERSION_ID={version}\nPRETTY_NAME="Lab OS {version}"\n'
            "VARIANT_ID=bootc\n"
        ),
        "usr/lib/ostree/prepare-root.conf": "[composefs]\nenabled = yes\n\n[sysroot]\nreadonly = true\n",
        "usr/lib/systemd/system/multi-user.target": "[Unit]\nDescription=Multi-User System\n",
        "usr/lib/systemd/system/lab-agent.service": (
            "[Unit]\nDescription=The workload of a lab node\n\n[Service]\nExecStart=/usr/bin/sleep infinity\n\n"
            "[Install]\nWantedBy=multi-user.target\n"
        ),
        "usr/bin/sudo": SUDO,
        "usr/bin/update-ca-trust": UPDATE_CA_TRUST,
        "usr/lib/tmpfiles.d/lab.conf": "d /var/lib/lab 0755 root root -\n",
        "etc/passwd": (
            "root:x:0:0:root:/root:/bin/sh\n"
            "core:x:1000:1000:core:/var/home/core:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        ),
        "etc/group": "root:x:0:\ncore:x:1000:\nnobody:x:65534:\n",
        "etc/shadow": "root:!locked:::::::\n",
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "etc/lab.conf": "# Shipped by the image; the merge of /etc keeps what the host changed.\nsetting = image\n",
        "etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
        "etc/containers/registries.conf": (
            'unqualified-search-registries = []\n\n[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
        ),
    }


def _commit_and_push(
    work: Path,
    tree: Path,
    repository: str,
    tag: str,
    arch: str,
    labels: Mapping[str, str],
    credentials: Credentials | None,
) -> str:
    storage = ["--root", str(work / "storage"), "--runroot", str(work / "run"), "--storage-driver", STORAGE_DRIVER]
    authfile = ["--authfile", str(_write_authfile(work, repository, credentials))] if credentials else []
    digest_file = work / "digest"
    container = _run(["buildah", *storage, "from", "scratch"])
    _run(["buildah", *storage, "add", "--quiet", container, str(tree), "/"])
    label_options = [option for name, value in sorted(labels.items()) for option in ("--label", f"{name}={value}")]
    _run(
        [
            "buildah",
            *storage,
            "config",
            "--arch",
            arch,
            "--os",
            "linux",
            "--cmd",
            "/sbin/init",
            *label_options,
            container,
        ]
    )
    _run(["buildah", *storage, "commit", "--quiet", "--timestamp", str(CREATED), "--rm", container, "lab-base"])
    _run(
        [
            *("buildah", *storage, "push", "--quiet", "--tls-verify=false", *authfile),
            *("--digestfile", str(digest_file), "lab-base", f"docker://{repository}:{tag}"),
        ]
    )
    return f"{repository}@{digest_file.read_text().strip()}"


def _write_authfile(work: Path, repository: str, credentials: Credentials) -> Path:
    token = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    path = work / "auth.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": {repository.split("/", 1)[0]: {"auth": token}}}))
    return path


def _run(argv: Sequence[str]) -> str:
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    try:
        result = subprocess.run(list(argv), capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError as error:
        raise ImageBuildError(f"{argv[0]} is not installed; on Debian: apt-get install {argv[0]}") from error
    if result.returncode != 0:
        raise ImageBuildError(f"`{' '.join(argv)}` exited {result.returncode}:\n{result.stderr.strip()}")
    return result.stdout.strip()
