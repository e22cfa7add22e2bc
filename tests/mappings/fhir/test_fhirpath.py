"""FHIRPath on resources: every expression of R4 compiles, and means what fhirpathpy says it means.

Covers FHIRPath N1 §5 (functions), §6 (operators), FHIR R4 fhirpath.html. Over the published examples:
`test_fhirpath_examples.py`.
"""

from typing import Any

import pytest

from mappings.fhir.codec import Json
from mappings.fhir.fhirpath import Env, FhirpathError, compile
from mappings.fhir.fhirpath_model import is_type
from mappings.fhir.schema import schema
from tests.mappings.fhir import oracle
from tests.mappings.fhir.samples import RESOURCES

SEARCHES = sorted(
    {
        (type_, expression)
        for type_ in schema().resource_types
        for param in schema().params(type_).values()
        for expression in (param.expression, *(part for _, part in param.components))
        if expression
    }
)
CONSTRAINTS = sorted({(key, constraint.expression) for key, constraint in schema().constraints.items()})


def test_every_expression_of_r4_compiles() -> None:
    assert len(SEARCHES) > 1_500
    assert len(CONSTRAINTS) > 200
    for _, expression in (*SEARCHES, *CONSTRAINTS):
        compile(expression)


@pytest.mark.parametrize("name", RESOURCES)
def test_every_expression_of_its_type_agrees_with_the_oracle(name: str) -> None:
    resource = RESOURCES[name]
    type_ = resource["resourceType"]
    own = [constraint.expression for constraint in schema().types[type_].constraints]
    asked = 0
    for expression in (*(text for kind, text in SEARCHES if kind == type_), *own):
        if (question := oracle.translated(expression, type_)) is not None:
            assert oracle.canonical(compile(expression)(resource)) == oracle.ask(question, resource), expression
            asked += 1
    assert asked > 10


@pytest.mark.parametrize("name", RESOURCES)
def test_no_sample_breaks_an_invariant_anywhere(name: str) -> None:
    resource = RESOURCES[name]
    checked = _check(resource, resource, resource["resourceType"])
    assert checked > 5


def _check(value: Json, resource: Json, path: str) -> int:
    """Every error-level constraint at every node, as the validator will run them."""
    checked = 0
    own = schema().types[path].constraints if path in schema().types else ()
    for name, item in value.items():
        element = schema().element(path, name)
        if element is None or name.startswith("_"):
            continue
        child = element.names[name]
        for one in item if isinstance(item, list) else [item]:
            inner = one if child == "Resource" else resource
            for constraint in element.constraints:
                assert compile(constraint.expression).truth(one, Env(inner, resource), type=child) is not False
                checked += 1
            if isinstance(one, dict):
                checked += _check(one, inner, one["resourceType"] if child == "Resource" else child)
    for constraint in own:
        if constraint.severity == "error":
            assert compile(constraint.expression).truth(value, Env(resource), type=path) is not False, constraint.key
            checked += 1
    return checked


OBSERVATION, PATIENT, PANEL = RESOURCES["observation"], RESOURCES["patient"], RESOURCES["panel"]


