# SPDX-License-Identifier: GPL-3.0-or-later
"""``make bench``: what a task of the collection costs on a node, beside a plain command; what an update costs, and a build.

All numbers to compare come from one run on one machine: read the ratios, not the seconds.
"""
