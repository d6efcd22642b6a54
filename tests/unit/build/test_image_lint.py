# SPDX-License-Identifier: GPL-3.0-or-later
"""What bootc container lint prints, as recorded, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_lint import lint_warnings

RECORDED = json.loads((Path(__file__).parents[2] / "recordings" / "46-lint.json").read_text())
ROWS = {row["name"]: row for row in RECORDED}


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("20-lint-pass", ()),
        ("22-lint-warning-only", ("var-log: Found non-empty logfiles: /var/log/foo.log",)),
        (
            "02-lint-booted",
            (
                "baseimage-composefs: ostree/prepare-root.conf does not have composefs enabled",
                "nonempty-boot: Found non-empty /boot: boot, loader, loader.0, ostree",
                "var-log: Found non-empty logfiles: "
                "/var/log/journal/1d139d71edb2412f99318303dcea30c1/system.journal, /var/log/wtmp.db",
                "var-tmpfiles: Found non-directory/non-symlink files in /var: var/.updated, var/.ostree-selabeled",
            ),
        ),
    ],
)
def test_warnings_are_read(name: str, warnings: tuple[str, ...]) -> None:
    row = ROWS[name]
    lines = ["STEP 2/2: RUN bootc container lint", *row["stdout"].splitlines(), *row["stderr"].splitlines(), "COMMIT"]
    assert lint_warnings(lines) == tuple(f"bootc container lint warns: {text}" for text in warnings)


@pytest.mark.parametrize("name", ROWS)
def test_there_are_as_many_warnings_as_lint_counts(name: str) -> None:
    row = ROWS[name]
    counted = [line.split()[1] for line in row["stdout"].splitlines() if line.startswith("Warnings: ")]
    if counted:
        assert len(lint_warnings(row["stdout"].splitlines())) == int(counted[0])
