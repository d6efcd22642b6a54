# SPDX-License-Identifier: GPL-3.0-or-later
"""Components with a real registry, real packages and a real engine: pinned, compared, and what COPY really does."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.components import (
    check_base_survived,
    check_components,
    component_contents,
    resolve_components,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_layers import ImageLayers
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry, RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import component_steps
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component_conflicts import changes_to_base
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from crafted_image import Member, directory, file, hard_link, link, pipe, push_image
from lab.registry import Registry as LabRegistry

AMD64 = "linux/amd64"
NUMBERS = itertools.count()

Push = Callable[..., dict[str, Any]]


@pytest.fixture
def push(registry: LabRegistry) -> Push:
    """``push("kubelet", [members of a layer], …, rpms="/rpms")``: the component option of an image that is pushed."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")

    def make(name: str, *layers: Sequence[Member], architecture: str = "amd64", **option: Any) -> dict[str, Any]:
        repository = f"components/t{next(NUMBERS)}"
        push_image(registry, repository, "1.0", *layers, architecture=architecture)
        return {"name": name, "image": f"{registry.address}/{repository}:1.0", **option}

    return make


@pytest.fixture
def skopeo() -> Registry:
    return Registry(RegistryAccess(validate_certs=False))


def check(options: Sequence[dict[str, Any]], skopeo: Registry, cache: Path, platform: str = AMD64) -> None:
    check_components(resolve_components(options, skopeo, AMD64), skopeo, platform, cache)


def refusal(options: Sequence[dict[str, Any]], skopeo: Registry, cache: Path) -> tuple[FailureCategory, str]:
    with pytest.raises(BuildError) as caught:
        check(options, skopeo, cache)
    return caught.value.failure.category, caught.value.failure.message


def test_components_are_pinned_and_know_their_version(registry: LabRegistry, skopeo: Registry) -> None:
    labelled = {"org.opencontainers.image.version": "1.34.2"}
    digest = push_image(registry, "components/labelled", "stable", [file("usr/a")], labels=labelled)
    push_image(registry, "components/plain", "2.0", [file("usr/b")])
    image, plain = (f"{registry.address}/components/{name}" for name in ("labelled:stable", "plain:2.0"))
    found = resolve_components(
        [
            {"name": "a", "image": image},
            {"name": "b", "image": image, "version": "9"},
            {"name": "c", "image": plain},
            {"name": "d", "image": f"{plain.rpartition(':')[0]}@{registry.digest('components/plain', '2.0')}"},
        ],
        skopeo,
        AMD64,
    )
    plain_digest = registry.digest("components/plain", "2.0")
    assert plain_digest is not None
    assert [(one.name, one.version, one.digest) for one in found] == [
        ("a", "1.34.2", digest),
        ("b", "9", digest),
        ("c", "2.0", plain_digest),
        ("d", plain_digest[7:19], plain_digest),
    ]
    assert resolve_components([], Registry(RegistryAccess(), skopeo="/nowhere"), AMD64) == ()


def test_an_image_that_is_gone_is_named(registry: LabRegistry, skopeo: Registry) -> None:
    with pytest.raises(BuildError, match=r"has no .*components/none:1: check the spelling") as caught:
        resolve_components([{"name": "a", "image": f"{registry.address}/components/none:1"}], skopeo, AMD64)
    assert caught.value.failure.category is FailureCategory.BASE_PULL


