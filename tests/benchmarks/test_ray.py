"""What a run on a local Ray costs beside `trivec.ingest`, and the parts that all machines share."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from trivec import Document, Schema, Vectors, ingest, open_store
from trivec.ingestion.identity import EncoderIdentity
from trivec.rows import SparseRows, TokenRows
from trivec.testing import HashEncoder

ray = pytest.importorskip("ray", reason="ray is not installed")

from trivec_ray import ingest as ingest_on_ray  # noqa: E402
from trivec_ray.journal import SharedJournal  # noqa: E402
from trivec_ray.rows import Parcel, pack, unpack  # noqa: E402
from trivec_ray.target import Target  # noqa: E402

pytestmark = pytest.mark.benchmark

DOCUMENTS, TOKENS, DIM, WORDS = 6_000, 100, 1024, 60
SECONDS = 0.004  # of one document in the encoder, as a sleep: a GPU that others do not share


class SleepyEncoder(HashEncoder):
    """Makes vectors of BGE-M3's sizes in a time that does not depend on the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.schema = Schema(dense=DIM, sparse=True, colbert=DIM, model="sleepy")
        rng = np.random.default_rng(0)
        self._tokens = rng.normal(size=(TOKENS, DIM)).astype(np.float16)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        time.sleep(SECONDS * len(texts))
        n = len(texts)
        return Vectors(
            dense=np.full((n, DIM), DIM**-0.5, np.float32),
            sparse=SparseRows(
                np.arange(n + 1) * WORDS,
                np.tile(np.arange(WORDS, dtype=np.uint32), n),
                np.ones(n * WORDS, np.float32),
            ),
            colbert=TokenRows(np.arange(n + 1) * TOKENS, np.tile(self._tokens, (n, 1))),
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.cloudpickle.register_pickle_by_value(__import__("sys").modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    with warnings.catch_warnings():  # of Ray about the defaults of its own settings
        warnings.simplefilter("ignore", DeprecationWarning)
        ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def _rows() -> list[dict[str, object]]:
    return [{"id": f"d{i:05d}", "text": "words " * 80, "n": i} for i in range(DOCUMENTS)]


def test_a_run_beside_plain_ingest(cluster: None, tmp_path: Path) -> None:
    def created(name: str) -> str:
        url = f"archive:{tmp_path}/{name}"
        with open_store(url) as store:
            store.create(SleepyEncoder().schema)
        return url

    documents = [Document(str(r["id"]), str(r["text"]), {"n": r["n"]}) for r in _rows()]
    with open_store(created("plain")) as store:
        started = time.perf_counter()
        report = ingest(documents, SleepyEncoder(), store)
        plain = time.perf_counter() - started
    print(f"\nload {os.getloadavg()[0]:.0f}; encoder alone {DOCUMENTS * SECONDS:.1f} s")
    print(f"plain: {plain:.1f} s, {DOCUMENTS / plain:.0f}/s, {report.bytes / 1e6:.0f} MB")
    for encoders in (1, 2):
        seen: list[tuple[float, int]] = []
        started = time.perf_counter()
        report = ingest_on_ray(
            ray.data.from_items(_rows()),
            encoder=SleepyEncoder,
            store=created(f"ray{encoders}"),
            concurrency=encoders,
            num_cpus=0.5,
            progress=lambda report: seen.append((report.seconds, report.documents)),  # noqa: B023
        )
        took = time.perf_counter() - started
        written = [(at, documents) for at, documents in seen if documents]
        (first, before), (last, after) = written[0], written[-1]
        print(
            f"ray, {encoders} encoders: {took:.1f} s, the first block after {first:.1f} s, then "
            f"{(after - before) / (last - first):.0f}/s; {report.write_seconds:.1f} s of writing"
        )


def test_the_way_through_the_object_store(cluster: None) -> None:
    texts = [str(row["text"]) for row in _rows()[:300]]
    documents = [Document(f"d{i}", text) for i, text in enumerate(texts)]
    vectors = SleepyEncoder().encode_documents(texts)
    size = pack(Parcel(documents, vectors)).nbytes / 1e6
    best = {"pack": 9.0, "put": 9.0, "get and unpack": 9.0}
    for _ in range(5):
        times = [time.process_time()]
        table = pack(Parcel(documents, vectors))
        times.append(time.process_time())
        block = ray.put(table)
        times.append(time.process_time())
        list(unpack(ray.get(block)))
        times.append(time.process_time())
        best = {
            name: min(before, float(spent))
            for (name, before), spent in zip(best.items(), np.diff(times), strict=True)
        }
    said = ", ".join(f"{name} {1e3 * spent:.0f} ms" for name, spent in best.items())
    print(f"\n{len(texts)} documents, {size:.0f} MB, processor time: {said}")


def test_the_shared_journal(cluster: None, tmp_path: Path) -> None:
    url = f"archive:{tmp_path}/articles"
    with open_store(url) as store:
        store.create(SleepyEncoder().schema)
    journal = SharedJournal.start(Target.of(url, None), tmp_path / "articles.journal")
    journal.open(EncoderIdentity.from_encoder(SleepyEncoder()))
    parts = [
        [Document(f"d{i:06d}", "words " * 80, {"n": i}) for i in range(start, start + 1000)]
        for start in range(0, 50_000, 1000)
    ]
    claims = partial(map, journal.claim)
    for name, work in (("claim", claims), ("acknowledge", partial(map, journal.acknowledge))):
        started = time.perf_counter()
        assert len(list(work(parts))) == len(parts)
        took = time.perf_counter() - started
        print(f"\n{name}: {50_000 / took:.0f} documents/s, load {os.getloadavg()[0]:.0f}")
    journal.close()
