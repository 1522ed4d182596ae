"""Versions of a source whose documents are stored as passages, for runs that are killed.

`python versions.py URL JOURNAL VERSION OPTIONS` ingests one, and prints a line at each step.
"""

# ruff: noqa: T201

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from trivec import Document, IngestReport, Store, Vectors, ingest, open_store
from trivec.testing import HashEncoder

PART_BYTES = 1500


class SteadyEncoder(HashEncoder):
    """Encodes, and says so for each part."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        print("encode", flush=True)
        return super().encode_documents(texts)

    def encode_passages(self, text: str, passages: Sequence[slice]) -> Vectors:
        print("encode", flush=True)
        return super().encode_passages(text, passages)


def documents(version: str) -> list[Document]:
    """Return documents of 0 to 700 words, which grow, shrink, vanish and stay between versions."""
    rng = random.Random(version)
    result: list[Document] = []
    for i in range(40):
        name = "same" if i % 4 == 0 else version
        count = 30 if name == "same" else rng.choice([0, 1, 40, 90, 200, 700])
        if rng.random() < 0.9:
            text = " ".join(f"{name}x{i}x{j % 50}." for j in range(count))
            result.append(Document(f"d{i:02d}", text, {"version": version}))
    return result


def ingest_version(url: str, journal: str | Path, version: str, options: str) -> IngestReport:
    """Ingest a version as passages, and delete what is not in it."""
    encoder = SteadyEncoder()
    with open_store(url) as store:
        store.create(encoder.schema, fields={"parent": str}, exist_ok=True)
        return ingest(
            documents(version),
            encoder,
            store,
            passages=options,
            journal=journal,
            prune=True,
            part_bytes=PART_BYTES,
        )


def main(url: str, journal: str, version: str, options: str) -> None:
    """Ingest a version, and say so also before each deletion."""
    delete = Store.delete

    def deleting(store: Store, ids: Iterable[str], *, passages: bool = True) -> None:
        print("delete", flush=True)
        delete(store, ids, passages=passages)

    setattr(Store, "delete", deleting)  # noqa: B010 - the class is final
    ingest_version(url, journal, version, options)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
