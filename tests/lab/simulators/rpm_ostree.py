# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree` 2026.2: status, kargs, rebase, upgrade, rollback, cleanup, cancel, reset, install and uninstall."""

from __future__ import annotations

import os
import sys

from lab.simulators import kernel_arguments, layering, rpm_ostree_status, sysroot
from lab.simulators.host import Host
from lab.simulators.image_reference import ImageSpec
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_transaction import RpmOstreeError, cancel, refuse_if_busy, run
from lab.simulators.state import LOCAL_CHANGES, Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.pull import Import

UNCHANGED = 77
QUEUED = 'Changes queued for next boot. Run "systemctl reboot" to start a reboot'
UNRELIABLE = "Note: --check and --preview may be unreliable.  See https://github.com/coreos/rpm-ostree/issues/1579\n"
FETCHED = "0 metadata, 0 content objects fetched; 335 B transferred in 0 seconds; 0 bytes content written"
NOT_OSTREE = "error: This system was not booted via libostree."
KARG_LISTS = {
    "--append": "append",
    "--append-if-missing": "append_if_missing",
    "--delete": "delete",
    "--delete-if-present": "delete_if_present",
    "--replace": "replace",
}


class RpmOstree:
    """One run of rpm-ostree on one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.title = ""

    def run(self, argv: list[str]) -> int:
        if argv[:1] == ["--version"]:
            version = self.host.node["versions"]["rpm-ostree"]
            print(
                f"rpm-ostree:\n Version: '{version}'\n Git: v{version}\n Features:\n  - rust\n  - compose\n  - container"
            )
            return 0
        if not self.host.is_ostree:
            sys.stderr.write(f"{NOT_OSTREE}\n")
            return 1
        command = argv[0] if argv else ""
        self.title = " ".join(argv)
        methods = {
            "status": self.status,
            "kargs": self.kargs,
            "rebase": self.rebase,
            "upgrade": self.upgrade,
            "rollback": self.rollback,
            "cleanup": self.cleanup,
            "cancel": self.cancel,
            "reset": self.reset,
            "install": self.install,
            "uninstall": self.uninstall,
            "apply-live": self.apply_live,
            "finalize-deployment": self.finalize_deployment,
        }
        try:
            if command not in methods:
                raise RpmOstreeError(f"Unknown command '{command}' (in the lab's rpm-ostree)")
            return methods[command](argv[1:])
        except RpmOstreeError as error:
            sys.stdout.flush()
            sys.stderr.write(f"error: {error}\n")
            return 1

    def status(self, argv: list[str]) -> int:
        given = Arguments(argv, ("--json", "-b", "--booted", "-v", "--verbose", "--pending-exit-77"))
        booted_only = bool(given.flags & {"-b", "--booted"})
        if "--json" in given.flags:
            sys.stdout.write(rpm_ostree_status.as_json(rpm_ostree_status.document(self.host, booted_only=booted_only)))
        else:
            sys.stdout.write(rpm_ostree_status.for_people(self.host, booted_only=booted_only))
        pending = sysroot.pending(self.host).id != self.host.state.booted
        return UNCHANGED if pending and "--pending-exit-77" in given.flags else 0

    # kernel arguments

    def kargs(self, argv: list[str]) -> int:
        given = Arguments(
            argv,
            ("--reboot", "--lock-finalization", "--unchanged-exit-77", "--import-proc-cmdline"),
            (*KARG_LISTS, "--deploy-index"),
        )
        edits = kernel_arguments.Edits()
        for option, attribute in KARG_LISTS.items():
            getattr(edits, attribute).extend(given.values.get(option, []))
        base = self._kargs_base(given)
        if not edits:
            if "--reboot" in given.flags:
                raise RpmOstreeError("Cannot reboot when kernel arguments not changed")
            print(" ".join(base.kargs))
            return 0
        if edits.delete and edits.replace:
            raise RpmOstreeError("Cannot specify both --delete and --replace")
        return self._transaction("KernelArgs", lambda: self._edit_kargs(edits, given, base))

    def _kargs_base(self, given: Arguments) -> Deployment:
        if "--import-proc-cmdline" in given.flags:
            return self.host.booted
        index = int(given.values.get("--deploy-index", ["0"])[-1])
        deployments = sysroot.all_deployments(self.host)
        if index >= len(deployments):
            raise RpmOstreeError(f"Out of range deployment index {index}, expected < {len(deployments)}")
        return deployments[index]

    def _edit_kargs(self, edits: kernel_arguments.Edits, given: Arguments, base: Deployment) -> int:
        try:
            arguments, changed = edits.apply(base.kargs)
        except kernel_arguments.KernelArgumentError as error:
            raise RpmOstreeError(str(error)) from error
        if not changed:
            print("No changes.")
            return UNCHANGED if "--unchanged-exit-77" in given.flags and "--reboot" not in given.flags else 0
        pending = sysroot.pending(self.host)
        self._stage(pending.checksum, pending.base, dict(pending.origin), arguments, given)
        return self._queued(given)

    # images

    def rebase(self, argv: list[str]) -> int:
        given = Arguments(
            argv,
            (
                *("--reboot", "-r", "--skip-purge", "--cache-only", "-C", "--experimental", "--bypass-driver"),
                *("--disallow-downgrade", "--lock-finalization"),
            ),
            ("--custom-origin-url", "--custom-origin-description"),
        )
        if not given.words:
            raise RpmOstreeError("REFSPEC must be specified")
        wanted = given.words[0]
        spec = ImageSpec.parse_origin(wanted)
        pending = sysroot.pending(self.host)
        if wanted in (pending.origin.get("container"), pending.origin.get("refspec")):
            raise RpmOstreeError(f"Old and new refs are equal: {wanted}")
        if spec is None:
            raise RpmOstreeError(f"Invalid refspec {wanted}")
        return self._transaction("Rebase", lambda: self._rebase(spec, wanted, pending, given))

    def _rebase(self, spec: ImageSpec, wanted: str, pending: Deployment, given: Arguments) -> int:
        found = self._pull(spec)
        origin: dict[str, Any] = {key: value for key, value in pending.origin.items() if key in LOCAL_CHANGES}
        origin["container"] = wanted
        packages = list(origin.get("packages", []))
        checksum = layering.layered_checksum(found.commit, packages)
        self._stage(checksum, found.commit, origin, list(pending.kargs), given)
        return self._queued(given)

    def upgrade(self, argv: list[str]) -> int:
        given = Arguments(
            argv,
            (
                *("--check", "--preview", "--unchanged-exit-77", "--reboot", "-r", "--allow-downgrade"),
                *("--cache-only", "-C", "--lock-finalization", "--bypass-driver"),
            ),
        )
        if given.flags & {"--check", "--preview"}:
            return self._upgrade_check()
        return self._transaction("Upgrade", lambda: self._upgrade(given))

    def _upgrade_check(self) -> int:
        pending = sysroot.pending(self.host)
        image = sysroot.image_of(self.host, pending)
        if image is None:
            sys.stderr.write(UNRELIABLE)
            print(f"{FETCHED}\nNo updates available.")
            return UNCHANGED
        found = self._look_up(image[0])
        sys.stderr.write(UNRELIABLE)
        if found.digest == image[1]["manifest_digest"]:
            print("No updates available.")
            return UNCHANGED
        from lab.pull import LayerDifference

        difference = LayerDifference(image[1], found.metadata)
        print("AvailableUpdate:")
        for title, (count, size) in (
            ("  Total layers:", difference.total),
            ("Removed layers:", difference.removed),
            ("  Added layers:", difference.added),
        ):
            print(f" {title} {count}\n           Size: {sysroot.format_size(size)}")
        return 0

    def _upgrade(self, given: Arguments) -> int:
        pending = sysroot.pending(self.host)
        image = sysroot.image_of(self.host, pending)
        if image is None:
            print(f"{FETCHED}\nNo upgrade available.")
            return UNCHANGED if "--unchanged-exit-77" in given.flags else 0
        spec, current = image
        found = self._pull(spec)
        if found.digest == current["manifest_digest"]:
            print("No upgrade available.")
            return UNCHANGED if "--unchanged-exit-77" in given.flags else 0
        if found.metadata["timestamp"] < current["timestamp"] and "--allow-downgrade" not in given.flags:
            raise RpmOstreeError(_older(found, pending, current))
        packages = list(pending.origin.get("packages", []))
        checksum = layering.layered_checksum(found.commit, packages)
        self._stage(checksum, found.commit, dict(pending.origin), list(pending.kargs), given)
        if not self._wants_reboot(given):
            print('Run "systemctl reboot" to start a reboot')
        return 0

    def _look_up(self, spec: ImageSpec) -> Import:
        from lab.pull import look_up
        from lab.pull_error import PullError, UnsuitableImage
        from lab.simulators.unit_environment import unit_environment

        fetching = "Preparing import: Fetching manifest: "
        around = unit_environment(self.host, "rpm-ostreed.service")
        try:
            return look_up(self.host, spec, tag_and_digest=False, tool="rpm-ostree", environment=around)
        except UnsuitableImage as error:
            raise RpmOstreeError(f"{fetching}{error}") from error
        except PullError as error:
            raise RpmOstreeError(f"{fetching}failed to invoke method OpenImage: {error}") from error

    def _pull(self, spec: ImageSpec) -> Import:
        from lab.pull import fetch
        from lab.pull_error import ConnectionLost, PullError

        print(f"Pulling manifest: {spec.origin()}", flush=True)
        found = self._look_up(spec)
        if found.already_present:
            return found
        print(f"Importing: {spec.origin()} (digest: {found.digest})")
        for kind, chunks in (("ostree chunk layers", True), ("custom layers", False)):
            if present := found.present_of(chunks):
                print(f"{kind} already present: {len(present)}")
            if needed := found.needed_of(chunks):
                size = sum(int(layer["size"]) for layer in needed)
                print(f"{kind} needed: {len(needed)} ({sysroot.format_size(size)})")
        sys.stdout.flush()
        chunk_digests = {layer["digest"] for layer in found.needed_of(chunks=True)}

        def fetched(index: int, count: int, layer: dict[str, Any]) -> None:
            kind = "ostree chunk" if layer["digest"] in chunk_digests else "layer"
            size = sysroot.format_size(int(layer["size"]))
            print(f"[{index + 1}/{count}] Fetching {kind} {layer['digest'][7:26]} ({size})...done", flush=True)

        try:
            fetch(self.host, found, fetched)
        except ConnectionLost as error:
            raise RpmOstreeError(
                f"Importing: Unencapsulating base: proxy failure: failed to invoke method FinishPipe: {error} "
                "and client error: Importing commit: unexpected end of file"
            ) from error
        except PullError as error:
            raise RpmOstreeError(f"Importing: {error}") from error
        return found

    # order of deployments

    def rollback(self, argv: list[str]) -> int:
        given = Arguments(argv, ("--reboot", "-r"))
        return self._transaction("Rollback", lambda: self._rollback(given))

    def _rollback(self, given: Arguments) -> int:
        if self.host.staged is not None:
            raise RpmOstreeError("Staged deployment (remove with cleanup -p)")
        deployments = self.host.state.deployments
        target = sysroot.rollback_of(self.host)
        if target is None:
            raise RpmOstreeError("No rollback deployment found")
        if sysroot.rollback_queued(self.host):
            target = self.host.booted
        print(f"Moving '{target.directory}' to be first deployment")
        sysroot.replace_deployments(self.host, [target, *(one for one in deployments if one.id != target.id)])
        print(sysroot.bootloader_line(self.host.state, 0))
        return self._queued(given)

    def cleanup(self, argv: list[str]) -> int:
        long = {"--base": "b", "--pending": "p", "--repomd": "m", "--rollback": "r"}
        letters = set()
        for word in argv:
            letters |= set(long.get(word, word.lstrip("-")))
        if not letters or letters - set("bprm"):
            raise RpmOstreeError("At least one cleanup option must be specified")
        return self._transaction("Cleanup", lambda: self._cleanup(letters))

    def _cleanup(self, letters: set[str]) -> int:
        staged, booted = self.host.staged, self.host.booted
        unstaged = staged is not None and "p" in letters
        if unstaged:
            self.host.write_staged(None)
        deployments = self.host.state.deployments
        place = [one.id for one in deployments].index(booted.id)
        kept = []
        for index, one in enumerate(deployments):
            goes = ("p" in letters and index < place) or ("r" in letters and index > place)
            if not goes or one.pinned or one.osname != booted.osname:
                kept.append(one)
        removed = len(deployments) - len(kept)
        if removed:
            sysroot.replace_deployments(self.host, kept)
            print(sysroot.bootloader_line(self.host.state, -removed))
        if letters & {"p", "r"} and not removed and not unstaged:
            print("Deployments unchanged.")
            return 0
        self._prune()
        return 0

    def cancel(self, argv: list[str]) -> int:
        Arguments(argv, ())
        title = cancel(self.host)
        if title is None:
            print("No active transaction.")
        else:
            print(f"Cancelling transaction: {title} \nCancelled.")
        return 0

    def finalize_deployment(self, argv: list[str]) -> int:
        given = Arguments(argv, ("--allow-missing-checksum", "--allow-unlocked"))
        if not given.words and "--allow-missing-checksum" not in given.flags:
            raise RpmOstreeError("Must specify one of CHECKSUM or --allow-missing-checksum")
        return self._transaction("FinalizeDeployment", lambda: self._finalize_deployment(given))

    def _finalize_deployment(self, given: Arguments) -> int:
        staged = self.host.staged
        if staged is None:
            raise RpmOstreeError("No pending staged deployment found")
        if not staged.locked and "--allow-unlocked" not in given.flags:
            raise RpmOstreeError("Staged deployment already unlocked")
        image = sysroot.image_of(self.host, staged)
        found = image[1]["manifest_digest"] if image else staged.base
        if given.words and given.words[0] != found:
            raise RpmOstreeError(f"Expected staged base checksum {given.words[0]}, but found {found}")
        staged.locked = False
        self.host.write_staged(staged)
        given.flags.add("--reboot")
        self._wants_reboot(given)
        return 0

    # local changes

    def reset(self, argv: list[str]) -> int:
        given = Arguments(argv, ("-l", "--overlays", "-o", "--overrides", "-i", "--initramfs", "--reboot", "-r"))
        return self._transaction("Deploy", lambda: self._reset(given))

    def _reset(self, given: Arguments) -> int:
        pending = sysroot.pending(self.host)
        if not pending.incompatible:
            print("No change.")
            return 0
        origin = {key: value for key, value in pending.origin.items() if key not in LOCAL_CHANGES}
        self._stage(pending.base, pending.base, origin, list(pending.kargs), given)
        return self._queued(given)

    def install(self, argv: list[str]) -> int:
        given = self._package_arguments(argv)
        return self._transaction("PkgChange", lambda: self._install(given))

    def uninstall(self, argv: list[str]) -> int:
        given = self._package_arguments(argv)
        return self._transaction("PkgChange", lambda: self._uninstall(given))

    def _package_arguments(self, argv: list[str]) -> Arguments:
        given = Arguments(
            argv,
            (
                *("--idempotent", "--allow-inactive", "--assumeyes", "-y", "--unchanged-exit-77", "--reboot", "-r"),
                *("--lock-finalization", "--apply-live", "-A", "--cache-only", "-C"),
            ),
        )
        if not given.words:
            raise RpmOstreeError("At least one PACKAGE must be specified")
        return given

    def _install(self, given: Arguments) -> int:
        """Any package name will do: the lab has no package repositories, only the state that layering leaves."""
        requested = list(sysroot.pending(self.host).origin.get("packages", []))
        for package in given.words:
            if package in requested and "--idempotent" not in given.flags:
                raise RpmOstreeError(f"Package/capability '{package}' is already requested")
        wanted = sorted({*requested, *given.words})
        if wanted == sorted(requested):
            print("No change.")
            return UNCHANGED if "--unchanged-exit-77" in given.flags else 0
        status = self._layer(wanted, given)
        return self.apply_live([]) if given.flags & {"--apply-live", "-A"} else status

    def _uninstall(self, given: Arguments) -> int:
        requested = list(sysroot.pending(self.host).origin.get("packages", []))
        for package in given.words:
            if package not in requested:
                raise RpmOstreeError(f"Package/capability '{package}' is not currently requested")
        return self._layer([package for package in requested if package not in given.words], given)

    def _layer(self, packages: list[str], given: Arguments) -> int:
        pending = sysroot.pending(self.host)
        print(f"Checking out tree {pending.base[:7]}...done\nResolving dependencies...done")
        print("Checking out packages...done\nWriting rpmdb...done\nWriting OSTree commit...done")
        origin = {key: value for key, value in pending.origin.items() if key != "packages"}
        if packages:
            origin["packages"] = packages
        checksum = layering.layered_checksum(pending.base, packages)
        self._stage(checksum, pending.base, origin, list(pending.kargs), given)
        if packages:
            print("Added:\n" + "\n".join(f"  {package}" for package in packages))
        return 0 if given.flags & {"--apply-live", "-A"} else self._queued(given)

    def apply_live(self, argv: list[str]) -> int:
        Arguments(argv, ())
        pending = sysroot.pending(self.host)
        if pending.id == self.host.state.booted:
            raise RpmOstreeError("No target commit specified and no pending deployment")
        if self.host.state.unlocked not in ("none", "transient", "development"):
            raise RpmOstreeError(f"deployment is unlocked in mode {self.host.state.unlocked}")
        if self.host.state.unlocked == "none":
            self.host.state.unlocked = "transient"
        self.host.state.live_replaced = pending.checksum
        self.host.save()
        print("Computing /etc diff to preserve...done\nUpdating /usr...done\nUpdating /etc...done")
        print("Running systemd-tmpfiles for /run and /var...done\nSuccessfully updated running filesystem tree.")
        return 0

    # what the verbs share

    def _transaction(self, method: str, work: Any) -> int:
        """Run ``work`` in the daemon. Checks first, so that a busy host is an error of the client."""
        if os.geteuid() != 0:
            raise RpmOstreeError(f"rpmostreed OS operation {method} not allowed for user")
        os.close(refuse_if_busy(self.host))
        return run(self.host, method, self.title, work)

    def _stage(self, checksum: str, base: str, origin: dict[str, Any], arguments: list[str], given: Arguments) -> None:
        osname = self.host.booted.osname
        serial = sysroot.next_serial(self.host, checksum)
        locked = "--lock-finalization" in given.flags
        print("Staging deployment...done")
        try:
            sysroot.stage(self.host, Deployment(osname, checksum, serial, origin, arguments, base=base, locked=locked))
        except sysroot.SysrootError as error:
            raise RpmOstreeError(f"Staging deployment: Initializing deployment: {error}") from error
        self._prune()

    def _prune(self) -> None:
        pruned = sysroot.prune(self.host)
        if pruned:
            print(f"Pruned images: {pruned.images} (layers: {pruned.layers})")
            print(f"Freed: {sysroot.format_size(pruned.size)} (pkgcache branches: 0)")

    def _queued(self, given: Arguments) -> int:
        if not self._wants_reboot(given):
            print(QUEUED)
        return 0

    def _wants_reboot(self, given: Arguments) -> bool:
        if not given.flags & {"--reboot", "-r"}:
            return False
        from lab.simulators.systemd import Systemd

        sys.stdout.flush()
        if Systemd(self.host).request("reboot") != 0:
            raise RpmOstreeError("Reboot blocked by a systemd inhibitor lock in `block` mode")
        return True


def _older(found: Import, pending: Deployment, current: dict[str, Any]) -> str:
    import time

    def date(timestamp: int) -> str:
        return time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(timestamp))

    return (
        f"While checking against deployment timestamp: Upgrade target revision '{found.commit}' with timestamp "
        f"'{date(found.metadata['timestamp'])}' is chronologically older than current revision '{pending.base}' "
        f"with timestamp '{date(current['timestamp'])}'; use --allow-downgrade to permit"
    )
