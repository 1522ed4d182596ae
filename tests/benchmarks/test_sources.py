"""How many rows per second files give without an encoder, and how much memory a stream takes.

TRIVEC_BENCH_STREAM_GB says how long the stream is; 5 by default, which takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trivec import read_documents

pytestmark = pytest.mark.benchmark

ROWS = 200_000
TEXT = "The blue whale is the largest animal that is known to have existed. " * 3
STREAM_GB = float(os.environ.get("TRIVEC_BENCH_STREAM_GB", "5"))

# The writer is a process of its own, as a pipe's is.
WRITER = """
import sys
format, size = sys.argv[1], float(sys.argv[2]) * 1e9
text, written, number = "The blue whale is the largest animal known. " * 20, 0, 0
out = sys.stdout.buffer
if format == "csv":
    out.write(b"id,text,lang\\n")
while written < size:
    if format == "csv":
        rows = [f"{number + i},{text},en\\n" for i in range(1000)]
    else:
        row = '{"id": %d, "text": "%s", "lang": "en"}\\n'
        rows = [row % (number + i, text) for i in range(1000)]
    block = "".join(rows).encode()
    out.write(block)
    written += len(block)
    number += 1000
"""

READER = """
import resource, sys, time
from trivec import Document, read_documents
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
count, early, started = 0, 0.0, time.process_time()
for record in read_documents("-", format=sys.argv[1]):
    assert isinstance(record, Document)
    count += 1
    if count == 50_000:
        early = peak()
print(count, early, peak(), time.process_time() - started)
"""


def table(path: Path, delimiter: str) -> None:
    rows = [f"{n}{delimiter}{TEXT}{delimiter}en{delimiter}{n}\n" for n in range(ROWS)]
    path.write_text(delimiter.join(["id", "text", "lang", "n"]) + "\n" + "".join(rows))


def lines(path: Path) -> None:
    rows = [{"id": str(n), "text": TEXT, "lang": "en", "n": n} for n in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "json", "parquet"])
def test_rows_per_second(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    if format == "jsonl":
        lines(path)
    elif format == "json":
        lines(tmp_path / "lines")
        rows = (tmp_path / "lines").read_text().splitlines()
        path.write_text("[" + ",\n".join(rows) + "]")
    elif format == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        ids = [str(n) for n in range(ROWS)]
        columns = {"id": ids, "text": [TEXT] * ROWS, "lang": ["en"] * ROWS, "n": list(range(ROWS))}
        parquet.write_table(pa.table(columns), path)
    else:
        table(path, "," if format == "csv" else "\t")
    rates = []
    for _ in range(3):
        started = time.process_time()
        count = sum(1 for _ in read_documents(path))
        rates.append(count / (time.process_time() - started))
        assert count == ROWS
    megabytes = path.stat().st_size / 1e6
    print(
        f"\n{format}: {max(rates):,.0f} rows/s of processor time, {min(rates):,.0f} at least "
        f"({megabytes:.0f} MB, {ROWS:,} rows)"
    )


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_stream_takes_the_same_memory_from_start_to_end(format: str) -> None:
    write = [sys.executable, "-c", WRITER, format, str(STREAM_GB)]
    read = [sys.executable, "-c", READER, format]
    started = time.perf_counter()
    with subprocess.Popen(write, stdout=subprocess.PIPE) as writer:
        reader = subprocess.run(read, stdin=writer.stdout, capture_output=True, check=True)
    assert writer.returncode == 0
    count, early, late, seconds = map(float, reader.stdout.split())
    took = time.perf_counter() - started
    print(
        f"\n{format}: {STREAM_GB:g} GB, {count:,.0f} rows in {took:.0f} s, "
        f"{count / seconds:,.0f} rows/s of processor time; peak memory {early:.0f} MiB after "
        f"50,000 rows, {late:.0f} MiB at the end"
    )
    assert late < early + 20
