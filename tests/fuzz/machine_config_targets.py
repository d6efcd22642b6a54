# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and clusters hand over for hosts: MachineConfigs, Ignition configs, and the data: URLs in them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.data_url import InvalidDataUrl, decode_data_url
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import InvalidConfig, MergedConfig
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_merge import merge

from fuzz import json_mutation
from fuzz.choices import Choices

SECRET = "zq7-what-a-file-contains-zq7"

_URL_PIECES = (
    *("data:", "data:,", ",", ";", "base64", ";base64,", "text/plain", ";charset=utf-8", '="', '\\"', "%", "%2", "%20"),
    *("aGk=", "=", "==", "+/", "-_", "\n", "https://h/", "\x00", "é"),
)

_NESTED = json.dumps({"ignition": {"version": "3.1.0"}, "storage": {"files": [{"path": "/etc/n", "mode": 384}]}})


def _url(data: bytes) -> str:
    return f"data:;base64,{base64.b64encode(data).decode()}"


_CONFIG: dict[str, Any] = {
    "ignition": {
        "version": "3.4.0",
        "config": {"merge": [{"source": _url(_NESTED.encode())}]},
        "timeouts": {"httpTotal": 1},
    },
    "kernelArguments": {"shouldExist": ["nosmt=force", 'dyndbg="file a +p"'], "shouldNotExist": ["rhgb"]},
    "passwd": {
        "users": [{"name": "core", "sshAuthorizedKeys": [f"ssh-rsa {SECRET}"], "uid": 1}],
        "groups": [{"name": "g"}],
    },
    "storage": {
        "directories": [{"path": "/etc/d", "mode": 493, "overwrite": True}],
        "disks": [{"device": "/dev/sda"}],
        "files": [
            {
                "path": "/etc/a",
                "mode": 420,
                "user": {"id": 0},
                "group": {"name": "root"},
                "overwrite": True,
                "contents": {
                    "source": _url(gzip.compress(SECRET.encode(), mtime=0)),
                    "compression": "gzip",
                    "verification": {"hash": f"sha256-{hashlib.sha256(SECRET.encode()).hexdigest()}"},
                },
            },
            {"path": "/etc/b", "contents": {"source": f"data:,{SECRET}"}, "append": [{"source": f"data:,{SECRET}"}]},
        ],
        "links": [{"path": "/etc/l", "target": "/etc/a", "hard": True}],
    },
    "systemd": {
        "units": [
            {
                "name": "a.service",
                "enabled": True,
                "mask": False,
                "contents": f"[Service]\nEnvironment={SECRET}\n",
                "dropins": [{"name": "a.conf", "contents": f"[Service]\nEnvironment={SECRET}\n"}],
            }
        ]
    },
}

_DOCUMENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": {
                "name": name,
                "labels": {"machineconfiguration.openshift.io/role": "worker"},
                "annotations": {},
            },
            "spec": {
                "config": _CONFIG,
                "kernelArguments": ["quiet", "a=1 b"],
                "extensions": ["usbguard"],
                "kernelType": "realtime",
                "fips": True,
                "osImageURL": "registry.example.com/os:1",
            },
        }
        for name in ("00-worker", "99-worker")
    ],
}


def machine_config(data: bytes) -> None:
    """merge: a config whose parts fit together, or InvalidConfig, which shows nothing of any file."""
    choices = Choices(data)
    document = choices.of((_DOCUMENT, _CONFIG))
    mutated = json_mutation.mutated(json.loads(json.dumps(document)), choices, at_most=3)
    acceptable = choices.of(((), ("storage.disks", "passwd"), (choices.text(),)))
    try:
        found = merge([("a.yaml", mutated)], choices.of(("worker", "worker", "infra", choices.text())), acceptable)
    except InvalidConfig as refusal:
        _shows_no_content(str(refusal), mutated)
        return
    _sound(found)
    for entry in found.unsupported:
        _shows_no_content(f"{entry.origin} {entry.reason}", mutated)


def data_url(data: bytes) -> None:
    """decode_data_url: bytes that the same URL in its plainest form gives again, or InvalidDataUrl."""
    choices = Choices(data)
    pieces = [choices.of(_URL_PIECES) if choices.number(5) else choices.text() for _turn in range(choices.number(9))]
    try:
        decoded = decode_data_url("".join(pieces))
    except InvalidDataUrl as refusal:
        repr(str(refusal)).encode()
        return
    assert decode_data_url(_url(decoded)) == decoded


def _sound(found: MergedConfig) -> None:
    paths = [entry.path for kind in (found.files, found.directories, found.links) for entry in kind]
    assert len(paths) == len(set(paths)), "a path with two owners"
    for path in paths:
        assert path.startswith("/"), path
        assert path.isprintable()
        assert not {"", ".", ".."} & set(path[1:].split("/")), path
    assert all(0 <= entry.mode <= 0o777 for kind in (found.files, found.directories) for entry in kind)
    assert all("/" not in unit.name and dropin.contents for unit in found.units for dropin in unit.dropins)
    assert all("\n" not in key for entry in found.ssh_keys for key in entry.keys)
    assert not set(found.kernel_arguments) & set(found.kernel_arguments_absent)
    assert found.kernel_type in ("default", "realtime", "64k-pages")


def _shows_no_content(message: str, document: Any) -> None:
    """Names and paths are shown; a mutation that made the secret one of those proves nothing."""
    message.encode()
    if SECRET in message and not any(SECRET in str(name) for name in _names(document)):
        raise AssertionError("a message shows what a file contains")


def _names(value: Any, field: Any = None) -> Iterator[Any]:
    """Every key, and every scalar which is not in a field that carries content."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from _names(below, key)
    elif isinstance(value, list):
        for below in value:
            yield from _names(below, field)
    elif field not in ("contents", "source", "sshAuthorizedKeys"):
        yield value
