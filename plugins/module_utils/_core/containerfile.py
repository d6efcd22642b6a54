# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles: parsed with line numbers, and checked before anything is pulled."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_heredoc import Heredoc, heredocs

KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)

# Build arguments that every engine knows without a declaration.
PREDEFINED_ARGUMENTS = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)

_ESCAPE_DIRECTIVE = re.compile(r"#\s*escape\s*=\s*(\S)\s*\Z", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*[A-Za-z]+\s*=")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FLAG = re.compile(r"--[a-z][a-z-]*(?:=\S*)?(?=\s|\Z)")


class InvalidContainerfile(ValueError):
    """The text is not a Containerfile. `line` is the line in the user's own numbering, None for the whole file."""

    def __init__(self, message: str, line: int | None = None, step: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.step = step


@dataclass(frozen=True)
class Instruction:
    """One instruction. `line` and `last_line` count from 1; `arguments` is joined to one line, without the flags."""

    keyword: str
    flags: tuple[str, ...]
    arguments: str
    line: int
    last_line: int
    heredoc: bool = False

    def flag(self, name: str) -> str | None:
        """The value of `--name=value`, or None."""
        prefix = f"--{name}="
        return next((flag[len(prefix) :] for flag in self.flags if flag.startswith(prefix)), None)

    def mounts(self) -> tuple[dict[str, str], ...]:
        """The options of each `--mount` of a RUN, such as `{"type": "secret", "id": "token"}`."""
        prefix = "--mount="
        given = [flag[len(prefix) :] for flag in self.flags if flag.startswith(prefix) and self.keyword == "RUN"]
        return tuple(
            {name: value for name, _equals, value in (part.partition("=") for part in one.split(","))} for one in given
        )

    def secret_ids(self, with_optional: bool = False) -> tuple[str, ...]:
        """The secrets that a RUN mounts and cannot do without; on demand also those without which it can."""
        return tuple(
            mount.get("id") or mount.get("target", mount.get("dst", "")).rpartition("/")[2]
            for mount in self.mounts()
            if mount.get("type") == "secret"
            and (with_optional or mount.get("required", "true").lower() not in ("false", "0"))
        )

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments as a list, in either of the two forms an instruction can have."""
        if self.arguments.startswith("["):
            try:
                parsed = json.loads(self.arguments)
            except (ValueError, RecursionError):
                return tuple(self.arguments.split())
            if isinstance(parsed, list) and all(isinstance(word, str) for word in parsed):
                return tuple(parsed)
        return tuple(self.arguments.split())

    def __str__(self) -> str:
        return " ".join((self.keyword, *self.flags, self.arguments)).strip()


@dataclass(frozen=True)
class Stage:
    """A build stage: its FROM, None where the file has none and the base is put before it, and what follows."""

    origin: Instruction | None
    name: str | None
    steps: tuple[Instruction, ...]


@dataclass(frozen=True)
class Containerfile:
    """A parsed Containerfile. `lines` is the text as the user wrote it, `escape` what continues a line."""

    lines: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    escape: str = "\\"

    @classmethod
    def parse(cls, text: str) -> Containerfile:
        """Parse and check the text. Raises InvalidContainerfile with the line of the first mistake."""
        lines = text_lines(text)
        instructions = tuple(_Reader(lines).instructions())
        if not instructions:
            raise InvalidContainerfile(
                "The Containerfile has no instruction. It needs at least one, such as RUN or COPY."
            )
        for instruction in instructions:
            _check(instruction)
        _check_order(instructions)
        return cls(lines, instructions, _escape_character(lines))

    @property
    def has_from(self) -> bool:
        """Whether the text names what it builds on."""
        return any(instruction.keyword == "FROM" for instruction in self.instructions)

    @property
    def global_arguments(self) -> tuple[Instruction, ...]:
        """The ARG instructions before the first FROM; empty where there is no FROM."""
        if not self.has_from:
            return ()
        first = next(index for index, found in enumerate(self.instructions) if found.keyword == "FROM")
        return self.instructions[:first]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; one without origin where the text has no FROM."""
        if not self.has_from:
            return (Stage(None, None, self.instructions),)
        stages = []
        starts = [index for index, found in enumerate(self.instructions) if found.keyword == "FROM"]
        for start, end in zip(starts, (*starts[1:], len(self.instructions))):
            origin = self.instructions[start]
            words = origin.words
            stages.append(Stage(origin, words[2] if len(words) == 3 else None, self.instructions[start + 1 : end]))
        return tuple(stages)

    @property
    def uses_heredoc(self) -> bool:
        """Whether an instruction carries a here-document, which needs buildah 1.33 or podman 4.9 and newer."""
        return any(instruction.heredoc for instruction in self.instructions)

    def declared_arguments(self) -> frozenset[str]:
        """The names that ARG instructions declare anywhere."""
        return frozenset(
            word.partition("=")[0]
            for instruction in self.instructions
            if instruction.keyword == "ARG"
            for word in instruction.words
        )

    def needs_context(self) -> Instruction | None:
        """The first instruction that takes files from the context directory, or None."""
        for instruction in self.instructions:
            if instruction.keyword not in ("COPY", "ADD") or instruction.flag("from") is not None:
                continue
            if any(not _is_remote(source) and not source.startswith("<<") for source in instruction.words[:-1]):
                return instruction
        return None

    def instruction_of_step(self, stage: int, step: int) -> Instruction | None:
        """The instruction behind `[stage/n] STEP step/m` of an engine's output, both counted from 1; None if unknown.

        FROM is step 1 of its stage, arguments before the first FROM are not counted (seen with buildah 1.28).
        """
        stages = self.stages
        if not 1 <= stage <= len(stages):
            return None
        chosen = stages[stage - 1]
        if step == 1:
            return chosen.origin
        return chosen.steps[step - 2] if 2 <= step <= len(chosen.steps) + 1 else None


def text_lines(text: str) -> tuple[str, ...]:
    """The lines as engines see them: ended by a line feed, with or without one carriage return before it.

    `str.splitlines` knows more ends of lines, such as the form feed, which may stand within an instruction.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return tuple(line[:-1] if line.endswith("\r") else line for line in lines)


class _Reader:
    """Joins physical lines to instructions: continuations, comments between them, here-documents."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self._lines = lines
        self._escape = _escape_character(lines)

    def instructions(self) -> list[Instruction]:
        found = []
        position = 0
        while position < len(self._lines):
            stripped = self._lines[position].strip().lstrip("\ufeff")
            if not stripped or stripped.startswith("#"):
                position += 1
                continue
            instruction, position = self._instruction(position)
            found.append(instruction)
        return found

    def _instruction(self, start: int) -> tuple[Instruction, int]:
        text, end = self._joined(start)
        head, _blank, rest = text.strip().partition(" ")
        keyword = head.split("\t")[0].upper()
        rest = text.strip()[len(keyword) :].strip()
        if keyword not in KEYWORDS:
            raise InvalidContainerfile(_unknown(head, start + 1), start + 1, text.strip())
        flags = []
        if keyword in ("ADD", "COPY", "FROM", "RUN", "HEALTHCHECK"):
            while True:
                flag = _FLAG.match(rest)
                if flag is None:
                    break
                flags.append(flag.group())
                rest = rest[flag.end() :].strip()
        opened = heredocs(rest) if keyword in ("RUN", "COPY", "ADD") else ()
        for heredoc in opened:
            end = self._end_of_heredoc(heredoc, start, end)
        return Instruction(keyword, tuple(flags), rest, start + 1, end, bool(opened)), end

    def _joined(self, start: int) -> tuple[str, int]:
        """The instruction's text and the index of the line after it."""
        parts = []
        position = start
        while position < len(self._lines):
            line = self._lines[position].lstrip("\ufeff")
            position += 1
            if position - 1 > start and (not line.strip() or line.lstrip().startswith("#")):
                continue
            body = line.rstrip()
            if not body.endswith(self._escape):
                parts.append(body)
                break
            parts.append(body[: -len(self._escape)])
        return "".join(parts), position

    def _end_of_heredoc(self, heredoc: Heredoc, start: int, position: int) -> int:
        for index in range(position, len(self._lines)):
            if heredoc.is_ended_by(self._lines[index]):
                return index + 1
        raise InvalidContainerfile(
            f"Line {start + 1}: the here-document <<{heredoc.word} is never ended. A line must hold {heredoc.word} alone.",
            start + 1,
            self._lines[start].strip(),
        )


def _escape_character(lines: tuple[str, ...]) -> str:
    for line in lines:
        directive = _ESCAPE_DIRECTIVE.match(line.strip())
        if directive:
            return directive.group(1)
        if not _DIRECTIVE.match(line.strip()):
            break
    return "\\"


def _unknown(word: str, line: int) -> str:
    close = difflib.get_close_matches(word.upper(), KEYWORDS, n=1, cutoff=0.6)
    hint = (
        f" Did you mean {close[0]}?"
        if close
        else " A line that continues the one above needs a \\ at the end of that line."
    )
    return f"Line {line}: {word!r} is not an instruction.{hint}"


def _is_remote(source: str) -> bool:
    return bool(re.match(r"(?:https?|git|ssh)://|git@", source))


def _check(instruction: Instruction) -> None:
    words = instruction.words
    problem = None
    if not instruction.arguments and instruction.keyword != "CMD":
        problem = f"{instruction.keyword} needs an argument."
    elif instruction.keyword == "FROM" and not (len(words) == 1 or (len(words) == 3 and words[1].upper() == "AS")):
        problem = "FROM takes an image, or an image, AS and a stage name."
    elif instruction.keyword in ("COPY", "ADD") and len(words) < 2:
        problem = f"{instruction.keyword} needs a source and a destination."
    elif instruction.keyword in ("ENV", "LABEL") and len(words) < 2 and "=" not in words[0]:
        problem = f"{instruction.keyword} needs name=value."
    elif instruction.keyword == "ARG" and not _NAME.match(words[0].partition("=")[0]):
        problem = f"ARG needs a name or name=value, not {words[0]!r}."
    if problem:
        raise InvalidContainerfile(f"Line {instruction.line}: {problem}", instruction.line, str(instruction))


def _check_order(instructions: tuple[Instruction, ...]) -> None:
    if not any(found.keyword == "FROM" for found in instructions):
        return
    for instruction in instructions:
        if instruction.keyword == "FROM":
            return
        if instruction.keyword != "ARG":
            raise InvalidContainerfile(
                f"Line {instruction.line}: {instruction.keyword} stands before the first FROM; only ARG may.",
                instruction.line,
                str(instruction),
            )
