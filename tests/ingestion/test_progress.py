"""The progress of a run: a bar on a terminal from the first moment, a calm estimate."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from trivec import ingest, open_store, read_documents
from trivec.ingestion.pace import Pace
from trivec.ingestion.progress import shown
from trivec.ingestion.progress_bar import ProgressBar
from trivec.ingestion.report import IngestReport, Tally
from trivec.testing import HashEncoder


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Part:
    """How much of a source has been read."""

    fraction: float | None = 0.0

    def __call__(self) -> float | None:
        return self.fraction


def test_the_estimate_counts_down_while_nothing_is_read() -> None:
    clock, part = Clock(), Part()
    tally = Tally(part, clock=clock)
    assert tally.report().remaining_seconds is None
    clock.now, part.fraction = 101.0, 0.1
    estimates = [tally.report().remaining_seconds]
    for second in range(2, 15):
        clock.now = 100.0 + second
        estimates.append(tally.report().remaining_seconds)
    assert estimates == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_the_estimate_follows_the_speed_of_the_last_seconds() -> None:
    clock, part = Clock(), Part()
    tally = Tally(part, clock=clock)
    for step in range(1, 11):  # what the journal knows passes quickly
        clock.now += 0.1
        part.fraction = 0.05 * step
    assert tally.report().remaining_seconds == pytest.approx(1.0)
    remaining: float | None = None
    for step in range(1, 101):
        clock.now += 1
        part.fraction = 0.5 + 0.001 * step
        remaining = tally.report().remaining_seconds
    assert remaining == pytest.approx(400, rel=0.02)  # not 101 * 0.4 / 0.6 = 67


def test_the_estimate_never_grows_while_the_speed_stays() -> None:
    pace, last = Pace(), 1e9
    for step in range(1, 1000):
        remaining = pace.remaining(int(step / 7) * 7 / 1000, step * 0.1)  # in blocks
        if step > 350 and remaining is not None:
            assert remaining <= last + 1e-6
            last = remaining
    assert last < 1.5


def test_a_bar_has_total_and_rate_before_a_batch_is_written() -> None:
    clock, part = Clock(), Part()
    tally = Tally(part, clock=clock)
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    bar = ProgressBar("ingest", tally.report, console)

    def drawn() -> str:
        with console.capture() as captured:
            console.print(*bar.get_renderables())
        return captured.get()

    assert "0%" in drawn()
    clock.now, part.fraction, tally.records = 101.0, 0.25, 5_000
    assert "25%" in drawn()
    for words in ("5,000 read", "(5,000/s)", "0:00:03 left"):
        assert words in drawn()
    part.fraction = None
    assert "25%" in drawn()  # the file is closed: the bar stays where it was
    bar.stop()


def test_a_pipe_gets_nothing(
    tmp_path: Path, encoder: HashEncoder, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n', encoding="utf-8")
    with open_store("memory:/progress") as store:
        store.create(encoder.schema)
        ingest(read_documents(tmp_path / "a.jsonl"), encoder, store)
        store.drop()
    with shown(None, "ingest", IngestReport) as show:
        show(IngestReport())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_callback_of_the_caller_gets_every_report(tmp_path: Path, encoder: HashEncoder) -> None:
    lines = "".join(f'{{"id": {n}, "text": "a"}}\n' for n in range(50))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    reports: list[IngestReport] = []
    with open_store("memory:/progress-callback") as store:
        store.create(encoder.schema)
        source = read_documents(tmp_path / "a.jsonl")
        ingest(source, encoder, store, part_bytes=10, progress=reports.append)
        store.drop()
    assert len(reports) == 5
    assert (reports[-1].records, reports[-1].fraction) == (50, 1.0)
