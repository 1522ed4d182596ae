"""Filters written as text, for the command line.

```text
year >= 2020 and lang in ["de", "en"] and not (tags contains "draft" or author is null)
```

Comparisons are `== != > >= < <= in, not in, contains, any, all, text, is null, is not null,
exists`. Strings are in single or double quotes with JSON's escapes. Instants are without quotes,
such as 2026-01-31 or 2026-01-31T12:00:00Z, in every spelling that `instants` accepts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trivec.arguments import expect, shown
from trivec.errors import InvalidFilterError
from trivec.fields import Scalar
from trivec.filters.instants import SPELLING, written
from trivec.filters.operators import Op
from trivec.filters.tree import And, Comparison, Filter, Not, Or, check_depth

_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<datetime>{SPELLING})(?![\w.:+-])
  | (?P<undated>\d+-\d+-[\w.:+-]*|\d{{8}}[Tt][\w.:+-]*)
  | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<symbol>==|!=|>=|<=|>|<|=|\(|\)|\[|\]|,)
  | (?P<word>[A-Za-z_][\w.]*)
  | (?P<end>$)
    )""",
    re.VERBOSE,
)
_IN_SINGLE_QUOTES = re.compile(r"""\\.|\"""", re.DOTALL)
_FOR_JSON = {"\\'": "'", '"': '\\"'}
_SYMBOLS: dict[str, Op] = {"=": Op.EQ, **{str(op): op for op in Op if not op[0].isalpha()}}
_LIST_WORDS = {"in": Op.IN, "any": Op.ANY, "all": Op.ALL}
_LITERALS: dict[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_filter(text: str) -> Filter:
    """Parse a filter as written on the command line.

    Raises:
        InvalidFilterError: If it cannot be parsed; the message says where.

    Example:
        >>> condition = parse_filter('year >= 2020 and lang in ["de", "en"]')
        >>> condition.matches({"year": 2024, "lang": "de"})
        True
    """
    expect(text, str, "a filter", "a text", error=InvalidFilterError)
    parser = _Parser(text)
    condition = parser.either()
    parser.expect("end")
    return condition


class _Parser:
    """A recursive-descent parser; each method for a rule of the grammar returns a filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    @property
    def token(self) -> _Token:
        return self._tokens[self._next]

    def take(self, *texts: str) -> _Token | None:
        """Consume and return the next token if it is one of these words or symbols."""
        token = self.token
        if token.kind not in ("word", "symbol") or token.text.lower() not in texts:
            return None
        self._next += 1
        return token

    def expect(self, kind: str, *texts: str) -> _Token:
        """Consume and return the next token; check its kind, and its text if `texts` are given."""
        token = self.token
        if token.kind != kind or (texts and token.text.lower() not in texts):
            wanted = " or ".join(texts) or {"end": "the end"}.get(kind, f"a {kind}")
            given = shown(token.text or "the end")
            raise self._error(f"expected {wanted} at character {token.start + 1}, got {given}")
        self._next += 1
        return token

    def either(self) -> Filter:
        members = [self.both()]
        while self.take("or"):
            members.append(self.both())
        return members[0] if len(members) == 1 else Or(tuple(members))

    def both(self) -> Filter:
        members = [self.term()]
        while self.take("and"):
            members.append(self.term())
        return members[0] if len(members) == 1 else And(tuple(members))

    def term(self) -> Filter:
        if self.take("not"):
            with self._inner():
                return Not(self.term())
        if self.take("("):
            with self._inner():
                inner = self.either()
            self.expect("symbol", ")")
            return inner
        return self.comparison()

    @contextmanager
    def _inner(self) -> Iterator[None]:
        """Count the nested brackets and `not`."""
        self._depth = check_depth(self._depth + 1)
        yield
        self._depth -= 1

    def comparison(self) -> Filter:
        path = self.expect("word").text
        if self.take("exists"):
            return Comparison(path, Op.EXISTS)
        if self.take("is"):
            negated = self.take("not")
            self.expect("word", "null")
            return Comparison(path, Op.EXISTS if negated else Op.IS_NULL)
        if self.take("not"):
            self.expect("word", "in")
            return Comparison(path, Op.NIN, self.values())
        if word := self.take(*_LIST_WORDS):
            return Comparison(path, _LIST_WORDS[word.text.lower()], self.values())
        if word := self.take("contains", "text"):
            return Comparison(path, Op(word.text.lower()), self.value())
        symbol = self.take(*_SYMBOLS) or self.expect("symbol", "a comparison")
        if self.token.text.lower() == "null":
            self.expect("word")
            op = {Op.EQ: Op.IS_NULL, Op.NE: Op.EXISTS}.get(_SYMBOLS[symbol.text])
            if op is None:
                raise self._error("null has no order")
            return Comparison(path, op)
        return Comparison(path, _SYMBOLS[symbol.text], self.value())

    def values(self) -> tuple[Scalar, ...]:
        self.expect("symbol", "[")
        values: list[Scalar] = []
        while not self.take("]"):
            if values:
                self.expect("symbol", ",")
            values.append(self.value())
        return tuple(values)

    def value(self) -> Scalar:
        token = self.token
        if token.kind == "word" and token.text.lower() in _LITERALS:
            self._next += 1
            return _LITERALS[token.text.lower()]
        if token.kind == "undated":
            raise self._no_date(token)
        if token.kind not in ("string", "number", "datetime"):
            self.expect("value")
        self._next += 1
        if token.kind == "number":
            return self._number(token)
        if token.kind == "datetime":
            moment = written(token.text)
            if moment is None:
                raise self._no_date(token)
            return moment
        return self._string(token)

    def _number(self, token: _Token) -> int | float:
        try:
            number = json.loads(token.text)
        except json.JSONDecodeError as error:
            problem = f"{token.text:.100} is not a number; put strings in quotes"
            raise self._error(problem) from error
        except ValueError as error:  # Python refuses integers of more than 4,300 digits
            problem = f"the number at character {token.start + 1} needs more than 64 bits"
            raise self._error(problem) from error
        return number if isinstance(number, int) else float(number)

    def _no_date(self, token: _Token) -> InvalidFilterError:
        return self._error(
            f"{token.text:.100} is not a date; write dates as 2026-01-31 or 2026-01-31T12:00:00Z, "
            "and strings in quotes"
        )

    def _string(self, token: _Token) -> str:
        body = token.text[1:-1]
        if token.text[0] == "'":
            body = _IN_SINGLE_QUOTES.sub(lambda found: _FOR_JSON.get(found[0], found[0]), body)
        try:
            return str(json.loads(f'"{body}"', strict=False))
        except json.JSONDecodeError as error:
            raise self._error(
                f"the string at character {token.start + 1} has an escape that JSON does not know"
            ) from error

    def _error(self, problem: str) -> InvalidFilterError:
        return InvalidFilterError(f"filter {shown(self._text)}: {problem}")


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidFilterError(
                f"filter {shown(text)} cannot be read from character {position + 1} on"
            )
        kind = match.lastgroup
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return tokens
