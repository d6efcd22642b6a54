# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel of an image: the distribution's default, the realtime one, or the one with pages of 64 KiB."""

from __future__ import annotations

from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_manager import PACKAGE_FUNCTIONS
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_script import script_step


class KernelType(str, Enum):
    """The types in the words of a MachineConfig's `kernelType`."""

    DEFAULT = "default"
    REALTIME = "realtime"
    PAGES_64K = "64k-pages"

    @property
    def prefix(self) -> str:
        """What the names of its packages begin with, as in `kernel-rt-core`."""
        return {KernelType.DEFAULT: "kernel", KernelType.REALTIME: "kernel-rt", KernelType.PAGES_64K: "kernel-64k"}[
            self
        ]


def check_kernel_type(kernel_type: KernelType, platform: str) -> None:
    """Raise BuildError of category input where no image of this platform, `linux/arm64`, can have this kernel."""
    architecture = platform.split("/")[1]
    if kernel_type is KernelType.PAGES_64K and architecture != "arm64":
        raise BuildError(
            BuildFailure(
                FailureCategory.INPUT,
                f"The kernel type 64k-pages exists for the architecture arm64 only, and this image is for {platform}. "
                "Build it for linux/arm64, or choose the kernel type default or realtime.",
            )
        )


def kernel_step(kernel_type: KernelType, repositories: str = "") -> BuildStep:
    """A step that gives the image this kernel and no other; nothing changes where it has it already."""
    others = [other.prefix for other in KernelType if other is not kernel_type]
    return script_step(
        f"give the image the kernel of type {kernel_type.value}",
        "set-kernel.sh",
        PACKAGE_FUNCTIONS + _SCRIPT,
        [kernel_type.value, kernel_type.prefix, *others],
        depends_on=repositories,
    )


# The packages of a kernel are its prefix and one of these endings; kernel-devel and kernel-tools are of every type.
# What the base has of the old kernel is asked for of the new one too, except where it exists for one of them only.
_SCRIPT = r"""
wanted_type=$1
wanted=$2
shift 2
parts='core modules modules-core modules-extra modules-internal modules-partner kvm'
packages_of() { # prefix: which of its packages are installed
  for name in "$1" $(for part in $parts; do echo "$1-$part"; done); do
    rpm -q "$name" >/dev/null 2>&1 && echo "$name"
  done
  return 0
}
exists() { call -q repoquery --qf '%{name}\n' "$1" | grep -q "^$1\$"; }

begin
remove=
for other in "$@"; do
  remove="$remove $(packages_of "$other" | tr '\n' ' ')"
done
remove=$(echo $remove)
if [ -z "$remove" ] && rpm -q "$wanted-core" >/dev/null 2>&1; then
  echo "The kernel is of type $wanted_type already."
  exit 0
fi
[ "$manager" != microdnf ] || fail input "The base image has microdnf only, which cannot replace a kernel in one transaction. \
Choose a base with dnf."

install="$wanted-core $wanted-modules"
for name in $remove; do
  part=${name##*-}
  case $name in
    *-modules-*) part=modules-$part ;;
  esac
  case $part in
    core|modules) continue ;;
    kernel|rt|64k) match=$wanted ;;
    *) match=$wanted-$part ;;
  esac
  if [ "$manager" = rpm-ostree ] || exists "$match"; then
    install="$install $match"
  else
    echo "No repository has $match, which takes the place of $name; left out."
  fi
done
if [ "$wanted" = kernel-rt ] && [ "$manager" != rpm-ostree ] && exists kernel-rt-kvm; then # part of modules-core elsewhere
  install="$install kernel-rt-kvm"
fi

echo "Replacing $remove by $install"
case $manager in
  dnf)
    { [ -z "$remove" ] || echo "remove $remove"; echo "install $install"; echo run; } >"$state/transaction"
    call --allowerasing shell "$state/transaction" || explain "change the kernel to $wanted_type"
    is_installed "$wanted-core" || explain "change the kernel to $wanted_type" # the shell of dnf 4 ends with 0 all the same
    ;;
  dnf5)
    # shellcheck disable=SC2086 # lists of names
    call do --allowerasing ${remove:+--action=remove $remove} --action=install $install ||
      explain "change the kernel to $wanted_type"
    ;;
  rpm-ostree)
    options=
    for name in $install; do
      options="$options --install $name"
    done
    # shellcheck disable=SC2086
    call override remove $remove $options || explain "change the kernel to $wanted_type"
    ;;
esac
verify $install
for name in $remove; do
  rpm -q "$name" >/dev/null 2>&1 &&
    fail dependency "The package manager reported success, but $name of the old kernel is still installed"
done

# Exactly one kernel, complete, is what a host can boot from.
for directory in /usr/lib/modules/*/; do
  version=${directory%/}
  version=${version##*/}
  if [ ! -e "$directory/vmlinuz" ]; then
    rpm -qf "$directory" >/dev/null 2>&1 || rm -rf "$directory"
  fi
done
set -- /usr/lib/modules/*/vmlinuz
[ -e "$1" ] || fail step "After the change of the kernel no /usr/lib/modules/*/vmlinuz is there: \
the package $wanted-core has no kernel where bootc and ostree look for it"
[ $# = 1 ] || fail step "After the change of the kernel there is more than one: $*. A host could boot the wrong one"
directory=${1%/vmlinuz}
version=${directory##*/}
if have depmod; then
  depmod "$version"
fi
if have dracut; then
  module=
  for found in /usr/lib/dracut/modules.d/*ostree; do
    [ -d "$found" ] && module='--add ostree'
  done
  # shellcheck disable=SC2086
  DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible $module --kver "$version" "$directory/initramfs.img" ||
    fail step "dracut could not make the initramfs of the kernel $version; its lines above say why"
  chmod 600 "$directory/initramfs.img"
elif [ ! -e "$directory/initramfs.img" ]; then
  echo "There is no dracut in the image, and the kernel $version has no initramfs.img: the host will need none, or not boot." >&2
fi
finish
"""
