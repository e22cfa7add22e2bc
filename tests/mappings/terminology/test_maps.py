"""Vocabulary maps: every target is a code of the system it names, every row says where it comes from."""

import csv
from pathlib import Path

import pytest

from mappings.fhir.schema import schema
from mappings.terminology import concept_map, tables, ucum
from mappings.terminology.systems import system_for

FOLDER = Path(concept_map.__file__).parent
NAMES = concept_map.names()

# of FHIR's concept-map-equivalence, those a row of ours may claim
EQUIVALENCES = ("equal", "equivalent", "wider", "narrower", "inexact", "unmatched")

OPEN = ("http://terminology.hl7.org/CodeSystem/", "http://hl7.org/fhir/", "urn:ietf:bcp:47")

# Maps whose targets go into an element with a required binding: FHIR's code system and its value set are one
CLOSED = {
    "cda-address-use.address-type": "address-type",
    "cda-address-use.address-use": "address-use",
    "cda-entity-name-use.name-use": "name-use",
    "cda-telecom-use.contact-point-system": "contact-point-system",
    "cda-telecom-use.contact-point-use": "contact-point-use",
    "cda-timing-event.event-timing": "event-timing",
    "gol-18.goal-status": "goal-status",
    "pth-5.request-status": "request-status",
    "v2-0017.charge-item-status": "chargeitem-status",
    "v2-0038.medication-request-status": "medicationrequest-status",
    "v2-0119.medication-request-status": "medicationrequest-status",
    "v2-0183.location-status": "location-status",
    "v2-0271.composition-status": "composition-status",
    "v2-0273.document-reference-status": "document-reference-status",
    "v2-0278.appointment-status": "appointmentstatus",
    "v2-0278.participation-status": "participationstatus",
    "v2-0278.request-status": "request-status",
    "v2-0280.request-priority": "request-priority",
    "v2-0283.request-status": "request-status",
    "v2-0322.immunization-status": "immunization-status",
    "v2-0498.consent-state": "consent-state-codes",
    "v2-0001.administrative-gender": "administrative-gender",
    "v2-0027.request-priority": "request-priority",
    "v2-0038.request-status": "request-status",
    "v2-0085.observation-status": "observation-status",
    "v2-0119.request-status": "request-status",
    "v2-0123.diagnostic-report-status": "diagnostic-report-status",
    "v2-0127.allergy-category": "allergy-intolerance-category",
    "v2-0127.allergy-type": "allergy-intolerance-type",
    "v2-0128.allergy-criticality": "allergy-intolerance-criticality",
    "v2-0190.address-type": "address-type",
    "v2-0190.address-use": "address-use",
    "v2-0200.name-use": "name-use",
    "v2-0201.contact-point-use": "contact-point-use",
    "v2-0202.contact-point-system": "contact-point-system",
    "v2-0436.allergy-type": "allergy-intolerance-type",
    "v2-0485.request-priority": "request-priority",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_map_loads_and_every_row_has_a_source(name: str) -> None:
    loaded = concept_map.load(name)
    assert loaded is concept_map.load(name)
    assert loaded.known
    with (FOLDER / "maps" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert row["source"]
            assert bool(row["target"]) == bool(row["system"])
            assert row["equivalence"] in EQUIVALENCES
            assert (row["equivalence"] == "unmatched") == (not row["target"])


@pytest.mark.parametrize(("name", "values"), sorted(CLOSED.items()))
def test_a_closed_map_leads_only_to_codes_of_its_value_set(name: str, values: str) -> None:
    loaded = concept_map.load(name)
    (system,) = {concept.system for concept in loaded.concepts.values()}
    allowed = schema().valueset(values)
    assert allowed is not None
    assert loaded.targets() <= allowed[system]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CLOSED])
def test_an_open_map_leads_to_codes_of_hl7_tables_where_it_names_one(name: str) -> None:
    for concept in concept_map.load(name).concepts.values():
        if "/CodeSystem/v2-" in concept.system:
            assert tables.system_of(concept.system[-4:], concept.code) == concept.system
        assert concept.system.startswith(OPEN)


@pytest.mark.parametrize(
    ("name", "code", "target"),
    [
        ("v2-0001.administrative-gender", "A", "other"),
        ("v2-0004.v3-ActCode", "I", "IMP"),
        ("v2-0085.observation-status", "W", "entered-in-error"),
        ("v2-0085.observation-status", "B", "amended"),
        ("v2-0123.diagnostic-report-status", "M", "partial"),
        ("v2-0119.request-status", "DE", "entered-in-error"),
        ("v2-0202.contact-point-system", "CP", "phone"),
    ],
)
def test_what_the_guide_leaves_open_or_has_wrong_is_ours(name: str, code: str, target: str) -> None:
    found = concept_map.load(name).get(code)
    assert found is not None
    assert found.code == target