def test_a_second_look_downloads_nothing(push: Push, skopeo: Registry, tmp_path: Path) -> None:
    options = [push("a", [file("usr/a")]), push("b", [file("usr/b")])]
    components = resolve_components(options, skopeo, AMD64)
    check_components(components, skopeo, AMD64, tmp_path / "cache")
    offline = replace(skopeo, skopeo="/nowhere")
    check_components(components, offline, AMD64, tmp_path / "cache")
    listings = tmp_path / "cache" / "listings"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["listings"]
    assert listings.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in listings.iterdir()} == {0o600}
    for path in listings.iterdir():
        path.write_bytes(path.read_bytes()[:20])  # a damaged listing is no listing
    check_components(components, skopeo, AMD64, tmp_path / "cache")


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        pytest.param(
            ([file("usr/bin/tool"), file("usr/lib/a")], {}),
            ([file("usr/bin/tool"), file("usr/lib/b")], {}),
            "one and other both bring 1 path: /usr/bin/tool.",
            id="the same file, equal or not",
        ),
        pytest.param(
            ([file(f"usr/bin/{number}") for number in range(9)], {}),
            ([file(f"usr/bin/{number}") for number in range(7)], {}),
            "both bring 7 paths: /usr/bin/0, /usr/bin/1, /usr/bin/2, /usr/bin/3, /usr/bin/4 and 2 more.",
            id="many",
        ),
        pytest.param(
            ([file("usr/lib/x/a")], {}),
            ([file("usr/lib/x")], {}),
            "1 path: /usr/lib/x (a directory in one, a file in other).",
            id="a file against a directory",
        ),
        pytest.param(
            ([file("usr/lib/a"), link("usr/lib64", "lib")], {}),
            ([file("usr/lib64/b")], {}),
            "1 path: /usr/lib64 (a link in one, a directory in other).",
            id="a link against a directory",
        ),
        pytest.param(
            ([file("out/tool")], {"tree": "/out", "dest": "/usr/bin"}),
            ([file("usr/bin/tool")], {}),
            "1 path: /usr/bin/tool.",
            id="through dest",
        ),
        pytest.param(
            ([file("usr/lib/tool"), link("lib", "usr/lib")], {"tree": "/lib", "dest": "/usr/libexec"}),
            ([file("usr/libexec/tool")], {}),
            "1 path: /usr/libexec/tool.",
            id="through a link to the tree",
        ),
        pytest.param(
            ([file("usr/bin/x")], {"dest": "/etc/one"}),
            ([file("etc/one")], {"tree": "/etc", "dest": "/etc"}),
            "1 path: /etc/one (a directory in one, a file in other).",
            id="a file where another has its dest",
        ),
    ],
)
def test_trees_in_conflict(
    one: tuple[list[Member], dict[str, Any]],
    other: tuple[list[Member], dict[str, Any]],
    says: str,
    push: Push,
    skopeo: Registry,
    tmp_path: Path,
) -> None:
    options = [push("one", one[0], **one[1]), push("other", other[0], **other[1])]
    category, message = refusal(options, skopeo, tmp_path)
    assert category is FailureCategory.CONFLICT
    assert says in message


def test_trees_that_share_directories_only(push: Push, skopeo: Registry, tmp_path: Path) -> None:
    gone = [file("usr/bin/.wh.tool"), file("usr/bin/other")]
    one = push("one", [directory("usr/lib", 0o755), file("usr/bin/tool")], gone)
    other = push("other", [directory("usr/lib", 0o700), file("usr/bin/tool")])
    check([one, other], skopeo, tmp_path)


@pytest.mark.parametrize(
    ("members", "option", "says"),
    [
        ([file("opt/a")], {}, "Component one: /usr is not there in "),
        ([file("opt/a")], {}, "The image has /opt."),
        ([file("usr")], {}, "/usr is not a directory"),
        ([directory("usr/lib")], {}, "/usr has no file in "),
        ([file("usr/a"), pipe("usr/pipe")], {}, "no image can carry to a host: /usr/pipe. Let tmpfiles.d make them"),
        ([file("usr/a")], {"rpms": "/rpms"}, "Component one: there is no directory /rpms in "),
        ([file("rpms/readme"), file("rpms/.x.rpm"), file("rpms/d/y.rpm")], {"rpms": "/rpms"}, "no file *.rpm in /rpms"),
        ([file("rpms/a.rpm", b"no package")], {"rpms": "/rpms"}, "one: a.rpm in /rpms ends within its lead."),
        ([file("../a")], {}, "leads out of the image"),
    ],
)
def test_a_component_that_brings_nothing_usable(
    members: list[Member], option: dict[str, Any], says: str, push: Push, skopeo: Registry, tmp_path: Path
) -> None:
    category, message = refusal([push("one", members, **option)], skopeo, tmp_path)
    assert category is FailureCategory.INPUT
    assert says in message


def test_an_image_of_another_architecture(push: Push, skopeo: Registry, tmp_path: Path) -> None:
    _category, message = refusal([push("one", [file("usr/a")], architecture="s390x")], skopeo, tmp_path)
    assert "is an image for linux/s390x, not for linux/amd64" in message


SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: of a test
License: MIT
{arch}
%description
of a test
%install
{install}
%files
{files}
"""


class Packages:
    """Real packages. Each is made once in a session."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._made: dict[tuple[Any, ...], bytes] = {}

    def make(self, name: str, files: Sequence[str], version: str = "1", arch: str = "BuildArch: noarch") -> bytes:
        """A package of lines `path [content] [attr]`; a path that ends in a slash is a directory, `path>target` a link."""
        key = (name, tuple(files), version, arch)
        if key not in self._made:
            self._made[key] = self._build(name, files, version, arch)
        return self._made[key]

    def _build(self, name: str, files: Sequence[str], version: str, arch: str) -> bytes:
        if shutil.which("rpmbuild") is None:
            pytest.skip("rpmbuild is not installed (Debian: apt-get install rpm)")
        install, listed = [], []
        for line in files:
            path, content, *rest = (*line.split(" ", 2), "x")[:3] if " " in line else (line, "x")
            attribute = rest[0] if rest and rest[0].startswith("%") else ""
            path, arrow, target = path.partition(">")
            root = "%{buildroot}" + path
            if path.endswith("/"):
                install.append(f"mkdir -p {root}")
                listed.append(f"{attribute} %dir {path.rstrip('/')}")
                continue
            install.append(f"mkdir -p $(dirname {root})")
            install.append(f"ln -s {target} {root}" if arrow else f"echo {content} > {root}")
            listed.append(f"{attribute} {path}")
        spec = self._work / "one.spec"
        spec.write_text(
            SPEC.format(name=name, version=version, arch=arch, install="\n".join(install), files="\n".join(listed))
        )
        top = self._work / f"top{next(NUMBERS)}"
        command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}", str(spec)]
        subprocess.run(command, check=True, capture_output=True)
        (package,) = (top / "RPMS").rglob("*.rpm")
        return package.read_bytes()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


def rpm_accepts(work: Path, *contents: bytes) -> bool:
    """Whether rpm itself would install these packages side by side into an empty root."""
    names = []
    for number, content in enumerate(contents):
        path = work / f"{number}.rpm"
        path.write_bytes(content)
        names.append(str(path))
    command = ["rpm", "--root", str(work), "--dbpath", "/db", "-i", "--test", "--nodeps", "--nosignature", *names]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or "conflicts between attempted installs" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (["/usr/lib/x same"], ["/usr/lib/x same"], None),
        (["/usr/lib/x mine"], ["/usr/lib/x theirs"], "/usr/lib/x"),
        (["/usr/lib/x same %attr(0755,root,root)"], ["/usr/lib/x same"], "/usr/lib/x"),
        (["/usr/lib/x same %attr(0644,bin,root)"], ["/usr/lib/x same"], "/usr/lib/x"),
        (["/usr/lib/x mine %ghost"], ["/usr/lib/x theirs"], None),
        (["/usr/lib/l>a"], ["/usr/lib/l>a"], None),
        (["/usr/lib/l>a"], ["/usr/lib/l>b"], "/usr/lib/l"),
        (["/usr/lib/d/ x"], ["/usr/lib/d/ x"], None),
        (["/usr/lib/d/ x %attr(0700,root,root)"], ["/usr/lib/d/ x"], "/usr/lib/d"),
        (["/usr/lib/d/ x %attr(-,bin,root)"], ["/usr/lib/d/ x"], "/usr/lib/d"),
        (["/usr/lib/d/ x"], ["/usr/lib/d x"], "/usr/lib/d (a directory in one, a file in other)"),
    ],
)
def test_packages_are_compared_as_rpm_does(
    one: list[str],
    other: list[str],
    conflict: str | None,
    push: Push,
    packages: Packages,
    skopeo: Registry,
    tmp_path: Path,
) -> None:
    made = packages.make("one", one), packages.make("other", other)
    assert rpm_accepts(tmp_path, *made) == (conflict is None)
    options = [
        push(name, [file(f"rpms/{name}.rpm", content)], rpms="/rpms")
        for name, content in zip(("one", "other"), made, strict=True)
    ]
    if conflict is None:
        check(options, skopeo, tmp_path)
        return
    category, message = refusal(options, skopeo, tmp_path)
    assert category is FailureCategory.CONFLICT
    assert f"one and other both bring 1 path: {conflict}." in message


