# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks, in order. Each takes one host and returns a remark, or raises Wrong, NotHere or Refused.

Those of the first level change nothing. Staging takes back what it staged; rebooting goes back to where it began.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
from collections.abc import Callable, Iterator
from typing import Any

from hosts.fleet import Host, NotHere, Refused, Wrong
from hosts.observed import QUESTIONS

STAGERS = {"bootc": "bootc_switch", "rpm_ostree": "rpmostree_rebase"}
NO_SUCH_TAG = "imagemode-test-hosts-no-such-tag"
NEW_ARGUMENT = "imagemode_test_hosts=1"


class Level(enum.IntEnum):
    """What a check does to a host."""

    READ = 0
    STAGE = 1
    REBOOT = 2


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str
    level: Level
    run: Callable[[Host], str]


@contextlib.contextmanager
def unchanged(host: Host) -> Iterator[None]:
    """Raises Wrong if the host is not after the body what it was before."""
    before = host.seen
    yield
    for command, was, now in zip(QUESTIONS, before, host.seen, strict=True):
        if was != now:
            raise Wrong(f"`{command}` says something else than before: {_first_difference(was, now)}")


def _first_difference(was: Any, now: Any, path: str = "") -> str:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                return _first_difference(was.get(key), now.get(key), f"{path}.{key}")
    return f"{path.lstrip('.') or 'it'} was {json.dumps(was)[:200]}, is {json.dumps(now)[:200]}"


def expect(what: str, found: Any, wanted: Any) -> None:
    """Raises Wrong unless both are equal."""
    if found != wanted:
        raise Wrong(f"{what} is {json.dumps(found)[:300]}; expected {json.dumps(wanted)[:300]}")


# --- level READ ---


def sees_the_host(host: Host) -> str:
    view = host.info()
    if not view["image_mode"]:
        raise Wrong("image_mode_info says that this is no image-mode host")
    booted = view["booted"]
    what = booted["image"]["reference"] if booted["image"] else booted["origin"] or booted["checksum"]
    versions = ", ".join(f"{tool} {version}" for tool, version in view["versions"].items() if version)
    return f"{versions}; {what}{', something staged' if view['staged'] else ''}"


def agrees_with_bootc(host: Host) -> str:
    status = host.seen[QUESTIONS.index("bootc status --json")]
    if not isinstance(status, dict):
        raise NotHere("no bootc on this host")
    view, status = host.info(), status["status"]
    for slot in ("booted", "staged", "rollback"):
        raw, seen = status.get(slot), view[slot]
        expect(f"{slot} there", seen is not None, raw is not None)
        if raw and raw.get("image"):
            expect(f"digest of {slot}", seen["image"]["digest"], raw["image"]["imageDigest"])
            expect(f"image of {slot}", seen["image"]["reference"], raw["image"]["image"]["image"])
    expect("rollback_queued", view["rollback_queued"], bool(status.get("rollbackQueued")))
    return ""


def agrees_with_rpm_ostree(host: Host) -> str:
    status = host.seen[QUESTIONS.index("rpm-ostree status --json")]
    if not isinstance(status, dict):
        raise NotHere("no rpm-ostree on this host")
    view = host.info()
    raw = next(entry for entry in status["deployments"] if entry["booted"])
    for name, key in (("checksum", "checksum"), ("origin", "origin"), ("version", "version"), ("stateroot", "osname")):
        if view["booted"][name] is not None:
            expect(f"{name} of what is booted", view["booted"][name], raw.get(key))
    expect("packages", view["booted"]["local_changes"]["packages"], raw.get("requested-packages") or [])
    staged = any(entry.get("staged") for entry in status["deployments"])
    expect("something staged", view["staged"] is not None, staged)
    return ""


def no_op(tool: str) -> Callable[[Host], str]:
    """Ask for what boots next anyway: nothing may happen, whatever the tool would make of it."""

    def run(host: Host) -> str:
        view = _with_tool(host, tool)
        following = _next_without_local_changes(view)
        options = _as_wish(following, tool)
        with unchanged(host):
            for check in (True, False):
                result = host.act(STAGERS[tool], check=check, **options)
                expect("changed", result["changed"], False)
                expect("commands", result["commands"], [])
                expect("reboot_required", result["reboot_required"], view["reboot_required"])
        return str(result["msg"])

    return run


def predicts(tool: str) -> Callable[[Host], str]:
    """A check run for an image that does not exist: predicted without a pull, and nothing is changed."""

    def run(host: Host) -> str:
        view = _with_tool(host, tool)
        image = f"{_repository(view['next_image'])}:{NO_SUCH_TAG}"
        with unchanged(host):
            result = host.act(STAGERS[tool], check=True, image=image)
        expect("changed", result["changed"], True)
        expect("image that boots next", result["after"]["staged"]["image"]["reference"], image)
        return " ".join(result["commands"][0])

    return run


