# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of the lab: a directory that behaves like an image-mode host when it is looked at."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab import faults, trees
from lab.journal import Journal
from lab.registry_access import Access, basic
from lab.simulators import etc_merge, layering, power, soft_reboot, sysroot
from lab.simulators.host import Host, write_json
from lab.simulators.image_reference import ImageSpec, RegistryReference
from lab.simulators.state import Deployment, State

DEFAULT_VERSIONS: dict[str, str | None] = {
    "bootc": "1.16.9",
    "rpm-ostree": "2026.2",
    "ostree": "2026.4",
    "skopeo": "1.22.0",
}
DEFAULT_KARGS = ("root=LABEL=root", "rw", "console=ttyS0")
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
ORIGINS = ("container", "ostree", "none")
BACKENDS = ("ostree", "composefs")
TOOLS = ("bootc", "rpm-ostree", "ostree", "skopeo")
SYSTEM_TOOLS = ("systemctl", "systemd-inhibit", "systemd-run", "reboot", "shutdown", "poweroff")
REFSPEC = "lab:labos/stable/base"
REPOSITORY: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "labbase": ("1.0-1.noarch",),
        "labtool": ("1.0-1.noarch", "1.1-1.noarch"),
        "labextra": ("2.0-1.noarch",),
        **dict.fromkeys(("htop", "strace", "tmux", "vim", "usbguard"), ("1.0-1.noarch",)),
    }
)
# Everybody may read the status; writing needs rights (recorded, rpm-ostree 2026.2).
RPM_OSTREE_FOR_OTHERS = """
  [ -e /run/ostree-booted ] || { echo "error: This system was not booted via libostree." >&2; exit 1; }
  if [ "$1" = status ] && [ -d /.lab/public ]; then
    form=text which=
    for word; do case "$word" in --json) form=json;; -b|--booted) which=-booted;; esac; done
    exec /.lab/busybox cat "/.lab/public/$form$which"
  fi
  case "$1" in
    kargs) method=KernelArgs;; rebase) method=Rebase;; upgrade|update) method=Upgrade;; deploy) method=Deploy;;
    rollback) method=Rollback;; cleanup) method=Cleanup;; finalize-deployment) method=FinalizeDeployment;;
    *) method=UpdateDeployment;;
  esac
  echo "error: rpmostreed OS operation $method not allowed for user" >&2; exit 1
"""
VAR_DIRECTORIES = ("home", "lib", "log", "mnt", "opt", "roothome", "spool", "srv", "tmp", "usrlocal", "usrlocal/bin")


@dataclasses.dataclass(frozen=True)
class Mounts:
    """What makes up the running node's file system. ``over``: path inside the node -> file mounted over it."""

    tree: Path
    etc: Path
    var: Path
    run: Path
    tmp: Path
    sysroot: Path
    boot: Path
    boot_id: Path
    cmdline: Path
    over: Mapping[str, Path]


