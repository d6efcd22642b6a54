# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc switch`."""

from __future__ import annotations

import sys

from lab.simulators import bootc_status, command_line
from lab.simulators.bootc_progress import Progress
from lab.simulators.bootc_session import BootcError
from lab.simulators.bootc_staging import Staging
from lab.simulators.image_reference import ImageSpec, InvalidReference, RegistryReference


class Switch(Staging):
    """One `bootc switch`."""

    def run(self, argv: list[str]) -> int:
        options = self._options(argv)
        if options.has("--mutate-in-place"):
            raise BootcError("the lab does not simulate --mutate-in-place")
        self.require_booted()
        progress = Progress.of_option(options.value("--progress-fd"), self.prefix("Switching"))
        target = ImageSpec(
            options.words[0],
            _transport(options.value("--transport")),
            self._signature(options),
        )
        lock = self.lock()
        if bootc_status.current_spec(self.host) == target:
            print("Image specification is unchanged.")
            if options.has("--apply") and self.version >= (1, 16, 3) and self.host.staged is not None:
                self.reboot(lock)
            return 0
        self._check_reference(target)
        prefix = self.prefix("Switching")
        found = self.pull(target, prefix or "Pulling: ", progress)
        self.refuse_same_content(found, prefix)
        self.stage(target, found, prefix, progress)
        self.announce(target, found)
        self.finish(options, lock, f"{prefix}Handling staged soft reboot: ")
        return 0

    def _options(self, argv: list[str]) -> command_line.Parsed:
        version = self.version
        flags = ["--quiet", "--retain", "--no-signature-verification"]
        flags += ["--apply"] if version >= (0, 1, 16) else []
        flags += ["--enforce-container-sigpolicy"] if version >= (0, 1, 5) else []
        flags += ["--mutate-in-place"] if version >= (0, 1, 6) else []
        flags += ["--experimental-unified-storage"] if version >= (1, 12) else []
        remote = {"--ostree-remote": None} if version < (1, 1, 5) else {}
        progress = {"--progress-fd": None} if version >= (1, 1, 4) else {}
        return command_line.parse(
            argv,
            usage="bootc switch [OPTIONS] <TARGET>",
            flags=flags,
            options={"--transport": None, **self.soft_reboot_option(), **remote, **progress},
            words=("TARGET",),
        )

    def _signature(self, options: command_line.Parsed) -> str | None:
        if options.has("--enforce-container-sigpolicy"):
            return "containerPolicy"
        remote = options.value("--ostree-remote")
        return f"ostreeRemote:{remote}" if remote else None

    def _check_reference(self, target: ImageSpec) -> None:
        """≥1.12 asks podman about the image first, and podman's complaint is on stderr too."""
        if self.version < (1, 12):
            return
        prefix = self.prefix("Switching")
        if "://" in target.image:
            transport = target.image.split("://")[0]
            sys.stderr.write(f'Error: unsupported transport "{transport}" for looking up local images\n')
            raise BootcError(f"{prefix}invalid reference format")
        try:
            RegistryReference(target.image)
        except InvalidReference as error:
            sys.stderr.write(f'Error: parsing reference "{target.image}": {error}\n')
            raise BootcError(f"{prefix}invalid reference format") from error


def _transport(given: str | None) -> str:
    return "registry" if given in (None, "docker", "docker://") else str(given).rstrip(":")
