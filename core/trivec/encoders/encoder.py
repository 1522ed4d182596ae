"""Text in, dense, sparse and ColBERT vectors out of one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, expect
from trivec.encoders.batching import Dispatcher
from trivec.encoders.columns import Columns
from trivec.encoders.precision import Precision
from trivec.encoders.processes import Reloadable, reloadable, survives_fork
from trivec.encoders.protocol import Token
from trivec.encoders.tokenizer import (
    OnTruncate,
    TextTokenizer,
    TokenIds,
    check_texts,
    token_batches,
)
from trivec.errors import CheckpointError, InvalidOptionError
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

if TYPE_CHECKING:
    from trivec.encoders.backbone import Backbone
    from trivec.encoders.heads import Heads

__all__ = ["Encoder", "OnProgress"]

OnProgress = Callable[[int, int], None]

MAX_LENGTH = 8192
MCLS_WINDOW = 256  # tokens; from the BGE-M3 paper (arXiv:2402.03216), section 3.4
# The states of a batch should stay in the processor's caches: 512 to 2,048 tokens are equally fast
# on a CPU. A GPU needs more of them to be busy.
CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 32768
# Texts of concurrent callers that one call encodes: enough to fill batches of short questions, few
# enough that the next caller does not wait long.
MICRO_BATCH_TEXTS = 64


@dataclass(frozen=True, slots=True)
class _Request:
    """What the texts of one call have in common."""

    dense: bool
    sparse: bool
    colbert: bool
    max_length: int
    instruction: str = ""
    progress: OnProgress | None = None
    on_truncate: OnTruncate | None = None


class Encoder(Reloadable):
    """A model of the BGE-M3 family.

    It reads a text once and gives its dense vector (the meaning of the whole text), its lexical
    weights (how much each token matters) and its ColBERT vectors (each token in its context). Texts
    and questions are encoded alike, so that they can be compared part by part.

    Any number of threads can use one encoder, and so can processes that are forked from the one
    that loaded it (not with CUDA, which needs the start method "spawn"). Copies are the same
    encoder; a pickle loads the model again. Make one with `Encoder.load`.

    Attributes:
        model (str): The model's name, as in the `Schema`.
        schema (Schema): Which vectors it makes.
        device (str): Where it runs: "cpu", "cuda:0" and so on.
        precision (Precision): The numbers of its matrix products.
        max_length (int): The most tokens of a text that are read unless a call says otherwise:
            what the checkpoint's settings say, at most 8,192.
        query_instruction (str): What `encode_queries` puts before a question; "" for BGE-M3.
        document_instruction (str): What `encode_documents` puts before a text; "" for BGE-M3.
        options (dict[str, str]): What else changes the vectors of a document, for the journal of
            `ingest`.

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
    ) -> None:
        self.model = schema.model
        self.schema = schema
        self.device = str(backbone.device)
        self.precision = precision
        self._most = backbone.architecture.max_length
        self.max_length = min(MAX_LENGTH, self._most, max_length or MAX_LENGTH)
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.options = {} if heads.window is None else {"mcls": str(heads.window)}
        if document_instruction:
            self.options["document_instruction"] = document_instruction
        if precision is not Precision.FLOAT32:  # which journals of old take for granted
            self.options["precision"] = precision.value
        self._include_prompt = include_prompt
        self._backbone = backbone
        self._heads = heads
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._colbert_dtype = np.float16 if colbert_dtype == "float16" else np.float32
        self._dispatcher: Dispatcher[_Request, str, Vectors] = Dispatcher(
            self._encode, Vectors.slice, most_items=MICRO_BATCH_TEXTS
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
        colbert_dtype: Literal["float32", "float16"] = "float32",
        batch_tokens: int | None = None,
    ) -> Encoder:
        """Load a model from a folder or from the Hugging Face hub. No code of it is run.

        Args:
            model: A local folder, or the name of a model on the hub.
            device: "auto" takes a CUDA GPU if there is one, else the CPU; or what
                `torch.device` takes.
            precision: "auto" is float16 on CUDA; on a CPU bfloat16 where the processor is faster
                with it, else float32: the same at every load on a machine, and `trivec doctor`
                says why. Or "float32", "bfloat16", "float16", or "int8" (CPU only): weights
                quantised by output, activations by token.
            revision: Branch, tag or commit on the hub.
            cache_dir: Where the hub's files are kept; transformers' default if None.
            local_files_only: Whether to take what is on the disk without asking the hub.
            name: The model's name in the schema; by default the hub's name, or the folder's.
            query_instruction: What precedes a question; by default what the checkpoint or, for
                bge-*-en-v1.5, FlagEmbedding says.
            document_instruction: What precedes a document; by default what the checkpoint says,
                in the prompt "document" ("passage", "corpus") of
                config_sentence_transformers.json.
            mcls: Whether to repeat the first token every 256 tokens and to make the dense
                vector of all of them: the BGE-M3 paper's way to better vectors of long texts
                without training.
            colbert_dtype: float16 halves the memory of the token vectors.
            batch_tokens: The most tokens of one forward pass (a longer text is one of its own).

        Raises:
            CheckpointError: Naming every file that is missing, every wrong shape, and every
                tensor and setting that would be ignored.
            InvalidOptionError: If an option is out of range, or the device does not exist.
        """
        if colbert_dtype not in ("float32", "float16"):
            raise InvalidOptionError(f"colbert_dtype={colbert_dtype!r} is not float32 or float16")
        expect(model, (str, Path), "model", "the name of a model on the hub, or its folder")
        for option, text in (
            ("query_instruction", query_instruction),
            ("document_instruction", document_instruction),
        ):
            expect(text, (str, type(None)), option, "a text")
        if batch_tokens is not None:
            batch_tokens = at_least_one(batch_tokens, "batch_tokens")
        # torch and transformers take seconds to import; programs that only search need neither.
        from trivec.encoders.checkpoint import open_checkpoint
        from trivec.encoders.heads import Heads
        from trivec.encoders.hub import fetch
        from trivec.encoders.placement import place

        folder = fetch(model, revision=revision, cache_dir=cache_dir, local_only=local_files_only)
        instructed = query_instruction is not None and document_instruction is not None
        checkpoint = open_checkpoint(folder, model=model, instructed=instructed)
        settings = checkpoint.settings
        if mcls and (settings.pooling != "cls" or not settings.include_prompt):
            raise InvalidOptionError(
                f"mcls=True averages first tokens, but {checkpoint.name} pools by "
                f"{settings.pooling}{'' if settings.include_prompt else ' behind the instruction'}"
            )
        placement = place(device, precision)
        backbone = placement.backbone(checkpoint)
        tokenizer = TextTokenizer.load(
            folder, checkpoint.architecture.vocabulary, lower_case=settings.lower_case
        )
        heads = Heads(
            pooling=settings.pooling,
            sparse=checkpoint.sparse and placement.exact_linear(*checkpoint.sparse),
            colbert=checkpoint.colbert and placement.exact_linear(*checkpoint.colbert),
            first=tokenizer.first,
            special_ids=tokenizer.special_ids,
            window=MCLS_WINDOW if mcls else None,
        )
        return cls(
            backbone,
            heads,
            tokenizer,
            schema=Schema(
                dense=checkpoint.architecture.hidden,
                sparse=checkpoint.sparse is not None,
                colbert=None if checkpoint.colbert is None else len(checkpoint.colbert[0]),
                model=name or checkpoint.name,
            ),
            precision=placement.precision,
            query_instruction=checkpoint.query_instruction
            if query_instruction is None
            else query_instruction,
            document_instruction=checkpoint.document_instruction
            if document_instruction is None
            else document_instruction,
            include_prompt=settings.include_prompt,
            max_length=checkpoint.max_length,
            batch_tokens=batch_tokens
            or (CPU_BATCH_TOKENS if placement.on_cpu else GPU_BATCH_TOKENS),
            colbert_dtype=colbert_dtype,
        )

    def __repr__(self) -> str:
        return (
            f"Encoder(model={self.model!r}, parts={self.schema.parts}, device={self.device!r}, "
            f"precision={self.precision.value!r}, max_length={self.max_length})"
        )

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        progress: OnProgress | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Vectors:
        """Encode texts to be stored, behind the model's document instruction if it has one.

        Args:
            texts: n strings; an empty one is legal.
            dense: Whether to make dense vectors; None: if the checkpoint can.
            sparse: Whether to make lexical weights; None: if the checkpoint can.
            colbert: Whether to make token vectors; None: if the checkpoint can.
            max_length: The most tokens of a text with its instruction, up to what the model can
                take; by default `self.max_length`.
            progress: Called after each forward pass with the texts done and all texts.
            on_truncate: Called before the first forward pass with the texts that are longer,
                if there are any; without it, one line goes to the log "trivec.encoders.tokenizer".

        Returns:
            n rows in the order of the texts: unit dense vectors; the highest weight of each
            token id, special tokens left out; a unit vector for each token but the first.

        Raises:
            CheckpointError: If a part is asked for that the checkpoint has no head for.
            InvalidInputError: If something is not a string, or holds half of a surrogate pair.
            InvalidOptionError: If no part is left, or `max_length` is below 3.
        """
        checked = check_texts(texts)
        request = self._request(self.document_instruction, dense, sparse, colbert, max_length)
        return self._encode(replace(request, progress=progress, on_truncate=on_truncate), checked)

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        progress: OnProgress | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Vectors:
        """Encode questions: as `encode_documents`, behind the model's query instruction.

        The arguments and the errors are those of `encode_documents`.
        """
        checked = check_texts(texts)
        request = self._request(self.query_instruction, dense, sparse, colbert, max_length)
        return self._encode(replace(request, progress=progress, on_truncate=on_truncate), checked)

    def encode_query(
        self,
        text: str,
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Vector:
        """Encode one question, with the arguments of `encode_documents`.

        Returns:
            Its dense vector (dimension,), its lexical weights, and its ColBERT vectors
            (tokens, dimension).
        """
        return self.encode_queries(
            [text],
            dense=dense,
            sparse=sparse,
            colbert=colbert,
            max_length=max_length,
            on_truncate=on_truncate,
        )[0]

    async def aencode_documents(
        self,
        texts: Sequence[str],
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        progress: OnProgress | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Vectors:
        """Encode texts in the encoder's own thread, together with those of other callers.

        The arguments are those of `encode_documents`; the callbacks run in that thread, and a
        call that has one is encoded alone.
        """
        checked = check_texts(texts)
        request = self._request(self.document_instruction, dense, sparse, colbert, max_length)
        return await self._ask(
            replace(request, progress=progress, on_truncate=on_truncate), checked
        )

    async def aencode_queries(
        self,
        texts: Sequence[str],
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        progress: OnProgress | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Vectors:
        """Encode questions in the encoder's own thread, together with those of other callers.

        The arguments are those of `aencode_documents`.
        """
        checked = check_texts(texts)
        request = self._request(self.query_instruction, dense, sparse, colbert, max_length)
        return await self._ask(
            replace(request, progress=progress, on_truncate=on_truncate), checked
        )

    async def aencode_query(
        self,
        text: str,
        *,
        dense: bool | None = None,
        sparse: bool | None = None,
        colbert: bool | None = None,
        max_length: int | None = None,
        on_truncate: OnTruncate | None = None,
    ) -> Vector:
        """Encode one question in the encoder's own thread, together with those of others.

        The arguments are those of `aencode_documents`.
        """
        vectors = await self.aencode_queries(
            [text],
            dense=dense,
            sparse=sparse,
            colbert=colbert,
            max_length=max_length,
            on_truncate=on_truncate,
        )
        return vectors[0]

    def tokens(self, text: str, *, max_length: int | None = None) -> list[Token]:
        """Return a text's tokens in the order of its ColBERT vectors, with their places.

        Args:
            text: A document or a question, without the model's instruction.
            max_length: As it was for the vectors.

        Returns:
            One token for each ColBERT vector but those of an instruction.
        """
        check_texts([text])
        most = self._longest(max_length)
        return self._tokenizer.tokens(text, max_length=most, window=self._heads.window)

    def _longest(self, max_length: int | None) -> int:
        if max_length is None:
            return self.max_length
        return min(at_least_one(max_length, "max_length"), self._most)

    async def _ask(self, request: _Request, texts: list[str]) -> Vectors:
        alone = request.progress is not None or request.on_truncate is not None
        return await self._dispatcher.ask(request, texts, alone=alone)

    def _request(
        self,
        instruction: str,
        dense: bool | None,
        sparse: bool | None,
        colbert: bool | None,
        max_length: int | None,
    ) -> _Request:
        for part, wanted, file in (
            ("sparse", sparse, "sparse_linear.pt"),
            ("colbert", colbert, "colbert_linear.pt"),
        ):
            if wanted and part not in self.schema.parts:
                raise CheckpointError(
                    f"{self.model} has no {file}, so that {part}=True cannot be; leave it out, or "
                    "load a checkpoint with that file"
                )
        longest = self._longest(max_length)
        if longest < 3:
            raise InvalidOptionError(f"max_length={max_length} must be at least 3")
        request = _Request(
            instruction=instruction,
            dense=dense is not False,
            sparse=sparse is not False and self.schema.sparse,
            colbert=colbert is not False and self.schema.colbert is not None,
            max_length=longest,
        )
        if not (request.dense or request.sparse or request.colbert):
            raise InvalidOptionError("no part is left: dense, sparse and colbert are all off")
        return request

    def _encode(self, request: _Request, texts: Sequence[str]) -> Vectors:
        given = [request.instruction + text for text in texts]
        ids = self._tokenizer(given, max_length=request.max_length, window=self._heads.window)
        ids.report(request.on_truncate)
        lengths = ids.lengths()
        columns = Columns(
            len(texts),
            dense=self.schema.dense if request.dense else None,
            sparse=request.sparse,
            colbert=self.schema.colbert if request.colbert else None,
            token_counts=lengths - self._heads.start_counts(lengths),
            colbert_dtype=self._colbert_dtype,
        )
        done = 0
        for rows in token_batches(lengths, self._batch_tokens):
            self._encode_batch(request, ids, rows, columns)
            done += len(rows)
            if request.progress is not None:
                request.progress(done, len(texts))
        return columns.finish()

    @survives_fork
    def _encode_batch(
        self, request: _Request, ids: TokenIds, rows: NDArray[np.int64], columns: Columns
    ) -> None:
        import torch

        texts = ids.packed(rows)
        try:
            states = self._backbone(texts)
            columns.put(
                rows,
                dense=self._heads.dense(states, texts, skip=self._skipped(request.instruction))
                if request.dense
                else None,
                sparse=self._heads.lexical(states, texts) if request.sparse else None,
                colbert=self._heads.tokens(states, texts) if request.colbert else [],
            )
        except torch.OutOfMemoryError:
            # Only what a smaller batch can cure; the states of this one are freed by now.
            if len(rows) == 1:
                raise
            middle = len(rows) // 2
        else:
            return
        self._encode_batch(request, ids, rows[:middle], columns)
        self._encode_batch(request, ids, rows[middle:], columns)

    def _skipped(self, instruction: str) -> int:
        """Return how many tokens of an instruction are left out of dense vectors."""
        if self._include_prompt or not instruction:
            return 0
        return self._tokenizer.prompt_length(instruction)
