# SPDX-License-Identifier: GPL-3.0-or-later
"""Transient services of a node: what `systemd-run` leaves, and what `systemctl` shows, stops and releases.

One JSON file per unit in ``transient/units/``, which a boot empties. The processes of a unit carry its name in their
environment (LAB_UNIT), which stands for the control group that the lab does not have.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time

from lab.simulators.host import Host, read_json, write_json

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

EXITED, KILLED = 1, 2  # CLD_EXITED and CLD_KILLED, which ExecMainCode shows as numbers
CLEAN_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE})
POLL_SECONDS = 0.02
STOP_SECONDS = 90.0  # DefaultTimeoutStopSec


class TransientUnit:
    """One loaded transient service. A unit that ended well, or was stopped, is not loaded any more, unless it remains."""

    def __init__(self, host: Host, name: str, record: dict[str, Any]) -> None:
        self.host = host
        self.name = name
        self.record = record

    @classmethod
    def load(cls, host: Host, name: str) -> TransientUnit | None:
        """The unit, or None when systemd does not know it (any more)."""
        record = read_json(_path(host, name))
        return None if record is None else cls(host, name, record)

    @staticmethod
    def names(host: Host) -> list[str]:
        """The units that are loaded."""
        try:
            files = os.listdir(host.path("transient", "units"))
        except FileNotFoundError:
            return []
        return sorted(file[: -len(".json")] for file in files if file.endswith(".json"))

    def save(self) -> None:
        write_json(_path(self.host, self.name), self.record)

    def unload(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_path(self.host, self.name))

    @property
    def active(self) -> str:
        return str(self.record["active"])

    @property
    def running(self) -> bool:
        """Whether its main process is alive."""
        return bool(self.record["sub"] in ("running", "stop-sigterm"))

    def setting(self, name: str, default: str = "") -> str:
        """A property as it was given to systemd-run."""
        return str(self.record["properties"].get(name, default))

    @property
    def remains(self) -> bool:
        return self.setting("RemainAfterExit") in ("yes", "true", "1", "on")

    @property
    def stop_seconds(self) -> float:
        return seconds_of(self.setting("TimeoutStopSec"), STOP_SECONDS)

    # what systemctl does to it

    def stop(self) -> None:
        """Stop it and wait for that: KillSignal first, SIGKILL once TimeoutStopSec is over."""
        with exclusive(self.host):
            current = TransientUnit.load(self.host, self.name)
            if current is None or current.active == "failed":
                return
            if not current.running:
                self.end_all(signal.SIGTERM)
                self.unload()
                return
            current.record.update(stopping=True, active="deactivating", sub="stop-sigterm")
            current.save()
        self.signal(signal_of(self.setting("KillSignal", "SIGTERM")))
        until = time.monotonic() + self.stop_seconds
        while (current := TransientUnit.load(self.host, self.name)) is not None and current.running:
            if time.monotonic() > until:
                with exclusive(self.host):
                    current.record["stop_timeout"] = True
                    current.save()
                self.end_all(signal.SIGKILL)
                until += self.stop_seconds
            time.sleep(POLL_SECONDS)

    def signal(self, number: int, *, everybody: bool = False) -> None:
        """The signal to the main process, and to the others of the unit too unless KillMode says otherwise."""
        if everybody or self.setting("KillMode", "control-group") == "control-group":
            self.end_all(number)
        else:
            _kill(self.record["main_pid"], number)

    def end_all(self, number: int) -> None:
        """Signal every process of the unit but the one that works for rpm-ostree's daemon, which is another service."""
        transaction = read_json(self.host.path("transient", "transaction.json")) or {}
        for pid in self.processes():
            if pid != transaction.get("pid"):
                _kill(pid, number)

    def processes(self) -> list[int]:
        wanted = {f"LAB_NODE={self.host.directory}".encode(), f"LAB_UNIT={self.name}".encode()}
        return [pid for pid, words in _environments() if wanted <= words]

    # what becomes of it when its main process ends

    def finish(self, status: int, *, out_of_time: bool) -> None:
        """Note how the main process ended (a shell's exit status: 128 and the signal), as systemd would."""
        with exclusive(self.host):
            self.record = read_json(_path(self.host, self.name)) or self.record
            killed = status > 128
            clean = status == 0 or (killed and status - 128 in CLEAN_SIGNALS)
            self.record.update(code=KILLED if killed else EXITED, status=status - 128 if killed else status, main_pid=0)
            self.record["exited_at"] = time.time()
            if out_of_time or self.record.get("stop_timeout"):
                self.record["result"] = "timeout"
            elif not clean:
                self.record["result"] = "signal" if killed else "exit-code"
            if self.record["result"] == "success" and self.remains and not self.record.get("stopping"):
                self.record.update(active="active", sub="exited")
                self.save()
                return
            self._deactivate()
        self.end_all(signal.SIGKILL)

    def _deactivate(self) -> None:
        failed = self.record["result"] != "success"
        self.record.update(
            active="failed" if failed else "inactive", sub="failed" if failed else "dead", over=time.time()
        )
        if self.record.get("awaited"):
            write_json(_path(self.host, self.name, "over"), self.record)
        if failed and not self.record.get("collect"):
            self.save()
        else:
            self.unload()

    def properties(self) -> dict[str, str]:
        """What `systemctl show` says that depends on the unit."""
        record = self.record
        exited_at = record.get("exited_at")
        return {
            "Description": record["description"],
            "ActiveState": record["active"],
            "SubState": record["sub"],
            "InvocationID": record["invocation"],
            "MainPID": str(record["main_pid"]),
            "Result": record["result"],
            "ExecMainPID": str(record["exec_main_pid"]),
            "ExecMainCode": str(record["code"]),
            "ExecMainStatus": str(record["status"]),
            "ExecMainExitTimestamp": "" if exited_at is None else _timestamp(exited_at),
            "Environment": " ".join(record["environment"]),
            "KillSignal": str(signal_of(self.setting("KillSignal", "SIGTERM"))),
            "RemainAfterExit": "yes" if self.remains else "no",
        }


