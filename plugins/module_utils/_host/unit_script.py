# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixed shell texts around a transient unit: start or adopt it, watch it, stop it. POSIX shell and systemd only.

Every run of a unit has a token. The unit says in its environment whose it is (`IMAGEMODE_WORK=TOKEN:FINGERPRINT:TOOL`), and
`RUNTIME/imagemode/TOKEN/` (0700, gone at reboot) holds what the command prints, its progress, and in the end the file
`result`. So a controller that lost the connection, or a second one, can still read what came of it.

Files of that directory: `job` (what the unit runs), `out`, `err`, `progress` (bootc's last line), `result`, `adopted` (the
token of a run that was adopted in place of a new one), `environment.NAME` (until the job has read it).
"""

from __future__ import annotations

# The exit codes of the texts below, and the first line they print.
STILL_RUNNING, OTHER_WORK, NO_SYSTEMD, NEVER_RAN = 5, 3, 4, 6

CAPTURED = "PATH http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY"
"""What of the calling session's environment the command gets. By file, as a proxy's address may carry a password."""

# Behind `set -- COMMAND ARGUMENT…` and `dir=DIRECTORY tell=0|1`. The command takes the place of the shell, so that signals
# reach it. Its progress passes through a pipe, because bootc accepts nothing else; only the last line is kept.
JOB = (
    r"""
cd /
exec </dev/null >"$dir/out" 2>"$dir/err"
# What node_trust wrote for every pull of this node; what the session says comes later, and so wins.
if [ -r /etc/imagemode/proxy.env ]; then set -a; . /etc/imagemode/proxy.env; set +a; fi
for name in @CAPTURED@; do
  [ -f "$dir/environment.$name" ] || continue
  value=$(cat "$dir/environment.$name"); export "$name=$value"
