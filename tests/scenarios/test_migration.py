# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving a pool from rpm-ostree to bootc: what the survey says of every kind of node, and that the nodes' journals agree."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from by_hand import on, restart
from journal import count, tools
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.ledger import Ledger
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry
from lab.signing import SigstoreKey

RPM_OSTREE: dict[str, str | None] = {"bootc": None}
BRINGS_BOOTC = {"/usr/lib/lab/tools.json": json.dumps({"bootc": "1.16.9"})}
MANAGED = "bootc-managed"


@pytest.fixture(scope="module")
def old(registry: Registry) -> str:
    return images.build_base(registry.address, "old", "v1", version="1.0", kargs_d={"10-os.toml": ["os=1", "both=1"]})


@pytest.fixture(scope="module")
def fleet(registry: Registry) -> str:
    """The wanted image by tag. It brings bootc to nodes that have none."""
    options: dict[str, Any] = {"version": "2.0", "kargs_d": {"10-os.toml": ["os=2", "both=1"]}}
    pushed = images.build_base(registry.address, "mig", "v2", extra_files=BRINGS_BOOTC, **options)
    assert (
        images.build_base(registry.address, "mirror", "v2", extra_files=BRINGS_BOOTC, **options).partition("@")[2]
        == (pushed.partition("@")[2])
    )
    return f"{registry.address}/mig:v2"


@pytest.fixture
def project(make_project: Callable[..., Project], tmp_path: Path, fleet: str) -> Callable[..., Project]:
    def make(**variables: Any) -> Project:
        wanted = {
            "imagemode_image": fleet,
            "imagemode_max_unavailable": 2,
            "imagemode_validate_certs": False,
            "imagemode_reboot_timeout": 60,
            "imagemode_store_path": str(tmp_path / "store"),
            **variables,
        }
        return make_project(group_vars={"workers": wanted})

    return make


def play(project: Project, name: str, *arguments: str) -> PlaybookRun:
    run = project.run(f"playbooks/{name}.yml", extra_vars={"imagemode_pool": "workers"}, arguments=arguments)
    assert "Traceback" not in run.stdout
    return run


def words(node: Node) -> set[str]:
    return {word for word in on(node, "cat /proc/cmdline").split() if not word.startswith(("ostree=", "BOOT_IMAGE="))}


