"""How a collection keeps the token vectors of ColBERT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import ClassVar, Literal

from trivec.arguments import expect, named
from trivec.errors import InvalidOptionError, InvalidVectorsError

Overflow = Literal["error", "pool", "truncate", "drop"]
"""What happens to a text with more token vectors than a database holds: `error` refuses it, `pool`
merges similar tokens, `truncate` keeps the first tokens, `drop` stores it without token vectors."""


@dataclass(frozen=True, slots=True)
class ColbertStorage:
    """How a collection keeps its token vectors; a property of the collection, set by `create`.

    What is small lies in place of the full vectors. Tokens are pruned first, then pooled, then
    written with `bits` bits for each number. On SciFact, XQuAD-R and other collections, `bits=1,
    pool=2` takes a sixtieth of float32 (see the benchmarks of the documentation); `trivec plan
    --measure` says what it costs on your own documents.

    Args:
        bits: The bits of one number of a token vector: 32, 16, 8, 4, 2 or 1, as far as the
            database offers them (`store.limits.colbert_bits`). Below 16, a token vector is kept as
            levels and one factor, with which dot products are unbiased; see `TokenCodes`.
        pool: How many token vectors of a document become one, 1 to 8; see `pool_tokens`.
        prune: The share of a document's token vectors that is dropped, at least 0 and below 1:
            those whose tokens have the least lexical weights. A third is free or better in
            measurements, more than a half costs.

    Raises:
        InvalidOptionError: If a value is out of range.

    Example:
        >>> small = ColbertStorage(bits=1, pool=2)
        >>> str(small), small.kept(200), small.token_bytes(1024)
        ('bits=1,pool=2', 100, 130)
    """

    BITS: ClassVar[tuple[int, ...]] = (32, 16, 8, 4, 2, 1)
    MAX_POOL: ClassVar[int] = 8

    bits: int = 16
    pool: int = 1
    prune: float = 0.0

    def __post_init__(self) -> None:
        if not _is_integer(self.bits) or self.bits not in self.BITS:
            offered = ", ".join(map(str, self.BITS[:-1]))
            raise InvalidOptionError(
                f"{named('bits', self.bits)}; expected {offered} or {self.BITS[-1]}"
            )
        if not _is_integer(self.pool) or not 1 <= self.pool <= self.MAX_POOL:
            raise InvalidOptionError(
                f"{named('pool', self.pool)}; expected how many token vectors become one, 1 to "
                f"{self.MAX_POOL}"
            )
        if isinstance(self.prune, bool) or not isinstance(self.prune, Real):
            raise InvalidOptionError(f"{named('prune', self.prune)}; expected a share such as 1/3")
        if not 0 <= self.prune < 1:
            raise InvalidOptionError(
                f"{named('prune', self.prune)}; expected the share of token vectors to drop, at "
                "least 0 and below 1"
            )
        object.__setattr__(self, "prune", float(self.prune))

    def __str__(self) -> str:
        text = f"bits={self.bits}"
        if self.pool > 1:
            text += f",pool={self.pool}"
        return f"{text},prune={_share(self.prune)}" if self.prune else text

    @classmethod
    def parse(cls, text: str) -> ColbertStorage:
        """Read what `str` writes; what is left out has its default.

        Raises:
            InvalidOptionError: If it is anything else.

        >>> ColbertStorage.parse("bits=1,prune=1/3")
        ColbertStorage(bits=1, pool=1, prune=0.3333333333333333)
        """
        expect(text, str, "colbert", "ColbertStorage, or text such as 'bits=1,pool=2'")
        given: dict[str, str] = {}
        for item in text.split(","):
            name, equals, value = (part.strip() for part in item.partition("="))
            if not equals or name in given or name not in ("bits", "pool", "prune"):
                raise InvalidOptionError(
                    f"{named('colbert', text)}: expected some of bits=…, pool=… and prune=…, "
                    "such as 'bits=1,pool=2'"
                )
            given[name] = value
        try:
            return cls(
                bits=int(given.get("bits", cls().bits)),
                pool=int(given.get("pool", cls().pool)),
                prune=_quotient(given.get("prune", "0")),
            )
        except InvalidOptionError as error:
            raise InvalidOptionError(f"{named('colbert', text)}: {error}") from error
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidOptionError(
                f"{named('colbert', text)}: bits and pool are integers, prune is a number or a "
                "fraction, such as 'bits=1,pool=2,prune=1/3'"
            ) from error

    @classmethod
    def of(cls, value: ColbertStorage | str) -> ColbertStorage:
        """Return an option given as `ColbertStorage`, or as text for `parse`."""
        return value if isinstance(value, cls) else cls.parse(value)  # type: ignore[arg-type]

    @property
    def reduces(self) -> bool:
        """Whether it keeps less than the vectors themselves, in float32 or a float of 16 bits."""
        return self.bits < 16 or self.pool > 1 or self.prune > 0

    def kept(self, tokens: int) -> int:
        """Return how many token vectors of a document with `tokens` tokens are kept."""
        return pooled_size(tokens - pruned_tokens(tokens, self.prune), self.pool)

    def token_bytes(self, dimension: int) -> int:
        """Return the bytes of one token vector, without what a database adds to it."""
        factor = 2 if self.bits < 16 else 0
        return dimension * self.bits // 8 + factor

    def check_dimension(self, dimension: int | None) -> None:
        """Check that token vectors of a dimension fill whole bytes.

        Raises:
            InvalidOptionError: If they do not.
        """
        if dimension is not None and dimension * self.bits % 8:
            raise InvalidOptionError(
                f"bits={self.bits} needs token vectors whose dimension is a multiple of "
                f"{8 // self.bits}, got {dimension}; use more bits"
            )

    def after(self, source: ColbertStorage | None) -> ColbertStorage:
        """Return what is left to do to vectors that another collection kept.

        Args:
            source: How it kept them; None for vectors that come from an encoder.

        Raises:
            InvalidVectorsError: If they hold less than this storage keeps: what was left out is
                gone, and only encoding the texts again brings it back.

        >>> ColbertStorage(bits=1, pool=4).after(ColbertStorage(bits=16, pool=2))
        ColbertStorage(bits=1, pool=2, prune=0.0)
        """
        if source is None or not source.reduces:
            return self
        is_less = (
            source.bits < min(self.bits, 16)
            or self.pool % source.pool != 0
            or (source.prune > 0 and source.prune != self.prune)
            or (source.pool > 1 and source.prune != self.prune)
        )
        if is_less:
            raise InvalidVectorsError(
                f"token vectors kept as {source} cannot be kept as {self}: what was left out is "
                f"gone. Keep them as {source} or smaller, or encode the texts again"
            )
        prune = 0.0 if source.prune else self.prune
        return ColbertStorage(self.bits, self.pool // source.pool, prune)


def pruned_tokens(tokens: int, share: float) -> int:
    """Return how many of a text's token vectors are dropped.

    >>> pruned_tokens(9, 1 / 3), pruned_tokens(5, 1 / 3)
    (3, 1)
    """
    return int(tokens * share + 1e-9)


def pooled_size(tokens: int, factor: int) -> int:
    """Return how many token vectors remain of a text: at least two, if it has two.

    >>> [pooled_size(tokens, 3) for tokens in (0, 1, 2, 5, 9, 10)]
    [0, 1, 2, 2, 3, 3]
    """
    return max(min(tokens, 2), tokens // factor)


def common_storage(storages: Iterable[ColbertStorage | None]) -> ColbertStorage | None:
    """Return how all token vectors of a batch were kept; None for vectors in full.

    Raises:
        InvalidVectorsError: If they were kept differently.
    """
    different = set(storages)
    if len(different) > 1:
        raise InvalidVectorsError(
            "the token vectors of a batch come from collections that keep them differently: "
            + ", ".join(sorted("in full" if s is None else str(s) for s in different))
        )
    return next(iter(different), None)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _quotient(text: str) -> float:
    """Return the value of a number such as 0.5, or of a fraction such as 1/3."""
    numerator, slash, denominator = text.partition("/")
    return float(numerator) / float(denominator) if slash else float(text)


def _share(value: float) -> str:
    """Return a share as a fraction such as 1/3 if it is a simple one."""
    simple = Fraction(value).limit_denominator(100)
    return str(simple) if float(simple) == value else repr(value)
