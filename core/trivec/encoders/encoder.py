"""Text in, dense, sparse and ColBERT vectors out of one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, expect
from trivec.encoders.batching import CPU_BATCH_TOKENS
from trivec.encoders.columns import Columns
from trivec.encoders.extras import require_torch
from trivec.encoders.lexical import lexical_rows, weights_of_tokens
from trivec.encoders.local import (
    Call,
    LocalEncoder,
    check_colbert_dtype,
    check_instructions,
    checked_length,
)
from trivec.encoders.onnx_files import is_export
from trivec.encoders.packing import PackedTexts
from trivec.encoders.precision import Precision
from trivec.encoders.processes import reloadable, survives_fork
from trivec.encoders.ranges import Ranges
from trivec.encoders.token_ids import TokenIds
from trivec.encoders.tokenizer import TextTokenizer, check_texts, room_for_text
from trivec.encoders.variants import ModelVariant
from trivec.encoders.windows import WindowBatch, Windows
from trivec.errors import CheckpointError, InvalidOptionError
from trivec.rows import Float
from trivec.schema import Schema
from trivec.vectors import Vectors

if TYPE_CHECKING:
    from torch import Tensor

    from trivec.encoders.backbone import Backbone
    from trivec.encoders.checkpoint import Checkpoint
    from trivec.encoders.heads import Heads

MCLS_WINDOW = 256  # tokens; from the BGE-M3 paper (arXiv:2402.03216), section 3.4


class Encoder(LocalEncoder):
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
        options = dict(options or {})
        if heads.window is not None:
            options["mcls"] = str(heads.window)
        super().__init__(
            tokenizer,
            schema=schema,
            device=str(backbone.device),
            precision=precision,
            model_length=backbone.architecture.max_length,
            max_length=max_length,
            query_instruction=query_instruction,
            document_instruction=document_instruction,
            include_prompt=include_prompt,
            window=heads.window,
            options=options,
            batch_tokens=batch_tokens,
            colbert_dtype=colbert_dtype,
        )
        self._backbone = backbone
        self._heads = heads

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
                the model's. The schema's model name tells both, unless `name` is given. A branch,
                tag or commit may follow, as in "BAAI/bge-m3@main"; journals and pickles keep the
                commit.
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
            MissingDependencyError: If the extra `[torch]` is not installed.
        """
        check_colbert_dtype(colbert_dtype)
        expect(model, (str, Path), "model", "the name of a model on the hub, or its folder")
        variant = ModelVariant.parse(model, heads=heads, truncate_dim=truncate_dim)
        if is_export(variant.model):
            raise CheckpointError(
                f"{variant.model!r} holds an exported model, not a checkpoint; open it with "
                "open_encoder or OnnxEncoder.load, without heads and truncate_dim, which are "
                "options of the export"
            )
        check_instructions(query_instruction, document_instruction)
        if batch_tokens is not None:
            batch_tokens = at_least_one(batch_tokens, "batch_tokens")
        max_length = checked_length(max_length)
        require_torch("Encoder.load")
        # torch and transformers take seconds to import, and programs that only search need neither.
        from trivec.encoders.heads import Heads
        from trivec.encoders.opening import VariantSettings, open_variant
        from trivec.encoders.placement import place

        checkpoint = open_variant(
            variant,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            instructed=query_instruction is not None and document_instruction is not None,
        )
        chosen = VariantSettings.of(checkpoint, variant, name=name, max_length=max_length)
        settings = checkpoint.settings
        if mcls:
            _check_mcls(checkpoint)
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
            truncate_dim=chosen.schema.dense,
        )
        return cls(
            backbone,
            layers,
            tokenizer,
            schema=chosen.schema,
            precision=placement.precision,
            query_instruction=checkpoint.query_instruction
            if query_instruction is None
            else query_instruction,
            document_instruction=checkpoint.document_instruction
            if document_instruction is None
            else document_instruction,
            include_prompt=settings.include_prompt,
            max_length=chosen.max_length,
            batch_tokens=batch_tokens or placement.batch_tokens,
            colbert_dtype=colbert_dtype,
            options=chosen.options,
        )

    def encode_passages(self, text: str, passages: Sequence[slice]) -> Vectors:
        """Encode passages of a text to be stored, from one pass over the whole text.

        This is late chunking: the states of a passage's tokens know the text around them. A text
        longer than `max_length` is read in windows of about equal lengths, which begin and end
        with passages. The document instruction precedes each window.

        ColBERT vectors and lexical weights are those of the passage's tokens in the whole text. A
        mean of these tokens' states, which all know the whole text, tells passages of one text
        apart badly, and a model that pools by its first token has no state for a passage at all.
        So for dense vectors, the last eighth of the layers reads each passage alone, between the
        special tokens, and the model pools the result as usual.

        Args:
            text: The whole text.
            passages: Ranges of `whole_tokens(text)` without its last, special token. They may
                overlap.

        Returns:
            One row per passage, in their order, with a unit dense vector, the highest weight of
            each of its token ids (special tokens left out), and a unit vector of each of its
            tokens.

        Raises:
            InvalidInputError: If a passage is not a slice, is empty, or is not within the text.
            InvalidOptionError: If a passage is longer than a window.

        Example:
            ```python
            tokens = encoder.whole_tokens(text)
            passages = [slice(0, 200), slice(200, len(tokens) - 1)]
            vectors = encoder.encode_passages(text, passages)
            ```
        """
        call = self._call(self.document_instruction)
        content = next(self._tokenizer.contents(check_texts([text])))
        ranges = Ranges.checked(passages, len(content))
        prompt = next(self._tokenizer.contents([call.instruction]))
        windows = Windows.of(
            content,
            ranges,
            self._tokenizer,
            prompt=prompt,
            room=room_for_text(call.max_length, self._window),
            mcls=self._window,
        )
        columns = self._columns(call, ranges.sizes())
        for rows in self._batches(windows.ids.lengths()):
            self._encode_windows(windows, rows, columns)
        return columns.finish()

    @survives_fork
    def _encode_batch(
        self, call: Call, ids: TokenIds, rows: NDArray[np.int64], columns: Columns
    ) -> None:
        def encode(some: NDArray[np.int64]) -> None:
            texts, heads = ids.packed(some), self._heads
            states = self._backbone(texts)
            skip = self._skipped(call.instruction)
            weights = None
            if heads.sparse is not None and (call.sparse or call.colbert):
                weights = heads.weights(states, texts)
            columns.put(
                some,
                dense=heads.dense(states, texts, skip=skip) if call.dense else None,
                sparse=lexical_rows(weights, texts)
                if call.sparse and weights is not None
                else None,
                colbert=heads.tokens_of_texts(states, texts) if call.colbert else [],
                weights=weights_of_tokens(weights, texts, heads.starts(texts))
                if call.colbert and weights is not None
                else [],
            )

        _in_memory(encode, rows)

    @survives_fork
    def _encode_windows(self, windows: Windows, rows: NDArray[np.int64], columns: Columns) -> None:
        """Compute the vectors of the passages in some windows."""
        import torch

        def encode(some: NDArray[np.int64]) -> None:
            batch, heads = windows.batch(some), self._heads
            passages = batch.passages
            middle = self._backbone.begin(batch.texts)
            dense = self._dense_of_passages(middle, batch)
            states = self._backbone.finish(middle, batch.texts)
            del middle
            states = states[torch.from_numpy(batch.positions).to(states.device)]
            weights = None if heads.sparse is None else heads.weights(states, passages)
            columns.put(
                batch.rows,
                dense=dense,
                sparse=None if weights is None else lexical_rows(weights, passages),
                colbert=[]
                if heads.colbert is None
                else np.split(heads.tokens(states), passages.indptr[1:-1]),
                weights=[] if weights is None else weights_of_tokens(weights, passages),
            )

        _in_memory(encode, rows)

    def _dense_of_passages(self, states: Tensor, batch: WindowBatch) -> Float:
        """Return unit vectors of passages that the last layers read one by one.

        Args:
            states: The states of the windows before the last layers.
            batch: The windows and their passages.
        """
        import torch

        alone = batch.alone()
        skip = self._skipped(self.document_instruction)
        dense = np.empty((len(alone.rows), self.schema.dense or 0), np.float32)
        for rows in self._batches(alone.lengths()):
            positions = alone.packed(rows)
            ids = PackedTexts(batch.texts.ids[positions.ids], positions.indptr)
            taken = states[torch.from_numpy(positions.ids).to(states.device)]
            dense[rows] = self._heads.dense(self._backbone.finish(taken, ids), ids, skip=skip)
        return dense


def _in_memory(encode: Callable[[NDArray[np.int64]], None], rows: NDArray[np.int64]) -> None:
    """Encode rows together, or by halves if the device has too little memory for all."""
    import torch

    try:
        encode(rows)
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            raise
    else:
        return
    # Here the states of all rows are freed.
    middle = len(rows) // 2
    _in_memory(encode, rows[:middle])
    _in_memory(encode, rows[middle:])


def _check_mcls(checkpoint: Checkpoint) -> None:
    settings = checkpoint.settings
    if settings.pooling != "cls" or not settings.include_prompt:
        raise InvalidOptionError(
            f"mcls=True averages first tokens, but {checkpoint.name} pools by "
            f"{settings.pooling}{'' if settings.include_prompt else ' after the instruction'}"
        )
