# SPDX-License-Identifier: GPL-3.0-or-later
"""The role node_trust on lab nodes: what a node may pull afterwards, with either tool, and what it never may."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.node_trust import NodeTrust
from journal import count, tools
from lab import images
from lab.authority import Authority
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry
from lab.session import run as on_node
from lab.signing import GpgKey, SigstoreKey

PASSWORD = "correct horse/battery+staple"
TASK = "Give the node its credentials, certificates, mirrors, proxy and signature policy"
VERSIONS: dict[str, dict[str, str | None]] = {
    "bootc": {"bootc": "1.16.9", "rpm-ostree": None},
    "bootc 1.1.6": {"bootc": "1.1.6", "rpm-ostree": None},
    "rpm-ostree": {"bootc": None, "rpm-ostree": "2026.2"},
}
BOTH: dict[str, str | None] = {"bootc": "1.16.9", "rpm-ostree": "2026.2"}

Trust = Callable[..., PlaybookRun]


@dataclasses.dataclass(frozen=True)
class Signed:
    """A repository with one signed image, one unsigned, and one that somebody else signed."""

    scope: str
    key: Path
    signed: str
    unsigned: str
    foreign: str


@pytest.fixture(scope="module")
def signed(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """The images, in the registry that all tests share."""
    ours, theirs = (SigstoreKey.create(tmp_path_factory.mktemp("keys"), name) for name in ("ours", "theirs"))
    for number, tag in enumerate(("v2", "unsigned", "foreign"), 2):
        images.build_base(registry.address, name="trust/os", tag=tag, version=f"{number}.0")
    ours.sign(registry, "trust/os", "v2")
    theirs.sign(registry, "trust/os", "foreign")
    name = f"{registry.address}/trust/os"
    return Signed(f"{registry.address}/trust", ours.public, f"{name}:v2", f"{name}:unsigned", f"{name}:foreign")


@pytest.fixture
def trust(run_playbook: RunPlaybook) -> Trust:
    """The playbook with these variables of the pool."""

    def run(*arguments: str, **variables: Any) -> PlaybookRun:
        return run_playbook(
            "playbooks/trust.yml",
            group_vars={"workers": {f"imagemode_{name}": value for name, value in variables.items()}},
            extra_vars={"imagemode_pool": "workers"},
            arguments=arguments,
        )

    return run


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a password, over TLS of an authority that nobody knows."""
    authority = Authority.create(tmp_path_factory.mktemp("authority"))
    directory = tmp_path_factory.mktemp("locked")
    with Registry.start(directory, username="fleet", password=PASSWORD, authority=authority) as running:
        images.build_base(running.address, name="os", tag="v2", version="2.0", username="fleet", password=PASSWORD)
        yield running


def pull(node: Node, tool: str, image: str) -> str:
    """Let a tool stage an image; its complaint, or nothing if it did."""
    name = "rpm-ostree" if tool == "rpm-ostree" else "bootc"
    command = {"bootc": f"bootc switch {image}", "rpm-ostree": f"rpm-ostree rebase ostree-unverified-registry:{image}"}
    result = on_node(node, command[name], stdin=b"")
    return "" if result.rc == 0 else result.stderr.decode()


def read(node: Node, path: str) -> str:
    result = on_node(node, f"cat {path}", stdin=b"")
    assert result.rc == 0, result
    return result.stdout.decode()


def secrets_in(directory: Path) -> list[str]:
    """Files of a run or a node in which the password stands, in plain or in the form of an auth file."""
    needles = [PASSWORD.encode(), base64.b64encode(f"fleet:{PASSWORD}".encode())[4:-4]]
    return [
        str(path)
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and any(needle in path.read_bytes() for needle in needles)
    ]


def policy_of(signed: Signed, **more: Any) -> dict[str, Any]:
    return {
        "image": signed.signed,
        "signature_policy": "policy",
        "trusted_images": [{"scope": signed.scope, "keys": [str(signed.key)]}],
        **more,
    }


