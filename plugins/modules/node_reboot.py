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
    and proves from its state, and from what is mounted as C(/usr), that it runs what was next.
  - The reboot is a full one, with a new kernel, unless O(soft) allows another. A root that somebody prepared in C(/run/nextroot)
    would turn C(systemctl reboot) into a soft reboot without anybody asking for it; here it does not.
  - A second run reboots nothing. Two controllers at once cause one reboot, because the order is only given in the boot that was looked at.
  - A node that would boot something outside O(expected_digests) is not rebooted, nor one that a program keeps from going down,
    see O(inhibitors), nor one in the middle of an rpm-ostree transaction.
  - A node that does not come back, or comes back on something else, is described in one message, with what to type next. A staged
    deployment that was lost at shutdown is named as such, with the node's own words on it.
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
  soft:
    version_added: 0.2.0
    description:
      - Whether to restart userspace only, which takes seconds and keeps the running kernel and the boot id.
      - V(never) reboots in full.
      - V(auto) reboots softly where the next deployment allows it, and otherwise in full, with a warning that says why. That takes
        bootc 1.7 or newer, the same kernel and kernel arguments, a composefs root, and a systemd that counts soft reboots. It is
        never done twice within one boot, after which both tools name the wrong deployment as booted.
      - V(required) changes nothing where a soft reboot cannot do, and fails with the reason.
    type: str
    choices: [never, auto, required]
    default: never
  inhibitors:
    version_added: 0.2.0
    description:
      - What to do if a program holds an inhibitor lock of systemd that blocks a shutdown, such as a backup or a firmware update.
      - V(fail) names it and reboots nothing, V(wait) waits for it to end, V(ignore) reboots in spite of it.
    type: str
    choices: [fail, wait, ignore]
    default: fail
  inhibitor_timeout:
    version_added: 0.2.0
    description: Seconds to wait for inhibitors to end, with O(inhibitors=wait).
    type: int
    default: 600
seealso:
  - module: imagemode.nodes.bootc_switch
"""

EXAMPLES = r"""
- name: Reboot into what is staged
  imagemode.nodes.node_reboot:
    expected_digests: "{{ node_image.expected_digests }}"
    reboot_timeout: 1200

- name: Restart only userspace where that will do, and let backups finish first
  imagemode.nodes.node_reboot:
    expected_digests: "{{ node_image.expected_digests }}"
    soft: auto
    inhibitors: wait
    inhibitor_timeout: 1800
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
  description:
    - The kernel's id of the boot after. The same as before if no reboot was needed and after a soft reboot, V(null) in check mode
      if the reboot would be a full one.
  returned: success, and failure after the state could be read
  type: str
rebooted:
  description: V(soft) or V(full), whichever happened or would happen in check mode; V(null) if there was no reboot.
  returned: success, and failure after the state could be read
  type: str
landed:
  description:
    - Where the node is after the reboot. V(wanted), or V(fell_back) if it runs what it ran before, with what was wanted still on its
      disk; V(lost) if what was wanted did not survive the shutdown; V(other) for anything else.
    - V(null) without a reboot, if the node has not come back, and in check mode.
  returned: success, and failure after the state could be read
  type: str
usr_proven:
  description:
    - Whether C(/usr) is the one of the deployment that the tools call booted. It is compared by inode, and on a composefs root by
      the names, sizes and small files of its upper directories.
    - V(null) where that cannot be told, as with a writable overlay over C(/usr), with two deployments of the same content, or
      because no reboot made it worth asking. The task fails if it is V(false).
  returned: success, and failure after the state could be read
  type: bool
inhibitors:
  description: The programs that keep the node from going down, if that is why the task failed, and in check mode.
  returned: success, and failure after the state could be read
  type: list
  elements: dict
  contains:
    who:
      description: Its name.
      type: str
    why:
      description: The reason it gave.
      type: str
    pid:
      description: Its process id; V(null) if systemd's list was in a form that is not known.
      type: int
started_at:
  description: When the task began, in seconds since 1970 on the controller's clock.
  returned: always
  type: float
seconds:
  description: How long the task took, from the first look at the node to the proof, with all that was waited for.
  returned: always
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
