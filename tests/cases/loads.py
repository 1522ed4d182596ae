"""Limits of time on a machine that other processes use too."""

from __future__ import annotations

import os


def scaled(seconds: float) -> float:
    """Return a limit of time, as much longer as other processes want the same processors.

    They lengthen the work of a test, though not its waits.
    """
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
