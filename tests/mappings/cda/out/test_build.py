"""A FHIR document as CDA: what every document must hold, what none may say, and what becomes of hostile text.

Source: design chapter CDA §16; POCD_MT000040 (order); C-CDA R2.1 CCD; eHDSI patient summary; FHIR R4 documents.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mappings.cda.document import Document, parse
from mappings.cda.element import Element, short
from mappings.cda.out import KINDS, OutboundError
from mappings.cda.out.classes import classes
from mappings.cda.out.rows import maps
from mappings.cda.write import compose, compose_cda
from mappings.convert import Conversion, to_fhir
from mappings.fhir.codec import decode, encode
from mappings.profile import load_profile
from mappings.xml_parser import tree
from tests.mappings.cda.converted import default, every, one
from tests.mappings.cda.out.trips import KINDS as BOTH
from tests.mappings.cda.out.trips import PAIRS_OF_SAMPLES, Json, Kind, in_bundle, of_file

SAMPLE = Path(__file__).parents[4] / "samples/fhir/patient-summary.json"
UCUM = "http://unitsofmeasure.org"
SCT, T = "http://snomed.info/sct", "http://terminology.hl7.org/CodeSystem/"
ALLERGIES, PROBLEMS, MEDICATIONS, IMMUNIZATIONS = "48765-2", "11450-4", "10160-0", "11369-6"
PATIENT = {"reference": "Patient/p1"}
V3 = "{urn:hl7-org:v3}"


def cc(code: str, system: str = SCT, **more: Any) -> Json:
    return {"coding": [{"system": system, "code": code, **more}]}


def sample() -> Json:
    found: Json = decode(SAMPLE.read_bytes())
    return found


def allergy(**more: Any) -> Json:
    base = {"clinicalStatus": cc("active", T + "allergyintolerance-clinical"), "code": cc("111088007", display="Latex")}
    return {"resourceType": "AllergyIntolerance", "id": "a1", "patient": PATIENT, **base, **more}


def condition(**more: Any) -> Json:
    base = {"clinicalStatus": cc("active", T + "condition-clinical"), "code": cc("195967001", display="Asthma")}
    return {"resourceType": "Condition", "id": "c1", "subject": PATIENT, **base, **more}


def medication(kind: str = "MedicationStatement", **more: Any) -> Json:
    base = {"status": "active", "medicationCodeableConcept": cc("387458008", display="Aspirin")}
    return {"resourceType": kind, "id": "m1", "subject": PATIENT, **base, **more}


def immunization(**more: Any) -> Json:
    base = {
        "status": "completed",
        "vaccineCode": cc("140", "http://hl7.org/fhir/sid/cvx"),
        "occurrenceDateTime": "2025",
    }
    return {"resourceType": "Immunization", "id": "i1", "patient": PATIENT, **base, **more}


def observation(**more: Any) -> Json:
    base = {"status": "final", "code": cc("2345-7", "http://loinc.org", display="Glucose"), "effectiveDateTime": "2026"}
    return {"resourceType": "Observation", "id": "o1", "subject": PATIENT, **base, **more}


def refuted(kind: str) -> Json:
    return {"verificationStatus": cc("refuted", T + kind)}


def written(bundle: Json, kind: Kind = "ccd") -> Document:
    """The document, through our own guard."""
    return parse(compose_cda(bundle, kind, default()))


def read(bundle: Json, kind: Kind = "ccd") -> Conversion:
    """What we ourselves read of it."""
    return to_fhir(compose_cda(bundle, kind, default()), default())


def found(doc: Document, path: str) -> list[Any]:
    steps = "/".join(V3 + step if step[0] not in ".{" else step for step in path.split("/"))
    return list(tree(doc.raw).iterfind(f".//{steps}"))


def section(doc: Document, code: str) -> Any:
    (made,) = [each for each in found(doc, "section") if each[_at(each, "code")].get("code") == code]
    return made


def _at(el: Any, name: str) -> int:
    return [short(str(each.tag)) for each in el].index(name)


# every document -------------------------------------------------------------------------------------------------------


def documents() -> list[tuple[bytes, Kind]]:
    return [
        *((of_file(path, kind).written.data, kind) for path, kind in PAIRS_OF_SAMPLES),
        *((compose_cda(sample(), kind, default()), kind) for kind in BOTH),
    ]


def test_elements_stand_in_the_order_of_the_schema() -> None:
    known = classes()
    for data, _ in documents():
        doc = parse(data)
        for el in doc.root.iter():
            children = known.get(short(str(el.tag)))
            if children is None or (el.tag == f"{V3}text" and _is_narrative(el)):
                continue
            order = [children[short(str(each.tag))].at for each in el]
            assert order == sorted(order), el.tag
            single = [name for name, child in children.items() if not child.repeats]
            names = [short(str(each.tag)) for each in el]
            assert [name for name in single if names.count(name) > 1] == []


def _is_narrative(el: Element) -> bool:
    above = el.getparent()
    return above is not None and above.tag == f"{V3}section"


def test_every_reference_to_the_narrative_leads_to_a_row() -> None:
    for data, _ in documents():
        doc = parse(data)
        targets = [each.get("value") for each in found(doc, "text/reference")]
        assert {str(each) for each in targets} <= {f"#{name}" for name in doc.ids}
        assert not doc.issues  # no ID twice


def test_uuids_are_in_capitals_and_every_document_has_its_templates() -> None:
    for data, kind in documents():
        doc = parse(data)
        roots = [str(each.get("root")) for each in found(doc, "id") if each.get("root")]
        assert [root for root in roots if "-" in root and root != root.upper()] == []
        first = [(t.get("root"), t.get("extension")) for t in doc.root.iterchildren(f"{V3}templateId")]
        assert first == [(t.root, t.extension or None) for t in maps()["header.ClinicalDocument"].templates[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_input_gives_equal_bytes(kind: Kind) -> None:
    assert compose_cda(sample(), kind, default()) == compose_cda(decode(encode(sample())), kind, default())


def test_every_row_is_used_by_some_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no sample writes is not known to work."""
    from mappings.cda.out import build

    fired: set[str] = set()
    inner = build._Work._row

    def watched(work: build._Work, row: Any, node: Any, root: Json, el: Any) -> None:
        before = etree.tostring(el)
        inner(work, row, node, root, el)
        if etree.tostring(el) != before or row.map:
            fired.add(row.id)

    monkeypatch.setattr(build._Work, "_row", watched)
    of_file.cache_clear()
    documents()
    for kind in BOTH:
        for each in (in_bundle(), in_bundle(author=[], identified=False), in_bundle(*_lone(), sections=_LONE)):
            compose_cda(each, kind, default())
    of_file.cache_clear()
    assert {row.id for each in maps().values() for row in each.rows} - fired == set()


