# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for image_digest_info: the tag is the digest."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        name, _separator, tag = self._task.args["image"].rpartition(":")
        if tag == "nothing":
            return {"changed": False, "image": f"{name}@sha256:{tag}", "expected_digests": []}
        return {"changed": False, "image": f"{name}@sha256:{tag}", "expected_digests": [f"sha256:{tag}"]}
