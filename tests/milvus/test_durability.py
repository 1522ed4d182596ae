"""What milvus-lite has acknowledged survives the death of the process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trivec import open_store
from trivec.testing import HashEncoder

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

WRITER = """
import sys
from trivec import Document, open_store
from trivec.testing import HashEncoder

url, first = sys.argv[1], int(sys.argv[2])
encoder = HashEncoder()
store = open_store(url)
store.create(encoder.schema, fields={"batch": int}, exist_ok=True)
for batch in range(first, first + 10_000):
    texts = [f"batch {batch} text {i}" for i in range(20)]
    documents = [Document(f"{batch}-{i}", text, {"batch": batch}) for i, text in enumerate(texts)]
    store.upsert(documents, encoder.encode_documents(texts))
    print(batch, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    url = f"milvus+lite:{tmp_path}/killed.db/docs"
    encoder = HashEncoder()
    acknowledged: list[int] = []
    for one in range(5):
        command = [sys.executable, "-c", WRITER, url, str(one * 10_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(10 + 7 * one):  # at least so many; it is killed in one of the next
                acknowledged.append(int(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
    with open_store(url) as store:
        ids = [f"{batch}-{i}" for batch in acknowledged for i in range(20)]
        assert len(store.get(ids).documents) == len(ids)
        every = {d.id for page in store.scan() for d in page.documents}
        assert every >= set(ids)
        assert store.count() == len(every)
        batch = acknowledged[-1]
        hit = store.search(encoder.encode_query(f"batch {batch} text 7"), k=1)[0]
        assert hit.document.metadata["batch"] in acknowledged
