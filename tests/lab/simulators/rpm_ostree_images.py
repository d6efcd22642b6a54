# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree rebase`, `upgrade` and `deploy`: bringing a host to another image or ostree commit."""

from __future__ import annotations

import sys

from lab.simulators import layering, ostree_remote, rpm_ostree_driver, sysroot
from lab.simulators import rpm_ostree_container as container
from lab.simulators.image_reference import ImageSpec
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_client import UNCHANGED, Client
from lab.simulators.rpm_ostree_transaction import RpmOstreeError

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.simulators.state import Deployment

UNRELIABLE = "Note: --check and --preview may be unreliable.  See https://github.com/coreos/rpm-ostree/issues/1579\n"
SOURCE_KEYS = ("container", "refspec", "override-commit", "custom-url", "custom-description")
COMMON_FLAGS = (
    *("--reboot", "-r", "--lock-finalization", "--bypass-driver", "--download-only", "--cache-only", "-C"),
    *("--disallow-downgrade", "--allow-downgrade", "--unchanged-exit-77"),
)
COMMON_OPTIONS = ("--install", "--uninstall", "--stateroot", "--os")


class Target:
    """What to deploy: a commit with its time, and whether it is another one than the host's next."""

    def __init__(self, commit: str, timestamp: int, pending: Deployment) -> None:
        self.commit = commit
        self.timestamp = timestamp
        self.changed = commit != pending.base


def rebase(client: Client, argv: list[str]) -> int:
    flags = [flag for flag in COMMON_FLAGS if flag not in ("--allow-downgrade", "--unchanged-exit-77")]
    given = Arguments(
        argv,
        (*flags, "--skip-purge", "--experimental"),
        (*COMMON_OPTIONS, "--custom-origin-url", "--custom-origin-description", "--branch", "-b", "--remote", "-m"),
    )
    if not given.words:
        raise RpmOstreeError("REFSPEC must be specified")
    if not given.words[0]:
        raise RpmOstreeError("Refspec is empty")
    if "--custom-origin-url" in given.values and "--custom-origin-description" not in given.values:
        raise RpmOstreeError("--custom-origin-description must be supplied with --custom-origin-url")
    rpm_ostree_driver.refuse(client.host, given)
    return client.transaction("Rebase", lambda: _rebase(client, given))


def _rebase(client: Client, given: Arguments) -> int:
    _refuse_conflicts(given)
    host = client.host
    pending = sysroot.pending(host)
    origin = {key: value for key, value in pending.origin.items() if key not in SOURCE_KEYS}
    wanted = given.words[0].removeprefix("ostree://")
    revision = given.words[1] if len(given.words) > 1 else None
    spec = ImageSpec.parse_origin(wanted)
    if spec is not None:
        if wanted == pending.origin.get("container"):
            raise RpmOstreeError(f"Old and new refs are equal: {wanted}")
        origin["container"] = wanted
        _keep_custom_origin(client, origin, spec, given)
    else:
        refspec = _parse(wanted, pending.origin.get("refspec"))
        if refspec == pending.origin.get("refspec"):
            raise RpmOstreeError(f"Old and new refs are equal: {refspec}")
        _announce_remote(refspec, pending.origin.get("refspec"))
        origin["refspec"] = refspec
    target = _pull(client, origin, revision, pending, given)
    if "--disallow-downgrade" in given.flags:
        container.refuse_older(host, target.commit, target.timestamp, pending)
    status = _deploy(client, given, origin, target)
    left = pending.origin.get("refspec")
    if left is not None and status == 0 and "--skip-purge" not in given.flags:
        host.state.refs.pop(left, None)
        host.save()
    return status


def _refuse_conflicts(given: Arguments) -> None:
    if given.flags & {"--cache-only", "-C"} and "--download-only" in given.flags:
        raise RpmOstreeError("Can't specify cache-only and download-only")


def _keep_custom_origin(client: Client, origin: dict[str, Any], spec: ImageSpec, given: Arguments) -> None:
    """Only for a reference with a digest, and only since 2024.9; otherwise it is dropped without a word."""
    url = given.values.get("--custom-origin-url", [""])[-1]
    if url and "@sha256:" in spec.image and client.host.version("rpm-ostree") >= (2024, 9):
        origin["custom-url"] = url
        origin["custom-description"] = given.values["--custom-origin-description"][-1]


