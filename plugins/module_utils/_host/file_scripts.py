# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell of host_files: looking at files, writing them, and what the node answers. POSIX sh, coreutils or busybox.

No data is ever put into the text of a script: paths are arguments, and contents are read from standard input, because a
command line can be read by everyone on the node.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_file import FoundFile, Kind, WantedFile
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step

# What a program answers goes out as base64 behind a colon, because names of files, owners and links may hold blanks.
# `limit` is the longest content to send along, in bytes. Arguments are pairs of `show` (1: send the content) and path,
# then a dash, then patterns whose matches are reported as strays.
_LOOK = r"""
limit=$1; shift
word() { printf ' :'; printf %s "$1" | base64 | tr -d '\n'; }
report() {
  path=$2 target= sum= body= facts='- - - - - -'
  directory=${path%/*}
  while [ -n "$directory" ] && [ ! -d "$directory" ]; do directory=${directory%/*}; done
  if [ -L "$path" ]; then
    target=$(readlink "$path")
    if [ -e "$path" ]; then kind=link; else kind=dangling; fi
  elif [ -d "$path" ]; then kind=directory
  elif [ -f "$path" ]; then
    kind=regular
    facts=$(stat -c '%a %u %g %s' "$path")
    owner=$(stat -c %U "$path") group=$(stat -c %G "$path")
    sum=$(sha256sum <"$path" 2>/dev/null) || kind=unreadable
    sum=${sum%% *}
  elif [ -e "$path" ]; then kind=other
  elif [ -x "${directory:-/}" ]; then kind=absent
  else kind=unreadable
  fi
  printf '%s %s' "$1" "$kind"
  word "$path"; word "$(cd -P "${directory:-/}" 2>/dev/null && pwd -P)"; word "$target"
  if [ "$kind" = regular ]; then
    printf ' %s' $facts; word "$owner"; word "$group"; printf ' %s ' "$sum"
    size=${facts##* }
    if [ "$3" = 1 ] && [ "$size" -le "$limit" ]; then printf ':'; base64 <"$path" | tr -d '\n'; else printf -- -; fi
  fi
  printf '\n'
}
while [ $# -gt 0 ] && [ "$1" != - ]; do report file "$2" "$1"; shift 2; done
[ $# -eq 0 ] || shift
IFS=
for pattern; do
  for match in $pattern; do
    if [ -e "$match" ] || [ -L "$match" ]; then (unset IFS; report stray "$match" 0); fi
  done
done
echo end
"""

# The first line of the input is the checksum, and the rest the content: without base64 on the node, or on a full disk,
# what arrives is not what was sent, and an empty file of credentials would mean: none needed.
_PREPARE = r"""
path=$1 temporary=$2 mode=$3 owner=$4 group=$5 directory_mode=$6
umask 077
parents() {
  [ -d "${1:-/}" ] && return
  parents "${1%/*}" && mkdir "$1" && chmod "$directory_mode" "$1" || return
  ! command -v restorecon >/dev/null || restorecon "$1" || :
}
IFS= read -r wanted || { echo "nothing arrived: has the node base64?" >&2; exit 1; }
parents "${path%/*}" || exit
(set -C; : >"$temporary") && cat >"$temporary" || exit
found=$(sha256sum <"$temporary") || exit
[ "${found%% *}" = "$wanted" ] || { echo "the content arrived damaged: is the disk full?" >&2; exit 1; }
chown "$owner:$group" "$temporary" && chmod "$mode" "$temporary" || exit
sync "$temporary" 2>/dev/null || sync
"""

# Pairs of temporary file (or a dash to remove) and path. One line for each that is done, so that a failure is told exactly.
_COMMIT = r"""
while [ $# -gt 0 ]; do
  if [ "$1" = - ]; then rm -f -- "$2" || exit
  else
    mv -f -T -- "$1" "$2" || exit
    ! command -v restorecon >/dev/null || restorecon "$2" || echo "unlabelled $2"
  fi
  echo "done $2"
  directory=${2%/*}
  sync "${directory:-/}" 2>/dev/null || :
  shift 2
done
"""


class AnswerNotUnderstood(ValueError):
    """The node answered something else than the script should. The message says what."""


def look(files: Sequence[WantedFile], patterns: Sequence[str], *, limit: int, timeout: int) -> Step:
    """The step that reports every file, and what else matches the patterns. `limit` 0: no contents."""
    words = [word for file in files for word in ("1" if limit and not file.secret else "0", file.path)]
    argv = ("sh", "-c", _LOOK, "sh", str(limit), *words, "-", *patterns)
    return Step(argv, timeout=timeout, always=True)


def prepare(file: WantedFile, temporary: str, directory_mode: str, timeout: int) -> Step:
    """The step that puts the new content beside the file, complete and on the disk."""
    attributes = (file.mode, file.owner, file.group, directory_mode)
    content = f"{file.sha256}\n".encode() + file.content
    argv = ("sh", "-c", _PREPARE, "sh", file.path, temporary, *attributes)
    return Step(argv, timeout=timeout, input=content, gate=True)


def commit(moves: Sequence[tuple[str, str]], timeout: int) -> Step:
    """The step that puts all new files in place, and removes others. `moves`: temporary file or dash, and path."""
    return Step(("sh", "-c", _COMMIT, "sh", *(word for move in moves for word in move)), timeout=timeout, gate=True)


def parse(answer: str) -> tuple[dict[str, FoundFile], list[FoundFile]]:
    """What was found, by path, and the strays. Raises AnswerNotUnderstood."""
    lines = answer.splitlines()
    if not lines or lines[-1] != "end":
        raise AnswerNotUnderstood(f"the answer breaks off: {answer[-200:]!r}")
    found: dict[str, FoundFile] = {}
    strays = []
    for line in lines[:-1]:
        sort, file = _parse_line(line)
        if sort == "file":
            found[file.path] = file
        else:
            strays.append(file)
    return found, strays


def _parse_line(line: str) -> tuple[str, FoundFile]:
    fields = line.split(" ")
    try:
        sort, kind = fields[0], Kind(fields[1])
        path, parent, target = (_word(field) for field in fields[2:5])
        if kind is not Kind.REGULAR:
            return sort, FoundFile(path, kind, parent, target=target)
        mode, uid, gid, _size, owner, group, checksum, body = fields[5:]
        if len(checksum) != 64:
            raise ValueError("no checksum: has the node sha256sum?")
        content = None if body == "-" else base64.b64decode(body[1:])
        return sort, FoundFile(
            path=path,
            kind=kind,
            parent=parent,
            mode=mode.zfill(4),
            owner=(_word(owner), uid),
            group=(_word(group), gid),
            sha256=checksum,
            content=content,
        )
    except (ValueError, IndexError) as error:
        raise AnswerNotUnderstood(f"{error}; the node said {' '.join(fields[:5])!r}") from error


def _word(field: str) -> str:
    if not field.startswith(":"):
        raise ValueError("a field is missing: has the node base64?")
    return base64.b64decode(field[1:]).decode(errors="surrogateescape")
