# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of one controller machine: a file per pool, locked, replaced atomically, and its owner's unless the directory is shared."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import (
    StateError,
    dump_state,
    load_state,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError


def file_name(pool: str) -> str:
    """The name of a pool's file without its extension: any pool, no two pools alike, and never a way out of the directory."""
    return quote(pool, safe=" ").replace(".", "%2E")


class FileStore:
    """`<directory>/<pool>.json`. The version is the state's generation. The lock is a file of its own, because the
    state's file is replaced, and a lock on a replaced file locks nothing."""

    poll_seconds = 0.5
    changed_here = None

    def __init__(self, directory: Path, pool: str, is_shared: bool = False) -> None:
        self._directory = directory
        self.is_shared = is_shared
        name = file_name(pool)
        self._file = directory / f"{name}.json"
        self._lock = directory / f"{name}.lock"

    @property
    def place(self) -> str:
        """The path of the state's file."""
        return str(self._file)

    def check_usable(self) -> None:
        """Raises StoreError unless the state can be read and replaced. Leaves nothing behind but the directory."""
        self._prepare()
        try:
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix=".probe-"):
                pass
        except OSError as error:
            raise self._unusable(error) from error
        self.read()

    def read(self) -> tuple[PoolState | None, int]:
        """See Store.read."""
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None, 0
        except PermissionError as error:
            raise StoreError(f"{self._file} cannot be read: {error.strerror}. {self._sharing()}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self._file} cannot be read: {error}. {self._advice()}") from error
        try:
            state = load_state(text)
        except StateError as error:
            raise StoreError(
                f"{self._file} is not a rollout state that can be used: {error}. {self._advice()}"
            ) from error
        return state, state.generation

    def swap(self, state: PoolState, version: int) -> bool:
        """See Store.swap."""
        self._prepare()
        with self._locked():
            _current, generation = self.read()
            if generation != version:
                return False
            try:
                self._replace(dump_state(replace(state, generation=version + 1)))
            except OSError as error:
                raise self._unusable(error) from error
        return True

    def stamp(self) -> object:
        """The file's identity: every swap makes a new file."""
        try:
            seen = os.stat(self._file)
        except OSError:
            return None
        return (seen.st_ino, seen.st_mtime_ns)

    def _prepare(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _open_lock(self, path: Path) -> int:
        """Open a file that stays empty, made if need be."""
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(PermissionError):  # somebody else was faster, and owns it
                os.fchmod(descriptor, self._mode())
            return descriptor

    def _mode(self) -> int:
        """The owner's alone, and the group's too in a directory that was made to be shared by a group (chmod 2770)."""
        shared = stat.S_ISGID | stat.S_IWGRP
        return 0o660 if self._directory.stat().st_mode & shared == shared else 0o600

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = self._open_lock(self._lock)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, text: str) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=f".{self._file.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                os.fchmod(stream.fileno(), self._mode())
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, self._file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _unusable(self, error: OSError) -> StoreError:
        return StoreError(
            f"the rollout state cannot be kept in {self._directory}: {error}. Every controller of this inventory must be able "
            "to write there; or set imagemode_store_path to a directory where that is so."
        )

    def _sharing(self) -> str:
        return (
            f"Another user has made it, and it must not be removed: it says which nodes are out of service. Run as that user; or "
            f"let that user share it with a group that you are both in: chgrp -R GROUP {self._directory}, chmod 2770 "
            f"{self._directory}, and chmod 660 on the files in it."
        )

    def _advice(self) -> str:
        return (
            "It says which nodes are out of service, so nothing is done without it. Restore it from a backup; or, if no rollout "
            "of this pool is running and all its nodes are in service, remove the file and run again."
        )
