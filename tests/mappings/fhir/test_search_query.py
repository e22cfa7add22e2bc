"""A search as it was asked. Covers FHIR R4 search.html §3.1.1.3 to 5: names, modifiers, prefixes, escapes, result
parameters.
"""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.schema import schema
from mappings.fhir.search import Include, Results, SearchError, Sort, is_searchable, parse
from mappings.fhir.search_operands import (
    Composite,
    Date,
    InSet,
    Missing,
    Number,
    OfType,
    Operand,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    split,
    unescape,
)

HALF = Decimal("0.05")


@pytest.mark.parametrize(
    ("type_", "name", "value", "operands"),
    [
        ("Observation", "code", "2160-0", (Token(None, "2160-0"),)),
        ("Observation", "code", "http://loinc.org|2160-0,|x", (Token("http://loinc.org", "2160-0"), Token("", "x"))),
        ("Observation", "code", "http://loinc.org|", (Token("http://loinc.org", None),)),
        ("Observation", "code", r"a\,b\|c\$d\\e", (Token(None, r"a,b|c$d\e"),)),
        ("Observation", "code:not", "x", (Token(None, "x"),)),
        ("Observation", "code:text", "crea", (Text("crea"),)),
        ("Observation", "code:missing", "true", (Missing(True),)),
        ("Observation", "status:in", "http://hl7.org/fhir/ValueSet/observation-status",
         (InSet(schema().valueset("observation-status") or {}),)),
        ("Observation", "identifier:of-type", "urn:t|MR|1", (OfType("urn:t", "MR", "1"),)),
        ("Observation", "date", "ge2025-01,2025", (Date("ge", "2025-01"), Date("eq", "2025"))),
        ("Observation", "_lastUpdated", "gt2025-03-04T09:15:02.417Z", (Date("gt", "2025-03-04T09:15:02.417Z"),)),
        ("Observation", "value-quantity", "lt5.4|http://unitsofmeasure.org|mg",
         (Quantity(Number("lt", Decimal("5.4"), HALF), "http://unitsofmeasure.org", "mg"),)),
        ("Observation", "value-quantity", "5.4||mg", (Quantity(Number("eq", Decimal("5.4"), HALF), None, "mg"),)),
        ("Observation", "value-quantity", "5.4", (Quantity(Number("eq", Decimal("5.4"), HALF), None, None),)),
        ("RiskAssessment", "probability", "100", (Number("eq", Decimal(100), Decimal("0.5")),)),
        ("RiskAssessment", "probability", "1e2", (Number("eq", Decimal("1e2"), Decimal(50)),)),
        ("RiskAssessment", "probability", "ap-1.00", (Number("ap", Decimal("-1.00"), Decimal("0.005")),)),
        ("Observation", "subject", "Patient/a", (Reference("Patient", "a"),)),
        ("Observation", "subject", "Patient/a/_history/2", (Reference("Patient", "a"),)),
        ("Observation", "subject", "a", (Reference(None, "a"),)),
        ("Observation", "subject:Patient", "a", (Reference("Patient", "a"),)),
        ("Observation", "subject", "http://here.example/fhir/Patient/a", (Reference("Patient", "a"),)),
        ("Observation", "subject", "http://there.example/fhir/Patient/a/_history/1",
         (Reference(None, None, "http://there.example/fhir/Patient/a"),)),
        ("Observation", "subject:identifier", "urn:mrn|7", (Token("urn:mrn", "7"),)),
        ("PlanDefinition", "definition", "http://x.example/q|2", (Reference(None, None, "http://x.example/q", "2"),)),
        ("Patient", "name", "Müll", (Text("Müll"),)),
        ("Patient", "name:exact", "-", (Text("-"),)),
        ("Patient", "_profile:below", "http://x.example/p", (Uri("http://x.example/p"),)),
        ("Observation", "code-value-quantity", "http://loinc.org|1$gt5",
         (Composite((Token("http://loinc.org", "1"),
                     Quantity(Number("gt", Decimal(5), Decimal("0.5")), None, None))),)),
    ],
)  # fmt: skip
def test_a_value_reads_as(type_: str, name: str, value: str, operands: tuple[Operand, ...]) -> None:
    query = parse(type_, [(name, value)], base="http://here.example/fhir/")
    assert [criterion.operands for criterion in query.criteria] == [operands]
    assert query.criteria[0].code == name.partition(":")[0]
    assert query.applied == ((name, value),)


