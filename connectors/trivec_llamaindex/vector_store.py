"""A trivec store as LlamaIndex's vector store."""

# The methods of LlamaIndex's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, Unpack

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores import VectorStoreQuery, VectorStoreQueryResult
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from trivec import ColbertStorage, Document, Filter, Hit, Store, Vector, Weights
from trivec.collection import Page
from trivec.document import check_id
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import F
from trivec.passages.parent_hits import parent_hits
from trivec.passages.rewriting import keep_places
from trivec.passages.stored import is_passage_of, look_up, passage_id
from trivec.reranking.among import search_ids
from trivec.reranking.mmr import compared_ids, diverse_hits
from trivec.search import Search
from trivec.twins import Twin, answered, arun, either, run
from trivec_llamaindex.embeddings import TrivecEmbedding
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter
from trivec_llamaindex.models import (
    DumpedColbert,
    DumpedFields,
    DumpedFilter,
    DumpedWeights,
    SharingModel,
    read_fields,
    read_filter,
)
from trivec_llamaindex.nodes import (
    REF_DOC_ID,
    batches,
    embedded_text,
    encoded_text,
    hit_node,
    rows,
    to_node,
)
from trivec_llamaindex.options import (
    NodeSearch,
    QueryOptions,
    VectorStoreOptions,
    read_defaults,
    read_query,
)

T = TypeVar("T")

BATCH_SIZE = 64
"""How many nodes are encoded and written at once: 64 MiB of ColBERT vectors in float16 if each
has 512 tokens."""


