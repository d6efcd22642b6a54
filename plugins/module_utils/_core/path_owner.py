# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns a path of a configuration: the image, systemd-tmpfiles at boot, or the host. Each path has one owner."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core.disruption_policy import BUILT_IN, DisruptionPolicy
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import PathOwner
from ansible_collections.imagemode.nodes.plugins.module_utils._core.secret_rule import secret_reason
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tmpfiles_d import LARGEST_CONTENT

DEFAULT_VAR_LINKS: Mapping[str, str] = {
    "/home": "/var/home",
    "/root": "/var/roothome",
    "/opt": "/var/opt",
    "/srv": "/var/srv",
    "/mnt": "/var/mnt",
    "/usr/local": "/var/usrlocal",
}
"""Links into /var of Fedora's and Red Hat's ostree systems."""

_FIXED_LINKS: Mapping[str, str] = {
    "/bin": "/usr/bin",
    "/sbin": "/usr/sbin",
    "/lib": "/usr/lib",
    "/lib64": "/usr/lib64",
    "/var/run": "/run",
    "/var/lock": "/run/lock",
    "/media": "/run/media",
}

_TOPS = ("/usr", "/etc", "/var", "/run", "/tmp")  # noqa: S108 # nothing is written there; systemd-tmpfiles does so at boot


class OwnerRefused(ValueError):
    """A path can have no owner, or not the wanted one. The message completes the path: it says why and what to do."""


