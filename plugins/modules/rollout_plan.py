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
  - First come nodes that an earlier run left out of service, then nodes that failed before and are tried again, or that are not ready in
    their cluster anyway, then canaries, then the rest zone by zone, as nearly as workers that start together keep to it. Nodes that run
    the image already are not queued.
  - A node that could not be reached, or is not ready in its cluster, counts as out of service and as failed. A node that could not be
    staged stays in service, and counts as failed only. A node that somebody else has cordoned counts as out of service only. At
    O(max_failures) failures no node is queued but those which are out of service already.
  - Where the digest is denied in the pool, only nodes which are out of service are queued, to be brought back.
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
    type: str
    choices: [checked, planned]
    default: planned
  max_unavailable:
    description:
      - How many nodes of the pool may be out of service at once, the window.
      - A number, or a percentage of the whole pool, which is rounded down, but never below one node.
    type: str
    default: "1"
  max_failures:
    description:
      - The failure at which no further node leaves service.
      - A number, or a percentage of the whole pool, which is rounded down, but never below one node.
    type: str
    default: "1"
  canaries:
    description: Nodes that go first. Other nodes wait until all of them are back in service. A canary that fails stops the rollout.
    type: list
    elements: str
    default: []
  order:
    description:
      - Who goes first within a zone.
      - V(oldest) is the node that was created first in its O(cluster), or, where that is not known, whose booted deployment was made
        first. Nodes of which neither is known come last.
    type: str
    choices: [inventory, oldest]
    default: inventory
  zones:
    description:
      - The zone of each node, by its name in the inventory. Nodes that are not named have the zone that O(cluster) tells.
      - The rest of the pool goes zone by zone, and a zone with nodes out of service goes before others.
    type: dict
    default: {}
  max_zones:
    description: In how many zones nodes may be out of service at once. With V(0) in any number, with V(1) in one after the other.
    type: int
    default: 0
  soak:
    description: How long the others wait after the last canary came back, in seconds, or as text such as V(90s), V(10m) or V(1h30m).
    type: str
    default: "0"
  soak_between:
    description: How long to wait after a node left service until the next one may, in seconds, or as text such as V(90s).
    type: str
    default: "0"
  maintenance_windows:
    description:
      - When nodes may leave service. Without any, always. Nodes that are out of service finish at any time.
      - Each has C(from) and C(to), such as V("22:00") and V("04:00"), the latter on the next day if it is not later; C(days), such as
        V([fri, sat]), on which it opens, by default every day; and C(timezone), such as V(Europe/Berlin), by default V(UTC).
    type: list
    elements: dict
    default: []
  outside_window:
    description: Whether nodes wait for the next maintenance window, or the rollout stops. Nodes that are out of service finish.
    type: str
    choices: [wait, stop]
    default: wait
  approval:
    description:
      - Whether a person has to approve of O(expected_digests) before others follow the canaries, or, without canaries, before anybody
        leaves service. Until then nodes that are no canaries are not failed, but told so.
    type: bool
    default: false
  approved:
    description:
      - Approves of O(expected_digests), of these and no others. M(imagemode.nodes.rollout_store) does it without a run.
    type: bool
    default: false
  overdue:
    description:
      - How long a node may be updated before it counts as failed, in seconds, or as text such as V(2h). With V(0) for ever.
      - It keeps its place in the window. No clock gives that to another node.
    type: str
    default: "2h"
  cluster:
    description: What the cluster says about the nodes, RV(imagemode.nodes.node_cluster_info#module:nodes).
    type: dict
    default: {}
  health_checks:
    description:
      - The C(checks) that M(imagemode.nodes.node_health_info) is going to be given. With O(state=checked) a mistake in them shows before
        anything is staged.
    type: list
    elements: raw
    default: []
  control_plane:
    description:
      - Whether the nodes are control planes, which leave service one at a time whatever O(max_unavailable) is.
      - With V(auto) they are if O(cluster) says so of one of them.
    type: str
    choices: [auto, "true", "false"]
    default: auto
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
seealso:
  - module: imagemode.nodes.rollout_slot
  - module: imagemode.nodes.rollout_store
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
    max_failures: 5%
    canaries: [worker-03]
    soak: 15m
    maintenance_windows:
      - {days: [sat, sun], from: "22:00", to: "04:00", timezone: Europe/Berlin}
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
denied:
  description:
    - Why O(expected_digests) may not be given to any node, and how to lift that. Empty if nothing speaks against them.
    - With O(state=checked) that is no error. Stage nothing then, and plan, so that nodes which are out of service are brought back.
  returned: always
  type: str
finish:
  description: Hosts of the play that are out of service and that no other run works on. They are to be finished whatever happens.
  returned: when O(state=checked)
  type: list
  elements: str
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
cordoned_nodes:
  description: Nodes that somebody else has cordoned, which counts as out of service.
  returned: when O(state=planned)
  type: list
  elements: str
not_ready_nodes:
  description: Nodes that are not ready in their cluster, and that this run does not update first.
  returned: when O(state=planned)
  type: list
  elements: str
overdue_nodes:
  description: Nodes whose update by another run takes longer than O(overdue).
  returned: when O(state=planned)
  type: list
  elements: str
zones:
  description: The zone of every host of the play that has one, for O(imagemode.nodes.rollout_slot#module:zone).
  returned: when O(state=planned)
  type: dict
awaiting_approval:
  description: Whether nodes are held back until a person approves of O(expected_digests). While canaries are still to come it is false.
  returned: when O(state=planned)
  type: bool
halted:
  description: Whether no further node may leave service.
  returned: when O(state=planned)
  type: bool
reason:
  description: Why no further node may leave service, or what it waits for to be approved. Empty if nothing speaks against it.
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
