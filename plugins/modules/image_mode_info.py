#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of image_mode_info; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_mode_info
short_description: Show what an image-mode host runs and what it boots next
version_added: 0.1.0
description:
  - Reads the state of a bootc or rpm-ostree host in one round trip, and returns one view whatever the tool.
  - A host that is not image-mode is no error here. RV(host.image_mode) is V(false) then.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.attributes.host
attributes:
  check_mode:
    support: full
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
seealso:
  - module: imagemode.nodes.bootc_switch
"""

EXAMPLES = r"""
- name: See what every node runs
  imagemode.nodes.image_mode_info:
  register: info

- name: Show the nodes that wait for a reboot
  ansible.builtin.debug:
    msg: "{{ info.host.staged.image.reference }} is staged"
  when: info.host.reboot_required
"""

RETURN = r"""
host:
  description: One view of the host, whatever its tool. RV(ignore:before) and RV(ignore:after) of the other modules have the same shape.
  returned: success
  type: dict
  contains:
    tool:
      description: V(bootc), V(rpm-ostree), or V(null) on a host that is not image-mode.
      type: str
    image_mode:
      description: Whether the host was booted from an image or from ostree.
      type: bool
    versions:
      description: Versions of RV(host.versions.bootc) and RV(host.versions.rpm_ostree), V(null) where not installed or not asked.
      type: dict
      contains:
        bootc:
          description: For example V(1.16.9).
          type: str
        rpm_ostree:
          description: For example V(2026.2).
          type: str
    booted:
      description: The running deployment; V(null) on a host that is not image-mode.
      type: dict
      contains:
        image:
          description: The container image, V(null) for a plain ostree commit and for a deployment with local changes.
          type: dict
          contains:
            reference:
              description: As it was given to the tool.
              type: str
            transport:
              description: V(registry) or another transport of containers.
              type: str
            signature:
              description: V(unverified), V(policy) or C(ostree_remote:NAME).
              type: str
            digest:
              description: Manifest digest for the node's architecture.
              type: str
            version:
              description: From the image's labels.
              type: str
            timestamp:
              description: When the image was made, RFC 3339.
              type: str
            architecture:
              description: As container images name it, for example V(amd64); V(null) before bootc 1.1.7.
              type: str
        digest:
          description: The same as RV(host.booted.image.digest), V(null) without an image.
          type: str
        checksum:
          description: The ostree commit, or the fs-verity digest of a composefs host.
          type: str
        serial:
          description: Tells deployments of one commit apart.
          type: int
        stateroot:
          description: The ostree stateroot (osname).
          type: str
        origin:
          description: The ostree branch that a plain ostree deployment follows.
          type: str
        version:
          description: Of the deployment.
          type: str
        pinned:
          description: Whether it is kept from clean-up.
          type: bool
        download_only:
          description: Whether it is staged but locked, so that the next reboot discards it.
          type: bool
        soft_reboot_capable:
          description: What bootc says; see RV(host.reboot_kind) for what can be relied on.
          type: bool
        composefs:
          description: Whether the host uses bootc's composefs backend instead of ostree.
          type: bool
        local_changes:
          description: Layered packages, overrides and the like, that make it differ from its image.
          type: dict
          contains:
            packages:
              description: Layered packages, active or not.
              type: list
              elements: str
            removals:
              description: Base packages removed.
              type: list
              elements: str
            replacements:
              description: Base packages replaced.
              type: list
              elements: str
            initramfs:
              description: Whether the initramfs is made on the host.
              type: bool
            cliwrap:
              description: Whether rpm-ostree wraps other commands.
              type: bool
            known:
              description: Whether they could be named; V(false) where bootc saw some and rpm-ostree is not there.
              type: bool
        cached_update:
          description: Digest of the newest image that the tool heard of. Can be stale.
          type: str
    staged:
      description: What waits for the reboot, in the shape of RV(host.booted).
      type: dict
    rollback:
      description: The deployment to go back to, in the shape of RV(host.booted).
      type: dict
    others:
      description: Further deployments, in the shape of RV(host.booted).
      type: list
      elements: dict
    next:
      description: V(staged), V(rollback) or V(booted), whichever boots next.
      type: str
    rollback_queued:
      description: Whether a rollback was asked for. A staged deployment still wins over it.
      type: bool
    unlocked:
      description: V(none), V(development), V(hotfix) or V(transient), the state of /usr.
      type: str
    live_replaced:
      description:
        - The commit that C(rpm-ostree apply-live) applied to the running system, V(null) if none. /usr is then not that of
          RV(host.booted), whatever became of the deployment since.
      type: str
    read_only:
      description: Whether /sysroot is on a read-only device, as on a live system.
      type: bool
    transaction:
      description: The running rpm-ostree transaction. V(null) does not prove that the host is idle, because bootc's work shows nowhere.
      type: dict
      contains:
        method:
          description: For example V(Rebase).
          type: str
        detail:
          description: Its object on the message bus.
          type: str
    update_driver:
      description: What has registered itself as the driver of updates, for example V(Zincati).
      type: str
    updaters:
      description:
        - Active units that update the host on their own, and may replace what is staged or reboot at any time,
          for example V(bootc-fetch-apply-updates.timer).
      type: list
      elements: str
    boot_id:
      description: The kernel's id of this boot.
      type: str
    kargs:
      description: Kernel arguments.
      type: dict
      contains:
        booted:
          description: Of the running kernel.
          type: list
          elements: str
        next:
          description: Of what boots next; V(null) where nobody on the host can tell.
          type: list
          elements: str
    reboot_required:
      description: Whether something else than the booted deployment boots next.
      type: bool
    reboot_kind:
      description: V(soft), V(full), or V(null) if no reboot is required.
      type: str
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import INFO_SPEC


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=INFO_SPEC, supports_check_mode=True)
    run_on_this_machine(
        module,
        lambda runner: {
            "changed": False,
            "host": Observer(runner, module.params["busy_timeout"]).completely().as_dict(),
        },
    )


if __name__ == "__main__":
    main()
