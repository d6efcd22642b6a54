# SPDX-License-Identifier: GPL-3.0-or-later
"""How bootc looks an image up and pulls it, with the words of its versions."""

from __future__ import annotations

from lab.simulators import sysroot
from lab.simulators.bootc_progress import Progress
from lab.simulators.bootc_session import BootcError, Session
from lab.simulators.image_reference import ImageSpec

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.pull import Import


class Pulling(Session):
    """The commands that need an image from a registry."""

    def look_up(self, spec: ImageSpec, prefix: str, *, tag_and_digest: bool) -> Import:
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

    def pull(self, spec: ImageSpec, prefix: str, progress: Progress) -> Import:
        """Look up and download. Raises BootcError."""
        found = self.look_up(spec, prefix, tag_and_digest=True)
        if found.already_present:
            print(f"No changes in {spec.shown} => {found.digest}", flush=True)
            return found
        if found.needed:
            size = sysroot.format_size(found.needed_bytes)
            print(
                f"layers already present: {len(found.present)}; layers needed: {len(found.needed)} ({size})", flush=True
            )
        self._check_space(spec, found, prefix)
        from lab.pull import fetch
        from lab.pull_error import ConnectionLost, PullError

        importing = f"{prefix}Pulling: Importing: " if self.is_new else f"{prefix}Importing: "
        try:
            fetch(
                self.host,
                found,
                on_bytes=lambda index, received: progress.pulling(
                    found, found.needed[:index], found.needed[index], received
                ),
            )
        except ConnectionLost as error:
            raise BootcError(
                f"{importing}Unencapsulating base: proxy failure: failed to invoke method FinishPipe: {error} "
                "and client error: Importing commit: unexpected end of file"
            ) from error
        except PullError as error:
            raise BootcError(f"{importing}{error}") from error
        progress.importing(found.digest)
        return found

    def _check_space(self, spec: ImageSpec, found: Import, prefix: str) -> None:
        """Since 1.14 before anything is downloaded."""
        full = self.host.fault("disk-full")
        if full is not None and found.needed_bytes > full["available"] and self.version >= (1, 14):
            available = sysroot.format_size(full["available"])
            required = sysroot.format_size(found.needed_bytes)
            raise BootcError(
                f"{prefix}Insufficient free space for {spec.image} (available: {available} required: {required})"
            )
