# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of a configuration: their files in /usr, where defaults belong, and in /etc what makes them start or never start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import ConfigUnit
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import (
    Candidate,
    OwnerRefused,
    OwnerRules,
    Ownership,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    PRESET_PATH,
    PathOwner,
    RenderedUnit,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_paths import RenderedPaths
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unit_enablement import (
    LINKS_DIRECTORY,
    KnownUnit,
    UnitName,
    enablement,
    preset_text,
)

IMAGE_UNITS = "/usr/lib/systemd/system"
_UNIT_DIRECTORIES = (LINKS_DIRECTORY, "/usr/local/lib/systemd/system", IMAGE_UNITS)
_ENABLED = Ownership(PathOwner.IMAGE, "makes a unit start, as systemctl enable would")
_MASKED = Ownership(PathOwner.IMAGE, "masks a unit")
_PRESET = Ownership(PathOwner.IMAGE, "tells first boot and systemctl preset what is enabled")
_SECRET_MODE, _MODE = 0o600, 0o644


@dataclass(frozen=True)
class RenderedUnits:
    """Units, and what the build has to do for those that live in the base."""

    units: tuple[RenderedUnit, ...]
    presets: tuple[str, ...]
    masks: tuple[str, ...]


def render_units(units: Sequence[ConfigUnit], rules: OwnerRules, paths: RenderedPaths) -> RenderedUnits:
    """Add the files of units to `paths`, which has the configuration's own files already."""
    units = sorted(units, key=lambda unit: unit.name)
    for unit in units:
        _UnitFiles(unit, rules, paths).take()
    switched = _Switching(units, paths)
    rendered = tuple(switched.rendered(unit) for unit in units)
    if switched.states:
        paths.file(PRESET_PATH, preset_text(switched.states).encode(), _MODE, _PRESET, None)
    masks = tuple(unit.name for unit in units if unit.mask)
    return RenderedUnits(rendered, tuple(sorted(switched.of_the_base)), masks)


class _UnitFiles:
    """The text of a unit and its drop-ins."""

    def __init__(self, unit: ConfigUnit, rules: OwnerRules, paths: RenderedPaths) -> None:
        self._unit = unit
        self._rules = rules
        self._paths = paths

    def take(self) -> None:
        name = self._unit.name
        if self._unit.contents:
            self._text(name, self._unit.contents)
        for dropin in self._unit.dropins:
            if dropin.contents:
                self._text(f"{name}.d/{dropin.name}", dropin.contents)
        if self._unit.mask:
            self._paths.link(f"{LINKS_DIRECTORY}/{name}", "/dev/null", _MASKED, self._unit.origin)

    def _text(self, name: str, text: str) -> None:
        origin = self._unit.origin
        in_etc, in_usr = f"{LINKS_DIRECTORY}/{name}", f"{IMAGE_UNITS}/{name}"
        candidate = Candidate(in_etc, in_usr, FileType.FILE, _MODE, text.encode())
        try:
            ownership = self._ownership(candidate)
        except OwnerRefused as refusal:
            self._paths.refuse(origin, in_etc, str(refusal))
            return
        if ownership.owner is PathOwner.HOST:
            mode = _SECRET_MODE if ownership.secret else _MODE
            self._paths.file(in_etc, text.encode(), mode, ownership, origin)
            return
        hidden = self._paths.get(in_etc)
        if hidden is not None:
            why = f"would be hidden by {in_etc}, which the configuration has too. Keep one of the two."
            self._paths.refuse(origin, in_usr, why)
            return
        self._paths.file(in_usr, text.encode(), _MODE, ownership, origin)

    def _ownership(self, candidate: Candidate) -> Ownership:
        """Units are looked for where Ignition would write them, and belong to the image where nothing says otherwise."""
        found = self._rules.ownership(candidate)
        masks_itself = self._unit.mask and candidate.path == f"{LINKS_DIRECTORY}/{self._unit.name}"
        if found.owner is PathOwner.TMPFILES:
            raise OwnerRefused("cannot belong to tmpfiles: systemd reads its units before that.")
        if found.owner is PathOwner.HOST:
            if masks_itself:
                raise OwnerRefused("belongs to the host, and at the same place a link is wanted that masks the unit.")
            return found
        rule = self._rules.policy.for_unit(self._unit.name)
        spoken_of = self._rules.pattern_for(candidate) is not None
        if rule is not None and not rule.needs_reboot and not spoken_of and not masks_itself:
            reason = f"the disruption policy for {rule.name} lets it change without a reboot"
            return Ownership(PathOwner.HOST, reason, actions=rule.to_do)
        reason = (
            found.reason if spoken_of else "units of an image have their place in /usr, where a host can override them"
        )
        return replace(found, reason=reason, actions=())


class _Switching:
    """Which units are switched on and off, and the links that do it."""

    def __init__(self, units: Sequence[ConfigUnit], paths: RenderedPaths) -> None:
        self._paths = paths
        self._masked = {unit.name for unit in units if unit.mask}
        self.states = {
            unit.name: unit.enabled for unit in units if unit.enabled is not None and unit.name not in self._masked
        }
        self.of_the_base: set[str] = set()

    def rendered(self, unit: ConfigUnit) -> RenderedUnit:
        """The unit, with the links that start it added to the paths."""
        links: tuple[str, ...] = ()
        if unit.mask and unit.enabled:
            self._paths.warnings.append(f"{unit.name} is both enabled and masked, so it never starts.")
        elif unit.enabled:
            links = tuple(sorted(self._enable(unit, unit.name, set())))
        elif unit.enabled is False and unit.name in self.states and self._known(unit.name) is None:
            self.of_the_base.add(unit.name)
        return RenderedUnit(unit.name, bool(unit.contents), unit.enabled, unit.mask, links, unit.origin)

    def _enable(self, unit: ConfigUnit, name: str, seen: set[str]) -> Iterator[str]:
        """Enable a unit and those that go with it, unless the configuration says something else of those."""
        if name in seen or name in self._masked or self.states.get(name) is False:
            return
        seen.add(name)
        self.states[name] = True
        known = self._known(name)
        if known is None:
            self.of_the_base.add(name)
            return
        switch = enablement(name, known)
        self._paths.warnings += [one for one in switch.warnings if one not in self._paths.warnings]
        for link, target in sorted(switch.links.items()):
            there = self._paths.get(link)
            if there is None:
                self._paths.link(link, target, _ENABLED, unit.origin)
            elif there.type is not FileType.LINK:
                self._paths.refuse(
                    unit.origin, link, f"is a {there.type.value}, and enabling {name} needs a link there."
                )
            yield link
        for other in switch.also:
            yield from self._enable(unit, other, seen)

    def _known(self, name: str) -> KnownUnit | None:
        """A unit whose text the configuration has, as a unit or as a file; the template of an instance counts."""
        own = UnitName.parse(name)
        for candidate in dict.fromkeys((own, own.template)):
            for directory in _UNIT_DIRECTORIES:
                text = self._paths.content(f"{directory}/{candidate}")
                if text is not None:
                    return KnownUnit(f"{directory}/{candidate}", (_decoded(text), *self._dropins(own)))
        return None

    def _dropins(self, own: UnitName) -> tuple[str, ...]:
        found: dict[str, bytes] = {}
        for one in (own.template, own):
            for directory in reversed(_UNIT_DIRECTORIES):
                start = f"{directory}/{one}.d/"
                for path, text in self._paths.contents.items():
                    if path.startswith(start) and path.endswith(".conf"):
                        found[path[len(start) :]] = text
        return tuple(_decoded(found[name]) for name in sorted(found))


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")
