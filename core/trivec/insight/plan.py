"""The storage that vectors take in each database, computed from the layouts of the connectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trivec.arguments import named
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.search import Part

MODELS: Mapping[str, Schema] = {
    "BAAI/bge-m3": Schema(1024, True, 1024, "BAAI/bge-m3"),
    "BAAI/bge-m3-unsupervised": Schema(1024, False, None, "BAAI/bge-m3-unsupervised"),
    "BAAI/bge-m3-retromae": Schema(1024, False, None, "BAAI/bge-m3-retromae"),
    "BAAI/bge-large-en-v1.5": Schema(1024, False, None, "BAAI/bge-large-en-v1.5"),
    "BAAI/bge-base-en-v1.5": Schema(768, False, None, "BAAI/bge-base-en-v1.5"),
    "BAAI/bge-small-en-v1.5": Schema(384, False, None, "BAAI/bge-small-en-v1.5"),
    "demo": Schema(384, True, 384, "demo"),
}
"""The vectors of known models, so that planning does not load a model."""

# The maximum numbers in one document's multivector in Qdrant (lib/common/common/src/validation.rs)
# and the maximum elements of an array in Milvus. Longer rows are pooled to fit.
_QDRANT_FLOATS = 2**20 - 1
_MILVUS_ROWS = 4096
_MAX_TOKENS = 10**12  # of a document


@dataclass(frozen=True, slots=True)
class StorageChoice:
    """One way to store one part in one database.

    Args:
        database: "qdrant", "milvus" or "vespa".
        part: The part.
        storage: The name of the storage type in the database.
        formula: The bytes of one document, with d dimensions, t ColBERT vectors, s lexical terms.
        document_bytes: The value of the formula.
        default: Whether this is the connector's default.
    """

    database: str
    part: Part
    storage: str
    formula: str
    document_bytes: float
    default: bool

    @property
    def bytes_per_thousand(self) -> int:
        """The bytes of 1,000 documents."""
        return round(1000 * self.document_bytes)


def plan(schema: Schema, *, tokens: float, terms: float | None = None) -> list[StorageChoice]:
    """Return the bytes of each way to store the vectors.

    The numbers are computed from the layouts, not measured. They do not include texts, metadata,
    the graphs and posting lists of indexes, logs and replicas.

    Args:
        schema: The vectors of a document.
        tokens: The mean number of tokens in a document's text; it has one more ColBERT vector.
        terms: The mean number of distinct tokens with a lexical weight; by default every token,
            which is the maximum.

    Raises:
        InvalidOptionError: If a number is below 0 or above 10**12, or there are more terms than
            tokens.

    Example:
        >>> choices = plan(MODELS["BAAI/bge-m3"], tokens=199)
        >>> [c.bytes_per_thousand for c in choices if c.storage == "float16 multivector"]
        [409600000]
    """
    if not 0 <= tokens <= _MAX_TOKENS or (terms is not None and not 0 <= terms <= tokens):
        raise InvalidOptionError(
            f"{named('tokens', tokens)}, {named('terms', terms)}: expected numbers from 0 to "
            f"{_MAX_TOKENS:,}, and no more terms than tokens"
        )
    choices: list[StorageChoice] = []
    if schema.dense is not None:
        choices += _dense(schema.dense)
    if schema.sparse:
        choices += _sparse(tokens if terms is None else terms)
    if schema.colbert is not None:
        choices += _colbert(schema.colbert, tokens + 1)
    return choices


def schema_of(model: str) -> Schema:
    """Return the vectors of a model by its name.

    Raises:
        InvalidOptionError: If the name is unknown.
    """
    if model not in MODELS:
        raise InvalidOptionError(
            f"the vectors of {model!r} are unknown; give a collection that holds them, or one of "
            f"{', '.join(MODELS)}"
        )
    return MODELS[model]


def _dense(d: int) -> Iterator[StorageChoice]:
    yield StorageChoice("qdrant", "dense", "float32", "4 d", 4 * d, True)
    for name, formula, copy in (
        ("int8", "d", d),
        ("turbo4", "d/2", d / 2),
        ("turbo2", "d/4", d / 4),
        ("turbo1", "d/8", d / 8),
        ("binary", "d/8", d / 8),
    ):
        full = f"4 d + {formula}"
        yield StorageChoice("qdrant", "dense", f"float32 + {name} copy", full, 4 * d + copy, False)
    yield StorageChoice("milvus", "dense", "FLOAT_VECTOR", "4 d", 4 * d, True)
    yield StorageChoice("vespa", "dense", "tensor<bfloat16>", "2 d", 2 * d, True)


def _sparse(s: float) -> Iterator[StorageChoice]:
    """Return the choices for lexical weights; a term is an id of 4 bytes and a weight."""
    yield StorageChoice("qdrant", "sparse", "float32 + float16 index", "8 s + 6 s", 14 * s, True)
    yield StorageChoice("qdrant", "sparse", "float32 + float32 index", "8 s + 8 s", 16 * s, False)
    yield StorageChoice("milvus", "sparse", "SPARSE_FLOAT_VECTOR", "8 s", 8 * s, True)
    yield StorageChoice(
        "vespa", "sparse", "weightedset<int> + tensor<float>", "8 s + 8 s", 16 * s, True
    )


def _colbert(d: int, t: float) -> Iterator[StorageChoice]:
    most = _QDRANT_FLOATS // d
    rows = min(t, most)
    pooled = f", t at most {most}" if t > most else ""
    for name, formula, size in (
        ("float32", "4 t d", 4.0),
        ("float16", "2 t d", 2.0),
        ("turbo16", "2 t d", 2.0),
        ("turbo8", "t d", 1.0),
        ("turbo4", "t d / 2", 0.5),
    ):
        yield StorageChoice(
            "qdrant", "colbert", f"{name} multivector", formula + pooled, size * rows * d,
            name == "float16",
        )  # fmt: skip
    rows = min(t, _MILVUS_ROWS)
    pooled = f", t at most {_MILVUS_ROWS}" if t > _MILVUS_ROWS else ""
    for name, formula, size, default in (
        ("native, FLOAT_VECTOR", "4 t d", 4.0, True),
        ("native, FLOAT16_VECTOR", "2 t d", 2.0, False),
        # Strings cannot hold bytes: base64 makes 4 characters of 3 bytes.
        ("payload, float16 in base64", "8/3 t d", 8 / 3, False),
    ):
        yield StorageChoice("milvus", "colbert", name, formula + pooled, size * rows * d, default)
    yield StorageChoice("vespa", "colbert", "tensor<bfloat16>", "2 t d", 2 * t * d, True)
    yield StorageChoice(
        "vespa", "colbert", "tensor<bfloat16> + signs", "2 t d + t d / 8", 2.125 * t * d, False
    )