class TrivecVectorStore(SharingModel, BasePydanticVectorStore):
    """Dense, sparse and ColBERT search in any trivec store, each text encoded once.

    The modes are DEFAULT (dense), SPARSE, HYBRID (the weighted mean of all three scores) and MMR;
    any other raises. In HYBRID, `similarity_top_k` and `sparse_top_k` raise the number of
    candidates and `hybrid_top_k` is the number of nodes returned. `alpha` stands for the weights
    `dense=alpha, sparse=1-alpha, colbert=0`; all three weights are given per query as
    `vector_store_kwargs={"weights": Weights(1, 0.3, 1)}`; see `QueryOptions`.

    A node's own embedding may come from any model. It is scaled to unit length and stored as the
    dense vector of the node; the embedding of a query is scaled, too. Without an encoder there are
    dense vectors only, and the modes are DEFAULT and MMR.

    Further keywords are those of `VectorStoreOptions`: `weights` and `candidates` of HYBRID, a
    `filter` that bounds the vector store, and `group_by`, `per_group`, `evidence` and `parents`.

    Args:
        store: The collection; the first write creates it, and closing it stays with its owner.
        encoder: A trivec encoder; give the index `vector_store.embed_model` to share it.
        fields: The metadata that filters will use, declared when the collection is created.
        colbert: How the collection keeps token vectors, such as "bits=1,pool=2"; one that exists
            must keep them so.

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
    group_by: str | None = None
    per_group: int = 1
    evidence: int = 0
    parents: bool = False
    fields: DumpedFields = Field(default_factory=dict)
    colbert: DumpedColbert | None = None
    _store: Store = PrivateAttr()
    _encoder: CachingEncoder | None = PrivateAttr()

    def __init__(
        self,
        store: Store,
        encoder: TextEncoder | None = None,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        colbert: ColbertStorage | str | None = None,
        **options: Unpack[VectorStoreOptions],
    ) -> None:
        # Checked here, so that an error is trivec's and not pydantic's.
        filter = options.get("filter")
        search, parents = read_defaults(options)
        store.view(colbert=colbert)  # the store's own option must not differ
        super().__init__(
            stores_text=True,
            weights=search.weights,
            candidates=search.candidates,
            filter=None if filter is None else read_filter(filter),
            group_by=search.group_by,
            per_group=search.per_group,
            evidence=search.evidence,
            parents=parents,
            fields=read_fields(fields or {}),
            colbert=None if colbert is None else ColbertStorage.of(colbert),
        )
        self._store = store
        self._encoder = None if encoder is None else CachingEncoder.sharing(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecVectorStore"

    def __repr__(self) -> str:
        return f"TrivecVectorStore({self.client!r})"

    def __str__(self) -> str:
        return repr(self)

    @property
    def client(self) -> Store:
        """The whole collection, also outside the filter of the vector store."""
        return self._store

    @property
    def _view(self) -> Store:
        """A view of the collection by the current fields, which can be set and updated."""
        return self._store.view(
            creates=True,
            model="" if self._encoder is None else self._encoder.schema.model,
            fields={REF_DOC_ID: str, **self.fields},
            colbert=self.colbert,
            bound=lambda: to_filter(self.filter, self._view.fields),
            encoded=encoded_text,
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
            nodes: Any number. `get_content(MetadataMode.EMBED)` is encoded.
            batch_size: How many are encoded and written at once.

        Returns:
            Their ids, in order.

        Raises:
            InvalidDocumentError: If JSON cannot hold a node's metadata, or the vector store's
                filter leaves out the node or the one it would replace.
            InvalidVectorsError: If a node's embedding has another dimension.
            StoreError: If the database failed.
        """
        return run(self._add(nodes, batch_size))

    async def async_add(
        self, nodes: Sequence[BaseNode], *, batch_size: int = BATCH_SIZE
    ) -> list[str]:
        """Encode and write nodes; see `add`."""
        return await arun(self._add(nodes, batch_size))

    def _add(self, nodes: Sequence[BaseNode], batch_size: int) -> Twin[list[str]]:
        encoder, view = self._encoder, self._view
        for batch in batches(nodes, batch_size):
            encoded = None
            if encoder is not None:
                texts = [embedded_text(node) for node in batch]
                encoded = yield from either(
                    encoder.encode_documents, encoder.aencode_documents, texts, keep=False
                )
            documents, vectors = rows(batch, encoded)
            kept = yield from keep_places(view, documents)
            yield from either(view.upsert, view.aupsert, kept, vectors)
        return [node.node_id for node in nodes]

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> list[BaseNode]:
        """Return the nodes with these ids that satisfy the filters; without both, all nodes."""
        return run(self._get_nodes(node_ids, filters))

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> list[BaseNode]:
        """Return nodes; see `get_nodes`."""
        return await arun(self._get_nodes(node_ids, filters))

    def _get_nodes(
        self, node_ids: list[str] | None, filters: LlamaIndexFilter | None
    ) -> Twin[list[BaseNode]]:
        view = self._view
        condition = to_filter(filters, view.fields)
        if node_ids is None:
            return (yield from self._scan(condition, to_node))
        page = yield from either(view.get, view.aget, node_ids)
        return [to_node(document) for document in _matching(page, condition)]

    def _scan(self, condition: Filter | None, make: Callable[[Document], T]) -> Twin[list[T]]:
        """Return the results of a function for all stored documents that satisfy a condition."""
        view = self._view
        where = None if condition is None or is_local(condition) else condition

        def made(page: Page) -> list[T]:
            return [make(document) for document in _matching(page, condition)]

        def blocking() -> list[T]:
            return [result for page in view.scan(filter=where) for result in made(page)]

        async def asynchronous() -> list[T]:
            results: list[T] = []
            async for page in view.ascan(filter=where):
                results += await asyncio.to_thread(made, page)
            return results

        return (yield from either(blocking, asynchronous))

    def delete(self, ref_doc_id: str) -> None:
        """Delete the nodes that were made from a document, and its passages.

        Raises:
            InvalidFilterError: If the database filters on declared fields only, and the
                collection was created without `trivec_llamaindex.nodes.REF_DOC_ID`.
        """
        run(self._delete(ref_doc_id))

    async def adelete(self, ref_doc_id: str) -> None:
        """Delete the nodes that were made from a document; see `delete`."""
        await arun(self._delete(ref_doc_id))

    def _delete(self, ref_doc_id: str) -> Twin[None]:
        view = self._view
        passages = yield from self._passages(ref_doc_id)
        # The first one leads to all others, so it goes last.
        for some in (passages[1:], passages[:1]):
            if some:
                yield from either(view.delete, view.adelete, some, passages=False)
        # A collection made for passages need not have declared the field of nodes.
        is_known = REF_DOC_ID in view.fields or not view.limits.declared_fields_only
        if is_known or not passages:
            nodes = F(REF_DOC_ID) == ref_doc_id
            yield from either(view.delete_where, view.adelete_where, nodes)

    def _passages(self, ref_doc_id: str) -> Twin[list[str]]:
        """Return the ids of the passages that `trivec.ingest` stored of a document."""
        view = self._view

        def read(ids: list[str]) -> Twin[list[Document]]:
            page = yield from either(view.get, view.aget, ids)
            return page.documents

        try:
            check_id(passage_id(ref_doc_id, 0))
        except InvalidDocumentError:  # a document of this id has no passages
            return []
        existing = yield from answered(look_up({ref_doc_id: 0}), read)
        numbered = sorted(existing[ref_doc_id].items())
        return [each.id for _, each in numbered if is_passage_of(each, ref_doc_id)]

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> None:
        """Delete the nodes with these ids that satisfy the filters.

        Raises:
            InvalidOptionError: If neither is given; `clear` deletes everything.
            InvalidFilterError: If the filters alone are given, and compare nothing.
        """
        run(self._delete_nodes(node_ids, filters))

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: LlamaIndexFilter | None = None
    ) -> None:
        """Delete nodes; see `delete_nodes`."""
        await arun(self._delete_nodes(node_ids, filters))

    def _delete_nodes(
        self, node_ids: list[str] | None, filters: LlamaIndexFilter | None
    ) -> Twin[None]:
        view = self._view
        condition = to_filter(filters, view.fields)
        if node_ids is None and condition is None:
            raise InvalidOptionError(
                "delete_nodes() takes node_ids or filters that restrict something; "
                "clear() deletes everything"
            )
        if node_ids is None and condition is not None and not is_local(condition):
            yield from either(view.delete_where, view.adelete_where, condition)
            return
        if condition is not None:
            nodes = yield from self._get_nodes(node_ids, condition)
            node_ids = [node.node_id for node in nodes]
        yield from either(view.delete, view.adelete, node_ids or [])

    def clear(self) -> None:
        """Delete every node, or every node that satisfies the vector store's filter."""
        self._view.clear()

    async def aclear(self) -> None:
        """Delete every node, or every node that satisfies the vector store's filter."""
        await self._view.aclear()

    # --- queries -------------------------------------------------------------------------------

    def query(
        self, query: VectorStoreQuery, **options: Unpack[QueryOptions]
    ) -> VectorStoreQueryResult:
        """Answer a query.

        Args:
            query: Its `query_embedding`, if there is one, is the dense vector; the other vectors
                that the mode needs are made of `query_str`.
            options: See `QueryOptions`.

        Raises:
            InvalidOptionError: If the mode is not supported, or an option is out of range.
            InvalidFilterError: If a filter is malformed or compares incompatible values.
        """
        return run(self._query(query, options))

    async def aquery(
        self, query: VectorStoreQuery, **options: Unpack[QueryOptions]
    ) -> VectorStoreQueryResult:
        """Answer a query; see `query`."""
        return await arun(self._query(query, options))

    def _query(
        self, query: VectorStoreQuery, options: QueryOptions
    ) -> Twin[VectorStoreQueryResult]:
        encoder, view = self._encoder, self._view
        names = VectorStoreOptions.__optional_keys__ - {"filter"}
        defaults, parents = read_defaults({name: getattr(self, name) for name in names})
        asked = read_query(
            query,
            options,
            defaults,
            parents=parents,
            fields=view.fields,
            encodes=encoder is not None,
        )
        encoded = None
        if asked.text is not None and encoder is not None:
            encoded = yield from either(encoder.encode_query, encoder.aencode_query, asked.text)
        vector = asked.vector(encoded)
        hits = yield from self._hits(vector, replace(asked.search, evidence=0), asked)
        if asked.relevance is not None:
            page = yield from either(view.get, view.aget, compared_ids(hits), with_vectors=True)
            hits = diverse_hits(vector, hits, page, k=asked.k, relevance=asked.relevance)
        evidence = asked.search.evidence
        if evidence:
            [hits] = yield from either(
                view.add_evidence, view.aadd_evidence, [vector], [hits], **asked.search.options
            )
        if asked.parents:
            [hits] = yield from parent_hits(view, [hits], evidence)
        return VectorStoreQueryResult(
            nodes=[hit_node(hit, evidence) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.document.id for hit in hits],
        )

    def _hits(self, vector: Vector, search: Search, asked: NodeSearch) -> Twin[list[Hit]]:
        ids, view = asked.ids, self._view
        if ids is None and asked.local:
            ids = yield from self._scan(search.filter, lambda document: document.id)
        if ids is not None:
            return (yield from search_ids(view, vector, ids, search))
        [hits] = yield from either(view.search_many, view.asearch_many, [vector], **search.options)
        return hits


def _matching(page: Page, condition: Filter | None) -> list[Document]:
    """Return the documents of a page that satisfy a condition."""
    return [d for d in page.documents if condition is None or condition.matches(d.metadata)]
