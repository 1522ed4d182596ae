"""The application of the server: its routes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from trivec._version import __version__
from trivec.checks import check_encoder
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.remote import wire
from trivec.encoders.remote.identity import IDENTITY_HEADER, Identity
from trivec.encoders.remote.members import json_object
from trivec.encoders.tokenizer import check_texts
from trivec.serving import openai
from trivec.serving.answers import VectorsResponse
from trivec.serving.body import read_body
from trivec.serving.dispatcher import Dispatcher, PairScorer, Task
from trivec.serving.endpoint import Answer, Endpoint, ErrorForm, plain_error, while_connected
from trivec.serving.metrics import Metrics
from trivec.serving.options import ServeOptions
from trivec.serving.page import HEADERS, LONGEST, page
from trivec.serving.queue import Queue
from trivec.serving.refusal import Refusal
from trivec.vectors import Vectors


def application(
    encoder: TextEncoder,
    reranker: PairScorer | None = None,
    options: ServeOptions | None = None,
) -> Starlette:
    """Return the ASGI application that serves an encoder.

    Args:
        encoder: Any encoder; with its own options for parts and lengths if it has them, and its
            tokens if it returns them.
        reranker: What `POST /rerank` scores with, such as a `trivec.Reranker`.
        options: The limits and the token.

    Raises:
        InvalidOptionError: If the encoder is not an encoder.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> app = application(HashEncoder())
        >>> [route.path for route in app.routes]
        ['/encode', '/tokens', '/rerank', '/v1/embeddings', '/health', '/metrics', '/']
    """
    check_encoder(encoder, "application")
    return _Server(encoder, reranker, options or ServeOptions()).application()


class _Server:
    """The routes, and what they share."""

    def __init__(
        self, encoder: TextEncoder, reranker: PairScorer | None, options: ServeOptions
    ) -> None:
        self._options = options
        self._identity = Identity.of(encoder, revision=getattr(encoder, "revision", "") or "")
        self._metrics = Metrics()
        self._queue = Queue(max_texts=options.queue_texts, max_bytes=options.queue_bytes)
        self._dispatcher = Dispatcher(
            encoder, reranker, share=options.share, encoded=self._count_texts
        )
        self._reranker = getattr(reranker, "model", None)

    def application(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            self._route("POST", "/encode", self._encode),
            self._route("POST", "/tokens", self._tokens),
            self._route("POST", "/rerank", self._rerank),
            self._route("POST", "/v1/embeddings", self._embeddings, openai.error_form),
            self._route("GET", "/health", self._health, open_to_all=True),
            self._route("GET", "/metrics", self._show_metrics),
            self._route("GET", "/", self._page, browser=True),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: self._unknown})

    def _route(
        self,
        method: str,
        path: str,
        answer: Answer,
        error_form: ErrorForm = plain_error,
        *,
        open_to_all: bool = False,
        browser: bool = False,
    ) -> Route:
        endpoint = Endpoint(
            path,
            answer,
            metrics=self._metrics,
            token=None if open_to_all else self._options.token,
            timeout=self._options.timeout,
            headers={IDENTITY_HEADER: self._identity.to_json(), "Cache-Control": "no-store"},
            error_form=error_form,
            browser=browser,
        )
        return Route(path, endpoint, methods=[method])

    async def _encode(self, request: Request, held: ExitStack) -> Response:
        body = await read_body(request, self._options)
        asked = wire.EncodeRequest.from_json(body)
        parts = asked.parts or self._dispatcher.schema.parts
        self._accept(held, asked.texts, len(body))
        task = Task(asked.kind, parts, asked.max_length)
        work = self._dispatcher.encode(task, check_texts(asked.texts))
        vectors = await while_connected(request, work)
        if _wants_json(request):
            content = await asyncio.to_thread(wire.vectors_to_json, vectors)
            return Response(content, media_type=wire.JSON)
        return VectorsResponse(vectors)

    async def _tokens(self, request: Request, held: ExitStack) -> Response:
        body = await read_body(request, self._options)
        asked = wire.read_tokens_request(body)
        if isinstance(asked, wire.TokenTextsRequest):
            self._accept(held, [asked], len(body))
            texts = await while_connected(request, self._dispatcher.token_texts(asked.ids))
            return Response(wire.token_texts_to_json(texts), media_type=wire.JSON)
        self._accept(held, [asked.text], len(body))
        (text,) = check_texts([asked.text])
        work = self._dispatcher.tokens(text, asked.max_length)
        tokens = await while_connected(request, work)
        return Response(wire.tokens_to_json(tokens), media_type=wire.JSON)

    async def _rerank(self, request: Request, held: ExitStack) -> Response:
        body = await read_body(request, self._options)
        asked = wire.RerankRequest.from_json(body)
        self._accept(held, asked.texts, len(body))
        [query] = check_texts([asked.query])
        work = self._dispatcher.score(query, check_texts(asked.texts))
        scores = await while_connected(request, work)
        return Response(wire.scores_to_json(scores), media_type=wire.JSON)

    async def _embeddings(self, request: Request, held: ExitStack) -> Response:
        body = await read_body(request, self._options)
        asked = json_object(body, "the request")
        schema = self._dispatcher.schema
        as_base64 = openai.check_options(asked, dimension=schema.dense)
        texts = openai.inputs(asked)
        self._accept(held, texts, len(body))
        work = self._dispatcher.encode(Task("documents", ("dense",)), texts)
        vectors = await while_connected(request, work)
        assert vectors.dense is not None
        tokens = await self._dispatcher.count_tokens(texts)
        name = str(asked.get("model", schema.model))
        return JSONResponse(
            openai.embeddings(vectors.dense, model=name, tokens=tokens, as_base64=as_base64)
        )

    async def _health(self, request: Request, held: ExitStack) -> Response:
        return JSONResponse({"status": "ok", **self._identity.members()})

    async def _show_metrics(self, request: Request, held: ExitStack) -> Response:
        queue = self._queue
        self._metrics.waiting(queue.requests, queue.texts, queue.bytes)
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _page(self, request: Request, held: ExitStack) -> Response:
        text = request.query_params.get("text", "")
        facts = {
            **self._identity.members(),
            "reranker": self._reranker,
            "texts in a request": self._options.max_texts,
            "bytes in a request": self._options.max_bytes,
            "trivec": __version__,
        }
        if not text:
            return HTMLResponse(page(facts), headers=HEADERS)
        if len(text) > LONGEST:
            problem = f"At most {LONGEST} characters are allowed here."
            return HTMLResponse(page(facts, problem=problem), 413, headers=HEADERS)
        check_texts([text])
        self._accept(held, [text], len(text))
        task = Task("documents", self._dispatcher.schema.parts)
        vectors = await while_connected(request, self._dispatcher.encode(task, [text]))
        tokens = await self._dispatcher.tokens(text) if self._dispatcher.has_tokens else None
        shown = page(facts, text=text, vector=vectors[0], tokens=tokens)
        return HTMLResponse(shown, headers=HEADERS)

    async def _unknown(self, request: Request, error: Exception) -> Response:
        """Answer a request whose path or method is unknown."""
        assert isinstance(error, HTTPException)
        self._metrics.answered("other", error.status_code, 0.0)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    def _accept(self, held: ExitStack, texts: Sequence[object], size: int) -> None:
        """Count texts as accepted until the answer is sent; refuse too many."""
        most = self._options.max_texts
        if len(texts) > most:
            raise Refusal(413, f"{len(texts)} texts, at most {most} are allowed; send fewer")
        held.enter_context(self._queue.accepted(texts=len(texts), size=size))

    def _count_texts(self, kind: str, vectors: Vectors) -> None:
        # Each token but the first has a ColBERT vector.
        tokens = None if vectors.colbert is None else len(vectors.colbert.values) + len(vectors)
        self._metrics.encoded(kind, len(vectors), tokens)


def _wants_json(request: Request) -> bool:
    """Return whether a client accepts JSON and not safetensors."""
    accepted = request.headers.get("accept", "")
    return wire.JSON in accepted and wire.SAFETENSORS not in accepted
