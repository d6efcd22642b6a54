# SPDX-License-Identifier: GPL-3.0-or-later
"""What builds leave in the storage of the build host and in their work_dir: enough to resume, and never more with time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from image_builder import Builder, tool

PHASES: dict[str, Any] = {"containerfile_final_content": "COPY motd /usr/lib/last\n"}


def stored(builder: Builder) -> tuple[int, int]:
    """How many images there are, and files in work_dir but logs and what belongs to a log."""
    files = [path for path in (builder.directory / "work").rglob("*") if path.suffix != ".log"]
    return len(builder.images()), len(files)


def test_nothing_grows_over_ten_builds_of_changing_inputs(builder: Builder) -> None:
    found = []
    for number in range(10):
        # each time another phase is the first that has to be built anew
        if number % 3 == 0:
            builder.containerfile.write_text(f"RUN echo {number} > /usr/lib/number\n")
        elif number % 3 == 1:
            (builder.context / "motd").write_text(f"{number}\n")
        arguments = [f"number={number}"] if number % 2 else ["nosmt"]
        builder.build(kernel_arguments=arguments, **PHASES)
        found.append(stored(builder))
    assert found[1:] == [found[0]] * 9
    builder.build(kernel_arguments=["last"], layer_cache=False, **PHASES)
    assert builder.images() == []
    assert tool("buildah", "containers", "--quiet") == ""


def test_a_failed_phase_is_resumed_at_itself(builder: Builder) -> None:
    builder.containerfile.write_text("RUN echo run >> /usr/lib/first\n")
    broken = builder.outcome(kernel_arguments=["nosmt"], containerfile_final_content="RUN true\nRUN false\n")
    assert (broken.result["failure"]["line"], broken.result["failure"]["category"]) == (2, "step")
    again = builder.build(kernel_arguments=["nosmt"], containerfile_final_content="RUN true\nRUN echo\n")
    log = Path(again["log"]).read_text()
    # the Containerfile, the configuration, and of what comes last the step that had worked
    assert log.count("Using cache") == 3
    assert len(builder.images()) == len(set(builder.images()))


def test_a_forced_build_that_fails_leaves_the_image_that_is_there(builder: Builder) -> None:
    builder.build(push=False)
    before = tool("buildah", "inspect", "--type=image", "--format={{.FromImageID}}", builder.image)
    builder.containerfile.write_text("RUN false\n")
    assert builder.outcome(push=False, force=True).failed
    assert tool("buildah", "inspect", "--type=image", "--format={{.FromImageID}}", builder.image) == before


def test_forced_builds_leave_one_image_each_time(builder: Builder) -> None:
    builder.containerfile.write_text("RUN cat /proc/uptime /proc/sys/kernel/random/uuid > /usr/lib/now\n")
    counts = []
    for push in (True, False):
        for _unused in range(3):
            builder.build(push=push, force=True)
            counts.append(len(builder.images()))
    assert counts[:3] == [counts[0]] * 3
    assert counts[3:] == [counts[3]] * 3


def test_a_directory_of_somebody_else_is_not_used(builder: Builder) -> None:
    """Who owns it could read secrets, or put a link in the place of what is written there."""
    work = builder.directory / "work"
    builder.build()
    (mine,) = (path.parent for path in work.rglob("lock"))
    mine.chmod(0o777)
    builder.build(force=True)
    assert mine.stat().st_mode & 0o777 == 0o700
    os.chown(mine, 1234, -1)
    failure = builder.outcome(force=True).result["failure"]
    assert failure["category"] == "input"
    assert "is not a directory of the user who builds" in failure["message"]
    shutil.rmtree(mine)
    elsewhere = builder.directory / "elsewhere"
    elsewhere.mkdir()
    mine.symlink_to(elsewhere)
    assert builder.outcome(force=True).result["failure"]["category"] == "input"
    assert list(elsewhere.iterdir()) == []


def test_a_path_that_the_engines_would_cut_is_refused(builder: Builder) -> None:
    outcome = builder.outcome(work_dir=str(builder.directory / "a:b,c"))
    assert "has , and : in its name" in outcome.result["failure"]["message"]
