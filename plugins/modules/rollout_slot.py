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
        paused, when the image is denied, or outside of maintenance windows if the plan says so. It does not fail where the rest of the
        pool waits for an approval, see RV(awaiting_approval).
      - V(held) again with another O(phase) says what the node is doing now.
      - V(released) says that the node is back in service.
      - V(kept) says that the node is in service on its old image, because it could not be updated or was rolled back. It counts as failed.
      - V(failed) says that it is not in service, and that nobody works on it any more. It keeps its place in the window until a later
        run brings it back.
      - V(status) only looks.
      - With V(kept) and V(failed), a node that holds no slot never left service, and nothing is recorded.
    type: str
    choices: [held, released, kept, failed, status]
    required: true
  expected_digests:
    description: What this run puts on the nodes. If a later plan for the pool wants something else, the slot is refused.
    type: list
    elements: str
    default: []
  phase:
    description:
      - What the node does in its slot, for people who wait for it, and for the next run. With O(state=kept) where its update ended.
      - The default is V(out of service) for O(state=held), and what is stored for O(state=kept).
    type: str
  zone:
    description: The zone of the node, for C(max_zones) of the plan, as in RV(imagemode.nodes.rollout_plan#module:zones).
    type: str
    default: ""
  from_digest:
    description: The digest that the node ran before, to be remembered with the slot.
    type: str
  from_checksum:
    description: The ostree commit that the node ran before, to be remembered with the slot. A plain ostree deployment has no digest.
    type: str
  boot_id:
    description: The boot id of the node before, to be remembered with the slot.
    type: str
  wait_timeout:
    description:
      - How long to wait for the slot, in seconds, or as text such as V(90s), V(10m) or V(1h30m). With V(0), for as long as it takes.
    type: str
    default: "0"
  reason:
    description: Why the node failed, in words, for O(state=failed), O(state=kept) and O(deny).
    type: str
  deny:
    description:
      - Also deny O(expected_digests), or without them the image of the plan, to the whole pool, until somebody lifts that with
        M(imagemode.nodes.rollout_store). For O(state=held) of a node that is out of service, O(state=kept) and O(state=failed).
      - Do it before a node is rolled back, so that a run which dies meanwhile leaves it known.
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
    - What became of the slot, V(held), V(released), V(kept) or V(failed) as asked for.
    - V(refused) if the rollout is stopped, V(unapproved) if it waits for an approval, V(waiting) if O(wait_timeout) passed.
  returned: unless O(state=status)
  type: str
slot:
  description: The node's entry in the state of the pool, or null if it is in service.
  returned: unless the slot was not granted
  type: dict
  contains:
    state:
      description:
        - V(active) while it is being updated, V(failed) if it is out of service and nobody works on it.
        - V(kept) if it is in service on its old image, V(away) if somebody else has cordoned it.
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
    from_checksum:
      description: The ostree commit that it ran before.
      type: str
    boot_id:
      description: Its boot id before.
      type: str
    zone:
      description: Its zone, or an empty text.
      type: str
    phase_since:
      description: When that phase began, in seconds since 1970.
      type: float
    held_since:
      description: When the present holder took it up, in seconds since 1970.
      type: float
    cordoned:
      description: Whether somebody else had cordoned it before, so that it is out of service after its update, too.
      type: bool
    reason:
      description: Why it failed.
      type: str
out_of_service:
  description: The nodes that take a place in the window, the longest out first.
  returned: unless the slot was not granted
  type: list
  elements: str
window:
  description: How many nodes may be out of service at once. Null without a plan.
  returned: unless the slot was not granted
  type: int
seconds:
  description: How long the node was out of service. Null if it held no slot.
  returned: when O(state=released), O(state=kept) or O(state=failed)
  type: float
at:
  description: When the slot was granted, in seconds since 1970.
  returned: when O(state=held), unless the slot was not granted
  type: float
waited:
  description: How long the slot was waited for, in seconds.
  returned: when O(state=held)
  type: float
phase_before:
  description: What an earlier run last did with the node, if its slot was taken over. Null if the node was in service.
  returned: when O(state=held), unless the slot was not granted
  type: str
from_digest:
  description: What the node ran before it left service, or null.
  returned: when O(state=held), unless the slot was not granted
  type: str
from_checksum:
  description: The ostree commit that the node ran before it left service, or null.
  returned: when O(state=held), unless the slot was not granted
  type: str
denied:
  description:
    - Why the image must not be given to this node, which then is only to be brought back. Empty if nothing speaks against it.
  returned: when O(state=held) or O(state=status)
  type: str
awaiting_approval:
  description: Whether the slot was not granted because a person has to approve of the image first. The node stays in service.
  returned: when O(state=held)
  type: bool
halted:
  description: Whether the rollout is stopped for this node.
  returned: when O(state=held)
  type: bool
reason:
  description: Why the slot was not granted, or why the node failed.
  returned: when the slot was not granted, or with O(state=kept) or O(state=failed)
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
