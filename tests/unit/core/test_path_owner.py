# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns which path: a table of what people put into MachineConfigs, and where it belongs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.config_render import RenderRefused
from ansible_collections.imagemode.nodes.plugins.module_utils._core.disruption_policy import (
    BUILT_IN,
    PolicyNotUnderstood,
    parse_policy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import DEFAULT_VAR_LINKS, OwnerRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import PathOwner
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tmpfiles_d import LARGEST_CONTENT
from render_examples import PEM, directory, file, link, path_of, rendered

IMAGE, TMPFILES, HOST = PathOwner.IMAGE, PathOwner.TMPFILES, PathOwner.HOST
AUTHS = '{"auths": {"registry.example.com": {"auth": "dTpw"}}}'
KUBECONFIG = "users:\n- name: x\n  user:\n    token: abcdefghijklmnopqrstuvwxyz\n"

OWNED = [
    # what is written, where it is, whose it is, what the reason says
    (file("/etc/chrony.conf"), "/etc/chrony.conf", IMAGE, "belongs to the image"),
    (file("/usr/share/x"), "/usr/share/x", IMAGE, "belongs to the image"),
    (file("/lib/udev/x.rules"), "/usr/lib/udev/x.rules", IMAGE, "belongs to the image"),
    (file("/var/lib/x"), "/var/lib/x", TMPFILES, "made at every boot"),
    (file("/home/core/.bashrc"), "/var/home/core/.bashrc", TMPFILES, "made at every boot"),
    (file("/root/.bashrc"), "/var/roothome/.bashrc", TMPFILES, "made at every boot"),
    (file("/opt/x/y"), "/var/opt/x/y", TMPFILES, "made at every boot"),
    (file("/srv/x"), "/var/srv/x", TMPFILES, "made at every boot"),
    (file("/mnt/x"), "/var/mnt/x", TMPFILES, "made at every boot"),
    (file("/usr/local/bin/x", mode=0o755), "/var/usrlocal/bin/x", TMPFILES, "made at every boot"),
    (file("/run/x"), "/run/x", TMPFILES, "made at every boot"),
    (file("/var/run/x"), "/run/x", TMPFILES, "made at every boot"),
    (file("/var/lib/x", b"x" * LARGEST_CONTENT), "/var/lib/x", TMPFILES, "made at every boot"),
    (file("/var/lib/x", b"x" * (LARGEST_CONTENT + 1)), "/var/lib/x", HOST, "does not fit tmpfiles.d: it has 524289 bytes"),
    (directory("/var/lib/d"), "/var/lib/d", TMPFILES, "made at every boot"),
    (directory("/etc/d", 0o700), "/etc/d", IMAGE, "belongs to the image"),
    (link("/opt/l", "/usr/bin/x"), "/var/opt/l", TMPFILES, "made at every boot"),
    (link("/etc/l", "/usr/bin/x"), "/etc/l", IMAGE, "belongs to the image"),
    # secrets
    (file("/etc/tls/tls.key", PEM), "/etc/tls/tls.key", HOST, "private key"),
    (file("/var/lib/tls.pem", b"cert\n" + PEM), "/var/lib/tls.pem", HOST, "private key"),
    (file("/var/lib/kubelet/config.json", "{}"), "/var/lib/kubelet/config.json", HOST, "where credentials are kept"),
    (file("/etc/pull.json", AUTHS), "/etc/pull.json", HOST, "credentials for registries"),
    (file("/etc/pull.json", '{"registry.example.com": {"auth": "dTpw"}}'), "/etc/pull.json", HOST, "credentials for registries"),
    (file("/etc/kubernetes/kubeconfig", KUBECONFIG), "/etc/kubernetes/kubeconfig", HOST, "a token"),
    (file("/etc/htpasswd", "me:$2y$05$abc\n"), "/etc/htpasswd", HOST, "hashes of passwords"),
    (file("/etc/proxy.env", "HTTPS_PROXY=http://me:hush@proxy.example.com:3128\n"), "/etc/proxy.env", HOST, "URL with a password"),
    (file("/etc/x", mode=0o600), "/etc/x", HOST, "its mode 0600"),
    (file("/etc/x", mode=0o640), "/etc/x", HOST, "its mode 0640"),
    (file("/etc/x", mode=0o400), "/etc/x", HOST, "its mode 0400"),
    # no secrets
    (file("/etc/x", mode=0o700), "/etc/x", IMAGE, "belongs to the image"),
    (file("/etc/sudoers.d/ops", mode=0o440), "/etc/sudoers.d/ops", IMAGE, "belongs to the image"),
    (file("/etc/ssh/sshd_config.d/1.conf", mode=0o600), "/etc/ssh/sshd_config.d/1.conf", IMAGE, "belongs to the image"),
    (file("/etc/empty.json", '{"auths": {}}'), "/etc/empty.json", IMAGE, "belongs to the image"),
    (file("/etc/p", "proxy=http://proxy.example.com:3128/@x\n"), "/etc/p", IMAGE, "belongs to the image"),
    (file("/etc/pub.pem", "-----BEGIN CERTIFICATE-----\n"), "/etc/pub.pem", IMAGE, "belongs to the image"),
    # what the built-in disruption policy lets change
    (file("/etc/containers/policy.json"), "/etc/containers/policy.json", HOST, "disruption policy for /etc/containers/policy.json"),
    (file("/etc/containers/registries.d/x.yaml"), "/etc/containers/registries.d/x.yaml", HOST, "for /etc/containers/registries.d"),
    (file("/etc/containers/registries.conf"), "/etc/containers/registries.conf", HOST, "disruption policy"),
    (file("/etc/containers/registries.conf.d/x"), "/etc/containers/registries.conf.d/x", IMAGE, "belongs to the image"),
    (file("/usr/local/bin/load-registry-image.sh"), "/var/usrlocal/bin/load-registry-image.sh", HOST, "disruption policy"),
    (link("/etc/crio/policies/l", "/x"), "/etc/crio/policies/l", IMAGE, "belongs to the image"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "path", "owner", "reason"), OWNED, ids=lambda value: getattr(value, "path", None))
def test_owner(item: Any, path: str, owner: PathOwner, reason: str) -> None:
    found = path_of(rendered(item), path)
    assert found.owner is owner
    assert reason in found.reason


REFUSED = [
    (file("/usr/share/tls.key", PEM), "must not be in an image, and /usr does not belong to the host"),
    (file("/run/secret", mode=0o600), "/run does not belong to the host"),
    (file("/boot/grub2/x.cfg"), "is below /boot, which no image brings"),
    (file("/data/x"), "is below /data, which no image brings"),
    (file("/etc"), "a directory of the system"),
    (file("/etc/../x"), "Write it plainly"),
    (file("etc/x"), "must be absolute"),
    (file("/etc/a\nb"), "without control characters"),
    (file("/usr/share/x", user="core"), "belongs to core by name"),
    (file("/etc/x", PEM, 0o4600), "no file there gets set-user-id"),
    (file("/run/x", b"x" * (LARGEST_CONTENT + 1)), "cannot be made at boot"),
    (file("/etc/machine-config-daemon/currentconfig"), "a whole machine config"),
    (link("/etc/l", "/etc/none", hard=True), "is no file of this configuration"),
]


@pytest.mark.parametrize(("item", "why"), REFUSED, ids=lambda value: getattr(value, "path", None))
def test_what_can_have_no_owner_is_refused(item: Any, why: str) -> None:
    with pytest.raises(RenderRefused) as refused:
        rendered(item)
    (problem,) = refused.value.problems
    assert why in problem
    assert problem.startswith("50-worker, spec.config.storage.")


WANTED = [
    ({"/etc/*": HOST}, file("/etc/x"), HOST),
    ({"/etc/x": TMPFILES}, file("/etc/x"), TMPFILES),
    ({"/etc/*": HOST, "/etc/x*": IMAGE}, file("/etc/x"), IMAGE),
    ({"/home/*": HOST}, file("/home/core/x"), HOST),
    ({"/var/home/*": HOST}, file("/home/core/x"), HOST),
    ({"/etc/containers/policy.json": IMAGE}, file("/etc/containers/policy.json"), IMAGE),
    ({"/etc/*": HOST}, file("/etc/x", mode=0o600), HOST),
]  # fmt: skip


@pytest.mark.parametrize(("owners", "item", "owner"), WANTED)
def test_owners_are_obeyed(owners: dict[str, PathOwner], item: Any, owner: PathOwner) -> None:
    (found,) = [entry for entry in rendered(item, rules=OwnerRules(owners=owners)).config.files if entry.origin]
    assert found.owner is owner


NOT_OBEYED = [
    ({"/etc/*": IMAGE}, file("/etc/x", mode=0o600), "a secret is never put into an image"),
    ({"/etc/*": TMPFILES}, file("/etc/x", PEM), "a secret is never put into an image"),
    ({"/var/*": IMAGE}, file("/var/x"), "leaves /var alone"),
    ({"/usr/*": TMPFILES}, file("/usr/x"), "/usr is read-only"),
    ({"/usr/*": HOST}, file("/usr/x"), "/usr is not the host's"),
    ({"/etc/*": HOST}, directory("/etc/d"), "writes files, not directories or links"),
    ({"/etc/*": HOST}, link("/etc/l", "x"), "writes files, not directories or links"),
    ({"/etc/*": TMPFILES}, file("/etc/x", b"x" * (LARGEST_CONTENT + 1)), "holds 524288"),
]  # fmt: skip


@pytest.mark.parametrize(("owners", "item", "why"), NOT_OBEYED)
def test_owners_that_cannot_be(owners: dict[str, PathOwner], item: Any, why: str) -> None:
    with pytest.raises(RenderRefused, match=why):
        rendered(item, rules=OwnerRules(owners=owners))


def test_a_pattern_that_matches_nothing_is_said() -> None:
    found = rendered(file("/etc/x"), rules=OwnerRules(owners={"/etc/y": HOST, "/etc/x": IMAGE}))
    assert found.config.warnings == ("No path of the configuration matches /etc/y of owners.",)


def test_a_base_with_a_real_usr_local_gets_it_in_the_image() -> None:
    links = {link: target for link, target in DEFAULT_VAR_LINKS.items() if link != "/usr/local"}
    found = rendered(file("/usr/local/bin/x", mode=0o755), file("/home/core/x"), rules=OwnerRules(var_links=links))
    assert path_of(found, "/usr/local/bin/x").owner is IMAGE
    assert found.config.var_links == (("/home", "/var/home"),)


POLICY = {
    "files": [
        {"path": "/etc/app", "actions": [{"type": "Restart", "restart": {"serviceName": "app.service"}}]},
        {"path": "/etc/app/static", "actions": [{"type": "Reboot"}]},
        {"path": "/etc/app/static/live.conf", "actions": [{"type": "Drain"}, {"type": "DaemonReload"}]},
        {"path": "/etc/containers/policy.json", "actions": [{"type": "Reboot"}]},
    ],
    "units": [{"name": "app.service", "actions": [{"type": "None"}]}],
    "sshkey": {"actions": [{"type": "Drain"}]},
}


@pytest.mark.parametrize(
    ("path", "owner", "actions"),
    [
        ("/etc/app/a.conf", HOST, ("Restart app.service",)),
        ("/etc/app", HOST, ("Restart app.service",)),
        ("/etc/app/static/a.conf", IMAGE, ()),
        ("/etc/app/static/live.conf", HOST, ("Drain", "DaemonReload")),
        ("/etc/apple", IMAGE, ()),
        ("/etc/containers/policy.json", IMAGE, ()),
        ("/etc/nmstate/openshift/x.yml", HOST, ()),
    ],
)
def test_the_longest_path_of_a_policy_counts(path: str, owner: PathOwner, actions: tuple[str, ...]) -> None:
    found = path_of(rendered(file(path), rules=OwnerRules(policy=parse_policy(POLICY))), path)
    assert (found.owner, found.actions) == (owner, actions)


def test_a_policy_goes_over_the_built_in_one() -> None:
    policy = parse_policy(POLICY)
    assert policy.sshkey == ("Drain",)
    assert set(policy.files) == {*BUILT_IN.files, "/etc/app", "/etc/app/static", "/etc/app/static/live.conf"}
    assert parse_policy({}) == BUILT_IN


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ([], "is no mapping"),
        ({"file": []}, "disruption_policy has file"),
        ({"files": {}}, "files is no list"),
        ({"files": [{"actions": [{"type": "None"}]}]}, "has no path"),
        ({"files": [{"path": "x", "actions": [{"type": "None"}]}]}, "no plain absolute path"),
        ({"files": [{"path": "/x", "actions": []}]}, "has no actions"),
        ({"files": [{"path": "/x", "actions": [{"type": "none"}]}]}, "of type 'none'"),
        ({"files": [{"path": "/x", "actions": [{"type": "Special"}]}]}, "of type 'Special'"),
        ({"files": [{"path": "/x", "actions": [{"type": "Restart"}]}]}, "is no mapping"),
        ({"files": [{"path": "/x", "actions": [{"type": "Drain"}, {"type": "Reboot"}]}]}, "stand alone"),
        ({"files": [{"path": "/x", "actions": [{"type": "None"}]}] * 2}, "stands there twice"),
        ({"units": [{"name": "/x", "actions": [{"type": "None"}]}]}, "no name of a unit"),
        ({"units": [{"name": "x.service", "actions": [{"type": "Reload", "reload": {"serviceName": "crio"}}]}]}, "crio.service"),
    ],
)  # fmt: skip
def test_a_policy_that_is_none(policy: Any, complaint: str) -> None:
    with pytest.raises(PolicyNotUnderstood, match=complaint):
        parse_policy(policy)
