# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets that a build was given: what must be neither in a layer nor in what the build prints."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_inputs import BuildInputs
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import BuildRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.leak_search import HIDDEN, SecretPatterns


def given_secrets(request: BuildRequest, inputs: BuildInputs) -> dict[str, bytes]:
    """What steps can read: a name for each secret, to its bytes. Raises OSError."""
    return {
        **{f"secret {secret.id}": secret.content() for secret in request.secrets},
        **inputs.entitlement.secrets(),
        **inputs.repositories.secrets(),
    }


@dataclass(frozen=True)
class OutputFilter:
    """Hides secrets in lines that a build prints, in all the forms in which they would be found in a layer."""

    pattern: re.Pattern[str] | None = None

    @classmethod
    def of(cls, secrets: dict[str, bytes]) -> OutputFilter:
        """A filter for secrets by name."""
        found = {pattern.data.decode("utf-8", "replace") for pattern in SecretPatterns.of(secrets).patterns}
        longest_first = sorted(found, key=len, reverse=True)
        return cls(re.compile("|".join(map(re.escape, longest_first))) if longest_first else None)

    def hide(self, line: str) -> str:
        """The line without any secret in it."""
        return self.pattern.sub(HIDDEN, line) if self.pattern else line
