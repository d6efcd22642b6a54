# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig that is none: the message names the file and what is wrong with it, and not what the library stumbled over."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import Cluster, ClusterError, ClusterOptions

pytest.importorskip("kubernetes")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file {file}. The file is {file} (kubeconfig)."),
        ("hello\n", "this is YAML, but no kubeconfig. The file is {file} (kubeconfig)."),
        ("[]\n", "this is YAML, but no kubeconfig. The file is {file} (kubeconfig)."),
        ("a: {\n", "they are not YAML. The file is {file} (kubeconfig)."),
        ("", "Invalid kube-config. {file} file is empty. The file is {file} (kubeconfig)."),
    ],
)
def test_a_kubeconfig_that_is_none(tmp_path: Path, content: str | None, told: str) -> None:
    file = tmp_path / "rollout.kubeconfig"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ClusterError) as caught:
        Cluster(ClusterOptions(kubeconfig=str(file)))
    assert str(caught.value) == "the credentials cannot be read: " + told.format(file=file)
