# SPDX-License-Identifier: GPL-3.0-or-later
"""The option specifications of the modules that talk to registries, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    VERSION_LABEL,
    BuildRequest,
    ImageContents,
    Release,
    check_authfile,
    check_ca_file,
    check_request,
    input_error,
    read_containerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_secret import build_secrets
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._build.repositories import REPOSITORY_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import SIGN_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)

CACHE = "~/.cache/imagemode-build"
REGISTRY_SPEC: dict[str, Any] = {
    "authfile": {"type": "path"},
    "validate_certs": {"type": "bool"},
    "ca_file": {"type": "path"},
}
DIGEST_INFO_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    "image": {"type": "str"},
    "release": {"type": "str"},
    "release_component": {"type": "str"},
    "work_dir": {"type": "path", "default": CACHE},
    "platforms": {"type": "list", "elements": "str", "default": []},
    "must_exist": {"type": "bool", "default": True},
    "with_layers": {"type": "bool", "default": False},
}
DIGEST_INFO_RULES: dict[str, Any] = {
    "required_one_of": [("image", "release")],
    "mutually_exclusive": [("image", "release")],
    "required_together": [("release", "release_component")],
}
COMPONENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "tree": {"type": "str"},
    "dest": {"type": "str"},
    "rpms": {"type": "str"},
    "version": {"type": "str"},
}
SECRET_SPEC: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "src": {"type": "path"},
    "value": {"type": "str", "no_log": True},
    "version": {"type": "str", "default": ""},
}
CONTENT_SPEC: dict[str, Any] = {
    "components": {"type": "list", "elements": "dict", "default": [], "options": COMPONENT_SPEC},
    "packages": {"type": "list", "elements": "str", "default": []},
    "extensions": {"type": "list", "elements": "str", "default": []},
    "extension_packages": {"type": "dict", "default": {}},
    "kernel_type": {"type": "str", "choices": ["default", "realtime", "64k-pages"]},
    "kernel_arguments": {"type": "list", "elements": "str", "default": []},
    "machine_config": {"type": "path"},
    "repositories": {"type": "list", "elements": "dict", "default": [], "options": REPOSITORY_SPEC},
    "entitlement": {"type": "str", "default": "none"},
}
BUILD_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    **CONTENT_SPEC,
    "image": {"type": "str", "required": True},
    "base": {"type": "str"},
    "release": {"type": "str"},
    "release_component": {"type": "str"},
    "containerfile": {"type": "path"},
    "containerfile_content": {"type": "str"},
    "containerfile_final": {"type": "path"},
    "containerfile_final_content": {"type": "str"},
    "context": {"type": "path"},
    "build_args": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "version": {"type": "str"},
    "secrets": {"type": "list", "elements": "dict", "default": [], "options": SECRET_SPEC, "no_log": False},
    "platforms": {"type": "list", "elements": "str", "default": []},
    "push": {"type": "bool", "default": True},
    "base_authfile": {"type": "path"},
    "push_authfile": {"type": "path"},
    "sign": SIGN_SPEC,
    "checks": {"type": "str", "choices": ["fail", "warn", "skip"], "default": "fail"},
    "engine": {"type": "str", "choices": ["auto", "buildah", "podman"], "default": "auto"},
    "isolation": {"type": "str", "choices": ["auto", "oci", "rootless", "chroot"], "default": "auto"},
    "build_timeout": {"type": "int", "default": 7200},
    "work_dir": {"type": "path", "default": CACHE},
    "layer_cache": {"type": "bool", "default": True},
    "force": {"type": "bool", "default": False},
    "progress_file": {"type": "path"},
}
BUILD_RULES: dict[str, Any] = {
    "mutually_exclusive": [
        ("containerfile", "containerfile_content"),
        ("containerfile_final", "containerfile_final_content"),
        ("base", "release"),
    ],
    "required_together": [("release", "release_component")],
}


def registry_access(params: Mapping[str, Any], authfile: str = "authfile") -> RegistryAccess:
    """How to reach registries with the credentials of an option. Raises BuildError for a file that is not there."""
    chosen = params.get(authfile) or params["authfile"]
    check_authfile(chosen)
    check_ca_file(params["ca_file"])
    access = RegistryAccess(chosen, params["validate_certs"], params["ca_file"])
    return access.with_ca(Path(params.get("work_dir") or CACHE).expanduser() / "certificates")


def registry_reference(option: str, text: str) -> ImageReference:
    """The reference that an option names, in full. Raises BuildError of category input."""
    try:
        return ImageReference.parse(text).require_registry()
    except InvalidReference as error:
        raise input_error(f"The option {option}: {error}") from error


def build_request(params: Mapping[str, Any]) -> BuildRequest:
    """The request that the options make. Raises BuildError of category input."""
    version = {VERSION_LABEL: params["version"]} if params["version"] else {}
    request = BuildRequest(
        image=registry_reference("image", params["image"]),
        base=registry_reference("base", params["base"]) if params["base"] else None,
        release=_release(params),
        containerfile=read_containerfile(_path(params["containerfile"]), params["containerfile_content"]),
        final=read_containerfile(
            _path(params["containerfile_final"]), params["containerfile_final_content"], "containerfile_final"
        ),
        contents=_contents(params),
        context=Path(params["context"]).absolute() if params["context"] else None,
        build_args=_texts(params["build_args"]),
        labels={**_texts(params["labels"]), **version},
        secrets=build_secrets(params["secrets"]),
        platforms=tuple(sorted(params["platforms"])),
        push=params["push"],
        access=registry_access(params, "push_authfile"),
        base_access=registry_access(params, "base_authfile"),
        sign=params["sign"],
        checks=params["checks"],
        engine=params["engine"],
        isolation=params["isolation"],
        build_timeout=float(params["build_timeout"]),
        work_dir=Path(params["work_dir"]).expanduser().absolute(),
        layer_cache=params["layer_cache"],
        force=params["force"],
        progress_file=_path(params["progress_file"]),
    )
    check_request(request)
    return request


def _release(params: Mapping[str, Any]) -> Release | None:
    if not params["release"]:
        return None
    return Release(registry_reference("release", params["release"]), params["release_component"])


def _contents(params: Mapping[str, Any]) -> ImageContents:
    packages = {name: _words(name, words) for name, words in params["extension_packages"].items()}
    machine_config = _path(params["machine_config"])
    return ImageContents(
        components=tuple(params["components"]),
        packages=tuple(params["packages"]),
        extensions=tuple(params["extensions"]),
        extension_packages=packages,
        kernel_type=params["kernel_type"],
        kernel_arguments=tuple(params["kernel_arguments"]),
        machine_config=machine_config.absolute() if machine_config else None,
        repositories=tuple(params["repositories"]),
        entitlement=params["entitlement"],
    )


def _words(name: str, words: object) -> tuple[str, ...]:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise input_error(f"The option extension_packages: {name} needs a list of package names.")
    return tuple(words)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as an engine takes them; YAML's true and null become the words that a person would have typed."""
    return {
        str(name): str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        for name, value in values.items()
    }
