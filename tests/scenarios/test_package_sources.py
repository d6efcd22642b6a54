# SPDX-License-Identifier: GPL-3.0-or-later
"""Where packages come from: repositories with a private CA, entitlement certificates, and nothing of it in a layer."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.entitlement import Entitlement
from ansible_collections.imagemode.nodes.plugins.module_utils._build.repositories import Repositories
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_steps import package_steps
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_script import script_failure
from lab.authority import Authority
from repository_server import served
from step_build import BUILDAH, SKOPEO, Built, build

BASE = "localhost/base:1"


@dataclasses.dataclass(frozen=True)
class Server:
    """A repository behind TLS, and what a client needs to be let in."""

    address: str
    authority: Authority
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def storage(dnf_base_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A container storage of its own with the base in it."""
    directory = tmp_path_factory.mktemp("sources")
    configuration = directory / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))
        copy = [SKOPEO, "copy", "--quiet", f"oci:{dnf_base_layout}:base", f"containers-storage:{BASE}"]
        subprocess.run(copy, check=True, capture_output=True)
        yield directory
        subprocess.run([BUILDAH, "rmi", "--all", "--force"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def guarded(rpm_repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The repository for clients with a certificate only."""
    directory = tmp_path_factory.mktemp("guarded")
    authority = Authority.create(directory / "ca")
    clients = Authority.create(directory / "clients", ("customer",), "Lab Customers")
    (directory / "client").mkdir()
    certificate, key = clients.issue(directory / "client")
    with served(rpm_repositories / "main", authority, directory / "server", clients) as address:
        yield Server(address, authority, certificate, key)


@pytest.fixture
def entitled(guarded: Server, tmp_path: Path) -> Path:
    """A directory with an entitlement for the guarded repository, as a vendor's tool lays it out."""
    directory = tmp_path / "entitlement"
    (directory / "etc-pki-entitlement").mkdir(parents=True)
    (directory / "rhsm" / "ca").mkdir(parents=True)
    (directory / "etc-pki-entitlement" / "4711.pem").write_bytes(guarded.certificate.read_bytes())
    (directory / "etc-pki-entitlement" / "4711-key.pem").write_bytes(guarded.key.read_bytes())
    (directory / "rhsm" / "ca" / "redhat-uep.pem").write_bytes(guarded.authority.certificate.read_bytes())
    (directory / "redhat.repo").write_text(
        f"[vendor]\nname=vendor\nbaseurl={guarded.address}\nenabled=1\ngpgcheck=0\nsslverify=1\n"
        "sslcacert=/etc/rhsm/ca/redhat-uep.pem\n"
        "sslclientcert=/etc/pki/entitlement/4711.pem\nsslclientkey=/etc/pki/entitlement/4711-key.pem\n"
    )
    return directory


def install(work: Path, repositories: Repositories, entitlement: Entitlement, name: str = "jq") -> Built:
    volumes = [*repositories.volumes(work / "private"), *entitlement.volumes(work / "private")]
    steps = package_steps([name], [], {}, None, "linux/amd64")
    mounts = [(str(source), f"{target}:ro,Z") for source, target in volumes]
    return build(BASE, steps, work, f"{work.name.replace('_', '-').lower()}built", mounts, ["--no-cache"])


def assert_clean(built: Built, storage: Path, *secrets: bytes) -> None:
    """What was installed is there; no secret is in any layer, and no repository or certificate has content."""
    assert built.exit_code == 0, built.output
    layers = built.layers(storage / "graph")
    assert layers
    for layer in layers:
        assert "/usr/bin/jq" in layer
        for path, content in layer.items():
            assert not any(secret in content for secret in secrets), path
            if path.startswith(("/etc/yum.repos.d/", "/etc/pki/", "/etc/rhsm/")):
                assert content == b"", path


class TestRepositories:
    def test_a_private_ca(self, storage: Path, rpm_repositories: Path, tmp_path: Path) -> None:
        authority = Authority.create(tmp_path / "ca")
        with served(rpm_repositories / "main", authority, tmp_path / "server") as address:
            option = {"name": "lab", "baseurl": address, "gpgcheck": False}
            repositories = Repositories.of([option], authority.certificate)
            assert_clean(install(tmp_path, repositories, Entitlement()), storage, b"BEGIN CERTIFICATE")
            with pytest.raises(BuildError) as raised:
                Repositories.of([option], None)
        assert raised.value.failure.category is FailureCategory.DEPENDENCY
        assert "sslcacert" in raised.value.failure.message
        assert not raised.value.failure.retryable

    def test_a_client_certificate(self, storage: Path, guarded: Server, tmp_path: Path) -> None:
        option = {
            "name": "lab",
            "baseurl": guarded.address,
            "gpgcheck": False,
            "sslcacert": str(guarded.authority.certificate),
            "sslclientcert": str(guarded.certificate),
            "sslclientkey": str(guarded.key),
        }
        repositories = Repositories.of([option], None)
        key = guarded.key.read_bytes().strip()
        assert repositories.secrets() == {"repository lab: sslclientkey": key}
        assert_clean(install(tmp_path, repositories, Entitlement()), storage, key)

    def test_a_server_that_went_away_is_named_by_dnf(
        self, storage: Path, rpm_repositories: Path, tmp_path: Path
    ) -> None:
        authority = Authority.create(tmp_path / "ca")
        with served(rpm_repositories / "main", authority, tmp_path / "server") as address:
            option = {"name": "lab", "baseurl": address, "gpgcheck": False}
            repositories = Repositories.of([option], authority.certificate)
        done = install(tmp_path, repositories, Entitlement())
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.DEPENDENCY
        assert f"connect to server for {address}" in message
        with pytest.raises(BuildError) as raised:
            Repositories.of([option], authority.certificate)
        assert raised.value.failure.retryable

    def test_a_repo_file_beside_others(self, storage: Path, rpm_repositories: Path, tmp_path: Path) -> None:
        """The build sees these repositories and no others."""
        (tmp_path / "one.repo").write_text("[one]\nname=one\nbaseurl=http://127.0.0.1:9/\nenabled=0\n")
        options: list[dict[str, object]] = [
            {"name": "one", "file": str(tmp_path / "one.repo"), "snapshot": "2026-11-20"},
            {"name": "lab", "baseurl": str(rpm_repositories / "main"), "gpgcheck": False},
        ]
        assert_clean(install(tmp_path, Repositories.of(options, None), Entitlement()), storage)


class TestEntitlement:
    def test_a_vendors_repository(self, storage: Path, entitled: Path, tmp_path: Path) -> None:
        entitlement = Entitlement.of(str(entitled))
        built = install(tmp_path, Repositories(), entitlement)
        assert_clean(built, storage, *entitlement.secrets().values(), b"BEGIN CERTIFICATE")

    def test_beside_repositories_of_ones_own(
        self, storage: Path, entitled: Path, rpm_repositories: Path, tmp_path: Path
    ) -> None:
        own = {"name": "own", "baseurl": str(rpm_repositories / "signed"), "gpgcheck": False}
        built = install(tmp_path, Repositories.of([own], None), Entitlement.of(str(entitled)))
        assert_clean(built, storage)

    def test_without_it_the_vendor_refuses(self, storage: Path, entitled: Path, tmp_path: Path) -> None:
        option = {"name": "vendor", "file": str(entitled / "redhat.repo"), "snapshot": "1"}
        done = install(tmp_path, Repositories.of([option], None), Entitlement())
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.DEPENDENCY
        assert "certificate" in message.lower() or "CA cert" in message
