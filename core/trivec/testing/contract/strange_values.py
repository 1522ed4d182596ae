"""Documents whose metadata databases read in ways of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np

from trivec.document import Document
from trivec.testing.contract.instants import INSTANTS as SPELLINGS
from trivec.testing.contract.instants import NO_INSTANTS

P = 2**53
INTS = [-(2**63), -P - 1, -P, -1, 0, 1, 2, P - 1, P, P + 1, P + 2, P + 3, 10**16, 2**63 - 1]
FLOATS = [
    *(-0.0, 5e-324, 0.3, 0.1 + 0.2, 1.0, 2.5, 16777217.0, float(np.float32(0.1)), 0.1),
    *(float(P), float(P + 2), 1e16, 1e308, -1.7976931348623157e308, 2.0**63, -(2.0**63)),
]
STRINGS = [
    *("", " ", "a", "A", "a ", " a", "ab", "true", "True", "1", "1.0", "null", "it's", 'say "hi"'),
    *("50%", "5_%", "*", "?", "back\\slash", "\\", "a,b", "|a|", "line\nbreak", "tab\there"),
    *("é", "e\u0301", "ß", "ss", "İ", "i̇", "ﬁ", "北京 🐋", "\u200b", "a\u00a0b", "Straße 12"),
    *("\ue080", "\ue041", "\ue081\ue141", "2020-06-01", "or true", "a b c"),
]
INSTANTS = list(SPELLINGS)
ANYTHING: list[Any] = [
    *(
        None,
        [],
        {},
        {"z": 1},
        [None],
        [[1]],
        [["a"]],
        [{"b": 1}],
        [None, "a"],
        [True, 1],
        ["a", "b"],
    ),
    *(True, False, *INTS, *FLOATS, *STRINGS, *INSTANTS, *NO_INSTANTS, "nul\x00", "\x7f"),
    *([1, 2.5], [P + 1, "x"], ["A b", 3], [0, "0", False], ["2020-6-1", "2020-06-01T10:00"]),
    *([INSTANTS[3], NO_INSTANTS[0]], ["1999-01-01", "2021-01-01"], [1, 3], [1.5], ["", None]),
]
NESTED: list[dict[str, Any]] = [
    {"o": {"p": 1}},
    {"o": {"p": "2020-06-01T10:00:00+0200"}},
    {"o": [{"p": 1}]},
    {"o": [{"p": "2020-06-01"}]},
    {"o.p": 1},
    {"o.p": "2020-06-01"},
    {"o": {"p": {"q": "2020-06-01"}}},
    {"o": {"p": ["2020-6-1"]}},
    {"o": "p"},
    {"o[]": {"p": 1}},
    {"o": {"0": 1, "_0": 2, "p.q": "2020-06-01"}},
]
DECLARED: dict[str, list[Any]] = {
    "lang": [None, *STRINGS, *INSTANTS[:4], *NO_INSTANTS[:4]],
    "year": [None, *INTS],
    "price": [None, *INTS, *FLOATS],
    "flag": [None, True, False],
    "when": [None, *INSTANTS],
    "tags": [None, [], [""], ["a", "b"], ["ab"], ["a ", "50%"], ["2020-06-01"]],
    "sizes": [None, [], [1], [1, 3], [P, P + 1], [-(2**63), 2**63 - 1]],
}
MOMENTS = [
    datetime(2020, 6, 1, tzinfo=UTC),
    datetime(2020, 6, 1, 10),
    datetime(2020, 6, 1, 10, 0, 0, 123456, tzinfo=UTC),
    datetime(2020, 6, 1, 12, 0, 0, 500000, tzinfo=timezone(timedelta(hours=2))),
    datetime(2017, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def _documents() -> list[Document]:
    documents = [Document(f"x-{i}", "", {"x": value}) for i, value in enumerate(ANYTHING)]
    documents += [Document(f"o-{i}", "", metadata) for i, metadata in enumerate(NESTED)]
    documents.append(Document("none", ""))
    for name, values in DECLARED.items():
        documents += [Document(f"{name}-{i}", "", {name: v}) for i, v in enumerate(values)]
    return documents


DOCUMENTS = _documents()
