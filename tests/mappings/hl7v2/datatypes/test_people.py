"""Names, addresses, telephones, persons, organizations, places (HL7 v2.9 §2A; FHIR R4 and its extensions)."""

from typing import Any

import pytest

from mappings.fhir.values import SOURCE_CODE, SOURCE_LEXEME, STRUCTURE
from mappings.hl7v2.datatypes import FUNCTIONS
from tests.mappings.hl7v2.contexts import FEED, codes, collecting, context

V2 = "http://terminology.hl7.org/CodeSystem/v2-"


def own(kind: str, text: str) -> dict[str, str]:
    return {"url": STRUCTURE + kind, "valueString": text}


def sent(table: str, code: str) -> dict[str, Any]:
    return {"url": SOURCE_CODE, "valueCoding": {"system": V2 + table, "code": code}}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Doe^Jane", {"family": "Doe", "given": ["Jane"]}),
        ("Doe^Jane^Mary Ann", {"family": "Doe", "given": ["Jane", "Mary Ann"]}),
        ("Doe^Jane^^Jr^Dr^MD", {"family": "Doe", "given": ["Jane"], "prefix": ["Dr"], "suffix": ["Jr", "MD"]}),
        ("Doe", {"family": "Doe"}),
        ("^Jane", {"given": ["Jane"]}),
        ("^^M", {"given": ["M"]}),
        ("Doe^Jane^^^^^L", {"family": "Doe", "given": ["Jane"], "use": "official"}),
        ("Doe^^^^^^R", {"family": "Doe", "use": "official"}),
        ("Doe^^^^^^D", {"family": "Doe", "use": "usual"}),
        ("Doe^^^^^^N", {"family": "Doe", "use": "nickname"}),
        ("Doe^^^^^^M", {"family": "Doe", "use": "maiden"}),
        ("Doe^^^^^^S", {"family": "Doe", "use": "anonymous"}),
        ("Doe^^^^^^MSK", {"family": "Doe", "use": "anonymous"}),
        ("Doe^^^^^^TEMP", {"family": "Doe", "use": "temp"}),
        ("Doe^^^^^^NAV", {"family": "Doe", "use": "temp"}),
        ("Doe^^^^^^BAD", {"family": "Doe", "use": "old"}),
        ("Doe^^^^^^NOUSE", {"family": "Doe", "use": "old"}),
        ("Doe^^^^^^U", {"family": "Doe"}),
        ("Doe^^^^^^A", {"family": "Doe", "extension": [sent("0200", "A")]}),
        (
            "Doe^^^^^^^I",
            {
                "family": "Doe",
                "extension": [
                    {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": "IDE"}
                ],
            },
        ),
        ("Doe^^^^^^^^^20200101&20210101", {"family": "Doe", "period": {"start": "2020-01-01", "end": "2021-01-01"}}),
        ("Doe^^^^^^^^^20200101&20210101^^20220101", {"family": "Doe", "period": {"start": "2022-01-01"}}),
        (
            "Doe^^^^^^^^^^F^20220101^20230101",
            {
                "family": "Doe",
                "extension": [{"url": STRUCTURE + "humanname-assembly-order", "valueCode": "F"}],
                "period": {"start": "2022-01-01", "end": "2023-01-01"},
            },
        ),
        ("Doe^^^^^^^^^^^^^RN", {"family": "Doe", "suffix": ["RN"]}),
        ("^^^^^^^^^^^^^^Jo", {"use": "nickname", "given": ["Jo"]}),
        (
            "van Beek&van&Beek&de&Graaf^Anna",
            {
                "family": "van Beek",
                "given": ["Anna"],
                "_family": {
                    "extension": [
                        own("humanname-own-prefix", "van"),
                        own("humanname-own-name", "Beek"),
                        own("humanname-partner-prefix", "de"),
                        own("humanname-partner-name", "Graaf"),
                    ]
                },
            },
        ),
        (
            "&von&Grün^Max",
            {
                "family": "von Grün",
                "given": ["Max"],
                "_family": {"extension": [own("humanname-own-prefix", "von"), own("humanname-own-name", "Grün")]},
            },
        ),
        ("Doe&", {"family": "Doe"}),
        (r"O\T\Neil^A\S\B", {"family": "O&Neil", "given": ["A^B"]}),
        ('Doe^""^""^""', {"family": "Doe"}),
        ("^^^^^^L", None),
        ("", None),
    ],
)
def test_a_name(raw: str, expected: Any) -> None:
    ctx = context("PID|1", number=5)
    assert FUNCTIONS["XPN[HumanName]"].call(raw, ctx, None) == expected
    assert codes(ctx) == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Doe^Joanna^^^^^L^^^^^^^^Jo", {"use": "nickname", "given": ["Jo"]}),
        ("Doe^Jo^^^^^L^^^^^^^^Jo", None),  # the name says it
        ("^^^^^^^^^^^^^^Jo", None),  # XPN[HumanName] says it
        ("Doe^Joanna", None),
        ("", None),
    ],
)
def test_what_a_person_is_called_is_a_name_of_its_own(raw: str, expected: Any) -> None:
    assert FUNCTIONS["XPN[HumanName-Called]"].call(raw, context("PID|1", number=5), None) == expected


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("XPN[string]", "Doe^Jane^Mary^Jr^Dr", "Dr Jane Mary Doe Jr"),
        ("XPN[string]", "^", None),
        (
            "FN[HumanName]",
            "Beek^van",
            {"family": "Beek", "_family": {"extension": [own("humanname-own-prefix", "van")]}},
        ),
        ("FN[HumanName]", "", None),
        ("XCN[string]", "123^Doe^Jane", "Jane Doe"),
        ("XCN[string]", "123", "123"),
        ("XCN[HumanName]", "123^Doe^Jane^^^^^^^M", {"family": "Doe", "given": ["Jane"], "use": "maiden"}),
        ("XCN[Identifier]", "123^Doe^^^^^^^A", {"system": f"{FEED}/authority/A", "value": "123"}),
        ("XCN[Identifier]", "^Doe", None),
        ("XON[string]", "North^^7", "North"),
        ("XON[string]", "^^7", "7"),
        ("XAD[string]", "1 Main St^^Town^ST^123^US", "1 Main St, Town, ST, 123, US"),
        ("XAD[string]", "^^Town", "Town"),
        ("XAD[string]", "^", None),
        ("XTN[string]", "^PRN^PH^^^270^555", "270 555"),
        ("PL[string]", "Ward^12^3^HOSP", "HOSP Ward 12 3"),
        ("PL[string]", "Ward^^^^^^^^by the window", "by the window"),
    ],
)
def test_people_and_places_as_a_line(name: str, raw: str, expected: Any) -> None:
    assert FUNCTIONS[name].call(raw, context(), None) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            "1 Main St^Apt 4^Town^ST^12345^US^H",
            {
                "line": ["1 Main St", "Apt 4"],
                "city": "Town",
                "state": "ST",
                "postalCode": "12345",
                "country": "US",
                "use": "home",
            },
        ),
        ("1 Main St&Main St&1^^Town", {"line": ["1 Main St"], "city": "Town"}),
        ("&Main St&1^^Town", {"line": ["Main St 1"], "city": "Town"}),
        ("Villa Rose&Main St&1", {"line": ["Villa Rose", "Main St 1"]}),
        ("&Main St", {"line": ["Main St"]}),
        ("^^Town^^^^O", {"city": "Town", "use": "work"}),
        ("^^Town^^^^B", {"city": "Town", "use": "work"}),
        ("^^Town^^^^C", {"city": "Town", "use": "temp"}),
        ("^^Town^^^^BA", {"city": "Town", "use": "old"}),
        ("^^Town^^^^BI", {"city": "Town", "use": "billing"}),
        ("^^Town^^^^M", {"city": "Town", "type": "postal"}),
        ("^^Town^^^^SH", {"city": "Town", "type": "postal"}),
        ("^^Town^^^^P", {"city": "Town", "extension": [sent("0190", "P")]}),
        ("^^Town^^^^^^Bezirk", {"city": "Town", "district": "Bezirk"}),
        ("^^Town^^^^^^&Bezirk", {"city": "Town", "district": "Bezirk"}),
        ("^^Town^^^^^c/o Roe", {"line": ["c/o Roe"], "city": "Town"}),
        (
            "1 Main St^^^^^^^^^007",
            {"line": ["1 Main St"], "_line": [{"extension": [own("iso21090-ADXP-censusTract", "007")]}]},
        ),
        (
            "^^Town^^^^^^^007",
            {"line": [None], "city": "Town", "_line": [{"extension": [own("iso21090-ADXP-censusTract", "007")]}]},
        ),
        (
            "a^b^^^^^^^^007",
            {"line": ["a", "b"], "_line": [{"extension": [own("iso21090-ADXP-censusTract", "007")]}, None]},
        ),
        ("^^Town^^^^^^^^^20200101&20210101", {"city": "Town", "period": {"start": "2020-01-01", "end": "2021-01-01"}}),
        (
            "^^Town^^^^^^^^^20200101&20210101^20220101^20230101",
            {"city": "Town", "period": {"start": "2022-01-01", "end": "2023-01-01"}},
        ),
        ("^^^^^Österreich", {"country": "Österreich"}),
        ("^^^^^^H", None),
        ("", None),
    ],
)
def test_an_address(raw: str, expected: Any) -> None:
    ctx = context("PID|1", number=11)
    assert FUNCTIONS["XAD[Address]"].call(raw, ctx, None) == expected
    assert codes(ctx) == []


