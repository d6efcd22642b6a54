#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of image_retention."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_retention
short_description: Remove old images of a tag from a registry
version_added: 0.2.0
description:
  - Every build of M(imagemode.nodes.layered_image_build) leaves a second tag, the tag with 12 digits of its input key. This removes
    old ones of them, with their signatures.
  - Only tags of that form are removed, and only if the label V(io.imagemode.input-key) of the image says that it belongs there.
  - A registry deletes manifests, and with one every tag on it and every index that needs it. So nothing is removed that another tag
    points to, that an index needs which stays, or that is protected.
  - Space in the registry is freed by its own garbage collection.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.registry_access
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: posix
options:
  image:
    description: The image, in full with registry and tag. What the tag itself points to is never removed.
    type: str
    required: true
  keep:
    description:
      - How many of the other images to keep, the newest by the creation time that they say themselves.
      - Images on one base all say the creation time of that base. Nothing tells which of them is newer, so they are kept or removed
        together, and more than this number may stay.
    type: int
    default: 3
  keep_days:
    description: Keep all images that were made less than this number of days ago as well.
    type: int
  protected_digests:
    description:
      - Digests that have to stay, of manifests or of indexes. Give it what the nodes run, and what they would roll back to. An empty
        list is accepted, but has to be said.
      - An index stays if one of its manifests is protected, and its manifests if it is.
    type: list
    elements: str
    required: true
seealso:
  - module: imagemode.nodes.layered_image_build
  - module: imagemode.nodes.image_mode_info
"""

EXAMPLES = r"""
- name: Ask the nodes what they have
  imagemode.nodes.image_mode_info:
  register: node

- name: Remove what none of them runs or would go back to; fails if a node did not answer
  imagemode.nodes.image_retention:
    image: registry.example.com/fleet/node:2026.11
    keep: 5
    keep_days: 30
    protected_digests: >-
      {{ (nodes | map(attribute='booted.digest', default='') | list
          + nodes | map(attribute='staged.digest', default='') | list
          + nodes | map(attribute='rollback.digest', default='') | list) | select | unique | list }}
  vars:
    nodes: "{{ ansible_play_hosts_all | map('extract', hostvars, ['node', 'host']) | list }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
reference:
  description: The image as given, with its tag spelled out.
  returned: success
  type: str
  sample: registry.example.com/fleet/node:2026.11
removed:
  description: What was removed, or would be in check mode, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: The image pinned by its digest.
      type: str
      returned: always
    digest:
      description: The digest.
      type: str
      returned: always
    tags:
      description: The second tags that were on it.
      type: list
      elements: str
      returned: always
    created:
      description: When the image was made, as it says itself.
      type: str
      returned: always
removed_manifests:
  description: Digests of the manifests of removed indexes that nothing else needed, removed as well.
  returned: success
  type: list
  elements: str
removed_signatures:
  description: The tags of removed signatures.
  returned: success
  type: list
  elements: str
kept:
  description: The second tags that stay, each with the reason.
  returned: success
  type: dict
  sample: {"2026.11-0f3a1b2c4d5e": "registry.example.com/fleet/node:2026.11 points to it"}
commands:
  description: The commands that changed something, or would in check mode. A temporary directory has a name in capitals there.
  returned: always
  type: list
  elements: list
msg:
  description: What came of it, in a line for people.
  returned: always
  type: str
failure:
  description: What went wrong, as data.
  returned: failure
  type: dict
  contains:
    category:
      description: V(input), V(registry) or V(engine).
      type: str
      returned: always
    message:
      description: What was seen and what to do about it.
      type: str
      returned: always
    excerpt:
      description: The last lines of what the tool said.
      type: list
      elements: str
      returned: always
    retryable:
      description: Whether running again can help without changing anything.
      type: bool
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_retention import RETENTION_SPEC, retain
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import finish


def main() -> None:
    """Run where skopeo is."""
    module = AnsibleModule(argument_spec=RETENTION_SPEC, supports_check_mode=True)
    finish(module, retain(module.params, module.check_mode))


if __name__ == "__main__":
    main()
