"""The exceptions that trivec raises, as one tree.

```text
TrivecError
├── InvalidInputError (ValueError)       an argument or input that cannot be used
│   ├── InvalidDocumentError             a document, named by its id
│   ├── InvalidVectorsError              shapes, dtypes, NaN, order of indices
│   ├── InvalidFilterError               a filter that is malformed or compares wrong values
│   └── InvalidOptionError               a URL, a mode, a weight, an unknown option
├── MissingDependencyError (ImportError) an extra is not installed
├── CheckpointError                      a model folder that cannot be loaded
├── SchemaMismatchError                  the collection has another schema
├── JournalError                         a journal of another run, or not a journal
├── TooManyRejectsError                  more rejects than `max_rejects`; it has the report
├── OutputError (OSError)                a file could not be written
├── UnavailableError                     a server cannot be reached now; the call is repeated
├── EncoderError                         the server of an encoder failed
│   └── EncoderUnavailableError          retry later (also an UnavailableError)
└── StoreError                           the database failed
    ├── CollectionNotFoundError          the collection does not exist
    ├── AuthenticationError              the credentials were refused
    ├── DocumentRefusedError             one document, named by its id
    ├── RequestTooLargeError             send less at once
    ├── StoreFullError                   no more writes until there is space
    ├── StoreUnavailableError            retry later (also an UnavailableError); the outcome may
    │                                    be unknown
    └── IncompleteResultError            a result for a part of the collection
```
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "CheckpointError",
    "CollectionNotFoundError",
    "DocumentRefusedError",
    "EncoderError",
    "EncoderUnavailableError",
    "IncompleteResultError",
    "InvalidDocumentError",
    "InvalidFilterError",
    "InvalidInputError",
    "InvalidOptionError",
    "InvalidVectorsError",
    "JournalError",
    "MissingDependencyError",
    "OutputError",
    "RequestTooLargeError",
    "SchemaMismatchError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "TooManyRejectsError",
    "TrivecError",
    "UnavailableError",
]


class TrivecError(Exception):
    """The base class of all exceptions that trivec raises."""


class InvalidInputError(TrivecError, ValueError):
    """An argument or an input that cannot be used."""


class InvalidDocumentError(InvalidInputError):
    """A document that cannot be stored; the message names it."""


class InvalidVectorsError(InvalidInputError):
    """Vectors with a wrong shape, a wrong order or a value that is not finite."""


class InvalidFilterError(InvalidInputError):
    """A filter that is malformed, compares wrong values, or that this store cannot evaluate."""


class InvalidOptionError(InvalidInputError):
    """An option, a URL, a mode or a weight that does not exist or is out of range."""


class MissingDependencyError(TrivecError, ImportError):
    """A client library is not installed; the message names the extra."""


class CheckpointError(TrivecError):
    """A model folder that lacks files or has tensors of wrong shapes."""


class SchemaMismatchError(TrivecError):
    """The collection exists and differs from the requested schema or fields."""


class JournalError(TrivecError):
    """A journal of another store or model, in use by another run, or not a journal."""


class TooManyRejectsError(TrivecError):
    """A run rejected more records than `max_rejects`; what was stored until then stays.

    Attributes:
        report (IngestReport): The report until then.
    """

    def __init__(self, message: str, report: Any) -> None:  # noqa: ANN401 - of a higher module
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[TooManyRejectsError], tuple[str, Any]]:
        return type(self), (str(self), self.report)


class OutputError(TrivecError, OSError):
    """A file could not be written; `errno` is the system's error number, if there is one."""


class UnavailableError(TrivecError):
    """A server cannot be reached now, and the same call may succeed later.

    Args:
        message: The message.
        retry_after: The seconds to wait, if the server said so.
        unreachable: Whether the host is unknown, or no server listens there.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unreachable = unreachable


class EncoderError(TrivecError):
    """The server of an encoder refused, answered wrongly, or changed its model."""


class EncoderUnavailableError(EncoderError, UnavailableError):
    """The server of an encoder cannot be reached or is busy; no vectors came.

    The arguments are those of `UnavailableError`.
    """


class StoreError(TrivecError):
    """The database refused or failed."""


class CollectionNotFoundError(StoreError):
    """The collection does not exist."""


class AuthenticationError(StoreError):
    """The database refused the credentials."""


class DocumentRefusedError(StoreError):
    """The database refused a document and accepted others; the message names it."""


class RequestTooLargeError(StoreError):
    """The database refuses a request of this size; smaller requests may succeed."""


class StoreFullError(StoreError):
    """The database accepts no more writes of any document until there is space."""


class StoreUnavailableError(StoreError, UnavailableError):
    """The database cannot be reached now; whether it carried out the request is unknown.

    The arguments are those of `UnavailableError`.
    """


class IncompleteResultError(StoreError):
    """The database returned results for a part of the collection only."""
