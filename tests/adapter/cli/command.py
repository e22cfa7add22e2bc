"""Run a verb in this process and keep what it said."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapter.cli.app import exit_code


@dataclass(frozen=True, slots=True)
class Ended:
    """How a verb ended."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def schemas(self) -> set[str]:
        return {one["schema"] for one in self.objects()}


class Command:
    """`chartbridge`, on one site."""

    def __init__(self, capsys: pytest.CaptureFixture[str], site: Path | None = None) -> None:
        self._capsys, self.site = capsys, site

    def __call__(self, *words: str | Path, json: bool = False) -> Ended:
        shared: Sequence[str] = ["--site", str(self.site)] if self.site else []
        self._capsys.readouterr()
        code = exit_code([*shared, *map(str, words), *(["--json"] if json else [])])
        said = self._capsys.readouterr()
        return Ended(code, said.out, said.err)
