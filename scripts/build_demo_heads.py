"""Make the two heads of the demo model, ``core/trivec/demo/heads/*.pt``.

BGE-M3's heads were trained together with its encoder. The demo model's encoder comes without heads,
so they are fitted here in closed form, without training and without any labelled data. The fit
never sees the demo collection's questions or its relevance judgements, only plain texts:

- the docstrings of a list of standard-library modules (which ship with every Python), and
- the passages of the demo collection, so that word counts exist for all of its languages.

Sparse head (hidden -> 1): every token of every text gets the BM25 weight that it has in that text
(inverse document frequency times saturated term frequency) as its target, and ridge regression maps
the token's final hidden state to it. Texts of the two sources weigh the same in the regression, so
that English does not drown the rest. Then the bias is lowered until the given share of all tokens
falls below zero, where the relu cuts them off as it does for stop words in BGE-M3, and the scale is
set so that sparse scores are of about the size of cosines.

ColBERT head (hidden -> hidden): the states of all tokens share a large common part, which makes any
two of them look alike. The head removes it: identity weights, and minus the mean state as bias.

Run it with ``python scripts/build_demo_heads.py`` from the root of the repository; it takes about
two minutes on one thread. The result is the same for the same versions of Python and torch.
"""

import argparse
import importlib
import inspect
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from trivec.demo import model as demo

ROOT = Path(__file__).parents[1]
PASSAGES = ROOT / "core" / "trivec" / "demo" / "collection" / "passages.jsonl"
MODULES = (
    "argparse asyncio collections contextlib csv datetime decimal difflib email enum fractions"
    " functools gzip hashlib heapq http inspect io itertools json logging math mimetypes"
    " multiprocessing operator os pathlib pickle queue random re sched secrets shutil socket"
    " sqlite3 ssl statistics string subprocess tarfile tempfile textwrap threading time tokenize"
    " traceback types typing unittest urllib uuid warnings wave weakref xml zipfile zlib"
).split()

MAX_TOKENS = 256
BATCH = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """The constants of the fit."""

    k1: float = 1.2  # how soon repeats of a token stop counting (BM25)
    b: float = 0.75  # how much long texts are discounted (BM25)
    ridge: float = 100.0  # strength of the regularisation
    dropped: float = 0.15  # share of tokens whose weight becomes zero
    scale: float = 0.25  # the 0.9 quantile of the weights that remain


@dataclass(frozen=True)
class Encoded:
    """A text as the encoder sees it: token ids, and one final hidden state per token."""

    ids: NDArray[np.int64]
    states: NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """The state of one linear layer."""

    weight: Floats
    bias: Floats


def docstrings() -> list[str]:
    """Return the longer docstrings of the modules above, sorted and without repeats."""
    found: set[str] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        members = (getattr(module, member) for member in sorted(dir(module)))
        for member in members:
            if inspect.isclass(member) or inspect.isroutine(member):
                text = " ".join((inspect.getdoc(member) or "").split())
                if len(text) > 120:
                    found.add(text[:1500])
    return sorted(found)


def passages() -> list[str]:
    """Return the texts of the demo collection."""
    lines = PASSAGES.read_text(encoding="utf-8").splitlines()
    return [str(json.loads(line)["text"]) for line in lines]


