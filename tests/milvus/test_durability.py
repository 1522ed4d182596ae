"""What milvus-lite has acknowledged survives the death of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trivec import open_store
from trivec.testing import HashEncoder

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

# Imports once and forks for every round: the imports take longer than the writes.
WRITER = """
import os, sys
from trivec import Document, open_store
from trivec.stores.registry import backend_class
from trivec.testing import HashEncoder

def write(url, first):
    encoder = HashEncoder()
    store = open_store(url)
    store.create(encoder.schema, fields={"batch": int}, exist_ok=True)
    for batch in range(first, first + 10_000):
        texts = [f"batch {batch} text {i}" for i in range(20)]
        documents = [Document(f"{batch}-{i}", t, {"batch": batch}) for i, t in enumerate(texts)]
        store.upsert(documents, encoder.encode_documents(texts))
        print(batch, flush=True)

backend_class("milvus+lite")
for line in sys.stdin:
    child = os.fork()
    if not child:
        write(sys.argv[1], int(line))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    url = f"milvus+lite:{tmp_path}/killed.db/docs"
    acknowledged: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for one in range(5):
            print(one * 10_000, file=writer.stdin, flush=True)
            child = int(writer.stdout.readline())
            for _ in range(5 + 3 * one):  # at least so many; it is killed in one of the next
                acknowledged.append(int(writer.stdout.readline()))
            os.kill(child, signal.SIGKILL)
            while (line := writer.stdout.readline().strip()) != "dead":
                acknowledged.append(int(line))
        writer.stdin.close()
    with open_store(url) as store:
        ids = [f"{batch}-{i}" for batch in acknowledged for i in range(20)]
        assert len(store.get(ids).documents) == len(ids)
        every = {d.id for page in store.scan() for d in page.documents}
        assert every >= set(ids)
        assert store.count() == len(every)
        query = HashEncoder().encode_query(f"batch {acknowledged[-1]} text 7")
        best = store.search(query, k=1)[0].document
        assert best.metadata["batch"] == acknowledged[-1]
