"""The framework classes as a user writes them: mypy and pyright read this file, and it runs."""

from __future__ import annotations

from typing import assert_type

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery

import trivec_langchain as langchain
import trivec_llamaindex as llamaindex
from trivec import F, Hit, Weights, open_store
from trivec.testing import HashEncoder


def count(documents: list[LangChainDocument]) -> str:
    return str(len(documents))


def test_langchain() -> None:
    encoder = HashEncoder()
    with open_store("memory:/typed_langchain") as store:
        made = langchain.TrivecVectorStore(
            store,
            encoder,
            mode="hybrid",
            weights=Weights.GENERAL,
            filter={"lang": "en"},
            fields={"lang": str, "tags": list[str]},
        )
        as_base: VectorStore = made
        assert_type(made.embeddings, Embeddings | None)
        assert_type(made.add_texts(["a whale"], [{"lang": "en"}], ids=[None]), list[str])
        fox = LangChainDocument("a fox", metadata={"lang": "en"})
        assert_type(made.add_documents([fox]), list[str])
        found = made.similarity_search("whale", k=3, mode="dense", filter=F("lang") == "en")
        assert_type(found, list[LangChainDocument])
        scored = made.similarity_search_with_score("whale", weights=Weights(1, 1, 0))
        assert_type(scored, list[tuple[LangChainDocument, float]])
        assert_type(made.search_hits(["whale", "fox"], 2, candidates=10), list[list[Hit]])
        made.max_marginal_relevance_search("whale", lambda_mult=0.3, filter={"n": {"$gt": 1}})
        assert as_base.similarity_search("whale", k=1) == found[:1]
        made.similarity_search("whale", group_by="lang", per_group=2, evidence=1, score_key="s")
        made.max_marginal_relevance_search("whale", group_by=None, parents=False, score_key=None)
        assert_type(made.search_hits(["whale"], parents=True, evidence=1), list[list[Hit]])

        retriever = langchain.TrivecRetriever(vectorstore=made, k=2, mode="colbert", per_group=1)
        assert_type(retriever.invoke("whale"), list[LangChainDocument])
        assert_type(retriever.batch(["whale"], k=1), list[list[LangChainDocument]])
        retriever.invoke("whale", group_by="lang", per_group=2, evidence=1, score_key="score")
        made.as_retriever(parents=True, evidence=2, score_key="score")
        plain: VectorStoreRetriever = made.as_retriever(k=1, filter={"lang": "en"}, mode="dense")
        assert_type(plain.invoke("whale"), list[LangChainDocument])
        chain = retriever | RunnableLambda(count) | StrOutputParser()
        assert_type(chain.invoke("whale"), str)

        reranker = langchain.TrivecReranker(encoder=encoder, store=store, top_n=1, score_key="s")
        assert_type(reranker.score(found, "whale"), list[float])

        embeddings: Embeddings = langchain.TrivecEmbeddings(encoder)
        assert len(embeddings.embed_query("whale")) == 32
        assert made.delete(ids=["unknown"])
        store.drop()
    with open_store("memory:/typed_plain") as store:
        fake = DeterministicFakeEmbedding(size=6)
        langchain.TrivecVectorStore.from_texts(["a"], fake, store=store, ids=["1"])
        documents = [LangChainDocument("b")]
        langchain.TrivecVectorStore.from_documents(documents, fake, store=store, candidates=9)
        store.drop()


async def test_langchain_asynchronously() -> None:
    with open_store("memory:/typed_langchain_async") as store:
        made = await langchain.TrivecVectorStore.afrom_documents(
            [LangChainDocument("a whale")], HashEncoder(), store=store, fields={"lang": str}
        )
        assert_type(await made.asimilarity_search("whale", mode="rrf"), list[LangChainDocument])
        assert_type(await made.adelete(filter={"lang": "en"}), bool)
        retriever = langchain.TrivecRetriever(vectorstore=made)
        assert_type(await retriever.abatch(["whale"]), list[list[LangChainDocument]])
        store.drop()


def test_llamaindex() -> None:
    encoder = HashEncoder()
    with open_store("memory:/typed_llamaindex") as store:
        made = llamaindex.TrivecVectorStore(store, encoder, weights=Weights(1, 1, 1))
        as_base: BasePydanticVectorStore = made
        embed_model: BaseEmbedding = made.embed_model
        index = VectorStoreIndex(
            [TextNode(text="a whale")],
            storage_context=StorageContext.from_defaults(vector_store=as_base),
            embed_model=embed_model,
        )
        assert len(index.as_retriever().retrieve("whale")) == 1
        assert_type(made.get_nodes(filters={"lang": "en"}), list[BaseNode])
        made.query(VectorStoreQuery(query_str="whale"), weights={"dense": 1.0}, candidates=10)
        made.query(VectorStoreQuery(query_str="whale"), group_by="ref_doc_id", per_group=2)
        made.query(VectorStoreQuery(query_str="whale"), parents=True, evidence=1)
        llamaindex.TrivecVectorStore(store, encoder, group_by="ref_doc_id", evidence=1)
        llamaindex.TrivecRetriever(store, encoder, group_by="ref_doc_id", parents=False, evidence=1)
        retriever = llamaindex.TrivecRetriever(store, encoder, mode="rrf", filters=F("n") == 1)
        assert_type(retriever.retrieve("whale"), list[NodeWithScore])
        rerank = llamaindex.TrivecRerank(encoder, store=store, mode="hybrid", top_n=1)
        nodes = [NodeWithScore(node=TextNode(text="a fox"))]
        assert_type(rerank.postprocess_nodes(nodes, query_str="fox"), list[NodeWithScore])
        sparse = llamaindex.TrivecSparseEmbedding(encoder).get_text_embedding("fox")
        assert_type(sparse, dict[int, float])
        store.drop()
