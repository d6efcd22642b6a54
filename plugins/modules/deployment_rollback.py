#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of deployment_rollback; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_rollback
short_description: Put the rollback deployment in next place, or take that back
version_added: 0.2.0
description:
  - Makes an image-mode host boot its rollback deployment next, or makes it no longer do so. It never reboots itself, see
    M(imagemode.nodes.node_reboot).
  - The target is the deployment that the host's own status names as rollback, and it is never guessed. With O(expected_digests) or
    O(expected_checksum) it must be the expected one, otherwise nothing is changed and everything that is there is listed.
  - The tools' own C(rollback) is a toggle, and a second run undoes the first. This module decides from what is queued, gives the
    order only while the boot order is still the one it looked at, and proves the outcome from the host's state.
  - After the reboot, what the host came from is its rollback. Say in O(expected_digests) or O(expected_checksum) where to go, and a
    run after the reboot finds the host back already and changes nothing. Without them it would go forward again. A host that still
    runs what they name, and is about to leave it for something staged, is kept there with O(staged=discard).
  - Takes C(bootc) where it can do it, otherwise C(rpm-ostree). Going back from the first boot of an image to a plain ostree commit,
    or to a deployment with layered packages, needs C(rpm-ostree) on the host.
  - The kernel arguments of a deployment belong to it. They come back with it, and so does its C(/etc); C(/var) stays as it is.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows what boots next, before and after.
  idempotent:
    support: partial
    details: Until the host reboots; after that only with O(expected_digests) or O(expected_checksum).
  async:
    support: partial
    details: With C(async) the node needs Python 3.9 or newer.
  platform:
    support: full
    platforms: posix
options:
  state:
    description:
      - V(queued) makes the rollback deployment boot next, V(unqueued) takes that back, so that the booted one boots next again.
    type: str
    choices: [queued, unqueued]
    default: queued
  expected_digests:
    description:
      - Digests of what must boot next in the end, as M(imagemode.nodes.image_mode_info) shows them. Nothing is changed otherwise.
      - A pinned deployment is only rolled back to if this or O(expected_checksum) names it.
    type: list
    elements: str
    default: []
  expected_checksum:
    description: The ostree commit of what must boot next in the end. Plain ostree deployments have no digest and are named this way.
    type: str
  staged:
    description:
      - What to do if a deployment is staged. A change of the rollback discards it, which bootc does without a word.
      - V(fail) names it and changes nothing, V(discard) discards it.
    type: str
    choices: [fail, discard]
    default: fail
  busy_timeout:
    description: Seconds to wait for another program that holds the host's system lock.
    type: int
    default: 300
seealso:
  - module: imagemode.nodes.node_reboot
  - module: imagemode.nodes.image_mode_info
"""

EXAMPLES = r"""
- name: Look at what there is
  imagemode.nodes.image_mode_info:
  register: node

- name: Go back to what ran before, and to nothing else
  imagemode.nodes.deployment_rollback:
    expected_digests: ["sha256:220b55c8ffdf2cc916a44d5bd9dac7ab65af10bead051b8aead62d734552289b"]
  register: rollback

- name: Reboot into it
  imagemode.nodes.node_reboot:
    expected_digests: ["sha256:220b55c8ffdf2cc916a44d5bd9dac7ab65af10bead051b8aead62d734552289b"]
  when: rollback.reboot_required

- name: Go back from the first image to the ostree commit that the host was installed from
  imagemode.nodes.deployment_rollback:
    expected_checksum: "{{ node.host.rollback.checksum }}"

- name: Stay where the host is after all
  imagemode.nodes.deployment_rollback:
    state: unqueued
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
  sample: [[bootc, rollback]]
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
digest:
  description: Digest of the image that boots next; V(null) for a plain ostree deployment.
  returned: success, and failure after the state could be read
  type: str
checksum:
  description: The ostree commit that boots next; V(null) on a host of the composefs backend.
  returned: success, and failure after the state could be read
  type: str
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
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import ROLLBACK_SPEC, rollback_request
from ansible_collections.imagemode.nodes.plugins.module_utils._host.rollback import Rollback


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=ROLLBACK_SPEC, supports_check_mode=True)
    params = module.params
    run_on_this_machine(
        module,
        lambda runner: Rollback(
            runner=runner,
            request=rollback_request(params),
            busy_timeout=params["busy_timeout"],
        ).run(check_mode=module.check_mode),
        timed=True,
    )


if __name__ == "__main__":
    main()