@pytest.mark.parametrize(
    ("files", "tree", "says"),
    [
        (["/usr/bin/tool x"], [file("usr/bin/tool")], "1 path: /usr/bin/tool."),
        (["/bin/tool x"], [file("usr/bin/tool")], "1 path: /usr/bin/tool."),
        (["/usr/lib/a/tool x"], [file("usr/lib/a")], "1 path: /usr/lib/a (a directory in pack, a file in tree)."),
        (["/usr/lib/a/tool x"], [link("usr/lib/a", "b"), file("usr/lib/b/tool")], "1 path: /usr/lib/b/tool."),
        (["/usr/lib/d/ x", "/usr/lib/d/a x"], [file("usr/lib/d/b")], None),
        (["/usr/lib/state x %ghost"], [file("usr/lib/state")], None),
    ],
)
def test_packages_against_a_tree(
    files: list[str],
    tree: list[Member],
    says: str | None,
    push: Push,
    packages: Packages,
    skopeo: Registry,
    tmp_path: Path,
) -> None:
    options = [push("pack", [file("rpms/p.rpm", packages.make("p", files))], rpms="/rpms"), push("tree", tree)]
    if says is None:
        check(options, skopeo, tmp_path)
        return
    category, message = refusal(options, skopeo, tmp_path)
    assert category is FailureCategory.CONFLICT
    assert says in message


def test_one_package_in_two_versions(push: Push, packages: Packages, skopeo: Registry, tmp_path: Path) -> None:
    old, new = (packages.make("crio", [f"/usr/lib/{version} x"], version) for version in ("1", "2"))
    same = [push(name, [file("rpms/crio.rpm", old)], rpms="/rpms") for name in ("one", "other")]
    check(same, skopeo, tmp_path)
    options = [same[0], push("other", [file("rpms/crio.rpm", new)], rpms="/rpms")]
    category, message = refusal(options, skopeo, tmp_path)
    assert category is FailureCategory.CONFLICT
    assert "one brings the package crio in version 1-1, and other in version 2-1." in message


def test_packages_that_no_image_can_carry(push: Push, packages: Packages, skopeo: Registry, tmp_path: Path) -> None:
    fine = packages.make("fine", ["/var/lib/x/ x", "/var/lib/y x %ghost"])
    lost = packages.make("lost", ["/var/lib/x/ x", "/var/lib/x/data x"])
    check([push("one", [file("rpms/a.rpm", fine)], rpms="/rpms")], skopeo, tmp_path)
    category, message = refusal([push("one", [file("rpms/a.rpm", lost)], rpms="/rpms")], skopeo, tmp_path)
    assert category is FailureCategory.INPUT
    assert (
        "the package lost-1-1.noarch brings what no image can carry: /var/lib/x/data. Reason: a host keeps" in message
    )


def test_packages_of_another_architecture(push: Push, packages: Packages, skopeo: Registry, tmp_path: Path) -> None:
    package = packages.make("native", ["/usr/lib/x x"], arch="")
    name = f"{os.uname().machine}.rpm"
    option = push("one", [file(f"rpms/{name}", package)], architecture="s390x", rpms="/rpms")
    components = resolve_components([option], skopeo, "linux/s390x")
    with pytest.raises(BuildError, match=rf"{name} is a package for {os.uname().machine}, .* for linux/s390x"):
        check_components(components, skopeo, "linux/s390x", tmp_path)


BASE = [
    directory("usr", 0o751),
    directory("usr/lib", 0o711, 6, 6),
    directory("usr/lib/special", 0o700, 5, 5),
    file("usr/lib/special/base"),
    directory("usr/lib/same", 0o755),
    directory("usr/real"),
    link("usr/lib64", "lib"),
    link("usr/alias", "real"),
    file("usr/lib/doomed/content"),
    file("usr/lib/replaced", b"base\n"),
]
SUID = file("usr/lib/special/suid", b"s\n", 0o4755, 7, 8)
COMPONENT = [
    directory("usr", 0o755),
    directory("usr/lib", 0o755),
    directory("usr/lib/special", 0o755),
    directory("usr/lib/new", 0o750, 9, 9),
    SUID,
    hard_link("usr/lib/special/twin", SUID),
    link("usr/lib/special/link", "suid"),
    directory("usr/lib/same", 0o755),
    file("usr/lib/replaced", b"component\n", 0o600),
]


