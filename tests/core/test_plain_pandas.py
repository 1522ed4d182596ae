"""What metadata makes of the values in pandas' tables."""

from __future__ import annotations

from typing import Any

import pytest

from trivec import Document, F
from trivec.errors import InvalidDocumentError, InvalidFilterError

pd: Any = pytest.importorskip("pandas")


def test_timestamps_are_written_in_iso_8601() -> None:
    stamps = {
        "naive": pd.Timestamp("2026-01-31T12:30:00"),
        "zone": pd.Timestamp("2026-01-31T12:30:00.5", tz="+02:00"),
        "fine": pd.Timestamp("2026-01-31T12:30:00.123456789Z"),
    }
    metadata = Document("a", "text", stamps).metadata
    assert metadata == {
        "naive": "2026-01-31T12:30:00",
        "zone": "2026-01-31T12:30:00.500000+02:00",
        "fine": "2026-01-31T12:30:00.123456789+00:00",
    }
    assert (F("zone") == stamps["zone"]).matches(metadata)
    assert (F("zone") > stamps["zone"] - pd.Timedelta(1, "us")).matches(metadata)


def test_a_row_of_a_table_is_metadata() -> None:
    table = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5], "ok": [True, False], "s": ["a", "b"]})
    metadata = Document("a", "text", table.iloc[1].to_dict()).metadata
    assert repr(metadata) == "{'n': 2, 'x': 1.5, 'ok': False, 's': 'b'}"


@pytest.mark.parametrize("name", ["NaT", "NA"])
def test_missing_values_are_refused_in_metadata_and_in_filters(name: str) -> None:
    with pytest.raises(InvalidDocumentError, match=r"metadata\.x is .*pass None"):
        Document("a", "text", {"x": getattr(pd, name)})
    with pytest.raises(InvalidFilterError):
        _ = F("x") == getattr(pd, name)


def test_other_values_say_what_to_pass() -> None:
    with pytest.raises(InvalidDocumentError, match=r"pandas\..*Series.*value\.tolist\(\)"):
        Document("a", "text", {"x": pd.Series([1])})
    with pytest.raises(InvalidDocumentError, match=r"pandas\..*Timedelta.*total_seconds\(\)"):
        Document("a", "text", {"x": pd.Timedelta(1, "s")})
