"""The files that say what a document becomes: the shipped rows and tables, and those that a profile's folders add."""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

BASE = Path(__file__).parent


def files_of(folder: Path) -> list[Path]:
    """The rows of one layer."""
    return sorted((folder / "entries").glob("*.csv"))


@cache
def _shipped() -> str:
    return _digest((*files_of(BASE), *sorted(BASE.rglob("*.csv"))))


def digest_of(folders: Iterable[Path], policy: Mapping[str, str]) -> str:
    """A digest of everything that decides what rows do."""
    own = _digest(file for folder in folders for file in files_of(folder))
    return hashlib.sha256(f"{sys.version}{sorted(policy.items())}{_shipped()}{own}".encode()).hexdigest()


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        found.update(f"{file.parent.name}/{file.name}:{len(content)}:".encode() + content)
    return found.hexdigest()