def refuses_nonsense(tool: str) -> Callable[[Host], str]:
    def run(host: Host) -> str:
        _with_tool(host, tool)
        with unchanged(host):
            try:
                host.act(STAGERS[tool], image="NO/IMAGE REFERENCE; reboot")
            except Refused as refusal:
                if "is not an image reference" not in str(refusal):
                    raise Wrong(f"nonsense was refused for another reason: {refusal}") from None
                return ""
        raise Wrong("nonsense was taken for an image reference")

    return run


def kernel_arguments_no_op(host: Host) -> str:
    words = host.info()["kargs"]["next"]
    machine = ("BOOT_IMAGE=", "ostree=", "initrd=", "composefs=")
    word = next((word for word in words or () if not word.startswith(machine) and '"' not in word), None)
    if word is None:
        raise NotHere("the arguments of the next boot are not known, or there are none")
    with unchanged(host):
        result = host.act("kargs", present=[word])
    expect("changed", result["changed"], False)
    return str(word)


def kernel_arguments_in_check_mode(host: Host) -> str:
    with unchanged(host):
        result = host.act("kargs", check=True, present=[NEW_ARGUMENT])
    expect("changed", result["changed"], True)
    expect("reboot_required", result["reboot_required"], True)
    return str(result["msg"])


def reboot_in_check_mode(host: Host) -> str:
    required = host.info()["reboot_required"]
    with unchanged(host):
        result = host.act("node_reboot", check=True)
    expect("changed", result["changed"], required)
    return ""


def rollback_in_check_mode(host: Host) -> str:
    rollback = host.info()["rollback"]
    if rollback is None:
        raise NotHere("there is no rollback deployment")
    with unchanged(host):
        result = host.act("deployment_rollback", check=True)
    return str(result["msg"])


def runs_async(host: Host) -> str:
    with unchanged(host):
        result = host.attempt("imagemode.nodes.image_mode_info", keywords={"async": 300, "poll": 2})
    if result["event"] == "runner_on_failed":
        if "has no Python" in result["msg"]:
            raise NotHere("no Python on this host")
        raise Wrong(str(result["msg"]))
    expect("the host, seen from itself", result["host"], host.info())
    return ""


# --- level STAGE ---


def stages_and_discards(tool: str) -> Callable[[Host], str]:
    """Stage another image, twice, and take it back: the host is then what it was."""

    def run(host: Host) -> str:
        image = _another_image(host, _with_tool(host, tool))
        stager = STAGERS[tool]
        with unchanged(host), _discarding(host, stager):
            predicted = host.act(stager, check=True, image=image)
            staged = host.act(stager, image=image)
            expect("changed", (predicted["changed"], staged["changed"]), (True, True))
            first = len(predicted["commands"])
            expect("commands", staged["commands"][:first], predicted["commands"])
            # Only the pull can tell which kernel arguments an image brings, and rpm-ostree leaves them to us.
            for command in staged["commands"][first:]:
                expect("command after the predicted ones", command[:2], ["rpm-ostree", "kargs"])
            expect("digest that boots next", host.info()["staged"]["digest"], staged["digest"])
            expect("reboot_required", staged["reboot_required"], True)
            again = host.act(stager, image=image, expected_digests=[staged["digest"]])
            expect("changed by a second run", (again["changed"], again["commands"]), (False, []))
            back = host.act(stager, state="unstaged")
            expect("reboot_required", (back["changed"], back["reboot_required"]), (True, False))
        return f"{image} {staged['digest'][:19]}"

    return run


def downloads_and_releases(tool: str) -> Callable[[Host], str]:
    """Pull another image without booting it next, and discard it."""

    def run(host: Host) -> str:
        image = _another_image(host, _with_tool(host, tool))
        stager = STAGERS[tool]
        with unchanged(host), _discarding(host, stager):
            loaded = host.act(stager, image=image, state="downloaded")
            expect("changed, reboot_required", (loaded["changed"], loaded["reboot_required"]), (True, False))
            again = host.act(stager, image=image, state="downloaded")
            expect("changed by a second run", again["changed"], False)
        return ""

    return run


# --- level REBOOT ---


def updates_and_returns(tool: str) -> Callable[[Host], str]:
    """Another image, a reboot, a proof; then the rollback, a reboot, a proof."""

    def run(host: Host) -> str:
        if not host.may_reboot:
            raise NotHere("not allowed: ALLOW_REBOOT=1 was not given")
        before = _with_tool(host, tool)
        image, home = _another_image(host, before), before["booted"]
        staged = host.act(STAGERS[tool], image=image)
        expected = [staged["digest"]]
        try:
            there = host.act("node_reboot", expected_digests=expected)
            expect("booted digest", there["booted"]["digest"], staged["digest"])
            expect("another boot", there["boot_id_before"] != there["boot_id_after"], True)
            again = host.act("node_reboot", expected_digests=expected)
            expect("changed by a second run", again["changed"], False)
        finally:
            _go_home(host, home, STAGERS[tool])
        return f"{image} and back, {there['seconds']:.0f} s down" if "seconds" in there else f"{image} and back"

    return run


