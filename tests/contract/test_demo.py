"""The demo's collection, encoded by its real model: the same answers from every store.

Every question in every mode, against the exact scores of the memory store: the same top 10 and
the same parts within the precision of 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from trivec import ColbertStorage, Encoder, Hit, Schema, Store, Vectors, open_store
from trivec.demo.collection import FIELDS, DemoCollection, load_collection
from trivec.demo.model import demo_model
from trivec.errors import CheckpointError
from trivec.search import MODES, Mode

TOLERANCE = 2e-3
K = 10
SAME_ENGINE = ("archive", "qdrant-memory", "qdrant-local", "vespa-standin-h2c-1", "vespa-standin-2")
"""Stores that the rest of the contract tells enough about; 140 questions take them minutes."""


class Encoded:
    """The demo's collection with its vectors."""

    def __init__(self) -> None:
        encoder = Encoder.load(demo_model(), precision="float32")
        self.collection: DemoCollection = load_collection()
        self.schema: Schema = encoder.schema
        texts = [document.text for document in self.collection.documents]
        self.documents: Vectors = encoder.encode_documents(texts)
        questions = [question.text for question in self.collection.questions]
        self.questions: Vectors = encoder.encode_queries(questions)

    def fill(self, store: Store, colbert: ColbertStorage | None = None) -> Store:
        store.create(self.schema, fields=FIELDS, colbert=colbert, exist_ok=True)
        store.upsert(self.collection.documents, self.documents)
        return store


@pytest.fixture(scope="session")
def encoded() -> Encoded:
    try:
        return Encoded()
    except CheckpointError as error:
        pytest.skip(f"the demo model cannot be built here: {error}")


@pytest.fixture(scope="session")
def exact(encoded: Encoded) -> Iterator[Store]:
    with open_store(f"memory:/demo-{uuid4().hex}") as store:
        yield encoded.fill(store)
        store.drop()


@pytest.fixture(scope="module")
def demo_store(case: Any, folder: Path, encoded: Encoded) -> Iterator[Store]:
    if case.name in SAME_ENGINE:
        pytest.skip(f"{case.name} shares its engine with a store that answers these questions")
    with case.open(folder, f"demo_{uuid4().hex[:12]}") as store:
        yield encoded.fill(store, case.colbert)
        store.drop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_every_store_gives_the_same_answers(
    mode: Mode, demo_store: Store, encoded: Encoded, exact: Store
) -> None:
    found = demo_store.search_many(encoded.questions, mode=mode, k=K)
    wanted = exact.search_many(encoded.questions, mode=mode, k=K)
    for question, got, expected in zip(encoded.collection.questions, found, wanted, strict=True):
        check(got, expected, question.id)


def check(got: list[Hit], expected: list[Hit], question: str) -> None:
    """Compare two top tens; documents nearer than 16 bits can tell apart may change places."""
    assert len(got) == len(expected), question
    exact = {hit.document.id: hit for hit in expected}
    last = expected[-1].score if expected else 0.0
    for hit, in_place in zip(got, expected, strict=True):
        assert hit.score == pytest.approx(in_place.score, abs=TOLERANCE), question
        same = exact.get(hit.document.id)
        if same is None:  # tied with the tenth
            assert hit.score == pytest.approx(last, abs=TOLERANCE), (question, hit.document.id)
            continue
        assert hit.document == same.document
        for part in ("dense", "sparse", "colbert", "hybrid"):
            one, two = getattr(hit.scores, part), getattr(same.scores, part)
            assert (one is None) == (two is None), (question, part)
            if one is not None:
                assert one == pytest.approx(two, abs=TOLERANCE), (question, part)
