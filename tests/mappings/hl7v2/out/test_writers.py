"""Each writer against the function that reads its datatype: reading what was written gives the value again.

Source: HL7 v2.9 §2A; `mappings/hl7v2/datatypes/`.
"""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.fhir.values import SOURCE_LEXEME
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.out import Name, Receiver, grammar
from mappings.hl7v2.out.writers import WRITERS
from mappings.hl7v2.out.writing import BREAK, LINE_BREAK, Out, Several, bare, field_text
from mappings.outbound.reading import Json, owned
from mappings.terminology.concept_map import load
from tests.mappings.hl7v2.contexts import FEED, HEADER, codes, collecting, context

OIDS = ("urn:oid:2.999.1.4", "urn:uuid:12345678-1234-4123-8123-1234567890ab", f"{FEED}/authority/HOSP",
        "https://example.org/numbers", "urn:dns:example.org")  # fmt: skip
# Everything printable: separators, escapes, letters of many alphabets
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda text: text.isprintable() and text != '""' and not text.startswith('"')
)
WORD = st.text("abcdefghijÄé0123456789 -", min_size=1, max_size=12).map(str.strip).filter(bool)


def receiver(version: str = "2.8.2", **more: Any) -> Receiver:
    return Receiver(version=version, namespace=FEED, **more)


def written(
    value: Any, writer: str, field: str, *, to: Receiver | None = None, found: dict[str, Json] | None = None,
    sibling: Json | None = None, vocab: str = "", type_: str = "",
) -> tuple[str, Out]:  # fmt: skip
    """The raw text of a field that holds this value."""
    segment, _, number = field.partition("-")
    resources = {name: owned(each) for name, each in (found or {}).items()}
    out = Out(resources.get, receiver=to or receiver())
    slot = grammar.slot(out.receiver.version, segment, int(number))
    assert slot is not None
    out.slot, out.vocab = slot, load(vocab) if vocab else None
    made = WRITERS[writer]((type_, owned(value), owned(sibling)), out)
    repetitions = made if isinstance(made, Several) else [made] if made else []
    room = slot.parts if slot.datatype != "varies" else grammar.datatype(out.receiver.version, _kind(out)) or ()
    texts = [field_text(bare(each) or [], out, room) for each in repetitions]
    return "~".join(texts).replace(BREAK, LINE_BREAK), out


def _kind(out: Out) -> str:
    return str(out.constants.get("@kind", ["ST"])[0])


def read(raw: str, function: str, field: str, *, line: str = "", vocab: str = "", **profile: Any) -> Any:
    segment, _, number = field.partition("-")
    ctx = context(line or f"{segment}|1", number=int(number), header=HEADER.replace("2.5.1", "2.8.2"), **profile)
    value = FUNCTIONS[function].call(raw, ctx, load(vocab) if vocab else None)
    return value


# identifiers ----------------------------------------------------------------------------------------------------------


@given(TEXT, st.sampled_from(OIDS), st.sampled_from(["MR", "PI", "SS", ""]), st.booleans())
def test_a_cx_is_the_identifier_again(number: str, system: str, kind: str, dated: bool) -> None:
    value: Json = {"system": system, "value": number}
    if kind:
        value["type"] = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": kind}]}
    if dated:
        value["period"] = {"start": "2020-01-01", "end": "2025-12-31"}
    raw, _ = written(value, "CX", "PID-3")
    found = read(raw, "CX[Identifier]", "PID-3")
    found.pop("assigner", None)  # a name of the feed is shown too
    assert found == value


@given(TEXT, st.sampled_from(OIDS))
def test_an_ei_is_the_identifier_again(number: str, system: str) -> None:
    raw, _ = written({"system": system, "value": number}, "EI", "OBR-3")
    assert read(raw, "EI[Identifier]", "OBR-3") == {"system": system, "value": number}


def test_a_receiver_gets_its_own_name_for_a_system() -> None:
    to = receiver(namespaces={"urn:oid:2.999.1.4": Name("HOSP", "2.999.1.4", "ISO")})
    raw, _ = written({"system": "urn:oid:2.999.1.4", "value": "4711"}, "CX", "PID-3", to=to)
    assert raw == "4711^^^HOSP&2.999.1.4&ISO"


