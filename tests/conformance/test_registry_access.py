# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's own files say about registries: authorities, mirrors, blocked registries, proxies."""

from __future__ import annotations

import base64
import http.client
import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
from lab.authority import Authority
from lab.images import build_base
from lab.proxy_choice import proxy_for
from lab.registry import Registry
from recorded_world import HostUnderTest, World, free_ports
from small_images import Pusher, userland

MakeHost = Callable[..., HostUnderTest]
UNKNOWN_AUTHORITY = "tls: failed to verify certificate: x509: certificate signed by unknown authority"


def write(host: HostUnderTest, path: str, content: bytes) -> None:
    text = base64.b64encode(content).decode()
    host.ok(f"mkdir -p {path.rpartition('/')[0]}; echo {text} | base64 -d > {path}")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that serves TLS, with an image."""
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority.create(directory / "ca", ("127.0.0.1", "registry.lab"))
    with Registry.start(directory / "registry", authority=authority) as registry:
        Pusher(registry.address, authority=authority.certificate).image("v9", [userland("9")], version="9.0")
        yield registry


@pytest.mark.parametrize(
    "place",
    [
        "/etc/containers/certs.d/REGISTRY/ca.crt",
        "/etc/docker/certs.d/REGISTRY/ca.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/certs/ca-certificates.crt",
    ],
)
def test_a_registry_with_its_own_authority_needs_the_nodes_trust(
    make_host: MakeHost, tls: Registry, place: str
) -> None:
    host = make_host()
    for command in (
        f"bootc switch {tls.address}/os:v9",
        f"rpm-ostree rebase ostree-unverified-registry:{tls.address}/os:v9",
    ):
        refused = host.sh(command)
        assert (refused.returncode, refused.stderr.strip().endswith(UNKNOWN_AUTHORITY)) == (1, True), refused.stderr
    assert tls.authority is not None
    write(host, place.replace("REGISTRY", tls.address), tls.authority.certificate.read_bytes())
    host.ok(f"bootc switch {tls.address}/os:v9")


def test_certificates_of_another_registry_do_not_count(make_host: MakeHost, tls: Registry) -> None:
    host = make_host()
    assert tls.authority is not None
    write(host, "/etc/containers/certs.d/127.0.0.1:1/ca.crt", tls.authority.certificate.read_bytes())
    assert UNKNOWN_AUTHORITY in host.sh(f"bootc switch {tls.address}/os:v9").stderr


def test_an_insecure_registry_may_serve_tls_with_any_certificate(make_host: MakeHost, tls: Registry) -> None:
    host = make_host()
    configure(host, f'[[registry]]\nlocation = "{tls.address}"\ninsecure = true\n')
    host.ok(f"bootc switch {tls.address}/os:v9")


def configure(host: HostUnderTest, text: str) -> None:
    write(host, "/etc/containers/registries.conf.d/50-test.conf", text.encode())


def test_a_mirror_is_asked_first_and_the_registry_itself_when_the_mirror_has_nothing(make_host: MakeHost) -> None:
    host = make_host()
    mirror = f'[[registry]]\nprefix = "registry.lab/team"\nlocation = "{host.world.open}"\ninsecure = true\n'
    configure(host, f'{mirror}[[registry.mirror]]\nlocation = "{host.world.down}"\ninsecure = true\n')
    out = host.ok("bootc switch registry.lab/team/os:v2")
    assert "Queued for next boot: registry.lab/team/os:v2" in out
    done = host.sh("bootc switch registry.lab/team/os:nosuch")
    assert done.returncode == 1
    assert f"(Mirrors also failed: [{host.world.down}/os:nosuch: pinging container registry" in done.stderr
    assert done.stderr.endswith(
        f"{host.world.open}/os:nosuch: reading manifest nosuch in {host.world.open}/os: manifest unknown\n"
    )


def test_with_a_mirror_the_registry_itself_need_not_be_there(make_host: MakeHost) -> None:
    host = make_host()
    configure(
        host,
        f'[[registry]]\nlocation = "{host.world.down}"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{host.world.open}"\ninsecure = true\n',
    )
    host.ok(f"bootc switch {host.world.down}/os:v2")
    host.ok(f"rpm-ostree rebase ostree-unverified-registry:{host.world.down}/os:v3")


def test_a_mirror_for_digests_is_not_asked_for_a_tag(make_host: MakeHost) -> None:
    host = make_host()
    digest = host.world.images._request("GET", "manifests/v2")[0]["Docker-Content-Digest"]
    configure(
        host,
        f'[[registry]]\nlocation = "{host.world.down}"\ninsecure = true\nmirror-by-digest-only = true\n'
        f'[[registry.mirror]]\nlocation = "{host.world.open}"\ninsecure = true\n',
    )
    assert host.sh(f"bootc switch {host.world.down}/os:v2").returncode == 1
    host.ok(f"bootc switch {host.world.down}/os@{digest}")


def test_a_blocked_registry_is_refused(make_host: MakeHost) -> None:
    host = make_host()
    configure(host, f'[[registry]]\nprefix = "{host.world.open}/os"\nblocked = true\n')
    for command in (
        f"bootc switch {host.world.open}/os:v2",
        f"rpm-ostree rebase ostree-unverified-registry:{host.world.open}/os:v2",
    ):
        done = host.sh(command)
        assert (done.returncode, "is blocked in /etc/containers/registries.conf" in done.stderr) == (1, True)


# proxies


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes plain HTTP requests on to the address that the lab's name stands for."""

    asked: list[str]
    target: str

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = "/" + self.path.split("/", 3)[3]
        host, _separator, port = self.target.partition(":")
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", path, headers={"Accept": self.headers["Accept"]})
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def proxy() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Recording", (Proxy,), {"asked": []}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def behind_a_name(host: HostUnderTest) -> str:
    """The open registry under a name, since no program asks a proxy for a loopback address."""
    host.ok("echo '127.0.0.1 registry.lab' >> /etc/hosts")
    port = host.world.open.partition(":")[2]
    configure(host, f'[[registry]]\nlocation = "registry.lab:{port}"\ninsecure = true\n')
    return f"registry.lab:{port}/os"