@pytest.mark.parametrize(
    ("type_", "name", "value", "code"),
    [
        ("Observation", "colour", "red", "not-supported"),
        ("Observation", "_text", "x", "not-supported"),
        ("Observation", "_content", "x", "not-supported"),
        ("Observation", "_filter", "x", "not-supported"),
        ("Observation", "_query", "x", "not-supported"),
        ("Observation", "_list", "x", "not-supported"),
        ("Observation", "_has:Provenance:agent:target", "x", "not-supported"),
        ("Location", "near", "1|2|3", "not-supported"),
        ("Patient", "phonetic", "x", "not-supported"),
        ("Observation", "code:above", "x", "not-supported"),
        ("Observation", "code:exact", "x", "not-supported"),
        ("Observation", "code:", "x", "not-supported"),
        ("Observation", "date:not", "2025", "not-supported"),
        ("Observation", "subject:Practitioner", "a", "not-supported"),
        ("Observation", "code:in", "http://x.example/vs", "not-supported"),
        ("Observation", "code:in", "http://hl7.org/fhir/ValueSet/mimetypes", "not-supported"),
        ("Observation", "code", "", "invalid"),
        ("Observation", "code", "|", "invalid"),
        ("Observation", "code", "a|b|c", "invalid"),
        ("Observation", "code", "a,,b", "invalid"),
        ("Observation", "code", "a\\", "invalid"),
        ("Observation", "code", r"a\b", "invalid"),
        ("Observation", "code:missing", "yes", "invalid"),
        ("Observation", "identifier:of-type", "a|b", "invalid"),
        ("Observation", "date", "yesterday", "invalid"),
        ("Observation", "date", "2025-02-30", "invalid"),
        ("Observation", "date", "xx2025", "invalid"),
        ("Observation", "value-quantity", "five", "invalid"),
        ("Observation", "value-quantity", "5|mg", "invalid"),
        ("Observation", "value-quantity", "5|http://unitsofmeasure.org|", "invalid"),
        ("RiskAssessment", "probability", "1e999999999", "invalid"),
        ("RiskAssessment", "probability", "1" * 65, "invalid"),
        ("RiskAssessment", "probability", "٣", "invalid"),
        ("RiskAssessment", "probability", "NaN", "invalid"),
        ("Observation", "subject", "Nonsense/1", "invalid"),
        ("Observation", "subject", "Patient/1/2", "invalid"),
        ("Observation", "subject:Patient", "Group/1", "invalid"),
        ("Observation", "code-value-quantity", "http://loinc.org|1", "invalid"),
        ("Patient", "name", "'-'", "invalid"),
        ("Patient", "name.family", "x", "not-supported"),
        ("Observation", "subject.colour", "x", "not-supported"),
        ("Observation", "subject:Practitioner.name", "x", "not-supported"),
        ("Observation", "patient.organization.endpoint.name", "x", "not-supported"),
        ("Nonsense", "_id", "x", "not-supported"),
        ("Observation", "code", ",".join("a" * 1_001), "too-costly"),
    ],
)
def test_what_cannot_be_served_is_refused(type_: str, name: str, value: str, code: str) -> None:
    with pytest.raises(SearchError) as refused:
        parse(type_, [(name, value)])
    assert refused.value.code == code
    assert refused.value.parameter in (name, "")


def test_a_refusal_repeats_nothing_of_the_searcher() -> None:
    for name, value in (("Anna-Meyer", "x"), ("code", "Anna|Meyer|x"), ("date", "Anna"), ("subject.Anna", "x")):
        with pytest.raises(SearchError) as refused:
            parse("Observation", [(name, value)])
        assert "Anna" not in str(refused.value)


def test_more_pairs_than_a_search_may_have_are_refused() -> None:
    with pytest.raises(SearchError, match="more than 100"):
        parse("Observation", [("code", "a")] * 101)


def test_lenient_handling_names_what_it_leaves_out_and_forgives_no_value() -> None:
    pairs = [("colour", "red"), ("code:sounds", "x"), ("_has:A:b:c", "x"), ("status", "final")]
    query = parse("Observation", pairs, lenient=True)
    assert query.dropped == ("colour", "code:sounds", "_has:A:b:c")
    assert query.applied == (("status", "final"),)
    assert len(query.criteria) == 1
    with pytest.raises(SearchError):
        parse("Observation", [("date", "yesterday")], lenient=True)


