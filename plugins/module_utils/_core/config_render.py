# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the MachineConfigs of a pool say together to an image, what systemd-tmpfiles makes at boot, and files of hosts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.disruption_policy import PolicyRule
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import rust_architecture
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    MACHINE_KEYS,
    ArgumentsNotUnderstood,
    key_of,
    require_word,
    split_words,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import (
    ConfigDirectory,
    ConfigFile,
    ConfigLink,
    MergedConfig,
    SshKeys,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import (
    Candidate,
    OwnerRefused,
    OwnerRules,
    Ownership,
    check_path,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    KARGS_PATH,
    TMPFILES_PATH,
    PathOwner,
    RenderedConfig,
    Rendering,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_paths import RenderedPaths, said
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tmpfiles_d import tmpfiles_text
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unit_enablement import UnitName
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unit_rendering import RenderedUnits, render_units

KERNEL_TYPES = ("default", "realtime", "64k-pages")
_FIPS = "fips=1"
_WHOLE_CONFIG = ("/etc/machine-config-daemon/currentconfig", "/etc/ignition-machine-config-encapsulated.json")


class RenderRefused(Exception):
    """A configuration that cannot be rendered. `problems` name document, field and path, and never a content."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(("Nothing was rendered.", *(f"- {problem}" for problem in problems))))
        self.problems = tuple(problems)


class SshKeysFile(str, Enum):
    """The file of a user that sshd reads keys from: the first on RHCOS 9, Fedora CoreOS and later, the second elsewhere."""

    IGNITION = "authorized_keys.d/ignition"
    AUTHORIZED_KEYS = "authorized_keys"


@dataclass(frozen=True)
class RenderOptions:
    """How to render. `architecture` is as `uname -m` says it; None: the kernel arguments are for every architecture."""

    rules: OwnerRules = field(default_factory=OwnerRules)
    ssh_keys_file: SshKeysFile = SshKeysFile.IGNITION
    architecture: str | None = None


def render(config: MergedConfig, options: RenderOptions) -> Rendering:
    """The rendered configuration with its contents. Raises RenderRefused with everything that is in the way."""
    paths = RenderedPaths()
    rules = options.rules
    paths.problems += [f"{said(one.origin)}: {one.reason}" for one in config.unsupported if not one.accepted]
    for directory in config.directories:
        _take_directory(directory, rules, paths)
    for file in config.files:
        _take_file(file, rules, paths)
    for link in config.links:
        _take_link(link, config, rules, paths)
    for keys in config.ssh_keys:
        _take_keys(keys, options, paths)
    units = _units(config, rules, paths)
    kargs, absent = _kernel_arguments(config, paths.problems)
    if config.kernel_type not in KERNEL_TYPES:
        paths.problems.append(f"kernelType is {config.kernel_type!r}, and there are {', '.join(KERNEL_TYPES)}.")
    _take_generated(kargs, options.architecture, paths)
    files = paths.sorted()
    if paths.problems:
        raise RenderRefused(paths.problems)
    owned = {file.path: file.owner for file in files}
    contents = {path: content for path, content in paths.contents.items() if owned[path] is not PathOwner.TMPFILES}
    rendered = RenderedConfig(
        role=config.role,
        sources=config.sources,
        files=files,
        units=units.units,
        kargs=kargs,
        kargs_absent=absent,
        presets=units.presets,
        masks=units.masks,
        extensions=config.extensions,
        kernel_type=config.kernel_type,
        fips=config.fips,
        os_image=config.os_image,
        unsupported=config.unsupported,
        var_links=_used_links(config, rules),
        warnings=(*_role_warnings(config), *paths.warnings, *_idle_patterns(config, rules)),
        extensions_image=config.extensions_image,
        left_out=config.left_out,
    )
    return Rendering(rendered, contents)


def _role_warnings(config: MergedConfig) -> tuple[str, ...]:
    """A mistyped role looks like a pool of one's own, which rests on the documents of worker."""
    if not config.only_of_worker:
        return ()
    return (
        f"No document is for the role {config.role}, so it gets those of worker and nothing else. Check the spelling.",
    )


def _take_file(file: ConfigFile, rules: OwnerRules, paths: RenderedPaths) -> None:
    place = rules.place(file.path)
    try:
        check_path(file.path)
        if place in _WHOLE_CONFIG:
            raise OwnerRefused(
                "is where a whole machine config is kept, with every secret in it. No image may have that."
            )
        ownership = rules.ownership(Candidate(place, file.path, FileType.FILE, file.mode, file.content))
        _check_names(place, ownership, file.user, file.group)
    except OwnerRefused as refusal:
        paths.refuse(file.origin, file.path, str(refusal))
        return
    paths.file(place, file.content, file.mode, ownership, file.origin, user=file.user, group=file.group)


def _take_directory(directory: ConfigDirectory, rules: OwnerRules, paths: RenderedPaths) -> None:
    place = rules.place(directory.path)
    try:
        check_path(directory.path)
        ownership = rules.ownership(Candidate(place, directory.path, FileType.DIRECTORY, directory.mode))
        _check_names(place, ownership, directory.user, directory.group)
    except OwnerRefused as refusal:
        paths.refuse(directory.origin, directory.path, str(refusal))
        return
    paths.directory(place, directory.mode, ownership, directory.origin, user=directory.user, group=directory.group)


def _take_link(link: ConfigLink, config: MergedConfig, rules: OwnerRules, paths: RenderedPaths) -> None:
    if link.hard:
        _take_hard_link(link, config, rules, paths)
        return
    place = rules.place(link.path)
    try:
        check_path(link.path)
        ownership = rules.ownership(Candidate(place, link.path, FileType.LINK))
        _check_names(place, ownership, link.user, link.group)
    except OwnerRefused as refusal:
        paths.refuse(link.origin, link.path, str(refusal))
        return
    paths.link(place, link.target, ownership, link.origin, user=link.user, group=link.group)


def _take_hard_link(link: ConfigLink, config: MergedConfig, rules: OwnerRules, paths: RenderedPaths) -> None:
    """A second name of a file of the configuration becomes a file with the same content: neither changes at run time."""
    wanted = rules.place(link.target)
    same = next((file for file in config.files if rules.place(file.path) == wanted), None)
    if same is None:
        why = f"is a hard link to {link.target}, which is no file of this configuration. Use a symbolic link."
        paths.refuse(link.origin, link.path, why)
        return
    _take_file(ConfigFile(link.path, same.content, same.mode, same.user, same.group, link.origin), rules, paths)


def _take_keys(keys: SshKeys, options: RenderOptions, paths: RenderedPaths) -> None:
    if not keys.keys:
        return
    home = "/root" if keys.user == "root" else f"/home/{keys.user}"
    path = options.rules.place(f"{home}/.ssh/{options.ssh_keys_file.value}")
    ownership = Ownership(
        PathOwner.HOST,
        "SSH keys change without a new image",
        actions=PolicyRule("sshkey", options.rules.policy.sshkey).to_do,
    )
    content = "".join(f"{key}\n" for key in keys.keys).encode()
    paths.file(path, content, 0o600, ownership, keys.origin, user=keys.user, group=keys.user)


def _units(config: MergedConfig, rules: OwnerRules, paths: RenderedPaths) -> RenderedUnits:
    named = []
    for unit in config.units:
        try:
            UnitName.parse(unit.name)
        except ValueError as error:
            paths.problems.append(f"{said(unit.origin)}: {error}.")
            continue
        named.append(unit)
    return render_units(named, rules, paths)


def _kernel_arguments(config: MergedConfig, problems: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words to have and those to be without. One entry may have several words, as MachineConfigs allow."""
    found: list[list[str]] = []
    for name, texts in (
        ("kernelArguments", config.kernel_arguments),
        ("kernelArguments.shouldNotExist", config.kernel_arguments_absent),
    ):
        words: list[str] = []
        for text in texts:
            try:
                words += [require_word(word) for word in split_words(text)]
            except ArgumentsNotUnderstood as error:
                problems.append(f"{name}: {error}.")
        found.append(list(dict.fromkeys(words)))
    wanted, absent = found
    if config.fips and _FIPS not in wanted:
        wanted.append(_FIPS)
    problems += [
        f"kernelArguments: {word} is written by the boot loader or ostree. Leave it out."
        for word in wanted
        if key_of(word) in MACHINE_KEYS
    ]
    problems += [f"kernelArguments: {word} shall both be and not be there." for word in wanted if word in absent]
    return tuple(wanted), tuple(absent)


def _take_generated(kargs: tuple[str, ...], architecture: str | None, paths: RenderedPaths) -> None:
    if kargs:
        text = f"kargs = [{', '.join(json.dumps(word, ensure_ascii=False) for word in kargs)}]\n"
        if architecture:
            text += f"match-architectures = [{json.dumps(rust_architecture(architecture))}]\n"
        reason = "kernel arguments that the image brings"
        paths.file(KARGS_PATH, text.encode(), 0o644, Ownership(PathOwner.IMAGE, reason), None)
    lines = paths.tmpfiles_lines()
    if lines:
        reason = "makes at boot what belongs to tmpfiles"
        paths.file(TMPFILES_PATH, tmpfiles_text(lines).encode(), 0o644, Ownership(PathOwner.IMAGE, reason), None)


def _check_names(path: str, ownership: Ownership, *accounts: int | str | None) -> None:
    """Names are looked up on the node, which can give a file in /etc to them, and nothing in /usr."""
    names = [account for account in accounts if isinstance(account, str) and account != "root"]
    if names and ownership.owner is PathOwner.IMAGE and not path.startswith("/etc/"):
        raise OwnerRefused(
            f"belongs to {' and '.join(names)} by name, and /usr is read-only when names are looked up. Write the number."
        )


def _used_links(config: MergedConfig, rules: OwnerRules) -> tuple[tuple[str, str], ...]:
    """The links into /var that some path goes through. What they lead to is checked in the built image."""
    written = [item.path for items in (config.files, config.directories, config.links) for item in items]
    written += ["/root/" if keys.user == "root" else "/home/" for keys in config.ssh_keys]
    used = {rules.var_link_of(path) for path in written}
    return tuple((link, target) for link, target in sorted(rules.var_links.items()) if link in used)


def _idle_patterns(config: MergedConfig, rules: OwnerRules) -> list[str]:
    """A pattern that matches nothing may be a mistake, or wait for a configuration that another pool has."""
    items = [item.path for kind in (config.files, config.directories, config.links) for item in kind]
    candidates = [Candidate(rules.place(path), path, FileType.FILE) for path in items]
    candidates += [
        Candidate(f"/etc/systemd/system/{name}", f"/usr/lib/systemd/system/{name}", FileType.FILE)
        for unit in config.units
        for name in (unit.name, *(f"{unit.name}.d/{dropin.name}" for dropin in unit.dropins))
    ]
    used = {pattern for candidate in candidates for pattern in rules.patterns_for(candidate)}
    return [
        f"No path of the configuration matches {pattern} of owners." for pattern in rules.owners if pattern not in used
    ]
