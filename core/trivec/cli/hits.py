"""Hits in the terminal: a table of scores and texts, with groups and evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trivec.hit import Hit
from trivec.scored_passage import ScoredPassage
from trivec.search import PARTS
from trivec.terminal import one_line

_BEGINNING = 200  # characters of a text without evidence
_CONTEXT = 60  # characters before and after evidence
_INDENT = 4


def hits_table(hits: Sequence[Hit], width: int, *, group_by: str | None = None) -> RenderableType:
    """Return hits as a table of scores, ids and the beginnings of texts.

    Below a hit with evidence are its passages instead, highlighted, with a little text around them.

    Args:
        hits: The hits in their order; those of a group are side by side.
        width: The columns of a line of the terminal. Scores are never cut, ids are folded, and
            texts get the remaining width.
        group_by: The field that the hits are grouped by; its value is above each group.
    """
    columns = _Columns(hits, width)
    if group_by is None and not any(hit.evidence for hit in hits):
        return columns.table(hits, with_head=True)
    blocks: list[RenderableType] = [columns.table([], with_head=True)]
    for group in split_groups(hits) if group_by is not None else [hits]:
        if group_by is not None:
            blocks.append(_heading(group_by, group[0].group))
        for hit in group:
            blocks.append(columns.table([hit]))
            blocks += [
                Padding(_in_context(hit.document.text, passage), (0, 0, 0, _INDENT), expand=False)
                for passage in hit.evidence
            ]
    return Group(*blocks)


def split_groups(hits: Sequence[Hit]) -> list[list[Hit]]:
    """Return the hits of each group; a hit without a group is one by itself."""
    groups: list[list[Hit]] = []
    for hit in hits:
        # Filters hold 1 and true for two values.
        if groups and hit.group is not None and _key(hit) == _key(groups[-1][0]):
            groups[-1].append(hit)
        else:
            groups.append([hit])
    return groups


def _key(hit: Hit) -> tuple[bool, object]:
    return isinstance(hit.group, bool), hit.group


def _heading(field: str, value: str | int | float | None) -> Text:
    if value is None:
        return Text(one_line(f"no {field}"), style="bold dim")
    shown = value if isinstance(value, str) else json.dumps(value)
    return Text(one_line(f"{field}: {shown}"), style="bold")


@dataclass(frozen=True, slots=True)
class _Row:
    numbers: tuple[str, ...]
    id: str
    text: str


class _Columns:
    """The widths of columns, the same for all hits.

    Args:
        hits: All of them.
        width: The columns of a line of the terminal.
    """

    def __init__(self, hits: Sequence[Hit], width: int) -> None:
        rows = [_row(hit) for hit in hits]
        self._numbers = {
            name: max([len(name), *(len(row.numbers[i]) for row in rows)])
            for i, name in enumerate(("score", *PARTS))
        }
        remaining = width - sum(longest + 2 for longest in self._numbers.values())
        longest = max([len("id"), *(cell_len(row.id) for row in rows)])
        self._id = max(2, min(longest, remaining * 3 // 4))

    def table(self, hits: Sequence[Hit], *, with_head: bool = False) -> Table:
        """Return some of the hits, with the names of the columns if asked for."""
        table = Table(box=None, pad_edge=False, show_header=with_head)
        for name, longest in self._numbers.items():
            table.add_column(name, no_wrap=True, min_width=longest)
        table.add_column("id", overflow="fold", width=self._id)
        table.add_column("text")
        for row in map(_row, hits):
            # rich reads markup in a string, but not in a Text. The cell sets no_wrap, since a
            # column with no_wrap does not shrink.
            text = Text(row.text, no_wrap=True, overflow="ellipsis")
            table.add_row(*row.numbers, Text(row.id), text)
        return table


def _row(hit: Hit) -> _Row:
    scores = [getattr(hit.scores, part) for part in PARTS]
    text = "" if hit.evidence else " ".join(hit.document.text.split())[:_BEGINNING]
    return _Row(
        (f"{hit.score:.4f}", *("" if score is None else f"{score:.3f}" for score in scores)),
        one_line(hit.document.id),
        one_line(text),
    )


def _in_context(text: str, passage: ScoredPassage) -> Text:
    """Return the score of a passage, and the passage with whole words before and after it."""
    # With one character more, which tells whether the first and the last word are whole.
    before = text[max(0, passage.start - _CONTEXT - 1) : passage.start]
    after = text[passage.end : passage.end + _CONTEXT + 1]
    if len(before) < passage.start:
        before = "…" + (re.sub(r"^\S*\s+", "", before) or before)
    if passage.end + len(after) < len(text):
        after = (re.sub(r"\s+\S*$", "", after) or after) + "…"
    return Text.assemble(
        f"{passage.score:.4f}  ",
        (_on_one_line(before), "dim"),
        # Without a colour, which terminals of 16 colours would replace by grey.
        (_on_one_line(text[passage.start : passage.end]), "bold"),
        (_on_one_line(after), "dim"),
    )


def _on_one_line(text: str) -> str:
    return one_line(re.sub(r"\s+", " ", text))
