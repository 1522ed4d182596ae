"""Nodes in a better order, as LlamaIndex's postprocessor."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from trivec import Store, Weights
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.reranking.rescorer import Candidate, CrossEncoder, RerankMode, Rescorer, best_rows
from trivec.scores import AnyWeights, as_weights
from trivec_llamaindex.models import DumpedWeights, SharingModel
from trivec_llamaindex.nodes import embedded_text, stored_text


class TrivecRerank(SharingModel, BaseNodePostprocessor):
    """Sorts nodes by ColBERT or the hybrid score, or by a cross-encoder; that is their new score.

    Args:
        encoder: A trivec encoder. A question that its retriever has encoded is not encoded again.
        store: A collection that may hold the nodes. Stored vectors are used where the text is the
            same, and only the other nodes are encoded.
        mode: "colbert", "hybrid", "dense" or "sparse".
        weights: The weights of "hybrid".
        cross_encoder: Scores the texts instead of the encoder.
        top_n: How many nodes to return; all without it.
        callback_manager: LlamaIndex's callbacks.

    Raises:
        InvalidOptionError: Unless either an encoder or a cross-encoder is given.

    Example:
        >>> from llama_index.core.schema import NodeWithScore, TextNode
        >>> from trivec.testing import HashEncoder
        >>> from trivec_llamaindex import TrivecRerank
        >>> texts = ["Foxes live in the wood.", "Whales live in the sea."]
        >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
        >>> rerank = TrivecRerank(HashEncoder(), top_n=1)
        >>> rerank.postprocess_nodes(nodes, query_str="Who lives in the sea?")[0].text
        'Whales live in the sea.'
    """

    mode: RerankMode = "colbert"
    weights: DumpedWeights = Weights.GENERAL
    top_n: int | None = Field(default=None, ge=1, description="How many nodes to return.")
    _encoder: TextEncoder | None = PrivateAttr()
    _store: Store | None = PrivateAttr()
    _cross_encoder: CrossEncoder | None = PrivateAttr()
    _last: Rescorer = PrivateAttr()

    def __init__(
        self,
        encoder: TextEncoder | None = None,
        *,
        store: Store | None = None,
        mode: RerankMode = "colbert",
        weights: AnyWeights = Weights.GENERAL,
        cross_encoder: CrossEncoder | None = None,
        top_n: int | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        options = {"mode": mode, "weights": weights, "top_n": top_n}
        super().__init__(callback_manager=callback_manager or CallbackManager(), **options)
        self._encoder, self._store, self._cross_encoder = encoder, store, cross_encoder
        self._rescorer()

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class as LlamaIndex writes it."""
        return "TrivecRerank"

    def _rescorer(self) -> Rescorer:
        """Return a rescorer of the current fields, which can be set and updated."""
        # It is kept, since the cache of its encoder lives as long as an object that uses it.
        self._last = Rescorer(
            self._encoder,
            store=self._store,
            mode=self.mode,
            weights=as_weights(self.weights),
            cross_encoder=self._cross_encoder,
        )
        return self._last

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        scores = self._rescorer().scores(_question(query_bundle), _candidates(nodes))
        return self._best(nodes, scores)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        scores = await self._rescorer().ascores(_question(query_bundle), _candidates(nodes))
        return self._best(nodes, scores)

    def _best(self, nodes: Sequence[NodeWithScore], scores: Sequence[float]) -> list[NodeWithScore]:
        rows = best_rows(scores, self.top_n)
        return [NodeWithScore(node=nodes[row].node, score=scores[row]) for row in rows]


def _question(bundle: QueryBundle | None) -> str:
    if bundle is None:
        raise InvalidOptionError("reranking needs the question: pass query_bundle or query_str")
    return bundle.query_str


def _candidates(nodes: Sequence[NodeWithScore]) -> list[Candidate]:
    return [Candidate(embedded_text(n.node), n.node.node_id, stored_text(n.node)) for n in nodes]
