# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages, a kernel and a component of RPMs through layered_image_build, with a real dnf and a real registry."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from image_builder import Builder, tool
from lab import rpm_repository
from lab.registry import Registry
from lab.rpm_repository import Package

NO_TLS = "--tls-verify=false"


@pytest.fixture
def repository(rpm_repositories: Path, tmp_path: Path) -> Path:
    """A copy of the repository, to be changed."""
    return Path(shutil.copytree(rpm_repositories / "main", tmp_path / "repository"))


def kubelet(registry: Registry, repositories: Path, version: str) -> dict[str, Any]:
    """The component of a version: an image with nothing but RPMs in ``/rpms``."""
    container = tool("buildah", "from", "scratch").strip()
    root = Path(tool("buildah", "mount", container).strip())
    shutil.copytree(repositories / f"kubelet-{version}", root / "rpms")
    image = f"{registry.address}/components/kubelet-rpms:{version}"
    tool("buildah", "commit", "--quiet", "--timestamp=0", "--rm", container, f"localhost/kubelet:{version}")
    tool("buildah", "push", "--quiet", NO_TLS, f"localhost/kubelet:{version}", f"docker://{image}")
    return {"name": "kubelet", "image": image, "rpms": "/rpms", "tree": None, "dest": None, "version": version}


def layers(builder: Builder) -> list[str]:
    manifest = json.loads(tool("skopeo", "inspect", NO_TLS, "--raw", f"docker://{builder.image}"))
    return [layer["digest"] for layer in manifest["layers"]]


def installed(builder: Builder) -> set[str]:
    """Names and versions of the packages of the image under the tag."""
    container = tool("buildah", "from", "--pull-always", NO_TLS, builder.image).strip()
    try:
        root = tool("buildah", "mount", container).strip()
        return set(tool("chroot", root, "rpm", "-qa", "--qf", "%{NAME}-%{VERSION}\\n").split())
    finally:
        tool("buildah", "rm", container)


def options(base: str, repository: Path, **more: Any) -> dict[str, Any]:
    entries = [{"name": "lab", "baseurl": str(repository), "gpgcheck": False}]
    return {"base": base, "containerfile": None, "context": None, "repositories": entries, "checks": "warn", **more}


def test_an_image_made_of_packages(
    builder: Builder, registry: Registry, dnf_base_image: str, rpm_repositories: Path, repository: Path
) -> None:
    asked: dict[str, Any] = {"kernel_type": "realtime", "packages": ["jq"], "extensions": ["usbguard"]}
    old, new = (kubelet(registry, rpm_repositories, version) for version in ("1.33", "1.34"))
    first = builder.build(**options(dnf_base_image, repository, **asked, components=[old]))
    assert first["changed"]
    found = installed(builder)
    assert {"jq-1.6", "usbguard-1.0", "kubelet-1.33", "kernel-rt-core-5.14.0"} <= found
    assert "kernel-core-5.14.0" not in found
    before = layers(builder)
    assert not builder.build(**options(dnf_base_image, repository, **asked, components=[old]))["changed"]

    builder.build(**options(dnf_base_image, repository, **asked, components=[new]))
    assert "kubelet-1.34" in installed(builder)
    differing = [number for number, (one, other) in enumerate(zip(before, layers(builder))) if one != other]
    assert differing == [len(before) - 1]


def test_packages_that_changed_are_taken_anew(builder: Builder, dnf_base_image: str, repository: Path) -> None:
    asked = options(dnf_base_image, repository, packages=["jq"])
    builder.build(**asked)
    rpm_repository.build([Package("jq", "1.7", requires=["oniguruma"])], repository, builder.directory / "rpmbuild")
    rpm_repository.index(repository)
    assert builder.build(True, **asked)["changed"]
    builder.build(**asked)
    assert "jq-1.7" in installed(builder)


def test_a_package_that_no_repository_has(builder: Builder, dnf_base_image: str, repository: Path) -> None:
    outcome = builder.outcome(**options(dnf_base_image, repository, packages=["jq", "nosuch"]))
    assert outcome.failed
    failure = outcome.result["failure"]
    assert failure["category"] == "dependency"
    assert "No match for argument: nosuch" in failure["message"]
    assert not failure["retryable"]
    assert "imagemode: dependency" in "\n".join(failure["excerpt"])
    inspected = subprocess.run(
        ["skopeo", "inspect", NO_TLS, f"docker://{builder.image}"], capture_output=True, check=False
    )
    assert inspected.returncode