def _lone() -> list[Json]:
    """What the samples do not have."""
    panel = observation(
        id="o2",
        code=cc("85353-1", "http://loinc.org"),
        valueString="normal",
        hasMember=[{"reference": "Observation/o1"}],
    )
    vague = {name: value for name, value in condition().items() if name != "clinicalStatus"}
    unclear = {name: value for name, value in allergy().items() if name != "clinicalStatus"}
    common: Json = {"subject": PATIENT, "identifier": [{"system": "urn:oid:2.999.5", "value": "1"}]}
    done = {"resourceType": "Procedure", "id": "pr", "status": "completed", "performedDateTime": "2020", **common}
    use = {"resourceType": "DeviceUseStatement", "id": "du", "status": "active", "timingDateTime": "2020", **common}
    return [
        panel, observation(), vague, unclear, {**done, "code": cc("80146002")}, {**use, "device": {"display": "Pump"}},
    ]  # fmt: skip


_LONE = {
    "8716-3": ["Observation/o2"], ALLERGIES: ["AllergyIntolerance/a1"], PROBLEMS: ["Condition/c1"],
    "47519-4": ["Procedure/pr"], "46264-8": ["DeviceUseStatement/du"],
}  # fmt: skip


# negation, absence, ignorance -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("resource", "code", "path"),
    [
        (allergy(**refuted("allergyintolerance-verification")), ALLERGIES, "act/entryRelationship/observation"),
        (condition(**refuted("condition-ver-status")), PROBLEMS, "act/entryRelationship/observation"),
        (medication(status="not-taken"), MEDICATIONS, "substanceAdministration"),
        (medication("MedicationRequest", intent="order", doNotPerform=True), MEDICATIONS, "substanceAdministration"),
        (immunization(status="not-done"), IMMUNIZATIONS, "substanceAdministration"),
    ],
)
def test_what_is_not_so_is_negated_and_reads_so(resource: Json, code: str, path: str, kind: Kind) -> None:
    bundle = in_bundle(resource, sections={code: [f"{resource['resourceType']}/{resource['id']}"]})
    (statement,) = section(written(bundle, kind), code).iterfind(
        "/".join(V3 + step for step in f"entry/{path}".split("/"))
    )
    assert statement.get("negationInd") == "true"
    again = one(read(bundle, kind), resource["resourceType"])
    for name in ("verificationStatus", "doNotPerform", "status"):
        if resource.get(name) in ("not-taken", "not-done", True):
            assert again[name] == resource[name]
    if "verificationStatus" in resource:
        assert again["verificationStatus"]["coding"][0]["code"] == "refuted"