def test_a_street_address_alone() -> None:
    assert FUNCTIONS["SAD[Address]"].call("1 Main St^Main St^1", context(), None) == {"line": ["1 Main St"]}
    assert FUNCTIONS["SAD[Address]"].call("", context(), None) is None


def parts(**found: str) -> list[dict[str, str]]:
    return [own(f"contactpoint-{name}", text) for name, text in found.items()]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("(270)555-0100", {"system": "phone", "value": "(270)555-0100"}),
        ("(270)555-0100^PRN^PH", {"system": "phone", "value": "(270)555-0100", "use": "home"}),
        (
            "^PRN^PH^^1^270^5550100^12",
            {
                "system": "phone",
                "value": "+1 270 5550100 x12",
                "use": "home",
                "extension": parts(country="1", area="270", local="5550100", extension="12"),
            },
        ),
        (
            "^PRN^PH^^+43^1^555",
            {
                "system": "phone",
                "value": "+43 1 555",
                "use": "home",
                "extension": parts(country="+43", area="1", local="555"),
            },
        ),
        ("old^WPN^PH^^^^555", {"system": "phone", "value": "555", "use": "work", "extension": parts(local="555")}),
        (
            "old^WPN^PH^^1^270^555^^^^^+12705550100",
            {
                "system": "phone",
                "value": "+12705550100",
                "use": "work",
                "extension": parts(country="1", area="270", local="555"),
            },
        ),
        ("^ORN^FX^^^^555", {"system": "fax", "value": "555", "use": "home", "extension": parts(local="555")}),
        ("555^PRS^BP", {"system": "pager", "value": "555", "use": "mobile"}),
        ("555^PRS^CP", {"system": "phone", "value": "555", "use": "mobile"}),
        ("555^WPN^CP", {"system": "phone", "value": "555", "use": "mobile", "extension": [sent("0201", "WPN")]}),
        ("555^EMR^PH", {"system": "phone", "value": "555", "extension": [sent("0201", "EMR")]}),
        ("555^^MD", {"system": "other", "value": "555"}),
        ("555^^TTY", {"system": "other", "value": "555"}),
        ("555^^X.400", {"system": "other", "value": "555"}),
        (
            "^NET^Internet^jane@example.org",
            {"system": "email", "value": "jane@example.org", "extension": [sent("0201", "NET")]},
        ),
        ("^^PH^jane@example.org", {"system": "email", "value": "jane@example.org"}),
        ("jane@example.org", {"system": "email", "value": "jane@example.org"}),
        ("^^Internet^https://example.org/jane", {"system": "url", "value": "https://example.org/jane"}),
        ("^^Internet^mailto:jane@example.org", {"system": "email", "value": "mailto:jane@example.org"}),
        ("tel:+12705550100", {"system": "phone", "value": "tel:+12705550100"}),
        ("^^Internet^jane at example", {"system": "other", "value": "jane at example"}),
        (
            "555^^^^^^^^^^^^20200101^20210101",
            {"system": "phone", "value": "555", "period": {"start": "2020-01-01", "end": "2021-01-01"}},
        ),
        ("555^^^^^^^^^^^^^^^^^2", {"system": "phone", "value": "555", "rank": 2}),
        ("^PRN^PH", None),
        ('""^PRN^PH', None),
        ("", None),
    ],
)
def test_a_contact_point(raw: str, expected: Any) -> None:
    ctx = context("PID|1", number=13)
    assert FUNCTIONS["XTN[ContactPoint]"].call(raw, ctx, None) == expected
    assert codes(ctx) == []


