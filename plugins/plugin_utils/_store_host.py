# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on a host of the inventory: a file per pool, locked and replaced by a shell script in one round trip."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import dump_state
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Outcome,
    Runner,
    ShellFailed,
    Step,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import file_name
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_remote import (
    PATIENCE_SECONDS,
    RemoteStore,
    StoreLost,
)

_STEP_SECONDS = 30
_NONE, _NO_FLOCK, _STALE, _UNCLEAR, _CUT = 64, 65, 66, 67, 68

# A file that is not seen because its directory may not be searched must not pass for none.
_READ = f"""
dir=$1 file=$1/$2.json
if [ -e "$file" ] || [ -L "$file" ]; then cat -- "$file"; exit; fi
if [ -e "$dir" ] && ! [ -x "$dir" ]; then echo "$dir: permission denied" >&2; exit 1; fi
exit {_NONE}
"""

# The kernel frees the lock of a process that ends, however it ends: no lock is ever stale. Who shares the directory with a
# group (chmod 2770) shares its files.
_LOCKED = f"""
dir=$1 file=$1/$2.json new=$1/.$2.new
command -v flock >/dev/null || exit {_NO_FLOCK}
umask 077
mkdir -p -- "$dir" || exit 1
case $(ls -ld -- "$dir/") in ?????w[sS]*) umask 007 ;; esac
exec 9>>"$1/$2.lock"
flock 9 || exit 1
"""

_PROBE = _LOCKED + 'echo >"$new" && rm -f -- "$new"\n'

# The lock's holder alone writes the new file, so a crash leaves one at most. Bytes that are missing at its end were lost on
# the way. The file reaches the disk before its name does.
_SWAP = (
    _LOCKED
    + f"""
have=0
if [ -e "$file" ]; then
  have=$(sed -n 's/^ *"generation": *\\([0-9][0-9]*\\),*$/\\1/p' "$file") || exit 1
  case $have in '' | *[!0-9]*) exit {_UNCLEAR} ;; esac
fi
[ "$have" = "$3" ] || exit {_STALE}
cat >"$new" || {{ rm -f -- "$new"; exit 1; }}
[ "$(($(wc -c <"$new")))" -eq "$4" ] || {{ rm -f -- "$new"; exit {_CUT}; }}
sync "$new" 2>/dev/null || sync
mv -f -- "$new" "$file" || exit 1
sync "$dir" 2>/dev/null || sync
"""
)


class HostStore(RemoteStore):
    """`<directory>/<pool>.json` on a host. The version is the state's generation, which the script compares under the lock.

    `reset` forgets the runner's connection, before a lost host is asked again.
    """

    poll_seconds = 3.0

    def __init__(
        self,
        runner: Runner,
        host: str,
        directory: str,
        pool: str,
        say: Callable[[str], None],
        reset: Callable[[], None] = lambda: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(pool, say, patience)
        self._runner = runner
        self._host = host
        self._directory = directory
        self._name = file_name(pool)
        self._reset = reset

    @property
    def place(self) -> str:
        """The path and its host."""
        return f"{self._directory}/{self._name}.json on {self._host}"

    def _fetch(self) -> PoolState | None:
        outcome = self._run(_READ)
        if outcome.rc == _NONE:
            return None
        if not outcome.ok:
            raise StoreError(f"{self.place} cannot be read: {_told(outcome)}. {self._sharing()}")
        return self._understood(outcome.stdout)

    def _probe(self) -> None:
        outcome = self._run(_PROBE)
        if not outcome.ok:
            raise self._unusable(outcome)

    def _put(self, state: PoolState, version: int) -> bool:
        text = dump_state(state).encode()
        outcome = self._run(_SWAP, str(version), str(len(text)), text=text)
        if outcome.rc == _STALE:
            return False
        if outcome.rc == _UNCLEAR:
            self._fetch()  # says what is wrong with it
        if outcome.rc == _CUT:
            raise StoreLost(f"What was to be stored in {self.place} arrived in part only.")
        if not outcome.ok:
            raise self._unusable(outcome)
        return True

    def _run(self, script: str, *words: str, text: bytes = b"") -> Outcome:
        argv = ("sh", "-c", script, "sh", self._directory, self._name, *words)
        try:
            outcome = self._runner.run_one(Step(argv, timeout=_STEP_SECONDS, input=text))
        except NodeUnreachable as failure:
            self._reset()
            raise StoreLost(f"The store's host {self._host} does not answer: {failure}") from failure
        except ShellFailed as failure:  # a host that is just starting or stopping does that, too
            raise StoreLost(f"The store's host {self._host} cannot be used: {failure}") from failure
        if outcome.timed_out:
            raise StoreLost(
                f"{self.place} was not reached within {_STEP_SECONDS} s: its disk hangs, or a process keeps "
                f"{self._name}.lock locked (lsof shows which)."
            )
        return outcome

    def _unusable(self, outcome: Outcome) -> StoreError:
        if outcome.rc == _NO_FLOCK:
            return StoreError(
                f"the store's host {self._host} has no command flock, without which two controllers could change the state at "
                "once. Install util-linux there, or name another imagemode_store_host."
            )
        return StoreError(
            f"the rollout state cannot be kept in {self._directory} on {self._host}: {_told(outcome)}. {self._sharing()}"
        )

    def _sharing(self) -> str:
        return (
            "Every controller must be able to read and write there: connect as one user, or set become for the host; or let a "
            f"group share the directory (chgrp -R GROUP {self._directory}, chmod 2770 on it, chmod 660 on the files in it); or "
            "set imagemode_store_path to a directory where that is so."
        )

    def _how_to_remove(self) -> str:
        return "remove the file"


def _told(outcome: Outcome) -> str:
    return outcome.stderr.strip()[-300:] or f"exit status {outcome.rc}"