def test_a_registered_uri_goes_out_as_its_oid() -> None:
    raw, _ = written({"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}, "CX", "PID-3")
    assert raw == "1234567893^^^&2.16.840.1.113883.4.6&ISO"
    assert read(raw, "CX[Identifier]", "PID-3")["system"] == "http://hl7.org/fhir/sid/us-npi"


def test_a_number_without_an_authority_gets_none() -> None:
    raw, out = written({"system": f"{FEED}/identifier/unspecified", "value": "007"}, "CX", "PID-3")
    assert (raw, out.issues) == ("007", [])


def test_a_license_whose_issuer_has_no_room_is_told() -> None:
    _, out = written({"system": f"{FEED}/drivers-license/AT", "value": "1"}, "CX", "PID-3")
    assert [issue.code for issue in out.issues] == ["left-out"]


# names, addresses, numbers to call ------------------------------------------------------------------------------------


@given(
    st.fixed_dictionaries(
        {"family": TEXT},
        optional={
            "given": st.lists(TEXT, min_size=1, max_size=2),
            "prefix": st.lists(TEXT, min_size=1, max_size=1),
            "suffix": st.lists(TEXT, min_size=1, max_size=2),
            "use": st.sampled_from(["official", "usual", "nickname", "maiden", "old", "temp", "anonymous"]),
        },
    )
)
def test_an_xpn_is_the_name_again(name: Json) -> None:
    raw, _ = written(name, "XPN", "PID-5")
    assert read(raw, "XPN[HumanName]", "PID-5") == name


def test_own_and_partner_names_are_parts_of_the_family() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/humanname-"
    parts = [{"url": url + "own-prefix", "valueString": "van"}, {"url": url + "own-name", "valueString": "Beek"}]
    name = {"family": "van Beek", "_family": {"extension": parts}, "given": ["Ada"]}
    raw, _ = written(name, "XPN", "PID-5")
    assert raw == "van Beek&van&Beek^Ada"
    assert read(raw, "XPN[HumanName]", "PID-5") == name
    raw, out = written(name, "XPN", "PID-5", to=receiver("2.3"))
    assert raw == "van Beek^Ada"
    assert [(issue.code, str(issue.place)) for issue in out.issues] == [
        ("not-in-version", "PID-5.1.2"),
        ("not-in-version", "PID-5.1.3"),
    ]


@given(
    st.fixed_dictionaries(
        {"line": st.lists(TEXT, min_size=1, max_size=3), "city": TEXT},
        optional={
            "state": TEXT, "postalCode": TEXT, "country": TEXT, "district": TEXT,
            "use": st.sampled_from(["home", "work", "temp", "old", "billing"]),
        },
    )
)  # fmt: skip
def test_an_xad_is_the_address_again(address: Json) -> None:
    raw, _ = written(address, "XAD", "PID-11")
    found = read(raw, "XAD[Address]", "PID-11")
    assert sorted(found.pop("line")) == sorted(address.pop("line"))
    assert found == address


@pytest.mark.parametrize(
    "contact",
    [
        {"system": "phone", "value": "+43 1 5550101", "use": "home"},
        {"system": "phone", "value": "+43 664 1", "use": "mobile", "rank": 2},
        {"system": "fax", "value": "5550101", "use": "work"},
        {"system": "pager", "value": "17"},
        {"system": "phone", "value": "5|5^0~1", "use": "work", "period": {"start": "2024-01-01"}},
    ],
)
def test_an_xtn_is_the_contact_again(contact: Json) -> None:
    raw, _ = written(contact, "XTN", "PID-13")
    assert read(raw, "XTN[ContactPoint]", "PID-13") == contact


@pytest.mark.parametrize("value", ["ana.demo@example.org", "https://example.org/ana"])
@pytest.mark.parametrize("version", ["2.3", "2.5.1", "2.8.2"])
def test_mail_and_urls_stand_where_every_version_reads_them(value: str, version: str) -> None:
    system = "email" if "@" in value else "url"
    raw, _ = written({"system": system, "value": value}, "XTN", "PID-13", to=receiver(version))
    assert raw == f"^NET^Internet^{value}"
    assert read(raw, "XTN[ContactPoint]", "PID-13")["value"] == value


# codes ----------------------------------------------------------------------------------------------------------------

SYSTEMS = ("http://loinc.org", f"{FEED}/codes/99LAB", "urn:oid:2.999.5", "http://hl7.org/fhir/sid/icd-10")


@given(
    st.lists(
        st.fixed_dictionaries({"system": st.sampled_from(SYSTEMS), "code": WORD}, optional={"display": TEXT}),
        min_size=1, max_size=3, unique_by=lambda coding: (coding["system"], coding["code"]),
    ),
    st.one_of(st.none(), TEXT),
)  # fmt: skip
def test_a_cwe_is_the_concept_again(codings: list[Json], text: str | None) -> None:
    codings = [{**each, "code": " ".join(each["code"].split())} for each in codings]
    concept = {"coding": codings, **({"text": text} if text else {})}
    raw, _ = written(concept, "CWE", "OBR-4")
    assert read(raw, "CWE[CodeableConcept]", "OBR-4") == concept


def test_a_text_without_a_code_is_the_text_again() -> None:
    raw, _ = written({"text": "No growth | after 48 h"}, "CWE", "OBR-4")
    assert raw == "^No growth \\F\\ after 48 h"
    assert read(raw, "CWE[CodeableConcept]", "OBR-4") == {"text": "No growth | after 48 h"}


def test_the_coding_that_a_map_gives_again_is_not_sent() -> None:
    sent = {"system": "http://terminology.hl7.org/CodeSystem/v2-0078", "code": "LL"}
    mapped = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "code": "LL"}
    raw, _ = written({"coding": [mapped, sent]}, "CWE", "OBX-8", vocab="v2-0078.observation-interpretation")
    assert raw == "LL^^HL70078"
    raw, _ = written({"coding": [mapped]}, "CWE", "OBX-8", vocab="v2-0078.observation-interpretation")
    assert raw == "LL^^HL70078"


def test_a_code_without_a_name_for_its_system_is_told() -> None:
    raw, out = written({"coding": [{"system": "https://example.org/codes", "code": "X"}]}, "CWE", "OBR-4")
    assert raw == "X^^L"
    assert [(issue.code, str(issue.place)) for issue in out.issues] == [("system-unnamed", "OBR-4")]
    to = receiver(codes={"https://example.org/codes": "99EX"})
    assert (
        written({"coding": [{"system": "https://example.org/codes", "code": "X"}]}, "CWE", "OBR-4", to=to)[0]
        == "X^^99EX"
    )


def test_ce_has_two_codings_and_says_what_it_leaves_out() -> None:
    codings = [{"system": "http://loinc.org", "code": code, "display": code} for code in ("1-8", "2-6", "3-4")]
    raw, out = written({"coding": codings, "text": "seen"}, "CWE", "OBR-4", to=receiver("2.5.1"))
    assert raw == "1-8^1-8^LN^2-6^2-6^LN"
    assert [issue.code for issue in out.issues] == ["left-out", "not-in-version"]


# times ----------------------------------------------------------------------------------------------------------------


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0)),  # noqa: DTZ001
    st.sampled_from([0, 60, -300, 345]),
)
def test_an_instant_is_the_same_instant_in_the_receiver_s_zone(wall: datetime, offset: int) -> None:
    at = wall.replace(tzinfo=timezone(timedelta(minutes=offset)))
    raw, _ = written(at.isoformat(), "DTM", "OBR-7", to=receiver(zone=ZoneInfo("Asia/Tokyo")))
    found = read(raw, "DTM[dateTime]", "OBR-7")
    assert datetime.fromisoformat(found if isinstance(found, str) else found[0]) == at
    raw, _ = written(at.isoformat(), "DTM", "OBR-7")
    assert read(raw, "DTM[dateTime]", "OBR-7") == at.isoformat()


