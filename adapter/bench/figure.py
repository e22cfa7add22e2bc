"""One line of the table: what was measured, the probe beside it, their ratio, the goal, and whether it was reached.

A figure of one machine says little about another; a ratio to a probe of the same run says more. So a goal is a number,
a ratio, or the lower of both.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Probe:
    """What the machine itself does: the measure that a figure is held against."""

    what: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{number(self.value)} {self.unit} ({self.what})"


@dataclass(frozen=True, slots=True)
class Figure:
    """`ratio` is value to probe, or probe to value where less is better: above 1 is always better than the probe."""

    area: str
    what: str
    value: float
    unit: str
    goal: str
    reached: bool | None = None
    probe: Probe | None = None
    ratio: float | None = None
    note: str = ""


def number(value: float) -> str:
    """Three figures that count, thousands with a comma."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
