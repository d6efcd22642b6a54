# SPDX-License-Identifier: GPL-3.0-or-later
"""An image named by a release payload and a component, and what else image_digest_info says of signatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_run import digest_info
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import DIGEST_INFO_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry, RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._build.release_payload import component_of_release
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from crafted_image import file, link, push_image
from lab.registry import Registry as LabRegistry
from lab.signing import SigstoreKey

PATH = "release-manifests/image-references"


def image_stream(**images: str) -> bytes:
    tags = [
        {"name": name.replace("_", "-"), "from": {"kind": "DockerImage", "name": image}}
        for name, image in images.items()
    ]
    return json.dumps({"kind": "ImageStream", "apiVersion": "image.openshift.io/v1", "spec": {"tags": tags}}).encode()


def ask(work: Path, **options: Any) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in DIGEST_INFO_SPEC.items()}
    outcome = digest_info({**defaults, "validate_certs": False, "work_dir": str(work), **options})
    return {**outcome.result, "failed": outcome.failed}


@pytest.fixture
def coreos(registry: LabRegistry) -> str:
    """The pinned image of the component rhel-coreos."""
    digest = push_image(registry, "release/coreos", "1", [file("usr/lib/os-release")])
    return f"{registry.address}/release/coreos@{digest}"


def test_a_base_is_named_by_release_and_component(registry: LabRegistry, coreos: str, tmp_path: Path) -> None:
    references = image_stream(rhel_coreos=coreos, rhel_coreos_extensions=coreos, machine_config_operator=coreos)
    first = push_image(registry, "release/payload", "4.21", [file(PATH, b"{}")], [file(PATH, references)])
    options = {"release": f"{registry.address}/release/payload:4.21", "release_component": "rhel-coreos"}
    result = ask(tmp_path, **options)
    assert (result["failed"], result["image"], result["release"]) == (False, coreos, first)
    assert result["platforms"] == {"linux/amd64": coreos.rpartition("@")[2]}

    moved = push_image(registry, "release/payload", "4.21", [file("x"), file(PATH, references)])
    assert moved != first
    assert ask(tmp_path, **options)["release"] == moved


def test_the_list_of_a_release_is_downloaded_once(registry: LabRegistry, coreos: str, tmp_path: Path) -> None:
    digest = push_image(registry, "release/once", "1", [file(PATH, image_stream(rhel_coreos=coreos))])
    release = ImageReference.parse(f"{registry.address}/release/once:1")
    skopeo = Registry(RegistryAccess(validate_certs=False))
    expected = (ImageReference.parse(coreos), digest)
    assert component_of_release(release, "rhel-coreos", skopeo, tmp_path) == expected
    layer = registry.manifest("release/once", "1")["layers"][0]["digest"].partition(":")[2]
    (blob,) = registry.directory.rglob(f"blobs/sha256/{layer[:2]}/{layer}/data")
    blob.unlink()
    assert component_of_release(release, "rhel-coreos", skopeo, tmp_path) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["listings"]


@pytest.mark.parametrize(
    ("members", "component", "says"),
    [
        ([file("x")], "rhel-coreos", "is not a release payload: it has no file /release-manifests/image-references"),
        ([link(PATH, "/none")], "rhel-coreos", "is not a release payload"),
        ([file(PATH, b"{")], "rhel-coreos", "has a damaged /release-manifests/image-references"),
        ([file(PATH, b'{"kind": "List"}')], "rhel-coreos", "it is no ImageStream but 'List'"),
        ([file(PATH, b'{"kind": "ImageStream"}')], "rhel-coreos", "it has no list spec.tags"),
        ([file(PATH, b'{"kind": "ImageStream", "spec": {"tags": [{}]}}')], "x", "an entry of spec.tags has no name"),
        (
            [file(PATH, image_stream(rhel_coreos="x", rhel_coreos_extensions="x", kubelet="x"))],
            "rhel-core",
            "there is no component 'rhel-core' in it. Near matches: rhel-coreos, rhel-coreos-extensions.",
        ),
        ([file(PATH, image_stream(a="x", b="x"))], "zzz", "It has 2 components, such as a, b."),
        ([file(PATH, image_stream(a="registry.example.com/a:1"))], "a", "which is not pinned by digest"),
        ([file(PATH, image_stream(a="a@sha256:1"))], "a", "is not a digest"),
    ],
)
def test_a_release_that_cannot_name_it(
    registry: LabRegistry, members: list[Any], component: str, says: str, tmp_path: Path
) -> None:
    push_image(registry, "release/wrong", "1", members)
    result = ask(tmp_path, release=f"{registry.address}/release/wrong:1", release_component=component)
    assert result["failed"]
    assert result["failure"]["category"] == "input"
    assert says in result["msg"]


def test_a_release_that_is_gone(registry: LabRegistry, tmp_path: Path) -> None:
    result = ask(
        tmp_path, release=f"{registry.address}/release/none:1", release_component="rhel-coreos", must_exist=False
    )
    assert result["failed"]
    assert "check the spelling of the repository and the tag" in result["msg"]


def test_attached_signatures_are_listed(
    registry: LabRegistry, signing_key: SigstoreKey, coreos: str, tmp_path: Path
) -> None:
    assert ask(tmp_path, image=coreos)["signatures"] == {}
    digest = push_image(registry, "release/signed", "1", [file("usr/a")])
    signing_key.sign(registry, "release/signed", "1")
    attached = registry.digest("release/signed", digest.replace(":", "-") + ".sig")
    assert attached is not None
    assert ask(tmp_path, image=f"{registry.address}/release/signed:1")["signatures"] == {digest: attached}
