#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of node_reboot, which works from the controller: what reboots cannot wait for itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_reboot
short_description: Reboot an image-mode host once, and prove where it landed
version_added: 0.1.0
description:
  - Reboots the node if, and only if, something else than the booted deployment boots next, waits until it is back in a new boot,
    and proves from its state that it runs what was next.
  - A second run reboots nothing. Two controllers at once cause one reboot, because the order is only given in the boot that was looked at.
  - A node that would boot something outside O(expected_digests) is not rebooted.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.attributes.host
  - imagemode.nodes.host_state.digests
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows what boots next, before and after.
  idempotent:
    support: full
  async:
    support: none
    details: The node cannot wait for its own reboot.
  platform:
    support: full
    platforms: posix
options:
  reboot_timeout:
    description: Seconds from the order to reboot until the node must answer in the new boot.
    type: int
    default: 900
seealso:
  - module: imagemode.nodes.bootc_switch
"""

EXAMPLES = r"""
- name: Reboot into what is staged
  imagemode.nodes.node_reboot:
    expected_digests: "{{ node_image.expected_digests }}"
    reboot_timeout: 1200
"""

RETURN = r"""
before:
  description: The host before, in the shape of RV(imagemode.nodes.image_mode_info#module:host).
  returned: success
  type: dict
after:
  description: The host after, in the same shape; in check mode as predicted.
  returned: success
  type: dict
reboot_required:
  description: Whether something else than the booted deployment boots next. A function of the host's state alone.
  returned: success, and failure after the state could be read
  type: bool
reboot_kind:
  description: V(soft), V(full), or V(null) if no reboot is required.
  returned: success, and failure after the state could be read
  type: str
commands:
  description: The commands that were run to change the node, or would be in check mode, each as a list of words.
  returned: success, and failure after the state could be read
  type: list
  elements: list
  sample: [[bootc, switch, "registry.example.com/fleet/node:2026.11"]]
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
booted:
  description: The running deployment, in the shape of RV(imagemode.nodes.image_mode_info#module:host.booted).
  returned: success
  type: dict
boot_id_before:
  description: The kernel's id of the boot before.
  returned: success, and failure after the state could be read
  type: str
boot_id_after:
  description: The kernel's id of the boot after; the same as before if no reboot was needed, V(null) in check mode.
  returned: success, and failure after the state could be read
  type: str
seconds:
  description: Seconds from the order to reboot until the proof; 0 if no reboot was needed.
  returned: success, and failure after the state could be read
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import REBOOT_SPEC


def main() -> None:
    """Say that this is the controller's work."""
    module = AnsibleModule(argument_spec=REBOOT_SPEC, supports_check_mode=True)
    module.fail_json(msg="node_reboot works from the controller: run it as a task, without async.")


if __name__ == "__main__":
    main()
