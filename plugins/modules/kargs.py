#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of kargs; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kargs
short_description: Manage the kernel arguments of an image-mode host
version_added: 0.2.0
description:
  - Makes the kernel arguments of the next boot what is wished, in one transaction. It never reboots, see
    M(imagemode.nodes.node_reboot).
  - Decides from the arguments before and after, never from what a tool prints. It builds on whatever boots next, so it can follow
    a staged image in the same reboot.
  - Arguments are compared as whole words, with the kernel's quoting, in order, repeated ones included. What boot loader and ostree
    write themselves (C(BOOT_IMAGE=), C(initrd=), C(ostree=), C(composefs=)) is left out of every comparison and cannot be managed.
  - Arguments that belong to all machines of an image are better kept in the image, see M(imagemode.nodes.layered_image_build).
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows every argument of the next boot in order, one a line, and marks those that the image brings.
  idempotent:
    support: full
  async:
    support: partial
    details: With C(async) the node needs Python 3.9 or newer.
  platform:
    support: full
    platforms: posix
options:
  present:
    description:
      - Arguments that have to be there, each with its value if it has one. One that is missing is added at the end.
      - Other values of the same argument stay. Use O(exact) to replace them.
    type: list
    elements: str
    default: []
  absent:
    description:
      - Arguments that must not be there. V(foo) means the argument whatever its value is, V(foo=bar) only that value.
    type: list
    elements: str
    default: []
  exact:
    description:
      - Arguments with all their values, in order. Whatever else the argument has goes away.
      - A value of V(null) or an empty one stands for the argument without a value, an empty list for none at all.
      - What is in the right order already keeps its place on the command line, and the rest is added at the end.
    type: dict
    default: {}
  owner:
    description:
      - A name for whoever sets these arguments. The node remembers what an owner has set, in C(/etc/imagemode/kargs/) or, with the
        backend V(loader-entries), in the boot loader entry. Letters, digits, V(-) and V(_).
      - Keeping that record up to date is no change.
    type: str
  exclusive:
    description:
      - Takes away what O(owner) has set before and no longer lists. What the image brings, or another owner has set as well, stays.
    type: bool
    default: false
  backend:
    description:
      - What makes the change. V(auto) takes the first that the host can use, in this order.
      - V(rpm-ostree) can do everything, on hosts with bootc as well. It stages a deployment.
      - V(loader-entries) is C(bootc loader-entries) of bootc 1.15.2 and newer with ostree 2026.1 and newer, but not 2026.2, which
        has a regression. It can only take away what it has set itself for the same O(owner). It stages a deployment.
      - V(ostree) is C(ostree admin kargs edit-in-place). It can only add, edits the boot entries of all deployments, and stages nothing.
    type: str
    choices: [auto, rpm-ostree, loader-entries, ostree]
    default: auto
  stage_timeout:
    description: Seconds that the change may take.
    type: int
    default: 600
seealso:
  - module: imagemode.nodes.node_reboot
  - module: imagemode.nodes.bootc_switch
  - module: imagemode.nodes.layered_image_build
"""

EXAMPLES = r"""
- name: Set what this role needs, and take away what it needed before
  imagemode.nodes.kargs:
    owner: tuning
    exclusive: true
    present:
      - nosmt
      - mitigations=auto
    exact:
      console: [tty0, "ttyS0,115200"]
  register: arguments

- name: Take an argument away, whatever its value is
  imagemode.nodes.kargs:
    absent: [crashkernel]

- name: Reboot the nodes that need it
  imagemode.nodes.node_reboot:
  when: arguments.reboot_required
"""

RETURN = r"""
before:
  description: The kernel arguments before.
  returned: success, and failure after they could be read
  type: dict
  contains:
    booted:
      description: What the running kernel was started with.
      type: list
      elements: str
      sample: [BOOT_IMAGE=/vmlinuz, root=LABEL=root, rw, quiet]
    next:
      description: What the next boot will use.
      type: list
      elements: str
      sample: [root=LABEL=root, rw, quiet, nosmt]
    image:
      description: Those of the next boot that its image brings.
      type: list
      elements: str
      sample: [quiet]
    local:
      description: Those of the next boot that were set on this machine.
      type: list
      elements: str
      sample: [root=LABEL=root, rw, nosmt]
    owned:
      description: What the node remembers for O(owner).
      type: list
      elements: str
      sample: [nosmt]
after:
  description: The same after; in check mode as predicted.
  returned: success, and failure after they could be read
  type: dict
  contains:
    booted:
      description: What the running kernel was started with.
      type: list
      elements: str
      sample: [BOOT_IMAGE=/vmlinuz, root=LABEL=root, rw, quiet]
    next:
      description: What the next boot will use.
      type: list
      elements: str
      sample: [root=LABEL=root, rw, quiet, nosmt]
    image:
      description: Those of the next boot that its image brings.
      type: list
      elements: str
      sample: [quiet]
    local:
      description: Those of the next boot that were set on this machine.
      type: list
      elements: str
      sample: [root=LABEL=root, rw, nosmt]
    owned:
      description: What the node remembers for O(owner).
      type: list
      elements: str
      sample: [nosmt]
reboot_required:
  description: Whether the next boot brings another deployment, or arguments that the running kernel was started without.
  returned: success, and failure after they could be read
  type: bool
backend:
  description: What has made the change, or would; V(auto) if nothing on the host could, and nothing has to be changed.
  returned: success, and failure after they could be read
  type: str
  sample: rpm-ostree
commands:
  description: The commands that were run to change the node, or would be in check mode, each as a list of words.
  returned: success, and failure after they could be read
  type: list
  elements: list
  sample: [[rpm-ostree, kargs, --append=nosmt, --unchanged-exit-77]]
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import Backend
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs import Kargs
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import KARGS_SPEC, kargs_wish


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=KARGS_SPEC, supports_check_mode=True)
    params = module.params
    run_on_this_machine(
        module,
        lambda runner: Kargs(
            runner=runner,
            wish=kargs_wish(params),
            backend=Backend(params["backend"]),
            busy_timeout=params["busy_timeout"],
            stage_timeout=params["stage_timeout"],
        ).run(check_mode=module.check_mode),
    )


if __name__ == "__main__":
    main()
