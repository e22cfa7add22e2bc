"""The command line. `main` is what `chartbridge` runs."""

from adapter.cli.app import main

__all__ = ["main"]
