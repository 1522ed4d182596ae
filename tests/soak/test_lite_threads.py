"""Sixteen threads share one file of Milvus Lite by four handles, blocking and asynchronous.

What a thread has written it finds, and what it has deleted it does not find, whatever the others
do. Some seconds, or as many as TRIVEC_SOAK_SECONDS says.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from trivec import Document, F, Store, open_store
from trivec.testing import HashEncoder

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

SECONDS = float(os.environ.get("TRIVEC_SOAK_SECONDS", "3"))
THREADS = 16
HANDLES = 4  # that share the database, and are shared by threads


class Worker(threading.Thread):
    """Writes, deletes and reads its own documents until told to stop.

    Args:
        number: Its number; every fourth uses the asynchronous twins.
        store: The handle that it uses, with others.
        stop: When to stop.
    """

    def __init__(self, number: int, store: Store, stop: threading.Event) -> None:
        super().__init__()
        self.owner = f"w{number}"
        self.checked: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.error: BaseException | None = None
        self._loop = asyncio.new_event_loop() if number % 4 == 0 else None
        self._store = store
        self._until = stop
        self._random = random.Random(number)
        self._encoder = HashEncoder()
        self._alive: dict[str, str] = {}
        self._dead: set[str] = set()
        self._written = 0

    def run(self) -> None:
        try:
            while not self._until.is_set():
                self.upsert()
                self.check()
                if len(self._alive) > 8:
                    self.remove()
                    self.check()
        except BaseException as error:
            self.error = error
        finally:
            if self._loop is not None:
                self._loop.close()

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        if self._loop is None:
            return getattr(self._store, name)(*args, **options)
        return self._loop.run_until_complete(getattr(self._store, f"a{name}")(*args, **options))

    def upsert(self) -> None:
        new = [f"{self.owner}-{self._written + i}" for i in range(self._random.randint(1, 3))]
        again = self._random.sample(sorted(self._alive), min(1, len(self._alive)))
        self._written += len(new)
        texts = {one: f"{one} {self._random.randrange(10**6)}" for one in new + again}
        documents = [Document(i, text, {"owner": self.owner}) for i, text in texts.items()]
        self._call("upsert", documents, self._encoder.encode_documents(list(texts.values())))
        self._alive |= texts

    def remove(self) -> None:
        gone = self._random.sample(sorted(self._alive), 4)
        self._call("delete", gone)
        for one in gone:
            del self._alive[one]
        self._dead |= set(gone)

    def check(self) -> None:
        mine = F("owner") == self.owner
        self._expect("count", self._call("count", mine), len(self._alive))
        asked = [*self._alive, *self._random.sample(sorted(self._dead), min(8, len(self._dead)))]
        found = {d.id: d.text for d in self._call("get", asked).documents}
        self._expect("get", found, self._alive)
        if self._alive:
            text = self._random.choice(sorted(self._alive.values()))
            query = self._encoder.encode_query(text)
            hits = self._call("search", query, k=50, mode="dense", filter=mine)
            self._expect("search", {hit.document.id for hit in hits}, set(self._alive))

    def _expect(self, what: str, got: object, wanted: object) -> None:
        self.checked[what] += 1
        if got != wanted:
            self.wrong.append(f"{self.owner} {what}: {got}, expected {wanted}")


@contextmanager
def _handles(url: str) -> Iterator[list[Store]]:
    with ExitStack() as stack:
        first = stack.enter_context(open_store(url))
        first.create(HashEncoder().schema, fields={"owner": str})
        yield [first, *(stack.enter_context(open_store(url)) for _ in range(HANDLES - 1))]


@pytest.mark.timeout(SECONDS * 2 + 300)
def test_every_thread_reads_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = threading.Event()
    with _handles(f"milvus+lite:{tmp_path}/soak.db/docs") as stores:
        workers = [Worker(i, stores[i % HANDLES], stop) for i in range(THREADS)]
        for worker in workers:
            worker.start()
        time.sleep(SECONDS)
        stop.set()
        for worker in workers:
            worker.join()
    checked = sum((worker.checked for worker in workers), Counter[str]())
    wrong = [text for worker in workers for text in worker.wrong]
    says = f"milvus+lite: {checked.total()} reads checked, {len(wrong)} wrong; {dict(checked)}"
    with capsys.disabled():
        sys.stdout.write(f"\n{says}\n")
    assert [worker.error for worker in workers if worker.error is not None] == []
    assert wrong == []
    assert all(checked[what] for what in ("count", "get", "search"))
