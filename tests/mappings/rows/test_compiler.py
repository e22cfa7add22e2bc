"""Rows to Python: what the compiled function does, and what never gets that far.

Source: design chapter HL7 v2 §3.
"""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest

from mappings.fhir.schema import schema
from mappings.rows.compiler import CompiledRows, Environment, compile_maps
from mappings.rows.errors import RowsError
from mappings.rows.table import Row, make_row
from mappings.rows.trace import Trace

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """A stand-in for a datatype function: the seam the registry offers."""

    call: Any
    fhir_type: str
    takes: str = "one"


@dataclass(frozen=True, slots=True)
class Codes:
    """A vocabulary of three codes."""

    codes: frozenset[str] = frozenset({"male", "female", "other"})

    def targets(self) -> frozenset[str]:
        return self.codes


def sex(raw: str, ctx: Any, vocab: Any) -> Any:
    known = {"F": "female", "M": "male"}.get(raw)
    return known or (None, {"extension": [{"url": "x", "valueCodeableConcept": {"coding": [{"code": raw}]}}]})


FUNCTIONS = {
    "CX[Identifier]": Function(lambda raw, ctx, vocab: {"value": raw}, "Identifier"),
    "XPN[HumanName]": Function(lambda raw, ctx, vocab: {"text": raw}, "HumanName"),
    "XTN[ContactPoint]": Function(lambda raw, ctx, vocab: {"value": raw}, "ContactPoint"),
    "DT[date]": Function(lambda raw, ctx, vocab: raw, "date"),
    "ST[string]": Function(lambda raw, ctx, vocab: raw, "string"),
    "TX[string]": Function(lambda raw, ctx, vocab: "\n".join(raw), "string", "all"),
    "CWE[code]": Function(sex, "code"),
    "CWE[CodeableConcept]": Function(lambda raw, ctx, vocab: {"text": raw}, "CodeableConcept"),
    "CWE[Coding]": Function(lambda raw, ctx, vocab: {"code": raw}, "Coding"),
    "XCN[Reference(Practitioner)]": Function(lambda raw, ctx, vocab: {"display": raw}, "Reference"),
    "XPN[Reference(Device)]": Function(lambda raw, ctx, vocab: {"display": raw}, "Reference"),
    "DEATH[value]": Function(lambda raw, ctx, vocab: {"deceasedBoolean": raw == "Y"}, "deceased[x]"),
}


def environment(policy: dict[str, str] | None = None, *, ignore_null: bool = False) -> Environment:
    def vocabulary(name: str) -> Codes:
        if name == "wrong":
            return Codes(frozenset({"robot"}))
        if name != "sexes":
            raise KeyError(name)
        return Codes()

    resolvers = {"nobody": lambda ctx: None, "named": lambda ctx: "unknown"}
    return Environment(schema(), FUNCTIONS, resolvers, vocabulary, policy or {}, ignore_null, "urn:source-code")


def rows(text: str) -> dict[str, list[Row]]:
    """`id source when target type vocab value` a line, as CSV without the note."""
    found: dict[str, list[Row]] = {}
    for number, cells in enumerate(csv.reader(io.StringIO(text.strip())), 2):
        each = make_row([*cells, *[""] * (8 - len(cells))], "test.csv", number, "base")
        found.setdefault(each.map, []).append(each)
    return found


class Context:
    """What compiled rows use of a context."""

    rep, comp = "~", "^"

    def __init__(self, **near: Any) -> None:
        self.clear: list[str] = []
        self.filled: list[str] = []
        self.nulls = 0
        self.row, self.field, self.rep_index, self.seg = "", 0, 0, None
        self.event, self.version = "A01", (2, 5)
        self.segments = near

    def near(self, name: str) -> Any:
        return self.segments.get(name)

    def null(self, emptied: str = "", others: tuple[str, ...] = ()) -> None:
        if emptied and not any(others):
            self.clear.append(emptied)
        else:
            self.nulls += 1


class Segment:
    """Fields by number."""

    def __init__(self, name: str, **fields: str) -> None:
        self.name, self.nth = name, 1
        numbers = {int(key[1:]): value for key, value in fields.items()}
        self.fields = [name, *(numbers.get(n, "") for n in range(1, max(numbers, default=0) + 1))]


