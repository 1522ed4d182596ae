"""The searches of LangChain's vector store, in any trivec store."""

# The methods of LangChain's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack, cast

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from trivec import Hit, Store, Vector
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.tokenizer import check_texts
from trivec.errors import InvalidInputError, InvalidOptionError
from trivec.reranking.mmr import diverse_hits
from trivec.rows import unit
from trivec.search import Mode, Search, with_options
from trivec.sharing import SharingObject
from trivec.twins import Twin, arun, either, run
from trivec_langchain.documents import to_documents, to_langchain
from trivec_langchain.embeddings import DenseEncoder, TrivecEmbeddings, as_encoder
from trivec_langchain.filters import to_filter
from trivec_langchain.options import (
    SearchOptions,
    VectorStoreOptions,
    check_search_type,
    relevance_of,
)

A = TypeVar("A")
B = TypeVar("B")


class SearchableStore(SharingObject, VectorStore):
    """The searches of `TrivecVectorStore`: by text and by vector, with diversity and relevance."""

    def __init__(
        self,
        store: Store,
        embedding: TextEncoder | Embeddings,
        **options: Unpack[VectorStoreOptions],
    ) -> None:
        self._store = store
        self._encoder = as_encoder(embedding)
        inner = self._encoder.encoder
        self._plain = inner.embeddings if isinstance(inner, DenseEncoder) else None
        own: dict[str, Any] = dict(options)
        fields, colbert = own.pop("fields", None), own.pop("colbert", None)
        bound = to_filter(own.pop("filter", None))
        if own.get("mode") is None:
            dense_only = self._plain is not None or self._encoder.schema.parts == ("dense",)
            own["mode"] = "dense" if dense_only else "hybrid"
        self._defaults = with_options(Search(k=1), own)
        self._check_mode(self._defaults.mode)
        model = "" if self._plain is not None else self._encoder.schema.model
        self._view = store.view(
            creates=True, model=model, fields=fields, colbert=colbert, bound=lambda: bound
        )

    @property
    def store(self) -> Store:
        """The whole collection, also outside the filter of the vector store."""
        return self._store

    @property
    def embeddings(self) -> Embeddings | None:
        """The given embeddings, or the encoder's dense vectors if it makes any."""
        if self._plain is not None:
            return self._plain
        return None if self._encoder.schema.dense is None else TrivecEmbeddings(self._encoder)

    def __repr__(self) -> str:
        return f"TrivecVectorStore({self.store!r}, mode={self._defaults.mode!r})"

    def search_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many questions with one forward pass and one request.

        Args:
            queries: The questions.
            k: How many hits at most.
            options: The options of the search.

        Returns:
            The best hits of each question, each with the parts of its score.
        """
        return run(self._text_hits(queries, self._search(k, options)))

    async def asearch_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many questions; see `search_hits`."""
        return await arun(self._text_hits(queries, self._search(k, options)))

    def _text_hits(self, queries: Sequence[str], search: Search) -> Twin[list[list[Hit]]]:
        if not queries:
            return []
        vectors = yield from self._encoded(queries)
        return (yield from self._hits(list(vectors), search))

    def _encoded(self, queries: Sequence[str]) -> Twin[Iterable[Vector]]:
        encoder = self._encoder
        return (yield from either(encoder.encode_queries, encoder.aencode_queries, queries))

    def _hits(self, vectors: list[Vector], search: Search) -> Twin[list[list[Hit]]]:
        view = self._view
        return (yield from either(view.search_many, view.asearch_many, vectors, **search.options))

    def search_hits_or_errors(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit] | Exception]:
        """Answer many questions, and return the error of each question that fails.

        The other questions still take one forward pass and one request. The arguments are those of
        `search_hits`; a wrong option raises.
        """
        return run(self._hits_or_errors(queries, self._search(k, options)))

    async def asearch_hits_or_errors(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit] | Exception]:
        """Answer many questions; see `search_hits_or_errors`."""
        return await arun(self._hits_or_errors(queries, self._search(k, options)))

    def _hits_or_errors(
        self, queries: Sequence[str], search: Search
    ) -> Twin[list[list[Hit] | Exception]]:
        def hits(vectors: list[Vector]) -> Twin[list[list[Hit]]]:
            return self._hits(vectors, search)

        encoded = yield from _outcomes(self._encoded, _checked(queries))
        return (yield from _outcomes(hits, encoded, retried=InvalidInputError))

    def similarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question, best first."""
        return to_documents(self.search_hits([query], k, **options)[0])

    async def asimilarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question; see `similarity_search`."""
        return to_documents((await self.asearch_hits([query], k, **options))[0])

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
        return to_documents(run(self._hits([_vector(embedding)], search))[0])

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the documents nearest to a dense vector; the mode is "dense"."""
        search = self._dense_search(k, options)
        return to_documents((await arun(self._hits([_vector(embedding)], search)))[0])

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
            fetch_k: How many to choose from; the search finds them in its mode.
            lambda_mult: 1 chooses the nearest, 0 the most different, by their dense vectors.
            options: The options of the search.
        """
        search = self._search(max(k, fetch_k), options)
        return run(self._diverse(query, search, k, lambda_mult))

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
        return await arun(self._diverse(query, search, k, lambda_mult))

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
        return run(self._diverse(_vector(embedding), search, k, lambda_mult))

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
        return await arun(self._diverse(_vector(embedding), search, k, lambda_mult))

    def _diverse(
        self, query: str | Vector, search: Search, k: int, relevance: float
    ) -> Twin[list[LangChainDocument]]:
        vector = query
        if not isinstance(vector, Vector):
            [vector] = yield from self._encoded([vector])
        [hits] = yield from self._hits([vector], search)
        ids = [hit.document.id for hit in hits]
        view = self._view
        page = yield from either(view.get, view.aget, ids, with_vectors=True)
        return to_documents(diverse_hits(vector, hits, page, k=k, relevance=relevance))

    # --- relevance -----------------------------------------------------------------------------

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return relevance_of(self._defaults)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        relevance = relevance_of(self._search(k, options))
        scored = self.similarity_search_with_score(query, k, **options)
        return [(document, relevance(score)) for document, score in scored]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        relevance = relevance_of(self._search(k, options))
        scored = await self.asimilarity_search_with_score(query, k, **options)
        return [(document, relevance(score)) for document, score in scored]

    # --- options -------------------------------------------------------------------------------

    def check_options(self, options: Mapping[str, Any], *, search_type: str = "similarity") -> None:
        """Check the options of a search of LangChain's type, as a retriever keeps them."""
        check_search_type(search_type, options)
        rest = dict(options)
        for name in ("lambda_mult", "score_threshold"):
            value = rest.pop(name, 0)
            if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
                raise InvalidOptionError(f"{name}={value!r} must be a number from 0 to 1")
        k, fetch_k = rest.pop("k", 4), rest.pop("fetch_k", 20)
        self._search(fetch_k, {})
        search = self._search(k, cast(SearchOptions, rest))
        if search_type == "similarity_score_threshold":
            relevance_of(search)

    def _check_mode(self, mode: Mode) -> None:
        if self._plain is not None and mode != "dense":
            raise InvalidOptionError(
                f"mode={mode!r} needs a trivec encoder; "
                f"{type(self._plain).__name__} makes dense vectors only"
            )

    def _search(self, k: int, options: SearchOptions) -> Search:
        condition = to_filter(options.get("filter"))
        search = with_options(self._defaults, {**options, "k": k, "filter": condition})
        self._check_mode(search.mode)
        return search

    def _dense_search(self, k: int, options: SearchOptions) -> Search:
        if options.get("mode", "dense") != "dense":
            raise InvalidOptionError(
                f"mode={options.get('mode')!r}: one embedding is a dense vector only"
            )
        return self._search(k, {**options, "mode": "dense"})


