#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of host_files; the action plugin of the same name serves nodes without Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Put files on a node, all of them or none
version_added: 0.2.0
description:
  - Makes a list of files on a node what they shall be, in one round trip if they are so already, and in two if not.
  - Every new content is first written beside its file and checked there. Then all files take their places by renaming, so that no
    program ever reads half a file, and a mistake in one file leaves all of them as they were.
  - Missing directories are made. SELinux labels are restored where the node has C(restorecon).
  - Refuses paths below C(/usr), which belong to the image, except C(/usr/local).
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows text up to 64 KiB, and mode and owner. Of a secret it shows only that it is another one.
  idempotent:
    support: full
  async:
    support: partial
    details: With C(async) the node needs Python 3.9 or newer.
  platform:
    support: full
    platforms: posix
options:
  files:
    description:
      - The files, in the order in which they take their places.
      - The module never shows or logs the content of a secret. Ansible itself shows the arguments of a task as they stand in the playbook,
        so let a secret come from a variable.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The whole path.
        type: path
        required: true
      content:
        description: What is in the file.
        type: str
      content_b64:
        description: What is in the file, as base64, for what is no text.
        type: str
      state:
        description: V(absent) removes the file, or the symbolic link, never what a link leads to.
        type: str
        choices: [present, absent]
        default: present
      mode:
        description: Four octal digits, in quotes. V(0644) if not said, V(0600) for a secret.
        type: str
      owner:
        description: The owner, by name or number.
        type: str
        default: root
      group:
        description: The group, by name or number.
        type: str
        default: root
      secret:
        description: Whether the content must not be seen. Then not even its checksum is returned.
        type: bool
        default: false
      live_link:
        description:
          - What to do if the path is a symbolic link that leads to something. V(fail) changes nothing and names the target.
            V(replace) puts a file in place of the link, and leaves what it led to alone.
          - A link that leads to nothing is always replaced. Nothing is ever written through a link.
        type: str
        choices: [fail, replace]
        default: fail
  exclusive:
    description:
      - Patterns of the shell. Files that match one and are not among O(files) are removed, so that what was put there by an earlier
        run and is wanted no more goes away.
    type: list
    elements: str
    default: []
  directory_mode:
    description: The mode of directories that have to be made.
    type: str
    default: "0755"
  file_timeout:
    description: Seconds that each single step, such as writing one file, may take.
    type: int
    default: 60
notes:
  - Needs no Python on the node. A POSIX shell script goes over the connection on standard input, contents included, so none of it
    ever is on a command line.
  - Needs root on the node, directly or with C(become).
  - A lost connection is reported as a failed task with RV(ignore:unreachable_host) set to V(true), never as C(UNREACHABLE),
    so that C(rescue) and C(always) sections run.
seealso:
  - module: imagemode.nodes.node_trust
"""

EXAMPLES = r"""
- name: Set up the agent
  imagemode.nodes.host_files:
    files:
      - path: /etc/example-agent/agent.conf
        content: "{{ lookup('ansible.builtin.template', 'agent.conf.j2') }}"
      - path: /etc/example-agent/token
        content: "{{ example_agent_token }}"
        secret: true
      - path: /etc/example-agent/agent.conf.d/old.conf
        state: absent

- name: Keep only the drop-ins of this list
  imagemode.nodes.host_files:
    files:
      - path: /etc/systemd/journald.conf.d/fleet-size.conf
        content: |
          [Journal]
          SystemMaxUse=500M
    exclusive: [/etc/systemd/journald.conf.d/fleet-*.conf]
"""

RETURN = r"""
files:
  description: Every file of O(files), and those that O(exclusive) removes.
  returned: success, and failure of writing
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
    changed:
      description: Whether this file was changed, or would be in check mode.
      type: bool
    state:
      description: V(present) or V(absent).
      type: str
    mode:
      description: Its mode, as four octal digits; V(null) for an absent file.
      type: str
    owner:
      description: Its owner; V(null) for an absent file.
      type: str
    group:
      description: Its group; V(null) for an absent file.
      type: str
    sha256:
      description: The checksum of its content; V(null) for a secret and for an absent file.
      type: str
    secret:
      description: Whether the content must not be seen.
      type: bool
    replaced_link:
      description: Where the symbolic link led that made way; V(null) if there was none.
      type: str
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.host_files import wanted_files
from ansible_collections.imagemode.nodes.plugins.module_utils._host.module_entry import run_on_this_machine
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import HOST_FILES_SPEC


def main() -> None:
    """Run on the machine itself."""
    module = AnsibleModule(argument_spec=HOST_FILES_SPEC, supports_check_mode=True)
    params, diff_mode = module.params, module._diff
    # All of `files` is marked as not to be logged, which would blot out each of its words in the result too, "root" among
    # them. The result names no content, and Ansible adds only what is left in the parameters.
    module.no_log_values = set()
    module.params = {**params, "files": [file["path"] for file in params["files"]]}
    run_on_this_machine(
        module,
        lambda runner: wanted_files(params).on(runner, show=diff_mode).run(check_mode=module.check_mode),
    )


if __name__ == "__main__":
    main()