@pytest.mark.parametrize("rank", ["0", "-1", "first", "99999999999", "1.5"])
def test_a_rank_is_a_positive_number(rank: str) -> None:
    ctx = context("PID|1", number=13)
    found = FUNCTIONS["XTN[ContactPoint]"].call("555" + "^" * 17 + rank, ctx, None)
    assert "rank" not in found
    assert codes(ctx) == ["not-a-number"]
    assert str(ctx.issues[0].place) == "PID-13.18"


# Parties ------------------------------------------------------------------------------------------------------------


def test_a_practitioner_with_a_number_is_made_by_authority_and_number() -> None:
    ctx = context("PV1|1", number=7)
    made = collecting(ctx)
    raw = "123^Smith^Adam^^^Dr^^^NPI&2.16.840.1.113883.4.6&ISO^L^7^M10^NPI"
    reference = FUNCTIONS["XCN[Reference(Practitioner)]"].call(raw, ctx, None)
    system = "http://hl7.org/fhir/sid/us-npi"
    assert reference == {"reference": f"Practitioner/{system}-123", "display": "Dr Adam Smith"}
    assert made.resources == [
        (
            "Practitioner",
            (system, "123"),
            {
                "identifier": [
                    {
                        "type": {"coding": [{"system": V2 + "0203", "code": "NPI"}]},
                        "system": system,
                        "value": "123",
                        "assigner": {"display": "NPI"},
                        "extension": [own("identifier-checkDigit", "7 M10")],
                    }
                ],
                "name": [{"family": "Smith", "given": ["Adam"], "prefix": ["Dr"], "use": "official"}],
            },
        ),
    ]
    assert codes(ctx) == []


