"""A checkpoint as a folder for `OnnxEncoder`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trivec.arguments import shown
from trivec.encoders.checkpoint import Checkpoint
from trivec.encoders.files import local_folder
from trivec.encoders.hub import commit_of
from trivec.encoders.local import checked_length
from trivec.encoders.onnx_files import (
    DATA,
    GRAPH,
    TOKENIZER,
    ExportSettings,
    is_export,
    read_export,
)
from trivec.encoders.opening import VariantSettings, open_variant
from trivec.encoders.tokenizer import TextTokenizer
from trivec.encoders.variants import ModelVariant
from trivec.errors import (
    CheckpointError,
    InvalidOptionError,
    MissingDependencyError,
    OutputError,
)
from trivec.outputs import StrPath, check_folder, make_folder
from trivec.rows import Float


def export_model(
    model: StrPath,
    folder: StrPath,
    *,
    name: str | None = None,
    revision: str | None = None,
    cache_dir: StrPath | None = None,
    local_files_only: bool = False,
    heads: StrPath | None = None,
    truncate_dim: int | None = None,
    max_length: int | None = None,
) -> ExportSettings:
    """Write a model in float32 as a folder that `OnnxEncoder.load` reads.

    The folder is written whole or not at all.

    Args:
        model: A local folder, or the name of a model on the hub; options may follow, as in
            `Encoder.load`.
        folder: A folder that does not exist or is empty.
        name: The model's name in the schema; by default the hub's name, or the folder's.
        revision: Branch, tag or commit on the hub.
        cache_dir: Where the hub's files are kept; the hub's default if None.
        local_files_only: Whether to use the files on disk without asking the hub.
        heads: As in `Encoder.load`.
        truncate_dim: As in `Encoder.load`.
        max_length: As in `Encoder.load`.

    Raises:
        CheckpointError: If the model cannot be loaded or exported.
        InvalidOptionError: If the folder holds files or lies in the model's folder, or an option
            is out of range.
        MissingDependencyError: If onnx is not installed.
        OutputError: If the folder cannot be written.
    """
    max_length = checked_length(max_length)
    variant = ModelVariant.parse(model, heads=heads, truncate_dim=truncate_dim)
    sources = [local_folder(source) for source in (variant.model, variant.heads) if source]
    check_export_folder(folder, inputs=[source for source in sources if source is not None])
    if is_export(variant.model):
        raise CheckpointError(
            f"{variant.model} is an exported model already; give the checkpoint itself"
        )
    checkpoint = open_variant(
        variant, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
    )
    chosen = VariantSettings.of(checkpoint, variant, name=name, max_length=max_length)
    tokenizer = TextTokenizer.load(
        checkpoint.folder,
        checkpoint.architecture.vocabulary,
        lower_case=checkpoint.settings.lower_case,
    )
    settings = _settings(checkpoint, tokenizer, chosen)
    with _written_whole(Path(folder)) as target:
        _write_graph(checkpoint, target)
        tokenizer.save(target / TOKENIZER)
        settings.write(target)
        read_export(target)
    return settings


def check_export_folder(folder: StrPath, *, inputs: Iterable[Path] = ()) -> None:
    """Check that a model can be exported to a folder, before any work is done.

    Raises:
        InvalidOptionError: If it is no folder, holds files, or lies in an input.
    """
    folder = Path(folder)
    check_folder(folder, what="the folder to export to")
    check_folder(folder / GRAPH, inputs=inputs, what="the folder to export to")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidOptionError(
            f"the folder to export to, {str(folder)!r}, is not empty; give the name of a new one"
        )


def _settings(
    checkpoint: Checkpoint, tokenizer: TextTokenizer, chosen: VariantSettings
) -> ExportSettings:
    architecture, settings, schema = checkpoint.architecture, checkpoint.settings, chosen.schema
    return ExportSettings(
        model=schema.model,
        revision=commit_of(checkpoint.folder),
        dense=schema.dense or architecture.hidden,
        hidden=architecture.hidden,
        sparse=schema.sparse,
        colbert=schema.colbert,
        pooling=settings.pooling,
        include_prompt=settings.include_prompt,
        query_instruction=checkpoint.query_instruction,
        document_instruction=checkpoint.document_instruction,
        heads=chosen.heads,
        max_length=chosen.max_length,
        own_length=chosen.own_length,
        model_length=architecture.max_length,
        vocabulary=architecture.vocabulary,
        special_ids=tokenizer.special_ids.tolist(),
        padding=architecture.padding or 0,
        keep_end=tokenizer.keep_end,
    )


def _write_graph(checkpoint: Checkpoint, target: Path) -> None:
    try:
        import onnx

        from trivec.encoders.onnx_graph import ACTIVATIONS, build
    except ImportError as error:
        raise MissingDependencyError(
            "exporting needs onnx; run: pip install 'trivec[onnx]'"
        ) from error
    activation = checkpoint.architecture.activation
    if activation not in ACTIVATIONS:
        raise CheckpointError(
            f"{checkpoint.name} cannot be exported: hidden_act is {shown(activation)}, expected "
            f"{', '.join(ACTIVATIONS)}"
        )

    def read(tensor: str) -> Float:
        values: Float = checkpoint.read(tensor).float().numpy()
        return values

    heads = [
        layer and (layer[0].float().numpy(), layer[1].float().numpy())
        for layer in (checkpoint.sparse, checkpoint.colbert)
    ]
    with (target / DATA).open("wb") as data:
        graph = build(
            checkpoint.architecture,
            read,
            sparse=heads[0],
            colbert=heads[1],
            data=data,
            data_name=DATA,
        )
    onnx.save_model(graph, str(target / GRAPH))


@contextmanager
def _written_whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes this name when everything is written; else it is removed."""
    folder = Path(os.path.abspath(folder))
    try:
        make_folder(folder.parent)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".trivec-", suffix=".part"))
        try:
            yield scratch
            for path in scratch.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if folder.is_dir():  # it is empty, and only POSIX would replace it
                folder.rmdir()
            os.rename(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        failed = OutputError(f"{str(folder)!r} cannot be written: {error.strerror or error}")
        failed.errno = error.errno
        raise failed from error
