"""The bytes that vectors take in each database, computed from the layouts of the connectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trivec.arguments import named
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.stores.registry import backend_class, installed_backends
from trivec.stores.storage import StorageChoice

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

_MAX_TOKENS = 10**12  # tokens of a document


def plan(
    schema: Schema, *, tokens: float, terms: float | None = None, scheme: str | None = None
) -> list[StorageChoice]:
    """Return the ways to store vectors in the installed databases, and the bytes that they take.

    The numbers are computed from the layouts, not measured. They do not include texts, metadata,
    the graphs and posting lists of indexes, logs and replicas.

    Args:
        schema: The vectors of each document.
        tokens: The mean number of tokens of a text; a document has one ColBERT vector more.
        terms: The mean number of different tokens with a lexical weight; by default every token,
            which is the maximum.
        scheme: The URL scheme of the database that comes first; the others follow in the order of
            their schemes.

    Raises:
        InvalidOptionError: If a number is below 0 or above 10**12, there are more terms than
            tokens, or the scheme is unknown.
        MissingDependencyError: If the client of that database is not installed.

    Example:
        >>> parts = {choice.part for choice in plan(MODELS["BAAI/bge-m3-retromae"], tokens=199)}
        >>> parts <= {"dense"}
        True
    """
    if not 0 <= tokens <= _MAX_TOKENS or (terms is not None and not 0 <= terms <= tokens):
        raise InvalidOptionError(
            f"{named('tokens', tokens)}, {named('terms', terms)}: expected numbers from 0 to "
            f"{_MAX_TOKENS:,}, and no more terms than tokens"
        )
    backends = list(installed_backends())
    if scheme is not None:
        first = backend_class(scheme)
        backends.sort(key=lambda backend: backend is not first)
    rows = tokens + 1
    terms = tokens if terms is None else terms
    choices: list[StorageChoice] = []
    for backend in backends:
        most = backend.limits.max_colbert_rows(schema.colbert)
        if most is None or rows <= most:
            choices += backend.storage_choices(schema, tokens=rows, terms=terms)
            continue
        for choice in backend.storage_choices(schema, tokens=most, terms=terms):
            if choice.part == "colbert":  # longer documents are pooled down to the limit
                choice = replace(choice, formula=f"{choice.formula}, t at most {most}")
            choices.append(choice)
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
