# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments: the image's kargs.d, bootc's delta between two images, and rpm-ostree's edits."""

from __future__ import annotations

import os

RUST_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "powerpc64", "s390x": "s390x"}


class KernelArgumentError(Exception):
    """An argument cannot be changed as asked, or a kargs.d file is unreadable. ``str()`` is the tool's text."""


def of_image(tree: str, arch: str) -> list[str] | None:
    """The arguments in an image's /usr/lib/bootc/kargs.d, files in order of name; None when there is no directory."""
    directory = os.path.join(tree, "usr/lib/bootc/kargs.d")
    if not os.path.isdir(directory):
        return None
    found: list[str] = []
    for name in sorted(os.listdir(directory)):
        if name.endswith(".toml"):
            found += _of_file(os.path.join(directory, name), name, arch)
    return found


def _of_file(path: str, name: str, arch: str) -> list[str]:
    from lab.simulators import toml

    with open(path, "rb") as handle:
        try:
            document = toml.parse(handle.read())
        except toml.TomlError as error:
            raise KernelArgumentError(f"Parsing {name}: TOML parse error: {error}") from error
    unknown = sorted(set(document) - {"kargs", "match-architectures"})
    if unknown:
        raise KernelArgumentError(f"Parsing {name}: unknown field `{unknown[0]}`")
    if "kargs" not in document:
        raise KernelArgumentError(f"Parsing {name}: missing field `kargs`")
    architectures = document.get("match-architectures")
    if architectures is not None and RUST_ARCHITECTURES.get(arch, arch) not in architectures:
        return []
    return [str(argument) for argument in document["kargs"]]


def after_switch(booted: list[str], old: list[str] | None, new: list[str] | None, bootc: tuple[int, ...]) -> list[str]:
    """The arguments of a deployment that bootc stages: the booted ones with the delta between the two images.

    With no kargs.d at all in the new image nothing is removed and the old image's are added again. bootc before 1.11
    adds what is there already a second time (recorded, bootc 1.1.6); newer ones do not.
    """
    result = list(booted)
    if new is None:
        added = old or []
    else:
        added = [argument for argument in new if argument not in (old or [])]
        for argument in old or []:
            if argument not in new and argument in result:
                result.remove(argument)
    for argument in added:
        if bootc < (1, 11) or argument not in result:
            result.append(argument)
    return result


def tokens(text: str) -> list[str]:
    """A command line taken apart: blanks separate, but not between quotation marks, which stay (ostree 2026.4)."""
    found, current, quoted = [], "", False
    for character in text:
        if character == " " and not quoted:
            found.append(current)
            current = ""
            continue
        quoted ^= character == '"'
        current += character
    return [token for token in (*found, current) if token]


def with_keys(current: list[str], wanted: list[str]) -> list[str]:
    """What ostree's own --append-if-missing makes: it looks at keys alone, whatever their values (ostree 2026.4)."""
    result = list(current)
    for text in wanted:
        if text.split("=", 1)[0] not in {argument.split("=", 1)[0] for argument in result}:
            result += tokens(text)
    return result


class Edits:
    """What one `rpm-ostree kargs` call asks for. Each text may hold several arguments (ostree-kernel-args.c)."""

    def __init__(self) -> None:
        self.delete: list[str] = []
        self.replace: list[str] = []
        self.append: list[str] = []
        self.append_if_missing: list[str] = []
        self.delete_if_present: list[str] = []

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def apply(self, current: list[str]) -> tuple[list[str], bool]:
        """The new arguments, and whether rpm-ostree counts them as changed. Raises KernelArgumentError."""
        result = list(current)
        for argument in _all(self.delete):
            result.remove(_only_match(result, argument))
        for argument in _all(self.replace):
            key, has_value, rest = argument.partition("=")
            old, has_new, new = rest.partition("=")
            present = _only_match(result, f"{key}={old}" if has_new else key, replacing=not has_new)
            value = new if has_new else old
            result[result.index(present)] = f"{key}={value}" if has_value else key
        result += _all(self.append)
        changed = bool(self.delete or self.replace or self.append)
        for text in self.append_if_missing:
            if text not in result:
                result += tokens(text)
                changed = True
        for text in self.delete_if_present:
            if text in current:
                result.remove(_only_match(result, text))
                changed = True
        return result, changed


def _all(texts: list[str]) -> list[str]:
    return [token for text in texts for token in tokens(text)]


def _only_match(arguments: list[str], wanted: str, *, replacing: bool = False) -> str:
    """The one present argument that is meant. ``replacing``: by its key alone, so there must be no second one."""
    key = wanted.split("=", 1)[0]
    same_key = [argument for argument in arguments if argument.split("=", 1)[0] == key]
    if not same_key:
        raise KernelArgumentError(f"No key '{key}' found")
    if wanted in same_key and not (replacing and len(same_key) > 1):
        return wanted
    if "=" in wanted:
        raise KernelArgumentError(f"No karg '{wanted}' found")
    if len(same_key) > 1:
        raise KernelArgumentError(f"Multiple values for key '{key}' found")
    return same_key[0]
