# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is asked before a rollout, as steps of one trip, each with a deadline of its own. Nothing is changed by them."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import (
    GREENBOOT,
    OUR_STAGING,
    RegistryAnswer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.proxy import PROXY_FILE
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registry_auth import AUTH_FILES
from ansible_collections.imagemode.nodes.plugins.module_utils._core.signature_policy import POLICY_FILE
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import FALLBACK_POLICY
from ansible_collections.imagemode.nodes.plugins.module_utils._core.updaters import UNITS as UPDATERS
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

# Of auth files only the names of registries leave the node: a name is followed by an opening brace, a secret never is.
_FACTS = r"""
policy=$1 fallback=$2; shift 2
word() { printf ' :'; printf %s "$1" | base64 | tr -d '\n'; }
told() { printf %s "$1"; word "$2"; echo; }
echo "time $(date +%s)"
echo "machine $(uname -m)"
space() { # name path
  numbers=$(stat -f -c '%S %b %a %c %d' "$2" 2>/dev/null) && echo "space $1 $numbers $(stat -c %d "$2")"
}
for path in /ostree/repo /sysroot/ostree/repo /sysroot/composefs /sysroot; do
  [ -d "$path" ] && space repository "$path" && break
done
for path in /boot /var /run; do space "$path" "$path"; done
for path in /etc /var /run; do [ -w "$path" ] || told read_only "$path"; done
grep -s '^min-free-space' /ostree/repo/config | tr -d ' ' | while read -r line; do told reserve "$line"; done
kernel=0
for directory in /usr/lib/modules/*/; do
  size=0
  for file in vmlinuz initramfs.img; do
    bytes=$(stat -L -c %s "$directory$file" 2>/dev/null) && size=$((size + bytes))
  done
  [ "$size" -le "$kernel" ] || kernel=$size
done
echo "kernel $kernel"
sed -n 's/^USEC=\([0-9]*\)$/shutdown_usec \1/p' /run/systemd/shutdown/scheduled 2>/dev/null
systemctl show --property=Id,ActiveState,UnitFileState @UNITS@ 2>/dev/null | sed 's/^/show /'
systemctl list-units --state=failed --plain --no-legend --no-pager 2>/dev/null | while read -r unit rest; do told failed "$unit"; done
for path; do
  if [ -L "$path" ] && [ ! -e "$path" ]; then told dangling "$path"; fi
  [ -e "$path" ] || continue
  { echo; tr -d '[:space:]' <"$path" | grep -o '"[^"]*":{' | sed 's/^"//; s/":{$//' | grep -vxE 'auths|credHelpers|HttpHeaders'; } |
    while read -r name; do printf auth; word "$path"; if [ -n "$name" ]; then word "$name"; else printf ' '; fi; echo; done
done
[ -e "$policy" ] || policy=$fallback
grep -oE '"/[^"]*"' "$policy" 2>/dev/null | tr -d '"' | sort -u | while read -r path; do
  [ -r "$path" ] || told missing_key "$path"
done
grep -qsE '^LockLayering *= *true' /etc/rpm-ostreed.conf && echo locked
echo end
""".replace("@UNITS@", " ".join((*UPDATERS, GREENBOOT, OUR_STAGING)))

# As both tools do it: the first auth file, and none but that; the proxy of our staging. skopeo knows mirrors and certificates.
_ASK_REGISTRY = r"""
image=$1 registry=$2 repository=$3 version=$4 seconds=$5 proxy=$6; shift 6
if [ -r "$proxy" ]; then set -a; . "$proxy"; set +a; fi
auth=
for path; do [ ! -e "$path" ] || { auth=$path; break; }; done
if skopeo --version >/dev/null 2>&1; then
  echo "by=skopeo auth=$auth"
  if [ -n "$auth" ]; then set -- --authfile "$auth"; else set -- --no-creds; fi
  exec skopeo inspect --raw "$@" "docker://$image" >/dev/null
elif command -v curl >/dev/null; then
  echo "by=curl auth=$auth"
  exec curl -sS -o /dev/null -w 'status=%{http_code}\n' --max-time "$seconds" \
    -H 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json' \
    -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json' \
    "https://$registry/v2/$repository/manifests/$version"
fi
"""

FACTS = Step(("sh", "-c", _FACTS, "preflight-facts", POLICY_FILE, FALLBACK_POLICY, *AUTH_FILES), timeout=30)
LAYERS = Step(("ostree", "refs"), timeout=60)


def ask_registry(image: ImageReference, seconds: int) -> Step:
    """The step that asks the registry for the image's manifest, as the tools on the node would."""
    version = image.digest or image.tag or ""
    words = (image.pull_text, image.registry or "", image.repository, version, str(seconds), PROXY_FILE)
    return Step(("sh", "-c", _ASK_REGISTRY, "ask-registry", *words, *AUTH_FILES), timeout=seconds)


def registry_answer(outcome: Outcome) -> RegistryAnswer:
    """What came of `ask_registry`."""
    said = dict(word.partition("=")[::2] for word in outcome.stdout.split())
    status = said.get("status", "")
    return RegistryAnswer(
        by=said.get("by"),
        ok=outcome.ok,
        timed_out=outcome.timed_out,
        status=int(status) if status.isdigit() and int(status) else None,
        message=outcome.stderr,
        authfile=said.get("auth") or None,
    )
