"""A vector store as LangChain's retriever: ours for many questions at once, and LangChain's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Self, Unpack, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManager,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from pydantic import ConfigDict, Field, model_validator

from trivec.errors import InvalidOptionError
from trivec.passages.parent_hits import updated_options
from trivec.search import Mode
from trivec.twins import Twin, arun, either, run
from trivec_langchain.documents import hit_documents
from trivec_langchain.models import DumpedFilter, DumpedOptions, DumpedWeights, SharingModel
from trivec_langchain.options import RetrieverOptions, SearchOptions, with_filter
from trivec_langchain.search import SearchableStore


class TrivecRetriever(SharingModel, BaseRetriever):
    """Retrieves documents; `batch` and `abatch` take one forward pass and one request.

    Setup:
        .. code-block:: bash

            pip install 'trivec[torch,langchain,qdrant]'  # or milvus, vespa

    Key init args:
        vectorstore: TrivecVectorStore
            Where to search. It has the options that the retriever leaves open.
        k: int
            How many documents to return.
        mode: str | None
            "dense", "sparse", "colbert", "hybrid" or "rrf".
        weights: Weights | None
            The weights of the three parts in the hybrid score.
        candidates: int | None
            How many documents the dense and the sparse search each give to the other modes.
        filter: Filter | dict | FilterDirective | None
            Holds for every call, together with the vector store's and the call's own.
        group_by: str | None
            A declared field, or "parent": the results are those of the best groups.
        per_group: int | None
            How many results of each group.
        evidence: int | None
            How many passages of each result to return in its metadata "evidence".
        parents: bool | None
            Whether to return the documents that were split, instead of their passages.
        score_key: str | None
            The metadata key under which a result has its score.

    Instantiate:
        >>> from trivec import open_store
        >>> from trivec.testing import HashEncoder
        >>> from trivec_langchain import TrivecRetriever, TrivecVectorStore
        >>> texts = ["Whales live in the sea.", "Foxes live in the wood.", "Seals rest ashore."]
        >>> vector_store = TrivecVectorStore.from_texts(
        ...     texts, HashEncoder(), store=open_store("memory:/retriever-example")
        ... )
        >>> retriever = TrivecRetriever(vectorstore=vector_store, k=1)

    Usage:
        >>> [document.page_content for document in retriever.invoke("in the wood")]
        ['Foxes live in the wood.']
        >>> len(retriever.invoke("in the wood", k=2, mode="colbert"))
        2

    Many questions at once:
        >>> for found in retriever.batch(["in the wood", "in the sea"]):
        ...     print(found[0].page_content)
        Foxes live in the wood.
        Whales live in the sea.

    Use within a chain:
        >>> from langchain_core.runnables import RunnableLambda
        >>> chain = retriever | RunnableLambda(lambda found: found[0].page_content)
        >>> chain.invoke("in the sea")
        'Whales live in the sea.'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    shared = ("vectorstore",)

    vectorstore: SearchableStore = Field(exclude=True)
    k: int = 4
    mode: Mode | None = None
    weights: DumpedWeights | None = None
    candidates: int | None = None
    filter: DumpedFilter | None = None
    group_by: str | None = None
    per_group: int | None = None
    evidence: int | None = None
    parents: bool | None = None
    score_key: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        k, rest = self._options({})
        self.vectorstore.check_options({"k": k, **rest})
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        **options: Unpack[RetrieverOptions],
    ) -> list[LangChainDocument]:
        k, rest = self._options(options)
        return self.vectorstore.similarity_search(query, k, **rest)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **options: Unpack[RetrieverOptions],
    ) -> list[LangChainDocument]:
        k, rest = self._options(options)
        return await self.vectorstore.asimilarity_search(query, k, **rest)

    def batch(  # type: ignore[override]  # LangChain takes any keyword
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[RetrieverOptions],
    ) -> list[list[LangChainDocument]]:
        """Answer many questions with one forward pass and one request to the store.

        Args:
            inputs: The questions.
            config: One for all, or one per question; callbacks are told of every question.
            return_exceptions: Whether to return the error of a question that fails instead of its
                answer; otherwise the first error is raised.
            options: The options of all these calls, such as `k` and `filter`.
        """
        return run(self._batch(inputs, config, return_exceptions, options))

    async def abatch(  # type: ignore[override]  # as batch
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[RetrieverOptions],
    ) -> list[list[LangChainDocument]]:
        """Answer many questions; see `batch`."""
        return await arun(self._batch(inputs, config, return_exceptions, options))

    def _batch(
        self,
        queries: list[str],
        config: RunnableConfig | list[RunnableConfig] | None,
        return_exceptions: bool,
        options: RetrieverOptions,
    ) -> Twin[list[list[LangChainDocument]]]:
        store = self.vectorstore
        runs: list[Any] = []
        configs = get_config_list(config, len(queries)) if queries else []
        for query, each in zip(queries, configs, strict=True):
            runs.append((yield from either(self._start, self._astart, query, each)))
        answers: list[list[LangChainDocument] | Exception] = []
        try:
            k, rest = self._options(options)
            asked = store.read_options(k, rest)
            of_hits: dict[str, Any] = {n: v for n, v in rest.items() if n != "score_key"}
            outcomes = yield from either(
                store.search_hits_or_errors, store.asearch_hits_or_errors, queries, k, **of_hits
            )
            answers += [
                hits if isinstance(hits, Exception) else hit_documents(hits, asked)
                for hits in outcomes
            ]
        except Exception as error:
            answers = [error] * len(queries)
        for started, answer in zip(runs, answers, strict=True):
            end = started.on_retriever_end
            if isinstance(answer, Exception):
                end = started.on_retriever_error
            yield from either(end, end, answer)  # awaitable if the run is asynchronous
        return _returned(answers, return_exceptions)

    def _start(self, query: str, config: RunnableConfig) -> Any:  # noqa: ANN401 - two classes
        manager = CallbackManager.configure(**self._callbacks(config))
        return manager.on_retriever_start(None, query, **self._run(config))

    async def _astart(self, query: str, config: RunnableConfig) -> Any:  # noqa: ANN401 - as above
        manager = AsyncCallbackManager.configure(**self._callbacks(config))
        return await manager.on_retriever_start(None, query, **self._run(config))

    def batch_as_completed(  # type: ignore[override]  # as batch
        self,
        inputs: Sequence[str],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[RetrieverOptions],
    ) -> Iterator[tuple[int, list[LangChainDocument]]]:
        """Yield the position of each question with its answer; see `batch`, which answers all."""
        configs = get_config_list(config, len(inputs)) if inputs else None
        answers = self.batch(list(inputs), configs, return_exceptions=True, **options)
        for position, answer in enumerate(answers):
            yield position, _returned([answer], return_exceptions)[0]

    async def abatch_as_completed(  # type: ignore[override]  # as batch
        self,
        inputs: Sequence[str],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[RetrieverOptions],
    ) -> AsyncIterator[tuple[int, list[LangChainDocument]]]:
        """Yield the position of each question with its answer; see `batch`, which answers all."""
        configs = get_config_list(config, len(inputs)) if inputs else None
        answers = await self.abatch(list(inputs), configs, return_exceptions=True, **options)
        for position, answer in enumerate(answers):
            yield position, _returned([answer], return_exceptions)[0]

    def _callbacks(self, config: RunnableConfig) -> dict[str, Any]:
        """Return the arguments of `CallbackManager.configure`, as `invoke` chooses them."""
        return {
            "inheritable_callbacks": config.get("callbacks"),
            "inheritable_tags": config.get("tags"),
            "local_tags": self.tags,
            "inheritable_metadata": {**(config.get("metadata") or {}), **self._get_ls_params()},
            "local_metadata": self.metadata,
        }

    def _run(self, config: RunnableConfig) -> dict[str, Any]:
        """Return the name and the id of one question's run, for callbacks."""
        return {"name": config.get("run_name") or self.get_name(), "run_id": config.get("run_id")}

    def _options(self, given: RetrieverOptions) -> tuple[int, SearchOptions]:
        """Return k and the search options: those of the call, else the retriever's own."""
        names = SearchOptions.__optional_keys__ - {"filter"}
        own = {name: getattr(self, name) for name in sorted(names)}
        own = {name: option for name, option in own.items() if option is not None}
        merged = updated_options(own, with_filter(self.filter, given))
        k = merged.pop("k", self.k)
        return k, cast(SearchOptions, merged)


