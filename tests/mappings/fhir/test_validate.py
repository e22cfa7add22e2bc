"""The schema and narrative layers: what fits passes, what does not is named by its place, and nothing is ever raised.

Single faults are `test_mutants.py`'s. Source: FHIR R4 4.0.1 §2.6.2, §2.24.0.1, §2.4.0, §2.28.1.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir import primitives
from mappings.fhir.codec import Json, decode
from mappings.fhir.narrative import narrative_fault
from mappings.fhir.schema import schema
from mappings.fhir.validate import MAX_FAULTS, validate

EXTENSION = {"url": "urn:chartbridge:test", "valueCode": "x"}


def places(resource: Any) -> list[str]:
    return [fault.expression for fault in validate(resource)]


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient", **members}


# -- JSON of FHIR --


@pytest.mark.parametrize(
    "resource",
    [
        patient(),
        patient(id="a"),
        patient(_gender={"extension": [EXTENSION]}),
        patient(gender="male", _gender={"id": "g"}),
        patient(name=[{"given": ["A", None], "_given": [None, {"extension": [EXTENSION]}]}]),
        patient(name=[{"given": ["A", "B"], "_given": [{"id": "g"}, None]}]),
        patient(name=[{"_given": [{"extension": [EXTENSION]}]}]),
        patient(deceasedDateTime="2020", _deceasedDateTime={"extension": [EXTENSION]}),
        patient(generalPractitioner=[{"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}]),
        patient(generalPractitioner=[{"reference": "https://example.org/fhir/Practitioner/1/_history/2"}]),
        patient(
            generalPractitioner=[{"identifier": {"value": "1"}}, {"display": "x"}, {"type": "Organization", "id": "x"}]
        ),
        patient(contained=[{"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "subject": {"reference": "#"}}]),
        {"resourceType": "Observation", "_status": {"extension": [EXTENSION]}, "code": {"text": "x"}},
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueQuantity": {"value": Decimal("1.50")},
        },
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueQuantity": {"value": msgspec.Raw(b"1e2")},
        },
        {"resourceType": "Binary", "contentType": "text/plain; charset=utf-8", "data": "AA\nEC"},
        {"resourceType": "Parameters"},
        {"resourceType": "Bundle", "type": "batch"},
    ],
    ids=lambda resource: " ".join(resource),
)
def test_what_the_standard_allows_passes(resource: Json) -> None:
    assert validate(resource) == ()


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (patient(name=[{"given": ["A", None]}]), ["Patient.name[0].given[1]"]),
        (patient(name=[{"given": [None], "_given": [None]}]), ["Patient.name[0].given[0]"]),
        (patient(name=[{"given": [None, "A"], "_given": [None, {"id": "g"}]}]), ["Patient.name[0].given[0]"]),
        (patient(name=[{"_given": [None, {"extension": [EXTENSION]}]}]), ["Patient.name[0].given[0]"]),
        (patient(name=[{"given": ["A"], "_given": [None, None]}]), ["Patient.name[0].given[1]"]),
        (patient(name=[{"_given": [{"id": "g"}]}]), ["Patient.name[0].given[0]"]),
        (patient(deceasedBoolean=True, deceasedDateTime="2020"), ["Patient.deceased"]),
        (patient(_id={"extension": [EXTENSION]}, id="a b"), ["Patient.id"]),
        (patient(extension=[{"extension": [{"url": "a"}], "url": "b"}]), ["Patient.extension[0].extension[0]"]),
    ],
)
def test_arrays_of_primitives_pair_with_their_extensions(resource: Json, expected: list[str]) -> None:
    assert places(resource) == expected


@pytest.mark.parametrize("value", [None, [], "Patient", 1, {}, {"resourceType": None}, {"resourceType": ["Patient"]}])
def test_what_is_no_resource_is_refused(value: Any) -> None:
    assert len(validate(value)) == 1
    assert places(value)[0] in {"Resource", "Resource.resourceType"}


def test_faults_deep_inside_are_named_from_the_root() -> None:
    inner = {"resourceType": "Patient", "contact": [{"telecom": [{"system": "phone"}, {"system": "pigeon"}]}]}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:x"}, {"resource": inner}]}
    assert places(bundle) == ["Bundle.entry[1].resource.contact[0].telecom[1].system"]


def test_every_contained_resource_may_be_linked_from_anywhere_in_the_container() -> None:
    basic = {"resourceType": "Basic", "id": "one", "code": {"text": "x"}, "author": {"reference": "#two"}}
    practitioner = {"resourceType": "Practitioner", "id": "two"}
    lost = {"resourceType": "Practitioner", "id": "three"}
    resource = patient(contained=[basic, practitioner, lost], generalPractitioner=[{"reference": "#two"}])
    assert places(resource) == ["Patient.contained[0]", "Patient.contained[2]"]


def test_no_more_faults_are_kept_than_the_cap() -> None:
    assert len(validate(patient(name=["x"] * 5000))) == MAX_FAULTS
    assert len(validate(patient(**{f"x{number}": 1 for number in range(5000)}))) == MAX_FAULTS


def test_each_type_of_the_standard_can_be_checked() -> None:
    for kind in schema().resource_types:
        required = {f"{kind}.{e.stem}" for e in schema().children(kind).values() if e.min}
        assert set(places({"resourceType": kind})) == required


def test_a_fault_names_no_value() -> None:
    secret = "Mustermann"
    resource = patient(
        id=f"{secret} 1",
        gender=secret,
        birthDate=secret,
        name=secret,
        active=secret,
        telecom=[secret, {"system": secret, "rank": secret}],
        photo=[{"contentType": f"{secret}/", "data": f"{secret}!"}],
        managingOrganization={"reference": "Patient/Mustermann"},
        text={"status": secret, "div": f"<p>{secret}</p>"},
        **{f"{secret} with a space": 1},
    )
    faults = validate(resource)
    assert len(faults) >= 12
    assert not any(secret in fault.text or secret in fault.expression for fault in faults)


names = st.sampled_from(
    "resourceType id meta text contained extension _birthDate birthDate name given _given gender active url entry "
    "deceasedBoolean deceasedDateTime managingOrganization reference link other type valueCode div status "
    "resource".split()
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.decimals(allow_nan=False, allow_infinity=False, places=1),
        st.sampled_from(["Patient", "Bundle", "#", "a", "", " ", "2020-02-30", "Patient/1", "<div"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, values, max_size=6), st.sampled_from(["Patient", "Bundle", "Parameters", "Observation"]))
def test_any_json_is_judged_and_nothing_is_raised(members: Json, kind: str) -> None:
    faults = validate(members | {"resourceType": kind})
    assert all(fault.severity == "error" and fault.code and fault.text for fault in faults)
    assert all(fault.expression.startswith(kind) for fault in faults)


# -- primitives --


@pytest.mark.parametrize(
    ("kind", "yes", "no"),
    [
        ("boolean", [True, False], [0, 1, "true", None]),
        ("integer", [0, -1, 2**31 - 1, -(2**31)], [2**31, -(2**31) - 1, True, Decimal(1), "1"]),
        ("unsignedInt", [0, 2**31 - 1], [-1, 2**31, True]),
        ("positiveInt", [1], [0, True, "1"]),
        ("decimal", [0, Decimal("1.50"), msgspec.Raw(b"1e2")], [True, "1.5", 1.5, Decimal("NaN"), msgspec.Raw(b"x")]),
        (
            "string",
            ["a", " a ", "a\tb\r\nc", "Zoë 😀", "a\u00a0b"],
            ["", " ", "\n", "\u00a0", "a\x00", "a\x0b", "a\x1f", 1],
        ),
        ("code", ["a", "a b", "mm[Hg]"], ["", " a", "a ", "a  b", 1]),
        ("uri", ["urn:x", "a", "http://ü"], ["", "a b", "a\t", "\n", 1]),
        ("id", ["a", "A-1.b", "x" * 64], ["", "a_b", "x" * 65, "é"]),
        ("oid", ["urn:oid:1.2.0", "urn:oid:2.999"], ["1.2", "urn:oid:3.1", "urn:oid:1.02", "urn:oid:1"]),
        (
            "uuid",
            ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
            ["urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "x"],
        ),
        (
            "date",
            ["2000", "2000-02", "2000-02-29"],
            ["0000", "1900-02-29", "2000-2", "2000-00", "2000-02-30", "20000229"],
        ),
        (
            "dateTime",
            [
                "2000",
                "2000-02-29",
                "2000-02-29T23:59:60Z",
                "2000-02-29T00:00:00.123456789+14:00",
                "2000-02-29T00:00:00-00:00",
            ],
            ["2000-02-29T24:00:00Z", "2000-02-29T00:00Z", "2000-02-29T00:00:00", "2001-02-29T00:00:00Z", "2000-02-29Z"],
        ),
        ("instant", ["2000-02-29T00:00:00Z", "2000-02-29T00:00:00.1-13:59"], ["2000-02-29", "2001-02-29T00:00:00Z"]),
        ("time", ["00:00:00", "23:59:60.5"], ["24:00:00", "12:00", "12:00:00Z"]),
        ("base64Binary", ["AAEC", "AA EC\n", "AA=="], ["", "A", "AAE", "A===", "AA=C", "AA-_"]),
    ],
)
def test_primitive_syntax(kind: str, yes: list[Any], no: list[Any]) -> None:
    test = primitives.PRIMITIVES[kind]
    assert [value for value in yes if not test(value)] == []
    assert [value for value in no if test(value)] == []


def test_every_primitive_of_the_standard_has_a_test() -> None:
    assert set(primitives.PRIMITIVES) == {kind.name for kind in schema().types.values() if kind.kind == "primitive"}


def exists(text: str) -> bool:
    """Whether the day a text begins with is in the calendar, by another road than the code's."""
    year, month, day = (int(part) for part in text[:10].split("-"))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]


