"""Text in, dense, sparse and ColBERT vectors out of one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, expect
from trivec.encoders.batching import CPU_BATCH_TOKENS, Batcher, token_batches
from trivec.encoders.columns import Columns
from trivec.encoders.options import EncodingOptions, OnProgress
from trivec.encoders.precision import Precision
from trivec.encoders.processes import Reloadable, reloadable, survives_fork
from trivec.encoders.protocol import Token
from trivec.encoders.tokenizer import OnTruncate, TextTokenizer, TokenIds, check_texts
from trivec.encoders.variants import ModelVariant
from trivec.errors import CheckpointError, InvalidOptionError
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

if TYPE_CHECKING:
    from trivec.encoders.backbone import Backbone
    from trivec.encoders.heads import Heads

MAX_LENGTH = 8192
MCLS_WINDOW = 256  # tokens; from the BGE-M3 paper (arXiv:2402.03216), section 3.4
# Texts of concurrent callers that are encoded together: enough to fill batches of short questions,
# few enough that the next caller does not wait long.
SHARED_TEXTS = 64


@dataclass(frozen=True, slots=True)
class _Call:
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


class Encoder(Reloadable):
    """A model of the BGE-M3 family.

    It reads a text once and returns its dense vector (the meaning of the whole text), its lexical
    weights (how much each token matters) and its ColBERT vectors (each token in its context). Texts
    and questions are encoded alike, so that each kind of vector can be compared.

    Any number of threads can use one encoder, and so can processes that are forked from the one
    that loaded it (not with CUDA, which needs the start method "spawn"). Copies are the same
    encoder; a pickle loads the model again. Make an encoder with `Encoder.load`.

    Attributes:
        model (str): The model's name, as in the `Schema`.
        schema (Schema): The vectors that it makes.
        device (str): Where it runs: "cpu", "cuda:0" and so on.
        precision (Precision): The number format of its matrix products.
        max_length (int): The default for the most tokens of a text that are read.
        query_instruction (str): The text that `encode_queries` puts before a question; "" for
            BGE-M3.
        document_instruction (str): The text that `encode_documents` puts before a text; "" for
            BGE-M3.
        options (dict[str, str]): Other settings that change the vectors of a document, for the
            journal of `ingest`.

    Example:
        Needs the model, 2.3 GB on the first use:

        ```python
        encoder = Encoder.load("BAAI/bge-m3")
        vectors = encoder.encode_documents(["The blue whale is the largest animal."])
        query = encoder.encode_query("Which animal is the largest?")
        print(score(query, vectors[0]))
        ```
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Heads,
        tokenizer: TextTokenizer,
        *,
        schema: Schema,
        precision: Precision,
        query_instruction: str = "",
        document_instruction: str = "",
        include_prompt: bool = True,
        max_length: int | None = None,
        batch_tokens: int = CPU_BATCH_TOKENS,
        colbert_dtype: Literal["float32", "float16"] = "float32",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.model = schema.model
        self.schema = schema
        self.device = str(backbone.device)
        self.precision = precision
        self._model_length = backbone.architecture.max_length
        self.max_length = min(self._model_length, max_length or MAX_LENGTH)
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.options = dict(options or {})
        if heads.window is not None:
            self.options["mcls"] = str(heads.window)
        if document_instruction:
            self.options["document_instruction"] = document_instruction
        if precision is not Precision.FLOAT32:  # which older journals imply
            self.options["precision"] = precision.value
        self._include_prompt = include_prompt
        self._backbone = backbone
        self._heads = heads
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._colbert_dtype = np.float16 if colbert_dtype == "float16" else np.float32
        self._batcher: Batcher[_Call, str, Vectors] = Batcher(
            self._encode, Vectors.slice, max_items=SHARED_TEXTS
        )

    @classmethod
    @reloadable
    @survives_fork
    def load(
        cls,
        model: str | Path = "BAAI/bge-m3",
        *,
        device: str = "auto",
        precision: str = "auto",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        name: str | None = None,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        mcls: bool = False,
        heads: str | Path | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        colbert_dtype: Literal["float32", "float16"] = "float32",
        batch_tokens: int | None = None,
    ) -> Encoder:
        """Load a model from a folder or from the Hugging Face hub, without running code from it.

        Args:
            model: A local folder, or the name of a model on the hub. Options may follow, as in the
                names of schemas: "me/tuned?heads=BAAI/bge-m3&truncate_dim=256".
            device: "auto" for a CUDA GPU if there is one, else the CPU; or any device of
                `torch.device`.
            precision: "auto", "float32", "bfloat16", "float16" or "int8". "auto" is float16 on
                CUDA; on a CPU it is bfloat16 if the processor is faster with it, else float32,
                always the same on one machine (`trivec doctor` gives the reason). "int8" (CPU
                only) quantises weights by output and activations by token.
            revision: Branch, tag or commit on the hub.
            cache_dir: Where the hub's files are kept; the hub's default if None.
            local_files_only: Whether to use the files on disk without asking the hub.
            name: The model's name in the schema; by default the hub's name, or the folder's.
            query_instruction: The text before each question; by default the checkpoint's or, for
                bge-*-en-v1.5, FlagEmbedding's.
            document_instruction: The text before each document; by default the checkpoint's
                prompt "document" ("passage", "corpus") in config_sentence_transformers.json.
            mcls: Whether to repeat the first token every 256 tokens and to average these tokens
                into the dense vector, as the BGE-M3 paper proposes for long texts.
            heads: Another checkpoint, a folder or a name on the hub, whose sparse and ColBERT heads
                are used, for a fine-tuned model without heads of its own. Its hidden size must be
                the model's. The schema's model name tells both, unless `name` is given.
            truncate_dim: The number of first numbers that dense vectors keep, for models trained
                so (Matryoshka); the rest is scaled to length 1. By default the checkpoint's own
                `truncate_dim`, or all. The schema tells it.
            max_length: The most tokens of a text if a call does not say, up to what the model can
                take; by default the checkpoint's own limit, at most 8,192.
            colbert_dtype: The number format of token vectors; float16 halves their memory.
            batch_tokens: The most tokens of one forward pass; a longer text is a pass by itself.

        Raises:
            CheckpointError: If files are missing, shapes are wrong, tensors or settings would be
                ignored, or `heads` is given for a model with heads; the message names all of them.
            InvalidOptionError: If an option is out of range, or the device does not exist.
        """
        if colbert_dtype not in ("float32", "float16"):
            raise InvalidOptionError(f"colbert_dtype={colbert_dtype!r} is not float32 or float16")
        expect(model, (str, Path), "model", "the name of a model on the hub, or its folder")
        for option, text in (
            ("query_instruction", query_instruction),
            ("document_instruction", document_instruction),
        ):
            expect(text, (str, type(None)), option, "a string")
        if batch_tokens is not None:
            batch_tokens = at_least_one(batch_tokens, "batch_tokens")
        if max_length is not None:
            max_length = _enough(at_least_one(max_length, "max_length"))
        variant = ModelVariant.parse(model, heads=heads, truncate_dim=truncate_dim)
        # torch and transformers take seconds to import, and programs that only search need neither.
        from trivec.encoders.checkpoint import open_checkpoint
        from trivec.encoders.heads import Heads
        from trivec.encoders.hub import fetch
        from trivec.encoders.placement import place

        get = partial(fetch, cache_dir=cache_dir, local_only=local_files_only)
        others = variant.heads
        checkpoint = open_checkpoint(
            get(variant.model, revision=revision),
            model=variant.model,
            instructed=query_instruction is not None and document_instruction is not None,
            heads=None if others is None else get(others, revision=None, heads_only=True),
        )
        settings = checkpoint.settings
        variant = variant.named(without_dim=checkpoint.dense)
        dense = variant.truncate_dim or checkpoint.dense
        if dense > checkpoint.architecture.hidden:
            raise InvalidOptionError(
                f"truncate_dim={dense} is more than the {checkpoint.architecture.hidden} numbers "
                f"of a dense vector of {checkpoint.name}"
            )
        longest = min(MAX_LENGTH, checkpoint.max_length)
        options = {} if variant.heads is None else {"heads": variant.heads}
        max_length = min(max_length or longest, checkpoint.architecture.max_length)
        if max_length != longest:
            options["max_length"] = str(max_length)
        if mcls and (settings.pooling != "cls" or not settings.include_prompt):
            raise InvalidOptionError(
                f"mcls=True averages first tokens, but {checkpoint.name} pools by "
                f"{settings.pooling}{'' if settings.include_prompt else ' after the instruction'}"
            )
        placement = place(device, precision)
        backbone = placement.backbone(checkpoint)
        tokenizer = TextTokenizer.load(
            checkpoint.folder, checkpoint.architecture.vocabulary, lower_case=settings.lower_case
        )
        layers = Heads(
            pooling=settings.pooling,
            sparse=checkpoint.sparse and placement.exact_linear(*checkpoint.sparse),
            colbert=checkpoint.colbert and placement.exact_linear(*checkpoint.colbert),
            first=tokenizer.first,
            special_ids=tokenizer.special_ids,
            window=MCLS_WINDOW if mcls else None,
            truncate_dim=dense,
        )
        return cls(
            backbone,
            layers,
            tokenizer,
            schema=Schema(
                dense=dense,
                sparse=checkpoint.sparse is not None,
                colbert=None if checkpoint.colbert is None else len(checkpoint.colbert[0]),
                model=name or str(variant),
            ),
            precision=placement.precision,
            query_instruction=checkpoint.query_instruction
            if query_instruction is None
            else query_instruction,
            document_instruction=checkpoint.document_instruction
            if document_instruction is None
            else document_instruction,
            include_prompt=settings.include_prompt,
            max_length=max_length,
            batch_tokens=batch_tokens or placement.batch_tokens,
            colbert_dtype=colbert_dtype,
            options=options,
        )

    def __repr__(self) -> str:
        return (
            f"Encoder(model={self.model!r}, parts={self.schema.parts}, device={self.device!r}, "
            f"precision={self.precision.value!r}, max_length={self.max_length})"
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
        return self._tokenizer.tokens(text, max_length=longest, window=self._heads.window)

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
        texts: dict[str, float] = {}
        for token, weight in weights.items():
            text = self._tokenizer.text_of(token)
            texts[text] = max(weight, texts.get(text, weight))
        return texts

    def _longest(self, max_length: int | None) -> int:
        if max_length is None:
            return self.max_length
        return min(at_least_one(max_length, "max_length"), self._model_length)

    async def _submit(self, call: _Call, texts: Sequence[str]) -> Vectors:
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
    ) -> _Call:
        """Check the options of a call and resolve their defaults."""
        for part, wanted in (("sparse", sparse), ("colbert", colbert)):
            if wanted and part not in self.schema.parts:
                raise CheckpointError(
                    f"{self.model} has no {part}_linear.pt, which {part}=True needs; leave the "
                    "option out, or load a checkpoint with that file (heads= takes it from another "
                    "checkpoint)"
                )
        call = _Call(
            instruction=instruction,
            dense=dense is not False,
            sparse=sparse is not False and self.schema.sparse,
            colbert=colbert is not False and self.schema.colbert is not None,
            max_length=_enough(self._longest(max_length)),
            progress=progress,
            on_truncate=on_truncate,
        )
        if not (call.dense or call.sparse or call.colbert):
            raise InvalidOptionError("no part is left: dense, sparse and colbert are all off")
        return call

    def _encode(self, call: _Call, texts: Sequence[str]) -> Vectors:
        instructed = [call.instruction + text for text in texts]
        ids = self._tokenizer(instructed, max_length=call.max_length, window=self._heads.window)
        ids.report(call.on_truncate)
        lengths = ids.lengths()
        columns = Columns(
            len(texts),
            dense=self.schema.dense if call.dense else None,
            sparse=call.sparse,
            colbert=self.schema.colbert if call.colbert else None,
            weights=self._heads.sparse is not None,
            token_counts=lengths - self._heads.start_counts(lengths),
            colbert_dtype=self._colbert_dtype,
        )
        done = 0
        for rows in token_batches(lengths, self._batch_tokens):
            self._encode_batch(call, ids, rows, columns)
            done += len(rows)
            if call.progress is not None:
                call.progress(done, len(texts))
        return columns.finish()

    @survives_fork
    def _encode_batch(
        self, call: _Call, ids: TokenIds, rows: NDArray[np.int64], columns: Columns
    ) -> None:
        import torch

        texts = ids.packed(rows)
        try:
            states = self._backbone(texts)
            heads = self._heads
            skip = self._skipped(call.instruction)
            weights = None if heads.sparse is None else heads.weights(states, texts)
            columns.put(
                rows,
                dense=heads.dense(states, texts, skip=skip) if call.dense else None,
                sparse=heads.lexical(weights, texts)
                if call.sparse and weights is not None
                else None,
                colbert=heads.tokens(states, texts) if call.colbert else [],
                weights=heads.token_weights(weights, texts)
                if call.colbert and weights is not None
                else [],
            )
        except torch.OutOfMemoryError:
            # Smaller batches are encoded below, where the states of this batch are freed.
            if len(rows) == 1:
                raise
            middle = len(rows) // 2
        else:
            return
        self._encode_batch(call, ids, rows[:middle], columns)
        self._encode_batch(call, ids, rows[middle:], columns)

    def _skipped(self, instruction: str) -> int:
        """Return how many tokens of an instruction are not pooled into dense vectors."""
        if self._include_prompt or not instruction:
            return 0
        return self._tokenizer.prompt_length(instruction)


def _enough(max_length: int) -> int:
    """Return `max_length` if it leaves room for a token between the two special ones."""
    if max_length < 3:
        raise InvalidOptionError(f"max_length={max_length} must be at least 3")
    return max_length