@pytest.mark.parametrize(
    ("expression", "resource", "wanted"),
    [
        ("Observation.value.unit", OBSERVATION, ["mg/dL"]),
        ("Patient.value", OBSERVATION, []),
        ("Resource.id", OBSERVATION, ["crea"]),
        ("value.ofType(Quantity).code", OBSERVATION, ["mg/dL"]),
        ("value.ofType(string)", OBSERVATION, []),
        ("component.value.ofType(Quantity).value", PANEL, [120, 80]),
        ("component[1].value.comparator", PANEL, ["<"]),
        ("component[9]", PANEL, []),
        ("component.code.coding.code.first()", PANEL, ["8480-6"]),
        ("component.code.coding.code.last()", PANEL, ["8462-4"]),
        ("component.code.tail().text", PANEL, ["cuff", "trace"]),
        ("component.skip(2).take(1).code.text", PANEL, ["cuff"]),
        ("component.count() + 1", PANEL, [5]),
        ("component.select(code.coding.code | code.text)", PANEL, ["8480-6", "8462-4", "cuff", "trace"]),
        ("component.where(value is Quantity).count() = 2", PANEL, [True]),
        ("component.all(code.exists())", PANEL, [True]),
        ("component.exists(value.exists().not())", PANEL, [False]),
        ("code.coding.system.distinct().count()", PANEL, [1]),
        ("(code | component.code).coding.code", PANEL, ["85354-9", "8480-6", "8462-4"]),
        ("name.given.combine(name.given).count()", PATIENT, [4]),
        ("name.given.union('Anna' | 'Eva')", PATIENT, ["Anna", "Zoë", "Eva"]),
        ("name.given.intersect('Anna' | 'Eva')", PATIENT, ["Anna"]),
        ("name.given.exclude('Anna' | 'Eva')", PATIENT, ["Zoë"]),
        ("name.given.isDistinct()", PATIENT, [True]),
        ("birthDate.hasValue() and birthDate.extension.exists()", PATIENT, [True]),
        ("birthDate.extension('http://hl7.org/fhir/StructureDefinition/patient-birthTime').value", PATIENT,
         ["1970-05-17T14:35:45-05:00"]),
        ("birthDate < @1971", PATIENT, [True]),
        ("birthDate = @1970", PATIENT, []),
        ("birthDate <= @1970-05-17", PATIENT, []),
        ("deceased is dateTime", PATIENT, [True]),
        ("deceased is Boolean", PATIENT, [False]),
        ("gender is string", PATIENT, [True]),
        ("active and gender = 'female'", PATIENT, [True]),
        ("active.not()", PATIENT, [False]),
        ("multipleBirth.not()", PATIENT, []),
        ("name.first().family.startsWith('Mü')", PATIENT, [True]),
        ("name.first().family.endsWith('scheidt')", PATIENT, [True]),
        ("name.first().family.contains('-')", PATIENT, [True]),
        ("name.first().family.matches('^M.+-L')", PATIENT, [True]),
        ("name.first().family.replaceMatches('-.*', '')", PATIENT, ["Müller"]),
        ("name.first().family.substring(7, 3)", PATIENT, ["Lüd"]),
        ("name.first().family.substring(99)", PATIENT, []),
        ("name.first().family.length()", PATIENT, [19]),
        ("name.first().family & '/' & name.first().suffix", PATIENT, ["Müller-Lüdenscheidt/"]),
        ("name.first().family + name.first().suffix", PATIENT, []),
        ("identifier.value.toInteger() - 23", PATIENT, [100]),
        ("identifier.value.toDecimal() >= 123.0", PATIENT, [True]),
        ("active.toString()", PATIENT, ["true"]),
        ("gender in ('male' | 'female')", PATIENT, [True]),
        ("('male' | 'female') contains gender", PATIENT, [True]),
        ("language in ('de' | 'en')", PATIENT, []),
        ("iif(deceased.exists(), 'late', 'alive')", PATIENT, ["late"]),
        ("iif(multipleBirth.exists(), 'twin')", PATIENT, []),
        ("children().where($this is HumanName).family", PATIENT, ["Müller-Lüdenscheidt"]),
        ("descendants().where($this is Quantity).value", RESOURCES["panel"], [2, 120, 80]),
        ("referenceRange.low <= referenceRange.high", OBSERVATION, [True]),
        ("%resource.id & %ucum", OBSERVATION, ["creahttp://unitsofmeasure.org"]),
        ("%context.id = id", OBSERVATION, [True]),
        ("value.value = 1.5", OBSERVATION, [True]),
        ("{} or true", OBSERVATION, [True]),
        ("(true | false).allTrue()", OBSERVATION, [False]),
        ("(true | false).anyTrue()", OBSERVATION, [True]),
        ("active.where(not())", PATIENT, []),
        ("multipleBirth - 1", PATIENT, []),
        ("multipleBirth + 1", PATIENT, []),
        ("name.given = 'Anna'", PATIENT, [False]),
        ("name.given = name.given", PATIENT, [True]),
        ("birthDate = birthDate", PATIENT, [True]),
        ("birthDate = @1970-06", PATIENT, [False]),
        ("birthDate != @1970-06", PATIENT, [True]),
        ("birthDate < @1970-13", PATIENT, []),
        ("multipleBirth < 3", PATIENT, []),
        ("gender < 'male'", PATIENT, [True]),
        ("value < 3", OBSERVATION, []),
        ("referenceRange.low < %resource.value", OBSERVATION, []),
        ("referenceRange.low < text", OBSERVATION, []),
        ("component[3].value.origin < component[2].value", PANEL, []),
        ("multipleBirth.toInteger() | multipleBirth.toDecimal() | multipleBirth.toString()", PATIENT, []),
        ("gender.toInteger() | gender.toDecimal()", PATIENT, []),
        ("active.toInteger()", PATIENT, [1]),
        ("name.first().toString()", PATIENT, []),
        ("value.value.toString()", OBSERVATION, ["1.50"]),
        ("gender.toString()", PATIENT, ["female"]),
        ("multipleBirth.length()", PATIENT, []),
        ("birthDate.empty() or birthDate.single().exists()", PATIENT, [True]),
        ("name.suffix.substring(0) | name.suffix.replaceMatches('a', 'b')", PATIENT, []),
        ("name.suffix.startsWith('a')", PATIENT, []),
        ("subject.resolve().resolve()", OBSERVATION, []),
        ("name.trace('x').given.single()", {"resourceType": "Patient", "name": [{"given": ["A"]}]}, ["A"]),
    ],
)  # fmt: skip
def test_functions_and_operators_answer(expression: str, resource: Json, wanted: list[Any]) -> None:
    assert sorted(map(str, compile(expression)(resource))) == sorted(map(str, wanted))


