# SPDX-License-Identifier: GPL-3.0-or-later
"""What components bring, compared with each other and with the base, so that nothing replaces anything silently."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import (
    DEFAULT_DEST,
    Component,
    component_error,
    why_no_image_can_carry,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import (
    MOST_LINKS,
    below,
    printable,
    resolve_path,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_header import RpmFile, RpmHeader

SHOWN = 5  # paths in a message

# The links of every host whose /usr is merged; packages may still name their files by them.
_MERGED_USR = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}

# What can be installed on a platform, beside noarch: with multilib, and the levels of x86_64.
_RPM_ARCHITECTURES = {
    "amd64": ("x86_64", "x86_64_v2", "x86_64_v3", "x86_64_v4", "i386", "i486", "i586", "i686"),
    "arm64": ("aarch64",),
    "386": ("i386", "i486", "i586", "i686"),
    "arm": ("armv7hl", "armv7hnl"),
}


@dataclass(frozen=True)
class ComponentContent:
    """What a component brings: for a tree the entries at the paths where they will be, for RPMs their headers."""

    component: Component
    tree: FileTree
    packages: tuple[RpmHeader, ...] = ()


@dataclass(frozen=True)
class _Claim:
    """One component's wish for a path; `file` is set where a package brings it, with the package's name."""

    path: str
    type: FileType
    file: RpmFile | None = None
    package: RpmHeader | None = None


def tree_content(component: Component, image: FileTree) -> ComponentContent:
    """What a tree component brings, given its image's tree. Raises BuildError of category input."""
    option = component.option
    source = resolve_path(image, option.source)
    if source is None or image[source].type is not FileType.DIRECTORY:
        is_there = "is not a directory" if source else "is not there"
        raise component_error(
            component.name, f"{option.source} {is_there} in {component.pinned}. {_top(image)} Set tree to one that is."
        )
    dest = option.dest or DEFAULT_DEST
    moved: dict[str, TreeEntry] = {}
    for entry in below(image, source):
        path = posixpath.join(dest, entry.path[len(source.rstrip("/")) + 1 :])
        moved[path] = replace(entry, path=path)
    if all(entry.type is FileType.DIRECTORY for entry in moved.values()):
        raise component_error(
            component.name,
            f"{option.source} has no file in {component.pinned}. {_top(image)} Set tree to what it brings.",
        )
    if f"{dest}/usr" in moved:
        raise component_error(
            component.name,
            f"its tree {option.source} has a usr in it, which would become {dest}/usr. "
            f"Set tree to {posixpath.join(option.source, 'usr')}; what is beside that needs a component of its own.",
        )
    special = [path for path, entry in moved.items() if entry.type is FileType.OTHER]
    if special:
        raise component_error(
            component.name,
            f"it has devices, sockets or pipes, which no image can carry to a host: {shown(special)}. "
            "Let tmpfiles.d make them at boot.",
        )
    return ComponentContent(component, moved)


def rpm_content(component: Component, packages: Mapping[str, RpmHeader], platform: str) -> ComponentContent:
    """What a component of RPMs brings, given their headers by file name. Raises BuildError of category input."""
    name, directory = component.name, component.option.source
    if not packages:
        raise component_error(name, f"there is no file *.rpm in {directory} of {component.pinned}.")
    architecture = platform.split("/")[1] if "/" in platform else platform
    fitting = ("noarch", *_RPM_ARCHITECTURES.get(architecture, (architecture,)))
    for file, header in sorted(packages.items()):
        if header.is_source:
            raise component_error(name, f"{file} is a source package, which cannot be installed. Leave it out.")
        if header.arch not in fitting:
            raise component_error(
                name,
                f"{file} is a package for {printable(header.arch)}, and the image is for {platform}. "
                f"Put packages for {' or '.join(fitting[:2])} into {directory}.",
            )
    headers = tuple(packages[file] for file in sorted(packages))
    for header in headers:
        _refuse_what_cannot_be_carried(name, header)
    return ComponentContent(component, {}, headers)


