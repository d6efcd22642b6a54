# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with greenboot in them, which calls every boot of theirs good or bad.

images.build_base(address, extra_files=greenboot.files(good=False), enabled_units=[greenboot.UNIT])
"""

from __future__ import annotations

from lab.simulators.greenboot import UNIT, VERDICT

__all__ = ["UNIT", "files"]

_PROGRAM = "/usr/libexec/greenboot/greenboot"


def files(*, good: bool = True) -> dict[str, str]:
    """What an image with greenboot has, by absolute path."""
    return {
        f"/usr/lib/systemd/system/{UNIT}": (
            "[Unit]\nDescription=Greenboot Health Checks Runner\nRefuseManualStart=yes\n\n"
            f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={_PROGRAM} health-check\n\n"
            "[Install]\nWantedBy=multi-user.target\n"
        ),
        _PROGRAM: "#!/bin/sh\necho 'the lab does not run it' >&2\nexit 1\n",
        VERDICT: "good\n" if good else "bad\n",
    }
