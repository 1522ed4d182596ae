"""The retriever: options, batches, callbacks and chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from trivec import F, Vectors, Weights
from trivec.errors import InvalidOptionError
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
    assert {d.id for d in retriever.invoke("whale", filter=F("kind") == "sea")} == {"0", "2", "4"}
    assert len(retriever.invoke("whale", filter={"kind": "sea"}, k=1)) == 1
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
    retriever = TrivecRetriever(vectorstore=filled, candidates=-1)
    for found in (
        retriever.batch(QUESTIONS, {"callbacks": [listener]}, return_exceptions=True),
        await retriever.abatch(QUESTIONS, {"callbacks": [listener]}, return_exceptions=True),
    ):
        assert len(found) == 3
        assert all(isinstance(one, InvalidOptionError) for one in found)
    assert len(listener.errors) == 6
    with pytest.raises(InvalidOptionError):
        retriever.batch(QUESTIONS)
    with pytest.raises(InvalidOptionError):
        await retriever.abatch(QUESTIONS)


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
