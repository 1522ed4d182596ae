"""Documents in a better order, as LangChain's document compressor."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document as LangChainDocument
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation

from trivec import Store, Weights
from trivec.encoders.protocol import TextEncoder
from trivec.reranking.rescorer import Candidate, CrossEncoder, RerankMode, Rescorer, best_rows
from trivec_langchain.models import DumpedWeights, SharingModel
from trivec_langchain.options import check_score_key


class TrivecReranker(SharingModel, BaseDocumentCompressor):
    """Sorts documents by ColBERT or the hybrid score, or by a cross-encoder.

    Setup:
        .. code-block:: bash

            pip install 'trivec[langchain]'

    Key init args:
        encoder: TextEncoder | None
            A trivec encoder. A question that its retriever has encoded is not encoded again.
        cross_encoder: CrossEncoder | None
            Scores the texts instead of the encoder: a `BaseCrossEncoder` of LangChain, or a
            `RemoteReranker`.
        store: Store | None
            A collection that may hold the documents. Stored vectors are used where the text is
            the same, and only the other documents are encoded.
        mode: str
            "colbert", "hybrid", "dense" or "sparse".
        weights: Weights
            The weights of "hybrid".
        top_n: int | None
            How many documents to return; all without it.
        score_key: str | None
            The metadata key under which a returned document has its new score. It stands in place
            of a value that the document has under this key, such as the score of its search.

    Instantiate:
        >>> from trivec.testing import HashEncoder
        >>> from trivec_langchain import TrivecReranker
        >>> reranker = TrivecReranker(encoder=HashEncoder(), top_n=1)

    Usage:
        >>> from langchain_core.documents import Document
        >>> documents = [Document("Foxes live in the wood."), Document("Whales live in the sea.")]
        >>> reranker.compress_documents(documents, "Who lives in the sea?")[0].page_content
        'Whales live in the sea.'

    Scores:
        >>> fox, whale = reranker.score(documents, "Who lives in the sea?")
        >>> fox < whale
        True

    Async:
        >>> import asyncio
        >>> len(asyncio.run(reranker.acompress_documents(documents, "Who lives in the sea?")))
        1
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    shared = ("encoder", "cross_encoder", "store", "_last")

    encoder: SkipValidation[TextEncoder] | None = Field(default=None, exclude=True, repr=False)
    cross_encoder: CrossEncoder | None = Field(default=None, exclude=True, repr=False)
    store: Store | None = Field(default=None, exclude=True)
    mode: RerankMode = "colbert"
    weights: DumpedWeights = Weights.GENERAL
    top_n: int | None = Field(default=None, ge=1)
    score_key: str | None = None

    _last: Rescorer = PrivateAttr()

    def model_post_init(self, context: object, /) -> None:
        """Check the options together."""
        check_score_key(self.score_key)
        self._rescorer()

    def _rescorer(self) -> Rescorer:
        """Return a rescorer of the current options: fields can be set, and copies updated."""
        # It is kept, since the cache of its encoder lives as long as an object that uses it.
        self._last = Rescorer(
            self.encoder,
            store=self.store,
            mode=self.mode,
            weights=self.weights,
            cross_encoder=self.cross_encoder,
        )
        return self._last

    def compress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> Sequence[LangChainDocument]:
        """Return the documents, best first; equal ones in the order given.

        They are unchanged, or copies with `score_key`.
        """
        return self._best(documents, self.score(documents, query))

    async def acompress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> Sequence[LangChainDocument]:
        """Return the documents, best first; see `compress_documents`."""
        return self._best(documents, await self.ascore(documents, query))

    def score(self, documents: Sequence[LangChainDocument], query: str) -> list[float]:
        """Return the score of each document, in their order."""
        return self._rescorer().scores(query, _candidates(documents))

    async def ascore(self, documents: Sequence[LangChainDocument], query: str) -> list[float]:
        """Return the score of each document, in their order."""
        return await self._rescorer().ascores(query, _candidates(documents))

    def _best(
        self, documents: Sequence[LangChainDocument], scores: Sequence[float]
    ) -> list[LangChainDocument]:
        rows, key = best_rows(scores, self.top_n), self.score_key
        if key is None:
            return [documents[row] for row in rows]
        return [
            documents[row].model_copy(
                update={"metadata": {**documents[row].metadata, key: scores[row]}}
            )
            for row in rows
        ]


def _candidates(documents: Sequence[LangChainDocument]) -> list[Candidate]:
    return [
        Candidate(document.page_content, document.id, document.page_content)
        for document in documents
    ]
