"""II: HL7 v3 datatypes R1; FHIR R4 Identifier."""

from typing import Any

import pytest

from tests.mappings.cda.contexts import FEED, NULL_FLAVORS, SAY_MORE, Settings, context, on, read, why

UUID = "11A1B1C1-2222-4333-8444-55556666AAAA"
SSN, NPI = "2.16.840.1.113883.4.1", "2.16.840.1.113883.4.6"
OF_URIS = "2.16.840.1.113883.4.873"
RFC_3986 = "urn:ietf:rfc:3986"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (f'root="{SSN}" extension="999-99-9999"', {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-99-9999"}),
        (f'root="{NPI}" extension="0123"', {"system": "http://hl7.org/fhir/sid/us-npi", "value": "0123"}),
        ('root="2.999.1.5" extension="007"', {"system": "urn:oid:2.999.1.5", "value": "007"}),
        (f'root="{UUID}" extension="7"', {"system": f"urn:uuid:{UUID.lower()}", "value": "7"}),
        (f'root="{UUID}"', {"system": RFC_3986, "value": f"urn:uuid:{UUID.lower()}"}),
        ('root="2.999.1.5"', {"system": RFC_3986, "value": "urn:oid:2.999.1.5"}),
        ('root=" 2.999.1.5 "', {"system": RFC_3986, "value": "urn:oid:2.999.1.5"}),
        ('root="urn:oid:2.999.1.5" extension="7"', {"system": "urn:oid:2.999.1.5", "value": "7"}),
        ('root="https://example.org/ids" extension="7"', {"system": "https://example.org/ids", "value": "7"}),
        ('root="https://example.org/7"', {"system": RFC_3986, "value": "https://example.org/7"}),
        ('root="MRN" extension="7"', {"system": f"{FEED}/authority/MRN", "value": "7"}),
        ('root="MRN"', {"value": "MRN"}),
        ('extension="7"', {"value": "7"}),
        ('root="" extension=" 7&#10;8 "', {"value": "7 8"}),
        ('root="2.999.1.5" extension="&quot;{}&lt;"', {"system": "urn:oid:2.999.1.5", "value": '"{}<'}),
        (
            'root="2.999.1.5" extension="7" assigningAuthorityName="City Hospital"',
            {"system": "urn:oid:2.999.1.5", "value": "7", "assigner": {"display": "City Hospital"}},
        ),
        (
            f'root="{OF_URIS}" extension="https://example.org/ids/7"',
            {"system": "https://example.org/ids", "value": "7"},
        ),
        (f'root="{OF_URIS}" extension="urn:example:ids:7"', {"system": "urn:example:ids", "value": "7"}),
        (f'root="{OF_URIS}" extension="urn:oid:2.999.7"', {"system": RFC_3986, "value": "urn:oid:2.999.7"}),
        (f'root="{OF_URIS}" extension="https://example.org"', {"system": RFC_3986, "value": "https://example.org"}),
        (f'root="{OF_URIS}" extension="x:7"', {"system": RFC_3986, "value": "x:7"}),
        (f'root="{OF_URIS}" extension="7"', {"value": "7"}),
    ],
)
def test_root_and_extension_are_system_and_value(attributes: str, expected: dict[str, Any]) -> None:
    found = read("II[Identifier]", f"<id {attributes}/>")
    assert found.value == expected
    assert found.codes == []


def test_the_profile_names_its_own_roots() -> None:
    settings = Settings(oids={"2.999.2": "https://example.org/b"})
    for root, system in (("2.999.9", "https://example.org/a"), ("2.999.2", "https://example.org/b")):
        found = read(
            "II[Identifier]",
            f'<id root="{root}" extension="1"/>',
            authorities={"2.999.9": "https://example.org/a"},
            cda=settings,
        )
        assert found.value == {"system": system, "value": "1"}