def test_a_chain_is_a_criterion_of_each_type_it_may_lead_to() -> None:
    (criterion,) = parse("Observation", [("subject.identifier", "urn:mrn|7")]).criteria
    assert criterion.chain is not None
    assert set(criterion.chain) == {"Device", "Group", "Location", "Patient"}
    assert criterion.chain["Patient"].operands == (Token("urn:mrn", "7"),)
    (typed,) = parse("Observation", [("subject:Patient.organization.name:exact", "X")]).criteria
    assert typed.chain is not None
    inner = typed.chain["Patient"].chain
    assert inner is not None
    assert inner["Organization"].modifier == "exact"


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([], Results()),
        ([("_count", "0")], Results(count=0)),
        ([("_sort", "-date,status"), ("_sort", "_id")],
         Results(sort=(Sort("date", True), Sort("status", False), Sort("_id", False)))),
        ([("_include", "Observation:subject:Patient"), ("_include:iterate", "Patient:link")],
         Results(include=(Include("Observation", "subject", "Patient", False),
                          Include("Patient", "link", None, True)))),
        ([("_revinclude", "Provenance:target")], Results(revinclude=(Include("Provenance", "target", None, False),))),
        ([("_summary", "count")], Results(summary="count")),
        ([("_elements", "code,Observation.value")], Results(elements=("code", "value"))),
        ([("_total", "accurate")], Results(total="accurate")),
        ([("_totalMethod", "count")], Results(total="accurate")),
        ([("_format", "json"), ("_pretty", "true"), ("_explain", "false")],
         Results(format="json", pretty=True, explain=False)),
    ],
)  # fmt: skip
def test_result_parameters_are_kept_apart(pairs: list[tuple[str, str]], wanted: Results) -> None:
    query = parse("Observation", pairs)
    assert query.criteria == ()
    assert query.results == wanted


def test_results_tell_which_were_asked() -> None:
    assert parse("Patient", [("_count", "5"), ("_sort", "name"), ("_pretty", "false")]).results.asked == {
        "_count",
        "_sort",
        "_pretty",
    }
    assert Results().asked == frozenset()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("_count", "-1", "invalid"),
        ("_count", "ten", "invalid"),
        ("_count", "10000000000", "invalid"),
        ("_count:exact", "1", "not-supported"),
        ("_sort", "value-quantity", "not-supported"),
        ("_sort", "colour", "not-supported"),
        ("_include", "*", "not-supported"),
        ("_include", "Observation:code", "not-supported"),
        ("_include", "Nonsense:code", "not-supported"),
        ("_include:recurse", "Observation:subject", "not-supported"),
        ("_summary", "short", "invalid"),
        ("_elements", "", "invalid"),
        ("_elements", "colour", "invalid"),
        ("_elements", "Colour.code", "invalid"),
        ("_elements", "code.coding", "invalid"),
        ("_total", "some", "invalid"),
        ("_pretty", "yes", "invalid"),
    ],
)
def test_a_bad_result_parameter_is_refused(name: str, value: str, code: str) -> None:
    with pytest.raises(SearchError) as refused:
        parse("Observation", [(name, value)])
    assert (refused.value.code, refused.value.parameter) == (code, name)


@pytest.mark.parametrize("other", [("_elements", "code"), ("_include", "Observation:subject")])
def test_a_text_summary_stands_alone(other: tuple[str, str]) -> None:
    with pytest.raises(SearchError, match="together"):
        parse("Observation", [("_summary", "text"), other])


def test_a_result_parameter_that_cannot_add_up_is_given_once() -> None:
    with pytest.raises(SearchError, match="given twice"):
        parse("Observation", [("_count", "1"), ("_count", "2")])


@given(st.lists(st.text(alphabet="a,|$\\ü ", max_size=6), min_size=1, max_size=5), st.sampled_from(",|$"))
@settings(max_examples=200, deadline=None)
def test_what_is_escaped_comes_apart_as_it_was_put_together(parts: list[str], separator: str) -> None:
    joined = separator.join("".join(f"\\{c}" if c in ",|$\\" else c for c in part) for part in parts)
    assert [unescape(part) for part in split(joined, separator)] == parts


names = st.sampled_from(
    ["code", "status", "date", "value-quantity", "subject", "subject.name", "code-value-quantity", "_profile", "_sort",
     "_count", "_include", "code:text", "patient.identifier", "identifier:of-type", "subject:identifier", "_id"]
)  # fmt: skip


@given(st.lists(st.tuples(names, st.text(max_size=12)), max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_pairs_are_a_query_or_our_error(pairs: list[tuple[str, str]], lenient: bool) -> None:
    with suppress(SearchError):
        parse("Observation", pairs, lenient=lenient)


def test_what_is_searchable_is_what_parse_accepts() -> None:
    assert is_searchable("Observation", "code")
    assert not is_searchable("Observation", "_text")
    assert not is_searchable("Location", "near")
    assert not is_searchable("Observation", "colour")