def status(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(on(node, "bootc status --json"))
    return found


def rebased(node: Node, reference: str, *, booted: bool = True) -> Node:
    """Somebody ran `rpm-ostree rebase` by hand."""
    on(node, f"rpm-ostree rebase ostree-unverified-registry:{reference}")
    if booted:
        restart(node)
    return node


def surveyed(run: PlaybookRun) -> dict[str, tuple[Any, ...]]:
    """Of every node its case, bytes, reboots and losses, as the job artifact has them."""
    [report] = run.results("Show what it takes")
    nodes = report["ansible_stats"]["data"]["imagemode_survey"]["nodes"]
    return {one["node"]: (one["case"], one["pull_bytes"], one["reboots"], one["losses"]) for one in nodes}


def outcomes(run: PlaybookRun) -> dict[str, tuple[str, int | None]]:
    [report] = run.results("Show the table")
    nodes = report["ansible_stats"]["data"]["imagemode_migration"]["nodes"]
    return {one["node"]: (one["outcome"], one["reboots"]) for one in nodes}


def did(nodes: Sequence[Node], since: float) -> dict[str, tuple[int, int]]:
    """Bytes pulled and boots, from the nodes' own journals."""
    ledgers = [Ledger.of(node, since) for node in nodes]
    return {ledger.node: (ledger.pulled_bytes, ledger.reboots) for ledger in ledgers}


def test_a_pool_of_every_kind_of_node(
    make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str
) -> None:
    mirror = fleet.replace("/mig:", "/mirror:")
    nodes = [
        rebased(make_node("n1", image=old), fleet),
        make_node("n2", image=fleet, versions={"rpm-ostree": None}),
        rebased(make_node("n3", image=old), mirror),
        make_node("n4", image=old),
        rebased(make_node("n5", image=old, origin="ostree"), fleet, booted=False),
        make_node("n6", image=old, origin="ostree"),
        make_node("n7", image=old, versions=RPM_OSTREE),
        make_node("n8", image=old, versions=RPM_OSTREE, origin="ostree"),
    ]
    on(nodes[3], "rpm-ostree kargs --append=theirs=1")
    place = project()
    before = {node.name: len(tools(node)) for node in nodes}
    survey = play(place, "survey")
    assert survey.rc == 0, survey.stdout
    changing = ("rebase", "switch", "upgrade", "reset", "deploy", "--append", "undeploy")
    for node in nodes:
        assert not [call for call in tools(node)[before[node.name] :] if any(word in call for word in changing)]
    found = surveyed(survey)
    full = found["n6"][1]
    assert full > 1_000_000
    assert found == {
        "n1": (MANAGED, 0, 0, []),
        "n2": (MANAGED, 0, 0, []),
        "n3": ("other reference", 0, 1, []),
        "n4": ("other image", full, 1, []),
        "n5": ("staged", 0, 1, []),
        "n6": ("ostree branch", full, 1, []),
        "n7": ("no bootc", full, 1, []),
        "n8": ("no bootc", full, 1, []),
    }
    assert "8 nodes: 2 without a reboot, 6 with one reboot; " in survey.stdout

    lines = {node.name: words(node) for node in nodes}
    since = time.time()
    run = play(place, "migrate")
    assert run.rc == 0, run.stdout
    assert outcomes(run) == {
        **dict.fromkeys(("n1", "n2"), ("already bootc-managed", 0)),
        **dict.fromkeys(("n3", "n4", "n5", "n6", "n7", "n8"), ("migrated", 1)),
    }
    assert did(nodes, since) == {name: cost[1:3] for name, cost in found.items()}
    for node in nodes:
        booted = status(node)["status"]["booted"]
        assert (booted["image"]["imageDigest"], booted["incompatible"]) == (
            status(nodes[0])["status"]["booted"]["image"]["imageDigest"],
            False,
        )
        # What the images bring in kargs.d is theirs to change; nothing else came or went.
        kept = lines[node.name] - {"os=1", "os=2", "both=1"}
        theirs = {"theirs=1"} if node.name == "n4" else set()
        assert words(node) - {"os=1", "os=2", "both=1"} == kept | theirs
    assert {"os=2", "both=1"} <= words(nodes[3])
    assert "os=1" not in words(nodes[3])

    since = time.time()
    again = play(place, "migrate")
    assert again.rc == 0, again.stdout
    assert set(outcomes(again).values()) == {("already bootc-managed", 0)}
    assert set(did(nodes, since).values()) == {(0, 0)}
    assert {again.recap(node.name)["changed"] for node in nodes} == {0}


def test_local_changes_are_left_to_a_person(
    make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str
) -> None:
    node = rebased(make_node("n1", image=old), fleet)
    on(node, "rpm-ostree install htop")
    restart(node)
    boots = count(node, "boot")
    run = play(project(), "migrate")
    assert run.rc != 0
    assert surveyed(run)["n1"] == ("local changes", 0, 1, ["layered packages htop"])
    assert "n1 needs a decision. The booted deployment has layered packages htop" in run.stdout
    assert "run `rpm-ostree reset` on the node, and reboot it (0 to pull, 1 reboot)" in run.stdout
    assert outcomes(run) == {"n1": ("not staged", None)}
    assert count(node, "boot") == boots

    since = time.time()
    run = play(project(imagemode_local_changes="discard"), "migrate")
    assert run.rc == 0, run.stdout
    assert outcomes(run) == {"n1": ("migrated", 1)}
    assert did([node], since) == {"n1": (0, 1)}
    assert status(node)["status"]["booted"]["incompatible"] is False


def test_rpm_ostree_reset_is_the_other_way(
    make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str
) -> None:
    node = rebased(make_node("n1", image=old), fleet)
    on(node, "rpm-ostree install htop")
    restart(node)
    since = time.time()
    on(node, "rpm-ostree reset")
    run = play(project(), "migrate")
    assert run.rc == 0, run.stdout
    assert surveyed(run)["n1"] == ("staged", 0, 1, ["layered packages htop"])
    assert did([node], since) == {"n1": (0, 1)}


@pytest.mark.parametrize("layered", [False, True], ids=["as deployed", "with layered packages"])
def test_verification_is_kept(
    layered: bool, make_node: MakeNode, project: Callable[..., Project], registry: Registry, signing_key: SigstoreKey
) -> None:
    name = f"{registry.address}/signedmig"
    images.build_base(registry.address, "signedmig", "v2", version="2.0")
    signing_key.sign(registry, "signedmig", "v2")
    scoped = [{"type": "sigstoreSigned", "keyPath": "/etc/pki/fleet.pub"}]
    policy = json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {name: scoped}}})
    attached = f"docker:\n  {name}:\n    use-sigstore-attachments: true\n"
    node = make_node("n1")
    files = {"policy.json": policy, "registries.d/fleet.yaml": attached}
    script = "".join(f"cat >/etc/containers/{path} <<'EOF'\n{text}\nEOF\n" for path, text in files.items())
    key = f"cat >/etc/pki/fleet.pub <<'EOF'\n{signing_key.public.read_text()}\nEOF\n"
    on(node, f"mkdir -p /etc/containers/registries.d; {script}{key}")
    on(node, f"rpm-ostree rebase ostree-image-signed:docker://{name}:v2")
    restart(node)
    if layered:
        on(node, "rpm-ostree install htop")
        restart(node)
    since = time.time()
    run = play(project(imagemode_image=f"{name}:v2", imagemode_local_changes="discard"), "migrate")
    assert run.rc == 0, run.stdout
    assert did([node], since) == {"n1": (0, int(layered))}
    found = status(node)
    assert found["status"]["booted"]["image"]["image"]["signature"] == "containerPolicy"
    assert found["status"]["booted"]["incompatible"] is False


