# SPDX-License-Identifier: GPL-3.0-or-later
"""The same inputs make the same image, whoever builds it and where: another directory, umask, home, time zone and clock of files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from image_builder import Builder, tool
from lab.registry import Registry
from test_build_config import documents

NO_TLS = "--tls-verify=false"
# Renders what it is given and builds on it: a process, as the umask is one's own.
PROGRAM = """
import json, os, sys
from pathlib import Path
given = json.loads(sys.argv[1])
os.umask(given["umask"])
from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_rendering import RENDER_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_rendering import render_machine_config
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build
defaults = {name: spec.get("default") for name, spec in RENDER_SPEC.items()}
rendered = render_machine_config({**defaults, **given["render"]}, False, None)
assert not rendered.failed, rendered.result
for root, names, files in os.walk(given["render"]["dest"]):
    for name in (*names, *files):
        os.utime(os.path.join(root, name), (given["mtime"], given["mtime"]), follow_symlinks=False)
print(json.dumps(layered_build(given["build"], False).result))
"""


def component(registry: Registry, name: str, files: dict[str, bytes], **option: str) -> dict[str, Any]:
    """A component with the content of files, all of them programs."""
    container = tool("buildah", "from", "scratch").strip()
    root = Path(tool("buildah", "mount", container).strip())
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755)
    local, image = f"localhost/{name}:reproducible", f"{registry.address}/components/{name}:reproducible"
    tool("buildah", "commit", "--quiet", "--timestamp=0", "--rm", container, local)
    tool("buildah", "push", "--quiet", NO_TLS, local, f"docker://{image}")
    tool("buildah", "rmi", local)
    return {"name": name, "image": image, "tree": None, "dest": None, "rpms": None, "version": "1", **option}


def built(
    builder: Builder, place: str, umask: int, mtime: int, zone: str, options: dict[str, Any], var_links: dict[str, None]
) -> dict[str, Any]:
    """What a build host of its own makes of the inputs: its directories, its container storage, its user's habits."""
    directory = builder.directory / place
    context = directory / "context"
    context.mkdir(parents=True)
    (context / "motd").write_text("welcome\n")
    (context / "motd").chmod(0o644)
    os.utime(context / "motd", (mtime, mtime))
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory / "graph"}"\nrunroot = "{directory / "run"}"\n'
    )
    config = documents()[0]
    storage = config["spec"]["config"]["storage"]
    storage["files"] = [file for file in storage["files"] if not file["path"].startswith("/opt")]
    given = {
        "umask": umask,
        "mtime": mtime,
        "render": {
            "documents": [config],
            "role": "worker",
            "dest": str(directory / "rendered"),
            "var_links": var_links,
        },
        "build": builder.params(
            image=f"{builder.registry.address}/{builder.name}-{place}:1",
            containerfile=None,
            containerfile_content="COPY motd /usr/lib/agent/motd\nRUN mkdir /usr/lib/said && echo hello > /usr/lib/said/hello\n",
            context=str(context),
            machine_config=str(directory / "rendered"),
            work_dir=str(directory / "work"),
            **options,
        ),
    }
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf")}
    environment |= {"HOME": str(directory), "TZ": zone, "XDG_CACHE_HOME": str(directory / "cache")}
    argv = [sys.executable, "-c", PROGRAM, json.dumps(given)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    for words in (("rm", "--all"), ("rmi", "--all", "--force")):
        subprocess.run(["buildah", *words], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result.get("action") == "build", result["msg"]
    return result


def layers(builder: Builder, place: str) -> list[str]:
    manifest = builder.registry.manifest(f"{builder.name}-{place}", "1")
    return [layer["digest"] for layer in manifest["layers"]]


def configuration(builder: Builder, place: str) -> dict[str, Any]:
    image = f"docker://{builder.registry.address}/{builder.name}-{place}:1"
    return dict(json.loads(tool("skopeo", "inspect", "--config", NO_TLS, image)))


def same_everywhere(builder: Builder, options: dict[str, Any], *directories: str) -> None:
    """`directories` are those that are no links into /var in the base."""
    var_links = dict.fromkeys(directories)
    here = built(builder, "here", 0o022, 1_000_000_000, "UTC", options, var_links)
    there = built(builder, "over/there", 0o077, 1_700_000_000, "Pacific/Auckland", options, var_links)
    assert here["inputs"] == there["inputs"]
    assert layers(builder, "here") == layers(builder, "over/there")
    assert configuration(builder, "here") == configuration(builder, "over/there")
    assert here["digest"] == there["digest"]


def test_components_and_configuration(builder: Builder, registry: Registry, base_image: str) -> None:
    runtime = component(registry, "runtime", {"usr/bin/runtime": b"runtime\n", "usr/lib/runtime/conf": b"a\n"})
    same_everywhere(builder, {"base": base_image, "components": [runtime], "kernel_arguments": ["nosmt"]}, "/usr/local")


def test_packages_and_a_component_of_packages(
    builder: Builder, registry: Registry, dnf_base_image: str, rpm_repositories: Path
) -> None:
    repository = builder.directory / "repository"
    shutil.copytree(rpm_repositories / "main", repository)
    rpms = {f"rpms/{file.name}": file.read_bytes() for file in (rpm_repositories / "kubelet-1.33").glob("*.rpm")}
    options = {
        "base": dnf_base_image,
        "components": [component(registry, "kubelet-rpms", rpms, rpms="/rpms")],
        "packages": ["jq"],
        "repositories": [{"name": "lab", "baseurl": str(repository), "gpgcheck": False}],
        "checks": "warn",
    }
    same_everywhere(builder, options, "/usr/local", "/home", "/root", "/opt", "/srv", "/mnt")
