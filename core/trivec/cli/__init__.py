"""The command line: `trivec`."""

from trivec.cli.app import main

__all__ = ["main"]
