"""The run: areas one after the other, one table at the end.

A site, its files and its processes are made in a temporary folder and gone afterwards; TMPDIR says on which disk.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from adapter import tuning
from adapter.bench import api, api_roles, conversion, documents, end_to_end, forms, ledger, mllp, probes
from adapter.bench.figure import Figure, number
from adapter.cli.console import OPTIONS, emit, progress
from adapter.errors import UsageError

SCHEMA = "chartbridge.bench/1"
HEADINGS = ("what", "measured", "probe of the same run", "ratio", "goal", "reached", "more")
WIDEST = 1_000  # columns of the table

# a folder of the run, the seconds of each measurement, the resources of the site that the API is asked about
AREAS: dict[str, Callable[[Path, float, int], list[Figure]]] = {
    conversion.AREA: lambda folder, seconds, size: conversion.measure(2 * seconds),
    documents.AREA: lambda folder, seconds, size: documents.measure(2 * seconds),
    forms.AREA: lambda folder, seconds, size: forms.measure(seconds),
    probes.AREA: lambda folder, seconds, size: probes.measure(folder, seconds),
    mllp.AREA: lambda folder, seconds, size: mllp.measure(folder, seconds),
    end_to_end.AREA: lambda folder, seconds, size: end_to_end.measure(folder, seconds),
    ledger.AREA: lambda folder, seconds, size: ledger.measure(folder, seconds),
    api.AREA: api.measure,
    api_roles.AREA: lambda folder, seconds, size: api_roles.measure(folder, seconds),
}


def run(only: str, seconds: float, size: int) -> None:
    """Measure every area whose name holds `only` and print one table, or one line of JSON a figure."""
    chosen = [area for area in AREAS if only in area]
    if not chosen:
        raise UsageError("no such area to measure", hint=f"one of: {', '.join(AREAS)}")
    tuning.tune()  # as the service does: the ledger runs in this process
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="chartbridge-bench-") as folder:
        for area in chosen:
            progress(f"measuring {area} …")
            figures += AREAS[area](Path(folder), seconds, size)
    machine = probes.hardware()
    if OPTIONS.json:
        for line in ({"machine": machine, "seconds": seconds, "size": size}, *map(asdict, figures)):
            emit(SCHEMA, line, "")
    else:
        _print(figures, machine)


def _print(figures: list[Figure], machine: dict[str, str]) -> None:
    table = Table(*HEADINGS, box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for figure in figures:
        table.add_row(
            f"{figure.area}: {figure.what}",
            f"{number(figure.value)} {figure.unit}",
            str(figure.probe or ""),
            f"{figure.ratio:.2f}" if figure.ratio is not None else "",
            figure.goal,
            "" if figure.reached is None else "yes" if figure.reached else "NO",
            figure.note,
        )
    console = Console(highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    console.width = max(console.width, needed)  # a line that wraps is easier to read than a column that is cut off
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), soft_wrap=True)
    console.print(table)
