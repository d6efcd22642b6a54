# SPDX-License-Identifier: GPL-3.0-or-later
"""Round trip: what a configuration was rendered to, read as a configuration and rendered again, has the same paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.config_render import (
    RenderOptions,
    RenderRefused,
    render,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import MergedConfig
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_merge import merge
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_of import config_of
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import RenderedPath, Rendering
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from render_examples import PEM, SERVICE, config, directory, file, keys, link, unit

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPzDs9EY41jScGvsB0kZbbfuJ4mtMn9fn4B1qE7H3lvX"
OPTIONS = RenderOptions()


def bare(path: RenderedPath) -> RenderedPath:
    """A path without who said so: documents have other names after a round trip."""
    return replace(path, origin=None)


def assert_round_trip(given_config: MergedConfig) -> None:
    first = render(given_config, OPTIONS)
    second = render(merge(config_of(first), first.config.role), OPTIONS)
    assert {path.path: bare(path) for path in second.config.files} == {
        path.path: bare(path) for path in first.config.files
    }
    assert second.contents == first.contents
    assert essence(second) == essence(first)
    assert second.config.image_hash == first.config.image_hash


def essence(rendering: Rendering) -> tuple[Any, ...]:
    found = rendering.config
    units = [(one.name, one.given, one.enabled, one.masked, one.links) for one in found.units]
    return (
        *(units, found.kargs, found.kargs_absent, found.presets, found.masks, found.extensions, found.kernel_type),
        *(found.fips, found.os_image, found.extensions_image, found.role),
    )


def test_a_bit_of_everything() -> None:
    assert_round_trip(
        config(
            file("/etc/plain", "x"),
            file("/etc/named", "x", user="core", group=7),
            file("/etc/key", PEM),
            file("/etc/containers/policy.json", "{}"),
            file("/usr/local/bin/tool", b"\x7fELF\0\xff", 0o755),
            file("/home/core/100% of \"it\"\\", ""),
            file("/var/large", b"x" * 600_000),
            directory("/etc/sudoers.d", 0o750),
            directory("/opt/app", user="core", group="core"),
            link("/opt/app/l ", "/usr/100%d"),
            link("/etc/a", "/b"),
            link("/etc/plain2", "/etc/plain", hard=True),
            keys("core", f"{KEY} a", f"{KEY[:-1]}Y b"),
            keys("root", KEY),
            unit("a.service", SERVICE, enabled=True, dropins={"x.conf": "[Unit]\nDescription=ö\n"}),
            unit("iri-registry.service", SERVICE, enabled=True),
            unit("t@.service", SERVICE + "Also=other.socket\n"),
            unit("t@one.service", enabled=True),
            unit("crio.service", enabled=False, dropins={"p.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://me:hush@proxy.example.com\n"}),
            unit("m.service", mask=True),
            kernel_arguments=("nosmt", 'dyndbg="file a.c +p"'),
            kernel_arguments_absent=("quiet",),
            fips=True,
            kernel_type="64k-pages",
            extensions=("usbguard",),
            os_image="registry.example.com/os@sha256:" + "1" * 64,
        )
    )  # fmt: skip


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=6).filter(
    lambda text: text.isprintable() and "/" not in text and text not in (".", "..")
)
TOPS = st.sampled_from(
    ["/etc", "/usr/share", "/usr/local", "/var/lib", "/home/core", "/root", "/opt", "/run", "/etc/crio/policies"]
)
PATHS = st.builds("{}/{}".format, TOPS, NAMES)
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o640, 0o440])
ACCOUNTS = st.one_of(st.none(), st.integers(0, 70000))
CONTENTS = st.one_of(st.binary(max_size=30), st.just(PEM), st.just(b'{"auths": {"x": {"auth": "eDp5"}}}'))
FILES = st.builds(
    lambda path, content, mode, user: file(path, content, mode, user=user), PATHS, CONTENTS, MODES, ACCOUNTS
)
DIRECTORIES = st.builds(lambda path, mode, group: directory(path, mode, group=group), PATHS, MODES, ACCOUNTS)
LINKS = st.builds(link, PATHS, NAMES)
INSTALL = st.sampled_from(
    ["", "WantedBy=a.target\n", "RequiredBy=b.target c.target\n", "Alias=al.service\n", "Also=u2.service\n"]
)
UNITS = st.builds(
    lambda name, install, given_, enabled, mask, dropin: unit(
        name,
        f"[Service]\nExecStart=/x\n[Install]\n{install}" if given_ else None,
        enabled=enabled,
        mask=mask,
        dropins={"d.conf": dropin} if dropin else {},
    ),
    st.sampled_from(["u1.service", "u2.service", "t@.service", "t@i.service", "iri-registry.service"]),
    INSTALL,
    st.booleans(),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, None, True, False]),
    st.sampled_from(["", "[Unit]\n", "[Install]\nWantedBy=d.target\n"]),
)
ITEMS = st.lists(st.one_of(FILES, DIRECTORIES, LINKS, UNITS), max_size=6)


@settings(suppress_health_check=[HealthCheck.filter_too_much], deadline=None)
@given(ITEMS, st.lists(st.sampled_from(["a", "b=1", 'c="d e"']), max_size=3), st.booleans())
def test_any_configuration(items: list[Any], arguments: list[str], fips: bool) -> None:
    names = [getattr(item, "name", None) or item.path for item in items]
    assume(len(set(names)) == len(names))
    given_config = config(*items, kernel_arguments=tuple(arguments), fips=fips)
    try:
        render(given_config, OPTIONS)
    except RenderRefused:
        assume(False)
    assert_round_trip(given_config)
