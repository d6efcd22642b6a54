#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of image_index."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_index
short_description: Put images of several platforms under one tag
version_added: 0.2.0
description:
  - Makes an index over images that were built for one platform each and are in a registry already.
  - No layer is downloaded, no engine is needed, and nothing is left in a container storage. Images of another repository are copied first.
  - The same images and annotations always make the same digest, in whichever order they are given.
  - The index is pushed under a second tag, the tag with 12 digits of its key, proven, signed if wanted, and then put under the tag.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.registry_access
  - imagemode.nodes.image_signing
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
    description: Where to put the index, in full with registry and tag.
    type: str
    required: true
  images:
    description:
      - The images by digest, as the RV(imagemode.nodes.layered_image_build#module:image) of each build host names them.
      - Each has to be for another platform, and none can be an index.
    type: list
    elements: str
    required: true
  annotations:
    description:
      - Annotations of the index. Those that begin with V(io.imagemode.) are the module's own, V(io.imagemode.input-key) is always there.
    type: dict
    default: {}
seealso:
  - module: imagemode.nodes.layered_image_build
  - module: imagemode.nodes.image_digest_info
"""

EXAMPLES = r"""
- name: Put both builds under one tag
  imagemode.nodes.image_index:
    image: registry.example.com/fleet/node:2026.11
    images:
      - "{{ hostvars['builder-x86'].built.image }}"
      - "{{ hostvars['builder-arm'].built.image }}"
    annotations:
      org.opencontainers.image.version: "2026.11"
    sign:
      sigstore_key: /etc/imagemode/cosign.key
      passphrase_file: /etc/imagemode/cosign.passphrase
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
reference:
  description: Where the index is.
  returned: success
  type: str
  sample: registry.example.com/fleet/node:2026.11
image:
  description: The image pinned by RV(digest).
  returned: success
  type: str
  sample: registry.example.com/fleet/node@sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e
digest:
  description: The digest of the index.
  returned: success
  type: str
platforms:
  description: The digest of each platform's manifest.
  returned: success
  type: dict
expected_digests:
  description: Every digest that a node running this image may report, ready for the option of that name in other modules.
  returned: success
  type: list
  elements: str
input_key:
  description: The key of the index, over the digests in it and its annotations. It is in its annotation V(io.imagemode.input-key).
  returned: success
  type: str
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
      description: V(input), V(registry), V(push), V(sign), V(disk) or V(engine).
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
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_index import INDEX_SPEC, assemble
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import finish


def main() -> None:
    """Run where skopeo is."""
    module = AnsibleModule(argument_spec=INDEX_SPEC, supports_check_mode=True)
    finish(module, assemble(module.params, module.check_mode))


if __name__ == "__main__":
    main()
