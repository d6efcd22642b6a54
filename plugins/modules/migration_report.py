#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of migration_report, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_report
short_description: Say what a migration to bootc costs, and how it ended
version_added: 0.1.0
description:
  - Shows what M(imagemode.nodes.migration_info) found on all nodes of a play as one table, or judges every node afterwards and shows the
    closing table.
  - A node is right when bootc looks after the wanted image, proven by digest, and the node booted with the kernel arguments that were
    staged.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing. It then says which nodes would be migrated.
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
    description: The inventory group that is migrated.
    type: str
    required: true
  state:
    description:
      - V(survey) shows what the migration of each host of the play costs, and sets the job artifact C(imagemode_survey).
        Use it with C(run_once).
      - V(node) judges the host, and fails if bootc does not look after the image there.
      - V(table) shows how it ended for the hosts of the play, and sets the job artifact C(imagemode_migration). Use it with C(run_once).
    type: str
    choices: [survey, node, table]
    default: node
  image:
    description: The wanted image, to be named in the table of O(state=survey).
    type: str
  expected_digests:
    description: The digests that the nodes are to run, any of them.
    type: list
    elements: str
    default: []
  survey:
    description: Name of the variable that M(imagemode.nodes.migration_info) registered before.
    type: str
    default: bootc_migration_survey
  after:
    description: Name of the variable that M(imagemode.nodes.migration_info) registered afterwards.
    type: str
    default: bootc_migration_proof
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
  - module: imagemode.nodes.migration_info
  - module: imagemode.nodes.rollout_report
"""

EXAMPLES = r"""
- name: Show what the migration costs
  imagemode.nodes.migration_report:
    state: survey
    pool: workers
  run_once: true
"""

RETURN = r"""
nodes:
  description:
    - With O(state=survey) for each host what RV(imagemode.nodes.migration_info#module:case) and its neighbours are, without the host.
    - Otherwise how the migration ended, for the host, or with O(state=table) for all hosts of the play.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The node's name in the inventory.
      type: str
      returned: always
    case:
      description: What it was before.
      type: str
      returned: always
    pull_bytes:
      description: What the survey said it has to pull, in bytes.
      type: int
      returned: always
    reboots:
      description: How many reboots it takes; afterwards, whether it was rebooted between survey and proof, by its boot ids.
      type: int
      returned: always
    outcome:
      description:
        - V(already bootc-managed), V(migrated), or V(would be migrated) in check mode.
        - V(not proven) if it runs the image, but bootc does not look after it or its kernel arguments are not those that were staged.
        - Otherwise as in RV(imagemode.nodes.rollout_report#module:nodes[].outcome).
      type: str
      returned: not with O(state=survey)
    from_digest:
      description: What it ran before.
      type: str
      returned: not with O(state=survey)
    from_checksum:
      description: The ostree commit that it ran before, for the way back where there is no digest.
      type: str
      returned: not with O(state=survey)
    to_digest:
      description: What it was to run.
      type: str
      returned: not with O(state=survey)
    seconds:
      description: How long it was out of service. Null if it never was.
      type: float
      returned: not with O(state=survey)
    kargs_added:
      description: Kernel arguments that it did not boot with before.
      type: list
      elements: str
      returned: not with O(state=survey)
    kargs_removed:
      description: Kernel arguments that it does not boot with any more.
      type: list
      elements: str
      returned: not with O(state=survey)
    reason:
      description: Why it is not migrated.
      type: str
      returned: not with O(state=survey)
totals:
  description: Numbers over the nodes.
  returned: with O(state=survey)
  type: dict
  contains:
    nodes:
      description: Number of nodes.
      type: int
    free:
      description: Nodes that need no reboot.
      type: int
    rebooting:
      description: Nodes that need one.
      type: int
    undecided:
      description: Nodes that cannot be migrated as things stand.
      type: int
    unseen:
      description: Nodes that could not be looked at.
      type: int
    pull_bytes:
      description: What all nodes that can be migrated have to pull; V(null) if nobody can tell.
      type: int
msg:
  description: The outcome in one line.
  returned: always
  type: str
  sample: "workers: 6 nodes: 3 already bootc-managed, 3 migrated"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=rollout_arguments.MIGRATION_REPORT, supports_check_mode=True)
    module.fail_json(msg=rollout_arguments.only_on_the_controller("migration_report"))


if __name__ == "__main__":
    main()
