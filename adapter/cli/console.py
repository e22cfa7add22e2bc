"""What every verb shares: results on stdout, progress on stderr, `--json`, exit codes.

With `--json` a result is one JSON object a line, each with a `schema` tag (`chartbridge.VERB/1`); without it, text.
Errors go to stderr as `error: …` and, where there is something to do, `try: …`. Source: operations chapter §1.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.errors import UsageError

WIDE = 500  # columns where no terminal sets them: a line of a list is one line


UNITS: Final = {
    "s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}  # fmt: skip


class Exit(IntEnum):
    """Exit codes, the same for every verb."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    UNAVAILABLE = 4
    NOT_FOUND = 5
    NOT_PERMITTED = 6
    INTEGRITY = 7
    PARTLY = 8
    CANNOT_TELL = 9
    INTERRUPTED = 130


@dataclass(slots=True)
class Options:
    """The options that stand before the verb."""

    site: Path | None = None
    json: bool = False
    quiet: bool = False


OPTIONS = Options()


def since(text: str, now: datetime) -> datetime | None:
    """`2h`, `30m`, `7d`, or a date or time of ISO 8601; without an offset it is local. Raises UsageError."""
    if not text:
        return None
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return now - int(found[1]) * UNITS[found[2]]
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"no time: {text}", hint="as 2h, 30m, 7d or 2026-03-04T08:15") from exc


def shown(at: datetime) -> str:
    """A time as its reader wants it: UTC for programs, local with its offset for people."""
    return (at.astimezone(UTC) if OPTIONS.json else at.astimezone()).isoformat(timespec="seconds")


def confirm(text: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; off a terminal `--yes` answers. Raises UsageError, typer.Abort."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{text}: this cannot be undone", hint="--yes")
    typer.confirm(text + "?", abort=True, err=True)


def progress(text: str) -> None:
    """A line for the person who waits; never part of the result."""
    if not OPTIONS.quiet:
        Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def emit(schema: str, value: Mapping[str, Any], text: str) -> None:
    """One result: the object with `--json`, else the text."""
    if OPTIONS.json:
        line(json.dumps({"schema": schema, **value}, ensure_ascii=False, default=str))
    else:
        line(text)


def emit_list(schema: str, rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...], title: str = "") -> None:
    """A list: NDJSON with `--json`, else a table of the named columns; nothing where there is none."""
    if OPTIONS.json:
        for row in rows:
            line(json.dumps({"schema": schema, **row}, ensure_ascii=False, default=str))
        return
    rows = list(rows)
    table = Table(*columns, title=title or None, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(row.get(column, ""))) for column in columns))
    if rows:
        Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)


def line(text: str) -> None:
    sys.stdout.write(text + "\n")


def complain(text: str, hint: str = "") -> None:
    """An error, and what to do about it, on stderr."""
    sys.stderr.write(f"error: {text}\n" + (f"try: {hint}\n" if hint else ""))
