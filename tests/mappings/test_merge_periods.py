"""What two messages say of one time never ends before it begins (per-1)."""

from typing import Any

from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import Store, adt, segment

Json = dict[str, Any]


def stay(event: str, day: int, start: str = "", end: str = "", place: str = "MED") -> Any:
    line = segment("PV1", f2="I", f3=place, f7="1^A^B", f19="V1^^^HOSP", f44=start, f45=end)
    return adt(event, line, at=f"202503{day:02}080000+0100")


def after(*messages: Any) -> Json:
    store = Store()
    for each in messages:
        store.take(each)
    body = store.one("Encounter")
    assert validate(body) == ()
    return body


def test_an_end_before_the_stored_start_stands_alone() -> None:
    body = after(stay("A01", 1, start="20250305"), stay("A03", 2, end="20250302"))
    assert body["period"] == {"end": "2025-03-02"}


def test_bounds_that_fit_are_joined() -> None:
    body = after(stay("A01", 1, start="20250301"), stay("A03", 2, end="20250302"))
    assert body["period"] == {"start": "2025-03-01", "end": "2025-03-02"}


def test_a_place_left_before_she_came_has_no_end() -> None:
    body = after(stay("A01", 1), stay("A02", 5, place="ICU"), stay("A03", 6, end="20250302"))
    icu = next(each for each in body["location"] if each["location"]["display"] == "ICU")
    assert icu["status"] == "completed"
    assert "end" not in icu["period"]
