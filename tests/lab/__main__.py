# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab``: the command line of the node lab."""

from __future__ import annotations

import sys

from lab.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
