# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering a whole configuration: units, keys, arguments, conflicts, and that nothing of it gets lost or out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.config_render import (
    RenderOptions,
    RenderRefused,
    SshKeysFile,
    render,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.disruption_policy import parse_policy
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import image_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import MergedConfig, Unsupported
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import OwnerRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    KARGS_PATH,
    PRESET_PATH,
    TMPFILES_PATH,
    PathOwner,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config_json import (
    ManifestNotUnderstood,
    manifest_text,
    parse_manifest,
)
from render_examples import PEM, SERVICE, config, directory, file, keys, link, origin, path_of, rendered, unit

WANTS = "/etc/systemd/system/multi-user.target.wants"
UNITS = "/usr/lib/systemd/system"
LIVE = OwnerRules(policy=parse_policy({"units": [{"name": "a.service", "actions": [{"type": "DaemonReload"}]}]}))


def links_and_files(*items: Any, rules: OwnerRules | None = None) -> dict[str, str | None]:
    """From each path to where it leads, or to its owner if it is a file; presets aside."""
    files = rendered(*items, rules=rules).config.files
    return {one.path: one.target or one.owner.value for one in files if one.path != PRESET_PATH}


UNIT_CASES: dict[str, tuple[list[Any], dict[str, str], str, tuple[str, ...]]] = {
    # items, paths, preset file, presets of the base
    "given and enabled": (
        [unit("a.service", SERVICE, enabled=True)],
        {f"{UNITS}/a.service": "image", f"{WANTS}/a.service": f"{UNITS}/a.service"},
        "enable a.service\n",
        (),
    ),
    "given and disabled": ([unit("a.service", SERVICE, enabled=False)], {f"{UNITS}/a.service": "image"}, "disable a.service\n", ()),
    "given, nothing said": ([unit("a.service", SERVICE)], {f"{UNITS}/a.service": "image"}, "", ()),
    "of the base, enabled": ([unit("a.service", enabled=True)], {}, "enable a.service\n", ("a.service",)),
    "of the base, disabled": ([unit("a.service", enabled=False)], {}, "disable a.service\n", ("a.service",)),
    "of the base, a drop-in": (
        [unit("a.service", dropins={"10.conf": "[Service]\nUser=x\n"})],
        {f"{UNITS}/a.service.d/10.conf": "image"},
        "",
        (),
    ),
    "an empty drop-in is none": ([unit("a.service", dropins={"10.conf": ""})], {}, "", ()),
    "masked": ([unit("a.service", mask=True)], {"/etc/systemd/system/a.service": "/dev/null"}, "", ()),
    "masked and given": (
        [unit("a.service", SERVICE, mask=True)],
        {f"{UNITS}/a.service": "image", "/etc/systemd/system/a.service": "/dev/null"},
        "",
        (),
    ),
    "not masked": ([unit("a.service", mask=False)], {}, "", ()),
    "an instance": (
        [unit("t@.service", SERVICE), unit("t@one.service", enabled=True)],
        {f"{UNITS}/t@.service": "image", f"{WANTS}/t@one.service": f"{UNITS}/t@.service"},
        "enable t@.service one\n",
        (),
    ),
    "an instance of the base": ([unit("t@one.service", enabled=True)], {}, "enable t@.service one\n", ("t@one.service",)),
    "written as a file in /etc": (
        [file("/etc/systemd/system/a.service", SERVICE), unit("a.service", enabled=True)],
        {"/etc/systemd/system/a.service": "image", f"{WANTS}/a.service": "/etc/systemd/system/a.service"},
        "enable a.service\n",
        (),
    ),
    "enabled by a link of one's own": (
        [unit("a.service", SERVICE, enabled=True), link(f"{WANTS}/a.service", f"{UNITS}/a.service")],
        {f"{UNITS}/a.service": "image", f"{WANTS}/a.service": f"{UNITS}/a.service"},
        "enable a.service\n",
        (),
    ),
    "with others": (
        [
            unit("a.service", SERVICE + "Alias=z.service\nAlso=a.socket other.socket off.socket\n", enabled=True),
            unit("a.socket", "[Socket]\n[Install]\nRequiredBy=sockets.target\n"),
            unit("off.socket", "[Socket]\n[Install]\nWantedBy=sockets.target\n", enabled=False),
        ],
        {
            f"{UNITS}/a.service": "image",
            f"{UNITS}/a.socket": "image",
            f"{UNITS}/off.socket": "image",
            f"{WANTS}/a.service": f"{UNITS}/a.service",
            "/etc/systemd/system/z.service": f"{UNITS}/a.service",
            "/etc/systemd/system/sockets.target.requires/a.socket": f"{UNITS}/a.socket",
        },
        "enable a.service\ndisable off.socket\nenable a.socket\nenable other.socket\n",
        ("other.socket",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNIT_CASES)
def test_units(case: str) -> None:
    items, paths, presets, of_the_base = UNIT_CASES[case]
    assert links_and_files(*items) == paths
    found = rendered(*items)
    assert sorted(found.contents.get(PRESET_PATH, b"").decode().splitlines()) == sorted(presets.splitlines())
    assert found.config.presets == of_the_base
    assert found.config.masks == tuple(item.name for item in items if getattr(item, "mask", None))


def test_a_unit_that_may_change_without_a_reboot_belongs_to_the_host() -> None:
    found = rendered(unit("a.service", SERVICE, enabled=True, dropins={"1.conf": "[Unit]\n"}), rules=LIVE)
    text = path_of(found, "/etc/systemd/system/a.service")
    assert (text.owner, text.actions, text.mode) == (PathOwner.HOST, ("DaemonReload",), 0o644)
    assert path_of(found, "/etc/systemd/system/a.service.d/1.conf").owner is PathOwner.HOST
    assert path_of(found, f"{WANTS}/a.service").target == "/etc/systemd/system/a.service"


def test_a_masked_unit_stays_in_the_image_as_its_place_in_etc_is_taken() -> None:
    assert links_and_files(unit("a.service", SERVICE, mask=True), rules=LIVE) == {
        f"{UNITS}/a.service": "image",
        "/etc/systemd/system/a.service": "/dev/null",
    }


def test_a_drop_in_with_a_password_is_a_secret_of_the_host() -> None:
    proxy = "[Service]\nEnvironment=HTTPS_PROXY=http://me:hush@proxy.example.com\n"
    found = rendered(unit("crio.service", dropins={"10-proxy.conf": proxy, "20.conf": "[Service]\n"}))
    secret = path_of(found, "/etc/systemd/system/crio.service.d/10-proxy.conf")
    assert (secret.owner, secret.mode, secret.secret, secret.sha256, secret.size) == (
        PathOwner.HOST,
        0o600,
        True,
        None,
        0,
    )
    assert path_of(found, f"{UNITS}/crio.service.d/20.conf").owner is PathOwner.IMAGE


def test_a_drop_in_whose_path_has_a_rule_of_its_own_belongs_to_the_host() -> None:
    name = "40-kubelet-crio-image-credential-provider.conf"
    found = rendered(unit("kubelet.service", dropins={name: "[Service]\n"}))
    dropin = path_of(found, f"/etc/systemd/system/kubelet.service.d/{name}")
    assert (dropin.owner, dropin.actions) == (PathOwner.HOST, ("DaemonReload", "Restart kubelet.service"))


@pytest.mark.parametrize(
    ("user", "where", "path"),
    [
        ("core", SshKeysFile.IGNITION, "/var/home/core/.ssh/authorized_keys.d/ignition"),
        ("core", SshKeysFile.AUTHORIZED_KEYS, "/var/home/core/.ssh/authorized_keys"),
        ("root", SshKeysFile.AUTHORIZED_KEYS, "/var/roothome/.ssh/authorized_keys"),
    ],
)
def test_ssh_keys_belong_to_the_host(user: str, where: SshKeysFile, path: str) -> None:
    found = render(config(keys(user, "ssh-ed25519 AAAA a", "ssh-rsa BBBB b")), RenderOptions(ssh_keys_file=where))
    entry = path_of(found, path)
    assert (entry.owner, entry.mode) == (PathOwner.HOST, 0o600)
    assert {entry.user, entry.group} == ({0} if user == "root" else {user})
    assert found.contents[path] == b"ssh-ed25519 AAAA a\nssh-rsa BBBB b\n"
    assert found.config.owned_by(PathOwner.IMAGE) == ()


@pytest.mark.parametrize(
    ("given", "architecture", "x86_64", "aarch64"),
    [
        ({"kernel_arguments": ("nosmt", "a=1 b=2", "nosmt")}, None, ("nosmt", "a=1", "b=2"), ("nosmt", "a=1", "b=2")),
        ({"kernel_arguments": ("nosmt",)}, "x86_64", ("nosmt",), ()),
        ({"kernel_arguments": ("x",), "fips": True}, None, ("x", "fips=1"), ("x", "fips=1")),
        ({"fips": True, "kernel_arguments": ("fips=1",)}, None, ("fips=1",), ("fips=1",)),
        ({"kernel_arguments": ('dyndbg="file a.c +p"',)}, None, ('dyndbg="file a.c +p"',), ('dyndbg="file a.c +p"',)),
    ],
)
def test_kernel_arguments_go_into_the_image(
    given: dict[str, Any], architecture: str | None, x86_64: tuple[str, ...], aarch64: tuple[str, ...]
) -> None:
    found = render(config(**given), RenderOptions(architecture=architecture))
    files = {"50-machine-config.toml": found.contents[KARGS_PATH].decode()}
    assert (image_arguments(files, "x86_64"), image_arguments(files, "aarch64")) == (x86_64, aarch64)


def test_what_an_image_cannot_do_is_handed_on() -> None:
    found = rendered(
        kernel_arguments_absent=("quiet",),
        kernel_type="realtime",
        extensions=("usbguard",),
        os_image="registry.example.com/os@sha256:1",
        extensions_image="registry.example.com/extensions@sha256:2",
    ).config
    assert (found.kargs_absent, found.kernel_type, found.extensions) == (("quiet",), "realtime", ("usbguard",))
    assert (found.os_image, found.extensions_image) == (
        "registry.example.com/os@sha256:1",
        "registry.example.com/extensions@sha256:2",
    )
    assert found.files == ()


REFUSED: list[tuple[list[Any], dict[str, Any], str]] = [
    ([file("/home/core/x", "a"), file("/var/home/core/x", "b")], {}, "is said otherwise by 50-worker, spec.config.storage.files"),
    ([file("/etc/x"), directory("/etc/x")], {}, "is said otherwise"),
    ([file("/etc/x"), file("/etc/x/y")], {}, "is below /etc/x, which is a file"),
    ([link("/etc/x", "/var"), file("/etc/x/y")], {}, "is below /etc/x, which is a link"),
    ([link("/var/x", "/etc"), file("/var/x/y/z")], {}, "is below /var/x, which is a link"),
    ([file("/etc/systemd/system/a.service"), unit("a.service", SERVICE)], {}, "would be hidden by /etc/systemd/system/a.service"),
    ([file("/etc/systemd/system/a.service"), unit("a.service", mask=True)], {}, "is said otherwise"),
    ([unit("a.service", SERVICE + f"# {PEM.decode()}", mask=True)], {}, "a link is wanted that masks the unit"),
    ([unit("a b.service")], {}, "no name of a systemd unit"),
    ([file(PRESET_PATH), unit("a.service", enabled=True)], {}, "is said otherwise"),
    ([file(TMPFILES_PATH), file("/var/x")], {}, "is said otherwise"),
    ([], {"kernel_arguments": ("a", "b"), "kernel_arguments_absent": ("b",)}, "b shall both be and not be there"),
    ([], {"kernel_arguments": ("ostree=/x",)}, "written by the boot loader or ostree"),
    ([], {"kernel_arguments": ('a="b',)}, "never closed"),
    ([], {"kernel_type": "rt"}, "kernelType is 'rt'"),
    ([], {"unsupported": (Unsupported(origin("storage.disks"), "made at installation", False),)}, "made at installation"),
]  # fmt: skip


@pytest.mark.parametrize(("items", "more", "why"), REFUSED)
def test_refused(items: list[Any], more: dict[str, Any], why: str) -> None:
    with pytest.raises(RenderRefused) as refused:
        rendered(*items, **more)
    assert any(why in problem for problem in refused.value.problems), refused.value.problems


def test_everything_in_the_way_is_said_at_once_and_no_content_with_it() -> None:
    with pytest.raises(RenderRefused) as refused:
        rendered(file("/boot/x", "hush"), file("/usr/x", PEM), kernel_type="rt")
    assert len(refused.value.problems) == 3
    assert "hush" not in str(refused.value)
    assert "MIIE" not in str(refused.value)


def test_what_may_be_left_out_is_kept_in_mind() -> None:
    left_out = (Unsupported(origin("storage.disks"), "made at installation", True),)
    assert rendered(unsupported=left_out).config.unsupported == left_out


def test_the_same_said_twice_is_no_conflict() -> None:
    found = rendered(file("/home/core/x"), file("/var/home/core/x"))
    assert path_of(found, "/var/home/core/x").owner is PathOwner.TMPFILES


def test_a_hard_link_becomes_a_file_with_the_same_content() -> None:
    found = rendered(file("/etc/a", "same", 0o755, user=3), link("/etc/b", "/etc/a", hard=True))
    first, second = path_of(found, "/etc/a"), path_of(found, "/etc/b")
    assert replace(first, path="", origin=None) == replace(second, path="", origin=None)


def test_owners_by_name_in_etc_are_given_at_boot_and_numbers_in_the_image() -> None:
    found = rendered(file("/etc/a", user="core", group=7), file("/etc/b", user=5), file("/etc/c", user="root"))
    assert found.contents[TMPFILES_PATH].decode().splitlines()[1:] == ["z /etc/a 0644 core 7"]
    assert path_of(found, "/etc/b").user == 5
    assert path_of(found, "/etc/c").user == 0


def test_a_role_for_which_no_document_is_gets_a_warning() -> None:
    found = render(MergedConfig("wroker", ("00-worker",), only_of_worker=True), RenderOptions())
    assert found.config.warnings == (
        "No document is for the role wroker, so it gets those of worker and nothing else. Check the spelling.",
    )


def test_an_enabled_unit_that_is_masked_never_starts_and_this_is_said() -> None:
    found = rendered(unit("a.service", SERVICE, enabled=True, mask=True)).config
    assert found.warnings == ("a.service is both enabled and masked, so it never starts.",)
    assert [one.path for one in found.files if one.type is FileType.LINK] == ["/etc/systemd/system/a.service"]


def full_example() -> Any:
    return rendered(
        file("/etc/a b", "x", user="core"),
        file("/etc/key", PEM),
        file("/home/core/x", b"\xff\0"),
        directory("/etc/sudoers.d", 0o750),
        link("/opt/l", "/usr"),
        keys("core", "ssh-rsa AAAA"),
        unit("a.service", SERVICE, enabled=True, dropins={"x.conf": "[Unit]\n"}),
        unit("crio.service", enabled=True),
        unit("m.service", mask=True),
        kernel_arguments=("nosmt",),
        kernel_arguments_absent=("quiet",),
        fips=True,
        extensions=("usbguard",),
        unsupported=(Unsupported(origin("storage.disks"), "made at installation", True),),
        left_out=("50-master",),
    )


def test_a_manifest_is_read_back_and_tells_no_secret() -> None:
    found = full_example()
    text = manifest_text(found.config)
    assert parse_manifest(text) == found.config
    assert "MIIE" not in text


def test_a_manifest_that_is_cut_or_changed_is_refused() -> None:
    text = manifest_text(full_example().config)
    for end in range(0, len(text) - 2, 101):
        with pytest.raises(ManifestNotUnderstood):
            parse_manifest(text[:end])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"imagemode_rendered_config": 1', '"imagemode_rendered_config": 2'),
        ('"path": "/etc/a b"', '"path": "/etc/../a"'),
        ('"path": "/etc/a b"', '"path": "etc/a"'),
        ('"path": "/etc/a b"', '"path": "/zzz"'),
        ('"owner": "image"', '"owner": "nobody"'),
        ('"owner": "host"', '"owner": "image"'),
        ('"mode": "0750"', '"mode": "750"'),
        ('"mode": "0750"', '"mode": 488'),
        ('"type": "link"', '"type": "file"'),
        ('"type": "directory"', '"type": "other"'),
        ('"fips": true', '"fips": 1'),
        ('"fips": true', '"fips": true, "more": 1'),
        ('"role": "worker"', '"rolle": "worker"'),
        ('"user": "core"', '"user": -1'),
        ('"user": "core"', '"user": ""'),
        ('"secret": true', '"secret": "true"'),
        ('"secret": true', '"secret": false'),
        ('"given": true', '"given": null'),
        ('"kargs": [', '"kargs": [1,'),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(old: str, new: str) -> None:
    text = manifest_text(full_example().config)
    assert old in text
    with pytest.raises(ManifestNotUnderstood):
        parse_manifest(text.replace(old, new))


def test_the_hash_changes_with_the_image_and_with_nothing_else() -> None:
    base = rendered(file("/etc/a"), unit("b.service", enabled=True), file("/etc/key", PEM)).config.image_hash
    same = [
        rendered(
            file("/etc/a"),
            unit("b.service", enabled=True),
            file("/etc/key", PEM + b"x"),
            kernel_arguments_absent=("q",),
        ),
        rendered(file("/etc/a"), unit("b.service", enabled=True), keys("core", "ssh-rsa A"), role="infra"),
    ]
    other = [
        rendered(file("/etc/a", "y"), unit("b.service", enabled=True)),
        rendered(file("/etc/a", mode=0o755), unit("b.service", enabled=True)),
        rendered(file("/etc/a", user=1), unit("b.service", enabled=True)),
        rendered(file("/etc/a"), unit("b.service", enabled=False)),
        rendered(file("/etc/a"), unit("b.service", enabled=True), file("/var/x")),
        rendered(file("/etc/a"), unit("b.service", enabled=True), link("/etc/l", "x")),
        rendered(file("/etc/a"), unit("b.service", enabled=True), directory("/etc/d")),
        rendered(file("/etc/a"), unit("b.service", enabled=True), kernel_arguments=("x",)),
        rendered(file("/etc/a"), unit("b.service", enabled=True), kernel_type="realtime"),
        rendered(file("/etc/a"), unit("b.service", enabled=True), extensions=("x",)),
        rendered(file("/etc/a"), unit("b.service", enabled=True), fips=True),
    ]  # fmt: skip
    assert [one.config.image_hash for one in same] == [base, base]
    hashes = [one.config.image_hash for one in other]
    assert base not in hashes
    assert len(set(hashes)) == len(hashes)
