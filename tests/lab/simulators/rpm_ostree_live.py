# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree apply-live`: the pending deployment's packages in the running system (recorded, rpm-ostree 2026.2)."""

from __future__ import annotations

from lab.simulators import layering, sysroot
from lab.simulators.host import read_json, write_json
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_transaction import RpmOstreeError

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.host import Host
    from lab.simulators.rpm_ostree_client import Client
    from lab.simulators.state import Deployment

RECORD = ("transient", "live.json")  # the packages that are live; gone with the boot, as they are


def apply_live(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, ("--reset", "--allow-replacement"), ("--target",))
    return client.transaction("LiveFs", lambda: _apply_live(client, given))


def _apply_live(client: Client, given: Arguments) -> int:
    host = client.host
    target = host.booted if "--reset" in given.flags else sysroot.pending(host)
    if "--target" in given.values:
        wanted = given.values["--target"][-1]
        found = [one for one in sysroot.all_deployments(host) if one.checksum == wanted]
        if not found:
            raise RpmOstreeError(f"No such commit {wanted}")
        target = found[0]
    elif "--reset" not in given.flags and target.id == host.state.booted:
        raise RpmOstreeError("No target commit specified and no pending deployment")
    return apply(client, target, allow_replacement="--allow-replacement" in given.flags)


def live_packages(host: Host) -> list[str]:
    """NEVRAs beyond the image in the running system."""
    found: list[str] | None = read_json(host.path(*RECORD))
    return layering.added(host, host.booted) if found is None else found


def difference(host: Host) -> str:
    """How the running system differs from the booted deployment, as in ``1 added``; empty when it does not."""
    before, now = set(layering.added(host, host.booted)), set(live_packages(host))
    parts = ((len(before - now), "removed"), (len(now - before), "added"))
    return ", ".join(f"{count} {word}" for count, word in parts if count)


def apply(client: Client, target: Deployment, *, allow_replacement: bool) -> int:
    """Make a deployment's packages live. Only additions, unless replacement is allowed. Raises RpmOstreeError."""
    host = client.host
    unlocked = host.state.unlocked
    if unlocked not in ("none", "transient", "development"):
        raise RpmOstreeError(f"apply-live is incompatible with unlock state: {unlocked.capitalize()}")
    before, after = set(live_packages(host)), set(layering.added(host, target))
    for word, packages in (("removed", before - after), ("changed", _changed(host, target))):
        if packages and not allow_replacement:
            raise RpmOstreeError(f"packages would be {word}: {len(packages)}, allow replacement to override")
    if unlocked == "none":
        host.state.unlocked = "transient"
    host.state.live_replaced = target.checksum
    host.save()
    write_json(host.path(*RECORD), sorted(after))
    print("Computing /etc diff to preserve...done\nUpdating /usr...done\nUpdating /etc...done")
    print("Running systemd-tmpfiles for /run and /var...done")
    layering.print_difference(host, target)
    print("Successfully updated running filesystem tree.")
    return 0


def _changed(host: Host, target: Deployment) -> set[str]:
    """Packages of the image that are another version, or gone, in the target's image."""
    from lab.simulators import package_repository as packages

    return set(packages.of_image(host, host.booted.base)) - set(packages.of_image(host, target.base))
