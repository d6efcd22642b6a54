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
      - What keeps the state of the pool, which is what outlives the play.
      - V(file) is a file on the controller. It serves every controller process of that machine.
    type: str
    choices: [file]
    default: file
  store_path:
    description:
      - Directory of the state. One file per pool is kept in it, readable by its owner only.
      - The default is the directory C(.imagemode) beside the inventory that the pool's first host comes from. An inventory without a
        place of its own, such as a list of hosts on the command line, uses C(~/.local/state/imagemode).
    type: path
  store_shared:
    description:
      - Says that O(store_path) is on storage that every controller of this pool uses, for example every job of Automation Platform.
      - Without it the module refuses to run inside a job of Automation Platform or AWX, where a file ends with the job.
      - With it, entries of nodes which this inventory does not know are respected instead of refused, because a sliced job sees only
        its slice.
    type: bool
    default: false
  take_over:
    description:
      - Whether to take a slot from a holder of which nothing can be known, because it runs, or ran, on another machine.
      - Set it when you know that the other run is over. A holder on the same machine needs no help, since whether it runs can be seen.
    type: bool
    default: false
notes:
  - Runs on the controller. No connection to the node is made, and nothing is needed there.
"""
