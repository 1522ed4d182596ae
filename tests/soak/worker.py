"""What the kill tests run in a process of its own.

`worker.py ingest URL JOURNAL COUNT`, `copy SOURCE URL JOURNAL` or `journal JOURNAL COUNT`.
"""

# ruff: noqa: T201

from __future__ import annotations

import sys
from collections.abc import Sequence

from trivec import Document, Vectors, copy, ingest, open_store
from trivec.ingestion import copying
from trivec.ingestion.journal import Journal
from trivec.testing import HashEncoder

PART_BYTES = 400
PAGE_DOCUMENTS = 20


class SteadyEncoder(HashEncoder):
    """Encodes, and says so for each part."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        print("part", flush=True)
        return super().encode_documents(texts)


def documents(count: int) -> list[Document]:
    return [
        Document(f"d{i:05d}", f"word{i % 13} word{i % 17} other{i % 29}", {"n": i, "lang": "en"})
        for i in range(count)
    ]


def run_ingest(url: str, journal: str, count: str) -> None:
    encoder = SteadyEncoder()
    with open_store(url) as store:
        store.create(encoder.schema, fields={"n": int, "lang": str}, exist_ok=True)
        report = ingest(
            documents(int(count)), encoder, store, journal=journal, part_bytes=PART_BYTES
        )
    print(f"done {report.documents} {report.unchanged}", flush=True)


def run_copy(source: str, url: str, journal: str) -> None:
    copying.PAGE_DOCUMENTS = PAGE_DOCUMENTS
    with open_store(source) as read, open_store(url) as written:
        report = copy(read, written, journal=journal, progress=lambda _: print("part", flush=True))
    assert not report.verification.problems
    print(f"done {report.written.documents} {report.written.unchanged}", flush=True)


def run_journal(journal: str, count: str) -> None:
    with Journal(journal, {"store": "none"}) as book:
        for document in documents(int(count)):
            book.acknowledge([document])
            print(document.id, flush=True)


if __name__ == "__main__":
    work, *words = sys.argv[1:]
    match work:
        case "ingest":
            run_ingest(*words)
        case "copy":
            run_copy(*words)
        case "journal":
            run_journal(*words)
