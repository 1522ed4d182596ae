"""A model's folder: the given one, or a snapshot of the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from trivec.encoding.files import reason
from trivec.errors import CheckpointError

__all__ = ["fetch"]

_SMALL_FILES = ["*.json", "*.txt", "*.model", "*_linear.pt", "*_linear.safetensors"]
_OTHER_FORMATS = ["onnx/*", "openvino/*"]


def fetch(
    model: str | Path, *, revision: str | None, cache_dir: str | Path | None, local_only: bool
) -> Path:
    """Return the folder of a model: the given one, or the hub's, downloaded where needed.

    Raises:
        CheckpointError: If it is no folder and the hub has no such model, or cannot be reached.
    """
    try:
        folder = Path(model).expanduser()
    except RuntimeError as error:  # ~ of nobody
        raise CheckpointError(f"{str(model)!r}: {error}") from error
    if os.path.isdir(folder):  # of no name does it raise
        return folder
    if os.path.isfile(folder):
        raise CheckpointError(
            f"{str(model)!r} is a file; give the folder that holds the model's files"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    def download(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(
                str(model),
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_only,
                allow_patterns=patterns,
                ignore_patterns=_OTHER_FORMATS,
            )
        )

    try:
        # Two steps, since many repositories hold the same weights in both formats.
        folder = download([*_SMALL_FILES, "model*.safetensors"])
        if not any(folder.glob("model*.safetensors")):
            folder = download([*_SMALL_FILES, "pytorch_model*.bin"])
    except HFValidationError as error:
        raise CheckpointError(
            f"{str(model)!r} is neither a folder nor the name of a model on the hub"
        ) from error
    except Exception as error:  # all that the hub and its transport raise
        raise CheckpointError(
            f"{str(model)!r} is no folder here, and the hub did not provide it"
            f"{f' at revision {revision!r}' if revision else ''}: {_cause(error, local_only)}"
        ) from error
    return folder


def _cause(error: Exception, local_only: bool) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "its owner grants access on request; ask for it on the model's page and log in"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such model, or it is private and you are not logged in"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the model has no such branch, tag or commit"
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        if local_only:
            return "it is not in the cache, and local_files_only=True keeps from asking the hub"
        return "it is not in the cache, and the hub cannot be reached"
    return reason(error)
