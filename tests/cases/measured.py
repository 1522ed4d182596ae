"""CPU time and memory of a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_RUN = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss], file)
sys.exit(done.returncode)
"""
"""A small program in between: the peak of a process begins with that of the one that starts it."""


@dataclass(frozen=True)
class Measured:
    """A program that ended.

    Attributes:
        status: Its exit status.
        stdout: Its output.
        stderr: Its messages.
        seconds: Its CPU time, of user and system.
        megabytes: The most memory that it had at once.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    megabytes: float


def measured(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Measured:
    """Run a program, and measure it.

    Args:
        command: The program and its arguments.
        folder: Where it runs; a file is written there.
        environment: Its environment variables; by default those of this process.
    """
    used = folder / "used.json"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _RUN, str(used), *command],
        cwd=folder,
        env=os.environ if environment is None else environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    seconds, kilobytes = json.loads(used.read_text())
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    megabytes = kilobytes * unit / 1e6
    return Measured(done.returncode, done.stdout, done.stderr, seconds, megabytes)


def best(runs: Sequence[Measured]) -> Measured:
    """Return the run with the least CPU time; others were slowed by other programs."""
    return min(runs, key=lambda run: run.seconds)
