# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell functions with which steps install packages, whichever package manager the image has."""

from __future__ import annotations

# manager             sets `manager`: dnf5, dnf, microdnf or rpm-ostree
# install ARGS        installs; weak dependencies are left out, so that an image has what was asked for and no more
# begin / finish      around everything: what the tools leave outside /usr and /etc goes, what packages own below /var
#                     becomes tmpfiles.d lines, as an image cannot carry it to a host that is updated
# is_installed SPEC   by name, name.arch, name-version-release, provided capability or path
#
# Install times in the rpm database are that of the newest package of the base, since rpm takes them from SOURCE_DATE_EPOCH.
# With what dnf 4 knows of its own history kept out (persistdir), the same packages give the same layer to the bit (seen
# with dnf 4.14 and rpm 4.18). dnf 5 keeps its history below /usr/lib/sysimage/libdnf5, which has the time of day in it.
PACKAGE_FUNCTIONS = r"""
state=/run/imagemode/state
manager=
find_manager() {
  have rpm || fail input "The base image has no rpm, so packages cannot be installed into it. Choose a base with rpm and dnf."
  for manager in dnf5 dnf microdnf rpm-ostree; do
    have "$manager" && return
  done
  fail input "The base image has neither dnf, dnf5, microdnf nor rpm-ostree. Choose a base that has one of them."
}
newest_install_time() { rpm -qa --qf '%{INSTALLTIME}\n' | sort -n | tail -n 1; }
installed() { rpm -qa --qf '%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n' | LC_ALL=C sort; }
list_left() { # names in the directories that tools use as scratch space; a kernel package puts a copy into /boot
  for scratch in /tmp /var/tmp /var/cache /var/log /run /boot; do
    for found in "$scratch"/* "$scratch"/.[!.]*; do
      [ -e "$found" ] && echo "$found"
    done
  done
  return 0
}
begin() {
  find_manager
  mkdir -p "$state"
  SOURCE_DATE_EPOCH=$(newest_install_time)
  [ -n "$SOURCE_DATE_EPOCH" ] || SOURCE_DATE_EPOCH=0
  export SOURCE_DATE_EPOCH
  installed >"$state/before"
  list_left >"$state/left-before"
}
run_logged() { # keeps what a tool says, to be read again, and shows it
  { "$@" 2>&1 && echo 0 >"$state/status" || echo $? >"$state/status"; } | tee -a "$state/output"
  return "$(cat "$state/status")"
}
dnf4() {
  dnf -y --setopt=install_weak_deps=False --setopt=persistdir="$state/dnf" --setopt=logdir="$state" \
    --setopt=clean_requirements_on_remove=False --setopt=protect_running_kernel=False "$@"
}
call() { # the package manager with the options that every call needs
  case $manager in
    dnf) run_logged dnf4 "$@" ;;
    dnf5) run_logged dnf5 -y --setopt=install_weak_deps=False --setopt=logdir="$state" \
      --setopt=clean_requirements_on_remove=False --setopt=protect_running_kernel=False "$@" ;;
    microdnf) run_logged microdnf -y --setopt=install_weak_deps=0 "$@" ;;
    rpm-ostree) run_logged rpm-ostree "$@" ;;
  esac
}
explain() { # action: ends the step, naming the line of the package manager that says why
  cause=$(grep -E -i -m 1 \
    -e 'no match for argument' -e 'nothing provides' -e 'no package .* available' -e 'packages not found' \
    -e 'conflicts with' -e 'scriptlet failed' -e 'gpg check failed' -e 'not signed' -e 'public key' \
    -e 'failed to download metadata' -e 'cannot download' -e 'curl error' -e 'no space left' \
    "$state/output" || tail -n 1 "$state/output")
  fail dependency "Could not $1: $(echo "$cause" | sed -e 's/^ *-* *//' -e 's/^[Ee]rror: *//')"
}
check_scriptlets() {
  broken=$(sed -n 's/^.*: %\([a-z]*\)(\([^)]*\)) scriptlet failed.*$/%\1 of \2/p' "$state/output" | LC_ALL=C sort -u | tr '\n' ' ')
  [ -z "$broken" ] || fail dependency "A script of a package failed, so the package is installed but not set up: ${broken% }. \
The lines above say why. To accept that, install the package in your own Containerfile instead."
}
is_installed() { rpm -q -- "$1" >/dev/null 2>&1 || rpm -q --whatprovides -- "$1" >/dev/null 2>&1; }
verify() { # package managers have reported success without installing what was asked
  absent=
  for spec in "$@"; do
    is_installed "$spec" || absent="$absent $spec"
  done
  [ -z "$absent" ] || fail dependency "The package manager reported success, but these packages are not installed:$absent"
}
describe_var() { # the paths below /var of what was installed just now, as tmpfiles.d lines
  installed | LC_ALL=C comm -13 "$state/before" - >"$state/new"
  [ -s "$state/new" ] || return 0
  sed 's/-[0-9]*:/-/' "$state/new" >"$state/new-names"
  # shellcheck disable=SC2046 # package names have no spaces
  rpm -q --qf '[%{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]' $(cat "$state/new-names") |
    while read -r mode user group path; do
      case $path in
        /var/*) ;;
        *) continue ;;
      esac
      case $mode in
        04????|4????) printf 'd %s %s %s %s -\n' "$path" "${mode#"${mode%????}"}" "$user" "$group" ;;
      esac
    done | LC_ALL=C sort -u >"$state/var"
  [ -s "$state/var" ] || return 0
  kept=/usr/lib/tmpfiles.d/imagemode-packages.conf
  mkdir -p "${kept%/*}"
  touch "$kept"
  cat "$state/var" >>"$kept"
  LC_ALL=C sort -u -o "$kept" "$kept"
}
finish() {
  describe_var
  list_left >"$state/left-after"
  LC_ALL=C sort "$state/left-before" -o "$state/left-before"
  LC_ALL=C sort "$state/left-after" | LC_ALL=C comm -13 "$state/left-before" - | while read -r found; do
    rm -rf -- "$found"
  done
  rm -rf /var/cache/dnf/* /var/cache/libdnf5/* /var/cache/yum/* /var/lib/dnf/repos /var/cache/ldconfig/*
  if [ "$manager" = rpm-ostree ]; then
    rpm-ostree cleanup -m >/dev/null 2>&1 || true
  fi
}
"""
