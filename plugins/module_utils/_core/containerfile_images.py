# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a Containerfile reads from outside, and the copy of it that an engine gets: pinned and labelled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import (
    Containerfile,
    Instruction,
    InvalidContainerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)

SCRATCH = "scratch"
BASE_WORD = "base"  # what a FROM can say for the image that the option base names
_NAME_ENDS = r"(?![\w./:@-])"
_COMMENT = re.compile(r"(?<=\n)[ \t]*#[^\n]*")
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")


class ImagePlace(str, Enum):
    """Where a Containerfile names an image."""

    INSERTED = "inserted"
    FROM = "FROM"
    COPY = "--from"
    MOUNT = "--mount"


@dataclass(frozen=True)
class ImageUse:
    """An image from outside the file. `token` is how the file spells it; `instruction` is None for an inserted FROM.

    `is_root`: the final stage rests on it, directly or through stages that build on each other.
    """

    place: ImagePlace
    reference: ImageReference
    token: str = ""
    instruction: Instruction | None = None
    is_root: bool = False


def image_uses(
    containerfile: Containerfile, base: ImageReference | None, values: Mapping[str, str]
) -> tuple[ImageUse, ...]:
    """Every image from outside that the build reads, in order of lines.

    `base`, where given, is the image on which the final stage rests, also through stages that build on each other: a
    FROM there names the same repository, or says `base`. `values` are the build arguments and the engine's platform
    arguments. Raises InvalidContainerfile.
    """
    if not containerfile.has_from:
        if base is None:
            raise InvalidContainerfile(
                "Nothing says what to build on: the Containerfile has no FROM and the option base is not given."
            )
        inserted = ImageUse(ImagePlace.INSERTED, base, is_root=True)
        return (inserted, *_uses_of_steps(containerfile, 0, values, {}))
    scope = _argument_scope(containerfile.global_arguments, values, {})
    uses: list[ImageUse] = []
    root = _root_stage(containerfile, scope)
    for number in range(len(containerfile.stages)):
        uses.extend(_uses_of_origin(containerfile, number, scope, base, number == root))
        uses.extend(_uses_of_steps(containerfile, number, values, scope, _stage_names(containerfile, number)))
    return tuple(uses)


def _stage_names(containerfile: Containerfile, before: int) -> dict[str, int]:
    names = {}
    for number, stage in enumerate(containerfile.stages[:before]):
        names[str(number)] = number
        if stage.name:
            names[stage.name.lower()] = number
    return names


def _root_stage(containerfile: Containerfile, scope: Mapping[str, str]) -> int:
    """The stage whose FROM is the external image under the final stage."""
    number = len(containerfile.stages) - 1
    while True:
        origin = containerfile.stages[number].origin
        if origin is None:
            return number
        earlier = _stage_names(containerfile, number).get(expand(origin.words[0], scope, origin).lower())
        if earlier is None:
            return number
        number = earlier


def _uses_of_origin(
    containerfile: Containerfile, number: int, scope: Mapping[str, str], base: ImageReference | None, is_root: bool
) -> list[ImageUse]:
    origin = containerfile.stages[number].origin
    if origin is None:
        return []
    token = origin.words[0]
    image = expand(token, scope, origin).strip("\"'")
    if image.lower() == SCRATCH:
        if base is not None and is_root:
            raise InvalidContainerfile(
                f"Line {origin.line}: the final stage is built FROM scratch, so it does not rest on the option base. "
                "Leave base out, or write FROM base.",
                origin.line,
                str(origin),
            )
        return []
    if base is not None and is_root:
        if image.lower() != BASE_WORD:
            _check_same_repository(_reference(image, origin), base, origin)
        return [ImageUse(ImagePlace.FROM, base, token, origin, is_root)]
    if image.lower() in _stage_names(containerfile, number):
        return []
    return [ImageUse(ImagePlace.FROM, _reference(image, origin), token, origin, is_root)]


def _check_same_repository(named: ImageReference, base: ImageReference, origin: Instruction) -> None:
    if named.name != base.name:
        raise InvalidContainerfile(
            f"Line {origin.line}: the final stage is built FROM {named}, but the option base is {base}. Write FROM base or "
            "leave the FROM out, so that base counts; or leave base out, so that the FROM does.",
            origin.line,
            str(origin),
        )


def _uses_of_steps(
    containerfile: Containerfile,
    number: int,
    values: Mapping[str, str],
    outer: Mapping[str, str],
    earlier: Mapping[str, int] | None = None,
) -> list[ImageUse]:
    stage = containerfile.stages[number]
    uses = []
    for position, step in enumerate(stage.steps):
        for place, token in _image_tokens(step):
            scope = _argument_scope(stage.steps[:position], values, outer)
            image = expand(token, scope, step).strip("\"'")
            if image.lower() in (earlier or {}):
                continue
            uses.append(ImageUse(place, _reference(image, step), token, step))
    return uses


def _image_tokens(step: Instruction) -> list[tuple[ImagePlace, str]]:
    source = step.flag("from")
    if step.keyword in ("COPY", "ADD") and source is not None:
        return [(ImagePlace.COPY, source)]
    return [(ImagePlace.MOUNT, mount["from"]) for mount in step.mounts() if mount.get("from")]


def _reference(image: str, instruction: Instruction) -> ImageReference:
    try:
        return ImageReference.parse(image).require_registry()
    except InvalidReference as error:
        raise InvalidContainerfile(
            f"Line {instruction.line}: {error} It is not the name of an earlier stage either.",
            instruction.line,
            str(instruction),
        ) from error


