"""The goals: whether a figure reached its own is decided as the table says it."""

import json

import pytest

from adapter.bench import api, forms, ledger, mllp, probes, table
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


def test_a_read_is_held_against_a_bare_route() -> None:
    assert api._figure(outcome(2_000), outcome(9_000)).reached
    assert not api._figure(outcome(1_999), outcome(9_000)).reached
    assert api._figure(outcome(600), outcome(1_000)).reached


def test_percentiles_are_of_the_calls_that_were_made() -> None:
    found = Latencies.of([0.003, 0.001, 0.002])
    assert (found.percentile(0), found.percentile(0.5), found.percentile(0.99)) == (0.001, 0.002, 0.003)
    assert (Latencies(()).percentile(0.5), Latencies(()).rate) == (0.0, 0.0)


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.96, "100.0"), (12.34, "12.3"), (0.126, "0.13")])
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_an_area_that_does_not_exist_is_told() -> None:
    with pytest.raises(UsageError):
        table.run("nothing", 0.2)


@pytest.mark.parametrize("as_json", [False, True])
def test_one_run_prints_every_figure(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = [
        Figure("disk", "measured so", 7, "/s", "≥ 5/s", True, fsync(14), 0.5, "more"),
        Figure("disk", "b", 1, "s", ""),
    ]
    monkeypatch.setitem(table.AREAS, "probes", lambda folder, seconds: figures)
    monkeypatch.setattr(OPTIONS, "json", as_json)
    table.run("probes", 0.2)
    lines = capsys.readouterr().out.splitlines()
    if as_json:
        assert [json.loads(line).get("what") for line in lines] == [None, "measured so", "b"]
        assert json.loads(lines[0])["machine"].keys() == probes.hardware().keys()
    else:
        assert "cores" in lines[0]
        assert lines[2].split() == "disk: measured so 7.00 /s 14.0 /s (append and fsync) 0.50 ≥ 5/s yes more".split()