ANY = cc("410942007")  # a drug, whichever
NOBODY = cc("unknown", T + "data-absent-reason")


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("resource", "code"),
    [
        (allergy(code=NOBODY, **refuted("allergyintolerance-verification")), ALLERGIES),
        (condition(code=NOBODY, **refuted("condition-ver-status")), PROBLEMS),
        (medication(medicationCodeableConcept=NOBODY, status="not-taken"), MEDICATIONS),
        (medication("MedicationRequest", intent="order", doNotPerform=True, medicationCodeableConcept=ANY), "10160-0"),
        (immunization(vaccineCode=NOBODY, status="not-done"), IMMUNIZATIONS),
    ],
)  # fmt: skip
def test_a_denial_of_nothing_in_particular_never_denies_everything(resource: Json, code: str, kind: Kind) -> None:
    """It would read as "no known allergies"."""
    bundle = in_bundle(resource, sections={code: [f"{resource['resourceType']}/{resource['id']}"]})
    done = compose(bundle, kind, default())
    assert f"{resource['resourceType']}/{resource['id']}" in {path.partition("#")[0] for path in done.left}
    assert every(to_fhir(done.data, default()), resource["resourceType"]) == []


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("resource", "code", "none"),
    [
        (allergy(code=cc("716186003")), ALLERGIES, "716186003"),
        (allergy(code=cc("409137002")), ALLERGIES, "409137002"),
        (condition(code=cc("160245001")), PROBLEMS, "160245001"),
        (medication(medicationCodeableConcept=cc("787481004")), MEDICATIONS, "787481004"),
        (immunization(vaccineCode=cc("787482006")), IMMUNIZATIONS, "787482006"),
    ],
)
def test_there_is_none_and_nobody_knows_differ(resource: Json, code: str, none: str, kind: Kind) -> None:
    name = resource["resourceType"]
    known = read(in_bundle(resource, sections={code: [f"{name}/{resource['id']}"]}), kind)
    again = one(known, name)
    (said,) = [again[name] for name in ("code", "medicationCodeableConcept", "vaccineCode") if name in again]
    assert said["coding"][0]["code"] == none
    unknown = read(in_bundle(sections={code: []}), kind)
    assert every(unknown, name) == []
    (empty,) = [each for each in one(unknown, "Composition")["section"] if each["code"]["coding"][0]["code"] == code]
    assert empty["emptyReason"]["coding"][0]["code"] == "unavailable"


@pytest.mark.parametrize(
    ("kind", "codes"),
    [("ccd", {ALLERGIES, MEDICATIONS, PROBLEMS, "30954-2", "8716-3", "29762-2"}),
     ("ehdsi-ps", {ALLERGIES, MEDICATIONS, PROBLEMS, "47519-4", "46264-8"})],
)  # fmt: skip
def test_sections_that_must_be_there_say_that_nobody_knows(kind: Kind, codes: set[str]) -> None:
    doc = written(in_bundle(), kind)
    made = found(doc, "structuredBody/component/section")
    assert {each[_at(each, "code")].get("code") for each in made} == codes
    for each in made:
        says = each.get("nullFlavor") == "NI" if kind == "ccd" else b"-info" in etree.tostring(each)
        assert says