@dataclass(frozen=True)
class Ownership:
    """The owner of a path, why, and what the disruption policy asks for after a change on the host."""

    owner: PathOwner
    reason: str
    secret: bool = False
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A path that needs an owner. `path` is where it really is, `written` what the configuration calls it."""

    path: str
    written: str
    type: FileType
    mode: int = 0o644
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class OwnerRules:
    """How owners are chosen. `owners` maps patterns of the shell to owners; the longest that matches counts."""

    policy: DisruptionPolicy = BUILT_IN
    owners: Mapping[str, PathOwner] = field(default_factory=dict)
    var_links: Mapping[str, str] = field(default_factory=lambda: DEFAULT_VAR_LINKS)

    def place(self, path: str) -> str:
        """Where a path really is, once links of the base are followed."""
        for link, target in (*_FIXED_LINKS.items(), *self.var_links.items()):
            if path == link or path.startswith(f"{link}/"):
                return self.place(target + path[len(link) :])
        return path

    def var_link_of(self, path: str) -> str | None:
        """The link into /var that a path goes through; None for a path that goes through none."""
        return next((link for link in self.var_links if path == link or path.startswith(f"{link}/")), None)

    def patterns_for(self, candidate: Candidate) -> list[str]:
        """The patterns of `owners` that match a path, the strongest last."""
        found = [
            pattern
            for pattern in self.owners
            if fnmatch.fnmatchcase(candidate.path, pattern) or fnmatch.fnmatchcase(candidate.written, pattern)
        ]
        return sorted(found, key=lambda pattern: (len(pattern), pattern))

    def pattern_for(self, candidate: Candidate) -> str | None:
        """The pattern of `owners` that decides about a path."""
        found = self.patterns_for(candidate)
        return found[-1] if found else None

    def ownership(self, candidate: Candidate) -> Ownership:
        """The owner of a path. Raises OwnerRefused."""
        top = _top_of(candidate.path)
        is_file = candidate.type is FileType.FILE
        secret = secret_reason(candidate.path, candidate.mode, candidate.content) if is_file else None
        pattern = self.pattern_for(candidate)
        rule = self.policy.for_path(candidate.path, self.place) if is_file else None
        actions = rule.to_do if rule is not None else ()
        if secret is not None:
            return self._secret(candidate, top, secret, pattern, actions)
        if pattern is not None:
            return self._wanted(candidate, top, pattern, actions)
        if rule is not None and not rule.needs_reboot and top in ("/etc", "/var"):
            reason = f"the disruption policy for {rule.name} lets it change without a reboot"
            return Ownership(PathOwner.HOST, reason, actions=actions)
        if top in ("/usr", "/etc"):
            return Ownership(PathOwner.IMAGE, f"{top} belongs to the image")
        return _below_var(candidate, top)

    def _secret(
        self, candidate: Candidate, top: str, secret: str, pattern: str | None, actions: tuple[str, ...]
    ) -> Ownership:
        if pattern is not None and self.owners[pattern] is not PathOwner.HOST:
            raise OwnerRefused(
                f"counts as a secret ({secret}), and a secret is never put into an image, whatever owners says for {pattern}. "
                "Leave it to the host, or, if it is none, take out what made it one."
            )
        if top not in ("/etc", "/var"):
            raise OwnerRefused(
                f"counts as a secret ({secret}), so it must not be in an image, and {top} does not belong to the host. "
                "Move it below /etc or /var."
            )
        _check_host_mode(candidate)
        return Ownership(PathOwner.HOST, f"secret, because {secret}", secret=True, actions=actions)

    def _wanted(self, candidate: Candidate, top: str, pattern: str, actions: tuple[str, ...]) -> Ownership:
        owner = self.owners[pattern]
        reason = f"owners says so for {pattern}"
        if owner is PathOwner.IMAGE and top not in ("/usr", "/etc"):
            raise OwnerRefused(
                f"cannot belong to the image, as owners wants for {pattern}: an update of the image leaves {top} alone."
            )
        if owner is PathOwner.TMPFILES:
            if top == "/usr":
                raise OwnerRefused(
                    f"cannot belong to tmpfiles, as owners wants for {pattern}: /usr is read-only at boot."
                )
            if len(candidate.content) > LARGEST_CONTENT:
                raise OwnerRefused(
                    f"cannot belong to tmpfiles, as owners wants for {pattern}: {_too_large(candidate)}."
                )
        if owner is PathOwner.HOST:
            if candidate.type is not FileType.FILE:
                raise OwnerRefused(
                    f"cannot belong to the host, as owners wants for {pattern}: host_files writes files, not directories or links."
                )
            if top not in ("/etc", "/var"):
                raise OwnerRefused(
                    f"cannot belong to the host, as owners wants for {pattern}: {top} is not the host's."
                )
            _check_host_mode(candidate)
            return Ownership(owner, reason, actions=actions)
        return Ownership(owner, reason)


def _below_var(candidate: Candidate, top: str) -> Ownership:
    if len(candidate.content) > LARGEST_CONTENT:
        if top != "/var":
            raise OwnerRefused(f"cannot be made at boot: {_too_large(candidate)}.")
        _check_host_mode(candidate)
        return Ownership(PathOwner.HOST, f"it does not fit tmpfiles.d: {_too_large(candidate)}")
    return Ownership(PathOwner.TMPFILES, f"images leave {top} alone, so it is made at every boot")


def _too_large(candidate: Candidate) -> str:
    return f"it has {len(candidate.content)} bytes, and a line of tmpfiles.d holds {LARGEST_CONTENT}"


def _check_host_mode(candidate: Candidate) -> None:
    if candidate.mode & ~0o777:
        raise OwnerRefused(
            f"belongs to the host and has mode {candidate.mode:04o}: no file there gets set-user-id and the like. Put it into the image."
        )


def check_path(path: str) -> None:
    """Raises OwnerRefused unless a path is absolute, plain and printable."""
    if not path.startswith("/") or path == "/" or not path.isprintable():
        raise OwnerRefused(
            "is no path of a file that an image can have: it must be absolute, without control characters."
        )
    if posixpath.normpath(path) != path or path.startswith("//"):
        raise OwnerRefused("has '.', '..', '//' or a slash at its end in it. Write it plainly.")


def _top_of(path: str) -> str:
    top = "/" + path.split("/", 2)[1]
    if top not in _TOPS:
        raise OwnerRefused(
            f"is below {top}, which no image brings to a node. Only /usr, /etc, /var, /run and /tmp can be had."
        )
    if path == top:
        raise OwnerRefused("is a directory of the system, which no configuration may replace.")
    return top
