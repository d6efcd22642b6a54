# SPDX-License-Identifier: GPL-3.0-or-later
"""How bootc stages a pulled image, and what it does after that."""

from __future__ import annotations

import os
import sys
import time

from lab.simulators import bootc_status, command_line, sysroot
from lab.simulators.bootc_progress import Progress
from lab.simulators.bootc_pull import Pulling
from lab.simulators.bootc_session import BootcError
from lab.simulators.image_reference import ImageSpec
from lab.simulators.state import Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.pull import Import

NO_SOFT_REBOOT = "Soft reboot was required but staged deployment is not soft-reboot capable"
BOUND_IMAGES = "usr/lib/bootc/bound-images.d"


class Staging(Pulling):
    """The commands that end with a new deployment."""

    def stage(self, spec: ImageSpec, found: Import, prefix: str, progress: Progress, *, locked: bool = False) -> None:
        """Make the image the staged deployment. Whatever fails after that leaves it staged. Raises BootcError."""
        host = self.host
        began = time.monotonic()
        progress.staging(found.digest, "merging")
        deployment = Deployment(
            host.booted.osname,
            found.commit,
            sysroot.next_serial(host, found.commit),
            {"container": spec.origin()},
            self._arguments(found, prefix),
            locked=locked,
        )
        progress.staging(found.digest, "deploying")
        try:
            sysroot.stage(host, deployment)
        except sysroot.SysrootError as error:
            self._deploying(began)
            raise BootcError(
                f"{prefix}Staging: Writing deployment: Staging deployment: Initializing deployment: {error}"
            ) from error
        self._deploying(began)
        progress.staging(found.digest, "bound_images")
        self._pull_bound_images(found, prefix)
        progress.staging(found.digest, "cleanup")
        self._clean_up(prefix)
        progress.staging(found.digest, "done")
        if self.version >= (1, 5):
            with open(host.path("run", "reboot-required"), "w", encoding="ascii"):
                pass

    def _arguments(self, found: Import, prefix: str) -> list[str]:
        from lab.simulators import kernel_arguments

        host, booted = self.host, self.host.booted
        new_tree = os.path.join(host.lab, "trees", found.commit)
        try:
            return kernel_arguments.after_switch(
                booted.kargs,
                kernel_arguments.of_image(host.tree(booted), host.arch),
                kernel_arguments.of_image(new_tree, host.arch),
                self.version,
            )
        except kernel_arguments.KernelArgumentError as error:
            raise BootcError(f"{prefix}Staging: {error}") from error

    def _deploying(self, began: float) -> None:
        if self.host.is_composefs:
            return
        seconds = int(time.monotonic() - began)
        sys.stdout.flush()
        stream = sys.stderr if self.version >= (1, 12, 1) else sys.stdout
        stream.write(f"Deploying...done ({seconds} second{'' if seconds == 1 else 's'})\n")

    def _pull_bound_images(self, found: Import, prefix: str) -> None:
        """Ask the registries for the images that the new one is bound to; only that they are there counts here."""
        from lab.bound_images import BoundImageError, check

        try:
            check(self.host, os.path.join(self.host.lab, "trees", found.commit))
        except BoundImageError as error:
            if error.podman:
                sys.stderr.write(f"{error.podman}\n")
            raise BootcError(f"{prefix}Staging: {error}") from error

    def _clean_up(self, prefix: str) -> None:
        pruned = sysroot.prune(self.host)
        if pruned and not self.host.is_composefs:
            size = sysroot.format_size(pruned.size)
            print(f"Pruned images: {pruned.images} (layers: {pruned.layers}, objsize: {size})")
        if self.host.fire("podman-prune-fails") is not None:
            sys.stderr.write("Error: reading /usr/lib/bootc/storage: input/output error\n")
            raise BootcError(f"{prefix}Staging: Pruning images: Subprocess failed: ExitStatus(unix_wait_status(32000))")

    def announce(self, spec: ImageSpec, found: Import) -> None:
        """The words of success, of which there are none on a composefs host."""
        if self.host.is_composefs:
            return
        print(f"Queued for next boot: {spec.shown}")
        if found.metadata["version"]:
            print(f"  Version: {found.metadata['version']}")
        print(f"  Digest: {found.digest}", flush=True)

    def finish(self, options: command_line.Parsed, lock: int, prefix: str) -> None:
        """Soft reboot and --apply, which both come after the deployment is staged."""
        soft, staged = options.value("--soft-reboot"), self.host.staged
        if soft and staged is not None:
            if bootc_status.soft_reboot_capable(self.host, staged):
                print("Staged deployment is soft-reboot capable, preparing for soft-reboot...", flush=True)
                self.prepare_soft_reboot(staged, f"{prefix}Handling soft reboot: Soft reboot staged deployment: ")
            elif soft == "required":
                raise BootcError(f"{prefix}Handling soft reboot: {NO_SOFT_REBOOT}")
        if options.has("--apply"):
            self.reboot(lock)

    def prepare_soft_reboot(self, deployment: Deployment, prefix: str) -> None:
        from lab.simulators import soft_reboot

        try:
            soft_reboot.prepare(self.host, deployment)
        except soft_reboot.NotPrepared as error:
            sys.stderr.write(f"error: {error}\n")
            raise BootcError(
                f"{prefix}Preparing soft reboot: Failed to prepare soft-reboot: "
                "Preparing /run/nextroot for a soft-reboot: Child process exited with code 1"
            ) from error

    def refuse_same_content(self, found: Import, prefix: str) -> None:
        """On a composefs host an image with the content of one that is deployed is an error (bootc 1.16.9, update.rs)."""
        if not self.host.is_composefs:
            return
        verity = bootc_status.verity_of(found.metadata)
        for one in sysroot.all_deployments(self.host):
            if bootc_status.verity_of(self.host.commit(one)) == verity:
                raise BootcError(f"{prefix}Target image has the same fs-verity digest as a deployment: {verity}")
