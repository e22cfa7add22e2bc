"""The order of found resources. Covers FHIR R4 search.html §3.1.1.5.2."""

from datetime import UTC
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.codec import Json
from mappings.fhir.search import Sort, parse, sort_key


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
