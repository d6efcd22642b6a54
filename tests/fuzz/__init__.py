# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input for every parser: targets that atheris and Hypothesis run alike."""
