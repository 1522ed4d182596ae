"""The folder for trivec's own files."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the folder for trivec's cached files: ``TRIVEC_CACHE``, or the platform's own."""
    chosen = os.environ.get("TRIVEC_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("trivec")
