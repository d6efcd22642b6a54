#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of node_preflight_info; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_preflight_info
short_description: Find out what stands in the way of an update of a node
version_added: 0.1.0
description:
  - Looks at a node before a rollout, in two round trips, and changes nothing.
  - It is judged what staging would do, whether the image has room, whether the registry gives it to the node itself with the credentials
    that the node has, what the signature policy says, what else updates or reboots the node, what would keep it from rebooting, and what
    is broken already.
  - The task does not fail for what it finds, not even for a node that cannot be reached. RV(ready) tells.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: The same as outside of check mode.
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
  async:
    support: partial
    details: With C(async) the node needs Python 3.9 or newer.
  platform:
    support: full
    platforms: posix
options:
  image:
    description:
      - The image that the node shall get, in full with its registry.
      - Without it only the node itself is looked at.
    type: str
  expected_digests:
    description: Digests of the image, any of which the node may report.
    type: list
    elements: str
    default: []
  layers:
    description:
      - The RV(imagemode.nodes.image_digest_info#module:layers) of the image.
      - Without them it is not known what it needs on the disk.
    type: dict
    default: {}
  tool:
    description: The O(imagemode.nodes.image_stage#module:tool) of the rollout.
    type: str
    choices: [auto, bootc, rpm-ostree]
    default: auto
  signature_policy:
    description: The O(imagemode.nodes.image_stage#module:signature_policy) of the rollout.
    type: str
    choices: [unchanged, unverified, policy, ostree_remote]
    default: unchanged
  ostree_remote:
    description: The O(imagemode.nodes.image_stage#module:ostree_remote) of the rollout.
    type: str
  local_changes:
    description: The O(imagemode.nodes.image_stage#module:local_changes) of the rollout.
    type: str
    choices: [fail, keep, discard]
    default: fail
  bypass_driver:
    description: The O(imagemode.nodes.image_stage#module:bypass_driver) of the rollout.
    type: bool
    default: false
  inhibitors:
    description: The O(imagemode.nodes.node_reboot#module:inhibitors) of the rollout.
    type: str
    choices: [fail, wait, ignore]
    default: fail
  busy_timeout:
    description: Seconds to wait for a node that another program is working on. It is a finding after that.
    type: int
    default: 20
  registry_timeout:
    description: Seconds in which the registry must answer the node.
    type: int
    default: 20
notes:
  - Needs no Python on the node. POSIX shell scripts go over the connection on standard input.
  - Needs root on the node, directly or with C(become).
seealso:
  - module: imagemode.nodes.preflight_report
  - module: imagemode.nodes.image_mode_info
  - module: imagemode.nodes.image_stage
"""

EXAMPLES = r"""
- name: Resolve the image with its layers
  imagemode.nodes.image_digest_info:
    image: registry.example.com/fleet/node:2026.11
    with_layers: true
  register: image
  run_once: true
  delegate_to: localhost

- name: Look at every node
  imagemode.nodes.node_preflight_info:
    image: "{{ image.image }}"
    expected_digests: "{{ image.expected_digests }}"
    layers: "{{ image.layers }}"
  register: node_rollout_preflight

- name: Show what was found on all of them
  imagemode.nodes.preflight_report:
    state: table
    pool: workers
  run_once: true
"""

RETURN = r"""
ready:
  description: Whether nothing was found that keeps the rollout from working on this node.
  returned: success
  type: bool
findings:
  description: What was found, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description:
        - What was looked at. V(reachable), V(image_mode), V(tool), V(busy), V(staging), V(local_changes), V(deployments), V(updaters),
          V(architecture), V(disk), V(boot_space), V(read_only), V(registry), V(credentials), V(signature_policy), V(inhibitors),
          V(shutdown), V(clock), V(greenboot) or V(failed_units).
      type: str
      sample: disk
    severity:
      description: V(error) keeps the rollout from working, V(warning) may, V(note) is only to be known.
      type: str
      sample: warning
    node:
      description: The node's name in the inventory. V(null) with C(async).
      type: str
      sample: worker-03
    told:
      description: What was seen, in words.
      type: str
    fix:
      description: What to do. Empty where there is nothing to do, or where O(ignore:told) says it.
      type: str
pull_bytes:
  description:
    - What the node would have to pull at most, as the registry keeps it. V(0) if it has the image already, or if no image was given.
    - V(null) where nobody can tell.
  returned: success
  type: int
host:
  description: The node as M(imagemode.nodes.image_mode_info) returns it; V(null) if it could not be read.
  returned: success
  type: dict
unreachable_host:
  description: V(true) if no connection led to the node. That is a finding, and the task does not fail.
  returned: when the connection failed
  type: bool
msg:
  description: How much was found.
  returned: always
  type: str
  sample: 1 error, 2 notes
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.preflight import (
    PREFLIGHT_SPEC,
    look_before_rollout,
)


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=PREFLIGHT_SPEC, supports_check_mode=True)
    run_on_this_machine(module, lambda runner: look_before_rollout(runner, module.params))


if __name__ == "__main__":
    main()