def matching(kind: str) -> st.SearchStrategy[str]:
    """Texts that match the schema's pattern of a type, and texts nearly so."""
    pattern = schema().types[kind].pattern
    assert pattern is not None
    right = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)
    return st.one_of(
        right,
        st.tuples(right, st.sampled_from("0-:TZ. +x"), st.integers(0, 30)).map(
            lambda t: t[0][: t[2]] + t[1] + t[0][t[2] :]
        ),
    )


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["date", "dateTime", "instant", "time", "id", "code", "oid", "uuid"]), st.data())
def test_a_primitive_is_its_pattern_and_the_calendar(kind: str, data: st.DataObject) -> None:
    text = data.draw(matching(kind))
    pattern = schema().types[kind].pattern or ""
    expected = re.fullmatch(pattern, text, re.ASCII) is not None
    if expected and kind in {"date", "dateTime", "instant"} and len(text) >= 10:
        expected = exists(text)
    assert primitives.PRIMITIVES[kind](text) == expected


@settings(max_examples=100, deadline=None)
@given(st.dates())
def test_every_day_is_a_date(day: date) -> None:
    assert primitives.is_date(day.isoformat())
    assert primitives.is_instant(f"{day.isoformat()}T00:00:00Z")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=5))
def test_strings_uris_and_codes_follow_their_patterns(text: str) -> None:
    assert primitives.is_uri(text) == (re.fullmatch(r"[^ \t\n\r\f\v]+", text) is not None)
    assert primitives.is_code(text) == (re.fullmatch(r"[^\s]+(\s[^\s]+)*", text, re.ASCII) is not None)
    readable = (
        re.fullmatch(r"[ \r\n\t\S]+", text, re.ASCII) is not None
        and re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text) is None
    )
    assert primitives.is_string(text) == (readable and not text.isspace())


