#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of node_health_info, which works from the controller: it outlives lost connections, and may ask a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_health_info
short_description: Wait until a node is healthy, by checks that are data
version_added: 0.2.0
description:
  - Looks at a node until every check is right, within O(deadline), and, where O(stable_for) says so, until all have stayed right for
    that long. Fails with the words of each check that is not right.
  - The loop runs on the node, in one script with all checks side by side. A node that is or gets healthy within a minute
    costs one round trip; each further minute of waiting is one more, with a line that says what is waited for.
  - A check that can never be right, such as a unit that does not exist or a program that is not there, ends the wait early and is
    told as such.
  - A node that starts anew in the middle is not healthy, see O(boot_id). Lost connections are tried again until O(deadline).
  - It changes nothing on the node.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: Looks once, without waiting, and gives the real answer.
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
  async:
    support: none
    details: It has deadlines of its own, and works from the controller.
  platform:
    support: full
    platforms: posix
requirements:
  - C(jmespath) on the controller, for checks with C(json).
  - C(kubernetes) on the controller, for the check C(node).
  - C(curl) on the node for checks with C(http), or a C(wget). That of busybox cannot verify a server, so it does for plain HTTP only.
options:
  checks:
    description:
      - What makes the node healthy. Each entry is a dictionary with exactly one of the keys C(failed_units), C(unit), C(http), C(command),
        C(greenboot) and C(node), the options of that kind, and a C(name) for people if the default one does not say enough.
      - "C(failed_units): a dictionary. The boot is finished and no unit has failed. C(ignore) in it is a list of units, or of
        patterns for such, that may fail."
      - "C(unit): the name of a unit. C(state) is V(active), the default, or V(inactive)."
      - "C(http): a URL that the node asks, without credentials in it. Redirections are not followed. C(status) is the status to be
        answered, or a list of such, by default 200. C(json) is a JMESPath expression over the body, which is to find something
        true, or exactly what C(equals) says. C(ca_file) is a file on the node with authorities to trust instead of the usual
        ones; C(validate_certs), by default true; C(timeout), by default 10 seconds."
      - "C(command): a program and its arguments, as a list. No shell sees it. C(rc) is the code to exit with, or a list of such,
        by default 0; C(timeout), by default 10 seconds. The last line that it writes to standard error is shown where the code is
        another one, so it should print no secret there."
      - "C(greenboot): V(true). greenboot has called this boot good."
      - "C(node): V(ready). Kubernetes calls the node ready, which the controller asks."
    type: list
    elements: dict
    default: []
  deadline:
    description: How long the node has to become healthy, O(stable_for) included. Seconds, or text such as V(90s), V(10m) or V(1h30m).
    type: str
    default: 10m
  stable_for:
    description:
      - How long all checks have to be right without a break. A service that was started anew in between counts as a break.
      - Seconds, or text such as V(90s); less than O(deadline).
    type: str
    default: "0"
  boot_id:
    description:
      - The kernel's id of the boot that is to be healthy, such as RV(imagemode.nodes.node_reboot#module:boot_id_after). In any
        other boot the task fails at once. greenboot, for one, reboots a bad node by itself and goes back to its previous
        deployment, which is then healthy.
      - Without it the boot counts in which the node was first seen by this task.
    type: str
  node:
    description: The node's name in the cluster, for the check C(node). By default the host's name in the inventory.
    type: str
  kubeconfig:
    description:
      - The file that says how to reach the cluster, on the controller, for the check C(node).
      - By default the one that E(KUBECONFIG) names, C(~/.kube/config), or the service account of the pod that Ansible runs in.
    type: path
  context:
    description: The context of O(kubeconfig) to use, by default its current one.
    type: str
notes:
  - Needs no Python on the node. A POSIX shell script goes over the connection on standard input.
  - Nothing that a service answered is in the result, but for the value that C(json) finds, cut to 200 characters.
  - A lost connection is reported as a failed task with RV(unreachable_host) set to V(true), never as C(UNREACHABLE),
    so that C(rescue) and C(always) sections run.
seealso:
  - module: imagemode.nodes.node_reboot
"""

EXAMPLES = r"""
- name: Wait until the node works
  imagemode.nodes.node_health_info:
    checks:
      - failed_units:
          ignore: [fwupd-refresh.service]
      - unit: kubelet.service
      - http: http://127.0.0.1:10248/healthz
      - node: ready
    deadline: 10m
    stable_for: 1m

- name: Look into what a service says of itself
  imagemode.nodes.node_health_info:
    checks:
      - name: the database takes connections
        command: [pg_isready, --quiet]
        timeout: 30s
      - name: the shop has found its database
        http: https://shop.example.com/status
        ca_file: /etc/pki/shop.pem
        json: database.state
        equals: connected
"""

RETURN = r"""
healthy:
  description: Whether every check is right. The task fails if it is V(false).
  returned: unless the checks were refused
  type: bool
checks:
  description: Each check, in the order of the option.
  returned: unless the checks were refused
  type: list
  elements: dict
  contains:
    name:
      description: What it is called.
      type: str
    kind:
      description: The key that says what is looked at, such as V(unit).
      type: str
    ok:
      description: Whether it was right at the last look.
      type: bool
    seconds:
      description: Seconds from the start until it was right for good. V(null) if it is not.
      type: float
    told:
      description: What was found, in one line of at most 300 characters.
      type: str
      sample: kubelet.service is activating (auto-restart), wanted active
boot_id:
  description: The kernel's id of the boot that was looked at last. V(null) if the node never answered.
  returned: unless the checks were refused
  type: str
started_at:
  description: When the task began, in seconds since 1970 on the controller's clock.
  returned: always
  type: float
seconds:
  description: How long the task took.
  returned: always
  type: float
unreachable_host:
  description: V(true) if the task failed because the connection failed.
  returned: when the connection failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health_options import HEALTH_SPEC


def main() -> None:
    """Say that this is the controller's work."""
    module = AnsibleModule(argument_spec=HEALTH_SPEC, supports_check_mode=True)
    module.fail_json(msg="node_health_info works from the controller: run it as a task, without async.")


if __name__ == "__main__":
    main()