@pytest.fixture
def built(
    registry: LabRegistry, skopeo: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[Member], list[dict[str, Any]]], ImageLayers]]:
    """Build with the real engine from the instructions of components, and read the result."""
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    storage = tmp_path / "storage"
    storage.mkdir()
    configuration = storage / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))

    def no_rpms(name: str, image: str, source: str) -> BuildStep:
        raise AssertionError(f"{name} {image} {source} is no tree")

    def build(base: list[Member], options: list[dict[str, Any]]) -> ImageLayers:
        push_image(registry, "components/base", "1", base)
        steps = component_steps(resolve_components(options, skopeo, AMD64), no_rpms)
        lines = [f"FROM {registry.address}/components/base:1", *(step.instruction for step in steps)]
        (tmp_path / "Containerfile").write_text("\n".join(lines) + "\n")
        command = ["buildah", "build", "--isolation=chroot", "--layers", "--timestamp=0", "--tls-verify=false"]
        command += ["--quiet", "--tag=localhost/built", str(tmp_path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        target = tmp_path / "exported"
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(
            ["buildah", "push", "--quiet", "localhost/built", f"oci:{target}"], check=True, capture_output=True
        )
        return ImageLayers.in_directory(target, "localhost/built")

    yield build
    subprocess.run(["buildah", "rmi", "--all", "--force"], capture_output=True, check=False)


def test_what_copying_a_component_keeps_and_changes(
    push: Push, skopeo: Registry, tmp_path: Path, built: Callable[[list[Member], list[dict[str, Any]]], ImageLayers]
) -> None:
    options = [push("one", COMPONENT), push("two", [file("out/tool")], tree="/out", dest="/usr/lib64/two")]
    image = built(BASE, options)
    assert len(image.layers) == 3  # each component is a layer of its own
    merged = image.tree()
    tree = merged.tree

    def facts(path: str) -> tuple[FileType, int, int, int]:
        return tree[path].type, tree[path].mode, tree[path].uid, tree[path].gid

    assert facts("/usr/lib/special/suid") == facts("/usr/lib/special/twin") == (FileType.FILE, 0o4755, 7, 8)
    assert merged.places["/usr/lib/special/suid"] == merged.places["/usr/lib/special/twin"]
    assert tree["/usr/lib/special/link"].target == "suid"
    assert facts("/usr/lib/new") == (FileType.DIRECTORY, 0o750, 9, 9)
    assert image.read(merged, ["/usr/lib/replaced", "/usr/lib/special/base"]) == {
        "/usr/lib/replaced": b"component\n",
        "/usr/lib/special/base": b"x\n",
    }
    # a destination behind a link of the base is where the link leads
    assert "/usr/lib/two/tool" in tree
    assert tree["/usr/lib64"].type is FileType.LINK
    # the destination itself stays as it was, directories below get what the component says
    assert facts("/usr") == (FileType.DIRECTORY, 0o751, 0, 0)
    assert facts("/usr/lib") == facts("/usr/lib/special") == (FileType.DIRECTORY, 0o755, 0, 0)
    components = resolve_components(options, skopeo, AMD64)
    assert check_base_survived(components, skopeo, AMD64, tmp_path / "cache", image.tree(1).tree) == (
        "Component one changes mode and owner of directories of the base: /usr/lib from 0711 6:6 to 0755 0:0, "
        "/usr/lib/special from 0700 5:5 to 0755 0:0. Give them the base's in the component's image.",
    )


@pytest.mark.parametrize(
    ("members", "becomes", "says"),
    [
        ([file("usr/alias/x")], FileType.DIRECTORY, "/usr/alias, a link to real, becomes a directory"),
        ([link("usr/lib/doomed", "/etc")], FileType.LINK, "/usr/lib/doomed, a directory, becomes a link"),
        ([file("usr/lib/doomed")], FileType.FILE, "/usr/lib/doomed, a directory, becomes a file"),
    ],
)
def test_what_a_component_would_take_from_the_base(
    members: list[Member],
    becomes: FileType,
    says: str,
    push: Push,
    skopeo: Registry,
    tmp_path: Path,
    built: Callable[[list[Member], list[dict[str, Any]]], ImageLayers],
) -> None:
    option = push("one", [*members, file("usr/lib/more")])
    image = built(BASE, [option])
    path = says.partition(",")[0]
    assert image.tree().tree[path].type is becomes  # the engine does it without a word
    components = resolve_components([option], skopeo, AMD64)
    (content,) = component_contents(components, skopeo, AMD64, tmp_path / "cache")
    assert changes_to_base(content, image.tree(1).tree).lost == (says,)
    with pytest.raises(BuildError, match="Component one: it would replace directories of the base") as caught:
        check_base_survived(components, skopeo, AMD64, tmp_path / "cache", image.tree(1).tree)
    assert caught.value.failure.category is FailureCategory.CONFLICT
    assert says in caught.value.failure.message