@pytest.mark.parametrize("tool", VERSIONS)
def test_only_signed_images_of_ours_are_pulled(
    tool: str, make_node: MakeNode, trust: Trust, signed: Signed, base_image: str
) -> None:
    node = make_node("n1", versions=VERSIONS[tool])
    run = trust("--diff", **policy_of(signed))
    assert run.rc == 0, run.stdout
    result = run.result(TASK, "n1")
    assert (result["changed"], result["trust"]["signed_only"]) == (True, True)
    assert "signature was required" in pull(node, tool, signed.unsigned)
    assert "signature verification failed" in pull(node, tool, signed.foreign)
    assert "rejected by policy" in pull(node, tool, f"{base_image.partition('/')[0]}/os:base")
    assert pull(node, tool, signed.signed) == ""
    before = count(node, "exec")
    again = trust(**policy_of(signed))
    assert (again.recap("n1")["changed"], count(node, "exec") - before) == (0, 1), again.stdout


def test_the_rollouts_policy_is_enforced_by_the_module(
    make_node: MakeNode, trust: Trust, run_playbook: RunPlaybook, signed: Signed
) -> None:
    make_node("n1", versions=VERSIONS["bootc"])
    assert trust(**policy_of(signed)).rc == 0

    def stage(image: str) -> dict[str, Any]:
        task = {"name": "stage", "imagemode.nodes.bootc_switch": {"image": image, "signature_policy": "policy"}}
        return run_playbook([{"hosts": "workers", "gather_facts": False, "tasks": [task]}]).result("stage", "n1")

    assert "signature was required" in stage(signed.unsigned)["msg"]
    staged = stage(signed.signed)
    assert (staged["event"], staged["changed"]) == ("runner_on_ok", True), staged


def test_what_else_may_be_pulled_is_said(make_node: MakeNode, trust: Trust, signed: Signed, registry: Registry) -> None:
    node = make_node("n1", versions=BOTH)
    images.build_base(registry.address, name="other/os", tag="v3", version="3.0")
    run = trust(**policy_of(signed, trust_also=[f"{registry.address}/other", "containers-storage:"]))
    assert run.rc == 0, run.stdout
    assert pull(node, "bootc", f"{registry.address}/other/os:v3") == ""
    assert "rejected by policy" in pull(node, "bootc", f"{registry.address}/os:base")


def test_a_node_whose_policy_accepts_anything_fails_the_assertion(
    make_node: MakeNode, trust: Trust, signed: Signed
) -> None:
    make_node("n1")
    run = trust(image=signed.signed, signature_policy="policy")
    message = run.result(TASK, "n1")["msg"]
    assert "/etc/containers/policy.json: its default accepts" in message
    assert run.recap("n1")["failed"] == 1


def test_a_policy_in_roots_home_is_found(make_node: MakeNode, trust: Trust, signed: Signed) -> None:
    node = make_node("n1")
    policy = json.dumps({"default": [{"type": "insecureAcceptAnything"}]})
    script = f"mkdir -p /root/.config/containers; echo '{policy}' >/root/.config/containers/policy.json"
    assert on_node(node, script, stdin=b"").rc == 0
    run = trust(**policy_of(signed))
    assert "containers/policy.json: its default accepts" in run.result(TASK, "n1")["msg"]
    assert "/.config/containers/policy.json" in run.result(TASK, "n1")["msg"]


def test_a_policy_that_misses_the_image_never_reaches_a_node(make_node: MakeNode, trust: Trust, signed: Signed) -> None:
    node = make_node("n1")
    run = trust(**policy_of(signed, image="registry.example.com/fleet/node:1"))
    assert "registry.example.com/fleet/node" in run.result(TASK, "n1")["msg"]
    assert count(node, "exec") == 0