def _argument_scope(
    instructions: tuple[Instruction, ...], values: Mapping[str, str], outer: Mapping[str, str]
) -> dict[str, str]:
    """The values of the arguments that ARG instructions declare; those without any value are left out."""
    scope: dict[str, str] = {}
    for instruction in instructions:
        for word in instruction.words if instruction.keyword == "ARG" else ():
            name, equals, default = word.partition("=")
            if name in values:
                scope[name] = values[name]
            elif equals:
                scope[name] = expand(default.strip("\"'"), scope, instruction)
            elif name in outer:
                scope[name] = outer[name]
    return {**{name: text for name, text in values.items() if name.startswith(("TARGET", "BUILD"))}, **scope}


def expand(text: str, scope: Mapping[str, str], instruction: Instruction) -> str:
    """Replace `$X`, `${X}`, `${X:-default}` and `${X:+other}`. A variable without value raises InvalidContainerfile."""

    def value(match: re.Match[str]) -> str:
        if match.group() == "\\$":
            return "$"
        name = match.group(1) or match.group(2)
        operator, word = match.group(3), match.group(4) or ""
        current = scope.get(name)
        is_set = bool(current) if operator and operator.startswith(":") else current is not None
        if operator and operator.endswith("-"):
            return current if is_set and current is not None else word
        if operator and operator.endswith("+"):
            return word if is_set else ""
        if current is None:
            raise InvalidContainerfile(
                f"Line {instruction.line}: ${name} has no value here. Give it in build_args, "
                f"or declare it with a default before this line: ARG {name}=…",
                instruction.line,
                str(instruction),
            )
        return current

    return _VARIABLE.sub(value, text)


def pinned_text(
    containerfile: Containerfile, uses: tuple[ImageUse, ...], digests: Mapping[str, str], rests_on: str | None = None
) -> str:
    """The Containerfile with every image from outside pinned, on the same lines except after an inserted FROM.

    `digests` maps the canonical text of each reference to its digest. `rests_on` is a local image to put in the place of
    the one that the final stage rests on. The text ends with a complete instruction, so that another can be put after
    it. Raises InvalidContainerfile.
    """

    def pinned(use: ImageUse) -> str:
        if use.is_root and rests_on is not None:
            return rests_on
        return str(use.reference.with_digest(digests[use.reference.canonical]))

    lines = list(containerfile.lines)
    for instruction in containerfile.instructions:
        pins = [(use, pinned(use)) for use in uses if use.instruction is instruction]
        if pins:
            span = slice(instruction.line - 1, instruction.last_line)
            lines[span] = _replaced(instruction, "\n".join(lines[span]), pins).split("\n")
    _end_last_instruction(containerfile, lines)
    for use in uses:
        if use.place is ImagePlace.INSERTED:
            lines.insert(containerfile.instructions[0].line - 1, f"FROM {pinned(use)}")
    return "\n".join(lines) + "\n"


def _replaced(instruction: Instruction, text: str, pins: Sequence[tuple[ImageUse, str]]) -> str:
    """The text of an instruction with its images pinned. They stand in the order of `pins`; comments do not count."""
    searched = _COMMENT.sub(lambda comment: "#" * len(comment.group()), text)
    spans = []
    position = 0
    for use, pinned in pins:
        before = r"(?<=\s)" if use.place is ImagePlace.FROM else r"(?<=from=)"
        found = re.compile(before + re.escape(use.token) + _NAME_ENDS).search(searched, position)
        if found is None:
            raise InvalidContainerfile(
                f"Line {instruction.line}: the image {use.token} cannot be found in the lines of this instruction. "
                "Write it in one piece, on one line.",
                instruction.line,
                str(instruction),
            )
        spans.append((found.span(), pinned))
        position = found.end()
    for (start, end), pinned in reversed(spans):
        text = text[:start] + pinned + text[end:]
    return text


def _end_last_instruction(containerfile: Containerfile, lines: list[str]) -> None:
    """Drop an escape at the end of the file, which would continue the last instruction with what is put after it."""
    last = containerfile.instructions[-1]
    if last.heredoc:
        return
    for index in range(last.last_line - 1, last.line - 2, -1):
        line = lines[index].rstrip()
        if index >= last.line and (not line or line.lstrip().startswith("#")):
            continue
        if line.endswith(containerfile.escape * 2):
            raise InvalidContainerfile(
                f"Line {index + 1}: the last instruction ends with {containerfile.escape * 2}, which engines read in "
                "different ways. Remove it.",
                index + 1,
                str(last),
            )
        if line.endswith(containerfile.escape):
            lines[index] = line[: -len(containerfile.escape)]
        return


def label_instruction(labels: Mapping[str, str], escape: str) -> str:
    """One LABEL instruction for the end of a Containerfile, empty text without labels.

    Engines put the labels of their own `--label` option on the images of all steps already (seen with buildah 1.28.2),
    so that a cached step carries the labels of an earlier build, and the digest depends on what happened to be cached.
    """
    if not labels:
        return ""
    pairs = (f"{_quoted(name, escape)}={_quoted(value, escape)}" for name, value in sorted(labels.items()))
    return f"LABEL {' '.join(pairs)}\n"


def _quoted(text: str, escape: str) -> str:
    for character in (escape, '"', "$"):
        text = text.replace(character, escape + character)
    return f'"{text}"'
