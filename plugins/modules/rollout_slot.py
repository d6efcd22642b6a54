#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of rollout_slot, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_slot
short_description: Take a node out of service when its turn has come
version_added: 0.1.0
description:
  - Holds and gives back the host's place in the window of its pool, so that never more nodes are out of service than the pool's owner
    allows, however many controllers, slices or repeated runs work on the pool.
  - The slot belongs to the node, not to the process. A run that dies leaves it, and the next run that includes the node carries on.
    No time limit takes a slot away.
  - While it waits, the first in line says whom it waits for, as plain output, whenever something changes and every half a minute.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.rollout_store
attributes:
  check_mode:
    support: full
    details: Never waits and stores nothing.
  diff_mode:
    support: full
    details: Shows the node's entry, before and after.
  idempotent:
    support: full
    details: A slot that this run holds, and one that was given back, stay as they are.
  async:
    support: none
    details: It runs on the controller.
  platform:
    support: full
    platforms: posix
options:
  state:
    description:
      - V(held) waits until the node may leave service. It fails if the rollout is stopped, which it is at the plan's C(max_failures), when
        paused, or when the image is denied.
      - V(held) again with another O(phase) says what the node is doing now.
      - V(released) says that the node is back in service.
      - V(failed) says that it is not, and that nobody works on it any more. It keeps its place in the window until a later run brings it
        back. A node that holds no slot is still in service, and nothing is recorded.
      - V(status) only looks.
    type: str
    choices: [held, released, failed, status]
    required: true
  expected_digests:
    description: What this run puts on the nodes. If a later plan for the pool wants something else, the slot is refused.
    type: list
    elements: str
    default: []
  phase:
    description: What the node does in its slot, for people who wait for it.
    type: str
    default: out of service
  from_digest:
    description: The digest that the node ran before, to be remembered with the slot.
    type: str
  boot_id:
    description: The boot id of the node before, to be remembered with the slot.
    type: str
  wait_timeout:
    description: Seconds to wait for the slot. With V(0), for as long as it takes.
    type: int
    default: 0
  reason:
    description: Why the node failed, in words, for O(state=failed).
    type: str
  deny:
    description: With O(state=failed), also deny the image of the plan to the whole pool, until C(allow) of
      M(imagemode.nodes.rollout_plan) lifts that.
    type: bool
    default: false
notes:
  - O(state=held) needs a play with C(strategy=ansible.builtin.host_pinned) over hosts in the order of the plan, and refuses any other. With
    V(linear) or V(free) the nodes that hold the slots would wait for those which wait for them.
  - It also needs two forks more than the window, and says how many.
  - Nothing between V(held) and V(released) may end as C(UNREACHABLE), because Ansible then skips C(rescue) and C(always).
seealso:
  - module: imagemode.nodes.rollout_plan
  - module: imagemode.nodes.node_reboot
"""

EXAMPLES = r"""
- name: Update the nodes through the window
  hosts: queue
  gather_facts: false
  strategy: ansible.builtin.host_pinned
  tasks:
    - name: Update the node
      block:
        - name: Wait for the slot
          imagemode.nodes.rollout_slot:
            state: held
            pool: workers
            phase: rebooting

        - name: Reboot into the image and prove it
          imagemode.nodes.node_reboot:
            expected_digests: "{{ image.expected_digests }}"

        - name: Give the slot back
          imagemode.nodes.rollout_slot:
            state: released
            pool: workers
      rescue:
        - name: Record the failure
          imagemode.nodes.rollout_slot:
            state: failed
            pool: workers
            reason: "{{ ansible_failed_result.msg }}"
"""

RETURN = r"""
slot_state:
  description:
    - What became of the slot, V(held), V(released) or V(failed) as asked for.
    - V(refused) if the rollout is stopped, V(waiting) if O(wait_timeout) passed.
  returned: unless O(state=status)
  type: str
slot:
  description: The node's entry in the state of the pool, or null if it is in service.
  returned: unless the slot was refused
  type: dict
  contains:
    state:
      description: V(active) while it is being updated, V(failed) if nobody works on it, V(unstaged) if it is in service on its old image.
      type: str
    phase:
      description: What it does in its slot.
      type: str
    since:
      description: When it left service, in seconds since 1970.
      type: float
    holder:
      description: The controller process that works on it, or null.
      type: dict
    from_digest:
      description: What it ran before.
      type: str
    boot_id:
      description: Its boot id before.
      type: str
    was_cordoned:
      description: Whether somebody else had cordoned it before, or null if nobody looked.
      type: bool
    reason:
      description: Why it failed.
      type: str
out_of_service:
  description: The nodes that take a place in the window, the longest out first.
  returned: unless the slot was refused
  type: list
  elements: str
window:
  description: How many nodes may be out of service at once. Null without a plan.
  returned: unless the slot was refused
  type: int
seconds:
  description: How long the node was out of service. Null if it held no slot.
  returned: when O(state=released) or O(state=failed)
  type: float
at:
  description: When the slot was granted, in seconds since 1970.
  returned: when O(state=held), unless the slot was refused
  type: float
halted:
  description: Whether the rollout is stopped for this node.
  returned: when O(state=held)
  type: bool
reason:
  description: Why the slot was refused, or why the node failed.
  returned: when the slot was refused, or O(state=failed)
  type: str
msg:
  description: What happened, in one line.
  returned: always
  type: str
  sample: "workers: worker-03 is back in service, out of service 94 s; 12 of 50 done, about 9 min left"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=rollout_arguments.SLOT, supports_check_mode=True)
    module.fail_json(msg=rollout_arguments.only_on_the_controller("rollout_slot"))


if __name__ == "__main__":
    main()
