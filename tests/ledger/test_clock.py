"""The settled clock: follows the wall, but no jump of it (ledger format §6)."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.clock import MAX_STEP_S, SettledClock, running_s, utc_now
from tests.ledger.conftest import Ticking


def clock() -> tuple[SettledClock, Ticking, list[float]]:
    ticking, steps = Ticking(), list[float]()
    return SettledClock(ticking, ticking.monotonic, steps.append), ticking, steps


def test_it_reads_the_wall() -> None:
    settled, ticking, steps = clock()
    ticking.pass_(3600)
    assert settled() == ticking.wall
    assert steps == []


def test_drift_and_its_correction_are_followed() -> None:
    settled, ticking, steps = clock()
    for _ in range(10):
        ticking.pass_(60)
        ticking.wall += timedelta(seconds=2)
        assert settled() == ticking.wall
    assert steps == []


@given(st.sampled_from([-3600.0, 3600.0, 365 * 86400.0, -6.0, 6.0]))
@settings(max_examples=5, deadline=None)
def test_a_step_is_reported_once_and_not_followed(step: float) -> None:
    settled, ticking, steps = clock()
    ticking.wall += timedelta(seconds=step)
    before = ticking.wall - timedelta(seconds=step)
    assert settled() == before
    ticking.pass_(10)
    assert settled() == before + timedelta(seconds=10)
    assert steps == [step]


def test_a_step_back_again_is_one_more_step() -> None:
    settled, ticking, steps = clock()
    ticking.wall += timedelta(hours=1)
    settled()
    ticking.wall -= timedelta(hours=1)
    assert settled() == ticking.wall
    assert steps == [3600.0, -3600.0]


def test_an_operator_settles_it() -> None:
    settled, ticking, _ = clock()
    ticking.wall += timedelta(hours=1)
    settled()
    settled.settle()
    assert settled() == ticking.wall


def test_a_step_within_bounds_is_time() -> None:
    settled, ticking, steps = clock()
    ticking.wall += timedelta(seconds=MAX_STEP_S)
    assert settled() == ticking.wall
    assert steps == []


def test_the_real_clocks_run() -> None:
    assert running_s() <= running_s()
    assert utc_now().utcoffset() == timedelta(0)