@pytest.mark.parametrize("flavor", NULL_FLAVORS)
def test_a_null_identifier_without_a_root_is_nothing_unless_it_says_more(flavor: str) -> None:
    expected = {"_value": why(SAY_MORE[flavor])} if flavor in SAY_MORE else None
    assert read("II[Identifier]", f'<id nullFlavor="{flavor}"/>').value == expected
    assert read("II[Identifier]", f'<id nullFlavor="{flavor}" root="{UUID}"/>').value == expected


@pytest.mark.parametrize(
    ("attributes", "system", "reason"),
    [
        (f'root="{SSN}" nullFlavor="MSK"', "http://hl7.org/fhir/sid/us-ssn", "masked"),
        (f'root="{NPI}" nullFlavor="UNK"', "http://hl7.org/fhir/sid/us-npi", "unknown"),
        (f'root="{NPI}"', "http://hl7.org/fhir/sid/us-npi", "unknown"),
        (f'root="{SSN}" extension=" "', "http://hl7.org/fhir/sid/us-ssn", "unknown"),
        ('root="2.999.1" nullFlavor="ASKU"', "urn:oid:2.999.1", "asked-unknown"),
    ],
)
def test_a_number_that_is_not_told_leaves_its_system_and_the_reason(attributes: str, system: str, reason: str) -> None:
    assert read("II[Identifier]", f"<id {attributes}/>").value == {"system": system, "_value": why(reason)}


def test_an_extension_counts_whatever_the_null_flavor_says() -> None:
    found = read("II[Identifier]", '<id root="2.999.1" extension="7" nullFlavor="UNK"/>')
    assert found.value == {"system": "urn:oid:2.999.1", "value": "7"}


@pytest.mark.parametrize("name", ["II[Identifier]", "II[string]", "II[uri]", "II[system]", "II[Reference]"])
@pytest.mark.parametrize("fragment", ["<id/>", '<id root=""/>', '<id root=" " extension=""/>'])
def test_absent_says_nothing(name: str, fragment: str) -> None:
    assert read(name, fragment).value is None


@pytest.mark.parametrize("name", ["II[Identifier]", "II[string]", "II[uri]", "II[system]"])
def test_an_over_long_root_is_told_and_left_out(name: str) -> None:
    found = read(name, f'<id root="{"x" * 5000}"/>')
    assert found.value is None
    assert "over-long" in found.codes


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("II[string]", 'root="2.999.1" extension="007"', "007"),
        ("II[string]", 'root="2.999.1"', "urn:oid:2.999.1"),
        ("II[string]", f'root="{UUID}"', f"urn:uuid:{UUID.lower()}"),
        ("II[uri]", f'root="{UUID}"', f"urn:uuid:{UUID.lower()}"),
        ("II[uri]", f'root="{NPI}"', f"urn:oid:{NPI}"),
        ("II[uri]", f'root="{OF_URIS}" extension="https://example.org/7"', "https://example.org/7"),
        ("II[uri]", 'root="2.999.1" extension="7"', None),
        ("II[uri]", 'root="MRN"', None),
        ("II[system]", f'root="{NPI}" extension="7"', "http://hl7.org/fhir/sid/us-npi"),
        ("II[Reference]", 'root="2.999.1" extension="7"', {"identifier": {"system": "urn:oid:2.999.1", "value": "7"}}),
    ],
)
def test_other_shapes_say_no_more_than_there_is(name: str, attributes: str, expected: Any) -> None:
    assert read(name, f"<id {attributes}/>").value == expected


def test_attributes_alone() -> None:
    ctx = context()
    assert on("II[Identifier]", " 7 ", ctx).value == {"value": "7"}
    assert on("II[system]", NPI, ctx).value == "http://hl7.org/fhir/sid/us-npi"
    assert on("II[uri]", "2.999.4", ctx).value == "urn:oid:2.999.4"
    assert on("II[string]", " a ", ctx).value == "a"