def load_encoder(folder: Path) -> Callable[[str], Encoded]:
    """Return a function that encodes one text with the checkpoint in a folder.

    Args:
        folder: The encoder's folder.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()

    @torch.inference_mode()
    def encode(text: str) -> Encoded:
        ids = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").input_ids
        states = network(input_ids=ids).last_hidden_state
        return Encoded(ids[0].numpy(), states[0].numpy())

    return encode


def bm25_targets(texts: Sequence[Encoded], settings: Settings) -> list[Floats]:
    """Return, for each token of each text, its BM25 weight in that text.

    Args:
        texts: The texts; their own statistics give the inverse document frequency.
        settings: The constants of the fit.
    """
    size = 1 + max(int(text.ids.max()) for text in texts)
    frequency = np.zeros(size)
    for text in texts:
        frequency[np.unique(text.ids)] += 1
    rarity = np.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
    average = float(np.mean([len(text.ids) for text in texts]))
    targets: list[Floats] = []
    for text in texts:
        count = np.bincount(text.ids, minlength=size)[text.ids]
        length = 1 - settings.b + settings.b * len(text.ids) / average
        targets.append(rarity[text.ids] * count / (count + settings.k1 * length))
    return targets


def fit_sparse_head(
    sources: Sequence[Sequence[Encoded]], special_ids: Iterable[int], settings: Settings
) -> Head:
    """Fit the layer that gives a token its lexical weight.

    Args:
        sources: Groups of texts; each group weighs the same.
        special_ids: Tokens that never count.
        settings: The constants of the fit.
    """
    special = np.array(sorted(special_ids))
    targets = bm25_targets([text for texts in sources for text in texts], settings)
    remaining = iter(targets)
    states: list[Floats] = []
    wanted: list[Floats] = []
    importance: list[Floats] = []
    for texts in sources:
        rows = [(text, next(remaining), ~np.isin(text.ids, special)) for text in texts]
        states += [text.states[keep].astype(np.float64) for text, _, keep in rows]
        wanted += [target[keep] for _, target, keep in rows]
        tokens = sum(int(keep.sum()) for _, _, keep in rows)
        importance.append(np.full(tokens, 1.0 / tokens))
    x, y, weight = np.concatenate(states), np.concatenate(wanted), np.concatenate(importance)
    weight *= len(weight) / weight.sum()
    direction, offset = ridge_regression(x, y, weight, settings.ridge)
    fitted = np.maximum(x @ direction + offset, 0)
    threshold = _quantile(fitted, weight, settings.dropped)
    scale = settings.scale / _quantile(np.maximum(fitted - threshold, 0), weight, 0.9)
    return Head(direction[None] * scale, np.array([(offset - threshold) * scale]))


def ridge_regression(x: Floats, y: Floats, weight: Floats, strength: float) -> tuple[Floats, float]:
    """Solve a weighted ridge regression with an intercept that is not penalised.

    Args:
        x: One row of features per observation.
        y: The wanted values.
        weight: The weight of each observation.
        strength: The factor of the penalty.

    Returns:
        The coefficients and the intercept.
    """
    total = weight.sum()
    x_mean, y_mean = weight @ x / total, float(weight @ y / total)
    centred = x - x_mean
    gram = centred.T @ (centred * weight[:, None]) + strength * np.eye(x.shape[1])
    coefficients = np.linalg.solve(gram, centred.T @ (weight * (y - y_mean)))
    return coefficients, y_mean - float(x_mean @ coefficients)


def fit_colbert_head(sources: Sequence[Sequence[Encoded]]) -> Head:
    """Fit the layer that centres token states.

    Args:
        sources: Groups of texts; each group weighs the same.
    """
    means = [np.concatenate([text.states[1:] for text in texts]).mean(0) for texts in sources]
    mean = np.stack(means).astype(np.float64).sum(0) / len(means)
    return Head(np.eye(len(mean)), -mean)


def save_head(head: Head, path: Path) -> None:
    """Write a head in BGE-M3's format: a state dict of float16 tensors.

    Args:
        head: The head.
        path: The file to write.
    """
    state = {"weight": torch.from_numpy(head.weight), "bias": torch.from_numpy(head.bias)}
    torch.save({name: tensor.to(torch.float16) for name, tensor in state.items()}, path)


def _quantile(values: Floats, weight: Floats, share: float) -> float:
    order = np.argsort(values, kind="stable")
    position = int(np.searchsorted(np.cumsum(weight[order]), share * weight.sum()))
    return float(values[order][position])


def main() -> None:
    """Fit both heads and write them."""
    parser = argparse.ArgumentParser(description="Make the heads of the demo model.")
    parser.add_argument("--out", type=Path, default=demo.HEADS, help="folder for the two files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the sums, and so the files, depend on the number of threads
    with tempfile.TemporaryDirectory() as scratch:
        folder = demo.build_encoder(Path(scratch), print)
        encode = load_encoder(folder)
        special_ids = AutoTokenizer.from_pretrained(folder).all_special_ids
        sources = [[encode(text) for text in texts] for texts in (docstrings(), passages())]
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_head(fit_sparse_head(sources, special_ids, Settings()), arguments.out / "sparse_linear.pt")
    save_head(fit_colbert_head(sources), arguments.out / "colbert_linear.pt")


if __name__ == "__main__":
    main()