@pytest.mark.parametrize("code", "A B C D F I N O P R S U V W X".split())
def test_every_observation_status_of_table_0085_has_a_target(code: str) -> None:
    assert concept_map.load("v2-0085.observation-status").get(code)


@pytest.mark.parametrize("code", "A C F I M N O P R S X Y Z".split())
def test_every_report_status_of_table_0123_has_a_target(code: str) -> None:
    assert concept_map.load("v2-0123.diagnostic-report-status").get(code)


def test_requests_to_cancel_have_no_status() -> None:
    orders = concept_map.load("v2-0119.request-status")
    for code in ("CA", "DC", "HD", "RP", "DF", "UF"):
        assert orders.get(code) is None
        assert code in orders.known


def test_a_code_without_a_target_is_known_all_the_same() -> None:
    severity = concept_map.load("v2-0128.allergy-criticality")
    assert severity.get("U") is None
    assert "U" in severity.known
    assert "X" not in severity.known


@pytest.mark.parametrize("name", ["nowhere", "../systems", "v2-0001"])
def test_a_map_that_does_not_ship_is_our_error(name: str) -> None:
    with pytest.raises(concept_map.MapError):
        concept_map.load(name)


@pytest.mark.parametrize(
    "text",
    ["code,target\nA,B\n", "code,target,system,display,equivalence,note,source\nA,b,c,,equal,,s\nA,d,c,,equal,,s\n"],
)
def test_a_file_that_is_no_map_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises(concept_map.MapError):
        concept_map.read("x", file)


@pytest.mark.parametrize(
    ("code", "tag"),
    [("de", "de"), ("GER", "de"), ("deu", "de"), ("Eng", "en"), ("de-AT", "de-AT"), ("gsw", "gsw"), ("zz", None)],
)
def test_a_language_becomes_its_shortest_tag_however_it_is_spelled(code: str, tag: str | None) -> None:
    """RFC 5646 §2.2.1: two letters where ISO 639 has two."""
    found = concept_map.load("v2-0296.bcp-47").get(code)
    assert (found.code if found else None) == tag


# systems, tables, units ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "uri"),
    [
        ("LN", "http://loinc.org"),
        ("ln", "http://loinc.org"),
        ("2.16.840.1.113883.6.1", "http://loinc.org"),
        ("SCT", "http://snomed.info/sct"),
        ("2.16.840.1.113883.6.96", "http://snomed.info/sct"),
        ("UCUM", "http://unitsofmeasure.org"),
        ("I10", "http://hl7.org/fhir/sid/icd-10"),
        ("CVX", "http://hl7.org/fhir/sid/cvx"),
        ("2.16.840.1.113883.4.6", "http://hl7.org/fhir/sid/us-npi"),
        ("L", None),
        ("99LAB", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_a_system_has_one_uri_under_all_its_names(key: str, uri: str | None) -> None:
    assert system_for(key) == uri


@pytest.mark.parametrize("file", ["systems.csv", "tables.csv", "ucum.csv"])
def test_every_row_of_a_table_is_there_once_and_has_a_source(file: str) -> None:
    with (FOLDER / file).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    assert all(row[-1] for row in rows)
    keys = [tuple(row[:2]) if file == "tables.csv" else row[0] for row in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("table", "code", "system"),
    [
        ("0001", "M", "http://terminology.hl7.org/CodeSystem/v2-0001"),
        ("0001", "Q", None),
        ("0005", "2106-3", "urn:oid:2.16.840.1.113883.6.238"),
        ("0171", "AUT", "urn:iso:std:iso:3166"),
        ("0212", "AT", "urn:iso:std:iso:3166"),
        ("0399", "AUS", "urn:iso:std:iso:3166"),
        ("0171", "Austria", None),
        ("9998", "X", None),
    ],
)
def test_a_code_is_of_its_table_or_of_no_one(table: str, code: str, system: str | None) -> None:
    assert tables.system_of(table, code) == system
    assert (code in tables.codes(table)) == (system is not None)


@pytest.mark.parametrize(
    ("unit", "code"),
    [("mg/dL", "mg/dL"), ("mg/dl", "mg/dL"), ("mmHg", "mm[Hg]"), ("IU/L", "[IU]/L"), ("10^9/L", "10*9/L"),
     ("°C", "Cel"), ("K", None), ("C", None), ("F", None), ("G", None), ("", None), ("MG/DL", None)],
)  # fmt: skip
def test_a_unit_is_read_only_where_its_spelling_is_safe(unit: str, code: str | None) -> None:
    assert ucum.code_for(unit) == code
