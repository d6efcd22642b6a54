# SPDX-License-Identifier: GPL-3.0-or-later
"""The node lab: simulated image-mode hosts on one machine, driven by a real Ansible."""
