#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of image_digest_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_digest_info
short_description: Resolve an image once, to pin it everywhere
version_added: 0.1.0
description:
  - Asks a registry what an image reference stands for now, and returns the digests in the form in which other modules take them.
  - A tag can move between two nodes of one rollout. Resolve it once, and give the nodes the result.
  - Reads the manifest and the configuration of the image. No layer is downloaded, but of a release payload that was never read.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.registry_access
attributes:
  check_mode:
    support: full
    details: Changes nothing in either mode.
  diff_mode:
    support: none
    details: Changes nothing, so there is no difference to show.
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: posix
options:
  image:
    description: The image, in full with its registry, by tag or by digest. This or O(release).
    type: str
  release:
    description:
      - A release payload instead of O(image), an image that says in C(/release-manifests/image-references) of which images it consists.
      - It is asked for every time, so a tag that moved is noticed. Its list is downloaded once for each digest.
    type: str
  release_component:
    description: The name of the image in O(release), such as V(rhel-coreos).
    type: str
  work_dir:
    description: Directory on the host that runs the module, where the list of O(release) is kept.
    type: path
    default: ~/.cache/imagemode-build
  platforms:
    description:
      - Platforms that the image must have, such as V(linux/arm64). Only they are returned then.
      - Without variant it stands for all variants of the architecture.
    type: list
    elements: str
    default: []
  must_exist:
    description: Whether it is an error when the registry has no such image. If V(false), see RV(exists).
    type: bool
    default: true
  with_layers:
    description:
      - Whether to return the layers of each platform, with their sizes. For an index it costs one more request for each platform.
    type: bool
    default: false
seealso:
  - module: imagemode.nodes.bootc_switch
  - module: imagemode.nodes.layered_image_build
"""

EXAMPLES = r"""
- name: Resolve the tag once
  imagemode.nodes.image_digest_info:
    image: registry.example.com/fleet/node:2026.11
  delegate_to: localhost
  run_once: true
  register: node_image

- name: Stage exactly that on every node
  imagemode.nodes.bootc_switch:
    image: "{{ node_image.image }}"
    expected_digests: "{{ node_image.expected_digests }}"

- name: Resolve the operating system of a release
  imagemode.nodes.image_digest_info:
    release: registry.example.com/ocp/release:4.21.3-x86_64
    release_component: rhel-coreos
  delegate_to: localhost
  run_once: true
  register: release_image

- name: See whether a tag is taken, in a registry on a trusted network that talks plain HTTP
  imagemode.nodes.image_digest_info:
    image: registry.example.com:5000/fleet/node:2026.12
    validate_certs: false
    must_exist: false
  delegate_to: localhost
  register: next_image
"""

RETURN = r"""
exists:
  description: Whether the registry has the image.
  returned: success
  type: bool
reference:
  description: The image as given, with its tag spelled out.
  returned: success
  type: str
  sample: registry.example.com/fleet/node:2026.11
image:
  description: The image pinned by RV(digest); V(null) if it does not exist.
  returned: success
  type: str
  sample: registry.example.com/fleet/node@sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e
digest:
  description: The digest that the reference stands for, of an index if there are several platforms.
  returned: success
  type: str
media_type:
  description: Media type of what RV(digest) names.
  returned: success
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
platforms:
  description: The digest of each platform's manifest.
  returned: success
  type: dict
  sample: {"linux/amd64": "sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"}
expected_digests:
  description:
    - Every digest that a node running this image may report, ready for the option of that name in other modules.
    - It is RV(digest) and those of all platforms.
  returned: success
  type: list
  elements: str
labels:
  description: The labels of the image, of the platform of the host that runs the module if there are several.
  returned: success
  type: dict
created:
  description: When the image was made, as it says itself.
  returned: success
  type: str
  sample: "2026-11-21T08:00:00Z"
layers:
  description: For each platform its layers, the lowest first. Empty without O(with_layers).
  returned: success
  type: dict
  sample: {"linux/amd64": [{"digest": "sha256:5ae9e568f8fefb7c31329029c07ca19510ab34dae0b34a87d1fdff30ba9711d4", "size": 81290112}]}
signatures:
  description:
    - The digests that have sigstore signatures attached in the registry, RV(digest) or those of RV(platforms), each with the digest of
      what carries them.
    - They are there, which does not say that anybody's key verifies them.
  returned: success
  type: dict
  sample: {"sha256:9f2c1de0…": "sha256:5ae9e568…"}
release:
  description: The digest of O(release); V(null) without one.
  returned: success
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
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import finish
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_run import digest_info
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import (
    DIGEST_INFO_RULES,
    DIGEST_INFO_SPEC,
)


def main() -> None:
    """Run where skopeo is."""
    module = AnsibleModule(argument_spec=DIGEST_INFO_SPEC, supports_check_mode=True, **DIGEST_INFO_RULES)
    finish(module, digest_info(module.params))


if __name__ == "__main__":
    main()
