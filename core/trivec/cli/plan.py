"""`trivec plan`: the bytes of vectors in each database, and what smaller ones cost in quality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from trivec.cli.evaluate import QrelsOption, SplitOption, judged_files, read_judged
from trivec.cli.models import DEFAULT, ModelFlags
from trivec.cli.options import (
    AsJson,
    WeightsText,
    inputs_of,
    notes,
    output,
    print_json,
    weights_of,
)
from trivec.cli.sources import SourceFlags
from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.insight.judgements import Qrels, read_queries
from trivec.insight.plan import plan as storage_choices
from trivec.insight.plan import schema_of
from trivec.insight.storage.measurement import check_full, measure_storage
from trivec.insight.storage.report import StorageReport
from trivec.outputs import check_outputs
from trivec.schema import Schema
from trivec.stores.registry import open_store
from trivec.stores.storage import StorageChoice
from trivec.stores.store import Store
from trivec.stores.url import StoreUrl

SAMPLE = 256  # documents of a collection whose lengths are measured


def plan(
    model: ModelFlags,
    reading: SourceFlags,
    store: Annotated[
        str | None,
        typer.Argument(
            help="URL of a collection whose dimensions and lengths are taken; its database comes "
            "first. With --measure also a file of documents, which are encoded; the "
            "options for files say how it is read."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="With --measure: a folder in BEIR's layout, or a file of questions; without it, "
            "questions are drawn from the documents."
        ),
    ] = None,
    tokens: Annotated[
        float | None, typer.Option(help="The mean number of tokens of a text; 200 by default.")
    ] = None,
    terms: Annotated[
        float | None,
        typer.Option(help="The mean number of lexical terms; as many as tokens by default."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Measure what smaller token vectors cost in quality, on a sample."
        ),
    ] = False,
    qrels: QrelsOption = None,
    split: SplitOption = "test",
    colbert: Annotated[
        list[str] | None,
        typer.Option(
            help="With --measure: a storage such as bits=1,pool=2; repeat for more. About 20 by "
            "default."
        ),
    ] = None,
    sample: Annotated[int, typer.Option(help="The most documents to measure with.")] = 2_000,
    questions: Annotated[
        int | None,
        typer.Option(
            help="The most questions; by default all that are given, or 200 that are drawn."
        ),
    ] = None,
    weights: WeightsText = "general",
    candidates: Annotated[
        int, typer.Option(help="The number of candidates from each of the two sources.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="The seed of the random sample.")] = 0,
    html: Annotated[
        Path | None, typer.Option(help="With --measure: write a page with charts to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the bytes of 1,000 documents for each way to store their vectors.

    With --measure, try small token vectors on your own documents and questions.
    """
    if not measure:
        given: dict[str, object] = {
            "a file of questions": data,
            "--qrels": qrels,
            "options for files": None if reading == SourceFlags() else reading,
            "--colbert": colbert,
            "--questions": questions,
            "--html": html,
        }
        for name, value in given.items():
            if value is not None:
                raise InvalidOptionError(f"{name}: only with --measure")
        _print_plan(store, tokens, terms, model.model or DEFAULT, as_json=as_json)
        return
    if store is None:
        raise InvalidOptionError("--measure needs a collection, or a file of documents")
    if tokens is not None or terms is not None:
        raise InvalidOptionError("--tokens and --terms: not with --measure, which counts them")
    storages = [ColbertStorage.parse(text) for text in colbert] if colbert else None
    combination = weights_of(weights)
    is_file = _is_file(store, reading)
    check_outputs(
        {"--html": html},
        inputs=[
            *inputs_of(model.folder, stores=() if is_file else [store]),
            *(inputs_of(store) if is_file else ()),
            *(() if data is None else inputs_of(*judged_files(data, qrels, split))),
        ],
    )
    queries, judgements = _questions(data, qrels, split)
    with ExitStack() as opened:
        documents: Iterator[Document] | Store
        if is_file:
            source = reading.open([store])
            source.check()
            documents, encoder = source.documents(), model.load()
        else:
            documents = collection = opened.enter_context(open_store(store))
            check_full(collection)
            encoder = model.load_for(collection)
        with notes.status("measuring") as status:  # nothing where there is no terminal
            report = measure_storage(
                documents,
                encoder,
                queries,
                judgements,
                storages=storages,
                sample=sample,
                questions=questions,
                weights=combination,
                candidates=candidates,
                seed=seed,
                progress=status.update,
            )
    if html is not None:
        report.write_html(html)
        notes.print(f"the charts are in {escape(str(html))}")
    if as_json:
        print_json(_as_json(report))
    else:
        output().print(report)


