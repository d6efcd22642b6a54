# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option of modules that sign what they push."""

from __future__ import annotations


class ModuleDocFragment:
    """Which keys sign an image."""

    DOCUMENTATION = r"""
options:
  sign:
    description:
      - Sign the image, for nodes that boot only signed ones. It is signed by digest, before the tag points to it.
      - An index is signed itself, and so is the manifest of each of its platforms.
      - The signature is about O(image), which a node that pulls by tag compares.
      - An image that has the signature already is not signed again, see O(sign.public_key).
      - Keys and passphrases stay in files on the host that runs the module. With both kinds of key there are both signatures.
    type: dict
    suboptions:
      sigstore_key:
        description:
          - Private key as C(cosign generate-key-pair) or C(skopeo generate-sigstore-key) make it.
          - The signature is attached to the image in its registry, as a tag V(sha256-….sig).
          - Needs a C(skopeo) that can make such signatures. That of Debian 12 cannot.
        type: path
      public_key:
        description:
          - The public key of O(sign.sigstore_key). With it the module sees whether an image is signed by this key, so that after a
            change of keys it is signed again, beside the old signature.
          - If not set, the file beside the private key is taken whose name ends in C(.pub) instead. If there is none,
            any sigstore signature of the image counts.
        type: path
      passphrase_file:
        description: File whose first line is the passphrase of O(sign.sigstore_key). If not set, the passphrase is empty.
        type: path
      gpg:
        description:
          - Fingerprint of a GPG key, 40 hexadecimal digits. Its signatures are files, in O(sign.lookaside_staging).
          - Requires O(sign.lookaside_staging).
        type: str
      gnupghome:
        description: GPG's home directory with the private key. If not set, that of the user of the task.
        type: path
      gpg_passphrase_file:
        description: File whose first line is the passphrase of O(sign.gpg). If not set, the agent of GPG must not need one.
        type: path
      lookaside_staging:
        description:
          - Directory on the host that runs the module where GPG signatures are kept, absolute, also with C(file://) before it.
          - Publish it at the C(lookaside) address that nodes have; the module cannot upload it.
        type: str
"""
