# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of a host: as it is wanted, and as it was found."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

_MODE = re.compile(r"0[0-7]{3}\Z")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$-]*\Z")
_OF_THE_IMAGE = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
# A host's own directory, whatever the image made of it: a link into /var on ostree hosts.
_OF_THE_HOST = "/usr/local"


class FileState(str, Enum):
    """Whether a file shall be there."""

    PRESENT = "present"
    ABSENT = "absent"


class LiveLink(str, Enum):
    """What to do where the path is a symbolic link that leads to something."""

    FAIL = "fail"
    REPLACE = "replace"


class Kind(str, Enum):
    """What stands at a path. A `dangling` link leads to nothing, a `link` to something."""

    ABSENT = "absent"
    REGULAR = "regular"
    LINK = "link"
    DANGLING = "dangling"
    DIRECTORY = "directory"
    OTHER = "other"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class WantedFile:
    """One file as it shall be. `content` never shows in a representation, since it may be a secret."""

    path: str
    content: bytes = field(default=b"", repr=False)
    state: FileState = FileState.PRESENT
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    live_link: LiveLink = LiveLink.FAIL

    @classmethod
    def from_option(cls, option: Mapping[str, Any]) -> WantedFile:
        """One item of the option `files`. Raises Refusal, which names the path and never the content."""
        path = check_path(str(option["path"]))
        state = FileState(option["state"])
        secret = bool(option["secret"])
        mode = option["mode"] or ("0600" if secret else "0644")
        if not _MODE.match(mode):
            raise Refusal(
                f"{path}: mode is {mode!r}. Write four octal digits in quotes, such as '0644': without quotes YAML makes a number of them."
            )
        for key in ("owner", "group"):
            if not _NAME.match(option[key]):
                raise Refusal(f"{path}: {key} is {option[key]!r}, which is neither a name nor a number.")
        return cls(
            path=path,
            content=_content(path, state, option["content"], option["content_b64"]),
            state=state,
            mode=mode,
            owner=option["owner"],
            group=option["group"],
            secret=secret,
            live_link=LiveLink(option["live_link"]),
        )

    @property
    def sha256(self) -> str:
        """The checksum of the content, as `sha256sum` prints it."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class FoundFile:
    """What stands at a path. `parent` is the nearest directory above it that exists, without symbolic links.

    `content` is None where it was not read: in secrets, long files, and where no diff is wanted.
    """

    path: str
    kind: Kind
    parent: str = "/"
    mode: str = ""
    owner: tuple[str, str] = ("", "")
    group: tuple[str, str] = ("", "")
    sha256: str = ""
    content: bytes | None = field(default=None, repr=False)
    target: str = ""


def check_path(path: str) -> str:
    """The path itself. Raises Refusal unless it is absolute, plain, and a place that a host may write to."""
    if not path.startswith("/") or path == "/" or not path.isprintable():
        raise Refusal(f"{path!r} is no path of a file: give the whole path, beginning with a slash.")
    if posixpath.normpath(path) != path:
        raise Refusal(f"{path!r} has '.', '..', '//' or a slash at its end in it. Write {posixpath.normpath(path)!r}.")
    refuse_image(path, path)
    return path


def refuse_image(path: str, place: str) -> None:
    """Raises Refusal if the place to which a path leads belongs to the image."""
    if is_within(place, _OF_THE_HOST):
        return
    if any(is_within(place, directory) for directory in _OF_THE_IMAGE):
        where = "" if place == path else f" leads to {place}, which"
        raise Refusal(
            f"{path}{where} belongs to the image: /usr is read-only, and the next image would bring its own. "
            "Put the file into the image, or below /etc or /var."
        )


def is_within(path: str, directory: str) -> bool:
    """Whether a path is a directory or something in it."""
    return path == directory or path.startswith(f"{directory}/")


def _content(path: str, state: FileState, text: str | None, encoded: str | None) -> bytes:
    if state is FileState.ABSENT:
        if text is not None or encoded is not None:
            raise Refusal(f"{path}: state is absent, and yet there is content. Drop one of the two.")
        return b""
    if (text is None) == (encoded is None):
        raise Refusal(f"{path}: give either content or content_b64.")
    if text is not None:
        return text.encode()
    try:
        return base64.b64decode("".join((encoded or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(f"{path}: content_b64 is not base64.") from error
