# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of the lab's repository and of its dnf base: stand-ins with the names and relations of real ones."""

from __future__ import annotations

from lab.rpm_repository import Package

KERNEL = "5.14.0"
KERNEL_RELEASE = "9.lab"

_DRACUT = """#!/bin/sh
# Writes its arguments instead of an initramfs.
for target; do :; done
echo "initramfs: $*" > "$target"
"""
_CRYPTO_POLICIES = """#!/bin/sh
mkdir -p /etc/crypto-policies
for policy; do :; done
echo "$policy" > /etc/crypto-policies/config
"""


def kernel_packages(flavour: str, extra: bool = True) -> list[Package]:
    """The packages of ``kernel``, ``kernel-rt`` or ``kernel-64k``, related to each other as in the distribution."""
    suffix = flavour[len("kernel") :].replace("-", "+")
    modules = f"/usr/lib/modules/{KERNEL}-{KERNEL_RELEASE}.noarch{suffix}"
    version = {"version": KERNEL, "release": KERNEL_RELEASE}
    core = f"{flavour}-core = {KERNEL}"
    packages = [
        Package(
            f"{flavour}-core",
            files={f"{modules}/vmlinuz": f"kernel {flavour}\n", f"{modules}/modules.builtin": ""},
            directories={modules: "0755"},
            provides=[f"kernel-core-uname-r = {KERNEL}-{KERNEL_RELEASE}.noarch{suffix}"],
            requires=[f"{flavour}-modules-core = {KERNEL}", "/bin/sh"],
            after_install=f"echo copy of the kernel > /boot/vmlinuz-{KERNEL}{suffix}",
            **version,  # type: ignore[arg-type]
        ),
    ]
    for part in ("modules-core", "modules", *(["modules-extra"] if extra else [])):
        files = {f"{modules}/kernel/{part}.ko": f"{part} of {flavour}\n"}
        packages.append(Package(f"{flavour}-{part}", files=files, requires=[core], **version))  # type: ignore[arg-type]
    if flavour == "kernel-rt":
        files = {f"{modules}/kernel/kvm.ko": "kvm\n"}
        packages.append(Package("kernel-rt-kvm", files=files, requires=[core], **version))  # type: ignore[arg-type]
    else:
        needed = [core, f"{flavour}-modules = {KERNEL}"]
        packages.append(Package(flavour, requires=needed, **version))  # type: ignore[arg-type]
    return packages


def base_packages() -> list[Package]:
    """What the rpm database of the base knows: the distribution in one package, dracut, and the default kernel."""
    system = Package(
        "lab-release",
        version="9.6",
        files={"/etc/lab-release": "Lab 9.6\n"},
        provides=["/bin/sh", "/usr/bin/sh", "system-release = 9.6", "redhat-release = 9.6"],
    )
    dracut = Package(
        "dracut",
        programs={"/usr/bin/dracut": _DRACUT},
        files={"/usr/lib/dracut/modules.d/98ostree/module-setup.sh": ""},
    )
    return [system, dracut, *kernel_packages("kernel")]


def repository_packages() -> list[Package]:
    """The packages of the repository that do not have two versions."""
    extensions = [
        Package(
            "usbguard",
            programs={"/usr/bin/usbguard": "#!/bin/sh\n"},
            files={"/usr/lib/systemd/system/usbguard.service": unit("usbguard")},
            directories={"/var/log/usbguard": "0700", "/var/lib/usbguard": "0750", "/var/cache/usbguard": "0755"},
            recommends=["usbguard-notifier"],
        ),
        Package("usbguard-notifier", files={"/usr/share/usbguard-notifier": ""}),
        Package("krb5-workstation", programs={"/usr/bin/kinit": "#!/bin/sh\n"}, requires=["libkadm5 = 1.0"]),
        Package("libkadm5", files={"/usr/lib64/libkadm5.so": ""}),
        Package("sysstat", programs={"/usr/bin/sar": "#!/bin/sh\n"}),
    ]
    ordinary = [
        Package("jq", "1.6", "17.el9", programs={"/usr/bin/jq": "#!/bin/sh\n"}, requires=["oniguruma >= 6"]),
        Package("oniguruma", "6.9.6", files={"/usr/lib64/libonig.so.5": ""}),
        Package("tcpdump", "4.99", programs={"/usr/bin/tcpdump": "#!/bin/sh\n"}),
        Package("conntrack-tools", programs={"/usr/bin/conntrack": "#!/bin/sh\n"}),
        Package("needs-missing", requires=["libnowhere.so.7()(64bit)"]),
        Package("bad-script", files={"/usr/share/bad-script": ""}, requires=["/bin/sh"], after_install="exit 7"),
        Package(
            "crypto-policies-scripts",
            programs={"/usr/bin/update-crypto-policies": _CRYPTO_POLICIES},
            files={"/etc/crypto-policies/config": "DEFAULT\n"},
        ),
    ]
    kernels = [
        *kernel_packages("kernel"),
        *kernel_packages("kernel-rt", extra=False),
        *kernel_packages("kernel-64k"),
    ]
    return [*extensions, *ordinary, *kernels]


def kubelet(version: str) -> list[Package]:
    """A component's RPMs: the kubelet of a version, with its unit and its preset."""
    return [
        Package(
            "kubelet",
            version,
            programs={"/usr/bin/kubelet": f"#!/bin/sh\necho Kubernetes v{version}\n"},
            files={"/usr/lib/systemd/system/kubelet.service": unit("kubelet")},
            requires=["conntrack-tools"],
        ),
        Package(
            "kubernetes-node-presets",
            version,
            files={"/usr/lib/systemd/system-preset/50-kubernetes.preset": "enable kubelet.service\n"},
        ),
    ]


def unit(name: str) -> str:
    """A service that systemd can enable."""
    return f"[Unit]\nDescription={name}\n[Service]\nExecStart=/usr/bin/{name}\n[Install]\nWantedBy=multi-user.target\n"
