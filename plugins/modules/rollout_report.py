#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of rollout_report, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Say how a rollout ended, and keep a record of it
version_added: 0.1.0
description:
  - Judges every node by what the tasks of its update registered, so that recap and exit code of the last play tell the truth, shows the
    closing table, and writes the record of the run as JSON and as a page that needs nothing but a browser.
  - Use it in the last play only, since a node that fails here takes part in no further play.
  - A cause that many nodes share is told once.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: Says which nodes would be updated, and writes no file.
  diff_mode:
    support: none
    details: Changes nothing on a node.
  idempotent:
    support: full
    details: A file more is no change.
  async:
    support: none
    details: It runs on the controller and takes milliseconds.
  platform:
    support: full
    platforms: posix
options:
  pool:
    description: The inventory group that was rolled out to.
    type: str
    required: true
  state:
    description:
      - V(node) judges the host, and fails if it does not run the image.
      - V(table) shows the hosts of the play, sets the job artifact C(imagemode_rollout), and writes the record. Use it with C(run_once).
    type: str
    choices: [node, table]
    default: node
  image:
    version_added: 0.2.0
    description: The image that was rolled out, as the record shall name it.
    type: str
    default: ""
  expected_digests:
    description: The digests that the nodes are to run, any of them.
    type: list
    elements: str
    default: []
  results:
    version_added: 0.2.0
    description:
      - What the names of the variables begin with that the tasks of the update registered.
      - They end in C(staging), C(held), C(drain), C(reboot), C(health), C(undrain), C(rollback), C(rollback_reboot), C(rollback_health) and
        C(ended), and for the whole run in C(checked), C(planned) and C(last). Each of them may be missing.
    type: str
    default: node_rollout_
  report_dir:
    version_added: 0.2.0
    description:
      - Directory on the controller for C(POOL-TIME.json), C(POOL-TIME.html) and C(POOL-latest.html). It is made if need be; the files are
        for their owner alone.
      - The default is C(.imagemode/reports) beside the inventory. Inside Automation Platform, where files end with the job, nothing is
        written unless this is set.
    type: path
  keep:
    version_added: 0.2.0
    description: How many records of the pool to keep there. Older ones are removed.
    type: int
    default: 20
notes:
  - Runs on the controller. No connection to the node is made.
seealso:
  - module: imagemode.nodes.rollout_plan
  - module: imagemode.nodes.rollout_slot
"""

EXAMPLES = r"""
- name: Report
  hosts: workers
  gather_facts: false
  tasks:
    - name: Report
      block:
        - name: Judge the node
          imagemode.nodes.rollout_report:
            pool: workers
            expected_digests: "{{ node_image.expected_digests }}"
      always:
        - name: Show the table
          imagemode.nodes.rollout_report:
            state: table
            pool: workers
            image: "{{ node_image.image }}"
            expected_digests: "{{ node_image.expected_digests }}"
            report_dir: /srv/reports
          run_once: true
"""

RETURN = r"""
nodes:
  description: How the rollout ended, for the host, or with O(state=table) for all hosts of the play.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The node's name in the inventory.
      type: str
    outcome:
      description:
        - V(updated), V(already right), or V(would be updated) in check mode.
        - V(awaits approval) if a person is to look at the canaries first.
        - V(failed) and out of service, V(rolled back) to the image it ran before, or V(not updated) and in service, because it could not
          be taken out.
        - V(not staged), V(unreachable) or V(image denied) before, or V(not its turn) if the rollout stopped before.
      type: str
    from_digest:
      description: Digest of what it ran before. Null for a plain ostree deployment.
      type: str
    from_version:
      description: Version of that, if it has one.
      type: str
    from_checksum:
      description: Ostree commit of that, if known.
      type: str
    to_digest:
      description: What it was to run.
      type: str
    seconds:
      description: How long it was out of service. Null if it never was.
      type: float
    reason:
      description: Why it does not run the image.
      type: str
report:
  description: Path of the page.
  returned: when it was written
  type: str
record:
  description: Path of the JSON file, whose fields docs/rollout-report.md lists.
  returned: when it was written
  type: str
msg:
  description: The outcome in one line.
  returned: always
  type: str
  sample: "workers: 6 nodes: 5 updated, 1 already right"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments, rollout_report_arguments


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=rollout_report_arguments.REPORT, supports_check_mode=True)
    module.fail_json(msg=rollout_arguments.only_on_the_controller("rollout_report"))


if __name__ == "__main__":
    main()
