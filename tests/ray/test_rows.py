"""Rows as documents, and documents as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from trivec import ColbertStorage, Document, IngestReport, Vectors
from trivec.errors import InvalidOptionError, InvalidVectorsError, StoreUnavailableError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import SourceOptions
from trivec.rows import TokenRows
from trivec.stores.reduction import reduced
from trivec.testing import HashEncoder

pytest.importorskip("ray", reason="ray is not installed")
pa = pytest.importorskip("pyarrow")

from trivec_ray.rows import Columns, Parcel, pack, pack_error, read_rows, unpack  # noqa: E402
from trivec_ray.target import Target  # noqa: E402

DOCUMENTS = [
    Document(f"d{i}", "word " * i, {"n": i, "tags": ["a"], "deep": {"x": None}}) for i in range(9)
]

_ALL_COLUMNS = Columns(SourceOptions())


def _read(rows: Sequence[dict[str, Any]], *, metadata: str | None = None) -> list[Any]:
    return list(read_rows(pa.Table.from_pylist(list(rows)), Columns(SourceOptions(), metadata)))


def test_what_is_not_id_or_text_is_metadata() -> None:
    assert _read([{"id": 7, "text": "x", "day": date(2026, 1, 31), "tags": ["a"]}]) == [
        Document("7", "x", {"day": "2026-01-31", "tags": ["a"]})
    ]
    assert _read([{"id": "a", "text": "x", "metadata": {"n": 1}}]) == [Document("a", "x", {"n": 1})]


def test_one_column_of_metadata_leaves_the_others_out() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "text": "x", "about": '{"n": 1}', "more": 1},
        {"id": "b", "text": "y", "about": None, "more": 2},
    ]
    assert _read(rows, metadata="about") == [Document("a", "x", {"n": 1}), Document("b", "y")]
    (rejected,) = _read([{"id": "a", "text": "x", "about": "{"}], metadata="about")
    assert rejected.where == "row 'a'"
    assert "'about' is not JSON" in rejected.problem


def test_rows_are_mapped_as_those_of_files() -> None:
    rows: list[dict[str, Any]] = [
        {"_id": "a", "title": "T", "text": "x", "lang": "en", "took": timedelta(seconds=2)},
        {"_id": "b", "title": "", "text": "y", "lang": None, "took": None},
    ]
    table = pa.Table.from_pylist(rows)
    read = list(read_rows(table, Columns(SourceOptions())))
    assert read[0] == Document("a", "T\nx", {"title": "T", "lang": "en", "took": 2})
    options = SourceOptions(id="hash", text="{title}: {text}", keep=["lang"], rename={"_id": "key"})
    first, second = read_rows(table, Columns(options))
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert (first.text, first.metadata) == ("T: x", {"lang": "en", "key": "a"})
    assert len(first.id) == 32
    assert first.id != second.id
    with pytest.raises(InvalidOptionError, match="keep: there is no metadata 'language'"):
        list(read_rows(table, Columns(SourceOptions(keep=["language"]))))
    with pytest.raises(InvalidOptionError, match="give id='hash'"):
        Columns(SourceOptions(id="row"))


def test_one_column_of_metadata_and_a_text_of_several() -> None:
    """A block does not know which members the JSON text of other rows has."""
    rows: list[dict[str, Any]] = [
        {"id": "a", "title": "T", "text": "x", "about": '{"n": 1}', "more": 1},
        {"id": "b", "title": "T", "text": "y", "about": '{"m": 2, "lang": "en"}', "more": 2},
    ]
    options = SourceOptions(text_field=["title", "text"], keep=["lang", "title"])
    table = pa.Table.from_pylist(rows)
    assert list(read_rows(table, Columns(options, "about"))) == [
        Document("a", "T\nx", {"title": "T"}),
        Document("b", "T\ny", {"title": "T", "lang": "en"}),
    ]
    assert list(read_rows(table.slice(0, 0), Columns(options))) == []


@pytest.mark.parametrize("preset", [None, "beir"])
def test_one_column_of_metadata_beside_a_published_layout(preset: str | None) -> None:
    rows = [{"_id": "a", "title": "T", "text": "x", "about": '{"n": 1}', "more": 1}]
    columns = Columns(SourceOptions(preset=preset), "about")
    assert list(read_rows(pa.Table.from_pylist(rows), columns)) == [
        Document("a", "T\nx", {"title": "T", "n": 1})
    ]
    assert list(read_rows(pa.table({}), columns)) == []


def test_bad_rows_are_named_by_their_id_or_their_beginning() -> None:
    rejected: list[Rejected] = _read([{"id": "a", "text": None}, {"id": None, "text": "lost"}])
    assert [one.where for one in rejected] == ["row 'a'", 'row {"id": null, "text": "lost"}']
    assert "the text must be a str" in rejected[0].problem
    assert not rejected[0].readable
    sizes = pa.array([[(b"x", 1)]], pa.map_(pa.binary(), pa.int64()))
    (mapped,) = read_rows(pa.table({"id": ["a"], "text": ["x"], "sizes": sizes}), _ALL_COLUMNS)
    assert isinstance(mapped, Rejected)
    assert mapped.content == "{'id': 'a', 'text': 'x', 'sizes': {b'x': 1}}"
    (other,) = _read([{"key": "a", "text": "x"}])
    assert "there is no column 'id', only 'key', 'text'; try id_field='key'" in other.problem


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("missing", [None, "dense", "sparse", "colbert"])
def test_vectors_travel_unchanged_and_without_a_copy(dtype: type, missing: str | None) -> None:
    vectors = HashEncoder().encode_documents([document.text for document in DOCUMENTS])
    assert vectors.colbert is not None
    colbert = TokenRows(vectors.colbert.indptr, vectors.colbert.values.astype(dtype))
    vectors = replace(vectors, colbert=colbert)
    if missing is not None:
        vectors = replace(vectors, **{missing: None})
    table = pack(Parcel(DOCUMENTS, vectors))
    # A block is cut and joined as Ray likes it.
    cut = pa.concat_tables([table.slice(0, 4), table.slice(4, 5)])
    parcels = list(unpack(cut))
    assert [d for parcel in parcels for d in parcel.documents] == DOCUMENTS
    parts: list[Vectors] = [parcel.vectors for parcel in parcels if parcel.vectors is not None]
    for got, wanted in zip(Vectors.concatenate(parts), vectors, strict=True):
        assert got.sparse == wanted.sparse
        for mine, theirs in ((got.dense, wanted.dense), (got.colbert, wanted.colbert)):
            if theirs is None:
                assert mine is None
            else:
                assert mine is not None
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs)
    if vectors.colbert is not None:
        first = parts[0].colbert
        assert first is not None
        assert np.shares_memory(first.values, vectors.colbert.values)


@pytest.mark.parametrize("storage", [None, ColbertStorage(bits=1), ColbertStorage(8, 2, 1 / 3)])
def test_token_vectors_bring_their_weights_and_their_storage(
    storage: ColbertStorage | None,
) -> None:
    vectors = HashEncoder().encode_documents([document.text for document in DOCUMENTS])
    assert vectors.colbert is not None
    if storage is not None:
        vectors = replace(vectors, colbert=reduced(vectors.colbert, storage))
    table = pack(Parcel(DOCUMENTS, vectors))
    report = pack(Parcel(stored=DOCUMENTS[:1], reports=[IngestReport()]))
    joined = pa.concat_tables(
        [table.slice(0, 4), table.slice(4), report], promote_options="default"
    )
    parts = [parcel.vectors for parcel in unpack(joined) if parcel.vectors is not None]
    got, wanted = Vectors.concatenate(parts).colbert, vectors.colbert
    assert got is not None
    assert wanted is not None
    assert got.storage == storage
    assert (
        (got.weights is None)
        == (wanted.weights is None)
        == (storage == ColbertStorage(8, 2, 1 / 3))
    )
    if wanted.weights is not None:
        np.testing.assert_array_equal(np.asarray(got.weights), wanted.weights)


def test_token_vectors_of_different_storages_are_not_mixed() -> None:
    vectors = HashEncoder().encode_documents(["one two three", "four"])
    assert vectors.colbert is not None
    small = replace(vectors, colbert=reduced(vectors.colbert, ColbertStorage(bits=1)))
    tables = [pack(Parcel(DOCUMENTS[:2], part)) for part in (vectors, small)]
    joined = pa.concat_tables(tables, promote_options="default").combine_chunks()
    with pytest.raises(InvalidVectorsError, match="keep them differently: bits=1, in full"):
        list(unpack(joined))


def test_stored_documents_and_reports_travel_beside_the_others() -> None:
    failure = Rejected("row 7", "no text", "{}", readable=False)
    report = IngestReport(unchanged=3, failed=1, failures=(failure,))
    plain = pack(Parcel(DOCUMENTS[:2], stored=DOCUMENTS[2:4], reports=[report]))
    (parcel,) = unpack(plain)
    assert (parcel.documents, parcel.stored) == (DOCUMENTS[:2], DOCUMENTS[2:4])
    assert parcel.reports == [report]
    vectors = HashEncoder().encode_documents([document.text for document in DOCUMENTS[:2]])
    first = pack(Parcel(DOCUMENTS[:2], vectors))
    rest = pack(Parcel(stored=DOCUMENTS[2:4], reports=[report]))
    joined = pa.concat_tables([first, rest], promote_options="default").combine_chunks()
    (parcel,) = unpack(joined)
    assert (parcel.documents, parcel.stored) == (DOCUMENTS[:2], DOCUMENTS[2:4])
    assert parcel.vectors is not None
    assert [row.sparse for row in parcel.vectors] == [row.sparse for row in vectors]


def test_an_error_comes_after_what_was_before_it() -> None:
    error = pack_error(StoreUnavailableError("away", retry_after=3.0))
    blocks = unpack(pa.concat_tables([pack(Parcel(DOCUMENTS)), error], promote_options="default"))
    assert next(blocks).documents == DOCUMENTS
    with pytest.raises(StoreUnavailableError, match=r"^away$") as caught:
        list(blocks)
    assert caught.value.retry_after == 3.0


def test_an_unforeseen_error_brings_its_traceback() -> None:
    with pytest.raises(ValueError, match="seven") as raised:
        int("seven")
    with pytest.raises(ValueError, match="seven") as caught:
        list(unpack(pack_error(raised.value)))
    assert "test_an_unforeseen_error_brings_its_traceback" in caught.value.__notes__[0]


def test_a_store_is_given_as_what_can_be_sent() -> None:
    target = Target.of("qdrant://localhost:6333/articles", {"api_key": "secret-key"})
    assert not target.embedded
    assert "secret-key" not in f"{target!r} {target.open!r}"
    assert Target.of("qdrant+edge:folder/articles", None).embedded
    for url in ("memory:/articles", "qdrant+memory:/articles"):
        with pytest.raises(InvalidOptionError, match="in the memory of one process"):
            Target.of(url, None)
    from trivec import open_store

    with (
        open_store("memory:/articles") as store,
        pytest.raises(InvalidOptionError, match="an open one cannot be sent"),
    ):
        Target.of(store, None)  # type: ignore[arg-type]
