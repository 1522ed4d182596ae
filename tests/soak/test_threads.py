"""Sixteen threads read and write one collection; `TRIVEC_SOAK_SECONDS` says how long."""

from __future__ import annotations

import importlib.util
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trivec import Document, F, Store, Vectors, open_store
from trivec.testing import HashEncoder

SECONDS = float(os.environ.get("TRIVEC_SOAK_SECONDS", "3"))
THREADS = 16
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
    """One thread with documents of its own, which knows what must be there of them."""

    store: Store
    number: int
    until: float
    wrong: list[str] = field(default_factory=list)
    rounds: int = 0
    there: dict[str, Document] = field(default_factory=dict)

    def run(self) -> None:
        try:
            while time.monotonic() < self.until and not self.wrong:
                self._round(random.Random(self.number * 100_000 + self.rounds))
                self.rounds += 1
        except Exception as error:
            self.wrong.append(f"{type(error).__name__}: {error}")

    def _round(self, rng: random.Random) -> None:
        ids = [f"{self.number}-{i}" for i in rng.sample(range(IDS), rng.randint(1, 6))]
        match rng.choice(["write", "write", "delete", "delete where", "look"]):
            case "write":
                text = f"whale{self.number} {rng.random()}"
                batch = [Document(one, text, {"worker": self.number, "one": one}) for one in ids]
                self.store.upsert(batch, self._encoded(batch))
                self.there.update({document.id: document for document in batch})
            case "delete":
                self.store.delete(ids)
                for one in ids:
                    self.there.pop(one, None)
            case "delete where":
                self.store.delete_where((F("worker") == self.number) & (F("one") == ids[0]))
                self.there.pop(ids[0], None)
        self._look()

    def _encoded(self, batch: list[Document]) -> Vectors:
        return ENCODER.encode_documents([document.text for document in batch])

    def _look(self) -> None:
        """Compare what the store says of this thread's documents with what was acknowledged."""
        mine = F("worker") == self.number
        found = {d.id: d for d in self.store.get([f"{self.number}-{i}" for i in range(IDS)])[0]}
        self._expect("get", found == self.there)
        self._expect("count", self.store.count(mine) == len(self.there))
        query = ENCODER.encode_query(f"whale{self.number}")
        hits = self.store.search(query, k=IDS, filter=mine)
        self._expect("search", {hit.document.id for hit in hits} == self.there.keys())

    def _expect(self, what: str, holds: bool) -> None:
        if not holds:
            self.wrong.append(f"{what} differs in round {self.rounds} of thread {self.number}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STORES)
def test_each_thread_reads_what_it_was_acknowledged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, package = STORES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if name == "edge":  # let it shorten its log, and rewrite itself, in between
        monkeypatch.setattr("trivec_qdrant.shard.FLUSH_BYTES", 50_000)
        monkeypatch.setattr("trivec_qdrant.shard.DEAD_POINTS", 50)
    with open_store(pattern.format(folder=tmp_path)) as store:
        store.create(ENCODER.schema, fields={"worker": int, "one": str})
        until = time.monotonic() + SECONDS
        workers = [Worker(store, number, until) for number in range(THREADS)]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [wrong for worker in workers for wrong in worker.wrong] == []
        assert all(worker.rounds for worker in workers)
        assert store.count() == sum(len(worker.there) for worker in workers)
        store.drop()