@pytest.mark.parametrize("value", ["1950", "1950-03", "1950-03-04"])
def test_a_partial_date_stays_partial(value: str) -> None:
    raw, _ = written(value, "DTM", "PID-7")
    assert read(raw, "DTM[dateTime]", "PID-7") == value


@pytest.mark.parametrize("lexeme", ["2025030409", "202503040930", "202503040930+0100", "19991332", "20250304093000.5"])
def test_what_was_sent_with_less_precision_goes_out_as_it_came(lexeme: str) -> None:
    zone = ZoneInfo("Europe/Vienna")
    found = read(lexeme, "DTM[dateTime]", "OBR-7", zone=zone)
    value, sibling = found if isinstance(found, tuple) else (found, None)
    raw, _ = written(value, "DTM", "OBR-7", to=receiver(zone=zone), sibling=sibling)
    again = read(raw, "DTM[dateTime]", "OBR-7", zone=zone)
    assert (again[0] if isinstance(again, tuple) else again) == value
    assert len(raw.partition("+")[0]) == len(lexeme.partition("+")[0])


def test_a_lexeme_beside_no_value_goes_out() -> None:
    raw, _ = written(None, "DTM", "PID-7", sibling={"extension": [{"url": SOURCE_LEXEME, "valueString": "99999999"}]})
    assert raw == "99999999"


