"""Archives with few bits, pooling and pruning: what is in the files, and that it stays the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trivec import ColbertStorage, Document, Schema, Store, Vectors, open_store
from trivec.errors import InvalidVectorsError, SchemaMismatchError
from trivec.rows import TokenRows
from trivec.testing import HashEncoder

TEXTS = [f"blue whale number{i} sings to number{i + 1} and number{2 * i}" for i in range(12)]
DOCUMENTS = [Document(f"d{i:02}", text) for i, text in enumerate(TEXTS)]
SMALL = ("bits=8", "bits=4", "bits=2", "bits=1", "bits=1,pool=2", "bits=2,pool=3,prune=1/3")


def _archive(folder: Path, name: str = "small") -> Store:
    return open_store(f"archive:{folder}/{name}")


def _segments(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.glob("*/*.safetensors"))]


def _stored(store: Store, ids: list[str] | None = None) -> Vectors:
    ids = [document.id for document in DOCUMENTS] if ids is None else ids
    vectors = store.get(ids, with_vectors=True).vectors
    assert vectors is not None
    return vectors


def _tokens(vectors: Vectors) -> TokenRows:
    assert vectors.colbert is not None
    return vectors.colbert


@pytest.mark.parametrize("small", SMALL)
def test_small_storage_is_in_the_files_and_equals_memory(tmp_path: Path, small: str) -> None:
    storage = ColbertStorage.parse(small)
    encoder = HashEncoder(colbert=64)
    vectors = encoder.encode_documents(TEXTS)
    with _archive(tmp_path) as store:
        store.create(encoder.schema, colbert=storage)
        store.upsert(DOCUMENTS[:7], vectors.slice(0, 7))
        store.upsert(DOCUMENTS[7:], vectors.slice(7, 12))
    with _archive(tmp_path) as store, open_store("memory:/small") as memory:
        assert store.describe().colbert == storage
        memory.create(encoder.schema, colbert=storage)
        memory.upsert(DOCUMENTS, vectors)
        for mode in ("colbert", "hybrid", "rrf"):
            query = encoder.encode_query("whale number3 and number10")
            hits, wanted = (each.search(query, mode=mode, k=12) for each in (store, memory))
            assert [hit.document.id for hit in hits] == [hit.document.id for hit in wanted]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in wanted])
        kept = _tokens(_stored(store))
        np.testing.assert_array_equal(kept.values, _tokens(_stored(memory)).values)
        assert kept.storage == storage
        some = _tokens(_stored(store, ["d08", "d01", "d11"]))
        np.testing.assert_array_equal(some.row(1), kept.row(1))
        memory.drop()
    segments = _segments(tmp_path)
    rest = sum(len(segment) for segment in segments) - len(kept.values) * storage.token_bytes(64)
    others = vectors.only(Schema(dense=32, sparse=True, colbert=None)).row_bytes().sum()
    assert 0 < rest < others + 12 * 16 + 2 * 2048  # positions, and the headers of two files


@pytest.mark.parametrize("small", SMALL)
def test_a_copy_of_an_archive_has_the_same_files(tmp_path: Path, small: str) -> None:
    encoder = HashEncoder(colbert=64)
    with _archive(tmp_path / "from") as source, _archive(tmp_path / "to") as copy:
        for store in (source, copy):
            store.create(encoder.schema, colbert=ColbertStorage.parse(small))
        source.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
        copy.upsert(DOCUMENTS, _stored(source))
    assert _segments(tmp_path / "from") == _segments(tmp_path / "to")


def test_what_holds_less_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    encoder = HashEncoder()
    with _archive(tmp_path, "less") as less, _archive(tmp_path, "more") as more:
        less.create(encoder.schema, colbert=ColbertStorage(bits=1, pool=2))
        less.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
        more.create(encoder.schema, colbert=ColbertStorage(bits=4))
        with pytest.raises(InvalidVectorsError, match="bits=1,pool=2 cannot be kept as bits=4"):
            more.upsert(DOCUMENTS, _stored(less))
        assert more.count() == 0
        with pytest.raises(SchemaMismatchError, match="'bits=1,pool=2', expected 'bits=1'"):
            less.create(encoder.schema, colbert=ColbertStorage(bits=1), exist_ok=True)
    assert [file.name for file in (tmp_path / "more").iterdir()] == ["documents.sqlite"]


@pytest.mark.parametrize(
    ("tokens", "ratio"), [("bits=4", 8), ("bits=1", 32), ("bits=1,pool=2", 64)]
)
def test_files_are_smaller_by_as_much_as_the_bits(tmp_path: Path, tokens: str, ratio: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((10 * 200, 256)).astype(np.float32)
    vectors = Vectors(colbert=TokenRows(np.arange(11) * 200, rows))
    for name in ("bits=32", tokens):
        with _archive(tmp_path, name) as store:
            schema = Schema(dense=2, sparse=False, colbert=256)
            store.create(schema, colbert=ColbertStorage.parse(name))
            store.upsert(DOCUMENTS[:10], vectors)
    full, small = (
        sum(file.stat().st_size for file in (tmp_path / name).glob("*.safetensors"))
        for name in ("bits=32", tokens)
    )
    factors = 2 * 10 * ColbertStorage.parse(tokens).kept(200)
    assert small - factors - 2048 < full / ratio < small
