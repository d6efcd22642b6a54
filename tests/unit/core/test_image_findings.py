# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about the files of a built image, and what its base answers for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_checks import Finding, Severity, check_image

BOOTABLE = {"containers.bootc": "1"}
KERNEL = "/usr/lib/modules/6.1"


@dataclass(frozen=True)
class Link:
    to: str


# Content by path: text or bytes of a file, a link, None for a directory. Directories on the way are made.
Content = Mapping[str, "str | bytes | Link | None"]
BASE: Content = {
    **dict.fromkeys(("/dev", "/proc", "/sys", "/run", "/tmp", "/var/lib", "/sysroot", "/boot", "/etc/ssh")),
    "/var/run": Link("../run"),
    "/ostree": Link("sysroot/ostree"),
    "/home": Link("var/home"),
    f"{KERNEL}/vmlinuz": "kernel",
    f"{KERNEL}/initramfs.img": "initramfs",
    "/etc/machine-id": "",
    "/usr/lib/tmpfiles.d/base.conf": "d /var/home 0755 - - -\nd /var/lib/made 0755\nd /var/cache\n",
}


@dataclass
class Image:
    """A tree in memory."""

    content: Content
    labels: Mapping[str, str] = field(default_factory=lambda: BOOTABLE)

    @property
    def tree(self) -> FileTree:
        found = {"/": TreeEntry("/", FileType.DIRECTORY, 0o755)}
        for path, what in self.content.items():
            parts = path.split("/")[1:-1]
            for depth in range(len(parts)):
                parent = "/" + "/".join(parts[: depth + 1])
                found.setdefault(parent, TreeEntry(parent, FileType.DIRECTORY, 0o755))
            if isinstance(what, Link):
                found[path] = TreeEntry(path, FileType.LINK, 0o777, target=what.to)
            elif what is None:
                found[path] = TreeEntry(path, FileType.DIRECTORY, 0o755)
            else:
                found[path] = TreeEntry(path, FileType.FILE, 0o644, size=len(what))
        return found

    def read(self, path: str) -> bytes:
        what = self.content[path]
        assert isinstance(what, (str, bytes)), f"{path} is no file"
        return what.encode() if isinstance(what, str) else what

    def findings(self, base: Content | None = None) -> list[Finding]:
        return list(check_image(self.tree, self.read, self.labels, Image(base).tree if base is not None else None))


def built(changes: Content, without: tuple[str, ...] = ()) -> Image:
    kept = {path: what for path, what in BASE.items() if not path.startswith(without or "none")}
    return Image({**kept, **changes})


def short(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.severity.value, finding.check, finding.path) for finding in findings]


def test_a_good_image_has_no_findings() -> None:
    assert built({}).findings() == []
    assert built({}).findings(BASE) == []


