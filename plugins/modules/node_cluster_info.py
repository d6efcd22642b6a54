#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of node_cluster_info, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_cluster_info
short_description: See the nodes of a pool as the Kubernetes cluster sees them
version_added: 0.1.0
description:
  - Tells, for all nodes of a pool at once, which the cluster knows, which are ready and which are cordoned and by whom; whether etcd has a
    majority; which disruption budgets can never let a pod of the pool go; and which rights are missing.
  - Use it with C(run_once). A host is found under its variable C(imagemode_node_name), or else under its inventory name.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  async:
    support: none
    details: It runs on the controller.
  platform:
    support: full
    platforms: posix
options:
  pool:
    description: The inventory group whose nodes to look at.
    type: str
    required: true
  rights:
    description:
      - Which rights to ask the cluster for.
      - V(read) is what this module needs, V(drain) what M(imagemode.nodes.node_drain) needs, V(force) what
        O(imagemode.nodes.node_drain#module:force) needs beside that, and V(store) what a store in the cluster needs.
    type: list
    elements: str
    choices: [read, drain, force, store]
    default: [read, drain]
  store_namespace:
    description: The namespace of the store, for the right V(store).
    type: str
    default: imagemode
seealso:
  - module: imagemode.nodes.node_drain
  - module: imagemode.nodes.rollout_plan
"""

EXAMPLES = r"""
- name: Look at the pool
  imagemode.nodes.node_cluster_info:
    pool: workers
  run_once: true
  register: pool_in_cluster

- name: Say which nodes the cluster does not know
  ansible.builtin.debug:
    msg: "{{ pool_in_cluster.nodes | dict2items | rejectattr('value.found') | map(attribute='key') }}"
"""

RETURN = r"""
nodes:
  description: By inventory name, what the cluster knows of each node of the pool.
  returned: success
  type: dict
  contains:
    name:
      description: The node's name in the cluster.
      type: str
    found:
      description: Whether the cluster has it. If not, nothing but the name is known.
      type: bool
    ready:
      description: Whether the cluster sees it as ready.
      type: bool
    told:
      description: Why it is not ready, in the cluster's words. Empty if it is.
      type: str
    cordoned:
      description: Whether it takes no new pods.
      type: bool
    cordoned_by_us:
      description: Whether the cordon was made for this pool.
      type: bool
    cordoned_for:
      description: The pool that the cordon was made for. Empty if it is no rollout's.
      type: str
    zone:
      description: Its zone. Empty if it has none.
      type: str
    created:
      description: When it joined the cluster, in seconds since 1970. Null if it is not known.
      type: float
    control_plane:
      description: Whether it is of the control plane.
      type: bool
    etcd_member:
      description: Whether it runs a member of etcd. Known only where O(pool) has nodes of the control plane.
      type: bool
etcd:
  description: The members of etcd. Null if the pool has no node of the control plane, or the cluster does not show its members.
  returned: success
  type: dict
  contains:
    members:
      description: How many there are.
      type: int
    ready:
      description: How many are ready.
      type: int
    healthy:
      description: Whether a majority is ready.
      type: bool
budgets:
  description: Disruption budgets that can never let a pod go that is on a node of the pool now.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: The budget's namespace.
      type: str
    name:
      description: Its name.
      type: str
    reason:
      description: Why it can never be met, and what would change that.
      type: str
    pods:
      description: The pods that it holds, as C(namespace/name).
      type: list
      elements: str
    nodes:
      description: The inventory names of the nodes that they are on.
      type: list
      elements: str
missing_rights:
  description: What the user of the kubeconfig may not do and would need to, such as V(patch nodes).
  returned: success
  type: list
  elements: str
cluster_size:
  description: How many nodes the cluster has.
  returned: success
  type: int
server_version:
  description: The API server's version.
  returned: success
  type: str
  sample: v1.36.3
calls:
  description: How many calls to the API server it took.
  returned: success
  type: int
msg:
  description: What was seen, in one line.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import cluster_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_arguments import only_on_the_controller


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=cluster_arguments.CLUSTER_INFO, supports_check_mode=True)
    module.fail_json(msg=only_on_the_controller("node_cluster_info"))


if __name__ == "__main__":
    main()
