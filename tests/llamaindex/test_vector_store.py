"""What LlamaIndex users rely on, on every store."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    SimpleVectorStore,
)
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from trivec import F, Store
from trivec.errors import InvalidDocumentError
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecVectorStore

EQ, NE = FilterOperator.EQ, FilterOperator.NE
Mode = VectorStoreQueryMode


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def where(*filters: Any, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    given = [
        one
        if isinstance(one, MetadataFilters)
        else MetadataFilter(key=one[0], operator=one[1], value=one[2])
        for one in filters
    ]
    return MetadataFilters(filters=given, condition=condition)


SEA = where(("kind", EQ, "sea"))


# --- nodes -------------------------------------------------------------------------------------

NODES: list[BaseNode] = [
    TextNode(id_="plain", text="blue whale"),
    TextNode(
        id_="full",
        text="blue whale\n\n zażółć 🐋",
        metadata={
            "document_id": "mine",
            "doc_id": "mine",
            "ref_doc_id": "mine",
            "_node_content": "mine",
            "text": "mine",
            "nested": {"list": [1, 2.5, "x", None, True], "empty": {}},
            "none": None,
        },
        excluded_embed_metadata_keys=["nested"],
        excluded_llm_metadata_keys=["none"],
        start_char_idx=3,
        end_char_idx=20,
        mimetype="text/markdown",
        metadata_template="{key} = {value}",
        metadata_separator=" | ",
        text_template="{metadata_str}: {content}",
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(
                node_id="doc", metadata={"file": "a.txt"}, hash="abc"
            ),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="plain"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="x"), RelatedNodeInfo(node_id="y")],
        },
    ),
    IndexNode(id_="index", text="blue whale", index_id="other", extra_info={"a": 1}),
    ImageNode(id_="image", text="blue whale", image_url="https://example.org/whale.png"),
    Node(
        id_="node",
        text_resource=MediaResource(text="blue whale", mimetype="text/plain"),
        image_resource=MediaResource(url="https://example.org/whale.png"),  # type: ignore[arg-type]
        extra_info={"a": 1},
    ),
    Document(id_="document", text="blue whale", metadata={"a": 1}),
    TextNode(id_="empty", text=""),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.node_id)
async def test_nodes_come_back_as_they_went_in(
    vector_store: TrivecVectorStore, node: BaseNode
) -> None:
    before = node.model_dump()
    assert vector_store.add([node]) == [node.node_id]
    assert node.model_dump() == before
    query = VectorStoreQuery(query_str="blue whale", mode=Mode.HYBRID, similarity_top_k=3)
    answer = vector_store.query(query)
    for found in (
        vector_store.get_nodes([node.node_id]),
        await vector_store.aget_nodes([node.node_id]),
        vector_store.get_nodes(),
        answer.nodes or [],
    ):
        assert found == [node]
        assert type(found[0]) is type(node)
        assert found[0].ref_doc_id == node.ref_doc_id
        assert found[0].hash == node.hash
    assert answer.ids == [node.node_id]


def test_large_node_data_is_none_of_the_metadata(vector_store: TrivecVectorStore) -> None:
    window = "A sentence of the book. " * 1_000
    neighbours = {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book", metadata={"file": "a.txt"}),
        NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="0", metadata={"window": window}),
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="2", metadata={"window": window}),
    }
    nodes: list[BaseNode] = [
        TextNode(id_="window", text="one", metadata={"window": window}, relationships=neighbours),
        ImageNode(id_="image", text="two", image="iVBORw0K" * 25_000, image_mimetype="image/png"),
    ]
    vector_store.add(nodes)
    assert vector_store.get_nodes(["window", "image"]) == nodes
    answer = vector_store.query(VectorStoreQuery(query_str="two", similarity_top_k=2))
    assert sorted(answer.nodes or [], key=lambda n: n.node_id) == [nodes[1], nodes[0]]
    vector_store.delete("book")
    assert vector_store.get_nodes() == [nodes[1]]


def test_values_of_python_programs_in_nodes(vector_store: TrivecVectorStore) -> None:
    values = {"day": date(2026, 1, 31), "n": np.int64(3), "flag": np.True_}
    source = RelatedNodeInfo(node_id="book", metadata=values)
    node = TextNode(id_="a", text="one", metadata=values)
    node.relationships[NodeRelationship.SOURCE] = source
    vector_store.add([node])
    (back,) = vector_store.get_nodes(["a"])
    plain = {"day": "2026-01-31", "n": 3, "flag": True}
    assert back.metadata == plain
    assert back.source_node is not None
    assert back.source_node.metadata == plain


async def test_deleting_by_document(filled: TrivecVectorStore) -> None:
    filled.delete("sea")
    assert sorted(node.node_id for node in filled.get_nodes()) == ["1", "3", "4"]
    await filled.adelete("wood")
    assert [node.node_id for node in filled.get_nodes()] == ["4"]
    filled.delete("unknown' or 1 == 1 or '")
    assert [node.node_id for node in filled.get_nodes()] == ["4"]


async def test_ids_and_filters_must_both_hold(
    filled: TrivecVectorStore, nodes: list[TextNode]
) -> None:
    assert filled.get_nodes(["0", "1", "9"]) == [nodes[0], nodes[1]]
    assert filled.get_nodes(["0", "1"], SEA) == [nodes[0]]
    either = where(("n", EQ, 0), ("n", EQ, 3), condition=FilterCondition.OR)
    assert filled.get_nodes(["0", "1"], either) == [nodes[0]]
    assert {node.node_id for node in filled.get_nodes(filters=SEA)} == {"0", "2", "4"}
    assert {node.node_id for node in await filled.aget_nodes(filters=SEA)} == {"0", "2", "4"}
    assert await filled.aget_nodes(["0", "1"], SEA) == [nodes[0]]
    assert filled.get_nodes([]) == []


async def test_deleting_nodes_takes_those_that_both_hold_for(filled: TrivecVectorStore) -> None:
    filled.delete_nodes(["0", "1"], SEA)
    assert sorted(node.node_id for node in filled.get_nodes()) == ["1", "2", "3", "4"]
    await filled.adelete_nodes(["1", "2"], where(("kind", EQ, "land")))
    assert sorted(node.node_id for node in filled.get_nodes()) == ["2", "3", "4"]
    filled.delete_nodes(["2", "unknown"])
    await filled.adelete_nodes(filters=where(("n", EQ, 3)))
    assert [node.node_id for node in filled.get_nodes()] == ["4"]
    filled.delete_nodes([])
    filled.delete_nodes(filters=where(("n", FilterOperator.GTE, 4)))
    assert filled.get_nodes() == []


async def test_clearing_and_adding_again(filled: TrivecVectorStore, nodes: list[TextNode]) -> None:
    filled.clear()
    assert filled.get_nodes() == []
    await filled.async_add(nodes[:2])
    assert len(await filled.aget_nodes()) == 2
    await filled.aclear()
    assert filled.get_nodes() == []


async def test_an_empty_store_answers(vector_store: TrivecVectorStore) -> None:
    query = VectorStoreQuery(query_str="whale", query_embedding=[0.1] * 32)
    assert vector_store.query(query).ids == []
    assert (await vector_store.aquery(query)).ids == []
    assert vector_store.get_nodes() == []
    vector_store.delete("a")
    vector_store.delete_nodes(["a"])
    vector_store.clear()


# --- queries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "ours"), [(Mode.DEFAULT, "dense"), (Mode.SPARSE, "sparse"), (Mode.HYBRID, "hybrid")]
)
async def test_a_mode_is_the_stores_own(
    filled: TrivecVectorStore, encoder: HashEncoder, mode: VectorStoreQueryMode, ours: Any
) -> None:
    vector = encoder.encode_query("whales in the sea")
    expected = filled.client.search(vector, k=3, mode=ours, filter=F("n") < 4)
    assert vector.dense is not None
    query = VectorStoreQuery(
        query_str="whales in the sea",
        query_embedding=vector.dense.tolist(),
        similarity_top_k=3,
        mode=mode,
        filters=where(("n", FilterOperator.LT, 4)),
    )
    for answer in (filled.query(query), await filled.aquery(query)):
        assert answer.ids == [hit.document.id for hit in expected]
        assert answer.similarities == pytest.approx([hit.score for hit in expected])
        assert [node.node_id for node in answer.nodes or []] == answer.ids


def test_the_number_of_nodes(vector_store: TrivecVectorStore) -> None:
    vector_store.add([TextNode(text=f"whale number {i}") for i in range(130)])
    wanted: dict[str, Any] = {"query_str": "whale", "similarity_top_k": 5}
    for mode in (Mode.DEFAULT, Mode.SPARSE, Mode.HYBRID, Mode.MMR):
        assert len(vector_store.query(VectorStoreQuery(**wanted, mode=mode)).ids or []) == 5
    sparse = VectorStoreQuery(**wanted, mode=Mode.SPARSE, sparse_top_k=7)
    assert len(vector_store.query(sparse).ids or []) == 7
    hybrid = VectorStoreQuery(**wanted, mode=Mode.HYBRID, sparse_top_k=120, hybrid_top_k=110)
    assert len(vector_store.query(hybrid).ids or []) == 110


async def test_documents_and_nodes_restrict(filled: TrivecVectorStore) -> None:
    for mode in (Mode.DEFAULT, Mode.HYBRID, Mode.MMR):
        of_wood = VectorStoreQuery(
            query_str="whale", similarity_top_k=5, mode=mode, doc_ids=["wood"]
        )
        assert set(filled.query(of_wood).ids or []) == {"1", "3"}
        some = VectorStoreQuery(
            query_str="whale", similarity_top_k=5, mode=mode, node_ids=["0", "1"], filters=SEA
        )
        assert filled.query(some).ids == ["0"]
        assert (await filled.aquery(some)).ids == ["0"]


async def test_diverse_nodes_are_those_of_llamaindexs_own_store(
    vector_store: TrivecVectorStore, encoder: HashEncoder
) -> None:
    texts = ["whale sea", "whale song", "whale song sea", "fox whale", "fox den"]
    own = SimpleVectorStore()
    nodes = [TextNode(id_=str(i), text=text) for i, text in enumerate(texts)]
    vector_store.add(nodes)
    dense = encoder.encode_documents(texts).dense
    assert dense is not None
    own.add(
        [
            node.model_copy(update={"embedding": row.tolist()})
            for node, row in zip(nodes, dense, strict=True)
        ]
    )
    question = encoder.encode_query("whale").dense
    assert question is not None
    query = VectorStoreQuery(query_embedding=question.tolist(), similarity_top_k=2, mode=Mode.MMR)
    for threshold in (0.0, 0.2, 0.5, 0.8, 1.0):
        # From the third on, LlamaIndex compares with the one chosen last only.
        expected = own.query(query, mmr_threshold=threshold).ids
        assert vector_store.query(query, mmr_threshold=threshold).ids == expected, threshold
        assert (await vector_store.aquery(query, mmr_threshold=threshold)).ids == expected
        query.mmr_threshold = threshold
        assert vector_store.query(query).ids == expected, threshold
    query.mmr_threshold = 0.0
    assert (vector_store.query(query).ids or [])[1] == "4"  # the most different one
    assert (vector_store.query(query, mmr_prefetch_k=3).ids or [])[1] != "4"
    query.mmr_threshold = 1.0
    query.similarity_top_k = 3
    assert set(vector_store.query(query).ids or []) == {"0", "1", "2"}


def test_both_legs_see_the_text_with_its_metadata(
    vector_store: TrivecVectorStore, encoder: HashEncoder
) -> None:
    node = TextNode(text="It sings.", metadata={"title": "whale"})
    vector_store.add([node])
    for mode in (Mode.SPARSE, Mode.HYBRID):
        query = VectorStoreQuery(query_str="whale", mode=mode)
        assert vector_store.query(query).ids == [node.node_id]
    expected = encoder.encode_documents([node.get_content(MetadataMode.EMBED)])
    page = vector_store.client.get([node.node_id], with_vectors=True)
    assert page.vectors is not None
    assert page.vectors.sparse is not None
    assert expected.sparse is not None
    assert page.vectors.sparse.row(0) == pytest.approx(expected.sparse.row(0), abs=2e-3)
    assert page.documents[0].text == "It sings."


@pytest.mark.parametrize("value", ["x\\' or 1==1 or a=='", 'a" or true or "b', "@x", "x\\", "{x}"])
def test_values_are_never_read_as_part_of_a_query(
    vector_store: TrivecVectorStore, value: str
) -> None:
    vector_store.add(
        [
            TextNode(id_="1", text="one", metadata={"tag": value}),
            TextNode(id_="2", text="two", metadata={"tag": "other"}),
        ]
    )
    is_value, is_not = where(("tag", EQ, value)), where(("tag", NE, value))
    assert [n.node_id for n in vector_store.get_nodes(filters=is_value)] == ["1"]
    assert [n.node_id for n in vector_store.get_nodes(filters=is_not)] == ["2"]
    query = VectorStoreQuery(query_str="one", similarity_top_k=5, filters=is_value)
    assert vector_store.query(query).ids == ["1"]


# --- a filter that bounds the vector store -------------------------------------------------------


@pytest.fixture
def sea(filled: TrivecVectorStore) -> TrivecVectorStore:
    """Return a vector store over the same collection, bound to its nodes of the sea."""
    return TrivecVectorStore(filled.client, HashEncoder(), filter=where(("kind", EQ, "sea")))


def node_ids(nodes: list[BaseNode]) -> list[str]:
    return sorted(node.node_id for node in nodes)


async def test_nothing_outside_the_filter_is_found_or_returned(sea: TrivecVectorStore) -> None:
    every = [str(i) for i in range(5)]
    land = where(("kind", EQ, "land"))
    insensitive = where(("kind", FilterOperator.TEXT_MATCH_INSENSITIVE, "A"))
    for mode in (Mode.DEFAULT, Mode.HYBRID, Mode.MMR):
        for options in ({}, {"node_ids": every}, {"doc_ids": ["sea", "wood"]}):
            query = VectorStoreQuery(
                query_str="fox",
                similarity_top_k=9,
                mode=mode,
                **options,  # type: ignore[arg-type]
            )
            for answer in (sea.query(query), await sea.aquery(query)):
                expected = {"0", "2"} if "doc_ids" in options else {"0", "2", "4"}
                assert set(answer.ids or []) == expected
            query.filters = land
            assert sea.query(query).ids == []
    query = VectorStoreQuery(query_str="fox", similarity_top_k=9, filters=insensitive)
    assert set(sea.query(query).ids or []) == {"0", "2", "4"}
    assert set((await sea.aquery(query)).ids or []) == {"0", "2", "4"}
    for found in (
        sea.get_nodes(),
        await sea.aget_nodes(),
        sea.get_nodes(every),
        await sea.aget_nodes(every),
        sea.get_nodes(filters=insensitive),
    ):
        assert node_ids(found) == ["0", "2", "4"]
    assert sea.get_nodes(filters=land) == []


async def test_nothing_outside_the_filter_is_deleted(
    filled: TrivecVectorStore, sea: TrivecVectorStore
) -> None:
    land = where(("kind", EQ, "land"))
    some = where(("n", FilterOperator.LT, 2))
    sea.delete("wood")
    await sea.adelete("wood")
    sea.delete_nodes(["1", "3"])
    await sea.adelete_nodes(["1", "3"])
    sea.delete_nodes(filters=land)
    await sea.adelete_nodes(["0", "1"], filters=land)
    assert node_ids(filled.get_nodes()) == ["0", "1", "2", "3", "4"]
    sea.delete_nodes(filters=some)
    assert node_ids(filled.get_nodes()) == ["1", "2", "3", "4"]
    sea.delete_nodes(["2", "3"])
    assert node_ids(filled.get_nodes()) == ["1", "3", "4"]
    sea.clear()
    await sea.aclear()
    assert node_ids(filled.get_nodes()) == ["1", "3"]


async def test_nothing_outside_the_filter_is_written(
    filled: TrivecVectorStore, sea: TrivecVectorStore
) -> None:
    before = filled.get_nodes(["1"])
    for id, metadata in (("new", {"kind": "land"}), ("new", {}), ("1", {"kind": "sea"})):
        node = TextNode(id_=id, text="a seal", metadata=metadata)
        with pytest.raises(InvalidDocumentError, match=f"document '{id}'"):
            sea.add([node])
        with pytest.raises(InvalidDocumentError, match=f"document '{id}'"):
            await sea.async_add([node])
    assert filled.get_nodes(["1"]) == before
    assert filled.get_nodes(["new"]) == []
    sea.add([TextNode(id_="2", text="a whale", metadata={"kind": "sea"})])
    assert [node.get_content() for node in filled.get_nodes(["2"])] == ["a whale"]
