"""The exact matcher. Covers FHIR R4 search.html §3.1.1.4.3 (prefixes), §3.1.1.4.5 to 14 (types, modifiers)."""

import unicodedata
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mappings.fhir.codec import Json, decode
from mappings.fhir.search import asked_interval, keeps_case, match, matcher, normalise, parse
from mappings.fhir.search_operands import PREFIXES, Date
from mappings.fhir.temporal import instant
from tests.mappings.fhir.samples import RESOURCES

NOW = datetime(2025, 3, 14, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
KNOWN = {
    "Patient/anna": RESOURCES["patient"],
    "Organization/1": {"resourceType": "Organization", "id": "1", "name": "Stadtklinik"},
    "http://other.example/fhir/Organization/lab": {"resourceType": "Organization", "name": "Lab"},
}


def found(resource: Json, *pairs: tuple[str, str]) -> bool:
    query = parse(resource["resourceType"], pairs)
    return match(query, resource, KNOWN.get, now=NOW, zone=BERLIN)


TABLE = [
    # token
    ("observation", "code=2160-0", True),
    ("observation", "code=http://loinc.org|2160-0", True),
    ("observation", "code=|2160-0", False),
    ("observation", "code=http://loinc.org|", True),
    ("observation", "code=urn:none|", False),
    ("observation", "code=x,2160-0", True),
    ("observation", "code=KREA", True),  # a system we do not know ignores case
    ("observation", "code=Kreatinin i. S.", False),  # a text is no code
    ("observation", "code:text=kreatinin", True),
    ("observation", "code:text=creat", True),
    ("observation", "code:text=inin", False),
    ("observation", "code:not=2160-0", False),
    ("observation", "code:not=x,y", True),
    ("observation", "component-code:not=x", True),
    ("observation", "status=final", True),
    ("observation", "status=FINAL", False),  # a system that says its case matters
    ("observation", "status=http://hl7.org/fhir/observation-status|final", True),
    ("observation", "status=|final", True),
    ("observation", "status=urn:x|final", False),
    ("observation", "status:in=http://hl7.org/fhir/ValueSet/observation-status", True),
    ("observation", "code:in=http://hl7.org/fhir/ValueSet/observation-status", False),
    ("stay", f"class:below={ACT}|_ActEncounterCode", True),
    ("stay", f"class:below={ACT}|IMP", True),
    ("stay", f"class:below={ACT}|ACUTE", False),
    ("stay", f"class:above={ACT}|ACUTE", True),
    ("stay", f"class:above={ACT}|_ActEncounterCode", False),
    ("stay", f"class:below={ACT}|nothing", False),
    ("observation", "identifier=4711A", True),
    ("observation", "identifier=urn:test:orders|4711a", True),
    ("observation", "identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|FILL|4711a", True),
    ("observation", "identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|PLAC|4711a", False),
    ("observation", "_id=crea", True),
    ("observation", "_tag=night", True),
    ("observation", "_security=R", True),
    ("patient", "active=true", True),
    ("patient", "deceased=false", False),
    ("patient", "email=A@example.org", True),
    # missing
    ("observation", "code:missing=false", True),
    ("observation", "code:missing=true", False),
    ("observation", "method:missing=true", True),
    ("observation", "method:missing=true,false", True),
    # string
    ("patient", "name=mull", True),
    ("patient", "name=Lüdenscheidt", False),
    ("patient", "name:contains=LUDEN", True),
    ("patient", "name=obrien", True),
    ("patient", "name=zoe", True),
    ("patient", "name:exact=Zoë", True),
    ("patient", "name:exact=Zoe", False),
    ("patient", "family:exact=Müller", False),
    ("patient", "address=hauptstrasse", True),
    ("patient", "address-city=koln", True),
    # date (the effective time is 07:00 UTC on 4 March)
    ("observation", "date=2025-03-04", True),
    ("observation", "date=2025", True),
    ("observation", "date=2025-03-05", False),
    ("observation", "date=ne2025-03-05", True),
    ("observation", "date=ge2025-03-04&date=lt2025-03-05", True),
    ("observation", "date=gt2025-03-04", False),
    ("observation", "date=sa2025-03-03", True),
    ("observation", "date=eb2025-03-05", True),
    ("observation", "date=2025-03-04T08:00", True),  # without zone: the organisation's
    ("observation", "date=2025-03-04T07:00:00Z", True),
    ("observation", "date=ap2025-03-03", True),
    ("observation", "date=ap2025-02-01", False),  # a tenth of six weeks is four days
    ("observation", "date=ap2025-03-10", False),
    ("observation", "_lastUpdated=2025-03-04T09:15:02Z", True),
    ("panel", "date=ge2030", True),  # a period without an end
    ("panel", "date=2025-03-01", False),
    ("panel", "date=sa2025-02", True),
    ("panel", "date=lt2025-03-01", False),
    ("service-request", "occurrence=ge2025-03-05&occurrence=sa2025-03-04", True),
    ("service-request", "occurrence=sa2025-03-05", False),
    ("flag", "date=eb2025-04", True),
    ("flag", "date=lt1900", True),
    ("medication-request", "date=2025-03", True),
    # number
    ("risk", "probability=0.000168", True),
    ("risk", "probability=0.00017", True),
    ("risk", "probability=0.0001680", True),
    ("risk", "probability=0.0001684", False),
    ("risk", "probability=gt0.2", True),  # the range reaches further
    ("risk", "probability=sa0.2", False),
    ("risk", "probability=ap0.27", True),
    ("risk", "probability=ap0.3", False),
    # quantity
    ("observation", "value-quantity=1.5", True),
    ("observation", "value-quantity=1.50|http://unitsofmeasure.org|mg/dL", True),
    ("observation", "value-quantity=1.5||mg/dL", True),
    ("observation", "value-quantity=2", True),  # 1.5 up to 2.5
    ("observation", "value-quantity=1", False),
    ("observation", "value-quantity=1.5|urn:x|mg/dL", False),
    ("observation", "value-quantity=1.5||g/L", False),
    ("observation", "value-quantity=ge1.5&value-quantity=le1.5", True),
    ("observation", "value-quantity=ne1.5", False),
    ("panel", "component-value-quantity=lt80||mmHg", True),  # < 80
    ("panel", "component-value-quantity=eb80||mmHg", True),
    ("panel", "component-value-quantity=80||mmHg", False),
    ("panel", "component-value-quantity=gt119||mm[Hg]", True),
    ("panel", "component-value-quantity=gt2||mV", True),
    ("panel", "component-value-quantity=gt3||mV", False),
    ("panel", "component-value-quantity=ap130||mm[Hg]", True),
    ("panel", "component-value-quantity=ap140||mm[Hg]", False),
    ("charge", "price-override=40|urn:iso:std:iso:4217|EUR", True),
    # reference
    ("observation", "subject=Patient/anna", True),
    ("observation", "subject=anna", True),
    ("observation", "subject:Patient=anna", True),
    ("observation", "subject:Group=anna", False),
    ("observation", "subject=Group/anna", False),
    ("observation", "patient=Patient/anna/_history/9", True),
    ("observation", "encounter=e1", True),
    ("observation", "performer=http://other.example/fhir/Organization/lab", True),
    ("observation", "performer=lab", False),  # another server's id is not ours
    ("observation", "performer:identifier=urn:test:staff|77", True),
    ("observation", "subject:identifier=77", False),
    # uri
    ("observation", "_source=urn:test:lab", True),
    ("questionnaire", "url=http://example.org/q/pain", True),
    ("questionnaire", "url=http://example.org/q", False),
    ("questionnaire", "url:below=http://example.org/q", True),
    ("questionnaire", "url:below=http://example.org/q/pa", False),
    ("questionnaire", "url:above=http://example.org/q/pain/1", True),
    # composite
    ("observation", "code-value-quantity=2160-0$gt1", True),
    ("observation", "code-value-quantity=2160-0$gt2", False),
    ("panel", "component-code-value-quantity=http://loinc.org|8480-6$gt100", True),
    ("panel", "component-code-value-quantity=http://loinc.org|8462-4$gt100", False),  # the other component's
    ("panel", "combo-code-value-quantity=8480-6$120", True),
    # chains
    ("observation", "patient.identifier=urn:test:mrn|00123", True),
    ("observation", "patient.identifier=123", False),
    ("observation", "subject:Patient.name=anna", True),
    ("observation", "patient.organization.name=stadt", True),
    ("observation", "performer:Organization.name=lab", True),
    ("panel", "patient.name=anna", False),
    # all of several
    ("observation", "code=2160-0&status=final&code=Krea", True),
    ("observation", "code=2160-0&status=amended", False),
]


@pytest.mark.parametrize(("name", "asked", "wanted"), TABLE, ids=[f"{row[0]}?{row[1]}" for row in TABLE])
def test_a_resource_is_found_or_not(name: str, asked: str, wanted: bool) -> None:
    pairs = [(pair.partition("=")[0], pair.partition("=")[2]) for pair in asked.split("&")]
    assert found(RESOURCES[name], *pairs) is wanted


def test_another_type_is_never_found() -> None:
    query = parse("Observation", [])
    assert match(query, RESOURCES["observation"], KNOWN.get, now=NOW, zone=UTC)
    assert not match(query, RESOURCES["patient"], KNOWN.get, now=NOW, zone=UTC)


def test_a_chain_to_what_cannot_be_fetched_finds_nothing() -> None:
    query = parse("Observation", [("patient.name", "anna")])
    assert not match(query, RESOURCES["observation"], lambda reference: None, now=NOW, zone=UTC)


def test_codes_keep_their_case_where_their_system_does() -> None:
    quantity = {"resourceType": "Observation", "valueCodeableConcept": {"coding": [{"system": "", "code": "Mg"}]}}
    for system, same in (("http://unitsofmeasure.org", False), ("urn:any", True), ("http://snomed.info/sct", True)):
        quantity["valueCodeableConcept"] = {"coding": [{"system": system, "code": "Mg"}]}
        assert keeps_case(system) is not same
        assert found(quantity, ("value-concept", f"{system}|mg")) is same


@pytest.mark.parametrize(
    ("asked", "same"),  # the value is 1.50 mg/dL
    [
        ("0.015|http://unitsofmeasure.org|g/L", True),
        ("0.016|http://unitsofmeasure.org|g/L", False),
        ("15|http://unitsofmeasure.org|mg/L", True),
        ("gt0.01|http://unitsofmeasure.org|g/L", True),
        ("ge0.015|http://unitsofmeasure.org|g/L", True),
        ("gt0.015|http://unitsofmeasure.org|g/L", False),
        ("ap0.016|http://unitsofmeasure.org|g/L", True),
        ("ne1|http://unitsofmeasure.org|kg/L", True),
        ("0.015|http://unitsofmeasure.org|mol/L", False),
        ("0.015|http://unitsofmeasure.org|G/L", False),
        ("0.015|urn:x|g/L", False),
        ("0.015||g/L", False),
    ],
)
def test_ucum_amounts_are_compared_across_units(asked: str, same: bool) -> None:
    assert found(RESOURCES["observation"], ("value-quantity", asked)) is same


# --- dates against sets of days ---------------------------------------------------------------------------------------

FIRST = date(2024, 1, 1)
UNIVERSE = range((date(2026, 12, 31) - FIRST).days + 1)
lexemes = st.builds(
    lambda day, length: (FIRST + timedelta(days=day)).isoformat()[:length],
    st.sampled_from(UNIVERSE),
    st.sampled_from([4, 7, 10]),
)


@cache
def days(lexeme: str) -> frozenset[int]:
    """The days a date covers, the slow way."""
    return frozenset(day for day in UNIVERSE if (FIRST + timedelta(days=day)).isoformat().startswith(lexeme))


def naive_date(prefix: str, asked: frozenset[int], said: frozenset[int]) -> bool:
    """The standard's words on ranges, as sets."""
    over = any(day > max(asked) for day in said)
    under = any(day < min(asked) for day in said)
    return {
        "eq": said <= asked,
        "ne": not said <= asked,
        "gt": over,
        "lt": under,
        "ge": over or said <= asked,
        "le": under or said <= asked,
        "sa": all(day > max(asked) for day in said),
        "eb": all(day < min(asked) for day in said),
    }[prefix]


EXACT = sorted(PREFIXES - {"ap"})


@given(st.sampled_from(EXACT), lexemes, lexemes, st.sampled_from([UTC, BERLIN]))
@settings(max_examples=300, deadline=None)
def test_prefixes_mean_what_they_mean_on_sets_of_days(prefix: str, asked: str, said: str, zone: ZoneInfo) -> None:
    query = parse("Observation", [("date", prefix + asked)])
    resource = {"resourceType": "Observation", "effectiveDateTime": said}
    assert match(query, resource, KNOWN.get, now=NOW, zone=zone) is naive_date(prefix, days(asked), days(said))


@given(lexemes, lexemes, lexemes)
@settings(max_examples=200, deadline=None)
def test_a_period_is_found_as_the_days_it_spans(start: str, end: str, asked: str) -> None:
    first, last = min(days(start)), max(days(end))
    assume(first <= last)
    resource = {"resourceType": "Observation", "effectivePeriod": {"start": start, "end": end}}
    said = frozenset(range(first, last + 1))
    for prefix in EXACT:
        assert found(resource, ("date", prefix + asked)) is naive_date(prefix, days(asked), said)


@given(lexemes, lexemes)
@settings(max_examples=100, deadline=None)
def test_the_prefixes_agree_with_each_other(asked: str, said: str) -> None:
    resource = {"resourceType": "Observation", "effectiveDateTime": said}
    holds = {prefix: found(resource, ("date", prefix + asked)) for prefix in PREFIXES}
    assert holds["eq"] is not holds["ne"]
    assert holds["ge"] is (holds["gt"] or holds["eq"])
    assert holds["le"] is (holds["lt"] or holds["eq"])
    assert not holds["sa"] or holds["gt"]
    assert not holds["eb"] or holds["lt"]
    assert not (holds["sa"] and holds["eb"])
    assert holds["eq"] or holds["gt"] or holds["lt"]
    assert not holds["eq"] or holds["ap"]


def test_about_reaches_a_tenth_of_the_distance_to_now() -> None:
    span = asked_interval(Date("ap", "2024-03-14"), instant(NOW), UTC)
    exact = asked_interval(Date("eq", "2024-03-14"), instant(NOW), UTC)
    assert (exact.start - span.start) == (span.end - exact.end) == (instant(NOW) - exact.end) // 10
    assert asked_interval(Date("ap", "2025"), instant(NOW), UTC) == asked_interval(
        Date("eq", "2025"), instant(NOW), UTC
    )


# --- numbers against decimals -----------------------------------------------------------------------------------------

amounts = st.decimals(min_value=-1000, max_value=1000, places=3, allow_nan=False, allow_infinity=False)


@given(amounts, st.decimals(min_value=-1000, max_value=1000, places=1))
@settings(max_examples=200, deadline=None)
def test_a_number_is_found_within_half_of_its_last_digit(said: Decimal, asked: Decimal) -> None:
    resource = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": said}]}
    half = Decimal("0.05")
    assert found(resource, ("probability", str(asked))) is (asked - half <= said < asked + half)
    assert found(resource, ("probability", f"gt{asked}")) is (said > asked)
    assert found(resource, ("probability", f"ge{asked}")) is (said >= asked)
    assert found(resource, ("probability", f"lt{asked}")) is (said < asked)
    assert found(resource, ("probability", f"le{asked}")) is (said <= asked)
    assert found(resource, ("probability", f"ap{asked}")) is (abs(said - asked) <= abs(asked) / 10)


def test_a_number_is_exact_however_long_it_is() -> None:
    tenth = "0.1" + "0" * 40
    more = f"{tenth[:-1]}1"
    resource = decode(f'{{"resourceType":"RiskAssessment","prediction":[{{"probabilityDecimal":{more}}}]}}')
    assert found(resource, ("probability", f"gt{tenth}"))
    assert not found(resource, ("probability", tenth))
    assert found(resource, ("probability", more))


# --- strings ----------------------------------------------------------------------------------------------------------


@given(st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert not any(unicodedata.category(letter).startswith(("M", "P")) for letter in once)


@given(st.text(alphabet="aäßÉñ -'.ﬁΣ", min_size=1, max_size=12), st.data())
@settings(max_examples=200, deadline=None)
def test_every_beginning_of_a_name_finds_it(name: str, data: st.DataObject) -> None:
    normal = normalise(name)
    assume(normal)
    beginning = normal[: data.draw(st.integers(1, len(normal)))]
    assume(normalise(beginning))
    resource = {"resourceType": "Patient", "name": [{"family": name}]}
    assert found(resource, ("family", beginning))
    assert found(resource, ("family:contains", beginning))
    assert found(resource, ("family:exact", name.replace("\\", "\\\\")))
    assert found(resource, ("family", name.upper()))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Müller-Lüdenscheidt", "mullerludenscheidt"),
        ("STRAẞE", "strasse"),
        ("  van   der\tBerg ", "van der berg"),
        ("O’Brien, Jr.", "obrien jr"),
        ("ﬁn", "fin"),
        ("Ångström", "angstrom"),
        ("Łódź", "łodz"),
        ("…", ""),
    ],
)
def test_strings_are_compared_without_case_marks_and_punctuation(text: str, wanted: str) -> None:
    assert normalise(text) == wanted


def test_one_matcher_serves_many_resources() -> None:
    judge = matcher(parse("Observation", [("code", "2160-0")]), KNOWN.get, now=NOW, zone=UTC)
    assert [judge(RESOURCES[name]) for name in ("observation", "panel", "patient")] == [True, False, False]
