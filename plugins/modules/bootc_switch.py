#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of bootc_switch; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bootc_switch
short_description: Put an image in next place on a bootc host
version_added: 0.1.0
description:
  - Stages a container image with C(bootc), so that the next reboot boots it. It never reboots itself, see
    M(imagemode.nodes.node_reboot).
  - Decides from C(bootc status --json) before and after, never from what bootc prints, and proves the digest of what was staged.
  - What can cost nothing costs nothing. If the image is already booted or staged, no registry is asked and no deployment made; if it
    is booted and something else is staged, the staged deployment is discarded instead of staging another one.
  - A reference pinned by digest is also satisfied by a deployment of the same repository under a tag with the same content.
  - A reference by tag is satisfied by a host that follows the same tag, whatever the tag means by now. Pass O(expected_digests)
    to follow a tag that moves.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.attributes.host
  - imagemode.nodes.host_state.digests
  - imagemode.nodes.staging
attributes:
  check_mode:
    support: full
    details: Runs nothing, and predicts the result. A digest or kernel arguments that only the pull could tell are V(null).
  diff_mode:
    support: full
    details: Shows what boots next, before and after.
  idempotent:
    support: full
  async:
    support: partial
    details: With C(async) the node needs Python 3.9 or newer.
  platform:
    support: full
    platforms: posix
options:
  local_changes:
    description:
      - What to do on a host with layered packages or overrides. bootc would drop them without a word.
      - V(fail) names them and changes nothing, V(discard) drops them. M(imagemode.nodes.rpmostree_rebase) can keep them.
    type: str
    choices: [fail, discard]
    default: fail
seealso:
  - module: imagemode.nodes.image_stage
  - module: imagemode.nodes.rpmostree_rebase
  - module: imagemode.nodes.node_reboot
  - module: imagemode.nodes.image_digest_info
"""

EXAMPLES = r"""
- name: Resolve the tag once
  imagemode.nodes.image_digest_info:
    image: registry.example.com/fleet/node:2026.11
  register: node_image
  delegate_to: localhost
  run_once: true

- name: Stage exactly that on every node
  imagemode.nodes.bootc_switch:
    image: "{{ node_image.image }}"
    expected_digests: "{{ node_image.expected_digests }}"
  register: staged

- name: Reboot the nodes that need it, and prove what they booted
  imagemode.nodes.node_reboot:
    expected_digests: "{{ node_image.expected_digests }}"
  when: staged.reboot_required

- name: Fetch the image tonight, boot it another day
  imagemode.nodes.bootc_switch:
    image: registry.example.com/fleet/node:2026.11
    state: downloaded

- name: Give up whatever is staged
  imagemode.nodes.bootc_switch:
    state: unstaged
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
tool:
  description: The tool that did it, C(bootc) or C(rpm-ostree).
  returned: success, and failure after the state could be read
  type: str
  sample: bootc
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
digest:
  description: Digest of the image that boots next, or of the one that was downloaded; V(null) where only the pull could tell it.
  returned: success, and failure after the state could be read
  type: str
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.image_staging import ImageStaging
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_options import (
    BOOTC_SWITCH_SPEC,
    staging_options,
)


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=BOOTC_SWITCH_SPEC, supports_check_mode=True)
    run_on_this_machine(
        module,
        lambda runner: ImageStaging(runner, staging_options(module.params, Tool.BOOTC)).run(
            check_mode=module.check_mode
        ),
    )


if __name__ == "__main__":
    main()
