#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of machine_config_render."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_config_render
short_description: Render MachineConfigs and Ignition to an image and files of hosts
version_added: 0.2.0
description:
  - Merges MachineConfig and Ignition documents as a cluster does for a pool, and gives every path exactly one owner.
  - V(image) owns C(/usr) and C(/etc). It gets units, which go to C(/usr/lib/systemd/system), and the links that enable or mask them.
  - V(tmpfiles) owns what is below C(/var) and may be in an image. It is made at every boot by one file of C(tmpfiles.d), so that
    updates and rollbacks of the image take effect there.
  - V(host) owns SSH keys, secrets, and what a disruption policy lets change without a reboot. It never gets into an image.
  - What cannot be honoured is refused with its document and field, all of it at once.
  - Writes a directory for a build, and beside it the files for M(imagemode.nodes.host_files).
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
requirements:
  - PyYAML on the machine that runs the module
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows paths, owners and checksums, and of a secret only whether it is another one. Never a content.
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: posix
options:
  sources:
    description:
      - Files with documents, as YAML or JSON, several in one file if wanted; or directories with such files, which end in
        C(.yaml), C(.yml), C(.json) or C(.ign). Directories below them are not looked at.
      - A document is a MachineConfig, a List of them, or an Ignition config 3.0 to 3.5, which is for every role.
    type: list
    elements: path
    default: []
  documents:
    description: Documents that are no files. Ansible does not log them, as they can hold secrets.
    type: list
    elements: dict
    default: []
  role:
    description: The role whose documents count, such as V(worker). A role of one's own takes those of V(worker) too.
    type: str
    required: true
  dest:
    description:
      - The directory to write. It must be empty, absent, or rendered before; what an earlier render left in it goes away.
      - It is replaced as a whole. Its files for hosts can be read by their owner only.
    type: path
    required: true
  acceptable:
    description:
      - Fields that cannot be honoured and may be left out, such as V(storage.disks) for what was done when the host was installed.
      - All others fail the task.
    type: list
    elements: str
    default: []
  disruption_policy:
    description:
      - What may change without a reboot, in the shape of OpenShift's NodeDisruptionPolicy, with the keys C(files), C(units) and
        C(sshkey). It goes over the rules that OpenShift has built in, one by one. Give a path the action C(Reboot) to take a
        built-in rule back.
      - Of files and directories the longest path that matches counts, of units the exact name.
    type: dict
    default: {}
  owners:
    description:
      - From a pattern of the shell for paths to V(image), V(tmpfiles) or V(host), where the rules give a path to another owner
        than wanted. The longest pattern that matches counts.
      - A secret stays with the host whatever is said here.
    type: dict
    default: {}
  var_links:
    description:
      - Links of the base into C(/var), over those that Fedora and Red Hat have (C(/home), C(/root), C(/opt), C(/srv), C(/mnt) and
        C(/usr/local)). Give a link the value V(null) if the base has a directory of its own there.
      - A build checks that the base is so.
    type: dict
    default: {}
  ssh_keys_file:
    description: The file below C(.ssh) that gets a user's keys. V(authorized_keys) is for RHCOS 8 and for hosts that are no CoreOS.
    type: str
    choices: [authorized_keys.d/ignition, authorized_keys]
    default: authorized_keys.d/ignition
  architecture:
    description:
      - The architecture for which the kernel arguments are, as C(uname -m) says it, such as V(aarch64). On others they have no effect.
      - If not said, they are for all.
    type: str
seealso:
  - module: imagemode.nodes.host_files
  - module: imagemode.nodes.kargs
  - module: imagemode.nodes.layered_image_build
"""

EXAMPLES = r"""
- name: Render what the pool's MachineConfigs say
  imagemode.nodes.machine_config_render:
    sources: [machine-configs]
    role: worker
    dest: /var/lib/image-builds/worker/config
    acceptable: [storage.disks, storage.filesystems]
    disruption_policy:
      files:
        - path: /etc/chrony.conf
          actions:
            - type: Restart
              restart:
                serviceName: chronyd.service
  register: config
  delegate_to: localhost
  run_once: true

- name: Show what goes where, and why
  ansible.builtin.debug:
    msg: "{{ config.files | items2dict('path', 'reason') }}"
"""

RETURN = r"""
dest:
  description: The directory.
  returned: success
  type: str
content_hash:
  description: A hash of everything that can change an image. Files of hosts do not change it.
  returned: success
  type: str
  sample: sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e
