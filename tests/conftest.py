# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: the fixtures of the node lab and of the Kubernetes API."""

from __future__ import annotations

pytest_plugins = ["lab.fixtures", "cluster.fixtures"]
