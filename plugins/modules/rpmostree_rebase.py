#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of rpmostree_rebase; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rpmostree_rebase
short_description: Put an image or an ostree branch in next place on an rpm-ostree host
version_added: 0.1.0
description:
  - Stages a container image or an ostree branch with C(rpm-ostree), so that the next reboot boots it. It never reboots itself, see
    M(imagemode.nodes.node_reboot).
  - Decides from C(rpm-ostree status --json) before and after, never from what rpm-ostree prints, and proves the digest of what was staged.
  - What can cost nothing costs nothing. If the image is already booted or staged, no registry is asked and no deployment made; if it
    is booted and something else is staged, the staged deployment is discarded instead of staging another one.
  - A reference pinned by digest is also satisfied by a deployment of the same repository under a tag with the same content.
  - A reference by tag is satisfied by a host that follows the same tag, whatever the tag means by now. Pass O(expected_digests)
    to follow a tag that moves.
  - rpm-ostree ignores the kernel arguments that an image carries in C(/usr/lib/bootc/kargs.d). This module applies the difference between
    the booted and the new image itself, as bootc does, so that one image gives one command line on both tools.
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
  ref:
    description:
      - An ostree branch instead of O(image), as C(REMOTE:BRANCH).
      - It is satisfied by a host that follows the branch, at whatever commit. Set O(revision) for a certain one.
    type: str
  revision:
    description: A commit or a version on the branch O(ref).
    type: str
  local_changes:
    description:
      - What to do on a host with layered packages, overrides or a local initramfs.
      - V(fail) names them and changes nothing. V(keep) carries them over to the new base, which needs the package repositories, and fails
        where they do not fit. V(discard) drops them with C(rpm-ostree reset), which needs no network.
    type: str
    choices: [fail, keep, discard]
    default: fail
  apply_live:
    description:
      - Apply the staged deployment to the running system as well, with C(rpm-ostree apply-live). That works for added packages only.
        What changes or removes packages fails there, and stays staged for the reboot.
    type: bool
    default: false
seealso:
  - module: imagemode.nodes.image_stage
  - module: imagemode.nodes.bootc_switch
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
  imagemode.nodes.rpmostree_rebase:
    image: "{{ node_image.image }}"
    expected_digests: "{{ node_image.expected_digests }}"
    signature_policy: policy
    kargs:
      present: [nosmt, mitigations=auto]
  register: staged

- name: Move a host with layered packages, and keep them
  imagemode.nodes.rpmostree_rebase:
    image: registry.example.com/fleet/node:2026.11
    local_changes: keep

- name: Go back to a branch of Fedora CoreOS
  imagemode.nodes.rpmostree_rebase:
    ref: fedora:fedora/x86_64/coreos/stable
    bypass_driver: true
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
  sample: rpm-ostree
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
  sample: [[rpm-ostree, rebase, "ostree-unverified-registry:registry.example.com/fleet/node:2026.11"]]
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
    RPMOSTREE_REBASE_SPEC,
    staging_options,
)


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=RPMOSTREE_REBASE_SPEC, supports_check_mode=True)
    run_on_this_machine(
        module,
        lambda runner: ImageStaging(runner, staging_options(module.params, Tool.RPM_OSTREE)).run(
            check_mode=module.check_mode
        ),
    )


if __name__ == "__main__":
    main()
