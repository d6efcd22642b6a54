# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""node_trust works from the controller: it reads credentials and keys there."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.node_trust import NodeTrust
from ansible_collections.imagemode.nodes.plugins.module_utils._host.node_trust import NODE_TRUST_SPEC, TrustOfNode
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._controller_file import ControllerFiles
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction, Result


class ActionModule(HostAction):
    """Give a node credentials, certificates, mirrors, a proxy and a signature policy."""

    _supports_async = False
    spec: t.ClassVar[dict[str, t.Any]] = NODE_TRUST_SPEC
    _inventory_directory: str | None = None

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        """Ansible's entry point."""
        self._inventory_directory = (task_vars or {}).get("inventory_dir")
        return super().run(tmp, task_vars)

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Look and, outside check mode, write."""
        trust = TrustOfNode(
            runner,
            NodeTrust.from_options(self._with_contents(params)),
            image=params["image"] or None,
            require_signed=params["require_signed"],
            anonymous=params["registry_anonymous"],
            timeout=params["file_timeout"],
            show=self._task.diff,
        )
        return trust.run(check_mode=self._task.check_mode)

    def _with_contents(self, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """The options with the contents of files in place of their paths."""
        files = ControllerFiles(self._loader, self._inventory_directory)
        auth = params["registry_auth"]
        sources = None if auth is None else auth if isinstance(auth, list) else [auth]
        return {
            **params,
            "registry_auth": sources and [files.auth_source(source, "imagemode_registry_auth") for source in sources],
            "registry_cas": {
                registry: files.content(value, f"imagemode_registry_cas, {registry}")
                for registry, value in params["registry_cas"].items()
            },
            "ca_anchors": {
                name: files.content(value, f"imagemode_ca_anchors, {name}")
                for name, value in params["ca_anchors"].items()
            },
            "trusted_images": [
                {
                    **image,
                    "keys": [
                        files.content(key, f"imagemode_trusted_images, {image['scope']}") for key in image["keys"]
                    ],
                }
                for image in params["trusted_images"]
            ],
        }
