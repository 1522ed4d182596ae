"""The evidence in hits: what is read for it, and texts that were read in part only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from trivec import ColbertStorage, Document, Hit, Schema, Store, Vector, Weights, ingest
from trivec.colbert_storage import Overflow
from trivec.collection import Collection, Page
from trivec.document import PRIVATE_KEY
from trivec.encoders.protocol import Token
from trivec.errors import (
    EncoderUnavailableError,
    InvalidInputError,
    InvalidOptionError,
    InvalidVectorsError,
)
from trivec.passages.evidence import TOKENS, evidence_of
from trivec.stores.limits import Limits
from trivec.stores.memory import MemoryBackend
from trivec.stores.options import StoreOptions
from trivec.testing import HashEncoder
from trivec.testing.contract.event_loop import longest_gap
from trivec.vectors import Vectors


class Watched(MemoryBackend):
    """A backend that counts what is read, and that something may happen to before it."""

    limits = Limits(colbert_bits=(16, 4))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.read: list[list[str]] = []
        self.before: Callable[[], object] = lambda: None

    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Page:
        if with_vectors:
            self.read.append(list(ids))
            self.before()
        return super().get(collection, ids, with_vectors)


class Short(HashEncoder):
    """An encoder that reads the first words of a text, as a model with a `max_length`."""

    def __init__(self, most: int | None = None, *, model: str = "short") -> None:
        super().__init__()
        self.schema = replace(self.schema, model=model)
        self.most = most
        self.listed: list[str] = []

    def tokens(self, text: str) -> list[Token]:
        self.listed.append(text)
        tokens = super().tokens(text)
        return tokens if self.most is None else [*tokens[:-1][: self.most], tokens[-1]]

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return super().encode_documents([self._cut(text) for text in texts])

    def _cut(self, text: str) -> str:
        words = super().tokens(text)[:-1]
        return text if self.most is None or not words else text[: words[: self.most][-1].end]


class Whole(Short):
    """The same that also lists the tokens of the whole text."""

    def whole_tokens(self, text: str) -> list[Token]:
        return HashEncoder.tokens(self, text)


WORDS = ["whale", "otter", "falcon", "lizard", "beetle", "badger"]


def text_of(name: str, sentences: int = 40) -> str:
    return " ".join(f"The {name} number{i} eats {name}{i}." for i in range(sentences))


def filled(
    documents: Sequence[Document],
    encoder: HashEncoder,
    *,
    limit: int | None = None,
    storage: str = "bits=16",
    **options: Any,
) -> tuple[Store, Watched]:
    backend = Watched(f"evidence-{uuid4().hex}")
    backend.limits = replace(Watched.limits, colbert_rows=limit)
    store = Store(backend, StoreOptions(**options))
    store.create(encoder.schema, fields={"n": int}, colbert=ColbertStorage.parse(storage))
    store.upsert(documents, encoder.encode_documents([document.text for document in documents]))
    return store, backend


def hit_of(id: str, store: Store, query: Vector, **options: Any) -> Hit:
    """Return the hit of one document, with its evidence."""
    given: dict[str, Any] = {"k": 9, "evidence": 1, **options}
    hits = store.search(query, **given)
    return next(hit for hit in hits if hit.document.id == id)


def spans(hits: Sequence[Hit]) -> list[list[str]]:
    return [[passage.text for passage in hit.evidence] for hit in hits]


DOCUMENTS = [Document(name, text_of(name), {"n": n}) for n, name in enumerate(WORDS)]


def test_vectors_are_read_once_for_all_queries_and_tokens_once_for_each_text() -> None:
    encoder = Short()
    store, backend = filled(DOCUMENTS, encoder)
    queries = encoder.encode_queries(["whale3", "otter7", "the eats"])
    encoded, encoder.listed = encoder.encoded, []
    answers = store.search_many(queries, k=4, evidence=2)
    assert encoder.encoded == encoded
    hits = {hit.document.id for hits in answers for hit in hits}
    assert [sorted(ids) for ids in backend.read] == [sorted(hits)]
    assert len(encoder.listed) == len(hits)
    backend.read = []
    assert all(hit.evidence == () for hit in store.search(queries[0]))
    assert backend.read == []


def test_many_hits_are_read_in_pages() -> None:
    encoder = Short()
    documents = [Document(f"d{i}", f"The whale number{i}.") for i in range(80)]
    store, backend = filled(documents, encoder)
    hits = store.search(encoder.encode_query("whale"), k=80, evidence=1)
    assert spans(hits) == [[hit.document.text] for hit in hits]
    assert [len(ids) for ids in backend.read] == [32, 32, 16]


@pytest.mark.parametrize(
    "happens", ["deleted", "another text", "other metadata", "dropped vectors"]
)
def test_documents_that_change_between_the_search_and_its_evidence(happens: str) -> None:
    encoder = Short()
    store, backend = filled(DOCUMENTS, encoder)
    changed = {
        "another text": Document("whale", "A whale of another text."),
        "other metadata": replace(DOCUMENTS[0], metadata={"n": 5}),
        "dropped vectors": DOCUMENTS[0],
    }

    def change() -> None:
        backend.before = lambda: None
        if happens == "deleted":
            store.delete(["whale"])
            return
        document = changed[happens]
        vectors = encoder.encode_documents([document.text])
        if happens == "dropped vectors":
            vectors = Vectors(dense=vectors.dense)
        store.upsert([document], vectors)

    backend.before = change
    hits = store.search(encoder.encode_query("whale3 eats"), k=6, evidence=1)
    [changed_hit] = [hit for hit in hits if hit.document == DOCUMENTS[0]]
    assert bool(changed_hit.evidence) == (happens == "other metadata")
    assert all(hit.evidence for hit in hits if hit is not changed_hit)


def test_evidence_does_not_block_the_event_loop() -> None:
    encoder = Short()
    documents = [Document(f"d{i}", text_of(f"whale{i}x", 800)) for i in range(8)]
    store, _ = filled(documents, encoder)
    query = encoder.encode_query("whale3x77 eats")
    expected = store.search(query, k=8, evidence=2)
    answers: list[list[Hit]] = []

    async def work() -> None:
        answers.append(await store.asearch(query, k=8, evidence=2))

    assert asyncio.run(longest_gap(work)) < 0.05
    assert answers[-1] == expected
    assert "whale3x77." in expected[0].evidence[0].text


@pytest.mark.parametrize("storage", ["bits=16", "bits=4,pool=2", "prune=1/3"])
@pytest.mark.parametrize("overflow", ["pool", "truncate", "drop"])
def test_texts_that_were_too_long_for_the_database(overflow: Overflow, storage: str) -> None:
    encoder = Short()
    store, _ = filled(DOCUMENTS, encoder, limit=60, storage=storage, colbert_overflow=overflow)
    lexical = Weights(1, 1, 0.05)
    for word in ("whale3", "otter36"):
        query = encoder.encode_query(word)
        id = word.rstrip("0123456789")
        hit = hit_of(id, store, query, weights=lexical)
        assert f"eats {word}." in hit.evidence[0].text
        hit = hit_of(id, store, query, mode="rrf", weights=Weights(1, 0, 1))
        if overflow == "drop":  # the lexical weights are left
            assert f"eats {word}." in hit.evidence[0].text


@pytest.mark.parametrize("storage", ["bits=16", "bits=4,pool=2", "prune=1/3"])
@pytest.mark.parametrize("overflow", ["pool", "truncate", "drop", "error"])
@pytest.mark.parametrize("limit", [None, 500])
def test_the_text_was_cut_when_it_was_stored(
    limit: int | None, overflow: Overflow, storage: str
) -> None:
    """The open encoder reads more of it."""
    stored, opened = Short(60), Short()
    store, _ = filled(DOCUMENTS, stored, limit=limit, storage=storage, colbert_overflow=overflow)
    end = stored.tokens(DOCUMENTS[0].text)[-2].end
    del stored
    query = opened.encode_query("whale3 eats")
    hit = hit_of("whale", store, query, evidence=9, weights=Weights(1, 1, 0.1))
    assert "eats whale3." in hit.evidence[0].text
    assert max(passage.end for passage in hit.evidence) <= end + 1
    exact = evidence_of(
        hit.document,
        store.get([hit.document.id], with_vectors=True).vectors[0],  # type: ignore[index]
        [(query, Weights(1, 1, 0.1))],
        Short(60),
        k=9,
    )
    assert hit.evidence == exact[0]


@pytest.mark.parametrize("storage", ["bits=16", "bits=4,pool=2", "prune=1/3"])
@pytest.mark.parametrize("opened", [Short, Whole])
def test_the_open_encoder_reads_less(opened: type[Short], storage: str) -> None:
    stored = Short()
    store, _ = filled(DOCUMENTS, stored, storage=storage)
    query = stored.encode_query("whale30 eats" if opened is Whole else "whale30 eats whale3")
    del stored
    encoder = opened(60)
    for weights in (Weights(1, 1, 0.1), Weights(1, 0, 1), Weights(1, 0.3, 1)):
        hit = hit_of("whale", store, query, weights=weights)
        end = encoder.tokens(hit.document.text)[-2].end
        [passage] = hit.evidence
        assert passage.end <= end + 1 or opened is Whole
        # Pruning has dropped the vectors of these words, so without their weights all tie.
        if storage == "bits=16" or (storage == "prune=1/3" and weights.sparse > 0):
            wanted = "whale30" if opened is Whole else "whale3"
            assert f"eats {wanted}." in passage.text


@pytest.mark.parametrize("model", ["foreign", ""])
def test_an_encoder_of_other_tokens_is_refused(model: str) -> None:
    class Foreign(Short):
        def tokens(self, text: str) -> list[Token]:
            return [replace(token, id=token.id + 250_002) for token in super().tokens(text)]

    class Letters(Short):
        def tokens(self, text: str) -> list[Token]:
            return [Token(300_000 + ord(c), c, i, i + 1) for i, c in enumerate(text)]

    encoder = Short(model="foreign")
    store, _ = filled(DOCUMENTS, encoder)
    query = encoder.encode_query("whale3 eats")
    del encoder
    for wrong in (Foreign, Letters):
        opened = wrong(model=model)
        with pytest.raises(InvalidVectorsError, match=r"evidence: document '\w+'.*keep an enc"):
            store.search(query, evidence=1)
        del opened
    tokens_only = Vector(dense=query.dense, colbert=query.colbert)

    class Few(Short):
        def tokens(self, text: str) -> list[Token]:
            return [Token(7, text, 0, len(text)), super().tokens(text)[-1]]

    bare = Schema(dense=32, sparse=False, colbert=16, model="bare")
    with_colbert, _ = filled([], Short(model="bare"))
    with_colbert.drop()
    with_colbert.create(bare)
    vectors = HashEncoder().encode_documents([DOCUMENTS[0].text])
    with_colbert.upsert(DOCUMENTS[:1], Vectors(dense=vectors.dense, colbert=vectors.colbert))
    few = Few(model="bare")
    with pytest.raises(InvalidVectorsError, match=r"evidence: document 'whale': the document has"):
        with_colbert.search(tokens_only, evidence=1)
    assert few.listed


def test_a_hit_without_anything_to_explain() -> None:
    encoder = Short()
    texts = ["", " \n", "...", "whale", "The whale."]
    documents = [Document(f"d{i}", text) for i, text in enumerate(texts)]
    store, _ = filled(documents, encoder)
    hits = store.search(encoder.encode_query("whale"), mode="dense", k=9, evidence=2)
    found = {hit.document.id: [passage.text for passage in hit.evidence] for hit in hits}
    assert found == {"d0": [], "d1": [], "d2": [], "d3": ["whale"], "d4": ["The whale."]}
    hits = store.search(encoder.encode_query(""), mode="dense", k=9, evidence=2)
    assert len(hits) == len(texts)
    store.upsert([Document("none", "vectors of no text")], Vectors(dense=np.eye(1, 32)))
    hits = store.search(Vector(dense=np.eye(32)[0], sparse={5: 1.0}), mode="dense", evidence=1, k=1)
    assert [(hit.document.id, hit.evidence) for hit in hits] == [("none", ())]


def test_passages_are_short() -> None:
    encoder = Short()
    store, _ = filled(DOCUMENTS, encoder)
    hits = store.search(encoder.encode_query("the eats whale3"), k=6, evidence=3)
    for hit in hits:
        assert len(hit.evidence) == 3
        for passage in hit.evidence:
            assert len(encoder.tokens(passage.text)) - 1 <= TOKENS


def test_the_encoder_that_ingests_is_known() -> None:
    encoder = Short(model="ingesting")
    store, _ = filled([], encoder)
    ingest(DOCUMENTS, encoder, store)
    query = encoder.encode_query("whale3")
    assert store.search(query, evidence=1)[0].evidence
    del encoder
    with pytest.raises(InvalidOptionError, match="no encoder of the model 'ingesting'"):
        store.search(query, evidence=1)
    with pytest.raises(InvalidOptionError, match="no encoder of the model 'ingesting'"):
        asyncio.run(store.asearch(query, evidence=1))
    assert store.search(query, evidence=0)


def test_views() -> None:
    encoder = Short(model="viewed")
    store, _ = filled(DOCUMENTS, encoder)
    from trivec import F

    view = store.view(bound=lambda: F("n") < 2)
    hits = view.search(encoder.encode_query("otter3"), evidence=1)
    assert {hit.document.id for hit in hits} == {"whale", "otter"}
    assert "otter3." in hit_of("otter", view, encoder.encode_query("otter3")).evidence[0].text
    fresh = Store(MemoryBackend(f"evidence-{uuid4().hex}"))
    creating = fresh.view(creates=True, model="viewed")
    assert creating.search(encoder.encode_query("otter3"), evidence=1) == []


def test_an_encoder_that_fails_says_so() -> None:
    class Down(Short):
        def tokens(self, text: str) -> list[Token]:
            raise EncoderUnavailableError("the server is down")

    encoder = Short(model="down")
    store, _ = filled(DOCUMENTS, encoder)
    query = encoder.encode_query("whale")
    down = Down(model="down")
    with pytest.raises(EncoderUnavailableError, match="the server is down"):
        store.search(query, evidence=1)
    assert down.schema == encoder.schema


@pytest.mark.parametrize("evidence", [-1, True, 1.5, "2", None, 2**31])
def test_bad_numbers(evidence: Any) -> None:
    encoder = Short()
    store, _ = filled(DOCUMENTS, encoder)
    with pytest.raises(InvalidInputError, match="evidence="):
        store.search(encoder.encode_query("whale"), evidence=evidence)


@pytest.mark.parametrize("storage", ["bits=16", "bits=4,pool=2", "prune=1/3"])
def test_passages_of_late_chunking(storage: str) -> None:
    """They have no vector of the end of the text, and their first word may be cut otherwise."""
    encoder = Short(model="late")
    text = text_of("whale", 60)
    slices = [slice(start, start + 75) for start in range(0, 300, 75)]
    words = encoder.tokens(text)
    passages = [
        Document(
            f"whale#{n}",
            text[words[part][0].start + (n % 2) : words[part][-1].end],
            {"parent": "whale", PRIVATE_KEY: {"passage": n, "passages": 4}},
        )
        for n, part in enumerate(slices)
    ]
    store, _ = filled([], encoder, storage=storage)
    store.upsert(passages, encoder.encode_passages(text, slices))
    query = encoder.encode_query("whale52 eats")
    hits = store.search(query, k=1, group_by="parent", per_group=4, evidence=1, mode="sparse")
    assert hits[0].document.id == "whale#3"
    assert "eats whale52." in hits[0].evidence[0].text
    assert {hit.group for hit in hits} == {"whale"}
    assert all(hit.evidence for hit in hits)
