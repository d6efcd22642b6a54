# SPDX-License-Identifier: GPL-3.0-or-later
"""The crash campaign: rollouts that lose their controller, or a node its power, at every step, and are run again."""
