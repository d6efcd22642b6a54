# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollouts that are struck: the ways that a node can go through one."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

NODES = ("n1", "n2", "n3")
WINDOW = 2

# Where hooks write down what they took out of service and brought back: one line each, `TIME before|after NODE`.
HOOK = """\
# SPDX-License-Identifier: GPL-3.0-or-later
---
- name: {what} hook
  ansible.builtin.shell:
    cmd: echo "$(date +%s.%N) {what} {{{{ inventory_hostname }}}}" >> {file}
  delegate_to: localhost
  become: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
"""


@dataclasses.dataclass(frozen=True)
class Course:
    """``variables``: of the pool. ``hooks``: nodes are drained by task files. ``arrives``: or goes back to the old image.

    ``cluster``: nodes are drained in a Kubernetes cluster. ``cordoned``: these were cordoned there before, by others.
    """

    name: str
    variables: Mapping[str, Any] = dataclasses.field(default_factory=lambda: types.MappingProxyType({}))
    hooks: bool = False
    arrives: bool = True
    cluster: bool = False
    cordoned: tuple[str, ...] = ()


# The old image is well, and the new one never is.
BAD: Mapping[str, Any] = types.MappingProxyType(
    {
        "imagemode_health_checks": [{"name": "old", "command": ["grep", "-q", "VERSION_ID=1", "/usr/lib/os-release"]}],
        "imagemode_health_deadline": "1s",
    }
)

COURSES = (
    Course("update"),
    Course("with hooks", hooks=True),
    Course("bad image", BAD, arrives=False),
    Course("drained", cluster=True),
    Course("drained for a bad image", BAD, arrives=False, cluster=True),
    Course("lease", {"imagemode_store": "kubernetes"}, cluster=True, cordoned=("n3",)),
)


def course(name: str) -> Course:
    """The one of that name. Raises KeyError."""
    return {known.name: known for known in COURSES}[name]