class Node:
    """One node. All state is on disk: any process may load it, at any time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name
        self.lab = directory.parent.parent
        self.journal = Journal(str(directory / "journal.jsonl"))

    @classmethod
    def create(
        cls,
        lab: Path,
        name: str,
        image: str,
        *,
        versions: Mapping[str, str | None] | None = None,
        arch: str | None = None,
        python: bool = False,
        latency: float = 0.0,
        boot_seconds: float = 1.0,
        origin: str = "container",
        refspec: str = REFSPEC,
        repository: Mapping[str, Sequence[str]] = REPOSITORY,
        stateroot: str = "default",
        kargs: Sequence[str] = DEFAULT_KARGS,
        credentials: tuple[str, str] | None = None,
        composefs: bool = False,
        backend: str = "ostree",
    ) -> Node:
        """Install ``image`` (a registry reference) on a new node and boot it, like a fresh `bootc install`.

        ``origin``: ``container`` follows the image; ``ostree`` is deployed from a plain ostree ref with the image's
        content, ``refspec`` (``REMOTE:BRANCH``, see lab.simulators.ostree_remote); ``none`` is a host without ostree.
        ``repository`` are the packages that it can install: name -> versions, the newest last. ``arch`` is an OCI name
        such as amd64. ``credentials`` are the installer's (user name, password): the node gets none. A tool of version
        None is missing on the node. Only with ``composefs``, the root being one, can ostree prepare a soft reboot.
        ``backend="composefs"`` is a host of bootc's composefs backend, without ostree and rpm-ostree.
        Raises FileExistsError, ValueError, PullError.
        """
        for what, given, known in (("origin", origin, ORIGINS), ("backend", backend, BACKENDS)):
            if given not in known:
                raise ValueError(f"{what} is {given!r}; it can be {', '.join(known)}")
        missing = {"rpm-ostree": None, "ostree": None} if backend == "composefs" else {}
        lab = lab.absolute()
        directory = lab / "nodes" / name
        directory.mkdir(parents=True)
        machine = arch or GO_ARCHITECTURES.get(platform.machine(), platform.machine())
        settings = {
            "name": name,
            "arch": machine,
            "versions": {**DEFAULT_VERSIONS, **missing, **(versions or {})},
            "python": python,
            "latency": latency,
            "boot_seconds": boot_seconds,
            "origin": origin,
            "refspec": refspec,
            "repository": {name: list(found) for name, found in repository.items()},
            "composefs": composefs,
            "backend": backend,
            "faults": {},
        }
        write_json(str(directory / "node.json"), settings)
        node = cls(directory)
        try:
            node._install(image, stateroot, list(kargs), credentials)
            node._write_shims()
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        node.boot()
        return node

    @classmethod
    def load(cls, lab: Path, name: str) -> Node:
        """An existing node. Raises FileNotFoundError."""
        directory = lab.absolute() / "nodes" / name
        if not (directory / "node.json").exists():
            raise FileNotFoundError(f"there is no node {name!r} in {lab}")
        return cls(directory)

    def _install(self, image: str, stateroot: str, kargs: list[str], credentials: tuple[str, str] | None) -> None:
        from lab import pull

        state = State.empty(stateroot)
        host = self._host()
        host.save(state)
        for part in ("run", "var", "deploy", "tmp", "transient", "sysroot", "boot"):
            (self.directory / part).mkdir()
        spec = ImageSpec(image)
        RegistryReference(image)
        access = Access(insecure=True, authorization=basic(*credentials) if credentials else None)
        found = pull.look_up(host, spec, tag_and_digest=True, access=access)
        pull.fetch(host, found)
        tree = self.lab / "trees" / found.commit
        sysroot.check_kernel(str(tree))
        commit, deployment_origin = found.commit, {"container": spec.origin()}
        if host.node["origin"] == "ostree":
            commit, deployment_origin = layering.plain_commit(host, found.commit), {"refspec": host.node["refspec"]}
        from lab.simulators.kernel_arguments import of_image

        arguments = [*kargs, *(of_image(str(tree), host.arch) or [])]
        first = Deployment(stateroot, commit, 0, deployment_origin, arguments)
        (self.directory / "deploy" / first.directory).mkdir()
        etc_merge.copy_tree(str(tree / "usr/etc"), host.etc(first))
        self._seed_var(tree)
        state.booted = first.id
        sysroot.replace_deployments(host, [first])
        write_json(str(self.directory / "power.json"), {"state": "off", "up_at": None, "kind": None, "stop_at": None})

    def _seed_var(self, tree: Path) -> None:
        """/var comes from the first image only; no later one is unpacked into it."""
        var = self.directory / "var"
        var.rmdir()
        etc_merge.copy_tree(str(tree / "var"), str(var))
        for name in VAR_DIRECTORIES:
            (var / name).mkdir(exist_ok=True)
        (var / "tmp").chmod(stat.S_ISVTX | 0o777)
        (var / "roothome").chmod(0o700)

    def _write_shims(self) -> None:
        """Small scripts that are mounted over the tools' places in /usr and run the simulators on this machine."""
        shims = self.directory / "shims"
        shims.mkdir()
        python = os.path.realpath(sys.executable)
        main = Path(__file__).parent / "simulators/main.py"
        for tool in (*TOOLS, *SYSTEM_TOOLS):
            (shims / tool).write_text(_shim(tool, python, str(main)))
            (shims / tool).chmod(0o755)

    # settings

    def _host(self) -> Host:
        return Host(str(self.directory))

    @property
    def settings(self) -> dict[str, Any]:
        """The content of node.json."""
        document: dict[str, Any] = json.loads((self.directory / "node.json").read_text())
        return document

    @property
    def versions(self) -> Mapping[str, str | None]:
        versions: dict[str, str | None] = self.settings["versions"]
        return versions

    @property
    def latency(self) -> float:
        """Seconds that each round trip takes longer."""
        return float(self.settings["latency"])

    @property
    def python(self) -> bool:
        return bool(self.settings["python"])

    # power

    def is_up(self) -> bool:
        """Whether the node would answer now. Also carries on a shutdown or boot whose time has come."""
        return power.is_up(self._host())

    def power_cut(self) -> None:
        """Cut the power: what is staged is lost, the node stays off until ``boot``."""
        power.cut(self._host())

    def boot(self) -> None:
        """Switch the node on and be done booting at once. Does nothing to a node that is on."""
        host = self._host()
        power.advance(host)
        power.come_up(host)

    def destroy(self) -> None:
        """End everything that runs on the node and remove it. Trees and downloads stay for the other nodes."""
        power.cut(self._host())
        shutil.rmtree(self.directory)

    @property
    def boot_id(self) -> str:
        return (self.directory / "proc/boot_id").read_text().strip()

    # faults

    @property
    def faults(self) -> Mapping[str, Mapping[str, Any]]:
        """The faults in force, with their parameters."""
        found: dict[str, dict[str, Any]] = self.settings["faults"]
        return found

    def inject(self, fault: str, **parameters: Any) -> None:
        """Break something (see lab.faults). A fault that is there already begins anew. Raises UnknownFault."""
        prepared = faults.prepared(fault, parameters)
        host = self._host()
        if fault == "layered-packages":
            layering.layer(host, prepared["packages"])
        host.update_faults(fault, prepared)
        self.journal.append("fault", fault=fault, action="inject", **parameters)

    def clear(self, fault: str) -> None:
        """End a fault; nothing happens when it is not there."""
        host = self._host()
        if fault == "layered-packages" and host.fault(fault) is not None:
            layering.layer(host, [])
        host.update_faults(fault, None)
        self.journal.append("fault", fault=fault, action="clear")

    # files

    def write_public_status(self) -> Path:
        """A directory with the answers of `rpm-ostree status` for users without rights, fresh."""
        from lab.simulators import rpm_ostree_status, rpm_ostree_status_text

        host = self._host()
        public = self.directory / "public"
        public.mkdir(exist_ok=True)
        for suffix, booted_only in (("", False), ("-booted", True)):
            document = rpm_ostree_status.document(host, booted_only=booted_only)
            (public / f"json{suffix}").write_text(rpm_ostree_status.as_json(document))
            (public / f"text{suffix}").write_text(rpm_ostree_status_text.for_people(host, booted_only=booted_only))
        return public

    def mounts(self) -> Mounts:
        """The parts of the running node's file system. Changes with every boot into another deployment."""
        host = self._host()
        booted = soft_reboot.root_of(host)
        directory = self.directory
        shims = directory / "shims"
        tools = [tool for tool in TOOLS if host.node["versions"].get(tool)]
        return Mounts(
            tree=Path(host.tree(booted)),
            etc=Path(host.etc(booted)),
            **{part: directory / part for part in ("var", "run", "tmp", "sysroot", "boot")},
            boot_id=directory / "proc/boot_id",
            cmdline=directory / "proc/cmdline",
            over={f"/usr/bin/{tool}": shims / tool for tool in (*tools, *SYSTEM_TOOLS)},
        )


def nodes(lab: Path) -> list[Node]:
    """All nodes of a lab, by name."""
    found = sorted((lab.absolute() / "nodes").glob("*/node.json"))
    return [Node(path.parent) for path in found]


def _shim(tool: str, python: str, main: str) -> str:
    """Only root can leave the node's file system, so the answer for everybody else is in the script itself."""
    refusals = {
        "bootc": "error: Status: Preparing for write: Querying root privilege: "
        "This command must be executed as the root user",
        "ostree": "error: the lab simulates ostree for root only",
        "skopeo": "the lab simulates skopeo for root only",
    }
    refusal = refusals.get(tool, f"Call to {tool} failed: Interactive authentication required.")
    for_others = RPM_OSTREE_FOR_OTHERS.strip() if tool == "rpm-ostree" else f"echo '{refusal}' >&2; exit 1"
    return (
        "#!/.lab/busybox sh\n"
        f"[ -O /.lab/busybox ] || {{ {for_others}; }}\n"
        f'exec /.lab/busybox chroot /.lab/host {python} -I -S {main} {tool} "$@"\n'
    )


assert set(trees.PLACEHOLDERS) >= {f"usr/bin/{tool}" for tool in (*TOOLS, *SYSTEM_TOOLS)}
