"""Passages: their limits, their overlap, and the characters they cover."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from trivec import Passages
from trivec.encoders.protocol import Token
from trivec.errors import InvalidOptionError
from trivec.passages.borders import sentence_borders
from trivec.passages.splitting import Cuts, Passage, split
from trivec.testing import HashEncoder


def pieces(text: str, most: int = 3) -> list[Token]:
    """Return tokens as a model of word pieces makes them, with one for the end."""
    found = [
        Token(0, text[start : start + most], start, min(start + most, match.end()))
        for match in re.finditer(r"\w+|[^\w\s]", text)
        for start in range(match.start(), match.end(), most)
    ]
    return [*found, Token(2, "</s>", len(text), len(text))]


def texts(text: str, passages: list[Passage]) -> list[str]:
    return [text[passage.start : passage.end] for passage in passages]


WORDS = st.sampled_from(
    ["whale", "a", "3.14", "Dr. B", "sings", "。", "东京都的", "किताब", "ประเทศไทย", "é" * 7]
)
ENDS = st.sampled_from([" ", " ", " ", ", ", ". ", "! ", "。", "\n", "\n\n", "।", ""])
DOCUMENTS = st.lists(st.tuples(WORDS, ENDS), max_size=120).map(
    lambda pairs: "".join(word + end for word, end in pairs)
)


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS, st.integers(1, 40), st.integers(0, 15), st.integers(1, 4))
def test_passages(text: str, most: int, overlap: int, piece: int) -> None:
    tokens = pieces(text, piece)
    overlap = min(overlap, most - 1)
    options = Passages(tokens=most, overlap=overlap)
    passages = split(text, tokens, options)
    assert passages == split(text, tokens, options)
    sentences = {0, *sentence_borders(text)}
    graphemes = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    covered: set[int] = set()
    for index, passage in enumerate(passages):
        assert 0 < passage.stop - passage.first <= most
        # A grapheme that alone has more tokens than a passage is cut.
        assert most < 16 or {passage.start, passage.end} <= graphemes
        body = tokens[passage.tokens]
        assert (body[0].start, body[-1].end) == (passage.start, passage.end)
        covered.update(range(passage.first, passage.stop))
        before = passages[index - 1]
        repeated = before.stop - passage.first if index else 0
        assert 0 <= repeated <= overlap
        if index:
            assert passage.first > before.first
            assert passage.stop > before.stop
        if repeated:
            blanks = text[: passage.start]
            assert {len(blanks), len(blanks.rstrip())} & sentences
    assert covered == set(range(len(tokens) - 1))


def test_a_sentence_that_fits_is_never_cut() -> None:
    text = " ".join(f"One two three number{i} five six." for i in range(40))
    passages = split(text, HashEncoder().tokens(text), Passages(tokens=20, overlap=6))
    assert all(part.startswith("One") and part.endswith("six.") for part in texts(text, passages))
    assert {passage.stop - passage.first for passage in passages[:-1]} == {18}
    assert {b.first - a.stop for a, b in pairwise(passages)} == {-6}


def test_no_overlap_where_the_next_sentence_would_not_fit_after_it() -> None:
    text = "One two three. " * 3 + "Word " * 17 + "end. Last one is longer."
    passages = split(text, HashEncoder().tokens(text), Passages(tokens=20, overlap=4))
    assert [(p.first, p.stop) for p in passages] == [(0, 9), (9, 27), (27, 31)]


def test_paragraphs_come_first_in_the_second_half() -> None:
    text = "One two three four five. Six.\n\nSeven eight nine. Ten eleven twelve. " * 2
    assert texts(text, split(text, HashEncoder().tokens(text), Passages(tokens=16, overlap=0))) == [
        "One two three four five. Six.\n\nSeven eight nine. Ten eleven twelve.",
        "One two three four five. Six.\n\nSeven eight nine. Ten eleven twelve.",
    ]
    text = "One two three four five. Six. It is also he.\n\nSeven eight nine. Ten eleven twelve."
    assert texts(text, split(text, HashEncoder().tokens(text), Passages(tokens=16, overlap=0))) == [
        "One two three four five. Six. It is also he.\n\nSeven eight nine. Ten eleven twelve."
    ]
    text += " Thirteen."
    assert texts(text, split(text, HashEncoder().tokens(text), Passages(tokens=16, overlap=0))) == [
        "One two three four five. Six. It is also he.",
        "Seven eight nine. Ten eleven twelve. Thirteen.",
    ]


def test_a_long_sentence_is_cut_after_clauses_and_words() -> None:
    text = "one two three four five six seven, eight nine ten eleven, " * 2 + "x" * 200
    passages = split(text, pieces(text, 8), Passages(tokens=16, overlap=8))
    parts = texts(text, passages)
    assert parts[0].endswith("eleven,")
    assert all(" x" not in part for part in parts)
    assert "".join(parts[-2:]) == "x" * 200


@pytest.mark.parametrize(
    "sentences",
    [
        ["東京は首都です。", "大阪は大きな都市だ。"],
        ["यह एक किताब है। ", "वह पढ़ता है। "],
        ["هذا كتاب جديد. ", "هل هو لك؟ "],
        ["ประเทศไทยอยู่ในเอเชีย ", "เมืองหลวงคือกรุงเทพ "],
        ["北京是中国的首都。", "人口超过2,000万！"],
        ["서울은 한국의 수도이다. ", "인구는 약 1,000만 명이다! "],
        ["ວຽງຈັນເປັນນະຄອນຫຼວງ ", "ມີປະຊາກອນຫຼາຍ "],
        ["یہ کتاب ہے۔ ", "کیا یہ آپ کی ہے؟ "],
        ["এটি একটি বই। ", "ড. রহমান এলেন। "],
    ],
)
def test_scripts(sentences: list[str]) -> None:
    text = "".join(sentences) * 4
    parts = texts(text, split(text, pieces(text, 2), Passages(tokens=32, overlap=0)))
    assert len(parts) > 1
    for part in parts:
        assert part.startswith(tuple(sentences))
        assert part.endswith(tuple(sentence.strip() for sentence in sentences))


def test_a_grapheme_is_cut_only_if_it_is_too_long_alone() -> None:
    text = "क्षि" * 30
    parts = texts(text, split(text, pieces(text, 1), Passages(tokens=16, overlap=0)))
    assert all(part == "क्षि" * (len(part) // 4) for part in parts)
    text = "a" + "\u0301" * 40
    passages = split(
        text, [Token(0, "", i, i + 1) for i in range(41)], Passages(tokens=16, overlap=0)
    )
    assert [(p.start, p.end) for p in passages] == [(0, 16), (16, 32), (32, 41)]


def test_tokens_that_share_their_characters_stay_together() -> None:
    tokens = [Token(0, "㎏", i // 2, i // 2 + 1) for i in range(40)]
    passages = split("㎏" * 20, tokens, Passages(tokens=17, overlap=0))
    assert [(p.first, p.stop, p.start, p.end) for p in passages] == [
        (0, 16, 0, 8), (16, 32, 8, 16), (32, 40, 16, 20),
    ]  # fmt: skip


def test_no_cut_inside_a_token() -> None:
    text = "一。二。三。"
    spans = [(0, 1), (1, 3), (3, 4), (4, 5), (5, 6)]  # 。二 is one token
    assert Cuts(text, [Token(0, text[a:b], a, b) for a, b in spans]).sentences == [3]


@pytest.mark.parametrize("text", ["", "  \n", "."])
def test_a_text_without_tokens_has_no_passage(text: str) -> None:
    assert split(text, HashEncoder().tokens(text), Passages()) == []


def test_marks_without_tokens_belong_to_the_passage_beside_them() -> None:
    text = "«Blue whale!» (he said.)"
    assert texts(text, split(text, HashEncoder().tokens(text), Passages())) == [text]


@pytest.mark.parametrize(
    "options",
    [
        {"tokens": 0},
        {"tokens": True},
        {"tokens": 64.0},
        {"overlap": -1},
        {"overlap": True},
        {"tokens": 32, "overlap": 32},
        {"overlap": "8"},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=r"Passages: (tokens|overlap)="):
        Passages(**options)


@pytest.mark.parametrize(
    "unit",
    ["A cat ran home. ", "word ", '"a. b" ', "a b.\n\n", "x", " \n", "a\n", "ประเทศไทย ", "…"],
)
def test_the_time_grows_with_the_length(unit: str) -> None:
    def seconds(text: str) -> float:
        tokens = pieces(text)
        start = time.process_time()
        split(text, tokens, Passages(overlap=32))
        return time.process_time() - start

    few, many = (min(seconds(unit * n) for _ in range(2)) for n in (2_000, 16_000))
    assert many < 40 * few + 0.05
