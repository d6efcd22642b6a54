# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree kargs`: showing and editing the kernel arguments of a deployment."""

from __future__ import annotations

from lab.simulators import kernel_arguments, layering, sysroot
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_client import UNCHANGED, Client
from lab.simulators.rpm_ostree_transaction import RpmOstreeError
from lab.simulators.state import Deployment

LISTS = {
    "--append": "append",
    "--append-if-missing": "append_if_missing",
    "--delete": "delete",
    "--delete-if-present": "delete_if_present",
    "--replace": "replace",
}
FLAGS = ("--reboot", "--lock-finalization", "--unchanged-exit-77", "--import-proc-cmdline", "--editor")
NO_EDITOR = "Executing editor: the lab has no terminal for an editor"


def kargs(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, FLAGS, (*LISTS, "--deploy-index", "--os"))
    edits = kernel_arguments.Edits()
    for option, attribute in LISTS.items():
        getattr(edits, attribute).extend(given.values.get(option, []))
    if "--import-proc-cmdline" in given.flags and "--deploy-index" in given.values:
        raise RpmOstreeError("Cannot specify both kernel arguments from the current boot and a deployment")
    base = _base(client, given)
    if "--editor" in given.flags:
        if edits:
            raise RpmOstreeError("Cannot specify --editor with --replace, --delete, or --append")
        raise RpmOstreeError(NO_EDITOR)
    if not edits:
        if "--reboot" in given.flags:
            raise RpmOstreeError("Cannot reboot when kernel arguments not changed")
        print(" ".join(base.kargs))
        return 0
    if edits.delete and edits.replace:
        raise RpmOstreeError("Cannot specify both --delete and --replace")
    return client.transaction("KernelArgs", lambda: _edit(client, edits, given, base))


def _base(client: Client, given: Arguments) -> Deployment:
    """The deployment whose arguments are shown, and edited: what stands in its entry, not /proc/cmdline."""
    if "--import-proc-cmdline" in given.flags:
        return client.host.booted
    text = given.values.get("--deploy-index", ["0"])[-1]
    if not text.lstrip("-").isdigit():
        raise RpmOstreeError("Invalid deployment index")
    deployments = sysroot.all_deployments(client.host)
    index = int(text)
    if not 0 <= index < len(deployments):
        raise RpmOstreeError(f"Out of range deployment index {index}, expected < {len(deployments)}")
    return deployments[index]


def _edit(client: Client, edits: kernel_arguments.Edits, given: Arguments, base: Deployment) -> int:
    try:
        arguments, changed = edits.apply(base.kargs)
    except kernel_arguments.KernelArgumentError as error:
        raise RpmOstreeError(str(error)) from error
    if not changed:
        print("No changes.")
        return UNCHANGED if "--unchanged-exit-77" in given.flags and "--reboot" not in given.flags else 0
    pending = sysroot.pending(client.host)
    origin = dict(pending.origin)
    checksum = layering.assemble(client.host, pending.base, origin)
    client.stage(checksum, pending.base, origin, arguments, given)
    layering.print_difference(client.host, sysroot.pending(client.host))
    return client.queued(given)