TRUTHS = {"true": True, "false": False, "{}": None}


@pytest.mark.parametrize("left", TRUTHS)
@pytest.mark.parametrize("right", TRUTHS)
@pytest.mark.parametrize("operator", ["and", "or", "xor", "implies"])
def test_logic_has_three_values_as_the_oracle_has(left: str, right: str, operator: str) -> None:
    text = f"{left} {operator} {right}"
    answer = compile(text).truth(OBSERVATION)
    assert ([] if answer is None else [answer]) == [value == "true" for value in oracle.ask(text, OBSERVATION)]


def test_a_reference_is_resolved_by_fetching_or_by_what_it_says() -> None:
    is_patient = compile("Observation.subject.where(resolve() is Patient)")
    assert is_patient(OBSERVATION) == [{"reference": "Patient/anna"}]
    assert is_patient(PANEL) == [PANEL["subject"]]  # contained

    given = compile("subject.resolve().name.given")
    assert given(OBSERVATION) == []
    known = {"Patient/anna": PATIENT}
    assert given(OBSERVATION, Env(OBSERVATION, resolve=known.get)) == ["Anna", "Zoë"]

    typed = {"resourceType": "Observation", "subject": {"type": "Group", "identifier": {"value": "1"}}}
    assert compile("subject.resolve() is Group")(typed) == [True]
    absolute = {"resourceType": "Observation", "subject": {"reference": "https://x.example/fhir/Patient/1/_history/2"}}
    assert is_patient(absolute) == [absolute["subject"]]


def test_a_contained_resource_asks_its_root_for_what_is_contained() -> None:
    inner = PANEL["contained"][0]
    own = compile("%resource.id & '<' & %rootResource.id")
    assert own(inner, Env(inner, PANEL)) == ["p<bp"]
    dangling = compile(schema().constraints["ref-1"].expression)
    assert dangling.truth({"reference": "#p"}, Env(PANEL), type="Reference") is True
    assert dangling.truth({"reference": "#q"}, Env(PANEL), type="Reference") is False


