"""The retriever: options, batches, callbacks and chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from watched import CallCounter

from trivec import F, Store, Vector, Vectors, Weights
from trivec.errors import AuthenticationError, InvalidInputError, InvalidOptionError
from trivec.stores.memory import MemoryBackend
from trivec_langchain import TrivecRetriever, TrivecVectorStore

QUESTIONS = ["whales in the sea", "foxes at night", "seals ashore"]


class Listener(BaseCallbackHandler):
    """Keeps what it hears of."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[list[Document]] = []
        self.errors: list[BaseException] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.started.append(query)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(list(documents))

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


async def test_a_batch_is_what_each_question_gets(filled: TrivecVectorStore) -> None:
    retriever = TrivecRetriever(vectorstore=filled, k=3, filter={"n": {"$lt": 4}})
    expected = [retriever.invoke(question) for question in QUESTIONS]
    assert retriever.batch(QUESTIONS) == expected
    assert await retriever.abatch(QUESTIONS) == expected
    assert await retriever.ainvoke(QUESTIONS[1]) == expected[1]
    assert retriever.batch([]) == []
    assert await retriever.abatch([]) == []


def test_options_of_the_call_come_before_those_of_the_retriever(
    filled: TrivecVectorStore,
) -> None:
    retriever = TrivecRetriever(vectorstore=filled, k=5, mode="dense", filter={"kind": "land"})
    assert {d.id for d in retriever.invoke("whale")} == {"1", "3"}
    assert {d.id for d in retriever.invoke("whale", filter=F("n") > 1)} == {"3"}
    assert retriever.invoke("whale", filter=F("kind") == "sea") == []
    assert len(retriever.invoke("whale", filter={"n": [1, 3]}, k=1)) == 1
    assert retriever.invoke("whale", mode="sparse") == []
    assert [len(a) for a in retriever.batch(["whale"] * 2, k=1, weights=Weights(1, 0, 0))] == [1, 1]


async def test_an_unknown_option_is_not_swallowed(filled: TrivecVectorStore) -> None:
    retriever = TrivecRetriever(vectorstore=filled)
    options: Any = {"top_k": 3}
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke("whale", **options)
    with pytest.raises(TypeError, match="top_k"):
        await retriever.abatch(["whale"], **options)
    with pytest.raises(ValueError, match="top_k"):
        TrivecRetriever(vectorstore=filled, **options)


def test_callbacks_hear_of_every_question(filled: TrivecVectorStore) -> None:
    listener = Listener()
    retriever = TrivecRetriever(vectorstore=filled, k=1)
    answers = retriever.batch(QUESTIONS, {"callbacks": [listener]})
    assert listener.started == QUESTIONS
    assert listener.ended == answers


async def test_callbacks_hear_of_every_question_asynchronously(filled: TrivecVectorStore) -> None:
    listeners = [Listener() for _ in QUESTIONS]
    retriever = TrivecRetriever(vectorstore=filled, k=1)
    answers = await retriever.abatch(QUESTIONS, [{"callbacks": [one]} for one in listeners])
    assert [listener.ended for listener in listeners] == [[answer] for answer in answers]


async def test_an_error_is_raised_heard_of_and_returned(filled: TrivecVectorStore) -> None:
    listener = Listener()
    retriever = TrivecRetriever(vectorstore=filled)
    wrong: Any = {"candidates": -1, "config": {"callbacks": [listener]}}
    for found in (
        retriever.batch(QUESTIONS, return_exceptions=True, **wrong),
        await retriever.abatch(QUESTIONS, return_exceptions=True, **wrong),
    ):
        assert len(found) == 3
        assert all(isinstance(one, InvalidOptionError) for one in found)
    assert len(listener.errors) == 6
    with pytest.raises(InvalidOptionError):
        retriever.batch(QUESTIONS, candidates=-1)
    with pytest.raises(InvalidOptionError):
        await retriever.abatch(QUESTIONS, candidates=-1)


# --- bad questions among good ones ---------------------------------------------------------------

HALF = "half a pair: \ud800"
BAD: list[Any] = [HALF, None, 3, b"whales", ["whales"], {"question": "whales"}]


