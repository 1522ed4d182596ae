"""Results by document and evidence in the nodes of LlamaIndex."""

from __future__ import annotations

import asyncio
import copy
import datetime
import json
import pickle
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter, TokenTextSplitter
from llama_index.core.schema import (
    BaseNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    ObjectType,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode as Mode
from long_documents import ALONE, PARENTS, WRONG_OPTIONS, fill
from store_cases import FIELDS

from trivec import Hit, Store, read_parents
from trivec.errors import InvalidOptionError
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecRerank, TrivecRetriever, TrivecVectorStore
from trivec_llamaindex.nodes import REF_DOC_ID, to_document, to_node

QUERY = "a whale song"


class State(Enum):
    """A value that is stored as another text than it shows."""

    OPEN = "it is open"


Path = Callable[[TrivecVectorStore, dict[str, Any]], Sequence[BaseNode]]


@pytest.fixture
def made(store: Store, encoder: HashEncoder) -> TrivecVectorStore:
    """Return a vector store over passages that `ingest` could have written."""
    store.create(encoder.schema, fields={"parent": str, "lang": str})
    fill(store, encoder)
    return TrivecVectorStore(store, encoder)


DOCUMENTS = [
    Document(doc_id="sea", text="Whales sing in the sea. " * 5 + "A whale song carries far."),
    Document(doc_id="wood", text="Foxes live in the wood. " * 5, metadata={"title": "red foxes"}),
    Document(doc_id="küste", text="Robben ruhen am Strand. Ein Wal singt.", metadata={"n": 1}),
]


@pytest.fixture
def index(store: Store, encoder: HashEncoder) -> VectorStoreIndex:
    """Return an index of nodes that LlamaIndex made."""
    vector_store = TrivecVectorStore(store, encoder)
    return VectorStoreIndex.from_documents(
        DOCUMENTS,
        storage_context=StorageContext.from_defaults(vector_store=vector_store),
        embed_model=vector_store.embed_model,
        transformations=[TokenTextSplitter(chunk_size=24, chunk_overlap=0)],
    )


def split(options: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return options.get("k", 4), {n: option for n, option in options.items() if n != "k"}


def asked(options: dict[str, Any], **given: Any) -> tuple[VectorStoreQuery, dict[str, Any]]:
    k, rest = split(options)
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=k, mode=Mode.HYBRID, **given)
    return query, rest


def query(made: TrivecVectorStore, options: dict[str, Any], **given: Any) -> Sequence[BaseNode]:
    question, rest = asked(options, **given)
    return made.query(question, **rest).nodes or []


def aquery(made: TrivecVectorStore, options: dict[str, Any]) -> Sequence[BaseNode]:
    question, rest = asked(options)
    return asyncio.run(made.aquery(question, **rest)).nodes or []


def defaults(made: TrivecVectorStore, options: dict[str, Any]) -> TrivecVectorStore:
    return TrivecVectorStore(made.client, HashEncoder(), **split(options)[1])


def of_index(made: TrivecVectorStore, options: dict[str, Any]) -> Any:
    k, rest = split(options)
    index = VectorStoreIndex.from_vector_store(made, embed_model=made.embed_model)
    return index.as_retriever(
        vector_store_query_mode="hybrid", similarity_top_k=k, vector_store_kwargs=rest
    )


def diverse(made: TrivecVectorStore, options: dict[str, Any]) -> Sequence[BaseNode]:
    # The threshold 1 chooses the nearest by the dense score.
    k, rest = split(options)
    question = VectorStoreQuery(query_str=QUERY, similarity_top_k=k, mode=Mode.MMR)
    return made.query(question, mmr_threshold=1, **rest).nodes or []


def retriever(made: TrivecVectorStore, options: dict[str, Any]) -> TrivecRetriever:
    return TrivecRetriever(made.client, HashEncoder(), **options)


def nodes(found: Any) -> list[BaseNode]:
    return [scored.node for scored in found]


EVERYTHING: MetadataFilters = MetadataFilters.from_dicts(
    [
        {"key": "lang", "value": "NO", "operator": "text_match_insensitive"},
        {"key": "lang", "value": "NO", "operator": "!="},
    ],
    condition="or",  # type: ignore[arg-type]
)
PATHS: dict[str, Path] = {
    "query": query,
    "aquery": aquery,
    "defaults": lambda s, o: query(defaults(s, o), {"k": o.get("k", 4)}),
    "copied": lambda s, o: query(s.model_copy(update=split(o)[1]), {"k": o.get("k", 4)}),
    "read": lambda s, o: query(
        TrivecVectorStore.from_dict(
            json.loads(json.dumps(defaults(s, o).to_dict())), store=s.client, encoder=HashEncoder()
        ),
        {"k": o.get("k", 4)},
    ),
    "index": lambda s, o: nodes(of_index(s, o).retrieve(QUERY)),
    "aindex": lambda s, o: nodes(asyncio.run(of_index(s, o).aretrieve(QUERY))),
    "retriever": lambda s, o: nodes(retriever(s, o).retrieve(QUERY)),
    "aretriever": lambda s, o: nodes(asyncio.run(retriever(s, o).aretrieve(QUERY))),
    "some nodes": lambda s, o: query(s, o, node_ids=[d.id for d in all_documents(s)]),
    "local filter": lambda s, o: query(s, o, filters=EVERYTHING),
    "mmr": diverse,
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=list(PATHS))


def all_documents(made: TrivecVectorStore) -> list[Any]:
    return [d for page in made.client.scan() for d in page.documents]


def ranked(store: Store, path: Path | None = None, **options: Any) -> list[Hit]:
    """Return all hits of the store, best first."""
    mode: Any = "dense" if path is diverse else "hybrid"
    return store.search(HashEncoder().encode_query(QUERY), k=100, mode=mode, **options)


def grouped(hits: Sequence[Hit], key: str, k: int, per_group: int) -> list[Hit]:
    """Return the hits by group, as the definition says."""
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        node = to_node(hit.document)
        value = node.ref_doc_id if key == "ref_doc_id" else node.metadata.get(key)
        groups.setdefault(f"value {value}" if value is not None else node.node_id, []).append(hit)
    return [hit for group in list(groups.values())[:k] for hit in group[:per_group]]


@every_path
@pytest.mark.parametrize("per_group", [1, 2])
@pytest.mark.parametrize("group_by", ["parent", "lang", "ref_doc_id"])
def test_results_by_document(
    made: TrivecVectorStore, path: Path, group_by: str, per_group: int
) -> None:
    options = {"k": 3, "group_by": group_by, "per_group": per_group}
    expected = grouped(ranked(made.client, path), group_by, 3, per_group)
    assert [node.node_id for node in path(made, options)] == [hit.document.id for hit in expected]


@every_path
@pytest.mark.parametrize("per_group", [1, 3])
def test_nodes_of_llamaindex_by_their_documents(
    index: VectorStoreIndex, path: Path, per_group: int
) -> None:
    vector_store: Any = index.vector_store
    expected = grouped(ranked(vector_store.client, path), "ref_doc_id", 2, per_group)
    assert len(expected) == 2 * per_group or per_group == 3
    options = {"k": 2, "group_by": "ref_doc_id", "per_group": per_group}
    found = path(vector_store, options)
    assert found == [to_node(hit.document) for hit in expected]
    assert all(node.ref_doc_id and node.source_node for node in found)
    assert path(vector_store, {**options, "group_by": REF_DOC_ID}) == found


@every_path
@pytest.mark.parametrize("options", [{}, {"per_group": 2}, {"group_by": "parent"}])
def test_parents_instead_of_passages(
    made: TrivecVectorStore, path: Path, options: dict[str, Any]
) -> None:
    best = grouped(ranked(made.client, path), "parent", 9, 1)
    found = path(made, {"k": 9, "parents": True, **options})
    assert [n.node_id for n in found] == [
        hit.document.metadata.get("parent", hit.document.id) for hit in best
    ]
    expected = {d.id: d for d in [*PARENTS, ALONE]}
    for node in found:
        parent = expected[node.node_id]
        assert isinstance(node, TextNode)
        assert (node.text, node.metadata, node.ref_doc_id) == (parent.text, parent.metadata, None)
    assert path(made, {"k": 2, "parents": True, **options}) == found[:2]


def test_a_parent_has_the_score_of_its_best_passage(made: TrivecVectorStore) -> None:
    best = grouped(ranked(made.client), "parent", 9, 1)
    question, options = asked({"k": 9, "parents": True, "per_group": 3})
    result = made.query(question, **options)
    assert result.similarities == [hit.score for hit in best]
    assert result.ids == [node.node_id for node in result.nodes or []]
    found = retriever(made, {"k": 9, "parents": True}).retrieve(QUERY)
    assert [node.score for node in found] == [hit.score for hit in best]


def test_a_passage_knows_its_document(made: TrivecVectorStore) -> None:
    for parent in PARENTS:
        passages = [n for n in made.get_nodes() if n.ref_doc_id == parent.id]
        passages.sort(key=lambda node: node.node_id)
        assert passages
        for n, node in enumerate(passages):
            assert isinstance(node, TextNode)
            assert node.text == parent.text[node.start_char_idx : node.end_char_idx]
            source, before, after = node.source_node, node.prev_node, node.next_node
            assert source is not None
            assert (source.node_id, source.node_type) == (parent.id, ObjectType.DOCUMENT)
            assert (before.node_id if before else None) == (f"{parent.id}#{n - 1}" if n else None)
            is_last = n == len(passages) - 1
            assert (after.node_id if after else None) == (
                None if is_last else f"{parent.id}#{n + 1}"
            )
            assert node.metadata["span"] == [node.start_char_idx, node.end_char_idx]
            assert node.get_content(metadata_mode=MetadataMode.EMBED) == node.text
            shown = node.get_content(metadata_mode=MetadataMode.LLM)
            assert "span" not in shown
            assert "parent" not in shown
            assert ("lang: " in shown) == ("lang" in parent.metadata)
    [alone] = made.get_nodes(["alone"])
    assert (alone.ref_doc_id, alone.relationships) == (None, {})


def test_metadata_that_only_looks_like_that_of_a_passage(
    store: Store, encoder: HashEncoder
) -> None:
    made = TrivecVectorStore(store, encoder, fields={"parent": str})
    given = [
        TextNode(id_="p#0", text="whale one", metadata={"parent": "p", "span": [0, 9]}),
        TextNode(id_="p#1", text="whale two", metadata={"parent": "p"}),
        TextNode(id_="c", text="whale three", metadata={"parent": "x" * 600, "span": "no"}),
    ]
    made.add(given)
    assert made.get_nodes(["p#0", "p#1", "c"]) == given
    found = query(made, {"parents": True})
    assert len(found) == 2
    assert all(node in given for node in found)


def test_deleting_a_document_deletes_its_passages(made: TrivecVectorStore) -> None:
    made.delete("sea")
    asyncio.run(made.adelete("a#b"))
    made.delete("alone")  # no node was made from it
    made.delete("nobody")
    assert {node.ref_doc_id for node in made.get_nodes()} == {"wood", "küste", None}
    assert [n.node_id for n in made.get_nodes() if n.ref_doc_id is None] == ["alone"]


def test_a_query_of_some_documents_finds_their_passages(made: TrivecVectorStore) -> None:
    found = query(made, {"k": 9}, doc_ids=["sea", "wood"])
    assert {node.ref_doc_id for node in found} == {"sea", "wood"}
    assert len(found) == 5


def test_diverse_groups_come_with_all_their_nodes(index: VectorStoreIndex) -> None:
    vector_store: Any = index.vector_store
    question = VectorStoreQuery(query_str=QUERY, similarity_top_k=2, mode=Mode.MMR)
    options: Any = {"group_by": "ref_doc_id", "per_group": 3, "mmr_threshold": 0.0}
    result = vector_store.query(question, **options)
    refs = [node.ref_doc_id for node in result.nodes]
    assert len(set(refs)) == 2
    assert len(refs) > 2
    assert refs == sorted(refs, key=list(dict.fromkeys(refs)).index)


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_options_that_do_not_fit(made: TrivecVectorStore, options: Any, message: str) -> None:
    for call in (query, defaults, retriever):
        with pytest.raises(InvalidOptionError, match=message):
            call(made, options)


@every_path
def test_an_undeclared_field_makes_no_groups(made: TrivecVectorStore, path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="'year' is not a declared field"):
        path(made, {"group_by": "year"})


def test_documents_of_llamaindex_are_in_its_own_docstore(index: VectorStoreIndex) -> None:
    vector_store: Any = index.vector_store
    with pytest.raises(InvalidOptionError, match="parents=True"):
        query(vector_store, {"group_by": "ref_doc_id", "parents": True})


def test_a_query_takes_back_the_groups_of_the_vector_store(made: TrivecVectorStore) -> None:
    own = defaults(made, {"group_by": "parent", "per_group": 2, "parents": True})
    all_ids = [hit.document.id for hit in ranked(made.client)]
    assert [n.node_id for n in query(own, {"k": 99, "group_by": None})] == all_ids
    assert {n.node_id for n in query(own, {"k": 99})} == {d.id for d in [*PARENTS, ALONE]}
    passages = query(own, {"k": 99, "parents": False, "per_group": 1})
    assert len(passages) == len(PARENTS) + 1
    assert all("#" in node.node_id or node.node_id == "alone" for node in passages)


def test_a_field_of_the_user_with_the_name_of_the_group(store: Store, encoder: HashEncoder) -> None:
    made = TrivecVectorStore(store, encoder, fields={"ref_doc_id": str})
    given = [TextNode(text=f"whale {n}", metadata={"ref_doc_id": "ab"[n % 2]}) for n in range(6)]
    made.add(given)
    found = query(made, {"k": 9, "group_by": "ref_doc_id"})
    assert [node.metadata["ref_doc_id"] for node in found] in (["a", "b"], ["b", "a"])


@pytest.mark.parametrize("options", [{}, {"evidence": 2}])
def test_a_passage_that_is_added_again_stays_one(
    made: TrivecVectorStore, options: dict[str, Any]
) -> None:
    before = made.get_nodes()
    made.add(query(made, {"k": 99, **options}))
    assert sorted(made.get_nodes(), key=by_id) == sorted(before, key=by_id)
    asyncio.run(made.async_add(before[:2]))
    assert sorted(made.get_nodes(), key=by_id) == sorted(before, key=by_id)
    assert read_parents(made.client, [d.id for d in PARENTS]) == PARENTS
    found = query(made, {"k": 9, "group_by": "ref_doc_id"})
    assert len(found) == len(PARENTS) + 1
    made.delete("sea")
    assert {node.ref_doc_id for node in made.get_nodes()} == {"wood", "küste", "a#b", None}


def test_passages_of_nodes(store: Store, encoder: HashEncoder) -> None:
    """A collection of nodes is copied into another one, as passages."""
    given = TextNode(
        id_="long",
        text="A whale song carries far. An owl is awake.",
        metadata={"lang": "en"},
        excluded_llm_metadata_keys=["lang"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book")},
    )
    store.create(encoder.schema, fields={"parent": str})
    fill(store, encoder, [to_document(given)])
    made = TrivecVectorStore(store, encoder)
    passages = [node for node in made.get_nodes() if node.node_id != "alone"]
    assert {node.ref_doc_id for node in passages} == {"long"}
    found = query(made, {"k": 9, "parents": True})
    assert next(node for node in found if node.node_id == "long") == given
    for node in query(made, {"k": 9, "evidence": 1}):
        check_evidence(node)


def test_reranking_passages_takes_their_stored_vectors(made: TrivecVectorStore) -> None:
    found = retriever(made, {"k": 3}).retrieve(QUERY)
    passages = [scored for scored in found if scored.node.ref_doc_id]
    other = HashEncoder()
    TrivecRerank(other, store=made.client).postprocess_nodes(passages, query_str=QUERY)
    assert other.encoded == 1  # the question


def by_id(node: BaseNode) -> str:
    return node.node_id


def test_every_database_groups_nodes_with_evidence(
    every_store: Store, encoder: HashEncoder
) -> None:
    fields: dict[str, Any] = {}
    if every_store.limits.declared_fields_only:
        fields = {"kind": str, "n": int, "tag": str, **FIELDS}
    made = TrivecVectorStore(every_store, encoder, fields=fields)
    documents = [
        Document(doc_id=d.doc_id, text=d.text, metadata={"z": "a whale", "a": [1, 2], "n": 3})
        for d in DOCUMENTS
    ]
    made.add(TokenTextSplitter(chunk_size=60, chunk_overlap=0)(documents))
    per_group, evidence = 2, 2
    found = query(
        made, {"k": 2, "group_by": "ref_doc_id", "per_group": per_group, "evidence": evidence}
    )
    ranked_nodes = query(made, {"k": 99})
    refs = list(dict.fromkeys(node.ref_doc_id for node in ranked_nodes))[:2]
    expected = [
        node.node_id
        for ref in refs
        for node in [n for n in ranked_nodes if n.ref_doc_id == ref][:per_group]
    ]
    assert [node.node_id for node in found] == expected
    for node in found:
        check_evidence(node)
    assert any("whale" in p["text"].lower() for p in found[0].metadata["evidence"])


# --- evidence ------------------------------------------------------------------------------------


def check_evidence(node: BaseNode) -> None:
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    for passage in node.metadata["evidence"]:
        assert passage.keys() == {"start", "end", "text", "score"}
        assert text[passage["start"] : passage["end"]] == passage["text"]
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert "evidence" not in node.get_content(metadata_mode=mode)


@every_path
@pytest.mark.parametrize("options", [{}, {"group_by": "parent", "per_group": 2}])
def test_evidence_in_metadata(made: TrivecVectorStore, path: Path, options: dict[str, Any]) -> None:
    assert all("evidence" not in node.metadata for node in path(made, {"k": 2, **options}))
    hits = {hit.document.id: hit for hit in ranked(made.client, path, evidence=2)}
    found = path(made, {"k": 9, "evidence": 2, **options})
    assert len(found) > 3
    for node in found:
        check_evidence(node)
        assert json.loads(json.dumps(node.metadata["evidence"])) == [
            {"start": e.start, "end": e.end, "text": e.text, "score": pytest.approx(e.score)}
            for e in hits[node.node_id].evidence
        ]
    assert any(node.metadata["evidence"] for node in found)


@every_path
def test_the_evidence_of_a_parent_is_in_its_own_text(made: TrivecVectorStore, path: Path) -> None:
    found = path(made, {"k": 9, "evidence": 2, "parents": True, "per_group": 3})
    assert {node.node_id for node in found} == {d.id for d in [*PARENTS, ALONE]}
    for node in found:
        check_evidence(node)
    assert len(next(n for n in found if n.node_id == "sea").metadata["evidence"]) == 2


@every_path
def test_evidence_of_nodes_that_were_encoded_with_their_metadata(
    index: VectorStoreIndex, path: Path
) -> None:
    vector_store: Any = index.vector_store
    found = path(vector_store, {"k": 99, "evidence": 3})
    assert len(found) == len(vector_store.get_nodes())
    for node in found:
        check_evidence(node)
        if "whale" in node.get_content(metadata_mode=MetadataMode.NONE).lower():
            assert node.metadata["evidence"]


TEXTS = [
    "A whale sings.",
    "  A whale song carries far.\n\nAn owl does not. ",
    "title: whale\n\nA whale.",
    "",
    " \n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"text_template": "{content}\n\n{metadata_str}"},
        {"text_template": "{metadata_str}{content}"},
        {"text_template": "[{metadata_str}] {content} [{metadata_str}]"},
        {"text_template": "{metadata_str}"},
        {"excluded_embed_metadata_keys": ["title"]},
        {"metadata_separator": " :: "},
    ],
)
def test_evidence_is_of_the_text_of_a_node(
    store: Store, encoder: HashEncoder, text: str, form: dict[str, Any]
) -> None:
    made = TrivecVectorStore(store, encoder)
    metadata = {"title": "whale song, a whale song", "n": 3, "tags": ["whale", "song"]}
    made.add([TextNode(id_="a", text=text, metadata=metadata, **form)])
    [node] = query(made, {"k": 1, "evidence": 9})
    check_evidence(node)
    is_encoded = form.get("text_template") != "{metadata_str}"
    assert bool(node.metadata["evidence"]) == ("hale" in text and is_encoded)


def test_the_best_evidence_is_that_of_the_text_alone(store: Store, encoder: HashEncoder) -> None:
    text = "An owl is awake. " * 20 + "A whale song carries far. " + "The fox is red. " * 20
    made = TrivecVectorStore(store, encoder)
    made.add([TextNode(id_="a", text=text, metadata={"title": "a long title of a text"})])
    [node] = query(made, {"k": 1, "evidence": 1})
    [passage] = node.metadata["evidence"]
    assert "A whale song carries far." in passage["text"]


@pytest.mark.parametrize("colbert", [None, "bits=1,pool=2", "prune=1/3"])
@pytest.mark.parametrize(
    "metadata",
    [
        {f"day{n}": datetime.datetime(2024, 1, n + 1, 12) for n in range(9)},
        {f"size{n}": Decimal("1.50") for n in range(9)},
        {f"state{n}": State.OPEN for n in range(9)},
        {"tags": ("a", "b"), "none": None, "deep": {"x": [1, (2, 3)]}},
    ],
)
def test_evidence_where_metadata_comes_back_in_another_form(
    store: Store, encoder: HashEncoder, metadata: dict[str, Any], colbert: str | None
) -> None:
    """The text that was encoded is made of the stored metadata again."""
    made = TrivecVectorStore(store, encoder, colbert=colbert)
    text = "An owl is awake. " * 20 + "A whale song carries far. " + "The fox is red. " * 20
    made.add([TextNode(id_="a", text=text, metadata=metadata)])
    [node] = query(made, {"k": 1, "evidence": 1})
    check_evidence(node)
    [passage] = node.metadata["evidence"]
    assert "A whale song carries far." in passage["text"]
    plain = TextNode(id_="b", text=text)
    made.add([plain])
    found = query(made, {"k": 2, "evidence": 1})
    scores = [each.metadata["evidence"][0]["score"] for each in found]
    assert colbert is not None or scores[0] == pytest.approx(scores[1], abs=0.02)


WAYS: dict[str, Callable[[BaseNode], BaseNode]] = {
    "itself": lambda n: n,
    "deep copy": copy.deepcopy,
    "pickle": lambda n: pickle.loads(pickle.dumps(n)),
    "json": lambda n: type(n).from_dict(json.loads(json.dumps(n.to_dict()))),
    "model copy": lambda n: n.model_copy(deep=True),
}


def dense_of(store: Store) -> list[float]:
    """Return the dense vector of the document "a"."""
    vectors = store.get(["a"], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.dense is not None
    values: list[float] = vectors.dense[0].tolist()
    return values


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize(
    "given",
    [
        TextNode(id_="a", text="A whale song."),
        TextNode(id_="a", text="A whale sings.", metadata={"lang": "en"}),
        TextNode(
            id_="a",
            text="A whale sings.",
            metadata={"lang": "en", "n": 1},
            excluded_embed_metadata_keys=["n"],
            excluded_llm_metadata_keys=["lang"],
        ),
        IndexNode(id_="a", text="A whale.", index_id="x"),
        Document(doc_id="a", text="A whale.", metadata={"lang": "en"}),
    ],
)
def test_evidence_is_not_stored(
    store: Store, encoder: HashEncoder, way: Callable[[BaseNode], BaseNode], given: BaseNode
) -> None:
    made = TrivecVectorStore(store, encoder)
    made.add([given])
    dense = dense_of(store)
    [found] = query(made, {"k": 1, "evidence": 2})
    assert found.metadata["evidence"]
    before = found.model_copy(deep=True)
    for add in (made.add, lambda nodes: asyncio.run(made.async_add(nodes))):
        add([way(found)])
        assert made.get_nodes(["a"]) == [given]
        assert dense_of(store) == dense
    assert found == before


@pytest.mark.parametrize(
    "value", ["strong", None, [], ["whale"], [{"start": 0, "end": 5, "text": "other", "score": 1}]]
)
@pytest.mark.parametrize("excluded", [[], ["evidence"]])
def test_metadata_of_the_user_under_the_key_of_evidence(
    store: Store, encoder: HashEncoder, value: Any, excluded: list[str]
) -> None:
    made = TrivecVectorStore(store, encoder)
    given = TextNode(
        id_="a",
        text="Whale song.",
        metadata={"evidence": value},
        excluded_embed_metadata_keys=excluded,
    )
    made.add([given])
    for options in ({}, {"evidence": 1}):
        [found] = query(made, {"k": 1, **options})
        for node in (found, found.model_copy(deep=True)):
            made.add([node])
            assert made.get_nodes(["a"]) == [given]
    assert found.metadata["evidence"][0]["text"] == "Whale song."


def test_an_embedding_has_no_evidence(made: TrivecVectorStore, encoder: HashEncoder) -> None:
    dense = encoder.encode_query(QUERY).dense
    assert dense is not None
    question = VectorStoreQuery(query_embedding=dense.tolist(), similarity_top_k=2)
    nodes = defaults(made, {"evidence": 1}).query(question).nodes or []
    assert all("evidence" not in node.metadata for node in nodes)
    with pytest.raises(InvalidOptionError, match="evidence of a default query needs query_str"):
        made.query(question, evidence=1)
    question.query_str = QUERY
    nodes = made.query(question, evidence=1).nodes or []
    assert any(node.metadata["evidence"] for node in nodes)
    plain = TrivecVectorStore(made.client)
    with pytest.raises(InvalidOptionError, match="needs a trivec encoder"):
        plain.query(question, evidence=1)


def test_a_bundle_with_an_embedding_has_evidence(made: TrivecVectorStore) -> None:
    bundle = QueryBundle(QUERY, embedding=HashEncoder().encode_query(QUERY).dense.tolist())  # type: ignore[union-attr]
    found = retriever(made, {"k": 2, "mode": "dense", "evidence": 1}).retrieve(bundle)
    assert all(scored.node.metadata["evidence"] for scored in found)


def test_evidence_takes_no_further_pass(index: VectorStoreIndex, encoder: HashEncoder) -> None:
    before = encoder.encoded
    retriever = index.as_retriever(
        vector_store_query_mode="default", vector_store_kwargs={"evidence": 2}
    )
    found = retriever.retrieve("a new question of a whale")
    assert any(scored.node.metadata["evidence"] for scored in found)
    assert encoder.encoded == before + 1


def test_nodes_with_evidence_are_reranked(index: VectorStoreIndex, encoder: HashEncoder) -> None:
    vector_store: Any = index.vector_store
    rerank = TrivecRerank(encoder, store=vector_store.client)
    plain = of_index(vector_store, {"k": 9}).retrieve(QUERY)
    found = of_index(vector_store, {"k": 9, "evidence": 2}).retrieve(QUERY)
    expected = rerank.postprocess_nodes(plain, query_str=QUERY)
    again = rerank.postprocess_nodes(found, query_str=QUERY)
    assert [(n.node_id, n.score) for n in again] == [(n.node_id, n.score) for n in expected]


def test_a_part_of_a_node_does_not_store_its_evidence(
    made: TrivecVectorStore, encoder: HashEncoder
) -> None:
    [found] = query(made, {"k": 1, "evidence": 2})
    parts = SentenceSplitter(chunk_size=99, chunk_overlap=0)(
        [Document(text="An owl. " + found.get_content(), metadata=found.metadata)]
    )
    made.add(parts)
    for node in made.get_nodes([part.node_id for part in parts]):
        assert "evidence" not in node.metadata
        assert NodeRelationship.SOURCE in node.relationships
