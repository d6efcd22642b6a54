# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an image cannot be had."""

from __future__ import annotations


class PullError(Exception):
    """The image cannot be had. ``str()`` is what containers/image says."""


class ConnectionLost(PullError):
    """The registry went away in the middle of a layer."""


class UnsuitableImage(PullError):
    """The image is refused, or does not fit, by the tool itself and not by containers/image. ``str()`` is its text."""


class DiskFull(PullError):
    """The image arrived, but there is no room to write it. ``str()`` is ostree's text."""
