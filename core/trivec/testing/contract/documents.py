"""Writing, reading and deleting documents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidFilterError, InvalidInputError
from trivec.filters import And, F, Not, Or
from trivec.passages.splitting import Passage
from trivec.passages.stored import passage_documents
from trivec.rows import SparseRows, TokenRows
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase, with_batches
from trivec.testing.contract.corpus import Corpus
from trivec.vectors import Vectors


class DocumentRules(ContractBase):
    """Writing, reading and deleting documents."""

    def test_documents_come_back_as_written(self, store: Store, corpus: Corpus) -> None:
        report = store.upsert(corpus.documents, corpus.vectors)
        assert report.documents == len(corpus.documents)
        assert store.count() == len(corpus.documents)
        order = [7, 0, 119, 5, 6, 8]
        page = store.get([corpus.documents[i].id for i in order], with_vectors=True)
        assert page.documents == [corpus.documents[i] for i in order]
        self.assert_same_vectors(page.vectors, corpus.vectors.take(order))

    def test_get_leaves_out_unknown_ids(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents[:3], corpus.vectors.slice(0, 3))
        page = store.get(["nothing", "doc-002", "doc-000", "doc-002"])
        assert [d.id for d in page.documents] == ["doc-002", "doc-000"]
        assert page.vectors is None
        nothing = store.get(["nothing"], with_vectors=True)
        assert nothing.documents == []
        assert nothing.vectors is not None
        assert len(nothing.vectors) == 0
        assert store.get([]).documents == []

    def test_upsert_replaces_the_whole_document_and_may_be_repeated(
        self, store: Store, corpus: Corpus
    ) -> None:
        store.upsert(corpus.documents[:10], corpus.vectors.slice(0, 10))
        store.upsert(corpus.documents[:10], corpus.vectors.slice(0, 10))
        assert store.count() == 10
        changed = Document("doc-000", "other", {"lang": "xx"})
        store.upsert([changed], Vectors(dense=corpus.dense[20:21]))
        assert store.count() == 10
        page = store.get(["doc-000"], with_vectors=True)
        assert page.documents == [changed]
        expected = Vectors(
            dense=corpus.dense[20:21],
            sparse=SparseRows.from_dicts([{}]),
            colbert=TokenRows.from_arrays([np.zeros((0, 16))]),
        )
        self.assert_same_vectors(page.vectors, expected)

    def test_an_upsert_of_nothing_is_no_error(self, store: Store, corpus: Corpus) -> None:
        assert store.upsert([], corpus.vectors.slice(0, 0)).documents == 0
        assert store.count() == 0

    def test_scan_yields_everything_once(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents, corpus.vectors)
        row_of = {d.id: i for i, d in enumerate(corpus.documents)}
        seen: list[int] = []
        for page in store.scan(batch_size=50, with_vectors=True):
            assert 0 < len(page.documents) <= 50
            rows = [row_of[d.id] for d in page.documents]
            assert not set(rows) & set(seen)
            assert page.documents == [corpus.documents[i] for i in rows]
            self.assert_same_vectors(page.vectors, corpus.vectors.take(rows))
            seen += rows
        assert sorted(seen) == list(range(len(corpus.documents)))
        plain = list(store.scan())
        assert all(page.vectors is None for page in plain)
        assert sum(len(page.documents) for page in plain) == len(corpus.documents)
        english = [d.id for p in store.scan(filter=F("lang") == "en") for d in p.documents]
        assert sorted(english) == [d.id for d in corpus.documents if d.metadata.get("lang") == "en"]

    def test_delete_by_id(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents[:5], corpus.vectors.slice(0, 5))
        store.delete(["doc-001", "doc-003", "nothing"])
        store.delete([])
        assert store.count() == 3
        kept = store.get([f"doc-{i:03d}" for i in range(5)]).documents
        assert [d.id for d in kept] == ["doc-000", "doc-002", "doc-004"]

    def test_deleting_a_document_deletes_its_passages_and_nothing_else(
        self, store: Store, corpus: Corpus
    ) -> None:
        def passages(id: str, count: int, lang: str) -> list[Document]:
            spans = [Passage(i, i + 1, i, i + 1) for i in range(count)]
            return passage_documents(Document(id, "x" * count, {"lang": lang}), spans)

        gone = [*passages("doc", 30, "en"), Document("doc", "", {"lang": "en"})]
        kept = [
            *passages("doc-1", 3, "en"),
            *passages("doc#1", 2, "en"),  # the id of a passage, too
            *passages("docs", 2, "xx"),
            Document("doc#30", "of the user", {"lang": "en"}),
            Document("doc#031", "not an id of a passage", {"parent": "doc", "lang": "en"}),
        ]
        kept = [document for document in kept if document.id not in {d.id for d in gone}]
        documents = [*gone, *kept]
        store.upsert(documents, corpus.vectors.slice(0, len(documents)))
        store.delete(["doc"], passages=False)
        assert store.count() == len(documents) - 1
        bound = store.view(bound=lambda: F("lang") == "en")
        bound.delete(["nothing", "docs", "doc"])
        left = {d.id: d for page in store.scan() for d in page.documents}
        assert left == {document.id: document for document in kept}
        store.delete(["docs", "doc-1", "doc#1", "doc#30", "doc#031"])
        assert store.count() == 0

    def test_ids_that_no_document_can_have_are_unknown(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents[:2], corpus.vectors.slice(0, 2))
        unusual = ["doc-000", "\uffff", "\ufdd0", "\U0010ffff"]
        assert store.get(unusual, with_vectors=True).documents == corpus.documents[:1]
        store.delete(unusual)
        assert store.count() == 1

    def test_delete_by_filter(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents, corpus.vectors)
        condition = (F("year") >= 2020) & ~(F("lang") == "en")
        gone = {d.id for d in corpus.documents if condition.matches(d.metadata)}
        assert 10 < len(gone) < 110
        store.delete_where(condition)
        left = {d.id for page in store.scan() for d in page.documents}
        assert left == {d.id for d in corpus.documents} - gone

    def test_delete_where_never_takes_an_empty_filter(self, store: Store, corpus: Corpus) -> None:
        store.upsert(corpus.documents[:5], corpus.vectors.slice(0, 5))
        lang = F("lang")
        for empty in (
            And(()),
            Not(Or(())),
            And((And(()),)),
            lang.all([]),
            lang.in_([]),
            ~lang.in_([]),
            lang.not_in([]) & lang.all([]),
        ):
            with pytest.raises(InvalidFilterError, match="drop"):
                store.delete_where(empty)
        with pytest.raises(InvalidFilterError):
            store.delete_where(None)  # type: ignore[arg-type]
        assert store.count() == 5
        store.delete_where((lang == "xx") | lang.any([]))
        assert store.count() == 5

    def test_bad_input_names_the_document_and_writes_nothing(
        self, store: Store, corpus: Corpus
    ) -> None:
        good, vectors = corpus.documents[:3], corpus.vectors.slice(0, 3)
        wrong_dims = replace(vectors, dense=np.ones((3, 31), np.float32))
        wrong_tokens = replace(vectors, colbert=TokenRows.from_arrays([np.ones((1, 15))] * 3))
        mistyped = Document("mistyped", "", {"year": "2020"})
        cases: list[tuple[list[Document], Vectors, str]] = [
            ([good[0], good[1], good[0]], vectors, "'doc-000' is there twice"),
            ([good[0], good[1], mistyped], vectors, "'mistyped'.*'year' is declared int"),
            (good, wrong_dims, "dimension 31"),
            (good, wrong_tokens, "dimension 15"),
            (good[:2], vectors, "2 documents came with 3 rows"),
        ]
        for documents, batch, message in cases:
            with pytest.raises(InvalidInputError, match=message):
                store.upsert(documents, batch)
            assert store.count() == 0
        with pytest.raises(InvalidDocumentError, match=r"'n'.*not finite"):
            Document("n", "", {"x": float("nan")})
        with pytest.raises(InvalidInputError, match="not finite"):
            Vectors(dense=np.array([[1.0, np.nan]]))

    def test_a_large_write_is_split_by_bytes(self, store: Store, corpus: Corpus) -> None:
        report = with_batches(store, 20_000).upsert(corpus.documents, corpus.vectors)
        assert report.requests > 1
        assert store.count() == len(corpus.documents)
