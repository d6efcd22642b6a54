# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios that any image-mode host must pass: those of an inventory, and those of the lab."""
