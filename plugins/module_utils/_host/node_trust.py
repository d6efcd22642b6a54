# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a node what it needs to know about registries, and proves what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_files_plan import FilesPlan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.node_trust import ANCHORS, NodeTrust
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.proxy import PROXY_FILE, PULLING_UNITS, drop_in_path
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import TrustFacts
from ansible_collections.imagemode.nodes.plugins.module_utils._host import trust_scripts
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.host_files import HostFiles
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner

_MIRROR: dict[str, Any] = {
    "location": {"type": "str", "required": True},
    "insecure": {"type": "bool", "default": False},
    "pull": {"type": "str", "choices": ["all", "digest-only", "tag-only"], "default": "all"},
}
_REGISTRY: dict[str, Any] = {
    "prefix": {"type": "str"},
    "location": {"type": "str"},
    "insecure": {"type": "bool", "default": False},
    "blocked": {"type": "bool", "default": False},
    "mirror_by_digest_only": {"type": "bool", "default": False},
    "mirrors": {"type": "list", "elements": "dict", "default": [], "options": _MIRROR},
}
_TRUSTED: dict[str, Any] = {
    "scope": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "identity": {
        "type": "str",
        "choices": ["matchRepository", "matchRepoDigestOrExact", "matchExact"],
        "default": "matchRepository",
    },
    "lookaside": {"type": "str"},
}

NODE_TRUST_SPEC: dict[str, Any] = {
    "image": {"type": "str"},
    "require_signed": {"type": "bool", "default": False},
    "registry_auth": {"type": "raw", "no_log": True},
    "registry_anonymous": {"type": "bool", "default": False},
    "registry_cas": {"type": "dict", "default": {}},
    "ca_anchors": {"type": "dict", "default": {}},
    "registries": {"type": "list", "elements": "dict", "default": [], "options": _REGISTRY},
    "http_proxy": {"type": "str", "no_log": True},
    "https_proxy": {"type": "str", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
    "trusted_images": {"type": "list", "elements": "dict", "default": [], "options": _TRUSTED},
    "trust_also": {"type": "list", "elements": "str", "default": []},
    "file_timeout": {"type": "int", "default": 60},
}


class TrustOfNode:
    """One run of the module node_trust on one node. `wanted` comes from the options."""

    def __init__(
        self,
        runner: Runner,
        wanted: NodeTrust,
        *,
        image: str | None,
        require_signed: bool,
        anonymous: bool,
        timeout: int,
        show: bool,
    ) -> None:
        self._wanted = wanted
        self._image = ImageReference.parse(image).require_registry() if image else None
        self._require_signed = require_signed
        self._anonymous = anonymous
        self._timeout = timeout
        self._files = HostFiles(runner, wanted.files, patterns=wanted.patterns, timeout=timeout, show=show)
        if require_signed and self._image is None:
            raise Refusal("require_signed needs to know which image has to be signed. Set imagemode_image.")

    def run(self, *, check_mode: bool) -> dict[str, Any]:
        """Look, write what differs, make it count, and judge. Raises Refusal, HostFailure."""
        plan, (answer,) = self._files.look([trust_scripts.look(self._timeout)])
        before = self._facts(answer)
        effects = self._effects(plan, before)
        result = {**plan.as_dict(), "changed": plan.changed or bool(effects), "msg": plan.summary}
        result["commands"] = [command for name in effects for command in trust_scripts.commands(name, before)]
        if check_mode or not result["changed"]:
            facts = before.after(self._wanted.auth, self._anonymous, self._wanted.policy)
        else:
            written = self._files.write(
                plan,
                before=[trust_scripts.mark(effects, self._timeout)] if effects else [],
                then=[trust_scripts.take_effect(name, self._timeout) for name in effects],
                last=[trust_scripts.look(self._timeout)],
            )
            facts = self._facts(written.last[0])
            result["warnings"] += written.warnings
            self._judge_effects(effects, written.then, result)
        result["trust"] = facts.as_dict(self._image)
        managed = self._require_signed or self._wanted.policy is not None
        result["warnings"] += facts.warnings(anonymous=self._anonymous, policy_managed=managed)
        self._require(result)
        return result

    def _effects(self, plan: FilesPlan, facts: TrustFacts) -> list[str]:
        """What has to be done so that the files count: also what an earlier run did not get to do."""
        paths = [change.wanted.path for change in plan.changes]
        proxies = (PROXY_FILE, *(drop_in_path(unit) for unit in PULLING_UNITS))
        needed = {trust_scripts.PROXY} if any(path in proxies for path in paths) else set()
        if any(path.startswith(f"{ANCHORS}/") for path in paths):
            needed.add(trust_scripts.CA_TRUST)
        needed |= facts.pending & {trust_scripts.PROXY, trust_scripts.CA_TRUST}
        if trust_scripts.CA_TRUST in needed and "update-ca-trust" not in facts.tools:
            raise Refusal(
                "This node has no update-ca-trust, so nothing would read the certificates of imagemode_ca_anchors. "
                "Name them for a registry in imagemode_registry_cas instead. Nothing was written."
            )
        return sorted(needed)

    def _judge_effects(self, names: Sequence[str], outcomes: Sequence[Outcome], result: dict[str, Any]) -> None:
        for name, outcome in zip(names, outcomes):
            if outcome.ok:
                continue
            if outcome.rc == trust_scripts.BUSY and not outcome.timed_out:
                result["warnings"].append(
                    "rpm-ostree is at work, so its daemon was not restarted and keeps its former proxy. It ends by itself "
                    "a minute after the work is done; or run this again then."
                )
                continue
            said = (
                "no answer in time" if outcome.timed_out else outcome.stderr.strip()[-300:] or f"exit code {outcome.rc}"
            )
            first = " ".join(trust_scripts.commands(name, TrustFacts())[0])
            raise HostFailure(
                f"The files are written, but {first} failed: {said}. Run this again: it does what is left.",
                {**result, "trust": None},
            )

    def _require(self, result: dict[str, Any]) -> None:
        trust = result["trust"]
        if not self._require_signed or trust["signed_only"]:
            return
        raise HostFailure(
            f"The node would not boot only signed images of ours. {trust['reason']}. Set imagemode_trusted_images, or mend that file.",
            result,
        )

    def _facts(self, answer: Outcome) -> TrustFacts:
        try:
            return trust_scripts.parse(answer.stdout)
        except (ValueError, IndexError, KeyError) as error:
            said = answer.stderr.strip()[-300:] or str(error)
            raise HostFailure(f"The node could not be asked about its trust: {said}.", {"changed": False}) from error
