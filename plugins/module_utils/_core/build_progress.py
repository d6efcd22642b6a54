# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a build is, read from what the engine prints, as a short sentence for a person.

Nothing here is worth a failure: a line that is not understood changes nothing, and a note that is cut off tells nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile

TEXT_WIDTH = 60
_STEP = re.compile(r"(?:\[(\d+)/(\d+)\] )?STEP (\d+)(?:/(\d+))?: (.*)\Z")
_COMMIT = re.compile(r"(?:\[\d+/\d+\] )?COMMIT\b")
_BLOB = re.compile(r"Copying blob (sha256:[0-9a-f]{64})")
_THERE = re.compile(r"Skipping blob (sha256:[0-9a-f]{64})")
_SENT = re.compile(r"Upload of layer (sha256:[0-9a-f]{64}) complete")
_CONFIGURATION = re.compile(r"Copying config sha256:[0-9a-f]{64}")
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Phase:
    """One engine build of the several that make an image; `number` of `total` counts from 1.

    `containerfile` is the user's, if the steps are. `titles` say in words what the steps after `FROM` do, if the
    collection wrote them.
    """

    name: str
    number: int = 1
    total: int = 1
    containerfile: Containerfile | None = None
    titles: Sequence[str] = ()

    @property
    def sentence(self) -> str:
        """Such as "packages (1 of 3)"."""
        return f"{self.name} ({self.number} of {self.total})" if self.total > 1 else self.name

    def line_of(self, stage: int, step: int, text: str) -> int | None:
        """The line of a step in the user's file; None where an ONBUILD trigger of the base shifted the count."""
        found = self.containerfile.instruction_of_step(stage, step) if self.containerfile else None
        return found.line if found and found.keyword == text.split(" ", 1)[0].upper() else None

    def text_of(self, step: int, text: str) -> str:
        """What a step does. Step 1 is `FROM`."""
        return self.titles[step - 2] if 2 <= step < len(self.titles) + 2 else text


@dataclass(frozen=True)
class StepProgress:
    """A step that an engine works on. `stage` of `stages` and `number` of `total` count from 1; `line` is the user's."""

    stage: int
    stages: int
    number: int
    total: int | None
    text: str
    line: int | None

    @property
    def sentence(self) -> str:
        """Such as "step 7 of 12, line 9: RUN dnf -y install tuned"."""
        stage = f"stage {self.stage} of {self.stages}, " if self.stages > 1 else ""
        total = f" of {self.total}" if self.total else ""
        line = f", line {self.line}" if self.line else ""
        return f"{stage}step {self.number}{total}{line}: {self.text}"


@dataclass(frozen=True)
class PushProgress:
    """A push. `total_bytes` is None where nobody knows beforehand; layers that the registry has count as done."""

    layers: frozenset[str] = frozenset()
    there: frozenset[str] = frozenset()
    sent: frozenset[str] = frozenset()
    sent_bytes: int = 0
    total_bytes: int | None = None
    layers_done: bool = False

    @property
    def total(self) -> int:
        """How many layers the image has, as far as the engine has named them."""
        return len(self.layers | self.there)

    @property
    def done(self) -> int:
        """How many of them the registry has."""
        return self.total if self.layers_done else min(self.total, len(self.there) + len(self.sent))

    @property
    def sentence(self) -> str:
        """Such as "pushing: 3 of 11 layers, 120 of 410 MB"."""
        if not self.total:
            return "pushing"
        layers = f"pushing: {self.done} of {self.total} layers"
        if self.total_bytes is not None:
            sent = min(self.sent_bytes, self.total_bytes)
            return f"{layers}, {sent // _MEGABYTE} of {math.ceil(self.total_bytes / _MEGABYTE)} MB"
        return f"{layers}, {self.sent_bytes // _MEGABYTE} MB sent" if self.sent_bytes >= _MEGABYTE else layers

    def after(self, line: str) -> PushProgress:
        """The progress after a line of debug output."""
        for pattern, name in ((_BLOB, "layers"), (_THERE, "there"), (_SENT, "sent")):
            found = pattern.search(line)
            if found:
                return replace(self, **{name: getattr(self, name) | {found.group(1)}})
        # The configuration is uploaded like a layer, and it is named only when all layers are there.
        return replace(self, layers_done=True) if _CONFIGURATION.search(line) else self


@dataclass(frozen=True)
class BuildProgress:
    """Where a build is. `since` is when that began, in seconds since 1970 by the clock of the build host."""

    phase: Phase | None = None
    step: StepProgress | None = None
    committing: bool = False
    push: PushProgress | None = None
    log: str | None = None
    since: float = 0.0

    @property
    def doing(self) -> str | None:
        """Such as "packages (1 of 3): step 2 of 4: install the packages jq"; None before anything began."""
        if self.push is not None:
            return self.push.sentence
        reached = self.step.sentence if self.step else "begins"
        doing = "commits the image" if self.committing else reached
        if self.phase:
            return f"{self.phase.sentence}: {doing}"
        return doing if self.step or self.committing else None

    def after(self, line: str, now: float) -> BuildProgress:
        """The progress after a line of the output of a build."""
        found = _STEP.match(line.strip())
        if found:
            stage, stages, number, total, text = found.groups()
            phase = self.phase or Phase("")
            reached = int(stage or 1), int(number)
            step = StepProgress(
                stage=reached[0],
                stages=int(stages or 1),
                number=reached[1],
                total=int(total) if total else None,
                text=shortened(phase.text_of(reached[1], text)),
                line=phase.line_of(*reached, text),
            )
            return replace(self, step=step, committing=False, since=now)
        if _COMMIT.match(line):
            return replace(self, committing=True, since=now)
        return self

    def as_json(self) -> str:
        """The progress as one line of JSON, the counts beside the sentence."""
        document: dict[str, Any] = {"doing": self.doing, "since": self.since, "log": self.log}
        if self.phase:
            document["phase"] = {"name": self.phase.name, "number": self.phase.number, "total": self.phase.total}
        if self.step:
            document["step"] = dict(vars(self.step))
        if self.push:
            document["push"] = {
                "layers_done": self.push.done,
                "layers": self.push.total,
                "sent_bytes": self.push.sent_bytes,
                "total_bytes": self.push.total_bytes,
            }
        return json.dumps(document) + "\n"


@dataclass(frozen=True)
class ProgressNote:
    """What a reader needs of a note that a build left: what it does, since when, and the path of its log."""

    doing: str | None
    since: float
    log: str | None

    @classmethod
    def parse(cls, text: str) -> ProgressNote | None:
        """The note in a file; None where the text is no whole note."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict):
            return None
        doing, since, log = (document.get(name) for name in ("doing", "since", "log"))
        usable = isinstance(since, (int, float)) and math.isfinite(since)
        return cls(
            doing=doing if isinstance(doing, str) else None,
            since=float(since) if usable and since is not None else 0.0,
            log=log if isinstance(log, str) else None,
        )

    def sentence(self, now: float) -> str | None:
        """What it does, and for how long: "user (1 of 2): step 7 of 12, line 9: RUN dnf… (94 s)". `now` as `since`."""
        return f"{self.doing} ({max(0, int(now - self.since))} s)" if self.doing else None


def shortened(text: str) -> str:
    """A step on one line, cut where it gets long. Control characters of the user's file do not reach a terminal."""
    flat = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return flat if len(flat) <= TEXT_WIDTH else f"{flat[:TEXT_WIDTH].rstrip()}…"
