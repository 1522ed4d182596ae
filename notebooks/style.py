"""The pictures of the notebooks: one style, one colour for each representation.

The background is opaque and light, so that a picture is legible on a light and on a dark page. The
colours are those of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import NDArray

from trivec import Hit, Weights

INK, PAPER, SOFT = "#1f2328", "#fbfbf8", "#d8d8d0"
COLOURS = {
    "dense": "#0072b2",
    "sparse": "#d55e00",
    "colbert": "#009e73",
    "hybrid": "#1f2328",
    "rrf": "#cc79a7",
}
"""The colour of each representation and of each mode of search."""
NAMES = {"dense": "dense", "sparse": "sparse", "colbert": "ColBERT"}


def apply() -> None:
    """Make every picture of this notebook look the same."""
    plt.rcParams.update(
        {
            "figure.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "figure.dpi": 96,
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "legend.frameon": False,
        }
    )


def short(text: str, length: int = 60) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


# --- diagrams ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """A box of a diagram: its middle, its text, its size (in inches) and its colour."""

    x: float
    y: float
    text: str
    colour: str = INK
    width: float = 1.7
    height: float = 0.66


def diagram(
    size: tuple[float, float], boxes: Mapping[str, Box], arrows: Iterable[tuple[str, ...]]
) -> Figure:
    """Draw boxes and arrows: (from, to) or (from, to, words beside the arrow)."""
    figure = plt.figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    patches = {}
    for name, box in boxes.items():
        patches[name] = FancyBboxPatch(
            (box.x - box.width / 2, box.y - box.height / 2),
            box.width,
            box.height,
            boxstyle="round,pad=0.02,rounding_size=0.08",
            facecolor="white",
            edgecolor=box.colour,
            linewidth=1.8,
        )
        axes.add_patch(patches[name])
        axes.text(box.x, box.y, box.text, ha="center", va="center", fontsize=9)
    for start, end, *words in arrows:
        a, b = boxes[start], boxes[end]
        axes.add_patch(
            FancyArrowPatch(
                (a.x, a.y),
                (b.x, b.y),
                patchA=patches[start],
                patchB=patches[end],
                arrowstyle="-|>",
                mutation_scale=12,
                color="#6e7781",
                shrinkA=1,
                shrinkB=2,
            )
        )
        if words:
            middle = (a.x + b.x) / 2, (a.y + b.y) / 2 + 0.1
            axes.text(*middle, words[0], ha="center", fontsize=8, color="#57606a")
    return figure


# --- one question -----------------------------------------------------------------------------


def word_bars(axes: Axes, words: Sequence[str], weights: Sequence[float], title: str) -> None:
    """Draw the lexical weight of each token over the token."""
    places = np.arange(len(words))
    axes.bar(places, weights, color=COLOURS["sparse"])
    axes.set_xticks(places, words, rotation=60, ha="right", rotation_mode="anchor")
    axes.set(title=title, ylabel="lexical weight")


def heat_map(
    query: Sequence[str], document: Sequence[str], similarities: NDArray[Any], title: str
) -> Figure:
    """Draw the similarity of every query token with every document token, the best ones framed."""
    width = 1.6 + 0.29 * len(document)
    figure, axes = plt.subplots(figsize=(width, 1.6 + 0.29 * len(query)))
    picture = axes.imshow(similarities, cmap="Blues", aspect="auto")
    for row, column in enumerate(similarities.argmax(axis=1)):
        place = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=COLOURS["sparse"], linewidth=2))
    axes.set_xticks(range(len(document)), document, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(query)), query)
    axes.set(title=title, xlabel="tokens of the passage", ylabel="tokens of the question")
    axes.spines[:].set_visible(False)
    figure.colorbar(picture, label="similarity", fraction=0.03, pad=0.02)
    return figure


def score_bars(
    axes: Axes, hits: Sequence[Hit], title: str, weights: Weights = Weights.GENERAL
) -> None:
    """Draw what each part gives to the hybrid score of each hit, side by side."""
    for row, hit in enumerate(hits):
        left = 0.0
        for part, name in NAMES.items():
            share = getattr(weights, part) * (getattr(hit.scores, part) or 0) / weights.total
            label = name if row == 0 else None
            axes.barh(row, share, left=left, color=COLOURS[part], label=label, height=0.62)
            if share > 0.03:
                middle = left + share / 2
                axes.text(middle, row, f"{share:.3f}", ha="center", va="center", color="white",
                          fontsize=8.5, fontweight="bold")  # fmt: skip
            left += share
        axes.text(left + 0.005, row, f"{left:.3f}", va="center", fontsize=9)
    axes.set_yticks(range(len(hits)), [hit.document.id for hit in hits])
    axes.invert_yaxis()
    axes.set(title=title, xlabel="weight · score / sum of the weights")
    axes.margins(x=0.1)
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))


# --- many questions, many modes ---------------------------------------------------------------


def rank_of(hits: Sequence[Hit], answer: str) -> int | None:
    """Return the rank of a document, from 1, or None where it is not among the hits."""
    return next((i for i, hit in enumerate(hits, start=1) if hit.document.id == answer), None)


def rank_lines(
    axes: Axes, ranks: Mapping[str, Sequence[int | None]], columns: Sequence[str], *, deepest: int
) -> None:
    """Draw how a document's rank changes from column to column; None is below the deepest."""
    marks = "os^Dv"
    shades = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#1f2328"]
    for number, (name, row) in enumerate(ranks.items()):
        height = [deepest * 1.6 if rank is None else min(rank, deepest) for rank in row]
        aside = 0.06 * (number - (len(ranks) - 1) / 2)  # equal ranks would hide each other
        axes.plot(
            np.arange(len(row)) + aside,
            height,
            marker=marks[number % 5],
            markersize=9,
            linewidth=2,
            color=shades[number % 5],
            label=name,
        )
    steps = [step for step in (1, 2, 3, 5, 10, 20, 50, 100, 200) if step <= deepest]
    axes.set_yscale("log")
    axes.set_ylim(deepest * 2, 0.8)
    axes.set_yticks([*steps, deepest * 1.6], [*map(str, steps), "not found"])
    axes.minorticks_off()
    axes.set_xticks(range(len(columns)), columns)
    axes.axhline(1, color=SOFT, zorder=0)
    axes.set_ylabel("rank of the answer")
    axes.margins(x=0.08)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12))


def slopes(
    axes: Axes,
    before: Sequence[str],
    after: Sequence[str],
    titles: tuple[str, str],
    answer: str,
) -> None:
    """Draw how an order changes: one line for each name, that of the answer in colour."""
    for start, name in enumerate(before):
        end = after.index(name)
        right = name == answer
        colour = COLOURS["colbert"] if right else "#8c959f"
        width, weight = (3, "bold") if right else (1.2, "normal")
        axes.plot((0, 1), (start + 1, end + 1), color=colour, marker="o", linewidth=width)
        for x, y, side in ((-0.03, start + 1, "right"), (1.03, end + 1, "left")):
            axes.text(x, y, name, ha=side, va="center", color=INK, fontsize=9, fontweight=weight)
    axes.set_xlim(-0.6, 1.6)
    axes.set_xticks((0, 1), titles)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_yticks(())
    axes.spines[:].set_visible(False)
