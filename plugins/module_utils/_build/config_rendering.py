# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to a result: what machine_config_render does between its argument specification and its exit."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_sources import YamlLoader, read_sources
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._build.rendered_directory import HOST_FILES, MANIFEST
from ansible_collections.imagemode.nodes.plugins.module_utils._build.rendered_output import (
    OutputItem,
    found_items,
    output_items,
    remove_unfinished,
    write_items,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.config_render import (
    RenderOptions,
    RenderRefused,
    SshKeysFile,
    render,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.disruption_policy import (
    PolicyNotUnderstood,
    parse_policy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import InvalidConfig, Unsupported
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_merge import merge
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import DEFAULT_VAR_LINKS, OwnerRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    PathOwner,
    RenderedConfig,
    RenderedPath,
    Rendering,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config_json import (
    ManifestNotUnderstood,
    parse_manifest,
)

RENDER_SPEC: dict[str, Any] = {
    "sources": {"type": "list", "elements": "path", "default": []},
    "documents": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "role": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "acceptable": {"type": "list", "elements": "str", "default": []},
    "disruption_policy": {"type": "dict", "default": {}},
    "owners": {"type": "dict", "default": {}},
    "var_links": {"type": "dict", "default": {}},
    "ssh_keys_file": {"type": "str", "choices": [one.value for one in SshKeysFile], "default": SshKeysFile.IGNITION.value},
    "architecture": {"type": "str"},
}  # fmt: skip


class InvalidOption(ValueError):
    """An option is wrong. The message names it."""


def render_machine_config(params: Mapping[str, Any], check_mode: bool, load_yaml: YamlLoader) -> Outcome:
    """The result of machine_config_render."""
    dest = Path(params["dest"])
    try:
        options = render_options(params)
        documents = read_sources([Path(source) for source in params["sources"]], load_yaml)
        documents += [(f"documents[{number}]", value) for number, value in enumerate(params["documents"])]
        rendering = render(merge(documents, params["role"], params["acceptable"]), options)
        wanted, found = output_items(rendering), found_items(dest)
        if not check_mode:
            remove_unfinished(dest)
            if wanted != found:
                write_items(dest, wanted)
    except (InvalidConfig, InvalidOption) as error:
        return _failed(str(error), [str(error)])
    except PolicyNotUnderstood as error:
        return _failed(f"{error}.", [str(error)])
    except RenderRefused as refusal:
        return _failed(str(refusal), list(refusal.problems))
    except BuildError as error:
        return _failed(error.failure.message, [error.failure.message])
    except OSError as error:
        return _failed(f"{dest} could not be written: {error}. What was there before is as it was.", [str(error)])
    result = {
        **_result(rendering.config),
        "changed": wanted != found,
        "dest": str(dest),
        "host_files": str(dest / HOST_FILES),
        "diff": _diff(str(dest), rendering, wanted, found),
        "msg": _summary(rendering.config, wanted != found),
    }
    accepted = [f"Left out: {_place(one)}: {one.reason}." for one in rendering.config.unsupported]
    return Outcome(result, warnings=(*rendering.config.warnings, *accepted))


def render_options(params: Mapping[str, Any]) -> RenderOptions:
    """How to render. Raises InvalidOption, PolicyNotUnderstood."""
    rules = OwnerRules(
        policy=parse_policy(params["disruption_policy"]),
        owners=_owners(params["owners"]),
        var_links=_var_links(params["var_links"]),
    )
    return RenderOptions(rules, SshKeysFile(params["ssh_keys_file"]), params["architecture"] or None)


def _owners(option: Mapping[str, Any]) -> dict[str, PathOwner]:
    owners = {}
    for pattern, owner in option.items():
        if not str(pattern).startswith("/"):
            raise InvalidOption(f"owners: the pattern {pattern!r} does not begin with a slash, and all paths do.")
        try:
            owners[str(pattern)] = PathOwner(owner)
        except ValueError:
            known = ", ".join(one.value for one in PathOwner)
            raise InvalidOption(f"owners: {pattern} is given to {owner!r}, and there are {known}.") from None
    return owners


def _var_links(option: Mapping[str, Any]) -> dict[str, str]:
    links = dict(DEFAULT_VAR_LINKS)
    for link, target in option.items():
        if not target:
            links.pop(str(link), None)
            continue
        for path in (link, target):
            if not str(path).startswith("/") or posixpath.normpath(str(path)) != path:
                raise InvalidOption(f"var_links: {path!r} is no plain absolute path.")
        if not target.startswith("/var/") or fnmatch.fnmatch(link, "/var*"):
            raise InvalidOption(
                f"var_links: a link into /var leads from elsewhere to below /var, not from {link} to {target}."
            )
        links[str(link)] = str(target)
    return links


def _result(config: RenderedConfig) -> dict[str, Any]:
    return {
        "role": config.role,
        "sources": list(config.sources),
        "left_out": list(config.left_out),
        "files": [_file_result(file) for file in config.files],
        "units": [
            {"name": unit.name, "given": unit.given, "enabled": unit.enabled, "masked": unit.masked, "links": list(unit.links)}
            for unit in config.units
        ],
        "kargs": list(config.kargs),
        "kargs_absent": list(config.kargs_absent),
        "presets": list(config.presets),
        "masks": list(config.masks),
        "extensions": list(config.extensions),
        "kernel_type": config.kernel_type,
        "fips": config.fips,
        "os_image": config.os_image,
        "extensions_image": config.extensions_image,
        "unsupported": [
            {"document": one.origin.document, "field": one.origin.field, "reason": one.reason} for one in config.unsupported
        ],
        "content_hash": config.image_hash,
    }  # fmt: skip


def _file_result(file: RenderedPath) -> dict[str, Any]:
    return {
        "path": file.path,
        "owner": file.owner.value,
        "reason": file.reason,
        "type": file.type.value,
        "mode": f"{file.mode:04o}",
        "user": str(file.user),
        "group": str(file.group),
        "size": file.size,
        "sha256": file.sha256,
        "target": file.target,
        "secret": file.secret,
        "actions": list(file.actions),
        "document": file.origin.document if file.origin else None,
        "field": file.origin.field if file.origin else None,
    }


def _diff(
    dest: str, rendering: Rendering, wanted: Mapping[str, OutputItem], found: Mapping[str, OutputItem]
) -> dict[str, str]:
    """Paths with owners and hashes, before and after. Of a secret only that it is another one."""
    try:
        before = parse_manifest(found[MANIFEST].content.decode()) if MANIFEST in found else None
    except (ManifestNotUnderstood, UnicodeDecodeError):
        before = None
    other = {
        file.path
        for file in rendering.config.files
        if file.secret and wanted["host" + file.path] != found.get("host" + file.path, wanted["host" + file.path])
    }
    return {
        "before_header": dest,
        "after_header": dest,
        "before": _text(before, frozenset()) if before else "",
        "after": _text(rendering.config, frozenset(other)),
    }


def _text(config: RenderedConfig, other_secrets: frozenset[str]) -> str:
    lines = [
        " ".join(
            [
                file.path,
                file.owner.value,
                f"{file.mode:04o}",
                f"{file.user}:{file.group}",
                _content(file, other_secrets),
            ]
        )
        for file in config.files
    ]
    for name, words in (
        ("kernel arguments", config.kargs),
        ("kernel arguments to be without", config.kargs_absent),
        ("presets", config.presets),
        ("extensions", config.extensions),
        ("kernel", (config.kernel_type,)),
        ("FIPS", ("yes" if config.fips else "no",)),
    ):
        lines.append(f"{name}: {' '.join(words) or 'none'}")
    return "".join(f"{line}\n" for line in lines)


def _content(file: RenderedPath, other_secrets: frozenset[str]) -> str:
    if file.secret:
        return "(another secret)" if file.path in other_secrets else "(a secret)"
    if file.type is FileType.LINK:
        return f"-> {file.target}"
    return f"sha256:{(file.sha256 or '')[:12]}" if file.type is FileType.FILE else file.type.value


def _summary(config: RenderedConfig, changed: bool) -> str:
    counts = ", ".join(f"{len(config.owned_by(owner))} of {owner.value}" for owner in PathOwner)
    return f"{len(config.files)} paths of {len(config.sources)} documents for {config.role}: {counts}" + (
        "." if changed else "; nothing changed."
    )


def _place(one: Unsupported) -> str:
    return ", ".join(part for part in (one.origin.document, one.origin.field) if part)


def _failed(message: str, problems: list[str]) -> Outcome:
    return Outcome({"changed": False, "msg": message, "problems": problems}, failed=True)