class StoreRetriever(SharingModel, VectorStoreRetriever):
    """LangChain's own retriever, as `TrivecVectorStore.as_retriever` makes it.

    Its options are checked when it is made. A filter among its `search_kwargs` holds for every
    call, together with that of the call.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    shared = ("vectorstore",)

    vectorstore: VectorStore = Field(exclude=True)
    search_kwargs: DumpedOptions = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not isinstance(self.vectorstore, SearchableStore):
            raise InvalidOptionError(f"vectorstore={self.vectorstore!r} must be of trivec")
        self.vectorstore.check_options(self.search_kwargs, search_type=self.search_type)
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        **options: Any,  # noqa: ANN401  # of LangChain's class, which hands them to the search
    ) -> list[LangChainDocument]:
        options = self._options(options)
        return super()._get_relevant_documents(query, run_manager=run_manager, **options)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **options: Any,  # noqa: ANN401  # as above
    ) -> list[LangChainDocument]:
        options = self._options(options)
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **options)

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options of a call: its own over those of the retriever."""
        own = self.search_kwargs
        return updated_options(own, with_filter(own.get("filter"), given))


def _returned(
    answers: Sequence[list[LangChainDocument] | Exception], return_exceptions: bool
) -> list[list[LangChainDocument]]:
    """Return the answers with their errors, or raise the first; typed as LangChain types it."""
    for answer in answers:
        if isinstance(answer, Exception) and not return_exceptions:
            raise answer
    return cast("list[list[LangChainDocument]]", answers)
