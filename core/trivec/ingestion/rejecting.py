"""Rejects of a run: skipped, counted, limited, or an error that ends the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trivec.document import Document
from trivec.errors import InvalidDocumentError, TooManyRejectsError
from trivec.ingestion.contents import document_json
from trivec.ingestion.options import Ingestion
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.ingestion.sources import Source


@dataclass(slots=True)
class Rejecter:
    """Applies `on_error`, `rejected` and `max_rejects` to the rejects of one run."""

    options: Ingestion
    tally: Tally

    def reject(self, rejected: Rejected, error: Exception | None = None) -> None:
        """Skip a document or line, or end the run.

        Args:
            rejected: The document or line.
            error: What is raised if `on_error` is "raise"; by default an `InvalidDocumentError`.

        Raises:
            TooManyRejectsError: If more were rejected than `max_rejects`.
        """
        if self.options.on_error == "raise":
            raise error or rejected.error
        if self.options.rejected is not None:
            self.options.rejected(rejected)
        unreadable = int(not rejected.readable)
        self.tally.add(IngestReport(failed=1, unreadable=unreadable, failures=(rejected,)))
        self.check()

    def check(self, *, ended: bool = False) -> None:
        """Raise `TooManyRejectsError` if too many were rejected; a share needs many records."""
        failed, records = self.tally.rejects()
        limit = self.options.reject_limit
        if not limit.is_exceeded(failed, records, ended=ended):
            return
        when = "" if ended else "; the rest was not read"
        raise TooManyRejectsError(
            f"{failed} of {records} records were rejected, more than max_rejects={limit}{when}",
            self.tally.report(),
        )


def accepted(
    source: Source, rejecter: Rejecter, check: Callable[[Document], object] | None = None
) -> Iterator[Document]:
    """Yield the documents of a source, without its rejects and those that a check refuses.

    Args:
        source: The source.
        rejecter: What is done with rejects.
        check: Raises `InvalidDocumentError` for a document that cannot be written.

    Raises:
        InvalidDocumentError: At the first reject, if `on_error` is "raise".
        TooManyRejectsError: If more were rejected than `max_rejects`.
    """
    for document in source:
        rejecter.tally.records += 1
        if isinstance(document, Rejected):
            rejecter.reject(document)
            continue
        try:
            if check is not None:
                check(document)
        except InvalidDocumentError as refusal:
            content = document_json(document)
            rejecter.reject(Rejected(source.position, str(refusal), content, id=document.id))
        else:
            yield document
    rejecter.check(ended=True)
