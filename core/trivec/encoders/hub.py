"""The folder of a model: a local one, or a snapshot from the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trivec.encoders.files import expanded, local_folder, reason
from trivec.encoders.head_checks import HEAD_FILES, HEAD_SUFFIXES
from trivec.encoders.onnx_files import exported_name
from trivec.errors import CheckpointError

_HEADS = [f"*_linear{suffix}" for suffix in HEAD_SUFFIXES]
_SMALL_FILES = ["*.json", "*.txt", "*.model", *_HEADS]
_OTHER_FORMATS = ["onnx/*", "openvino/*"]


def base_name(model: str | Path) -> str:
    """Return the name of a checkpoint in a schema.

    This is the name on the hub, also for a folder of the hub's cache; for an exported model it is
    its checkpoint's, and for any other folder the folder's name.

    >>> base_name("BAAI/bge-m3")
    'BAAI/bge-m3'
    """
    folder = local_folder(model)
    if folder is None:
        return str(model)
    if (exported := exported_name(folder)) is not None:
        return exported
    # A snapshot in the hub's cache: models--BAAI--bge-m3/snapshots/<commit>.
    for name in folder.resolve().parts:
        if name.startswith("models--"):
            return name.removeprefix("models--").replace("--", "/")
    return folder.resolve().name


def commit_of(folder: Path) -> str | None:
    """Return the commit of a snapshot in the hub's cache; None for any other folder.

    >>> commit_of(Path("/cache/models--BAAI--bge-m3/snapshots/5617a9f"))
    '5617a9f'
    """
    parts = folder.resolve().parts
    if len(parts) > 2 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-1]
    return None


def split_revision(model: str) -> tuple[str, str | None]:
    """Return the name and the revision of "name@revision"; a folder has no revision.

    >>> split_revision("BAAI/bge-m3@5617a9f"), split_revision("BAAI/bge-m3")
    (('BAAI/bge-m3', '5617a9f'), ('BAAI/bge-m3', None))
    """
    name, _, revision = model.rpartition("@")
    if not name or not revision or local_folder(model) is not None:
        return model, None
    return name, revision


def cached_commit(model: str, *, revision: str | None, cache_dir: Path | None) -> str | None:
    """Return the commit of a model that a revision means in the hub's cache, if it is there.

    Args:
        model: The name of a model on the hub.
        revision: Branch, tag or commit; None for the main branch.
        cache_dir: Where the hub's files are kept; the hub's default if None.
    """
    from huggingface_hub import try_to_load_from_cache

    for name in ("config.json", *HEAD_FILES, "model.safetensors", "pytorch_model.bin"):
        file = try_to_load_from_cache(model, name, cache_dir=cache_dir, revision=revision)
        if isinstance(file, str):
            return Path(file).parent.name  # models--BAAI--bge-m3/snapshots/<commit>/config.json
    return None


def fetch(
    model: str | Path,
    *,
    revision: str | None,
    cache_dir: str | Path | None,
    local_only: bool,
    files: Sequence[str] | None = None,
) -> Path:
    """Return the folder of a model, downloaded from the hub if it is not local.

    Args:
        model: As in `Encoder.load`; so are `revision`, `cache_dir` and `local_only`.
        revision: Branch, tag or commit on the hub.
        cache_dir: Where the hub's files are kept.
        local_only: Whether to use the files on disk without asking the hub.
        files: Patterns of the names of the only files to download; None for all that
            `Encoder.load` reads.

    Raises:
        CheckpointError: If it is no folder and the hub has no such model, or cannot be reached.
    """
    if (local := local_folder(model)) is not None:
        return local
    if os.path.isfile(expanded(model)):
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
        if files is not None:
            return download(list(files))
        # Two steps, since many repositories hold the same weights in both formats.
        folder = download([*_SMALL_FILES, "model*.safetensors"])
        if not any(folder.glob("model*.safetensors")):
            folder = download([*_SMALL_FILES, "pytorch_model*.bin"])
    except HFValidationError as error:
        raise CheckpointError(
            f"{str(model)!r} is neither a folder nor the name of a model on the hub"
        ) from error
    except Exception as error:  # the hub and its HTTP client raise many types
        raise CheckpointError(
            f"{str(model)!r} is no folder here, and the hub did not provide it"
            f"{f' at revision {revision!r}' if revision else ''}: {_cause(error, local_only)}"
        ) from error
    return folder


def fetch_heads(model: str, *, cache_dir: str | Path | None, local_only: bool) -> Path:
    """Return the folder of a model for its heads alone.

    The weights, which are large, are downloaded only if the heads have no files of their own.
    Arguments and errors are those of `fetch`; a revision may follow the name, after an "@".
    """
    name, revision = split_revision(model)
    get = partial(fetch, name, revision=revision, cache_dir=cache_dir, local_only=local_only)
    folder = get(files=_SMALL_FILES)
    return folder if any(folder.glob("*_linear.*")) else get()


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