def _outcomes(
    ask: Callable[[list[A]], Twin[Iterable[B]]],
    items: Sequence[A | Exception],
    *,
    retried: type[Exception] = Exception,
) -> Twin[list[B | Exception]]:
    """Return the result or the error of each item, in their order.

    Errors among the items are those of earlier steps, and stay as they are. If `ask`, which returns
    one result per item, fails with an error of the class `retried`, each item is tried alone; with
    any other error, all items have this error.
    """
    good = [item for item in items if not isinstance(item, Exception)]
    results: list[B | Exception] = []
    try:
        if good:
            results += yield from ask(good)
    except Exception as error:
        if len(good) > 1 and isinstance(error, retried):
            for item in good:
                results += yield from _outcomes(ask, [item], retried=retried)
        else:
            results += [error] * len(good)
    rest = iter(results)
    return [item if isinstance(item, Exception) else next(rest) for item in items]


def _checked(queries: Sequence[str]) -> list[str | Exception]:
    """Return the questions, and the error of each question that no encoder can read."""
    checked: list[str | Exception] = []
    for query in queries:
        try:
            checked += check_texts([query])
        except InvalidInputError as error:
            checked.append(error)
    return checked


def _vector(embedding: list[float]) -> Vector:
    return Vector(dense=unit(np.asarray(embedding, np.float32)))


def _with_scores(hits: Sequence[Hit]) -> list[tuple[LangChainDocument, float]]:
    return [(to_langchain(hit.document), hit.score) for hit in hits]
