# SPDX-License-Identifier: GPL-3.0-or-later
"""One target under atheris, in a process of its own: python -m fuzz.engine TARGET SECONDS SEED DIRECTORY.

Nothing of the collection may be imported before atheris can instrument it, or it fuzzes blindly.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris


def main(name: str, seconds: int, seed: int, found: Path) -> None:
    """Fuzz until libFuzzer ends the process."""
    with atheris.instrument_imports(include=["ansible_collections.imagemode.nodes.plugins.module_utils", "fuzz"]):
        from fuzz import recorded_status, targets
    corpus = found / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    choices = random.Random(seed)  # noqa: S311 # the same beginning in every run
    for number in range(200):
        (corpus / f"seed-{number}").write_bytes(choices.randbytes(choices.randrange(4, 120)))
    for number, text in enumerate(recorded_status.texts("bootc")[:8]):
        (corpus / f"text-{number}").write_bytes(b"\x01" + text.encode())
    options = (
        *(f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=3000"),
        *("-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={found}/{name}-"),
    )
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.target(name).run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
