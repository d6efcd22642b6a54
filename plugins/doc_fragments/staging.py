# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the modules that put an image in next place."""

from __future__ import annotations


class ModuleDocFragment:
    """What they all have; C(.rpm_ostree): what only rpm-ostree can do."""

    DOCUMENTATION = r"""
options:
  image:
    description:
      - The image, in full with its registry, by tag or by digest. A tag beside a digest is ignored.
      - With O(state=unstaged) it names what to discard; without it, whatever is staged is discarded.
    type: str
  transport:
    description: Where the node takes the image from.
    type: str
    choices: [registry, oci, oci-archive, docker-archive, containers-storage, dir, docker-daemon]
    default: registry
  state:
    description:
      - V(staged) makes it the next thing to boot.
      - V(downloaded) gets it onto the node's disk, locked, so that no reboot boots it. A later task with V(staged) only unlocks it,
        without asking the registry. A reboot discards the deployment, not the image data. Needs ostree 2023.8 or newer on the node.
      - V(unstaged) discards what is staged.
    type: str
    choices: [staged, downloaded, unstaged]
    default: staged
  signature_policy:
    description:
      - V(unchanged) keeps what the host has, so that verification is never lost by accident.
      - V(policy) insists on C(/etc/containers/policy.json), V(unverified) gives that up.
      - V(ostree_remote) verifies through an ostree remote. No bootc since 1.1.5 can set that for a new reference.
    type: str
    choices: [unchanged, unverified, policy, ostree_remote]
    default: unchanged
  kargs:
    description:
      - Kernel arguments of this host that shall be on the command line of the same next boot, so that image and arguments need one reboot.
        M(imagemode.nodes.kargs) describes the options.
      - Arguments that somebody staged before and that the tool would lose are put on top of the new image, whether this is set or not.
    type: dict
    suboptions:
      present:
        description: Arguments that shall be there, each as C(key) or C(key=value).
        type: list
        elements: str
        default: []
      absent:
        description: Arguments that shall not be there. A key alone takes all its values away.
        type: list
        elements: str
        default: []
      exact:
        description: For each key its values, all of them and in order.
        type: dict
        default: {}
      owner:
        description: The name under which arguments are remembered on the node.
        type: str
      exclusive:
        description: Take away what O(kargs.owner) set before and does not list any more.
        type: bool
        default: false
  stage_timeout:
    description:
      - Seconds that pulling and staging may take. Neither tool has a deadline of its own, and a stalled registry would hold it for ever.
      - The work runs in a transient systemd unit of the node. If the connection is lost or the controller dies, it goes on, and the next
        run takes it over.
    type: int
    default: 3600
"""

    RPM_OSTREE = r"""
options:
  ostree_remote:
    description: The ostree remote that verifies the image with O(signature_policy=ostree_remote).
    type: str
  bypass_driver:
    description:
      - Go on although an update driver, such as Zincati on Fedora CoreOS, has registered itself with rpm-ostree.
        rpm-ostree refuses otherwise.
      - The driver does not know of that, and may stage something else later. Better stop it for good on nodes that this collection updates.
    type: bool
    default: false
"""
