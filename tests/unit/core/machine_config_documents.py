# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents for tests, shaped as people and clusters write them."""

from __future__ import annotations

import base64
import gzip
from typing import Any

CHRONY = b"server 192.0.2.1 iburst\ndriftfile /var/lib/chrony/drift\nmakestep 1.0 3\n"
REGISTRIES = b'unqualified-search-registries = ["registry.example.com"]\n'
SCRIPT = b"#!/bin/bash\nset -euo pipefail\nexec /usr/bin/ethtool -K eth0 gro off # 100%\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExam"
KUBELET = (
    "[Unit]\nDescription=Kubelet\n"
    "[Service]\nExecStart=/usr/bin/kubelet \\\n  --config=/etc/kubernetes/kubelet.conf\n"
    "[Install]\nWantedBy=multi-user.target\n"
)


def base64_url(data: bytes, mediatype: str = "text/plain;charset=utf-8") -> str:
    return f"data:{mediatype};base64,{base64.b64encode(data).decode()}"


def percent_url(data: bytes) -> str:
    return "data:," + "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"%{byte:02X}" for byte in data
    )


def gzip_url(data: bytes) -> str:
    return base64_url(gzip.compress(data, mtime=0), "")


def ignition(version: str = "3.4.0", **sections: Any) -> dict[str, Any]:
    return {"ignition": {"version": version}, **sections}


def machine_config(
    name: str, config: dict[str, Any] | None = None, role: str | None = "worker", **spec: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if role is not None:
        metadata["labels"] = {"machineconfiguration.openshift.io/role": role}
    if config is not None:
        spec["config"] = config
    return {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": metadata,
        "spec": spec,
    }


def file(path: str, data: bytes | None = None, **more: Any) -> dict[str, Any]:
    return {"path": path, **({} if data is None else {"contents": {"source": base64_url(data)}}), **more}


def generated(document: dict[str, Any]) -> dict[str, Any]:
    """As exported from a cluster that made it."""
    document["metadata"].update(
        {
            "annotations": {"machineconfiguration.openshift.io/generated-by-controller-version": "7ff337a4"},
            "creationTimestamp": "2026-08-20T20:04:03Z",
            "generation": 1,
            "ownerReferences": [
                {"apiVersion": document["apiVersion"], "kind": "ControllerConfig", "name": "c", "uid": "u"}
            ],
            "resourceVersion": "9731",
            "uid": "7c2e",
        }
    )
    return document


def base_worker() -> dict[str, Any]:
    """A 00-worker as a cluster exports it, with the empty objects that a Go program writes."""
    config: dict[str, Any] = {
        "ignition": {
            "version": "3.5.0",
            "config": {"replace": {"verification": {}}},
            "proxy": {},
            "security": {"tls": {}},
            "timeouts": {},
        },
        "kernelArguments": {},
        "passwd": {},
        "storage": {
            "files": [
                {
                    "group": {},
                    "user": {},
                    "overwrite": True,
                    "path": "/etc/containers/registries.conf",
                    "contents": {"compression": "", "source": percent_url(REGISTRIES), "verification": {}},
                    "mode": 420,
                },
                {
                    "path": "/usr/local/bin/configure-nic.sh",
                    "overwrite": True,
                    "contents": {"compression": "gzip", "source": gzip_url(SCRIPT)},
                    "mode": 493,
                },
                {"path": "/etc/kubernetes/kubelet.conf", "contents": {"source": "data:,"}, "mode": 384},
            ]
        },
        "systemd": {
            "units": [
                {
                    "name": "kubelet.service",
                    "enabled": True,
                    "contents": KUBELET,
                    "dropins": [
                        {"name": "10-mco-default-env.conf", "contents": ""},
                        {"name": "20-logging.conf", "contents": '[Service]\nEnvironment="KUBELET_LOG_LEVEL=2"\n'},
                    ],
                },
                {"name": "docker.socket", "mask": True},
                {
                    "name": "crio.service",
                    "dropins": [{"name": "10-mco-profile-unix-socket.conf", "contents": "# none\n"}],
                },
            ]
        },
    }
    spec: dict[str, Any] = {
        "baseOSExtensionsContainerImage": "registry.example.com/extensions@sha256:" + "e" * 64,
        "extensions": None,
        "fips": False,
        "kernelArguments": None,
        "kernelType": "",
        "osImageURL": "registry.example.com/os@sha256:" + "a" * 64,
    }
    return generated(machine_config("00-worker", config, **spec))
