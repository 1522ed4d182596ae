"""Mutants of the plain backend: each breaks one rule, and names the test that catches it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
from plain_backend import PlainBackend, Row, Table, tables

from trivec import ColbertStorage, Document, Filter, Hit, Vector, Vectors
from trivec.collection import Collection, Page
from trivec.errors import CollectionNotFoundError, StoreError
from trivec.fields import FieldType
from trivec.filters import And, Not, Or
from trivec.pooling import pool_rows
from trivec.rows import TokenRows
from trivec.search import Part, Search
from trivec.stores import Limits, Steps, TokenCodes

M = TypeVar("M", bound=type[PlainBackend])

CAUGHT_BY: dict[type[PlainBackend], str] = {}
"""The mutants, and the test of the contract that fails for each."""


def caught_by(test: str) -> Callable[[M], M]:
    def name(mutant: M) -> M:
        CAUGHT_BY[mutant] = test
        return mutant

    return name


# --- search ---------------------------------------------------------------------------------------


@caught_by("test_of_equal_documents_the_lowest_ids_are_hits[60]")
class CutsHitsAnyhow(PlainBackend):
    def cut(self, hits: list[Hit], k: int, *, by_id: bool) -> list[Hit]:
        return super().cut(hits[::-1], k, by_id=False)


@caught_by("test_the_candidates_of_equal_scores_are_the_lowest_ids")
class CutsCandidatesAnyhow(PlainBackend):
    def candidates(
        self, query: Vector, rows: Sequence[Row], part: Part, search: Search
    ) -> list[Row]:
        everything = replace(search, k=10_000, candidates=10_000)
        best = super().candidates(query, rows, part, everything)
        best.sort(key=lambda row: (-(self.score(query, row, part)), -ord(row.document.id[-1])))
        return best[: search.source_limit]

    def score(self, query: Vector, row: Row, part: Part) -> float:
        return self.part_score(query, row.vector, part)


@caught_by("test_filters_hold_in_every_mode[dense-eq]")
class FiltersAfterTheCut(PlainBackend):
    def hits(self, query: Vector, search: Search) -> list[Hit]:
        hits = super().hits(query, replace(search, filter=None))
        return [hit for hit in hits if self.satisfies(hit.document, search.filter)]


@caught_by("test_filters_hold_in_every_mode[hybrid-range]")
class FiltersCandidatesAfterTheCut(PlainBackend):
    def hits(self, query: Vector, search: Search) -> list[Hit]:
        wide = replace(search, k=search.candidates, filter=None)
        hits = super().hits(query, wide)
        return [hit for hit in hits if self.satisfies(hit.document, search.filter)][: search.k]


@caught_by("test_k_may_exceed_the_collection[dense]")
class TakesZerosForVectors(PlainBackend):
    def has(self, row: Row, part: Part) -> bool:
        return part == "dense" or super().has(row, part)


@caught_by("test_k_may_exceed_the_collection[colbert]")
class RanksDocumentsWithoutTokens(PlainBackend):
    def has(self, row: Row, part: Part) -> bool:
        return part == "colbert" or super().has(row, part)


@caught_by("test_every_mode_equals_the_definition[20-hybrid]")
class ConfusesCandidatesWithHits(PlainBackend):
    def candidates(
        self, query: Vector, rows: Sequence[Row], part: Part, search: Search
    ) -> list[Row]:
        return super().candidates(query, rows, part, search)[: search.k]


@caught_by("test_groups_equal_the_definition[dense]")
class ReturnsOnlyKHitsForGroups(PlainBackend):
    def cut(self, hits: list[Hit], k: int, *, by_id: bool) -> list[Hit]:
        return super().cut(hits, k, by_id=by_id)[: self.wanted]

    def hits(self, query: Vector, search: Search) -> list[Hit]:
        self.wanted = search.k
        return super().hits(query, search)


@caught_by("test_groups_equal_the_definition[sparse]")
class TakesFewCandidatesWhereOneSourceRanks(PlainBackend):
    def candidates(
        self, query: Vector, rows: Sequence[Row], part: Part, search: Search
    ) -> list[Row]:
        best = super().candidates(query, rows, part, search)
        return best[: search.k] if search.mode in ("dense", "sparse") else best


@caught_by("test_groups_equal_the_definition[hybrid]")
class ReturnsAsManyHitsAsOneSourceGives(PlainBackend):
    def hits(self, query: Vector, search: Search) -> list[Hit]:
        return super().hits(query, search)[: search.candidates]


@caught_by("test_groups_equal_the_definition[colbert]")
class ReturnsOneHitOfEachGroup(PlainBackend):
    """The database groups by itself."""

    def hits(self, query: Vector, search: Search) -> list[Hit]:
        hits = super().hits(query, search)
        if search.group_by is None:
            return hits
        best = {str(hit.document.metadata.get(search.group_by)): hit for hit in hits[::-1]}
        return list(best.values())


@caught_by("test_more_candidates_are_asked_for_until_there_are_k_groups[rrf]")
class HasNoMoreThanAHundredCandidates(PlainBackend):
    def candidates(
        self, query: Vector, rows: Sequence[Row], part: Part, search: Search
    ) -> list[Row]:
        return super().candidates(query, rows, part, search)[:100]


@caught_by("test_fewer_groups_than_k_are_all_that_exist[hybrid]")
class RepeatsCandidatesInsteadOfFurtherOnes(PlainBackend):
    """Lists are filled up to the limit, so that they never look like all there is."""

    def hits(self, query: Vector, search: Search) -> list[Hit]:
        hits = super().hits(query, search)
        missing = search.candidates - len(hits)
        return hits + hits[:1] * missing if search.group_by is not None else hits


@caught_by("test_k_may_exceed_the_collection[colbert]")
class CountsPaddingAsZero(PlainBackend):
    def part_score(self, query: Vector, document: Vector, part: Part) -> float:
        score = super().part_score(query, document, part)
        return max(score, 0.0) if part == "colbert" else score


@caught_by("test_every_mode_equals_the_definition[20-rrf]")
class RanksFromZero(PlainBackend):
    def ranks(self, lists: Sequence[Sequence[Row]]) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        for rows in lists:
            for rank, row in enumerate(rows):
                scores[row.document.id] = scores.get(row.document.id, 0.0) + 1 / (60 + rank)
        return scores


@caught_by("test_weights_remove_and_scale_parts[hybrid-card]")
class IgnoresWeights(PlainBackend):
    def hybrid(self, parts: Mapping[Part, float], search: Search) -> float:
        return sum(parts.values()) / len(parts)


@caught_by("test_search_many_equals_search")
class AnswersInTheWrongOrder(PlainBackend):
    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[list[Hit]]:
        return super().search(collection, queries[::-1], search)


@caught_by("test_concurrent_searches_leave_the_loop_free")
class BlocksTheLoop(PlainBackend):
    numbers = itertools.count()

    def search(  # type: ignore[override]
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> Steps[list[list[Hit]]]:
        [answer] = yield [lambda: super(BlocksTheLoop, self).search(collection, queries, search)]
        return cast(list[list[Hit]], answer)

    def asend(self, request: Callable[[], Any]) -> Awaitable[Any]:
        async def answer() -> Any:
            if next(self.numbers) % 25 == 0:
                time.sleep(0.1)
            return await asyncio.to_thread(request)

        return answer()


# --- documents ------------------------------------------------------------------------------------


@caught_by("test_scan_yields_everything_once")
class IgnoresTheCursor(PlainBackend):
    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        return super().scan_page(collection, None, limit, with_vectors, condition)


@caught_by("test_scan_yields_everything_once")
class IgnoresThePageSize(PlainBackend):
    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        return super().scan_page(collection, cursor, 10_000, with_vectors, condition)


@caught_by("test_scan_yields_everything_once")
class LosesTheLastPage(PlainBackend):
    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        page, following = super().scan_page(collection, cursor, limit, with_vectors, condition)
        short = isinstance(following, list) and len(following) < limit
        return page, None if short else following


@caught_by("test_hostile_ids_are_ids")
class DoesNotEscapeIds(PlainBackend):
    def key(self, id: str) -> str:
        return f'"{id}"'


@caught_by("test_documents_come_back_as_written")
class WritesTheFirstHundred(PlainBackend):
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        super().write(collection, documents[:100], vectors.slice(0, min(100, len(vectors))))


@caught_by("test_upsert_replaces_the_whole_document_and_may_be_repeated")
class LosesOverwrites(PlainBackend):
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        before = dict(self.rows())
        super().write(collection, documents, vectors)
        self.rows().update(before)


@caught_by("test_upsert_replaces_the_whole_document_and_may_be_repeated")
class KeepsPartsThatAnOverwriteLacks(PlainBackend):
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        before = dict(self.rows())
        super().write(collection, documents, vectors)
        rows = self.rows()
        for key, old in before.items():
            document, vector = rows[key]
            if not self.has(rows[key], "colbert"):
                rows[key] = Row(document, replace(vector, colbert=old.vector.colbert))


@caught_by("test_upsert_replaces_the_whole_document_and_may_be_repeated")
class MergesMetadata(PlainBackend):
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        rows = self.rows()
        merged: list[Document] = []
        for document in documents:
            old = rows.get(self.key(document.id))
            metadata = {**(old.document.metadata if old else {}), **document.metadata}
            merged.append(replace(document, metadata=metadata))
        super().write(collection, merged, vectors)


@caught_by("test_delete_by_id")
class CountsEveryDocumentEverWritten(PlainBackend):
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        super().write(collection, documents, vectors)
        self.written = getattr(self, "written", set()) | {document.id for document in documents}

    def count(self, collection: Collection, condition: Filter | None) -> int:
        return len(self.written) if condition is None else super().count(collection, condition)


@caught_by("test_delete_by_id")
class RefusesToDeleteUnknownIds(PlainBackend):
    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        if any(self.key(id) not in self.rows() for id in ids):
            raise StoreError("no such document")
        super().delete(collection, ids)


@caught_by("test_hostile_metadata_and_text_come_back_unchanged")
class ReturnsIntegersAsFloats(PlainBackend):
    def kept(self, document: Document) -> Document:
        metadata = json.loads(json.dumps(dict(document.metadata)), parse_int=float)
        return replace(document, metadata=metadata)


@caught_by("test_hostile_metadata_and_text_come_back_unchanged")
class CutsTexts(PlainBackend):
    def kept(self, document: Document) -> Document:
        return replace(super().kept(document), text=document.text[:1000])


# --- filters --------------------------------------------------------------------------------------


@caught_by("test_single_comparisons_of_strange_values")
class ComparesIntegersAsFloats(PlainBackend):
    def satisfies(self, document: Document, condition: Filter | None) -> bool:
        floats = json.loads(json.dumps(dict(document.metadata)), parse_int=float)
        return condition is None or condition.matches(floats)


@caught_by("test_every_operator")
class NegatesAsSqlDoes(PlainBackend):
    """NOT of a comparison with a missing value is not true."""

    def satisfies(self, document: Document, condition: Filter | None) -> bool:
        match condition:
            case And(filters):
                return all(self.satisfies(document, part) for part in filters)
            case Or(filters):
                return any(self.satisfies(document, part) for part in filters)
            case Not(inner):
                values = [document.metadata.get(c.path) for c in inner.comparisons()]
                return None not in values and not self.satisfies(document, inner)
        return super().satisfies(document, condition)


@caught_by("test_delete_by_filter")
class DeletesOnlyAFew(PlainBackend):
    def delete_where(self, collection: Collection, condition: Filter) -> None:
        for key in self.matching(condition)[:10]:
            del self.rows()[key]


# --- the collection -------------------------------------------------------------------------------


@caught_by("test_create_is_refused_for_what_exists_and_differs")
class ForgetsTheModel(PlainBackend):
    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        schema = replace(collection.schema, model="")
        super().create(replace(collection, schema=schema), adopt=adopt)
        return collection


@caught_by("test_create_is_refused_for_what_exists_and_differs")
class ForgetsTheFields(PlainBackend):
    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        collection = super().describe(declared)
        return None if collection is None else replace(collection, fields=dict(declared))


@caught_by("test_a_call_is_repeated_while_the_database_is_unavailable[scan_page]")
class KeepsTheCursorItself(PlainBackend):
    """A page whose answer is lost is skipped."""

    pages: Iterator[list[str]] = iter(())

    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        if cursor is None:
            keys = self.matching(condition)
            self.pages = iter([keys[i : i + limit] for i in range(0, len(keys), limit)])
        keys = next(self.pages, [])
        page = self.page(collection, [self.rows()[key] for key in keys], with_vectors)
        return page, "next" if keys else None


@caught_by("test_drop_removes_everything_and_may_be_repeated")
class DropsTheDocumentsOnly(PlainBackend):
    def drop(self) -> None:
        if self.name in tables:
            tables[self.name] = Table(tables[self.name].collection)


@caught_by("test_a_store_notices_that_another_dropped_the_collection")
class FindsNothingInWhatIsGone(PlainBackend):
    def rows(self) -> dict[str, Row]:
        return tables[self.name].rows if self.name in tables else {}


@caught_by("test_a_collection_that_was_created_anew_is_described_anew")
class RemembersTheDescription(PlainBackend):
    known: Collection | None = None

    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        if self.name not in tables:
            self.known = None
        elif self.known is None:
            self.known = super().describe(declared)
        return self.known


@caught_by("test_every_call_of_a_closed_store_is_refused")
class CannotBeClosedTwice(PlainBackend):
    is_open = True

    def close(self) -> None:
        if not self.is_open:
            raise CollectionNotFoundError("closed already")
        self.is_open = False


@caught_by("test_secrets_show_nowhere")
class ShowsItsKey(PlainBackend):
    def __repr__(self) -> str:
        return f"ShowsItsKey({self.name!r}, api_key='open sesame')"


# --- how token vectors are kept -------------------------------------------------------------------


@caught_by("test_hits_are_those_of_memory_with_the_same_storage[bits=1]")
class IgnoresBits(PlainBackend):
    def tokens(self, rows: TokenRows, bits: int) -> TokenRows:
        return rows


@caught_by("test_vectors_are_those_of_memory_with_the_same_storage[bits=2]")
class KeepsAnotherNumberOfBits(PlainBackend):
    def tokens(self, rows: TokenRows, bits: int) -> TokenRows:
        return super().tokens(rows, 2 * bits if bits < 8 else bits)


@caught_by("test_hits_are_those_of_memory_with_the_same_storage[bits=1,pool=2]")
class SharesOneFactorAmongAllTokens(PlainBackend):
    def tokens(self, rows: TokenRows, bits: int) -> TokenRows:
        codes = TokenCodes.encode(rows, bits)
        common = np.full_like(codes.factors, codes.factors.mean())
        return replace(codes, factors=common).decoded()


@caught_by("test_hits_are_those_of_memory_with_the_same_storage[bits=8]")
class ForgetsThatCodesAreRotated(PlainBackend):
    def tokens(self, rows: TokenRows, bits: int) -> TokenRows:
        codes = TokenCodes.encode(rows, bits)
        return TokenRows(rows.indptr, codes.vectors(np.arange(len(codes.packed))))


@caught_by("test_hits_are_those_of_memory_with_the_same_storage[bits=4]")
class ScoresTheFullVectors(PlainBackend):
    """What is small lies beside the full vectors, which searches go on reading."""

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        super().write(collection, documents, vectors)
        self.full = getattr(self, "full", {})
        self.full.update(zip((d.id for d in documents), vectors, strict=True))

    def hit(self, query: Vector, row: Row, search: Search, rank_score: float) -> Hit | None:
        whole = row._replace(vector=self.full[row.document.id])
        return super().hit(query, whole, search, rank_score)


@caught_by("test_a_collection_says_how_it_keeps_token_vectors")
class ForgetsPool(PlainBackend):
    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        collection = super().describe(declared)
        if collection is None or collection.colbert is None:
            return collection
        return replace(collection, colbert=replace(collection.colbert, pool=1))


@caught_by("test_how_token_vectors_are_kept_is_known_to_the_next_store")
class RemembersTheStorageInTheStoreAlone(PlainBackend):
    storage: ColbertStorage | None = None

    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        self.storage = collection.colbert
        super().create(replace(collection, colbert=None), adopt=adopt)
        return collection

    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        collection = super().describe(declared)
        return None if collection is None else replace(collection, colbert=self.storage)


@caught_by("test_vectors_are_those_of_memory_with_the_same_storage[bits=32,pool=2]")
class PoolsAgainOnReading(PlainBackend):
    def page(self, collection: Collection, rows: Sequence[Row], with_vectors: bool) -> Page:
        page = super().page(collection, rows, with_vectors)
        if page.vectors is None or page.vectors.colbert is None or collection.colbert is None:
            return page
        pooled = pool_rows(page.vectors.colbert, collection.colbert.pool)
        return Page(page.documents, replace(page.vectors, colbert=pooled))


@caught_by("test_vectors_that_were_read_can_be_written_again[bits=16,pool=2]")
class PoolsWhatIsWritten(PlainBackend):
    """The backend does once more what the store has done, from the second write on."""

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        is_known = any(self.key(document.id) in self.rows() for document in documents)
        if is_known and vectors.colbert is not None and collection.colbert is not None:
            pooled = pool_rows(vectors.colbert, collection.colbert.pool)
            vectors = replace(vectors, colbert=pooled)
        super().write(collection, documents, vectors)


@caught_by("test_vectors_that_were_read_can_be_written_again[bits=4]")
class LosesABitOnEachReading(PlainBackend):
    """A factor is cut to few digits when it is read, so a rewritten vector is another one."""

    def page(self, collection: Collection, rows: Sequence[Row], with_vectors: bool) -> Page:
        page = super().page(collection, rows, with_vectors)
        if page.vectors is None or page.vectors.colbert is None:
            return page
        tokens = page.vectors.colbert
        smaller = replace(tokens, values=tokens.values * np.float32(1 - 2**-8))
        return Page(page.documents, replace(page.vectors, colbert=smaller))


@caught_by("test_bits_that_are_not_offered_are_refused")
class OffersBitsThatNobodyKnows(PlainBackend):
    limits = Limits(colbert_bits=(16, 3))


@caught_by("test_what_is_too_long_after_pooling_overflows[truncate]")
class CutsBeforeItPools(PlainBackend):
    limits = Limits(colbert_rows=64)

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        if vectors.colbert is not None:
            cut = [vectors.colbert.row(i)[:32] for i in range(len(documents))]
            vectors = replace(vectors, colbert=TokenRows.from_arrays(cut))
        super().write(collection, documents, vectors)