def test_two_people_of_one_name_without_numbers_stay_two() -> None:
    ctx = context("PV1|1", number=7)
    made = collecting(ctx)
    call = FUNCTIONS["XCN[Reference(Practitioner)]"].call
    assert call("^Smith^Adam", ctx, None) == {"reference": "#1", "display": "Adam Smith"}
    assert call("^Smith^Adam", ctx, None) == {"reference": "#2", "display": "Adam Smith"}
    assert made.resources == []
    assert [body["resourceType"] for body in made.contained] == ["Practitioner", "Practitioner"]


@pytest.mark.parametrize(
    ("name", "raw", "key", "display"),
    [
        ("XCN[Reference(Practitioner)]", "123^Smith", (f"{FEED}/practitioner/unspecified", "123"), "Smith"),
        ("XCN[Reference(Practitioner)]", "123", (f"{FEED}/practitioner/unspecified", "123"), "123"),
        ("XCN[Reference(Practitioner)]", "123^^^^^^^^A", (f"{FEED}/authority/A", "123"), "123"),
        ("PPN[Reference(Practitioner)]", "123^Smith^^^^^^^A", (f"{FEED}/authority/A", "123"), "Smith"),
        ("CN[Reference(Practitioner)]", "123^Smith^A^^^Dr^MD^^A", (f"{FEED}/authority/A", "123"), "Dr A Smith MD"),
        (
            "CNN[Reference(Practitioner)]",
            "123^Smith^A^^^Dr^^^A^1.2.34.3^ISO",
            ("urn:oid:1.2.34.3", "123"),
            "Dr A Smith",
        ),
        ("CNN[Reference(Practitioner)]", "123&Smith", (f"{FEED}/practitioner/unspecified", "123"), "Smith"),
        (
            "NDL[Reference(Practitioner)]",
            "123&Smith&A^20240501^^WARD",
            (f"{FEED}/practitioner/unspecified", "123"),
            "A Smith",
        ),
    ],
)
def test_the_kin_of_xcn(name: str, raw: str, key: tuple[str, ...], display: str) -> None:
    ctx = context()
    made = collecting(ctx)
    assert FUNCTIONS[name].call(raw, ctx, None)["display"] == display
    assert [(kind, key_) for kind, key_, _ in made.resources] == [("Practitioner", key)]


