#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of node_trust, which works from the controller: that is where keys and credentials are read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_trust
short_description: Tell a node which registries and images to trust, and prove it
version_added: 0.2.0
description:
  - Writes everything that C(bootc) and C(rpm-ostree) know about registries - credentials, certificates, mirrors, a proxy, and which
    images have to be signed - as M(imagemode.nodes.host_files) writes files. That takes one round trip, and a second one if
    something differs.
  - Looks at what else is on the node and makes those files count for less, such as credentials in C(/run), and says so.
  - With O(require_signed) the task fails unless every policy that counts refuses an unsigned O(image).
  - The role P(imagemode.nodes.node_trust#role) passes the variables of a pool to it.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of credentials and of a proxy it shows only that they change.
  idempotent:
    support: full
  async:
    support: none
    details: Keys and credentials are read on the controller.
  platform:
    support: full
    platforms: posix
options:
  image:
    description: The image of the node. Only its repository counts. A policy that would not want it signed is refused.
    type: str
  require_signed:
    description: Whether to fail if the node would accept O(image) unsigned. In check mode the policy that would be written is judged.
    type: bool
    default: false
  registry_auth:
    description:
      - Credentials, as a dictionary from each registry to a dictionary with V(username) and V(password), as the text of an auth file,
        as the path of one on the controller (beside the inventory if relative, vaulted or not), or as a list of these, of which the
        later ones count more.
      - They go to C(/etc/ostree/auth.json), where both tools look. Not said, the credentials of the node are left alone. Empty ones are
        refused, since every pull would then be anonymous.
    type: raw
  registry_anonymous:
    description: Whether to remove C(/etc/ostree/auth.json), so that the node pulls without credentials.
    type: bool
    default: false
  registry_cas:
    description: From a registry's host and port to the certificates that vouch for it, as text or path, for C(/etc/containers/certs.d).
    type: dict
    default: {}
  ca_anchors:
    description: From a name to certificates that the whole system shall trust, as text or path. Runs C(update-ca-trust).
    type: dict
    default: {}
  registries:
    description: Mirrors, and registries that are reached in another way than by their name. See V(containers-registries.conf(5\)).
    type: list
    elements: dict
    default: []
    suboptions:
      prefix:
        description: What names of images begin with for the rule to hold, such as V(registry.example.com/fleet) or V(*.example.com).
        type: str
      location:
        description: What is asked in place of the prefix; the prefix itself if not said. One of the two is needed.
        type: str
      insecure:
        description: Whether plain HTTP and certificates of anybody will do.
        type: bool
        default: false
      blocked:
        description: Whether nothing may be pulled from there.
        type: bool
        default: false
      mirror_by_digest_only:
        description: Whether mirrors are asked only for images that are named by digest.
        type: bool
        default: false
      mirrors:
        description: Other places with the same content, asked first, in this order.
        type: list
        elements: dict
        default: []
        suboptions:
          location:
            description: What is asked in place of the prefix.
            type: str
            required: true
          insecure:
            description: Whether plain HTTP and certificates of anybody will do.
            type: bool
            default: false
          pull:
            description: What may come from this mirror.
            type: str
            choices: [all, digest-only, tag-only]
            default: all
  http_proxy:
    description: Address of the proxy for HTTP. It may hold a password.
    type: str
  https_proxy:
    description: Address of the proxy for HTTPS. It may hold a password.
    type: str
  no_proxy:
    description: Hosts, domains and networks that are reached without the proxy.
    type: list
    elements: str
    default: []
  trusted_images:
    description:
      - Images that have to be signed, and by whom. All others are rejected, see O(trust_also).
      - Not said, the signature policy of the node is left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      scope:
        description: A repository, or a registry or part of it with many.
        type: str
        required: true
      keys:
        description:
          - Public keys as text or path, for sigstore (cosign, C(skopeo copy --sign-by-sigstore-private-key)) or GPG. Any one of them must
            have signed.
          - Several keys for one scope need containers-image 5.30 (skopeo 1.15) or newer on the node.
        type: list
        elements: str
        required: true
      identity:
        description:
          - How much of the image's name the signature must vouch for. C(cosign) signs the repository without the tag, hence the default.
        type: str
        choices: [matchRepository, matchRepoDigestOrExact, matchExact]
        default: matchRepository
      lookaside:
        description: URL under which the GPG signatures are. Sigstore signatures are in the registry.
        type: str
  trust_also:
    description:
      - What else the node may pull, without signatures - a registry or repository, or a transport and a colon, such as
        V(containers-storage:) for images that C(podman) built on the node.
    type: list
    elements: str
    default: []
  file_timeout:
    description: Seconds that each single step, such as writing one file, may take.
    type: int
    default: 60
notes:
  - Needs no Python on the node, but root, directly or with C(become).
  - A lost connection is reported as a failed task with RV(ignore:unreachable_host) set to V(true), never as C(UNREACHABLE),
    so that C(rescue) and C(always) sections run.
seealso:
  - module: imagemode.nodes.host_files
  - module: imagemode.nodes.bootc_switch
"""

EXAMPLES = r"""
- name: Let the node pull from a private registry, and boot nothing but signed images of the fleet
  imagemode.nodes.node_trust:
    image: registry.example.com/fleet/node:2026.11
    require_signed: true
    registry_auth:
      registry.example.com:
        username: node
        password: "{{ registry_password }}"
    registry_cas:
      registry.example.com: files/registry-ca.pem
    trusted_images:
      - scope: registry.example.com/fleet
        keys: [files/cosign.pub]
    trust_also: ["containers-storage:", registry.example.com/tools]
"""

RETURN = r"""
files:
  description: The files, as RV(imagemode.nodes.host_files#module:files).
  returned: success, and failure after they were written
  type: list
  elements: dict
commands:
  description: The commands that were run so that the files count, or would be in check mode, each as a list of words.
  returned: success, and failure after the files were written
  type: list
  elements: list
  sample: [[systemctl, daemon-reload]]
trust:
  description: What the node makes of it all, files included that are not ours. In check mode as predicted.
  returned: success, and failure of O(require_signed)
  type: dict
  contains:
    credentials:
      description: The auth file that both tools read; V(null) if every pull is anonymous.
      type: str
    credentials_shadowed:
      description: Whether that is another file than ours, with other content.
      type: bool
    policies:
      description: The signature policies that count for one of the tools, or for one way to call it.
      type: list
      elements: str
    signed_only:
      description: Whether each of them refuses O(image) unless it is signed; V(null) without O(image).
      type: bool
    reason:
      description: The rule that decides; V(null) without O(image).
      type: str
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.node_trust import NODE_TRUST_SPEC


def main() -> None:
    """Say that this is the controller's work."""
    module = AnsibleModule(argument_spec=NODE_TRUST_SPEC, supports_check_mode=True)
    module.fail_json(msg="node_trust works from the controller: run it as a task, without async.")


if __name__ == "__main__":
    main()