def test_bootc_uses_the_proxy_of_its_caller_and_rpm_ostree_that_of_its_daemon(
    make_host: MakeHost, proxy: http.server.ThreadingHTTPServer
) -> None:
    host = make_host()
    handler = proxy.RequestHandlerClass
    handler.target = host.world.open  # type: ignore[attr-defined]
    image = behind_a_name(host)
    (dead,) = free_ports(1)
    bootc, rebase = f"bootc switch {image}:v2", f"rpm-ostree rebase ostree-unverified-registry:{image}:v3"
    failed = host.sh(f"HTTP_PROXY=http://127.0.0.1:{dead} {bootc}")
    assert failed.returncode == 1
    assert failed.stderr.endswith(f"proxyconnect tcp: dial tcp 127.0.0.1:{dead}: connect: connection refused\n")
    host.ok(f"HTTP_PROXY=http://127.0.0.1:{dead} NO_PROXY=.lab {bootc}")
    host.ok(f"HTTP_PROXY=http://127.0.0.1:{dead} {rebase}")
    host.ok("rpm-ostree cleanup -p")
    drop_in = "/etc/systemd/system/rpm-ostreed.service.d/10-proxy.conf"
    write(host, drop_in, f'[Service]\nEnvironment="http_proxy=http://127.0.0.1:{dead}"\n'.encode())
    assert "proxyconnect tcp" in host.sh(rebase).stderr
    port = proxy.server_address[1]
    write(host, drop_in, f"[Service]\nEnvironment=HTTP_PROXY=http://127.0.0.1:{port}\n".encode())
    host.ok(rebase)
    assert any("/v2/os/manifests/v3" in path for path in handler.asked)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "excluded", "uses"),
    [
        ("quay.io", "", True),
        ("localhost:5000", "", False),
        ("127.0.0.1:5000", "", False),
        ("quay.io", "*", False),
        ("registry.example.com", "example.com", False),
        ("registry.example.com", ".example.com", False),
        ("example.com", ".example.com", True),
        ("otherexample.com", "example.com", True),
        ("10.1.2.3:5000", "10.0.0.0/8", False),
        ("192.0.2.3:5000", "10.0.0.0/8", True),
        ("quay.io:8443", "quay.io:443", True),
    ],
)
def test_no_proxy_excludes_as_go_programs_read_it(address: str, excluded: str, uses: bool) -> None:
    environment = {"HTTPS_PROXY": "proxy.example.com:3128", "NO_PROXY": excluded}
    found = proxy_for("https", address, environment)
    assert found == ("http://proxy.example.com:3128" if uses else None)


def test_update_ca_trust_of_a_base_image_makes_an_anchor_count(
    tls: Registry, make_host: MakeHost, world: World
) -> None:
    base = build_base(world.open, "trustbase")
    host = make_host(base.partition("/")[2])
    command = f"bootc switch {tls.address}/os:v9"
    assert tls.authority is not None
    # a base image allows plain HTTP, and any certificate, on the lab's loopback address
    configure(host, f'[[registry]]\nlocation = "{tls.address}"\ninsecure = false\n')
    write(host, "/etc/pki/ca-trust/source/anchors/lab.crt", tls.authority.certificate.read_bytes())
    assert UNKNOWN_AUTHORITY in host.sh(command).stderr
    host.ok(f"update-ca-trust; {command}")
