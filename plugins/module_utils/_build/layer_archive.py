# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of one layer, read as a stream: nothing is unpacked, and no size it claims is believed."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import install_command
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import BadLayer, LayerEntry, printable

LARGEST_EXTENDED_HEADER = 1 << 20  # bytes; tarfile reads long names and pax records into memory
LARGEST_LAYER = 64 << 30  # bytes, uncompressed
MOST_READS_AT_END = 16
CHUNK = 1 << 20
# What reading an archive, or the content of one of its members, can end in.
DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)

_GZIP, _ZSTD, _XZ, _BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh"
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_TARFILE: Any = tarfile  # whose stubs lack some of its exceptions
_DAMAGED_HEADER = (_TARFILE.InvalidHeaderError, _TARFILE.TruncatedHeaderError)


class _Member(tarfile.TarInfo):
    """A member whose extended headers cannot fill the memory, and whose damage is not taken for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _Member:  # the name is the overridden method's
        try:
            return super().fromtarfile(tarfile)
        except _DAMAGED_HEADER as error:
            raise BadLayer(f"is damaged or no archive: {error}") from error

    def _proc_member(self, tarfile: tarfile.TarFile) -> Any:
        if self.type in _EXTENSIONS and self.size > LARGEST_EXTENDED_HEADER:
            raise BadLayer(f"has an extended header of {self.size} bytes")
        if self.size < 0:
            raise BadLayer("has a member of negative size")
        return super()._proc_member(tarfile)  # type: ignore[misc] # tarfile's own hook, in every Python since 2.5


class _Limited:
    """A stream that ends in BadLayer behind so many bytes: a few compressed ones can stand for any number.

    Also where its end is read over and over: tarfile skips what a member claims to have, be it there or not.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._reads_at_end = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        self._reads_at_end += not data
        if self._reads_at_end > MOST_READS_AT_END:
            raise BadLayer("is damaged or no archive: it ends before a member that it announces")
        if self._left < 0:
            raise BadLayer(f"is larger than {LARGEST_LAYER} bytes when uncompressed")
        return data


def layer_members(layer: Path) -> Iterator[tuple[LayerEntry, IO[bytes] | None]]:
    """Every member of a layer, gzip, zstd or uncompressed, with the stream of its content where it is a file with any.

    A stream can be read until the next member is asked for. Raises BadLayer, with a message that completes "The layer …".
    """
    try:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(_archive(stack.enter_context(_uncompressed(layer))))
            for member in archive:
                forgotten: Any = archive
                forgotten.members = []  # else it would keep every member it has seen
                entry = _entry(member)
                has_content = member.isreg() and entry.hard_link is None
                yield entry, archive.extractfile(member) if has_content else None
    except DAMAGE as error:
        raise BadLayer(f"is damaged or no archive: {error}") from error
    except (OverflowError, ValueError) as error:
        if isinstance(error, BadLayer):
            raise
        raise BadLayer(f"has a header that makes no sense: {error}") from error


def _archive(stream: IO[bytes]) -> tarfile.TarFile:
    limited: Any = _Limited(stream, LARGEST_LAYER)
    return tarfile.open(fileobj=limited, mode="r|", tarinfo=_Member, errorlevel=2)


def _entry(member: tarfile.TarInfo) -> LayerEntry:
    kind = FileType.OTHER
    target = hard_link = None
    if member.isdir():
        kind = FileType.DIRECTORY
    elif member.issym():
        kind, target = FileType.LINK, member.linkname
    elif member.islnk():
        kind, hard_link = FileType.FILE, member.linkname
    elif member.isreg():
        kind = FileType.FILE
    elif not (member.ischr() or member.isblk() or member.isfifo()):
        raise BadLayer(f"has {printable(member.name)} of the unknown type {member.type!r}")
    size = member.size if kind is FileType.FILE and hard_link is None else 0
    return LayerEntry(member.name, kind, member.mode & 0o7777, member.uid, member.gid, size, target, hard_link)


@contextlib.contextmanager
def _uncompressed(layer: Path) -> Iterator[IO[bytes]]:
    # Unbuffered, so that a child process starts to read where we stopped.
    with layer.open("rb", buffering=0) as opened:
        file: Any = opened
        start = file.read(6)
        file.seek(0)
        if start.startswith(_GZIP):
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc] # a GzipFile reads like any binary stream
        elif start.startswith(_ZSTD):
            with _through_zstd(file) as unpacked_by_zstd:
                yield unpacked_by_zstd
        elif start.startswith((_XZ, _BZIP2)):
            raise BadLayer(
                "is compressed with xz or bzip2, which no image may be. Push the image again with gzip or zstd"
            )
        else:
            yield file


@contextlib.contextmanager
def _through_zstd(file: IO[bytes]) -> Iterator[IO[bytes]]:
    path = shutil.which("zstd")
    if path is None:
        raise BadLayer(
            f"is compressed with zstd, and that is not installed here. Install it: {install_command(['zstd'])}"
        )
    process = subprocess.Popen(
        [path, "-d", "-c", "-q"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    if process.stdout is None:
        raise BadLayer("could not be read: zstd has no output")
    finished = False
    try:
        yield process.stdout
        rest = _Limited(process.stdout, LARGEST_LAYER)
        while rest.read(CHUNK):  # what is behind the archive's end
            pass
        finished = True
    finally:
        process.stdout.close()
        if not finished:
            process.kill()
        exit_code = process.wait()
    if exit_code != 0:
        raise BadLayer(f"is damaged: zstd ends with status {exit_code}")