done
rm -f "$dir"/environment.*
unset name value
LC_ALL=C; export LC_ALL
has_progress() {
  version=$(bootc --version 2>/dev/null) || return 1
  version=${version##* }
  major=${version%%.*}; minor=${version#*.}; patch=${minor#*.}; minor=${minor%%.*}; patch=${patch%%[!0-9]*}
  case "$major$minor${patch:-0}" in *[!0-9]*|'') return 1 ;; esac
  [ $((major * 1000000 + minor * 1000 + ${patch:-0})) -ge 1001004 ]
}
if [ "$tell" = 1 ] && has_progress && mkfifo "$dir/pipe"; then
  while IFS= read -r line; do printf '%s\n' "$line" >"$dir/progress"; done <"$dir/pipe" 2>/dev/null &
  tool=$1 verb=$2; shift 2
  exec "$tool" "$verb" --progress-fd 3 "$@" 3>"$dir/pipe"
fi
exec "$@"
"""
).replace("@CAPTURED@", CAPTURED)

STOPPING_SECONDS = 100
"""How long a start waits for a run that is being stopped."""

# look: what systemd knows of $unit. `sub` tells running from ended, `owner` is the token of the run, `mark` all of it.
_LOOK = r"""
look() {
  load= active= sub= result= code= status= pid= mark= what=
  while IFS='=' read -r key value; do
    case $key in
      LoadState) load=$value ;;
      ActiveState) active=$value ;;
      SubState) sub=$value ;;
      Result) result=$value ;;
      ExecMainCode) code=$value ;;
      ExecMainStatus) status=$value ;;
      MainPID) pid=$value ;;
      Description) what=$value ;;
      Environment) case $value in *IMAGEMODE_WORK=*) mark=${value#*IMAGEMODE_WORK=}; mark=${mark%%[ \"]*} ;; esac ;;
    esac
  done <<EOF
$(systemctl show "$unit" -p LoadState -p ActiveState -p SubState -p Result -p ExecMainCode -p ExecMainStatus \
  -p MainPID -p Description -p Environment 2>/dev/null)
EOF
  owner=${mark%%:*}
  rest=${mark#*:}
  fingerprint_there=${rest%%:*}
  tool_there=${rest#*:}
}
loaded() { [ -n "$load" ] && [ "$load" != not-found ]; }
# Its runs remain after their exit; one that is loaded and inactive is about to start, or to be forgotten.
ended() { [ "$active" = failed ] || [ "$active/$sub" = active/exited ]; }
note() {
  [ -n "$owner" ] && [ -d "$base/$owner" ] && [ ! -e "$base/$owner/result" ] || return 0
  printf '%s\n' "$1 ${code:-0} ${status:-0} ${result:-none}" >"$base/$owner/result.$$" &&
    mv "$base/$owner/result.$$" "$base/$owner/result"
}
release() {
  systemctl stop "$unit" >/dev/null 2>&1
  systemctl reset-failed "$unit" >/dev/null 2>&1
  return 0
}
# By one of those who see the end: a second one could hit what was started under the name since.
settle() {
  note "$1"
  if [ -n "$owner" ] && [ -d "$base/$owner" ]; then mkdir "$base/$owner/settled" 2>/dev/null || return 1; fi
  # The client of a transaction died of a signal that it does not understand as a wish: the daemon goes on without it.
  if [ "$tool_there" = rpm-ostree ] && [ "$code" = 2 ] && [ "$status" != 2 ]; then
    rpm-ostree cancel >/dev/null 2>&1 </dev/null
  fi
  release
}
"""

# Arguments: RUNTIME UNIT TOKEN FINGERPRINT TOOL SIGNAL STOP_SECONDS MAX_SECONDS DESCRIPTION. Reads the job.
# Prints `started TOKEN`, `adopted TOKEN`, `other TOOL DESCRIPTION` (code 3) or `direct` (code 4).
START = (
    (
        _LOOK
        + r"""
base=$1/imagemode unit=$2 token=$3 fingerprint=$4 tool=$5 signal=$6 stop=$7 max=$8 description=$9
[ -d "$1/systemd/system" ] && command -v systemd-run >/dev/null && command -v systemctl >/dev/null || { echo direct; exit 4; }
umask 077
mkdir -p "$base" && chmod 700 "$base" && mkdir -p "$base/$token" && cat >"$base/$token/job" || exit 1
for name in @CAPTURED@; do
  eval "value=\${$name-}"
  [ -z "$value" ] || printf '%s' "$value" >"$base/$token/environment.$name" || exit 1
done
attempt=0 waited=0
while [ "$attempt" -lt 3 ]; do
  look
  limit=0
  case $active in deactivating) limit=@STOPPING@ ;; inactive) limit=5 ;; esac
  if loaded && [ "$waited" -lt "$limit" ]; then
    waited=$((waited + 1)); sleep 1
    continue
  fi
  attempt=$((attempt + 1))
  if loaded; then
    if ended || [ "$active" = inactive ]; then
      if ! settle ended; then
        if [ "$attempt" -lt 3 ]; then sleep 1; continue; fi
        release
      fi
    elif [ "$fingerprint_there" = "$fingerprint" ]; then
      rm -f "$base/$token"/environment.* "$base/$token/job"
      printf '%s\n' "$owner" >"$base/$token/adopted"
      echo "adopted $owner"
      exit 0
    else
      rm -rf "$base/$token"
      echo "other ${tool_there:-unknown} $what"
      exit 3
    fi
  fi
  if complaint=$(systemd-run --quiet --no-ask-password --unit="$unit" --description="$description" \
    --setenv="IMAGEMODE_WORK=$token:$fingerprint:$tool" --property=RemainAfterExit=yes --property=KillMode=mixed \
    --property="KillSignal=$signal" --property="TimeoutStopSec=$stop" --property="RuntimeMaxSec=$max" \
    -- /bin/sh "$base/$token/job" 2>&1); then
    for old in "$base"/*/; do
      old=${old%/}
      [ "$old" = "$base/$token" ] || [ -z "$(find "$old" -prune -mmin +60 2>/dev/null)" ] || rm -rf "$old"
    done
    echo "started $token"
    exit 0
  fi
done
rm -rf "$base/$token"
printf '%s\n' "$complaint" >&2
exit 1
"""
    )
    .replace("@CAPTURED@", CAPTURED)
    .replace("@STOPPING@", str(STOPPING_SECONDS))
)

_HARVEST = r"""
dir=$base/$token
[ ! -e "$dir/adopted" ] || { token=$(cat "$dir/adopted"); dir=$base/$token; }
report() {
  printf '%s\n\n' "$1"
  [ ! -e "$dir/out" ] || tail -c 262144 "$dir/out"
  [ ! -e "$dir/err" ] || tail -c 262144 "$dir/err" >&2
}
"""

# Arguments: RUNTIME UNIT TOKEN SECONDS. Waits for the end of the run, that long at most.
# Prints `ended|stopped CODE STATUS RESULT` or `gone`, an empty line and what the command printed; `running` and the
# progress (code 5); or `never` (code 6) if there was no such run, or the node was rebooted since.
WATCH = (
    _LOOK
    + r"""
base=$1/imagemode unit=$2 token=$3 seconds=$4
"""
    + _HARVEST
    + r"""
[ -d "$dir" ] || { echo never; exit 6; }
umask 077
naps=0 until=$(($(date +%s) + seconds))
while :; do
  [ ! -e "$dir/result" ] || break
  look
  if ! loaded || [ "$owner" != "$token" ]; then
    [ ! -e "$dir/result" ] || break
    report gone
    exit 0
  fi
  if ended; then
    settle ended
    continue
  fi
  while :; do
    if [ "$(date +%s)" -ge "$until" ]; then
      printf 'running\n\n'
      [ ! -e "$dir/progress" ] || tail -c 65536 "$dir/progress"
      exit 5
    fi
    [ "$naps" -lt 25 ] && sleep 0.2 2>/dev/null || sleep 1
    naps=$((naps + 1))
    [ "${pid:-0}" != 0 ] && [ -d "/proc/$pid" ] || break
  done
done
report "$(cat "$dir/result")"
"""
)

# Arguments: RUNTIME UNIT. Prints the token and the command of the run that is going on (code 7); nothing where there is none.
# Costs no process unless some run has left no result.
EARLIER = (
    r"""
base=$1/imagemode unit=$2 open=
for job in "$base"/*/job; do
  if [ -e "$job" ] && [ ! -e "${job%/job}/result" ]; then open=yes; fi
done
[ -n "$open" ] || exit 0
"""
    + _LOOK
    + r"""
look
loaded && ! ended && [ -e "$base/$owner/job" ] || exit 0
printf '%s\n' "$owner"
sed -n 's/^set -- //p' "$base/$owner/job"
exit 7
"""
)

# Arguments: RUNTIME UNIT TOKEN. Stops the run (any run of that unit if TOKEN is empty) and prints as WATCH does.
STOP = (
    _LOOK
    + r"""
base=$1/imagemode unit=$2 token=$3
look
[ -n "$token" ] || token=$owner
"""
    + _HARVEST
    + r"""
if loaded && [ "$owner" = "$token" ]; then
  if ! ended; then
    note stopped
    systemctl stop "$unit" >/dev/null 2>&1
    look
  fi
  if loaded && [ "$owner" = "$token" ]; then
    ended || [ "$active" = inactive ] || { echo "systemd could not stop $unit" >&2; exit 1; }
    settle ended
  fi
fi
if [ -e "$dir/result" ]; then report "$(cat "$dir/result")"; else report gone; fi
"""
)
