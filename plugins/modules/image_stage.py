#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of image_stage; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_stage
short_description: Put an image in next place with the tool that the node has
version_added: 0.1.0
description:
  - Stages a container image, so that the next reboot boots it, with C(bootc) where the node has it and with C(rpm-ostree) elsewhere.
    A fleet that has both needs one task, and a node that is being migrated from the one to the other needs no other variables.
  - It does what M(imagemode.nodes.bootc_switch) and M(imagemode.nodes.rpmostree_rebase) do, by the same rules, and never reboots itself.
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
  - imagemode.nodes.staging.rpm_ostree
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
  tool:
    description:
      - The tool to use. V(auto) is bootc, or rpm-ostree on a node without bootc, and where bootc would lose what
        O(local_changes=keep) asks for.
    type: str
    choices: [auto, bootc, rpm-ostree]
    default: auto
  local_changes:
    description:
      - What to do on a host with layered packages, overrides or a local initramfs.
      - V(fail) names them and changes nothing. V(keep) carries them over to the new base, which only rpm-ostree can. V(discard) drops them.
    type: str
    choices: [fail, keep, discard]
    default: fail
seealso:
  - module: imagemode.nodes.bootc_switch
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

- name: Stage exactly that on every node, whatever its tool
  imagemode.nodes.image_stage:
    image: "{{ node_image.image }}"
    expected_digests: "{{ node_image.expected_digests }}"
  register: staged
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
started_at:
  description: When the task began, in seconds since 1970 on the controller's clock, or on the node's with C(async).
  returned: always
  type: float
seconds:
  description: How long the task took.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.image_staging import ImageStaging
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_options import (
    IMAGE_STAGE_SPEC,
    chosen_tool,
    staging_options,
)


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=IMAGE_STAGE_SPEC, supports_check_mode=True)
    run_on_this_machine(
        module,
        lambda runner: ImageStaging(runner, staging_options(module.params, chosen_tool(module.params))).run(
            check_mode=module.check_mode
        ),
        timed=True,
    )


if __name__ == "__main__":
    main()
