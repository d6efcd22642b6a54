# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages, extensions, kernels and components, installed by a real dnf and rpm into a real base."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.repositories import Repositories
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_steps import (
    fips_step,
    package_steps,
    preset_step,
    rpm_component_step,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_script import script_failure
from lab.rpm_catalogue import KERNEL, KERNEL_RELEASE
from step_build import BUILDAH, SKOPEO, Built, build

PLATFORM = "linux/amd64"
DATABASE = [
    "/usr/lib/sysimage/rpm/.rpm.lock",
    *(f"/usr/lib/sysimage/rpm/rpmdb.sqlite{end}" for end in ("", "-shm", "-wal")),
]
MODULES = f"/usr/lib/modules/{KERNEL}-{KERNEL_RELEASE}.noarch"


@dataclasses.dataclass
class Bench:
    """Builds on the base with dnf, and counts them."""

    repositories: Path
    directory: Path
    count: int = 0

    def volumes(self, options: Sequence[Mapping[str, object]] | None = None) -> list[tuple[str, str]]:
        entries = options or [{"name": "lab", "baseurl": str(self.repositories / "main"), "gpgcheck": False}]
        found = Repositories.of(entries, None).volumes(self.directory / f"private-{self.count}")
        return [(str(source), f"{target}:ro,Z") for source, target in found]

    def build(
        self,
        *steps: BuildStep,
        base: str = "localhost/base:1",
        volumes: list[tuple[str, str]] | None = None,
        options: Sequence[str] = (),
        engine: str = BUILDAH,
    ) -> Built:
        self.count += 1
        work = self.directory / str(self.count)
        return build(
            base, steps, work, f"b{self.count}", self.volumes() if volumes is None else volumes, options, engine
        )

    def built(
        self,
        *steps: BuildStep,
        base: str = "localhost/base:1",
        volumes: list[tuple[str, str]] | None = None,
    ) -> Built:
        done = self.build(*steps, base=base, volumes=volumes)
        assert done.exit_code == 0, done.output
        return done

    def paths(self, built: Built, layer: int = -1) -> list[str]:
        return sorted(built.layers(self.directory / "graph")[layer])


@pytest.fixture(scope="module")
def bench(dnf_base_layout: Path, rpm_repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A container storage of its own with the base in it."""
    directory = tmp_path_factory.mktemp("packages")
    configuration = directory / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))
        copy = [SKOPEO, "copy", "--quiet", f"oci:{dnf_base_layout}:base", "containers-storage:localhost/base:1"]
        subprocess.run(copy, check=True, capture_output=True)
        yield Bench(rpm_repositories, directory)
        subprocess.run([BUILDAH, "rm", "--all"], capture_output=True, check=False)
        subprocess.run([BUILDAH, "rmi", "--all", "--force"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def component(bench: Bench) -> dict[str, str]:
    """Images of the component kubelet by version: nothing but RPMs in ``/rpms``."""
    images = {}
    for version in ("1.33", "1.34"):
        context = bench.repositories / f"kubelet-{version}"
        containerfile = bench.directory / "component"
        containerfile.write_text("FROM scratch\nCOPY . /rpms/\n")
        images[version] = f"localhost/kubelet:{version}"
        argv = [BUILDAH, "build", "--quiet", f"--tag={images[version]}", f"--file={containerfile}", str(context)]
        subprocess.run(argv, check=True, capture_output=True)
    return images


def packages(*names: str, extensions: Sequence[str] = (), kernel: str | None = None) -> tuple[BuildStep, ...]:
    return package_steps(names, extensions, {}, kernel, PLATFORM)


class TestPackages:
    def test_only_what_was_asked_for_is_in_the_layer(self, bench: Bench) -> None:
        built = bench.built(*packages("jq"))
        files = [path for path in bench.paths(built) if path not in ("/run", "/tmp", "/usr", "/var", "/var/cache")]
        directories = ["/usr/bin", "/usr/lib", "/usr/lib/sysimage", "/usr/lib/sysimage/rpm", "/usr/lib64"]
        assert files == sorted([*directories, *DATABASE, "/usr/bin/jq", "/usr/lib64/libonig.so.5"])
        assert "jq-1.6-17.el9.noarch" in built.run("rpm", "-qa")
        assert built.run("ls", "-A", "/run", "/tmp", "/var/log", "/var/cache", "/boot", "/etc/yum.repos.d").split() == [
            f"{name}:" for name in sorted(["/boot", "/etc/yum.repos.d", "/run", "/tmp", "/var/cache", "/var/log"])
        ]

    def test_the_packages_of_an_extension_come_without_weak_dependencies(self, bench: Bench) -> None:
        installed = bench.built(*packages(extensions=["usbguard", "kerberos"])).run("rpm", "-qa").split()
        assert {"usbguard-1.0-1.noarch", "krb5-workstation-1.0-1.noarch", "libkadm5-1.0-1.noarch"} <= set(installed)
        assert "usbguard-notifier-1.0-1.noarch" not in installed

    def test_directories_below_var_reach_hosts_that_are_updated(self, bench: Bench) -> None:
        built = bench.built(*packages(extensions=["usbguard"]))
        assert built.run("cat", "/usr/lib/tmpfiles.d/imagemode-packages.conf").splitlines() == [
            "d /var/cache/usbguard 0755 root root -",
            "d /var/lib/usbguard 0750 root root -",
            "d /var/log/usbguard 0700 root root -",
        ]

    @pytest.mark.parametrize("other", ["buildah", "podman"])
    def test_the_same_inputs_give_the_same_layers_to_the_bit(self, bench: Bench, other: str) -> None:
        engine = shutil.which(other) or pytest.skip(f"{other} is not installed")

        def digests(engine: str) -> list[str]:
            steps = packages("jq", extensions=["usbguard"], kernel="realtime")
            done = bench.build(*steps, options=["--no-cache"], engine=engine)
            assert done.exit_code == 0, done.output
            argv = [SKOPEO, "inspect", f"containers-storage:{done.image}"]
            return list(json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["Layers"])

        assert digests(BUILDAH) == digests(str(engine))

    def test_a_second_build_runs_nothing_and_new_packages_are_seen(self, bench: Bench) -> None:
        def steps(state: str) -> tuple[BuildStep, ...]:
            return package_steps(["tcpdump"], [], {}, None, PLATFORM, state)

        assert "Running transaction" in bench.built(*steps("monday")).output
        assert "Running transaction" not in bench.built(*steps("monday")).output
        assert "Running transaction" in bench.built(*steps("tuesday")).output


FAILURES = {
    "missing": (["jq", "nosuch"], "Could not install jq nosuch: No match for argument: nosuch"),
    "dependency": (["needs-missing"], "nothing provides libnowhere.so.7()(64bit) needed by needs-missing-1.0-1.noarch"),
    "script": (["bad-script"], "%post of bad-script-1.0-1.noarch"),
}


class TestFailures:
    @pytest.mark.parametrize("case", FAILURES)
    def test_the_message_names_the_package_and_the_reason(self, bench: Bench, case: str) -> None:
        names, wanted = FAILURES[case]
        done = bench.build(*packages(*names))
        assert done.exit_code != 0
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.DEPENDENCY
        assert wanted in message

    def test_success_without_the_package_is_no_success(self, bench: Bench) -> None:
        """dnf with `strict=0` leaves out what it cannot find, and is content."""
        lenient = BuildStep("", "RUN echo strict=0 >> /etc/dnf/dnf.conf")
        done = bench.build(lenient, *packages("jq", "nosuch"))
        assert "Complete!" in done.output
        assert script_failure(done.output) == (
            FailureCategory.DEPENDENCY,
            "The package manager reported success, but these packages are not installed: nosuch",
        )

    def test_a_base_without_dnf_is_told_apart(self, bench: Bench) -> None:
        done = bench.build(BuildStep("", "RUN rm /usr/bin/dnf*"), *packages("jq"))
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.INPUT
        assert "neither dnf" in message

    def test_without_a_repository_the_message_says_so(self, bench: Bench) -> None:
        done = bench.build(*packages("jq"), volumes=[], options=["--no-cache"])
        assert "no enabled repositories" in str(script_failure(done.output))

    def test_a_package_without_a_signature_is_refused(self, bench: Bench) -> None:
        key = bench.repositories / "key" / "RPM-GPG-KEY-lab"
        signed = [{"name": "signed", "baseurl": str(bench.repositories / "signed"), "gpgkey": str(key)}]
        bench.built(*packages("vouched-for"), volumes=bench.volumes(signed))
        done = bench.build(*packages("unsigned"), volumes=bench.volumes(signed))
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.DEPENDENCY
        assert "unsigned-1.0-1.noarch.rpm is not signed" in message


class TestKernel:
    def test_realtime_and_back(self, bench: Bench) -> None:
        realtime = bench.built(*packages(kernel="realtime"))
        assert _kernels(realtime) == ["kernel-rt-core", "kernel-rt-kvm", "kernel-rt-modules", "kernel-rt-modules-core"]
        assert realtime.run("ls", "/usr/lib/modules").split() == [f"{KERNEL}-{KERNEL_RELEASE}.noarch+rt"]
        initramfs = realtime.run("cat", f"{MODULES}+rt/initramfs.img")
        assert "--no-hostonly" in initramfs
        assert "--add ostree" in initramfs
        assert realtime.run("ls", "-A", "/boot") == ""

        back = bench.built(*packages(kernel="default"), base=realtime.image)
        assert _kernels(back) == ["kernel-core", "kernel-modules", "kernel-modules-core"]
        assert back.run("ls", "/usr/lib/modules").split() == [f"{KERNEL}-{KERNEL_RELEASE}.noarch"]
        assert "initramfs" in back.run("cat", f"{MODULES}/initramfs.img")

    @pytest.mark.parametrize("kernel", [None, "default"])
    def test_the_kernel_that_is_there_stays(self, bench: Bench, kernel: str | None) -> None:
        built = bench.built(*packages(kernel=kernel))
        assert built.run("cat", f"{MODULES}/initramfs.img") == "initramfs of the base\n"
        if kernel:
            changed = [path for path in bench.paths(built) if path not in DATABASE]
            assert changed == ["/run", "/usr", "/usr/lib", "/usr/lib/sysimage", "/usr/lib/sysimage/rpm"]

    def test_large_pages(self, bench: Bench) -> None:
        """The packages of the lab have no architecture, so that the steps for arm64 work anywhere."""
        built = bench.built(*package_steps([], [], {}, "64k-pages", "linux/arm64"))
        assert _kernels(built) == [
            "kernel-64k",
            *(f"kernel-64k-{part}" for part in ("core", "modules", "modules-core", "modules-extra")),
        ]
        assert built.run("ls", "/usr/lib/modules").split() == [f"{KERNEL}-{KERNEL_RELEASE}.noarch+64k"]

    def test_a_kernel_that_no_repository_has(self, bench: Bench) -> None:
        signed = [{"name": "signed", "baseurl": str(bench.repositories / "signed"), "gpgcheck": False}]
        done = bench.build(*packages(kernel="realtime"), volumes=bench.volumes(signed), options=["--no-cache"])
        assert done.exit_code != 0
        assert "change the kernel to realtime" in str(script_failure(done.output))
        assert "kernel-rt-core" in str(script_failure(done.output))


class TestComponent:
    def test_its_rpms_and_what_they_need_are_one_layer(self, bench: Bench, component: dict[str, str]) -> None:
        built = bench.built(rpm_component_step("kubelet", component["1.33"], "/rpms"), preset_step(["kubelet.service"]))
        assert "v1.33" in built.run("kubelet")
        assert "conntrack-tools-1.0-1.noarch" in built.run("rpm", "-qa")
        assert "/run/imagemode" not in bench.paths(built, 0)
        assert built.run("readlink", "/etc/systemd/system/multi-user.target.wants/kubelet.service").strip() == (
            "/lib/systemd/system/kubelet.service"
        )

    @pytest.mark.parametrize(("there", "wanted"), [("1.33", "1.34"), ("1.34", "1.33")])
    def test_its_version_replaces_the_one_of_the_base(
        self, bench: Bench, component: dict[str, str], there: str, wanted: str
    ) -> None:
        base = bench.built(rpm_component_step("kubelet", component[there], "/rpms"))
        built = bench.built(rpm_component_step("kubelet", component[wanted], "/rpms"), base=base.image)
        assert built.run("rpm", "-q", "kubelet").split() == [f"kubelet-{wanted}-1.noarch"]

    def test_a_directory_without_rpms(self, bench: Bench, component: dict[str, str]) -> None:
        done = bench.build(rpm_component_step("kubelet", component["1.33"], "/"))
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.INPUT
        assert "no RPMs" in message

    def test_a_unit_that_is_not_there(self, bench: Bench) -> None:
        done = bench.build(preset_step(["systemd-journald.service", "kubelt.service", "nosuch@1.service"]))
        category, message = script_failure(done.output) or pytest.fail(done.output)
        assert category is FailureCategory.VERIFY
        assert "kubelt.service nosuch@1.service" in message
        assert "journald" not in message


class TestFips:
    def test_the_policy_is_set_where_there_is_one(self, bench: Bench) -> None:
        built = bench.built(*packages("crypto-policies-scripts"), fips_step())
        assert built.run("cat", "/etc/crypto-policies/config") == "FIPS\n"

    def test_an_image_without_policies_is_named(self, bench: Bench) -> None:
        assert "no update-crypto-policies" in bench.built(fips_step()).output


def _kernels(built: Built) -> list[str]:
    names = built.run("rpm", "-qa", "--qf", "%{NAME}\\n").split()
    return sorted(name for name in names if name.startswith("kernel"))
