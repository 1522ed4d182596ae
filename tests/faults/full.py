"""Writes until the disk is full, in a process of its own: the system could end it.

`full.py URL FILES` writes 400 documents that all differ into the collection URL, with the journal
FILES.journal where FILES is not empty. It prints what happened, and what is there then.
"""

# ruff: noqa: T201

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import numpy as np

from trivec import Document, Schema, TrivecError, Vectors, ingest, open_store
from trivec.errors import StoreError
from trivec.testing import HashEncoder

COUNT = 400
DIMENSION = 2048  # 8 KB each


def main(url: str, journal: str, limit: str) -> None:
    """Write, and say how far it came."""
    if int(limit):
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    written = 0
    store = open_store(url)
    try:
        if journal:
            encoder = HashEncoder()
            store.create(encoder.schema, exist_ok=True)
            texts = [Document(f"d{i}", f"whale {i} " * 50) for i in range(COUNT)]
            ingest(texts, encoder, store, journal=f"{journal}.journal", part_bytes=4000)
            written = COUNT
        else:
            store.create(Schema(dense=DIMENSION, sparse=False, colbert=None), exist_ok=True)
            for start in range(0, COUNT, 20):
                documents = [Document(f"d{i}", f"text {i}") for i in range(start, start + 20)]
                rng = np.random.default_rng(start)
                store.upsert(documents, Vectors(dense=rng.random((20, DIMENSION), np.float32)))
                written += 20
        print("done")
    except TrivecError as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
    try:
        ids = [f"d{i}" for i in range(COUNT)]
        found = store.get(ids, with_vectors=True)
        assert found.vectors is not None
        assert [d.id for d in found.documents[:written]] == ids[:written]
        assert store.count() == len(found.documents)
        print(f"{written} acknowledged, {len(found.documents)} there")
    except TrivecError as error:  # there may be no room to create it
        print(f"{written} acknowledged: {type(error).__name__}")
    with suppress(StoreError):  # what it would put in order needs room too
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