def _is_file(store: str, reading: SourceFlags) -> bool:
    """Return whether the argument is a file; options of reading are for files only."""
    if Path(store).exists():
        return True
    if reading != SourceFlags():
        raise InvalidOptionError(f"{store!r} is no file, and options for files were given")
    return False


def _questions(
    data: Path | None, qrels: Path | None, split: str
) -> tuple[dict[str, str] | None, Qrels | None]:
    """Read the questions, and their judgements if there are any."""
    if data is None:
        if qrels is not None:
            raise InvalidOptionError("--qrels: give the questions too, as a file after the store")
        return None, None
    if qrels is None and not data.is_dir():
        return read_queries(data), None
    return read_judged(data, qrels, split)


def _as_json(report: StorageReport) -> dict[str, object]:
    return {
        "documents": report.documents,
        "available": report.available,
        "questions": report.questions,
        "judged": report.judged,
        "tokens": report.tokens,
        "notes": report.notes,
        "storages": [
            {
                "storage": str(result.storage),
                **asdict(result.storage),
                "token_bytes": result.token_bytes,
                "document_bytes": result.document_bytes,
                "terabytes_1m": result.terabytes(1_000_000),
                "terabytes_100m": result.terabytes(100_000_000),
                "qualities": {
                    mode: {metric: asdict(quality) for metric, quality in by_metric.items()}
                    for mode, by_metric in result.qualities.items()
                },
            }
            for result in report.results
        ],
    }


def _print_plan(
    store: str | None, tokens: float | None, terms: float | None, model: str, *, as_json: bool
) -> None:
    scheme = None if store is None else StoreUrl.parse(store).scheme
    if store is None:
        schema = schema_of(model)
    else:
        schema, mean_tokens, mean_terms = _sampled(store)
        tokens = mean_tokens if tokens is None else tokens
        if terms is None and mean_terms is not None:
            # Texts shorter than the sampled texts have fewer terms.
            terms = mean_terms if tokens is None else min(mean_terms, tokens)
    tokens = 200 if tokens is None else tokens
    choices = storage_choices(schema, tokens=tokens, terms=terms, scheme=scheme)
    if as_json:
        print_json([{**asdict(c), "bytes_per_thousand": c.bytes_per_thousand} for c in choices])
        return
    if not choices:
        notes.print("no installed database says how it stores vectors; install a connector")
        return
    output().print(_table(choices))
    terms = tokens if terms is None else terms
    notes.print(
        f"[dim]computed from the layouts, not measured: d = {schema.dense or schema.colbert} "
        f"dimensions, t = {tokens + 1:g} ColBERT vectors, s = {terms:g} terms; without texts, "
        "metadata and index graphs. * is the connector's default.[/dim]"
    )


def _sampled(url: str) -> tuple[Schema, float | None, float | None]:
    """Return the schema of a collection, and the mean tokens and terms of some documents."""
    with open_store(url) as collection:
        schema = collection.schema
        page = next(iter(collection.scan(batch_size=SAMPLE, with_vectors=True)), None)
    if page is None or page.vectors is None or not page.documents:
        raise InvalidOptionError(f"{url} holds no document to take lengths from; give --tokens")
    colbert, sparse = page.vectors.colbert, page.vectors.sparse
    terms = None if sparse is None else float(np.diff(sparse.indptr).mean())
    if colbert is None:
        return schema, terms, terms
    tokens = max(0.0, float(np.diff(colbert.indptr).mean()) - 1)
    # Merged ColBERT vectors are fewer than the tokens of their texts.
    return schema, tokens if terms is None else max(tokens, terms), terms


def _table(choices: list[StorageChoice]) -> Table:
    table = Table(title="MB per 1,000 documents", title_justify="left", title_style="")
    for column in ("database", "part", "storage", "bytes of a document"):
        table.add_column(column)
    table.add_column("MB", justify="right")
    for database in dict.fromkeys(choice.database for choice in choices):
        for choice in choices:
            if choice.database == database:
                table.add_row(
                    database,
                    choice.part,
                    f"{choice.storage}{' *' if choice.default else ''}",
                    choice.formula,
                    f"{choice.bytes_per_thousand / 1e6:,.2f}",
                )
        total = sum(c.bytes_per_thousand for c in choices if c.default and c.database == database)
        table.add_row(database, "all", "defaults", "", f"{total / 1e6:,.2f}", style="bold")
        table.add_section()
    return table
