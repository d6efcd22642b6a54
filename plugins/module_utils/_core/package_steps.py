# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that install packages: from repositories, by extension name, from a component's RPMs; and what goes with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_type import (
    KernelType,
    check_kernel_type,
    kernel_step,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_manager import PACKAGE_FUNCTIONS
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_script import MOUNT_POINT, script_step

# The extensions of OpenShift's machine-config-operator (SupportedExtensions in pkg/controller/common/helpers.go).
EXTENSION_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "ipsec": ("NetworkManager-libreswan", "libreswan"),
    "kerberos": ("krb5-workstation", "libkadm5"),
    "kernel-devel": ("kernel-devel", "kernel-headers"),
    "sandboxed-containers": ("kata-containers",),
    "sysstat": ("sysstat",),
    "usbguard": ("usbguard",),
    "wasm": ("crun-wasm",),
}

# A name, name.arch, name-version-release, a capability such as perl(JSON), or a path: what `rpm -q` can confirm afterwards.
_SPEC = re.compile(r"(?:/[\w./+-]+|[A-Za-z0-9_][\w.+~^:()-]*)\Z", re.ASCII)
_UNIT = re.compile(
    r"[\w:.\\@-]+\.(?:service|socket|target|timer|path|mount|automount|swap|slice|device|scope)\Z", re.ASCII
)
_DIRECTORY = re.compile(r"/[\w./+-]*\Z", re.ASCII)
_IMAGE = re.compile(r"[\w.:/@-]+\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*\Z", re.ASCII)


def package_steps(
    packages: Sequence[str],
    extensions: Sequence[str],
    extension_packages: Mapping[str, Sequence[str]],
    kernel_type: str | None,
    platform: str,
    repositories: str = "",
) -> tuple[BuildStep, ...]:
    """The steps in the order in which they have to run: kernel, extensions, packages.

    `extension_packages` adds to EXTENSION_PACKAGES or replaces entries of it. With `kernel_type` None the kernel of the
    base stays. `platform` is that of the image, `linux/amd64`. `repositories` is a text that changes when their content
    does, so that the engine's layer cache does not keep older packages. Raises BuildError of category input.
    """
    steps = []
    if kernel_type is not None:
        steps.append(kernel_step(_kernel_type(kernel_type, platform), repositories))
    wanted = _extension_packages(extensions, extension_packages)
    if wanted:
        title = f"install the packages of the extensions {', '.join(sorted(set(extensions)))}"
        steps.append(_install_step(title, wanted, repositories))
    if packages:
        names = sorted({_checked_spec(name, "packages") for name in packages})
        steps.append(_install_step(f"install the packages {', '.join(names)}", names, repositories))
    return tuple(steps)


def rpm_component_step(name: str, image: str, directory: str, repositories: str = "") -> BuildStep:
    """A step that installs every RPM of a directory of a component's image, and what they depend on from repositories.

    `image` is a pinned reference. Signatures of these RPMs are not checked: the digest vouches for them.
    """
    for value, pattern in ((name, _NAME), (image, _IMAGE), (directory, _DIRECTORY)):
        if not pattern.match(value):
            raise _input_error(f"The component {name!r} has {value!r} where a plain name or path is wanted.")
    rpms = f"{MOUNT_POINT}/rpms"
    return script_step(
        f"install the RPMs of the component {name}",
        "install-component.sh",
        PACKAGE_FUNCTIONS + _COMPONENT_SCRIPT,
        [name, rpms],
        mounts=[f"type=bind,from={image},source={directory},target={rpms}"],
        depends_on=repositories,
    )


def preset_step(units: Sequence[str]) -> BuildStep:
    """A step that applies systemd's presets to units of the image, so that they are enabled or disabled as these say."""
    for unit in units:
        if not _UNIT.match(unit):
            raise _input_error(f"{unit!r} is not the name of a systemd unit, such as kubelet.service.")
    return script_step("apply the presets of systemd", "preset-units.sh", _PRESET_SCRIPT, sorted(set(units)))


def fips_step() -> BuildStep:
    """A step that sets the system-wide cryptographic policy FIPS where the image has such policies.

    The kernel argument fips=1 is not its task.
    """
    return script_step("set the cryptographic policy FIPS", "set-fips-policy.sh", _FIPS_SCRIPT)


