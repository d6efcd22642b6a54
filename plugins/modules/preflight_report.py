#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of preflight_report, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Say whether a rollout could begin, and what stands in its way
version_added: 0.1.0
description:
  - Shows what M(imagemode.nodes.node_preflight_info) found on all hosts of a play, together with what was found of the pool as a whole, as
    one table, the worst first. What many nodes share is told once.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing, and says the same as outside of check mode.
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
    description: The inventory group that is to be updated.
    type: str
    required: true
  state:
    description:
      - V(node) fails if something keeps the host from being updated, or for the first host of the play if something keeps the whole pool
        from it.
      - V(table) shows what was found on all hosts of the play and around them, with variables that nobody reads, and sets the job
        artifact C(imagemode_preflight). It never fails. Use it with C(run_once).
    type: str
    choices: [node, table]
    default: node
  preflight:
    description: Name of the variable that M(imagemode.nodes.node_preflight_info) registered on every host.
    type: str
    default: node_rollout_preflight
  image:
    description: Name of the variable that M(imagemode.nodes.image_digest_info) registered.
    type: str
    default: node_rollout_image
  checked:
    description: Name of the variable that M(imagemode.nodes.rollout_plan) registered with C(state=checked).
    type: str
    default: node_rollout_checked
  cluster:
    description: Name of the variable that M(imagemode.nodes.node_cluster_info) registered.
    type: str
    default: node_rollout_cluster
  drains:
    description: Whether the rollout is going to drain nodes, so that disruption budgets count.
    type: bool
    default: false
  mistakes:
    description: What else the play found wrong with its variables, one sentence each.
    type: list
    elements: str
    default: []
  health_checks:
    description: The O(imagemode.nodes.node_health_info#module:checks) of the rollout, to be read for mistakes.
    type: raw
    default: []
notes:
  - Runs on the controller. No connection to the node is made.
  - A variable of another task that was not registered is left out of the report.
seealso:
  - module: imagemode.nodes.node_preflight_info
  - module: imagemode.nodes.rollout_plan
"""

EXAMPLES = r"""
- name: Show what stands in the way
  imagemode.nodes.preflight_report:
    state: table
    pool: workers
    health_checks: "{{ imagemode_health_checks }}"
  run_once: true
"""

RETURN = r"""
ready:
  description: Whether nothing was found that keeps the host from being updated, or with O(state=table) any host or the pool.
  returned: always
  type: bool
pool_ready:
  description: Whether nothing was found that would keep every node from being updated, whatever is true of single ones.
  returned: with O(state=table)
  type: bool
not_ready:
  description: The nodes with an error among their findings.
  returned: with O(state=table)
  type: list
  elements: str
findings:
  description: What was found, the worst first. Also in the job artifact C(imagemode_preflight).
  returned: with O(state=table)
  type: list
  elements: dict
  contains:
    check:
      description:
        - What was looked at, as in RV(imagemode.nodes.node_preflight_info#module:findings[].check).
        - Of the pool also V(image), V(variables), V(rollout), V(health_checks), V(cluster), V(cluster_node), V(budgets) or V(rights).
      type: str
    severity:
      description: V(error), V(warning) or V(note).
      type: str
    nodes:
      description: The nodes of which it is true. Empty for what concerns the pool.
      type: list
      elements: str
    told:
      description: What was seen. Of several nodes that differ in numbers only, the words for the first.
      type: str
    fix:
      description: What to do.
      type: str
msg:
  description: The outcome in one line.
  returned: always
  type: str
  sample: "workers: 4 of 6 nodes are ready: 2 errors, 1 warning"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_arguments import PREFLIGHT_REPORT
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_arguments import only_on_the_controller


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=PREFLIGHT_REPORT, supports_check_mode=True)
    module.fail_json(msg=only_on_the_controller("preflight_report"))


if __name__ == "__main__":
    main()