def test_an_ostree_remote_goes_on_where_it_is(
    make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str
) -> None:
    node = make_node("n1", image=old)
    on(node, f"rpm-ostree rebase ostree-remote-registry:lab:{fleet}")
    restart(node)
    since = time.time()
    run = play(project(), "migrate")
    assert run.rc == 0, run.stdout
    assert surveyed(run)["n1"] == (MANAGED, 0, 0, [])
    assert did([node], since) == {"n1": (0, 0)}
    assert "No update available" in on(node, "bootc upgrade")

    run = play(project(imagemode_image=old), "migrate")
    assert run.rc != 0
    assert "n1 needs a decision. The host verifies images through the ostree remote lab" in run.stdout
    # Its rollback is that image, so no layer is missing.
    assert "- set imagemode_signature_policy: policy (0 to pull, 1 reboot)" in run.stdout
    assert status(node)["status"]["staged"] is None


def test_check_mode_changes_nothing(make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str) -> None:
    nodes = [rebased(make_node("n1", image=old), fleet), make_node("n2", image=old)]
    since = time.time()
    run = play(project(), "migrate", "--check")
    assert run.rc == 0, run.stdout
    assert outcomes(run) == {"n1": ("already bootc-managed", None), "n2": ("would be migrated", None)}
    assert set(did(nodes, since).values()) == {(0, 0)}
    assert status(nodes[1])["status"]["staged"] is None


