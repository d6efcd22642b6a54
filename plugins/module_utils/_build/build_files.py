# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an image's builds on the build host: logs, the pinned Containerfile, the lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import (
    DeadlinePassed,
    check_that_somebody_listens,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

KEPT_LOGS = 10
LOCK_POLL_SECONDS = 0.2
TEMPORARY = ("image-", "lint-")  # copies of images and build directories that nobody uses without the lock


@dataclass(frozen=True)
class BuildFiles:
    """`directory` belongs to one image and is only for its owner."""

    directory: Path

    @classmethod
    def create(cls, work_dir: Path, slug: str) -> BuildFiles:
        """Make the directory. Raises OSError, and BuildError for one in which somebody else could read or change files."""
        directory = work_dir / slug
        work_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            return cls(directory)
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise BuildError(
                BuildFailure(
                    FailureCategory.INPUT,
                    f"{directory} is not a directory of the user who builds, so secrets would not be safe in it. Remove it, or give "
                    "a work_dir into which nobody else can write.",
                )
            )
        directory.chmod(0o700)
        return cls(directory)

    def containerfile(self, phase: str) -> Path:
        """What the engine reads in a phase: every image is pinned in it."""
        return self.directory / f"Containerfile.{phase}"

    def phase_context(self, phase: str) -> Path:
        """The build context of a phase that the collection wrote."""
        return self.directory / f"context-{phase}"

    @property
    def empty_context(self) -> Path:
        """The context of a build without one."""
        return self.directory / "no-context"

    @property
    def no_ignore_file(self) -> Path:
        """An ignore file that ignores nothing, so that an engine does not look for one by rules of its own."""
        return self.directory / "no-ignore"

    @property
    def id_file(self) -> Path:
        """Where the engine writes the id of the image that it built."""
        return self.directory / "image-id"

    @property
    def digest_file(self) -> Path:
        """Where a push writes the digest."""
        return self.directory / "digest"

    @property
    def ledger(self) -> Path:
        """The list of images in local storage."""
        return self.directory / "layers.json"

    @property
    def unfinished(self) -> Path:
        """The note of a build that runs."""
        return self.directory / "unfinished.json"

    def write_phase(self, phase: str, containerfile: str, files: Mapping[str, bytes] | None) -> None:
        """Write what the engine reads; `files` make a context of their own. Raises OSError."""
        self.containerfile(phase).write_text(containerfile, encoding="utf-8")
        if files is None:
            return
        context = self.phase_context(phase)
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        for name, content in files.items():
            (context / name).write_bytes(content)
            (context / name).chmod(
                0o644
            )  # whatever the umask says: it is read within the build, and may become part of a layer

    def prepare(self) -> None:
        """Write what every build needs, and remove what a killed one left. Raises OSError."""
        for prefix in TEMPORARY:
            for left in self.directory.glob(f"{prefix}*/"):
                shutil.rmtree(left, ignore_errors=True)
        self.empty_context.mkdir(exist_ok=True)
        self.no_ignore_file.write_text("")
        with contextlib.suppress(FileNotFoundError):
            self.digest_file.unlink()

    def new_log(self, short_key: str) -> Path:
        """A new log that only its owner can read; the oldest beyond ten are removed."""
        for old in sorted(self.directory.glob("*.log"))[: -(KEPT_LOGS - 1)]:
            with contextlib.suppress(OSError):
                old.unlink()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = self.directory / f"{stamp}-{short_key}.log"
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        return path

    @contextlib.contextmanager
    def locked(self, timeout: float) -> Iterator[bool]:
        """Hold the lock of this image; yields whether another build had it first. Raises DeadlinePassed."""
        descriptor = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            yield _wait_for(descriptor, timeout)
        finally:
            os.close(descriptor)


def _wait_for(descriptor: int, timeout: float) -> bool:
    end = time.monotonic() + timeout
    waited = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise DeadlinePassed(f"another build of this image did not end within {timeout:.0f} s") from None
            check_that_somebody_listens()
            time.sleep(LOCK_POLL_SECONDS)
            waited = True
        else:
            return waited
