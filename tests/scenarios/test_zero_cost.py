# SPDX-License-Identifier: GPL-3.0-or-later
"""What is right already costs nothing: no pull, no deployment, no boot, and a message that says why. By the nodes' journals.

There is no mark of which tool manages a host: what rpm-ostree made is bootc's, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from by_hand import on, restart
from journal import count, tools
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.registry import Registry

BOTH: dict[str, str | None] = {"bootc": "1.16.9", "rpm-ostree": "2026.2"}
OLD: dict[str, str | None] = {"bootc": "1.1.6", "rpm-ostree": "2024.6"}
MODULES = {"bootc_switch": "bootc status --json", "rpmostree_rebase": "rpm-ostree status --json"}

# Only the default counts for bootc's and rpm-ostree's check that a policy is enforced.
POLICY = '{"default": [{"type": "reject"}], "transports": {"docker": {"": [{"type": "insecureAcceptAnything"}]}}}'


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    return images.build_base(registry.address, name="zero", tag="v2", version="2.0")


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def tag_of(image: str, tag: str) -> str:
    return f"{image.partition('@')[0]}:{tag}"


@dataclass(frozen=True)
class Case:
    """A host that was brought where it is by `made` (a command line, IMAGE and TAG standing for what is wanted)."""

    made: str
    booted: bool
    wanted: str
    says: str
    versions: Mapping[str, str | None] = field(default_factory=lambda: BOTH)


CASES = {
    "rebased by rpm-ostree and booted": Case(
        "rpm-ostree rebase ostree-unverified-registry:IMAGE", True, "IMAGE", "already booted"
    ),
    "rebased in another spelling": Case(
        "rpm-ostree rebase ostree-unverified-image:docker://TAG", True, "TAG", "already booted"
    ),
    "rebased, not booted yet": Case(
        "rpm-ostree rebase ostree-unverified-registry:IMAGE", False, "IMAGE", "already staged, waiting for a reboot"
    ),
    "switched by bootc and booted": Case("bootc switch IMAGE", True, "IMAGE", "already booted"),
    "switched by an old bootc": Case("bootc switch TAG", True, "TAG", "already booted", OLD),
    "switched, not booted yet": Case("bootc switch IMAGE", False, "IMAGE", "already staged, waiting for a reboot"),
    "by its tag, wanted by its digest": Case("bootc switch TAG", True, "IMAGE", "already booted"),
    "signed": Case("bootc switch --enforce-container-sigpolicy TAG", True, "TAG", "already booted"),
    "signed, by rpm-ostree": Case("rpm-ostree rebase ostree-image-signed:docker://TAG", True, "TAG", "already booted"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_right_costs_nothing(case: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    situation = CASES[case]
    node = make_node("n1", versions=situation.versions)
    on(node, f"printf '%s' '{POLICY}' > /etc/containers/policy.json")
    on(node, situation.made.replace("IMAGE", v2).replace("TAG", tag_of(v2, "v2")))
    if situation.booted:
        restart(node)
    image = situation.wanted.replace("IMAGE", v2).replace("TAG", tag_of(v2, "v2"))
    options: dict[str, Any] = {"image": image, "expected_digests": [digest_of(v2)]}
    before = [count(node, event) for event in ("pull", "boot")], len(tools(node))
    tasks = [{"name": module, f"imagemode.nodes.{module}": options} for module in MODULES]
    run = run_playbook([{"hosts": "workers", "gather_facts": False, "tasks": tasks}])
    assert run.rc == 0, run.stdout
    for module in MODULES:
        result = run.result(module, "n1")
        assert (result["changed"], result["commands"], result["before"]) == (False, [], result["after"])
        assert (situation.says in result["msg"], result["reboot_required"]) == (True, not situation.booted)
        assert result["digest"] == digest_of(v2)
    asked = tools(node)[before[1] :]
    if not situation.booted:
        # rpm-ostree ignores the arguments of a staged image, so that they are looked at.
        assert asked.pop(2) == "rpm-ostree kargs"
        asked = [call for call in asked if not call.endswith(" --version")]
    assert asked == list(MODULES.values()), "one question to one tool each, and no command"
    assert [count(node, event) for event in ("pull", "boot")] == before[0]


@pytest.mark.parametrize("module", MODULES)
def test_verification_is_kept_unless_it_is_given_up_in_so_many_words(
    module: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", versions=BOTH)
    on(node, f"printf '%s' '{POLICY}' > /etc/containers/policy.json")
    on(node, f"bootc switch --enforce-container-sigpolicy {v2}")
    restart(node)
    loose = {"image": v2, "expected_digests": [digest_of(v2)], "signature_policy": "unverified"}
    tasks = [{"name": "loosen", f"imagemode.nodes.{module}": loose}]
    run = run_playbook([{"hosts": "workers", "gather_facts": False, "tasks": tasks}])
    assert run.rc == 0, run.stdout
    result = run.result("loosen", "n1")
    assert (result["changed"], result["after"]["staged"]["image"]["signature"]) == (True, "unverified")
    assert any("verification is given up" in warning for warning in result["warnings"])
    assert "no layers" in result["msg"]


@pytest.mark.parametrize("module", ["rpmostree_rebase", "image_stage"])
def test_local_changes_go_without_a_byte_from_the_registry(
    module: str, make_node: MakeNode, run_playbook: RunPlaybook, base_image: str
) -> None:
    """bootc alone would fetch the manifest again; where the node has both tools, image_stage takes what costs less."""
    node = make_node("n1", versions=BOTH, repository={"htop": ["3.2-1"]})
    on(node, "rpm-ostree install htop")
    restart(node)
    node.inject("registry-stalls")
    pulls = count(node, "pull")
    options = {"image": base_image, "local_changes": "discard", "stage_timeout": 20}
    tasks = [
        {"name": "clean", f"imagemode.nodes.{module}": options},
        {"name": "again", f"imagemode.nodes.{module}": options},
    ]
    run = run_playbook([{"hosts": "workers", "gather_facts": False, "tasks": tasks}])
    assert run.rc == 0, run.stdout
    assert run.result("clean", "n1")["commands"] == [["rpm-ostree", "reset"]]
    assert run.result("again", "n1")["changed"] is False
    assert count(node, "pull") == pulls


def test_a_download_lives_as_long_as_its_deployment(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str, base_image: str
) -> None:
    """Both tools remove images that no deployment names, and a locked deployment is gone after a reboot."""
    node = make_node("n1", versions=BOTH)
    options = {"image": v2, "expected_digests": [digest_of(v2)], "state": "downloaded"}
    play = [
        {"hosts": "workers", "gather_facts": False, "tasks": [{"name": "get", "imagemode.nodes.image_stage": options}]}
    ]
    assert run_playbook(play).result("get", "n1")["changed"] is True
    assert run_playbook(play).result("get", "n1")["changed"] is False
    restart(node)
    again = run_playbook(play).result("get", "n1")
    assert (again["changed"], again["before"]["booted"]["digest"]) == (True, digest_of(base_image))
    assert again["after"]["staged"]["download_only"] is True
