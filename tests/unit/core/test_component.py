# SPDX-License-Identifier: GPL-3.0-or-later
"""The option components: what it accepts, what each refusal says, and what a component adds to image and key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import (
    Component,
    ComponentKind,
    ComponentOption,
    component_inputs,
    component_labels,
    component_steps,
    parse_components,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

IMAGE = "registry.example.com/fleet/kubelet:1.34"
DIGEST = "sha256:" + "a" * 64


def component(**option: Any) -> Component:
    (parsed,) = parse_components([{"name": "kubelet", "image": IMAGE, **option}])
    return Component(parsed, DIGEST, "1.34.2")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({}, (ComponentKind.TREE, "/usr", "/usr", None)),
        ({"tree": "/out/", "dest": "/usr/lib//kubelet/"}, (ComponentKind.TREE, "/out", "/usr/lib/kubelet", None)),
        ({"tree": "/", "dest": "/etc/kubelet"}, (ComponentKind.TREE, "/", "/etc/kubelet", None)),
        ({"rpms": "/rpms", "version": 1.34}, (ComponentKind.RPMS, "/rpms", None, "1.34")),
        ({"rpms": "/rpms", "tree": None, "dest": None}, (ComponentKind.RPMS, "/rpms", None, None)),
    ],
)
def test_a_component_is_a_tree_or_rpms(option: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (found,) = parse_components([{"name": "kubelet", "image": IMAGE, **option}])
    assert found == ComponentOption("kubelet", expected[0], ImageReference.parse(IMAGE), *expected[1:])


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"name": "Kubelet"}, "'Kubelet' is not a name"),
        ({"name": "-x"}, "'-x' is not a name"),
        ({"name": "a\n"}, "is not a name"),
        ({"name": None}, "Component number 1: '' is not a name"),
        ({"image": None}, "Component kubelet: it needs an image"),
        ({"image": "kubelet:1"}, "does not name its registry"),
        ({"image": "registry.example.com/KUBELET"}, "only lower-case"),
        ({"rpms": "/rpms", "tree": "/usr"}, "both rpms and tree"),
        ({"rpms": "/rpms", "dest": "/usr"}, "dest is for trees"),
        ({"rpms": "rpms"}, "rpms is 'rpms'. Expected the absolute path"),
        ({"tree": "/usr/../etc"}, "without .."),
        ({"tree": "/usr/*"}, "wildcards"),
        ({"tree": "/usr/$HOME"}, "tree is '/usr/$HOME'"),
        ({"tree": "/a\nRUN x"}, "tree is '/a\\nRUN x'"),
        ({"paths": "/usr"}, "no such key as paths"),
        ({"dest": "/var/lib/kubelet"}, "no image can carry: a host keeps its own /var over all updates"),
        ({"dest": "/run"}, "empty /run at every boot"),
        ({"dest": "/home/core"}, "homes belong to the host"),
        ({"dest": "/boot"}, "boot loader owns /boot"),
        ({"dest": "/"}, "content lives in /usr"),
        ({"dest": "/usrlocal"}, "content lives in /usr"),
        ({"dest": "/opt/x"}, "Choose /usr, /etc or a directory below"),
    ],
)
def test_a_component_is_refused_by_name(option: dict[str, Any], says: str) -> None:
    with pytest.raises(BuildError) as caught:
        parse_components([{"name": "kubelet", "image": IMAGE, **option}])
    assert caught.value.failure.category is FailureCategory.INPUT
    assert says in caught.value.failure.message


def test_names_are_unique() -> None:
    with pytest.raises(BuildError, match="Component b: there are two components of this name"):
        parse_components([{"name": name, "image": IMAGE} for name in ("a", "b", "b")])


def test_each_component_is_an_instruction_of_its_own() -> None:
    def rpm_step(name: str, image: str, directory: str) -> BuildStep:
        return BuildStep(name, f"{image} {directory}")

    pinned = f"registry.example.com/fleet/kubelet@{DIGEST}"
    components = [component(rpms="/rpms"), component(tree="/out"), component(tree="/", dest="/etc/kubelet")]
    assert [step.instruction for step in component_steps(components, rpm_step)] == [
        f"{pinned} /rpms",
        f"COPY --from={pinned} /out/ /usr/",
        f"COPY --from={pinned} / /etc/kubelet/",
    ]


def test_the_label_says_what_is_in_the_image() -> None:
    assert component_labels([component()]) == {
        "io.imagemode.component.kubelet": f'{{"version":"1.34.2","image":"{IMAGE}","digest":"{DIGEST}"}}'
    }
    by_digest = replace(component().option, image=ImageReference.parse(IMAGE).with_digest(DIGEST))
    labelled = component_labels([replace(component(), option=by_digest)])["io.imagemode.component.kubelet"]
    assert json.loads(labelled)["image"] == "registry.example.com/fleet/kubelet"


@pytest.mark.parametrize(
    "other",
    [
        replace(component(), digest="sha256:" + "c" * 64),
        replace(component(), version="1.35"),
        component(tree="/out"),
        component(dest="/etc"),
        component(rpms="/usr"),
    ],
    ids=["digest", "version", "tree", "dest", "rpms"],
)
def test_what_changes_the_image_changes_the_key(other: Component) -> None:
    before, after = component_inputs([component()]), component_inputs([other])
    assert before.keys() == after.keys() == {"component kubelet"}
    assert before != after


def test_each_platform_has_a_manifest_of_its_own() -> None:
    arm, intel = ("sha256:" + digit * 64 for digit in "bc")
    multi = replace(component(), platforms=(("linux/amd64", intel), ("linux/arm64/v8", arm)))
    assert multi.pinned_for("linux/arm64").digest == arm
    assert multi.pinned_for("linux/amd64").digest == intel
    assert component().pinned_for("linux/arm64").digest == DIGEST
    with pytest.raises(
        BuildError, match=r"Component kubelet: .* has no image for linux/arm, only for linux/amd64, linux/arm64/v8"
    ):
        multi.pinned_for("linux/arm")
    assert component_inputs([multi]) == component_inputs([component()])
