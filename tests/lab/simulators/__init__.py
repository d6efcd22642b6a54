# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulators of the tools of an image-mode host. Every module here is imported by every simulated command: keep it light."""
