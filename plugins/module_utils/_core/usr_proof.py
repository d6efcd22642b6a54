# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether /usr really is the booted deployment's: a second witness, beside what the tools say is booted.

After a second soft reboot within one boot both tools named the wrong deployment (recorded, bootc 1.16.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState


class Evidence(str, Enum):
    """How /usr was compared with the deployments."""

    INODE = "inode"
    CONTENT = "content"


@dataclass(frozen=True)
class UsrWitness:
    """The commits of the deployments that /usr is, or that it cannot be told from. `evidence` None: not comparable."""

    evidence: Evidence | None = None
    checksums: frozenset[str] = frozenset()

    def confirms(self, state: HostState) -> bool | None:
        """Whether /usr is the one of the deployment that is said to be booted; None where it cannot be told.

        bootc's composefs backend has no directory per deployment: what is found there is left over from ostree.
        """
        booted = state.booted
        if booted is None or booted.composefs or booted.checksum is None or not self.checksums:
            return None
        if self.checksums == {booted.checksum}:
            return True
        if booted.checksum in self.checksums:
            return None
        # Somebody who unlocked /usr may have put anything there.
        return False if self.evidence is Evidence.INODE or state.unlocked == "none" else None


def parse_usr_witness(text: str) -> UsrWitness:
    """From lines of `inode COMMIT.SERIAL` or `content COMMIT.SERIAL`; anything else is no evidence."""
    found: dict[str, set[str]] = {kind.value: set() for kind in Evidence}
    for line in text.splitlines():
        kind, _space, directory = line.strip().partition(" ")
        checksum, dot, serial = directory.rpartition(".")
        if kind in found and dot and serial.isdigit() and checksum:
            found[kind].add(checksum)
    for evidence in Evidence:
        if found[evidence.value]:
            return UsrWitness(evidence, frozenset(found[evidence.value]))
    return UsrWitness()
