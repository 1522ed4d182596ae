"""A trivec store as LlamaIndex's vector store."""

# The methods of LlamaIndex's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Unpack

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores import VectorStoreQuery, VectorStoreQueryResult
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from trivec import Document, Filter, Hit, Store, Vector, Weights
from trivec.encoders import CachingEncoder, TextEncoder
from trivec.errors import CollectionNotFoundError, InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import F
from trivec.scores import as_weights
from trivec.search import Search
from trivec.stores.bound import BoundStore
from trivec_llamaindex.dumps import (
    DumpedFields,
    DumpedFilter,
    DumpedWeights,
    read_fields,
    read_filter,
)
from trivec_llamaindex.embeddings import TrivecEmbedding
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter
from trivec_llamaindex.nodes import REF_DOC_ID, batches, embedded_text, rows, to_node
from trivec_llamaindex.query import Plan, QueryOptions, make_plan
from trivec_llamaindex.sharing import Sharing

__all__ = ["BATCH_SIZE", "TrivecVectorStore"]

BATCH_SIZE = 64
"""How many nodes are encoded and written at once: 64 MiB of ColBERT vectors in float16 if each
has 512 tokens."""


class TrivecVectorStore(Sharing, BasePydanticVectorStore):
    """Dense, sparse and ColBERT search in any trivec store, each text encoded once.

    The modes are DEFAULT (dense), SPARSE, HYBRID (the weighted mean of all three scores) and MMR;
    any other raises. In HYBRID, `similarity_top_k` and `sparse_top_k` raise the number of
    candidates and `hybrid_top_k` is the number of nodes returned. `alpha` stands for the weights
    `dense=alpha, sparse=1-alpha, colbert=0`; all three weights are given per query as
    `vector_store_kwargs={"weights": Weights(1, 0.3, 1)}`, which see `QueryOptions`.

    A node's own embedding is stored as its dense vector, scaled to unit length as that of a query
    is, since any embedding model may have made it. Without an encoder that is all there is,
    and the modes are DEFAULT and MMR.

    Args:
        store: The collection; the first write creates it, and closing it stays with its owner.
        encoder: A trivec encoder; give the index `vector_store.embed_model` to share it.
        weights: The weights of HYBRID.
        candidates: How many documents the dense and the sparse search give each to HYBRID.
        filter: Bounds the vector store: what does not satisfy it is not found, returned, deleted,
            overwritten or written, as if the collection held nothing else.
        fields: The metadata that filters will use, declared when the collection is created.

    Example:
        >>> from llama_index.core import StorageContext, VectorStoreIndex
        >>> from llama_index.core.schema import TextNode
        >>> from trivec import open_store
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecVectorStore
        >>> vector_store = TrivecVectorStore(open_store("memory:/llama-example"), HashEncoder())
        >>> index = VectorStoreIndex(
        ...     [TextNode(text="Whales live in the sea."), TextNode(text="Foxes do not.")],
        ...     storage_context=StorageContext.from_defaults(vector_store=vector_store),
        ...     embed_model=vector_store.embed_model,
        ... )
        >>> retriever = index.as_retriever(vector_store_query_mode="hybrid", similarity_top_k=1)
        >>> retriever.retrieve("Who lives in the sea?")[0].text
        'Whales live in the sea.'
    """

    stores_text: bool = Field(default=True, exclude=True)
    is_embedding_query: bool = Field(default=True, exclude=True)
    flat_metadata: bool = Field(default=False, exclude=True)
    weights: DumpedWeights = Weights.GENERAL
    candidates: int = 100
    filter: DumpedFilter | None = None
    fields: DumpedFields = Field(default_factory=dict)
    _store: Store = PrivateAttr()
    _encoder: CachingEncoder | None = PrivateAttr()

    def __init__(
        self,
        store: Store,
        encoder: TextEncoder | None = None,
        *,
        weights: Weights | Mapping[str, float] = Weights.GENERAL,
        candidates: int = 100,
        filter: LlamaIndexFilter | None = None,
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> None:
        # Errors of the arguments are ours, not pydantic's.
        search = Search(weights=as_weights(weights), candidates=candidates)
        options = {
            "weights": search.weights,
            "candidates": candidates,
            "filter": None if filter is None else read_filter(filter),
            "fields": read_fields(fields or {}),
        }
        super().__init__(stores_text=True, **options)
        self._store = store
        self._encoder = None if encoder is None else CachingEncoder.sharing(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecVectorStore"

    def __repr__(self) -> str:
        return f"TrivecVectorStore({self.client!r})"

    @property
    def client(self) -> Store:
        """The collection underneath, all of it."""
        return self._store

    @property
    def _collection(self) -> BoundStore:
        """The collection by the fields as they are now, since they are set and updated."""
        return BoundStore(
            self._store,
            bound=lambda: to_filter(self.filter, self._fields()),
            model="" if self._encoder is None else self._encoder.schema.model,
            fields={REF_DOC_ID: str, **self.fields},
        )

    @property
    def embed_model(self) -> TrivecEmbedding:
        """The embedding model for an index over this store, which shares its passes with it.

        Raises:
            InvalidOptionError: If the vector store was made without an encoder.
        """
        if self._encoder is None:
            raise InvalidOptionError("this vector store was made without an encoder")
        return TrivecEmbedding(self._encoder, for_store=True)

    # --- nodes ---------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], *, batch_size: int = BATCH_SIZE) -> list[str]:
        """Encode nodes and write them over those of the same ids.

        Args:
            nodes: Any number. What is encoded is `get_content(MetadataMode.EMBED)`.
            batch_size: How many are encoded and written at once.

        Returns:
            Their ids, in order.

        Raises:
            InvalidDocumentError: If JSON cannot hold a node's metadata, or the vector store's
                filter leaves out the node or the one it would replace.
            InvalidVectorsError: If a node's embedding has another dimension.
            StoreError: If the database failed.
        """
        for batch in batches(nodes, batch_size):
            encoded = None
            if self._encoder is not None:
                texts = [embedded_text(node) for node in batch]
                encoded = self._encoder.encode_documents(texts, keep=False)
            self._collection.write(*rows(batch, encoded))
        return [node.node_id for node in nodes]

    async def async_add(
        self, nodes: Sequence[BaseNode], *, batch_size: int = BATCH_SIZE
    ) -> list[str]:
        """Encode and write nodes; see `add`."""
        for batch in batches(nodes, batch_size):
            encoded = None
            if self._encoder is not None:
                texts = await asyncio.to_thread(
                    lambda some: [embedded_text(n) for n in some], batch
                )
                encoded = await self._encoder.aencode_documents(texts, keep=False)
            documents, vectors = await asyncio.to_thread(rows, batch, encoded)
            await self._collection.awrite(documents, vectors)
        return [node.node_id for node in nodes]

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> list[BaseNode]:
        """Return the nodes with these ids that satisfy the filters; without both, all nodes."""
        condition = to_filter(filters, self._fields())
        if node_ids is not None:
            documents = self._collection.get(node_ids).documents
        else:
            pages = self._collection.scan(filter=_for_store(condition))
            documents = [document for page in pages for document in page.documents]
        return _nodes(documents, condition)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> list[BaseNode]:
        """Return nodes; see `get_nodes`."""
        condition = to_filter(filters, await asyncio.to_thread(self._fields))
        if node_ids is not None:
            documents = (await self._collection.aget(node_ids)).documents
            return await asyncio.to_thread(_nodes, documents, condition)
        nodes: list[BaseNode] = []
        async for page in self._collection.ascan(filter=_for_store(condition)):
            nodes += await asyncio.to_thread(_nodes, page.documents, condition)
        return nodes

    def delete(self, ref_doc_id: str) -> None:
        """Delete the nodes that were made from a document.

        Raises:
            InvalidFilterError: If the database filters on declared fields only, and the
                collection was created without `trivec_llamaindex.nodes.REF_DOC_ID`.
        """
        self._collection.delete_where(F(REF_DOC_ID) == ref_doc_id)

    async def adelete(self, ref_doc_id: str) -> None:
        """Delete the nodes that were made from a document; see `delete`."""
        await self._collection.adelete_where(F(REF_DOC_ID) == ref_doc_id)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> None:
        """Delete the nodes with these ids that satisfy the filters.

        Raises:
            InvalidOptionError: If neither is given; `clear` deletes everything.
            InvalidFilterError: If the filters alone are given, and compare nothing.
        """
        condition = self._deletion(node_ids, filters, self._fields())
        if node_ids is None and condition is not None and not is_local(condition):
            self._collection.delete_where(condition)
        elif condition is None:
            self._collection.delete(node_ids or [])
        else:
            self._collection.delete([n.node_id for n in self.get_nodes(node_ids, condition)])

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> None:
        """Delete nodes; see `delete_nodes`."""
        fields = await asyncio.to_thread(self._fields)
        condition = self._deletion(node_ids, filters, fields)
        if node_ids is None and condition is not None and not is_local(condition):
            await self._collection.adelete_where(condition)
        elif condition is None:
            await self._collection.adelete(node_ids or [])
        else:
            nodes = await self.aget_nodes(node_ids, condition)
            await self._collection.adelete([node.node_id for node in nodes])

    def clear(self) -> None:
        """Delete every node, or every node that satisfies the vector store's filter."""
        self._collection.clear()

    async def aclear(self) -> None:
        """Delete every node, or every node that satisfies the vector store's filter."""
        await self._collection.aclear()

    # --- queries -------------------------------------------------------------------------------

    def query(
        self, query: VectorStoreQuery, **options: Unpack[QueryOptions]
    ) -> VectorStoreQueryResult:
        """Answer a query.

        Args:
            query: With a `query_embedding`, that is the dense vector; what else the mode needs is
                encoded from `query_str`.
            options: See `QueryOptions`.

        Raises:
            InvalidOptionError: If the mode is not supported, or an option is out of range.
            InvalidFilterError: If a filter cannot be meant.
        """
        plan = self._plan(query, options)
        encoded = None
        if plan.text is not None and self._encoder is not None:
            encoded = self._encoder.encode_query(plan.text)
        vector = plan.vector(encoded)
        hits = self._find(vector, plan)
        if plan.relevance is not None:
            hits = self._collection.diverse(vector, hits, k=plan.k, relevance=plan.relevance)
        return _result(hits)

    async def aquery(
        self, query: VectorStoreQuery, **options: Unpack[QueryOptions]
    ) -> VectorStoreQueryResult:
        """Answer a query; see `query`."""
        plan = await asyncio.to_thread(self._plan, query, options)
        encoded = None
        if plan.text is not None and self._encoder is not None:
            encoded = await self._encoder.aencode_query(plan.text)
        vector = plan.vector(encoded)
        hits = await self._afind(vector, plan)
        if plan.relevance is not None:
            hits = await self._collection.adiverse(vector, hits, k=plan.k, relevance=plan.relevance)
        return _result(hits)

    def _find(self, vector: Vector, plan: Plan) -> list[Hit]:
        ids = plan.ids
        if ids is None and plan.local:
            pages, condition = self._collection.scan(), plan.search.filter
            ids = [i for page in pages for i in _matching(page.documents, condition)]
        if ids is not None:
            return self._collection.search_among(vector, plan.search, ids)
        return self._collection.search_many([vector], plan.search)[0]

    async def _afind(self, vector: Vector, plan: Plan) -> list[Hit]:
        ids = plan.ids
        if ids is None and plan.local:
            matching: list[str] = []
            async for page in self._collection.ascan():
                matching += await asyncio.to_thread(_matching, page.documents, plan.search.filter)
            ids = matching
        if ids is not None:
            return await self._collection.asearch_among(vector, plan.search, ids)
        return (await self._collection.asearch_many([vector], plan.search))[0]

    def _plan(self, query: VectorStoreQuery, options: QueryOptions) -> Plan:
        return make_plan(
            query,
            options,
            weights=as_weights(self.weights),
            candidates=self.candidates,
            fields=self._fields(),
            encodes=self._encoder is not None,
        )

    def _fields(self) -> Mapping[str, FieldType]:
        """Return the declared fields; reads the collection on first use."""
        try:
            return self.client.fields
        except CollectionNotFoundError:
            return {}

    @staticmethod
    def _deletion(
        node_ids: list[str] | None,
        filters: LlamaIndexFilter | None,
        fields: Mapping[str, FieldType],
    ) -> Filter | None:
        condition = to_filter(filters, fields)
        if node_ids is None and condition is None:
            raise InvalidOptionError(
                "delete_nodes() takes node_ids or filters that restrict something; "
                "clear() deletes everything"
            )
        return condition


def _for_store(condition: Filter | None) -> Filter | None:
    """Return what the store can evaluate of a condition: all or nothing of it."""
    return None if condition is None or is_local(condition) else condition


def _matching(documents: Sequence[Document], condition: Filter | None) -> list[str]:
    return [d.id for d in documents if condition is None or condition.matches(d.metadata)]


def _nodes(documents: Sequence[Document], condition: Filter | None) -> list[BaseNode]:
    return [to_node(d) for d in documents if condition is None or condition.matches(d.metadata)]


def _result(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[to_node(hit.document) for hit in hits],
        similarities=[hit.score for hit in hits],
        ids=[hit.document.id for hit in hits],
    )
