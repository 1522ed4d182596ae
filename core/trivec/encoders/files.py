"""Checks of the files in a model folder, and reasons why a library could not read them."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

from trivec.plain import not_json

_HEAD = 1024  # bytes that tell what a file is
_MOST_HEADER = 100_000_000  # bytes; the limit of the safetensors library
_REASON = 300  # characters of a library's message that are repeated

# Advice to switch off a protection, or about the library's own options.
_ADVICE = re.compile(
    r"trust_remote_code|remote code|weights_only|add_safe_globals|safe_globals|allow_pickle|"
    r"verify\s*=|ssl_verif|disable_ssl|pip3? install|conda install|token\s*=|local_files_only|"
    r"from_tf|from_flax|https?://",
    re.IGNORECASE,
)
_SECRET = re.compile(r"hf_[A-Za-z0-9]{8,}|(?<=://)[^/@\s]+@|Bearer\s+\S+")


def flaw(path: Path) -> str | None:
    r"""Return what is wrong with a file's content, and the remedy; None if nothing is.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.safetensors")
    ...     _ = path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    ...     flaw(path)
    'is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder'
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            size = file.seek(0, 2)
    except OSError as error:
        return f"cannot be read: {error.strerror or type(error).__name__}"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        return "is empty; the download or the copy was interrupted, get the file again"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "is a web page, which was saved in place of the file; download the file itself"
    if path.suffix == ".safetensors":
        return _safetensors_flaw(path, head, size)
    if path.suffix in (".bin", ".pt", ".pth"):
        return _pickle_flaw(path, head)
    return None


def _safetensors_flaw(path: Path, head: bytes, size: int) -> str | None:
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:9] != b"{":
        return "cannot be read: it is no safetensors file"
    if 8 + length > size:
        return _CUT
    if length > _MOST_HEADER:
        return "cannot be read: its header is damaged; get the file again"
    with path.open("rb") as file:
        file.seek(8)
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
            cut = 8 + length + max(ends, default=0) > size
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return "cannot be read: its header is damaged; get the file again"
    return _CUT if cut else None


_CUT = "is cut short; the download or the copy was interrupted, get the file again"


def _pickle_flaw(path: Path, head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        return None if zipfile.is_zipfile(path) else _CUT
    # A pickle of protocol 2 or later: the format of torch.save before PyTorch 1.6.
    return None if head[:1] == b"\x80" else "cannot be read: torch.save did not write it"


def expanded(path: str | Path) -> Path:
    """Return a path in which "~" stands for the home folder; never raises.

    >>> expanded("~nobody-here/model").as_posix()
    '~nobody-here/model'
    """
    return Path(os.path.expanduser(path))  # Path.expanduser raises for a user that is unknown


def local_folder(model: str | Path) -> Path | None:
    """Return the folder that a model is given by, None if it is no folder; never raises."""
    folder = expanded(model)
    return folder if os.path.isdir(folder) else None  # Path.is_dir raises for long names


def read_json(folder: Path, name: str, problems: list[str], expected: type[Any] = dict) -> Any:  # noqa: ANN401
    """Return the dict (or list) in a JSON file; None if it is missing or, a problem, invalid."""
    path = folder / name
    if not os.path.isfile(path):  # unlike Path.is_file, never raises
        return None
    wrong = flaw(path)
    if wrong is not None:
        problems.append(f"{name} {wrong}")
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        problems.append(f"{name} is {not_json(error)}")
        return None
    if not isinstance(value, expected):
        problems.append(f"{name} holds a {type(value).__name__}, expected {expected.__name__}")
        return None
    return value


def reason(error: BaseException) -> str:
    """Return why a library failed, without its advice and without secrets.

    Some libraries advise to switch off the protection from code in a checkpoint. Readers of our
    message might follow that advice.

    >>> reason(ValueError("The code is unknown. Pass `trust_remote_code=True` to run it."))
    'The code is unknown'
    >>> reason(RuntimeError("Set weights_only=False"))
    'RuntimeError'
    """
    text = " ".join(str(error).split())
    sentences = re.split(r"(?<=[.!?;])\s+|\s*[\[\(]?(?=https?://)", text)
    kept = []
    for sentence in sentences:
        if _ADVICE.search(sentence):
            break
        kept.append(sentence)
    plain = _SECRET.sub("…", " ".join(kept)).strip().rstrip(".;:")
    if len(plain) > _REASON:
        plain = f"{plain[:_REASON]}…"
    return plain or type(error).__name__
