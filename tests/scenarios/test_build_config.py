# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine config from its documents to a pushed image: what is in it, what is not, and that both are looked at."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_rendering import render_machine_config
from image_builder import Builder, tool

PASSWORD = "aHVudGVyMjpodW50ZXIy" + "LWZsZWV0"


def data(text: str) -> str:
    return "data:;base64," + base64.b64encode(text.encode()).decode()


def file(path: str, text: str, mode: int = 0o644, **more: Any) -> dict[str, Any]:
    return {"path": path, "mode": mode, "contents": {"source": data(text)}, **more}


def machine_config(name: str, **spec: Any) -> dict[str, Any]:
    config = {"ignition": {"version": "3.4.0"}, **spec.pop("config", {})}
    return {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {"machineconfiguration.openshift.io/role": "worker"}},
        "spec": {"config": config, **spec},
    }


KUBELET = "[Service]\nExecStart=/usr/bin/kubelet\n[Install]\nWantedBy=multi-user.target\n"
PULL_SECRET = json.dumps({"auths": {"registry.example.com": {"auth": PASSWORD}}})


def documents(limit: str = "10") -> list[dict[str, Any]]:
    return [
        machine_config(
            "00-worker",
            config={
                "storage": {
                    "files": [
                        file("/etc/crio/crio.conf.d/00-default", f"[crio]\nlimit = {limit}\n"),
                        file("/etc/sudoers.d/fleet", "%fleet ALL=(ALL) ALL\n", 0o640),
                        file("/var/lib/kubelet/config.json", PULL_SECRET, 0o600),
                        file("/usr/local/bin/setup.sh", "#!/bin/sh\ntrue\n", 0o755),
                        file("/opt/agent/conf", "agent\n"),
                        file("/etc/crio/owned", "by number\n", 0o644, user={"id": 12}, group={"id": 34}),
                    ],
                    "links": [{"path": "/etc/localtime", "target": "../usr/share/zoneinfo/UTC"}],
                },
                "systemd": {
                    "units": [
                        {"name": "kubelet.service", "enabled": True, "contents": KUBELET},
                        {"name": "zincati.service", "mask": True},
                    ]
                },
                "passwd": {
                    "users": [{"name": "core", "sshAuthorizedKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA fleet"]}]
                },
            },
            kernelArguments=["nosmt"],
        )
    ]


def render(builder: Builder, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Write a rendered directory; its options as for layered_image_build."""
    dest = builder.directory / "rendered"
    params = {
        "sources": [],
        "documents": found,
        "role": "worker",
        "dest": str(dest),
        "acceptable": [],
        "disruption_policy": {},
        "owners": {},
        "var_links": {"/usr/local": None},
        "architecture": None,
        "ssh_keys_file": "authorized_keys.d/ignition",
    }
    outcome = render_machine_config(params, False, lambda text: list(yaml.safe_load_all(text)))
    assert not outcome.failed, outcome.result
    return {"machine_config": str(dest)}


def test_a_pools_machine_config_is_in_the_image_and_its_secrets_are_not(builder: Builder) -> None:
    result = builder.build(**render(builder, documents()))
    container = tool("buildah", "from", "--pull-always", "--tls-verify=false", builder.image).strip()
    root = Path(tool("buildah", "mount", container).strip())
    try:
        assert (root / "etc/crio/crio.conf.d/00-default").read_text() == "[crio]\nlimit = 10\n"
        assert (root / "etc/sudoers.d/fleet").stat().st_mode & 0o777 == 0o640
        owned = (root / "etc/crio/owned").stat()
        assert (owned.st_uid, owned.st_gid) == (12, 34)
        assert (root / "usr/lib/systemd/system/kubelet.service").read_text() == KUBELET
        wants = root / "etc/systemd/system/multi-user.target.wants/kubelet.service"
        assert wants.readlink() == Path("/usr/lib/systemd/system/kubelet.service")
        assert (root / "etc/systemd/system/zincati.service").readlink() == Path("/dev/null")
        assert (root / "etc/localtime").readlink() == Path("../usr/share/zoneinfo/UTC")
        assert "nosmt" in (root / "usr/lib/bootc/kargs.d/50-machine-config.toml").read_text()
        assert (root / "usr/local/bin/setup.sh").stat().st_mode & 0o777 == 0o755
        assert "/var/opt/agent/conf" in (root / "usr/lib/tmpfiles.d/imagemode-config.conf").read_text()
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 100_000:
                text = path.read_text("latin1")
                assert PASSWORD not in text, path
                assert "AAAAC3NzaC1lZDI1NTE5AAAA" not in text, path
    finally:
        tool("buildah", "rm", container)
    assert builder.build(**render(builder, documents()))["changed"] is False
    assert result["changed"] is True


def test_a_change_of_a_file_pushes_almost_nothing(builder: Builder) -> None:
    builder.build(**render(builder, documents()))
    second = builder.build(**render(builder, documents("20")))
    assert second["changed_inputs"] == ["machine_config"]
    raw = json.loads(tool("skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{builder.image}"))
    assert second["pushed_bytes"] < sum(layer["size"] for layer in raw["layers"]) / 100


def test_a_hosts_file_builds_nothing(builder: Builder) -> None:
    builder.build(**render(builder, documents()))
    other = documents()
    users = other[0]["spec"]["config"]["passwd"]["users"]
    users[0]["sshAuthorizedKeys"] = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5BBBB other"]
    assert builder.build(**render(builder, other))["changed"] is False


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("RUN echo other > /etc/crio/crio.conf.d/00-default\n", "/etc/crio/crio.conf.d/00-default"),
        ("RUN chmod 0666 /etc/sudoers.d/fleet\n", "/etc/sudoers.d/fleet"),
        ("RUN rm /etc/systemd/system/multi-user.target.wants/kubelet.service\n", "kubelet.service"),
        ("RUN rm /etc/localtime && ln -s /tmp /etc/localtime\n", "/etc/localtime"),
        ("RUN rm /etc/systemd/system/zincati.service\n", "zincati.service"),
    ],
)
def test_what_changes_the_configuration_afterwards_is_found_before_the_push(
    builder: Builder, text: str, path: str
) -> None:
    outcome = builder.outcome(containerfile_final_content=text, **render(builder, documents()))
    assert outcome.failed
    failure = outcome.result["failure"]
    assert failure["category"] == "verify"
    assert path in failure["message"]
    assert builder.registry.tags(builder.name) == []


def test_a_directory_that_was_not_rendered_is_refused(builder: Builder, tmp_path: Path) -> None:
    options = render(builder, documents())
    (tmp_path / "rendered/image/etc/crio/crio.conf.d/00-default").write_text("tampered\n")
    failure = builder.outcome(**options).result["failure"]
    assert (failure["category"], "was changed after it was rendered" in failure["message"]) == ("input", True)
    failure = builder.outcome(machine_config=str(tmp_path)).result["failure"]
    assert (failure["category"], "machine_config_render" in failure["message"]) == ("input", True)


def test_a_secret_of_the_documents_that_comes_in_by_the_context_is_found(builder: Builder) -> None:
    (builder.context / "worker.yaml").write_text(yaml.safe_dump_all(documents()))
    builder.containerfile.write_text("COPY worker.yaml /etc/worker.yaml\n")
    failure = builder.outcome(**render(builder, documents())).result["failure"]
    assert failure["category"] == "leak"
    assert "/var/lib/kubelet/config.json in the machine config" in failure["message"]
    assert "/etc/worker.yaml" in failure["message"]
