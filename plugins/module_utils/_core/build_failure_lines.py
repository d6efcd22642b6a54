# SPDX-License-Identifier: GPL-3.0-or-later
"""A failed build in a few lines, for a terminal and for a mail, from the failure as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SHOWN = 5
_OF_THE_ENGINE = ("subprocess exited with status", "Error: building at STEP")
_LOGGED = re.compile(r'(?:time="[^"]*" )?level=\w+ msg="(.*)"\Z')  # how skopeo and buildah write what ends them
_STEP_VERDICT = re.compile(r"imagemode: \w+: (.*)\Z")  # what a step of the collection's own says last


def failure_lines(failure: Mapping[str, Any]) -> list[str]:
    """What failed and where, what was said, where the rest is, and what to do.

    `failure` is that of a result of layered_image_build, with `host`, `image` and `platform` beside it if known. Whatever
    is missing is left out.
    """
    host = str(failure.get("host") or "the build host")
    platform = f" for {failure['platform']}" if failure.get("platform") else ""
    image = str(failure.get("image") or "The image")
    lines = [f"{image} was not built{platform} on {host}: {failure.get('category') or 'other'}{_place(failure)}"]
    message = str(failure.get("message") or "Nothing is known about it.")
    lines.extend(message.splitlines())
    lines.extend(f"    {line}" for line in _said(failure, message)[-_SHOWN:])
    if failure.get("log"):
        lines.append(f"The whole output is on {host} in {failure['log']}")
    lines.append(
        "Running the same command again can help, without any change."
        if failure.get("retryable")
        else "Correct it and run the same command again: steps that are done are not repeated."
    )
    return lines


def _said(failure: Mapping[str, Any], message: str) -> list[str]:
    """What was printed, without what the message has already and what an engine adds to every failure."""
    lines = dict.fromkeys(str(line) for line in failure.get("excerpt") or () if str(line).strip())
    return [line for line in lines if _bare(line) not in message and not line.startswith(_OF_THE_ENGINE)]


def _bare(line: str) -> str:
    """A line without what surrounds the words in it, as a message quotes it."""
    logged = _LOGGED.match(line)
    if logged:
        return logged.group(1).replace('\\"', '"')
    verdict = _STEP_VERDICT.match(line)
    return verdict.group(1) if verdict else line


def _place(failure: Mapping[str, Any]) -> str:
    if not failure.get("line"):
        return ""
    file = "containerfile_final" if "containerfile_final" in str(failure.get("message")) else "the Containerfile"
    return f", at line {failure['line']} of {file}"
