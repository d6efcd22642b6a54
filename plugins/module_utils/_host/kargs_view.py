# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything about a node's kernel arguments, read in one step: what runs, what boots next, who brought or set what."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, Slot, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import (
    KargsFileNotUnderstood,
    image_arguments,
    rust_architecture,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    ArgumentsNotUnderstood,
    Difference,
    KernelArguments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staged_record import (
    StagedRecord,
    StagedRecordNotUnderstood,
    parse_staged_record,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

OWNERS = "/etc/imagemode/kargs"
"""One file per owner, one word per line. /etc belongs to a deployment: a rollback brings back the list that goes with it."""

# Each line is `kind field...`, every field in base64 (`-` for an empty one), so that no content can pass for a line of ours.
# Versions matter only to what rpm-ostree is missing for.
_SCRIPT = r"""
versions=$1 only_if=$2
[ -z "$only_if" ] || [ -e /run/ostree/staged-deployment ] || exit 0
[ "$only_if" != staged-without-bootc ] || ! command -v bootc >/dev/null || exit 0
field() { printf ' '; coded=$(base64 | tr -d '\n'); printf '%s' "${coded:--}"; }
said() {
  kind=$1; shift
  text=$("$@" 2>/dev/null </dev/null); rc=$?
  case $kind:$rc in rpm-ostree:0|rpm-ostree:127) ;; rpm-ostree:*) text=$("$@" 2>&1 >/dev/null </dev/null) ;; esac
  printf '%s' "$kind"; printf '%s' "$rc" | field; printf '%s' "$text" | field; echo
}
content() { printf '%s' "$1"; shift; for name; do printf '%s' "$name" | field; done; field <"$name"; echo; }
said machine uname -m
said rpm-ostree rpm-ostree kargs
if [ "$rc" != 0 ] || [ -n "$versions" ]; then
  said ostree ostree --version
  said bootc bootc --version
fi
content cmdline /proc/cmdline
for file in /boot/loader/entries/*.conf; do
  [ -f "$file" ] || continue
  link=$(tr ' \t' '\n\n' <"$file" | sed -n 's/^ostree=//p' | head -n 1)
  [ -n "$link" ] || continue
  content entry "$(readlink -f "$link")" "$file"
done
for tree in /ostree/deploy/*/deploy/*/; do
  tree=${tree%/}; directory=$tree/usr/lib/bootc/kargs.d
  [ -d "$tree" ] || continue
  found=no; [ -d "$directory" ] && found=yes
  printf tree; printf '%s' "$tree" | field; printf '%s' "$found" | field; echo
  for file in "$directory"/*.toml; do [ -f "$file" ] && content file "$tree" "$file"; done
done
for file in @OWNERS@/*; do [ -f "$file" ] && content owner "$file"; done
[ -f /run/ostree/staged-deployment ] && content staged /run/ostree/staged-deployment
echo complete
""".replace("@OWNERS@", OWNERS)

STEP = Step(("sh", "-c", _SCRIPT, "kernel-arguments", "", ""), timeout=60, always=True)
"""Reads it all, in any batch. Its outcome goes to `parse`. The versions of other tools are left out where rpm-ostree is."""

STEP_WITH_VERSIONS = replace(STEP, argv=(*STEP.argv[:4], "versions", ""))


def step_if_staged(tool: Tool | None) -> Step:
    """The same, printing nothing where nothing is staged, and, for tool None, where bootc will be taken."""
    return replace(STEP, argv=(*STEP.argv[:4], "", "staged" if tool else "staged-without-bootc"))


_SOURCE_PREFIX = "x-options-source-"


@dataclass(frozen=True)
class BootEntry:
    """A boot loader entry: its arguments, and the words that sources of `bootc loader-entries` hold in it."""

    options: KernelArguments
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageDirectory:
    """A deployment's kargs.d: the text of its files by name, or None where the tree has no such directory."""

    files: Mapping[str, str] | None = None


@dataclass(frozen=True)
class KargsView:
    """`entries` and `trees` by deployment, named as ostree names its directory: `CHECKSUM.SERIAL`.

    `running` is /proc/cmdline. `pending` is what `rpm-ostree kargs` says, None on a host where it says nothing: the arguments
    of the first deployment, be it staged, a queued rollback or booted (recorded, rpm-ostree 2026.2). A version is None where
    the tool is missing or was not asked.
    """

    running: KernelArguments
    architecture: str
    pending: KernelArguments | None = None
    entries: Mapping[str, BootEntry] = field(default_factory=dict)
    trees: Mapping[str, ImageDirectory] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    staged: StagedRecord | None = None
    rpm_ostree: bool = False
    ostree_version: tuple[int, ...] | None = None
    bootc_version: tuple[int, ...] | None = None

    def booted(self, state: HostState) -> KernelArguments:
        """What the boot entry of the booted deployment says; what runs, where there is no such entry."""
        entry = self._entry(state.booted)
        return entry.options if entry else self.running.without_machine_words

    def next(self, state: HostState) -> KernelArguments | None:
        """The arguments of what boots next; None if nothing on this host tells those of what is staged."""
        if state.next_slot is Slot.STAGED:
            return self.staged_arguments(state)
        if state.next_slot is Slot.ROLLBACK:
            entry = self._entry(state.rollback)
            return entry.options if entry else self.pending
        return self.booted(state) if state.staged or self.pending is None else self.pending

    def staged_arguments(self, state: HostState) -> KernelArguments | None:
        """The arguments of what is staged, locked or not; None if nothing tells them.

        Where whoever staged it left them to ostree, they are the booted ones.
        """
        if self.pending is not None:
            return self.pending
        if self.staged is None:
            return None
        if self.staged.kargs is None:
            return self.booted(state)
        # They become one line of the boot entry, so a tool may have cut them at any space, also between quotes.
        return _arguments(" ".join(self.staged.kargs), "/run/ostree/staged-deployment")

    def sources(self, state: HostState) -> dict[str, tuple[str, ...]]:
        """What sources of `bootc loader-entries` hold in the deployment that a call of it would build on. Empty ones are left out."""
        if state.staged is not None:
            keys = self.staged.boot_entry_keys if self.staged else ()
            found = {
                key[len(_SOURCE_PREFIX) :]: _words(value, "the staged deployment")
                for key, value in keys
                if key.startswith(_SOURCE_PREFIX)
            }
        else:
            entry = self._entry(state.booted)
            found = dict(entry.sources) if entry else {}
        return {name: words for name, words in found.items() if words}

    def image(self, deployment: Deployment | None) -> tuple[str, ...] | None:
        """The words that a deployment's image brings, None without a kargs.d directory. Raises ObservationFailed."""
        directory = self.trees.get(_place(deployment))
        if directory is None or directory.files is None:
            return None
        try:
            return image_arguments(directory.files, rust_architecture(self.architecture))
        except KargsFileNotUnderstood as failure:
            raise ObservationFailed(
                f"The kernel arguments that an image on this node brings cannot be told: /usr/lib/bootc/{failure}. "
                "bootc refuses such an image as well; correct the file in the image."
            ) from None

    def carried(self, state: HostState) -> Difference | None:
        """What somebody staged over the booted arguments and bootc would lose by staging anew; None if there is nothing.

        Words that only one of the two images brings are no such change: rpm-ostree leaves them as they were, bootc does not.
        Raises ObservationFailed.
        """
        following = self.next(state) if state.next_slot is Slot.STAGED else None
        if following is None:
            return None
        of_images = set(self.image(state.booted) or ()) ^ set(self.image(state.staged) or ())
        change = Difference(self.booted(state).without_words(of_images), following.without_words(of_images))
        return change if change.removed or change.added else None

    def owned(self, owner: str | None) -> tuple[str, ...]:
        """What the node remembers for an owner."""
        return self.owners.get(owner, ()) if owner else ()

    def owned_by(self, owner: str | None, state: HostState) -> tuple[str, ...]:
        """What an owner has set: by the node's own list, and by the source of its name in the boot entry."""
        return tuple(dict.fromkeys((*self.owned(owner), *self.sources(state).get(owner or "", ()))))

    def needed_by_others(self, owner: str | None, state: HostState) -> frozenset[str]:
        """What must stay although this owner no longer lists it: the next image brings it, or another owner set it too."""
        theirs = [words for name, words in self.owners.items() if name != owner]
        theirs += [words for name, words in self.sources(state).items() if name != owner]
        return frozenset(word for words in (*theirs, self.image(state.next) or ()) for word in words)

    def waiting(self, state: HostState) -> tuple[str, ...]:
        """Words in the boot entry of what is booted that it runs without: they were added in place and wait for a reboot.

        A word with `$` is a variable of the boot loader and runs under another spelling; so do quotes, which GRUB takes off, and
        sets again around the whole word where it has spaces.
        """
        bare_entry, bare_running = (_without_quotes(arguments) for arguments in (self.booted(state), self.running))
        return tuple(word for word in bare_entry.missing_from(bare_running) if "$" not in word)

    def _entry(self, deployment: Deployment | None) -> BootEntry | None:
        return self.entries.get(_place(deployment))


def _place(deployment: Deployment | None) -> str:
    return f"{deployment.checksum}.{deployment.serial}" if deployment else ""


def _without_quotes(arguments: KernelArguments) -> KernelArguments:
    return KernelArguments(tuple(word.replace('"', "") for word in arguments.words))


def parse(outcome: Outcome) -> KargsView:
    """From the outcome of STEP. Raises ObservationFailed."""
    lines = outcome.stdout.splitlines()
    if not outcome.ok or not lines or lines[-1] != "complete":
        raise ObservationFailed(
            "The kernel arguments of this node could not be read"
            + (
                ": something on it did not answer in time."
                if outcome.timed_out
                else f": {outcome.stderr.strip()[-300:]}"
            )
        )
    try:
        return _view(lines[:-1])
    except (IndexError, KeyError, ValueError):
        raise ObservationFailed("The kernel arguments of this node could not be read: its answer is garbled.") from None


def _view(lines: Sequence[str]) -> KargsView:
    """From the lines of the script. Any of the errors of looking something up means that a line is missing or garbled."""
    records: dict[str, list[list[bytes]]] = {}
    for line in lines:
        kind, *fields = line.split(" ")
        records.setdefault(kind, []).append(
            [b"" if coded == "-" else base64.b64decode(coded, validate=True) for coded in fields]
        )
    rc, pending = _answer(records, "rpm-ostree")
    # Without any deployment of ostree's (bootc's composefs backend) rpm-ostree has nothing to tell, and no part in this.
    if rc not in (0, 127) and "tree" in records:
        raise ObservationFailed(f"`rpm-ostree kargs` fails on this node with code {rc}: {explain(pending)}")
    staged = records.get("staged")
    try:
        record = parse_staged_record(staged[0][-1]) if staged else None
    except StagedRecordNotUnderstood:
        record = None  # read by nobody where rpm-ostree tells the same; elsewhere the arguments then count as unknown
    return KargsView(
        running=_arguments(_text(records["cmdline"][0][-1]), "/proc/cmdline"),
        architecture=_answer(records, "machine")[1],
        pending=_arguments(pending, "what `rpm-ostree kargs` says") if rc == 0 else None,
        entries=dict(_entry_of(fields) for fields in records.get("entry", [])),
        trees=_trees(records),
        owners={_name(path): _listed(_text(content), _text(path)) for path, content in records.get("owner", [])},
        staged=record,
        rpm_ostree=rc == 0,
        ostree_version=_version(_answer(records, "ostree")[1]) if "ostree" in records else None,
        bootc_version=_version(_answer(records, "bootc")[1]) if "bootc" in records else None,
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _name(path: bytes) -> str:
    return _text(path).rpartition("/")[2]


def _answer(records: Mapping[str, Sequence[Sequence[bytes]]], kind: str) -> tuple[int, str]:
    rc, text = records[kind][0]
    return int(rc), _text(text)


def _arguments(text: str, place: str) -> KernelArguments:
    try:
        return KernelArguments.parse(text)
    except ArgumentsNotUnderstood as failure:
        raise ObservationFailed(f"{place} on this node is no kernel command line: {failure}.") from None


def _words(text: str, place: str) -> tuple[str, ...]:
    return _arguments(text, place).words


def _listed(text: str, place: str) -> tuple[str, ...]:
    return tuple(word for line in text.splitlines() for word in _words(line, place))


def _entry_of(fields: Sequence[bytes]) -> tuple[str, BootEntry]:
    """A boot loader entry by the deployment that its `ostree=` leads to."""
    place, path, content = (_text(data) for data in fields)
    return place.rpartition("/")[2], parse_boot_entry(content, path)


def parse_boot_entry(content: str, path: str) -> BootEntry:
    """From the text of a boot loader entry; `path` is for the message. Raises ObservationFailed.

    A source that was removed leaves its key behind without words (recorded, bootc 1.16.9).
    """
    options = []
    sources = {}
    for line in content.splitlines():
        key, _space, value = line.strip().partition(" ")
        if key == "options":
            options.append(value.strip())
        elif key.startswith(_SOURCE_PREFIX):
            sources[key[len(_SOURCE_PREFIX) :]] = _words(value.strip(), path)
    return BootEntry(_arguments(" ".join(options), path), sources)


def _trees(records: Mapping[str, Sequence[Sequence[bytes]]]) -> dict[str, ImageDirectory]:
    files: dict[str, dict[str, str]] = {}
    for tree, path, content in records.get("file", []):
        files.setdefault(_name(tree), {})[_name(path)] = _text(content)
    return {
        _name(tree): ImageDirectory(files.get(_name(tree), {}) if found == b"yes" else None)
        for tree, found in records.get("tree", [])
    }


def _version(text: str) -> tuple[int, ...] | None:
    """The first number with a dot: `bootc 1.16.9`, and ostree's `Version: '2026.2'` below its name."""
    found = re.search(r"\b(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else None
