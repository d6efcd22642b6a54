# SPDX-License-Identifier: GPL-3.0-or-later
"""``make bench``: what a task of the collection costs on a node, beside a plain command; what an update, a rollout
and a build cost.

``make bench ARGS="--only rollout"`` holds the rollout to its targets: how long it takes over an uneven fleet, what it costs
the controller beside a plain playbook, and what nodes pull while they are out of service. It takes ten minutes, and wants a
machine that does nothing else.

All numbers to compare come from one run on one machine: read the ratios, not the seconds.
"""
