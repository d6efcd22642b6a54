#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of rollout_store, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_store
short_description: Show and mend the state of a pool's rollout by hand
version_added: 0.1.0
description:
  - Shows who is out of service since when and why, pauses a rollout and lets it go on, approves of an image, and sets right what only a
    person can know, such as that a node was retired or that an image which was denied is good after all.
  - Use it with C(run_once) in a play over the pool, or with the playbook C(imagemode.nodes.rollout_store).
  - It changes what is known, never a node. Nodes that are out of service are brought back by the next rollout.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.rollout_store
attributes:
  check_mode:
    support: full
    details: Says what would change and stores nothing.
  diff_mode:
    support: full
    details: Shows the stored state, before and after.
  idempotent:
    support: full
    details: What is as it should be already is not stored again.
  async:
    support: none
    details: It runs on the controller and takes milliseconds.
  platform:
    support: full
    platforms: posix
options:
  state:
    description:
      - V(shown) only looks, and prints a table.
      - V(paused) lets no further node out of service, in any run, until V(resumed). Nodes that are out finish. Runs that wait end with an
        error that says so.
      - V(approved) lets the rest of the pool follow the canaries to the image of the last plan, or to O(digests). It holds for these
        digests alone.
      - V(released) drops what is stored about O(nodes). They are well and in service, or were retired or renamed. A node that a live run
        on this machine is working on is refused.
      - V(denied) denies O(digests) to the whole pool.
      - V(allowed) lifts that, for O(digests), or without them for all.
    type: str
    choices: [shown, paused, resumed, approved, released, denied, allowed]
    default: shown
  nodes:
    description: The nodes for O(state=released). They need not be in the inventory any more.
    type: list
    elements: str
    default: []
  digests:
    description: The digests for O(state=approved), O(state=denied) and O(state=allowed).
    type: list
    elements: str
    default: []
  reason:
    description: Why, in words, for O(state=denied).
    type: str
seealso:
  - module: imagemode.nodes.rollout_plan
  - module: imagemode.nodes.rollout_slot
"""

EXAMPLES = r"""
- name: Who is out of service?
  imagemode.nodes.rollout_store:
    pool: workers
  run_once: true

- name: Let no further node out of service
  imagemode.nodes.rollout_store:
    pool: workers
    state: paused
  run_once: true

- name: Two nodes were retired
  imagemode.nodes.rollout_store:
    pool: workers
    state: released
    nodes: [worker-07, worker-08]
  run_once: true
"""

RETURN = r"""
nodes:
  description: What is stored about nodes that are not simply in service, by name. See RV(imagemode.nodes.rollout_slot#module:slot).
  returned: always
  type: dict
rollout:
  description: The whole stored state, or null if no rollout was ever planned.
  returned: always
  type: dict
denied:
  description: The digests that no node of the pool may be given.
  returned: always
  type: list
  elements: dict
  contains:
    digest:
      description: The digest.
      type: str
    reason:
      description: The node that failed with it, and why.
      type: str
    since:
      description: When it was denied, in seconds since 1970.
      type: float
paused:
  description: Whether a person has paused the rollout.
  returned: always
  type: bool
store_path:
  description: Where the state of the pool is.
  returned: always
  type: str
lines:
  description: The table, line by line.
  returned: always
  type: list
  elements: str
msg:
  description: What happened, in one line.
  returned: always
  type: str
  sample: "workers: paused: no further node goes out of service"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=rollout_arguments.STORE_COMMAND, supports_check_mode=True)
    module.fail_json(msg=rollout_arguments.only_on_the_controller("rollout_store"))


if __name__ == "__main__":
    main()
