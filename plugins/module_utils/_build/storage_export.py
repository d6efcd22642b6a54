# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from local storage as files: its configuration, and the layers that are asked for, uncompressed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import (
    ANSWER_SECONDS,
    Engine,
    EngineName,
    require_tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_layers import ImageLayers
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import Completed, capture
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    excerpt,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import is_digest

EXPORT_SECONDS = 3600.0
_SHELL = re.compile(r"(?:\|\d+ .*?)?/bin/sh -c (#\(nop\) )?(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class ExportedImage:
    """An image as files. `layers` has its configuration too; `diff_ids` are theirs, in the same order."""

    layers: ImageLayers
    diff_ids: tuple[str, ...]
    annotations: Mapping[str, str]

    def created_by(self) -> tuple[str | None, ...]:
        """The instruction that made each layer, from the history; None for each where the history does not fit."""
        history = self.layers.config.get("history") or []
        made = [_instruction(str(entry.get("created_by") or "")) for entry in history if not entry.get("empty_layer")]
        return tuple(made) if len(made) == len(self.diff_ids) else (None,) * len(self.diff_ids)


@contextlib.contextmanager
def exported(
    engine: Engine, image: str, work_dir: Path, without: Collection[str] = frozenset()
) -> Iterator[ExportedImage]:
    """Copy an image out of local storage into `work_dir`, and remove the copy when the block ends.

    Layers whose diff id is in `without` are not copied: their files are there and empty. Raises BuildError,
    DeadlinePassed and Interrupted.
    """
    skopeo = require_tool("skopeo")
    identity = image_id(engine, image)
    directory = Path(tempfile.mkdtemp(prefix="image-", dir=work_dir))
    try:
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for diff_id in without:
            # a tool that copies to an OCI directory takes a blob that has a file there as copied (containers/image)
            (blobs / _hexadecimal(diff_id)).touch()
        argv = [skopeo, "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"]
        done = capture([*argv, f"containers-storage:{identity}", f"oci:{directory}"], EXPORT_SECONDS)
        if done.exit_code != 0:
            raise storage_error(f"Could not copy the image {image} out of the container storage", done)
        layers = ImageLayers.in_directory(directory, image)
        diff_ids = tuple(str(diff_id) for diff_id in layers.config["rootfs"]["diff_ids"])
        yield ExportedImage(layers, diff_ids, _manifest(directory).get("annotations") or {})
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def image_id(engine: Engine, image: str) -> str:
    """The id of an image in local storage, 64 hexadecimal digits. Raises BuildError where there is none."""
    field = "{{.Id}}" if engine.name is EngineName.PODMAN else "{{.FromImageID}}"
    done = capture([engine.path, "inspect", "--type=image", f"--format={field}", image], ANSWER_SECONDS)
    identity = done.output.strip().rpartition(":")[2]
    if done.exit_code != 0 or not identity:
        raise storage_error(f"The image {image} is not in the container storage of the build host", done)
    return identity


def storage_error(what: str, done: Completed) -> BuildError:
    """The failure of a tool that was to read the container storage; names a full disk where that is the cause."""
    said = excerpt(done.errors.splitlines())
    full = "no space left on device" in done.errors
    advice = (
        "The disk is full: free space in work_dir or in the container storage (`buildah rmi --prune`), then run again. "
        if full
        else ""
    )
    advice += f"It said: {said[-1] if said else 'nothing'}"
    category = FailureCategory.DISK if full else FailureCategory.ENGINE
    return BuildError(
        BuildFailure(category, f"{what} (`{done.argv[0]}` ended with {done.exit_code}). {advice}", excerpt=said)
    )


def _instruction(created_by: str) -> str | None:
    """The instruction as somebody wrote it: the history has the shell that ran it, and before that the values of ARGs."""
    match = _SHELL.match(created_by)
    if match:
        return match.group(2).strip() if match.group(1) else f"RUN {match.group(2).strip()}"
    return created_by.strip() or None


def _manifest(directory: Path) -> dict[str, Any]:
    index = json.loads((directory / "index.json").read_bytes())
    blob = directory / "blobs" / "sha256" / _hexadecimal(index["manifests"][0]["digest"])
    document: dict[str, Any] = json.loads(blob.read_bytes())
    return document


def _hexadecimal(digest: str) -> str:
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is not a sha256 digest")
    return digest.partition(":")[2]
