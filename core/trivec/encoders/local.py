"""The methods of the encoders that run in this process, whatever computes the forward pass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, expect
from trivec.encoders.batching import Batcher, token_batches
from trivec.encoders.columns import Columns
from trivec.encoders.known import remember
from trivec.encoders.options import EncodingOptions, OnProgress
from trivec.encoders.packing import start_counts
from trivec.encoders.precision import Precision
from trivec.encoders.processes import Reloadable
from trivec.encoders.protocol import Token
from trivec.encoders.token_ids import OnTruncate, TokenIds
from trivec.encoders.tokenizer import TextTokenizer, check_texts, enough_tokens
from trivec.errors import CheckpointError, InvalidInputError, InvalidOptionError
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

MAX_LENGTH = 8192
# Texts of concurrent callers that are encoded together: enough to fill batches of short questions,
# few enough that the next caller does not wait long.
SHARED_TEXTS = 64


@dataclass(frozen=True, slots=True)
class Call:
    """The options of one call, with their defaults resolved.

    Texts of concurrent calls with equal options are encoded together.
    """

    dense: bool
    sparse: bool
    colbert: bool
    max_length: int
    instruction: str
    progress: OnProgress | None
    on_truncate: OnTruncate | None


class LocalEncoder(Reloadable):
    """Texts to token ids, batches of them to vectors, and the vectors in the caller's order.

    A subclass computes the vectors of a batch in `_encode_batch`.

    Args:
        tokenizer: The model's tokenizer.
        schema: The vectors that the model makes.
        device: Where it runs.
        precision: The number format of its matrix products.
        model_length: The most tokens that the model can take.
        max_length: The default for the most tokens of a text, or None for the model's own.
        query_instruction: The text before each question.
        document_instruction: The text before each document.
        include_prompt: Whether the tokens of an instruction are pooled with those of the text.
        window: The number of tokens between repetitions of the first token (MCLS), or None.
        options: Other settings that change the vectors of a document.
        batch_tokens: The most tokens of one forward pass.
        colbert_dtype: The number format of token vectors.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        schema: Schema,
        device: str,
        precision: Precision,
        model_length: int,
        max_length: int | None,
        query_instruction: str,
        document_instruction: str,
        include_prompt: bool,
        window: int | None,
        options: Mapping[str, str],
        batch_tokens: int,
        colbert_dtype: Literal["float32", "float16"],
    ) -> None:
        self.model = schema.model
        self.schema = schema
        self.device = device
        self.precision = precision
        self._model_length = model_length
        self.max_length = min(model_length, max_length or MAX_LENGTH)
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.options = dict(options)
        if document_instruction:
            self.options["document_instruction"] = document_instruction
        if precision is not Precision.FLOAT32:  # which older journals imply
            self.options["precision"] = precision.value
        self._include_prompt = include_prompt
        self._window = window
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._colbert_dtype = np.float16 if colbert_dtype == "float16" else np.float32
        self._batcher: Batcher[Call, str, Vectors] = Batcher(
            self._encode, Vectors.slice, max_items=SHARED_TEXTS
        )
        remember(self)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(model={self.model!r}, parts={self.schema.parts}, "
            f"device={self.device!r}, precision={self.precision.value!r}, "
            f"max_length={self.max_length})"
        )

    def encode_documents(self, texts: Sequence[str], **options: Unpack[EncodingOptions]) -> Vectors:
        """Encode texts to be stored, after the model's document instruction if it has one.

        Args:
            texts: n strings; an empty one is legal.
            **options: Which vectors to make and how; see `EncodingOptions`.

        Returns:
            One row per text, in their order, with a unit dense vector, the highest weight of each
            token id (special tokens left out), and a unit vector of each token but the first.

        Raises:
            CheckpointError: If an option asks for vectors that the checkpoint has no head for.
            InvalidInputError: If a text is not a string, or holds half of a surrogate pair.
            InvalidOptionError: If no vectors are left to make, or `max_length` is below 3.
        """
        call = self._call(self.document_instruction, **options)
        return self._encode(call, check_texts(texts))

    def encode_queries(self, texts: Sequence[str], **options: Unpack[EncodingOptions]) -> Vectors:
        """Encode questions, after the model's query instruction if it has one.

        Arguments, result and errors are those of `encode_documents`.
        """
        call = self._call(self.query_instruction, **options)
        return self._encode(call, check_texts(texts))

    def encode_query(self, text: str, **options: Unpack[EncodingOptions]) -> Vector:
        """Encode one question; the options and the errors are those of `encode_documents`.

        Returns:
            Its dense vector (dimension,), its lexical weights, and its ColBERT vectors
            (tokens, dimension).
        """
        return self.encode_queries([text], **options)[0]

    async def aencode_documents(
        self, texts: Sequence[str], **options: Unpack[EncodingOptions]
    ) -> Vectors:
        """Encode texts in the encoder's own thread, together with those of other callers.

        Arguments, result and errors are those of `encode_documents`. The callbacks `progress` and
        `on_truncate` run in that thread; a call with a callback is encoded alone.
        """
        return await self._submit(self._call(self.document_instruction, **options), texts)

    async def aencode_queries(
        self, texts: Sequence[str], **options: Unpack[EncodingOptions]
    ) -> Vectors:
        """Encode questions in the encoder's own thread, together with those of other callers.

        Arguments, result and errors are those of `aencode_documents`.
        """
        return await self._submit(self._call(self.query_instruction, **options), texts)

    async def aencode_query(self, text: str, **options: Unpack[EncodingOptions]) -> Vector:
        """Encode one question in the encoder's own thread, together with those of other callers.

        The options and the errors are those of `aencode_documents`.
        """
        return (await self.aencode_queries([text], **options))[0]

    def whole_tokens(self, text: str) -> list[Token]:
        """Return all tokens of a text, however long it is, in the form of `tokens`."""
        check_texts([text])
        return self._tokenizer.tokens(text, max_length=None)

    def tokens(self, text: str, *, max_length: int | None = None) -> list[Token]:
        """Return a text's tokens in the order of its ColBERT vectors, with their positions.

        Args:
            text: A document or a question, without the model's instruction.
            max_length: The `max_length` with which the text was encoded.

        Returns:
            One token for each ColBERT vector, except those of the instruction.
        """
        check_texts([text])
        longest = self._longest(max_length)
        return self._tokenizer.tokens(text, max_length=longest, window=self._window)

    def convert_id_to_token(self, weights: Mapping[int, float]) -> dict[str, float]:
        """Return lexical weights under the texts of their tokens; the document is not needed.

        Texts have no blank before a word, as in FlagEmbedding. If two ids have the same text, such
        as a word and the end of a longer word, the higher weight is kept.

        Args:
            weights: Token ids and their weights, such as `vectors.sparse.row(0)`.

        Raises:
            InvalidInputError: If an id is not of this model's vocabulary.

        Example:
            ```python
            query = encoder.encode_query("Which animal is the largest?")
            print(encoder.convert_id_to_token(query.sparse))
            ```
        """
        form = "weights by token id, such as those of `vectors.sparse.row(0)`"
        expect(weights, Mapping, "weights", form, error=InvalidInputError)
        texts: dict[str, float] = {}
        for token, weight in weights.items():
            text = self._tokenizer.text_of(token)
            texts[text] = max(weight, texts.get(text, weight))
        return texts

    def _longest(self, max_length: int | None) -> int:
        if max_length is None:
            return self.max_length
        return min(at_least_one(max_length, "max_length"), self._model_length)

    async def _submit(self, call: Call, texts: Sequence[str]) -> Vectors:
        alone = call.progress is not None or call.on_truncate is not None
        return await self._batcher.submit(call, check_texts(texts), alone=alone)

    def _call(
        self,
        instruction: str,
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        progress: OnProgress | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Call:
        """Check the options of a call and resolve their defaults."""
        for part, wanted in (("sparse", sparse), ("colbert", colbert)):
            if wanted and part not in self.schema.parts:
                raise CheckpointError(
                    f"{self.model} has no {part}_linear.pt, which {part}=True needs; leave the "
                    "option out, or load a checkpoint with that file (heads= takes it from another "
                    "checkpoint)"
                )
        call = Call(
            instruction=instruction,
            dense=dense is not False,
            sparse=sparse is not False and self.schema.sparse,
            colbert=colbert is not False and self.schema.colbert is not None,
            max_length=enough_tokens(self._longest(max_length)),
            progress=progress,
            on_truncate=on_truncate,
        )
        if not (call.dense or call.sparse or call.colbert):
            raise InvalidOptionError("no part is left: dense, sparse and colbert are all off")
        return call

    def _encode(self, call: Call, texts: Sequence[str]) -> Vectors:
        instructed = [call.instruction + text for text in texts]
        ids = self._tokenizer(instructed, max_length=call.max_length, window=self._window)
        ids.report(call.on_truncate)
        lengths = ids.lengths()
        columns = self._columns(call, lengths - start_counts(lengths, self._window))
        done = 0
        for rows in self._batches(lengths):
            self._encode_batch(call, ids, rows, columns)
            done += len(rows)
            if call.progress is not None:
                call.progress(done, len(texts))
        return columns.finish()

    @abstractmethod
    def _encode_batch(
        self, call: Call, ids: TokenIds, rows: NDArray[np.int64], columns: Columns
    ) -> None:
        """Compute the vectors of the texts `rows` and put them into the columns."""

    def _columns(self, call: Call, token_counts: NDArray[np.int64]) -> Columns:
        """Return empty columns for texts of so many ColBERT vectors."""
        return Columns(
            len(token_counts),
            dense=self.schema.dense if call.dense else None,
            sparse=call.sparse,
            colbert=self.schema.colbert if call.colbert else None,
            weights=self.schema.sparse,
            token_counts=token_counts,
            colbert_dtype=self._colbert_dtype,
        )

    def _batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of texts of these lengths, batch by batch."""
        return token_batches(lengths, self._batch_tokens)

    def _skipped(self, instruction: str) -> int:
        """Return how many tokens of an instruction are not pooled into dense vectors."""
        if self._include_prompt or not instruction:
            return 0
        return self._tokenizer.prompt_length(instruction)


def checked_length(max_length: int | None) -> int | None:
    """Return the option `max_length` of a model if it can be met; None is for the model's own."""
    if max_length is None:
        return None
    return enough_tokens(at_least_one(max_length, "max_length"))


def check_colbert_dtype(colbert_dtype: str) -> None:
    """Check the number format of token vectors."""
    if colbert_dtype not in ("float32", "float16"):
        raise InvalidOptionError(f"colbert_dtype={colbert_dtype!r} is not float32 or float16")


def check_instructions(query: str | None, document: str | None) -> None:
    """Check the options `query_instruction` and `document_instruction`."""
    for option, text in (("query_instruction", query), ("document_instruction", document)):
        expect(text, (str, type(None)), option, "a string")


def variant_options(heads: str | None, max_length: int, own_length: int) -> dict[str, str]:
    """Return the options that differ from the checkpoint's own settings, for a journal.

    Args:
        heads: The name of the checkpoint of the heads, None for its own.
        max_length: The most tokens of a text if a call does not say.
        own_length: The same by the checkpoint.

    >>> variant_options("BAAI/bge-m3", 512, 8192)
    {'heads': 'BAAI/bge-m3', 'max_length': '512'}
    """
    options = {} if heads is None else {"heads": heads}
    return options if max_length == own_length else {**options, "max_length": str(max_length)}
