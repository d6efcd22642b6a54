# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that several modules share when they say what a node shall boot."""

from __future__ import annotations


class ModuleDocFragment:
    """C(.digests): the proof by digest."""

    DIGESTS = r"""
options:
  expected_digests:
    description:
      - The node is only right when the digest of its image is one of these.
      - It is a list because a registry has one digest for a multi-architecture index and one for each architecture, and
        nodes report the latter. M(imagemode.nodes.image_digest_info) returns the list ready to pass on.
      - Empty means that any content under the reference will do.
    type: list
    elements: str
    default: []
"""