def _install_step(title: str, names: Sequence[str], repositories: str) -> BuildStep:
    body = PACKAGE_FUNCTIONS + _INSTALL_SCRIPT
    return script_step(title, "install-packages.sh", body, names, depends_on=repositories)


def _kernel_type(text: str, platform: str) -> KernelType:
    known = ", ".join(kind.value for kind in KernelType)
    try:
        kernel_type = KernelType(text)
    except ValueError:
        raise _input_error(f"The kernel type {text!r} is not known; it can be {known}.") from None
    check_kernel_type(kernel_type, platform)
    return kernel_type


def _extension_packages(extensions: Sequence[str], added: Mapping[str, Sequence[str]]) -> list[str]:
    known = {**EXTENSION_PACKAGES, **added}
    unknown = sorted(set(extensions) - set(known))
    if unknown:
        raise _input_error(
            f"The extension {', '.join(unknown)} is not known. Known are {', '.join(sorted(known))}; name the packages of "
            "others in extension_packages."
        )
    return sorted({_checked_spec(name, f"extension {key}") for key in extensions for name in known[key]})


def _checked_spec(spec: str, where: str) -> str:
    if _SPEC.match(spec) and not spec.endswith(".rpm"):
        return spec
    if spec.startswith("@"):
        advice = "a group can come to nothing without an error; list its packages instead"
    elif "://" in spec or spec.endswith(".rpm"):
        advice = "packages come from repositories; an RPM file comes in with a component, or with your Containerfile"
    else:
        advice = "wanted is a name, name-version-release, name.arch, a capability or an absolute path, no pattern"
    raise _input_error(f"{where}: {spec!r} cannot be installed by this option: {advice}.")


def _input_error(message: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.INPUT, message))


_INSTALL_SCRIPT = r"""
begin
call install "$@" || explain "install $*"
check_scriptlets
verify "$@"
finish
"""

_COMPONENT_SCRIPT = r"""
component=$1
directory=$2
begin
set --
for file in "$directory"/*.rpm; do
  case $file in
    *.src.rpm) continue ;;
  esac
  [ -e "$file" ] && set -- "$@" "$file"
done
[ $# -gt 0 ] || fail input "The component $component has no RPMs in the directory of its image that was named: \
$(ls "$directory" | head -n 5 | tr '\n' ' ')"
case $manager in
  dnf|dnf5) call install --allowerasing "$@" || explain "install the component $component" ;;
  *) call install "$@" || explain "install the component $component" ;;
esac
check_scriptlets
absent=
for file in "$@"; do
  package=$(rpm -qp --nosignature --qf '%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}' "$file" 2>/dev/null)
  if ! rpm -q -- "$package" >/dev/null 2>&1; then
    name=$(rpm -qp --nosignature --qf '%{NAME}' "$file" 2>/dev/null)
    absent="$absent $package (there is $(rpm -q -- "$name" 2>&1 | tr '\n' ' '))"
  fi
done
[ -z "$absent" ] || fail dependency "The package manager reported success, but of the component $component these are not installed:$absent"
finish
"""

_PRESET_SCRIPT = r"""
have systemctl || fail input "The image has no systemctl, so presets cannot be applied to $*"
absent=
for unit in "$@"; do
  template=$unit
  case $unit in
    *@*.*) template=${unit%%@*}@.${unit##*.} ;;
  esac
  found=
  for directory in /etc/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system; do
    if [ -e "$directory/$unit" ] || [ -e "$directory/$template" ]; then found=yes; fi
  done
  [ -n "$found" ] || absent="$absent $unit"
done
[ -z "$absent" ] || fail verify "The image has no units named$absent, so they can be neither enabled nor disabled. \
Check the spelling, and that the package or component with them is part of the image"
systemctl --root=/ preset "$@"
"""

_FIPS_SCRIPT = r"""
if have update-crypto-policies; then
  update-crypto-policies --no-reload --set FIPS
else
  echo "imagemode: note: The image has no update-crypto-policies (package crypto-policies-scripts), so its policies stay as they are."
fi
"""
