# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two modules make of trouble that is nobody's input."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import layered_build, module_run
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed


def test_a_tool_that_hangs_is_a_failure_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_arguments: Any) -> None:
        raise DeadlinePassed("skopeo did not answer within 60 s")

    monkeypatch.setattr(module_run, "registry_access", hang)
    monkeypatch.setattr(layered_build, "build_request", hang)
    question = {"image": "registry.example.com/os:1", "must_exist": True, "platforms": []}
    for outcome in (module_run.digest_info(question), layered_build.layered_build({}, check_mode=False)):
        assert outcome.failed
        assert "skopeo did not answer within 60 s. That is a command on the machine itself" in outcome.result["msg"]
        assert (outcome.result["failure"]["category"], outcome.result["failure"]["retryable"]) == ("engine", True)
