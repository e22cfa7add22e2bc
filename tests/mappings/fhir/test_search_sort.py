"""The order of found resources. Covers FHIR R4 search.html §3.1.1.5.2."""

from datetime import UTC
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.codec import Json
from mappings.fhir.search import Sort, parse, place, sort_key, spelled
from mappings.fhir.search_sort import LONGEST


def order(resources: list[Json], asked: str) -> list[Any]:
    sorts = parse("Observation", [("_sort", asked)]).results.sort
    return [resource["id"] for resource in sorted(resources, key=sort_key("Observation", sorts, UTC))]


def observation(id_: str, **members: Any) -> Json:
    return {"resourceType": "Observation", "id": id_, **members}


FOUND = [
    observation("a", effectiveDateTime="2025-03", status="final"),
    observation("b", effectiveDateTime="2024", status="amended"),
    observation("c", status="final", valueString="Überwiegend"),
    observation("d", effectivePeriod={"start": "2024-06", "end": "2026"}, status="amended", valueString="unauffällig"),
]


def test_ascending_goes_by_the_start_and_what_has_no_value_comes_last() -> None:
    assert order(FOUND, "date") == ["b", "d", "a", "c"]


def test_descending_goes_by_the_end_and_what_has_no_value_still_comes_last() -> None:
    assert order(FOUND, "-date") == ["d", "a", "b", "c"]


def test_the_next_key_decides_among_equals() -> None:
    assert order(FOUND, "status,-date") == ["d", "b", "a", "c"]
    assert order(FOUND, "-status,_id") == ["a", "c", "b", "d"]


def test_numbers_sort_by_their_ranges_and_what_cannot_be_sorted_keeps_its_place() -> None:
    def risk(id_: str, **probability: Any) -> Json:
        return {"resourceType": "RiskAssessment", "id": id_, "prediction": [probability]}

    risks = [
        risk("a", probabilityRange={"low": {"value": 1}}),
        risk("b", probabilityDecimal=2),
        risk("c", probabilityRange={"high": {"value": 9}}),
    ]
    for sort, wanted in ((Sort("probability", False), "cab"), (Sort("probability", True), "acb")):
        assert [one["id"] for one in sorted(risks, key=sort_key("RiskAssessment", (sort,), UTC))] == list(wanted)
    assert sorted(risks, key=sort_key("RiskAssessment", (Sort("subject", False),), UTC)) == risks


def test_strings_sort_as_they_are_compared() -> None:
    assert order(FOUND, "value-string")[:2] == ["c", "d"]


@given(st.lists(st.sampled_from(["2024", "2024-05", "2025-01-01", "2025-01-02T10:00:00Z"]), max_size=8))
@settings(max_examples=50, deadline=None)
def test_descending_is_ascending_backwards_where_all_differ(dates: list[str]) -> None:
    resources = [observation(text, effectiveDateTime=text) for text in dict.fromkeys(dates) if text != "2024"]
    up = sorted(resources, key=sort_key("Observation", (Sort("date", False),), UTC))
    down = sorted(resources, key=sort_key("Observation", (Sort("date", True),), UTC))
    assert up == down[::-1]


SORTS = tuple(Sort(code, down) for code in ("date", "value-string", "status", "_id") for down in (False, True))
DATES = st.sampled_from(["2024", "2024-05", "2025-01-01", "2025-01-02T10:00:00Z", "0001", "9999"])
MEMBERS = st.fixed_dictionaries(
    {"id": st.text("ab1", min_size=1, max_size=3)},
    optional={
        "effectiveDateTime": DATES,
        "effectivePeriod": st.fixed_dictionaries({}, optional={"start": DATES, "end": DATES}),
        "valueString": st.text(min_size=1, max_size=2 * LONGEST),
        "status": st.sampled_from(["final", "amended"]),
    },
)


@given(st.lists(MEMBERS, max_size=6), st.lists(st.sampled_from(SORTS), min_size=1, max_size=3).map(tuple))
@settings(max_examples=100, deadline=None)
def test_a_place_that_was_written_down_is_the_same_place(found: list[Json], sorts: tuple[Sort, ...]) -> None:
    """Whoever goes on behind it goes on behind the same resources."""
    key = sort_key("Observation", sorts, UTC)
    keys = [key({"resourceType": "Observation", **members}) for members in found]
    for one in keys:
        again = place(spelled(one), sorts)
        assert again == one
        assert [other > again for other in keys] == [other > one for other in keys]
        assert all(len(text) <= LONGEST + 1 for text in spelled(one) if text[:1] in "st")


def test_a_number_without_an_end_is_written_down_too() -> None:
    sorts = (Sort("probability", False), Sort("probability", True))
    for amount in ({"low": {"value": 1}}, {"high": {"value": 9}}):
        key = sort_key("RiskAssessment", sorts, UTC)
        risk = {"resourceType": "RiskAssessment", "prediction": [{"probabilityRange": amount}]}
        assert place(spelled(key(risk)), sorts) == key(risk)
