"""Cross-encoders on servers: of `trivec serve` and of other people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.encoders.remote.batches import text_batches
from trivec.encoders.remote.connected import Connected
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.json_values import by_index, vector
from trivec.encoders.remote.members import to_bytes
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.remote.sender import BatchSender
from trivec.encoders.remote.wire import RerankRequest, scores_from_json
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import EncoderError, InvalidInputError, InvalidOptionError
from trivec.reranking.pair_scores import check_pairs, sigmoid_of
from trivec.rows import Float

_OWN = ("trivec", "trivecs")
_SCHEMES = (*_OWN, "tei+http", "tei+https", "infinity+http", "infinity+https")
_MOST_TEXTS = 32  # of a request; the default limit of both other servers

Scored = tuple[Sequence[int], NDArray[np.float32]]
"""The rows of some pairs, and their scores before the sigmoid, float32 (rows,)."""


@dataclass(frozen=True, slots=True)
class Job:
    """The pairs of one request.

    Args:
        question: Their question.
        texts: Their documents.
        rows: Their positions in the call.
    """

    question: str
    texts: Sequence[str]
    rows: Sequence[int]

    def halves(self) -> tuple[Job, Job]:
        """Return both halves."""
        middle = len(self.texts) // 2
        return (
            Job(self.question, self.texts[:middle], self.rows[:middle]),
            Job(self.question, self.texts[middle:], self.rows[middle:]),
        )


@dataclass(frozen=True, kw_only=True)
class RemoteRerankerOptions(RemoteOptions):
    """Options of `RemoteReranker`.

    Args:
        model: The name under which a server of Infinity knows the model.
    """

    model: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.model, (str, type(None)), "model", "the name of a model")


class RemoteReranker(Connected):
    """A cross-encoder behind `/rerank` of `trivec serve`, text-embeddings-inference or Infinity.

    It scores pairs as `Reranker` does, and is a `CrossEncoder` for `Rescorer` and the framework
    classes. The server decides how it cuts long pairs. Copies are the same reranker; a pickle opens
    it again. Nothing is sent before the first use.

    Args:
        url: Such as `trivec://localhost:7600`, `tei+http://localhost:8081` or
            `infinity+https://host:7997`; options may follow, as in `?batch_texts=16`.
        options: Those of `RemoteRerankerOptions`.

    Raises:
        InvalidOptionError: If the URL or an option is unknown.

    Example:
        Needs a server, such as `trivec serve --reranker BAAI/bge-reranker-v2-m3`:

        ```python
        reranker = RemoteReranker("trivec://localhost:7600")
        reranker.score_pairs([("Which animal is the largest?", "The blue whale.")])
        ```
    """

    def __init__(self, url: str, **options: object) -> None:
        expect(url, str, "url", "a URL, such as 'trivec://localhost:7600'")
        parsed = EncoderUrl.parse(url)
        if parsed.scheme not in _SCHEMES:
            raise InvalidOptionError(
                f"unknown reranker scheme {parsed.scheme!r}; known are {', '.join(_SCHEMES)}"
            )
        self._source = url, options
        self._given = given = RemoteRerankerOptions.of_url(parsed, options)
        self._own = parsed.scheme in _OWN
        super().__init__(parsed, given)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, self._source

    def score(self, text_pairs: Sequence[tuple[str, str]], /) -> list[float]:
        """Return one score per pair of a question and a text, as `score_pairs` does."""
        return [float(score) for score in self.score_pairs(list(text_pairs))]

    async def ascore(self, text_pairs: Sequence[tuple[str, str]], /) -> list[float]:
        """Return the scores of `score` without blocking the event loop."""
        return [float(score) for score in await self.ascore_pairs(list(text_pairs))]

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], *, sigmoid: bool = False
    ) -> NDArray[np.float32]:
        """Score each pair of a question and a document.

        Args:
            pairs: n pairs (question, document).
            sigmoid: Whether to map the scores to the range 0 to 1.

        Returns:
            float32 (n,), higher is better.

        Raises:
            EncoderUnavailableError: If the server cannot be reached, or is busy for too long.
            EncoderError: If it refuses, or answers wrongly.
            InvalidInputError: If an item is not a pair of strings, or a string holds half of a
                surrogate pair.
        """
        scored = self._sender().send(self._jobs(pairs))
        return _by_row(len(pairs), scored, sigmoid=sigmoid)

    async def ascore_pairs(
        self, pairs: Sequence[tuple[str, str]], *, sigmoid: bool = False
    ) -> NDArray[np.float32]:
        """Score each pair without blocking the event loop.

        Arguments, result and errors are those of `score_pairs`.
        """
        scored = await self._sender().asend(self._jobs(pairs))
        return _by_row(len(pairs), scored, sigmoid=sigmoid)

    def _sender(self) -> BatchSender[Job, Scored]:
        return BatchSender(
            self._client,
            self._request,
            Job.halves,
            self._read,
            at_once=self._given.requests,
            done=lambda job: None,
        )

    def _jobs(self, pairs: Sequence[tuple[str, str]]) -> list[Job]:
        """Return the requests for pairs, each with one question."""
        check_pairs(pairs)
        rows: dict[str, list[int]] = {}
        for index, question in enumerate(check_texts([question for question, _ in pairs])):
            rows.setdefault(question, []).append(index)
        jobs: list[Job] = []
        for question, numbers in rows.items():
            start = 0
            for batch in text_batches(
                check_texts([pairs[number][1] for number in numbers]),
                max_bytes=self._given.batch_bytes,
                max_texts=min(self._given.batch_texts, _MOST_TEXTS),
            ):
                jobs.append(Job(question, batch, numbers[start : start + len(batch)]))
                start += len(batch)
        return jobs

    def _request(self, job: Job) -> HttpRequest:
        return HttpRequest("POST", f"{self._prefix}/rerank", self._body(job))

    def _body(self, job: Job) -> bytes:
        if self._own:
            return RerankRequest(job.question, job.texts).to_json()
        body: dict[str, Any] = {"query": job.question, "raw_scores": True}
        if self._url.scheme.startswith("tei"):
            body |= {"texts": list(job.texts), "truncate": True}
        else:
            body |= {"documents": list(job.texts), "return_documents": False}
            if self._given.model is not None:
                body["model"] = self._given.model
        return to_bytes(body)

    def _read(self, job: Job, answer: HttpAnswer) -> Scored:
        count = len(job.texts)
        if not self._own:
            return job.rows, _read(answer, count)
        try:
            return job.rows, scores_from_json(answer.content, count)
        except InvalidInputError as error:
            raise EncoderError(f"{answer.where}: {error}") from error


def _opened(url: str, options: Mapping[str, object]) -> RemoteReranker:
    """Open a reranker that was pickled."""
    return RemoteReranker(url, **options)


def _by_row(count: int, scored: Sequence[Scored], *, sigmoid: bool) -> NDArray[np.float32]:
    """Return the scores of requests in the order of the pairs."""
    scores = np.zeros(count, np.float32)
    for rows, values in scored:
        scores[rows] = values
    return sigmoid_of(scores) if sigmoid else scores


def _read(answer: HttpAnswer, count: int) -> Float:
    """Return the scores of an answer in the order of the request, float32 (count,).

    Raises:
        EncoderError: If it does not hold one finite score for each text.
    """
    value = answer.json()
    ranks = by_index(
        value.get("results") if isinstance(value, dict) else value, count, answer.where
    )
    scores = [rank.get("relevance_score", rank.get("score")) for rank in ranks]
    return vector(scores, answer.where)
