#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of migration_info; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Show what it takes to migrate a node from rpm-ostree to bootc
version_added: 0.1.0
description:
  - Says what a node is, and what it costs in bytes and reboots until bootc looks after it with the wanted image. Changes nothing.
  - Nothing marks a host as managed by one tool or the other. A host is bootc-managed when it has bootc and has booted an image
    without local changes, so for a node that rpm-ostree deployed from the wanted image it costs nothing.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.attributes.host
  - imagemode.nodes.host_state.digests
attributes:
  check_mode:
    support: full
    details: Changes nothing in either mode.
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
    description: The wanted image, in full with its registry, by tag or by digest.
    type: str
    required: true
  layers:
    description:
      - The layers of the wanted image for each platform, as RV(imagemode.nodes.image_digest_info#module:layers) has them.
      - Without them nobody can tell what has to be pulled.
    type: dict
    default: {}
  signature_policy:
    description: The O(imagemode.nodes.image_stage#module:signature_policy) with which the image will be staged.
    type: str
    choices: [unchanged, unverified, policy, ostree_remote]
    default: unchanged
  ostree_remote:
    description: The O(imagemode.nodes.image_stage#module:ostree_remote) with which the image will be staged.
    type: str
  local_changes:
    description:
      - V(fail) makes layered packages, overrides or a local initramfs something that has to be decided; V(discard) is that decision.
      - They cannot be kept, because bootc has no such thing.
    type: str
    choices: [fail, discard]
    default: fail
seealso:
  - module: imagemode.nodes.migration_report
  - module: imagemode.nodes.image_mode_info
  - module: imagemode.nodes.image_digest_info
"""

EXAMPLES = r"""
- name: Resolve the image, with its layers
  imagemode.nodes.image_digest_info:
    image: registry.example.com/fleet/node:2026.11
    with_layers: true
  register: node_image
  delegate_to: localhost
  run_once: true

- name: See what the migration of every node costs
  imagemode.nodes.migration_info:
    image: "{{ node_image.image }}"
    expected_digests: "{{ node_image.expected_digests }}"
    layers: "{{ node_image.layers }}"
"""

RETURN = r"""
case:
  description:
    - V(bootc-managed) has nothing to do. V(staged) has the image in next place already.
    - V(other reference) runs the same content under another reference or signature policy, V(other image) other content.
    - V(local changes) has layered packages or the like, V(ostree branch) runs a plain ostree commit, V(no bootc) has no bootc
      so that rpm-ostree stages the image, which brings one.
    - V(not image-mode) cannot be migrated.
  returned: success
  type: str
  sample: bootc-managed
tool:
  description: The tool that stages, C(bootc) or C(rpm-ostree); V(null) on a host that is not image-mode.
  returned: success
  type: str
pull_bytes:
  description:
    - Bytes of the layers that the node lacks, at most; V(null) if nobody can tell. For a node that is RV(blocked), what it costs once
      its local changes are given up.
    - bootc also finds layers again that were only compressed another way, and pulls less then.
  returned: success
  type: int
reboots:
  description: How many reboots it takes, with the one that is pending already; V(null) if nobody can tell.
  returned: success
  type: int
losses:
  description: What the node has now and will not have afterwards.
  returned: success
  type: list
  elements: str
  sample: ["layered packages htop"]
blocked:
  description: Why it cannot be migrated as things stand; V(null) otherwise.
  returned: success
  type: str
ways:
  description: The ways on from there, for a person to decide on.
  returned: success
  type: list
  elements: dict
  contains:
    do:
      description: What to do.
      type: str
      returned: always
    pull_bytes:
      description: Bytes of layers to pull then; V(null) if nobody can tell.
      type: int
      returned: always
    reboots:
      description: Reboots that it takes then; V(null) if nobody can tell.
      type: int
      returned: always
note:
  description: What else there is to know, or an empty string.
  returned: success
  type: str
runs:
  description: What the node runs, in a few words.
  returned: success
  type: str
  sample: "registry.example.com/fleet/node:2026.10 (sha256:9f2c1de0a3b4)"
host:
  description: The host, in the shape of RV(imagemode.nodes.image_mode_info#module:host).
  returned: success
  type: dict
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.migration_survey import (
    MIGRATION_SPEC,
    survey_migration,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=MIGRATION_SPEC, supports_check_mode=True)
    run_on_this_machine(module, lambda runner: survey_migration(runner, module.params))


if __name__ == "__main__":
    main()
