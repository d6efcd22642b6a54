#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of image_archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive
short_description: Carry an image across a gap in a file
version_added: 0.2.0
description:
  - V(saved) writes an image from a registry into an oci-archive, with all its platforms. V(loaded) pushes it from such a file into a
    registry. The digest stays the same, and is compared at the end.
  - Sigstore signatures that are attached to the image travel in the same file. For every other tool it is a plain archive of one image.
  - GPG signatures are files in a lookaside directory; copy that directory as well.
  - The archive is written beside its place first, and only takes it when it is whole.
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
  state:
    description:
      - V(saved) makes O(archive) hold what O(image) stands for now. An archive that does already is left alone.
      - V(loaded) makes O(image) stand for what O(archive) holds. What the registry has already is not sent.
    type: str
    choices: [saved, loaded]
    required: true
  image:
    description: The image, in full with its registry. For V(loaded) it names the tag to put the image under.
    type: str
    required: true
  archive:
    description: Path of the file, on the host that runs the module. It cannot have a colon in it.
    type: path
    required: true
  signatures:
    description:
      - Whether to carry the sigstore signatures. When loading, signatures that only the registry has are kept.
    type: bool
    default: true
  tmp_dir:
    description:
      - Existing directory in which V(loaded) unpacks the archive, with as much room as the archive takes.
      - If not set, that is C(/var/tmp), or what E(TMPDIR) says. V(saved) works beside the archive.
    type: path
seealso:
  - module: imagemode.nodes.image_digest_info
  - module: imagemode.nodes.node_trust
"""

EXAMPLES = r"""
- name: Save the image of the pool
  imagemode.nodes.image_archive:
    state: saved
    image: registry.example.com/fleet/node:2026.11
    archive: /media/usb/node-2026.11.oci
  delegate_to: localhost
  run_once: true

- name: Load it on the other side
  imagemode.nodes.image_archive:
    state: loaded
    image: registry.site-a.example.net/fleet/node:2026.11
    archive: /media/usb/node-2026.11.oci
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
reference:
  description: The image as given, with its tag spelled out.
  returned: success
  type: str
  sample: registry.example.com/fleet/node:2026.11
image:
  description: The image pinned by RV(digest).
  returned: success
  type: str
  sample: registry.example.com/fleet/node@sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e
digest:
  description: The digest of what the archive holds, of an index if there are several platforms.
  returned: success
  type: str
platforms:
  description: The digest of each platform's manifest of an index; empty for a single image.
  returned: success
  type: dict
expected_digests:
  description: Every digest that a node running this image may report, ready for the option of that name in other modules.
  returned: success
  type: list
  elements: str
archive:
  description: The path of the archive.
  returned: success
  type: str
size:
  description: The size of the archive in bytes; V(null) if it is yet to be written.
  returned: success
  type: int
signatures:
  description: The tags of the signatures in the archive, V(sha256-….sig), one for each manifest that is signed.
  returned: success
  type: list
  elements: str
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
      description: V(input), V(registry), V(push), V(disk) or V(engine).
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
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_archive import ARCHIVE_SPEC, save_or_load
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import finish


def main() -> None:
    """Run where the archive is."""
    module = AnsibleModule(argument_spec=ARCHIVE_SPEC, supports_check_mode=True)
    finish(module, save_or_load(module.params, module.check_mode))


if __name__ == "__main__":
    main()
