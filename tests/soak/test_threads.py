"""Sixteen threads read and write one collection by four handles, blocking and asynchronous.

What a thread has written it finds, and what it has deleted it does not find, whatever the others
do. `TRIVEC_SOAK_SECONDS` says how long.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trivec import Document, F, Store, Vectors, open_store
from trivec.testing import HashEncoder

SECONDS = float(os.environ.get("TRIVEC_SOAK_SECONDS", "3"))
THREADS = 16
HANDLES = 4  # that threads share
IDS = 12  # of each thread

STORES = {
    "memory": ("memory:/threads", "trivec"),
    "archive": ("archive:{folder}/threads", "trivec"),
    "edge": ("qdrant+edge:{folder}/threads", "qdrant_edge"),
    "local": ("qdrant+local:{folder}/threads", "qdrant_client"),
    "lite": ("milvus+lite:{folder}/threads.db/threads", "milvus_lite"),
}
ENCODER = HashEncoder()


@dataclass(slots=True)
class Worker:
    """One thread with documents of its own, which knows what must be there of them.

    Every fourth one uses the asynchronous twins.
    """

    store: Store
    number: int
    until: float
    wrong: list[str] = field(default_factory=list)
    rounds: int = 0
    there: dict[str, Document] = field(default_factory=dict)
    checked: Counter[str] = field(default_factory=Counter)
    _loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        self._loop = asyncio.new_event_loop() if self.number % 4 == 0 else None
        try:
            while time.monotonic() < self.until and not self.wrong:
                self._round(random.Random(self.number * 100_000 + self.rounds))
                self.rounds += 1
        except Exception as error:
            self.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            if self._loop is not None:
                self._loop.close()

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        if self._loop is None:
            return getattr(self.store, name)(*args, **options)
        return self._loop.run_until_complete(getattr(self.store, f"a{name}")(*args, **options))

    def _round(self, rng: random.Random) -> None:
        ids = [f"{self.number}-{i}" for i in rng.sample(range(IDS), rng.randint(1, 6))]
        match rng.choice(["write", "write", "delete", "delete where", "look"]):
            case "write":
                text = f"whale{self.number} {rng.random()}"
                batch = [Document(one, text, {"worker": self.number, "one": one}) for one in ids]
                self._call("upsert", batch, self._encoded(batch))
                self.there.update({document.id: document for document in batch})
            case "delete":
                self._call("delete", ids)
                for one in ids:
                    self.there.pop(one, None)
            case "delete where":
                mine = F("worker") == self.number
                self._call("delete_where", mine & (F("one") == ids[0]))
                self.there.pop(ids[0], None)
        self._look()

    def _encoded(self, batch: list[Document]) -> Vectors:
        return ENCODER.encode_documents([document.text for document in batch])

    def _look(self) -> None:
        """Compare what the store says of this thread's documents with what was acknowledged."""
        mine = F("worker") == self.number
        asked = [f"{self.number}-{i}" for i in range(IDS)]
        found = {document.id: document for document in self._call("get", asked).documents}
        self._expect("get", found == self.there)
        self._expect("count", self._call("count", mine) == len(self.there))
        query = ENCODER.encode_query(f"whale{self.number}")
        for mode in ("hybrid", "dense"):
            hits = self._call("search", query, k=IDS, mode=mode, filter=mine)
            self._expect("search", {hit.document.id for hit in hits} == self.there.keys())

    def _expect(self, what: str, holds: bool) -> None:
        self.checked[what] += 1
        if not holds:
            self.wrong.append(f"{what} differs in round {self.rounds} of thread {self.number}")


@pytest.mark.timeout(SECONDS * 2 + 300)
@pytest.mark.parametrize("name", STORES)
def test_each_thread_reads_what_it_was_acknowledged(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pattern, package = STORES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if name == "edge":  # let it shorten its log, and rewrite itself, in between
        monkeypatch.setattr("trivec_qdrant.engines.shard.FLUSH_BYTES", 50_000)
        monkeypatch.setattr("trivec_qdrant.engines.shard.DEAD_POINTS", 50)
    url = pattern.format(folder=tmp_path)
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(url)) for _ in range(HANDLES)]
        stores[0].create(ENCODER.schema, fields={"worker": int, "one": str})
        until = time.monotonic() + SECONDS
        workers = [Worker(stores[i % HANDLES], i, until) for i in range(THREADS)]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        checked = sum((worker.checked for worker in workers), Counter[str]())
        wrong = [text for worker in workers for text in worker.wrong]
        with capsys.disabled():
            said = f"{name}: {checked.total()} reads checked, {len(wrong)} wrong; {dict(checked)}"
            sys.stdout.write(f"\n{said}\n")
        assert wrong == []
        assert all(checked[what] for what in ("get", "count", "search"))
        assert all(worker.rounds for worker in workers)
        assert stores[0].count() == sum(len(worker.there) for worker in workers)
        stores[0].drop()
