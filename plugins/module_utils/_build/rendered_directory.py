# SPDX-License-Identifier: GPL-3.0-or-later
"""A rendered configuration on disk: a manifest, a readable tree for the image, and the files of the host apart from it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    PathOwner,
    RenderedConfig,
    RenderedPath,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config_json import (
    ManifestNotUnderstood,
    parse_manifest,
)

MANIFEST = "machine-config.json"
IMAGE_TREE = "image"
HOST_TREE = "host"
HOST_FILES = "host-files.json"


@dataclass(frozen=True)
class RenderedDirectory:
    """What a build reads of a rendered configuration. `image_contents` are the image's files by path."""

    path: Path
    config: RenderedConfig
    image_contents: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> RenderedDirectory:
        """From the directory that machine_config_render wrote. Raises BuildError of category input."""
        try:
            config = parse_manifest((path / MANIFEST).read_text(encoding="utf-8"))
            contents = {
                file.path: (path / IMAGE_TREE / file.path[1:]).read_bytes()
                for file in config.owned_by(PathOwner.IMAGE)
                if file.type is FileType.FILE
            }
        except FileNotFoundError as error:
            raise _unusable(path, f"{error.filename} is not there") from None
        except OSError as error:
            raise _unusable(path, f"{error.filename} cannot be read: {error.strerror}") from None
        except (ManifestNotUnderstood, UnicodeDecodeError) as error:
            raise _unusable(path, f"{MANIFEST} is not understood: {error}") from None
        for file in config.owned_by(PathOwner.IMAGE):
            if file.type is FileType.FILE and hashlib.sha256(contents[file.path]).hexdigest() != file.sha256:
                raise _unusable(path, f"{IMAGE_TREE}{file.path} was changed after it was rendered")
        return cls(path, config, contents)

    def secrets(self) -> dict[str, bytes]:
        """What was kept out of the image because it is secret, by the path on the hosts. Raises OSError."""
        return {
            f"the secret of {file.path} in the machine config": (self.path / HOST_TREE / file.path[1:]).read_bytes()
            for file in self.config.owned_by(PathOwner.HOST)
            if file.secret and file.type is FileType.FILE
        }

    @property
    def content_hash(self) -> str:
        """`sha256:…` over everything in it that can change an image, and nothing else."""
        return self.config.image_hash

    def image_tar(self, timestamp: int, extra: Mapping[str, bytes] | None = None) -> bytes:
        """A tar of what the image owns, the same bytes for the same content. `timestamp` is in seconds since 1970.

        It has files, links, and those directories that the configuration names, so that no other directory of a base changes.
        `extra` are more files, root's and with mode 0644, by absolute path. Raises BuildError where one is rendered already.
        """
        more = dict(extra or {})
        twice = sorted(more.keys() & {file.path for file in self.config.files})
        if twice:
            raise _unusable(self.path, f"{', '.join(twice)} is in it, and the build would write it too")
        added = [
            RenderedPath(path, PathOwner.IMAGE, "", FileType.FILE, 0o644, size=len(content))
            for path, content in more.items()
        ]
        contents = {**self.image_contents, **more}
        result = io.BytesIO()
        with tarfile.open(fileobj=result, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for file in sorted([*self.config.owned_by(PathOwner.IMAGE), *added], key=lambda one: one.path):
                content = contents.get(file.path, b"")
                archive.addfile(_member(file, len(content), timestamp), io.BytesIO(content))
        return result.getvalue()


def _member(file: RenderedPath, size: int, timestamp: int) -> tarfile.TarInfo:
    """The header of an entry. Names of owners are tmpfiles' business at boot; until then it is root's."""
    member = tarfile.TarInfo(file.path[1:])
    member.mtime = timestamp
    member.mode = file.mode
    member.uid = file.user if isinstance(file.user, int) else 0
    member.gid = file.group if isinstance(file.group, int) else 0
    if file.type is FileType.LINK:
        member.type, member.linkname = tarfile.SYMTYPE, file.target or ""
    elif file.type is FileType.DIRECTORY:
        member.type = tarfile.DIRTYPE
    else:
        member.size = size
    return member


def _unusable(path: Path, what: str) -> BuildError:
    message = f"{path} is not a rendered machine config that can be built: {what}. Render it again with machine_config_render."
    return BuildError(BuildFailure(FailureCategory.INPUT, message))
