"""How a collection keeps token vectors: values, text, sizes, and what is left to do."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivec import ColbertStorage
from trivec.errors import InvalidOptionError, InvalidVectorsError

SHARES = st.one_of(
    st.floats(0, 1, exclude_max=True),
    st.builds(lambda a, b: a / (a + b), st.integers(0, 60), st.integers(1, 60)),
)
STORAGES = st.builds(
    ColbertStorage,
    bits=st.sampled_from(ColbertStorage.BITS),
    pool=st.integers(1, ColbertStorage.MAX_POOL),
    prune=SHARES,
)
SOME = [
    ColbertStorage(bits, pool, prune)
    for bits, pool, prune in product(ColbertStorage.BITS, (1, 2, 3, 4, 6), (0, 0.25, 1 / 3))
]


@given(STORAGES)
def test_text_says_all_of_it(storage: ColbertStorage) -> None:
    assert ColbertStorage.parse(str(storage)) == storage
    assert ColbertStorage.of(str(storage)) == ColbertStorage.of(storage) == storage


@pytest.mark.parametrize(
    ("text", "storage"),
    [
        ("bits=16", ColbertStorage()),
        ("bits=1,pool=2", ColbertStorage(1, 2)),
        ("bits=4,prune=1/3", ColbertStorage(4, prune=1 / 3)),
        ("bits=16,pool=8,prune=1/2", ColbertStorage(pool=8, prune=0.5)),
    ],
)
def test_text_is_short(text: str, storage: ColbertStorage) -> None:
    assert str(storage) == text


@pytest.mark.parametrize(
    ("text", "storage"),
    [
        ("pool=2", ColbertStorage(pool=2)),
        ("prune=0.25", ColbertStorage(prune=0.25)),
        (" pool = 3 , bits = 8 ", ColbertStorage(8, 3)),
        ("prune=1/3,bits=1", ColbertStorage(1, prune=1 / 3)),
    ],
)
def test_any_order_and_any_part_of_the_text_will_do(text: str, storage: ColbertStorage) -> None:
    assert ColbertStorage.parse(text) == storage


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bits": 3}, "bits=3; expected 32, 16, 8, 4, 2 or 1"),
        ({"bits": 0}, "bits=0"),
        ({"bits": -1}, "bits=-1"),
        ({"bits": 64}, "bits=64"),
        ({"bits": True}, "bits=True"),
        ({"bits": 16.0}, "bits=16.0"),
        ({"bits": "x"}, "bits='x'"),
        ({"bits": None}, "bits=None"),
        ({"pool": 0}, "pool=0; expected how many token vectors become one, 1 to 8"),
        ({"pool": 9}, "pool=9"),
        ({"pool": -2}, "pool=-2"),
        ({"pool": True}, "pool=True"),
        ({"pool": 2.0}, "pool=2.0"),
        ({"pool": "x"}, "pool='x'"),
        ({"prune": 1}, "prune=1; expected the share of token vectors to drop"),
        ({"prune": -0.1}, "prune=-0.1"),
        ({"prune": float("nan")}, "prune=nan"),
        ({"prune": float("inf")}, "prune=inf"),
        ({"prune": True}, "prune=True; expected a share such as 1/3"),
        ({"prune": "x"}, "prune='x'"),
        ({"prune": None}, "prune=None"),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        ColbertStorage(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "bits", "bits=", "bits=3", "bits=1.0", "bits=x", "bits=1,bits=1", "bits=1,"),
        *("pool=0", "pool=9", "pool=1/2", "prune=1", "prune=-0.1", "prune=1/0", "prune=x"),
        *("prune=nan", "dims=512", "bits=1;pool=2", "bits:1", "True"),
    ],
)
def test_bad_text_is_quoted(text: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        ColbertStorage.parse(text)
    assert f"colbert={text!r}" in str(caught.value)


@pytest.mark.parametrize("value", [1, None, True, {"bits": 1}, b"bits=1"])
def test_an_option_is_a_storage_or_text(value: Any) -> None:
    with pytest.raises(InvalidOptionError, match="bits=1,pool=2"):
        ColbertStorage.of(value)


def test_a_share_may_be_a_fraction() -> None:
    assert ColbertStorage(prune=Fraction(1, 3)) == ColbertStorage(prune=1 / 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("storage", "kept"),
    [
        (ColbertStorage(), (0, 1, 2, 3, 10, 200)),
        (ColbertStorage(pool=2), (0, 1, 2, 2, 5, 100)),
        (ColbertStorage(pool=3), (0, 1, 2, 2, 3, 66)),
        (ColbertStorage(prune=1 / 3), (0, 1, 2, 2, 7, 134)),
        (ColbertStorage(prune=0.99), (0, 1, 1, 1, 1, 2)),
        (ColbertStorage(pool=2, prune=1 / 3), (0, 1, 2, 2, 3, 67)),
    ],
    ids=str,
)
def test_how_many_token_vectors_are_kept(storage: ColbertStorage, kept: tuple[int, ...]) -> None:
    assert tuple(map(storage.kept, (0, 1, 2, 3, 10, 200))) == kept


def test_the_bytes_of_a_token_vector() -> None:
    sizes = {bits: ColbertStorage(bits).token_bytes(1024) for bits in ColbertStorage.BITS}
    assert sizes == {32: 4096, 16: 2048, 8: 1026, 4: 514, 2: 258, 1: 130}


@pytest.mark.parametrize(("bits", "multiple"), [(4, 2), (2, 4), (1, 8)])
def test_numbers_fill_whole_bytes(bits: int, multiple: int) -> None:
    storage = ColbertStorage(bits)
    storage.check_dimension(None)
    for dimension in range(1, 20):
        if dimension % multiple == 0:
            storage.check_dimension(dimension)
            continue
        with pytest.raises(InvalidOptionError, match=rf"multiple of {multiple}, got {dimension};"):
            storage.check_dimension(dimension)


def test_eight_bits_take_any_dimension() -> None:
    for storage in (ColbertStorage(8), ColbertStorage(16), ColbertStorage(32)):
        storage.check_dimension(3)


@pytest.mark.parametrize("storage", SOME, ids=str)
def test_vectors_of_an_encoder_are_kept_in_any_way(storage: ColbertStorage) -> None:
    assert storage.after(None) == storage
    assert storage.after(ColbertStorage()) == storage
    assert storage.after(ColbertStorage(32)) == storage


@pytest.mark.parametrize("storage", SOME, ids=str)
def test_nothing_is_left_to_do_to_what_is_kept_in_the_same_way(storage: ColbertStorage) -> None:
    assert not storage.reduces or storage.after(storage) == ColbertStorage(storage.bits)


@pytest.mark.parametrize("source", [storage for storage in SOME if storage.reduces], ids=str)
def test_what_was_left_out_never_comes_back(source: ColbertStorage) -> None:
    for storage in SOME:
        fits = (
            (source.bits >= 16 or storage.bits <= source.bits)
            and storage.pool % source.pool == 0
            and (storage.prune == source.prune or (source.pool == 1 and source.prune == 0))
        )
        if not fits:
            with pytest.raises(InvalidVectorsError, match=f"kept as {source} cannot be"):
                storage.after(source)
            continue
        left = storage.after(source)
        assert left.bits == storage.bits
        assert left.pool * source.pool == storage.pool
        assert left.prune == (0 if source.prune else storage.prune)
        for tokens in (0, 1, 2, 3, 50, 200):
            assert storage.kept(tokens) <= source.kept(tokens)


def test_a_storage_reduces_if_it_keeps_less_than_the_vectors() -> None:
    assert not ColbertStorage().reduces
    assert not ColbertStorage(32).reduces
    for storage in (ColbertStorage(8), ColbertStorage(32, 2), ColbertStorage(prune=0.1)):
        assert storage.reduces
