# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the modules that talk to registries."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach a registry."""

    DOCUMENTATION = r"""
options:
  authfile:
    description:
      - File with the credentials for registries, on the host that runs the module, as made by C(skopeo login --authfile FILE REGISTRY).
      - If not set, the tools look where they always do, for example in C($XDG_RUNTIME_DIR/containers/auth.json).
      - There is no option for a password, because it would end up on a command line.
    type: path
  validate_certs:
    description:
      - V(true) insists on HTTPS with a certificate that is trusted, V(false) also accepts any certificate and plain HTTP.
      - If not set, C(registries.conf) of the host that runs the module decides, which insists on HTTPS unless it says otherwise.
    type: bool
  ca_file:
    description:
      - Bundle of CA certificates to trust in registries beside those of the host that runs the module, a file on that host.
    type: path
requirements:
  - Python 3.9 or newer and C(skopeo) on the host that runs the module, which should be the controller or a build host, not a node.
"""
