# SPDX-License-Identifier: GPL-3.0-or-later
"""The same inputs are the same image under whatever name, with whatever engine; and what is no longer the same is built anew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_builder import Builder, tool
from lab.images import build_base

NO_TLS = "--tls-verify=false"
needs_podman = pytest.mark.skipif(
    not (shutil.which("podman") and (shutil.which("crun") or shutil.which("runc"))),
    reason="podman, or the OCI runtime without which it does not start, is not installed",
)


PHASES: dict[str, Any] = {"kernel_arguments": ["nosmt"], "containerfile_final_content": "COPY motd /usr/lib/last\n"}


def inspected(image: str, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(tool("skopeo", "inspect", NO_TLS, *options, f"docker://{image}"))
    return document


def test_the_name_of_the_image_is_not_in_the_image(builder: Builder) -> None:
    first = builder.build(**PHASES)
    other = f"{builder.registry.address}/{builder.name}-renamed:2"
    second = builder.build(image=other, **PHASES)
    assert second["digest"] == first["digest"]
    manifest = inspected(builder.image, "--raw")
    base = "org.opencontainers.image.base"
    name, _at, digest = first["base"].rpartition("@")
    assert manifest["annotations"] == {f"{base}.name": f"{name}:base", f"{base}.digest": digest}
    assert "localhost/" not in json.dumps(inspected(builder.image, "--config"))


@needs_podman
def test_both_engines_make_the_same_image(builder: Builder) -> None:
    first = builder.build(engine="buildah", **PHASES)
    other = f"{builder.registry.address}/{builder.name}-podman:1"
    second = builder.build(engine="podman", isolation="chroot", image=other, layer_cache=False, force=True, **PHASES)
    assert second["digest"] == first["digest"]


def _capability(builder: Builder) -> dict[str, Any]:
    # cap_net_raw+ep as the kernel stores it
    os.setxattr(builder.context / "motd", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
    return {}


def _user_attribute(builder: Builder) -> dict[str, Any]:
    os.setxattr(builder.context / "motd", "user.note", b"kept")
    return {}


def _one_file(builder: Builder) -> dict[str, Any]:
    (builder.context / "copy").unlink()
    os.link(builder.context / "motd", builder.context / "copy")
    return {}


def _other_name(builder: Builder) -> dict[str, Any]:
    tool(
        *("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"),
        *(f"docker://{builder.registry.address}/os:{tag}" for tag in ("base", "same")),
    )
    return {"base": f"{builder.registry.address}/os:same"}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        pytest.param(_capability, {"context"}, id="a capability of a file"),
        pytest.param(_user_attribute, {"context"}, id="an attribute of a file"),
        pytest.param(_one_file, {"context"}, id="two names of one file"),
        pytest.param(_other_name, {"base name"}, id="another name of the same base, which is in a label"),
        pytest.param(lambda _builder: {"build_args": {"NOBODYS": "1"}}, set(), id="an argument that no ARG declares"),
        pytest.param(lambda _builder: {"build_args": {"http_proxy": "http://p:1"}}, set(), id="a proxy"),
        pytest.param(
            lambda _builder: {"extension_packages": {"mine": ["a"]}}, set(), id="an extension nobody asks for"
        ),
        pytest.param(
            lambda _builder: {"extension_packages": {"mine": ["a"]}, "extensions": ["mine"]},
            {"extension_packages", "extensions"},
            id="an extension of the user's",
        ),
        pytest.param(lambda _builder: {"engine": "podman"}, set(), id="the engine"),
        pytest.param(lambda _builder: {"isolation": "chroot"}, set(), id="how steps are isolated"),
        pytest.param(lambda _builder: {"checks": "warn"}, set(), id="what is done about findings"),
    ],
)
def test_the_key_has_all_that_changes_the_image_and_nothing_else(
    builder: Builder, change: Callable[[Builder], dict[str, Any]], differs: set[str]
) -> None:
    (builder.context / "copy").write_text("welcome\n")
    before = builder.build(True)
    after = builder.build(True, **change(builder))
    old, new = ({(one["name"], one["hash"]) for one in result["inputs"]} for result in (before, after))
    assert {name for name, _hash in old ^ new} == differs


@pytest.mark.parametrize("change", [_capability, _user_attribute, _one_file])
def test_what_the_key_has_of_files_is_in_the_image(builder: Builder, change: Callable[[Builder], Any]) -> None:
    """Or it would not have to be in the key."""
    builder.containerfile.write_text("COPY . /usr/lib/all/\n")
    (builder.context / "copy").write_text("welcome\n")
    builder.build()
    change(builder)
    layer = inspected(builder.image, "--raw")["layers"][-1]["digest"]
    builder.build()
    assert inspected(builder.image, "--raw")["layers"][-1]["digest"] != layer


def test_platforms_in_another_order_are_the_same(builder: Builder) -> None:
    first, second = "linux/amd64", "linux/s390x"
    orders = ([first, second], [second, first])
    outcomes = [builder.outcome(True, platforms=platforms) for platforms in orders]
    assert outcomes[0].result["input_key"] == outcomes[1].result["input_key"]


def sources(builder: Builder) -> dict[str, Any]:
    """Repositories and an entitlement, as far as a build that installs nothing looks at them."""
    repository = builder.directory / "repository"
    (repository / "repodata").mkdir(parents=True)
    (repository / "repodata" / "repomd.xml").write_text("<repomd/>\n")
    entitlement = builder.directory / "entitlement"
    (entitlement / "rhsm").mkdir(parents=True)
    for name in ("1.pem", "1-key.pem", "redhat.repo", "rhsm/rhsm.conf"):
        (entitlement / name).write_text("something that is long enough for a key\n")
    entry = {"name": "lab", "baseurl": str(repository), "gpgcheck": False}
    return {"repositories": [entry], "entitlement": str(entitlement)}


@pytest.mark.parametrize("only", [("repositories",), ("entitlement",), ("repositories", "entitlement")])
@pytest.mark.parametrize("more", [{}, {"push": False}, {"force": True, **PHASES}, {"layer_cache": False}])
def test_check_mode_predicts_what_is_mounted_too(builder: Builder, only: tuple[str, ...], more: dict[str, Any]) -> None:
    chosen = {name: value for name, value in sources(builder).items() if name in only}
    predicted = builder.build(True, **chosen, **more)
    real = builder.build(**chosen, **more)
    assert predicted["commands"] == real["commands"]
    assert any(word.startswith("--volume=") for word in real["commands"][0])
    assert not (builder.directory / "work").joinpath("private").exists()


def test_steps_run_again_for_another_version_of_their_secret_only(builder: Builder) -> None:
    builder.containerfile.write_text(
        "RUN date +%N > /usr/lib/first\nRUN --mount=type=secret,id=token wc -c /run/secrets/token > /usr/lib/size\n"
    )
    for version, value in (("1", "s3cr3t-one"), ("2", "s3cr3t-number-two"), ("1", "s3cr3t-one")):
        secret = {"id": "token", "src": None, "value": value, "version": version}
        result = builder.build(secrets=[secret])
        assert content(builder, "/usr/lib/size").split()[0] == str(len(value))
        assert "Using cache" in Path(result["log"] or os.devnull).read_text() or version == "1"


def test_steps_of_every_stage_run_again_when_a_repository_changed(builder: Builder) -> None:
    address = builder.registry.address
    build_base(address, "build/tools", "1")
    builder.containerfile.write_text(
        f"FROM {address}/build/tools:1 AS tools\nRUN cat /etc/yum.repos.d/lab/repodata/repomd.xml > /usr/lib/index\n"
        "FROM base\nCOPY --from=tools /usr/lib/index /usr/lib/index\n"
    )
    chosen = {"repositories": sources(builder)["repositories"]}
    builder.build(**chosen)
    (builder.directory / "repository" / "repodata" / "repomd.xml").write_text("<repomd>other</repomd>\n")
    builder.build(**chosen)
    assert content(builder, "/usr/lib/index") == "<repomd>other</repomd>\n"


def content(builder: Builder, path: str) -> str:
    """A file of the image under the tag."""
    container = tool("buildah", "from", "--pull-always", NO_TLS, builder.image).strip()
    try:
        return (Path(tool("buildah", "mount", container).strip()) / path.lstrip("/")).read_text()
    finally:
        tool("buildah", "rm", container)


def test_labels_of_any_text_arrive_as_they_are(builder: Builder) -> None:
    given = {
        "--from": "v",
        "a b": "v",
        "a$HOME": "v",
        "a'b\\c": "v",
        'quo"te': "a \"b\" 'c'",
        "shell": "$(id) `id` ${PATH} $HOME ;|&",
        "tail": "ends with \\",
        "blanks": " a\tb  ",
        "return": "a\rb",
        "line separator": "a\u2028b\x0bc\x85d",
        "hash": "# no comment",
        "empty": "",
        "brackets": '["a", "b"]',
        "marker": "<<EOF",
    }
    builder.build(labels=given, **PHASES)
    found = inspected(builder.image, "--config")["config"]["Labels"]
    assert {name: found.get(name) for name in given} == given


def test_phases_of_two_platforms(builder: Builder) -> None:
    builder.containerfile.write_text("COPY motd /usr/lib/motd\n")
    options: dict[str, Any] = {"base": index_of_two(builder), "platforms": ["linux/arm64", "linux/amd64"], **PHASES}
    predicted = builder.build(True, **options)
    built = builder.build(**options)
    assert predicted["commands"] == built["commands"]
    name = built["image"].partition("@")[0]
    for platform, digest in built["platforms"].items():
        configuration = inspected(f"{name}@{digest}", "--config")
        assert f"linux/{configuration['architecture']}" == platform
        assert "localhost/" not in json.dumps(configuration)
    again = builder.build(image=f"{name}-again:1", **{**options, "platforms": ["linux/amd64", "linux/arm64"]})
    assert again["digest"] == built["digest"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labels": {"a=b": "c"}}, "cannot be the name of a label"),
        ({"labels": {" ": "c"}}, "cannot be the name of a label"),
        ({"labels": {"a": "b\nRUN true"}}, "have a line break"),
        ({"build_args": {"A=B": "c"}}, "cannot be the name of a build argument"),
        ({"build_args": {"-A": "c"}}, "cannot be the name of a build argument"),
    ],
)
def test_names_that_would_mean_something_else_are_refused(builder: Builder, options: dict[str, Any], says: str) -> None:
    failure = builder.outcome(**options).result["failure"]
    assert failure["category"] == "input"
    assert says in failure["message"]


def test_an_image_without_its_second_tag_is_built_again_and_that_is_said(builder: Builder) -> None:
    builder.build()
    copy = f"{builder.registry.address}/{builder.name}-copied:1"
    no_tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    tool("skopeo", "copy", *no_tls, f"docker://{builder.image}", f"docker://{copy}")
    predicted = builder.build(True, image=copy)
    assert (predicted["action"], predicted["changed_inputs"]) == ("build", [])
    assert "its second tag, which names the inputs, is gone" in predicted["msg"]


def index_of_two(builder: Builder) -> str:
    """A base for two architectures, by tag."""
    address = builder.registry.address
    for architecture in ("amd64", "arm64"):
        files = {"/usr/lib/arch": architecture}
        build_base(address, "both", architecture, architecture=architecture, extra_files=files)
    tool("buildah", "manifest", "create", "localhost/both")
    for architecture in ("amd64", "arm64"):
        tool("buildah", "manifest", "add", NO_TLS, "localhost/both", f"docker://{address}/both:{architecture}")
    tool("buildah", "manifest", "push", "--all", NO_TLS, "localhost/both", f"docker://{address}/both:all")
    tool("buildah", "manifest", "rm", "localhost/both")
    return f"{address}/both:all"


def test_the_build_hosts_own_platform_is_the_same_whether_or_not_it_is_named(builder: Builder) -> None:
    base = index_of_two(builder)
    first = builder.build(base=base)
    other = f"{builder.registry.address}/{builder.name}-named:1"
    second = builder.build(base=base, image=other, platforms=["linux/amd64"])
    assert second["input_key"] == first["input_key"]
    assert second["digest"] == first["digest"]


def test_check_mode_fails_where_steps_could_not_run(builder: Builder) -> None:
    outcome = builder.outcome(True, base=index_of_two(builder), platforms=["linux/arm64"])
    assert "RUN steps for linux/arm64 cannot run on this build host" in outcome.result["failure"]["message"]


def test_a_users_repository_keeps_its_label_and_can_be_read(builder: Builder) -> None:
    """On a host with SELinux: a new label would lock out whoever serves the directory, and without one no step reads it."""
    chosen = {"repositories": sources(builder)["repositories"]}
    words = builder.build(True, **chosen)["commands"][0]
    volumes = [word for word in words if word.startswith("--volume=")]
    assert [volume.rpartition(":")[2] for volume in volumes] == ["ro,Z", "ro"]
    assert "--security-opt=label=disable" in words
