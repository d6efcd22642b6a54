# SPDX-License-Identifier: GPL-3.0-or-later
"""MachineConfigs of a role in one: which take part, in which order, who wins."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import (
    ConfigFile,
    ConfigUnit,
    DropIn,
    InvalidConfig,
    MergedConfig,
    Origin,
    SshKeys,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_merge import merge
from machine_config_documents import (
    CHRONY,
    KEY,
    KUBELET,
    REGISTRIES,
    SCRIPT,
    base64_url,
    base_worker,
    file,
    generated,
    ignition,
    machine_config,
)

HASH = "0123456789abcdef" * 2


def merged(*documents: Any, role: str = "worker") -> MergedConfig:
    """Of documents that come from files named a.yaml, b.yaml, …"""
    return merge([(f"{chr(97 + index)}.yaml", document) for index, document in enumerate(documents)], role, ())


def refusal(*documents: Any, role: str = "worker") -> InvalidConfig:
    with pytest.raises(InvalidConfig) as raised:
        merged(*documents, role=role)
    return raised.value


def contents(config: MergedConfig) -> dict[str, bytes]:
    return {entry.path: entry.content for entry in config.files}


def of(name: str, role: str | None = "worker", **sections: Any) -> dict[str, Any]:
    return machine_config(name, ignition("3.4.0", **sections), role)


def writes(name: str, data: bytes, role: str = "worker", path: str = "/etc/a") -> dict[str, Any]:
    return of(name, role, storage={"files": [file(path, data)]})


def test_a_cluster_s_worker_with_what_an_administrator_adds() -> None:
    found = merged(
        base_worker(),
        generated(
            machine_config(
                "01-worker-kubelet", ignition("3.5.0"), kernelArguments=["systemd.unified_cgroup_hierarchy=1"]
            )
        ),
        of("99-worker-ssh", passwd={"users": [{"name": "core", "sshAuthorizedKeys": [KEY + "\n"]}]}),
        of("50-worker-chrony", storage={"files": [file("/etc/chrony.conf", CHRONY, mode=420)]}),
        machine_config(
            "98-kargs",
            kernelArguments=["nosmt=force", 'dyndbg="file drivers/* +p" audit=0', "console=tty0", "console=ttyS0"],
            extensions=["usbguard", "kerberos"],
            fips=True,
            kernelType="realtime",
        ),
        of(
            "97-kubelet",
            systemd={"units": [{"name": "kubelet.service", "dropins": [{"name": "30.conf", "contents": "[Unit]\n"}]}]},
        ),
        machine_config("00-master", ignition(), "master"),
    )
    base = "a.yaml (00-worker)"
    assert found == MergedConfig(
        role="worker",
        sources=("00-worker", "01-worker-kubelet", "50-worker-chrony", "97-kubelet", "98-kargs", "99-worker-ssh"),
        files=(
            ConfigFile(
                "/etc/containers/registries.conf",
                REGISTRIES,
                0o644,
                None,
                None,
                Origin(base, "spec.config.storage.files[0]"),
            ),
            ConfigFile(
                "/usr/local/bin/configure-nic.sh",
                SCRIPT,
                0o755,
                None,
                None,
                Origin(base, "spec.config.storage.files[1]"),
            ),
            ConfigFile(
                "/etc/kubernetes/kubelet.conf", b"", 0o600, None, None, Origin(base, "spec.config.storage.files[2]")
            ),
            ConfigFile(
                "/etc/chrony.conf",
                CHRONY,
                0o644,
                None,
                None,
                Origin("d.yaml (50-worker-chrony)", "spec.config.storage.files[0]"),
            ),
        ),
        units=(
            ConfigUnit(
                "kubelet.service",
                KUBELET,
                True,
                None,
                (
                    DropIn("20-logging.conf", '[Service]\nEnvironment="KUBELET_LOG_LEVEL=2"\n'),
                    DropIn("30.conf", "[Unit]\n"),
                ),
                Origin("f.yaml (97-kubelet)", "spec.config.systemd.units[0]"),
            ),
            ConfigUnit("docker.socket", None, None, True, (), Origin(base, "spec.config.systemd.units[1]")),
            ConfigUnit(
                "crio.service",
                None,
                None,
                None,
                (DropIn("10-mco-profile-unix-socket.conf", "# none\n"),),
                Origin(base, "spec.config.systemd.units[2]"),
            ),
        ),
        ssh_keys=(SshKeys("core", (KEY,), Origin("c.yaml (99-worker-ssh)", "spec.config.passwd.users[0]")),),
        kernel_arguments=(
            *("systemd.unified_cgroup_hierarchy=1", "nosmt=force", 'dyndbg="file drivers/* +p"', "audit=0"),
            *("console=tty0", "console=ttyS0"),
        ),
        extensions=("usbguard", "kerberos"),
        kernel_type="realtime",
        fips=True,
        os_image=None,
        left_out=("00-master",),
    )


@pytest.mark.parametrize(
    ("role", "sources", "left_out", "content"),
    [
        ("worker", ("10-w", "90-w"), ("10-m", "50-i", "90-a"), b"90-w"),
        ("master", ("10-m",), ("10-w", "50-i", "90-a", "90-w"), b"10-m"),
        ("arbiter", ("90-a",), ("10-m", "10-w", "50-i", "90-w"), b"90-a"),
        # A pool of one's own rests on worker, and comes after all of it whatever the names are.
        ("infra", ("10-w", "90-w", "50-i"), ("10-m", "90-a"), b"50-i"),
        ("edge", ("10-w", "90-w"), ("10-m", "50-i", "90-a"), b"90-w"),
    ],
)
def test_roles(role: str, sources: tuple[str, ...], left_out: tuple[str, ...], content: bytes) -> None:
    documents = [
        writes(name, name.encode(), of_role)
        for name, of_role in (
            ("90-w", "worker"),
            ("10-m", "master"),
            ("50-i", "infra"),
            ("10-w", "worker"),
            ("90-a", "arbiter"),
        )
    ]
    found = merged(*documents, role=role)
    assert (found.sources, found.left_out, contents(found)) == (sources, left_out, {"/etc/a": content})
    assert found.only_of_worker is (role == "edge")


def test_documents_of_other_roles_are_not_looked_into() -> None:
    assert merged(writes("a", b"1"), of("b", "master", storage={"typo": 1})).left_out == ("b",)


def test_lists_and_empty_documents() -> None:
    listed = {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": [writes("b", b"1"), writes("a", b"2")],
    }
    found = merged(None, listed, None)
    assert found.sources == ("a", "b")
    assert found.files[0].origin == Origin("b.yaml (b)", "items[0].spec.config.storage.files[0]")
    other = {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfigList",
        "items": [writes("a", b"1")],
    }
    assert merged(other).sources == ("a",)


def test_a_bare_ignition_config_is_for_every_role_and_sorted_by_its_file() -> None:
    bare = ignition(storage={"files": [file("/etc/a", b"bare")]})
    documents = [
        ("configs/50-own.ign", bare),
        ("w.yaml", writes("40-w", b"w")),
        ("i.yaml", writes("10-i", b"i", "infra")),
    ]
    found = merge(documents, "worker", ())
    assert (found.sources, contents(found)) == (("40-w", "50-own"), {"/etc/a": b"bare"})
    assert merge(documents, "infra", ()).sources == ("40-w", "10-i", "50-own")
    assert merge([("own", bare)], "master", ()).sources == ("own",)
    assert merge([("configs/v1.2", bare)], "master", ()).sources == ("v1.2",)


def test_a_rendered_config_counts_only_when_it_is_alone() -> None:
    rendered = generated(machine_config(f"rendered-worker-{HASH}", role=None, osImageURL="registry.example.com/os:1"))
    alone = merged(rendered, machine_config(f"rendered-master-{HASH}", role=None))
    assert (alone.sources, alone.os_image) == ((f"rendered-worker-{HASH}",), "registry.example.com/os:1")
    beside = merged(rendered, writes("00-worker", b"1"))
    assert (beside.sources, beside.left_out, beside.os_image) == (("00-worker",), (f"rendered-worker-{HASH}",), None)
    again = machine_config(f"rendered-worker-{HASH[::-1]}", role=None)
    assert "several rendered configs of worker" in refusal(rendered, again).message


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ((), "default"),
        (("", None), "default"),
        (("default",), "default"),
        (("realtime",), "realtime"),
        (("realtime", "default"), "realtime"),
        (("default", "64k-pages", ""), "64k-pages"),
        (("realtime", "64k-pages"), "64k-pages"),
        (("64k-pages", "realtime"), "realtime"),
    ],
)
def test_the_last_kernel_type_that_is_not_default_wins(types: tuple[str | None, ...], expected: str) -> None:
    documents = [machine_config(f"{index}", kernelType=kernel_type) for index, kernel_type in enumerate(types)]
    assert merged(writes("base", b""), *documents).kernel_type == expected


@pytest.mark.parametrize(
    ("values", "expected"), [((None, False), False), ((False, True, False), True), ((True, None), True)]
)
def test_fips_is_on_if_any_document_says_so(values: tuple[bool | None, ...], expected: bool) -> None:
    assert merged(*(machine_config(f"{index}", fips=value) for index, value in enumerate(values))).fips is expected


def test_kernel_arguments_are_strung_together_in_the_order_of_names() -> None:
    found = merged(
        machine_config("20", kernelArguments=["b", "a=1 a=2", ""]),
        machine_config(
            "10", ignition(kernelArguments={"shouldExist": ["first", "b"]}), kernelArguments=["a=1", "console=tty0"]
        ),
    )
    assert found.kernel_arguments == ("first", "a=1", "console=tty0", "b", "a=1", "a=2")


def test_ignition_arguments_are_taken_back_by_a_later_document() -> None:
    found = merged(
        of("1", kernelArguments={"shouldExist": ["a", "b"], "shouldNotExist": ["c", "d"]}),
        of("2", kernelArguments={"shouldExist": ["c"], "shouldNotExist": ["b", "d"]}),
    )
    assert found.kernel_arguments == ("a", "c")
    assert found.kernel_arguments_absent == ("d", "b")


def test_an_argument_that_is_wanted_and_unwanted_is_refused_with_both_places() -> None:
    wants = machine_config("1", kernelArguments=["quiet", "a=b"])
    refused = refusal(wants, of("2", kernelArguments={"shouldNotExist": ["a=b"]}))
    assert str(refused) == (
        "a.yaml (1): spec.kernelArguments[1]: 'a=b' is wanted here, and unwanted by "
        "b.yaml (2): spec.config.kernelArguments.shouldNotExist[0]"
    )


def test_extensions_are_strung_together_each_once() -> None:
    found = merged(
        machine_config("2", extensions=["usbguard", "ipsec"]), machine_config("1", extensions=["sysstat", "usbguard"])
    )
    assert found.extensions == ("sysstat", "usbguard", "ipsec")


@pytest.mark.parametrize("kernel_type", ["realtime", "64k-pages"])
def test_kernel_devel_is_for_the_default_kernel_only(kernel_type: str) -> None:
    devel = machine_config("1", extensions=["usbguard", "kernel-devel"])
    assert merged(devel).extensions == ("usbguard", "kernel-devel")
    refused = refusal(devel, machine_config("2", kernelType=kernel_type))
    assert (refused.document, refused.field) == ("a.yaml (1)", "spec.extensions[1]")
    assert kernel_type in refused.message


def test_the_last_image_of_a_person_wins() -> None:
    def images(name: str, tag: str) -> dict[str, Any]:
        return machine_config(
            name,
            osImageURL=f"registry.example.com/os:{tag}",
            baseOSExtensionsContainerImage=f"registry.example.com/ext:{tag}",
        )

    found = merged(
        images("1", "one"), images("2", "two"), generated(images("3", "three")), machine_config("4", osImageURL="")
    )
    assert (found.os_image, found.extensions_image) == ("registry.example.com/os:two", "registry.example.com/ext:two")
    assert merged(generated(images("3", "three"))).os_image is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (file("/etc/a", b"1", mode=384), file("/etc/a", b"2"), (b"2", 0o600, None, None)),
        (file("/etc/a", b"1"), file("/etc/a", mode=384), (b"1", 0o600, None, None)),
        (file("/etc/a", b"1", mode=384), file("/etc/a", b"", mode=0), (b"", 0, None, None)),
        (
            file("/etc/a", b"1", user={"id": 5}, group={"name": "g"}),
            file("/etc/a", user={"name": "u"}),
            (b"1", 0o644, "u", "g"),
        ),
        # Source and compression belong together: neither is taken from the other document.
        (
            {"path": "/etc/a", "contents": {"source": base64_url(b"1")}},
            {"path": "/etc/a", "contents": {"compression": "gzip"}},
            (b"1", 0o644, None, None),
        ),
        (file("/etc/a", b"1", append=[]), file("/etc/a", b"2"), (b"2", 0o644, None, None)),
    ],
)
def test_two_documents_about_one_file(first: Any, second: Any, expected: tuple[Any, ...]) -> None:
    found = merged(of("1", storage={"files": [first]}), of("2", storage={"files": [second]}))
    (entry,) = found.files
    assert (entry.content, entry.mode, entry.user, entry.group) == expected
    assert entry.origin.document == "b.yaml (2)"


def test_a_compressed_file_is_replaced_by_one_that_is_not() -> None:
    packed = copy.deepcopy(base_worker())
    found = merged(packed, writes("50", b"plain", path="/usr/local/bin/configure-nic.sh"))
    assert contents(found)["/usr/local/bin/configure-nic.sh"] == b"plain"


def test_a_remote_file_that_a_later_document_replaces_is_no_trouble() -> None:
    remote = of("1", storage={"files": [{"path": "/etc/a", "contents": {"source": "https://h/a"}}]})
    assert merged(remote, writes("2", b"here")).unsupported == ()
    assert contents(merged(remote, writes("2", b"here"))) == {"/etc/a": b"here"}
    back = merged(writes("0", b"here"), remote)
    assert (back.files, [entry.origin.document for entry in back.unsupported]) == ((), ["b.yaml (1)"])


def test_what_any_document_appends_is_listed_and_the_content_stays() -> None:
    def appends(name: str) -> dict[str, Any]:
        return of(name, storage={"files": [{"path": "/etc/a", "append": [{"source": "data:,x"}]}]})

    found = merged(appends("1"), writes("2", b"whole"), appends("3"))
    assert contents(found) == {"/etc/a": b"whole"}
    assert [entry.origin.document for entry in found.unsupported] == ["a.yaml (1)", "c.yaml (3)"]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({"files": [file("/etc/a", b"1")]}, {"links": [{"path": "/etc/a", "target": "/b"}]}, "links"),
        ({"links": [{"path": "/etc/a", "target": "/b"}]}, {"files": [file("/etc/a", b"1")]}, "files"),
        ({"files": [file("/etc/a", b"1")]}, {"directories": [{"path": "/etc/a"}]}, "directories"),
        ({"directories": [{"path": "/etc/a"}]}, {"links": [{"path": "/etc/a", "target": "/b"}]}, "links"),
    ],
)
def test_a_later_document_makes_a_path_something_else(first: Any, second: Any, kept: str) -> None:
    found = merged(of("1", storage=first), of("2", storage=second))
    assert {kind: len(getattr(found, kind)) for kind in ("files", "links", "directories")} == {
        kind: int(kind == kept) for kind in ("files", "links", "directories")
    }


def test_a_later_link_keeps_what_it_does_not_say() -> None:
    first = {"links": [{"path": "/etc/l", "target": "/a", "hard": True, "user": {"id": 1}}]}
    second = {"links": [{"path": "/etc/l", "target": "/b"}]}
    (link,) = merged(of("1", storage=first), of("2", storage=second)).links
    assert (link.target, link.hard, link.user) == ("/b", True, 1)


def test_a_later_directory_keeps_what_it_does_not_say() -> None:
    first = {"directories": [{"path": "/etc/d", "mode": 448}]}
    second = {"directories": [{"path": "/etc/d", "group": {"id": 1}}]}
    (directory,) = merged(of("1", storage=first), of("2", storage=second)).directories
    assert (directory.mode, directory.group) == (0o700, 1)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"contents": "[Unit]\n"}, {"enabled": True}, ("[Unit]\n", True, None, ())),
        ({"contents": "[Unit]\n", "enabled": True}, {"contents": "[Service]\n"}, ("[Service]\n", True, None, ())),
        ({"contents": "[Unit]\n"}, {"contents": ""}, (None, None, None, ())),  # taken back
        ({"enabled": True, "mask": True}, {"enabled": False, "mask": False}, (None, False, False, ())),
        (
            {"dropins": [{"name": "b.conf", "contents": "[B]\n"}, {"name": "a.conf", "contents": "[A]\n"}]},
            {"dropins": [{"name": "c.conf", "contents": "[C]\n"}, {"name": "b.conf", "contents": "[D]\n"}]},
            (None, None, None, (DropIn("b.conf", "[D]\n"), DropIn("a.conf", "[A]\n"), DropIn("c.conf", "[C]\n"))),
        ),
        (
            {"dropins": [{"name": "a.conf", "contents": "[A]\n"}]},
            {"dropins": [{"name": "a.conf", "contents": ""}]},
            (None, None, None, ()),
        ),
        (
            {"dropins": [{"name": "a.conf", "contents": "[A]\n"}]},
            {"dropins": [{"name": "a.conf"}]},
            (None, None, None, (DropIn("a.conf", "[A]\n"),)),
        ),
    ],
)
def test_two_documents_about_one_unit(first: Any, second: Any, expected: tuple[Any, ...]) -> None:
    units = [{"name": "a.service", **said} for said in (first, second)]
    (unit,) = merged(*(of(f"{index}", systemd={"units": [unit]}) for index, unit in enumerate(units))).units
    assert (unit.contents, unit.enabled, unit.mask, unit.dropins) == expected


def test_ssh_keys_of_all_documents_each_once() -> None:
    def keys(name: str, user: str, *texts: str) -> dict[str, Any]:
        return of(name, passwd={"users": [{"name": user, "sshAuthorizedKeys": list(texts)}]})

    found = merged(
        keys("2", "core", "ssh-rsa B", "ssh-rsa C"),
        keys("1", "core", "ssh-rsa A", "ssh-rsa B"),
        keys("3", "root", "ssh-rsa A"),
    )
    assert [(entry.user, entry.keys) for entry in found.ssh_keys] == [
        ("core", ("ssh-rsa A", "ssh-rsa B", "ssh-rsa C")),
        ("root", ("ssh-rsa A",)),
    ]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"storage": {"links": [{"path": "/opt", "target": "/var/opt"}]}},
            {"storage": {"files": [file("/opt/x", b"")]}},
            "b.yaml (2): spec.config.storage.files[0]: '/opt/x' lies below '/opt', which is a link by "
            "a.yaml (1): spec.config.storage.links[0]; name the path where the link leads",
        ),
        (
            {"storage": {"files": [file("/opt/x/y", b"")]}},
            {"storage": {"files": [file("/opt/x", b"")]}},
            "a.yaml (1): spec.config.storage.files[0]: '/opt/x/y' lies below '/opt/x', which is a file by "
            "b.yaml (2): spec.config.storage.files[0]; remove one of the two",
        ),
        (
            {"systemd": {"units": [{"name": "a.service", "contents": "[Unit]\n"}]}},
            {"storage": {"files": [file("/etc/systemd/system/a.service", b"")]}},
            "b.yaml (2): spec.config.storage.files[0].path: '/etc/systemd/system/a.service' is also written for the unit at "
            "a.yaml (1): spec.config.systemd.units[0]; keep one of the two",
        ),
    ],
)
def test_documents_that_exclude_each_other_are_refused_with_both_places(first: Any, second: Any, said: str) -> None:
    assert str(refusal(of("1", **first), of("2", **second))) == said


def test_two_documents_of_one_name_are_refused_with_both_places() -> None:
    assert str(refusal(writes("99-ssh", b"1"), writes("99-ssh", b"2"))) == (
        "b.yaml (99-ssh): the name '99-ssh' is taken: a.yaml (99-ssh) has it too. Names order the merging; rename one"
    )
    assert merged(writes("99-ssh", b"1"), writes("99-ssh", b"2", "master")).left_out == ("99-ssh",)


@pytest.mark.parametrize(
    ("documents", "role", "said"),
    [
        ([], "worker", "role: no document is for the role worker; there is no document at all"),
        ([None], "worker", "role: no document is for the role worker; there is no document at all"),
        ([writes("a", b"", "master"), writes("b", b"", "infra")], "worker", "there are documents for infra, master"),
        ([writes("a", b"")], "", "role: '' is not a role"),
        ([writes("a", b"")], "wor ker", "is not a role"),
    ],
)
def test_a_role_without_documents_is_refused(documents: list[Any], role: str, said: str) -> None:
    refused = refusal(*documents, role=role)
    assert said in str(refused)
    assert refused.field == "role"


def changed(**fields: Any) -> dict[str, Any]:
    return {**machine_config("a", ignition()), **fields}


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        (changed(kind="KubeletConfig"), "", "the kind is 'KubeletConfig', and only MachineConfig can be rendered"),
        (changed(kind=None), "", "the field kind is missing"),
        (changed(apiVersion="v1"), "apiVersion", "has the apiVersion machineconfiguration.openshift.io/v1"),
        (changed(apiVersion=None), "", "the field apiVersion is missing"),
        ({"spec": {}}, "", "the field kind is missing"),
        (changed(status={}), "", "no field 'status'"),
        (changed(metadata=None), "metadata", "the field name is missing"),
        (changed(metadata={"name": "A_b"}), "metadata.name", "is not the name of an object"),
        (changed(metadata={"name": "a", "lables": {}}), "metadata", "did you mean 'labels'?"),
        (changed(metadata={"name": "a"}), "metadata.labels", "no pool would take this MachineConfig"),
        (changed(metadata={"name": "a", "labels": {"x": 1}}), "metadata.labels", "has to be a text"),
        (changed(metadata={"name": "a", "labels": []}), "metadata.labels", "this is a list"),
        (changed(spec=[]), "spec", "this is a list"),
        (machine_config("a", kernelargs=[]), "spec", "did you mean 'kernelArguments'?"),
        (machine_config("a", kernelArguments="a"), "spec.kernelArguments", "has to be a list"),
        (machine_config("a", kernelArguments=[1]), "spec.kernelArguments[0]", "a number, but has to be a text"),
        (machine_config("a", kernelArguments=['a="b']), "spec.kernelArguments[0]", "never closed"),
        (machine_config("a", kernelType="rt"), "spec.kernelType", "there are default, realtime, 64k-pages"),
        (machine_config("a", fips="true"), "spec.fips", "true or false, without quotes"),
        (machine_config("a", extensions=["usb guard"]), "spec.extensions[0]", "not the name of an extension"),
        (machine_config("a", extensions=["--nogpgcheck"]), "spec.extensions[0]", "not the name of an extension"),
        (machine_config("a", osImageURL="a b"), "spec.osImageURL", "not the name of an image"),
        (machine_config("a", osImageURL="--x"), "spec.osImageURL", "not the name of an image"),
        (machine_config("a", osImageURL="a\nb"), "spec.osImageURL", "cannot be printed"),
        (machine_config("a", {"variant": "fcos"}), "spec.config", "this is Butane"),
        (machine_config("a", {"ignition": {"version": "2.2.0"}}), "spec.config.ignition.version", "convert it to 3.x"),
        ({"kind": "List", "items": {}}, "items", "has to be a list"),
        ({"kind": "List", "items": ["x"]}, "items[0]", "the document is a text"),
        ({"kind": "List", "items": [{"kind": "List"}]}, "items[0]", "a List in a List"),
        ({"kind": "List", "items": [machine_config("a", fips=1)]}, "items[0].spec.fips", "true or false"),
    ],
)
def test_documents_that_are_refused(document: Any, field: str, said: str) -> None:
    refused = refusal(document)
    assert refused.field == field
    assert said in refused.message


@pytest.mark.parametrize("config", [None, {}])
def test_a_machine_config_without_ignition_is_fine(config: Any) -> None:
    assert merged(machine_config("a", config, fips=True)).fips