# -- narrative --


def div(content: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{content}</div>'


@pytest.mark.parametrize(
    "content",
    [
        "text",
        "<p>a &amp; b &#160; &lt;</p><!-- comment -->",
        '<table class="grid" border="1"><tr><td colspan="2" style="padding: 1px">x</td></tr></table>',
        '<a href="Patient/1" name="n">x</a><a href="https://example.org/?a=b:c">y</a>',
        '<img src="data:image/png;base64,AAEC" alt="x"/>',
        '<img src="#photo" alt="x"/>',
        '<p xml:lang="de" lang="de" dir="ltr">x</p><h1>1</h1><ol start="2"><li>x</li></ol>',
        "<p>javascript: is a word</p>",
    ],
)
def test_harmless_narrative_passes(content: str) -> None:
    assert narrative_fault(div(content)) is None


@pytest.mark.parametrize(
    "link",
    [
        "javascript:x()",
        "JavaScript:x()",
        "java&#9;script:x()",
        " &#1;javascript:x()",
        "vbscript:x",
        "data:text/html,x",
        "data:image/svg+xml,x",
    ],
)
def test_a_link_that_runs_code_is_refused(link: str) -> None:
    fault = narrative_fault(div(f'<a href="{link}">x</a>'))
    assert fault is not None
    assert "x()" not in fault


def test_a_narrative_cannot_blow_up_or_read_files(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    bomb = '<!DOCTYPE div [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + div("&b;&b;&b;")
    outside = f'<!DOCTYPE div [<!ENTITY a SYSTEM "file://{secret}">]>' + div("&a;")
    for text in (
        bomb,
        outside,
        div("<p>" * 300 + "x" + "</p>" * 300),
        "<div",
        "",
        "\x00",
        '<?xml version="1.0" encoding="utf-16"?><div/>',
    ):
        assert narrative_fault(text) is not None


def test_numbers_as_they_arrive_are_numbers() -> None:
    resource = decode(
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1e-7}}'
    )
    assert validate(resource) == ()
