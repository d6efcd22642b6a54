# SPDX-License-Identifier: GPL-3.0-or-later
"""A node on which nothing is wrong, and how to say what is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    UNVERIFIED,
    ImageReference,
    Signature,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import (
    NodeFacts,
    RegistryAnswer,
    Space,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import Finding
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_node import NodeView, Wish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import TrustFacts

MB = 1_000_000
GB = 1000 * MB
OLD, NEW = ("sha256:" + digit * 64 for digit in "12")
NAME = "registry.example.com/os"
LAYERS = {"linux/amd64": (("sha256:base", 300 * MB), ("sha256:top", 100 * MB))}
ANYTHING = '{"default": [{"type": "insecureAcceptAnything"}]}'
SKOPEO_OK = RegistryAnswer(by="skopeo", ok=True)


def image(tag: str = "old", digest: str = OLD, signature: Signature = UNVERIFIED) -> DeployedImage:
    return DeployedImage(ImageReference.parse(f"{NAME}:{tag}"), signature, digest)


def deployment(of: DeployedImage | None = None, **fields: object) -> Deployment:
    return replace(Deployment(of, checksum="c" * 64, serial=0), **fields)  # type: ignore[arg-type]


def space(available: int, total: int = 10 * GB, device: str = "1", inodes: int | None = 10**6) -> Space:
    return Space(total, available, device, inodes)


HOST = HostState(tool=Tool.BOOTC, booted=deployment(image()), bootc_version="1.16.9", rpm_ostree_version="2026.2")
FACTS = NodeFacts(
    time=1000.0,
    machine="x86_64",
    space={"repository": space(5 * GB), "/boot": space(GB, device="2"), "/var": space(5 * GB), "/run": space(GB)},
    kernel_bytes=100 * MB,
)
NODE = NodeView(
    host=HOST,
    facts=FACTS,
    trust=TrustFacts(policies={"/etc/containers/policy.json": ANYTHING}),
    present=frozenset({"sha256:base"}),
    registry=SKOPEO_OK,
    skew=0.0,
)
WISH = Wish(desired=DesiredImage(ImageReference.parse(f"{NAME}@{NEW}"), frozenset({NEW})), layers=LAYERS)


def short(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Severity and check of each."""
    return [(finding.severity.value, finding.check.value) for finding in findings]
