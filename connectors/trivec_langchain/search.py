"""The searches of LangChain's vector store, in any trivec store."""

# The methods of LangChain's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack, cast

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from trivec import Hit, Store, Vector
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.tokenizer import check_texts
from trivec.errors import InvalidInputError, InvalidOptionError
from trivec.passages.parent_hits import parent_hits
from trivec.reranking.mmr import compared_ids, diverse_hits
from trivec.rows import unit
from trivec.search import Mode, Search
from trivec.sharing import SharingObject
from trivec.twins import Twin, arun, either, run
from trivec_langchain.documents import hit_documents
from trivec_langchain.embeddings import DenseEncoder, TrivecEmbeddings, as_encoder
from trivec_langchain.filters import to_filter
from trivec_langchain.options import (
    DocumentSearch,
    HitOptions,
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
        self._defaults = DocumentSearch(Search(k=1)).updated(own)
        self.read_options(1, {})
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
        return f"TrivecVectorStore({self.store!r}, mode={self._defaults.search.mode!r})"

    def search_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[HitOptions]
    ) -> list[list[Hit]]:
        """Answer many questions with one forward pass and one request.

        Args:
            queries: The questions.
            k: How many hits at most, or groups of hits.
            options: The options of the search.

        Returns:
            The best hits of each question, each with the parts of its score.
        """
        return run(self._text_hits(queries, self._hit_search(k, options)))

    async def asearch_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[HitOptions]
    ) -> list[list[Hit]]:
        """Answer many questions; see `search_hits`."""
        return await arun(self._text_hits(queries, self._hit_search(k, options)))

    def _text_hits(self, queries: Sequence[str], asked: DocumentSearch) -> Twin[list[list[Hit]]]:
        if not queries:
            return []
        vectors = yield from self._encoded(queries)
        return (yield from self._hits(list(vectors), asked))

    def _encoded(self, queries: Sequence[str]) -> Twin[Iterable[Vector]]:
        encoder = self._encoder
        return (yield from either(encoder.encode_queries, encoder.aencode_queries, queries))

    def _hits(self, vectors: list[Vector], asked: DocumentSearch) -> Twin[list[list[Hit]]]:
        answers = yield from self._passages(vectors, asked.search)
        return (yield from self._wholes(answers, asked))

    def _passages(self, vectors: list[Vector], search: Search) -> Twin[list[list[Hit]]]:
        view = self._view
        return (yield from either(view.search_many, view.asearch_many, vectors, **search.options))

    def _wholes(self, answers: list[list[Hit]], asked: DocumentSearch) -> Twin[list[list[Hit]]]:
        """Return the hits, or their parents if those are asked for."""
        if not asked.parents:
            return answers
        return (yield from parent_hits(self._view, answers, asked.search.evidence))

    def search_hits_or_errors(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[HitOptions]
    ) -> list[list[Hit] | Exception]:
        """Answer many questions, and return the error of each question that fails.

        The other questions still take one forward pass and one request. The arguments are those of
        `search_hits`; a wrong option raises.
        """
        return run(self._hits_or_errors(queries, self._hit_search(k, options)))

    async def asearch_hits_or_errors(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[HitOptions]
    ) -> list[list[Hit] | Exception]:
        """Answer many questions; see `search_hits_or_errors`."""
        return await arun(self._hits_or_errors(queries, self._hit_search(k, options)))

    def _hits_or_errors(
        self, queries: Sequence[str], asked: DocumentSearch
    ) -> Twin[list[list[Hit] | Exception]]:
        def hits(vectors: list[Vector]) -> Twin[list[list[Hit]]]:
            return self._hits(vectors, asked)

        encoded = yield from _outcomes(self._encoded, _checked(queries))
        return (yield from _outcomes(hits, encoded, retried=InvalidInputError))

    def similarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question, best first."""
        asked = self.read_options(k, options)
        return hit_documents(run(self._text_hits([query], asked))[0], asked)

    async def asimilarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question; see `similarity_search`."""
        asked = self.read_options(k, options)
        return hit_documents((await arun(self._text_hits([query], asked)))[0], asked)

    def similarity_search_with_score(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        """Return the best documents with the score of the mode, higher for nearer ones."""
        asked = self.read_options(k, options)
        return _with_scores(run(self._text_hits([query], asked))[0], asked)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        """Return the best documents with scores; see `similarity_search_with_score`."""
        asked = self.read_options(k, options)
        return _with_scores((await arun(self._text_hits([query], asked)))[0], asked)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the documents nearest to a dense vector; the mode is "dense"."""
        asked = self._dense_search(k, options)
        return hit_documents(run(self._hits([_vector(embedding)], asked))[0], asked)

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the documents nearest to a dense vector; the mode is "dense"."""
        asked = self._dense_search(k, options)
        return hit_documents((await arun(self._hits([_vector(embedding)], asked)))[0], asked)

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
            k: How many documents to return, or groups of documents, which are chosen by their best
                documents.
            fetch_k: How many to choose from; the search finds them in its mode.
            lambda_mult: 1 chooses the nearest, 0 the most different, by their dense vectors.
            options: The options of the search.
        """
        asked = self.read_options(max(k, fetch_k), options)
        return run(self._diverse(query, asked, k, lambda_mult))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return diverse documents; see `max_marginal_relevance_search`."""
        asked = self.read_options(max(k, fetch_k), options)
        return await arun(self._diverse(query, asked, k, lambda_mult))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return diverse documents near to a dense vector; the mode is "dense"."""
        asked = self._dense_search(max(k, fetch_k), options)
        return run(self._diverse(_vector(embedding), asked, k, lambda_mult))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[LangChainDocument]:
        """Return diverse documents near to a dense vector; the mode is "dense"."""
        asked = self._dense_search(max(k, fetch_k), options)
        return await arun(self._diverse(_vector(embedding), asked, k, lambda_mult))

    def _diverse(
        self, query: str | Vector, asked: DocumentSearch, k: int, relevance: float
    ) -> Twin[list[LangChainDocument]]:
        vector = query
        if not isinstance(vector, Vector):
            [vector] = yield from self._encoded([vector])
        view, evidence = self._view, asked.search.evidence
        [hits] = yield from self._passages([vector], replace(asked.search, evidence=0))
        page = yield from either(view.get, view.aget, compared_ids(hits), with_vectors=True)
        answers = [diverse_hits(vector, hits, page, k=k, relevance=relevance)]
        if evidence:
            options = asked.search.options
            answers = yield from either(
                view.add_evidence, view.aadd_evidence, [vector], answers, **options
            )
        [hits] = yield from self._wholes(answers, asked)
        return hit_documents(hits, asked)

    # --- relevance -----------------------------------------------------------------------------

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return relevance_of(self._defaults.search)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        return run(self._relevant(query, self.read_options(k, options)))

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[tuple[LangChainDocument, float]]:
        return await arun(self._relevant(query, self.read_options(k, options)))

    def _relevant(
        self, query: str, asked: DocumentSearch
    ) -> Twin[list[tuple[LangChainDocument, float]]]:
        relevance = relevance_of(asked.search)
        [hits] = yield from self._text_hits([query], asked)
        return _with_scores([replace(hit, score=relevance(hit.score)) for hit in hits], asked)

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
        self.read_options(fetch_k, {})
        asked = self.read_options(k, cast(SearchOptions, rest))
        if search_type == "similarity_score_threshold":
            relevance_of(asked.search)

    def _check_mode(self, mode: Mode) -> None:
        if self._plain is not None and mode != "dense":
            raise InvalidOptionError(
                f"mode={mode!r} needs a trivec encoder; "
                f"{type(self._plain).__name__} makes dense vectors only"
            )

    def read_options(self, k: int, options: SearchOptions) -> DocumentSearch:
        """Return the search that these options make over those of the vector store."""
        condition = to_filter(options.get("filter"))
        asked = self._defaults.updated({**options, "k": k, "filter": condition})
        self._check_mode(asked.search.mode)
        if asked.search.evidence and self._plain is not None:
            raise InvalidOptionError(
                f"evidence={asked.search.evidence} needs a trivec encoder; "
                f"{type(self._plain).__name__} makes dense vectors only"
            )
        return asked

    def _hit_search(self, k: int, options: HitOptions) -> DocumentSearch:
        if "score_key" in options:
            raise TypeError("unknown search option score_key: every hit has its score")
        return self.read_options(k, cast(SearchOptions, options))

    def _dense_search(self, k: int, options: SearchOptions) -> DocumentSearch:
        if options.get("mode", "dense") != "dense":
            raise InvalidOptionError(
                f"mode={options.get('mode')!r}: one embedding is a dense vector only"
            )
        # An embedding has no evidence, so that of the vector store's own searches is left out.
        own: SearchOptions = {"evidence": 0}
        return self.read_options(k, {**own, **options, "mode": "dense"})


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


def _with_scores(
    hits: Sequence[Hit], asked: DocumentSearch
) -> list[tuple[LangChainDocument, float]]:
    documents = hit_documents(hits, asked)
    return [(document, hit.score) for document, hit in zip(documents, hits, strict=True)]
