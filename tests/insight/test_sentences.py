"""Sentences of many scripts."""

from __future__ import annotations

import pytest

from trivec.insight.storage.sentences import sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("one two three four", 1),
        ("The whale is blue and large. Is the fox red and small? The seal is grey!", 3),
        ('He said "the whale is blue." Then he went away for good.', 2),
        ("Version 3.11 of the whale is out now. It costs 2.5 million.", 2),
        ("Mr. Smith of the U.S. saw a whale. It was very big.", 2),
        (
            "蓝鲸是世界上最大的一种动物。它真的生活在所有的海洋里吗？是的，它真的生活在所有海洋里！",  # noqa: RUF001
            3,
        ),
        ("シロナガスクジラは最大の動物です。世界中のすべての海に生息しています。", 2),
        ("नीली व्हेल सबसे बड़ा जानवर है। यह सभी महासागरों में रहती है॥", 2),
        ("هل الحوت الأزرق أكبر حيوان؟ نعم، إنه أكبر حيوان على الإطلاق.", 2),
        ("A title without a full stop\nThe whale is blue and large.", 2),
        ("Yes. No. Why? Oh!", 1),
        ("The whale is blue and large. Yes.", 1),
    ],
)
def test_the_number_of_sentences(text: str, count: int) -> None:
    pieces = sentences(text)
    assert "".join(pieces) == text
    assert len(pieces) == count
