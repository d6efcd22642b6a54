#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of node_drain, whose work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_drain
short_description: Empty a Kubernetes node before its reboot, and take it back into service
version_added: 0.1.0
description:
  - Cordons a node, asks the cluster to move its pods elsewhere, and waits until they are gone, all under one deadline. Disruption budgets
    are obeyed. A pod that a budget holds is asked for again and again, and who holds it is said every half a minute.
  - The cordon carries the annotation C(imagemode.nodes/cordoned-for) with the name of the pool, set in the same call. A cordon without it
    is somebody else's and is never lifted, also not by a later run.
  - If the drain fails, a cordon of this pool is lifted again, so that the node is in service as before.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.cluster
attributes:
  check_mode:
    support: full
    details: Asks the API server to try the cordon and every eviction without doing them, so rights and budgets are those of the cluster.
  diff_mode:
    support: full
    details: Shows the cordon and the pods on the node, before and after.
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
    description: The pool whose rollout this is. It is written beside the cordon, and lines of output begin with it.
    type: str
    required: true
  state:
    description:
      - V(cordoned) lets no new pods onto the node.
      - V(drained) does that, and moves the pods away.
      - V(uncordoned) waits until the cluster sees the node as ready, and lifts a cordon of this pool. A cordon that somebody else made
        stays.
    type: str
    choices: [cordoned, drained, uncordoned]
    default: drained
  node:
    description: The node's name in the cluster. The default is the variable C(imagemode_node_name) of the host, then its inventory name.
    type: str
  deadline:
    description:
      - Time for everything that O(state=cordoned) and O(state=drained) do. Seconds, or text such as V(90s), V(10m) or V(1h30m).
    type: str
    default: 1h
  grace_period:
    description:
      - Seconds that every pod has to stop. The default is what each pod asks for.
      - V(0) removes pods from the cluster at once, whether or not they have stopped.
    type: int
  empty_dir:
    description:
      - What to do with pods that keep data in an C(emptyDir) volume, which is lost when they move.
      - V(fail) refuses before anything is moved.
    type: str
    choices: [evict, fail]
    default: evict
  unmanaged:
    description:
      - What to do with pods that no controller makes again elsewhere.
      - V(fail) refuses before anything is moved. V(delete) lets them go for good, as far as budgets allow.
    type: str
    choices: [fail, delete]
    default: fail
  force:
    description:
      - Whether to delete pods that are left at O(deadline), against their budgets. They still have their grace period, and the task waits
        for that and one minute more.
      - Needs the right to delete pods, which the role's manifest gives only where it is bound as well.
    type: bool
    default: false
  quorum:
    description:
      - V(auto) refuses to drain a node with a member of etcd if fewer than a majority of the members would be left ready. The only member
        of a cluster is no such case.
      - V(ignore) does not look.
    type: str
    choices: [auto, ignore]
    default: auto
  only_node:
    description:
      - What O(state=drained) does on the only node of a cluster, from which pods cannot go anywhere.
      - V(skip) leaves node and pods as they are. V(drain) drains it all the same.
    type: str
    choices: [skip, drain]
    default: skip
  ready_deadline:
    description:
      - With O(state=uncordoned), how long to wait until the node is ready, and its member of etcd if it has one. If that takes longer, the
        task fails and the cordon stays. As O(deadline).
      - V(0) does not wait and does not look.
    type: str
    default: 10m
  boot_id:
    description:
      - With O(state=uncordoned), the boot id that the node has now, as RV(imagemode.nodes.node_reboot#module:boot_id_after).
      - Until the cluster knows of that boot, what it says of the node is from before the reboot, and does not count.
    type: str
  missing:
    description: Whether to fail if the cluster has no such node.
    type: str
    choices: [fail, ignore]
    default: fail
  evict_parallel:
    description: How many evictions to ask for at once.
    type: int
    default: 16
seealso:
  - module: imagemode.nodes.node_cluster_info
  - module: imagemode.nodes.node_reboot
"""

EXAMPLES = r"""
- name: Empty the node
  imagemode.nodes.node_drain:
    pool: workers
    deadline: 30m
    kubeconfig: ~/.kube/fleet.yml

- name: Reboot it
  imagemode.nodes.node_reboot:

- name: Take it back into service, unless somebody else had cordoned it
  imagemode.nodes.node_drain:
    pool: workers
    state: uncordoned
    kubeconfig: ~/.kube/fleet.yml

- name: See what a drain would do
  imagemode.nodes.node_drain:
    pool: workers
  check_mode: true
"""

RETURN = r"""
node:
  description: The node's name in the cluster.
  returned: always
  type: str
found:
  description: Whether the cluster has the node.
  returned: once the cluster answered
  type: bool
pods:
  description: Every pod that was on the node, those which are in the way first.
  returned: when O(state=drained)
  type: list
  elements: dict
  contains:
    namespace:
      description: The pod's namespace.
      type: str
    name:
      description: The pod's name.
      type: str
    kind:
      description: V(managed), V(unmanaged), V(daemonset), V(static), V(completed) or V(terminating), which decides what is done with it.
      type: str
    outcome:
      description:
        - V(evicted) and gone; V(deleted) by force and gone; V(gone) by itself; V(left) on purpose.
        - V(unconfirmed) if it was told to stop and its time is over, but the node does not answer the cluster.
        - V(held) by a budget, V(stopping) still, V(refused) by the options, or V(waiting) for its turn when the drain failed.
        - V(would evict) in check mode.
      type: str
    seconds:
      description: From the first attempt until it was gone. Null for pods that are not gone.
      type: float
    reason:
      description: Why, if it is still there.
      type: str
    budgets:
      description: Names of the budgets that held it.
      type: list
      elements: str
budgets:
  description: Every budget that held a pod of the node, also if it let go later.
  returned: when O(state=drained)
  type: list
  elements: dict
  contains:
    namespace:
      description: The budget's namespace.
      type: str
    name:
      description: Its name.
      type: str
    allowed:
      description: How many pods it allows to disrupt. Null if that cannot be seen.
      type: int
    healthy:
      description: How many of its pods are healthy.
      type: int
    wanted:
      description: How many it wants healthy.
      type: int
    expected:
      description: How many pods it is about.
      type: int
    pods:
      description: The node's pods that it held, as C(namespace/name).
      type: list
      elements: str
drained:
  description: Whether every pod that had to go is gone.
  returned: when O(state=drained)
  type: bool
was_cordoned:
  description: Whether the node was cordoned before, by anybody.
  returned: when the node was found
  type: bool
cordoned:
  description: Whether it is cordoned now.
  returned: when the node was found
  type: bool
cordoned_by_us:
  description: Whether the cordon that is there now belongs to the pool.
  returned: when the node was found
  type: bool
ready:
  description: Whether the cluster sees the node as ready.
  returned: when the node was found
  type: bool
not_ready:
  description: Whether the task failed because the cluster still saw the node, or its member of etcd, as not ready at O(ready_deadline).
  returned: when O(state=uncordoned) failed for that
  type: bool
etcd:
  description: The members of etcd. Null if the node has none.
  returned: when the node was found
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
calls:
  description: How many calls to the API server it took.
  returned: once the cluster answered
  type: int
started_at:
  description: When it began, in seconds since 1970.
  returned: always
  type: float
seconds:
  description: How long it took.
  returned: always
  type: float
msg:
  description: What happened, in one line.
  returned: always
  type: str
  sample: "workers: worker-03 is drained: 14 pods moved in 41 s, 6 left on purpose"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._core import cluster_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_arguments import only_on_the_controller


def main() -> None:
    """Only reached where Ansible does not find the action plugin."""
    module = AnsibleModule(argument_spec=cluster_arguments.DRAIN, supports_check_mode=True)
    module.fail_json(msg=only_on_the_controller("node_drain"))


if __name__ == "__main__":
    main()
