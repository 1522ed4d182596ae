"""The searches of LangChain's vector store, in any trivec store."""

# The methods of LangChain's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack, cast

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from trivec import Hit, Store, Vector, Weights
from trivec.encoders import TextEncoder
from trivec.encoders.tokenizer import check_texts
from trivec.errors import InvalidInputError, InvalidOptionError
from trivec.fields import FieldType
from trivec.rows import unit
from trivec.scores import as_weights
from trivec.search import Mode, Search
from trivec.stores.bound import BoundStore
from trivec_langchain.documents import to_langchain
from trivec_langchain.embeddings import DenseEncoder, TrivecEmbeddings, as_encoder
from trivec_langchain.filters import LangChainFilter, to_filter
from trivec_langchain.options import SearchOptions, merged, relevance_of
from trivec_langchain.outcomes import aoutcomes, outcomes
from trivec_langchain.sharing import Sharing

__all__ = ["SearchableStore"]


class SearchableStore(Sharing, VectorStore):
    """What `TrivecVectorStore` reads: searches by text and by vector, diversity and relevance."""

    def __init__(
        self,
        store: Store,
        embedding: TextEncoder | Embeddings,
        *,
        mode: Mode | None = None,
        weights: Weights | Mapping[str, float] = Weights.GENERAL,
        candidates: int = 100,
        filter: LangChainFilter | None = None,
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> None:
        self._encoder = as_encoder(embedding)
        inner = self._encoder.encoder
        self._plain = inner.embeddings if isinstance(inner, DenseEncoder) else None
        if mode is None:
            mode = "dense" if self._parts == ("dense",) else "hybrid"
        self._defaults = Search(mode=mode, weights=as_weights(weights), candidates=candidates)
        self._check_mode(mode)
        model = "" if self._plain is not None else self._encoder.schema.model
        bound = to_filter(filter)
        self._collection = BoundStore(store, bound=lambda: bound, model=model, fields=fields)

    @property
    def store(self) -> Store:
        """The collection underneath."""
        return self._collection.store

    @property
    def embeddings(self) -> Embeddings | None:
        """The dense side of the encoder if it has one, or the embeddings that were given."""
        if self._plain is not None:
            return self._plain
        return None if self._encoder.schema.dense is None else TrivecEmbeddings(self._encoder)

    def __repr__(self) -> str:
        return f"TrivecVectorStore({self.store!r}, mode={self._defaults.mode!r})"

    def search_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many questions with one forward pass and one request.

        Returns:
            For each question its best hits, each with the parts of its score.
        """
        search = self._search(k, options)
        if not queries:
            return []
        vectors = self._encoder.encode_queries(queries)
        return self._collection.search_many(list(vectors), search)

    async def asearch_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many questions; see `search_hits`."""
        search = self._search(k, options)
        if not queries:
            return []
        vectors = await self._encoder.aencode_queries(queries)
        return await self._collection.asearch_many(list(vectors), search)

    def search_hits_or_errors(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit] | Exception]:
        """Answer many questions, with an error in the place of each that has no answer.

        The others still take one forward pass and one request.

        Raises:
            TypeError: If an option is unknown.
            InvalidOptionError: If an option is out of range.
        """
        search = self._search(k, options)
        encoded = outcomes(lambda some: list(self._encoder.encode_queries(some)), _checked(queries))
        return outcomes(
            lambda some: self._collection.search_many(some, search),
            encoded,
            alone=InvalidInputError,
        )

    async def asearch_hits_or_errors(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit] | Exception]:
        """Answer many questions; see `search_hits_or_errors`."""
        search = self._search(k, options)

        async def encode(some: list[str]) -> list[Vector]:
            return list(await self._encoder.aencode_queries(some))

        encoded = await aoutcomes(encode, _checked(queries))
        return await aoutcomes(
            lambda some: self._collection.asearch_many(some, search),
            encoded,
            alone=InvalidInputError,
        )

    def similarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question, best first."""
        return _only_documents(self.search_hits([query], k, **options)[0])

    async def asimilarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question; see `similarity_search`."""
        return _only_documents((await self.asearch_hits([query], k, **options))[0])

    def similarity_search_with_score(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        """Return the best documents with the score of the mode, higher for nearer ones."""
        return _with_scores(self.search_hits([query], k, **options)[0])

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        """Return the best documents with scores; see `similarity_search_with_score`."""
        return _with_scores((await self.asearch_hits([query], k, **options))[0])

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the documents nearest to a dense vector; the mode is "dense"."""
        search = self._dense_search(k, options)
        return _only_documents(self._collection.search_many([_vector(embedding)], search)[0])

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the documents nearest to a dense vector; the mode is "dense"."""
        search = self._dense_search(k, options)
        found = await self._collection.asearch_many([_vector(embedding)], search)
        return _only_documents(found[0])

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return documents that are near to the question and differ from each other.

        Args:
            query: The question.
            k: How many documents to return.
            fetch_k: How many to choose from; these are found in the mode of the search.
            lambda_mult: 1 chooses the nearest, 0 the most different, by their dense vectors.
            options: The options of the search.
        """
        search = self._search(max(k, fetch_k), options)
        vector = self._encoder.encode_query(query)
        return self._diverse(vector, search, k, lambda_mult)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return diverse documents; see `max_marginal_relevance_search`."""
        search = self._search(max(k, fetch_k), options)
        vector = await self._encoder.aencode_query(query)
        return await self._adiverse(vector, search, k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return diverse documents near to a dense vector; the mode is "dense"."""
        search = self._dense_search(max(k, fetch_k), options)
        return self._diverse(_vector(embedding), search, k, lambda_mult)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return diverse documents near to a dense vector; the mode is "dense"."""
        search = self._dense_search(max(k, fetch_k), options)
        return await self._adiverse(_vector(embedding), search, k, lambda_mult)

    def _diverse(
        self, query: Vector, search: Search, k: int, relevance: float
    ) -> list[LangChainDocument]:
        hits = self._collection.search_many([query], search)[0]
        return _only_documents(self._collection.diverse(query, hits, k=k, relevance=relevance))

    async def _adiverse(
        self, query: Vector, search: Search, k: int, relevance: float
    ) -> list[LangChainDocument]:
        hits = (await self._collection.asearch_many([query], search))[0]
        chosen = await self._collection.adiverse(query, hits, k=k, relevance=relevance)
        return _only_documents(chosen)

    # --- relevance -----------------------------------------------------------------------------

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return relevance_of(self._defaults)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        relevance = relevance_of(self._search(k, options))
        found = self.similarity_search_with_score(query, k, **options)
        return [(document, relevance(score)) for document, score in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        relevance = relevance_of(self._search(k, options))
        found = await self.asimilarity_search_with_score(query, k, **options)
        return [(document, relevance(score)) for document, score in found]

    # --- options -------------------------------------------------------------------------------

    def check_options(self, options: Mapping[str, Any], *, relevance: bool = False) -> None:
        """Check the options of a search, as a retriever keeps them.

        Args:
            options: What the search methods take by keyword.
            relevance: Whether the scores must have a relevance between 0 and 1.

        Raises:
            TypeError: If an option is unknown.
            InvalidOptionError: If one is out of range.
            InvalidFilterError: If the filter cannot be meant.
        """
        rest = dict(options)
        for name in ("lambda_mult", "score_threshold"):
            value = rest.pop(name, 0)
            if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
                raise InvalidOptionError(f"{name}={value!r} must be a number from 0 to 1")
        k, fetch_k = rest.pop("k", 4), rest.pop("fetch_k", 20)
        self._search(fetch_k, {})
        search = self._search(k, cast(SearchOptions, rest))
        if relevance:
            relevance_of(search)

    @property
    def _parts(self) -> tuple[str, ...]:
        return ("dense",) if self._plain is not None else self._encoder.schema.parts

    def _check_mode(self, mode: Mode) -> None:
        if self._plain is not None and mode != "dense":
            raise InvalidOptionError(
                f"mode={mode!r} needs a trivec encoder; "
                f"{type(self._plain).__name__} makes dense vectors only"
            )

    def _search(self, k: int, options: SearchOptions) -> Search:
        search = merged(self._defaults, k, options)
        self._check_mode(search.mode)
        return search

    def _dense_search(self, k: int, options: SearchOptions) -> Search:
        if options.get("mode", "dense") != "dense":
            raise InvalidOptionError(
                f"mode={options.get('mode')!r}: one embedding is a dense vector only"
            )
        return self._search(k, {**options, "mode": "dense"})


def _checked(queries: Sequence[str]) -> list[str | Exception]:
    """Return the questions, with an error in the place of each that no encoder can read."""
    found: list[str | Exception] = []
    for query in queries:
        try:
            found += check_texts([query])
        except InvalidInputError as error:
            found.append(error)
    return found


def _vector(embedding: list[float]) -> Vector:
    return Vector(dense=unit(np.asarray(embedding, np.float32)))


def _only_documents(hits: Sequence[Hit]) -> list[LangChainDocument]:
    return [to_langchain(hit.document) for hit in hits]


def _with_scores(hits: Sequence[Hit]) -> list[tuple[LangChainDocument, float]]:
    return [(to_langchain(hit.document), hit.score) for hit in hits]
