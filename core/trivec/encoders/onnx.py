"""An encoder without torch: an exported model, run by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one, expect
from trivec.encoders.batching import CPU_BATCH_TOKENS, token_batches
from trivec.encoders.columns import Columns
from trivec.encoders.dense import pooled
from trivec.encoders.files import expanded, reason
from trivec.encoders.lexical import lexical_rows, weights_of_tokens, without_special
from trivec.encoders.local import (
    Call,
    LocalEncoder,
    check_colbert_dtype,
    check_instructions,
    checked_length,
    variant_options,
)
from trivec.encoders.onnx_files import GRAPH, TOKENIZER, ExportSettings, read_export
from trivec.encoders.precision import Precision
from trivec.encoders.processes import reloadable
from trivec.encoders.token_ids import TokenIds
from trivec.encoders.tokenizer import TextTokenizer
from trivec.errors import CheckpointError, InvalidOptionError, MissingDependencyError
from trivec.rows import Float
from trivec.schema import Schema

if TYPE_CHECKING:
    import onnxruntime

# Attention takes a batch as one padded block, of at most this many times the tokens of a batch.
_PADDED = 2


class OnnxEncoder(LocalEncoder):
    """A model of the BGE-M3 family that `trivec export` wrote, without torch and transformers.

    Its vectors are those of an `Encoder` in float32, apart from the last digits. It has the same
    methods, runs on the CPU, and can be used by any number of threads and by forked processes.
    Make an encoder with `OnnxEncoder.load`.

    Attributes:
        model (str): The model's name, as in the `Schema`.
        revision (str | None): The commit on the hub that was exported, if it is known.
        schema (Schema): The vectors that it makes.
        device (str): Where it runs: "cpu".
        precision (Precision): The number format of its matrix products: float32.
        max_length (int): The default for the most tokens of a text that are read.
        query_instruction (str): The text that `encode_queries` puts before a question.
        document_instruction (str): The text that `encode_documents` puts before a text.
        options (dict[str, str]): Other settings that change the vectors of a document, for the
            journal of `ingest`.

    Example:
        Needs a folder that `trivec export BAAI/bge-m3 bge-m3-onnx` wrote:

        ```python
        encoder = OnnxEncoder.load("bge-m3-onnx")
        query = encoder.encode_query("Which animal is the largest?")
        ```
    """

    def __init__(
        self,
        session: Session,
        tokenizer: TextTokenizer,
        settings: ExportSettings,
        *,
        schema: Schema,
        query_instruction: str,
        document_instruction: str,
        max_length: int,
        batch_tokens: int = CPU_BATCH_TOKENS,
        colbert_dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        super().__init__(
            tokenizer,
            schema=schema,
            device="cpu",
            precision=Precision.FLOAT32,
            model_length=settings.model_length,
            max_length=max_length,
            query_instruction=query_instruction,
            document_instruction=document_instruction,
            include_prompt=settings.include_prompt,
            window=None,
            options=variant_options(settings.heads, max_length, settings.own_length),
            batch_tokens=batch_tokens,
            colbert_dtype=colbert_dtype,
        )
        self.revision = settings.revision
        self._session = session
        self._settings = settings

    @classmethod
    @reloadable
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        name: str | None = None,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        max_length: int | None = None,
        colbert_dtype: Literal["float32", "float16"] = "float32",
        batch_tokens: int | None = None,
        threads: int | None = None,
    ) -> OnnxEncoder:
        """Load a folder that `trivec export` wrote.

        Args:
            model: The folder.
            device: "auto" or "cpu", which is the same.
            precision: "auto" or "float32", which is the same.
            name: The model's name in the schema; by default that of the exported model.
            query_instruction: The text before each question; by default the exported model's.
            document_instruction: The text before each document; by default the exported model's.
            max_length: The most tokens of a text if a call does not say, up to what the model can
                take; by default the exported model's.
            colbert_dtype: The number format of token vectors; float16 halves their memory.
            batch_tokens: The most tokens of one forward pass; a longer text is a pass by itself.
            threads: The number of threads that compute; by default one for each processor core.

        Raises:
            CheckpointError: If files are missing, damaged or of another model.
            InvalidOptionError: If an option is out of range.
            MissingDependencyError: If onnxruntime is not installed.
        """
        check_colbert_dtype(colbert_dtype)
        for option, value, only in (("device", device, "cpu"), ("precision", precision, "float32")):
            if value not in ("auto", only):
                raise InvalidOptionError(
                    f"{option}={value!r}; expected 'auto' or {only!r}, since an exported model "
                    "runs on the CPU in float32; Encoder.load takes the checkpoint itself"
                )
        expect(model, (str, Path), "model", "the folder of an exported model")
        expect(name, (str, type(None)), "name", "a string")
        check_instructions(query_instruction, document_instruction)
        max_length = checked_length(max_length)
        if batch_tokens is not None:
            batch_tokens = at_least_one(batch_tokens, "batch_tokens")
        if threads is not None:
            threads = at_least_one(threads, "threads")
        folder = expanded(model)
        settings = read_export(folder)
        session = Session(folder / GRAPH, threads)
        session.check(settings)
        tokenizer = TextTokenizer.from_file(
            folder / TOKENIZER,
            settings.vocabulary,
            settings.special_ids,
            keep_end=settings.keep_end,
        )
        return cls(
            session,
            tokenizer,
            settings,
            schema=Schema(
                dense=settings.dense,
                sparse=settings.sparse,
                colbert=settings.colbert,
                model=settings.model if name is None else name,
            ),
            query_instruction=settings.query_instruction
            if query_instruction is None
            else query_instruction,
            document_instruction=settings.document_instruction
            if document_instruction is None
            else document_instruction,
            max_length=min(max_length or settings.max_length, settings.model_length),
            batch_tokens=batch_tokens or CPU_BATCH_TOKENS,
            colbert_dtype=colbert_dtype,
        )

    def _batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        return token_batches(lengths, self._batch_tokens, padded=_PADDED * self._batch_tokens)

    def _encode_batch(
        self, call: Call, ids: TokenIds, rows: NDArray[np.int64], columns: Columns
    ) -> None:
        settings, texts = self._settings, ids.packed(rows)
        results = self._session.run(*texts.padded(settings.padding))
        weights = results.get("weights")
        if weights is not None:
            weights = without_special(weights, texts, self._tokenizer.special_ids)
        starts = texts.starts(self._tokenizer.first, None)
        bounds = texts.indptr.tolist()
        columns.put(
            rows,
            dense=pooled(
                results["states"][:, : settings.dense],
                texts,
                settings.pooling,
                skip=self._skipped(call.instruction),
            )
            if call.dense
            else None,
            sparse=lexical_rows(weights, texts) if call.sparse and weights is not None else None,
            # The first token of a text has no ColBERT vector.
            colbert=[results["tokens"][start + 1 : stop] for start, stop in pairwise(bounds)]
            if call.colbert
            else [],
            weights=weights_of_tokens(weights, texts, starts)
            if call.colbert and weights is not None
            else [],
        )


# Sessions of the process that forked this one. Deleting one would wait for threads that are not
# here.
_inherited: list[object] = []


class Session:
    """ONNX Runtime's session of a graph, made again in a forked process, which has no threads.

    Args:
        path: The graph.
        threads: The number of threads that compute, or None for one for each processor core.

    Raises:
        CheckpointError: If the runtime cannot read the graph.
        MissingDependencyError: If onnxruntime is not installed.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        self._path = path
        self._threads = threads
        self._process, self._session = os.getpid(), self._open()

    def _open(self) -> onnxruntime.InferenceSession:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                "an exported model needs onnxruntime; run: pip install 'trivec[onnx]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = self._threads or 0
        try:
            return onnxruntime.InferenceSession(
                str(self._path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's exceptions have no type of their own
            raise CheckpointError(
                f"onnxruntime {onnxruntime.__version__} cannot read {self._path}: {reason(error)}"
            ) from error

    def check(self, settings: ExportSettings) -> None:
        """Check that the graph makes the vectors of the settings.

        Raises:
            CheckpointError: If its inputs or outputs differ.
        """
        expected: dict[str, list[int]] = {"states": [settings.hidden]}
        if settings.sparse:
            expected["weights"] = []
        if settings.colbert is not None:
            expected["tokens"] = [settings.colbert]
        outputs = {output.name: list(output.shape[1:]) for output in self._session.get_outputs()}
        inputs = sorted(given.name for given in self._session.get_inputs())
        if outputs != expected or inputs != ["attention_mask", "input_ids"]:
            raise CheckpointError(
                f"{self._path} has the inputs {inputs} and the outputs {outputs}, expected "
                f"attention_mask, input_ids and {expected}; export the model again"
            )

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, Float]:
        """Return the outputs by name, a row for each token."""
        if self._process != os.getpid():
            _inherited.append(self._session)
            self._process, self._session = os.getpid(), self._open()
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, {"input_ids": ids, "attention_mask": mask})
        except Exception as error:  # the runtime's exceptions have no type of their own
            raise CheckpointError(f"{self._path} cannot be run: {reason(error)}") from error
        return dict(zip(names, cast("list[Any]", values), strict=True))
