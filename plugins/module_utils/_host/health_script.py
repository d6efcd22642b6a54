# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of the health gate, as it runs on the node: look at everything side by side, until all is right or time is up.

It reads nothing but its own text, and needs a shell, systemctl and what every such host has beside it; curl or wget for HTTP.
What it prints is for `_core/health_answer.py`: one line for each check, with facts as `name=value` and `say=` last, and the
body of an answer that only the controller can judge.

A body is known by its checksum once the controller has judged it, so the node need not ask again before it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import (
    Check,
    Command,
    FailedUnits,
    Greenboot,
    Http,
    Unit,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import quote

HOPELESS_SECONDS = 10
"""For how long a check must be one that can never be right before that ends the wait: a generator may be at work still."""

LARGEST_BODY = 1048576
"""Bytes of an answer that is looked into."""

# The times here are hundredths of a second since the boot, as /proc/uptime has them: no clock that anybody sets.
_PRELUDE = r"""
LC_ALL=C; export LC_ALL
umask 077
read -r boot </proc/sys/kernel/random/boot_id
if [ -n "$wanted_boot" ] && [ "$boot" != "$wanted_boot" ]; then echo "boot $boot"; echo "why boot"; exit 0; fi
dir=$(mktemp -d /run/imagemode-health.XXXXXX 2>/dev/null || mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
clock() { read -r now rest </proc/uptime; now=${now%.*}${now#*.}; }
limit() {
  clock
  seconds=$(((over - now) / 100))
  [ "$seconds" -le "$1" ] || seconds=$1
  [ "$seconds" -ge 1 ] || seconds=1
}
tell() { printf '%s %s %s\n' "$1" "${2:--}" "$3" >"$dir/$n"; }
one_line() { tr '\000-\011\013-\037\177' ' ' | cut -c 1-300; }
last_words() { grep -v -e '^[[:space:]]*$' -e '^Terminated$' "$dir/$n.err" 2>/dev/null | tail -n 1 | one_line; }
# Below its own line curl may have advice, of several lines, on certificates.
why_no_answer() { if grep -q '^curl: ' "$dir/$n.err"; then grep '^curl: ' "$dir/$n.err" | head -n 1 | one_line; else last_words; fi; }
ask_systemd() { timeout -k 5 "$seconds" systemctl "$@" 2>"$dir/$n.err" </dev/null; }

properties() {
  load= active= sub= result= invocation= file= condition= state= failed= jobs=
  while IFS='=' read -r key value; do
    case $key in
      LoadState) load=$value ;;
      ActiveState) active=$value ;;
      SubState) sub=$value ;;
      Result) result=$value ;;
      InvocationID) invocation=$value ;;
      UnitFileState) file=$value ;;
      ConditionResult) condition=$value ;;
      SystemState) state=$value ;;
      NFailedUnits) failed=$value ;;
      NJobs) jobs=$value ;;
    esac
  done <<EOF
$answer
EOF
}
# The names that begin the lines of a list; a dot of its own stands before those that failed in old versions.
names() { sed 's/^[^[:alnum:]_-]* *//; s/ .*//'; }

# Arguments: PATTERN…
look_failed_units() {
  limit 10
  if ! answer=$(ask_systemd show -p SystemState -p NFailedUnits -p NJobs); then
    tell no - "say=$(last_words)"
    return
  fi
  properties
  case $state in
    running|degraded) ;;
    *)
      first=$(ask_systemd list-jobs --plain --no-legend | head -n 1 | sed 's/^ *[0-9]* *//; s/ .*//')
      tell no - "state=$state jobs=$jobs first=$first"
      return ;;
  esac
  [ "$failed" != 0 ] || { tell ok - "state=$state"; return; }
  set -f
  bad= ignored=
  for unit in $(ask_systemd list-units --state=failed --plain --no-legend --no-pager --full | names); do
    matched=
    for pattern; do
      case $unit in $pattern) matched=yes ;; esac
    done
    if [ -n "$matched" ]; then ignored=$ignored,$unit; else bad=$bad,$unit; fi
  done
  verdict=ok; [ -z "$bad" ] || verdict=no
  tell "$verdict" - "state=$state failed=$bad ignored=$ignored"
}

# Arguments: UNIT active|inactive
look_unit() {
  limit 10
  if ! answer=$(ask_systemd show "$1" -p LoadState -p ActiveState -p SubState -p Result -p InvocationID -p ConditionResult); then
    tell no - "say=$(last_words)"
    return
  fi
  properties
  verdict=no
  case $2/$load/$active in
    */not-found/*|active/masked/*) verdict=never ;;
    active/*/active|active/*/reloading|inactive/*/inactive) verdict=ok ;;
  esac
  tell "$verdict" "$invocation" "load=$load active=$active sub=$sub result=$result condition=$condition"
}

# Arguments: URL STATUS,… BODY:0|1 CA_FILE VERIFY:0|1 LOOPBACK:0|1 SECONDS GOOD,… BAD,…
look_http() {
  limit "$7"
  [ "$6" = 0 ] || unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
  url=$1 statuses=$2 wants_body=$3 ca_file=$4 verify=$5 good=$8 bad=$9
  body=/dev/null; [ "$wants_body" = 0 ] || body=$dir/$n.body
  rm -f "$dir/$n.body"
  : >"$dir/$n.err"
  if [ -n "$ca_file" ] && [ ! -r "$ca_file" ]; then tell never - "tool=$fetcher missing=ca_file"; return; fi
  case $fetcher in
    curl)
      set -- -q --silent --show-error --globoff --max-time "$seconds" --output "$body" --write-out '%{http_code}'
      [ "$wants_body" = 0 ] || set -- "$@" --max-filesize @LARGEST@
      [ -z "$ca_file" ] || set -- "$@" --cacert "$ca_file"
      [ "$verify" = 1 ] || set -- "$@" --insecure
      code=$(timeout -k 5 "$((seconds + 2))" curl "$@" "$url" 2>"$dir/$n.err" </dev/null) ;;
    wget)
      set -- --no-config --no-verbose --server-response --tries=1 --timeout="$seconds" --max-redirect=0 --content-on-error \
        --output-document="$body"
      [ -z "$ca_file" ] || set -- "$@" --ca-certificate="$ca_file"
      [ "$verify" = 1 ] || set -- "$@" --no-check-certificate
      timeout -k 5 "$((seconds + 2))" wget "$@" "$url" 2>"$dir/$n.err" </dev/null
      code=$(status_line) ;;
    busybox)
      case $url in https:*) [ "$verify" = 0 ] || { tell never - "tool=busybox missing=tls"; return; } ;; esac
      # Without -T, which it dies of (a segmentation fault, observed with the static busybox 1.35 of Debian 12).
      timeout -k 5 "$seconds" wget -q -S -O "$body" "$url" 2>"$dir/$n.err" </dev/null
      code=$(status_line) ;;
    *) tell never - "tool=none"; return ;;
  esac
  case ,$statuses, in
    *",${code:-000},"*) ;;
    *) tell no - "code=${code:-000} say=$(why_no_answer)"; return ;;
  esac
  [ "$wants_body" = 1 ] || { tell ok - "code=$code"; return; }
  size=$(wc -c 2>/dev/null <"$body") || size=0
  if [ "$size" -gt @LARGEST@ ] || grep -q -i 'maximum file size' "$dir/$n.err"; then
    tell no - "code=$code size=large"
    return
  fi
  sum=$(sha256sum <"$body")
  sum=${sum%% *}
  [ -n "$sum" ] || { tell no - "code=$code say=no sha256sum"; return; }
  verdict=ask
  case ,$good, in *",$sum,"*) verdict=ok ;; esac
  case ,$bad, in *",$sum,"*) verdict=no ;; esac
  tell "$verdict" - "code=$code sum=$sum"
}
status_line() { sed -n 's,^.*HTTP/[0-9.]* \([0-9][0-9][0-9]\).*$,\1,p' "$dir/$n.err" | head -n 1; }

# Arguments: SECONDS RC,… COMMAND ARGUMENT…
look_command() {
  limit "$1"
  codes=$2
  shift 2
  command -v "$1" >/dev/null 2>&1 || { tell never - "missing=program"; return; }
  clock
  began=$now
  timeout -k 5 "$seconds" "$@" </dev/null >/dev/null 2>"$dir/$n.err"
  code=$?
  clock
  late=0 verdict=no said=
  case $code in 124|137|143) [ $((now - began)) -lt $((seconds * 100)) ] || late=1 ;; esac
  case $late/,$codes, in 0/*",$code,"*) verdict=ok ;; 0/*) said=$(last_words) ;; esac
  tell "$verdict" - "code=$code late=$late seconds=$seconds say=$said"
}

# greenboot looks once in a boot, and nobody can start its checks again (RefuseManualStart=yes). Both generations say in grub's
# environment how it went (fedora-iot/greenboot 0.15 and fedora-iot/greenboot-rs 0.16, their units and src/lib/grub.rs).
look_greenboot() {
  limit 10
  if ! answer=$(ask_systemd show greenboot-healthcheck.service -p LoadState -p ActiveState -p SubState -p Result -p InvocationID \
    -p UnitFileState -p ConditionResult); then
    tell no - "say=$(last_words)"
    return
  fi
  properties
  success=$(sed -n 's/^boot_success=//p' /boot/grub2/grubenv 2>/dev/null)
  counter=$(sed -n 's/^boot_counter=//p' /boot/grub2/grubenv 2>/dev/null)
  fell_back=0
  if cat /run/motd.d/*boot-status* /etc/motd.d/*boot-status* 2>/dev/null | grep -q 'FALLBACK BOOT'; then fell_back=1; fi
  verdict=no
  case $load/$active/$success/$file in
    not-found/*|masked/*|*/failed/*|*/inactive/*/disabled) verdict=never ;;
    */active/0/*) ;;
    */active/*) verdict=ok ;;
  esac
  tell "$verdict" "$invocation" "load=$load active=$active file=$file success=$success counter=$counter fell_back=$fell_back"
}

if command -v curl >/dev/null; then fetcher=curl
elif ! command -v wget >/dev/null; then fetcher=none
elif wget --version 2>/dev/null | grep -q GNU; then fetcher=wget
else fetcher=busybox
fi
""".replace("@LARGEST@", str(LARGEST_BODY))

_LOOP = r"""
judge() {
  all=yes asks= hopeless=
  for n in $numbers; do
    verdict=no id=-
    [ ! -e "$dir/$n" ] || read -r verdict id facts <"$dir/$n"
    eval "since=\$since_$n before=\$id_$n"
    case $verdict in
      ok|ask)
        # What was started anew since the last look has not been right without a break.
        if [ -n "$before" ] && [ "$before" != "$id" ]; then since= well=; fi
        eval "since_$n=\${since:-$now} id_$n=\$id"
        [ "$verdict" = ok ] || asks=yes ;;
      never) all=no hopeless=yes; eval "since_$n= id_$n=" ;;
      *) all=no; eval "since_$n= id_$n=" ;;
    esac
  done
}
[ "$nap" = 0 ] || sleep "$nap"
clock
until=$((now + slice * 100)) over=$((now + horizon * 100)) first=${first:-$now} round=0
while :; do
  looks
  clock
  judge
  if [ "$all" = yes ]; then
    well=${well:-$now} lost=
    [ -z "$asks" ] || { why=ask; break; }
    [ $((now - well)) -lt $((stable * 100)) ] || { why=well; break; }
  else
    well=
    if [ -z "$hopeless" ]; then
      lost=
    else
      lost=${lost:-$now}
      [ $((now - lost)) -lt $((hopeless_after * 100)) ] || { why=never; break; }
    fi
  fi
  [ "$now" -lt "$until" ] || { why=time; break; }
  round=$((round + 1)) pause=1
  [ "$round" -lt 5 ] || pause=2
  [ "$round" -lt 15 ] || pause=5
  left=$(((until - now + 99) / 100))
  [ "$pause" -le "$left" ] || pause=$left
  if [ -n "$well" ]; then
    left=$(((stable * 100 - now + well + 99) / 100))
    [ "$pause" -le "$left" ] || pause=$left
  fi
  sleep "$pause"
done
printf 'boot %s\nwhy %s\nfirst %s\nnow %s\nwell %s\nlost %s\n' "$boot" "$why" "$first" "$now" "${well:--}" "${lost:--}"
for n in $numbers; do
  verdict=no id=- facts=
  [ ! -e "$dir/$n" ] || read -r verdict id facts <"$dir/$n"
  eval "since=\$since_$n"
  printf 'check %s %s %s %s %s\n' "$n" "$verdict" "$id" "${since:--}" "$facts"
  [ "$verdict" != ask ] || printf 'body %s %s\n' "$n" "$(base64 <"$dir/$n.body" | tr -d '\n')"
done
echo end
"""


@dataclass(frozen=True)
class Memory:
    """What the controller tells the node of earlier trips, so that a change of trips is no break.

    Times are the node's own. `since` and `identity` by the number of the check; `good` and `bad` are checksums of judged bodies.
    """

    first: int | None = None
    well: int | None = None
    lost: int | None = None
    since: Mapping[int, int] = field(default_factory=dict)
    identity: Mapping[int, str] = field(default_factory=dict)
    good: Mapping[int, Sequence[str]] = field(default_factory=dict)
    bad: Mapping[int, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trip:
    """One trip, in seconds: how long it may look (with 0 once), when a look has to be done at the latest, how long all has to
    stay right, and a nap before.
    """

    seconds: int
    horizon: int
    stable_for: int = 0
    nap: int = 0


def health_script(checks: Sequence[Check], memory: Memory, trip: Trip, boot_id: str | None) -> str:
    """The script for one trip. In another boot than `boot_id` it looks at nothing."""
    numbers = [number for number, check in enumerate(checks) if check.on_node]
    settings = {
        "wanted_boot": boot_id or "",
        "stable": str(trip.stable_for),
        "slice": str(trip.seconds),
        "horizon": str(trip.horizon),
        "nap": str(trip.nap),
        "hopeless_after": str(min(HOPELESS_SECONDS, trip.seconds)),
        "first": _text(memory.first),
        "well": _text(memory.well),
        "lost": _text(memory.lost),
        "numbers": " ".join(map(str, numbers)),
        **{f"since_{number}": _text(memory.since.get(number)) for number in numbers},
        **{f"id_{number}": memory.identity.get(number, "") for number in numbers},
    }
    lines = [f"{name}={quote([value])}" for name, value in settings.items()]
    looks = [f"( n={number}; {quote(_look(checks[number], number, memory))} ) &" for number in numbers]
    return "\n".join([*lines, _PRELUDE, "looks() {", *looks, "wait", "}", _LOOP])


def _look(check: Check, number: int, memory: Memory) -> list[str]:
    """The shell function that looks, and its arguments."""
    if isinstance(check, FailedUnits):
        return ["look_failed_units", *check.ignore]
    if isinstance(check, Unit):
        return ["look_unit", check.unit, check.state.value]
    if isinstance(check, Http):
        return [
            "look_http",
            check.url,
            ",".join(map(str, check.status)),
            "1" if check.value else "0",
            check.ca_file or "",
            "1" if check.validate_certs else "0",
            "1" if check.loopback else "0",
            str(check.timeout),
            ",".join(memory.good.get(number, ())),
            ",".join(memory.bad.get(number, ())),
        ]
    if isinstance(check, Command):
        return ["look_command", str(check.timeout), ",".join(map(str, check.rc)), *check.argv]
    if isinstance(check, Greenboot):
        return ["look_greenboot"]
    raise TypeError(f"the node cannot be asked for {check.kind.value}")


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