@pytest.mark.parametrize(
    ("key", "type_", "good", "bad"),
    [
        ("per-1", "Period", {"start": "2025-01", "end": "2025-02"}, {"start": "2025-02", "end": "2025-01"}),
        ("per-1", "Period", {"start": "2025-01", "end": "2025-01-15"}, {"start": "2025-02", "end": "2025-01-15"}),
        ("qty-3", "Quantity", {"system": "urn:x", "code": "g"}, {"code": "g"}),
        ("rng-2", "Range", {"low": {"value": 1}, "high": {"value": 2}}, {"low": {"value": 2}, "high": {"value": 1}}),
        ("ext-1", "Extension", {"url": "u", "valueCode": "a"}, {"url": "u"}),
        ("cpt-2", "ContactPoint", {"system": "phone", "value": "1"}, {"value": "1"}),
        ("rat-1", "Ratio", {"numerator": {"value": 1}, "denominator": {"value": 2}}, {"numerator": {"value": 1}}),
        ("cnt-3", "Count", {"value": 3, "code": "1", "system": "http://unitsofmeasure.org"},
         {"value": 3, "code": "2", "system": "http://unitsofmeasure.org"}),
        ("tim-9", "Timing.repeat", {"offset": 5, "when": ["MORN"]}, {"offset": 5, "when": ["C"]}),
        ("eld-3", "ElementDefinition.max", "*", "-1"),
        ("obs-3", "Observation.referenceRange", {"text": "x"}, {"appliesTo": [{"text": "x"}]}),
        ("que-7", "Questionnaire.item.enableWhen", {"operator": "exists", "answerBoolean": True},
         {"operator": "exists", "answerString": "yes"}),
        ("ras-2", "RiskAssessment.prediction", {"probabilityDecimal": 12}, {"probabilityDecimal": 120}),
        ("obs-7", "Observation", PANEL, {"resourceType": "Observation", "code": {"coding": [{"code": "a"}]},
                                         "valueString": "x", "component": [{"code": {"coding": [{"code": "a"}]}}]}),
    ],
)  # fmt: skip
def test_an_invariant_holds_for_the_good_and_fails_for_the_bad(key: str, type_: str, good: Any, bad: Any) -> None:
    constraint = compile(schema().constraints[key].expression)
    assert constraint.truth(good, Env(PANEL if type_ != "Observation" else good), type=type_) is not False
    assert constraint.truth(bad, Env(PANEL if type_ != "Observation" else bad), type=type_) is False


@pytest.mark.parametrize(
    "expression",
    ["name.frobnicate()", "name.frobnicate().given", "%sct", "$index", "a[b]", "x is Nonsense", "x.as(Nonsense)",
     "first(1)", "where()", "iif(true)", "name.matches('[')", "repeat(item)", "a.startsWith()"],
)  # fmt: skip
def test_what_is_outside_the_subset_is_refused_when_compiled(expression: str) -> None:
    with pytest.raises(FhirpathError):
        compile(expression)


@pytest.mark.parametrize(
    "expression",
    ["name.given.single()", "name.given.startsWith('A')", "name.given < 'B'", "name.given is string", "active + 1",
     "active.startsWith('t')", "name.given.family.count() + name.given", "name.given.first().substring('1')"],
)  # fmt: skip
def test_several_items_or_another_kind_where_one_is_wanted_raise_ours(expression: str) -> None:
    with pytest.raises(FhirpathError):
        compile(expression)(PATIENT)


def test_types_are_kinds_of_their_bases() -> None:
    assert is_type("Age", "Quantity")
    assert is_type("canonical", "uri")
    assert is_type("Observation.component", "BackboneElement")
    assert is_type("Patient", "DomainResource")
    assert not is_type("Quantity", "Age")
    assert not is_type("", "Element")


def test_numbers_are_compared_by_amount_however_they_are_kept() -> None:
    tiny = RESOURCES["risk"]
    assert compile("prediction[0].probability = 0.000168")(tiny) == [True]
    assert compile("prediction.probability.ofType(Range).low.value > 0.05")(tiny) == [True]


def test_an_unknown_resource_has_no_children_and_no_error() -> None:
    assert compile("name.given")({"resourceType": "Nonsense", "name": [{"given": ["A"]}]}) == []
