"""Encoders on servers of text-embeddings-inference.

The server makes the states of the model's tokens (`POST /embed_all`), which nothing normalises,
and the tokens' ids (`POST /tokenize`). The heads are applied here, in numpy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import expect
from trivec.encoders.packing import PackedTexts
from trivec.encoders.protocol import Token
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.foreign import Batch, ForeignEncoder, ForeignOptions
from trivec.encoders.remote.identity import Identity
from trivec.encoders.remote.json_values import (
    is_token_id,
    matrix,
    of_dimension,
    unit_rows,
)
from trivec.encoders.remote.layers import HeadLayers
from trivec.encoders.remote.members import to_bytes
from trivec.encoders.remote.states import StateHeads, packed_states
from trivec.encoders.remote.tei_info import TeiInfo
from trivec.encoders.settings import Pooling
from trivec.encoders.tokenizer import check_texts
from trivec.encoders.url import EncoderUrl
from trivec.errors import CheckpointError, EncoderError
from trivec.rows import spans
from trivec.twins import Twin, run
from trivec.vectors import Vectors

STATE_TOKENS = 1024
"""The most tokens of a request for states, whose JSON takes 12 kB for each token of bge-m3."""

_POOLINGS: Mapping[str, Pooling] = {"cls": "cls", "mean": "mean"}
_BLANK = "▁"
# The names that the tokenizers of BERT and XLM-RoBERTa give to the tokens without a weight.
_SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "[CLS]", "[SEP]", "[PAD]", "[UNK]")


@dataclass(frozen=True, kw_only=True)
class TeiOptions(ForeignOptions):
    """Options of `tei+http://` and `tei+https://`.

    Args:
        heads: The model whose sparse_linear.pt and colbert_linear.pt turn the server's states
            into lexical weights and token vectors: a folder, or a name on the hub. By default the
            model that the server names; False for dense vectors alone.
    """

    heads: str | Path | Literal[False] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads is not None and self.heads is not False:
            expect(self.heads, (str, Path), "heads", "a folder, a name on the hub, or False")


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """The special tokens of the server's tokenizer.

    Args:
        first: The id before a text.
        last: The id after a text.
        special_ids: The ids that carry no lexical weight, sorted.
    """

    first: int
    last: int
    special_ids: NDArray[np.int64]


class TeiEncoder(ForeignEncoder):
    """An encoder on a stock server of text-embeddings-inference.

    With the heads of the model it makes dense vectors, lexical weights and token vectors, equal to
    those of `Encoder` in the server's number format; without, dense vectors alone.

    Example:
        Needs a server, such as `text-embeddings-router --model-id BAAI/bge-m3`:

        ```python
        encoder = open_encoder("tei+http://localhost:8080")
        print(encoder.schema.parts)
        ```
    """

    options_class: ClassVar[type[ForeignOptions]] = TeiOptions

    def __init__(self, url: EncoderUrl, options: TeiOptions) -> None:
        super().__init__(url, options)
        self._heads_of: str | Path | Literal[False] | None = options.heads
        self._layers = HeadLayers(None, None)
        self._server: TeiInfo | None = None
        self._frame: _Frame | None = None

    def tokens(self, text: str) -> list[Token]:
        """Return a text's tokens in the order of its ColBERT vectors, one for each vector.

        Args:
            text: A document or a question, without its instruction.

        Raises:
            EncoderUnavailableError, EncoderError: As `encode_documents`.
        """
        return run(self._tokens(text))

    def _describe(self) -> Twin[Identity]:
        server = TeiInfo.of((yield from self._get_info()))
        layers = self._read_layers(server)
        dense = layers.hidden
        if dense is None:
            probe = Batch(["dimension"])
            answer = yield from self._exchange(self._request(probe, ["dense"]))
            vectors = unit_rows(matrix(answer.json(), answer.where), 1, answer.where)
            dense = int(vectors.shape[1])
        elif server.pooling not in _POOLINGS:
            raise EncoderError(
                f"{self._url} pools by {server.pooling}, expected cls or mean, as BGE-M3 does; "
                "start it with --pooling cls"
            )
        yield from self._check_prompt()
        if layers.hidden is not None and self._frame is None:
            self._frame = yield from self._find_frame(server)
        self._server, self._layers = server, layers
        return Identity(
            model=server.name,
            dense=dense,
            sparse=layers.sparse is not None,
            colbert=None if layers.colbert is None else len(layers.colbert[0]),
            revision=server.revision,
            precision=server.dtype,
            max_length=server.max_length,
            options=self._settings(),
        )

    def _read_layers(self, server: TeiInfo) -> HeadLayers:
        if self._heads_of is False:
            return HeadLayers(None, None)
        model = self._heads_of
        if model is None:
            model = server.model if os.path.isdir(server.model) else server.name
        try:
            layers = HeadLayers.read(model)
        except CheckpointError as error:
            if self._heads_of is not None:
                raise
            raise CheckpointError(
                f"{error}. It is the model of {self._url}, {server.model!r}; give a folder or a "
                "model on the hub with its sparse_linear.pt and colbert_linear.pt as heads, or "
                "heads=False for dense vectors alone"
            ) from error
        if self._heads_of is not None and layers.hidden is None:
            raise CheckpointError(
                f"heads={str(model)!r}: it has no sparse_linear.pt and no colbert_linear.pt"
            )
        return layers

    def _confirm(self) -> Twin[None]:
        seen = TeiInfo.of((yield from self._get_info()))
        if self._server is not None and seen != self._server:
            raise EncoderError(
                f"{self._url} encodes differently than before: it had {self._server}, and has "
                f"{seen}. Vectors of both cannot be compared; start the server with the former "
                "model again, or open the encoder anew for a new collection"
            )

    def _missing(self, part: str) -> str:
        return (
            f"its model, {self.model}, has no {part}_linear.pt; give heads, a folder or a model "
            "with that file"
        )

    def _get_info(self) -> Twin[HttpAnswer]:
        return (yield from self._exchange(HttpRequest("GET", f"{self._prefix}/info")))

    def _post(self, path: str, body: Mapping[str, Any]) -> HttpRequest:
        return HttpRequest("POST", f"{self._prefix}{path}", to_bytes(body))

    def _request(self, batch: Batch, parts: Sequence[str]) -> HttpRequest:
        # The server refuses an empty text, and takes its two special tokens.
        frame = self._frame
        inputs: list[object] = [
            text if text or frame is None else [frame.first, frame.last] for text in batch.texts
        ]
        path = "/embed" if list(parts) == ["dense"] else "/embed_all"
        return self._post(path, {"inputs": inputs, "truncate": True})

    def _prepare(self, texts: Sequence[str], parts: Sequence[str]) -> Twin[list[Batch]]:
        server = self._server
        assert server is not None
        if not all(texts) and self._frame is None:
            self._frame = yield from self._find_frame(server)
        most = min(server.most_texts, self._given.batch_texts)
        batches = yield from super()._prepare(texts, parts)
        batches = [
            Batch(batch.texts[start : start + most])
            for batch in batches
            for start in range(0, len(batch.texts), most)
        ]
        if list(parts) == ["dense"]:
            return batches
        result: list[Batch] = []
        for batch in batches:
            ids = yield from self._ids(batch.texts)
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            result += [
                Batch(batch.texts[start:stop], ids[start:stop])
                for start, stop in spans(lengths, STATE_TOKENS)
            ]
        return result

    def _read(self, batch: Batch, parts: Sequence[str], answer: HttpAnswer) -> Vectors:
        rows = answer.json()
        if not isinstance(rows, list):
            raise EncoderError(f"{answer.where}: expected a list, got {answer.message()}")
        if list(parts) == ["dense"]:
            dense = unit_rows(matrix(rows, answer.where), len(batch.texts), answer.where)
            expected = None if self._identity is None else self._identity.dense
            if expected is not None:
                of_dimension(dense, expected, answer.where)
            return Vectors(dense=dense)
        server, frame, hidden = self._server, self._frame, self._layers.hidden
        assert server is not None
        assert frame is not None
        assert hidden is not None
        lengths = np.fromiter(map(len, batch.ids), np.int64, len(batch.ids))
        texts = PackedTexts(np.concatenate(batch.ids), np.concatenate([[0], np.cumsum(lengths)]))
        try:
            states = packed_states(rows, lengths, hidden)
        except EncoderError as error:
            raise EncoderError(f"{answer.where}: {error}") from error
        heads = StateHeads(
            _POOLINGS[server.pooling], self._layers.sparse, self._layers.colbert, frame.special_ids
        )
        return heads.vectors(states, texts, parts)

    def _ids(self, texts: Sequence[str]) -> Twin[list[NDArray[np.int64]]]:
        """Return the token ids of texts as the model sees them, cut to what the server reads."""
        server, frame = self._server, self._frame
        assert server is not None
        assert frame is not None
        rows = iter((yield from self._tokenized([text for text in texts if text], True)))
        ids: list[NDArray[np.int64]] = []
        for text in texts:
            tokens = [token["id"] for token in next(rows)] if text else [frame.first, frame.last]
            if tokens[:1] != [frame.first] or tokens[1:][-1:] != [frame.last]:
                raise EncoderError(
                    f"{self._url}: the tokens of a text stand between {tokens[:1]} and "
                    f"{tokens[1:][-1:]}, and before between {frame.first} and {frame.last}"
                )
            if len(tokens) > server.max_length:
                tokens = [*tokens[: server.max_length - 1], tokens[-1]]
            ids.append(np.array(tokens, np.int64))
        return ids

    def _tokenized(self, texts: Sequence[str], special: bool) -> Twin[list[list[dict[str, Any]]]]:
        """Return the tokens of texts, of which none is empty, as the server sends them.

        Args:
            texts: At most as many as the server takes in one request.
            special: Whether to put the special tokens around each text.
        """
        if not texts:
            return []
        body = {"inputs": list(texts), "add_special_tokens": special}
        answer = yield from self._exchange(self._post("/tokenize", body))
        rows = answer.json()
        if not _are_tokens(rows, len(texts)):
            raise EncoderError(f"{answer.where}: expected tokens, got {answer.message()}")
        return rows

    def _check_prompt(self) -> Twin[None]:
        """Raise `EncoderError` if the server puts a prompt of its own before each text.

        It counts the prompt's tokens in `/tokenize` too, so that nothing else tells it.
        """
        [row] = yield from self._tokenized(["a"], True)
        if any((token.get("stop") or 0) > 1 for token in row):
            raise EncoderError(
                f"{self._url} puts a prompt of its own before each text, questions and documents "
                "alike; start it without --default-prompt and --default-prompt-name, and give "
                "query_instruction or document_instruction here"
            )

    def _find_frame(self, server: TeiInfo) -> Twin[_Frame]:
        """Find the special tokens: those around a text, and the names that are one token."""
        [row] = yield from self._tokenized(["a"], True)
        if len(row) < 3 or not (row[0].get("special") and row[-1].get("special")):
            raise EncoderError(
                f"{self._url} puts no special token before and after a text, as BGE-M3 needs them"
            )
        ids = {row[0]["id"], row[-1]["id"]}
        for start in range(0, len(_SPECIAL), server.most_texts):
            names = _SPECIAL[start : start + server.most_texts]
            for tokens in (yield from self._tokenized(names, False)):
                ids |= {token["id"] for token in tokens} if len(tokens) == 1 else set()
        return _Frame(row[0]["id"], row[-1]["id"], np.array(sorted(ids), np.int64))

    def _tokens(self, text: str) -> Twin[list[Token]]:
        check_texts([text])
        yield from self._known()
        server = self._server
        assert server is not None
        if self._frame is None:
            self._frame = yield from self._find_frame(server)
        name = ""
        rows = yield from self._tokenized([text or "a"], True)
        if rows[0]:
            name = rows[0][-1].get("text", "")
        room = server.max_length - 2
        content = rows[0][1:-1][:room] if text else []
        return [*_spans_of(text, content), Token(self._frame.last, name, len(text), len(text))]


def _are_tokens(rows: object, texts: int) -> TypeGuard[list[list[dict[str, Any]]]]:
    """Return whether an answer has a list of tokens with ids for each text."""
    return (
        isinstance(rows, list)
        and len(rows) == texts
        and all(isinstance(row, list) for row in rows)
        and all(_is_token(token) for row in rows for token in row)
    )


def _is_token(token: object) -> bool:
    """Return whether a value has the id, the text and perhaps the positions of a token."""
    return (
        isinstance(token, dict)
        and is_token_id(token.get("id"))
        and isinstance(token.get("text", ""), str)
        and all(token.get(end) is None or is_token_id(token[end]) for end in ("start", "stop"))
    )


def _spans_of(text: str, tokens: Sequence[Mapping[str, Any]]) -> list[Token]:
    """Return tokens with their positions in characters, without blanks at their start.

    The server's positions are of bytes or of characters, as its version has it. Those of bytes end
    behind the last character of a text that is not ASCII.

    >>> ids = [{"id": 5, "start": 0, "stop": 3}, {"id": 6, "start": 3, "stop": 7}]
    >>> [(token.text, token.start, token.end) for token in _spans_of("né rue", ids)]
    [('né', 0, 2), ('rue', 3, 6)]
    >>> ids = [{"id": 5, "start": 1, "stop": 3}, {"id": 6, "start": 2, "stop": 5}]
    >>> [(token.text, token.start, token.end) for token in _spans_of("a 588", ids)]
    [('▁', 2, 2), ('588', 2, 5)]
    """
    ends = [(t.get("start") or 0, t.get("stop") or 0) for t in tokens]
    if max((stop for _, stop in ends), default=0) > len(text):
        lengths = np.fromiter((len(c.encode()) for c in text), np.int64, len(text))
        starts = np.concatenate([[0], np.cumsum(lengths)])  # of each character, in bytes
        ends = [
            (int(np.searchsorted(starts, start, "right")) - 1, int(np.searchsorted(starts, stop)))
            for start, stop in ends
        ]
    found: list[Token] = []
    for token, (start, stop) in zip(tokens, ends, strict=True):
        covered = text[start:stop]
        start += len(covered) - len(covered.lstrip())
        shown_text = covered.strip() or token.get("text", "")
        if found and start < found[-1].end:
            # SentencePiece gives its blank mark, when alone, the position of the next character.
            found[-1] = replace(found[-1], text=_BLANK, end=found[-1].start)
        found.append(Token(token["id"], shown_text, start, start + len(covered.strip())))
    return found
