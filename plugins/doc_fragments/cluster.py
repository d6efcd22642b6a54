# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the options that say how to reach the Kubernetes API."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that speak to a cluster."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - File that says how to reach the cluster, and as whom.
      - The default is the environment variable E(KUBECONFIG), then C(~/.kube/config), then the service account of the pod that the
        controller runs in.
      - A token that expires is read again from there, and a credential program is run again.
    type: path
  context:
    description: Name of the context of O(kubeconfig) to use. The default is its current context.
    type: str
requirements:
  - kubernetes >= 29 (Python library, on the controller)
notes:
  - Runs on the controller, for the host that the task runs for. No connection to the node is made, so C(delegate_to) is not needed.
  - Needs the rights in C(files/rbac.yml) of the role P(imagemode.nodes.node_rollout#role), and no more.
"""
