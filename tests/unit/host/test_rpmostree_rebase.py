# SPDX-License-Identifier: GPL-3.0-or-later
"""rpmostree_rebase end to end against a make-believe node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._host.image_staging import ImageStaging, StagingOptions
from node_on_disk import D1, NAME, NodeOnDisk

RPM_OSTREE = """
case "$*" in
status*) cat "$NODE/status" ;;
kargs) echo root=x ;;
reset) mv "$NODE/later" "$NODE/status" ;;
esac
"""


def deployment(**fields: Any) -> dict[str, Any]:
    image = {"container-image-reference": f"ostree-unverified-registry:{NAME}:v1"}
    return {"osname": "os", "serial": 0, **image, "container-image-reference-digest": D1, **fields}


def write(path: Path, *deployments: dict[str, Any]) -> None:
    path.write_text(json.dumps({"deployments": deployments, "transaction": None}))


def test_a_reset_was_killed_when_the_time_for_a_busy_host_was_over(tmp_path: Path) -> None:
    scripts: list[str] = []

    class Overheard(NodeOnDisk):
        def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
            scripts.append(script)
            return super()._execute(script, limit)

    node = Overheard(tmp_path)
    node.tool("rpm-ostree", RPM_OSTREE)
    layered = deployment(checksum="layered", booted=True, **{"requested-packages": ["htop"]})
    write(tmp_path / "status", layered)
    write(tmp_path / "later", deployment(checksum="base", staged=True), layered)
    desired = DesiredImage(ImageReference.parse(f"{NAME}:v1"), local_changes=LocalChangesPolicy.DISCARD)
    options = StagingOptions(Tool.RPM_OSTREE, desired, busy_timeout=1, stage_timeout=60)
    result = ImageStaging(node, options).run(check_mode=False)
    assert result["commands"] == [["rpm-ostree", "reset"]]
    assert result["after"]["next"] == "staged"
    assert "run_bounded 60 INT 60 rpm-ostree reset;" in "".join(scripts)