# values ---------------------------------------------------------------------------------------------------------------

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,10})?", fullmatch=True).filter(lambda text: text != "-0")


def observed(value: Json, to: Receiver | None = None) -> tuple[Json, list[str]]:
    """(what OBX-2, OBX-5 and OBX-6 of an Observation read as, issues of reading)."""
    kind, _ = written(value, "OBX.type", "OBX-2", to=to)
    raw, _ = written(value, "OBX.value", "OBX-5", to=to)
    unit, _ = written(value, "OBX.unit", "OBX-6", to=to)
    ctx = context(f"OBX|1|{kind}|||{raw}|{unit}", number=5)
    collecting(ctx)
    return FUNCTIONS["OBX5[value]"].call(raw.split("~"), ctx, None), codes(ctx)


@given(NUMBERS, st.sampled_from(["mg/dL", "10*9/L", "%"]), st.sampled_from(["", "<", ">=", ">"]))
def test_a_quantity_keeps_its_lexeme_its_unit_and_its_comparator(lexeme: str, unit: str, comparator: str) -> None:
    quantity: Json = {"value": Decimal(lexeme), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    if comparator:
        quantity["comparator"] = comparator
    found, issues = observed({"valueQuantity": quantity})
    assert str(found["valueQuantity"]["value"]) == lexeme
    assert (found, issues) == ({"valueQuantity": quantity}, [])


@pytest.mark.parametrize(
    "value",
    [
        {"valueRange": {"low": {"value": Decimal("10")}, "high": {"value": Decimal("20")}}},
        {"valueRange": {"high": {"value": Decimal("0.5")}}},
        {"valueRatio": {"numerator": {"value": Decimal("1")}, "denominator": {"value": Decimal("128")}}},
        {"valueCodeableConcept": {"coding": [{"system": "http://loinc.org", "code": "LA6576-8"}], "text": "positive"}},
        {"valueString": "Yellow & clear | ~"},
        {"valueString": "first\n\nthird"},
        {"valueDateTime": "2025-02-10"},
        {"valueDateTime": "2025-02-10T09:15:00+01:00"},
        {"valueTime": "09:15:30"},
        {"valuePeriod": {"start": "2025-02-10", "end": "2025-02-12"}},
    ],
)
def test_every_shape_of_a_value_is_itself_again(value: Json) -> None:
    assert observed(value) == (value, [])


def test_a_boolean_is_a_code_of_table_0136() -> None:
    found, _ = observed({"valueBoolean": True})
    assert found["valueCodeableConcept"]["coding"][0]["code"] == "Y"


def test_a_value_without_a_datatype_is_told() -> None:
    _, out = written({"valueSampledData": {"dimensions": 1}}, "OBX.value", "OBX-5")
    assert [issue.code for issue in out.issues] == ["no-datatype"]


@pytest.mark.parametrize(("version", "kind"), [("2.3", "CE"), ("2.5", "CWE"), ("2.8.2", "CWE")])
def test_a_coded_value_has_the_datatype_of_the_version(version: str, kind: str) -> None:
    assert written({"valueCodeableConcept": {"text": "x"}}, "OBX.type", "OBX-2", to=receiver(version))[0] == kind


@pytest.mark.parametrize(("version", "kind"), [("2.3", "TS"), ("2.5.1", "TS"), ("2.8.2", "DTM")])
def test_a_time_has_the_datatype_of_the_version(version: str, kind: str) -> None:
    value = {"valueDateTime": "2025-02-10T09:15:00+01:00"}
    assert written(value, "OBX.type", "OBX-2", to=receiver(version))[0] == kind


@pytest.mark.parametrize(
    ("bounds", "raw"),
    [
        ({"low": {"value": Decimal("3.50")}, "high": {"value": Decimal("5")}}, "3.50-5"),
        ({"low": {"value": Decimal("10")}}, ">=10"),
        ({"high": {"value": Decimal("5")}}, "<=5"),
        ({"text": "< 5", "high": {"value": Decimal("5")}}, "< 5"),
    ],
)
def test_a_reference_range_reads_as_its_bounds(bounds: Json, raw: str) -> None:
    assert written(bounds, "OBX.range", "OBX-7")[0] == raw


# parties --------------------------------------------------------------------------------------------------------------


@given(TEXT, st.sampled_from(OIDS), TEXT, TEXT)
def test_an_xcn_is_the_practitioner_again(number: str, system: str, family: str, given_: str) -> None:
    body = {"identifier": [{"system": system, "value": number}], "name": [{"family": family, "given": [given_]}]}
    people = {"Practitioner/1": {"resourceType": "Practitioner", "id": "1", **body}}
    raw, _ = written({"reference": "Practitioner/1"}, "XCN", "PV1-7", found=people)
    ctx = context("PV1|1", number=7)
    made = collecting(ctx)
    FUNCTIONS["XCN[Reference(Practitioner)]"].call(raw, ctx, None)
    found = made.resources[0][2]
    found["identifier"][0].pop("assigner", None)
    assert found == body


def test_a_reference_that_leads_nowhere_says_what_it_shows() -> None:
    assert written({"reference": "Practitioner/9", "display": "Dr. Kaya"}, "XCN", "PV1-7")[0] == "^Dr. Kaya"
    logical = {"identifier": {"system": "urn:oid:2.999.1.5", "value": "1001"}, "display": "Dr. Kaya"}
    assert written(logical, "XCN", "PV1-7")[0] == "1001^Dr. Kaya^^^^^^^&2.999.1.5&ISO"


@given(TEXT, st.sampled_from(OIDS), TEXT)
def test_an_xon_is_the_organization_again(number: str, system: str, name: str) -> None:
    body = {"identifier": [{"system": system, "value": number}], "name": name}
    found = {"Organization/1": {"resourceType": "Organization", "id": "1", **body}}
    raw, _ = written({"reference": "Organization/1"}, "XON", "OBX-23", found=found)
    ctx = context("OBX|1", number=23)
    made = collecting(ctx)
    FUNCTIONS["XON[Reference(Organization)]"].call(raw, ctx, None)
    again = made.resources[0][2]
    again["identifier"][0].pop("assigner", None)
    if name != number:
        assert again == body


def test_a_pl_is_the_places_again() -> None:
    raw = "MED^201^A^HOSP^^^B^2"
    ctx = context("PV1|1", number=3)
    made = collecting(ctx)
    reference = FUNCTIONS["PL[Reference(Location)]"].call(raw, ctx, None)
    places = {
        f"Location/{'-'.join(key)}": {"resourceType": "Location", "id": "x", **body} for _, key, body in made.resources
    }
    assert written(reference, "PL", "PV1-3", found=places)[0] == raw


# documents ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media", ["application/pdf", "text/html", "image/jpeg", "application/xml", "audio/mpeg", "application/octet-stream"]
)
def test_an_ed_is_the_attachment_again(media: str) -> None:
    attachment = {"contentType": media, "data": "SW52ZW50ZWQu", "size": 9}
    raw, _ = written(attachment, "DOC.value", "OBX-5")
    assert read(raw, "ED[Attachment]", "OBX-5") == attachment


def test_a_pointer_is_a_pointer_again() -> None:
    attachment = {"contentType": "image/jpeg", "url": "https://images.example.org/1"}
    raw, _ = written(attachment, "DOC.value", "OBX-5")
    assert read(raw, "RP[Attachment]", "OBX-5") == attachment


def test_what_reads_as_null_is_not_written() -> None:
    raw, out = written('""', "ST", "OBX-5")
    assert raw == ""
    assert [issue.code for issue in out.issues] == ["left-out"]


def test_the_control_of_a_line_break_is_the_standard_s() -> None:
    assert written("a\nb", "ST", "OBX-4")[0] == "a\\.br\\b"
    assert read("a\\.br\\b", "ST[string]", "OBX-4") == "a\nb"


def test_an_offset_of_its_own_stays_without_a_zone() -> None:
    assert written("2025-02-10T09:15:00+05:45", "DTM", "OBR-7")[0] == "20250210091500+0545"
