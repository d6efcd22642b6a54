# SPDX-License-Identifier: GPL-3.0-or-later
"""The option specifications of the modules that talk to registries, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import (
    BuildRequest,
    check_authfile,
    check_request,
    input_error,
    read_containerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)

REGISTRY_SPEC: dict[str, Any] = {
    "authfile": {"type": "path"},
    "validate_certs": {"type": "bool"},
}
DIGEST_INFO_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    "image": {"type": "str", "required": True},
    "platforms": {"type": "list", "elements": "str", "default": []},
    "must_exist": {"type": "bool", "default": True},
    "with_layers": {"type": "bool", "default": False},
}
BUILD_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    "image": {"type": "str", "required": True},
    "base": {"type": "str"},
    "containerfile": {"type": "path"},
    "containerfile_content": {"type": "str"},
    "context": {"type": "path"},
    "build_args": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "push": {"type": "bool", "default": True},
    "engine": {"type": "str", "choices": ["auto", "buildah", "podman"], "default": "auto"},
    "isolation": {"type": "str", "choices": ["auto", "oci", "rootless", "chroot"], "default": "auto"},
    "build_timeout": {"type": "int", "default": 7200},
    "work_dir": {"type": "path", "default": "~/.cache/imagemode-build"},
    "layer_cache": {"type": "bool", "default": True},
    "force": {"type": "bool", "default": False},
}


def registry_access(params: Mapping[str, Any]) -> RegistryAccess:
    """How to reach registries. Raises BuildError for a credentials file that is not there."""
    check_authfile(params["authfile"])
    return RegistryAccess(params["authfile"], params["validate_certs"])


def registry_reference(option: str, text: str) -> ImageReference:
    """The reference that an option names, in full. Raises BuildError of category input."""
    try:
        return ImageReference.parse(text).require_registry()
    except InvalidReference as error:
        raise input_error(f"The option {option}: {error}") from error


def build_request(params: Mapping[str, Any]) -> BuildRequest:
    """The request that the options make. Raises BuildError of category input."""
    path = Path(params["containerfile"]) if params["containerfile"] else None
    image = registry_reference("image", params["image"])
    request = BuildRequest(
        image=image,
        base=registry_reference("base", params["base"]) if params["base"] else None,
        containerfile=read_containerfile(path, params["containerfile_content"]),
        containerfile_path=path.absolute() if path else None,
        context=Path(params["context"]).absolute() if params["context"] else None,
        build_args=_texts(params["build_args"]),
        labels=_texts(params["labels"]),
        push=params["push"],
        access=registry_access(params),
        engine=params["engine"],
        isolation=params["isolation"],
        build_timeout=float(params["build_timeout"]),
        work_dir=Path(params["work_dir"]).absolute(),
        layer_cache=params["layer_cache"],
        force=params["force"],
    )
    check_request(request)
    return request


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as an engine takes them; YAML's true and null become the words that a person would have typed."""
    return {
        str(name): str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        for name, value in values.items()
    }
