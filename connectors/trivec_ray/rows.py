"""Rows of a Ray dataset as documents, and documents with their vectors as rows.

Between actors a document is one row. Its vectors are typed Arrow lists over the memory of the numpy
columns, so that they are copied once on their way, into the object store:

========= ============================================================
id        string; null in a row that holds a report or an error
text      string; or a report, as JSON
metadata  string, JSON
error     binary, an exception; only in a block where something failed
stored    whether the store has the vectors, and only metadata changed
dense     fixed-size list of float32
indices   large list of uint32: the sparse vocabulary ids
weights   large list of float32: their weights
colbert   large list of fixed-size lists of float16 or float32
lexical   large list of float32: the lexical weight of each ColBERT vector
storage   string: how the collection keeps the ColBERT vectors that they were read from
========= ============================================================

A part that the encoder does not make has no column; before encoding there are no vectors. Token
vectors without lexical weights, or of an encoder, have none of the last two columns.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray import cloudpickle

from trivec.arguments import expect
from trivec.colbert_storage import ColbertStorage, common_storage
from trivec.document import Document, metadata_json
from trivec.errors import InvalidDocumentError, InvalidOptionError, TrivecError
from trivec.ingestion.report import IngestReport, Rejected
from trivec.ingestion.sources import SourceOptions
from trivec.ingestion.sources.parquet import plain_rows
from trivec.ingestion.sources.records import json_of
from trivec.ingestion.sources.shape import Shape
from trivec.plain import not_json
from trivec.rows import SparseRows, TokenRows
from trivec.vectors import Vectors

EXCERPT = 80

_log = logging.getLogger("trivec")


@dataclass(frozen=True, slots=True)
class Columns:
    """What of a row becomes a document.

    Args:
        options: Where the id and the text are, and what is metadata.
        metadata: The one column of metadata, a struct or JSON text; None: all other columns.
    """

    options: SourceOptions
    metadata: str | None = None

    def __post_init__(self) -> None:
        if self.options.id == "row":
            raise InvalidOptionError(
                "id='row': the rows of a dataset have no numbers; give id='hash'"
            )
        if self.metadata is not None:
            expect(self.metadata, str, "metadata_field", "the name of a column, or None")

    def members(self, values: dict[str, Any], taken: Collection[str]) -> dict[str, Any]:
        """Return the members of a row: all columns, or those of id, text and metadata.

        Args:
            values: The row.
            taken: The columns of id and text.
        """
        if self.metadata is None:
            return values
        members = {name: value for name, value in values.items() if name in taken}
        metadata = values.get(self.metadata)
        if isinstance(metadata, str):
            try:
                metadata = json.loads(metadata)
            except (ValueError, RecursionError) as error:
                raise InvalidDocumentError(f"{self.metadata!r} is {not_json(error)}") from error
        return {**members, "metadata": {} if metadata is None else metadata}

    def shape(self, members: Mapping[str, Any]) -> Shape:
        """Return the shape of a block that begins with this row."""
        return Shape.resolve(
            self.options if self.metadata is None else replace(self.options, metadata="nested"),
            tuple(members),
            [members],
            format="arrow",
            file="dataset",
            report=_report,
            strict=self.metadata is None,
        )


ROW_COLUMNS = Columns(SourceOptions(), "metadata")
"""The columns of `as_rows`."""

_SCHEMA = pa.schema(
    {name: pa.string() for name in ("id", "text", "metadata")} | {"stored": pa.bool_()}
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """Documents on their way from actor to actor.

    Args:
        documents: Documents to encode, or encoded ones.
        vectors: One row for each of them; None before they are encoded.
        stored: Documents of which only the metadata changed: the store has their vectors.
        reports: The reports of the stages that they passed.
    """

    documents: Sequence[Document] = ()
    vectors: Vectors | None = None
    stored: Sequence[Document] = ()
    reports: Sequence[IngestReport] = ()


def read_rows(table: pa.Table, columns: Columns) -> Iterator[Document | Rejected]:
    """Yield each row as a document, or rejected, named by its id or its beginning."""
    if not table.num_rows:  # which may lack the columns
        return
    shape: Shape | None = None
    taken = columns.options.taken_from(table.schema.names)
    for plain, problem in plain_rows(table):
        try:
            if problem:
                raise InvalidDocumentError(problem)
            members = columns.members(plain, taken)
            shape = shape or columns.shape(members)
            yield shape.document(members)
        except InvalidDocumentError as error:
            content = json_of(plain)
            id = plain.get(columns.options.id_field or "id")
            where = f"row {content[:EXCERPT]}" if id is None else f"row {str(id)[:EXCERPT]!r}"
            yield Rejected(where, str(error), content, readable=False)


@cache
def _report(note: str) -> None:
    """Log what was noticed in the rows, once in each process."""
    _log.warning("dataset: %s", note)


def as_rows(documents: Sequence[Document]) -> list[dict[str, str]]:
    """Return documents as rows of a dataset, which `read_rows` reads."""
    return [
        {"id": document.id, "text": document.text, "metadata": metadata_json(document.metadata)}
        for document in documents
    ]


def pack(parcel: Parcel) -> pa.Table:
    """Turn a parcel into a block; a parcel with vectors holds documents only."""
    rows: list[dict[str, Any]] = [
        *({**row, "stored": False} for row in as_rows(parcel.documents)),
        *({**row, "stored": True} for row in as_rows(parcel.stored)),
        *({"text": json.dumps(asdict(report)), "stored": True} for report in parcel.reports),
    ]
    table = pa.Table.from_pylist(rows, _SCHEMA)
    if parcel.vectors is not None:
        for name, column in _columns(parcel.vectors).items():
            table = table.append_column(name, column)
    return table


def pack_error(error: Exception) -> pa.Table:
    """Turn the error that ended a run into a block, which raises it where it is unpacked."""
    if not isinstance(error, TrivecError):  # only the traceback says where it comes from
        error.add_note("".join(traceback.format_exception(error)))
    pickled: bytes = cloudpickle.dumps(error)  # type: ignore[no-untyped-call]
    schema = _SCHEMA.append(pa.field("error", pa.binary()))
    return pa.Table.from_pylist([{"stored": True, "error": pickled}], schema)


def unpack(table: pa.Table) -> Iterator[Parcel]:
    """Yield the parcels of a block, and raise its error; vectors in one piece are not copied."""
    for batch in table.to_batches():
        texts, metadata = batch["text"].to_pylist(), batch["metadata"].to_pylist()
        documents: list[Document] = []
        touched: list[Document] = []
        reports: list[IngestReport] = []
        stored = batch["stored"].to_pylist()
        for row, id in enumerate(batch["id"].to_pylist()):
            if id is not None:
                document = Document(id, texts[row], json.loads(metadata[row]))
                (touched if stored[row] else documents).append(document)
            elif texts[row] is not None:
                members = json.loads(texts[row])
                failures = tuple(Rejected(**failure) for failure in members.pop("failures"))
                reports.append(IngestReport(**members, failures=failures))
        vectors = None
        if documents:
            whole = len(documents) == batch.num_rows
            new = pa.array(~np.asarray(stored))
            vectors = _vectors(batch if whole else batch.filter(new))
        yield Parcel(documents, vectors, touched, reports)
        if "error" in batch.schema.names:
            for pickled in batch["error"].drop_null():
                raise cloudpickle.loads(pickled.as_py())


def _columns(vectors: Vectors) -> dict[str, pa.Array]:
    columns = {}
    if vectors.dense is not None:
        columns["dense"] = _fixed(vectors.dense)
    if vectors.sparse is not None:
        indptr = pa.array(vectors.sparse.indptr)
        columns["indices"] = pa.LargeListArray.from_arrays(indptr, vectors.sparse.indices)
        columns["weights"] = pa.LargeListArray.from_arrays(indptr, vectors.sparse.values)
    if vectors.colbert is not None:
        columns["colbert"] = pa.LargeListArray.from_arrays(
            pa.array(vectors.colbert.indptr), _fixed(vectors.colbert.values)
        )
        if vectors.colbert.weights is not None:
            columns["lexical"] = pa.LargeListArray.from_arrays(
                pa.array(vectors.colbert.indptr), vectors.colbert.weights
            )
        if vectors.colbert.storage is not None:
            columns["storage"] = pa.array([str(vectors.colbert.storage)] * len(vectors))
    return columns


def _vectors(batch: pa.RecordBatch) -> Vectors | None:
    names = set(batch.schema.names)
    if not names & {"dense", "indices", "colbert"}:
        return None
    sparse = colbert = None
    if "indices" in names:
        indices, weights = batch["indices"], batch["weights"]
        sparse = SparseRows(
            _indptr(indices), indices.flatten().to_numpy(), weights.flatten().to_numpy()
        )
    if "colbert" in names:
        colbert = _tokens(batch)
    return Vectors(_matrix(batch["dense"]) if "dense" in names else None, sparse, colbert)


def _tokens(batch: pa.RecordBatch) -> TokenRows:
    """Return the token vectors of a block, whose documents may come from several."""
    names, weights, texts = set(batch.schema.names), None, set[str | None]()
    if "lexical" in names and not batch["lexical"].null_count:
        weights = batch["lexical"].flatten().to_numpy()
    if "storage" in names:
        texts = set(batch["storage"].to_pylist())
    storage = common_storage(None if text is None else ColbertStorage.parse(text) for text in texts)
    tokens = batch["colbert"]
    return TokenRows(_indptr(tokens), _matrix(tokens.flatten()), weights, storage)


def _fixed(matrix: NDArray[np.floating]) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _matrix(lists: pa.FixedSizeListArray) -> NDArray[np.floating]:
    flat: NDArray[np.floating] = lists.flatten().to_numpy()
    return flat.reshape(len(lists), lists.type.list_size)


def _indptr(lists: pa.LargeListArray) -> NDArray[np.int64]:
    offsets: NDArray[np.int64] = lists.offsets.to_numpy()
    first: np.int64 = offsets[0]
    return offsets - first
