# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc`, versions 1.16.9 and 1.1.6: switch, upgrade, rollback, usr-overlay, status."""

from __future__ import annotations

import os
import sys
import time

from lab.simulators import bootc_status, command_line, sysroot, sysroot_lock
from lab.simulators.host import Host
from lab.simulators.image_reference import ImageSpec, InvalidReference, RegistryReference
from lab.simulators.state import Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.pull import Import

ROOT_NEEDED = "This command must be executed as the root user"
LOCAL_CHANGES = (
    "Deployment contains local rpm-ostree modifications; cannot upgrade via bootc. "
    "You can run `rpm-ostree reset` to undo the modifications."
)
NO_SOFT_REBOOT = "Soft reboot was required but staged deployment is not soft-reboot capable"
SOFT_REBOOT = ("required", "auto")
COMMANDS = ("upgrade", "update", "switch", "rollback", "status", "usr-overlay", "usroverlay")
HELP = """Deploy and transactionally in-place with bootable container images

Usage: bootc <COMMAND>

Commands:
  upgrade      Download and queue an updated container image to apply
  switch       Target a new container image reference to boot
  rollback     Change the bootloader entry ordering; the deployment under `rollback` will be queued
  status       Display status
  usr-overlay  Add a transient overlayfs on `/usr`
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version
"""


class BootcError(Exception):
    """bootc gives up. ``str()`` is the text after the command's own prefix."""


