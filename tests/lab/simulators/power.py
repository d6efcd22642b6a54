# SPDX-License-Identifier: GPL-3.0-or-later
"""Going down and coming up: finalization at shutdown, boot ids, and time passing without a process of its own.

``power.json`` holds what a host is doing: ``up``, ``stopping`` until ``stop_at``, or ``off`` (until ``up_at``, if that
is set). Whoever looks at the node carries it on: no daemon is needed, and thousands of nodes cost nothing.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

from lab.simulators import sysroot, sysroot_lock
from lab.simulators.host import Host, read_json, write_json

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

STOP_SECONDS = 0.25  # between `systemctl reboot` returning and the connection being lost
NO_SPACE = "Copying passwd: regfile copy: No space left on device"
LOCK_KEPT = "another process kept the sysroot lock"
LOCKED = "finalization is locked"
LOCK_GRACE_SECONDS = 1.0  # what ostree-finalize-staged waits for the lock once everything was asked to end


def read(host: Host) -> dict[str, Any]:
    document: dict[str, Any] = read_json(host.path("power.json"))
    return document


def is_up(host: Host) -> bool:
    """Whether the node answers now. Carries an overdue shutdown or boot on first."""
    power = read(host)
    if power["state"] != "up":
        advance(host)
        power = read(host)
    return power["state"] != "off" and host.fault("unreachable") is None


def advance(host: Host) -> None:
    """Do what is due: the shutdown that was asked for, then the boot."""
    with _Exclusive(host):
        power = read(host)
        now = time.time()
        if power["state"] == "stopping" and now >= power["stop_at"]:
            _go_down(host, power)
            power = read(host)
        if power["state"] == "off" and power["up_at"] is not None and now >= power["up_at"]:
            _come_up(host, at=power["up_at"])


def request(host: Host, kind: str) -> None:
    """Begin an orderly shutdown (``reboot``, ``soft-reboot`` or ``poweroff``) and return while it begins, as systemctl does."""
    with _Exclusive(host):
        power = read(host)
        if power["state"] != "up":
            return
        write_json(
            host.path("power.json"), {**power, "state": "stopping", "kind": kind, "stop_at": time.time() + STOP_SECONDS}
        )
    if os.fork() == 0:
        _carry_on_alone(host)


def _carry_on_alone(host: Host) -> None:
    """The shutdown, in a process that shares nothing with the session that asked for it."""
    try:
        os.setsid()
        os.chdir("/")
        os.closerange(0, 1024)
        os.open(os.devnull, os.O_RDWR)
        os.dup(0)
        os.dup(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(STOP_SECONDS)
        advance(Host(host.directory))
    finally:
        os._exit(0)


def cut(host: Host) -> None:
    """Loss of power, now: everything stops where it is, and the node stays off."""
    with _Exclusive(host):
        _end_processes(host, signal.SIGKILL)
        lost = host.staged.checksum if host.staged else None
        host.journal.append("shutdown", kind="power-cut", finalized=None, lost="power" if lost else None)
        _write_off(host, None)


def come_up(host: Host) -> None:
    """Switch the node on, if it is off, and be done booting at once."""
    with _Exclusive(host):
        if read(host)["state"] == "off":
            _come_up(host, at=time.time())


class _Exclusive:
    """Only one process at a time carries a node on."""

    def __init__(self, host: Host) -> None:
        self.path = host.path("power.lock")

    def __enter__(self) -> None:
        self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self.handle, fcntl.LOCK_EX)

    def __exit__(self, *_unused: object) -> None:
        os.close(self.handle)


def _go_down(host: Host, power: dict[str, Any]) -> None:
    if power["kind"] == "reboot" and host.fire("power-cut"):
        _end_processes(host, signal.SIGKILL)
        host.journal.append("shutdown", kind="power-cut", finalized=None, lost="power" if host.staged else None)
        _write_off(host, time.time() + host.node["boot_seconds"])
        return
    _end_processes(host, signal.SIGTERM)
    before = host.booted.id if host.is_ostree else None
    finalized, lost = _finalize(host) if host.is_ostree else (None, None)
    _end_processes(host, signal.SIGKILL)
    root = None
    if power["kind"] == "soft-reboot":
        from lab.simulators import soft_reboot

        root = soft_reboot.prepared(host)
    state = host.state
    noted = lost is not None and lost not in (LOCKED, LOCK_KEPT)  # what ends ostree from outside leaves no note
    state.finalize_failure = f"Finalizing deployment: During /etc merge: {lost}" if noted else None
    if power["kind"] == "soft-reboot":
        pass  # the kernel stays, and with it whatever root no other was prepared for
    elif power["kind"] == "reboot" and before is not None and host.fire("boots-old-deployment"):
        state.booted = before
    else:
        state.booted = state.deployments[0].id
    host.save()
    host.journal.append("shutdown", kind=power["kind"], finalized=finalized, lost=lost)
    comes_back = power["kind"] != "poweroff" and not host.fire("boot-hangs")
    if power["kind"] == "soft-reboot" and comes_back:
        soft_reboot.begin_userspace(host, root)
    _write_off(host, time.time() + host.node["boot_seconds"] if comes_back else None)


def _finalize(host: Host) -> tuple[str | None, str | None]:
    """Checksum of what was finalized, and why a staged deployment was lost, if it was."""
    from lab.simulators.etc_merge import MergeConflict

    staged = host.staged
    if staged is None:
        return None, None
    if staged.locked:
        return None, LOCKED
    lock = _wait_for_lock(host)
    if lock is None:
        return None, LOCK_KEPT
    try:
        full = host.fault("disk-full")
        if full is not None and full["at_shutdown"]:
            return None, NO_SPACE
        host.reload()
        finalized = sysroot.finalize(host)
        if finalized:
            from lab.simulators import greenboot

            greenboot.arm(host)
    except MergeConflict as error:
        return None, str(error)
    finally:
        os.close(lock)
    return finalized.checksum if finalized else None, None


def _wait_for_lock(host: Host) -> int | None:
    until = time.monotonic() + LOCK_GRACE_SECONDS
    while True:
        if not sysroot_lock.held_by_fault(host, at_shutdown=True):
            handle = sysroot_lock.try_flock(host)
            if handle is not None:
                return handle
        if time.monotonic() > until:
            return None
        time.sleep(sysroot_lock.POLL_SECONDS)


def _write_off(host: Host, up_at: float | None) -> None:
    write_json(host.path("power.json"), {**read(host), "state": "off", "up_at": up_at})


def _come_up(host: Host, *, at: float) -> None:
    import shutil
    import uuid

    power = read(host)
    if power["kind"] == "soft-reboot" and power["up_at"] is not None:
        _come_up_softly(host, power, at=at)
        return
    for directory in ("run", "transient", "tmp"):
        shutil.rmtree(host.path(directory), ignore_errors=True)
        os.makedirs(host.path(directory))
    os.chmod(host.path("tmp"), 0o1777)  # noqa: S103 (a /tmp)
    host.reload()
    state = host.state
    state.unlocked, state.live_replaced = "none", None
    if host.fault("transaction-stuck") is not None:
        host.update_faults("transaction-stuck", None)
    boot_id = str(uuid.uuid4())
    os.makedirs(host.path("proc"), exist_ok=True)
    _write_text(host.path("proc", "boot_id"), boot_id + "\n")
    _write_text(host.path("proc", "cmdline"), _command_line(host) + "\n")
    host.save()
    fields: dict[str, Any] = {"boot_id": boot_id}
    if host.is_ostree:
        os.makedirs(host.path("run", "ostree"), exist_ok=True)
        _write_text(host.path("run", "ostree-booted"), "composefs" if host.node.get("composefs") else "")
        host.use_tools_of(host.tree(host.booted))
        fields |= {"deployment": host.booted.id, "digest": host.commit(host.booted).get("manifest_digest")}
    _start_units(host)
    write_json(host.path("power.json"), {"state": "up", "kind": None, "stop_at": None, "up_at": None, "booted_at": at})
    host.journal.append("boot", t=at, **fields)
    if os.path.exists(host.path("transient", "greenboot.json")):
        from lab.simulators import greenboot

        greenboot.react(host)


def _come_up_softly(host: Host, power: dict[str, Any], *, at: float) -> None:
    """Userspace is new; the kernel, its boot id, its command line and /run are not."""
    _start_units(host)
    up = {"state": "up", "kind": None, "stop_at": None, "up_at": None, "booted_at": at, "root": power.get("root")}
    write_json(host.path("power.json"), up)
    host.journal.append("soft-boot", t=at, deployment=power.get("root"))


def _start_units(host: Host) -> None:
    from lab.simulators.units import Units

    Units(host).boot()


def _command_line(host: Host) -> str:
    booted = host.booted
    kernel = sysroot.boot_checksum(host.tree(booted))
    version = sysroot.check_kernel(host.tree(booted))
    return " ".join([f"BOOT_IMAGE=/ostree/{booted.osname}-{kernel}/vmlinuz-{version}", *booted.kargs])


def _write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)


def _end_processes(host: Host, number: int) -> None:
    """Signal everything that was started inside of the node, however it detached itself since."""
    import contextlib

    wanted = f"LAB_NODE={host.directory}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as environment:
            if wanted in environment.read().split(b"\0"):
                os.kill(int(entry), number)