host_files:
  description: The file in RV(dest) whose C(files) are ready for M(imagemode.nodes.host_files). It holds secrets.
  returned: success
  type: str
role:
  description: The role.
  returned: success
  type: str
sources:
  description: The names of the documents that count, in the order of merging.
  returned: success
  type: list
  elements: str
left_out:
  description: The names of the documents that are for other roles.
  returned: success
  type: list
  elements: str
files:
  description: Every path, in order.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it really is, once links of the base into C(/var) are followed.
      type: str
    owner:
      description: V(image), V(tmpfiles) or V(host).
      type: str
    reason:
      description: Why it has this owner.
      type: str
    type:
      description: V(file), V(directory) or V(link).
      type: str
    mode:
      description: Its mode, as four octal digits.
      type: str
    user:
      description: Its owner on the node, by name or number.
      type: str
    group:
      description: Its group, by name or number.
      type: str
    size:
      description: Its size in bytes; 0 for a secret.
      type: int
    sha256:
      description: The checksum of its content; V(null) for a secret and for what is no file.
      type: str
    target:
      description: Where a link leads; V(null) for what is no link.
      type: str
    secret:
      description: Whether it counts as a secret. RV(files[].reason) says why.
      type: bool
    actions:
      description: What the disruption policy asks for after a change on the host.
      type: list
      elements: str
      sample: [Reload crio.service]
    document:
      description: The document that says so; V(null) for what is put together from several.
      type: str
    field:
      description: The field that says so; V(null) for what is put together from several.
      type: str
units:
  description: Every unit.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    given:
      description: Whether the documents have its text. Otherwise it lives in the base.
      type: bool
    enabled:
      description: Whether it is to be enabled; V(null) if nothing is said.
      type: bool
    masked:
      description: Whether it is to be masked; V(null) if nothing is said.
      type: bool
    links:
      description: The links that make it start.
      type: list
      elements: str
kargs:
  description: Kernel arguments that the image brings.
  returned: success
  type: list
  elements: str
kargs_absent:
  description: Kernel arguments that nodes are to be without, for the option O(imagemode.nodes.kargs#module:absent).
  returned: success
  type: list
  elements: str
presets:
  description: Units of the base that the build enables or disables by C(systemctl preset).
  returned: success
  type: list
  elements: str
masks:
  description: Units that are masked.
  returned: success
  type: list
  elements: str
extensions:
  description: Extensions that are wanted.
  returned: success
  type: list
  elements: str
kernel_type:
  description: V(default), V(realtime) or V(64k-pages).
  returned: success
  type: str
fips:
  description: Whether FIPS mode is wanted. RV(kargs) then has C(fips=1).
  returned: success
  type: bool
os_image:
  description: The operating system image that the documents name; V(null) if none does.
  returned: success
  type: str
extensions_image:
  description: The image with extensions that the documents name; V(null) if none does.
  returned: success
  type: str
unsupported:
  description: What was left out, since O(acceptable) allows it.
  returned: success
  type: list
  elements: dict
  contains:
    document:
      description: The document.
      type: str
    field:
      description: The field.
      type: str
    reason:
      description: Why it cannot be honoured.
      type: str
problems:
  description: Everything that is in the way.
  returned: failure
  type: list
  elements: str
"""

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.yaml import HAS_YAML, yaml_load_all
from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_rendering import (
    RENDER_SPEC,
    render_machine_config,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import finish


def load_yaml(text: str) -> Sequence[Any]:
    """All documents of a text. Raises ValueError, which quotes nothing of it: PyYAML's own messages show the line."""
    try:
        return list(yaml_load_all(text))
    except RecursionError:
        raise
    except Exception as error:  # PyYAML's errors, and ValueErrors of its own for dates that do not exist
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'a value that YAML does not have'}") from None


def main() -> None:
    """Run on a build host."""
    module = AnsibleModule(
        argument_spec=RENDER_SPEC, supports_check_mode=True, required_one_of=[["sources", "documents"]]
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    params = module.params
    # All of `documents` is marked as not to be logged, which would blot out each of its words in the result too, "worker"
    # among them. The result names no content, and Ansible adds only what is left in the parameters.
    module.no_log_values = set()
    module.params = {**params, "documents": [f"document {number}" for number in range(len(params["documents"]))]}
    finish(module, render_machine_config(params, module.check_mode, load_yaml))


if __name__ == "__main__":
    main()
