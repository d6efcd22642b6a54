# SPDX-License-Identifier: GPL-3.0-or-later
"""What may change on a node without a reboot, in the words of OpenShift's NodeDisruptionPolicy.

The built-in rules are those of machine-config-operator pkg/apihelpers/apihelpers.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

REBOOT = "Reboot"
_PLAIN = (REBOOT, "Drain", "DaemonReload", "None", "Special")
_OF_A_SERVICE = {"Reload": "reload", "Restart": "restart"}

Actions = tuple[str, ...]


class PolicyNotUnderstood(ValueError):
    """A policy is not of the shape that OpenShift takes. The message names the place."""


@dataclass(frozen=True)
class PolicyRule:
    """What is to be done after a change at a path, or of a unit, such as `("Reload crio.service",)`."""

    name: str
    actions: Actions

    @property
    def needs_reboot(self) -> bool:
        """Whether a reboot is among the actions, which then is all of them."""
        return REBOOT in self.actions

    @property
    def to_do(self) -> Actions:
        """The actions without the one that stands for none."""
        return () if self.actions == ("None",) else self.actions


@dataclass(frozen=True)
class DisruptionPolicy:
    """Rules by path of a file or directory, by name of a unit, and for SSH keys."""

    files: Mapping[str, Actions]
    units: Mapping[str, Actions]
    sshkey: Actions

    def for_path(self, path: str, place: Callable[[str], str] = lambda path: path) -> PolicyRule | None:
        """The rule whose path is the longest that is this one or a directory above it; None means a reboot.

        `place` says where a path of a rule really is, for links such as /usr/local.
        """
        found = [
            PolicyRule(rule, actions)
            for rule, actions in self.files.items()
            if path == place(rule) or path.startswith(f"{place(rule)}/")
        ]
        return max(found, key=lambda rule: len(place(rule.name)), default=None)

    def for_unit(self, name: str) -> PolicyRule | None:
        """The rule of a unit by its exact name; None means a reboot."""
        return PolicyRule(name, self.units[name]) if name in self.units else None


def _restart(*services: str) -> Actions:
    return tuple(f"Restart {service}" for service in services)


_RELOAD_CRIO = ("Reload crio.service",)
_UPDATE_TRUST = "coreos-update-ca-trust.service"
_ANCHORS = "/etc/pki/ca-trust/source/anchors"

BUILT_IN = DisruptionPolicy(
    files={
        "/var/lib/kubelet/config.json": ("None",),
        "/etc/machine-config-daemon/no-reboot/containers-gpg.pub": _RELOAD_CRIO,
        "/etc/containers/policy.json": _RELOAD_CRIO,
        "/etc/containers/registries.conf": ("Special",),
        "/etc/containers/registries.d": _RELOAD_CRIO,
        "/etc/crio/policies": _RELOAD_CRIO,
        "/etc/nmstate/openshift": ("None",),
        f"{_ANCHORS}/openshift-config-user-ca-bundle.crt": _restart(_UPDATE_TRUST, "crio.service"),
        "/etc/kubernetes/credential-providers": _restart("kubelet.service"),
        "/etc/systemd/system/kubelet.service.d/40-kubelet-crio-image-credential-provider.conf": (
            "DaemonReload",
            *_restart("kubelet.service"),
        ),
        "/etc/iri-registry": _restart("iri-registry.service"),
        "/usr/local/bin/load-registry-image.sh": _restart("iri-registry.service"),
        f"{_ANCHORS}/iri-root-ca.crt": _restart(_UPDATE_TRUST),
    },
    units={"iri-registry.service": ("DaemonReload", *_restart("iri-registry.service"))},
    sshkey=("None",),
)


def parse_policy(value: object) -> DisruptionPolicy:
    """A user's policy over the built-in one, which it replaces rule by rule. Raises PolicyNotUnderstood."""
    policy = _object("disruption_policy", value, {"files", "units", "sshkey"})
    ssh = policy.get("sshkey")
    return DisruptionPolicy(
        files={**BUILT_IN.files, **_rules("files", policy.get("files"), "path", _check_path)},
        units={**BUILT_IN.units, **_rules("units", policy.get("units"), "name", _check_name)},
        sshkey=BUILT_IN.sshkey
        if ssh is None
        else _actions("sshkey", _object("sshkey", ssh, {"actions"}).get("actions")),
    )


def _rules(place: str, value: object, key: str, check: Callable[[str, str], None]) -> dict[str, Actions]:
    if value is None:
        return {}
    if not isinstance(value, list):
        raise PolicyNotUnderstood(f"disruption_policy.{place} is no list")
    rules: dict[str, Actions] = {}
    for number, item in enumerate(value):
        here = f"disruption_policy.{place}[{number}]"
        rule = _object(here, item, {key, "actions"})
        name = rule.get(key)
        if not isinstance(name, str) or not name:
            raise PolicyNotUnderstood(f"{here} has no {key}")
        if name in rules:
            raise PolicyNotUnderstood(f"{here}: {name} stands there twice")
        check(here, name)
        rules[name] = _actions(here, rule.get("actions"))
    return rules


def _check_path(place: str, path: str) -> None:
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/":
        raise PolicyNotUnderstood(f"{place}: {path!r} is no plain absolute path")


def _check_name(place: str, name: str) -> None:
    if "/" in name or "." not in name:
        raise PolicyNotUnderstood(f"{place}: {name!r} is no name of a unit, such as crio.service")


def _actions(place: str, value: object) -> Actions:
    if not isinstance(value, list) or not value:
        raise PolicyNotUnderstood(f"{place} has no actions; write `- type: None` for none")
    actions = tuple(_action(f"{place}.actions[{number}]", item) for number, item in enumerate(value))
    if len(actions) > 1 and ("None" in actions or REBOOT in actions):
        raise PolicyNotUnderstood(f"{place}: None and {REBOOT} stand alone, and here are {', '.join(actions)}")
    return actions


def _action(place: str, value: object) -> str:
    # YAML makes a null of an unquoted `None` only where it is written `null` or `~`; be kind to both.
    action = _object(place, value, {"type", "reload", "restart"})
    kind = "None" if action.get("type") is None and "type" in action else action.get("type")
    if kind in _PLAIN and kind != "Special":
        if len(action) > 1:
            raise PolicyNotUnderstood(f"{place}: {kind} takes nothing else")
        return str(kind)
    if kind not in _OF_A_SERVICE:
        known = ", ".join(("Reboot", "Drain", "Reload", "Restart", "DaemonReload", "None"))
        raise PolicyNotUnderstood(f"{place} is of type {kind!r}, and there are {known}")
    service = _object(f"{place}.{kind}", action.get(_OF_A_SERVICE[kind]), {"serviceName"}).get("serviceName")
    if not isinstance(service, str) or "." not in service or len(action) != 2:
        raise PolicyNotUnderstood(f"{place} needs {_OF_A_SERVICE[kind]}.serviceName, such as crio.service, alone")
    return f"{kind} {service}"


def _object(place: str, value: object, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PolicyNotUnderstood(f"{place} is no mapping")
    unknown = sorted(str(key) for key in value if key not in keys)
    if unknown:
        raise PolicyNotUnderstood(f"{place} has {', '.join(unknown)}, and may have {', '.join(sorted(keys))}")
    return value
