# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc upgrade`, also called `bootc update`."""

from __future__ import annotations

from lab.simulators import bootc_status, command_line, sysroot
from lab.simulators.bootc_progress import Progress
from lab.simulators.bootc_session import BootcError
from lab.simulators.bootc_staging import Staging
from lab.simulators.image_reference import ImageSpec, RegistryReference
from lab.simulators.state import Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.pull import Import

LOCAL_CHANGES = (
    "Deployment contains local rpm-ostree modifications; cannot upgrade via bootc. "
    "You can run `rpm-ostree reset` to undo the modifications."
)
LOCAL_CHANGES_BEFORE_0_1_12 = "Booted deployment contains local rpm-ostree modifications; cannot upgrade via bootc"


class Upgrade(Staging):
    """One `bootc upgrade`."""

    def run(self, argv: list[str]) -> int:
        newer = ("--download-only", "--from-downloaded") if self.version >= (1, 12) else ()
        progress_option = {"--progress-fd": None} if self.version >= (1, 1, 4) else {}
        tag = {"--tag": None} if self.version >= (1, 15) else {}
        options = command_line.parse(
            argv,
            usage="bootc upgrade [OPTIONS]",
            flags=("--quiet", "--check", "--apply", *newer),
            options={**self.soft_reboot_option(), **tag, **progress_option},
        )
        if options.has("--check") and options.has("--apply"):
            command_line.fail("the argument '--check' cannot be used with '--apply'", "bootc upgrade --check")
        self.require_booted()
        progress = Progress.of_option(options.value("--progress-fd"), "")
        lock = self.lock()
        if options.has("--from-downloaded"):
            return self._unlock_staged()
        spec = self._spec_to_upgrade(options.value("--tag"))
        if options.has("--check"):
            return self._check(spec)
        found = self.pull(spec, "" if self.is_new else "Pulling: ", progress)
        staged, booted = self.host.staged, self.host.booted
        if staged is not None and self._digest(staged) == found.digest:
            return self._staged_already(staged, options, lock)
        if self._digest(booted) == found.digest:
            print("No update available.")
            return 0
        self.refuse_same_content(found, "")
        self.stage(spec, found, "", progress, locked=options.has("--download-only"))
        self.announce(spec, found)
        self._print_difference(found)
        if not options.has("--download-only"):
            self.finish(options, lock, "Handling staged soft reboot: ")
        return 0

    def _spec_to_upgrade(self, tag: str | None) -> ImageSpec:
        spec = bootc_status.current_spec(self.host)
        if spec is None:
            staged = self.host.staged
            if self.host.booted.incompatible or (staged is not None and staged.incompatible):
                raise BootcError(LOCAL_CHANGES if self.version >= (0, 1, 12) else LOCAL_CHANGES_BEFORE_0_1_12)
            raise BootcError(
                "No image source specified" if self.version >= (1, 15) else "Missing image in specification"
            )
        if tag is None:
            return spec
        name = RegistryReference(spec.image).name
        return ImageSpec(f"{name}:{tag}", spec.transport, spec.signature)

    def _check(self, spec: ImageSpec) -> int:
        if self.host.is_composefs:
            raise BootcError("the lab does not know what --check says on a composefs host")
        found = self.look_up(spec, "", tag_and_digest=False)
        if found.already_present:
            print(f"No changes in: {spec.shown_by_check}")
            return 0
        print(f"Update available for: {spec.shown_by_check}")
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
        self.finish(options, lock, "Handling staged soft reboot: ")
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