def test_an_organization() -> None:
    ctx = context()
    made = collecting(ctx)
    call = FUNCTIONS["XON[Reference(Organization)]"].call
    assert call("North^L^^^^A&1.2.34.3&ISO^XX^^^42", ctx, None) == {
        "reference": "Organization/urn:oid:1.2.34.3-42",
        "display": "North",
    }
    assert call("North^L^7", ctx, None) == {
        "reference": f"Organization/{FEED}/organization/unspecified-7",
        "display": "North",
    }
    assert call("^^7", ctx, None)["display"] == "7"
    assert made.resources[0][2] == {
        "name": "North",
        "identifier": [
            {
                "type": {"coding": [{"system": V2 + "0203", "code": "XX"}]},
                "system": "urn:oid:1.2.34.3",
                "value": "42",
                "assigner": {"display": "A"},
            }
        ],
    }
    assert made.contained == []
    assert call("North", ctx, None) == {"reference": "#1", "display": "North"}
    assert made.contained == [{"resourceType": "Organization", "name": "North"}]
    assert call("^L", ctx, None) is None


def test_a_facility_known_by_its_authority() -> None:
    ctx = context()
    made = collecting(ctx)
    call = FUNCTIONS["HD[Reference(Organization)]"].call
    assert call("North^1.2.34.3^ISO", ctx, None) == {"reference": "Organization/urn:oid:1.2.34.3", "display": "North"}
    assert call("^1.2.34.4^ISO", ctx, None) == {"reference": "Organization/urn:oid:1.2.34.4", "display": "1.2.34.4"}
    assert [body.get("name") for _, _, body in made.resources] == ["North", None]
    assert call("", ctx, None) is None


