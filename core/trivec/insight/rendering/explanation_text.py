"""An explanation in the terminal, with rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trivec.insight.breakdown import Breakdown
from trivec.insight.rendering.marks import (
    TOKENS_SHOWN,
    Piece,
    Stretch,
    document_stretches,
    passage_parts,
    query_pieces,
)
from trivec.insight.rendering.style import PART_NAMES, TERMINAL
from trivec.scored_passage import ScoredPassage
from trivec.terminal import one_line, printable

BAR = 40  # cells of the bar of shares


def explanation_text(explanation: Breakdown) -> RenderableType:
    """Return the explanation as something that rich prints."""
    blocks: list[RenderableType] = [
        Text.assemble(("score ", "bold"), (f"{explanation.score:.4f}", "bold"), " of ",
                      one_line(explanation.document.id)),
        _shares(explanation),
        *(Text(f"note: {note}", style=TERMINAL["sparse"]) for note in explanation.notes),
        Text(),
        _marked("query     ", query_pieces(explanation)),
        *_document(explanation),
    ]  # fmt: skip
    if explanation.lexical:
        blocks += [Text(), _lexical(explanation)]
    if explanation.alignments:
        blocks += [Text(), _colbert(explanation)]
    return Group(*blocks)


def _shares(explanation: Breakdown) -> Table:
    table = Table("part", "score", "weight", "gives", "", box=None, pad_edge=False)
    most = max((abs(share.value) for share in explanation.shares), default=0) or 1
    for share in explanation.shares:
        colour = TERMINAL[share.part]
        table.add_row(
            Text(PART_NAMES[share.part], style=colour),
            f"{share.score:.4f}",
            f"{share.weight:g} / {explanation.weights.total:g}",
            f"{share.value:.4f}",
            Text("█" * round(BAR * max(0.0, share.value) / most), style=colour),
        )
    return table


def _document(explanation: Breakdown) -> list[RenderableType]:
    """Return the text with its marks; of a long one, the best passages, best first."""
    stretches = document_stretches(explanation)
    if not any(stretch.is_folded for stretch in stretches):
        return [_marked("document  ", [piece for some in stretches for piece in some.pieces])]
    shown = [stretch for stretch in stretches if not stretch.is_folded]
    blocks: list[RenderableType] = []
    for stretch in sorted(shown, key=lambda stretch: stretch.rank or 0):
        blocks += [Text(), _heading(stretch, explanation.passages)]
        blocks.append(Padding(_marked("", stretch.pieces), (0, 0, 0, 2), expand=False))
    folded = sum(stretch.end - stretch.start for stretch in stretches if stretch.is_folded)
    rest = f"{folded:,} other characters of the document are shown in HTML only"
    return [*blocks, Text(), Text(rest, style="dim")]


def _heading(stretch: Stretch, passages: Sequence[ScoredPassage]) -> Text:
    if stretch.rank is None:
        return Text("the beginning of the document", style="dim")
    passage = passages[stretch.rank]
    text = Text(f"passage {stretch.rank + 1}  {passage.score:.4f}", style="bold")
    for part, part_score in passage_parts(passage):
        text.append(f"  {PART_NAMES[part]} {part_score:.4f}", style=f"not bold {TERMINAL[part]}")
    text.append(f"  characters {passage.start:,} to {passage.end:,}", style="not bold dim")
    return text


def _marked(title: str, pieces: Sequence[Piece]) -> Text:
    text = Text(title, style="dim")
    for piece in pieces:
        styles = ["not dim"]
        if piece.lexical is not None:
            styles.append(f"bold {TERMINAL['sparse']}")
        if piece.similarity is not None and piece.similarity > 0:
            styles.append("underline")
        text.append(printable(piece.text), style=" ".join(styles))
    return text


def _lexical(explanation: Breakdown) -> Table:
    table = Table("shared token", "in query", "in document", "product", box=None, pad_edge=False)
    for match in explanation.lexical:
        numbers = (match.query_weight, match.document_weight, match.product)
        token = Text(one_line(match.text), style=f"bold {TERMINAL['sparse']}")
        table.add_row(token, *(f"{n:.4f}" for n in numbers))
    return table


def _colbert(explanation: Breakdown) -> Table:
    table = Table("query token", "meets", "similarity", box=None, pad_edge=False)
    for alignment in explanation.alignments:
        ours = alignment.query_token
        tokens = alignment.document_tokens
        theirs = " + ".join(one_line(token.text) for token in tokens[:TOKENS_SHOWN])
        if len(tokens) > TOKENS_SHOWN:
            theirs += f" + {len(tokens) - TOKENS_SHOWN} more"
        table.add_row(
            Text(one_line(ours.text) if ours else f"vector {alignment.query_row + 1}"),
            # As the style of a part: that of the whole would underline the column's blanks too.
            Text.assemble((theirs or f"vector {alignment.document_row + 1}", "underline")),
            Text(f"{alignment.similarity:.4f}", style=TERMINAL["colbert"]),
        )
    return table
