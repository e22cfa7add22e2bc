"""The compiled schema says what R4 4.0.1 says.

Source: FHIR R4 4.0.1, the definitions themselves; the figures are the standard's own counts.
"""

import csv
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from mappings.fhir import schema as schema_module
from mappings.fhir.schema import schema
from tools import compile_fhir
from tools.compile_fhir import CompileError, Errata, branches, of_base

SCHEMA = schema()
ERRATA = Path(schema_module.__file__).with_name("errata.csv")


def test_all_types_of_the_standard_are_there() -> None:
    assert len(SCHEMA.resource_types) == 146
    kinds = Counter(kind.kind for kind in SCHEMA.types.values() if not kind.abstract)
    assert kinds == {"resource": 146, "complex": 39, "primitive": 20}
    assert SCHEMA.version == "4.0.1"


def test_required_bindings_and_search_parameters_are_all_there() -> None:
    bound = {e.valueset for path in SCHEMA.paths() for e in SCHEMA.children(path).values() if e.valueset}
    assert len(bound) == 224
    unlisted = {name for name in bound if SCHEMA.valueset(name) is None}
    assert unlisted == {"mimetypes", "ucum-units", "http://loinc.org/vs/LL379-9"}
    urls = {p.url for kind in SCHEMA.resource_types for p in SCHEMA.params(kind).values()}
    assert len(urls) == 1375


def test_elements_are_in_the_order_of_the_standard() -> None:
    names = list(SCHEMA.children("Patient"))
    assert names[:8] == [
        "id",
        "meta",
        "implicitRules",
        "language",
        "text",
        "contained",
        "extension",
        "modifierExtension",
    ]
    assert names[8:12] == ["identifier", "active", "name", "telecom"]


def test_every_type_an_element_names_exists() -> None:
    known = set(SCHEMA.types) | set(SCHEMA.paths())
    named = {kind for path in SCHEMA.paths() for e in SCHEMA.children(path).values() for kind in e.types}
    assert named - known == set()


def test_a_choice_is_found_by_the_names_json_gives_it() -> None:
    value = SCHEMA.element("Observation", "valueQuantity")
    assert value is SCHEMA.element("Observation", "value[x]")
    assert value is not None
    assert value.choice
    assert value.stem == "value"
    assert value.names["valueDateTime"] == "dateTime"
    assert SCHEMA.element("Observation", "valueUri") is None


def test_an_element_with_children_is_typed_by_the_path_that_lists_them() -> None:
    component = SCHEMA.element("Observation", "component")
    borrowed = SCHEMA.element("Observation.component", "referenceRange")
    assert component is not None
    assert borrowed is not None
    assert component.types == ("Observation.component",)
    assert borrowed.types == ("Observation.referenceRange",)  # a contentReference
    assert component.many
    assert component.max is None


def test_flags_targets_and_constraints_are_kept() -> None:
    status, url = SCHEMA.element("Observation", "status"), SCHEMA.element("Extension", "url")
    subject, low = SCHEMA.element("Observation", "subject"), SCHEMA.element("Observation.referenceRange", "low")
    assert status is not None
    assert url is not None
    assert subject is not None
    assert low is not None
    assert (status.modifier, status.summary, status.min, status.many) == (True, True, 1, False)
    assert url.xml_attribute
    assert subject.targets == ("Patient", "Group", "Device", "Location")
    assert [constraint.key for constraint in low.constraints] == ["sqty-1"]
    assert {c.key for c in SCHEMA.types["Observation"].constraints} >= {"obs-6", "obs-7", "dom-2"}


def test_the_three_constraints_of_one_key_stay_apart() -> None:
    assert len({SCHEMA.constraints[key].expression for key in SCHEMA.constraints if key.startswith("inv-1")}) == 3


def test_an_id_is_an_id_in_every_resource() -> None:
    assert {SCHEMA.children(kind)["id"].types for kind in SCHEMA.resource_types} == {("id",)}


def test_search_parameters_come_with_those_of_every_resource() -> None:
    params = SCHEMA.params("Observation")
    assert params["code"].expression == "Observation.code"
    assert params["_id"].expression == "Resource.id"
    assert params["code-value-date"].components[1][1] == "value.as(dateTime) | value.as(Period)"
    assert params["subject"].url == "http://hl7.org/fhir/SearchParameter/Observation-subject"


def test_compartments_and_operations_are_listed() -> None:
    assert SCHEMA.compartment("Patient")["Observation"] == ("subject", "performer")
    assert {operation.code for operation in SCHEMA.operations("Patient")} >= {"everything", "match", "validate"}
    assert {operation.code for operation in SCHEMA.operations(None)} >= {"convert"}


def test_types_know_what_they_specialise() -> None:
    assert SCHEMA.is_a("Age", "Quantity")
    assert SCHEMA.is_a("Patient", "Resource")
    assert not SCHEMA.is_a("Bundle", "DomainResource")


def test_what_the_schema_hands_out_is_frozen() -> None:
    children = SCHEMA.children("Patient")
    with pytest.raises(TypeError):
        children["nickname"] = children["name"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        children["name"].min = 1  # type: ignore[misc]
    assert schema() is SCHEMA


def test_v3_hierarchies_lead_to_their_top() -> None:
    confidentiality = SCHEMA.parents["http://terminology.hl7.org/CodeSystem/v3-Confidentiality"]
    assert confidentiality["R"] == "_Confidentiality"
    assert SCHEMA.case_sensitive["http://snomed.info/sct"] is False


def test_each_erratum_gives_its_reason() -> None:
    with ERRATA.open(encoding="utf-8", newline="") as rows:
        errata = list(csv.DictReader(rows))
    assert errata
    assert all(row["reason"] and row["declared"] != row["used"] for row in errata)


def test_an_erratum_that_is_out_of_date_stops_the_compilation() -> None:
    row = {"kind": "element-type", "where": "Resource.id", "declared": "string", "used": "id", "reason": "test"}
    with pytest.raises(CompileError, match="out of date"):
        Errata([row]).apply("element-type", "Resource.id", "uri")
    with pytest.raises(CompileError, match="override nothing"):
        Errata([row]).finish()


def test_a_search_expression_keeps_the_branches_of_its_base() -> None:
    expression = "Patient.name | (Person.name as string) | Patient.where(a = 'b|c').alias"
    assert branches(expression)[2] == "Patient.where(a = 'b|c').alias"
    assert of_base(expression, "Patient") == "Patient.name | Patient.where(a = 'b|c').alias"
    assert of_base(expression, "Person") == "(Person.name as string)"
    with pytest.raises(CompileError, match="no branch"):
        of_base(expression, "Practitioner")


def test_the_table_is_written_one_definition_a_line() -> None:
    assert compile_fhir.render({"a": {"b": 1, "c": [2]}, "d": "e"}) == b'{\n"a":{\n"b":1,\n"c":[2]\n},\n"d":"e"\n}\n'