def run(text: str, segment: Segment, ctx: Context | None = None, **policy: str) -> Json:
    """The body one map makes of one segment; fast and traced agree."""
    compiled = compile_maps(rows(text), environment(policy))
    (name,) = compiled.maps
    ctx = ctx or Context()
    body: Json = {}
    compiled[name].fast(segment, ctx, body)
    again: Json = {}
    trace = Trace()
    other = Context(**ctx.segments)
    compiled.traced.bind(hit=trace.hit, miss=trace.miss, place_hits=trace.place_hits)[name](segment, other, again)
    assert (again, other.clear, other.filled) == (body, ctx.clear, ctx.filled)
    return body


def test_lists_take_every_repetition_and_values_the_first() -> None:
    text = "PID.Patient:3,PID-3,,identifier[],CX[Identifier]\nPID.Patient:7,PID-7,,birthDate,DT[date]"
    body = run(text, Segment("PID", f3='1~~""~2', f7="1970~1980"))
    assert body == {"identifier": [{"value": "1"}, {"value": "2"}], "birthDate": "1970"}


def test_one_repetition_and_one_component_can_be_named() -> None:
    text = "PID.Patient:5,PID-5[2],,name[],XPN[HumanName]\nPID.Patient:11,PID-11.3,,address[home].city,ST[string]"
    assert run(text, Segment("PID", f5="A~B", f11="x^y^Wien")) == {
        "name": [{"text": "B"}],
        "address": [{"city": "Wien"}],
    }


def test_all_repetitions_can_be_handed_over_as_one_list() -> None:
    assert run("PID.Patient:23,PID-23[*],,address[b].text,TX[string]", Segment("PID", f23="a~b")) == {
        "address": [{"text": "a\nb"}]
    }


def test_the_first_valued_alternative_counts() -> None:
    text = "PID.Patient:29,PID-29|PID-30,,deceased[x],DEATH[value]"
    assert run(text, Segment("PID", f29='""', f30="Y")) == {"deceasedBoolean": True}
    ctx = Context()
    assert run(text, Segment("PID", f29='""', f30='""'), ctx) == {}
    assert ctx.clear == ["deceased[x]"]


@pytest.mark.parametrize("fields", [{"f29": '""'}, {"f30": '""'}, {"f29": '""', "f30": '""'}])
def test_a_null_in_any_alternative_clears_where_none_is_valued(fields: dict[str, str]) -> None:
    """The sender that nulls the first one seldom knows of the others."""
    ctx = Context()
    assert run("PID.Patient:29,PID-29|PID-30,,deceased[x],DEATH[value]", Segment("PID", **fields), ctx) == {}
    assert ctx.clear == ["deceased[x]"]


def test_a_null_in_an_alternative_of_an_element_is_carried_out_or_named() -> None:
    ctx = Context()
    text = "PID.Patient:23,PID-23|PID-24,,address[b].text,TX[string]"
    assert run(text, Segment("PID", f23='""'), ctx) == {}
    assert bool(ctx.clear) != bool(ctx.nulls)


def test_rows_of_a_slot_build_one_element_a_repetition() -> None:
    text = """
PV1.Encounter:7a,PV1-7,,participant[att].individual,XCN[Reference(Practitioner)]
PV1.Encounter:7b,PV1-7,PV1-7 valued,participant[att].type[],=,,v3-ParticipationType#ATND|attender
PV1.Encounter:0,,,status,=,,??planned
PV1.Encounter:2,PV1-2,,class,CWE[Coding],,??absent(unknown)
"""
    body = run(text, Segment("PV1", f7="A~B"))
    kind = {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                "code": "ATND",
                "display": "attender",
            }
        ]
    }
    assert body["participant"] == [{"individual": {"display": each}, "type": [kind]} for each in "AB"]
    assert body["status"] == "planned"
    assert body["class"]["extension"][0]["valueCode"] == "unknown"


