# SPDX-License-Identifier: GPL-3.0-or-later
"""Where registries are really reached: mirrors, plain HTTP, blocked ones. Renders containers-registries.conf(5)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

REGISTRIES_CONF = "/etc/containers/registries.conf.d/50-imagemode.conf"

_LOCATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*\Z")
_WILDCARD = re.compile(r"\*\.[A-Za-z0-9][A-Za-z0-9.-]*\Z")


@dataclass(frozen=True)
class Mirror:
    """Another place with the same content. `pull`: all, digest-only or tag-only."""

    location: str
    insecure: bool = False
    pull: str = "all"


@dataclass(frozen=True)
class RegistryRule:
    """What holds for all images whose name begins with `prefix`; it is replaced by `location` or by that of a mirror."""

    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirror_by_digest_only: bool = False
    mirrors: tuple[Mirror, ...] = ()

    @classmethod
    def from_option(cls, option: Mapping[str, Any]) -> RegistryRule:
        """One item of the option `registries`. Raises Refusal."""
        location, prefix = option.get("location") or "", option.get("prefix") or option.get("location") or ""
        where = f"imagemode_registries, {prefix or 'an entry'}"
        if not (_LOCATION.match(prefix) or _WILDCARD.match(prefix)):
            raise Refusal(
                f"{where}: name what it is for as location or prefix, such as registry.example.com:5000/fleet, without https://."
            )
        if _WILDCARD.match(prefix) and location == prefix:
            location = ""
        if location and not _LOCATION.match(location):
            raise Refusal(
                f"{where}: the location {location!r} is no registry or repository. Leave out https:// and any tag."
            )
        mirrors = tuple(
            Mirror(str(mirror["location"]), bool(mirror.get("insecure")), mirror.get("pull") or "all")
            for mirror in option.get("mirrors") or []
        )
        for mirror in mirrors:
            if not _LOCATION.match(mirror.location):
                raise Refusal(
                    f"{where}: the mirror {mirror.location!r} is no registry or repository. Leave out https:// and any tag."
                )
        digests = bool(option.get("mirror_by_digest_only"))
        if digests and any(mirror.pull != "all" for mirror in mirrors):
            raise Refusal(
                f"{where}: say mirror_by_digest_only, or pull for each mirror. With both, no image could be pulled."
            )
        return cls(prefix, location, bool(option.get("insecure")), bool(option.get("blocked")), digests, mirrors)

    def lines(self) -> Iterator[str]:
        """The rule as TOML."""
        yield "[[registry]]"
        yield f"prefix = {_string(self.prefix)}"
        if self.location:
            yield f"location = {_string(self.location)}"
        for key, value in (("insecure", self.insecure), ("blocked", self.blocked)):
            if value:
                yield f"{key} = true"
        if self.mirror_by_digest_only:
            yield "mirror-by-digest-only = true"
        for mirror in self.mirrors:
            yield ""
            yield "[[registry.mirror]]"
            yield f"location = {_string(mirror.location)}"
            if mirror.insecure:
                yield "insecure = true"
            if mirror.pull != "all":
                yield f"pull-from-mirror = {_string(mirror.pull)}"

    def places(self, scope: str) -> Iterator[str]:
        """The places, other than itself, where images of a scope are looked for under this rule.

        A registry's settings for signatures are found by the place that is asked, not by the image's name.
        """
        for target in (self.location, *(mirror.location for mirror in self.mirrors)):
            if not target or target == self.prefix:
                continue
            rest = self._rest(scope)
            if rest is not None:
                yield f"{target}{rest}"

    def _rest(self, scope: str) -> str | None:
        if self.prefix.startswith("*."):
            host, slash, path = scope.partition("/")
            return f"{slash}{path}" if host.partition(":")[0].endswith(self.prefix[1:]) else None
        if scope == self.prefix or scope.startswith(f"{self.prefix}/"):
            return scope[len(self.prefix) :]
        return "" if self.prefix.startswith(f"{scope}/") else None


def parse_registries(options: Sequence[Mapping[str, Any]]) -> tuple[RegistryRule, ...]:
    """The rules of the option `registries`. Raises Refusal, also for two rules of one prefix."""
    rules = tuple(RegistryRule.from_option(option) for option in options)
    prefixes = [rule.prefix for rule in rules]
    twice = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
    if twice:
        raise Refusal(f"imagemode_registries: {', '.join(twice)} is there twice, and only one of the two would count.")
    return rules


def render_registries(rules: Sequence[RegistryRule]) -> str:
    """The file with all rules."""
    blocks = ["# Managed by imagemode.nodes", *("\n".join(rule.lines()) for rule in rules)]
    return "\n\n".join(blocks) + "\n"


def _string(text: str) -> str:
    """A TOML basic string; of the names that get here, JSON makes the same."""
    return json.dumps(text)
