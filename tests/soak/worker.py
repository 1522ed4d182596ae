"""What the kill tests run in a process of its own: `worker.py URL JOURNAL COUNT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trivec import Document, Vectors, ingest, open_store
from trivec.ingestion.journal import Journal
from trivec.testing import HashEncoder

PART_BYTES = 400


class SteadyEncoder(HashEncoder):
    """Encodes, and says so for each part."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        print("part", flush=True)  # noqa: T201
        return super().encode_documents(texts)


def documents(count: int) -> list[Document]:
    return [
        Document(f"d{i:05d}", f"word{i % 13} word{i % 17} other{i % 29}", {"n": i, "lang": "en"})
        for i in range(count)
    ]


def main(url: str, journal: str, count: int) -> None:
    if url == "journal":
        with Journal(journal, {"store": "none"}) as book:
            for document in documents(count):
                book.acknowledge([document])
                print(document.id, flush=True)  # noqa: T201
        return
    encoder = SteadyEncoder()
    with open_store(url) as store:
        store.create(encoder.schema, fields={"n": int, "lang": str}, exist_ok=True)
        report = ingest(documents(count), encoder, store, journal=journal, part_bytes=PART_BYTES)
    print(f"done {report.documents} {report.unchanged}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
