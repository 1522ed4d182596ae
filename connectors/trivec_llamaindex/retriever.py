"""A trivec store as LlamaIndex's retriever, in every mode of trivec."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, NoReturn, Self

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle

from trivec import Hit, Store, Vector, Vectors, Weights
from trivec.encoders import CachingEncoder, TextEncoder
from trivec.errors import CollectionNotFoundError, InvalidOptionError
from trivec.rows import unit
from trivec.search import Mode, Search
from trivec.stores.lazy import LazyStore
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter
from trivec_llamaindex.nodes import to_node
from trivec_llamaindex.query import given_embedding

__all__ = ["TrivecRetriever"]


class TrivecRetriever(BaseRetriever):
    """Retrieves nodes from a collection, with one forward pass per question.

    Args:
        store: The collection, filled by LlamaIndex, by LangChain or by `trivec ingest`.
        encoder: The encoder that its vectors were made with.
        k: How many nodes to return.
        mode: "dense", "sparse", "colbert", "hybrid" or "rrf".
        weights: The weights of "hybrid".
        candidates: How many documents the dense and the sparse search give each to the other
            modes.
        filters: LlamaIndex's filters, or a filter, or a plain dict.
        callback_manager: LlamaIndex's callbacks.

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
        k: int = 10,
        mode: Mode = "hybrid",
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filters: LlamaIndexFilter | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self._collection = LazyStore(store, model=encoder.schema.model)
        self._encoder = CachingEncoder.sharing(encoder)
        self._search = Search(mode=mode, k=k, weights=weights, candidates=candidates)
        self._filters = filters

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        search = self._filtered()
        texts = _texts(query_bundle)
        vector = _vector(query_bundle, self._encoder.encode_queries(texts))
        return _nodes(self._collection.search_many([vector], search)[0])

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        search = await asyncio.to_thread(self._filtered)
        texts = _texts(query_bundle)
        vector = _vector(query_bundle, await self._encoder.aencode_queries(texts))
        return _nodes((await self._collection.asearch_many([vector], search))[0])

    def __copy__(self) -> Self:
        """Return a copy with the same encoder and store."""
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store."""
        return copy.copy(self)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError(
            "cannot pickle TrivecRetriever: encoders and stores stay in their process; make it "
            "anew in the other one"
        )

    def _filtered(self) -> Search:
        """Return the search with its filter, which the declared fields give types."""
        try:
            fields = self._collection.store.fields
        except CollectionNotFoundError:
            fields = {}
        condition = to_filter(self._filters, fields)
        if condition is not None and is_local(condition):
            raise InvalidOptionError(
                "text_match_insensitive is evaluated by TrivecVectorStore only; query through it"
            )
        return Search(
            mode=self._search.mode,
            k=self._search.k,
            weights=self._search.weights,
            candidates=self._search.candidates,
            filter=condition,
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


def _nodes(hits: list[Hit]) -> list[NodeWithScore]:
    return [NodeWithScore(node=to_node(hit.document), score=hit.score) for hit in hits]
