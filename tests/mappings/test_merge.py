"""The update rule: what replaces, what stays, what a late or a nulled statement does.

Source: design chapter HL7 v2 §8, §9. The life of a stay and of a result is told event by event in
`hl7v2/test_traps.py`.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.convert import Mapped
from mappings.fhir.schema import schema
from mappings.fhir.validate import validate
from mappings.merge import cleared, close, event_time, merge, settle

Json = dict[str, Any]
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def said(body: Json, **given: Any) -> Mapped:
    known: dict[str, Any] = {
        "mode": "update", "clear": (), "filled": (), "own": (), "at": "2025-03-04T08:00:00+01:00", "source": (),
        "into": None,
    }  # fmt: skip
    return Mapped(body=body, **(known | given))


def choices(kind: str) -> dict[str, list[str]]:
    """The names of each choice element of a resource: onset[x] is onsetAge, onsetDateTime …"""
    members = schema().members(kind).items()
    found: dict[str, list[str]] = {}
    for name, element in members:
        if element.name.endswith("[x]"):
            found.setdefault(element.name, []).append(name)
    return found


def patient(**elements: Any) -> Json:
    return {"resourceType": "Patient", "id": "p1", **elements}


def test_absent_is_no_statement_and_present_replaces() -> None:
    old = patient(gender="female", birthDate="1980", name=[{"text": "A"}])
    assert merge(old, said(patient(name=[{"text": "B"}]))) == patient(
        gender="female", birthDate="1980", name=[{"text": "B"}]
    )
    assert old["name"] == [{"text": "A"}]  # the old body is never changed


def test_an_element_is_all_of_its_names() -> None:
    beside = {"extension": [{"url": "urn:a:b", "valueString": "x"}]}
    old = patient(deceasedBoolean=True, _deceasedBoolean=beside, birthDate="1980", _birthDate=beside)
    found = merge(old, said(patient(deceasedDateTime="2025", _birthDate=beside)))
    assert found == patient(deceasedDateTime="2025", _birthDate=beside)


def test_what_is_nulled_goes_and_what_is_said_with_it_stays() -> None:
    old = patient(
        gender="female", deceasedBoolean=False, telecom=[{"value": "1", "use": "home"}, {"value": "2", "use": "work"}]
    )
    clear = ("gender", "deceased[x]", "telecom[use=home]")
    assert merge(old, said(patient(), clear=clear)) == patient(telecom=[{"value": "2", "use": "work"}])
    assert merge(old, said(patient(gender="male"), clear=("gender",)))["gender"] == "male"


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("period.end", {"period": {"start": "2025"}}),
        ("extension(urn:a:b)", {}),
        ("participant[type=ATND]", {"participant": [{"type": [{"coding": [{"code": "CON"}]}]}]}),
        ("location[location=Location/1]", {"location": [{"location": {"reference": "Location/2"}}]}),
    ],
)
def test_a_path_clears_what_it_names(path: str, gone: Json) -> None:
    body: Json = {
        "resourceType": "Encounter",
        "id": "e1",
        "period": {"start": "2025", "end": "2026", "_end": {}},
        "extension": [{"url": "urn:a:b", "valueString": "x"}],
        "participant": [{"type": [{"coding": [{"code": "ATND"}]}]}, {"type": [{"coding": [{"code": "CON"}]}]}],
        "location": [{"location": {"reference": "Location/1"}}, {"location": {"reference": "Location/2"}}],
    }
    name = path.partition(".")[0].partition("[")[0].partition("(")[0]
    found = cleared(body, (path,))
    assert found.get(name) == gone.get(name)
    assert {key for key in body if key not in found} == ({name} if not gone else set())


def test_other_authorities_numbers_are_not_this_senders_to_drop() -> None:
    old = patient(identifier=[{"system": "a", "value": "1"}, {"system": "b", "value": "2"}])
    found = merge(
        old, said(patient(identifier=[{"system": "b", "value": "2", "use": "old"}, {"system": "c", "value": "3"}]))
    )
    assert [(each["system"], each.get("use")) for each in found["identifier"]] == [
        ("a", None),
        ("b", "old"),
        ("c", None),
    ]


def test_extensions_are_joined_by_url() -> None:
    old = patient(extension=[{"url": "a", "valueString": "1"}, {"url": "b", "valueString": "2"}])
    found = merge(old, said(patient(extension=[{"url": "b", "valueString": "3"}])))
    assert found["extension"] == [{"url": "a", "valueString": "1"}, {"url": "b", "valueString": "3"}]


def test_a_default_counts_only_where_nothing_is_stored() -> None:
    old: Json = {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "IMP"}}
    new = {"resourceType": "Encounter", "id": "e1", "status": "in-progress", "class": {"code": "AMB"}}
    found = merge(old, said(new, filled=("status",)))
    assert (found["status"], found["class"]["code"]) == ("finished", "AMB")
    assert merge(None, said(new, filled=("status",)))["status"] == "in-progress"


def test_a_stub_creates_and_never_changes() -> None:
    assert settle(None, said(patient(gender="female"), mode="stub"), {}).body == patient(gender="female")
    assert settle(patient(gender="female"), said(patient(gender="male"), mode="stub"), {}).body is None


def test_what_only_lives_in_bundles_is_not_stored() -> None:
    assert settle(None, said({"resourceType": "MessageHeader", "id": "m"}, mode="event"), {}).body is None


def test_a_statement_after_a_stub_counts_whatever_its_time() -> None:
    stub = settle(None, said(patient(gender="female"), mode="stub", at="2026-01-01"), {})
    found = settle(stub.body, said(patient(gender="male"), at="2020-01-01"), stub.clock)
    assert found.body is not None
    assert found.body["gender"] == "male"


CHOICES = [(kind, element) for kind in sorted(schema().resource_types) for element in sorted(choices(kind))]


@pytest.mark.parametrize(("kind", "element"), CHOICES, ids=lambda each: str(each))
@pytest.mark.parametrize("mode", ["state", "update"])
def test_a_late_statement_never_adds_another_type_of_what_is_stored(kind: str, element: str, mode: str) -> None:
    """value[x], onset[x] … are one element each: the stored type of it is the newer word."""
    stored, *others = choices(kind)[element]
    old = {"resourceType": kind, "id": "x", stored: True}
    for other in (*others, f"_{stored}"):
        late = said({"resourceType": kind, "id": "x", other: {"x": 1}}, at="2025-03-01", mode=mode)
        found = settle(old, late, {"": "2025-03-04"}).body
        assert found is None or found.items() <= old.items()


@pytest.mark.parametrize(
    ("kind", "element"),
    [("Condition", "bodySite"), ("Procedure", "bodySite"), ("Immunization", "site"), ("Observation", "focus"),
     ("Observation", "bodySite"), ("Observation", "interpretation"), ("Observation", "referenceRange")],
)  # fmt: skip
def test_a_late_statement_never_says_what_a_newer_one_is_about(kind: str, element: str) -> None:
    """An older "left" is no side of a newer statement that names none, nor an old "high" the reading of a value."""
    old = {"resourceType": kind, "id": "x", "status": "final", "valueString": "b"}
    late = said({"resourceType": kind, "id": "x", element: [{"text": "left"}]}, at="2025-03-01", mode="state")
    assert settle(old, late, {"": "2025-03-04"}).body in (None, old)


def test_a_late_statement_fills_and_says_so() -> None:
    first = settle(None, said(patient(gender="female"), at="2025-03-04"), {})
    late = settle(first.body, said(patient(gender="male", birthDate="1980"), at="2025-03-01"), first.clock)
    assert late.body == patient(gender="female", birthDate="1980")
    assert [issue.code for issue in late.issues] == ["late-event"]
    assert late.clock == first.clock
    again = settle(late.body, said(patient(gender="male"), at="2025-03-01"), late.clock)
    assert again.body is None  # nothing changes: no new version


def test_equal_times_count_in_the_order_of_arrival() -> None:
    first = settle(None, said(patient(gender="female")), {})
    assert merge(first.body, said(patient(gender="male")))["gender"] == "male"


def test_labels_are_not_lowered_by_absence_and_a_stated_confidentiality_replaces() -> None:
    def labelled(*codes: str) -> Json:
        return {"meta": {"security": [{"system": CONFIDENTIALITY, "code": code} for code in codes]}}

    old = patient(**labelled("V"))
    assert merge(old, said(patient(gender="male"))) == patient(gender="male", **labelled("V"))
    assert merge(old, said(patient(**labelled("R")))) == patient(**labelled("R"))
    assert merge(old, said(patient(), clear=("meta.security",))) == patient()
    other = {"system": "urn:a:b", "code": "HIV"}
    both = merge(old, said(patient(meta={"security": [other]})))
    assert both["meta"]["security"] == [{"system": CONFIDENTIALITY, "code": "V"}, other]
    late = settle(old, said(patient(**labelled("N")), at="2020"), {"": "2025"})
    assert late.body is None


def test_contained_resources_live_as_long_as_something_points_to_them() -> None:
    def stay(id_: str) -> Json:
        return {
            "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "IMP"},
            "contained": [{"resourceType": "Practitioner", "id": id_, "name": [{"text": id_}]}],
            "participant": [{"type": [{"coding": [{"code": "ATND"}]}], "individual": {"reference": f"#{id_}"}}],
        }  # fmt: skip

    found = merge(stay("c1"), said(stay("c2")))
    assert [each["id"] for each in found["contained"]] == ["c1", "c2"]
    assert "end" in found["participant"][0]["period"]  # who held the role that another holds now
    gone = merge(stay("c1"), said({"resourceType": "Encounter", "id": "e1"}, clear=("participant[type=ATND]",)))
    assert "contained" not in gone


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("RelatedPerson", {}, {"active": False, "period": {"end": "2025-03-04"}}),
        ("Coverage", {"status": "active"}, {"status": "cancelled", "period": {"end": "2025-03-04"}}),
        ("Coverage", {"period": {"end": "2024"}}, {"status": "cancelled", "period": {"end": "2024"}}),
        ("Account", {"status": "active"}, {"status": "inactive"}),
    ],
)
def test_what_a_snapshot_no_longer_lists_is_ended(kind: str, body: Json, expected: Json) -> None:
    found = close({"resourceType": kind, "id": "x", **body}, "2025-03-04")
    assert {name: found[name] for name in found if name not in ("resourceType", "id")} == expected


@pytest.mark.parametrize(
    ("earlier", "later"),
    [("2024", "2025"), ("2025-03", "2025-03-02"), ("2025-03-04T08:00:00+01:00", "2025-03-04T08:00:00Z"), ("", "1900")],
)
def test_event_times_compare_by_their_moment(earlier: str, later: str) -> None:
    assert event_time(earlier) != event_time(later)
    if earlier:
        assert event_time(earlier) < event_time(later)


def test_what_is_no_time_is_no_time() -> None:
    assert event_time("yesterday") == 0


ELEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "gender": st.sampled_from(["male", "female"]),
        "birthDate": st.sampled_from(["1980", "1981"]),
        "name": st.lists(st.sampled_from([{"text": "A"}, {"text": "B"}]), min_size=1, max_size=2),
        "identifier": st.lists(
            st.sampled_from([{"system": "urn:a:b", "value": "1"}, {"system": "urn:a:c", "value": "2"}]),
            min_size=1, max_size=2, unique_by=str,
        ),
    },
)  # fmt: skip


@given(ELEMENTS, ELEMENTS)
@settings(max_examples=80, deadline=None)
def test_saying_the_same_twice_changes_nothing(one: Json, other: Json) -> None:
    first = settle(patient(**one), said(patient(**other)), {})
    assert first.body is not None
    again = settle(first.body, said(patient(**other)), first.clock)
    assert again.body == first.body
    assert validate(first.body) == ()


@given(st.permutations([("2025-03-01", "male"), ("2025-03-02", "female"), ("2025-03-03", "other")]))
@settings(max_examples=10, deadline=None)
def test_the_newest_statement_stands_in_any_order(told: list[tuple[str, str]]) -> None:
    body: Json | None = None
    clock: dict[str, str] = {}
    for at, gender in told:
        found = settle(body, said(patient(gender=gender), at=at), clock)
        body, clock = found.body or body, found.clock
    assert body is not None
    assert body["gender"] == "other"


# one number, two drugs ------------------------------------------------------------------------------------------------

RXNORM, NDC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/ndc"


def ordered(*codings: tuple[str, str], text: str = "") -> Json:
    concept: Json = {"text": text} if text else {}
    concept |= {"coding": [{"system": system, "code": code} for system, code in codings]} if codings else {}
    return {"resourceType": "MedicationRequest", "id": "m1", "medicationCodeableConcept": concept}


@pytest.mark.parametrize(
    ("first", "then", "named"),
    [
        (ordered((RXNORM, "5640")), ordered((RXNORM, "1191")), True),
        (ordered((RXNORM, "5640")), ordered((RXNORM, "5640")), False),
        (ordered((RXNORM, "5640"), (NDC, "1")), ordered((RXNORM, "5640"), (NDC, "2")), False),  # another package
        (ordered((RXNORM, "5640")), ordered((NDC, "2")), False),  # nobody can tell
        (ordered(text="Ibuprofen"), ordered(text="IBUPROFEN "), False),
        (ordered(text="Ibuprofen"), ordered(text="Aspirin"), True),
    ],
)
def test_another_drug_under_one_number_is_named(first: Json, then: Json, named: bool) -> None:
    told = Mapped(body=then, mode="update", clear=(), filled=(), own=(), at="2026", source=(), into=None)
    assert ("other-drug" in {each.code for each in settle(first, told, {}).issues}) == named


def test_a_drug_inside_the_order_is_compared_too() -> None:
    inside = {"resourceType": "Medication", "id": "c1", "code": {"coding": [{"system": RXNORM, "code": "1191"}]}}
    body: Json = {"resourceType": "MedicationRequest", "id": "m1", "contained": [inside]}
    body |= {"medicationReference": {"reference": "#c1"}}
    told = Mapped(body=body, mode="update", clear=(), filled=(), own=(), at="2026", source=(), into=None)
    assert [each.code for each in settle(ordered((RXNORM, "5640")), told, {}).issues] == ["other-drug"]