def _announce_remote(refspec: str, old: str | None) -> None:
    remote, _separator, branch = refspec.rpartition(":")
    old_remote, _separator, old_branch = (old or "").rpartition(":")
    if remote and remote != old_remote and branch == old_branch:
        print(f"Rebasing to {remote}:{branch}")


def _parse(text: str, base: str | None) -> str:
    try:
        return ostree_remote.parse(text, base)
    except ostree_remote.RemoteError as error:
        raise RpmOstreeError(str(error)) from error


def _pull(
    client: Client, origin: dict[str, Any], revision: str | None, pending: Deployment, given: Arguments
) -> Target:
    """Get what an origin stands for, or one revision of it, which the origin then remembers."""
    spec = ImageSpec.parse_origin(str(origin.get("container", "")))
    try:
        if spec is None:
            return _pull_commit(client, origin, revision, pending, given)
    except ostree_remote.RemoteError as error:
        raise RpmOstreeError(str(error)) from error
    if revision is not None:
        if client.host.version("rpm-ostree") < (2025, 7):
            raise RpmOstreeError("Cannot look up version while tracking a container image reference")
        origin["override-commit"] = revision
        spec = container.pinned(spec, revision)
    found = container.pull(client.host, spec)
    return Target(found.commit, found.metadata["timestamp"], pending)


def _pull_commit(
    client: Client, origin: dict[str, Any], revision: str | None, pending: Deployment, given: Arguments
) -> Target:
    host, refspec = client.host, origin["refspec"]
    if revision is not None:
        is_checksum = len(revision.removeprefix("revision=")) == 64
        print(f"{'Validating checksum' if is_checksum else 'Resolving version'} '{revision}'")
        commit = ostree_remote.find(host, refspec, revision)
        origin["override-commit"] = ostree_remote.known(host, commit)
        return Target(origin["override-commit"], commit["timestamp"], pending)
    if given.flags & {"--cache-only", "-C"} and refspec in host.state.refs:
        checksum = host.state.refs[refspec]
        return Target(checksum, host.state.commits[checksum]["timestamp"], pending)
    newest = ostree_remote.pull(host, refspec)
    if newest is None:
        return Target(pending.base, host.commit(pending)["timestamp"], pending)
    return Target(newest["checksum"], newest["timestamp"], pending)


def _deploy(client: Client, given: Arguments, origin: dict[str, Any], target: Target) -> int:
    """The end of rebase, and of upgrade and deploy with something new: local changes on top, then a deployment."""
    pending = sysroot.pending(client.host)
    _change_packages(origin, given)
    if "--download-only" in given.flags:
        layering.assemble(client.host, target.commit, origin, fresh=True)
        print("Update downloaded." if target.changed else "No changes.")
        return 0
    checksum = layering.assemble(client.host, target.commit, origin, fresh=True)
    client.stage(checksum, target.commit, origin, list(pending.kargs), given)
    layering.print_difference(client.host, sysroot.pending(client.host))
    return client.queued(given)


def _change_packages(origin: dict[str, Any], given: Arguments) -> None:
    requested = [one for one in origin.get("packages", []) if one not in given.values.get("--uninstall", [])]
    requested += [one for one in given.values.get("--install", []) if one not in requested]
    origin.pop("packages", None)
    if requested:
        origin["packages"] = sorted(requested)


def upgrade(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, (*COMMON_FLAGS, "--check", "--preview"), COMMON_OPTIONS)
    rpm_ostree_driver.refuse(client.host, given)
    if given.flags & {"--check", "--preview"}:
        return client.transaction("AutomaticUpdateTrigger", lambda: _check(client))
    return client.transaction("Upgrade", lambda: _upgrade(client, given))


def _check(client: Client) -> int:
    host = client.host
    image = sysroot.image_of(host, sysroot.pending(host))
    if image is None:
        return _check_branch(client)
    found = container.look_up(host, image[0])
    sys.stderr.write(UNRELIABLE)
    if found.digest == image[1]["manifest_digest"]:
        print("No updates available.")
        return UNCHANGED
    container.print_available(image[1], found)
    return 0


