# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the files that run are those of the booted deployment, as far as a tool's status tells it."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState


def running_usr(state: HostState) -> str | None:
    """What to warn of where the right deployment is booted, but /usr is not what it has; None if nothing is known of that.

    After `apply-live` and a discarded staging only rpm-ostree's `live-replaced` tells it: bootc calls such a host clean
    (recorded, bootc 1.16.9 and rpm-ostree 2026.2).
    """
    if state.live_replaced:
        return (
            "packages were applied live to the booted deployment: /usr is not what the image has until the node reboots"
        )
    if state.unlocked != "none":
        return f"/usr is unlocked ({state.unlocked}): it may differ from what the image has"
    return None
