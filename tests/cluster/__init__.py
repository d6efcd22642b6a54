# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Kubernetes API on loopback, with nodes and pods that tests play: see README.md beside this file."""
