"""The exceptions that trivec raises, as one tree.

```text
TrivecError
├── InvalidInputError (ValueError)       something handed in is wrong
│   ├── InvalidDocumentError             a document, named by its id
│   ├── InvalidVectorsError              shapes, dtypes, NaN, order of indices
│   ├── InvalidFilterError               a filter that cannot be meant or parsed
│   └── InvalidOptionError               a URL, a mode, a weight, an unknown option
├── MissingDependencyError (ImportError) an extra is not installed
├── CheckpointError                      a model folder that cannot be loaded
├── SchemaMismatchError                  the collection is not what was asked for
├── JournalError                         a journal of another run, or none
├── OutputError (OSError)                a file could not be written
└── StoreError                           the database failed
    ├── CollectionNotFoundError          nothing is there yet
    ├── AuthenticationError              the credentials were refused
    ├── DocumentRefusedError             one document, named by its id
    ├── RequestTooLargeError             send less at once
    ├── StoreFullError                   no more writes until somebody makes room
    ├── StoreUnavailableError            retry later; the outcome may be unknown
    └── IncompleteResultError            a partial answer
```
"""

from __future__ import annotations


class TrivecError(Exception):
    """Everything that trivec raises on purpose."""


class InvalidInputError(TrivecError, ValueError):
    """Something that was handed in cannot be used."""


class InvalidDocumentError(InvalidInputError):
    """A document that cannot be stored; the message names it."""


class InvalidVectorsError(InvalidInputError):
    """Vectors with a wrong shape, a wrong order or a value that is not finite."""


class InvalidFilterError(InvalidInputError):
    """A filter that cannot be meant, parsed, or evaluated by this store."""


class InvalidOptionError(InvalidInputError):
    """An option, a URL, a mode or a weight that does not exist or is out of range."""


class MissingDependencyError(TrivecError, ImportError):
    """A client library is not installed; the message names the extra."""


class CheckpointError(TrivecError):
    """A model folder that lacks files or holds the wrong shapes."""


class SchemaMismatchError(TrivecError):
    """The collection exists and differs from what was asked for."""


class JournalError(TrivecError):
    """A journal of another store or model, in use by another run, or not a journal."""


class OutputError(TrivecError, OSError):
    """A file could not be written; `errno` is the system's number for why, where it gave one."""


class StoreError(TrivecError):
    """The database refused or failed."""


class CollectionNotFoundError(StoreError):
    """The collection does not exist."""


class AuthenticationError(StoreError):
    """The database refused the credentials."""


class DocumentRefusedError(StoreError):
    """The database refused a document and took others; the message names it."""


class RequestTooLargeError(StoreError):
    """The database refuses a request of this size; the same in smaller parts may pass."""


class StoreFullError(StoreError):
    """The database takes no more writes, of whatever document, until somebody makes room."""


class StoreUnavailableError(StoreError):
    """The database cannot answer now, and whether it acted is unknown.

    Args:
        message: What happened.
        retry_after: Seconds that the database asked to wait, if it said so.
        unreachable: Whether nothing answered at all: no such host, or nobody listens there.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unreachable = unreachable


class IncompleteResultError(StoreError):
    """The database answered for a part of the collection only."""
