# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver of the container storage: vfs copies a whole image for every step, so it is avoided where that is possible."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import ANSWER_SECONDS, Engine, EngineName
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture

MOUNT_PROGRAM = "fuse-overlayfs"
_CHOSEN = re.compile(r"^\s*driver\s*=\s*[\"']\w", re.MULTILINE)


@dataclass(frozen=True)
class StorageDriver:
    """What to set for all tools so that they use a better driver than they would, or what to tell people instead."""

    environment: Mapping[str, str] = field(default_factory=dict)
    warning: str | None = None

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Let every tool that is started meanwhile use it."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def storage_driver(engine: Engine, fuse: Path = Path("/dev/fuse")) -> StorageDriver:
    """The driver for this host. What the user chose stays, and so does a storage with images in it."""
    store = _store(engine)
    if store.get("graphdrivername") != "vfs":
        return StorageDriver()
    chosen = _chosen_by_user()
    program = shutil.which(MOUNT_PROGRAM)
    can_overlay = program is not None and os.access(fuse, os.R_OK | os.W_OK)
    images = int((store.get("imagestore") or {}).get("number") or 0)
    if can_overlay and chosen is None and images == 0:
        # later runs find a storage of overlay, and go on with it by themselves
        return StorageDriver({"STORAGE_DRIVER": "overlay", "STORAGE_OPTS": f"overlay.mount_program={program}"})
    if chosen is not None:
        advice = f"{chosen} says so; say overlay there"
    elif can_overlay:
        advice = (
            f"it has {images} images in it. Where none is needed any more, `{engine.name.value} rmi --all --force` lets the "
            "next build use overlay"
        )
    else:
        advice = f"install {MOUNT_PROGRAM} and give the build host /dev/fuse, or build where overlay works"
    return StorageDriver(
        warning=f"The container storage of the build host uses the driver vfs, which copies the whole image for every step: {advice}."
    )


def _store(engine: Engine) -> dict[str, Any]:
    """What the engine says of its storage, with names in lower case, as the two spell them differently."""
    options = ["--format=json"] if engine.name is EngineName.PODMAN else []
    try:
        document = json.loads(capture([engine.path, "info", *options], ANSWER_SECONDS).output)
    except (ValueError, DeadlinePassed):
        return {}
    store = document.get("store") if isinstance(document, dict) else None
    return {str(name).lower(): value for name, value in store.items()} if isinstance(store, dict) else {}


def _chosen_by_user() -> str | None:
    """Where a driver was chosen on purpose: a variable or a file; None where nowhere."""
    if os.environ.get("STORAGE_DRIVER"):
        return "The variable STORAGE_DRIVER"
    named = os.environ.get("CONTAINERS_STORAGE_CONF")
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "storage.conf"
    files = [Path(named)] if named else [*([] if os.geteuid() == 0 else [own]), Path("/etc/containers/storage.conf")]
    for file in files:
        with contextlib.suppress(OSError):
            if _CHOSEN.search(file.read_text(encoding="utf-8", errors="replace")):
                return str(file)
    return None
