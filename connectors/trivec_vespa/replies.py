"""Vespa's answers of status 200, checked against its documentation.

A proxy or a load balancer in between may answer in Vespa's place, and an answer may be cut short.
So an answer counts only if it is one that the operation can have; see
https://docs.vespa.ai/en/reference/document-v1-api-reference.html,
https://docs.vespa.ai/en/reference/default-result-format.html and
https://docs.vespa.ai/en/reference/deploy-rest-api-v2.html.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from trivec.errors import IncompleteResultError, StoreError, StoreUnavailableError
from trivec.plain import MALFORMED

T = TypeVar("T")
Fields = Mapping[str, Any]
"""The fields of a document or of a hit."""

_MOST_CHARACTERS = 1000  # of a message of Vespa's
_TIMEOUT_CODE, _NO_BACKEND_CODES = 12, frozenset({0, 2, 10})
_FOLDER = re.compile(r"/document/v1/([^/]+)/([^/]+)/docid")
_SCHEMA = re.compile(r"^\s*(?:schema|search)\s+\w+", re.MULTILINE)


class WrongReplyError(Exception):
    """An answer is none that the operation can have; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One page of a visit.

    Args:
        documents: The last part of each document's id, and its fields.
        continuation: Where the next page starts, if there is one.
    """

    documents: Sequence[tuple[str, Fields]]
    continuation: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query.

    Args:
        total: How many documents match.
        hits: The fields of the hits.
        coverage: Which part of the documents was searched.
    """

    total: int
    hits: Sequence[Fields]
    coverage: Mapping[str, Any]


# --- JSON --------------------------------------------------------------------------------------


