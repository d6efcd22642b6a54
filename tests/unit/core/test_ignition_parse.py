# SPDX-License-Identifier: GPL-3.0-or-later
"""Ignition configs, field by field: what is read, what cannot be honoured, what is refused and how it is said."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core import ignition_resource
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import (
    ConfigDirectory,
    ConfigFile,
    ConfigLink,
    ConfigUnit,
    DropIn,
    InvalidConfig,
    MergedConfig,
    Origin,
    SshKeys,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_merge import ACCEPTABLE_FIELDS, merge
from machine_config_documents import KEY, base64_url, file, gzip_url, ignition, percent_url

SECRET = "hunter2"


def read(config: Any, acceptable: tuple[str, ...] = ()) -> MergedConfig:
    return merge([("node.ign", config)], "worker", acceptable)


def refusal(config: Any) -> InvalidConfig:
    with pytest.raises(InvalidConfig) as raised:
        read(config)
    assert raised.value.document.startswith("node.ign")
    assert SECRET not in str(raised.value)
    assert str(raised.value).isprintable()
    return raised.value


def with_file(version: str = "3.4.0", **entry: Any) -> dict[str, Any]:
    return ignition(version, storage={"files": [{"path": "/etc/a", **entry}]})


def with_source(source: Any, version: str = "3.4.0", **contents: Any) -> dict[str, Any]:
    return with_file(version, contents={"source": source, **contents})


def sha(data: bytes, function: str = "sha512") -> dict[str, str]:
    return {"hash": f"{function}-{hashlib.new(function, data).hexdigest()}"}


@pytest.mark.parametrize("version", ["3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0"])
def test_every_version_reads_a_file(version: str) -> None:
    assert read(with_source("data:,x", version)).files == (
        ConfigFile("/etc/a", b"x", 0o644, None, None, Origin("node.ign", "storage.files[0]")),
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.2.0", "convert it to 3.x"),
        ("2.4.0-experimental", "convert it to 3.x"),
        ("1.0.0", "convert it to 3.x"),
        ("3.6.0", "3.0.0 to 3.5.0 are; set the version to 3.5.0 if"),
        ("3.5.1", "not known here"),
        ("3.5.0-experimental", "not known here"),
        ("4.0.0", "not known here"),
        ("3.4", "is not a version"),
        ("latest", "is not a version"),
        ("", "the version is missing"),
        (None, "the version is missing"),
        (3.4, "this is a number, but has to be a text; put it in quotes"),
        (["3.4.0"], "this is a list"),
    ],
)
def test_other_versions_are_refused(version: Any, said: str) -> None:
    refused = refusal({"ignition": {"version": version}, "storage": {"filez": []}})
    assert refused.field == "ignition.version"
    assert said in refused.message


@pytest.mark.parametrize(
    ("contents", "data"),
    [
        (None, b""),
        ({}, b""),
        ({"verification": {}}, b""),
        ({"source": None}, b""),
        ({"source": ""}, b""),
        ({"source": "data:,"}, b""),
        ({"source": percent_url(b"a b\n%\xff")}, b"a b\n%\xff"),
        ({"source": base64_url(b"\x00\x01")}, b"\x00\x01"),
        ({"source": base64_url(b"x"), "compression": ""}, b"x"),
        ({"source": base64_url(b"x"), "compression": None}, b"x"),
        ({"source": gzip_url(b"zip"), "compression": "gzip"}, b"zip"),
        ({"source": gzip_url(b"zip")}, gzip.compress(b"zip", mtime=0)),
        (
            {
                "source": "data:;base64," + base64.b64encode(gzip.compress(b"a") + gzip.compress(b"b")).decode(),
                "compression": "gzip",
            },
            b"ab",
        ),
        ({"source": gzip_url(b"zip"), "compression": "gzip", "verification": sha(b"zip")}, b"zip"),
        ({"source": "data:,x", "verification": sha(b"x", "sha256")}, b"x"),
        ({"source": "data:,x", "verification": {"hash": "sha512-" + hashlib.sha512(b"x").hexdigest().upper()}}, b"x"),
        ({"source": "data:,x", "httpHeaders": []}, b"x"),
    ],
)
def test_contents(contents: Any, data: bytes) -> None:
    assert read(with_file(contents=contents)).files[0].content == data


@pytest.mark.parametrize(
    ("contents", "field", "said"),
    [
        ({"source": "data:,x y hunter2"}, "source", "not a valid data: URL: the character at position 1"),
        ({"source": "data:;base64,hunter2"}, "source", "not base64"),
        ({"source": "/etc/hunter2"}, "source", "not a URL that Ignition knows"),
        ({"source": "file:///hunter2"}, "source", "not a URL that Ignition knows"),
        ({"source": 5}, "source", "a number, but has to be a text"),
        ({"source": ["data:,hunter2"]}, "source", "a list, but has to be a text"),
        ({"source": "data:,\ud800"}, "source", "half of a surrogate pair"),
        ({"source": "data:,x", "compression": "xz"}, "compression", "the only compression is gzip"),
        ({"source": "data:,hunter2", "compression": "gzip"}, "source", "is not gzip, or damaged"),
        (
            {"source": base64_url(gzip.compress(b"hunter2" * 50)[:-9]), "compression": "gzip"},
            "source",
            "cut off: its end is missing",
        ),
        (
            {"source": base64_url(gzip.compress(b"hunter2") + b"more"), "compression": "gzip"},
            "source",
            "is not gzip, or damaged",
        ),
        (
            {"source": "data:,hunter2", "verification": sha(b"other")},
            "verification.hash",
            "content (7 bytes) does not have this sha512",
        ),
        (
            {"source": gzip_url(b"x"), "compression": "gzip", "verification": sha(gzip.compress(b"x", mtime=0))},
            "verification.hash",
            "of the content after decoding and unpacking",
        ),
        ({"verification": sha(b"")}, "verification.hash", "no source that could be checked"),
        ({"source": "data:,x", "verification": {"hash": "md5-00"}}, "verification.hash", "a hash is `sha512-` or"),
        (
            {"source": "data:,x", "verification": {"hash": "sha256-00"}},
            "verification.hash",
            "has 64 hexadecimal digits",
        ),
        (
            {"source": "data:,x", "verification": {"sha256": "00"}},
            "verification",
            "no field 'sha256' here. Known are hash.",
        ),
        ({"source": "data:,x", "httpHeaders": [{"name": "a"}]}, "httpHeaders", "only sources with http"),
        ("data:,hunter2", "", "this is a text, but has to be an object"),
        ({"inline": SECRET}, "", "no field 'inline'"),
    ],
)
def test_contents_that_are_refused(contents: Any, field: str, said: str) -> None:
    refused = refusal(with_file(contents=contents))
    assert refused.field == ".".join(part for part in ("storage.files[0].contents", field) if part)
    assert said in refused.message


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignition_resource, "LARGEST_CONTENT", 1 << 20)
    assert len(read(with_source(gzip_url(bytes(1 << 20)), compression="gzip")).files[0].content) == 1 << 20
    assert (
        "unpacks to more than 1 MiB" in refusal(with_source(gzip_url(bytes((1 << 20) + 1)), compression="gzip")).message
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (with_source("data:,x", "3.0.0", verification=sha(b"x", "sha256")), "sha256 exists from Ignition 3.1.0 on"),
        (
            ignition("3.2.0", kernelArguments={"shouldExist": ["a"]}),
            "exists from Ignition 3.3.0 on, and the document is 3.2.0",
        ),
        (ignition("3.1.0", storage={"luks": [{"name": "x"}]}), "exists from Ignition 3.2.0 on"),
        ({"ignition": {"version": "3.0.0", "proxy": {"httpProxy": "http://p"}}}, "exists from Ignition 3.1.0 on"),
        (
            with_source("http://h/x", "3.0.0", httpHeaders=[{"name": "a", "value": "b"}]),
            "exists from Ignition 3.1.0 on",
        ),
        (ignition("3.1.0", passwd={"users": [{"name": "a", "shouldExist": False}]}), "exists from Ignition 3.2.0 on"),
    ],
)
def test_a_field_of_a_later_version_is_named_with_the_version(config: Any, said: str) -> None:
    assert said in refusal(config).message


def test_an_empty_field_of_a_later_version_is_what_programs_write() -> None:
    assert read({"ignition": {"version": "3.0.0", "proxy": {}}, "kernelArguments": {}}).unsupported == ()


@pytest.mark.parametrize(
    ("mode", "expected"), [(None, 0o644), (0, 0), (420, 0o644), (0o755, 0o755), (384, 0o600), (0o777, 0o777)]
)
def test_modes_of_files(mode: int | None, expected: int) -> None:
    assert read(with_file(mode=mode)).files[0].mode == expected


@pytest.mark.parametrize("version", ["3.0.0", "3.3.0", "3.5.0"])
@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (644, "644 is 01204, more than 0777. JSON has no octal numbers: 0644 is written 420"),
        (755, "0755 is written 493"),
        (0o4755, "2541 is 04755, more than 0777. setuid, setgid and sticky bits have no effect before Ignition 3.6.0"),
        (0o1777, "1023 is 01777"),
        (33188, "this is not a mode"),
        (-1, "this is not a mode"),
        (10**400, "this is not a mode"),
        ("0644", "a text, but has to be a decimal number: 420 is 0644"),
        (420.0, "a number, but has to be a whole number"),
        (True, "true or false, but has to be a whole number"),
        ([420], "a list, but has to be a whole number"),
    ],
)
def test_modes_that_are_refused(version: str, mode: Any, said: str) -> None:
    for section in ("files", "directories"):
        refused = refusal(ignition(version, storage={section: [{"path": "/etc/a", "mode": mode}]}))
        assert refused.field == f"storage.{section}[0].mode"
        assert said in refused.message


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (None, None),
        ({}, None),
        ({"id": 0}, 0),
        ({"id": 1000}, 1000),
        ({"name": "chrony"}, "chrony"),
        ({"name": ""}, None),
        ({"id": 5, "name": ""}, 5),
    ],
)
def test_owners(account: Any, expected: int | str | None) -> None:
    found = read(with_file(user=account, group=account)).files[0]
    assert (found.user, found.group) == (expected, expected)


@pytest.mark.parametrize(
    ("account", "field", "said"),
    [
        ({"id": 1, "name": "a"}, "user", "both an id and a name"),
        ({"id": -1}, "user.id", "from 0 to"),
        ({"id": (1 << 32) - 1}, "user.id", "from 0 to"),
        ({"id": "0"}, "user.id", "whole number, without quotes"),
        ({"name": 0}, "user.name", "has to be a text"),
        ({"name": "a:b"}, "user.name", "not the name of a user"),
        ({"name": "a\nb"}, "user.name", "not the name of a user"),
        ({"uid": 1}, "user", "did you mean 'id'?"),
        ("root", "user", "this is a text, but has to be an object"),
    ],
)
def test_owners_that_are_refused(account: Any, field: str, said: str) -> None:
    refused = refusal(with_file(user=account))
    assert refused.field == f"storage.files[0].{field}"
    assert said in refused.message


@pytest.mark.parametrize("section", ["files", "directories", "links"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "the field path is missing"),
        ("", "the field path is missing"),
        ("etc/a", "not absolute"),
        ("/", "root directory"),
        ("//etc/a", "not in its plain form"),
        ("/etc//a", "not in its plain form"),
        ("/etc/a/", "not in its plain form"),
        ("/etc/../a", "not in its plain form"),
        ("/etc/./a", "not in its plain form"),
        ("/etc/a\n", "cannot be printed"),
        ("/etc/\x00", "cannot be printed"),
        ("/etc/" + "x" * 256, "longer than Linux allows"),
        (7, "has to be a text"),
    ],
)
def test_paths_that_are_refused(section: str, path: Any, said: str) -> None:
    entry = {"path": path, **({"target": "/x"} if section == "links" else {})}
    assert said in refusal(ignition(storage={section: [entry]})).message


def test_directories_and_links() -> None:
    storage = {
        "directories": [
            {"path": "/etc/d"},
            {"path": "/var/lib/e", "mode": 448, "user": {"name": "chrony"}, "group": {"id": 7}, "overwrite": False},
        ],
        "links": [
            {"path": "/etc/localtime", "target": "../usr/share/zoneinfo/UTC", "overwrite": True},
            {"path": "/usr/bin/vi", "target": "/usr/bin/vim", "hard": True},
            {"path": "/etc/l", "target": "/x", "hard": False, "user": {"id": 3}},
        ],
    }
    found = read(ignition(storage=storage))
    assert found.directories == (
        ConfigDirectory("/etc/d", 0o755, None, None, Origin("node.ign", "storage.directories[0]")),
        ConfigDirectory("/var/lib/e", 0o700, "chrony", 7, Origin("node.ign", "storage.directories[1]")),
    )
    assert found.links == (
        ConfigLink(
            "/etc/localtime", "../usr/share/zoneinfo/UTC", False, None, None, Origin("node.ign", "storage.links[0]")
        ),
        ConfigLink("/usr/bin/vi", "/usr/bin/vim", True, None, None, Origin("node.ign", "storage.links[1]")),
        ConfigLink("/etc/l", "/x", False, 3, None, Origin("node.ign", "storage.links[2]")),
    )


@pytest.mark.parametrize(
    ("storage", "field", "said"),
    [
        ({"links": [{"path": "/a"}]}, "storage.links[0]", "the field target is missing"),
        ({"links": [{"path": "/a", "target": "b", "hard": True}]}, "storage.links[0].target", "not absolute"),
        ({"links": [{"path": "/a", "target": "/a", "hard": True}]}, "storage.links[0].target", "hard link to itself"),
        (
            {"links": [{"path": "/a", "target": "/d", "hard": True}], "directories": [{"path": "/d"}]},
            "storage.links[0].target",
            "'/d' is a directory by node.ign: storage.directories[0]",
        ),
        ({"links": [{"path": "/a", "target": "/b", "hard": "yes"}]}, "storage.links[0].hard", "true or false"),
        ({"links": [{"path": "/a", "target": "b\nc"}]}, "storage.links[0].target", "cannot be printed"),
        (
            {"files": [file("/etc/a", b""), file("/etc/a", b"")]},
            "storage.files[1].path",
            "'/etc/a' is there already, in storage.files[0].path",
        ),
        (
            {"files": [file("/etc/a")], "links": [{"path": "/etc/a", "target": "/b"}]},
            "storage.links[0].path",
            "'/etc/a' is there already, in storage.files[0].path",
        ),
        (
            {"files": [file("/etc/a")], "directories": [{"path": "/etc/a"}]},
            "storage.directories[0].path",
            "is there already, in storage.files[0].path",
        ),
        (
            {"files": [file("/opt/x/y")], "links": [{"path": "/opt", "target": "/var/opt"}]},
            "storage.files[0]",
            "'/opt/x/y' lies below '/opt', which is a link by node.ign: storage.links[0]; name the path where",
        ),
        (
            {"files": [file("/etc/a"), file("/etc/a/b")]},
            "storage.files[1]",
            "'/etc/a/b' lies below '/etc/a', which is a file by node.ign: storage.files[0]",
        ),
        ({"directories": [{"path": "/etc/a/b"}], "files": [file("/etc/a")]}, "storage.directories[0]", "lies below"),
        ({"files": [file("/etc/a", overwrite=True)]}, "storage.files[0].overwrite", "no contents.source"),
        ({"files": [file("/etc/a", overwrite="no")]}, "storage.files[0].overwrite", "true or false"),
        ({"files": {"path": "/etc/a"}}, "storage.files", "this is an object, but has to be a list"),
        ({"files": ["/etc/a"]}, "storage.files[0]", "this is a text, but has to be an object"),
        ({"files": [None]}, "storage.files[0]", "this is nothing, but has to be an object"),
        ({"file": []}, "storage", "no field 'file' here; did you mean 'files'?"),
        ({"Files": []}, "storage", "did you mean 'files'?"),
        ({"files": [{"path": "/a", "filesystem": "root"}]}, "storage.files[0]", "from Ignition 2"),
        ({"files": [{"path": "/a", "mod": 420}]}, "storage.files[0]", "did you mean 'mode'?"),
        ({"files": [{"path": "/a", "hunter2\nhunter2": 420}]}, "storage.files[0]", "check the indentation"),
        ({"files": [{"path": "/a", 5: 420}]}, "storage.files[0]", "the name of a field is a number"),
    ],
)
def test_storage_that_is_refused(storage: Any, field: str, said: str) -> None:
    refused = refusal(ignition(storage=storage))
    assert refused.field == field
    assert said in refused.message


def test_units() -> None:
    units: list[dict[str, Any]] = [
        {
            "name": "a.service",
            "enabled": True,
            "contents": "[Service]\nExecStart=/bin/a \\\n  --no-equals-sign\n# c\n;c\n\n",
        },
        {"name": "b.timer", "enabled": False},
        {"name": "c.socket", "mask": True, "contents": None},
        {
            "name": "getty@tty1.service",
            "dropins": [{"name": "10.conf", "contents": "[Service]\n"}, {"name": "20.conf"}],
        },
        {"name": "systemd-fsck@dev-disk-by\\x2dlabel-a.service", "contents": "", "mask": False},
    ]

    def origin(index: int) -> Origin:
        return Origin("node.ign", f"systemd.units[{index}]")

    assert read(ignition(systemd={"units": units})).units == (
        ConfigUnit("a.service", units[0]["contents"], True, None, (), origin(0)),
        ConfigUnit("b.timer", None, False, None, (), origin(1)),
        ConfigUnit("c.socket", None, None, True, (), origin(2)),
        ConfigUnit("getty@tty1.service", None, None, None, (DropIn("10.conf", "[Service]\n"),), origin(3)),
        ConfigUnit("systemd-fsck@dev-disk-by\\x2dlabel-a.service", None, None, False, (), origin(4)),
    )


@pytest.mark.parametrize(
    ("unit", "field", "said"),
    [
        ({"name": "a"}, "name", "not the name of a unit"),
        ({"name": "a.servic"}, "name", "not the name of a unit"),
        ({"name": "../a.service"}, "name", "not the name of a unit"),
        ({"name": "a b.service"}, "name", "not the name of a unit"),
        ({"name": ".service"}, "name", "not the name of a unit"),
        ({"enabled": True}, "", "the field name is missing"),
        ({"name": "a.service", "enabled": "yes"}, "enabled", "true or false, without quotes"),
        ({"name": "a.service", "enable": True}, "", "did you mean 'enabled'?"),
        ({"name": "a.service", "dropIns": []}, "", "did you mean 'dropins'?"),
        ({"name": "a.service", "contents": ["x"]}, "contents", "this is a list"),
        ({"name": "a.service", "contents": "[Service\nA=hunter2"}, "contents", "line 1 of the unit opens a section"),
        ({"name": "a.service", "contents": "[Service]\n\nhunter2\n"}, "contents", "line 3 of the unit is neither"),
        ({"name": "a.service", "contents": "[Service]\nA=\x00"}, "contents", "NUL"),
        ({"name": "a.service", "dropins": [{"name": "a"}]}, "dropins[0].name", "not the name of a drop-in"),
        ({"name": "a.service", "dropins": [{"name": "../a.conf"}]}, "dropins[0].name", "not the name of a drop-in"),
        ({"name": "a.service", "dropins": [{}]}, "dropins[0]", "the field name is missing"),
        ({"name": "a.service", "dropins": [{"name": "a.conf"}] * 2}, "dropins[1].name", "there already"),
    ],
)
def test_units_that_are_refused(unit: Any, field: str, said: str) -> None:
    refused = refusal(ignition(systemd={"units": [unit]}))
    assert refused.field == ".".join(part for part in ("systemd.units[0]", field) if part)
    assert said in refused.message


def test_a_unit_that_is_there_twice_is_refused() -> None:
    refused = refusal(ignition(systemd={"units": [{"name": "a.service"}, {"name": "a.service"}]}))
    assert str(refused) == (
        "node.ign: systemd.units[1].name: 'a.service' is there already, in systemd.units[0].name; keep one of the two"
    )


@pytest.mark.parametrize(
    "unit",
    [
        {"name": "a.service", "contents": "[Service]\n"},
        {"name": "a.service", "mask": True},
    ],
)
@pytest.mark.parametrize("kind", ["files", "links", "directories"])
def test_a_path_that_a_unit_takes_too_is_refused(unit: Any, kind: str) -> None:
    entry = {"path": "/etc/systemd/system/a.service", **({"target": "/dev/null"} if kind == "links" else {})}
    refused = refusal(ignition(storage={kind: [entry]}, systemd={"units": [unit]}))
    assert "is also written for the unit at node.ign: systemd.units[0]" in refused.message


def test_a_drop_in_below_a_link_is_refused() -> None:
    storage = {"links": [{"path": "/etc/systemd/system/a.service.d", "target": "/x"}]}
    unit = {"name": "a.service", "dropins": [{"name": "a.conf", "contents": "[Service]\n"}]}
    assert "which is a link by" in refusal(ignition(storage=storage, systemd={"units": [unit]})).message


def test_a_file_beside_a_unit_without_content_is_fine() -> None:
    unit = {"name": "a.service", "enabled": True, "dropins": [{"name": "a.conf", "contents": ""}]}
    found = read(ignition(storage={"files": [file("/etc/systemd/system/a.service")]}, systemd={"units": [unit]}))
    assert found.units[0].enabled
    assert found.units[0].dropins == ()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([KEY], (KEY,)),
        ([KEY + " core@example\n", "# two in one\n" + KEY], (KEY + " core@example", "# two in one", KEY)),
        ([KEY + "\n", KEY], (KEY,)),
    ],
)
def test_ssh_keys(keys: list[str], expected: tuple[str, ...]) -> None:
    found = read(ignition(passwd={"users": [{"name": "core", "sshAuthorizedKeys": keys}]}))
    assert found.ssh_keys == (SshKeys("core", expected, Origin("node.ign", "passwd.users[0]")),)
    assert found.unsupported == ()


@pytest.mark.parametrize(
    ("users", "field", "said"),
    [
        ([{"name": "core", "sshAuthorizedKeys": [KEY, KEY]}], "[0].sshAuthorizedKeys[1]", "this key is there already"),
        ([{"name": "core", "sshAuthorizedKeys": [" \n"]}], "[0].sshAuthorizedKeys[0]", "not an SSH public key"),
        (
            [{"name": "core", "sshAuthorizedKeys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"]}],
            "[0].sshAuthorizedKeys[0]",
            "this is a PRIVATE key",
        ),
        ([{"name": "core", "sshAuthorizedKeys": KEY}], "[0].sshAuthorizedKeys", "has to be a list"),
        ([{"name": "core", "ssh_authorized_keys": [KEY]}], "[0]", "did you mean 'sshAuthorizedKeys'?"),
        ([{"sshAuthorizedKeys": [KEY]}], "[0]", "the field name is missing"),
        ([{"name": "../core"}], "[0].name", "not the name of a user"),
        ([{"name": "core"}, {"name": "core"}], "[1].name", "there already"),
    ],
)
def test_users_that_are_refused(users: Any, field: str, said: str) -> None:
    refused = refusal(ignition(passwd={"users": users}))
    assert refused.field == f"passwd.users{field}"
    assert said in refused.message


def test_kernel_arguments() -> None:
    found = read(
        ignition(
            "3.3.0",
            kernelArguments={
                "shouldExist": ["nosmt=force", 'dyndbg="file a.c +p" quiet'],
                "shouldNotExist": ["rhgb", "debug=1"],
            },
        )
    )
    assert found.kernel_arguments == ("nosmt=force", 'dyndbg="file a.c +p"', "quiet")
    assert found.kernel_arguments_absent == ("rhgb", "debug=1")


@pytest.mark.parametrize(
    ("arguments", "field", "said"),
    [
        ({"shouldExist": ["a", "a"]}, "shouldExist[1]", "'a' is there already, in kernelArguments.shouldExist[0]"),
        ({"shouldExist": ["a"], "shouldNotExist": ["a"]}, "shouldNotExist[0]", "'a' is there already"),
        ({"shouldExist": [" "]}, "shouldExist[0]", "is empty"),
        ({"shouldExist": ['a="b c']}, "shouldExist[0]", "double quote is opened and never closed"),
        ({"shouldExist": ["a\x00"]}, "shouldExist[0]", "control character"),
        ({"shouldExist": ["=a"]}, "shouldExist[0]", "is not a kernel argument"),
        ({"shouldExist": "a"}, "shouldExist", "has to be a list"),
        ({"shouldexist": []}, "", "did you mean 'shouldExist'?"),
    ],
)
def test_kernel_arguments_that_are_refused(arguments: Any, field: str, said: str) -> None:
    refused = refusal(ignition(kernelArguments=arguments))
    assert refused.field == ".".join(part for part in ("kernelArguments", field) if part)
    assert said in refused.message


UNSUPPORTED: list[tuple[dict[str, Any], str, str]] = [
    (ignition(storage={"disks": [{"device": "/dev/sda"}]}), "storage.disks[0]", "storage.disks"),
    (ignition(storage={"raid": [{"name": "r"}]}), "storage.raid[0]", "storage.raid"),
    (ignition(storage={"filesystems": [{"device": "/dev/x"}]}), "storage.filesystems[0]", "storage.filesystems"),
    (ignition(storage={"luks": [{"name": "x"}]}), "storage.luks[0]", "storage.luks"),
    (
        with_source("data:,x") | {"storage": {"files": [{"path": "/a", "append": [{"source": "data:,x"}]}]}},
        "storage.files[0].append[0]",
        "storage.files.append",
    ),
    *(
        (with_source(source), "storage.files[0].contents.source", "storage.files.contents.source")
        for source in (
            *("http://h/x", "https://h/x", "tftp://h/x", "s3://b/x", "gs://b/x"),
            "arn:aws:s3:us-west-1:1:accesspoint/a/object/b",
        )
    ),
    (
        ignition(storage={"directories": [{"path": "/d", "overwrite": True}]}),
        "storage.directories[0].overwrite",
        "storage.directories.overwrite",
    ),
    (ignition(passwd={"groups": [{"name": "g"}]}), "passwd.groups[0]", "passwd.groups"),
    *(
        (
            ignition(passwd={"users": [{"name": "core", name: value}]}),
            f"passwd.users[0].{name}",
            f"passwd.users.{name}",
        )
        for name, value in {
            "passwordHash": "$6$hunter2",
            "uid": 0,
            "gecos": "x",
            "groups": ["wheel"],
            "primaryGroup": "g",
            "homeDir": "/h",
            "noCreateHome": True,
            "noUserGroup": True,
            "noLogInit": True,
            "shell": "/bin/sh",
            "system": True,
            "shouldExist": False,
        }.items()
    ),
    (ignition(passwd={"users": [{"name": "bob"}]}), "passwd.users[0]", "passwd.users"),
    *(
        (
            {"ignition": {"version": "3.4.0", "config": config}},
            f"ignition.config.{field}.source",
            f"ignition.config.{name}",
        )
        for config, field, name in (
            ({"merge": [{"source": "https://h/c.ign"}]}, "merge[0]", "merge"),
            ({"replace": {"source": "https://h/c.ign"}}, "replace", "replace"),
        )
    ),
    *(
        ({"ignition": {"version": "3.4.0", **section}}, field, pattern)
        for section, field, pattern in (
            (
                {"security": {"tls": {"certificateAuthorities": [{"source": "data:,x"}]}}},
                "ignition.security.tls.certificateAuthorities[0]",
                "ignition.security",
            ),
            ({"timeouts": {"httpTotal": 5}}, "ignition.timeouts.httpTotal", "ignition.timeouts"),
            (
                {"timeouts": {"httpResponseHeaders": 5}},
                "ignition.timeouts.httpResponseHeaders",
                "ignition.timeouts.httpResponseHeaders",
            ),
            ({"proxy": {"httpProxy": "http://p"}}, "ignition.proxy.httpProxy", "ignition.proxy"),
            ({"proxy": {"httpsProxy": "http://p"}}, "ignition.proxy.httpsProxy", "ignition"),
            ({"proxy": {"noProxy": ["h"]}}, "ignition.proxy.noProxy", "ignition.proxy.noProxy"),
        )
    ),
]


@pytest.mark.parametrize(
    ("config", "field", "pattern"), UNSUPPORTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_cannot_be_honoured_is_listed_and_may_be_accepted(config: Any, field: str, pattern: str) -> None:
    found = read(config)
    assert [(entry.origin, entry.accepted) for entry in found.unsupported] == [(Origin("node.ign", field), False)]
    assert SECRET not in found.unsupported[0].reason
    assert found.files == ()
    others = tuple(known for known in ACCEPTABLE_FIELDS if not known.startswith(pattern))
    assert [entry.accepted for entry in read(config, others).unsupported] == [False]
    assert [entry.accepted for entry in read(config, (pattern,)).unsupported] == [True]


def test_all_of_it_is_listed_at_once() -> None:
    config = ignition(
        storage={
            "disks": [{}, {}],
            "luks": [{}],
            "files": [file("/etc/kept", b"x"), {"path": "/etc/gone", "append": [{}]}],
        },
        passwd={"groups": [{}], "users": [{"name": "core", "uid": 5, "shell": "/bin/sh", "sshAuthorizedKeys": [KEY]}]},
    )
    found = read(config, ("storage.disks", "spec.config.passwd.users.uid"))
    assert [(entry.origin.field, entry.accepted) for entry in found.unsupported] == [
        ("storage.disks[0]", True),
        ("storage.disks[1]", True),
        ("storage.luks[0]", False),
        ("passwd.users[0].uid", True),
        ("passwd.users[0].shell", False),
        ("passwd.groups[0]", False),
        ("storage.files[1].append[0]", False),
    ]
    assert [entry.path for entry in found.files] == ["/etc/kept"]
    assert found.ssh_keys[0].keys == (KEY,)


@pytest.mark.parametrize(
    "user", [{"name": "core", "groups": [], "system": False, "uid": None, "shouldExist": True}, {"name": "root"}]
)
def test_what_is_so_anyway_is_not_unsupported(user: Any) -> None:
    assert read(ignition(passwd={"users": [user]})).unsupported == ()


@pytest.mark.parametrize("pattern", ["storage.disk", "disks", "", "*", "storage.files.path", "storage.disks.x"])
def test_only_what_can_be_left_out_is_acceptable(pattern: str) -> None:
    with pytest.raises(InvalidConfig, match="not a field that can be left out") as raised:
        read(ignition(), (pattern,))
    assert raised.value.field == "acceptable"


def nested(config: Any, **more: Any) -> dict[str, Any]:
    return {"source": base64_url(json.dumps(config).encode()), **more}


def test_configs_in_data_urls_are_merged_in_or_taken_instead() -> None:
    first = ignition("3.0.0", storage={"files": [file("/etc/a", b"1"), file("/etc/b", b"1")]})
    second = ignition("3.4.0", storage={"files": [file("/etc/b", b"2", mode=384)]})
    own = {"files": [file("/etc/a", b"0", mode=448)]}
    merged = {"ignition": {"version": "3.2.0", "config": {"merge": [nested(first), nested(second)]}}, "storage": own}
    assert [(entry.path, entry.content, entry.mode) for entry in read(merged).files] == [
        ("/etc/a", b"1", 0o700),
        ("/etc/b", b"2", 0o600),
    ]
    assert (
        str(read(merged).files[1].origin)
        == "node.ign (the config in ignition.config.merge[1].source): storage.files[0]"
    )
    replaced = {"ignition": {"version": "3.2.0", "config": {"replace": nested(first)}}, "storage": own}
    assert [(entry.path, entry.content, entry.mode) for entry in read(replaced).files] == [
        ("/etc/a", b"1", 0o644),
        ("/etc/b", b"1", 0o644),
    ]


@pytest.mark.parametrize(
    ("reference", "version", "said"),
    [
        ({"source": "data:,hunter2"}, "3.4.0", "the config in this URL is not JSON"),
        ({"source": base64_url(b"[" * 100_000)}, "3.4.0", "the config in this URL is not JSON"),
        ({"source": "data:,[]"}, "3.4.0", "position 0 of the data has to be percent-encoded"),
        ({"source": "data:,%5B%5D"}, "3.4.0", "this is a list, but has to be an object"),
        ({}, "3.4.0", "the field source is missing"),
        (nested(ignition(), compression="gzip"), "3.0.0", "exists from Ignition 3.1.0 on"),
        (nested(ignition("2.2.0")), "3.4.0", "convert it to 3.x"),
        (nested(ignition(storage={"file": []})), "3.4.0", "did you mean 'files'?"),
    ],
)
def test_nested_configs_that_are_refused(reference: Any, version: str, said: str) -> None:
    config = {"ignition": {"version": version, "config": {"merge": [reference]}}}
    assert said in refusal(config).message


def test_nesting_has_an_end() -> None:
    config = ignition(storage={"files": [file("/etc/a", b"deep")]})
    for _depth in range(8):
        config = {"ignition": {"version": "3.4.0", "config": {"merge": [nested(config)]}}}
    assert read(config).files[0].content == b"deep"
    config = {"ignition": {"version": "3.4.0", "config": {"merge": [nested(config)]}}}
    assert "more than 8 configs are nested in each other" in refusal(config).message


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        ({"variant": "fcos", "version": "1.5.0", "storage": {}}, "", "this is Butane"),
        ({"variant": "openshift", "version": "4.18.0", "metadata": {"name": "x"}}, "", "transpile it first"),
        ({"storage": {}}, "", "the field ignition is missing"),
        ({"ignition": None}, "", "the field ignition is missing"),
        ({"ignition": "3.4.0"}, "ignition", "this is a text"),
        (ignition(networkd={}), "", "from Ignition 2: put the network configuration"),
        (ignition(sytemd={}), "", "did you mean 'systemd'?"),
        ({"ignition": {"version": "3.4.0", "configs": {}}}, "ignition", "did you mean 'config'?"),
        (["x"], "", "the document is a list"),
        ("hunter2", "", "the document is a text"),
        (5, "", "the document is a number"),
    ],
)
def test_documents_that_are_refused(document: Any, field: str, said: str) -> None:
    refused = refusal(document)
    assert refused.field == field
    assert said in refused.message
