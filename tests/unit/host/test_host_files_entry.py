# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module entry of host_files tells the node's own log, and Ansible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.imagemode.nodes.plugins.modules import host_files

SECRET = "first line of it\nhunter2"


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **params: Any
) -> tuple[dict[str, Any], list[str]]:
    """The module's result and what it wrote into the log of the node."""
    logged: list[str] = []
    monkeypatch.setattr(
        basic.AnsibleModule, "log", lambda _self, msg, log_args=None: logged.append(f"{msg} {log_args}")
    )
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**params, "_ansible_diff": True}}).encode()
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments)
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        host_files.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result, logged


@pytest.mark.parametrize("mode", ["0600", "wrong"])
def test_a_secret_is_neither_logged_nor_returned(
    mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = str(tmp_path / "root/token")
    owner = {"owner": str(tmp_path.stat().st_uid), "group": str(tmp_path.stat().st_gid)}
    secret = {"path": path, "content": SECRET, "secret": True, "mode": mode, **owner}
    result, logged = run(monkeypatch, capsys, files=[secret])
    assert logged, "it does log"
    for text in (json.dumps(result), repr(logged)):
        assert "hunter2" not in text
        assert "first line" not in text
    assert result["invocation"]["module_args"]["files"] == [path], "paths stay readable"
    assert result.get("failed", False) is (mode == "wrong")
    if mode == "0600":
        assert result["files"][0]["owner"] == owner["owner"]
