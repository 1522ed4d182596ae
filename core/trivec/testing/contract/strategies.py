"""Random filters, made by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivec.filters import And, Comparison, F, Filter, Not, Op, Or
from trivec.testing.contract.instants import INSTANTS as SPELLINGS
from trivec.testing.contract.instants import NO_INSTANTS
from trivec.testing.contract.strange_values import FLOATS, INTS, MOMENTS, STRINGS

INSTANTS = list(SPELLINGS)

E = TypeVar("E")

Wanted = Mapping[str, st.SearchStrategy[Any]]


@st.composite
def comparisons(draw: st.DrawFn, wanted: Wanted, no_text: tuple[str, ...] = ()) -> Filter:
    """Compare one of the paths in every way that its values allow, but for text in `no_text`."""
    path = draw(st.sampled_from(list(wanted)))
    value = draw(wanted[path])
    ops = [Op.EQ, Op.NE, Op.IN, Op.NIN, Op.ALL, Op.IS_NULL, Op.EXISTS]
    if isinstance(value, int | float | datetime) and not isinstance(value, bool):
        ops += [Op.GT, Op.GTE, Op.LT, Op.LTE] * 2
    if isinstance(value, str) and value and path not in no_text:
        ops += [Op.TEXT]
    op = draw(st.sampled_from(ops))
    if op in (Op.IS_NULL, Op.EXISTS):
        return Comparison(path, op)
    if op in (Op.IN, Op.NIN, Op.ALL):
        return Comparison(path, op, tuple(draw(st.lists(wanted[path], max_size=4))))
    return Comparison(path, op, value)


def trees(leaves: st.SearchStrategy[Filter], *, max_leaves: int = 5) -> st.SearchStrategy[Filter]:
    """Combine filters, also none, with and, or and not."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
            st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
            inner.map(Not),
        ),
        max_leaves=max_leaves,
    )


# --- of the corpus: values that its documents have

_STRINGS = st.sampled_from(
    [
        *("en", "de", "x", "a", "b", "it's", 'say "hi"', "back\\slash", "\\' or 1 == 1 or '"),
        *("%_*?", "line\nbreak", "zażółć 北京 🐋", "", "plain"),
    ]
)
_TEXTS = st.sampled_from(["e", "it", "'", '"', "\\", "%", "_", "北", "lan", "N", "\n"])
_INTS = st.sampled_from([-1, 0, 1, 2, 3, 4, 2015, 2018, 2020, 2025, 2**53 + 1])
_FLOATS = st.sampled_from([0.3, 0.1 + 0.2, 2.0, -1.5, 1e9, 0.0])
_MOMENTS = st.sampled_from(
    [
        datetime(2020, 1, 31, tzinfo=UTC),
        datetime(2020, 1, 31, 12, tzinfo=UTC),
        datetime(2020, 1, 31, 12, 30),
        datetime.fromisoformat("2020-01-31T13:00:00+01:00"),
    ]
)
_VALUES: dict[str, Any] = {
    "lang": _STRINGS,
    "year": _INTS | _FLOATS,
    "price": _FLOATS | _INTS,
    "flag": st.booleans(),
    "when": _MOMENTS,
    "tags": _STRINGS,
    "sizes": _INTS,
    "nested.kind": _STRINGS,
}
_ORDERED = ("year", "price", "when")


@st.composite
def _corpus_comparisons(draw: st.DrawFn) -> Filter:
    path = draw(st.sampled_from(list(_VALUES)))
    field, value = F(path), draw(_VALUES[path])
    some = draw(st.lists(_VALUES[path], max_size=3))
    choices: list[Filter] = [
        field == value,
        field != value,
        field.in_(some),
        field.not_in(some),
        field.contains(value),
        field.any(some),
        field.all(some),
        field.is_null(),
        field.exists(),
    ]
    if path in _ORDERED:
        choices += [field > value, field >= value, field < value, field <= value]
    if path in ("lang", "tags"):
        choices.append(field.text(draw(_TEXTS)))
    return draw(st.sampled_from(choices))


# --- of values that databases read in ways of their own

_STRANGE_NUMBERS = st.sampled_from([*INTS, *FLOATS])
_STRANGE_TEXTS = st.sampled_from(STRINGS)
_STRANGE: dict[str, st.SearchStrategy[Any]] = {
    "x": st.sampled_from(
        [*INTS, *FLOATS, *STRINGS, *INSTANTS, *NO_INSTANTS, True, False, *MOMENTS * 8]
    ),
    "o.p": st.sampled_from([1, 2, *MOMENTS]),
    "o.p.q": st.sampled_from([1, *MOMENTS]),
    "lang": _STRANGE_TEXTS,
    "year": _STRANGE_NUMBERS,
    "price": _STRANGE_NUMBERS,
    "flag": st.booleans(),
    "when": st.sampled_from([*MOMENTS, *INSTANTS]),
    "tags": _STRANGE_TEXTS,
    "sizes": _STRANGE_NUMBERS,
}

_STRANGE_COMPARISONS = comparisons(_STRANGE, no_text=("when",))

FILTERS: Mapping[str, st.SearchStrategy[Filter]] = {
    "comparisons": _corpus_comparisons(),
    "trees": trees(_corpus_comparisons(), max_leaves=6),
    "strange comparisons": _STRANGE_COMPARISONS,
    "strange trees": trees(_STRANGE_COMPARISONS),
}
"""Random filters by what they compare, and how."""


def groups(paths: Sequence[str], queries: int) -> st.SearchStrategy[dict[str, Any]]:
    """Make options of searches with groups.

    Args:
        paths: The fields to group by.
        queries: How many queries there are; "queries" holds the positions of some.
    """
    conditions = [
        *(F("year") >= 2030, F("lang").is_null(), F("flag") == True, F("nested.kind") != "k3"),  # noqa: E712
    ]
    return st.fixed_dictionaries(
        {
            "group_by": st.sampled_from(paths),
            "k": st.sampled_from([1, 2, 3, 5, 12, 40]),
            "per_group": st.integers(1, 3),
            "candidates": st.sampled_from([1, 3, 10, 30, 100]),
            "filter": st.none() | st.sampled_from(conditions),
            "queries": st.lists(st.integers(0, queries - 1), max_size=4),
        }
    )


def for_all(examples_of: st.SearchStrategy[E], check: Callable[[E], None], examples: int) -> None:
    """Check random values, the same ones in every run.

    Args:
        examples_of: Where they come from.
        check: Raises if a store answers wrongly for a value.
        examples: How many to check.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(example=examples_of)
    def checked(example: E) -> None:
        check(example)

    checked()