def take_over(host: Host, name: str) -> dict[str, Any] | None:
    """The last record of a unit that somebody waits for, once it has ended; then it is forgotten."""
    path = _path(host, name, "over")
    record: dict[str, Any] | None = read_json(path)
    if record is not None:
        os.unlink(path)
    return record


@contextlib.contextmanager
def exclusive(host: Host) -> Iterator[None]:
    """Only one process at a time changes units: the manager does one thing after the other."""
    os.makedirs(host.path("transient", "units"), exist_ok=True)
    handle = os.open(host.path("transient", "units.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def signal_of(text: str) -> int:
    """The number of `SIGINT`, `INT` or `2`. Raises ValueError."""
    if text.isdigit():
        return int(text)
    name = text if text.startswith("SIG") else f"SIG{text}"
    if name not in signal.Signals.__members__:
        raise ValueError(f"Failed to parse signal: {text}")
    return int(signal.Signals[name])


def seconds_of(text: str, default: float) -> float:
    """A time span such as `90`, `1min` or `infinity`, in seconds."""
    units = {"ms": 0.001, "min": 60.0, "s": 1.0, "h": 3600.0}
    if not text:
        return default
    if text == "infinity":
        return 10.0**9
    for suffix, factor in units.items():
        if text.endswith(suffix):
            return float(text[: -len(suffix)]) * factor
    return float(text)


def _path(host: Host, name: str, kind: str = "json") -> str:
    return host.path("transient", "units", f"{name}.{kind}")


def _kill(pid: int, number: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _environments() -> Iterator[tuple[int, set[bytes]]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as environment:
                yield int(entry), set(environment.read().split(b"\0"))


def _timestamp(seconds: float) -> str:
    return time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
