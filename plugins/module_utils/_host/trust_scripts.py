# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell of node_trust: what else is on the node, and what makes written files count."""

from __future__ import annotations

import base64

from ansible_collections.imagemode.nodes.plugins.module_utils._core.proxy import PULLING_UNITS
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registry_auth import AUTH_FILES
from ansible_collections.imagemode.nodes.plugins.module_utils._core.signature_policy import POLICY_FILE
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import FALLBACK_POLICY, TrustFacts
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step

# On /var, because a node that went down between writing and taking effect must still know of it.
_MARKS = "/var/lib/imagemode"
CA_TRUST, PROXY = "ca-trust", "proxy"

_LOOK = r"""
marks=$1 fallback=$2 system=$3; shift 3
word() { printf ' :'; printf %s "$1" | base64 | tr -d '\n'; }
for path; do
  [ -e "$path" ] || continue
  sum=$(sha256sum <"$path") && printf 'auth %s' "${sum%% *}" && word "$path" && echo
done
seen=
for path in "${CONTAINERS_POLICY_JSON:-}" "${XDG_CONFIG_HOME:-${HOME:-/root}/.config}/containers/policy.json" \
  /root/.config/containers/policy.json "$system" "$fallback"; do
  case "$seen" in *"|$path|"*) continue ;; esac
  seen="$seen|$path|"
  [ -n "$path" ] && [ -e "$path" ] || continue
  printf 'policy'; word "$path"; printf ' :'; base64 <"$path" | tr -d '\n'; echo
done
for mark in "$marks"/pending-*; do
  [ ! -e "$mark" ] || echo "pending ${mark##*/pending-}"
done
command -v update-ca-trust >/dev/null && echo 'tool update-ca-trust'
systemctl is-active --quiet rpm-ostreed.service 2>/dev/null && echo 'active rpm-ostreed.service'
echo end
"""

_MARK = r"""mkdir -p "$1" || exit; directory=$1; shift; for name; do : >"$directory/pending-$name" || exit; done"""

_UPDATE_CA_TRUST = r"""update-ca-trust extract && rm -f "$1" """

# A restart would cancel a transaction, and an rpm-ostreed that is not running reads the new settings when it starts.
_RELOAD = r"""
systemctl daemon-reload || exit
if systemctl is-active --quiet rpm-ostreed.service; then
  answer=$(rpm-ostree status --json) || exit
  case $(printf %s "$answer" | tr -d ' \n\t') in
    *'"transaction":null'*) systemctl restart rpm-ostreed.service || exit ;;
    *) exit 75 ;;
  esac
fi
rm -f "$1"
"""
BUSY = 75

_TAKE_EFFECT = {CA_TRUST: _UPDATE_CA_TRUST, PROXY: _RELOAD}


def look(timeout: int) -> Step:
    """The step that tells what else is on the node."""
    return Step(
        ("sh", "-c", _LOOK, "sh", _MARKS, FALLBACK_POLICY, POLICY_FILE, *AUTH_FILES), timeout=timeout, always=True
    )


def mark(names: list[str], timeout: int) -> Step:
    """The step that notes what written files need, until they have it."""
    return Step(("sh", "-c", _MARK, "sh", _MARKS, *names), timeout=timeout, gate=True)


def take_effect(name: str, timeout: int) -> Step:
    """The step that makes written files count."""
    return Step(("sh", "-c", _TAKE_EFFECT[name], "sh", f"{_MARKS}/pending-{name}"), timeout=timeout)


def commands(name: str, facts: TrustFacts) -> list[list[str]]:
    """What `take_effect` calls, for people to read."""
    if name == CA_TRUST:
        return [["update-ca-trust", "extract"]]
    restart = [["systemctl", "restart", PULLING_UNITS[0]]] if PULLING_UNITS[0] in facts.active else []
    return [["systemctl", "daemon-reload"], *restart]


def parse(answer: str) -> TrustFacts:
    """What the node told. Raises ValueError when the answer breaks off."""
    lines = answer.splitlines()
    if not lines or lines[-1] != "end":
        raise ValueError("the answer breaks off")
    auth, policies = {}, {}
    sets: dict[str, set[str]] = {"pending": set(), "active": set(), "tool": set()}
    for line in lines[:-1]:
        sort, *fields = line.split(" ")
        if sort == "auth":
            auth[_word(fields[1])] = fields[0]
        elif sort == "policy":
            policies[_word(fields[0])] = _word(fields[1])
        else:
            sets[sort].add(fields[0])
    return TrustFacts(auth, policies, frozenset(sets["pending"]), frozenset(sets["active"]), frozenset(sets["tool"]))


def _word(field: str) -> str:
    return base64.b64decode(field[1:]).decode(errors="replace")
