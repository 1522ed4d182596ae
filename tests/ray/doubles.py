"""Encoders and stores that Ray's workers make for themselves, and the driver that is killed.

`doubles.py ADDRESS URL JOURNAL FOLDER` is that driver.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from trivec import Document, Store, Vectors
from trivec.collection import Collection
from trivec.errors import StoreError, StoreUnavailableError
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

COUNT = 3000


def rows(count: int = COUNT) -> list[dict[str, object]]:
    return [
        {"id": f"d{i:05d}", "text": f"words of document {i} {i % 50}", "n": i, "lang": "en"}
        for i in range(count)
    ]


class CountingEncoder(HashEncoder):
    """Adds a line to a file of its own for each call: how many texts it has encoded."""

    def __init__(self, folder: Path, *, dies: bool = False, seconds: float = 0) -> None:
        super().__init__()
        self._folder = folder
        self._dies = dies
        self._seconds = seconds

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        flag = self._folder / "died"
        if self._dies and not flag.exists():
            flag.touch()
            os._exit(1)
        with (self._folder / f"encoded-{os.getpid()}").open("a") as file:
            file.write(f"{len(texts)}\n")
        time.sleep(self._seconds)
        return super().encode_documents(texts)


class DyingEncoder(HashEncoder):
    """Ends its process for a deadly text."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        if "deadly" in texts:
            os._exit(1)
        return super().encode_documents(texts)


class OptionsEncoder(HashEncoder):
    """Has an option that changes vectors, and a name that the collection need not know."""

    options: ClassVar = {"mcls": "256"}


def encoded(folder: Path) -> int:
    """How many texts all encoders of a folder were given."""
    files = folder.glob("encoded-*")
    return sum(int(line) for file in files for line in file.read_text().split())


class FaultyBackend(MemoryBackend):
    """Refuses poison, or is away."""

    def __init__(self, *, away: bool = False) -> None:
        super().__init__("faulty")
        self._away = away

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        if self._away:
            raise StoreUnavailableError("nobody answers", retry_after=0.0)
        if any(document.text == "poison" for document in documents):
            raise StoreError(f"bad value in a batch of {len(documents)}")
        super().write(collection, documents, vectors)


def faulty_store(*, away: bool = False) -> Store:
    store = Store(FaultyBackend(away=away))
    store.create(HashEncoder().schema, exist_ok=True)
    return store


def main(address: str, url: str, journal: str, folder: str) -> None:
    import ray

    import trivec_ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    trivec_ray.ingest(
        ray.data.from_items(rows()),
        encoder=partial(CountingEncoder, Path(folder), seconds=0.3),
        store=url,
        journal=journal,
        part_bytes=4096,
        progress=lambda report: print("written", report.documents, flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
