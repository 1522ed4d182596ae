"""A trivec store as LangChain's vector store."""

# The methods of LangChain's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, Unpack

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from trivec import Hit, Store, Vector, Weights
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.search import Mode, Search
from trivec.stores.lazy import LazyStore
from trivec.text_encoder import TextEncoder
from trivec_langchain.documents import batches, to_langchain, with_ids
from trivec_langchain.embeddings import DenseEncoder, TrivecEmbeddings, as_encoder, unit
from trivec_langchain.filters import LangChainFilter, to_filter
from trivec_langchain.options import SearchOptions, merged, relevance_of

__all__ = ["BATCH_SIZE", "TrivecVectorStore"]

BATCH_SIZE = 64
"""How many documents are encoded and written at once: 64 MiB of ColBERT vectors in float16 if
each has 512 tokens."""


class TrivecVectorStore(VectorStore):
    """Dense, sparse and ColBERT search in any trivec store, each text encoded once.

    Args:
        store: The collection, made by `open_store` or a connector; the first write creates it, and
            closing it stays with its owner.
        embedding: A trivec encoder, or any LangChain embeddings, which make dense vectors only.
        mode: "dense", "sparse", "colbert", "hybrid" or "rrf". Without it "hybrid", or "dense" with
            LangChain embeddings.
        weights: The weights of the three parts in the hybrid score.
        candidates: How many documents the dense and the sparse search give each to the other
            modes.
        filter: Holds for every search, together with the filter of the call.
        fields: The metadata that filters will use, declared when the collection is created.

    Example:
        >>> from trivec import open_store
        >>> from trivec.testing import HashEncoder
        >>> from trivec_langchain import TrivecVectorStore
        >>> store = open_store("memory:/langchain-example")
        >>> vector_store = TrivecVectorStore(store, HashEncoder(), fields={"lang": str})

        Add documents, and delete some:

        >>> from langchain_core.documents import Document
        >>> vector_store.add_documents(
        ...     [
        ...         Document("Whales live in the sea.", metadata={"lang": "en"}),
        ...         Document("Füchse leben im Wald.", metadata={"lang": "de"}),
        ...         Document("Seals rest on the shore.", metadata={"lang": "en"}),
        ...     ],
        ...     ids=["whales", "foxes", "seals"],
        ... )
        ['whales', 'foxes', 'seals']
        >>> vector_store.delete(ids=["seals"])
        True

        Search, with a filter, with scores, asynchronously, as a retriever:

        >>> [document.id for document in vector_store.similarity_search("in the sea", k=1)]
        ['whales']
        >>> from trivec import F
        >>> found = vector_store.similarity_search("in the sea", filter=F("lang") == "de")
        >>> [(document.id, document.metadata) for document in found]
        [('foxes', {'lang': 'de'})]
        >>> for document, score in vector_store.similarity_search_with_score("whales", k=1):
        ...     print(document.id, score > 0)
        whales True
        >>> import asyncio
        >>> found = asyncio.run(vector_store.asimilarity_search("in the sea", k=1, mode="colbert"))
        >>> [document.id for document in found]
        ['whales']
        >>> retriever = vector_store.as_retriever(search_type="mmr", search_kwargs={"k": 1})
        >>> [document.id for document in retriever.invoke("in the sea")]
        ['whales']
    """

    def __init__(
        self,
        store: Store,
        embedding: TextEncoder | Embeddings,
        *,
        mode: Mode | None = None,
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: LangChainFilter | None = None,
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> None:
        self._encoder = as_encoder(embedding)
        inner = self._encoder.encoder
        self._plain = inner.embeddings if isinstance(inner, DenseEncoder) else None
        if mode is None:
            mode = "dense" if self._parts == ("dense",) else "hybrid"
        self._defaults = Search(
            mode=mode, weights=weights, candidates=candidates, filter=to_filter(filter)
        )
        self._check_mode(mode)
        model = "" if self._plain is not None else self._encoder.schema.model
        self._collection = LazyStore(store, model=model, fields=fields)

    @property
    def store(self) -> Store:
        """The collection underneath."""
        return self._collection.store

    @property
    def embeddings(self) -> Embeddings:
        """The dense side of the encoder, or the embeddings that were given."""
        return TrivecEmbeddings(self._encoder) if self._plain is None else self._plain

    def __repr__(self) -> str:
        return f"TrivecVectorStore({self.store!r}, mode={self._defaults.mode!r})"

    # --- documents -----------------------------------------------------------------------------

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: TextEncoder | Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        store: Store,
        ids: Sequence[str | None] | None = None,
        mode: Mode | None = None,
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: LangChainFilter | None = None,
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> Self:
        """Make a vector store as the class does, and add texts to it.

        Args:
            texts: What is encoded and stored.
            embedding: See the class.
            metadatas: One for each text, or None.
            store: See the class.
            ids: One for each text; where it is None, a new UUID.
            mode: See the class.
            weights: See the class.
            candidates: See the class.
            filter: See the class.
            fields: See the class.
        """
        made = cls(
            store,
            embedding,
            mode=mode,
            weights=weights,
            candidates=candidates,
            filter=filter,
            fields=fields,
        )
        made.add_texts(texts, metadatas, ids=ids)
        return made

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: TextEncoder | Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        store: Store,
        ids: Sequence[str | None] | None = None,
        mode: Mode | None = None,
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: LangChainFilter | None = None,
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> Self:
        """Make a vector store as the class does, and add texts to it; see `from_texts`."""
        made = cls(
            store,
            embedding,
            mode=mode,
            weights=weights,
            candidates=candidates,
            filter=filter,
            fields=fields,
        )
        await made.aadd_texts(texts, metadatas, ids=ids)
        return made

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """Encode and write texts; see `add_documents`."""
        return self.add_documents(_documents(texts, metadatas), ids=ids, batch_size=batch_size)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """Encode and write texts; see `add_documents`."""
        documents = _documents(texts, metadatas)
        return await self.aadd_documents(documents, ids=ids, batch_size=batch_size)

    def add_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """Encode documents and write them over those of the same ids.

        Args:
            documents: Any number, read as they are written; also from a generator.
            ids: One per document; where it is None the document's own, else a new UUID.
            batch_size: How many are encoded and written at once.

        Returns:
            The ids, in order.

        Raises:
            InvalidDocumentError: If JSON cannot hold a document's metadata, or an id cannot be
                stored; batches before it were written.
            InvalidOptionError: If there are not as many ids as documents.
            StoreError: If the database failed.
        """
        written: list[str] = []
        for batch in batches(with_ids(documents, ids), batch_size):
            texts = [document.text for document in batch.documents]
            vectors = self._encoder.encode_documents(texts, keep=False)
            self._collection.write(batch.documents, vectors)
            written += batch.ids
        return written

    async def aadd_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """Encode and write documents; see `add_documents`."""
        written: list[str] = []
        pending = batches(with_ids(documents, ids), batch_size)
        while (batch := await asyncio.to_thread(next, pending, None)) is not None:
            texts = [document.text for document in batch.documents]
            vectors = await self._encoder.aencode_documents(texts, keep=False)
            await self._collection.awrite(batch.documents, vectors)
            written += batch.ids
        return written

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: LangChainFilter | None = None,
        delete_all: bool = False,
    ) -> bool:
        """Delete by ids, or what a filter matches, or everything; unknown ids are no error.

        Args:
            ids: The documents to delete.
            filter: What to delete instead, by its metadata.
            delete_all: Whether to delete everything instead.

        Raises:
            InvalidOptionError: Unless exactly one of the three is given.
            InvalidFilterError: If the filter compares nothing.
        """
        condition = _one_of(ids, filter, delete_all)
        if ids is not None:
            self._collection.delete(ids)
        elif condition is not None:
            self._collection.delete_where(condition)
        else:
            self._collection.clear()
        return True

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: LangChainFilter | None = None,
        delete_all: bool = False,
    ) -> bool:
        """Delete documents; see `delete`."""
        condition = _one_of(ids, filter, delete_all)
        if ids is not None:
            await self._collection.adelete(ids)
        elif condition is not None:
            await self._collection.adelete_where(condition)
        else:
            await self._collection.aclear()
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Return the documents with these ids, in this order; unknown ids are left out."""
        return [to_langchain(document) for document in self._collection.get(ids).documents]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Return the documents with these ids; see `get_by_ids`."""
        page = await self._collection.aget(ids)
        return [to_langchain(document) for document in page.documents]

    # --- search --------------------------------------------------------------------------------

    def search_hits(
        self, queries: Sequence[str], k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many questions with one forward pass and one request.

        Args:
            queries: The questions.
            k: How many hits of each at most.
            options: See `SearchOptions`.

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

    def similarity_search(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[LangChainDocument]:
        """Return the best documents for a question, best first.

        Args:
            query: The question.
            k: How many documents at most.
            options: See `SearchOptions`.
        """
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


def _documents(
    texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None
) -> Iterable[LangChainDocument]:
    if isinstance(texts, str):
        raise InvalidOptionError(f"texts={texts!r} is one string; pass a list of texts")
    if metadatas is None:
        return (LangChainDocument(page_content=text) for text in texts)
    given = list(texts)
    if len(given) != len(metadatas):
        raise InvalidOptionError(f"{len(metadatas)} metadatas came with {len(given)} texts")
    return (
        LangChainDocument(page_content=text, metadata=metadata)
        for text, metadata in zip(given, metadatas, strict=True)
    )


def _vector(embedding: list[float]) -> Vector:
    return Vector(dense=unit(np.asarray(embedding, np.float32)))


def _only_documents(hits: Sequence[Hit]) -> list[LangChainDocument]:
    return [to_langchain(hit.document) for hit in hits]


def _with_scores(hits: Sequence[Hit]) -> list[tuple[LangChainDocument, float]]:
    return [(to_langchain(hit.document), hit.score) for hit in hits]


def _one_of(
    ids: Sequence[str] | None, filter: LangChainFilter | None, delete_all: bool
) -> Filter | None:
    if (ids is not None) + (filter is not None) + delete_all != 1:
        raise InvalidOptionError(
            "delete() takes exactly one of ids, filter and delete_all=True; "
            "nothing is deleted without one"
        )
    return to_filter(filter)
