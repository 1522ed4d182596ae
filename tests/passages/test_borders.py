"""Where texts of many scripts are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trivec.passages.borders import (
    clause_borders,
    grapheme_borders,
    paragraph_borders,
    sentence_borders,
    word_borders,
)


def parts(text: str) -> list[str]:
    cuts = [0, *sentence_borders(text), len(text)]
    return [text[a:b].strip() for a, b in pairwise(cuts)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith paid 3.14 dollars, e.g. this.", "The U.S. Army left.", "Is it 5 p.m.?", "Yes."],
        [
            'He said "Go."',
            "(Then J. R. Tolkien came!)",
            "See Fig. 3 and No. 7.",
            "Visit a.com now.",
        ],
        [
            "Das kostet z. B. 3,50 Euro (inkl. Porto).",
            "Frag Prof. Ito.",
            "Er rief: „Komm!“",
            "Gut.",
        ],
        ["Il y a M. Dupont.", "« Très bien. »", "Voilà…", "Non !"],
        ["Он живёт в г. Москве.", "Да!", "Нет?", "Т. е. так."],
        ["ما هذا؟", "هذا كتاب.", "قال د. محمد ذلك.", "نعم۔", "آخر"],
        ["यह एक किताब है।", "वह पढ़ता है॥", "क्या?", "हाँ।"],
        ["डॉ. शर्मा ने 3.14 कहा।", "पृ. 12 पर श्री. राम का नाम है।", "हाँ!", "आगे पढ़ें।"],
        ["هل رأيت الكتاب؟", "نعم، رأيته!", "بلغت النسبة 3.14٪ في عام 2020م.", "انتهى؛ شكرا."],
        ["یہ کتاب ہے۔", "کیا یہ آپ کی ہے؟", "جی ہاں۔"],
        [
            "서울은 수도이다.",
            "인구는 1,000만 명이다!",
            "네.",
            '김 박사는 "좋다."라고 말했다.',
            "3.14원이다.",
        ],
        ["এটি একটি বই।", "এটা কি তোমার?", "ড. রহমান এলেন।"],
        ["இது ஒரு புத்தகம்.", "இது உன்னுடையதா?", "ஆம்!"],
        ["ရန်ကုန်သည်မြို့ကြီးဖြစ်သည်။", "လူများသည်။"],
        ["នេះជាសៀវភៅ។", "គាត់អាន។"],
        ["ሰላም ነው።", "ደህና ነህ፧", "አዎ።"],
        ["Wait... what?", "Yes!!", "Next."],
        ["No line break\nends one.", "This does."],
        ["1. Peel the\nonion.", "2. Cut it."],
    ],
)
def test_sentences(sentences: list[str]) -> None:
    assert parts(" ".join(sentences).replace(" 2. ", "\n2. ")) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["東京は首都です。", "「行こう。」と言った。", "本当？", "はい！"],
        ["他说：“好。”", "价格是3.14元。", "你好.", "再见…"],
        ["人口超过2,000万！", "真的吗？", "他说：「好的！」", "然后走了……", "见第1.2节；完。"],
        ["人口は約1,400万人！", "価格は3.14円。", "「本当？」と聞いた。", "OKです。"],
        ["그는 갔다.", "그리고 왔다.", "가격은 3.14원이다."],
        ["ราคา 3.50 บาท ", "พ.ศ. 2567 ดร. สมชาย ", 'กล่าวว่า "ดีมาก" ใช่ไหม? ', "ใช่ครับ!"],
        ["ວຽງຈັນເປັນນະຄອນຫຼວງ ", "ມີປະຊາກອນ 1 ລ້ານຄົນ"],
        ["ประเทศไทยอยู่ในเอเชีย ", "มี 3 แห่ง ", "ผลไม้ต่างๆ ที่อร่อย ", "เมืองหลวง"],
    ],
)
def test_sentences_without_blanks_between_them(sentences: list[str]) -> None:
    assert parts("".join(sentences)) == [sentence.strip() for sentence in sentences]


@pytest.mark.parametrize("blanks", ["\n\n", "\r\n\r\n", " \n \t\n  ", "\u2029", "\n\f", "\n\n\n"])
def test_paragraphs(blanks: str) -> None:
    text = f"A heading{blanks}Its text.\nMore."
    assert paragraph_borders(text) == [len("A heading" + blanks)]
    assert parts(text) == ["A heading", "Its text.", "More."]


def test_clauses_and_words() -> None:
    text = "In 10:30, yes; well-known, 3,000、次。\nline"
    assert [text[:end][-2:] for end in clause_borders(text, 0, len(text))] == [
        ", ", "; ", ", ", "0、", "。\n",
    ]  # fmt: skip
    assert [*word_borders("a  b\u00a0c d", 0, 8)] == [3, 7]
    assert [*word_borders("a  b\u00a0c d", 0, 5)] == [3]


TEXTS = st.lists(
    st.sampled_from([*'aB.!?… \n\r"”「」。，،।กๆ1\u0301ि\u200d', "👨", "🇩", "क", "क्ष", "가", "ᆨ"]),
    max_size=40,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(TEXTS)
@example("a. \u0301b,\n\u200dc \u0301")
def test_a_border_is_never_inside_a_grapheme(text: str) -> None:
    starts = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    found = [*paragraph_borders(text), *sentence_borders(text)]
    for borders in (clause_borders, word_borders, grapheme_borders):
        found += borders(text, 0, len(text))
    assert set(found) <= starts
    assert sentence_borders(text) == sorted(set(sentence_borders(text)))
