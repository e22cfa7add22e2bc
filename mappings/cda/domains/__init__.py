"""One file a domain: how the statements of a section become resources. The facts are rows (`entries/*.csv`).

`register` imports them all: each registers its handler, and the flags and resolvers its rows name.
"""

import importlib
from functools import cache
from pathlib import Path


@cache
def register() -> None:
    """Import every domain once."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.stem != "__init__":
            importlib.import_module(f"{__name__}.{file.stem}")
    importlib.import_module("mappings.cda.around")
