#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of rollout_report, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Say how a rollout ended
version_added: 0.1.0
description:
  - Judges every node by what staging and the slot registered, so that recap and exit code of the last play tell the truth, and shows the
    closing table.
  - Use it in the last play only, since a node that fails here takes part in no further play.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing. It then says which nodes would be updated.
  diff_mode:
    support: none
    details: Changes nothing.
  idempotent:
    support: full
  async:
    support: none
    details: It runs on the controller and takes milliseconds.
  platform:
    support: full
    platforms: posix
options:
  pool:
    description: The inventory group that was rolled out to.
    type: str
    required: true
  state:
    description:
      - V(node) judges the host, and fails if it does not run the image.
      - V(table) shows the hosts of the play, and sets the job artifact C(imagemode_rollout). Use it with C(run_once).
    type: str
    choices: [node, table]
    default: node
  expected_digests:
    description: The digests that the nodes are to run, any of them.
    type: list
    elements: str
    default: []
  staging:
    description: Name of the variable that the staging task registered.
    type: str
    default: node_rollout_staging
  held:
    description: Name of the variable that M(imagemode.nodes.rollout_slot) registered when it was asked for the slot.
    type: str
    default: node_rollout_held
  rebooted:
    description: Name of the variable that M(imagemode.nodes.node_reboot) registered.
    type: str
    default: node_rollout_reboot
  ended:
    description: Name of the variable that M(imagemode.nodes.rollout_slot) registered when the slot was given back or failed.
    type: str
    default: node_rollout_ended
notes:
  - Runs on the controller. No connection to the node is made.
seealso:
  - module: imagemode.nodes.rollout_plan
  - module: imagemode.nodes.rollout_slot
"""

EXAMPLES = r"""
- name: Report
  hosts: workers
  gather_facts: false
  tasks:
    - name: Report
      block:
        - name: Judge the node
          imagemode.nodes.rollout_report:
            pool: workers
      always:
        - name: Show the table
          imagemode.nodes.rollout_report:
            state: table
            pool: workers
          run_once: true
"""

RETURN = r"""
nodes:
  description: How the rollout ended, for the host, or with O(state=table) for all hosts of the play.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The node's name in the inventory.
      type: str
    outcome:
      description:
        - V(updated), V(already right), or V(would be updated) in check mode.
        - V(failed) in its slot, V(not staged) or V(unreachable) before, or V(not its turn) if the rollout stopped before.
      type: str
    from_digest:
      description: What it ran before.
      type: str
    to_digest:
      description: What it was to run.
      type: str
    seconds:
      description: How long it was out of service. Null if it never was.
      type: float
    reason:
      description: Why it does not run the image.
      type: str
msg:
  description: The outcome in one line.
  returned: always
  type: str
  sample: "workers: 6 nodes: 5 updated, 1 already right"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=rollout_arguments.REPORT, supports_check_mode=True)
    module.fail_json(msg=rollout_arguments.only_on_the_controller("rollout_report"))


if __name__ == "__main__":
    main()
