# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree status`, as rpm-ostree 2026.2 prints it for people."""

from __future__ import annotations

from lab.simulators import layering, rpm_ostree_driver, sysroot, sysroot_lock
from lab.simulators import package_repository as packages

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.host import Host
    from lab.simulators.state import Deployment


def for_people(host: Host, *, booted_only: bool = False) -> str:
    running = sysroot_lock.running_transaction(host)
    lines = ["State: busy" if running else "State: idle"]
    if running:
        unit = running.get("unit", rpm_ostree_driver.LOGIN)
        lines.append(f"Transaction: {running['title']} ")
        lines.append(f"  Initiator: client(id:cli dbus:{running['sender'].lstrip(':')} unit:{unit} uid:0)")
    driver = rpm_ostree_driver.registered(host)
    if driver is not None:
        lines.append(f"AutomaticUpdatesDriver: {driver.name}")
        lines.append(f"  DriverState: {rpm_ostree_driver.state(host, driver)}")
    if host.state.finalize_failure:
        lines.append("Warning: failed to finalize previous deployment")
        lines.append(f"         error: {host.state.finalize_failure}")
        lines.append("         check `journalctl -b -1 -u ostree-finalize-staged.service`")
    lines.append("BootedDeployment:" if booted_only else "Deployments:")
    everything = sysroot.all_deployments(host)
    place = [one.id for one in everything].index(host.state.booted)
    blocks = [
        "\n".join(_block(host, one, pending=index < place))
        for index, one in enumerate(everything)
        if not booted_only or index == place
    ]
    return "\n".join(lines) + "\n" + "\n\n".join(blocks) + "\n"


def _block(host: Host, one: Deployment, *, pending: bool) -> list[str]:
    booted = one.id == host.state.booted
    metadata = host.commit(one)
    name = one.origin.get("refspec") or one.origin["container"]
    rows: list[tuple[str, str]] = []
    if "container" in one.origin:
        rows.append(("Digest", metadata["manifest_digest"]))
        rows.append(("CustomOrigin", one.origin.get("custom-description", "")))
    rows.append(("Version", f"{metadata['version']} ({metadata['created']})"))
    if "refspec" in one.origin:
        rows.append(("Commit" if one.base == one.checksum else "BaseCommit", one.base))
    if booted and host.state.live_replaced:
        from lab.simulators.rpm_ostree_live import difference

        rows += [("LiveCommit", host.state.live_replaced), ("LiveDiff", difference(host))]
    if pending:
        rows.append(("Diff", layering.Difference(host, one).summary()))
    rows += _local_changes(host, one)
    rows.append(("Pinned", "yes" if one.pinned else ""))
    rows.append(("Unlocked", host.state.unlocked if booted and host.state.unlocked != "none" else ""))
    return [
        f"{'●' if booted else ' '} {name}",
        *(f"{title.rjust(25)}: {value}" for title, value in rows if value),
    ]


def _local_changes(host: Host, one: Deployment) -> list[tuple[str, str]]:
    origin = one.origin
    active = layering.active(host, one.base, origin) if one.base != one.checksum else []
    in_image = {packages.name_of(nevra): nevra for nevra in packages.of_image(host, one.base)}
    removed = [f"{name} {_version(in_image[name])}" for name in origin.get("override-remove", []) if name in in_image]
    replaced = [
        f"{packages.name_of(new)} {_version(in_image[packages.name_of(new)])} -> {_version(new)}"
        for new in origin.get("override-replace-local", [])
        if packages.name_of(new) in in_image
    ]
    inactive = [request for request in origin.get("packages", []) if request not in active]
    initramfs = "regenerate" if origin.get("regenerate-initramfs") else ""
    if origin.get("initramfs-args"):
        initramfs = f"{initramfs} ({' '.join(origin['initramfs-args'])})"
    return [
        ("RemovedBasePackages", ", ".join(removed)),
        ("LocalOverrides", ", ".join(replaced)),
        ("LayeredPackages", " ".join(active)),
        ("LocalPackages", " ".join(origin.get("local-packages", []))),
        ("InactiveRequests", " ".join(inactive)),
        ("Initramfs", initramfs),
        ("Cliwrap", "enabled" if origin.get("cliwrap") else ""),
        ("InitramfsEtc", " ".join(origin.get("initramfs-etc", []))),
    ]


def _version(nevra: str) -> str:
    _name, version, rest = nevra.rsplit("-", 2)
    return f"{version}-{rest.rsplit('.', 1)[0]}"
