"""A stay under every event of ADT, by the pure update rule alone: hl7v2 chapter §9, trap 11."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.convert import Conversion, Undo
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Store, adt, bodies, convert, header, mapped, segment

Json = dict[str, Any]
NUMBER = "V1^^^HOSP&2.999.6&ISO"


def pv1(kind: str = "I", place: str = "MED", number: str = NUMBER, **more: str) -> str:
    return segment("PV1", f1="1", f2=kind, **({"f3": f"{place}^^^HOSP"} if place else {}), f19=number, **more)


def say(event: str, day: int, *, kind: str = "I", place: str = "MED", **more: str) -> Conversion:
    conversion = adt(event, pv1(kind, place, **more), at=f"202503{day:02}080000+0100")
    for each in conversion.resources:
        assert validate(each.body) == ()
    return conversion


def after(*messages: Conversion) -> Json:
    store = Store()
    for each in messages:
        store.take(each)
    body = store.one("Encounter")
    assert validate(body) == ()
    return body


def places(body: Json) -> list[tuple[str, str]]:
    return [(each["location"]["display"], each["status"]) for each in body.get("location", ())]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("A01", "in-progress"), ("A02", "in-progress"), ("A03", "finished"), ("A04", "in-progress"),
        ("A05", "planned"), ("A06", "in-progress"), ("A07", "in-progress"), ("A08", "onleave"), ("A09", "onleave"),
        ("A10", "onleave"), ("A11", "cancelled"), ("A12", "onleave"), ("A13", "in-progress"), ("A14", "planned"),
        ("A15", "onleave"), ("A16", "onleave"), ("A17", "onleave"), ("A21", "onleave"), ("A22", "in-progress"),
        ("A23", "entered-in-error"), ("A25", "onleave"), ("A26", "onleave"), ("A27", "cancelled"), ("A28", "onleave"),
        ("A31", "onleave"), ("A32", "onleave"), ("A33", "onleave"), ("A38", "cancelled"), ("A52", "in-progress"),
        ("A53", "onleave"), ("A54", "onleave"), ("A55", "onleave"), ("A60", "onleave"), ("A61", "onleave"),
        ("A62", "onleave"),
    ],
)  # fmt: skip
def test_every_event_gives_or_keeps_the_status(event: str, status: str) -> None:
    assert after(say("A21", 1), say(event, 2))["status"] == status


def test_tracking_at_first_sight_is_a_stay_in_progress() -> None:
    for event in ("A09", "A10", "A32", "A33"):
        assert after(say(event, 1, kind="P"))["status"] == "in-progress"


def test_departing_closes_a_place_and_arriving_opens_one() -> None:
    stay = after(say("A01", 1), say("A09", 2))
    assert places(stay) == [("MED", "completed")]
    assert stay["location"][0]["period"]["end"].startswith("2025-03-02")
    stay = after(say("A01", 1), say("A09", 2), say("A10", 3, place="XRAY", f6="MED^^^HOSP"))
    assert places(stay) == [("MED", "completed"), ("XRAY", "active")]
    assert stay["location"][1]["period"]["start"].startswith("2025-03-03")


def test_a_temporary_place_leaves_her_own_open() -> None:
    stay = after(say("A01", 1), say("A10", 2, f11="XRAY^^^HOSP"))
    assert places(stay) == [("MED", "active"), ("XRAY", "active")]
    assert "period" not in stay["location"][0]
    stay = after(say("A01", 1), say("A10", 2, f11="XRAY^^^HOSP"), say("A09", 3, f43="XRAY^^^HOSP"))
    assert places(stay) == [("MED", "active"), ("XRAY", "completed")]


def test_a_departure_that_was_none_opens_the_place_again() -> None:
    stay = after(say("A01", 1), say("A09", 2), say("A33", 3))
    assert places(stay) == [("MED", "active")]
    assert "end" not in stay["location"][0].get("period", {})


@pytest.mark.parametrize(("event", "cancel"), [("A02", "A12"), ("A10", "A32")])
def test_a_place_she_never_came_to_is_taken_back(event: str, cancel: str) -> None:
    """With the place named in PV1-6, and without."""
    moved = (say("A01", 1), say(event, 2, place="ICU", f6="MED^^^HOSP"))
    assert places(after(*moved, say(cancel, 3, f6="ICU^^^HOSP"))) == [("MED", "active")]
    assert places(after(*moved, say(cancel, 3))) == [("MED", "active")]
    assert places(after(*moved, say(cancel, 3), say(cancel, 3))) == [("MED", "active")]


@pytest.mark.parametrize(("event", "element"), [("A12", "location"), ("A32", "location"), ("A33", "location")])
def test_what_names_no_place_is_taken_back_by_the_store(event: str, element: str) -> None:
    conversion = say(event, 3, place="")
    stay = mapped(conversion, "Encounter")
    assert Undo(f"Encounter/{stay.body['id']}", element) in conversion.effects
    assert element not in stay.body


def test_two_patients_swap_their_beds() -> None:
    at = "20250302080000+0100"
    store = Store()
    for number, bed in (("1", "A"), ("2", "B")):
        visit = pv1(place=f"MED^1^{bed}", number=f"V{number}^^^HOSP")
        store.take(adt("A01", visit, at="20250301080000+0100", number=number))
    swap = convert(
        header("ADT^A17", at), f"EVN|A17|{at}",
        f"PID|1||1{MR}", pv1(place="MED^1^B", number="V1^^^HOSP", f6="MED^1^A^^^HOSP"),
        f"PID|2||2{MR}", pv1(place="MED^1^A", number="V2^^^HOSP", f6="MED^1^B^^^HOSP"),
    )  # fmt: skip
    for _ in range(2):
        store.take(swap)
        beds = [places(body) for body in store.of("Encounter")]
        assert beds == [[("A", "completed"), ("B", "active")], [("B", "completed"), ("A", "active")]]
    subjects = [body["subject"]["reference"] for body in bodies(swap, "Encounter")]
    assert len(set(subjects)) == 2


def test_a_planned_stay_has_planned_places_until_she_comes() -> None:
    assert places(after(say("A05", 1))) == [("MED", "planned")]
    assert places(after(say("A14", 1), say("A01", 2))) == [("MED", "active")]


def test_a_pending_transfer_reserves_and_its_cancellation_frees() -> None:
    stay = after(say("A01", 1), say("A15", 2, f42="ICU^^^HOSP"))
    assert places(stay) == [("MED", "active"), ("ICU", "reserved")]
    assert places(after(say("A01", 1), say("A15", 2, f42="ICU^^^HOSP"), say("A26", 3))) == [("MED", "active")]
    named = say("A26", 3, f42="ICU^^^HOSP")
    assert places(after(say("A01", 1), say("A15", 2, f42="ICU^^^HOSP"), named)) == [("MED", "active")]


def test_a_pending_discharge_plans_its_day_and_its_cancellation_takes_it_back() -> None:
    pv2 = segment("PV2", f9="20250310")
    pending = adt("A16", pv1(f36="REHA"), pv2, at="20250302080000+0100")
    stay = after(say("A01", 1), pending)
    assert stay["extension"][0]["valueDateTime"] == "2025-03-10"
    assert "hospitalization" in stay
    stay = after(say("A01", 1), pending, adt("A25", pv1(f36="REHA"), pv2, at="20250303080000+0100"))
    assert "extension" not in stay
    assert "hospitalization" not in stay


def test_a_discharge_leaves_the_place_even_where_it_names_none() -> None:
    stay = after(say("A01", 1), say("A03", 2, place="", f4="E"))
    assert places(stay) == [("MED", "completed")]
    assert stay["location"][0]["period"]["end"] == stay["period"]["end"]


def test_a_cancelled_discharge_ignores_what_it_still_carries_of_it() -> None:
    ended = {"f45": "20250305080000+0100"}
    stay = after(say("A01", 1), say("A03", 5, f36="REHA", **ended), say("A13", 6, f36="REHA", **ended))
    assert stay["status"] == "in-progress"
    assert "end" not in stay.get("period", {})
    assert "hospitalization" not in stay


@pytest.mark.parametrize(("event", "cancel", "field", "role"), [("A54", "A55", 7, "ATND"), ("A61", "A62", 9, "CON")])
def test_another_doctor_takes_over_or_did_not(event: str, cancel: str, field: int, role: str) -> None:
    one, two = ({f"f{field}": f"{number}^Doc^{number}^^^^^^HOSP"} for number in ("1", "2"))
    said = (say("A01", 1, **one), say(event, 2, **two))
    held = [(each["individual"]["display"], "end" in each.get("period", {})) for each in after(*said)["participant"]]
    assert held == [("1 Doc", True), ("2 Doc", False)]
    (still,) = after(*said, say(cancel, 3, **one))["participant"]
    assert (still["individual"]["display"], still["type"][0]["coding"][0]["code"]) == ("1 Doc", role)


@pytest.mark.parametrize("event", ["A06", "A07"])
def test_every_class_that_was_stays_in_the_history(event: str) -> None:
    stay = after(say("A04", 1, kind="O"), say("A06", 2), say(event, 3, kind="E"))
    assert [each["class"]["code"] for each in stay["classHistory"]] == ["AMB", "IMP"]
    assert stay["class"]["code"] == "EMER"


def test_a_person_that_is_deleted_is_inactive() -> None:
    store = Store().take(adt("A28", at="20250301080000+0100")).take(adt("A29", at="20250302080000+0100"))
    assert store.one("Patient")["active"] is False


EVENTS = (
    "A01", "A02", "A03", "A05", "A06", "A08", "A09", "A10", "A11", "A12", "A13", "A15", "A16", "A17", "A21", "A22",
    "A25", "A26", "A32", "A33", "A52", "A53", "A54", "A55", "A61", "A62",
)  # fmt: skip
WARD, APART, NEXT = (
    st.sampled_from(["", *(f"{name}^^^HOSP" for name in names)])
    for names in (("MED", "ICU"), ("XRAY",), ("SUR", "REHA"))
)


def line(day: int, kind: str, place: str, prior: str, temporary: str, pending: str) -> str:
    doctor = f"{day % 3}^Doc^{day % 3}^^^^^^HOSP"
    more = {"f6": prior if prior != place else "", "f7": doctor, "f9": doctor, "f11": temporary, "f42": pending}
    return segment("PV1", f2=kind, f3=place, f4="E", f19=NUMBER, **more)


STORIES = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(1, 9), st.sampled_from("IOEP"), WARD, WARD, APART, NEXT),
    min_size=1,
    max_size=6,
)


@given(STORIES)
@settings(max_examples=60, deadline=None)
def test_any_events_in_any_order_leave_a_valid_stay(told: list[Any]) -> None:
    store = Store()
    for event, day, *more in told:
        store.take(adt(event, line(day, *more), at=f"2025030{day}080000+0100"))
        assert validate(store.one("Encounter")) == ()


@given(STORIES)
@settings(max_examples=60, deadline=None)
def test_the_newest_event_said_again_changes_nothing(told: list[Any]) -> None:
    store = Store()
    for event, day, *more in sorted(told, key=lambda each: each[1]):
        message = adt(event, line(day, *more), at=f"2025030{day}080000+0100")
        body = store.take(message).one("Encounter")
        assert store.take(message).one("Encounter") == body