@pytest.mark.parametrize("tool", VERSIONS)
def test_a_private_registry_of_a_private_authority(
    tool: str, make_node: MakeNode, trust: Trust, locked: Registry, tmp_path: Path
) -> None:
    assert locked.authority is not None
    node = make_node("n1", versions=VERSIONS[tool])
    image = f"{locked.address}/os:v2"
    common = {
        "registries": [{"location": locked.address}],  # the lab's image allows plain HTTP to this host
        "registry_cas": {locked.address: str(locked.authority.certificate)},
    }
    assert trust(registries=common["registries"]).rc == 0
    assert "unknown authority" in pull(node, tool, image)
    assert trust(**common).rc == 0
    assert "authentication required" in pull(node, tool, image)
    wrong = trust(**common, registry_auth={locked.address: {"username": "fleet", "password": "wrong"}})
    assert wrong.rc == 0, wrong.stdout
    assert "authentication required" in pull(node, tool, image)
    right = trust(
        "-vvv", "--diff", **common, registry_auth={locked.address: {"username": "fleet", "password": PASSWORD}}
    )
    assert right.recap("n1")["changed"] == 1, right.stdout
    assert on_node(node, "stat -c %a:%U /etc/ostree/auth.json", stdin=b"").stdout.decode().strip() == "600:root"
    assert pull(node, tool, image) == ""
    assert PASSWORD not in right.stdout
    inventory = tmp_path / "project/inventory"
    leaks = [path for path in secrets_in(tmp_path) if not path.startswith(str(inventory))]
    assert [path for path in leaks if not path.endswith("etc/ostree/auth.json")] == []
    assert leaks, "the search would find the password where it has to be"


def test_credentials_from_a_file_and_a_second_source(
    make_node: MakeNode, trust: Trust, locked: Registry, tmp_path: Path
) -> None:
    node = make_node("n1")
    project_inventory = tmp_path / "project/inventory"
    project_inventory.mkdir(parents=True)
    (project_inventory / "auth.json").write_text('{"auths": {"old.example.com": {"auth": "YTpi"}}}')
    text = json.dumps({"auths": {locked.address: {"username": "fleet", "password": PASSWORD}}})
    run = trust(registry_auth=["auth.json", text])
    assert run.rc == 0, run.stdout
    content = read(node, "/etc/ostree/auth.json")
    assert '"old.example.com"' in content
    assert locked.address in content


def test_credentials_do_not_get_lost_by_an_empty_variable(make_node: MakeNode, trust: Trust, locked: Registry) -> None:
    node = make_node("n1")
    login = {locked.address: {"username": "fleet", "password": PASSWORD}}
    assert trust(registry_auth=login).rc == 0
    empties: list[Any] = [{}, {"auths": {}}, "", []]
    for empty in empties:
        assert trust(registry_auth=empty).recap("n1")["failed"] == 1
    assert trust().recap("n1")["changed"] == 0
    assert locked.address in read(node, "/etc/ostree/auth.json")
    assert trust(registry_anonymous=True).recap("n1")["changed"] == 1
    assert on_node(node, "test -e /etc/ostree/auth.json", stdin=b"").rc == 1


def test_credentials_that_shadow_ours_are_named(make_node: MakeNode, trust: Trust, locked: Registry) -> None:
    node = make_node("n1")
    on_node(node, "mkdir -p /run/ostree; echo '{\"auths\":{}}' >/run/ostree/auth.json", stdin=b"")
    run = trust(registry_auth={locked.address: {"username": "fleet", "password": PASSWORD}})
    result = run.result(TASK, "n1")
    assert result["trust"]["credentials"] == "/run/ostree/auth.json"
    assert result["trust"]["credentials_shadowed"] is True
    assert "/run/ostree/auth.json exists and holds other credentials" in run.stdout


@pytest.mark.parametrize("tool", VERSIONS)
def test_a_mirror_serves_images_and_their_signatures(
    tool: str, make_node: MakeNode, trust: Trust, registry: Registry, tmp_path: Path
) -> None:
    key = SigstoreKey.create(tmp_path / "keys")
    images.build_base(registry.address, name="mirror/fleet/os", tag="v2", version="2.0")
    images.build_base(registry.address, name="mirror/fleet/os", tag="unsigned", version="3.0")
    key.sign(registry, "mirror/fleet/os", "v2", identity="registry.example.com/fleet/os")
    node = make_node("n1", versions=VERSIONS[tool])
    run = trust(
        image="registry.example.com/fleet/os:v2",
        registries=[
            {
                "prefix": "registry.example.com/fleet",
                "location": "registry.example.com/fleet",
                "mirrors": [{"location": f"{registry.address}/mirror/fleet", "insecure": True}],
            }
        ],
        trusted_images=[{"scope": "registry.example.com/fleet/os", "keys": [key.public.read_text()]}],
    )
    assert run.rc == 0, run.stdout
    assert "signature was required" in pull(node, tool, "registry.example.com/fleet/os:unsigned")
    assert pull(node, tool, "registry.example.com/fleet/os:v2") == ""


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpgKey]:
    """A GPG key."""
    key = GpgKey.create(tmp_path_factory.mktemp("gpg"))
    yield key
    key.end()


