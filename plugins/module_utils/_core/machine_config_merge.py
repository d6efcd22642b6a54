# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of a role in one, as a machine-config-operator renders them for a pool.

The rules are facts of MergeMachineConfigs (machine-config-operator pkg/controller/common/helpers.go):

- Documents are merged in the order of their names. A pool of one's own (any but master, worker, arbiter) takes those of
  worker first, then its own (docs/custom-pools.md).
- Kernel arguments are strung together, repeated ones included. Extensions too; a repeated one says nothing new.
- The last kernelType that is not `default` wins: no document can go back to `default`.
- FIPS is on if any document says so.
- The last osImageURL wins, and so does the last baseOSExtensionsContainerImage; those in documents that the operator
  generated do not count, as there they only repeat the release.

Arguments of Ignition come before those of MachineConfigs: Ignition runs first on a new host.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import (
    DirectoryEntry,
    FileEntry,
    IgnitionConfig,
    LinkEntry,
    UnitEntry,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_conflicts import require_no_conflicts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import shown
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_merge import merge_ignition
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import (
    ConfigDirectory,
    ConfigFile,
    ConfigLink,
    ConfigUnit,
    DropIn,
    InvalidConfig,
    MergedConfig,
    Origin,
    SshKeys,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_parse import (
    Document,
    MachineConfig,
    read_documents,
    read_machine_config,
    require_role,
)

DEFAULT_FILE_MODE = 0o644
DEFAULT_DIRECTORY_MODE = 0o755
DEFAULT_KERNEL_TYPE = "default"

_WORKER = "worker"
_BUILT_IN_POOLS = ("master", _WORKER, "arbiter")

ACCEPTABLE_FIELDS = (
    *("ignition.config.merge.source", "ignition.config.replace.source", "ignition.proxy.httpProxy"),
    *("ignition.proxy.httpsProxy", "ignition.proxy.noProxy", "ignition.security.tls.certificateAuthorities"),
    *("ignition.timeouts.httpResponseHeaders", "ignition.timeouts.httpTotal", "passwd.groups", "passwd.users.gecos"),
    *("passwd.users.groups", "passwd.users.homeDir", "passwd.users.noCreateHome", "passwd.users.noLogInit"),
    *("passwd.users.noUserGroup", "passwd.users.passwordHash", "passwd.users.primaryGroup", "passwd.users.shell"),
    *("passwd.users.shouldExist", "passwd.users.system", "passwd.users.uid", "storage.directories.overwrite"),
    *("storage.disks", "storage.files.append", "storage.files.contents.source", "storage.filesystems", "storage.luks"),
    "storage.raid",
)
"""Every field that may be unsupported. What lies above one (`storage`, `passwd.users`) stands for all below it."""


def merge(documents: Sequence[tuple[str, Any]], role: str, acceptable: Sequence[str] = ()) -> MergedConfig:
    """What all documents for this role say together. Each document is the name of its file and its parsed content.

    `acceptable` lists fields (`storage.disks`; see ACCEPTABLE_FIELDS) that may be left out. All that cannot be honoured is
    in `unsupported` of the result, and nothing of it is anywhere else; the caller fails unless each is accepted.
    Raises InvalidConfig, with the document and the field, for everything else that is wrong.
    """
    require_role(role)
    accepted = [_acceptable_field(pattern) for pattern in acceptable]
    found = read_documents(documents)
    chosen = _chosen(found, role)
    configs = [read_machine_config(document) for document in chosen]
    ignition = IgnitionConfig()
    for config in configs:
        ignition = merge_ignition(ignition, config.ignition)
    ignition = _without_what_cannot_be_honoured(ignition)
    require_no_conflicts(ignition)
    kernel_type = _kernel_type(configs)
    return MergedConfig(
        role=role,
        sources=tuple(document.name for document in chosen),
        files=tuple(map(_file, ignition.files)),
        directories=tuple(map(_directory, ignition.directories)),
        links=tuple(map(_link, ignition.links)),
        units=tuple(map(_unit, ignition.units)),
        ssh_keys=tuple(SshKeys(user.name, user.keys, user.origin) for user in ignition.users if user.keys),
        kernel_arguments=_kernel_arguments(configs, ignition),
        kernel_arguments_absent=tuple(entry.word for entry in ignition.arguments_absent),
        extensions=_extensions(configs, kernel_type),
        kernel_type=kernel_type,
        fips=any(config.fips for config in configs),
        os_image=_last([config.os_image for config in configs if not config.document.generated]),
        unsupported=tuple(
            replace(entry, accepted=_is_accepted(entry.origin.field, accepted)) for entry in ignition.unsupported
        ),
        extensions_image=_last([config.extensions_image for config in configs if not config.document.generated]),
        left_out=tuple(sorted(document.name for document in found if not any(document is taken for taken in chosen))),
        only_of_worker=role != _WORKER and {document.role for document in chosen} == {_WORKER},
    )


def _chosen(found: Sequence[Document], role: str) -> list[Document]:
    """The documents of the role in the order of merging. A rendered one counts only where it is all there is."""
    roles = {role, None} if role in _BUILT_IN_POOLS else {_WORKER, role, None}
    sources = [document for document in found if document.role in roles and not document.rendered]
    rendered = [document for document in found if document.role == role and document.rendered]
    if not sources and len(rendered) > 1:
        names = ", ".join(document.name for document in rendered)
        raise rendered[0].origin.error(
            f"there are several rendered configs of {role}: {names}. Give only the one that counts"
        )
    chosen = sources or rendered
    if not chosen:
        roles_there = sorted({document.role for document in found if document.role})
        there = f"there are documents for {', '.join(roles_there)}" if roles_there else "there is no document at all"
        raise InvalidConfig("", "role", f"no document is for the role {role}; {there}")
    by_name: dict[str, Document] = {}
    for document in chosen:
        other = by_name.setdefault(document.name, document)
        if other is not document:
            raise document.origin.error(
                f"the name {shown(document.name)} is taken: {other.origin} has it too. Names order the merging; rename one"
            )
    return sorted(chosen, key=lambda document: ((document.role or role) != _WORKER, document.name))


def _without_what_cannot_be_honoured(config: IgnitionConfig) -> IgnitionConfig:
    """Without the files whose content cannot be had; these are named as unsupported instead.

    Only now, as a later document may have given a file a content that can be had.
    """
    unsupported = list(config.unsupported)
    kept = []
    for entry in config.files:
        unsupported += entry.appends
        if entry.content and entry.content.unsupported:
            unsupported.append(entry.content.unsupported)
        elif entry.content or not entry.appends:  # an empty file is not what somebody means who appends
            kept.append(entry)
    return replace(config, files=tuple(kept), unsupported=tuple(dict.fromkeys(unsupported)))


def _file(entry: FileEntry) -> ConfigFile:
    content = entry.content.data if entry.content else b""
    mode = DEFAULT_FILE_MODE if entry.mode is None else entry.mode
    return ConfigFile(entry.path, content, mode, entry.owner.user, entry.owner.group, entry.origin)


def _directory(entry: DirectoryEntry) -> ConfigDirectory:
    mode = DEFAULT_DIRECTORY_MODE if entry.mode is None else entry.mode
    return ConfigDirectory(entry.path, mode, entry.owner.user, entry.owner.group, entry.origin)


def _link(entry: LinkEntry) -> ConfigLink:
    return ConfigLink(entry.path, entry.target, bool(entry.hard), entry.owner.user, entry.owner.group, entry.origin)


def _unit(entry: UnitEntry) -> ConfigUnit:
    """An empty text is no content: the operator writes neither an empty unit nor an empty drop-in, so that one document
    can take back what an earlier one said (machine-config-operator pkg/daemon/file_writers.go).
    """
    dropins = tuple(DropIn(dropin.name, dropin.contents) for dropin in entry.dropins if dropin.contents)
    return ConfigUnit(entry.name, entry.contents or None, entry.enabled, entry.mask, dropins, entry.origin)


def _kernel_type(configs: Sequence[MachineConfig]) -> str:
    return (
        _last([config.kernel_type for config in configs if config.kernel_type != DEFAULT_KERNEL_TYPE])
        or DEFAULT_KERNEL_TYPE
    )


def _kernel_arguments(configs: Sequence[MachineConfig], ignition: IgnitionConfig) -> tuple[str, ...]:
    absent = {entry.word: entry.origin for entry in ignition.arguments_absent}
    words = []
    for config in configs:
        for word, origin in config.kernel_arguments:
            if word in absent:
                raise origin.error(f"{shown(word)} is wanted here, and unwanted by {absent[word]}")
            words.append(word)
    return (*(entry.word for entry in ignition.arguments if entry.word not in words), *words)


def _extensions(configs: Sequence[MachineConfig], kernel_type: str) -> tuple[str, ...]:
    names: dict[str, Origin] = {}
    for config in configs:
        for name, origin in config.extensions:
            names.setdefault(name, origin)
    if "kernel-devel" in names and kernel_type != DEFAULT_KERNEL_TYPE:
        raise names["kernel-devel"].error(
            f"the extension kernel-devel belongs to the default kernel, and the kernelType is {kernel_type}"
        )
    return tuple(names)


def _last(texts: Sequence[str | None]) -> str | None:
    return next((text for text in reversed(texts) if text), None)


def _acceptable_field(pattern: str) -> str:
    field = _plain(pattern)
    if not any(_is_at_or_below(known, field) for known in ACCEPTABLE_FIELDS):
        nearest = difflib.get_close_matches(field, ACCEPTABLE_FIELDS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"these can be: {', '.join(ACCEPTABLE_FIELDS)}"
        raise InvalidConfig("", "acceptable", f"{shown(pattern)} is not a field that can be left out; {hint}")
    return field


def _plain(field: str) -> str:
    """The field as Ignition calls it, whichever entry of whichever list it is in."""
    return re.sub(r"^(items\.)?(spec\.config\.)?", "", re.sub(r"\[\d+\]", "", field))


def _is_accepted(field: str, accepted: Sequence[str]) -> bool:
    return any(_is_at_or_below(_plain(field), pattern) for pattern in accepted)


def _is_at_or_below(field: str, above: str) -> bool:
    return field == above or field.startswith(f"{above}.")
