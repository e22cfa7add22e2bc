"""What two messages say of one time never ends before it begins (per-1)."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir import invariants, values
from mappings.fhir.validate import validate
from mappings.merge import close
from tests.mappings.hl7v2.messages import Store, adt, segment

Json = dict[str, Any]
DAYS = st.integers(1, 9) | st.just(0)


def stay(event: str, day: int, start: str = "", end: str = "", place: str = "MED") -> Any:
    line = segment("PV1", f2="I", f3=place, f7="1^A^B", f19="V1^^^HOSP", f44=start, f45=end)
    return adt(event, line, at=f"202503{day:02}080000+0100")


def left(*messages: Any) -> Store:
    store = Store()
    for each in messages:
        store.take(each)
    assert faults(store) == []
    return store


def faults(store: Store) -> list[Any]:
    return [fault for body in store.bodies.values() for fault in (*validate(body), *invariants.broken(body))]


def after(*messages: Any) -> Json:
    return left(*messages).one("Encounter")


def beside(end: str) -> Json:
    return {"extension": [values.lexeme(end)]}


def test_an_end_before_the_stored_start_stands_as_text_beside_it() -> None:
    """As within one message: neither clock can be told to be the right one."""
    store = left(stay("A01", 1, start="20250305"), stay("A03", 2, end="20250302"))
    assert store.one("Encounter")["period"] == {"start": "2025-03-05", "_end": beside("2025-03-02")}
    assert store.one("Encounter")["status"] == "finished"
    assert store.noticed == ["contradiction"]


def test_a_start_behind_the_stored_end_stands_too() -> None:
    store = left(stay("A01", 1, start="20250301"), stay("A03", 2, end="20250302"), stay("A08", 3, start="20250305"))
    assert store.one("Encounter")["period"] == {"start": "2025-03-05", "_end": beside("2025-03-02")}
    assert store.noticed == ["contradiction"]


def test_a_late_statement_is_held_to_the_same() -> None:
    store = left(stay("A01", 5, start="20250305"), stay("A03", 2, end="20250302"))
    assert store.one("Encounter")["period"] == {"start": "2025-03-05", "_end": beside("2025-03-02")}
    assert store.noticed.count("contradiction") == 1


def test_a_better_end_takes_the_place_of_the_text() -> None:
    store = left(
        stay("A01", 1, start="20250305"), stay("A03", 2, end="20250302"), stay("A03", 6, end="20250306"),
    )  # fmt: skip
    assert store.one("Encounter")["period"] == {"start": "2025-03-05", "end": "2025-03-06"}
    assert store.noticed == ["contradiction"], "said once, of the message that brought it"


def test_what_is_stored_is_not_changed_by_mending() -> None:
    store = left(stay("A01", 1, start="20250305"))
    old = store.one("Encounter")
    kept = copy.deepcopy(old)
    store.take(stay("A03", 2, end="20250302"))
    assert old == kept


def test_what_a_snapshot_ends_before_it_begins_gets_no_end() -> None:
    coverage = {"resourceType": "Coverage", "status": "active", "period": {"start": "2026-01-01"}}
    closed = close(coverage, "2025-03-04T08:15:00+01:00")
    assert (closed["status"], closed["period"]) == ("cancelled", {"start": "2026-01-01"})
    assert close(coverage, "2026-03-04T08:15:00+01:00")["period"]["end"] == "2026-03-04T08:15:00+01:00"


@given(
    st.lists(
        st.tuples(st.sampled_from(["A01", "A02", "A03", "A06", "A08", "A13"]), st.integers(1, 9), DAYS, DAYS),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_order_of_events_stores_a_period_that_ends_before_it_begins(told: list[tuple[str, int, int, int]]) -> None:
    store = Store()
    for event, day, start, end in told:
        store.take(stay(event, day, *(f"202503{each:02}" if each else "" for each in (start, end))))
    assert faults(store) == []


def test_bounds_that_fit_are_joined() -> None:
    body = after(stay("A01", 1, start="20250301"), stay("A03", 2, end="20250302"))
    assert body["period"] == {"start": "2025-03-01", "end": "2025-03-02"}


def test_a_place_left_before_she_came_has_no_end() -> None:
    body = after(stay("A01", 1), stay("A02", 5, place="ICU"), stay("A03", 6, end="20250302"))
    icu = next(each for each in body["location"] if each["location"]["display"] == "ICU")
    assert icu["status"] == "completed"
    assert "end" not in icu["period"]
