"""A trivec store as LlamaIndex's retriever, in every mode of trivec."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle

from trivec import Store, Vector, Vectors
from trivec.encoders.caching import CachingEncoder
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.passages.parent_hits import grouped_by_parent, parent_hits, updated_options
from trivec.rows import unit
from trivec.search import Search
from trivec.sharing import SharingObject
from trivec.stores.view import together
from trivec.twins import Twin, arun, either, run
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter
from trivec_llamaindex.nodes import encoded_text, group_path, hit_node
from trivec_llamaindex.options import RetrieverOptions, given_embedding


class TrivecRetriever(SharingObject, BaseRetriever):
    """Retrieves nodes from a collection, with one forward pass per question.

    Further keywords are those of `Store.search`, such as `k=5, mode="colbert"`; see
    `trivec.stores.SearchOptions`. `group_by="ref_doc_id"` groups by the document that a node was
    made from, `evidence` is in the metadata of nodes, and `parents=True` returns the documents that
    `trivec.ingest` stored as passages; see `trivec_llamaindex.options.VectorStoreOptions`.

    Args:
        store: The collection, filled by LlamaIndex, by LangChain or by `trivec ingest`.
        encoder: The encoder that its vectors were made with.
        filters: LlamaIndex's filters, or a filter, or a plain dict.
        callback_manager: LlamaIndex's callbacks.

    Raises:
        InvalidOptionError: If an option is out of range.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> from trivec import open_store
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecRetriever, TrivecVectorStore
        >>> store, encoder = open_store("memory:/llama-retriever-example"), HashEncoder()
        >>> _ = TrivecVectorStore(store, encoder).add([TextNode(text="Whales live in the sea.")])
        >>> retriever = TrivecRetriever(store, encoder, mode="colbert")
        >>> retriever.retrieve("Who lives in the sea?")[0].text
        'Whales live in the sea.'
    """

    def __init__(
        self,
        store: Store,
        encoder: TextEncoder,
        *,
        filters: LlamaIndexFilter | None = None,
        callback_manager: CallbackManager | None = None,
        **options: Unpack[RetrieverOptions],
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self._view = store.view(creates=True, model=encoder.schema.model, encoded=encoded_text)
        self._encoder = CachingEncoder.sharing(encoder)
        given = updated_options({}, options)
        self._parents = given.pop("parents", False)
        self._search = grouped_by_parent(Search(**given), self._parents)
        self._filters = filters

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return run(self._nodes(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await arun(self._nodes(query_bundle))

    def _nodes(self, bundle: QueryBundle) -> Twin[list[NodeWithScore]]:
        search = self._filtered()
        encoder, view = self._encoder, self._view
        encoded = yield from either(encoder.encode_queries, encoder.aencode_queries, _texts(bundle))
        queries = [_vector(bundle, encoded)]
        [hits] = yield from either(view.search_many, view.asearch_many, queries, **search.options)
        if self._parents:
            [hits] = yield from parent_hits(view, [hits], search.evidence)
        return [NodeWithScore(node=hit_node(hit, search.evidence), score=hit.score) for hit in hits]

    def _filtered(self) -> Search:
        """Return the search as the declared fields complete it: its filters and its groups."""
        fields = self._view.fields
        condition = to_filter(self._filters, fields)
        if condition is not None and is_local(condition):
            raise InvalidOptionError(
                "text_match_insensitive is evaluated by TrivecVectorStore only; query through it"
            )
        return replace(
            self._search,
            filter=together(self._search.filter, condition),
            group_by=group_path(self._search.group_by, fields),
        )


def _texts(bundle: QueryBundle) -> list[str]:
    """Return the question, and the texts whose mean a query transform wants as its embedding."""
    return list(dict.fromkeys([bundle.query_str, *bundle.embedding_strs]))


def _vector(bundle: QueryBundle, encoded: Vectors) -> Vector:
    vector = encoded[0]
    dense = vector.dense
    # An empty question comes without texts to embed.
    texts = bundle.embedding_strs or [bundle.query_str]
    given = given_embedding(bundle.embedding)
    if given is not None:
        dense = given
    elif texts != [bundle.query_str] and encoded.dense is not None:
        rows = dict(zip(_texts(bundle), encoded.dense, strict=True))
        dense = unit(np.stack([rows[text] for text in texts]).mean(axis=0))
    return Vector(dense=dense, sparse=vector.sparse, colbert=vector.colbert)