class Bootc:
    """One run of bootc on one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.version = host.version("bootc")
        self.is_new = self.version >= (1, 11)

    def run(self, argv: list[str]) -> int:
        if not argv or argv[0] in ("-h", "--help", "help"):
            (sys.stdout if argv else sys.stderr).write(HELP)
            return 0 if argv else command_line.BAD_USAGE
        if argv[0] in ("-V", "--version"):
            print(f"bootc {'.'.join(map(str, self.version))}")
            return 0
        command, rest = argv[0], argv[1:]
        if command not in COMMANDS:
            command_line.fail(f"unrecognized subcommand '{command}'", "bootc <COMMAND>")
        title, method = {
            "status": ("Status", self.status),
            "switch": ("Switching", self.switch),
            "upgrade": ("Upgrading", self.upgrade),
            "update": ("Upgrading", self.upgrade),
            "rollback": ("Rollback", self.rollback),
            "usr-overlay": ("", self.usr_overlay),
            "usroverlay": ("", self.usr_overlay),
        }[command]
        try:
            return method(rest)
        except (BootcError, sysroot.SysrootError) as error:
            prefix = f"{title}: " if title else ""
            self._error(f"{prefix}{error}")
            return 1

    def _error(self, text: str) -> None:
        # ≤1.3 logs through tracing, with colours even without a terminal (recorded, bootc 1.1.6)
        start = "error:" if self.version >= (1, 4) else "\x1b[31mERROR\x1b[0m"
        sys.stdout.flush()
        sys.stderr.write(f"{start} {text}\n")

    # status

    def status(self, argv: list[str]) -> int:
        verbose = ("--verbose", "-v") if self.version >= (1, 5) else ()
        options = command_line.parse(
            argv,
            usage="bootc status [OPTIONS]",
            flags=("--json", "--booted", *verbose),
            options={"--format": ("humanreadable", "yaml", "json"), "--format-version": None},
        )
        if options.value("--format-version") not in (None, "0", "1"):
            raise BootcError(f"Unsupported format version: {options.value('--format-version')}")
        if self.host.is_ostree:
            self._require_root()
            lock = self._lock()
            document = bootc_status.host_document(self.host, booted_only=options.has("--booted"))
            os.close(lock)
        else:
            document = bootc_status.host_document(self.host)
        default = "humanreadable" if sys.stdout.isatty() else "yaml"
        form = "json" if options.has("--json") else options.value("--format") or default
        if form == "json":
            sys.stdout.write(bootc_status.as_json(document, self.version))
        elif form == "yaml":
            sys.stdout.write(bootc_status.as_yaml(document))
        else:
            sys.stdout.write(bootc_status.for_people(document, verbose=bool(options.flags & {"--verbose", "-v"})))
        return 0

    # switch

    def switch(self, argv: list[str]) -> int:
        newer = ("--experimental-unified-storage",) if self.version >= (1, 12) else ()
        options = command_line.parse(
            argv,
            usage="bootc switch [OPTIONS] <TARGET>",
            flags=(
                *("--quiet", "--apply", "--retain", "--enforce-container-sigpolicy", "--no-signature-verification"),
                *("--mutate-in-place", *newer),
            ),
            options={"--transport": None, **self._soft_reboot_option(), "--progress-fd": None},
            words=("TARGET",),
        )
        self._require_booted_ostree()
        target = ImageSpec(
            options.words[0],
            _transport(options.value("--transport")),
            "containerPolicy" if options.has("--enforce-container-sigpolicy") else None,
        )
        lock = self._lock()
        if bootc_status.current_spec(self.host) == target:
            print("Image specification is unchanged.")
            if options.has("--apply") and self.version >= (1, 16, 3) and self.host.staged is not None:
                self._reboot(lock)
            return 0
        self._check_reference(target)
        prefix = "Switching (ostree): " if self.is_new else "Pulling: "
        found = self._pull(target, prefix, tag_and_digest=True)
        self._stage(target, found, "Switching (ostree): " if self.is_new else "")
        self._announce(target, found)
        self._finish(options, lock, "Switching (ostree): Handling staged soft reboot: ")
        return 0

    def _check_reference(self, target: ImageSpec) -> None:
        """≥1.12 asks podman about the image first, and podman's complaint is on stderr too."""
        if self.version < (1, 12):
            return
        if "://" in target.image:
            transport = target.image.split("://")[0]
            sys.stderr.write(f'Error: unsupported transport "{transport}" for looking up local images\n')
            raise BootcError("Switching (ostree): invalid reference format")
        try:
            RegistryReference(target.image)
        except InvalidReference as error:
            sys.stderr.write(f'Error: parsing reference "{target.image}": {error}\n')
            raise BootcError("Switching (ostree): invalid reference format") from error

    # upgrade

    def upgrade(self, argv: list[str]) -> int:
        newer = ("--download-only", "--from-downloaded") if self.version >= (1, 12) else ()
        tag = {"--tag": None} if self.version >= (1, 15) else {}
        options = command_line.parse(
            argv,
            usage="bootc upgrade [OPTIONS]",
            flags=("--quiet", "--check", "--apply", *newer),
            options={**self._soft_reboot_option(), **tag, "--progress-fd": None},
        )
        if options.has("--check") and options.has("--apply"):
            command_line.fail("the argument '--check' cannot be used with '--apply'", "bootc upgrade --check")
        self._require_booted_ostree()
        lock = self._lock()
        if options.has("--from-downloaded"):
            return self._unlock_staged()
        spec = self._spec_to_upgrade(options.value("--tag"))
        if options.has("--check"):
            return self._check(spec)
        found = self._pull(spec, "" if self.is_new else "Pulling: ", tag_and_digest=True)
        staged, booted = self.host.staged, self.host.booted
        if staged is not None and self._digest(staged) == found.digest:
            return self._staged_already(staged, options, lock)
        if self._digest(booted) == found.digest:
            print("No update available.")
            return 0
        self._stage(spec, found, "", locked=options.has("--download-only"))
        self._announce(spec, found)
        self._print_difference(found)
        if not options.has("--download-only"):
            self._finish(options, lock, "Handling staged soft reboot: ")
        return 0

    def _spec_to_upgrade(self, tag: str | None) -> ImageSpec:
        spec = bootc_status.current_spec(self.host)
        if spec is None:
            staged = self.host.staged
            if self.host.booted.incompatible or (staged is not None and staged.incompatible):
                raise BootcError(LOCAL_CHANGES)
            raise BootcError(
                "No image source specified" if self.version >= (1, 15) else "Missing image in specification"
            )
        if tag is None:
            return spec
        name = RegistryReference(spec.image).name
        return ImageSpec(f"{name}:{tag}", spec.transport, spec.signature)

    def _check(self, spec: ImageSpec) -> int:
        found = self._look_up(spec, "", tag_and_digest=False)
        if found.already_present:
            print(f"No changes in: {spec.stored_as}")
            return 0
        print(f"Update available for: {spec.stored_as}")
        if found.metadata["version"]:
            print(f"  Version: {found.metadata['version']}")
        print(f"  Digest: {found.digest}")
        self._print_difference(found)
        return 0

    def _unlock_staged(self) -> int:
        staged = self.host.staged
        if staged is None:
            raise BootcError("No staged deployment found")
        if not staged.locked:
            print("Staged deployment is already set to apply on reboot")
            return 0
        staged.locked = False
        self.host.update_staged(staged)
        print("Staged deployment will now be applied on reboot")
        return 0

    def _staged_already(self, staged: Deployment, options: command_line.Parsed, lock: int) -> int:
        if options.has("--download-only"):
            if not staged.locked:
                staged.locked = True
                self.host.update_staged(staged)
                with open(self.host.path("run", "ostree", "staged-deployment-locked"), "w", encoding="ascii"):
                    pass  # the legacy file, which only a toggle writes and which rpm-ostree looks at
            print("Image downloaded, but will not be applied on reboot")
            return 0
        if staged.locked:
            staged.locked = False
            self.host.update_staged(staged)
            print("Staged deployment will now be applied on reboot")
        else:
            print("Staged update present, not changed" + ("" if self.is_new else "."))
        self._finish(options, lock, "Handling staged soft reboot: ")
        return 0

    def _digest(self, deployment: Deployment) -> str | None:
        image = None if deployment.incompatible else sysroot.image_of(self.host, deployment)
        return str(image[1]["manifest_digest"]) if image else None

    def _print_difference(self, found: Import) -> None:
        from lab.pull import LayerDifference

        if self._digest(self.host.booted) is None:
            return
        difference = LayerDifference(self.host.commit(self.host.booted), found.metadata)
        for title, (count, size) in (
            ("Total new layers:", difference.total),
            ("Removed layers:  ", difference.removed),
            ("Added layers:    ", difference.added),
        ):
            print(f"{title} {count:<4}  Size: {sysroot.format_size(size)}")

    # rollback, usr-overlay

    def rollback(self, argv: list[str]) -> int:
        apply = ("--apply",) if self.version >= (1, 1, 7) else ()
        options = command_line.parse(
            argv,
            usage="bootc rollback [OPTIONS]" if apply else "bootc rollback",
            flags=apply,
            options=self._soft_reboot_option(),
        )
        self._require_booted_ostree()
        lock = self._lock()
        prefix = "Rollback (ostree): " if self.is_new else ""
        target = sysroot.rollback_of(self.host)
        if target is None:
            raise BootcError(f"{prefix}No rollback available")
        if target.incompatible or sysroot.image_of(self.host, target) is None:
            raise BootcError(f"{prefix}Rollback is not container image based")
        undo = sysroot.rollback_queued(self.host)
        first = self.host.booted if undo else target
        self.host.write_staged(None)
        others = [one for one in self.host.state.deployments if one.id != first.id]
        sysroot.replace_deployments(self.host, [first, *others])
        if undo:
            print("notice: Reverting queued rollback state")
        print(f"Next boot: {'current' if undo else 'rollback'} deployment")
        if options.value("--soft-reboot") and bootc_status.soft_reboot_capable(self.host, first):
            print("Rollback deployment is soft-reboot capable, preparing for soft-reboot...", flush=True)
            self._prepare_soft_reboot(first, f"{prefix}Handling soft reboot: Soft reboot rollback deployment: ")
        if options.has("--apply"):
            self._reboot(lock)
        return 0

    def usr_overlay(self, argv: list[str]) -> int:
        read_only = ("--read-only",) if self.version >= (1, 15) else ()
        options = command_line.parse(argv, usage="bootc usr-overlay [OPTIONS]", flags=read_only)
        self._require_booted_ostree()
        from lab.simulators.ostree import unlock

        return unlock(self.host, transient=options.has("--read-only"))

    # what the commands share

    def _soft_reboot_option(self) -> dict[str, tuple[str, ...] | None]:
        return {"--soft-reboot": SOFT_REBOOT} if self.version >= (1, 7) else {}

    def _require_root(self) -> None:
        if os.geteuid() != 0:
            older = "Initializing storage: Acquiring sysroot: "
            raise BootcError(
                f"{'' if self.is_new else older}Preparing for write: Querying root privilege: {ROOT_NEEDED}"
            )

    def _require_booted_ostree(self) -> None:
        if not self.host.is_ostree:
            new, old = "System not booted via bootc", "This command requires an ostree-booted host system"
            raise BootcError(new if self.is_new else old)
        self._require_root()

    def _lock(self) -> int:
        return sysroot_lock.acquire(self.host, announce=self.version <= (1, 6, 0))

    def _look_up(self, spec: ImageSpec, prefix: str, *, tag_and_digest: bool) -> Import:
        from lab.pull import look_up
        from lab.pull_error import PullError, UnsuitableImage

        fetching = f"{prefix}Preparing import: Fetching manifest: "
        try:
            return look_up(self.host, spec, tag_and_digest=tag_and_digest)
        except UnsuitableImage as error:
            raise BootcError(f"{fetching}{error}") from error
        except PullError as error:
            if self.is_new:
                raise BootcError(f"{fetching}failed to invoke method OpenImage: {error}") from error
            twice = "failed to invoke method OpenImage: failed to invoke method OpenImage: "
            raise BootcError(f"{prefix}Creating importer: {twice}{error}") from error

    def _pull(self, spec: ImageSpec, prefix: str, *, tag_and_digest: bool) -> Import:
        found = self._look_up(spec, prefix, tag_and_digest=tag_and_digest)
        if found.already_present:
            print(f"No changes in {spec.image} => {found.digest}", flush=True)
            return found
        if found.needed:
            size = sysroot.format_size(found.needed_bytes)
            print(
                f"layers already present: {len(found.present)}; layers needed: {len(found.needed)} ({size})", flush=True
            )
        from lab.pull import fetch
        from lab.pull_error import ConnectionLost, PullError

        full = self.host.fault("disk-full")
        if full is not None and found.needed_bytes > full["available"] and self.version >= (1, 14):
            available = sysroot.format_size(full["available"])
            required = sysroot.format_size(found.needed_bytes)
            raise BootcError(
                f"{prefix}Insufficient free space for {spec.image} (available: {available} required: {required})"
            )
        importing = f"{prefix}Pulling: Importing: " if self.is_new else f"{prefix}Importing: "
        try:
            fetch(self.host, found)
        except ConnectionLost as error:
            raise BootcError(
                f"{importing}Unencapsulating base: proxy failure: failed to invoke method FinishPipe: {error} "
                "and client error: Importing commit: unexpected end of file"
            ) from error
        except PullError as error:
            raise BootcError(f"{importing}{error}") from error
        return found

    def _stage(self, spec: ImageSpec, found: Import, prefix: str, *, locked: bool = False) -> None:
        from lab.simulators import kernel_arguments

        began = time.monotonic()
        host, booted = self.host, self.host.booted
        new_tree = os.path.join(host.lab, "trees", found.commit)
        try:
            kargs = kernel_arguments.after_switch(
                booted.kargs,
                kernel_arguments.of_image(host.tree(booted), host.arch),
                kernel_arguments.of_image(new_tree, host.arch),
                self.version,
            )
        except kernel_arguments.KernelArgumentError as error:
            raise BootcError(f"{prefix}Staging: {error}") from error
        deployment = Deployment(
            booted.osname,
            found.commit,
            sysroot.next_serial(host, found.commit),
            {"container": spec.origin()},
            kargs,
            locked=locked,
        )
        try:
            sysroot.stage(host, deployment)
        except sysroot.SysrootError as error:
            self._deploying(began)
            raise BootcError(
                f"{prefix}Staging: Writing deployment: Staging deployment: Initializing deployment: {error}"
            ) from error
        self._deploying(began)
        pruned = sysroot.prune(host)
        if pruned:
            size = sysroot.format_size(pruned.size)
            print(f"Pruned images: {pruned.images} (layers: {pruned.layers}, objsize: {size})")
        with open(host.path("run", "reboot-required"), "w", encoding="ascii"):
            pass

    def _deploying(self, began: float) -> None:
        seconds = int(time.monotonic() - began)
        sys.stdout.flush()
        stream = sys.stderr if self.version >= (1, 12, 1) else sys.stdout
        stream.write(f"Deploying...done ({seconds} second{'' if seconds == 1 else 's'})\n")

    def _announce(self, spec: ImageSpec, found: Import) -> None:
        print(f"Queued for next boot: {spec.image}")
        if found.metadata["version"]:
            print(f"  Version: {found.metadata['version']}")
        print(f"  Digest: {found.digest}", flush=True)

    def _finish(self, options: command_line.Parsed, lock: int, prefix: str) -> None:
        """Soft reboot and --apply, which both come after the deployment is staged."""
        soft, staged = options.value("--soft-reboot"), self.host.staged
        if soft and staged is not None:
            if bootc_status.soft_reboot_capable(self.host, staged):
                print("Staged deployment is soft-reboot capable, preparing for soft-reboot...", flush=True)
                self._prepare_soft_reboot(staged, f"{prefix}Handling soft reboot: Soft reboot staged deployment: ")
            elif soft == "required":
                raise BootcError(f"{prefix}Handling soft reboot: {NO_SOFT_REBOOT}")
        if options.has("--apply"):
            self._reboot(lock)

    def _prepare_soft_reboot(self, deployment: Deployment, prefix: str) -> None:
        from lab.simulators import soft_reboot

        try:
            soft_reboot.prepare(self.host, deployment)
        except soft_reboot.NotPrepared as error:
            sys.stderr.write(f"error: {error}\n")
            raise BootcError(
                f"{prefix}Preparing soft reboot: Failed to prepare soft-reboot: Preparing /run/nextroot for a soft-reboot: "
                "Child process exited with code 1"
            ) from error

    def _reboot(self, lock: int) -> None:
        """`systemctl reboot`, then sleep until it kills us, still holding the lock: --apply never exits 0."""
        from lab.simulators import systemd

        if systemd.Systemd(self.host).reboot() != 0:
            raise BootcError("Rebooting: Initiating reboot: Subprocess failed: ExitStatus(unix_wait_status(256))")
        sys.stdout.flush()
        while lock >= 0:
            time.sleep(3600)


def _transport(given: str | None) -> str:
    return "registry" if given in (None, "docker", "docker://") else str(given).rstrip(":")