def json_of(content: str | bytes) -> Any:  # noqa: ANN401 - JSON holds any value
    """Return the value of JSON in UTF-8.

    Raises:
        ValueError: If it is not JSON, or Python cannot hold the value.

    Example:
        >>> json_of(b'{"a": [1.5, null]}')
        {'a': [1.5, None]}
    """
    try:
        return json.loads(content, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _member(answer: object, name: str, type_: type[T]) -> T:
    """Return one member of a JSON object, which must exist and be of a type."""
    if not isinstance(answer, dict):
        raise WrongReplyError("it is no JSON object")
    value = answer.get(name)
    if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
        raise WrongReplyError(f"its {name!r} is no {type_.__name__}")
    return value


def _whole_number(answer: object, name: str) -> int:
    value = _member(answer, name, int)
    if value < 0:
        raise WrongReplyError(f"its {name!r} is negative")
    return value


def finite(value: object) -> float:
    """Return a number from Vespa as a float.

    Raises:
        ValueError: If it is no number, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no finite number")
    return float(value)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the errors of reading stored content into one that names it."""
    try:
        yield
    except MALFORMED as error:
        raise StoreError(
            f"{what} is not as trivec stores it ({type(error).__name__}: {str(error)[:200]}); "
            "write it again"
        ) from error


# --- documents ---------------------------------------------------------------------------------


def is_about(answer: object, path: str) -> bool:
    """Return whether an answer of `/document/v1` is about this path."""
    answered = answer.get("pathId") if isinstance(answer, dict) else None
    return isinstance(answered, str) and unquote(answered) == unquote(path)


def acknowledged(answer: object, path: str) -> None:
    """Check that a put or a removal of the document under a path is acknowledged.

    >>> answer = {"pathId": "/document/v1/n/t/docid/a%2Fb", "id": "id:n:t::a/b"}
    >>> acknowledged(answer, "/document/v1/n/t/docid/a%2Fb")
    >>> acknowledged({}, "/document/v1/n/t/docid/a%2Fb")
    Traceback (most recent call last):
    ...
    trivec_vespa.replies.WrongReplyError: its 'pathId' is no str
    """
    _check_path(answer, path)
    folder, _, key = path.rpartition("/")
    parts = _FOLDER.fullmatch(folder)
    expected = "" if parts is None else f"id:{parts[1]}:{parts[2]}::{unquote(key)}"
    if _member(answer, "id", str) != expected:
        raise WrongReplyError(f"its 'id' is not {expected!r}")


def stored_fields(answer: object, path: str) -> Fields:
    """Return the fields of the document under a path."""
    acknowledged(answer, path)
    return _fields(answer)


def visited(answer: object, path: str) -> Visit:
    """Return one page of a visit."""
    page = emptied(answer, path)
    parts = _FOLDER.fullmatch(path)
    prefix = f"id:{parts[1]}:{parts[2]}::" if parts is not None else ""
    documents: list[tuple[str, Fields]] = []
    for document in _member(answer, "documents", list):
        id = _member(document, "id", str)
        if not id.startswith(prefix):
            raise WrongReplyError(f"it holds {id[:300]!r}, which is not under this path")
        documents.append((id.removeprefix(prefix), _fields(document)))
    if len(documents) != _whole_number(answer, "documentCount"):
        raise WrongReplyError("it holds more or fewer documents than its 'documentCount'")
    return Visit(documents, page.continuation)


def emptied(answer: object, path: str) -> Visit:
    """Return one page of a removal by a visit, which names no documents."""
    _check_path(answer, path)
    _whole_number(answer, "documentCount")
    if not isinstance(answer, dict) or "continuation" not in answer:
        return Visit((), None)
    continuation = _member(answer, "continuation", str)
    if not continuation:
        raise WrongReplyError("its 'continuation' is empty")
    return Visit((), continuation)


def next_continuation(page: Visit, continuation: object) -> str | None:
    """Return where the next page of a visit starts; None after the last."""
    if page.continuation is not None and page.continuation == continuation:
        raise StoreError(f"Vespa's visit stays at one place: {page.continuation[:100]!r}")
    return page.continuation


def _check_path(answer: object, path: str) -> None:
    answered = _member(answer, "pathId", str)
    if not is_about(answer, path):
        raise WrongReplyError(f"its 'pathId' is {answered[:300]!r}")


def _fields(answer: object) -> Fields:
    fields: Fields = _member(answer, "fields", dict)
    return fields


# --- queries -----------------------------------------------------------------------------------


def searched(answer: object, *, allow_partial: bool, limit: int) -> Result:
    """Return the result of a query, whose status may be 200 although it failed.

    Raises:
        StoreUnavailableError: If Vespa timed out or found no node.
        IncompleteResultError: If a part of the documents was not searched.
        StoreError: If there is another error.
        WrongReplyError: If it is no answer of Vespa's.
    """
    codes = error_codes(answer)
    if codes:
        message = f"Vespa's query failed: {message_of(answer)}"
        if codes <= {_TIMEOUT_CODE, *_NO_BACKEND_CODES}:
            raise StoreUnavailableError(message)
        raise StoreError(message)
    result = query_result(answer)
    if not result.coverage["full"]:
        if allow_partial:
            return result
        degraded = json.dumps(result.coverage.get("degraded", {}))[:300]
        raise IncompleteResultError(
            f"Vespa searched {str(result.coverage.get('coverage'))[:20]} % of the documents "
            f"({degraded}); raise `timeout`, or pass allow_partial=True to take such answers"
        )
    # All hits may have been deleted between the two phases of the query; asking again shows it.
    if limit and result.total and not result.hits:
        raise WrongReplyError(f"it counts {result.total} documents and holds none")
    return result


def query_result(answer: object) -> Result:
    """Return the result in the answer to a query, which reports no errors."""
    root: object = _member(answer, "root", dict)
    total = _whole_number(_member(root, "fields", dict), "totalCount")
    coverage: Mapping[str, Any] = _member(root, "coverage", dict)
    _member(coverage, "full", bool)
    hits: list[Fields] = []
    if isinstance(root, dict) and "children" in root:
        for hit in _member(root, "children", list):
            try:
                finite(_member(hit, "relevance", object))
            except ValueError as error:
                raise WrongReplyError(f"the 'relevance' of a hit: {error}") from error
            # A hit whose document is deleted between the two phases of a query has no fields.
            if "fields" in hit:
                hits.append(_fields(hit))
    return Result(total, hits, coverage)


def error_codes(answer: object) -> set[object]:
    """Return the codes of the errors in the answer to a query."""
    errors = _errors_of(answer)
    if not errors:
        return set()
    if not isinstance(errors, list):
        raise WrongReplyError("its 'errors' are no JSON array")
    codes = (error.get("code") if isinstance(error, dict) else None for error in errors)
    return {code if isinstance(code, int) else None for code in codes}


def is_error(answer: object) -> bool:
    """Return whether an answer reports an error in the form of queries or of config servers."""
    if isinstance(_errors_of(answer), list):
        return True
    return isinstance(answer, dict) and isinstance(answer.get("error-code"), str)


def message_of(answer: object) -> str:
    """Return the error messages of an answer, without the stack traces that Vespa adds."""
    errors = _errors_of(answer)
    texts = [_error_message(error) for error in errors] if isinstance(errors, list) else []
    if not texts and isinstance(answer, dict) and "message" in answer:
        texts = [str(answer["message"])]
    return ("; ".join(texts) or "no message")[:_MOST_CHARACTERS]


def _errors_of(answer: object) -> object:
    root = answer.get("root") if isinstance(answer, dict) else None
    return root.get("errors") if isinstance(root, dict) else None


def _error_message(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    return str(error.get("message") or error.get("summary") or error)


# --- the config server -------------------------------------------------------------------------


def deployed(answer: object, path: str) -> None:
    """Check that a config server has activated the package."""
    _member(answer, "message", str)


def file_paths(answer: object, path: str) -> list[str]:
    """Return the paths of an active application's files, sorted; the answer lists their URLs."""
    if not isinstance(answer, list):
        raise WrongReplyError("it is no JSON array")
    paths: list[str] = []
    for url in answer:
        if not isinstance(url, str) or "/content/" not in url:
            raise WrongReplyError("it holds an item that is no URL of a file")
        paths.append(urlsplit(url).path.partition("/content/")[2])
    if "services.xml" not in paths:
        raise WrongReplyError("it lacks services.xml, which every application has")
    return sorted(path for path in paths if path and not path.endswith("/"))


def schema_text(text: str, path: str) -> str:
    """Return the text of a schema."""
    if not _SCHEMA.search(text):
        raise WrongReplyError("it is no schema")
    return text