def test_a_place_is_part_of_the_place_around_it() -> None:
    ctx = context("PV1|1", number=3)
    made = collecting(ctx)
    found = FUNCTIONS["PL[Reference(Location)]"].call("W1^12^3^HOSP&1.2.34.3&ISO^^^Main^2", ctx, None)
    assert [key for _, key, _ in made.resources] == [
        ("si", "HOSP"),
        ("si", "HOSP", "bu", "Main"),
        ("si", "HOSP", "bu", "Main", "lvl", "2"),
        ("si", "HOSP", "bu", "Main", "lvl", "2", "wa", "W1"),
        ("si", "HOSP", "bu", "Main", "lvl", "2", "wa", "W1", "ro", "12"),
        ("si", "HOSP", "bu", "Main", "lvl", "2", "wa", "W1", "ro", "12", "bd", "3"),
    ]
    bodies = [body for _, _, body in made.resources]
    assert "partOf" not in bodies[0]
    assert bodies[0]["identifier"] == [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.34.3"}]
    for outer, inner in zip(made.resources, bodies[1:], strict=False):
        assert inner["partOf"] == {"reference": "Location/" + "-".join(outer[1])}
    assert found == {"reference": "Location/" + "-".join(made.resources[-1][1]), "display": "3"}


@pytest.mark.parametrize(
    ("raw", "system"),
    [("W1^12^^^^^^^^77&A&1.2.34.4&ISO", "urn:oid:1.2.34.4"), ("W1^12^^^^^^^^77^B&1.2.34.5&ISO", "urn:oid:1.2.34.5")],
)
def test_the_number_of_a_place_is_that_of_the_innermost(raw: str, system: str) -> None:
    ctx = context("PV1|1", number=3)
    made = collecting(ctx)
    FUNCTIONS["PL[Reference(Location)]"].call(raw, ctx, None)
    ward, room = (body for _, _, body in made.resources)
    assert "identifier" not in ward
    assert room["identifier"] == [{"system": system, "value": "77"}]


def test_the_later_details_of_a_practitioners_name() -> None:
    ctx = context("PV1|1", number=7)
    made = collecting(ctx)
    raw = "1^Smith^Adam^^^^^^^L^^^^^I^^2020&2021^G^^^FACS"
    FUNCTIONS["XCN[Reference(Practitioner)]"].call(raw, ctx, None)
    (name,) = made.resources[0][2]["name"]
    assert name["suffix"] == ["FACS"]
    assert name["period"] == {"start": "2020", "end": "2021"}
    assert [each["valueCode"] for each in name["extension"]] == ["IDE", "G"]


def test_an_addressee_is_a_line() -> None:
    found = FUNCTIONS["XAD[Address]"].call("Ring 1^^Wien" + "^" * 16 + "Firma Demo", context(), None)
    assert found["line"] == ["Ring 1", "Firma Demo"]


def test_the_same_bed_of_two_wards_is_two_beds() -> None:
    ctx = context("PV1|1", number=3)
    collecting(ctx)
    call = FUNCTIONS["PL[Reference(Location)]"].call
    assert call("W1^^1", ctx, None)["reference"] != call("W2^^1", ctx, None)["reference"]


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        (
            "PL[Reference(Location)]",
            "W1^^^^^^^^by the window",
            {"reference": "Location/wa-W1", "display": "by the window"},
        ),
        ("PL[Reference(Location)]", "^^^^^^^^by the window", {"display": "by the window"}),
        ("PL[Reference(Location)]", "^^^", None),
        ("DLD[Reference(Location)]", "HOME^20240501", {"reference": "Location/discharge-HOME", "display": "HOME"}),
        ("DLD[Reference(Location)]", "HOME&At home", {"reference": "Location/discharge-HOME", "display": "At home"}),
        ("DLD[Reference(Location)]", "", None),
        ("IS[Reference(Location)]", "X1", {"reference": "Location/PV1-3-X1", "display": "X1"}),
    ],
)
def test_the_other_places(name: str, raw: str, expected: Any) -> None:
    ctx = context("PV1|1", number=3)
    collecting(ctx)
    assert FUNCTIONS[name].call(raw, ctx, None) == expected


def test_without_an_engine_a_party_is_its_name() -> None:
    ctx = context()
    assert FUNCTIONS["XCN[Reference(Practitioner)]"].call("1^Doe", ctx, None) == {"display": "Doe"}


def test_a_bad_date_costs_the_name_nothing() -> None:
    ctx = context("PID|1", number=5)
    found = FUNCTIONS["XPN[HumanName]"].call("Doe^^^^^^^^^^^20229999", ctx, None)
    assert found["family"] == "Doe"
    assert found["period"] == {"_start": {"extension": [{"url": SOURCE_LEXEME, "valueString": "20229999"}]}}
    assert codes(ctx) == ["not-a-date"]
