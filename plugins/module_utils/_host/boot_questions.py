# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions about a node's boot that no image tool answers: as steps, to be put in the same trip as the status."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step

BOOT_ID = "/proc/sys/kernel/random/boot_id"

# `-ef` holds on ordinary ostree hosts, where /usr is a bind mount of the deployment's directory. On a composefs the inodes
# differ, so there names and sizes are compared, and the content of small files, to a depth that costs about a second.
# Line by line and sorted, because a composefs lists its directories in another order than the file system below it.
# A writable overlay over /usr is compared with nothing.
_USR = r"""
grep -q '^[^ ]* /usr overlay ' /proc/self/mounts 2>/dev/null && exit 0
found=
for usr in /ostree/deploy/*/deploy/*/usr; do
  [ "$usr" -ef /usr ] || continue
  found=1; deployment=${usr%/usr}; echo "inode ${deployment##*/}"
done
[ -z "$found" ] || exit 0
print_of() (
  cd "$1" || exit
  { find . -xdev -maxdepth 3 -type f -exec ls -ln {} + | awk '{print $5, $NF}'
    find lib share -xdev -maxdepth 3 -type f -size -2 -exec cksum {} +; } 2>/dev/null | sort | cksum
)
booted=
for usr in /ostree/deploy/*/deploy/*/usr; do
  [ -d "$usr" ] || continue
  [ -n "$booted" ] || booted=$(print_of /usr)
  deployment=${usr%/usr}
  [ "$(print_of "$usr")" != "$booted" ] || echo "content ${deployment##*/}"
done
"""

# ostree writes into /run/ostree-booted that the root is a composefs (ostree src/libotcore/otcore.h).
_FACTS = r"""
echo "soft_reboots=$(systemctl show -p SoftRebootsCount --value 2>/dev/null)"
[ ! -e /run/nextroot/usr ] || echo prepared=yes
if grep -q '^composefs / ' /proc/self/mounts 2>/dev/null || tr -cd a-z </run/ostree-booted 2>/dev/null | grep -q composefs; then
  echo composefs=yes
fi
systemd-inhibit --list --no-legend --no-pager 2>/dev/null | sed 's/^/inhibitor=/'
"""

_COUNT = "$(systemctl show -p SoftRebootsCount --value 2>/dev/null)"
_SAME_BOOT = f'[ "$(cat {BOOT_ID})" = "$1" ] && {{ [ -z "$2" ] || [ "{_COUNT}" = "$2" ]; }}'
_NEW_BOOT = (
    f'id=$(cat {BOOT_ID}) && [ -n "$id" ] || exit 1; [ "$id" = "$1" ] || exit 0; [ -n "$2" ] || exit 1; '
    f'count={_COUNT}; [ -n "$count" ] && [ "$count" != "$2" ]'
)
# The first deployment that is not locked boots next. Further lines of each are indented. Nothing is asked of hosts of the
# composefs backend, which ostree knows nothing of.
_STILL_NEXT = (
    '[ -n "$1" ] && command -v ostree >/dev/null || exit 0; said=$(ostree admin status) || exit 0; '
    'printf "%s\\n" "$said" | grep "^[ *] [^ ]" | grep -vF "(finalization locked)" | head -n 1 | sed "s/$/ /" | grep -qF -- " $1 "'
)
_PREPARED = 'ostree admin status | grep -F -- " $1." | grep -qF "(soft-reboot)"'

BOOT_FACTS = Step(("sh", "-c", _FACTS, "boot-facts"), timeout=20)
USR_WITNESS = Step(("sh", "-c", _USR, "usr-witness"), timeout=60)


def same_boot(boot_id: str, soft_reboots: int | None) -> Step:
    """A gate that is open in the boot that was looked at: same kernel, and same userspace where systemd counts them."""
    return Step(("sh", "-c", _SAME_BOOT, "same-boot", boot_id, _text(soft_reboots)), timeout=20, gate=True)


def still_next(following: Deployment | None) -> Step:
    """A gate that is open while this deployment, staged or a queued rollback, is what the next boot boots."""
    named = following is not None and following.checksum and following.serial is not None
    place = f"{following.checksum}.{following.serial}" if following is not None and named else ""
    return Step(("sh", "-c", _STILL_NEXT, "still-next", place), timeout=20, gate=True)


def new_boot(boot_id: str, soft_reboots: int | None) -> Step:
    """A gate that opens in another boot, or after another soft reboot of this one; not while the node goes down."""
    return Step(("sh", "-c", _NEW_BOOT, "new-boot", boot_id, _text(soft_reboots)), timeout=20, gate=True)


def is_prepared(checksum: str) -> Step:
    """A gate that is open if the root in /run/nextroot is that of this commit (recorded, ostree 2026.4)."""
    return Step(("sh", "-c", _PREPARED, "is-prepared", checksum), timeout=20, gate=True)


def why_lost(soft: bool) -> list[Step]:
    """What a node says about a staged deployment that was lost at shutdown: ostree's own last lines, and rpm-ostree's note."""
    boot = "0" if soft else "-1"
    journal = (
        "journalctl",
        "-b",
        boot,
        "-u",
        "ostree-finalize-staged",
        "-t",
        "ostree",
        "-n",
        "3",
        "--no-pager",
        "-o",
        "cat",
    )
    return [Step(("rpm-ostree", "status"), timeout=20, signal="INT"), Step(journal, timeout=20)]


def _text(count: int | None) -> str:
    return "" if count is None else str(count)
