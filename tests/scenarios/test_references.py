# SPDX-License-Identifier: GPL-3.0-or-later
"""One image in every spelling, and through an index: staged on every tool, and no second time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from by_hand import on, restart
from journal import count
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

HOSTS: dict[str, dict[str, str | None]] = {
    "bootc": {"bootc": "1.16.9", "rpm-ostree": None},
    "bootc 1.1.6": {"bootc": "1.1.6", "rpm-ostree": None},
    "rpm-ostree": {"bootc": None, "rpm-ostree": "2026.2"},
    "rpm-ostree 2024.6": {"bootc": None, "rpm-ostree": "2024.6"},
}
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    return images.build_base(registry.address, name="spelled", tag="r2", version="2.0")


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def stage(image: str, *digests: str, name: str = "stage", **options: Any) -> dict[str, Any]:
    return {"name": name, "imagemode.nodes.image_stage": {"image": image, "expected_digests": list(digests), **options}}


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks)}]


def reboot(*digests: str) -> dict[str, Any]:
    return {"name": "reboot", "imagemode.nodes.node_reboot": {"expected_digests": list(digests)}}


def nothing_to_do(run: PlaybookRun, nodes: Iterable[Node], *names: str) -> None:
    assert run.rc == 0, run.stdout
    for node in nodes:
        for name in names:
            result = run.result(name, node.name)
            assert (result["changed"], result["commands"]) == (False, []), f"{node.name}: {name}"


@pytest.fixture
def hosts(make_node: MakeNode) -> dict[str, Node]:
    """A node of each kind; what they do, they do side by side."""
    return {kind: make_node(f"n{number}", versions=versions) for number, (kind, versions) in enumerate(HOSTS.items())}


@pytest.fixture(scope="module")
def index(registry: Registry, v2: str) -> str:
    """An index of the second image and of one for another architecture; its tag is `many`."""
    other = images.build_base(registry.address, name="spelled", tag="other", version="2.0", architecture="s390x")
    with_sizes = []
    for image, architecture in ((v2, None), (other, "s390x")):
        manifest = registry.manifest("spelled", digest_of(image))
        size = len(registry.request("GET", f"/v2/spelled/manifests/{digest_of(image)}").read())
        config = json.loads(registry.request("GET", f"/v2/spelled/blobs/{manifest['config']['digest']}").read())
        platform = {"os": "linux", "architecture": architecture or config["architecture"]}
        with_sizes.append({"mediaType": MANIFEST, "digest": digest_of(image), "size": size, "platform": platform})
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": with_sizes}).encode()
    registry.request("PUT", "/v2/spelled/manifests/many", body, INDEX)
    digest = registry.digest("spelled", "many")
    assert digest is not None
    return f"{registry.address}/spelled@{digest}"


def test_an_index_is_staged_by_its_digest_and_the_node_reports_its_own(
    hosts: dict[str, Node], run_playbook: RunPlaybook, v2: str, index: str
) -> None:
    """The digest of an index is never one that a node reports, so both are expected: image_digest_info returns them."""
    nodes = hosts.values()
    either = (digest_of(index), digest_of(v2))
    run = run_playbook(play(stage(index, *either), reboot(*either)))
    assert run.rc == 0, run.stdout
    assert {run.result("stage", node.name)["digest"] for node in nodes} == {digest_of(v2)}
    pulls = [count(node, "pull") for node in nodes]
    tag = index.partition("@")[0] + ":many"
    again, own = stage(index, *either, name="again"), stage(v2, digest_of(v2), name="own digest")
    run = run_playbook(play(again, own, {**stage(tag, *either, name="tag"), "check_mode": True}))
    nothing_to_do(run, nodes, "again", "own digest")
    assert [count(node, "pull") for node in nodes] == pulls
    assert all(run.result("tag", node.name)["changed"] for node in nodes), "a tag is to be followed from now on"


def test_only_the_digest_of_an_index_expected(hosts: dict[str, Node], run_playbook: RunPlaybook, index: str) -> None:
    """Nothing may stay staged, and no run may say that it changed what it left as it was."""
    run = run_playbook(play(stage(index, digest_of(index)), {"name": "info", "imagemode.nodes.image_mode_info": {}}))
    assert run.rc != 0
    for node in hosts.values():
        result = run.result("stage", node.name)
        assert (result["event"], result["reboot_required"]) == ("runner_on_failed", False)
        assert "digest" in result["msg"]


BY_HAND = (
    "bootc switch REPO:r2@DIGEST",
    "bootc switch REPO@DIGEST",
    "bootc switch REPO:r2",
    "rpm-ostree rebase ostree-unverified-registry:REPO:r2",
    "rpm-ostree rebase ostree-unverified-image:docker://REPO:r2",
    "rpm-ostree rebase ostree-unverified-image:registry:REPO:r2",
    "rpm-ostree rebase ostree-unverified-registry:REPO@DIGEST",
)


def test_what_somebody_staged_in_other_words_is_the_same(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    """With either tool, staged or booted: no pull, no deployment, no reboot."""
    repository, _at, digest = v2.partition("@")
    nodes = [make_node(f"n{number}") for number, _command in enumerate(BY_HAND)]
    for node, command in zip(nodes, BY_HAND, strict=True):
        on(node, command.replace("REPO", repository).replace("DIGEST", digest))
    pulls = [count(node, "pull") for node in nodes]
    spelled = [
        {"name": f"{tool} {text}", f"imagemode.nodes.{tool}": {"image": image, "expected_digests": [digest]}}
        for tool in ("bootc_switch", "rpmostree_rebase")
        for text, image in (("digest", v2), ("both", f"{repository}:r2@{digest}"))
    ]
    names = [str(one["name"]) for one in spelled]
    nothing_to_do(run_playbook(play(*spelled)), nodes, *names)
    for node in nodes:
        restart(node)
    nothing_to_do(run_playbook(play(*spelled)), nodes, *names)
    assert [count(node, "pull") for node in nodes] == pulls


def test_a_reference_with_tag_and_digest_in_the_origin_is_no_dead_end(
    make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry, v2: str
) -> None:
    """Only `bootc switch` takes such a reference; every later check and upgrade of it fails in both tools."""
    repository, _at, digest = v2.partition("@")
    for name in ("n1", "n2"):
        node = make_node(name)
        on(node, f"bootc switch {repository}:r2@{digest}")
        restart(node)
    v3 = images.build_base(registry.address, name="spelled", tag="r3", version="3.0")
    options = {"image": f"{repository}:r3@{digest_of(v3)}", "expected_digests": [digest_of(v3)]}
    tasks = (
        {"name": name, f"imagemode.nodes.{tool}": options, "when": f"inventory_hostname == '{name}'"}
        for name, tool in (("n1", "bootc_switch"), ("n2", "rpmostree_rebase"))
    )
    run = run_playbook(play(*tasks))
    assert run.rc == 0, run.stdout
    for name in ("n1", "n2"):
        assert run.result(name, name)["after"]["staged"]["image"]["reference"] == v3
