"""The goals: whether a figure reached its own is decided as the table says it."""

import json

import pytest

from adapter.bench import api_goals, forms, ledger, mllp, probes, table
from adapter.bench.api_goals import Line, Measure, Memory, Standing
from adapter.bench.figure import Figure, Probe, number
from adapter.bench.load import Outcome
from adapter.bench.probes import Latencies
from adapter.cli.console import OPTIONS
from adapter.errors import UsageError


def outcome(rate: int, *, served: int = 1_000, latency_s: float = 0.001) -> Outcome:
    return Outcome(Latencies((latency_s,) * rate), 1.0, served, 0, 0)


def fsync(rate: float) -> Probe:
    return Probe("append and fsync", rate, "/s")


def disk(seconds: float) -> Latencies:
    return Latencies((seconds,) * 100)


@pytest.mark.parametrize(("rate", "probe", "reached"), [(500, 1_000, True), (499, 1_000, False)])
def test_one_connection_is_held_against_the_disk(rate: int, probe: float, reached: bool) -> None:
    assert mllp._one(outcome(rate), fsync(probe)).reached is reached


@pytest.mark.parametrize(
    ("rate", "probe", "reached"), [(5_000, 4_000, True), (4_999, 4_000, False), (1_000, 100, True), (999, 100, False)]
)
def test_the_lower_of_two_goals_counts(rate: int, probe: float, reached: bool) -> None:
    assert mllp._hundred(outcome(rate), fsync(probe)).reached is reached


@pytest.mark.parametrize(("ms", "reached"), [(0.2, True), (0.21, False)])
def test_a_form_is_held_against_its_budget_of_four_kilobytes(ms: float, reached: bool) -> None:
    assert forms._figure("x", ms, 0.05).reached is reached
    assert forms._ms(1_000, 8_192) == 0.5


def test_a_thousand_connections_need_all_three() -> None:
    good = outcome(2_000)
    assert mllp._thousand(good, 149, fsync(1_000)).reached
    assert not mllp._thousand(good, 151, fsync(1_000)).reached
    assert not mllp._thousand(outcome(2_000, served=999), 149, fsync(1_000)).reached
    assert not mllp._thousand(outcome(2_000, latency_s=1.0), 149, fsync(1_000)).reached


def test_an_append_is_held_against_the_slowest_fsync() -> None:
    assert ledger._one(disk(0.0085), disk(0.001)).reached
    assert not ledger._one(disk(0.0086), disk(0.001)).reached


def measure(rate: int = 100, bare: int = 9_000, *, ms: float = 1.0) -> Measure:
    return Measure(outcome(rate, latency_s=ms / 1000), outcome(bare), 0.5)


@pytest.mark.parametrize(
    ("line", "found", "reached"),
    [
        (Line.READ, measure(2_000), True),
        (Line.READ, measure(1_999), False),
        (Line.READ, measure(600, 1_000), True),
        (Line.INGEST, measure(40), True),
        (Line.INGEST, measure(39), False),
        (Line.SEARCH, measure(ms=24.9), True),
        (Line.IDENTIFIER, measure(ms=25), False),
        (Line.NEWEST, measure(ms=24.9), True),
        (Line.LARGE, measure(ms=149), True),
        (Line.LARGE, measure(ms=150), False),
        (Line.RECORD, measure(ms=500), None),
    ],
)
def test_a_line_of_the_api_is_held_against_its_goal(line: Line, found: Measure, reached: bool | None) -> None:
    rate = found.ours.rate * (25 if line is Line.INGEST else 1)
    assert api_goals._goal(line, found, rate)[1] is reached


def standing(name: str, small: Measure, large: Measure, *, node: float = 300, disk: int = 8_000) -> Standing:
    sizes = ({Line.READ: small}, {Line.READ: large})
    return Standing(name, (100, 1_000), sizes, Memory(node, 0), disk * 1_000, 2.0)


def test_growth_and_distance_are_measured_in_bare_routes() -> None:
    """The larger site is asked on a machine that is half as fast, the other database's too: neither is to blame."""
    first = standing("SQLite", measure(2_000, 8_000), measure(1_000, 4_000))
    other = standing("PostgreSQL", measure(1_000, 8_000), measure(500, 8_000))
    found = {figure.what: figure for figure in api_goals.figures("api", [first, other], fsync(1_000))}
    assert found["SQLite: growth from 100 to 1,000"].value == 1.0
    assert found["PostgreSQL: growth from 100 to 1,000"].value == 2.0
    assert found["PostgreSQL: growth from 100 to 1,000"].reached is False
    assert found["PostgreSQL to SQLite"].value == 4.0
    assert found["PostgreSQL to SQLite"].reached is False


@pytest.mark.parametrize(("node", "disk", "reached"), [(399, 8_000, [True, True]), (400, 8_001, [False, False])])
def test_memory_and_disk_have_bounds(node: float, disk: int, reached: list[bool]) -> None:
    one = standing("SQLite", measure(), measure(), node=node, disk=disk)
    memory, taken, _ = api_goals._takes("api", one)
    assert [memory.reached, taken.reached] == reached


def test_percentiles_are_of_the_calls_that_were_made() -> None:
    found = Latencies.of([0.003, 0.001, 0.002])
    assert (found.percentile(0), found.percentile(0.5), found.percentile(0.99)) == (0.001, 0.002, 0.003)
    assert (Latencies(()).percentile(0.5), Latencies(()).rate) == (0.0, 0.0)


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.96, "100.0"), (12.34, "12.3"), (0.126, "0.13")])
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_an_area_that_does_not_exist_is_told() -> None:
    with pytest.raises(UsageError):
        table.run("nothing", 0.2, 2_500)


@pytest.mark.parametrize("as_json", [False, True])
def test_one_run_prints_every_figure(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = [
        Figure("disk", "measured so", 7, "/s", "≥ 5/s", True, fsync(14), 0.5, "more"),
        Figure("disk", "b", 1, "s", ""),
    ]
    monkeypatch.setitem(table.AREAS, "probes", lambda folder, seconds, size: figures)
    monkeypatch.setattr(OPTIONS, "json", as_json)
    table.run("probes", 0.2, 2_500)
    lines = capsys.readouterr().out.splitlines()
    if as_json:
        assert [json.loads(line).get("what") for line in lines] == [None, "measured so", "b"]
        assert json.loads(lines[0])["machine"].keys() == probes.hardware().keys()
    else:
        assert "cores" in lines[0]
        assert lines[2].split() == "disk: measured so 7.00 /s 14.0 /s (append and fsync) 0.50 ≥ 5/s yes more".split()