def _go_home(host: Host, home: dict[str, Any], stager: str) -> None:
    """Back to the deployment that was booted before: by rollback, else by its image."""
    digest = home["image"]["digest"]
    if host.info()["booted"]["digest"] == digest:
        with contextlib.suppress(Refused):
            host.act(stager, state="unstaged")
        return
    try:
        host.act("deployment_rollback", expected_digests=[digest])
    except Refused as refusal:
        host.act(stager, image=home["image"]["reference"], expected_digests=[digest])
        host.act("node_reboot", expected_digests=[digest])
        raise Wrong(f"the rollback was refused, so the first image was staged again: {refusal}") from None
    host.act("node_reboot", expected_digests=[digest])
    now = host.info()["booted"]
    expect("booted after the rollback", (now["checksum"], now["image"]), (home["checksum"], home["image"]))


# --- what checks need to know of a host ---


def _with_tool(host: Host, tool: str) -> dict[str, Any]:
    view = host.info()
    if view["versions"][tool] is None:
        raise NotHere(f"no {tool.replace('_', '-')} on this host")
    following = view[view["next"]] if view["next"] else None
    view["next_image"] = (following or {}).get("image")
    return view


def _next_without_local_changes(view: dict[str, Any]) -> dict[str, Any]:
    following: dict[str, Any] = view[view["next"]]
    changes = following["local_changes"]
    if any(changes[kind] for kind in ("packages", "removals", "replacements", "initramfs")) or not changes["known"]:
        raise NotHere("the host has local changes, which an image alone cannot name")
    return following


def _as_wish(deployment: dict[str, Any], tool: str) -> dict[str, Any]:
    image = deployment["image"]
    if image is not None:
        digests = [image["digest"]] if image["digest"] else []
        return {"image": image["reference"], "transport": image["transport"], "expected_digests": digests}
    if tool == "rpm_ostree" and deployment["origin"]:
        return {"ref": deployment["origin"]}
    raise NotHere("the host follows no image")


def _repository(image: dict[str, Any] | None) -> str:
    if image is None or image["transport"] != "registry":
        raise NotHere("the host follows no image of a registry")
    name = str(image["reference"]).partition("@")[0]
    path, slash, last = name.rpartition("/")
    return path + slash + last.partition(":")[0]


def _another_image(host: Host, view: dict[str, Any]) -> str:
    """The first of the images that is not booted. Staging over somebody else's work is not for a test."""
    if not host.images:
        raise NotHere("not allowed: IMAGES was not given")
    if view["staged"] or view["rollback_queued"]:
        raise NotHere("something else boots next: reboot the host or discard it, then test again")
    _next_without_local_changes(view)
    booted = view["booted"]["image"] or {}
    for image in host.images:
        if image != booted.get("reference") and not (booted.get("digest") and image.endswith(f"@{booted['digest']}")):
            return image
    raise NotHere("each of IMAGES is what is booted")


@contextlib.contextmanager
def _discarding(host: Host, stager: str) -> Iterator[None]:
    """Whatever happens in the body, what it staged is discarded."""
    try:
        yield
    finally:
        if host.info()["staged"] is not None:
            host.act(stager, state="unstaged")


CHECKS = (
    Check("sees the host", Level.READ, sees_the_host),
    Check("agrees with bootc", Level.READ, agrees_with_bootc),
    Check("agrees with rpm-ostree", Level.READ, agrees_with_rpm_ostree),
    *(
        Check(f"{STAGERS[tool]}: {name}", level, check(tool))
        for tool in STAGERS
        for name, level, check in (
            ("nothing to do", Level.READ, no_op),
            ("check mode", Level.READ, predicts),
            ("nonsense", Level.READ, refuses_nonsense),
            ("stage and discard", Level.STAGE, stages_and_discards),
            ("download and discard", Level.STAGE, downloads_and_releases),
            ("update, reboot, return", Level.REBOOT, updates_and_returns),
        )
    ),
    Check("kargs: nothing to do", Level.READ, kernel_arguments_no_op),
    Check("kargs: check mode", Level.READ, kernel_arguments_in_check_mode),
    Check("node_reboot: check mode", Level.READ, reboot_in_check_mode),
    Check("deployment_rollback: check mode", Level.READ, rollback_in_check_mode),
    Check("async", Level.READ, runs_async),
)
