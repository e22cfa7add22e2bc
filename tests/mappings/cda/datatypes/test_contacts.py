"""AD and TEL: HL7 v3 datatypes R1 against FHIR R4 Address, ContactPoint, string. Every address is invented."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.cda.datatypes import contacts
from mappings.cda.datatypes.registry import FUNCTIONS
from mappings.fhir.values import CENSUS_TRACT, DATA_ABSENT_REASON, SOURCE_CODE
from tests.mappings.cda.datatypes.elements import context, elements, fits, read, reason

NAMES = sorted(name for name, each in FUNCTIONS.items() if each.call.__module__ == contacts.__name__)
MASKED = {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "masked"}]}
WHOLE = (
    "<a><streetAddressLine>1 Sample St</streetAddressLine><streetAddressLine>Floor 2</streetAddressLine>"
    "<city>Exampleton</city><county>Sample</county><state>MA</state><postalCode>01234</postalCode>"
    "<country>US</country></a>"
)
PARTS = {"city": "Exampleton", "district": "Sample", "state": "MA", "postalCode": "01234", "country": "US"}


def source_code(code: str, system: str | None = "http://terminology.hl7.org/CodeSystem/v3-AddressUse") -> Any:
    return {"url": SOURCE_CODE, "valueCoding": {"system": system, "code": code} if system else {"code": code}}


def street(order: str, country: str = "") -> str:
    parts = {"n": "<houseNumber>7</houseNumber>", "s": "<streetName>Musterweg</streetName>"}
    return f"<a>{''.join(parts[each] for each in order)}{f'<country>{country}</country>' if country else ''}</a>"


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (WHOLE, {"line": ["1 Sample St", "Floor 2"], **PARTS}),
        (WHOLE.replace("<", "<v3:").replace("<v3:/", "</v3:"), {"line": ["1 Sample St", "Floor 2"], **PARTS}),
        ("<a>\n<city>\n Example  City</city>\n</a>", {"city": "Example City"}),
        # street and number in the country's order, as they came where that is not known
        (street("ns", "AT"), {"line": ["Musterweg 7"], "country": "AT"}),
        (street("sn", "US"), {"line": ["7 Musterweg"], "country": "US"}),
        (street("sn", "fra"), {"line": ["7 Musterweg"], "country": "fra"}),
        (street("ns"), {"line": ["7 Musterweg"]}),
        (street("sn"), {"line": ["Musterweg 7"]}),
        (street("sn", "Ruritania"), {"line": ["Musterweg 7"], "country": "Ruritania"}),
        (street("n"), {"line": ["7"]}),
        (street("s"), {"line": ["Musterweg"]}),
        ("<a><houseNumber>7</houseNumber><houseNumberNumeric>7</houseNumberNumeric><buildingNumberSuffix>b"
         "</buildingNumberSuffix><streetName>Musterweg</streetName><country>DE</country></a>",
         {"line": ["Musterweg 7b"], "country": "DE"}),
        ("<a><streetAddressLine>Musterweg 7</streetAddressLine><streetName>Musterweg</streetName>"
         "<houseNumber>7</houseNumber></a>", {"line": ["Musterweg 7"]}),
        ("<a><streetName>Musterweg</streetName><unitType>Top</unitType><unitID>3</unitID><postBox>PO 9</postBox>"
         "<careOf>c/o Ida</careOf><additionalLocator>Haus B</additionalLocator></a>",
         {"line": ["Musterweg", "Top 3", "PO 9", "c/o Ida", "Haus B"]}),
        ("<a><deliveryAddressLine>Fach 12</deliveryAddressLine></a>", {"line": ["Fach 12"]}),
        # district
        ("<a><precinct>North</precinct></a>", {"district": "North"}),
        ("<a><precinct>North</precinct><county>Sample</county></a>", {"line": ["North"], "district": "Sample"}),
        ("<a><censusTract>12.3</censusTract><city>X</city></a>",
         {"line": [None], "_line": [{"extension": [{"url": CENSUS_TRACT, "valueString": "12.3"}]}], "city": "X"}),
        # text
        ("<a>Musterweg 7,\n 1010 Wien</a>", {"text": "Musterweg 7, 1010 Wien"}),
        ("<a>Musterweg 7<delimiter/><city>Wien</city></a>", {"text": "Musterweg 7 Wien", "city": "Wien"}),
        ("<a><city>Wien</city>, <country>AT</country></a>", {"city": "Wien", "country": "AT"}),
        # nothing
        ("<a/>", None),
        ("<a><city/><state> </state></a>", None),
        ('<a nullFlavor="NI"/>', None),
        ('<a nullFlavor="MSK"/>', MASKED),
        ('<a use="HP"><city nullFlavor="UNK"/></a>', None),
        ('<a><useablePeriod><low value="2024"/></useablePeriod></a>', None),
        # hostile
        ("<a><city>&lt;b&gt;</city><sdtc:state>x</sdtc:state></a>", {"city": "<b>"}),
        # when
        ('<a><city>X</city><useablePeriod><low value="2001"/><high value="2005"/></useablePeriod></a>',
         {"city": "X", "period": {"start": "2001", "end": "2005"}}),
        ('<a><city>X</city><useablePeriod nullFlavor="NA"/></a>', {"city": "X"}),
    ],
)  # fmt: skip
def test_an_address_is_its_parts(xml: str, expected: Any) -> None:
    assert read("AD[Address]", xml)[:2] == (expected, [])


@pytest.mark.parametrize(
    ("use", "expected", "issues"),
    [
        ("H", {"use": "home"}, []),
        ("HP", {"use": "home"}, []),
        ("HV", {"use": "home"}, []),
        ("WP", {"use": "work"}, []),
        ("DIR", {"use": "work"}, []),
        ("PUB", {"use": "work"}, []),
        ("TMP", {"use": "temp"}, []),
        ("BAD", {"use": "old"}, []),
        ("HP TMP", {"use": "temp", "extension": [source_code("HP")]}, []),
        ("HP BAD", {"use": "old", "extension": [source_code("HP")]}, []),
        ("H HP", {"use": "home"}, []),
        ("PST", {"type": "postal"}, []),
        ("PHYS", {"type": "physical"}, []),
        ("HP PST PHYS", {"use": "home", "type": "both"}, []),
        ("CONF", {"extension": [source_code("CONF")]}, []),
        ("XX", {"extension": [source_code("XX", None)]}, ["vocab-miss"]),
    ],
)
def test_use_and_type_of_an_address(use: str, expected: Any, issues: list[str]) -> None:
    found = read("AD[Address]", f'<a use="{use}"><city>X</city></a>')
    assert (found.value, found.codes) == ({"city": "X"} | expected, issues)


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (WHOLE, "1 Sample St, Floor 2, Exampleton, Sample, MA, 01234, US"),
        ("<a>Wien,  Austria</a>", "Wien, Austria"),
        ("<a><city>Wien</city><country>AT</country></a>", "Wien, AT"),
        ("<a/>", None),
        ('<a nullFlavor="ASKU"/>', (None, reason("asked-unknown"))),
        ("<a><censusTract>12</censusTract></a>", None),
    ],
)
def test_a_place_is_one_line(xml: str, expected: Any) -> None:
    assert read("AD[string]", xml)[:2] == (expected, [])


@pytest.mark.parametrize(
    ("value", "system", "kept"),
    [
        ("tel:+1(555)555-1212", "phone", "+1(555)555-1212"),
        ("TEL: +43 1 555", "phone", "+43 1 555"),
        ("tel:555-1212;ext=7", "phone", "555-1212;ext=7"),
        ("tel:+1%20555", "phone", "+1 555"),
        ("tel:%00%07", "phone", "%00%07"),
        ("tel:%ff", "phone", "%ff"),
        ("fax:+431555", "fax", "+431555"),
        ("x-text-fax:+431555", "fax", "+431555"),
        ("sms:+431555", "sms", "+431555"),
        ("mailto:ida@example.org", "email", "ida@example.org"),
        ("MAILTO:ida%40example.org", "email", "ida@example.org"),
        ("http://example.org/a", "url", "http://example.org/a"),
        ("https://example.org", "url", "https://example.org"),
        ("http://example.org/a b", "url", "http://example.org/a b"),
        ("ftp://example.org", "url", "ftp://example.org"),
        ("www.example.org", "url", "www.example.org"),
        ("javascript:alert(1)", "url", "javascript:alert(1)"),
        ("ida@example.org", "email", "ida@example.org"),
        ("+43 1 555", "phone", "+43 1 555"),
        ("0555", "phone", "0555"),
        ("ask at the desk", "other", "ask at the desk"),
    ],
)
def test_the_scheme_decides_and_else_the_look(value: str, system: str, kept: str) -> None:
    assert read("TEL[ContactPoint]", f'<t value="{value}"/>')[:2] == ({"system": system, "value": kept}, [])
    assert read("TEL[string]", f'<t value="{value}"/>').value == kept


@pytest.mark.parametrize(
    ("xml", "expected", "issues"),
    [
        ("<t/>", None, []),
        ('<t value=""/>', None, []),
        ('<t nullFlavor="UNK"/>', None, []),
        ('<t nullFlavor="MSK"/>', MASKED, []),
        ('<t value="tel:"/>', None, ["bad-value"]),
        ('<t value="mailto: "/>', None, ["bad-value"]),
        (f'<t value="tel:{"1" * 3000}"/>', None, ["over-long"]),
        ("<t>+43 1 555</t>", {"system": "phone", "value": "+43 1 555"}, []),
        ('<t value="tel:1"><useablePeriod><low value="2001"/></useablePeriod></t>',
         {"system": "phone", "value": "1", "period": {"start": "2001"}}, []),
    ],
)  # fmt: skip
def test_a_telecom_may_say_nothing_or_when(xml: str, expected: Any, issues: list[str]) -> None:
    found = read("TEL[ContactPoint]", xml)
    assert (found.value, found.codes) == (expected, issues)


@pytest.mark.parametrize(
    ("use", "expected", "issues"),
    [
        ("HP", {"use": "home"}, []),
        ("HV", {"use": "home"}, []),
        ("WP", {"use": "work"}, []),
        ("DIR", {"use": "work"}, []),
        ("AS", {"use": "work"}, []),
        ("TMP", {"use": "temp"}, []),
        ("BAD", {"use": "old"}, []),
        ("MC", {"use": "mobile"}, []),
        ("WP MC", {"use": "mobile", "extension": [source_code("WP")]}, []),
        ("MC BAD", {"use": "old", "extension": [source_code("MC")]}, []),
        ("PG", {"system": "pager"}, []),
        ("WP PG", {"system": "pager", "use": "work"}, []),
        ("EC", {"extension": [source_code("EC")]}, []),
        ("XX", {"extension": [source_code("XX", None)]}, ["vocab-miss"]),
    ],
)
def test_use_of_a_telecom_where_a_pager_is_a_system(use: str, expected: Any, issues: list[str]) -> None:
    found = read("TEL[ContactPoint]", f'<t value="tel:1" use="{use}"/>')
    assert (found.value, found.codes) == ({"system": "phone", "value": "1"} | expected, issues)


def test_a_mail_address_is_no_pager() -> None:
    found = read("TEL[ContactPoint]", '<t value="mailto:a@example.org" use="PG"/>')
    assert found.value == {"system": "email", "value": "a@example.org"}


@pytest.mark.parametrize("name", NAMES)
def test_an_attribute_is_its_text(name: str) -> None:
    ctx, _ = context("<t/>")
    call = FUNCTIONS[name].call
    assert call(" ", ctx, None) is None
    assert fits(FUNCTIONS[name].fhir_type, call(" tel:1 ", ctx, None))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(xml=elements())
def test_any_element_gives_nothing_or_what_r4_takes(name: str, xml: str) -> None:
    read(name, xml)


@settings(max_examples=100, deadline=None)
@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_any_telecom_gives_nothing_or_what_r4_takes(value: str) -> None:
    ctx, _ = context("<t/>")
    for scheme in ("", "tel:", "mailto:%"):
        assert fits("ContactPoint", FUNCTIONS["TEL[ContactPoint]"].call(scheme + value, ctx, None))
