# SPDX-License-Identifier: GPL-3.0-or-later
"""What layered_image_build itself puts into an image: components, configuration, secrets that stay out, platforms."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from crafted_image import file, push_image
from image_builder import Builder, tool
from lab.images import build_base
from lab.registry import Registry
from lab.signing import GpgKey

NO_TLS = "--tls-verify=false"


def labels(builder: Builder) -> dict[str, str]:
    found = json.loads(tool("skopeo", "inspect", NO_TLS, "--config", f"docker://{builder.image}"))["config"]["Labels"]
    return dict(found)


def layers(builder: Builder) -> list[str]:
    """The digests of the layers under the tag."""
    manifest = json.loads(tool("skopeo", "inspect", NO_TLS, "--raw", f"docker://{builder.image}"))
    return [layer["digest"] for layer in manifest["layers"]]


def content(builder: Builder, path: str) -> str:
    """A file of the image under the tag."""
    container = tool("buildah", "from", "--pull-always", NO_TLS, builder.image).strip()
    try:
        return (Path(tool("buildah", "mount", container).strip()) / path.lstrip("/")).read_text()
    finally:
        tool("buildah", "rm", container)


def component(registry: Registry, name: str, version: str, files: dict[str, str]) -> dict[str, Any]:
    """A component of the option of that name, from an image with a few files."""
    container = tool("buildah", "from", "scratch").strip()
    root = Path(tool("buildah", "mount", container).strip())
    for path, text in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)
    tool("buildah", "config", "--label", f"org.opencontainers.image.version={version}", container)
    tool("buildah", "commit", "--quiet", "--timestamp=0", "--rm", container, f"localhost/{name}:{version}")
    image = f"{registry.address}/components/{name}:{version}"
    tool("buildah", "push", "--quiet", NO_TLS, f"localhost/{name}:{version}", f"docker://{image}")
    return {"name": name, "image": image, "tree": None, "dest": None, "rpms": None, "version": None}


def without_file(**options: Any) -> dict[str, Any]:
    """Options of a build that has no Containerfile."""
    return {"containerfile": None, "context": None, **options}


def test_components_are_layers_and_labels_of_their_own(builder: Builder, registry: Registry) -> None:
    kubelet = component(registry, "kubelet", "1.33", {"/usr/bin/kubelet": "kubelet 1.33\n"})
    runtime = component(registry, "runtime", "1.33", {"/usr/bin/runtime": "runtime\n", "/usr/lib/runtime/a": "a"})
    first = builder.build(**without_file(components=[kubelet, runtime], version="2026.11"))
    assert content(builder, "/usr/bin/kubelet") == "kubelet 1.33\n"
    assert [(one["name"], one["version"]) for one in first["components"]] == [("kubelet", "1.33"), ("runtime", "1.33")]
    said = labels(builder)
    assert (
        json.loads(said["io.imagemode.component.kubelet"])["digest"]
        == first["components"][0]["image"].rpartition("@")[2]
    )
    assert said["org.opencontainers.image.version"] == "2026.11"
    assert said["org.opencontainers.image.base.digest"] == first["base"].rpartition("@")[2]
    before = layers(builder)

    newer = component(registry, "kubelet", "1.34", {"/usr/bin/kubelet": "kubelet 1.34\n"})
    second = builder.build(**without_file(components=[runtime, newer], version="2026.11"))
    assert second["changed_inputs"] == ["component kubelet", "component order"]
    third = builder.build(**without_file(components=[newer, runtime], version="2026.12"))
    assert third["changed_inputs"] == ["component order", "label org.opencontainers.image.version"]
    # The same component is the same layer, whatever stands before it.
    assert len(set(layers(builder)) - set(before)) == 1
    assert builder.build(**without_file(components=[newer, runtime], version="2026.12"))["changed"] is False


def test_two_components_with_one_path_are_found_before_anything_is_built(builder: Builder, registry: Registry) -> None:
    one = component(registry, "one", "1", {"/usr/bin/tool": "one"})
    two = component(registry, "two", "1", {"/usr/bin/tool": "two"})
    outcome = builder.outcome(**without_file(components=[one, two]))
    failure = outcome.result["failure"]
    assert failure["category"] == "conflict"
    assert all(word in failure["message"] for word in ("one", "two", "/usr/bin/tool"))
    assert outcome.result["commands"] == []


def test_a_change_of_configuration_runs_nothing_of_the_users_again(builder: Builder) -> None:
    builder.build(kernel_arguments=["nosmt"])
    assert content(builder, "/usr/lib/bootc/kargs.d/60-imagemode.toml") == 'kargs = ["nosmt"]\n'
    second = builder.build(kernel_arguments=["nosmt", 'dyndbg="file a.c +p"'])
    assert second["changed_inputs"] == ["kernel_arguments"]
    log = Path(second["log"]).read_text()
    assert log.count("Using cache") >= 3
    size = sum(
        layer["size"]
        for layer in json.loads(tool("skopeo", "inspect", NO_TLS, "--raw", f"docker://{builder.image}"))["layers"]
    )
    assert second["pushed_bytes"] < size / 100


def test_what_comes_last_sees_the_configuration(builder: Builder) -> None:
    builder.build(
        kernel_arguments=["nosmt"],
        containerfile_final_content="RUN grep -q nosmt /usr/lib/bootc/kargs.d/60-imagemode.toml\nCOPY motd /usr/lib/last\n",
    )
    assert content(builder, "/usr/lib/last") == "welcome\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("COPY motd /usr/lib/a\nRUN false\n", 2, "at line 2 of containerfile_final exited with status 1"),
        ("FROM base\n", 1, "cannot have a FROM"),
        ("RUN --mount=type=secret,id=token true\n", 1, "mounts the secret token"),
    ],
)
def test_a_mistake_in_what_comes_last_has_its_own_lines(builder: Builder, text: str, line: int, says: str) -> None:
    failure = builder.outcome(containerfile_final_content=text).result["failure"]
    assert failure["line"] == line
    assert says in failure["message"]


SECRET = "s3cr3t-" + "of-the-fleet"


def secret(**options: Any) -> list[dict[str, Any]]:
    return [{"id": "token", "src": None, "value": SECRET, "version": "1", **options}]


def test_a_step_reads_a_secret_and_nothing_of_it_stays(builder: Builder, tmp_path: Path) -> None:
    step = "RUN --mount=type=secret,id=token test -s /run/secrets/token && wc -c < /run/secrets/token > /usr/lib/size\n"
    builder.containerfile.write_text(step)
    result = builder.build(secrets=secret())
    assert content(builder, "/usr/lib/size").strip() == str(len(SECRET))
    assert SECRET not in json.dumps(result)
    assert [
        path for path in (tmp_path / "work").rglob("*") if path.is_file() and SECRET in path.read_text("latin1")
    ] == []
    assert builder.build(secrets=secret())["changed"] is False
    assert builder.build(secrets=secret(version="2"))["changed_inputs"] == ["secret token"]


@pytest.mark.parametrize(
    "step",
    [
        "RUN --mount=type=secret,id=token cp /run/secrets/token /usr/lib/copy && rm /usr/lib/copy; cp /run/secrets/token /usr/lib/x\n",
        "RUN --mount=type=secret,id=token cp /run/secrets/token /usr/lib/copy\nRUN rm /usr/lib/copy\n",
        "RUN --mount=type=secret,id=token base64 < /run/secrets/token | gzip > /usr/lib/copy.gz\n",
    ],
)
def test_a_secret_in_a_layer_is_found_before_the_push(builder: Builder, step: str) -> None:
    builder.containerfile.write_text(step)
    outcome = builder.outcome(secrets=secret())
    failure = outcome.result["failure"]
    assert failure["category"] == "leak"
    assert "token" in failure["message"]
    assert SECRET not in json.dumps(outcome.result)
    assert builder.registry.tags(builder.name) == []


def test_a_secret_that_a_step_prints_is_in_no_log_and_no_result(builder: Builder, tmp_path: Path) -> None:
    step = (
        "RUN --mount=type=secret,id=token cd /run/secrets; echo; cat token; echo; base64 token; cat token >&2; false\n"
    )
    builder.containerfile.write_text(step)
    outcome = builder.outcome(secrets=secret(), containerfile_final_content="COPY motd /usr/lib/last\n")
    failure = outcome.result["failure"]
    assert (failure["category"], failure["line"]) == ("step", 1)
    encoded = base64.b64encode(SECRET.encode()).decode()
    log = Path(failure["log"]).read_text()
    assert "***" in log
    for text in (SECRET, encoded[:16]):
        assert text not in log
        assert text not in json.dumps(outcome.result)
    assert not list((tmp_path / "work").rglob("private"))


def test_an_image_of_two_platforms_is_an_index(builder: Builder, registry: Registry) -> None:
    for architecture in ("amd64", "arm64"):
        build_base(registry.address, "two", architecture, architecture=architecture)
    index = f"{registry.address}/two:all"
    tool("buildah", "manifest", "create", "localhost/two")
    for architecture in ("amd64", "arm64"):
        tool("buildah", "manifest", "add", NO_TLS, "localhost/two", f"docker://{registry.address}/two:{architecture}")
    tool("buildah", "manifest", "push", "--all", NO_TLS, "localhost/two", f"docker://{index}")
    tool("buildah", "manifest", "rm", "localhost/two")
    builder.containerfile.write_text("COPY motd /usr/lib/motd\n")
    options: dict[str, Any] = {"base": index, "platforms": ["linux/amd64", "linux/arm64"]}
    first = builder.build(**options)
    assert sorted(first["platforms"]) == ["linux/amd64", "linux/arm64"]
    assert len(first["expected_digests"]) == 3
    assert builder.build(**options)["changed"] is False
    again = builder.build(**options, force=True)
    assert again["digest"] == first["digest"]

    builder.containerfile.write_text("RUN true\n")
    failure = builder.outcome(**options).result["failure"]
    assert failure["category"] == "engine"
    assert "RUN steps for linux/arm64 cannot run on this build host" in failure["message"]


def test_a_base_of_another_architecture_is_named(builder: Builder, registry: Registry) -> None:
    build_base(registry.address, "foreign", "1", architecture="s390x")
    failure = builder.outcome(base=f"{registry.address}/foreign:1").result["failure"]
    assert failure["category"] == "base_pull"
    assert "has no image for linux/amd64, only for linux/s390x" in failure["message"]


def test_check_mode_says_what_would_run_and_why(builder: Builder, registry: Registry) -> None:
    tools = component(registry, "tools", "1", {"/usr/bin/tool": "tool"})
    options: dict[str, Any] = {"components": [tools], "kernel_arguments": ["nosmt"], "secrets": secret()}
    predicted = builder.build(True, **options)
    real = builder.build(**options)
    assert predicted["commands"] == real["commands"]
    assert "there is no image of this collection's under the tag" in predicted["msg"]
    assert builder.build(True, **options)["changed"] is False
    (builder.context / "motd").write_text("other\n")
    assert "changed: context)" in builder.build(True, **options)["msg"]


def test_nothing_of_a_build_stays_in_storage_but_its_cache(builder: Builder, registry: Registry) -> None:
    tools = component(registry, "tools", "1", {"/usr/bin/tool": "tool"})
    before = subprocess.run(["buildah", "images", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    builder.build(components=[tools], kernel_arguments=["nosmt"], layer_cache=False)
    after = subprocess.run(["buildah", "images", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(after) == sorted(before)
    assert subprocess.run(["buildah", "containers", "-q"], capture_output=True, check=True).stdout == b""


def test_a_release_names_the_base_and_its_move_builds_again(
    builder: Builder, registry: Registry, base_image: str
) -> None:
    release = f"{registry.address}/build/release:4.20"

    def publish(text: str) -> None:
        stream = {"kind": "ImageStream", "apiVersion": "image.openshift.io/v1"}
        tags = [{"name": "node-os", "from": {"kind": "DockerImage", "name": base_image}}]
        references = json.dumps({**stream, "spec": {"tags": tags}}).encode()
        files = [file("release-manifests/image-references", references), file("note", text.encode())]
        push_image(registry, "build/release", "4.20", files)

    options: dict[str, Any] = {"base": None, "release": release, "release_component": "node-os"}
    publish("first")
    built = builder.build(**options)
    assert built["base"].rpartition("@")[2] == base_image.rpartition("@")[2]
    assert labels(builder)["io.imagemode.release"].startswith("sha256:")
    assert builder.build(True, **options)["changed"] is False
    publish("second")
    predicted = builder.build(True, **options)
    assert (predicted["changed"], predicted["changed_inputs"]) == (True, ["release"])


def test_an_image_is_signed_before_its_tag_names_it(builder: Builder, tmp_path: Path) -> None:
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    key = GpgKey.create(tmp_path / "gpg")
    staging = tmp_path / "staging"
    sign = {
        "gpg": key.fingerprint,
        "gnupghome": str(key.home),
        "lookaside_staging": staging.as_uri(),
        **dict.fromkeys(("sigstore_key", "public_key", "passphrase_file", "gpg_passphrase_file")),
    }
    unsigned = builder.build()
    assert unsigned["action"] == "build"
    predicted = builder.build(True, sign=sign)
    signed = builder.build(sign=sign)
    assert (signed["action"], signed["pushed_bytes"], signed["digest"]) == ("sign", 0, unsigned["digest"])
    assert len(predicted["commands"]) == len(signed["commands"]) == 1
    assert "signed" in signed["msg"]
    assert builder.build(sign=sign)["changed"] is False

    (builder.context / "motd").write_text("other\n")
    built = builder.build(sign=sign)
    assert built["action"] == "build"
    words = [" ".join(command) for command in built["commands"]]
    signing = next(index for index, text in enumerate(words) if "--sign-by" in text)
    assert signing == len(words) - 2  # the last points the tag
    name = f"{builder.name}@{built['digest'].replace(':', '=')}"
    assert (staging / name / "signature-1").is_file()


def test_the_base_comes_from_a_mirror(
    builder: Builder, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conf = tmp_path / "home/.config/containers/registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        f'[[registry]]\nlocation = "os.example.invalid"\n[[registry.mirror]]\nlocation = "{registry.address}"\ninsecure = true\n'
        f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    result = builder.build(base="os.example.invalid/os:base", validate_certs=None)
    assert result["base"] == f"os.example.invalid/os@{base_image.rpartition('@')[2]}"
    assert labels(builder)["org.opencontainers.image.base.name"] == "os.example.invalid/os:base"
