"""Cross-encoders behind /rerank: of trivec serve, text-embeddings-inference and Infinity."""

from __future__ import annotations

import copy
import pickle
from unittest.mock import patch

import numpy as np
import pytest
from encoder_doubles import Double, OpenAi, Refusal, Tei, pair_score
from hostile_http import Behaviour, HostileServer, Request, answer
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeWithScore, TextNode

from trivec.encoders.remote import wire
from trivec.errors import EncoderError, InvalidInputError, InvalidOptionError
from trivec.reranking import Candidate, RemoteReranker, Rescorer
from trivec_langchain import TrivecReranker
from trivec_llamaindex import TrivecRerank

PAIRS = [
    ("which whale", "a blue whale"),
    ("which fox", "a red fox"),
    ("which whale", "a red fox"),
    ("which fox", "which is a fox"),
] * 20


@pytest.mark.parametrize(
    ("double", "kind"), [(Tei(pooling=None, batch=3), "tei"), (OpenAi(prefix=""), "infinity")]
)
def test_scores(double: Double, kind: str) -> None:
    expected = np.array([pair_score(*pair) for pair in PAIRS], np.float32)
    with double.serving() as address:
        reranker = RemoteReranker(f"{kind}+http://{address}", batch_texts=7)
        np.testing.assert_allclose(reranker.score_pairs(PAIRS), expected, atol=1e-6)
        sigmoid = 1 / (1 + np.exp(-expected))
        np.testing.assert_allclose(reranker.score_pairs(PAIRS, sigmoid=True), sigmoid, atol=1e-6)
        assert reranker.score_pairs([]).shape == (0,)
        scores = Rescorer(cross_encoder=reranker).scores("which fox", [Candidate("a red fox")])
        assert scores == pytest.approx([pair_score("which fox", "a red fox")])
        reranker.close()


def test_answers_that_are_wrong() -> None:
    double = Tei(pooling=None)
    with double.serving() as address:
        reranker = RemoteReranker(f"tei+http://{address}")
        for body in ([], [{"index": 3, "score": 1.0}], {"scores": [1.0]}, [{"index": 0}]):
            double.refusals = [Refusal(200, body)]
            with pytest.raises(EncoderError, match=r"expected a|for 1 texts"):
                reranker.score_pairs(PAIRS[:1])
        double.pooling = "cls"
        with pytest.raises(EncoderError, match="status 424"):
            reranker.score_pairs(PAIRS[:1])


def test_arguments_that_are_wrong() -> None:
    with pytest.raises(InvalidOptionError, match="unknown reranker scheme 'openai"):
        RemoteReranker("openai+http://localhost/v1")
    with pytest.raises(InvalidOptionError, match="unknown option x"):
        RemoteReranker("tei+http://localhost", x=1)
    reranker = RemoteReranker("infinity+http://localhost", model="m")
    assert repr(reranker) == "RemoteReranker('infinity+http://localhost')"
    pairs = [("a",)]
    with pytest.raises(InvalidInputError, match="pair 0"):
        reranker.score_pairs(pairs)  # type: ignore[arg-type]


class Scripted:
    """A server of `trivec serve` with the scores of `pair_score`, and limits."""

    def __init__(self, most_texts: int = 1000) -> None:
        self.most_texts = most_texts

    def __call__(self, request: Request) -> Behaviour:
        assert request.path == "/rerank"
        asked = wire.RerankRequest.from_json(request.body)
        if len(asked.texts) > self.most_texts:
            return answer(413, {"error": f"at most {self.most_texts} texts"})
        scores = [pair_score(asked.query, text) for text in asked.texts]
        return answer(200, wire.scores_to_json(np.array(scores, np.float32)))


async def test_the_scores_of_trivec_serve() -> None:
    expected = np.array([pair_score(*pair) for pair in PAIRS], np.float32)
    with HostileServer(Scripted(most_texts=5)) as server:
        url = f"trivec://127.0.0.1:{server.port}"
        async with RemoteReranker(url, batch_texts=20, requests=2) as reranker:
            assert reranker.score_pairs(PAIRS).tolist() == expected.tolist()
            assert (await reranker.ascore_pairs(PAIRS)).tolist() == expected.tolist()
            assert await reranker.ascore(PAIRS[:2]) == expected[:2].tolist()
            squeezed = await reranker.ascore_pairs(PAIRS, sigmoid=True)
            assert ((squeezed > 0) & (squeezed < 1)).all()
            assert (await reranker.ascore_pairs([])).shape == (0,)
            again: RemoteReranker = pickle.loads(pickle.dumps(reranker))
            assert again.score(PAIRS[:2]) == expected[:2].tolist()
            again.close()
            assert copy.deepcopy(reranker) is reranker


def test_a_pickle_keeps_the_options_of_the_url() -> None:
    reranker = RemoteReranker("tei+http://localhost:1?batch_texts=7", requests=2)
    source = reranker.__reduce__()[1]
    assert source == ("tei+http://localhost:1?batch_texts=7", {"requests": 2})
    assert pickle.loads(pickle.dumps(reranker)).__reduce__()[1] == source


@pytest.mark.parametrize(
    "body",
    [
        *([], {}, {"scores": [1.0, 2.0]}, {"scores": ["1"]}, {"scores": [None]}),
        *({"scores": [True, 1]}, {"scores": [10**400]}, {"scores": [1e300]}),
    ],
)
def test_wrong_scores_of_trivec_serve(body: object) -> None:
    with HostileServer(lambda request: answer(200, body)) as server:
        reranker = RemoteReranker(f"trivec://127.0.0.1:{server.port}")
        with pytest.raises(EncoderError, match="the scores"):
            reranker.score_pairs(PAIRS[:1])


async def test_the_frameworks_take_it() -> None:
    texts = ["a red fox", "a blue whale", "which fox"]
    best = max(texts, key=lambda text: pair_score("which fox", text))
    with HostileServer(Scripted()) as server:
        async with RemoteReranker(f"trivec://127.0.0.1:{server.port}") as reranker:
            blocked = patch.object(reranker, "score", side_effect=AssertionError)
            rescorer = Rescorer(cross_encoder=reranker)
            candidates = [Candidate(text) for text in texts]
            scores = rescorer.scores("which fox", candidates)
            langchain = TrivecReranker(cross_encoder=reranker, top_n=1)
            documents = [LangChainDocument(text) for text in texts]
            [document] = langchain.compress_documents(documents, "which fox")
            llama = TrivecRerank(cross_encoder=reranker, top_n=1)
            nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
            [node] = llama.postprocess_nodes(nodes, query_str="which fox")
            with blocked:  # the asynchronous calls use no thread for it
                assert await rescorer.ascores("which fox", candidates) == scores
                assert await langchain.acompress_documents(documents, "which fox") == [document]
                [anode] = await llama.apostprocess_nodes(nodes, query_str="which fox")
    assert scores == pytest.approx([pair_score("which fox", text) for text in texts])
    assert document.page_content == node.text == anode.text == best
