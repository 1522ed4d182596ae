"""The command line: `trivec`."""

from trivec.cli.app import main as main