class Choosy(CallCounter):
    """Fails on some text, as a model behind a network may."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        if "poison" in texts:
            raise RuntimeError("poison")
        return super().encode_queries(texts)


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_question_spoils_its_own_answer_only(
    store: Store, fields: Mapping[str, type], bad: Any
) -> None:
    encoder = CallCounter()
    made = TrivecVectorStore(store, encoder, fields=fields)
    made.add_texts(["blue whales live in the sea", "foxes hunt at night", "seals rest ashore"])
    retriever = TrivecRetriever(vectorstore=made, k=1)
    expected = [one.page_content for [one] in retriever.batch(QUESTIONS)]
    asked: list[Any] = [QUESTIONS[0] + "?", bad, QUESTIONS[1] + "?", QUESTIONS[2] + "?"]

    def check(found: Sequence[Any]) -> None:
        assert isinstance(found[1], InvalidInputError), found
        assert [one[0].page_content for one in (found[0], found[2], found[3])] == expected

    listener = Listener()
    texts, calls = encoder.encoded, encoder.calls
    check(retriever.batch(asked, {"callbacks": [listener]}, return_exceptions=True))
    assert (encoder.encoded - texts, encoder.calls - calls) == (3, 1)
    assert [type(error) for error in listener.errors] == [InvalidInputError]
    assert [one.page_content for [one] in listener.ended] == expected
    configs: Any = [{"callbacks": [Listener()], "max_concurrency": 1} for _ in asked]
    check(await retriever.abatch(asked, configs, return_exceptions=True))
    assert [len(one["callbacks"][0].errors) for one in configs] == [0, 1, 0, 0]
    check([one for _, one in retriever.batch_as_completed(asked, return_exceptions=True)])
    completed = retriever.abatch_as_completed(asked, configs, return_exceptions=True)
    check([one async for _, one in completed])
    chain = retriever | RunnableLambda(lambda found: found)
    check(chain.batch(asked, return_exceptions=True))
    assert encoder.encoded - texts == 3
    for attempt in (
        lambda: retriever.batch(asked),
        lambda: list(retriever.batch_as_completed(asked)),
        lambda: retriever.invoke(bad),
    ):
        with pytest.raises(InvalidInputError):
            attempt()


async def test_a_question_that_the_encoder_fails_on_spoils_its_own_answer_only(
    store: Store,
) -> None:
    made = TrivecVectorStore(store, Choosy())
    made.add_texts(["blue whales live in the sea"])
    retriever = TrivecRetriever(vectorstore=made, k=1)
    for asked in (["whales", "poison", "sea"], ["poison"], ["seals", "poison", "poison"]):
        for found in (
            retriever.batch(asked, return_exceptions=True),
            await retriever.abatch(asked, return_exceptions=True),
        ):
            bad = [isinstance(one, RuntimeError) for one in found]
            assert bad == [one == "poison" for one in asked]


async def test_a_failing_database_is_asked_once_for_all_questions(
    filled: TrivecVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[int] = []

    def fail(_: object, __: object, queries: Sequence[Vector], ___: object) -> None:
        requests.append(len(queries))
        raise AuthenticationError("the server refused the key")

    monkeypatch.setattr(MemoryBackend, "search", fail)
    retriever = TrivecRetriever(vectorstore=filled)
    asked: list[Any] = [*QUESTIONS, None]
    for found in (
        retriever.batch(asked, return_exceptions=True),
        await retriever.abatch(asked, return_exceptions=True),
    ):
        kinds: list[Any] = [AuthenticationError] * 3 + [InvalidInputError]
        assert [type(one) for one in found] == kinds
    assert requests == [3, 3]


def as_text(found: list[Document]) -> str:
    return "\n".join(document.page_content for document in found)


def chain_over(retriever: TrivecRetriever) -> Runnable[str, str]:
    """Return a chain whose model answers with what it is asked."""
    prompt = ChatPromptTemplate.from_template("{context} Now answer: {question}")
    return (
        {"context": retriever | RunnableLambda(as_text), "question": RunnablePassthrough()}
        | prompt
        | ParrotFakeChatModel()
        | StrOutputParser()
    )


async def test_a_chain_with_a_chat_model(filled: TrivecVectorStore) -> None:
    chain = chain_over(TrivecRetriever(vectorstore=filled, k=1))
    whales, foxes = "Where do blue whales live?", "Who hunts at night?"
    expected = [
        f"Blue whales live in the sea. Now answer: {whales}",
        f"The red fox hunts at night. Now answer: {foxes}",
    ]
    assert chain.invoke(whales) == expected[0]
    assert await chain.ainvoke(whales) == expected[0]
    assert chain.batch([whales, foxes]) == expected
    assert await chain.abatch([whales, foxes]) == expected
    assert "".join(chain.stream(foxes)) == expected[1]
    assert "".join([part async for part in chain.astream(foxes)]) == expected[1]


def test_a_batch_through_a_chain_is_still_one_pass(
    filled: TrivecVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    encode = filled._encoder.encode_queries

    def counted(texts: Sequence[str]) -> Vectors:
        batches.append(len(texts))
        return encode(texts)

    monkeypatch.setattr(filled._encoder, "encode_queries", counted)
    chain = TrivecRetriever(vectorstore=filled, k=1) | RunnableLambda(as_text)
    assert chain.batch(["blue whales", "red fox"]) == [
        "Blue whales live in the sea.",
        "The red fox hunts at night.",
    ]
    assert batches == [2]
