"""A trivec store as LangChain's vector store."""

# The methods of LangChain's class take any keyword; these take the ones they know.
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, Unpack

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings

from trivec import Store
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.passages.rewriting import keep_places
from trivec.twins import Twin, arun, either, run
from trivec_langchain.documents import batches, to_langchain, with_ids
from trivec_langchain.filters import LangChainFilter, to_filter
from trivec_langchain.options import StoreRetrieverOptions, VectorStoreOptions
from trivec_langchain.retriever import StoreRetriever
from trivec_langchain.search import SearchableStore

BATCH_SIZE = 64
"""How many documents are encoded and written at once: 64 MiB of ColBERT vectors in float16 if
each has 512 tokens."""


class TrivecVectorStore(SearchableStore):
    """Dense, sparse and ColBERT search in any trivec store, each text encoded once.

    Setup:
        .. code-block:: bash

            pip install 'trivec[torch,langchain,qdrant]'  # or milvus, vespa

    Key init args — indexing params:
        embedding: TextEncoder | Embeddings
            A trivec encoder, or any LangChain embeddings, which make dense vectors only.
        fields: Mapping[str, type] | None
            The metadata that filters will use, declared when the collection is created.
        colbert: ColbertStorage | str | None
            How the collection keeps token vectors, such as "bits=1,pool=2"; one that exists must
            keep them so.

    Key init args — client params:
        store: Store
            The collection, made by `open_store` or a connector; the first write creates it, and
            closing it stays with its owner.

    Key init args — search params:
        mode: str
            "dense", "sparse", "colbert", "hybrid" or "rrf". Without it "hybrid", or "dense" with
            LangChain embeddings.
        weights: Weights
            The weights of the three parts in the hybrid score.
        candidates: int
            How many documents the dense and the sparse search each give to the other modes.
        filter: Filter | dict | FilterDirective | None
            Bounds the vector store: a document that does not satisfy it is not found, returned,
            deleted, overwritten or written, as if the collection did not hold it.
        group_by: str | None
            A declared field, or "parent": the results are those of the best groups.
        per_group: int
            How many results of each group.
        evidence: int
            How many passages of each result to return in its metadata "evidence".
        parents: bool
            Whether to return the documents that were split, instead of their passages.
        score_key: str | None
            The metadata key under which a result has its score.

    Instantiate:
        >>> from trivec import open_store
        >>> from trivec.testing import HashEncoder
        >>> from trivec_langchain import TrivecVectorStore
        >>> store = open_store("memory:/langchain-example")
        >>> vector_store = TrivecVectorStore(store, HashEncoder(), fields={"lang": str})

    Add Documents:
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

    Delete Documents:
        >>> vector_store.delete(ids=["seals"])
        True

    Search:
        >>> [document.id for document in vector_store.similarity_search("in the sea", k=1)]
        ['whales']

    Search with filter:
        >>> from trivec import F
        >>> found = vector_store.similarity_search("in the sea", filter=F("lang") == "de")
        >>> [(document.id, document.metadata) for document in found]
        [('foxes', {'lang': 'de'})]

    Search with score:
        >>> for document, score in vector_store.similarity_search_with_score("whales", k=1):
        ...     print(document.id, score > 0)
        whales True

    Async:
        >>> import asyncio
        >>> found = asyncio.run(vector_store.asimilarity_search("in the sea", k=1, mode="colbert"))
        >>> [document.id for document in found]
        ['whales']

    Use as Retriever:
        >>> retriever = vector_store.as_retriever(search_type="mmr", search_kwargs={"k": 1})
        >>> [document.id for document in retriever.invoke("in the sea")]
        ['whales']
    """

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[LangChainDocument],
        embedding: TextEncoder | Embeddings,
        *,
        store: Store,
        ids: Sequence[str | None] | None = None,
        **options: Unpack[VectorStoreOptions],
    ) -> Self:
        """Make a vector store as the class does, and add documents to it."""
        made = cls(store, embedding, **options)
        made.add_documents(documents, ids=ids)
        return made

    @classmethod
    async def afrom_documents(
        cls,
        documents: Iterable[LangChainDocument],
        embedding: TextEncoder | Embeddings,
        *,
        store: Store,
        ids: Sequence[str | None] | None = None,
        **options: Unpack[VectorStoreOptions],
    ) -> Self:
        """Make a vector store and add documents to it; see `from_documents`."""
        made = cls(store, embedding, **options)
        await made.aadd_documents(documents, ids=ids)
        return made

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: TextEncoder | Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        store: Store,
        ids: Sequence[str | None] | None = None,
        **options: Unpack[VectorStoreOptions],
    ) -> Self:
        """Make a vector store as the class does, and add texts to it."""
        documents = _documents(texts, metadatas)
        return cls.from_documents(documents, embedding, store=store, ids=ids, **options)

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: TextEncoder | Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        store: Store,
        ids: Sequence[str | None] | None = None,
        **options: Unpack[VectorStoreOptions],
    ) -> Self:
        """Make a vector store and add texts to it; see `from_texts`."""
        documents = _documents(texts, metadatas)
        return await cls.afrom_documents(documents, embedding, store=store, ids=ids, **options)

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

        Evidence that a search has added to the metadata is not stored.

        Args:
            documents: Any number, read as they are written; also from a generator.
            ids: One per document; where it is None the document's own, else a new UUID.
            batch_size: How many are encoded and written at once.

        Returns:
            The ids, in order.

        Raises:
            InvalidDocumentError: If JSON cannot hold a document's metadata, an id cannot be
                stored, or the vector store's filter leaves out the document or the one it would
                replace; batches before it were written.
            InvalidOptionError: If there are not as many ids as documents.
            StoreError: If the database failed.
        """
        return run(self._add(documents, ids, batch_size))

    async def aadd_documents(
        self,
        documents: Iterable[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """Encode and write documents; see `add_documents`."""
        return await arun(self._add(documents, ids, batch_size))

    def _add(
        self,
        given: Iterable[LangChainDocument],
        ids: Sequence[str | None] | None,
        batch_size: int,
    ) -> Twin[list[str]]:
        encoder, view = self._encoder, self._view
        written: list[str] = []
        for batch in batches(with_ids(given, ids), batch_size):
            texts = [document.text for document in batch.documents]
            vectors = yield from either(
                encoder.encode_documents, encoder.aencode_documents, texts, keep=False
            )
            documents = yield from keep_places(view, batch.documents)
            yield from either(view.upsert, view.aupsert, documents, vectors)
            written += batch.ids
        return written

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: LangChainFilter | None = None,
        delete_all: bool = False,
    ) -> bool:
        """Delete by ids, by a filter, or everything; unknown ids are no error.

        Documents outside the vector store's own filter stay.

        Raises:
            InvalidOptionError: Unless exactly one of the three is given.
            InvalidFilterError: If the filter compares nothing.
        """
        return run(self._delete(ids, filter, delete_all))

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: LangChainFilter | None = None,
        delete_all: bool = False,
    ) -> bool:
        """Delete documents; see `delete`."""
        return await arun(self._delete(ids, filter, delete_all))

    def _delete(
        self, ids: Sequence[str] | None, filter: LangChainFilter | None, delete_all: bool
    ) -> Twin[bool]:
        if (ids is not None) + (filter is not None) + delete_all != 1:
            raise InvalidOptionError(
                "delete() takes exactly one of ids, filter and delete_all=True; "
                "nothing is deleted without one"
            )
        condition, view = to_filter(filter), self._view
        if ids is not None:
            yield from either(view.delete, view.adelete, ids)
        elif condition is not None:
            yield from either(view.delete_where, view.adelete_where, condition)
        else:
            yield from either(view.clear, view.aclear)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Return the documents with these ids, in this order; unknown ids are left out."""
        return [to_langchain(document) for document in self._view.get(ids).documents]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Return the documents with these ids; see `get_by_ids`."""
        page = await self._view.aget(ids)
        return [to_langchain(document) for document in page.documents]

    def as_retriever(
        self,
        *,
        search_type: str = "similarity",
        search_kwargs: Mapping[str, Any] | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **options: Unpack[StoreRetrieverOptions],
    ) -> StoreRetriever:
        """Return LangChain's retriever over this store; see `TrivecRetriever` for batches.

        Args:
            search_type: "similarity", "mmr" or "similarity_score_threshold".
            search_kwargs: The options of each search, as LangChain has it.
            tags: Tags of each call, for callbacks.
            metadata: Metadata of each call, for callbacks.
            name: The retriever's name.
            options: The options of each search, by keyword.

        Raises:
            InvalidOptionError: If an option is unknown, given twice, out of range, or of another
                type of search.
            InvalidFilterError: If the filter is malformed or compares incompatible values.
        """
        given = dict(search_kwargs or {})
        if twice := sorted(set(given) & set(options)):
            raise InvalidOptionError(f"{', '.join(twice)} is in search_kwargs and a keyword too")
        given |= options
        if isinstance(given.get("score_threshold"), int):
            given["score_threshold"] = float(given["score_threshold"])  # LangChain takes no int
        self.check_options(given, search_type=search_type)
        return StoreRetriever(
            vectorstore=self,
            search_type=search_type,
            search_kwargs=given,
            tags=tags or self._get_retriever_tags(),
            metadata=metadata,
            name=name,
        )


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
