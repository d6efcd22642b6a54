# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the options that say where a pool's rollout state is."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that read or change the state of a pool's rollout."""

    DOCUMENTATION = r"""
options:
  pool:
    description: The inventory group whose nodes share one image and one window.
    type: str
    required: true
  store:
    description:
      - What keeps the state of the pool, which is what outlives the play. All three mean the same and differ in who can reach them.
      - V(file) is a file on the controller. It serves every controller process of that machine.
      - V(host) is a file on O(store_host), reached over that host's connection. It serves every controller that can reach the host.
      - V(kubernetes) is a Lease C(imagemode-POOL) in O(store_namespace). It serves every controller with a kubeconfig for the cluster.
    type: str
    choices: [file, host, kubernetes]
    default: file
  store_path:
    description:
      - Directory of the state for O(store=file) and O(store=host). One file per pool is kept in it, readable by its owner only.
      - The default of O(store=file) is the directory C(.imagemode) beside the inventory that the pool's first host comes from. An
        inventory without a place of its own, such as a list of hosts on the command line, uses C(~/.local/state/imagemode).
      - The default of O(store=host) is C(/var/lib/imagemode). Another one must be an absolute path on O(store_host).
    type: str
  store_shared:
    description:
      - For O(store=file), says that O(store_path) is on storage that every controller of this pool uses, for example every job of
        Automation Platform. The other stores always are shared.
      - Without it the module refuses to run inside a job of Automation Platform or AWX, where a file ends with the job.
      - In a shared store, entries of nodes which this inventory does not know are respected instead of refused, because a sliced job
        sees only its slice.
    type: bool
    default: false
  store_host:
    description:
      - The host of the inventory that keeps the state, for O(store=host). It must not be a member of the pool.
      - The task must also have C(delegate_to) with this host, so that connection, user and C(become) are those of the host.
      - It needs a POSIX shell and C(flock) of util-linux or busybox, and no Python.
    type: str
  store_namespace:
    description: The namespace of the Lease, for O(store=kubernetes). It must exist.
    type: str
    default: imagemode
  kubeconfig:
    description:
      - The kubeconfig file for O(store=kubernetes), on the controller.
      - The default is the environment variable E(KUBECONFIG), else C(~/.kube/config), else the service account of the pod that the
        controller runs in.
    type: path
  context:
    description: The context of O(kubeconfig). The default is its current one.
    type: str
  take_over:
    description:
      - Whether to take a slot from a holder of which nothing can be known, because it runs, or ran, on another machine or in another
        container.
      - Set it when you know that the other run is over. A holder on the same machine needs no help, since whether it runs can be seen.
    type: bool
    default: false
notes:
  - Runs on the controller. No connection to the node is made, and nothing is needed there.
  - O(store=kubernetes) needs the Python package C(kubernetes) on the controller.
"""
