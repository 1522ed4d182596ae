"""The folder of an embedded collection: opened once, described, deleted."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import qdrant_edge as edge

__all__ = ["Shard"]

CONFIG = "edge_config.json"  # the engine's own description
OURS = "trivec.json"  # what the engine has no place for: the model and the declared fields


class Shard:
    """The folder of one collection, opened when it is first needed and by one process only.

    Args:
        folder: Where it lies, or will.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._shard: edge.EdgeShard | None = None

    def open(self) -> edge.EdgeShard | None:
        """Return the shard, or None where there is none."""
        with self._lock:
            if self._shard is None and (self.folder / CONFIG).exists():
                self._shard = edge.EdgeShard.load(str(self.folder))
            return self._shard

    def create(self, config: edge.EdgeConfig) -> edge.EdgeShard:
        """Create the shard."""
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._shard = edge.EdgeShard.create(str(self.folder), config)
            return self._shard

    def drop(self) -> None:
        """Delete the folder, if it holds a shard."""
        with self._lock:
            self.close()
            if (self.folder / CONFIG).exists():
                shutil.rmtree(self.folder)

    def config(self) -> dict[str, Any]:
        """Return how the engine describes the vectors, which it has no call for."""
        config: dict[str, Any] = json.loads((self.folder / CONFIG).read_text("utf-8"))
        return config

    def metadata(self) -> dict[str, Any]:
        """Return what `write_metadata` wrote, or nothing."""
        path = self.folder / OURS
        metadata: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return metadata

    def write_metadata(self, metadata: dict[str, Any]) -> None:
        """Keep something beside the shard, whole or not at all."""
        part = self.folder / f"{OURS}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(metadata, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / OURS)

    def close(self) -> None:
        """Write everything out and let other processes open the folder."""
        with self._lock:
            if self._shard is not None:
                self._shard.flush()
                self._shard.close()
                self._shard = None
