# SPDX-License-Identifier: GPL-3.0-or-later
"""The surroundings of the recordings: their registries and images, and hosts on which their commands run again."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

from lab import enter
from lab.node import Node
from small_images import Pusher, layer, userland

CREDENTIALS = ("lab", "secret")  # as in the recordings, where they are part of the commands


@dataclasses.dataclass(frozen=True)
class World:
    """Addresses of the recordings' registries. ``down`` and ``unknown`` are ports that nobody listens on."""

    open: str
    closed: str
    down: str
    unknown: str
    plain: str
    images: Pusher

    @property
    def files(self) -> dict[str, str]:
        """What every image needs in this world: registries.conf, and an empty kargs.d."""
        configuration = "".join(
            f'[[registry]]\nlocation = "{address}"\ninsecure = true\n\n'
            for address in (self.open, self.closed, self.down)
        )
        return {"etc/containers/registries.conf.d/20-lab.conf": configuration, "usr/lib/bootc/kargs.d/": ""}

    def translate(self, command: str) -> str:
        """A recorded command with the addresses of this world."""
        pairs = {
            "10.77.0.1:5000": self.open,
            "10.77.0.1:5001": self.closed,
            "10.77.0.1:5002": self.down,
            "10.77.0.1:5999": self.unknown,
            "lab:debian/sid/x86_64/base": "lab:labos/stable/base",
            "lab:debian/sid/x86_64/v2": "lab:labos/stable/v2",
        }
        for recorded, here in pairs.items():
            command = command.replace(recorded, here)
        return command


class HostUnderTest:
    """A node with ways to act on it that read well in a test."""

    def __init__(self, node: Node, world: World) -> None:
        self.node = node
        self.world = world

    def sh(self, command: str, *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the node and wait for it."""
        for _number in range(5):
            argv = enter.command(self.node, ["/bin/sh", "-c", command])
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
            if not done.stderr.startswith("bwrap: Can't bind mount"):
                break  # a mount of this machine vanished while bwrap looked at it; nothing ran on the node
        return done

    def ok(self, command: str) -> str:
        """Run a command that must succeed; returns its standard output."""
        done = self.sh(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, command: str) -> subprocess.Popen[str]:
        """Begin a command and do not wait for it."""
        argv = enter.command(self.node, ["/bin/sh", "-c", command])
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def reboot(self) -> None:
        """`systemctl reboot`, and wait until the host is back."""
        before = self.node.boot_id
        self.ok("systemctl reboot")
        self.wait_until(lambda: self.node.is_up() and self.node.boot_id != before)

    def stalls(self) -> bool:
        """Whether a pull stands still for the fault `registry-stalls`."""
        return any(
            (entry["fault"], entry["action"]) == ("registry-stalls", "fire")
            for entry in self.node.journal.read("fault")
        )

    def wait_until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"still not so after {seconds} s"
            time.sleep(0.02)

    def power_cycle(self) -> None:
        self.node.power_cut()
        self.node.boot()


def free_ports(count: int) -> list[int]:
    """Ports that are free now, taken together so that they differ."""
    sockets = [socket.socket() for _unused in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def push_all(world: World) -> None:
    """Every image that the recordings mention."""
    files = world.files
    push = world.images
    systems = {version: userland(version, files=files) for version in ("1", "2", "3", "k")}
    for number, day in (("1", "21"), ("2", "22"), ("3", "23")):
        options: Any = {"version": f"{number}.0", "created": f"2026-11-{day}T06:04:53Z"}
        push.image(f"v{number}", [systems[number]], **options)
        if number != "1":
            Pusher(world.closed, credentials=CREDENTIALS).image(f"v{number}", [systems[number]], **options)
    Pusher(world.plain).image("v1", [systems["1"]])
    push.retag("v1", "w1")
    push.retag("v3", "track")
    base = systems["k"]
    kargs_d = "usr/lib/bootc/kargs.d"
    for tag, version, arguments in (
        *(
            ("k-a", "1.1", ["lab.one=1", "lab.two=2", "labflag"]),
            ("k-b", "1.2", ["lab.one=1", "lab.two=22", "lab.three=3"]),
        ),
        *(("b116ka", "1.20", ["lab.one=1", "lab.two=2"]), ("b116kb", "1.21", ["lab.one=1", "lab.three=3"])),
    ):
        push.image(
            tag,
            [base, layer({f"{kargs_d}/10-lab.toml": f"kargs = {arguments!r}\n".replace("'", '"')})],
            version=version,
        )
    for tag, version in (("k-c", "1.3"), ("b116kc", "1.22")):
        push.image(tag, [base, layer({"usr/lib/bootc/.wh.kargs.d": ""})], version=version)
    for tag, version in (("b116", "1.16"), ("b116b", "1.17")):
        push.image(tag, [base, layer({"usr/share/lab/bootc": tag})], version=version)
    more = [layer({f"usr/share/lab/part{number}": str(number) * 1000}) for number in range(4)]
    push.image("multi", [systems["1"], *more], version="1.6")
    push.image("b116big", [base, *more[:3]], version="1.18")
    push.image("arm", [base], arch="arm64")
    push.image("nolabel", [base], labels={})
    push.image("nocontbootc", [base, more[0]], labels={"ostree.bootable": "true"})
    push.image("nokernel", [userland("none", kernel=False, files=files)])
    defaults = {
        "etc/lab.conf": "default-from-etc1\n",
        "etc/lab-gone.conf": "will vanish\n",
        "etc/lab-local.conf": "image default 1\n",
    }
    seed = {"var/lib/lab/seed.txt": "seed\n"}
    push.image("etc1", [base, layer({**defaults, **seed, "usr/share/lab/version": "etc1\n"})], version="1.4")
    newer = {
        "etc/lab.conf": "default-from-etc2\n",
        "etc/lab-new.conf": "new-in-etc2\n",
        "etc/lab-local.conf": "image default 2\n",
        "usr/share/lab/version": "etc2\n",
    }
    push.image("etc2", [base, layer({**newer, **seed})], version="1.5")
    amd64 = push.image("one-of-many", [systems["3"]], version="3.1")
    arm64 = push.image("other-of-many", [systems["2"]], version="3.1", arch="arm64")
    push.index("many", {"amd64": amd64, "arm64": arm64})
