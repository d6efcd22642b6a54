# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs `bootc container lint` in a built image that brings bootc."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import ANSWER_SECONDS, Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture, stream
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    build_failure,
    excerpt,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import resolve_path
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource

BOOTC = "/usr/bin/bootc"
COMMAND = "bootc container lint"

# What bootc 1.16.9 prints (recorded): `Failed lint: NAME: …`, `Lint warning: NAME: …`, the latter with lines below it, and at
# the end `error: Linting: Checks failed: N`. What it cannot even look at is an unexpected runtime error.
_WARNING = "Lint warning: "
_FAILED = re.compile(r"Failed lint: (.*)|error: Linting: (Unexpected runtime error .*)")
_SUMMARY = re.compile(r"Checks (passed|skipped|failed): |Warnings: |Failed lint: |error: ")
_FAILED_END = re.compile(r"error: Linting: ")
_NO_SUCH_COMMAND = re.compile(r"(unrecognized|unknown) (sub)?command '?(lint|container)|invalid value 'lint'")


@dataclass(frozen=True)
class LintOutcome:
    """`ran` is false where there was nothing to run, which `note` explains. `warnings` are lint's own, one text each."""

    ran: bool
    warnings: tuple[str, ...] = ()
    note: str | None = None


def lint_image(
    engine: Engine, image: str, tree: FileTree, isolation: str | None, work_dir: Path, log: Path, timeout: float
) -> LintOutcome:
    """Lint an image in local storage; what bootc prints is appended to `log`. Raises BuildError, DeadlinePassed, Interrupted.

    `tree` is the image's; `isolation` is what the build itself uses. Nothing is left in storage. Warnings are no failure:
    bases come with some.
    """
    if resolve_path(tree, BOOTC) is None:
        return LintOutcome(False, note=f"{COMMAND} was not run, as the image has no {BOOTC}.")
    lines: list[str] = []

    def keep(line: str) -> bool:
        lines.append(line)
        return True

    with _build_directory(work_dir) as directory:
        containerfile = directory / "Containerfile"
        containerfile.write_text(f'FROM {image}\nRUN ["{BOOTC}", "container", "lint"]\n')
        identity = directory / "id"
        try:
            exit_code = stream(_argv(engine, directory, containerfile, identity, isolation), log, timeout, keep)
        finally:
            _remove(engine, identity)
        if exit_code == 0:
            return LintOutcome(True, lint_warnings(lines))
        if any(_NO_SUCH_COMMAND.search(line) for line in lines):
            return LintOutcome(False, note=f"{COMMAND} was not run, as the image's bootc is too old to have it.")
        raise BuildError(_failure(containerfile.read_text(), lines, exit_code, image, log))


def lint_warnings(lines: Sequence[str]) -> tuple[str, ...]:
    """The warnings in what lint printed, each on one line."""
    found: list[list[str]] = []
    inside = False
    for line in lines:
        text = line.strip()
        if text.startswith(_WARNING):
            found.append([text[len(_WARNING) :]])
            inside = True
        elif not line.startswith(" ") or _SUMMARY.match(text):
            inside = False
        elif inside and text:
            found[-1].append(text)
    return tuple(f"{COMMAND} warns: {one[0]} {', '.join(one[1:])}".strip() for one in found)


def _argv(engine: Engine, context: Path, containerfile: Path, identity: Path, isolation: str | None) -> list[str]:
    argv = [engine.path, "build", "--layers=false", "--force-rm", "--pull=never", f"--iidfile={identity}"]
    if isolation:
        argv.append(f"--isolation={isolation}")
    if "chroot" not in (isolation, os.environ.get("BUILDAH_ISOLATION")):
        argv.append("--network=none")  # which chroot cannot do, and engines refuse to try
    return [*argv, f"--file={containerfile}", str(context)]


@contextlib.contextmanager
def _build_directory(work_dir: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="lint-", dir=work_dir))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _remove(engine: Engine, identity: Path) -> None:
    """Remove the image that a passed lint leaves. It has no name, so the file with its id is the only trace of it."""
    with contextlib.suppress(OSError, DeadlinePassed):
        found = identity.read_text().strip()
        if found:
            capture(engine.remove_argv(found), ANSWER_SECONDS, cleaning_up=True)


def _failure(containerfile: str, lines: Sequence[str], exit_code: int, image: str, log: Path) -> BuildFailure:
    failed = [match.group(1) or match.group(2) for match in map(_FAILED.match, lines) if match]
    if not failed and not any(_FAILED_END.match(line) for line in lines):
        source = StepSource(Containerfile.parse(containerfile), None, (f"run {COMMAND} in it",))
        return build_failure(source, lines, exit_code, image, None).with_log(str(log))
    reasons = "; ".join(failed)
    return BuildFailure(
        FailureCategory.LINT,
        f"{COMMAND} refuses the image, so it was not pushed: {reasons or 'see the excerpt'}. Mend it in the Containerfile; "
        f"`RUN {COMMAND}` as its last line shows the same sooner.",
        step=f"RUN {COMMAND}",
        excerpt=excerpt(lines),
        log=str(log),
    )
