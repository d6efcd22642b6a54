#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of rollout_plan, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_plan
short_description: Check and order the rollout of an image over a pool
version_added: 0.1.0
description:
  - Plans in which order the nodes of a pool leave service, and stores the policy that M(imagemode.nodes.rollout_slot) obeys.
  - Use it with C(run_once) in a play over the pool itself. A play over C(localhost) would not obey C(--limit).
  - First come nodes that an earlier run left out of service, then nodes that failed before and are tried again, then canaries, then the
    rest in the order of the play, as nearly as workers that start together keep to it. Nodes that run the image already are not queued.
  - A node that could not be reached counts as out of service and as failed. A node that could not be staged stays in service, and
    counts as failed only. At O(max_failures) failures no node is queued but those which are out of service already.
  - One plan is in force per pool, whatever run made it last. A plan for another image is refused while another run is updating a node.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.rollout_store
attributes:
  check_mode:
    support: full
    details: Predicts the order and stores nothing.
  diff_mode:
    support: full
    details: Shows the stored state, before and after.
  idempotent:
    support: full
    details: A plan without work to do stores nothing.
  async:
    support: none
    details: It runs on the controller and takes milliseconds.
  platform:
    support: full
    platforms: posix
options:
  state:
    description:
      - V(checked) finds mistakes before anything is touched. The policy must make sense, the pool be a group, the forks suffice, and the
        store be usable.
      - V(planned) reads how staging ended on every host of the play, and makes the plan.
      - V(paused) lets no further node out of service, in this run or any other. Nodes that are out finish.
      - V(resumed) lifts that. Run the rollout again to carry on.
    type: str
    choices: [checked, planned, paused, resumed]
    default: planned
  max_unavailable:
    description:
      - How many nodes of the pool may be out of service at once, the window.
      - A number, or a percentage of the whole pool, which is rounded down, but never below one node.
    type: str
    default: "1"
  max_failures:
    description: The failure at which no further node leaves service.
    type: int
    default: 1
  canaries:
    description: Nodes that go first. Other nodes wait until all of them are back in service. A canary that fails stops the rollout.
    type: list
    elements: str
    default: []
  expected_digests:
    description:
      - The digests that the nodes are to run, any of them. A node that staged another digest counts as failed.
      - With O(state=checked), a pool that another run is just updating to other digests is refused, before anything is staged.
    type: list
    elements: str
    default: []
  staging:
    description: Name of the variable that the staging task registered on every host, a result of
      M(imagemode.nodes.bootc_switch).
    type: str
    default: node_rollout_staging
  since:
    description:
      - When staging began, in seconds since 1970, as RV(at) of O(state=checked).
      - With it, a node that was away during staging because another run was updating it does not count as failed.
    type: float
  pool_size:
    description: The number of nodes in the whole pool, where the inventory shows only a part of it. The default is the size of the group.
    type: int
  forget:
    description: Nodes whose entries are dropped from the state, because they were retired or renamed.
    type: list
    elements: str
    default: []
  allow:
    description: Digests that are no longer denied in this pool.
    type: list
    elements: str
    default: []
seealso:
  - module: imagemode.nodes.rollout_slot
  - module: imagemode.nodes.rollout_report
"""

EXAMPLES = r"""
- name: Find mistakes before anything is touched
  imagemode.nodes.rollout_plan:
    state: checked
    pool: workers
    max_unavailable: 10%
  run_once: true
  register: checked

- name: Plan the order
  imagemode.nodes.rollout_plan:
    pool: workers
    max_unavailable: 10%
    max_failures: 2
    canaries: [worker-03]
    expected_digests: "{{ image.expected_digests }}"
    since: "{{ checked.at }}"
    staging: staged
  run_once: true
  register: plan

- name: Queue the nodes for a play with strategy host_pinned
  ansible.builtin.add_host:
    name: "{{ item }}"
    groups: queue
  loop: "{{ plan.order }}"
  changed_when: false
  run_once: true

- name: Let no further node out of service
  imagemode.nodes.rollout_plan:
    state: paused
    pool: workers
  run_once: true
"""

RETURN = r"""
order:
  description: The nodes to update, the first one first.
  returned: when O(state=planned)
  type: list
  elements: str
window:
  description: How many nodes may be out of service at once.
  returned: when O(state=checked) or O(state=planned)
  type: int
pool_size:
  description: The number of nodes in the whole pool.
  returned: when O(state=checked) or O(state=planned)
  type: int
at:
  description: The time on the controller, in seconds since 1970.
  returned: when O(state=checked)
  type: float
store_path:
  description: Where the state of the pool is.
  returned: always
  type: str
resumed_nodes:
  description: Nodes of this run that an earlier or another run took out of service.
  returned: when O(state=planned)
  type: list
  elements: str
retried_nodes:
  description: Nodes that failed before and are tried again.
  returned: when O(state=planned)
  type: list
  elements: str
unreachable_nodes:
  description: Nodes that staging could not reach.
  returned: when O(state=planned)
  type: list
  elements: str
unstaged_nodes:
  description: Nodes that are in service on their old image because staging failed.
  returned: when O(state=planned)
  type: list
  elements: str
right_nodes:
  description: Nodes that run the image already.
  returned: when O(state=planned)
  type: list
  elements: str
halted:
  description: Whether no further node may leave service.
  returned: when O(state=planned)
  type: bool
reason:
  description: Why no further node may leave service. Empty if nothing speaks against it.
  returned: when O(state=planned)
  type: str
msg:
  description: The plan in one line.
  returned: always
  type: str
  sample: "workers: 50 nodes, 50 in this run; 38 to update to sha256:9f2c6a1b0d3e, 12 already right; window 5"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=rollout_arguments.PLAN, supports_check_mode=True)
    module.fail_json(msg=rollout_arguments.only_on_the_controller("rollout_plan"))


if __name__ == "__main__":
    main()