def _refuse_what_cannot_be_carried(name: str, header: RpmHeader) -> None:
    """Directories below /var are common in packages, and systemd-tmpfiles makes them again; files are lost."""
    lost = [
        file
        for file in header.files
        if not file.ghost and file.type is not FileType.DIRECTORY and why_no_image_can_carry(file.path)
    ]
    if lost:
        raise component_error(
            name,
            f"the package {printable(header.nevra)} brings what no image can carry: {shown(file.path for file in lost)}. "
            f"Reason: {why_no_image_can_carry(lost[0].path)}. Build the package with this content below /usr, "
            "and let tmpfiles.d copy it at boot.",
        )


def _top(image: FileTree) -> str:
    names = sorted(path for path, entry in image.items() if path.count("/") == 1 and path != "/")
    return f"The image has {shown(names)}." if names else "The image is empty."


def shown(paths: Iterable[str]) -> str:
    """The first few of some paths, and how many more there are."""
    every = [printable(path) for path in paths]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def check_conflicts(contents: Sequence[ComponentContent]) -> None:
    """Raises BuildError of category conflict where two components want the same path, or one package in two versions.

    Any path that is not a directory on both sides counts. Between packages rpm's own rule holds (measured, rpm 4.18):
    identical files may be in several, and so may directories of the same mode and owner; a ghost never counts.
    """
    complaints = [*_version_conflicts(contents), *_path_conflicts(contents)]
    if complaints:
        message = "Components get in each other's way. " + " ".join(complaints)
        raise BuildError(
            BuildFailure(
                FailureCategory.CONFLICT,
                f"{message} A path can have one owner only: take it out of one of the images, or give one tree another dest.",
                excerpt=tuple(complaints),
            )
        )


def _version_conflicts(contents: Sequence[ComponentContent]) -> Iterator[str]:
    for one, other in itertools.combinations(contents, 2):
        theirs: dict[tuple[str, str], set[str]] = {}
        for header in other.packages:
            theirs.setdefault((header.name, header.arch), set()).add(header.evr)
        for header in one.packages:
            found = theirs.get((header.name, header.arch), set())
            if found and header.evr not in found:
                yield (
                    f"{one.component.name} brings the package {printable(header.name)} in version {printable(header.evr)}, "
                    f"and {other.component.name} in version {printable(', '.join(sorted(found)))}."
                )


def _path_conflicts(contents: Sequence[ComponentContent]) -> Iterator[str]:
    links = _links(contents)
    wanted: dict[str, list[tuple[int, _Claim]]] = {}
    for number, content in enumerate(contents):
        for claim in _claims(content, links):
            wanted.setdefault(claim.path, []).append((number, claim))
    between: dict[tuple[int, int], dict[str, tuple[_Claim, _Claim]]] = {}
    for path, claims in wanted.items():
        for (number, claim), (other_number, other) in itertools.combinations(claims, 2):
            if number != other_number and _collide(claim, other):
                between.setdefault((number, other_number), {})[path] = (claim, other)
    for (number, other_number), found in sorted(between.items()):
        yield _complaint(contents[number].component.name, contents[other_number].component.name, found)


def _complaint(name: str, other: str, found: Mapping[str, tuple[_Claim, _Claim]]) -> str:
    paths = []
    for path, (claim, their_claim) in sorted(found.items()):
        is_same_type = claim.type is their_claim.type
        detail = "" if is_same_type else f" (a {claim.type.value} in {name}, a {their_claim.type.value} in {other})"
        paths.append(f"{path}{detail}")
    count = f"{len(paths)} paths" if len(paths) > 1 else "1 path"
    return f"{name} and {other} both bring {count}: {shown(paths)}."


def _links(contents: Sequence[ComponentContent]) -> dict[str, str]:
    """Every link that a component makes, and those of the base that are certain."""
    links = dict(_MERGED_USR)
    for content in contents:
        links.update({path: entry.target or "" for path, entry in content.tree.items() if entry.type is FileType.LINK})
        for header in content.packages:
            links.update(
                {one.path: one.target or "" for one in header.files if one.type is FileType.LINK and not one.ghost}
            )
    return links


