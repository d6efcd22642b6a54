# SPDX-License-Identifier: GPL-3.0-or-later
"""A make-believe node with boot entries, trees and owners: real shell, on a root that is a directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from node_on_disk import NodeOnDisk

CHECKSUM = "c" * 64
_PLACES = ("/proc/cmdline", "/boot/loader", "/ostree/deploy", "/etc/imagemode", "/run/ostree")


class KargsNode(NodeOnDisk):
    """Deployments are named by their serial. Every absolute path that a script names lies below `root`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.root = directory / "root"
        self.entries = self.root / "boot/loader/entries"
        self.entries.mkdir(parents=True)
        (self.root / "proc").mkdir()

    def cmdline(self, text: str) -> None:
        """Set what the kernel was started with."""
        (self.root / "proc/cmdline").write_text(text + "\n")

    def tree(self, serial: int, files: Mapping[str, str] | None = None) -> Path:
        """A deployment's tree, with a kargs.d of these files or without one."""
        tree = self.root / f"ostree/deploy/default/deploy/{CHECKSUM}.{serial}"
        tree.mkdir(parents=True, exist_ok=True)
        if files is not None:
            directory = tree / "usr/lib/bootc/kargs.d"
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (directory / name).write_text(text)
        return tree

    def deploy(
        self,
        serial: int,
        options: str,
        files: Mapping[str, str] | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        """A deployment with its boot entry, whose `ostree=` leads to its tree by a link as ostree makes it."""
        tree = self.tree(serial, files)
        link = self.root / f"ostree/boot.0/default/abc/{serial}"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(tree)
        lines = [f"title Linux {serial}", f"options {options} ostree={link}", "linux /vmlinuz"]
        lines += [f"x-options-source-{name} {words}" for name, words in (sources or {}).items()]
        (self.entries / f"ostree-{serial}.conf").write_text("\n".join(lines) + "\n")

    def owner(self, name: str, words: Sequence[str]) -> None:
        """Set what the node remembers for an owner."""
        path = self.root / "etc/imagemode/kargs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{word}\n" for word in words))

    def owned(self, name: str) -> list[str] | None:
        """What the node remembers for an owner; None for an owner without a file."""
        path = self.root / "etc/imagemode/kargs" / name
        return path.read_text().splitlines() if path.exists() else None

    def staged(self, record: bytes) -> None:
        """Set ostree's own note on what is staged."""
        path = self.root / "run/ostree/staged-deployment"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record)

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        for place in _PLACES:
            script = script.replace(place, f"{self.root}{place}")
        return super()._execute(script, limit)
