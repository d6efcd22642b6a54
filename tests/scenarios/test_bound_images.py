# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are bound to others: bootc pulls those too, rpm-ostree does not know of them."""

from __future__ import annotations

from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.registry import Registry


def test_what_rpm_ostree_does_not_pull_is_said(
    make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry
) -> None:
    """Which image is named does not matter to rpm-ostree, so an empty file does for the link here."""
    files = {"/usr/lib/bootc/bound-images.d/app.container": ""}
    bound = images.build_base(registry.address, name="bound", tag="app", version="2.0", extra_files=files)
    plain = images.build_base(registry.address, name="bound", tag="plain", version="3.0")
    make_node("n1", versions={"bootc": None, "rpm-ostree": "2026.2"})
    tasks = [
        {"name": name, "imagemode.nodes.image_stage": {"image": one}}
        for name, one in (("app", bound), ("plain", plain))
    ]
    run = run_playbook([{"hosts": "workers", "gather_facts": False, "tasks": tasks}])
    assert run.rc == 0, run.stdout
    said = [warning for warning in run.result("app", "n1")["warnings"] if "bound" in warning]
    assert len(said) == 1
    assert "app.container" in said[0]
    assert not [warning for warning in run.result("plain", "n1")["warnings"] if "bound to" in warning]
