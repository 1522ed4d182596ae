"""LangChain's own retriever over a vector store, with options that are checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document as LangChainDocument
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from pydantic import ConfigDict, Field, model_validator

from trivec.errors import InvalidOptionError
from trivec_langchain.dumps import DumpedOptions
from trivec_langchain.options import SearchOptions, with_filter
from trivec_langchain.searching import SearchableStore
from trivec_langchain.sharing import SharingModel

__all__ = ["StoreRetriever", "StoreRetrieverOptions", "check_search"]

_OF_TYPE: Mapping[str, frozenset[str]] = {
    "similarity": frozenset(),
    "mmr": frozenset({"fetch_k", "lambda_mult"}),
    "similarity_score_threshold": frozenset({"score_threshold"}),
}


class StoreRetrieverOptions(SearchOptions, total=False):
    """The options of a retriever's searches.

    Attributes:
        k: How many documents to return.
        fetch_k: Of "mmr": how many to choose from.
        lambda_mult: Of "mmr": 1 chooses the nearest, 0 the most different.
        score_threshold: Of "similarity_score_threshold": the lowest relevance, 0 to 1.
    """

    k: int
    fetch_k: int
    lambda_mult: float
    score_threshold: float


class StoreRetriever(SharingModel, VectorStoreRetriever):
    """What `TrivecVectorStore.as_retriever` returns.

    A filter among its `search_kwargs` holds for every call, together with that of the call.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    shared = ("vectorstore",)

    vectorstore: VectorStore = Field(exclude=True)
    search_kwargs: DumpedOptions = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not isinstance(self.vectorstore, SearchableStore):
            raise InvalidOptionError(f"vectorstore={self.vectorstore!r} must be of trivec")
        check_search(self.vectorstore, self.search_type, self.search_kwargs)
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        **options: Any,  # noqa: ANN401  # of LangChain's class, which hands them to the search
    ) -> list[LangChainDocument]:
        options = with_filter(self.search_kwargs.get("filter"), options)
        return super()._get_relevant_documents(query, run_manager=run_manager, **options)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **options: Any,  # noqa: ANN401  # as above
    ) -> list[LangChainDocument]:
        options = with_filter(self.search_kwargs.get("filter"), options)
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **options)


def check_search(store: SearchableStore, search_type: str, options: Mapping[str, Any]) -> None:
    """Check a retriever's search before its first question.

    Raises:
        InvalidOptionError: If the type is unknown, or an option is unknown, out of range or not
            of this type.
        InvalidFilterError: If the filter cannot be meant.
    """
    if search_type not in _OF_TYPE:
        raise InvalidOptionError(
            f"search_type={search_type!r}; expected one of {', '.join(_OF_TYPE)}"
        )
    own = _OF_TYPE[search_type]
    for other, names in _OF_TYPE.items():
        if misplaced := sorted(set(options) & (names - own)):
            raise InvalidOptionError(f"{', '.join(misplaced)} needs search_type={other!r}")
    known = SearchOptions.__optional_keys__ | {"k"} | own
    if unknown := sorted(set(options) - known):
        raise InvalidOptionError(
            f"unknown search option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    store.check_options(options, relevance=search_type == "similarity_score_threshold")