def test_gpg_signatures_in_a_lookaside_count_as_well(
    make_node: MakeNode, trust: Trust, registry: Registry, gpg: GpgKey
) -> None:
    images.build_base(registry.address, name="gpg/os", tag="v2", version="2.0")
    images.build_base(registry.address, name="gpg/os", tag="unsigned", version="3.0")
    node = make_node("n1", versions=BOTH)
    gpg.sign(registry, "gpg/os", "v2", node.mounts().var / "signatures")
    scope = {
        "scope": f"{registry.address}/gpg",
        "keys": [str(gpg.public)],
        "lookaside": "file:///var/signatures",
    }
    run = trust(image=f"{registry.address}/gpg/os:v2", trusted_images=[scope])
    assert run.rc == 0, run.stdout
    for tool in ("bootc", "rpm-ostree"):
        assert "signature was required" in pull(node, tool, f"{registry.address}/gpg/os:unsigned")
    assert pull(node, "rpm-ostree", f"{registry.address}/gpg/os:v2") == ""


def test_the_real_skopeo_reads_what_is_rendered(registry: Registry, gpg: GpgKey, tmp_path: Path) -> None:
    """The simulated tools read these files with code of the lab: so one test without it."""
    images.build_base(registry.address, name="mirrored/os", tag="v2", version="2.0")
    images.build_base(registry.address, name="mirrored/os", tag="unsigned", version="3.0")
    name = "registry.example.com/fleet/os"
    gpg.sign(registry, "mirrored/os", "v2", tmp_path / "lookaside/a", identity=f"{name}:v2")
    files = NodeTrust.from_options(
        {
            **dict.fromkeys(("image", "registry_auth", "http_proxy", "https_proxy")),
            "registry_anonymous": False,
            "registry_cas": {},
            "ca_anchors": {},
            "no_proxy": [],
            "trust_also": [],
            "registries": [
                {
                    "prefix": "registry.example.com/fleet",
                    "mirrors": [{"location": f"{registry.address}/mirrored", "insecure": True}],
                    "location": "registry.example.com/fleet",
                },
                {"location": "blocked.example.com", "blocked": True},
                {"location": registry.address, "insecure": True},
            ],
            "trusted_images": [
                {
                    "scope": "registry.example.com/fleet",
                    "keys": [gpg.public.read_bytes()],
                    "identity": "matchRepository",
                    "lookaside": f"file://{tmp_path}/lookaside/a",
                }
            ],
        }
    ).files
    root = tmp_path / "root"
    for file in files:
        path = root / file.path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content.replace(b'"/etc/', f'"{root}/etc/'.encode()))

    def copy(image: str) -> str:
        etc = root / "etc/containers"
        done = subprocess.run(
            [
                *("skopeo", "--registries-conf", str(etc / "registries.conf.d/50-imagemode.conf")),
                *("--policy", str(etc / "policy.json"), "--registries.d", str(etc / "registries.d"), "copy"),
                *(f"docker://{image}", f"dir:{tmp_path / uuid.uuid4().hex}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if done.returncode == 0 else done.stderr

    assert copy(f"{name}:v2") == ""
    assert "no signature exists" in copy(f"{name}:unsigned")
    assert "is blocked" in copy("blocked.example.com/os:v2")
    assert "rejected by policy" in copy(f"{registry.address}/mirrored/os:v2")


def test_anchors_are_read_again_by_the_system(
    make_node: MakeNode, trust: Trust, registry: Registry, locked: Registry
) -> None:
    assert locked.authority is not None
    anchors = {"fleet": locked.authority.certificate.read_text()}
    former = make_node("n1")
    registries = [{"location": locked.address}]
    assert trust(registries=registries).rc == 0
    assert "unknown authority" in pull(former, "bootc", f"{locked.address}/os:v2")
    assert trust(registries=registries, ca_anchors=anchors).rc == 0
    assert "authentication required" in pull(former, "bootc", f"{locked.address}/os:v2")
    spy = '#!/bin/sh\necho "$*" >>/var/ran; [ ! -e /var/broken ]\n'
    image = images.build_base(registry.address, name="with-ca-trust", extra_files={"/usr/bin/update-ca-trust": spy})
    former.destroy()
    node = make_node("n1", image=image)
    on_node(node, ": >/var/broken", stdin=b"")
    failed = trust(ca_anchors=anchors)
    assert "Run this again: it does what is left" in failed.result(TASK, "n1")["msg"]
    on_node(node, "rm /var/broken", stdin=b"")
    assert trust(ca_anchors=anchors).recap("n1")["changed"] == 1, "the file is there, but the system has not read it"
    assert trust(ca_anchors=anchors).recap("n1")["changed"] == 0
    assert read(node, "/var/ran").split() == ["extract", "extract"]
    assert trust().recap("n1")["changed"] == 1
    assert read(node, "/var/ran").split() == ["extract"] * 3


def test_check_mode_predicts_and_writes_nothing(make_node: MakeNode, trust: Trust, signed: Signed) -> None:
    node = make_node("n1")
    variables = policy_of(signed, https_proxy="http://proxy.example.com:3128", no_proxy=["127.0.0.1"])
    predicted = trust("--check", "--diff", **variables).result(TASK, "n1")
    assert on_node(node, "test -e /etc/imagemode", stdin=b"").rc == 1
    real = trust("--diff", **variables).result(TASK, "n1")
    for key in ("changed", "files", "diff", "commands", "trust"):
        assert predicted[key] == real[key], key


def test_what_is_left_out_goes_away_but_not_the_policy(make_node: MakeNode, trust: Trust, signed: Signed) -> None:
    node = make_node("n1")
    proxy = f"http://fleet:{PASSWORD.replace('/', '%2F').replace(' ', '%20')}@proxy.example.com:3128"
    run = trust("-vvv", "--diff", **policy_of(signed, https_proxy=proxy))
    assert run.rc == 0, run.stdout
    assert "battery" not in run.stdout
    assert ["systemctl", "daemon-reload"] in run.result(TASK, "n1")["commands"]
    assert "battery" not in on_node(node, "cat /etc/systemd/system/*.d/*.conf", stdin=b"").stdout.decode()
    assert on_node(node, "stat -c %a /etc/imagemode/proxy.env", stdin=b"").stdout.decode().strip() == "600"
    assert trust().recap("n1")["changed"] == 1
    assert on_node(node, "ls /etc/imagemode /etc/systemd/system/*.d", stdin=b"").stdout.decode().count("proxy") == 0
    assert '"reject"' in read(node, "/etc/containers/policy.json")
    assert trust().recap("n1")["changed"] == 0


def test_the_daemon_is_restarted_when_idle_and_never_in_its_work(make_node: MakeNode, trust: Trust) -> None:
    node = make_node("n1", versions=BOTH)
    assert on_node(node, "systemctl start rpm-ostreed.service", stdin=b"").rc == 0
    run = trust(https_proxy="http://one.example.com:3128")
    assert "systemctl restart rpm-ostreed.service" in tools(node), run.stdout
    node.inject("transaction-stuck")
    before = tools(node).count("systemctl restart rpm-ostreed.service")
    busy = trust(https_proxy="http://two.example.com:3128")
    assert busy.rc == 0, busy.stdout
    assert "rpm-ostree is at work" in busy.stdout
    assert tools(node).count("systemctl restart rpm-ostreed.service") == before
    node.clear("transaction-stuck")
    on_node(node, "rpm-ostree cancel", stdin=b"")
    later = trust(https_proxy="http://two.example.com:3128")
    assert later.recap("n1")["changed"] == 1, later.stdout
    assert tools(node).count("systemctl restart rpm-ostreed.service") == before + 1
    assert trust(https_proxy="http://two.example.com:3128").recap("n1")["changed"] == 0
