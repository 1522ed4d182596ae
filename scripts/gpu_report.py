"""The report of the benchmark: JSON that is complete after every figure, and tables."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(slots=True)
class Report:
    """Everything that a run has measured so far.

    Args:
        file: Where `save` writes it, or None.
        machine: The GPU and the versions.
        tests: The last line of tests/gpu.
        product_tflops: The rate of matrix products in each precision.
        rows: A figure of the encoder each; one that failed has an "error".
        server: A load of `trivec serve` each.
        left_out: What was not measured, and why.
        failed: The steps that ended with an error.
        seconds: The time of the whole run.
    """

    file: Path | None
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    tests: str = "not run"
    product_tflops: dict[str, float] = field(default_factory=dict[str, float])
    rows: list[Row] = field(default_factory=list[Row])
    server: list[Row] = field(default_factory=list[Row])
    left_out: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def save(self) -> None:
        """Write all figures as JSON; a run that is killed leaves the last complete file."""
        if self.file is None:
            return
        members = asdict(self)
        del members["file"]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_name(f"{self.file.name}.part")
        part.write_text(json.dumps(members, indent=1), encoding="utf-8")
        os.replace(part, self.file)

    def tables(self) -> str:
        """Return the figures as tables in Markdown."""
        lines: list[str] = []
        for precision, rate in self.product_tflops.items():
            rows = [row for row in self.rows if row["precision"] == precision]
            lines += ["", f"### {precision}, {rate:.3g} TFLOP/s in matrix products", ""]
            lines += _table(rows, "way", [row for row in rows if "batch_tokens" not in row])
            lines += _table(rows, "batch_tokens", [row for row in rows if "batch_tokens" in row])
        if self.server:
            lines += ["", "### 64 clients of trivec serve", ""]
            lines += ["| texts in a request | questions/s | share | p50 | p99 | errors |"]
            lines += ["| --- | --- | --- | --- | --- | --- |"]
            lines += [_server_line(row) for row in self.server]
        for name, entries in (("left out", self.left_out), ("failed", self.failed)):
            lines += ["", f"{name}:", *(f"- {entry}" for entry in entries or ["nothing"])]
        return "\n".join([*lines, "", f"tests/gpu: {self.tests}", f"{self.seconds:.0f} seconds"])


def _table(rows: list[Row], key: str, shown: list[Row]) -> list[str]:
    """Return a table with a line for each value of `key`, and a column for each kind of texts."""
    if not shown:
        return []
    texts = list(dict.fromkeys(row["texts"] for row in rows if row in shown))
    lines = [f"| {key} | {' | '.join(texts)} |", f"|{' --- |' * (1 + len(texts))}"]
    for value in dict.fromkeys(row[key] for row in shown):
        cells = {row["texts"]: _cell(row) for row in shown if row[key] == value}
        lines.append(f"| {value} | {' | '.join(cells.get(name, '') for name in texts)} |")
    return [*lines, ""]


def _cell(row: Row) -> str:
    if "error" in row:
        return str(row["error"]).partition(":")[0]
    memory = f", {row['peak_gib']:.1f} GiB" if "peak_gib" in row else ""
    return f"{row['tokens_per_second']:,.0f} ({row['share']:.0%}{memory})"


def _server_line(row: Row) -> str:
    times = [f"{row[name]:.1f} ms" if name in row else "" for name in ("p50_ms", "p99_ms")]
    errors = sum(row["errors"].values())
    return (
        f"| {row['texts_in_a_request']} | {row['questions_per_second']:,.0f} | "
        f"{row['share_of_one_call']:.0%} | {times[0]} | {times[1]} | {errors} |"
    )


def line_of(row: Row) -> str:
    """Return one figure of the encoder as a line of text."""
    budget = f" batch_tokens={row['batch_tokens']}" if "batch_tokens" in row else ""
    start = f"{row['precision']:9}{row['texts']:18}{row['way'] + budget:40}"
    if "error" in row:
        return f"{start}{row['error']}"
    memory = f"{row['peak_gib']:7.2f} GiB" if "peak_gib" in row else ""
    return f"{start}{row['tokens_per_second']:12,.0f} tokens/s {row['share']:6.1%}{memory}"
