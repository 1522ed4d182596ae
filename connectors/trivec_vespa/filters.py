"""Filters as YQL; pyvespa's own builder does not escape."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction

from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import And, Comparison, Filter, Not, Op, Or, Scalar
from trivec.filters.integers import at_least, at_most
from trivec_vespa.mapping import microseconds, refused_text
from trivec_vespa.schema import attribute_name

_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TO_ESCAPE = re.compile(r'[\\"\n\r\t]')
_PUNCTUATION = re.compile(r"[!-/:-@\[-^`{-~]")  # all ASCII punctuation except "_"
_LONG = range(-(2**63), 2**63)
_EXACT = 2**53  # up to it every integer is a float64


def render(condition: Filter, fields: Mapping[str, FieldType]) -> str:
    r"""Return a filter as the condition of a YQL query.

    Example:
        >>> from trivec import F
        >>> render((F("lang") == 'e"n') & ~(F("year") >= 2020), {"lang": FieldType.STR,
        ...     "year": FieldType.INT})
        '(m_lang in ("e\\"n") and !((present in ("year") and m_year >= 2020)))'
    """
    return _render(condition.simplified(), fields)


def string_literal(text: str) -> str:
    """Return a string as a literal of YQL."""
    return '"' + _TO_ESCAPE.sub(lambda found: _ESCAPED[found[0]], text) + '"'


def _render(condition: Filter, fields: Mapping[str, FieldType]) -> str:
    match condition:
        case And(parts):
            return _joined("and", [_render(part, fields) for part in parts], "true")
        case Or(parts):
            return _joined("or", [_render(part, fields) for part in parts], "false")
        case Not(inner):
            return f"!({_render(inner, fields)})"
        case Comparison(path, op, value):
            return _comparison(path, op, value, fields[path])
    raise InvalidFilterError(f"{condition!r} cannot be translated to YQL")


def _joined(word: str, parts: Sequence[str], empty: str) -> str:
    return f"({f' {word} '.join(parts)})" if len(parts) > 1 else parts[0] if parts else empty


def _comparison(
    path: str, op: Op, value: Scalar | tuple[Scalar, ...] | None, type_: FieldType
) -> str:
    name = attribute_name(path)
    if op is Op.EXISTS:
        return _has(path)
    listed = list(value) if isinstance(value, tuple) else [] if value is None else [value]
    if op is Op.TEXT:
        text = str(listed[0])
        # RE2 finds the pattern anywhere in the string; case counts since the attribute is `cased`.
        pattern = _PUNCTUATION.sub(r"\\\g<0>", text)
        return "false" if refused_text(text) else f"{name} matches {string_literal(pattern)}"
    if op in (Op.EQ, Op.IN):
        if type_.item is FieldType.STR:
            return _string_in(path, name, [str(item) for item in listed])
        if type_ is FieldType.BOOL:  # an attribute without a value reads as false
            tests = [f"{name} = {'true' if item else 'false'}" for item in dict.fromkeys(listed)]
            return _with_value(path, _joined("or", tests, "false")) if tests else "false"
        if type_ is FieldType.FLOAT:  # `in` takes no floats
            return _joined("or", [_float_equals(name, item) for item in listed], "false")
        whole = [integer for integer in map(_integer, listed) if integer is not None]
        test = f"{name} in ({', '.join(map(str, whole))})" if whole else "false"
        # Vespa gives an attribute without a value the lowest number.
        return _with_value(path, test) if _LONG[0] in whole and not type_.is_list else test
    return _ordering(path, name, op, listed[0], type_)


def _string_in(path: str, name: str, values: Sequence[str]) -> str:
    """Return a test by `in`, which compares whole strings: no tokens, no stems, with their case."""
    stored = [string_literal(v) for v in values if v and not refused_text(v)]
    tests = [f"{name} in ({', '.join(stored)})"] if stored else []
    if "" in values:
        tests.append(_has(path + "="))
    return _joined("or", tests, "false")


def _ordering(path: str, name: str, op: Op, value: Scalar, type_: FieldType) -> str:
    low = op in (Op.GT, Op.GTE)
    exact = _exact(value)
    if type_ is FieldType.FLOAT:
        number: int | float = float(exact)
    else:
        number = math.ceil(exact) if low else math.floor(exact)
        if number not in _LONG:
            return _has(path) if low == (number < 0) else "false"
        if abs(number) > _EXACT:
            return _large_ordering(path, name, op, exact, type_)
    if number != exact:  # the literal is the nearest value that the attribute can hold
        op = (Op.GT if low else Op.LTE) if number < exact else (Op.GTE if low else Op.LT)
    test = f"{name} {op} {number!r}"
    # Vespa gives an attribute without a value the lowest number.
    return test if type_.is_list else _with_value(path, test)


def _large_ordering(path: str, name: str, op: Op, exact: Fraction, type_: FieldType) -> str:
    """Compare with a bound that Vespa (8.700) would round to a float64, even in 64-bit fields."""
    if op in (Op.GT, Op.GTE):
        first = math.floor(exact) + 1 if op is Op.GT else math.ceil(exact)
        bound, listed = at_least(first) if first in _LONG else (None, range(0))
        tests = [] if bound is None else [f"{name} >= {bound}"]
    else:
        last = math.ceil(exact) - 1 if op is Op.LT else math.floor(exact)
        bound, listed = at_most(last) if last in _LONG else (None, range(0))
        tests = [] if bound is None else [f"{name} <= {bound}"]
    if listed:
        tests.append(f"{name} in ({', '.join(map(str, listed))})")
    test = _joined("or", tests, "false")
    return test if type_.is_list else _with_value(path, test)


def _has(entry: str) -> str:
    return f"present in ({string_literal(entry)})"


def _with_value(path: str, test: str) -> str:
    return f"({_has(path)} and {test})"


def _exact(value: Scalar) -> Fraction:
    if isinstance(value, datetime):
        return Fraction(microseconds(value))
    return Fraction(value) if isinstance(value, int | float) else Fraction(0)


def _integer(value: Scalar) -> int | None:
    exact = _exact(value)
    return int(exact) if exact.denominator == 1 and int(exact) in _LONG else None


def _float_equals(name: str, value: Scalar) -> str:
    exact = _exact(value)
    return f"{name} = {float(exact)!r}" if Fraction(float(exact)) == exact else "false"
