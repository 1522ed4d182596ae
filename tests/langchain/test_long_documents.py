"""Results by document, evidence and scores in the documents of LangChain."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.load import dumps, load
from long_documents import ALONE, PARENTS, WRONG_OPTIONS, fill
from store_cases import FIELDS

from trivec import Hit, Store, read_parents
from trivec.document import PRIVATE_KEY, public_metadata
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.stores import evidence
from trivec.testing import HashEncoder
from trivec_langchain import TrivecReranker, TrivecRetriever, TrivecVectorStore
from trivec_langchain.embeddings import TrivecEmbeddings

QUERY = "a whale song"
Path = Callable[[TrivecVectorStore, dict[str, Any]], Sequence[Document]]


@pytest.fixture
def made(store: Store, encoder: HashEncoder) -> TrivecVectorStore:
    """Return a vector store in mode "dense", which every path has, over passages."""
    store.create(encoder.schema, fields={"parent": str, "lang": str})
    fill(store, encoder)
    return TrivecVectorStore(store, encoder, mode="dense")


def embedding() -> list[float]:
    return TrivecEmbeddings(HashEncoder()).embed_query(QUERY)


def first(scored: Sequence[tuple[Document, float]]) -> list[Document]:
    return [document for document, _ in scored]


def threshold(made: TrivecVectorStore, options: dict[str, Any]) -> Any:
    kind: Any = "similarity_score_threshold"
    return made.as_retriever(search_type=kind, search_kwargs={"score_threshold": 0.0, **options})


def diverse(made: TrivecVectorStore, options: dict[str, Any]) -> Any:
    return made.as_retriever(search_type="mmr", lambda_mult=1.0, **options)


def retriever(made: TrivecVectorStore, options: dict[str, Any]) -> TrivecRetriever:
    return TrivecRetriever(vectorstore=made, **options)


def called(made: TrivecVectorStore, options: dict[str, Any]) -> list[Document]:
    return TrivecRetriever(vectorstore=made).invoke(QUERY, **options)


def default(made: TrivecVectorStore, options: dict[str, Any]) -> TrivecVectorStore:
    own = {name: option for name, option in options.items() if name != "k"}
    return TrivecVectorStore(made.store, HashEncoder(), mode="dense", **own)


def wait(found: Any) -> Any:
    return asyncio.run(found)


async def completed(made: TrivecVectorStore, options: dict[str, Any]) -> Any:
    answers = TrivecRetriever(vectorstore=made).abatch_as_completed([QUERY], **options)
    [documents] = [documents async for _, documents in answers]
    return documents


PATHS: dict[str, Path] = {
    "similarity": lambda s, o: s.similarity_search(QUERY, **o),
    "asimilarity": lambda s, o: wait(s.asimilarity_search(QUERY, **o)),
    "score": lambda s, o: first(s.similarity_search_with_score(QUERY, **o)),
    "ascore": lambda s, o: first(wait(s.asimilarity_search_with_score(QUERY, **o))),
    "vector": lambda s, o: s.similarity_search_by_vector(embedding(), **o),
    "avector": lambda s, o: wait(s.asimilarity_search_by_vector(embedding(), **o)),
    "mmr": lambda s, o: s.max_marginal_relevance_search(QUERY, lambda_mult=1, **o),
    "ammr": lambda s, o: wait(s.amax_marginal_relevance_search(QUERY, lambda_mult=1, **o)),
    "mmr vector": lambda s, o: s.max_marginal_relevance_search_by_vector(
        embedding(), lambda_mult=1, **o
    ),
    "ammr vector": lambda s, o: wait(
        s.amax_marginal_relevance_search_by_vector(embedding(), lambda_mult=1, **o)
    ),
    "relevance": lambda s, o: first(s.similarity_search_with_relevance_scores(QUERY, **o)),
    "arelevance": lambda s, o: first(wait(s.asimilarity_search_with_relevance_scores(QUERY, **o))),
    "search": lambda s, o: s.search(QUERY, "similarity", **o),
    "as_retriever": lambda s, o: s.as_retriever(**o).invoke(QUERY),
    "as_retriever call": lambda s, o: s.as_retriever().invoke(QUERY, **o),
    "aas_retriever": lambda s, o: wait(s.as_retriever(**o).ainvoke(QUERY)),
    "as_retriever mmr": lambda s, o: diverse(s, o).invoke(QUERY),
    "as_retriever threshold": lambda s, o: threshold(s, o).invoke(QUERY),
    "aas_retriever threshold": lambda s, o: wait(threshold(s, o).ainvoke(QUERY)),
    "retriever": lambda s, o: retriever(s, o).invoke(QUERY),
    "retriever call": called,
    "aretriever": lambda s, o: wait(retriever(s, o).ainvoke(QUERY)),
    "batch": lambda s, o: retriever(s, o).batch(["owl", QUERY])[1],
    "batch call": lambda s, o: TrivecRetriever(vectorstore=s).batch([QUERY], **o)[0],
    "abatch": lambda s, o: wait(retriever(s, o).abatch([QUERY]))[0],
    "as completed": lambda s, o: dict(retriever(s, o).batch_as_completed([QUERY]))[0],
    "aas completed": lambda s, o: wait(completed(s, o)),
    "defaults": lambda s, o: default(s, o).similarity_search(QUERY, o.get("k", 4)),
    "defaults of a retriever": lambda s, o: TrivecRetriever(
        vectorstore=default(s, o), k=o.get("k", 4)
    ).invoke(QUERY),
}
every_text_path = pytest.mark.parametrize(
    "path", [PATHS[name] for name in PATHS if "vector" not in name]
)
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=list(PATHS))


def ranked(store: Store, **options: Any) -> list[Hit]:
    """Return all hits of the store, best first."""
    return store.search(HashEncoder().encode_query(QUERY), k=100, mode="dense", **options)


def grouped(hits: Sequence[Hit], key: str, k: int, per_group: int) -> list[Hit]:
    """Return the hits by group, as the definition says."""
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        name = hit.document.metadata.get(key)
        groups.setdefault(f"value {name}" if name is not None else hit.document.id, []).append(hit)
    return [hit for group in list(groups.values())[:k] for hit in group[:per_group]]


@every_path
@pytest.mark.parametrize("per_group", [1, 2])
@pytest.mark.parametrize("group_by", ["parent", "lang"])
def test_results_by_document(
    made: TrivecVectorStore, path: Path, group_by: str, per_group: int
) -> None:
    options = {"k": 3, "group_by": group_by, "per_group": per_group}
    expected = grouped(ranked(made.store), group_by, 3, per_group)
    assert [d.id for d in path(made, options)] == [hit.document.id for hit in expected]


@every_path
@pytest.mark.parametrize("options", [{}, {"per_group": 2}, {"group_by": "parent"}])
def test_parents_instead_of_passages(
    made: TrivecVectorStore, path: Path, options: dict[str, Any]
) -> None:
    best = grouped(ranked(made.store), "parent", 9, 1)
    order = [hit.document.metadata.get("parent", hit.document.id) for hit in best]
    documents = path(made, {"k": 9, "parents": True, **options})
    assert [d.id for d in documents] == order
    expected = {d.id: d for d in [*PARENTS, ALONE]}
    for document in documents:
        parent = expected[document.id or ""]
        assert (document.page_content, document.metadata) == (parent.text, parent.metadata)
    assert path(made, {"k": 2, "parents": True, **options}) == documents[:2]


@every_path
def test_scores_under_a_key(made: TrivecVectorStore, path: Path) -> None:
    assert all("points" not in d.metadata for d in path(made, {"k": 2}))
    scores = {hit.document.id: hit.score for hit in ranked(made.store)}
    is_relevance = path in [PATHS[n] for n in PATHS if "relevance" in n or "threshold" in n]
    for document in path(made, {"k": 9, "score_key": "points"}):
        score = document.metadata.pop("points")
        expected = scores[document.id or ""]
        assert type(score) is float
        assert score == pytest.approx((1 + expected) / 2 if is_relevance else expected)
        assert "points" not in document.metadata


def test_a_parent_has_the_score_of_its_best_passage(made: TrivecVectorStore) -> None:
    best = grouped(ranked(made.store), "parent", 9, 1)
    scored = made.similarity_search_with_score(QUERY, 9, parents=True, per_group=3, score_key="s")
    assert [score for _, score in scored] == [hit.score for hit in best]
    assert [document.metadata["s"] for document, _ in scored] == [hit.score for hit in best]
    relevant = made.similarity_search_with_relevance_scores(QUERY, 9, score_key="s")
    assert [document.metadata["s"] for document, _ in relevant] == [s for _, s in relevant]


def test_a_threshold_is_that_of_the_best_passage(made: TrivecVectorStore) -> None:
    best = [(1 + hit.score) / 2 for hit in grouped(ranked(made.store), "parent", 9, 1)]
    bound = (best[1] + best[2]) / 2
    options = {"parents": True, "k": 9, "score_threshold": bound, "score_key": "s"}
    documents = threshold(made, options).invoke(QUERY)
    assert [d.metadata["s"] for d in documents] == pytest.approx(best[:2])


def test_the_key_of_a_score_may_hide_metadata(made: TrivecVectorStore) -> None:
    [document] = made.similarity_search(QUERY, 1, score_key="lang")
    assert isinstance(document.metadata["lang"], float)
    assert made.get_by_ids([document.id or ""])[0].metadata["lang"] == "en"


@pytest.mark.parametrize("key", ["", PRIVATE_KEY, 3, ["score"]])
def test_keys_that_cannot_hold_a_score(made: TrivecVectorStore, key: Any) -> None:
    with pytest.raises(InvalidOptionError, match="score_key"):
        made.similarity_search(QUERY, score_key=key)
    with pytest.raises(InvalidOptionError, match="score_key"):
        TrivecVectorStore(made.store, HashEncoder(), score_key=key)
    with pytest.raises(InvalidOptionError, match="score_key"):
        made.as_retriever(score_key=key)
    with pytest.raises(ValueError, match="score_key"):
        TrivecReranker(encoder=HashEncoder(), score_key=key)


def test_diverse_groups_come_with_all_their_results(made: TrivecVectorStore) -> None:
    one = made.max_marginal_relevance_search(QUERY, 3, lambda_mult=0, group_by="parent")
    two = made.max_marginal_relevance_search(
        QUERY, 3, lambda_mult=0, group_by="parent", per_group=2
    )
    assert len({d.metadata.get("parent", d.id) for d in one}) == 3
    parents = [d.metadata.get("parent", d.id) for d in two]
    assert list(dict.fromkeys(parents)) == [d.metadata.get("parent", d.id) for d in one]
    assert len(parents) > 3
    assert parents == sorted(parents, key=list(dict.fromkeys(parents)).index)


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [*WRONG_OPTIONS, ({"score_key": "evidence", "evidence": 1}, "score_key='evidence'")],
)
def test_options_that_do_not_fit(
    made: TrivecVectorStore, options: Any, message: str, is_call: bool
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        made.similarity_search(QUERY, **options) if is_call else default(made, options)
    with pytest.raises(ValueError, match=message):
        made.as_retriever(**options)


def test_an_undeclared_field_makes_no_groups(made: TrivecVectorStore) -> None:
    for path in PATHS.values():
        with pytest.raises(InvalidOptionError, match="'year' is not a declared field"):
            path(made, {"group_by": "year"})


def test_hits_have_their_scores_anyway(made: TrivecVectorStore) -> None:
    options: Any = {"score_key": "score"}
    for call in (made.search_hits, made.search_hits_or_errors):
        with pytest.raises(TypeError, match="unknown search option score_key"):
            call([QUERY], **options)
    scored = default(made, {"score_key": "score", "parents": True})
    [hits] = scored.search_hits([QUERY], 9)
    assert {hit.document.id for hit in hits} == {d.id for d in [*PARENTS, ALONE]}
    assert all("score" not in hit.document.metadata for hit in hits)


def test_a_call_takes_back_the_groups_of_the_vector_store(made: TrivecVectorStore) -> None:
    own = default(made, {"group_by": "parent", "per_group": 2, "parents": True})
    all_ids = [hit.document.id for hit in ranked(made.store)]
    retrievers: list[Any] = [
        TrivecRetriever(vectorstore=own, k=99),
        TrivecRetriever(vectorstore=made, k=99, parents=True, per_group=2),
        own.as_retriever(k=99),
        made.as_retriever(k=99, parents=True, per_group=2),
    ]
    assert [d.id for d in own.similarity_search(QUERY, 99, group_by=None)] == all_ids
    for one in retrievers:
        assert {d.id for d in one.invoke(QUERY)} == {d.id for d in [*PARENTS, ALONE]}
        assert [d.id for d in one.invoke(QUERY, group_by=None)] == all_ids
        assert {d.id for d in one.invoke(QUERY, group_by="lang", per_group=99)} == set(all_ids)
        passages = one.invoke(QUERY, parents=False, per_group=1)
        assert {d.metadata.get("parent", d.id) for d in passages} == {
            d.id for d in [*PARENTS, ALONE]
        }
        assert len(passages) == len(PARENTS) + 1


def test_parents_of_a_bounded_vector_store(made: TrivecVectorStore) -> None:
    german = default(made, {"filter": {"lang": "de"}, "parents": True})
    assert [d.id for d in german.similarity_search(QUERY, 9)] == ["küste"]


def test_a_parent_that_is_deleted_during_the_search_leaves_its_passage(
    made: TrivecVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_many = Store.search_many

    def deleting(self: Store, *queries: Any, **options: Any) -> Any:
        hits = search_many(self, *queries, **options)
        made.store.delete(["wood#0", "wood#1"])
        return hits

    monkeypatch.setattr(Store, "search_many", deleting)
    ids = {d.id for d in made.similarity_search(QUERY, 9, parents=True)}
    assert ids - {"sea", "küste", "a#b", "alone"} <= {"wood#0", "wood#1"}
    assert len(ids) == 5


def test_metadata_that_only_looks_like_that_of_a_passage(
    store: Store, encoder: HashEncoder
) -> None:
    made = TrivecVectorStore(store, encoder, mode="dense", fields={"parent": str})
    texts = ["whale one", "whale two", "whale three", "owl"]
    metadatas: list[dict[str, Any]] = [
        {"parent": "p"},
        {"parent": "p", "span": [0, 9]},
        {"parent": "x" * 600},
        {"span": "no"},
    ]
    made.add_texts(texts, metadatas, ids=["p#0", "p#1", "c", "p"])
    documents = made.similarity_search("whale", 9, parents=True)
    assert len(documents) == 3
    for document in documents:
        assert document.metadata == metadatas[texts.index(document.page_content)]


@pytest.mark.parametrize("options", [{}, {"evidence": 2}])
def test_a_passage_that_is_added_again_stays_one(
    made: TrivecVectorStore, options: dict[str, Any]
) -> None:
    stored = {d.id: d for page in made.store.scan() for d in page.documents}
    found = made.similarity_search(QUERY, 99, **options)
    assert len(found) == len(stored)
    made.add_documents(found)
    assert {d.id: d for page in made.store.scan() for d in page.documents} == stored
    asyncio.run(made.aadd_documents(found[:2]))
    assert read_parents(made.store, [d.id for d in PARENTS]) == PARENTS


def test_a_passage_with_another_text_is_none(made: TrivecVectorStore) -> None:
    [found] = made.get_by_ids(["wood#1"])
    made.add_documents([Document("Other words.", id=found.id, metadata=found.metadata)])
    [again] = made.get_by_ids(["wood#1"])
    assert (again.page_content, again.metadata) == ("Other words.", found.metadata)
    assert read_parents(made.store, ["wood"]) == []
    moved = Document(found.page_content, id="sea#0", metadata=found.metadata)
    made.add_documents([moved])
    assert PRIVATE_KEY not in made.store.get(["sea#0"]).documents[0].metadata


def test_every_database_returns_parents_with_evidence(
    every_store: Store, encoder: HashEncoder
) -> None:
    fields: dict[str, Any] = {}
    if every_store.limits.declared_fields_only:
        fields = {f"{PRIVATE_KEY}.ref_doc_id": str, "kind": str, "n": int, "tag": str, **FIELDS}
    every_store.create(encoder.schema, fields=fields)
    fill(every_store, encoder)
    made = TrivecVectorStore(every_store, encoder, evidence=2, score_key="points")
    parents = made.similarity_search(QUERY, 9, parents=True, per_group=2)
    passages = made.similarity_search(QUERY, 9, group_by="parent", per_group=2)
    order = [d.metadata.get("parent", d.id) for d in passages]
    assert [d.id for d in parents] == list(dict.fromkeys(order))
    expected = {d.id: d for d in [*PARENTS, ALONE]}
    assert {d.id for d in parents} == set(expected)
    for document in parents:
        for passage in document.metadata.pop("evidence"):
            assert document.page_content[passage["start"] : passage["end"]] == passage["text"]
        best = next(d for d in passages if d.metadata.get("parent", d.id) == document.id)
        assert document.metadata.pop("points") == pytest.approx(best.metadata["points"], abs=1e-4)
        stored = every_store.as_stored(expected[document.id or ""])
        assert (document.page_content, document.metadata) == (stored.text, stored.metadata)


# --- evidence ------------------------------------------------------------------------------------


@every_text_path
@pytest.mark.parametrize("options", [{}, {"group_by": "parent", "per_group": 2}])
def test_evidence_in_metadata(made: TrivecVectorStore, path: Path, options: dict[str, Any]) -> None:
    assert all("evidence" not in d.metadata for d in path(made, {"k": 2, **options}))
    hits = {hit.document.id: hit for hit in ranked(made.store, evidence=2)}
    documents = path(made, {"k": 9, "evidence": 2, **options})
    assert len(documents) > 3
    for document in documents:
        hit = hits[document.id or ""]
        spans = document.metadata.pop("evidence")
        assert document.metadata == public_metadata(hit.document)
        assert json.loads(json.dumps(spans)) == [
            {"start": e.start, "end": e.end, "text": e.text, "score": pytest.approx(e.score)}
            for e in hit.evidence
        ]
        for passage in spans:
            assert document.page_content[passage["start"] : passage["end"]] == passage["text"]
    assert any(hit.evidence for hit in hits.values())


@every_text_path
def test_the_evidence_of_a_parent_is_in_its_own_text(made: TrivecVectorStore, path: Path) -> None:
    documents = path(made, {"k": 9, "evidence": 2, "parents": True, "per_group": 3})
    sea = next(d for d in documents if d.id == "sea")
    assert len(sea.metadata["evidence"]) == 2  # of two of its three passages
    for document in documents:
        spans = document.metadata["evidence"]
        for passage in spans:
            assert document.page_content[passage["start"] : passage["end"]] == passage["text"]
        scores = [passage["score"] for passage in spans]
        assert scores == sorted(scores, reverse=True)


WAYS: dict[str, Callable[[Document], Document]] = {
    "itself": lambda d: d,
    "deep copy": copy.deepcopy,
    "pickle": lambda d: pickle.loads(pickle.dumps(d)),
    "json": lambda d: Document(**json.loads(d.model_dump_json())),
    "langchain": lambda d: load(json.loads(dumps(d)), allowed_objects="core"),
    "with its metadata": lambda d: Document(d.page_content, id=d.id, metadata=dict(d.metadata)),
}


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize("text", ["A whale song.", "Whales sing. An owl does not."])
def test_evidence_is_not_stored(
    store: Store, encoder: HashEncoder, way: Callable[[Document], Document], text: str
) -> None:
    made = TrivecVectorStore(store, encoder)
    given = Document(text, id="a", metadata={"lang": "en"})
    made.add_documents([given])
    [found] = made.similarity_search(QUERY, 1, evidence=2)
    assert found.metadata["evidence"]
    made.add_documents([way(found)])
    made.add_documents([way(found)], ids=["b"])
    made.add_texts([found.page_content], [way(found).metadata], ids=["c"])
    asyncio.run(made.aadd_documents([way(found)], ids=["d"]))
    for document in made.get_by_ids(["a", "b", "c", "d"]):
        assert (document.page_content, document.metadata) == (text, {"lang": "en"})
    assert found.metadata["evidence"]  # what was given is not changed


def test_a_part_of_a_document_does_not_store_its_evidence(made: TrivecVectorStore) -> None:
    [found] = made.similarity_search(QUERY, 1, evidence=2)
    part = Document(found.page_content[3:], metadata=copy.deepcopy(found.metadata))
    made.add_documents([part], ids=["part"])
    assert "evidence" not in made.get_by_ids(["part"])[0].metadata


@pytest.mark.parametrize(
    "value",
    [
        "strong",
        None,
        [],
        {},
        ["whale"],
        [{"start": 0, "end": 5}],
        [{"start": 0, "end": 5, "text": "Whale", "score": 1.0, "by": "me"}],
        [{"start": 0, "end": 5, "text": "other", "score": 1.0}],
        [{"start": "0", "end": 5, "text": "Whale", "score": 1.0}],
    ],
)
def test_metadata_of_the_user_under_the_key_of_evidence(
    store: Store, encoder: HashEncoder, value: Any
) -> None:
    made = TrivecVectorStore(store, encoder)
    made.add_documents([Document("Whale song.", id="a", metadata={"evidence": value})])
    [plain] = made.similarity_search(QUERY, 1)
    assert plain.metadata == {"evidence": value}
    [found] = made.similarity_search(QUERY, 1, evidence=1)
    assert found.metadata["evidence"][0]["text"] == "Whale song."
    for document in (plain, found, copy.deepcopy(found)):
        made.add_documents([document])
        assert made.get_by_ids(["a"])[0].metadata == {"evidence": value}


def test_evidence_of_none(store: Store, encoder: HashEncoder) -> None:
    made = TrivecVectorStore(store, encoder)
    made.add_documents([Document("", id="a")])
    [found] = made.similarity_search(QUERY, 1, evidence=1)
    assert found.metadata == {"evidence": []}
    made.add_documents([found])
    assert made.get_by_ids(["a"])[0].metadata == {}


def test_plain_embeddings_have_no_evidence(store: Store) -> None:
    plain = DeterministicFakeEmbedding(size=6)
    with pytest.raises(InvalidOptionError, match="evidence=1 needs a trivec encoder"):
        TrivecVectorStore(store, plain, evidence=1)
    with pytest.raises(InvalidOptionError, match="evidence=1 needs a trivec encoder"):
        TrivecVectorStore(store, plain).similarity_search("whale", evidence=1)


def test_an_embedding_has_no_evidence(made: TrivecVectorStore) -> None:
    own = default(made, {"evidence": 1})
    for search in (own.similarity_search_by_vector, own.max_marginal_relevance_search_by_vector):
        assert all("evidence" not in d.metadata for d in search(embedding()))
        with pytest.raises(InvalidVectorsError, match="query 0 has no sparse or colbert vectors"):
            search(embedding(), evidence=1)


def test_only_what_was_chosen_is_read_for_evidence(
    made: TrivecVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def evidence_of(document: Any, *arguments: Any, **options: Any) -> Any:
        read.append(document.id)
        return found(document, *arguments, **options)

    found = vars(evidence)["evidence_of"]
    monkeypatch.setattr(evidence, "evidence_of", evidence_of)
    documents = made.max_marginal_relevance_search(QUERY, 2, fetch_k=9, evidence=1)
    assert read == [d.id for d in documents]


# --- rerankers -----------------------------------------------------------------------------------


def test_the_reranker_says_its_scores(made: TrivecVectorStore, encoder: HashEncoder) -> None:
    documents = made.similarity_search(QUERY, 9, score_key="score", evidence=1)
    before = copy.deepcopy(documents)
    reranker = TrivecReranker(encoder=encoder, store=made.store, mode="colbert", score_key="score")
    scores = dict(zip((d.id for d in documents), reranker.score(documents, QUERY), strict=True))
    best = reranker.compress_documents(documents, QUERY)
    waited = asyncio.run(reranker.acompress_documents(documents, QUERY))
    assert best == waited
    assert documents == before
    assert [d.metadata["score"] for d in best] == sorted(scores.values(), reverse=True)
    for document in best:
        assert document.metadata["score"] == scores[document.id]
        made.add_documents([document])
        assert "evidence" not in made.get_by_ids([document.id or ""])[0].metadata
    plain = TrivecReranker(encoder=encoder).compress_documents(documents, QUERY)
    assert {id(d) for d in plain} == {id(d) for d in documents}


def test_parents_are_reranked_by_their_texts(made: TrivecVectorStore, encoder: HashEncoder) -> None:
    documents = made.similarity_search(QUERY, 9, parents=True, evidence=1, score_key="score")
    best = TrivecReranker(encoder=encoder, store=made.store).compress_documents(documents, QUERY)
    assert {d.id for d in best} == {d.id for d in documents}


# --- dumps ---------------------------------------------------------------------------------------


def test_a_retriever_is_written_with_its_options(made: TrivecVectorStore) -> None:
    own: dict[str, Any] = {"parents": True, "per_group": 2, "score_key": "s", "group_by": "parent"}
    first_one = TrivecRetriever(vectorstore=made, k=3, **own)
    again = TrivecRetriever(vectorstore=made, **json.loads(first_one.model_dump_json()))
    assert again == first_one
    assert again.invoke(QUERY) == first_one.invoke(QUERY)
    assert again.invoke(QUERY) != TrivecRetriever(vectorstore=made, k=3).invoke(QUERY)
    assert again.invoke(QUERY)[0].metadata["s"]
    wrong: Any
    for wrong in ({"per_group": 2}, {"group_by": "a..b"}, {"score_key": ""}, {"evidence": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TrivecRetriever(vectorstore=made, **wrong)
