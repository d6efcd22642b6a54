# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of real packages, made by rpmbuild, against what rpm itself says of them; and damaged ones."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_header import (
    BadPackage,
    RpmFile,
    parse_package,
)

SPEC = """\
Name: kubelet
Epoch: 2
Version: 1.34.2
Release: 3.el10
Summary: node agent
License: MIT
BuildArch: noarch
%description
node agent
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/kubelet %{buildroot}/usr/lib/kubelet
echo agent > %{buildroot}/usr/bin/kubelet
echo conf > %{buildroot}/etc/kubelet/config
ln -s ../bin/kubelet %{buildroot}/usr/lib/kubelet/link
%files
%attr(4755,root,adm) /usr/bin/kubelet
%config /etc/kubelet/config
%dir /usr/lib/kubelet
/usr/lib/kubelet/link
%ghost /usr/lib/kubelet/state
"""
EMPTY_SPEC = """\
Name: empty
Version: 1
Release: 1
Summary: nothing
License: MIT
%description
nothing
%files
"""


def rpmbuild(directory: Path, spec: str, *options: str) -> Path:
    """The one package that a spec makes."""
    if shutil.which("rpmbuild") is None:
        pytest.skip("rpmbuild is not installed (Debian: apt-get install rpm)")
    file = directory / "one.spec"
    file.write_text(spec)
    subprocess.run(
        ["rpmbuild", "--quiet", "--define", f"_topdir {directory}/top", *(options or ("-bb",)), str(file)],
        check=True,
        capture_output=True,
    )
    (package,) = (directory / "top").rglob("*.rpm")
    return package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rpmbuild(tmp_path_factory.mktemp("rpm"), SPEC)


def query(package: Path, form: str) -> list[str]:
    command = ["rpm", "-q", "--nosignature", "--qf", form, "-p", str(package)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_a_package_says_what_rpm_says_of_it(package: Path) -> None:
    header = parse_package(package.read_bytes())
    assert [header.name, header.nevra] == query(package, "%{NAME}\n%{NAME}-%{EVR}.%{ARCH}\n")
    assert (header.epoch, header.is_source, header.evr) == (2, False, "2:1.34.2-3.el10")
    form = "[%{FILENAMES}|%{FILEMODES:octal}|%{FILESIZES}|%{FILEUSERNAME}|%{FILEGROUPNAME}|%{FILEDIGESTS}|%{FILELINKTOS}\n]"
    bits = {FileType.FILE: "10", FileType.DIRECTORY: "4", FileType.LINK: "12", FileType.OTHER: ""}
    assert query(package, form) == [
        f"{one.path}|{bits[one.type]}{one.mode:0{4 if one.type is not FileType.OTHER else 1}o}|{one.size}|{one.user}|{one.group}|"
        f"{one.digest or ''}|{one.target or ''}"
        for one in header.files
    ]
    ghosts = {one.path for one in header.files if one.ghost}
    assert ghosts == {"/usr/lib/kubelet/state"}


def test_files_directories_and_links_are_told_apart(package: Path) -> None:
    files = {one.path: one for one in parse_package(package.read_bytes()).files}
    assert files["/usr/lib/kubelet"].type is FileType.DIRECTORY
    link = files["/usr/lib/kubelet/link"]
    assert (link.type, link.target, link.digest) == (FileType.LINK, "../bin/kubelet", None)
    binary = files["/usr/bin/kubelet"]
    assert isinstance(binary, RpmFile)
    assert (binary.type, binary.mode, binary.group, binary.size) == (FileType.FILE, 0o4755, "adm", 6)
    assert len(binary.digest or "") == 64


def test_a_package_may_be_empty(tmp_path: Path) -> None:
    header = parse_package(rpmbuild(tmp_path, EMPTY_SPEC).read_bytes())
    assert (header.name, header.epoch, header.evr, header.files) == ("empty", None, "1-1", ())


def test_a_source_package_is_known_as_one(tmp_path: Path) -> None:
    assert parse_package(rpmbuild(tmp_path, EMPTY_SPEC, "-bs").read_bytes()).is_source


def test_every_cut_is_refused(package: Path) -> None:
    data = package.read_bytes()
    payload = data.index(b"\x28\xb5\x2f\xfd") if b"\x28\xb5\x2f\xfd" in data else len(data)
    for length in range(0, min(payload, 4000), 7):
        with pytest.raises(BadPackage, match="ends within its"):
            parse_package(data[:length])


def _damaged(data: bytes, tag: int, **change: int) -> bytes:
    """The package with another type, offset or count in the main header's entry for a tag."""
    at = data.rindex(struct.pack(">II", tag, change.pop("was")))
    kind, offset, count = struct.unpack_from(">III", data, at + 4)
    entry = struct.pack(">III", change.get("kind", kind), change.get("offset", offset), change.get("count", count))
    return data[: at + 4] + entry + data[at + 16 :]


@pytest.mark.parametrize(
    ("tag", "change", "says"),
    [
        (1000, {"was": 6, "kind": 4}, "has the tag 1000 as type 4, not as a string"),
        (1000, {"was": 6, "offset": 1 << 30}, "has the tag 1000 outside of its header"),
        (1030, {"was": 3, "count": 3}, "has 5 files, but 3 values"),
        (1030, {"was": 3, "count": 1 << 31}, "has the tag 1030 outside of its header"),
        (1030, {"was": 3, "count": 900_000}, "has the tag 1030 outside of its header"),
        (1116, {"was": 4, "offset": 0}, "has files in directories that it does not name"),
        (1117, {"was": 8, "count": 900_000}, "has the tag 1117 outside of its header"),
        (1117, {"was": 8, "kind": 6}, "has the tag 1117 as type 6, not as strings"),
    ],
)
def test_a_damaged_header_is_refused(package: Path, tag: int, change: dict[str, int], says: str) -> None:
    with pytest.raises(BadPackage, match=says):
        parse_package(_damaged(package.read_bytes(), tag, **change))


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (0, b"PK\x03\x04", "does not begin as one"),
        (4, b"\x05", "does not begin as one"),
        (78, b"\0\x01", "signature of the unknown kind 1"),
        (96, b"\0", "no signature header where one must be"),
        (104, b"\x7f\xff\xff\xff", "more than a package can have"),
        (108, b"\x7f\xff\xff\xff", "more than a package can have"),
    ],
)
def test_what_is_no_package_is_refused(package: Path, at: int, value: bytes, says: str) -> None:
    data = package.read_bytes()
    with pytest.raises(BadPackage, match=says):
        parse_package(data[:at] + value + data[at + len(value) :])
