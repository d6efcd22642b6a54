# SPDX-License-Identifier: GPL-3.0-or-later
"""What was observed on real hosts beyond single commands: locks, traps of digests and references, /etc, lost stagings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from recorded_world import CREDENTIALS, HostUnderTest
from small_images import Pusher, layer, userland

MakeHost = Callable[..., HostUnderTest]


def status(host: HostUnderTest) -> dict[str, Any]:
    text = host.ok("bootc status --json")
    document: dict[str, Any] = json.loads(text[text.index("{") :])["status"]
    return document


def booted_image(host: HostUnderTest) -> str:
    return str(status(host)["booted"]["image"]["image"]["image"]).rpartition("/")[2]


def pulled(host: HostUnderTest) -> list[tuple[int, int]]:
    """Layers and bytes of each pull after the installation."""
    return [(entry["layers"], entry["bytes"]) for entry in host.node.journal.read("pull")][1:]


# locks


def test_during_a_bootc_operation_rpm_ostree_writes_fail_and_its_status_shows_nothing(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    switching = host.start(f"bootc switch {host.world.open}/os:v2")
    host.wait_until(
        lambda: host.sh("rpm-ostree kargs --append=x=1").stderr == "error: System transaction in progress\n"
    )
    assert json.loads(host.ok("rpm-ostree status --json"))["transaction"] is None
    assert host.ok("rpm-ostree cancel") == "No active transaction.\n"
    blocked = host.start("bootc upgrade")
    time.sleep(0.3)
    assert blocked.poll() is None
    host.node.clear("registry-stalls")
    assert switching.wait(20) == 0
    out, err = blocked.communicate(timeout=20)
    assert (blocked.returncode, out.splitlines()[-1], err) == (0, "Staged update present, not changed", "")


def test_an_old_bootc_tells_on_standard_output_that_it_waits(make_host: MakeHost) -> None:
    host = make_host(bootc="1.1.6")
    host.node.inject("lock-held", seconds=0.5)
    text = host.ok("bootc status --json")
    waiting, _separator, document = text.partition("\n")
    assert waiting == "Waiting for sysroot lock..."
    assert json.loads(document)["kind"] == "BootcHost"


def test_during_a_rebase_the_transaction_is_visible_and_bootc_waits_for_it(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    reference = f"ostree-unverified-registry:{host.world.open}/os:v3"
    rebase = host.start(f"rpm-ostree rebase {reference}")
    host.wait_until(lambda: json.loads(host.ok("rpm-ostree status --json"))["transaction"] is not None)
    done = host.sh("rpm-ostree kargs --append-if-missing=busy=1")
    assert (done.returncode, done.stderr) == (
        1,
        f"error: Transaction in progress: rebase {reference} \n"
        " You can cancel the current transaction with `rpm-ostree cancel`\n",
    )
    human = host.ok("rpm-ostree status").splitlines()
    assert human[:2] == ["State: busy", f"Transaction: rebase {reference} "]
    bootc = host.start("bootc status --json")
    time.sleep(0.3)
    assert bootc.poll() is None
    host.node.clear("registry-stalls")
    assert rebase.wait(20) == 0
    assert json.loads(bootc.communicate(timeout=20)[0])["status"]["staged"] is not None


@pytest.mark.parametrize("signal", ["INT", "TERM", "HUP"])
def test_a_signal_ends_bootc_with_nothing_staged_and_the_lock_free(make_host: MakeHost, signal: str) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    host.sh(f"timeout -s {signal} 0.5 bootc switch {host.world.open}/os:v2")
    host.node.clear("registry-stalls")
    assert status(host)["staged"] is None
    host.ok("rpm-ostree kargs --append-if-missing=free=1")


def test_sigint_cancels_rpm_ostree_but_sigterm_orphans_its_transaction(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    reference = f"ostree-unverified-registry:{host.world.open}/os:v2"
    interrupted = host.sh(f"timeout -s INT 0.5 rpm-ostree rebase {reference}")
    assert interrupted.stderr == "Caught SIGINT, cancelling transaction\nerror: Operation was cancelled\n"
    assert host.ok("rpm-ostree status").startswith("State: idle")
    host.sh(f"timeout -s TERM 0.5 rpm-ostree rebase {reference}")
    assert host.ok("rpm-ostree status").startswith("State: busy")
    assert host.sh("timeout 0.4 bootc status").stdout == ""
    assert host.ok("rpm-ostree cancel") == f"Cancelling transaction: rebase {reference} \nCancelled.\n"
    assert host.ok("rpm-ostree status").startswith("State: idle")


# digests, references, layers


def test_a_repush_with_the_same_config_is_never_noticed_under_its_tag(make_host: MakeHost) -> None:
    host = make_host("os:v1")
    push, tag = host.world.images, "repushed"
    blob = userland("again", files=host.world.files)
    first = push.image(tag, [blob])
    host.ok(f"bootc switch {host.world.open}/os:{tag}")
    host.reboot()
    second = push.image(tag, [blob], annotations={"pushed": "again"})
    assert first != second
    assert host.ok("bootc upgrade").endswith("No update available.\n")
    assert host.ok("bootc upgrade --check") == f"No changes in: docker://{host.world.open}/os:{tag}\n"
    assert host.sh("rpm-ostree upgrade --unchanged-exit-77").returncode == 77
    assert status(host)["booted"]["image"]["imageDigest"] == first
    push.retag(tag, f"{tag}-other")
    host.ok(f"bootc switch {host.world.open}/os:{tag}-other")
    assert status(host)["staged"]["image"]["imageDigest"] == second


def test_another_tag_of_the_same_content_costs_a_deployment_and_no_layers(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:w1")
    now = status(host)
    assert now["staged"]["image"]["imageDigest"] == now["booted"]["image"]["imageDigest"]
    assert now["staged"]["ostree"]["deploySerial"] == 1
    assert pulled(host) == [(0, 0)]


def test_each_node_downloads_its_own_layers_and_only_those_it_lacks(make_host: MakeHost) -> None:
    first, second = make_host("os:b116"), make_host("os:b116")
    for host in (first, second):
        out = host.ok(f"bootc switch {host.world.open}/os:b116big")
        assert out.startswith("layers already present: 1; layers needed: 3 (")
    assert pulled(first) == pulled(second)
    assert pulled(first)[0][0] == 3
    assert pulled(first)[0][1] > 100


def test_a_manifest_list_gives_the_digest_of_the_nodes_architecture(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:many")
    staged = status(host)["staged"]["image"]
    assert (staged["architecture"], staged["version"]) == ("amd64", "3.1")
    headers, _unused = host.world.images._request("GET", "manifests/one-of-many")
    assert staged["imageDigest"] == headers["Docker-Content-Digest"]


def test_images_that_no_deployment_names_are_collected(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:v2")
    host.ok("rpm-ostree cleanup -p")
    again = host.ok(f"bootc switch {host.world.open}/os:v2")
    assert again.startswith("layers already present: 0; layers needed: 1 (")
    assert len(pulled(host)) == 2


def test_switching_over_layered_packages_drops_them_silently(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("layered-packages", packages=["htop"])
    assert host.sh("bootc upgrade").returncode == 1
    out = host.ok(f"bootc switch {host.world.open}/os:v1")
    assert "htop" not in out
    assert status(host)["staged"]["incompatible"] is False
    host.reboot()
    assert booted_image(host) == "os:v1"


def test_credentials_are_read_from_the_node_and_nowhere_else(make_host: MakeHost) -> None:
    host = make_host()
    target = f"{host.world.closed}/os:v2"
    assert "authentication required" in host.sh(f"bootc switch {target}").stderr
    token = "bGFiOnNlY3JldA=="
    assert CREDENTIALS == ("lab", "secret")
    auth = json.dumps({"auths": {host.world.closed: {"auth": token}}})
    host.ok(f"mkdir -p /etc/ostree; echo '{auth}' > /etc/ostree/auth.json; bootc switch {target}")
    assert token not in (host.node.directory / "state.json").read_text()


def test_plain_http_only_where_the_nodes_configuration_allows_it(make_host: MakeHost) -> None:
    host = make_host()
    target = f"{host.world.plain}/os:v1"
    refused = host.sh(f"bootc switch {target}")
    assert refused.returncode == 1
    assert refused.stderr.endswith(
        f'pinging container registry {host.world.plain}: Get "https://{host.world.plain}/v2/": '
        "http: server gave HTTP response to HTTPS client\n"
    )
    configuration = f'[[registry]]\nlocation = "{host.world.plain}"\ninsecure = true\n'
    host.ok(f"echo '{configuration}' > /etc/containers/registries.conf.d/30-plain.conf; bootc switch {target}")


# /etc and /var


def test_local_edits_win_over_changed_defaults_and_a_rollback_brings_the_old_etc_back(make_host: MakeHost) -> None:
    host = make_host("os:etc1")
    host.ok("echo 'local edit before staging' > /etc/lab-local.conf; rm /etc/passwd-; true")
    host.ok(f"bootc switch {host.world.open}/os:etc2")
    host.ok("echo 'edited after staging' > /etc/lab-after.conf")
    host.reboot()
    assert _files(host) == {
        "lab.conf": "default-from-etc2",
        "lab-new.conf": "new-in-etc2",
        "lab-local.conf": "local edit before staging",
        "lab-gone.conf": None,
        "lab-after.conf": "edited after staging",
    }
    host.ok("echo 'edited on etc2' > /etc/lab-after.conf; bootc rollback")
    host.reboot()
    assert _files(host) == {
        "lab.conf": "default-from-etc1",
        "lab-new.conf": None,
        "lab-local.conf": "local edit before staging",
        "lab-gone.conf": "will vanish",
        "lab-after.conf": "edited after staging",
    }


def _files(host: HostUnderTest) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in ("lab.conf", "lab-new.conf", "lab-local.conf", "lab-gone.conf", "lab-after.conf"):
        done = host.sh(f"cat /etc/{name}")
        found[name] = done.stdout.strip() if done.returncode == 0 else None
    return found


def test_a_deleted_default_stays_deleted(make_host: MakeHost) -> None:
    host = make_host("os:etc1")
    host.ok("rm /etc/lab.conf")
    host.ok(f"bootc switch {host.world.open}/os:etc2")
    host.reboot()
    assert _files(host)["lab.conf"] is None


def test_var_comes_from_the_first_image_only_and_is_shared_by_all_deployments(make_host: MakeHost) -> None:
    seeded, later = make_host("os:etc1"), make_host("os:v1")
    assert seeded.ok("cat /var/lib/lab/seed.txt") == "seed\n"
    later.ok("echo mine > /var/lib/mine")
    later.ok(f"bootc switch {later.world.open}/os:etc1")
    later.reboot()
    assert later.sh("cat /var/lib/lab/seed.txt").returncode == 1
    assert later.ok("cat /var/lib/mine") == "mine\n"


def test_a_file_that_becomes_a_directory_is_a_conflict_and_the_staged_deployment_is_lost(make_host: MakeHost) -> None:
    host = make_host("os:etc1")
    host.world.images.image("conflict", [userland("c", files={"etc/lab.conf/inside": "x"})])
    host.ok("echo local > /etc/lab.conf")
    host.ok(f"bootc switch {host.world.open}/os:conflict")
    host.reboot()
    assert booted_image(host) == "os:etc1"
    assert "failed to finalize previous deployment" in host.ok("rpm-ostree status")


# what layers do


def test_whiteouts_remove_files_and_opaque_directories(make_host: MakeHost) -> None:
    base = userland("w", files={"usr/share/a/1": "1", "usr/share/a/2": "2", "usr/share/b/1": "1"})
    upper = layer({"usr/share/a/.wh.1": "", "usr/share/b/.wh..wh..opq": "", "usr/share/b/new": "n"})
    host = make_host()
    host.world.images.image("whiteouts", [base, upper])
    host.ok(f"bootc switch {host.world.open}/os:whiteouts")
    host.reboot()
    assert host.ok("ls /usr/share/a /usr/share/b").split() == ["/usr/share/a:", "2", "/usr/share/b:", "new"]


def test_kargs_d_of_another_architecture_is_left_alone(make_host: MakeHost) -> None:
    host = make_host()
    kargs_d = {
        "usr/lib/bootc/kargs.d/10.toml": 'kargs = ["here=1"]\nmatch-architectures = ["x86_64"]\n',
        "usr/lib/bootc/kargs.d/20.toml": 'kargs = ["there=1"]\nmatch-architectures = ["aarch64"]\n',
    }
    host.world.images.image("arches", [userland("a", files=kargs_d)])
    host.ok(f"bootc switch {host.world.open}/os:arches")
    host.reboot()
    words = host.ok("cat /proc/cmdline").split()
    assert ("here=1" in words, "there=1" in words) == (True, False)


def test_a_push_to_the_closed_registry_needs_credentials(make_host: MakeHost) -> None:
    """The registry of these tests really asks: otherwise the tests above would prove nothing."""
    host = make_host()
    with pytest.raises(RuntimeError, match="401"):
        Pusher(host.world.closed)._request("GET", "manifests/v2")
