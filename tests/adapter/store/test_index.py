"""What of a resource is in the blind index, and that no date is ever missed: fhir chapter §5 (tiers), §6 step 3."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.seal.blind import mac, token
from adapter.store.cover import BUCKETS, cover
from adapter.store.index import (
    NAME_AND_BIRTH,
    Speller,
    date_spellings,
    postings,
    says_system,
    spellings,
)
from adapter.store.tables import LOCATOR_OWNER
from mappings.fhir.codec import Json
from mappings.fhir.search import DateValue, ReferenceValue, StringValue, TokenValue, UriValue, said_interval
from mappings.fhir.temporal import ALWAYS, Interval, interval
from tests.adapter.store.conftest import MRN, observation, patient

OWNER = 77
INDEX, LOCATE = mac(b"\1" * 32), mac(b"\2" * 32)


def held(resource: Json) -> tuple[set[tuple[int, int]], set[tuple[str, str]]]:
    return postings(resource, Speller(OWNER, INDEX, LOCATE))


def test_a_code_is_found_with_and_without_its_system() -> None:
    tokens, _ = held(observation("o1", code="2160-0"))
    for text in ("http://loinc.org|2160-0", "2160-0"):
        assert (OWNER, token(INDEX, "Observation", "code", text)) in tokens


def test_an_identifier_is_found_by_the_organisation_and_nothing_else_is() -> None:
    tokens, _ = held(patient("ana", "MR-7", gender="female"))
    located = {tok for owner, tok in tokens if owner == LOCATOR_OWNER}
    assert located == {token(LOCATE, "Patient", "identifier", text) for text in (f"{MRN}|mr-7", "mr-7")}


def test_family_and_birth_date_make_one_token_together_and_none_alone() -> None:
    born = patient("ana", name=[{"family": "Müller-Groß"}, {"family": "Demo"}], birthDate="1970-01-02")
    expected = {
        token(LOCATE, "Patient", NAME_AND_BIRTH, text) for text in ("mullergross|1970-01-02", "demo|1970-01-02")
    }
    assert {tok for owner, tok in held(born)[0] if owner == LOCATOR_OWNER} == expected
    for part in ({"name": [{"family": "Demo"}]}, {"name": [{"family": "Demo"}], "birthDate": "1970"}):
        assert not [tok for owner, tok in held(patient("ana", **part))[0] if owner == LOCATOR_OWNER]


def test_a_local_reference_is_an_edge_and_the_owners_own_is_none() -> None:
    _, edges = held(observation("o1", encounter={"reference": "Encounter/e1"}))
    assert edges == {("encounter", "Encounter/e1")}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TokenValue("urn:X", "AbC"), {"abc", "urn:x|abc"}),
        (TokenValue(None, "AbC"), {"abc"}),
        (TokenValue("urn:x", "final", None, True), {"final"}),
        (TokenValue(None, None, "a text"), set()),
        (UriValue("urn:A"), {"urn:A"}),
        (
            ReferenceValue(None, None, "https://elsewhere.example/fhir/Patient/1"),
            {"https://elsewhere.example/fhir/Patient/1"},
        ),
        (ReferenceValue("Patient", identifier=TokenValue("urn:x", "7")), {"identifier 7", "identifier urn:x|7"}),
        (StringValue("Demo"), set()),
        (DateValue("2025-03-04", "2025-03-04"), {"2025-03", "2025"}),
        (DateValue("2025-12-31T23:00:00Z", "2026-01-01"), {"2025-12", "2026-01", "2025", "2026"}),
        (DateValue("2025", "2025"), {f"2025-{month:02}" for month in range(1, 13)} | {"2025"}),
        (DateValue("2020-01", "2023-01"), {"2020+", "2021+", "2022+", "2023+"}),
        (DateValue("1950", "2025"), {"long"}),
        (DateValue("2025-03-04", None), {"long"}),
        (DateValue("2025-03", "2025-01"), {"long"}),
    ],
)
def test_values_are_spelled_for_the_index(value: object, expected: set[str]) -> None:
    assert set(spellings(value)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "param", "says"),
    [
        ("Observation", "code", True),
        ("Observation", "status", False),
        ("Observation", "component-code", True),
        ("Observation", "value-concept", True),
        ("Patient", "gender", False),
        ("Patient", "active", False),
        ("Encounter", "class", True),
        ("Patient", "telecom", False),
    ],
)
def test_a_system_is_asked_for_only_where_values_name_theirs(kind: str, param: str, says: bool) -> None:
    assert says_system(kind, param) is says


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
days = st.dates(date(1990, 1, 1), date(2035, 12, 31))
lexemes = st.one_of(
    days.map(lambda day: day.isoformat()),
    days.map(lambda day: day.isoformat()[:7]),
    days.map(lambda day: day.isoformat()[:4]),
    st.builds(
        lambda day, minute, zone: (
            datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
        ).isoformat(),
        days,
        st.integers(0, 1439),
        zones.filter(lambda zone: zone.utcoffset(None) is not None),
    ),
)
values = st.one_of(
    lexemes.map(lambda text: DateValue(text, text)),
    st.builds(DateValue, lexemes, lexemes),
    st.builds(DateValue, lexemes, st.none()),
)


@settings(max_examples=400, deadline=None)
@given(values, lexemes, zones)
def test_no_date_that_matches_is_missed(value: DateValue, asked: str, zone: timezone) -> None:
    span = interval(asked, zone)
    buckets = cover(span)
    if buckets is not None and span.overlaps(said_interval(value, zone)):
        assert set(buckets) & set(date_spellings(value))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60 * 365), st.integers(1, 9000))
def test_a_cover_is_small_or_none(start: int, length: int) -> None:
    day = 86_400 * 10**9
    first = interval("1985-01-01", UTC).start + start * day
    buckets = cover(Interval(first, first + length * day))
    assert buckets is None or len([one for one in buckets if "+" not in one and one != "long"]) <= BUCKETS


def test_an_open_question_is_no_filter() -> None:
    assert cover(ALWAYS) is None


def test_whole_years_are_asked_for_as_years() -> None:
    buckets = cover(interval("2024", UTC))
    assert buckets is not None
    assert set(buckets) == {"2023-12", "2024", "2025-01", "2023+", "2024+", "2025+", "long"}
