"""Shorter forms of a resource. Covers FHIR R4 search.html §3.1.1.5.8 (_summary), §3.1.1.5.9 (_elements)."""

import copy

import pytest

from mappings.fhir.schema import schema
from mappings.fhir.summary import SUBSETTED, is_element, shortened
from mappings.fhir.validate import validate
from tests.mappings.fhir.samples import RESOURCES

FORMS = [("true", ()), ("text", ()), ("data", ()), (None, ("id",)), (None, ("language",))]
CASES = [(name, *form) for name in RESOURCES for form in FORMS]


@pytest.mark.parametrize(("name", "summary", "elements"), CASES)
def test_a_short_form_is_marked_and_nobodys_original_is_changed(
    name: str, summary: str | None, elements: tuple[str, ...]
) -> None:
    before = copy.deepcopy(RESOURCES[name])
    short = shortened(RESOURCES[name], summary, elements)
    assert RESOURCES[name] == before
    assert short["meta"]["tag"][-1] == SUBSETTED
    assert short["resourceType"] == before["resourceType"]
    assert set(short) <= {*before, "meta"}


@pytest.mark.parametrize(("name", "summary", "elements"), CASES)
def test_a_short_form_keeps_what_is_required(name: str, summary: str | None, elements: tuple[str, ...]) -> None:
    required = [one.names for one in schema().children(RESOURCES[name]["resourceType"]).values() if one.min > 0]
    short = shortened(RESOURCES[name], summary, elements)
    assert all(set(names) & set(short) for names in required)
    known = {fault.expression for fault in validate(RESOURCES[name])}
    assert {fault.expression for fault in validate(short) if fault.severity == "error"} <= known


def test_a_summary_is_short_all_the_way_down() -> None:
    panel = shortened(RESOURCES["panel"], "true", ())
    assert "interpretation" not in panel["component"][0]
    assert panel["component"][0]["valueQuantity"] == RESOURCES["panel"]["component"][0]["valueQuantity"]
    assert "text" not in shortened(RESOURCES["patient"], "true", ())


def test_text_and_data_are_each_others_rest() -> None:
    whole = RESOURCES["patient"] | {"text": {"status": "generated", "div": "<div>x</div>"}}
    assert set(shortened(whole, "text", ())) == {"resourceType", "id", "meta", "text"}
    assert set(shortened(whole, "data", ())) == {*whole, "meta"} - {"text"}


def test_elements_are_named_with_or_without_their_type() -> None:
    for names in (("value",), ("valueQuantity",), ("Observation.value",)):
        short = shortened(RESOURCES["observation"], None, names)
        assert {"valueQuantity", "status", "code", "id"} <= set(short)
        assert "effectiveDateTime" not in short
    whole = shortened(RESOURCES["observation"], None, ("Patient.name",))
    assert whole == RESOURCES["observation"], "what is asked of Patients says nothing of this"


def test_an_element_that_changes_the_meaning_stays() -> None:
    assert "deceasedDateTime" in shortened(RESOURCES["patient"], None, ("name",))


def test_a_primitive_keeps_its_extensions() -> None:
    assert {"birthDate", "_birthDate"} <= set(shortened(RESOURCES["patient"], "true", ()))


def test_no_summary_is_the_resource_itself() -> None:
    assert shortened(RESOURCES["panel"], "false", ()) is RESOURCES["panel"]
    assert shortened(RESOURCES["panel"], None, ()) is RESOURCES["panel"]


@pytest.mark.parametrize(
    ("name", "known"), [("code", True), ("Patient.name", True), ("name", False), ("Nobody.name", False), ("", False)]
)
def test_only_what_exists_can_be_named(name: str, known: bool) -> None:
    assert is_element("Observation", name) is known