def test_extensions_are_built_by_their_url_and_nest() -> None:
    text = """
PID.Patient:7a,PID-7,,birthDate,DT[date]
PID.Patient:7b,PID-7,len(PID-7) > 4,_birthDate.extension(patient-birthTime).valueDateTime,DT[date]
PID.Patient:26,PID-26,,extension(patient-citizenship).extension(code).valueCodeableConcept,CWE[CodeableConcept]
"""
    body = run(text, Segment("PID", f7="19700102", f26="AT~DE"))
    base = "http://hl7.org/fhir/StructureDefinition/"
    assert body["_birthDate"]["extension"] == [{"url": base + "patient-birthTime", "valueDateTime": "19700102"}]
    assert [each["extension"][0]["valueCodeableConcept"]["text"] for each in body["extension"]] == ["AT", "DE"]
    assert {each["url"] for each in body["extension"]} == {base + "patient-citizenship"}


def test_a_code_without_a_match_takes_the_default_and_keeps_its_own() -> None:
    body = run("PID.Patient:8,PID-8,,gender,CWE[code],sexes,?unknown", Segment("PID", f8="A"))
    assert body["gender"] == "unknown"
    assert body["_gender"]["extension"][0]["valueCodeableConcept"] == {"coding": [{"code": "A"}]}


def test_a_required_code_never_stands_without_a_value() -> None:
    body = run("PID.Patient:8,PID-8,,gender,CWE[code],sexes", Segment("PID", f8="A"))
    assert body == {"extension": [{"url": "urn:source-code", "valueCoding": {"code": "A"}}]}


def test_another_segment_is_looked_up_near() -> None:
    text = "PID.Patient:5,PD1-4,not (PID-5 valued),name[],XPN[HumanName]"
    assert run(text, Segment("PID", f1="1"), Context(PD1=Segment("PD1", f4="Gruen"))) == {"name": [{"text": "Gruen"}]}
    assert run(text, Segment("PID", f1="1")) == {}


def test_null_clears_what_the_row_alone_fills() -> None:
    text = """
PID.Patient:8,PID-8,,gender,CWE[code],sexes
PID.Patient:5,PID-5,,name[],XPN[HumanName]
PID.Patient:9,PID-9,,name[],XPN[HumanName]
PID.Patient:13a,PID-13,,telecom[home],XTN[ContactPoint]
PID.Patient:13b,PID-13,PID-13 valued,telecom[home].use,=,,?home
PID.Patient:14,PID-14,,telecom[work],XTN[ContactPoint]
PID.Patient:6,PID-6[1],,extension(patient-mothersMaidenName).valueString,ST[string]
"""
    null = '""'
    ctx = Context()
    assert run(text, Segment("PID", f5=null, f6=null, f8=null, f13=null, f14=null), ctx) == {}
    extension = "extension(http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName)"
    assert ctx.clear == ["gender", "name", "telecom[use=home]", extension]  # the name: PID-9 says nothing
    assert ctx.nulls == 1  # a slot that nothing tells apart
    assert run(text, Segment("PID", f5=null, f9="Doe"), ctx := Context()) == {"name": [{"text": "Doe"}]}
    assert (ctx.clear, ctx.nulls) == ([], 1)


def test_a_profile_may_ignore_null() -> None:
    compiled = compile_maps(rows("PID.Patient:8,PID-8,,gender,CWE[code],sexes"), environment(ignore_null=True))
    ctx = Context()
    body: Json = {}
    compiled["PID.Patient"].fast(Segment("PID", f8='""'), ctx, body)
    assert (body, ctx.clear) == ({}, [])


def test_resolvers_and_policies_give_values() -> None:
    text = """
PID.Patient:8,PID-8,,gender,CWE[code],sexes,??@named
PID.Patient:19a,PID-19,policy.pid19 != none,identifier[ssn],CX[Identifier]
PID.Patient:19b,PID-19,policy.pid19 != none and PID-19 valued,identifier[ssn].system,=,,@policy.pid19
"""
    body = run(text, Segment("PID", f19="7"), pid19="urn:oid:2.999")
    assert body == {"gender": "unknown", "identifier": [{"value": "7", "system": "urn:oid:2.999"}]}
    assert "identifier" not in run(text, Segment("PID", f19="7"), pid19="none")


