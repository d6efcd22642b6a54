# SPDX-License-Identifier: GPL-3.0-or-later
"""``make bench``: what a task of the collection costs on a node, beside a plain command, and what an update costs.

All numbers to compare come from one run on one machine: read the ratios, not the seconds.
"""
