# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entitlement a build gets: the host's, one from a directory, or none, and what is said about it."""

from __future__ import annotations

import datetime
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.entitlement import Entitlement
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
LATER = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=90)


def certificate(directory: Path, serial: str, days: int = 30) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"-keyout={serial}-key.pem", f"-out={serial}.pem"]
    argv = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=lab", "-days", str(days)]
    argv += [word for name in names for word in name.split("=")]
    subprocess.run(argv, cwd=directory, check=True, capture_output=True)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root directory of a host that is subscribed."""
    certificate(tmp_path / "host/etc/pki/entitlement", "4711")
    (tmp_path / "host/etc/rhsm/ca").mkdir(parents=True)
    (tmp_path / "host/etc/rhsm/ca/redhat-uep.pem").write_text("ca")
    (tmp_path / "host/etc/yum.repos.d").mkdir()
    (tmp_path / "host/etc/yum.repos.d/redhat.repo").write_text("[vendor]\n")
    return tmp_path / "host"


class TestHost:
    def test_what_is_there_is_copied_for_this_user_alone(self, host: Path, tmp_path: Path) -> None:
        found = Entitlement.of("auto", host)
        staging = tmp_path / "staging"
        volumes = found.volumes(staging)
        assert volumes == found.volumes(staging)
        assert {target: source for source, target in volumes} == {
            "/etc/pki/entitlement": staging / "entitlement/pki",
            "/etc/rhsm": staging / "entitlement/rhsm",
            "/etc/yum.repos.d/redhat.repo": staging / "entitlement/redhat.repo",
        }
        assert sorted(path.name for path in (staging / "entitlement/pki").iterdir()) == ["4711-key.pem", "4711.pem"]
        assert (staging / "entitlement/rhsm/ca/redhat-uep.pem").read_text() == "ca"
        for path in staging.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        key = (host / "etc/pki/entitlement/4711-key.pem").read_bytes().strip()
        assert found.secrets() == {"entitlement 4711-key.pem": key}
        assert key.decode() not in repr(found)

    def test_the_vendors_repositories_join_those_of_the_build(self, host: Path, tmp_path: Path) -> None:
        (tmp_path / "staging/yum.repos.d").mkdir(parents=True)
        targets = [target for _source, target in Entitlement.of("auto", host).volumes(tmp_path / "staging")]
        assert targets == ["/etc/pki/entitlement", "/etc/rhsm"]
        assert (tmp_path / "staging/yum.repos.d/redhat.repo").read_text() == "[vendor]\n"

    def test_a_host_without_one_says_so(self, tmp_path: Path) -> None:
        found = Entitlement.of("auto", tmp_path)
        assert found.volumes(tmp_path / "staging") == []
        assert found.inputs() == {}
        assert found.secrets() == {}
        assert "without an entitlement" in found.notes[0]

    def test_an_expired_one_is_not_used(self, host: Path) -> None:
        found = Entitlement.of("auto", host, now=LATER)
        assert found.inputs() == {}
        assert "4711.pem expired on" in found.notes[0]

    def test_a_valid_one_beside_an_expired_one(self, host: Path) -> None:
        certificate(host / "etc/pki/entitlement", "4712", days=365)
        found = Entitlement.of("auto", host, now=LATER)
        assert list(found.secrets()) == ["entitlement 4712-key.pem"]
        assert "4711.pem expired" in found.notes[0]

    def test_a_certificate_without_its_key(self, host: Path) -> None:
        (host / "etc/pki/entitlement/4711-key.pem").unlink()
        assert "no key 4711-key.pem" in Entitlement.of("auto", host).notes[0]

    def test_the_serials_are_the_input(self, host: Path) -> None:
        before = Entitlement.of("auto", host).inputs()
        certificate(host / "etc/pki/entitlement", "4711")
        assert Entitlement.of("auto", host).inputs() == before
        certificate(host / "etc/pki/entitlement", "4712")
        assert Entitlement.of("auto", host).inputs() != before


class TestDirectory:
    @pytest.mark.parametrize("below", ["", "etc-pki-entitlement"])
    def test_both_layouts(self, tmp_path: Path, below: str) -> None:
        certificate(tmp_path / below, "1")
        assert list(Entitlement.of(str(tmp_path)).secrets()) == ["entitlement 1-key.pem"]

    def test_an_empty_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError) as raised:
            Entitlement.of(str(tmp_path))
        assert raised.value.failure.category is FailureCategory.INPUT
        assert "SERIAL.pem" in raised.value.failure.message

    def test_an_expired_one_is_refused(self, tmp_path: Path) -> None:
        certificate(tmp_path, "1")
        with pytest.raises(BuildError, match=r"1\.pem expired on"):
            Entitlement.of(str(tmp_path), now=LATER)

    def test_none_is_none(self, host: Path) -> None:
        assert Entitlement.of("none", host) == Entitlement()