# what no document may state -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resource",
    [
        condition(verificationStatus=cc("entered-in-error", T + "condition-ver-status"), clinicalStatus={}),
        medication(status="entered-in-error"),
        condition(modifierExtension=[{"url": "https://example.org/in-a-dream", "valueBoolean": True}]),
        condition(subject={"reference": "Patient/somebody-else"}),
        observation(focus=[{"display": "fetus"}]),
    ],
)
def test_what_is_void_qualified_or_of_somebody_else_is_left_out_and_told(resource: Json) -> None:
    name = resource["resourceType"]
    code = {"Condition": PROBLEMS, "Observation": "30954-2"}.get(name, MEDICATIONS)
    done = compose(in_bundle(resource, sections={code: [f"{name}/{resource['id']}"]}), "ccd", default())
    assert "left-out" in [issue.code for issue in done.issues]
    assert every(to_fhir(done.data, default()), name) == []


@pytest.mark.parametrize(
    ("bundle", "said"),
    [({"resourceType": "Bundle", "type": "document"}, "no Composition"),
     ({"entry": [{"resource": {"resourceType": "Patient"}}]}, "no Composition"),
     (in_bundle(subject={"reference": "Patient/nobody"}), "no patient")],
)  # fmt: skip
def test_a_bundle_that_is_no_patients_document_is_refused(bundle: Json, said: str) -> None:
    with pytest.raises(OutboundError, match=said):
        compose(bundle, "ccd", default())


# values ---------------------------------------------------------------------------------------------------------------


def test_a_pivot_document_keeps_what_the_author_called_it() -> None:
    """Outside the target language, in a translation the English pivot, inside of that the original."""
    words = [("en", "Asthma"), ("de", "Asthma bronchiale")]
    inside = [
        {"url": "http://hl7.org/fhir/StructureDefinition/translation",
         "extension": [{"url": "lang", "valueCode": lang}, {"url": "content", "valueString": content}]}
        for lang, content in words
    ]  # fmt: skip
    coding = {"system": SCT, "code": "195967001", "display": "Asma", "_display": {"extension": inside}}
    national = {"system": "urn:oid:2.999.77", "code": "A1", "display": "Asthma br.", "userSelected": True}
    bundle = in_bundle(condition(code={"coding": [coding, national]}), sections={PROBLEMS: ["Condition/c1"]})
    (value,) = [
        each for each in found(written(bundle, "ehdsi-ps"), "observation/value") if each.get("code") == "195967001"
    ]
    assert value.get("displayName") == "Asma"
    (pivot,) = value.iterchildren(f"{V3}translation")
    assert [each.get("displayName") for each in pivot.iter(f"{V3}translation")] == [
        "Asthma",
        "Asthma bronchiale",
        "Asthma br.",
    ]
    again = one(read(bundle, "ehdsi-ps"), "Condition")["code"]["coding"]
    assert [each["code"] for each in again] == ["195967001", "A1"]
    assert again[1]["userSelected"] is True


def test_a_code_of_a_system_without_a_name_is_words_and_told() -> None:
    bundle = in_bundle(
        condition(code=cc("X1", "https://example.org/codes", display="Oddness")), sections={PROBLEMS: ["Condition/c1"]}
    )
    done = compose(bundle, "ccd", default())
    assert [issue.code for issue in done.issues] == ["system-unnamed"]
    assert one(to_fhir(done.data, default()), "Condition")["code"] == {"text": "Oddness"}


@pytest.mark.parametrize(
    ("timing", "count"),
    [
        ({"frequency": 1, "period": 6, "periodUnit": "h"}, 1),
        ({"frequency": 2, "period": 1, "periodUnit": "d"}, 1),
        ({"frequency": 1, "period": 4, "periodUnit": "h", "periodMax": 6}, 1),
        ({"when": ["ACM"], "offset": 30}, 1),
        ({"boundsPeriod": {"start": "2026-01-01"}, "frequency": 3, "period": 1, "periodUnit": "wk"}, 2),
        ({"frequency": 2, "period": 3, "periodUnit": "d"}, 0),
    ],
)
def test_when_it_is_taken_comes_back(timing: Json, count: int) -> None:
    given_ = medication("MedicationRequest", intent="plan", dosageInstruction=[{"timing": {"repeat": timing}}])
    bundle = in_bundle(given_, sections={MEDICATIONS: ["MedicationRequest/m1"]})
    times = found(written(bundle), "substanceAdministration/effectiveTime")
    if count:
        assert len(times) == count
        again = one(read(bundle), "MedicationRequest")["dosageInstruction"][0]["timing"]["repeat"]
        assert decode(encode(again)) == decode(encode(timing))
    else:  # twice in three days is no number a day
        assert "left-out" in [issue.code for issue in compose(bundle, "ccd", default()).issues]