def test_kernel_arguments_of_the_pool_cost_no_reboot_of_their_own(
    make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str
) -> None:
    nodes = [make_node("n1", image=fleet), make_node("n2", image=old)]
    since = time.time()
    run = play(project(imagemode_kargs={"present": ["nosmt"]}, imagemode_tool="rpm-ostree"), "migrate")
    assert run.rc == 0, run.stdout
    assert outcomes(run) == {"n1": ("already bootc-managed", 0), "n2": ("migrated", 1)}
    assert any(call.startswith("bootc switch") for call in tools(nodes[1])), "the pool's tool is overruled"
    assert [boots for _pulled, boots in did(nodes, since).values()] == [0, 1]
    assert ["nosmt" in words(node) for node in nodes] == [False, True]


def test_an_image_without_bootc_migrates_nobody(make_node: MakeNode, project: Callable[..., Project], old: str) -> None:
    """It cannot be told before the boot; afterwards it is not called a migration."""
    node = make_node("n1", image=old, versions=RPM_OSTREE, origin="ostree")
    run = play(project(imagemode_image=old), "migrate")
    assert run.rc != 0
    assert outcomes(run) == {"n1": ("not proven", 1)}
    assert "has no bootc. Build one that has" in run.stdout
    since = time.time()
    again = play(project(imagemode_image=old), "migrate")
    assert again.rc != 0
    assert did([node], since) == {"n1": (0, 0)}


def test_a_node_that_is_away_is_told_and_the_others_are_surveyed(
    make_node: MakeNode, project: Callable[..., Project], old: str, fleet: str
) -> None:
    rebased(make_node("n1", image=old), fleet)
    make_node("n2", image=old).power_cut()
    run = play(project(), "survey")
    found = surveyed(run)
    assert found["n1"] == (MANAGED, 0, 0, [])
    assert found["n2"] == (None, None, None, None)
    assert "1 not seen" in run.stdout


def test_the_way_back(
    make_node: MakeNode, project: Callable[..., Project], run_playbook: RunPlaybook, old: str
) -> None:
    """From the first boot of the image back to the ostree commit, with the kernel arguments of then; and forward again."""
    node = make_node("n1", image=old, origin="ostree")
    before = words(node)
    run = play(project(), "migrate")
    assert run.rc == 0, run.stdout
    [report] = run.results("Show the table")
    checksum = report["ansible_stats"]["data"]["imagemode_migration"]["nodes"][0]["from_checksum"]
    back = [
        {"name": "back", "imagemode.nodes.deployment_rollback": {"expected_checksum": checksum}},
        {"name": "reboot", "imagemode.nodes.node_reboot": {}},
    ]
    since = time.time()
    run = run_playbook([{"hosts": "workers", "gather_facts": False, "tasks": back}])
    assert run.rc == 0, run.stdout
    deployments = json.loads(on(node, "rpm-ostree status --json"))["deployments"]
    assert [one["checksum"] for one in deployments if one["booted"]] == [checksum]
    assert words(node) == before
    assert did([node], since) == {"n1": (0, 1)}
    since = time.time()
    assert play(project(), "migrate").rc == 0
    assert did([node], since)["n1"][1] == 1


def test_a_killed_run_is_carried_on(make_node: MakeNode, project: Callable[..., Project], old: str) -> None:
    nodes = [make_node(f"n{number}", image=old, origin="ostree", boot_seconds=3.0) for number in (1, 2, 3)]
    place = project(imagemode_max_unavailable=1)
    process = place.start("playbooks/migrate.yml", extra_vars={"imagemode_pool": "workers"})
    assert process.stdout is not None
    for line in process.stdout:
        if "goes now" in line:
            break
    time.sleep(1.5)
    process.kill()
    process.wait()
    run = play(place, "migrate")
    assert run.rc == 0, run.stdout
    assert [count(node, "boot") for node in nodes] == [2, 2, 2]
    assert {outcome for outcome, _reboots in outcomes(run).values()} <= {"already bootc-managed", "migrated"}
    assert all(status(node)["status"]["booted"]["incompatible"] is False for node in nodes)
