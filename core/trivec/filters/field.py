"""Comparisons in Python syntax: `F("year") >= 2020`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from trivec.fields import Scalar
from trivec.filters.instants import instant, instants
from trivec.filters.operators import Op
from trivec.filters.tree import Comparison


@dataclass(frozen=True, slots=True, eq=False)
class F:
    """A metadata field; its operators and methods make comparisons.

    Args:
        path: The path of the field, with dots between the segments.

    Example:
        >>> ((F("tags").contains("x")) | F("meta.year").in_([2020, 2021])).to_dict()["operator"]
        'OR'
    """

    path: str

    def __eq__(self, value: object) -> Comparison:  # type: ignore[override]
        if value is None:
            return self.is_null()
        return Comparison(self.path, Op.EQ, instant(value))

    def __ne__(self, value: object) -> Comparison:  # type: ignore[override]
        if value is None:
            return self.exists()
        return Comparison(self.path, Op.NE, instant(value))

    __hash__ = None  # type: ignore[assignment]

    def __gt__(self, value: float | date | str) -> Comparison:
        return Comparison(self.path, Op.GT, instant(value))

    def __ge__(self, value: float | date | str) -> Comparison:
        return Comparison(self.path, Op.GTE, instant(value))

    def __lt__(self, value: float | date | str) -> Comparison:
        return Comparison(self.path, Op.LT, instant(value))

    def __le__(self, value: float | date | str) -> Comparison:
        return Comparison(self.path, Op.LTE, instant(value))

    def in_(self, values: Iterable[Scalar | date]) -> Comparison:
        """True if a value is one of these."""
        return Comparison(self.path, Op.IN, instants(values))

    def not_in(self, values: Iterable[Scalar | date]) -> Comparison:
        """True if no value is one of these, also if there is no value."""
        return Comparison(self.path, Op.NIN, instants(values))

    def contains(self, value: Scalar | date) -> Comparison:
        """True if the list holds this value."""
        return Comparison(self.path, Op.CONTAINS, instant(value))

    def any(self, values: Iterable[Scalar | date]) -> Comparison:
        """True if the list holds one of these values."""
        return Comparison(self.path, Op.ANY, instants(values))

    def all(self, values: Iterable[Scalar | date]) -> Comparison:
        """True if the list holds all of these values."""
        return Comparison(self.path, Op.ALL, instants(values))

    def text(self, value: str) -> Comparison:
        """True if a string contains this text; case matters."""
        return Comparison(self.path, Op.TEXT, value)

    def is_null(self) -> Comparison:
        """True if the field is missing, null or an empty list."""
        return Comparison(self.path, Op.IS_NULL)

    def exists(self) -> Comparison:
        """True if the field has a value."""
        return Comparison(self.path, Op.EXISTS)
