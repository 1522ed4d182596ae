"""How a long text is split."""

from __future__ import annotations

from dataclasses import dataclass

from trivec.arguments import expect, named
from trivec.errors import InvalidOptionError

_FORM = "Passages, a number of tokens, or text such as 'tokens=256,overlap=32,late=true'"
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """How long texts are split into passages, which are stored as documents.

    Args:
        tokens: The most tokens of a passage. Special tokens do not count.
        overlap: The most tokens at the end of a passage that the next one begins with, an eighth of
            `tokens` by default. Only whole sentences are repeated.
        late: Whether the whole text is encoded once, so that the vectors of a passage know its
            context (late chunking), instead of each passage by itself.

    Raises:
        InvalidOptionError: If a value has the wrong type or is out of range.

    Example:
        >>> Passages(tokens=128)
        Passages(tokens=128, overlap=None, late=False)
        >>> str(Passages(late=True))
        'tokens=256,overlap=32,late=true'
    """

    tokens: int = 256
    overlap: int | None = None
    late: bool = False

    def __post_init__(self) -> None:
        _check_count("tokens", self.tokens, 1)
        _check_count("overlap", self.repeated, 0)
        expect(self.late, bool, "Passages: late", "True or False")
        if self.repeated >= self.tokens:
            raise InvalidOptionError(
                f"Passages: overlap={self.overlap} must be less than tokens={self.tokens}"
            )

    @property
    def repeated(self) -> int:
        """The most tokens that a passage begins with and the one before it ends with."""
        return self.tokens // 8 if self.overlap is None else self.overlap

    def __str__(self) -> str:
        text = f"tokens={self.tokens},overlap={self.repeated}"
        return f"{text},late=true" if self.late else text

    @classmethod
    def parse(cls, text: str) -> Passages:
        """Read what `str` writes, or a number of tokens alone; what is left out has its default.

        Raises:
            InvalidOptionError: If it is anything else.

        >>> Passages.parse("64"), Passages.parse("tokens=64,late=true").late
        (Passages(tokens=64, overlap=None, late=False), True)
        """
        given: dict[str, str] = {}
        for item in text.split(","):
            name, equals, value = (part.strip() for part in item.partition("="))
            if not equals:
                name, value = "tokens", name
            if name in given or name not in ("tokens", "overlap", "late"):
                raise InvalidOptionError(f"{named('passages', text)}: expected {_FORM}")
            given[name] = value
        try:
            return cls(
                tokens=int(given.get("tokens", cls().tokens)),
                overlap=int(given["overlap"]) if "overlap" in given else None,
                late=_BOOLEANS[given.get("late", "false").lower()],
            )
        except InvalidOptionError as error:
            raise InvalidOptionError(f"{named('passages', text)}: {error}") from error
        except (ValueError, KeyError) as error:
            raise InvalidOptionError(f"{named('passages', text)}: expected {_FORM}") from error

    @classmethod
    def of(cls, value: Passages | str | int) -> Passages:
        """Return an option given as `Passages`, as a number of tokens, or as text for `parse`."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidOptionError(f"{named('passages', value)}: expected {_FORM}")
        return cls(tokens=value)


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        given = named(f"Passages: {name}", value)
        raise InvalidOptionError(f"{given} must be an integer of at least {least}")
