#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of unit_hold; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_hold
short_description: Keep units of a node from starting until something is proven
version_added: 0.2.0
description:
  - Holds systemd units back over a reboot into another image, so that a kubelet, say, does not join a cluster from a system that
    nobody has proven yet, and lets them go afterwards.
  - A held unit has a drop-in in C(/etc/systemd/system) with a condition that no boot meets. ostree carries it into the staged
    deployment, so it holds a unit that only the next image brings. It masks nothing, and no path of the image is touched.
  - Releasing starts the units, and removes the drop-ins once that is over. A run that is killed before leaves them held, and the next
    one releases them. From then on the node is as its image made it, and its reboots need nobody.
  - Releasing lets go of every unit that was ever held, whether it is still among O(units) or not.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows which units are held, before and after.
  idempotent:
    support: full
  async:
    support: partial
    details: With C(async) the node needs Python 3.9 or newer.
  platform:
    support: full
    platforms: posix
options:
  units:
    description:
      - Whole names of services, sockets, targets, timers or paths. They need not be on the node yet.
      - An empty list holds nothing, and releases all that is held.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(held) keeps the units from starting. One that runs goes on until it ends.
      - V(released) lets all held units go and starts them, and one of O(units) that has failed. A unit that merely does not run, and was
        not held, is left alone.
    type: str
    choices: [held, released]
    default: held
  active:
    description:
      - What to do if a unit that shall be held runs already, which means that the node is in service. V(fail) changes nothing.
    type: str
    choices: [fail, allow]
    default: fail
  boot_id:
    description: Release only in this boot, the one that was proven. Without it, in any.
    type: str
  start_timeout:
    description: Seconds that starting the units may take.
    type: int
    default: 300
notes:
  - Needs no Python on the node. A POSIX shell script goes over the connection on standard input.
  - Needs root on the node, directly or with C(become).
  - A lost connection is reported as a failed task with RV(ignore:unreachable_host) set to V(true), never as C(UNREACHABLE),
    so that C(rescue) and C(always) sections run.
seealso:
  - module: imagemode.nodes.image_stage
  - module: imagemode.nodes.node_reboot
"""

EXAMPLES = r"""
- name: Keep the kubelet of the next image from starting
  imagemode.nodes.unit_hold:
    units: [kubelet.service]

- name: Reboot into it and prove it
  imagemode.nodes.node_reboot:
    expected_digests: "{{ node_image.expected_digests }}"
  register: reboot

- name: Let the kubelet go
  imagemode.nodes.unit_hold:
    units: [kubelet.service]
    state: released
    boot_id: "{{ reboot.boot_id_after }}"
"""

RETURN = r"""
units:
  description: Every unit of O(units), and every other one that was held, after the task; in check mode as predicted.
  returned: success, and failure after the units could be read
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    load_state:
      description: V(loaded), V(not-found), V(masked) or another word of systemd.
      type: str
    active_state:
      description: V(active), V(inactive), V(failed) or another word of systemd.
      type: str
    held:
      description: Whether it is held back.
      type: bool
was_running:
  description: Those of O(units) that ran before.
  returned: success, and failure after the units could be read
  type: list
  elements: str
commands:
  description: The commands that were run to change the node, or would be in check mode, each as a list of words.
  returned: success, and failure after the units could be read
  type: list
  elements: list
  sample: [[systemctl, start, "--", kubelet.service], [systemctl, daemon-reload]]
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.unit_hold import UNIT_HOLD_SPEC, unit_hold


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=UNIT_HOLD_SPEC, supports_check_mode=True)
    run_on_this_machine(module, lambda runner: unit_hold(runner, module.params).run(check_mode=module.check_mode))


if __name__ == "__main__":
    main()
