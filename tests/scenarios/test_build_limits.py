# SPDX-License-Identifier: GPL-3.0-or-later
"""What builds within a cluster cannot do or get wrong, where no other test of this collection's build happens to hold it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.publication import Publication
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry as Skopeo
from image_builder import Builder, tool
from lab.authority import Authority
from lab.images import build_base
from test_build_config import documents, file, machine_config, render

NO_TLS = "--tls-verify=false"


def read(builder: Builder, *paths: str) -> list[bytes]:
    """Files of the image under the tag."""
    container = tool("buildah", "from", "--pull-always", NO_TLS, builder.image).strip()
    try:
        root = Path(tool("buildah", "mount", container).strip())
        return [(root / path.lstrip("/")).read_bytes() for path in paths]
    finally:
        tool("buildah", "rm", container)


def configuration(builder: Builder) -> dict[str, Any]:
    return dict(json.loads(tool("skopeo", "inspect", "--config", NO_TLS, f"docker://{builder.image}"))["config"])


def test_a_configuration_of_several_megabytes(builder: Builder) -> None:
    text = "".join(f"{number:07}\n" for number in range(400_000))
    storage = {"files": [file("/usr/share/fleet/table", text)]}
    builder.build(**render(builder, [machine_config("50-large", config={"storage": storage})]))
    assert read(builder, "/usr/share/fleet/table") == [text.encode()]


def test_no_whole_machine_config_is_in_the_image(builder: Builder) -> None:
    builder.build(**render(builder, documents()))
    container = tool("buildah", "from", "--pull-always", NO_TLS, builder.image).strip()
    root = Path(tool("buildah", "mount", container).strip())
    try:
        assert not (root / "etc/machine-config-daemon").exists()
        assert not list(root.glob("etc/ignition*"))
        found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        marks = (b"ignitionVersion", b'"ignition"', b"MachineConfig", b"machineconfiguration")
        assert [str(path) for path in found if any(mark in path.read_bytes() for mark in marks)] == []
    finally:
        tool("buildah", "rm", container)


def test_kernel_extensions_and_fips_of_a_machine_config(
    builder: Builder, dnf_base_image: str, rpm_repositories: Path
) -> None:
    config = machine_config("50-kernel", kernelType="realtime", extensions=["usbguard"], fips=True)
    options = {
        **render(builder, [config]),
        "base": dnf_base_image,
        "containerfile": None,
        "context": None,
        "packages": ["crypto-policies-scripts"],
        "repositories": [{"name": "lab", "baseurl": str(rpm_repositories / "main"), "gpgcheck": False}],
        "checks": "warn",
    }
    builder.build(**options)
    policy, kargs, _unit = read(
        builder,
        "/etc/crypto-policies/config",
        "/usr/lib/bootc/kargs.d/50-machine-config.toml",
        "/usr/lib/systemd/system/usbguard.service",
    )
    assert (policy, b"fips=1" in kargs) == (b"FIPS\n", True)
    container = tool("buildah", "from", "--pull-always", NO_TLS, builder.image).strip()
    modules = Path(tool("buildah", "mount", container).strip()) / "usr/lib/modules"
    try:
        assert [directory.name.rpartition("+")[2] for directory in modules.iterdir()] == ["rt"]
    finally:
        tool("buildah", "rm", container)

    failure = builder.outcome(**{**options, "kernel_type": "64k-pages"}).result["failure"]
    assert failure["category"] == "input"
    assert "64k-pages, but the machine config says realtime" in failure["message"]


def test_a_step_that_fails_runs_once(builder: Builder) -> None:
    builder.containerfile.write_text("RUN echo attempt; exit 3\n")
    outcome = builder.outcome()
    log = Path(outcome.result["failure"]["log"]).read_text()
    assert [line for line in log.splitlines() if line == "attempt"] == ["attempt"]
    assert [command[1] for command in outcome.result["commands"]].count("build") == 1


def test_a_mirror_serves_the_base(builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's own registries.conf counts, and the image says where its base is from, not who had a copy."""
    address = builder.registry.address
    conf = tmp_path / ".config" / "containers" / "registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        '[[registry]]\nlocation = "vendor.invalid"\n'
        f'[[registry.mirror]]\nlocation = "{address}"\ninsecure = true\n'
        f'[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    result = builder.build(base="vendor.invalid/os:base", validate_certs=None)
    assert result["base"] == f"vendor.invalid/os@{builder.registry.digest('os', 'base')}"
    assert configuration(builder)["Labels"]["org.opencontainers.image.base.name"] == "vendor.invalid/os:base"


def test_a_proxy_is_used_and_stays_out_of_key_and_image(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.containerfile.write_text('RUN test "${HTTPS_PROXY##*@}" = proxy.invalid:3128\n')
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.invalid:3128")
    builder.build()
    monkeypatch.delenv("HTTPS_PROXY")
    assert builder.build(True)["changed"] is False
    document = tool("skopeo", "inspect", "--config", NO_TLS, f"docker://{builder.image}")
    assert "hush" not in document
    assert "proxy.invalid" not in json.dumps(json.loads(document)["config"])


def test_the_bundle_of_authorities_is_an_input(builder: Builder, tmp_path: Path) -> None:
    builder.build()
    authority = Authority.create(tmp_path / "ca")
    predicted = builder.build(True, ca_file=str(authority.certificate))
    assert predicted["changed_inputs"] == ["ca_file"]


def test_an_input_that_is_said_twice_or_in_another_order_is_the_same(builder: Builder) -> None:
    first = builder.params(labels={"a": "1", "b": "2"}, packages=["jq", "tcpdump"], extensions=["usbguard", "ipsec"])
    other = builder.params(
        labels={"b": "2", "a": "1"}, packages=["tcpdump", "jq", "jq"], extensions=["ipsec", "usbguard"]
    )
    keys = [builder.build(True, **options)["input_key"] for options in (first, other)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("owner", "method", "second_tag", "says"),
    [
        pytest.param(Publication, "_push_images", True, "was pushed as sha256:", id="the second tag"),
        pytest.param(Skopeo, "copy", False, "should now be sha256:", id="the tag itself"),
    ],
)
def test_what_somebody_else_pushes_meanwhile_is_not_taken_for_ours(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, second_tag: bool, says: str
) -> None:
    """A registry keeps no lock on a tag: what arrived is read back, and compared."""
    tag = f"1-{builder.build(True)['input_key'][:12]}" if second_tag else "1"
    plain = getattr(owner, method)

    def interfered(*args: Any, **kwargs: Any) -> Any:
        result = plain(*args, **kwargs)
        build_base(builder.registry.address, builder.name, tag, version="6.6.6")
        return result

    monkeypatch.setattr(owner, method, interfered)
    failure = builder.outcome().result["failure"]
    assert failure["category"] == "push"
    assert says in failure["message"]
    assert "somebody else pushed to this tag at the same time" in failure["message"]
    if second_tag:
        assert builder.registry.digest(builder.name, "1") is None