@pytest.mark.parametrize(
    "value",
    [
        {"valueQuantity": {"value": 5, "comparator": "<", "unit": "mg/L", "system": UCUM, "code": "mg/L"}},
        {"valueQuantity": {"value": 2, "unit": "puffs of air"}},
        {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}},
        {"valueString": "no growth"},
        {"valueBoolean": False},
        {"valueInteger": 0},
        {"valueCodeableConcept": {**cc("260373001", display="Detected"), "text": "found"}},
        {"valuePeriod": {"start": "2026-01-01", "end": "2026-01-02"}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", BOTH)
def test_every_kind_of_value_comes_back(value: Json, kind: Kind) -> None:
    bundle = in_bundle(observation(**value), sections={"30954-2": ["Observation/o1"]})
    again = one(read(bundle, kind), "Observation")
    assert {name: each for name, each in again.items() if name.startswith("value")} == value


def test_the_organisations_root_is_the_profiles() -> None:
    from dataclasses import replace

    profile = load_profile("default")
    with_root = replace(profile, cda=replace(profile.cda, root="2.999.42"))
    bundle = in_bundle(condition(), sections={PROBLEMS: ["Condition/c1"]})
    ids = found(parse(compose_cda(bundle, "ccd", with_root)), "observation/id")
    assert ("2.999.42", "c1") in [(each.get("root"), each.get("extension")) for each in ids]


# hostile text ---------------------------------------------------------------------------------------------------------

EVIL = [
    '"/><script>alert(1)</script>',
    "]]>&x;",
    "<!DOCTYPE a [<!ENTITY b 'c'>]>",
    "\u0000\u0008\ufffe",
    "{{7*7}}",
    "a\nb\tc",
]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("words", EVIL)
def test_display_names_cannot_inject(words: str, kind: Kind) -> None:
    bundle = in_bundle(
        condition(code={**cc("1", display=words), "text": words}, note=[{"text": words}]),
        sections={PROBLEMS: ["Condition/c1"]},
        title=words,
    )  # fmt: skip
    doc = written(bundle, kind)
    plain = written(in_bundle(condition(note=[{"text": "x"}]), sections={PROBLEMS: ["Condition/c1"]}), kind)
    assert {each.tag for each in doc.root.iter()} - {each.tag for each in plain.root.iter()} <= {f"{V3}originalText"}
    assert b"<script" not in doc.raw


TEXTS = st.text(max_size=20)
CODES = st.sampled_from(["active", "inactive", "resolved", "recurrence", "x", ""])


@st.composite
def bundles(draw: st.DrawFn) -> Json:
    """Small documents of allergies and problems with whatever text."""
    resources = []
    for n in range(draw(st.integers(0, 3))):
        code = {
            "coding": [
                {
                    "system": draw(st.sampled_from([SCT, "urn:x:y", "urn:oid:2.999.7"])),
                    "code": "1",
                    "display": draw(TEXTS),
                }
            ]
        }
        more: Json = {"id": f"r{n}", "code": draw(st.sampled_from([code, {"text": draw(TEXTS) or "x"}]))}
        if draw(st.booleans()):
            more |= refuted("condition-ver-status") | {"note": [{"text": draw(TEXTS)}]}
        more["clinicalStatus"] = cc(draw(CODES), T + "condition-clinical")
        resources.append(condition(**more))
    return in_bundle(
        *resources, sections={PROBLEMS: [f"Condition/r{n}" for n in range(len(resources))]}, title=draw(TEXTS)
    )


@given(bundles(), st.sampled_from(BOTH))
def test_any_small_document_is_written_and_read_without_an_error(bundle: Json, kind: Kind) -> None:
    done = compose(bundle, kind, default())
    second = to_fhir(done.data, default())
    assert [issue for issue in second.issues if issue.severity == "error"] == []
    denied = [each for each in every(second, "Condition") if each.get("verificationStatus")]
    sent = [e["resource"] for e in bundle["entry"] if "verificationStatus" in e["resource"]]
    assert len(denied) <= len(sent)
