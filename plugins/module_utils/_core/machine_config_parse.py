# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents that people hand over: MachineConfigs, Lists of them, and bare Ignition configs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import IgnitionConfig
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import (
    Fields,
    kind_of,
    require_printable,
    require_text,
    shown,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_parse import (
    parse_ignition,
    read_kernel_arguments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin

API_VERSION = "machineconfiguration.openshift.io/v1"
ROLE_LABEL = "machineconfiguration.openshift.io/role"
GENERATED_ANNOTATION = "machineconfiguration.openshift.io/generated-by-controller-version"

_OBJECT = ("apiVersion", "kind", "metadata", "spec")
_METADATA = (
    *("annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers"),
    *("generateName", "generation", "labels", "managedFields", "name", "namespace", "ownerReferences"),
    *("resourceVersion", "selfLink", "uid"),
)
_SPEC = (
    *("baseOSExtensionsContainerImage", "config", "extensions", "fips", "kernelArguments", "kernelType", "osImageURL"),
)
_LIST_KINDS = ("List", "MachineConfigList")
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\Z")
_ROLE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_RENDERED = re.compile(r"rendered-(.+)-[0-9a-f]{32}\Z")
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
_IMAGE = re.compile(r"[A-Za-z0-9\[][!-~]{0,1023}\Z")
_KERNEL_TYPES = ("default", "realtime", "64k-pages")


@dataclass(frozen=True)
class Document:
    """A document whose name and role are known, and whose content is not looked at yet.

    `role` None: a bare Ignition config, which is for every role. `rendered`: what a machine-config-operator made out of
    the other documents of the role. `generated`: written by the operator itself, not by a person.
    """

    name: str
    role: str | None
    origin: Origin
    content: Any
    rendered: bool = False
    generated: bool = False


@dataclass(frozen=True)
class MachineConfig:
    """What one document says; None, False and empty where it says nothing."""

    document: Document
    ignition: IgnitionConfig
    kernel_arguments: tuple[tuple[str, Origin], ...] = ()
    extensions: tuple[tuple[str, Origin], ...] = ()
    kernel_type: str | None = None
    fips: bool = False
    os_image: str | None = None
    extensions_image: str | None = None


def read_documents(documents: Sequence[tuple[str, Any]]) -> list[Document]:
    """Names and roles of all documents, each given with the name of its file. Empty ones (`---` at the end of a file) are
    skipped. Raises InvalidConfig.
    """
    return [
        found for name, value in documents if value is not None for found in _read_document(value, Origin(name, ""))
    ]


def require_role(role: str) -> None:
    """Raises InvalidConfig if this cannot be a role."""
    if not _ROLE.match(role):
        raise Origin("", "role").error(f"{shown(role)} is not a role; a role is a name such as worker, master or infra")


def _read_document(value: Any, origin: Origin) -> Iterator[Document]:
    if not isinstance(value, dict):
        raise origin.error(f"the document is {kind_of(value)}, but has to be a MachineConfig or an Ignition config")
    if value.get("kind") in _LIST_KINDS:
        for place, item in Fields(value, origin, ("apiVersion", "kind", "metadata", "items")).entries("items"):
            if isinstance(item, dict) and item.get("kind") in _LIST_KINDS:
                raise place.error("there is a List in a List")
            yield from _read_document(item, place)
    elif "kind" in value or "apiVersion" in value or "spec" in value:
        yield _read_machine_config(value, origin)
    else:
        # Butane is refused there, with the right advice.
        yield Document(_plain_name(origin.document), None, origin, value)


def _plain_name(file: str) -> str:
    """The name by which a bare Ignition config is sorted among the others: that of its file, without the ending."""
    name = posixpath.basename(file) or file
    stem, ending = posixpath.splitext(name)
    return stem if stem and ending.lower() in (".ign", ".json", ".yaml", ".yml") else name


def _read_machine_config(value: Any, origin: Origin) -> Document:
    kind = value.get("kind")
    if kind != "MachineConfig":
        what = f"the kind is {shown(kind)}" if isinstance(kind, str) else "the field kind is missing"
        raise origin.error(
            f"{what}, and only MachineConfig can be rendered. Of other kinds, such as KubeletConfig, a cluster makes "
            "MachineConfigs: export those"
        )
    fields = Fields(value, origin, _OBJECT)
    if fields.required_text("apiVersion") != API_VERSION:
        raise origin.below("apiVersion").error(f"a MachineConfig has the apiVersion {API_VERSION}")
    metadata = fields.object("metadata", _METADATA)
    name = metadata.required_text("name")
    if not _NAME.match(name):
        raise metadata.origin.below("name").error(
            f"{shown(name)} is not the name of an object: small letters, digits, - and . only"
        )
    origin = _named(origin, name)
    generated = GENERATED_ANNOTATION in _texts(metadata, "annotations")
    role = _texts(metadata, "labels").get(ROLE_LABEL)
    rendered = _RENDERED.match(name)
    if role is None and rendered:
        return Document(name, rendered.group(1), origin, value, rendered=True)
    if not role:
        raise origin.below("metadata.labels").error(
            f"the label {ROLE_LABEL} is missing, so no pool would take this MachineConfig; set it to worker, for example"
        )
    return Document(name, role, origin, value, generated=generated)


def _named(origin: Origin, name: str) -> Origin:
    """The place with the name of the object, where the name of the file does not tell it."""
    told = not origin.field and name in (origin.document, _plain_name(origin.document))
    return origin if told else Origin(f"{origin.document} ({name})", origin.field)


def _texts(metadata: Fields, name: str) -> dict[str, str]:
    """Labels or annotations."""
    value = metadata.value(name)
    origin = metadata.origin.below(name)
    fields = Fields({} if value is None else value, origin, None)
    return {key: require_text(fields.value(key), origin) for key in value or () if fields.has(key)}


def read_machine_config(document: Document) -> MachineConfig:
    """The content of a document. Raises InvalidConfig."""
    if document.role is None:
        return MachineConfig(document, parse_ignition(document.content, document.origin))
    spec = Fields(document.content, document.origin, _OBJECT).object("spec", _SPEC)
    kernel_type = spec.text("kernelType") or None
    if kernel_type is not None and kernel_type not in _KERNEL_TYPES:
        raise spec.origin.below("kernelType").error(
            f"{shown(kernel_type)} is not a kernel type; there are {', '.join(_KERNEL_TYPES)}"
        )
    return MachineConfig(
        document,
        parse_ignition(spec.value("config"), spec.origin.below("config")),
        tuple(
            (word, origin)
            for origin, text in spec.texts("kernelArguments")
            for word in read_kernel_arguments(text, origin)
        ),
        tuple((_read_extension(text, origin), origin) for origin, text in spec.texts("extensions")),
        kernel_type,
        bool(spec.boolean("fips")),
        _read_image(spec, "osImageURL"),
        _read_image(spec, "baseOSExtensionsContainerImage"),
    )


def _read_extension(text: str, origin: Origin) -> str:
    if not _EXTENSION.match(text):
        raise origin.error(f"{shown(text)} is not the name of an extension, such as usbguard or kerberos")
    return text


def _read_image(spec: Fields, name: str) -> str | None:
    text = spec.text(name)
    if not text:
        return None
    origin = spec.origin.below(name)
    if not _IMAGE.match(require_printable(text, origin)):
        raise origin.error(f"{shown(text)} is not the name of an image, such as registry.example.com/os@sha256:…")
    return text
