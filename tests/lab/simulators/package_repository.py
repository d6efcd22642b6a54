# SPDX-License-Identifier: GPL-3.0-or-later
"""RPM packages as the lab knows them: those of an image, those of the one repository `lab`, and files on the node.

Packages have names and versions and nothing inside. A node's setting ``repository`` maps a name to its versions
(``VERSION-RELEASE.ARCH``, the last one the newest); an image can list packages of its own in ``IMAGE_LIST``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.host import Host

IN_EVERY_IMAGE = ("labbase-1.0-1.noarch",)
IMAGE_LIST = "usr/share/rpm/lab-packages"  # one NEVRA a line
CACHE = "/var/cache/rpm-ostree/repomd/lab.solv"
GENERATED = "2026-11-21T06:13:35Z"
DOWN = (
    "Updating rpm-md repo 'lab': cannot update repo 'lab': Cannot download repomd.xml: Cannot download "
    "repodata/repomd.xml: All mirrors were tried; Last error: Curl error (7): Couldn't connect to server"
)


class NoSuchPackages(Exception):
    """No repository has them. ``str()`` is rpm-ostree's text."""


class RepositoryDown(Exception):
    """The repository does not answer. ``str()`` is rpm-ostree's text."""


def of_image(host: Host, commit: str) -> list[str]:
    """NEVRAs of the packages in an image."""
    found = list(IN_EVERY_IMAGE)
    try:
        with open(os.path.join(host.lab, "trees", commit, IMAGE_LIST), encoding="utf-8") as handle:
            found += handle.read().split()
    except FileNotFoundError:
        pass
    return found


def name_of(nevra: str) -> str:
    return nevra.rsplit("-", 2)[0]


def provider(request: str, nevras: list[str]) -> str | None:
    """The package that satisfies a request: by name, name and version, version and release, or all of it."""
    for nevra in reversed(nevras):
        name, version, release = nevra.rsplit("-", 2)
        spellings = (name, f"{name}-{version}", f"{name}-{version}-{release.rsplit('.', 1)[0]}", nevra)
        if request in spellings:
            return nevra
    return None


def solvables(host: Host) -> list[str]:
    """NEVRAs of everything in the repository."""
    repository: dict[str, list[str]] = host.node["repository"]
    return [f"{name}-{version}" for name, versions in repository.items() for version in versions]


def load(host: Host, *, refresh: bool = False) -> None:
    """What is said when the metadata is loaded: fetched the first time, then cached. Raises RepositoryDown."""
    print("Enabled rpm-md repositories: lab")
    cache = host.resolve(CACHE)
    fetched = cache is None or refresh
    if host.fault("package-repository-down") is not None and fetched:
        raise RepositoryDown(DOWN)
    if fetched:
        print("Updating metadata for 'lab'...done")
        path = host.path(*CACHE.split("/")[1:])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii"):
            pass
    print("Importing rpm-md...done")
    note = "" if fetched else " (cached)"
    print(f"rpm-md repo 'lab'{note}; generated: {GENERATED} solvables: {len(solvables(host))}")


def drop_cache(host: Host) -> None:
    """`rpm-ostree cleanup -m`."""
    path = host.path(*CACHE.split("/")[1:])
    if os.path.exists(path):
        os.unlink(path)


def resolve(host: Host, requests: list[str]) -> list[str]:
    """The packages for these requests. Raises NoSuchPackages."""
    missing_by_fault = (host.fault("packages-missing") or {"packages": []})["packages"]
    available = [nevra for nevra in solvables(host) if name_of(nevra) not in missing_by_fault]
    found = {request: provider(request, available) for request in requests}
    missing = [request for request, nevra in found.items() if nevra is None]
    if missing:
        raise NoSuchPackages(f"Packages not found: {', '.join(missing)}")
    return [nevra for nevra in found.values() if nevra is not None]


def local_file(path: str, argument: str) -> str:
    """The NEVRA of an RPM file on the node: the lab believes its name. Raises NoSuchPackages."""
    if not os.path.isfile(path):
        raise NoSuchPackages(f'can\'t open file "{argument}": No such file or directory')
    return os.path.basename(argument).removesuffix(".rpm")