# What a build adds to the base, the findings, and words of the message.
ADDITIONS: dict[str, tuple[Content, list[tuple[str, str, str]], str]] = {
    "a second kernel": (
        {"/usr/lib/modules/6.2/vmlinuz": "k", "/usr/lib/modules/6.2/initramfs.img": "i"},
        [("error", "kernel", "/usr/lib/modules")],
        "2 kernels (6.1, 6.2)",
    ),
    "a kernel without initramfs": (
        {"/usr/lib/modules/6.2/vmlinuz": "k"},
        [("error", "kernel", "/usr/lib/modules"), ("error", "kernel", "/usr/lib/modules/6.2/initramfs.img")],
        "dracut --force --no-hostonly --kver 6.2 /usr/lib/modules/6.2/initramfs.img",
    ),
    "modules for another kernel": (
        {"/usr/lib/modules/5.0/extra/x.ko": "m"},
        [("warning", "kernel", "/usr/lib/modules/5.0")],
        "belong to 6.1",
    ),
    "good kernel arguments": ({"/usr/lib/bootc/kargs.d/1.toml": 'kargs = ["nosmt"]\n'}, [], ""),
    "kernel arguments that do not parse": (
        {"/usr/lib/bootc/kargs.d/1.toml": "nonsense = ["},
        [("error", "bootc-kargs", "/usr/lib/bootc/kargs.d/1.toml")],
        "would refuse the whole image",
    ),
    "an unknown key": (
        {"/usr/lib/bootc/kargs.d/1.toml": 'kargs = ["a"]\nfoo = 1\n'},
        [("error", "bootc-kargs", "/usr/lib/bootc/kargs.d/1.toml")],
        "'foo' is not one of kargs and match-architectures",
    ),
    "arguments that are not text": (
        {"/usr/lib/bootc/kargs.d/1.toml": b"\xff"},
        [("error", "bootc-kargs", "/usr/lib/bootc/kargs.d/1.toml")],
        "not UTF-8",
    ),
    "arguments behind a link to nothing": (
        {"/usr/lib/bootc/kargs.d/1.toml": Link("/nowhere")},
        [("error", "bootc-kargs", "/usr/lib/bootc/kargs.d/1.toml")],
        "leads to no file",
    ),
    "arguments behind a good link": (
        {"/usr/lib/bootc/kargs.d/1.toml": Link("../../k"), "/usr/lib/k": 'kargs = ["a"]'},
        [],
        "",
    ),
    "arguments in a file that bootc ignores": (
        {"/usr/lib/bootc/kargs.d/1.conf": 'kargs = ["a"]'},
        [("warning", "bootc-kargs", "/usr/lib/bootc/kargs.d/1.conf")],
        "does not read it",
    ),
    "arguments in /etc": (
        {"/etc/bootc/kargs.d/1.toml": 'kargs = ["a"]'},
        [("warning", "bootc-kargs", "/etc/bootc/kargs.d/1.toml")],
        "from /usr/lib/bootc/kargs.d only",
    ),
    "files in /boot": ({"/boot/vmlinuz-6.1": "k"}, [("warning", "nonempty-boot", "/boot")], "/boot/vmlinuz-6.1"),
    "a unified kernel image": ({"/boot/EFI/Linux/x.efi": "k"}, [], ""),
    "both /etc and /usr/etc": ({"/usr/etc/x": "y"}, [("error", "etc-usretc", "/usr/etc")], "Write to /etc"),
    "/var/run as a directory": ({"/var/run": None}, [("error", "var-run", "/var/run")], "ln -s ../run /var/run"),
    "/home as a directory": ({"/home": None}, [("warning", "links-into-var", "/home")], "was a link to var/home"),
    "a name that is not UTF-8": ({"/usr/a\udcff": "x"}, [("error", "utf8", "/usr/a\\xff")], "not UTF-8"),
    "a link that is not UTF-8": ({"/usr/a": Link("b\udcff")}, [("error", "utf8", "/usr/a")], "not UTF-8"),
    "a subscription": (
        {"/etc/pki/entitlement/123-key.pem": "k"},
        [("error", "entitlement", "/etc/pki/entitlement/123-key.pem")],
        "subscription",
    ),
    "a place where a secret was mounted": ({"/run/secrets/token": "", "/run/x": None}, [], ""),
    "a secret that was written": (
        {"/run/secrets/token": "t"},
        [("error", "entitlement", "/run/secrets/token")],
        "build secret",
    ),
    "a repository of the build": (
        {"/etc/yum.repos.d/imagemode-corp.repo": "[corp]", "/etc/yum.repos.d/other.repo": "[x]"},
        [("error", "build-repositories", "/etc/yum.repos.d/imagemode-corp.repo")],
        "hosts would ask it",
    ),
    "an ssh host key": (
        {"/etc/ssh/ssh_host_rsa_key": "k", "/etc/ssh/ssh_host_rsa_key.pub": "k", "/etc/ssh/sshd_config": "c"},
        [("error", "ssh-host-keys", "/etc/ssh/ssh_host_rsa_key")],
        "private key",
    ),
    "a machine id": (
        {"/etc/machine-id": "0123\n"},
        [("error", "machine-id", "/etc/machine-id")],
        ": > /etc/machine-id",
    ),
    "an uninitialized machine id": ({"/etc/machine-id": "uninitialized\n"}, [], ""),
    "files in /tmp and /run": (
        {"/tmp/x": "1", "/run/y/z": "2", "/run/.containerenv": "e"},
        [("warning", "nonempty-run-tmp", "/run"), ("warning", "nonempty-run-tmp", "/tmp")],
        "/run/y/z",
    ),
    "files in /var/tmp": ({"/var/tmp/d/x": "1"}, [("warning", "var-tmp", "/var/tmp")], "/var/tmp/d"),
    "a package cache": (
        {"/var/cache/dnf/a/b.rpm": "x" * 2_000_000},
        [("warning", "package-cache", "/var/cache/dnf")],
        "2.0 MB",
    ),
    "logs": ({"/var/log/dnf.log": "x", "/var/log/empty": ""}, [("warning", "var-log", "/var/log")], "/var/log/dnf.log"),
    "a file in /var": (
        {"/var/lib/app/data/x": "1"},
        [("warning", "var-tmpfiles", "/var/lib/app")],
        "hosts that are updated to this image never get /var/lib/app/data/x",
    ),
    "a directory in /var": (
        {"/var/lib/app": None},
        [("warning", "var-tmpfiles", "/var/lib/app")],
        "`d /var/lib/app 0755 0 0`",
    ),
    "a directory in /var with a line": ({"/var/lib/made": None}, [], ""),
    "the parent of what has a line": (
        {"/var/lib/p/q": None, "/usr/lib/tmpfiles.d/p.conf": "# note\n\nd /var/lib/p/q - - -\n"},
        [],
        "",
    ),
    "what a line copies": (
        {"/var/lib/c/deep/x": "1", "/etc/tmpfiles.d/c.conf": 'C+! "/var/lib/c" - - - - /usr/share/c\n'},
        [],
        "",
    ),
    "a line with a specifier, an escape, and through a link": (
        {"/var/lib/s": None, "/var/lib/a b": None, "/var/home/u": None}
        | {"/usr/lib/tmpfiles.d/s.conf": 'd %S/s\nd "/var/lib/a\\x20b"\nd /home/u\n'},
        [],
        "",
    ),
    "a line that makes nothing": (
        {"/var/lib/z": None, "/usr/lib/tmpfiles.d/z.conf": "z /var/lib/z 0700\n"},
        [("warning", "var-tmpfiles", "/var/lib/z")],
        "no tmpfiles.d line",
    ),
    "a line that /etc masks": (
        {"/var/lib/m": None, "/usr/lib/tmpfiles.d/m.conf": "d /var/lib/m\n", "/etc/tmpfiles.d/m.conf": "# off\n"},
        [("warning", "var-tmpfiles", "/var/lib/m")],
        "no tmpfiles.d line",
    ),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_what_a_build_adds(name: str) -> None:
    changes, expected, says = ADDITIONS[name]
    findings = built(changes).findings(BASE)
    assert short(findings) == expected
    assert says in " ".join(finding.message for finding in findings)


@pytest.mark.parametrize("name", ADDITIONS)
def test_what_the_base_had_is_not_held_against_the_build(name: str) -> None:
    image = built(ADDITIONS[name][0])
    assert image.findings(image.content) == []


@pytest.mark.parametrize("name", sorted(set(ADDITIONS) - {"/home as a directory", "modules for another kernel"}))
def test_without_a_base_everything_counts(name: str) -> None:
    changes, expected, _says = ADDITIONS[name]
    assert set(short(built(changes).findings())) >= set(expected)


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        (("/usr/lib/modules",), [("error", "kernel", "/usr/lib/modules")]),
        ((f"{KERNEL}/initramfs.img",), [("error", "kernel", f"{KERNEL}/initramfs.img")]),
        (("/dev",), [("error", "api-base-directories", "/dev")]),
        (("/sysroot", "/ostree"), [("error", "baseimage-root", "/sysroot"), ("error", "baseimage-root", "/ostree")]),
        (("/etc/machine-id", "/boot"), []),
    ],
)
def test_what_a_build_removes(without: tuple[str, ...], expected: list[Any]) -> None:
    image = built({}, without)
    assert short(image.findings(BASE)) == short(image.findings()) == expected
    assert image.findings(image.content) == []


def test_an_image_that_is_not_to_be_booted_needs_no_kernel() -> None:
    assert replace(built({}, ("/usr/lib/modules", "/dev", "/ostree")), labels={}).findings() == []


def test_a_changed_file_of_the_base_is_the_builds() -> None:
    base = {**BASE, "/usr/lib/bootc/kargs.d/1.toml": "broken"}
    assert short(Image({**base, "/usr/lib/bootc/kargs.d/1.toml": "broken too"}).findings(base)) == [
        ("error", "bootc-kargs", "/usr/lib/bootc/kargs.d/1.toml")
    ]


def test_errors_come_first_and_thousands_of_files_are_one_finding() -> None:
    many: dict[str, str] = {f"/var/lib/app/{index}": "x" for index in range(5000)}
    findings = built({**many, "/usr/etc/x": "y"}).findings(BASE)
    assert [finding.severity for finding in findings] == [Severity.ERROR, Severity.WARNING]
    assert "and 4997 more" in findings[1].message
    assert len(findings[1].message) < 500
