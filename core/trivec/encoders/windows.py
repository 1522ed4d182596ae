"""Windows of a long text, each read in one pass, and the passages that lie in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trivec.encoders.packing import PackedTexts
from trivec.encoders.ranges import Positions, Ranges
from trivec.encoders.token_ids import Ids, TokenIds
from trivec.encoders.tokenizer import TextTokenizer, framed_positions
from trivec.errors import InvalidOptionError


@dataclass(frozen=True, slots=True, eq=False)
class WindowBatch:
    """Some windows of a text, laid end to end, and their passages.

    Args:
        texts: The windows.
        rows: int64 (passages,), the passages of these windows.
        windows: int64 (passages,), the window of each, counted in this batch.
        positions: int64 (tokens,), where the tokens of the passages are among those of the windows.
        passages: The passages' own tokens, laid end to end.
        prompt: int64 (tokens,), where the first token and the instruction are in each window.
    """

    texts: PackedTexts
    rows: Positions
    windows: Positions
    positions: Positions
    passages: PackedTexts
    prompt: Positions

    def alone(self) -> TokenIds:
        """Return the positions of each passage with its window's prompt and last token around."""
        indptr = self.texts.indptr
        prompts = indptr[self.windows, None] + self.prompt
        lasts = indptr[self.windows + 1] - 1
        own = np.split(self.positions, self.passages.indptr[1:-1])
        return TokenIds(
            [
                np.concatenate([prompt, positions, [last]])
                for prompt, positions, last in zip(prompts, own, lasts, strict=True)
            ]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A text in windows of whole passages.

    Args:
        ids: The token ids of each window, with the instruction and the special tokens.
        ranges: Where the passages are in their windows; the instruction counts.
        windows: int64 (passages,), the window of each passage.
        prompt: The number of tokens of the instruction.
        mcls: The number of tokens between repetitions of the first token (MCLS), or None.
    """

    ids: TokenIds
    ranges: Ranges
    windows: Positions
    prompt: int
    mcls: int | None

    @classmethod
    def of(
        cls,
        content: Ids,
        passages: Ranges,
        tokenizer: TextTokenizer,
        *,
        prompt: Ids,
        room: int,
        mcls: int | None,
    ) -> Windows:
        """Divide a text into windows.

        Args:
            content: The tokens of the text.
            passages: The passages.
            tokenizer: Adds the special tokens.
            prompt: The tokens of the instruction before each window.
            room: The most tokens of a window, the instruction included.
            mcls: The number of tokens between repetitions of the first token (MCLS), or None.

        Raises:
            InvalidOptionError: If a passage does not fit into a window.
        """
        longest = int(passages.sizes().max(initial=1))
        if longest > room - len(prompt):
            raise InvalidOptionError(
                f"a passage has {longest} tokens, and the model reads at most "
                f"{max(0, room - len(prompt))} at once, besides its special tokens and the "
                "instruction; make passages shorter, or max_length of the encoder greater"
            )
        parts, windows = divide(passages, len(content), room - len(prompt))
        rows = [
            tokenizer.framed(np.concatenate([prompt, content[begin:end]]), mcls)
            for begin, end in zip(parts.starts.tolist(), parts.stops.tolist(), strict=True)
        ]
        shift = len(prompt) - parts.starts[windows]
        moved = Ranges(passages.starts + shift, passages.stops + shift)
        return cls(TokenIds(rows), moved, windows, len(prompt), mcls)

    def batch(self, rows: Positions) -> WindowBatch:
        """Return some of the windows with their passages."""
        texts = self.ids.packed(rows)
        passages = np.flatnonzero(np.isin(self.windows, rows))
        numbers = np.zeros(len(self.ids.rows), np.int64)
        numbers[rows] = np.arange(len(rows))
        windows = numbers[self.windows[passages]]
        ranges = Ranges(self.ranges.starts[passages], self.ranges.stops[passages])
        positions = framed_positions(ranges.positions(), self.mcls)
        positions += np.repeat(texts.indptr[windows], ranges.sizes())
        own = PackedTexts(texts.ids[positions], ranges.indptr())
        prompt = framed_positions(np.arange(self.prompt), self.mcls)
        return WindowBatch(texts, passages, windows, positions, own, np.concatenate([[0], prompt]))


def divide(passages: Ranges, tokens: int, room: int) -> tuple[Ranges, Positions]:
    """Divide a text into as few windows as needed, of about equal lengths.

    A window begins where the one before it ends, or with a passage that begins before that, and
    ends with a passage; the last one goes on to the end of the text, as far as fits. A text that
    fits is one window.

    Args:
        passages: The passages, none longer than `room`.
        tokens: The number of tokens of the text.
        room: The most tokens of a window.

    Returns:
        The windows, and the window of each passage, int64 (passages,).

    >>> passages = Ranges(np.array([0, 3, 6, 9]), np.array([4, 7, 10, 12]))
    >>> windows, of_passages = divide(passages, 13, 9)
    >>> windows.starts.tolist(), windows.stops.tolist(), of_passages.tolist()
    ([0, 6], [7, 13], [0, 0, 1, 1])
    """
    order = np.lexsort((passages.stops, passages.starts))
    starts: list[int] = passages.starts[order].tolist()
    stops: list[int] = passages.stops[order].tolist()
    windows = _filled(starts, stops, room, room)
    least, most = 1, room
    while least < most:  # the smallest windows that are not more
        middle = (least + most) // 2
        smaller = _filled(starts, stops, room, middle)
        if len(smaller) <= len(windows):
            windows, most = smaller, middle
        else:
            least = middle + 1
    bounds = np.array([window[:2] for window in windows], np.int64).reshape(-1, 2)
    if len(bounds):
        bounds[-1, 1] = min(tokens, bounds[-1, 0] + room)
    of_passages = np.empty(len(order), np.int64)
    counts = [count for *_, count in windows]
    of_passages[order] = np.repeat(np.arange(len(windows)), counts)
    return Ranges(bounds[:, 0], bounds[:, 1]), of_passages


def _filled(
    starts: list[int], stops: list[int], room: int, enough: int
) -> list[tuple[int, int, int]]:
    """Return windows that are filled with passages one after the other.

    Args:
        starts: The first token of each passage, ascending.
        stops: The token after the last one of each.
        room: The most tokens of a window.
        enough: The most tokens of a window that holds several passages.

    Returns:
        The begin and the end of each window, and how many passages it holds.
    """
    windows: list[tuple[int, int, int]] = []
    first = reached = 0
    while first < len(starts):
        begin = max(min(reached, starts[first]), stops[first] - room)
        reached, following = stops[first], first + 1
        while following < len(starts) and stops[following] <= begin + enough:
            reached = max(reached, stops[following])
            following += 1
        windows.append((begin, reached, following - first))
        first = following
    return windows