def _claims(content: ComponentContent, links: Mapping[str, str]) -> Iterator[_Claim]:
    """Each path that a component wants, the directories above included, each at most once for a package."""
    implied: set[str] = set()
    for entry in content.tree.values():
        yield _Claim(entry.path, entry.type)
    if content.tree:
        implied.update(_ancestors(content.component.option.dest or DEFAULT_DEST, itself=True))
    for header in content.packages:
        owned = {one.path for one in header.files}
        for one in header.files:
            if one.ghost:
                continue
            path = _real_path(one.path, links)
            # links that a directory claim goes through have been followed; what is left are directories
            implied.update(parent for parent in _ancestors(path) if parent not in owned)
            yield _Claim(path, one.type, one, header)
    for path in implied - content.tree.keys():
        yield _Claim(path, FileType.DIRECTORY)


def _ancestors(path: str, itself: bool = False) -> Iterator[str]:
    """The directories above a path without the root, itself included where wanted."""
    found = path if itself else posixpath.dirname(path)
    while found != "/":
        yield found
        found = posixpath.dirname(found)


def _real_path(path: str, links: Mapping[str, str]) -> str:
    """Where a package's file ends up: rpm follows links in its directories, not the last one."""
    done, todo = "/", path.strip("/").split("/")
    for _followed in range(MOST_LINKS + len(todo) * MOST_LINKS):
        if len(todo) <= 1:
            break
        part = todo.pop(0)
        step = posixpath.normpath(posixpath.join(done, part))
        target = links.get(step)
        if target is None:
            done = step
        else:
            done = "/" if target.startswith("/") else done
            todo = [*(one for one in target.split("/") if one not in ("", ".")), *todo]
    return posixpath.join(done, *todo)


def _collide(one: _Claim, other: _Claim) -> bool:
    if one.file is not None and other.file is not None and one.package is not None and other.package is not None:
        if one.package.nevra == other.package.nevra:
            return False
        return _differ_for_rpm(one.file, one.package, other.file, other.package)
    return one.type is not FileType.DIRECTORY or other.type is not FileType.DIRECTORY


def _differ_for_rpm(one: RpmFile, package: RpmHeader, other: RpmFile, other_package: RpmHeader) -> bool:
    if (one.type, one.mode, one.user, one.group) != (other.type, other.mode, other.user, other.group):
        return True
    if one.type is FileType.DIRECTORY:
        return False
    algorithms = (package.digest_algorithm, other_package.digest_algorithm)
    mine = (one.size, one.target, one.digest, algorithms[0])
    return mine != (other.size, other.target, other.digest, algorithms[1])


@dataclass(frozen=True)
class BaseChanges:
    """What copying a tree does to the base beyond adding and replacing files, each item for people.

    `lost`: a directory of the base with all it has, or a link to one, is replaced. `directories`: a directory of the base
    gets another mode or owner.
    """

    lost: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


def changes_to_base(content: ComponentContent, base: FileTree) -> BaseChanges:
    """Compare what a tree brings with the base below it, as COPY treats them (see `component_steps`).

    For packages nothing is found: rpm leaves directories alone, and refuses what it cannot replace.
    """
    lost, directories = [], []
    dest = resolve_path(base, content.component.option.dest or DEFAULT_DEST)
    if dest is None:
        return BaseChanges()
    named = content.component.option.dest or DEFAULT_DEST
    for path, entry in sorted(content.tree.items()):
        found = base.get(posixpath.join(dest, path[len(named) :].lstrip("/")))
        if found is None:
            continue
        is_directory, was_directory = (one.type is FileType.DIRECTORY for one in (entry, found))
        if is_directory != was_directory and (was_directory or found.type is FileType.LINK):
            link = f" to {printable(found.target or '')}" if found.type is FileType.LINK else ""
            lost.append(f"{printable(path)}, a {found.type.value}{link}, becomes a {entry.type.value}")
        elif is_directory and _owner_and_mode(entry) != _owner_and_mode(found):
            directories.append(f"{printable(path)} from {_owner_and_mode(found)} to {_owner_and_mode(entry)}")
    return BaseChanges(tuple(lost), tuple(directories))


def _owner_and_mode(entry: TreeEntry) -> str:
    return f"{entry.mode:04o} {entry.uid}:{entry.gid}"