def _check_branch(client: Client) -> int:
    """On an ostree ref the comparison is with the booted commit, and what is found is remembered."""
    host, booted = client.host, client.host.booted
    refspec = sysroot.pending(host).origin["refspec"]
    try:
        newest = ostree_remote.pull(host, refspec, metadata_only=True)
    except ostree_remote.RemoteError as error:
        raise RpmOstreeError(str(error)) from error
    sys.stderr.write(UNRELIABLE)
    _remember_update(client, refspec, newest)
    if newest is None or newest["checksum"] == booted.base:
        print("No updates available.")
        return UNCHANGED
    print(f"AvailableUpdate:\n        Version: {newest['version']} ({newest['created']})")
    print(f"         Commit: {newest['checksum']}")
    return 0


def _remember_update(
    client: Client, refspec: str, newest: dict[str, Any] | None, deployment: str | None = None
) -> None:
    """Note the newest commit; ``deployment`` is the id of the one that was staged for it, if one was."""
    host, booted = client.host, client.host.booted
    host.state.cached_update = None
    if newest is not None and newest["checksum"] != booted.base:
        host.state.cached_update = {
            "update-sha256": booted.checksum,
            "checksum": newest["checksum"],
            "version": newest["version"],
            "origin": refspec,
            "osname": booted.osname,
            "gpg-enabled": False,
            "timestamp": newest["timestamp"],
            "ref-has-new-commit": True,
        }
        if deployment is not None:
            host.state.cached_update["deployment"] = deployment
    host.save()


def _upgrade(client: Client, given: Arguments) -> int:
    _refuse_conflicts(given)
    host = client.host
    pending = sysroot.pending(host)
    origin = {key: value for key, value in pending.origin.items() if key != "override-commit"}
    target = _pull(client, origin, None, pending, given)
    wants_packages = bool(given.values.get("--install") or given.values.get("--uninstall"))
    if not target.changed and not wants_packages:
        print("No upgrade available.")
        return UNCHANGED if "--unchanged-exit-77" in given.flags else 0
    if "--allow-downgrade" not in given.flags:
        container.refuse_older(host, target.commit, target.timestamp, pending)
    if "--download-only" in given.flags:
        return _deploy(client, given, origin, target)
    _change_packages(origin, given)
    checksum = layering.assemble(host, target.commit, origin, fresh=True)
    client.stage(checksum, target.commit, origin, list(pending.kargs), given)
    if "refspec" in origin:
        commit = {"checksum": target.commit, **host.state.commits[target.commit]}
        _remember_update(client, origin["refspec"], commit, sysroot.pending(host).id)
    layering.print_difference(host, sysroot.pending(host))
    if not client.reboots(given):
        print('Run "systemctl reboot" to start a reboot')
    return 0


def deploy(client: Client, argv: list[str]) -> int:
    given = Arguments(
        argv, (*COMMON_FLAGS, "--skip-branch-check"), (*COMMON_OPTIONS, "--register-driver", "--ex-cliwrap")
    )
    if not given.words and not given.values.keys() & {"--register-driver", "--ex-cliwrap"}:
        raise RpmOstreeError("REVISION must be specified")
    rpm_ostree_driver.refuse(client.host, given)
    return client.transaction("Deploy", lambda: _deploy_revision(client, given))


def _deploy_revision(client: Client, given: Arguments) -> int:
    host = client.host
    revision = given.words[0] if given.words else ""
    if name := given.values.get("--register-driver", [""])[-1]:
        rpm_ostree_driver.register(host, name)
        if not revision:
            print("Empty string revision found; registering update driver only")
            return 0
    pending = sysroot.pending(host)
    origin = dict(pending.origin)
    target = Target(pending.base, host.commit(pending)["timestamp"], pending)
    if revision:
        target = _pull(client, origin, revision, pending, given)
        if "--disallow-downgrade" in given.flags:
            container.refuse_older(host, target.commit, target.timestamp, pending)
    changed = target.changed
    if "--ex-cliwrap" in given.values:
        changed = True
        origin["cliwrap"] = given.values["--ex-cliwrap"][-1] == "true"
        if not origin["cliwrap"]:
            del origin["cliwrap"]
    if not changed:
        print("No change.")
        return UNCHANGED if "--unchanged-exit-77" in given.flags else 0
    return _deploy(client, given, origin, target)
