"""LangChain's standard tests, unchanged, on every store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from trivec import Store
from trivec.testing import HashEncoder
from trivec_langchain import TrivecEmbeddings, TrivecRetriever, TrivecVectorStore


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


class TestVectorStoreStandard(VectorStoreIntegrationTests):
    """With LangChain's embeddings of 6 dimensions, which make dense vectors only."""

    @pytest.fixture
    def vectorstore(self, store: Store) -> VectorStore:
        return TrivecVectorStore(store, self.get_embeddings())


class TestHybridVectorStoreStandard(VectorStoreIntegrationTests):
    """With an encoder of all three parts."""

    @pytest.fixture
    def vectorstore(self, store: Store, fields: Mapping[str, type]) -> VectorStore:
        return TrivecVectorStore(store, HashEncoder(), fields=fields)


class TestEmbeddingsStandard(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return TrivecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": HashEncoder()}


class TestEmbeddingsIntegrationStandard(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return TrivecEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": HashEncoder()}


class TestRetrieverStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self, filled: TrivecVectorStore) -> None:
        self._vectorstore = filled

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return TrivecRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self._vectorstore}

    @property
    def retriever_query_example(self) -> str:
        return "Where do whales live?"
