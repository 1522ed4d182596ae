"""The options of the commands that reject documents, and the exit code that follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.options import notes, print_json
from trivec.document import Document
from trivec.errors import InvalidOptionError, TooManyRejectsError
from trivec.ingestion.options import Ingestion, OnError, check_on_error
from trivec.ingestion.reject_limit import RejectLimit
from trivec.ingestion.rejecting import Rejecter, accepted
from trivec.ingestion.report import IngestReport, Tally
from trivec.ingestion.sources import RejectFile, Source
from trivec.ingestion.sources.files import REJECTS_SUFFIX

SHOWN_REASONS = 10


@dataclass(frozen=True, kw_only=True)
class RejectFlags:
    """What happens to documents and lines that cannot be taken."""

    on_error: Annotated[
        str | None,
        typer.Option(
            help="raise: stop at the first reject, the default; skip: go on without it, and exit "
            "with 1 at the end."
        ),
    ] = None
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="The file for rejects, which accepts them: skip, and exit with 0. Without it they "
            "are in SOURCE.rejects.jsonl, or beside the folder of several files."
        ),
    ] = None
    max_rejects: Annotated[
        str | None,
        typer.Option(
            help="Accept at most so many rejects, as a number or as a share of the records such as "
            "1%; with more, stop and exit with 1."
        ),
    ] = None

    @property
    def accepts(self) -> bool:
        """Whether rejects are accepted, as far as the limit allows."""
        return self.rejects is not None or self.max_rejects is not None

    @property
    def policy(self) -> OnError:
        """The `on_error` of the run.

        Raises:
            InvalidOptionError: If the options contradict each other.
        """
        RejectLimit.parse(self.max_rejects)
        if self.on_error is None:
            return "skip" if self.accepts else "raise"
        policy = check_on_error(self.on_error)
        if policy == "raise" and self.accepts:
            given = "--rejects" if self.max_rejects is None else "--max-rejects"
            raise InvalidOptionError(f"--on-error raise stops at the first reject; omit {given}")
        return policy

    @contextmanager
    def accepting(
        self,
        documents: Source,
        sources: Sequence[str],
        tally: Tally,
        check: Callable[[Document], object] | None = None,
    ) -> Iterator[Iterator[Document]]:
        """Yield the documents of a source without its rejects, which go to their file.

        Args:
            documents: The source.
            sources: Its files as they were given.
            tally: Counts the records and the rejects.
            check: Raises `InvalidDocumentError` for a document that cannot be written.

        Raises:
            TooManyRejectsError: If more were rejected than `max_rejects`.
        """
        policy = self.policy
        with ExitStack() as opened:
            rejected = None
            if policy == "skip":  # otherwise there are none, and an earlier file stays
                rejected = opened.enter_context(self.open(sources, documents.paths))
            options = Ingestion(on_error=policy, rejected=rejected, max_rejects=self.max_rejects)
            try:
                yield accepted(documents, Rejecter(options, tally), check)
            except TooManyRejectsError as error:
                print_rejects(error.report, None if rejected is None else rejected.path)
                raise
            print_rejects(tally.report(), None if rejected is None else rejected.path)

    def open(self, sources: Sequence[str], files: Sequence[str]) -> RejectFile:
        """Return the file for rejects.

        By default it is next to the source, or next to the folder that several files are in.

        Args:
            sources: The sources as they were given.
            files: The files and folders that they are.
        """
        if self.rejects is not None:
            return RejectFile(self.rejects)
        base = Path("stdin" if files[0] == "-" else files[0])
        if len(files) > 1 or list(sources) != list(files):  # several files, or a pattern
            base = Path(os.path.commonpath([str(Path(file).absolute().parent) for file in files]))
        if base.name in ("", ".."):  # such as ".", which has no name to append to
            base = base.resolve()
        return RejectFile(f"{base}{REJECTS_SUFFIX}", follow_links=False)

    def end(self, report: IngestReport) -> None:
        """Exit with 1 if something was rejected and rejects are not accepted."""
        if report.failed and not self.accepts:
            notes.print(
                "[red]exit code 1, since rejects are not accepted: --rejects FILE accepts them, "
                "--max-rejects N some[/red]",
                soft_wrap=True,
            )
            raise typer.Exit(1)


def print_rejects(report: IngestReport, rejects: Path | None) -> None:
    """Print how many records were rejected, the first reasons, and where the others are."""
    if not report.failed:
        return
    kept = "" if rejects is None else f" and are in {escape(str(rejects))}"
    notes.print(f"[red]{report.failed} could not be stored{kept}[/red]", soft_wrap=True)
    for failure in report.failures[:SHOWN_REASONS]:
        id = f", document {failure.id!r}" if failure.id else ""
        notes.print(f"  {failure.where}{id}: {failure.problem}", markup=False, soft_wrap=True)
    if report.failed > SHOWN_REASONS:
        notes.print(f"  and {report.failed - SHOWN_REASONS} more")


def print_records(report: IngestReport, done: str) -> None:
    """Print what became of the records, such as "4 records: 1 stored, 3 rejected".

    Args:
        report: The report of the run.
        done: What became of `report.documents`.
    """
    # A document that was written before another one with its id came is a replaced one.
    kept = report.records - report.unchanged - report.replaced - report.failed
    facts = [f"{max(0, min(report.documents, kept))} {done}"]
    for count, word in (
        (report.unchanged, "unchanged"),
        (report.replaced, "replaced"),
        (report.failed, "rejected"),
    ):
        if count:
            facts.append(f"{count} {word}")
    notes.print(f"{report.records} records: {', '.join(facts)}")


def print_report(report: IngestReport, *, as_json: bool, rejects: Path | None = None) -> None:
    """Print the report of an ingestion or a copy.

    JSON is printed on standard output, sentences on standard error.
    """
    if as_json:
        print_json(asdict(report))
        return
    print_records(report, "stored")
    passages = f" in {report.passages} passages" if report.passages else ""
    notes.print(
        f"{report.documents} documents{passages}, {report.bytes / 1e6:.1f} MB "
        f"in {report.requests} writes, {report.seconds:.1f} s"
    )
    for count, sentence in (
        (report.unchanged, "were written before and have not changed"),
        (report.touched, "were written without encoding: only their metadata changed"),
        (report.replaced, "had an id that came before; the last document was kept"),
        (report.missing, "had been written and were lost; they were written again"),
        (report.pruned, "are no longer in the source and were deleted"),
    ):
        if count:
            notes.print(f"{count} {sentence}")
    if report.overflowed:
        notes.print(
            f"[yellow]{report.overflowed} had more ColBERT vectors than the database holds; "
            "similar vectors were merged[/yellow]"
        )
    print_rejects(report, rejects)
