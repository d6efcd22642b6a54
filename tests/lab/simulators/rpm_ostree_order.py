# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree rollback`, `cleanup`, `cancel` and `finalize-deployment`: which deployment boots next, and which go."""

from __future__ import annotations

from lab.simulators import package_repository, sysroot
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_client import Client
from lab.simulators.rpm_ostree_transaction import RpmOstreeError
from lab.simulators.rpm_ostree_transaction import cancel as cancel_running

LONG_CLEANUPS = {"--base": "b", "--pending": "p", "--repomd": "m", "--rollback": "r"}


def rollback(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, ("--reboot", "-r"), ("--os",))
    return client.transaction("Rollback", lambda: _rollback(client, given))


def _rollback(client: Client, given: Arguments) -> int:
    host = client.host
    if host.staged is not None:
        raise RpmOstreeError("Staged deployment (remove with cleanup -p)")
    deployments = host.state.deployments
    target = sysroot.rollback_of(host)
    if target is None:
        raise RpmOstreeError("No rollback deployment found")
    if sysroot.rollback_queued(host):
        target = host.booted
    print(f"Moving '{target.directory}' to be first deployment")
    sysroot.replace_deployments(host, [target, *(one for one in deployments if one.id != target.id)])
    print(sysroot.bootloader_line(host.state, 0))
    return client.queued(given)


def cleanup(client: Client, argv: list[str]) -> int:
    letters = set()
    for word in argv:
        letters |= set(LONG_CLEANUPS.get(word, word.lstrip("-")))
    if letters - set("bprm"):
        raise RpmOstreeError(f"Unknown option {next(word for word in argv if set(word.lstrip('-')) - set('bprm'))}")
    if not letters:
        raise RpmOstreeError("At least one cleanup option must be specified")
    return client.transaction("Cleanup", lambda: _cleanup(client, letters))


def _cleanup(client: Client, letters: set[str]) -> int:
    host = client.host
    staged, booted = host.staged, host.booted
    unstaged = staged is not None and "p" in letters
    if unstaged:
        host.write_staged(None)
    deployments = host.state.deployments
    place = [one.id for one in deployments].index(booted.id)
    kept = []
    for index, one in enumerate(deployments):
        goes = ("p" in letters and index < place) or ("r" in letters and index > place)
        if not goes or one.pinned or one.osname != booted.osname:
            kept.append(one)
    removed = len(deployments) - len(kept)
    if removed:
        sysroot.replace_deployments(host, kept)
        print(sysroot.bootloader_line(host.state, -removed))
    if "m" in letters:
        package_repository.drop_cache(host)
    if letters & {"p", "r"} and not removed and not unstaged:
        print("Deployments unchanged.")
        if "b" not in letters:
            return 0
    client.prune()
    return 0


def cancel(client: Client, argv: list[str]) -> int:
    Arguments(argv, ())
    title = cancel_running(client.host)
    if title is None:
        print("No active transaction.")
    else:
        print(f"Cancelling transaction: {title} \nCancelled.")
    return 0


def finalize_deployment(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, ("--allow-missing-checksum", "--allow-unlocked"), ("--os",))
    if not given.words and "--allow-missing-checksum" not in given.flags:
        raise RpmOstreeError("Must specify one of CHECKSUM or --allow-missing-checksum")
    return client.transaction("FinalizeDeployment", lambda: _finalize_deployment(client, given))


def _finalize_deployment(client: Client, given: Arguments) -> int:
    host = client.host
    staged = host.staged
    if staged is None:
        raise RpmOstreeError("No pending staged deployment found")
    image = sysroot.image_of(host, staged)
    found = image[1]["manifest_digest"] if image else staged.base
    if given.words and given.words[0] != found:
        raise RpmOstreeError(f"Expected staged base checksum {given.words[0]}, but found {found}")
    if not staged.locked and "--allow-unlocked" not in given.flags:
        raise RpmOstreeError("Staged deployment already unlocked")
    staged.locked = False
    host.write_staged(None)
    host.write_staged(staged)
    given.flags.add("--reboot")
    client.reboots(given)
    return 0
