# SPDX-License-Identifier: GPL-3.0-or-later
"""What rpm-ostree does beyond single recorded commands: transactions and their clients, refs, drivers, local changes, versions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from lab import enter
from lab.simulators.ostree_remote import OstreeRemote
from recorded_world import HostUnderTest

MakeHost = Callable[..., HostUnderTest]
BASE = "lab:labos/stable/base"


def deployments(host: HostUnderTest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.ok("rpm-ostree status --json"))["deployments"]
    return found


def transaction(host: HostUnderTest) -> list[str] | None:
    found: list[str] | None = json.loads(host.ok("rpm-ostree status --json"))["transaction"]
    return found


def image(host: HostUnderTest, tag: str) -> str:
    return f"ostree-unverified-registry:{host.world.open}/os:{tag}"


def failure(host: HostUnderTest, command: str) -> str:
    """What a command that must fail with status 1 says on standard error."""
    done = host.sh(command)
    assert done.returncode == 1, f"{command}: {done.returncode} {done.stdout}"
    return done.stderr


# transactions


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_a_transaction_whose_client_was_killed_goes_on_and_stages(make_host: MakeHost, signal: str) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    host.sh(f"timeout -s {signal} 0.5 rpm-ostree rebase {image(host, 'v2')}")
    assert transaction(host) is not None
    assert "Transaction in progress: rebase" in failure(host, "rpm-ostree kargs --append=x=1")
    host.node.clear("registry-stalls")
    host.wait_until(lambda: transaction(host) is None)
    assert deployments(host)[0]["container-image-reference"] == image(host, "v2")


def test_the_same_call_attaches_and_another_one_is_refused(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    command = f"rpm-ostree rebase {image(host, 'v2')}"
    first = host.start(command)
    host.wait_until(lambda: transaction(host) is not None)
    second = host.start(command)
    assert "Transaction in progress" in failure(host, f"rpm-ostree rebase {image(host, 'v3')}")
    host.node.clear("registry-stalls")
    assert first.wait(30) == 0
    out, err = second.communicate(timeout=30)
    assert (second.returncode, err) == (0, "")
    assert out.startswith(f"Attaching to existing transaction: {command.split(' ', 1)[1]}\n")
    assert out.endswith('Changes queued for next boot. Run "systemctl reboot" to start a reboot\n')
    assert [one["serial"] for one in deployments(host) if one["staged"]] == [0]


def test_an_inhibited_reboot_leaves_the_deployment_written(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("reboot-inhibited")
    stderr = failure(host, f"rpm-ostree rebase --reboot {image(host, 'v2')}")
    assert stderr.endswith("error: Reboot blocked by a systemd inhibitor lock in `block` mode\n")
    assert deployments(host)[0]["staged"] is True


# references


def test_spellings_of_one_image_are_different_refs_with_the_same_content(make_host: MakeHost) -> None:
    host = make_host()
    for scheme in (
        "ostree-unverified-image:registry:",
        "ostree-unverified-image:docker://",
        "ostree-remote-registry:lab:",
    ):
        host.ok(f"rpm-ostree rebase {scheme}{host.world.open}/os:v1")
        staged, booted = deployments(host)
        assert staged["container-image-reference"] == f"{scheme}{host.world.open}/os:v1"
        assert staged["checksum"] == booted["checksum"]


@pytest.mark.parametrize(
    "text", ["ostree-unverified-registry:", "ostree-unverified-image:docker:x", "ostree-unverified-image:ftp:x"]
)
def test_what_is_no_reference_is_taken_for_an_ostree_ref_and_is_none(make_host: MakeHost, text: str) -> None:
    host = make_host()
    done = host.sh(f"rpm-ostree rebase {text}")
    assert (done.returncode, deployments(host)[0]["booted"]) == (1, True)


def test_a_revision_needs_a_new_rpm_ostree(make_host: MakeHost) -> None:
    host = make_host(versions={"rpm-ostree": "2024.6"})
    digest = deployments(host)[0]["container-image-reference-digest"]
    assert failure(host, f"rpm-ostree rebase {image(host, 'v2')} {digest}").endswith(
        "error: Cannot look up version while tracking a container image reference\n"
    )
    newer = make_host()
    newer.ok(f"rpm-ostree rebase {image(newer, 'v2')} {digest}")
    staged = deployments(newer)[0]
    assert (staged["container-image-reference"], staged["version"]) == (image(newer, "v2"), "1.0")
    assert f"override-commit={digest}" in newer.ok("cat /ostree/deploy/debian/deploy/*.1.origin")


def test_from_a_branch_to_a_container_and_to_another_branch(make_host: MakeHost) -> None:
    host = make_host(origin="ostree")
    remote = OstreeRemote(host.node.lab, "lab")
    remote.commit("labos/stable/next", f"{host.world.open}/os:v2", version="2.0")
    host.ok(f"rpm-ostree rebase {image(host, 'v3')}")
    assert "origin" not in deployments(host)[0]
    host.reboot()
    host.ok("rpm-ostree rebase lab:labos/stable/next")
    assert (deployments(host)[0]["origin"], deployments(host)[0]["version"]) == ("lab:labos/stable/next", "2.0")
    host.reboot()
    assert failure(host, "rpm-ostree rebase labos/stable/next") == (
        "error: Old and new refs are equal: lab:labos/stable/next\n"
    )
    assert "No such branch 'nosuch'" in failure(host, "rpm-ostree rebase nosuch")
    assert 'Remote "away" not found' in failure(host, "rpm-ostree rebase away:")


def test_a_custom_origin_is_kept_for_a_digest_only(make_host: MakeHost) -> None:
    host = make_host()
    digest = deployments(host)[0]["container-image-reference-digest"]
    custom = "--custom-origin-url=https://os.example --custom-origin-description=example"
    host.ok(f"rpm-ostree rebase {custom} {image(host, 'v2')}")
    assert "custom-origin" not in deployments(host)[0]
    host.ok(f"rpm-ostree rebase {custom} ostree-unverified-registry:{host.world.open}/os@{digest}")
    assert deployments(host)[0]["custom-origin"] == ["https://os.example", "example"]
    assert "must be supplied" in failure(host, f"rpm-ostree rebase --custom-origin-url=x {image(host, 'v3')}")


def test_download_only_stages_nothing(make_host: MakeHost) -> None:
    host = make_host()
    assert host.ok(f"rpm-ostree rebase --download-only {image(host, 'v2')}").endswith("Update downloaded.\n")
    assert [one["booted"] for one in deployments(host)] == [True]


# drivers


def test_an_installed_driver_blocks_until_it_is_stopped_or_bypassed(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("update-driver")
    refused = failure(host, f"rpm-ostree rebase {image(host, 'v2')}")
    assert refused.startswith("error: Updates and deployments are driven by Zincati (zincati.service)\n")
    host.reboot()
    assert json.loads(host.ok("rpm-ostree status --json"))["update-driver"] == {
        "driver-name": "Zincati",
        "driver-sd-unit": "zincati.service",
    }
    host.ok(f"rpm-ostree rebase --bypass-driver {image(host, 'v2')}")
    host.ok("LAB_UNIT=zincati.service rpm-ostree upgrade")
    host.node.inject("update-driver", active=False)
    host.ok(f"rpm-ostree rebase {image(host, 'v3')}")


# kernel arguments


def test_quoted_values_are_one_argument(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("""rpm-ostree kargs --append='a="b c" d'""")
    assert host.ok("rpm-ostree kargs").endswith(' a="b c" d\n')
    assert host.ok("""rpm-ostree kargs --append-if-missing='a="b c"'""") == "No changes.\n"
    host.ok("""rpm-ostree kargs --delete='a="b c"'""")
    assert '"' not in host.ok("rpm-ostree kargs")


def test_ostrees_own_edit_looks_at_keys_where_rpm_ostrees_looks_at_arguments(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("ostree admin kargs edit-in-place --append-if-missing=console=tty9")
    assert "console=tty9" not in host.ok("rpm-ostree kargs")
    host.ok("rpm-ostree kargs --append-if-missing=console=tty9")
    assert "console=tty9" in host.ok("rpm-ostree kargs")


def test_arguments_of_a_queued_rollback_are_edited_on_it(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"rpm-ostree rebase {image(host, 'v2')}")
    host.reboot()
    host.ok("rpm-ostree rollback && rpm-ostree kargs --append=queued=1")
    staged = deployments(host)[0]
    assert (staged["staged"], staged["container-image-reference"]) == (True, image(host, "v1"))


# users without rights


def test_everybody_may_read_the_status_and_root_alone_may_write(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"rpm-ostree rebase {image(host, 'v2')}")
    host.ok("echo 'core:x:1000:1000::/var/home:/bin/sh' >> /etc/passwd")

    def as_core(*argv: str) -> subprocess.CompletedProcess[str]:
        command = enter.command(host.node, ["rpm-ostree", *argv], user="core")
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert json.loads(as_core("status", "--json").stdout)["deployments"] == deployments(host)
    assert as_core("status", "-b").stdout == host.ok("rpm-ostree status -b")
    refused = as_core("kargs", "--append=x")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: rpmostreed OS operation KernelArgs not allowed for user\n",
    )


def test_nobody_is_told_of_deployments_where_ostree_did_not_boot(make_host: MakeHost) -> None:
    host = make_host(origin="none")
    host.ok("echo 'core:x:1000:1000::/var/home:/bin/sh' >> /etc/passwd")
    for user in ("root", "core"):
        command = enter.command(host.node, ["rpm-ostree", "status", "--json"], user=user)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: This system was not booted via libostree.\n"


# local changes


def test_local_changes_are_carried_over_a_rebase_or_stop_it(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("rpm-ostree install labtool && rpm-ostree initramfs --enable --arg=-v")
    host.reboot()
    host.node.inject("packages-missing", packages=["labtool"])
    assert failure(host, f"rpm-ostree rebase {image(host, 'v2')}") == "error: Packages not found: labtool\n"
    assert deployments(host)[0]["booted"] is True
    host.node.clear("packages-missing")
    host.ok(f"rpm-ostree rebase {image(host, 'v2')}")
    staged = deployments(host)[0]
    assert (staged["requested-packages"], staged["initramfs-args"], staged["base-checksum"] != staged["checksum"]) == (
        ["labtool"],
        ["-v"],
        True,
    )
    assert json.loads(host.ok("bootc status --json"))["status"]["staged"]["incompatible"] is True


def test_locked_layering_stops_what_would_be_assembled(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("rpm-ostree install labtool")
    host.reboot()
    host.ok("printf '[Daemon]\\nLockLayering=true\\n' > /etc/rpm-ostreed.conf")
    locked = "error: Cannot operate; `LockLayering=true` in configuration.\n"
    assert failure(host, f"rpm-ostree rebase {image(host, 'v2')}") == locked
    assert failure(host, "rpm-ostree install labextra") == locked
    host.ok("rpm-ostree reset")


def test_overrides_show_what_is_asked_for_and_what_is_applied(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("touch /var/tmp/labbase-2.0-1.noarch.rpm; rpm-ostree override replace /var/tmp/labbase-2.0-1.noarch.rpm")
    staged = deployments(host)[0]
    assert staged["requested-base-local-replacements"] == ["labbase-2.0-1.noarch"]
    assert [pair[0][0] for pair in staged["base-local-replacements"]] == ["labbase-2.0-1.noarch"]
    host.ok("rpm-ostree override reset labbase && rpm-ostree override remove labbase")
    assert deployments(host)[0]["requested-base-removals"] == ["labbase"]
    assert "RemovedBasePackages: labbase 1.0-1" in host.ok("rpm-ostree status")
    host.ok("rpm-ostree initramfs-etc --track=/etc/hosts")
    assert deployments(host)[0]["initramfs-etc"] == ["/etc/hosts"]
    host.ok("rpm-ostree reset")
    assert deployments(host)[0]["checksum"] == deployments(host)[1]["checksum"]


def test_a_request_that_the_image_satisfies_is_inactive(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("rpm-ostree install --allow-inactive labbase")
    staged = deployments(host)[0]
    assert (staged["requested-packages"], staged["packages"]) == (["labbase"], [])
    assert "InactiveRequests: labbase" in host.ok("rpm-ostree status")


# versions


def test_keys_and_locks_of_older_versions(make_host: MakeHost) -> None:
    for version, has_modules, shows_lock in (("2026.2", False, False), ("2024.6", True, False), ("2024.5", True, True)):
        host = make_host(versions={"rpm-ostree": version})
        host.ok(f"rpm-ostree rebase --lock-finalization {image(host, 'v2')}")
        staged = deployments(host)[0]
        assert ("requested-modules" in staged, "finalization-locked" in staged) == (has_modules, shows_lock), version
        host.reboot()
        assert deployments(host)[0]["container-image-reference"] == image(host, "v1"), version
