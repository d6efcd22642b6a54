# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the attributes that every module of the collection declares."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments named after what they add: C(.host) for modules that read or change a node."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict the result without changing anything.
  diff_mode:
    description: Returns what was changed, or would be changed in check mode, in diff form.
  idempotent:
    description: A second run with the same options changes nothing, unless the target was changed in between.
  async:
    description: Supports being used with the C(async) keyword.
  platform:
    description: What the module can act on.
    platforms: posix
"""

    HOST = r"""
options:
  busy_timeout:
    description:
      - Seconds to wait while another program holds the node's system lock,
        for example a running C(rpm-ostree) transaction or C(bootc upgrade).
      - Neither tool has a deadline of its own, so this one bounds every question that the module asks the node.
    type: int
    default: 300
notes:
  - Needs no Python on the node. A POSIX shell script goes over the connection on standard input.
  - Needs root on the node, directly or with C(become). Without privileges only C(rpm-ostree) can show its state.
  - A lost connection is reported as a failed task with RV(ignore:unreachable_host) set to V(true), never as C(UNREACHABLE),
    so that C(rescue) and C(always) sections run.
"""
