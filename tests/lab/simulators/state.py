# SPDX-License-Identifier: GPL-3.0-or-later
"""The persistent state of a simulated host: its deployments, and the images in its ostree repository."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

LOCAL_CHANGES = (
    *("packages", "local-packages", "override-remove", "override-replace-local"),
    *("regenerate-initramfs", "initramfs-etc", "cliwrap"),
)


class Deployment:
    """One deployment, as its directory, origin file and boot entry describe it.

    ``checksum`` is the deployed commit and ``base`` the commit of the image below it; they differ only when packages
    are layered. ``origin`` holds ``container`` or ``refspec``, then optionally ``override-commit`` and the local
    changes (``packages``, …). ``kargs`` are in order and include ``ostree=…``, which may be stale. ``sources`` are the
    ``x-options-source-NAME`` keys of the boot entry; None until staged, which copies those of the booted deployment.
    """

    def __init__(
        self,
        osname: str,
        checksum: str,
        serial: int,
        origin: dict[str, Any],
        kargs: list[str],
        *,
        base: str | None = None,
        pinned: bool = False,
        locked: bool = False,
        sources: dict[str, str] | None = None,
    ) -> None:
        self.osname = osname
        self.checksum = checksum
        self.serial = serial
        self.origin = origin
        self.kargs = kargs
        self.base = base or checksum
        self.pinned = pinned
        self.locked = locked
        self.sources = sources

    @property
    def id(self) -> str:
        return f"{self.osname}-{self.checksum}.{self.serial}"

    @property
    def directory(self) -> str:
        return f"{self.checksum}.{self.serial}"

    @property
    def incompatible(self) -> bool:
        """Whether the origin asks for local changes, which is what bootc looks at (bootc 1.16.9, utils.rs)."""
        return any(self.origin.get(key) for key in LOCAL_CHANGES)

    def machine_kargs(self) -> list[str]:
        return [argument for argument in self.kargs if not argument.startswith("ostree=")]

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Deployment:
        return cls(**document)


class State:
    """What survives a power cut.

    ``deployments``: boot order, without the staged one. ``booted``: id of the booted one. ``images``: name under which
    an image was pulled -> commit. ``commits``: commit -> its metadata (see ``pull.commit_of``). ``layers``: digests of
    the layers in the repository. ``refs``: refspec -> the newest commit that was seen on it. ``unlocked``: how /usr
    of the booted deployment is unlocked (gone after a reboot).
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.stateroot: str = document["stateroot"]
        self.booted: str = document["booted"]
        self.deployments = [Deployment.from_json(entry) for entry in document["deployments"]]
        self.images: dict[str, str] = document["images"]
        self.commits: dict[str, dict[str, Any]] = document["commits"]
        self.layers: list[str] = document["layers"]
        self.refs: dict[str, str] = document["refs"]
        self.bootversion: int = document["bootversion"]
        self.unlocked: str = document["unlocked"]
        self.live_replaced: str | None = document["live_replaced"]
        self.cached_update: dict[str, Any] | None = document["cached_update"]
        self.finalize_failure: str | None = document["finalize_failure"]

    @classmethod
    def empty(cls, stateroot: str) -> State:
        return cls(
            {
                "stateroot": stateroot,
                "booted": "",
                "deployments": [],
                "images": {},
                "commits": {},
                "layers": [],
                "refs": {},
                "bootversion": 0,
                "unlocked": "none",
                "live_replaced": None,
                "cached_update": None,
                "finalize_failure": None,
            }
        )

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "deployments": [entry.as_json() for entry in self.deployments]}

    def booted_index(self) -> int:
        for index, deployment in enumerate(self.deployments):
            if deployment.id == self.booted:
                return index
        raise LookupError(f"state.json names {self.booted} as booted, but no such deployment is in it")