def test_the_trace_names_row_place_and_path() -> None:
    text = """
PID.Patient:3,PID-3,,identifier[],CX[Identifier]
PID.Patient:13a,PID-13,,telecom[home],XTN[ContactPoint]
PID.Patient:13b,PID-13,PID-13 valued,telecom[home].use,=,,?home
PID.Patient:24,PID-24,not (PID-25 valued),multipleBirthBoolean,DEATH[value]
""".replace("multipleBirthBoolean,DEATH[value]", "deceased[x],DEATH[value]")
    compiled = compile_maps(rows(text), environment())
    trace = Trace(resource="Patient/1")
    functions = compiled.traced.bind(hit=trace.hit, miss=trace.miss, place_hits=trace.place_hits)
    functions["PID.Patient"](Segment("PID", f3="1~2", f13="5", f24="Y", f25="1"), Context(), {})
    told = [(step.row, str(step.source), step.path) for step in trace]
    assert told == [
        ("PID.Patient:3", "PID-3", "identifier[0]"),
        ("PID.Patient:3", "PID-3[2]", "identifier[1]"),
        ("PID.Patient:13a", "PID-13", "telecom[0]"),
        ("PID.Patient:13b", "None", "telecom[0].use"),
    ]
    assert [(row, str(place)) for row, place in trace.missed] == [("PID.Patient:24", "PID-24")]


def compile_one(text: str) -> CompiledRows:
    return compile_maps(rows(text), environment())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("PID.Patient:8,PID-8,,sex,CWE[code]", "no element sex"),
        ("PID.Patient:8,PID-8,,gender[],CWE[code]", "holds one value"),
        ("PID.Patient:5,PID-5,,name,XPN[HumanName]", "is a list"),
        ("PID.Patient:5,PID-5,,name[].family.first,ST[string]", "no elements of its own"),
        ("PID.Patient:29,PID-29,,deceased,DEATH[value]", "is a choice"),
        ("PID.Patient:8,PID-8,,gender,XXX[code]", "no datatype function"),
        ("PID.Patient:8,PID-8,,gender,CX[Identifier]", "gives Identifier"),
        ("PID.Patient:4,PID-4,,generalPractitioner[],XPN[Reference(Device)]", "gives Reference"),
        ("PID.Patient:8,PID-8,,gender,CWE[code],none", "none"),
        ("PID.Patient:8,PID-8,,gender,CWE[code],wrong", "cannot hold"),
        ("PID.Patient:8,,,gender,=,,robot", "required value set"),
        ("PID.Patient:8,,,gender,=,,@who", "no resolver"),
        ("PID.Patient:8,PID-8,PID-8 ~ F,gender,CWE[code]", "condition"),
        ("PID.Patient:8,PID-8,policy.x = y,gender,CWE[code]", "no policy"),
        ("PV1.Encounter:2,PV1-2,,class,=,,IMP", "system#code"),
        ("PID.Patient:0,,,_name.extension(x).valueString,=,,x", "is no primitive"),
        ("PID.Nobody:0,,,status,=,,x", "no resource, datatype"),
        ("PV1.Encounter:0,,,participant[att].type[],=,,??absent(unknown)", "of a list takes a constant"),
        ("PID.Patient:5,PID-5,,contact[c].telecom[t].value,ST[string]", "ends a path"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_stop_the_start(text: str, fault: str) -> None:
    with pytest.raises(RowsError, match=fault) as caught:
        compile_one(text)
    assert caught.value.faults[0].startswith("test.csv:2: ")


def test_two_rows_may_not_both_write_one_value() -> None:
    first = "PID.Patient:7a,PID-7,{},birthDate,DT[date]\nPID.Patient:7b,PID-33,{},birthDate,DT[date]"
    with pytest.raises(RowsError, match="may both write"):
        compile_one(first.format("", ""))
    with pytest.raises(RowsError, match="may both write"):
        compile_one(first.format("PID-8 = F", "PID-8 valued"))
    compile_one(first.format("PID-7 valued", "not (PID-7 valued)"))
    with pytest.raises(RowsError, match="may both write"):  # all names of a choice are one value
        compile_one("PID.Patient:a,PID-8,,deceased[x],DEATH[value]\nPID.Patient:b,PID-9,,deceased[x],DEATH[value]")


def test_an_element_of_a_list_needs_what_r4_requires_of_it() -> None:
    with pytest.raises(RowsError, match="nothing writes location"):
        compile_one("PV1.Encounter:3,PV1-3,PV1-3 valued,location[cur].status,=,,active")


def test_a_disabled_row_writes_nothing() -> None:
    assert run("PID.Patient:8,PID-8,never,gender,CWE[code],sexes", Segment("PID", f8="F")) == {}
