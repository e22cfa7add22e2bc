"""Whose document it is: one patient, under the key that HL7 v2 gives her too, with all that the header says of her.

Source: CDA R2 §4.2 (document header); C-CDA on FHIR, patient; FHIR R4 Patient, Encounter, Coverage, CareTeam.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from mappings.cda.compiled import used
from mappings.cda.errors import UnreadableDocument
from mappings.convert import patient_keys, to_fhir
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from mappings.merge import settle
from tests.mappings.cda.converted import codes, convert, default, every, one
from tests.mappings.cda.documents import minimal
from tests.mappings.hl7v2.messages import header as v2_header
from tests.mappings.hl7v2.messages import message as v2_message

Json = dict[str, Any]
SAMPLES = sorted((Path(__file__).parents[3] / "samples/cda").glob("header-*.xml"))
IDA = "<patient><name><given>Ida</given><family>Example</family></name></patient>"


def target(ids: str = '<id root="2.999.2" extension="P1"/>', patient: str = IDA, more: str = "") -> str:
    """A recordTarget."""
    return f"<recordTarget><patientRole>{ids}{patient}{more}</patientRole></recordTarget>"


def patient(inner: str, ids: str = '<id root="2.999.2" extension="P1"/>') -> Json:
    """The Patient of a document that says this of her."""
    return one(convert(minimal(recordTarget=target(ids, f"<patient>{inner}</patient>"))), "Patient")


# samples --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_resource_of_a_sample_is_valid(sample: Path) -> None:
    for mapped in to_fhir(sample.read_bytes(), default()).resources:
        assert validate(mapped.body) == (), mapped.body["resourceType"]
        assert broken(mapped.body) == (), mapped.body["resourceType"]


def test_every_row_of_the_header_is_fired_by_a_sample() -> None:
    fired = {
        step.row
        for sample in SAMPLES
        for step in to_fhir(sample.read_bytes(), default(), trace=True).trace.steps  # type: ignore[union-attr]
    }
    rows = {row for row in used(default().cda.entries.rows) if row.startswith(("header.", "party.", "section."))}
    assert rows - fired == set()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_no_reference_of_a_sample_dangles(sample: Path) -> None:
    done = to_fhir(sample.read_bytes(), default())
    made = {f"{m.body['resourceType']}/{m.body['id']}" for m in done.resources}
    for mapped in done.resources:
        inside = {f"#{each['id']}" for each in mapped.body.get("contained", ())}
        assert set(references(mapped.body)) <= made | inside


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [each for inner in value.values() for each in references(inner)]
    return [each for inner in value for each in references(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_trace_changes_nothing(sample: Path) -> None:
    plain, traced = (to_fhir(sample.read_bytes(), default(), trace=each) for each in (False, True))
    assert [m.body for m in plain.resources] == [m.body for m in traced.resources]
    assert plain.issues == traced.issues


# whose it is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cx", "ids"),
    [
        ("P1^^^&2.999.2&ISO^MR", '<id root="2.999.2" extension="P1"/>'),
        ("P1^^^HOSP&2.999.2&ISO^MR", '<id root="2.999.2" extension=" P1 " assigningAuthorityName="Hospital"/>'),
        ("123456789^^^&2.16.840.1.113883.4.1&ISO^SS", '<id root="2.16.840.1.113883.4.1" extension="123456789"/>'),
    ],
)
def test_a_message_and_a_document_of_one_number_name_one_patient(cx: str, ids: str) -> None:
    data = v2_message(v2_header("ADT^A08"), f"PID|1||{cx}||Example^Ida")
    (of_message,) = [m.body for m in to_fhir(data, default()).resources if m.body["resourceType"] == "Patient"]
    assert one(convert(minimal(recordTarget=target(ids))), "Patient")["id"] == of_message["id"]


TWO = '<id root="2.999.2" extension="P1"/><id root="2.999.7" extension="N7" assigningAuthorityName="NATION"/>'


@pytest.mark.parametrize(
    ("wishes", "authorities", "chosen"),
    [
        ((), {}, ("urn:oid:2.999.2", "P1")),
        (("2.999.7",), {}, ("urn:oid:2.999.7", "N7")),
        (("urn:oid:2.999.7",), {}, ("urn:oid:2.999.7", "N7")),
        (("NI@NATION",), {}, ("urn:oid:2.999.7", "N7")),
        (("NI@2.999.7",), {}, ("urn:oid:2.999.7", "N7")),
        (("NI@NAT",), {"NAT": "urn:oid:2.999.7"}, ("urn:oid:2.999.7", "N7")),
        (("2.999.8", "2.999.7"), {}, ("urn:oid:2.999.7", "N7")),
        (("MR",), {}, ("urn:oid:2.999.2", "P1")),  # a type alone says nothing here: CDA has none
        (("2.999.8",), {}, ("urn:oid:2.999.2", "P1")),
    ],
)
def test_the_profile_chooses_the_number_that_counts(
    wishes: tuple[str, ...], authorities: dict[str, str], chosen: tuple[str, str]
) -> None:
    profile = replace(default(), identity=wishes, authorities=authorities)
    data = minimal(recordTarget=target(TWO))
    (found,) = [m.body for m in to_fhir(data, profile).resources if m.body["resourceType"] == "Patient"]
    assert found["id"] == profile.identities.make("Patient", chosen)
    assert [each.id for each in patient_keys(data, profile)] == [found["id"]]


@pytest.mark.parametrize(
    ("ids", "value"),
    [
        ('<id root="2.999.2"/><id root="2.999.3" extension="X"/>', "X"),
        ('<id nullFlavor="UNK"/><id root="2.999.3" extension="X"/>', "X"),
        ('<id root="11111111-2222-4333-8444-55555555555A"/>', "urn:uuid:11111111-2222-4333-8444-55555555555a"),
        (
            '<id root="11111111-2222-4333-8444-555555555555"/><id root="2.999.3" extension="X"/>',
            "X",  # a number that somebody gave out says more than a name of this record
        ),
    ],
)
def test_the_first_number_with_root_and_extension_counts(ids: str, value: str) -> None:
    (key,) = patient_keys(minimal(recordTarget=target(ids)), default())
    assert key.key[1] == value


@pytest.mark.parametrize("ids", ["", '<id nullFlavor="UNK"/>', '<id root="2.999.2"/>', '<id extension=""/>'])
def test_an_issuer_alone_names_nobody(ids: str) -> None:
    """Two people whose numbers are missing must not become one by the OID of their hospital."""
    ida, eva = (minimal(recordTarget=target(ids, IDA.replace("Ida", name))) for name in ("Ida", "Eva"))
    one_, other = (convert(each) for each in (ida, eva))
    assert codes(one_) == codes(other) == ["no-identity"]
    assert one(one_, "Patient")["id"] != one(other, "Patient")["id"]
    assert one(convert(ida), "Patient")["id"] == one(one_, "Patient")["id"]
    assert [each.id for each in patient_keys(ida, default())] == [one(one_, "Patient")["id"]]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "no-patient"),
        ('<recordTarget nullFlavor="NI"/>', "no-patient"),
        (target("", ""), "no-patient"),
        (target('<id nullFlavor="NI"/>', '<patient><name nullFlavor="NI"/></patient>'), "no-patient"),
        (target() * 2, "several-patients"),
        (target() + target('<id root="2.999.2" extension="P2"/>'), "several-patients"),
    ],
)
def test_a_document_of_nobody_or_of_two_is_refused(header: str, code: str) -> None:
    with pytest.raises(UnreadableDocument) as refused:
        to_fhir(minimal(recordTarget=header), default())
    assert refused.value.code == code
    assert "P2" not in str(refused.value)
    assert patient_keys(minimal(recordTarget=header), default()) == ()


@pytest.mark.parametrize(("demographics", "mode"), [("", "stub"), ("follow", "stub"), ("lead", "update")])
def test_a_document_follows_unless_its_feed_leads(demographics: str, mode: str) -> None:
    done = to_fhir(minimal(), replace(default(), demographics=demographics))
    assert [m.mode for m in done.resources if m.body["resourceType"] == "Patient"] == [mode]


# what it says of her --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('<administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/>', {"gender": "female"}),
        ('<administrativeGenderCode code="UN" codeSystem="2.16.840.1.113883.5.1"/>', {"gender": "other"}),
        ('<administrativeGenderCode nullFlavor="UNK"/>', {"gender": "unknown"}),
        ('<administrativeGenderCode nullFlavor="OTH"/>', {"gender": "other"}),
        ('<administrativeGenderCode nullFlavor="NI"/>', {}),
        ('<birthTime value="1970"/>', {"birthDate": "1970"}),
        ('<birthTime value="197003"/>', {"birthDate": "1970-03"}),
        ('<birthTime nullFlavor="UNK"/>', {}),
        ('<sdtc:deceasedInd value="true"/>', {"deceasedBoolean": True}),
        ('<sdtc:deceasedInd value="false"/>', {"deceasedBoolean": False}),
        ('<sdtc:deceasedInd value="true"/><sdtc:deceasedTime value="20250102"/>', {"deceasedDateTime": "2025-01-02"}),
        ('<sdtc:deceasedInd value="false"/><sdtc:deceasedTime value="2025"/>', {"deceasedDateTime": "2025"}),
        ('<sdtc:deceasedTime value="soon"/>', {"deceasedBoolean": True}),
        ('<sdtc:deceasedTime nullFlavor="UNK"/>', {}),
        ('<sdtc:multipleBirthInd value="true"/>', {"multipleBirthBoolean": True}),
        (
            '<sdtc:multipleBirthInd value="true"/><sdtc:multipleBirthOrderNumber value="3"/>',
            {"multipleBirthInteger": 3},
        ),
    ],
)
def test_facts_of_the_patient(inner: str, expected: Json) -> None:
    found = patient(inner)
    told = ("gender", "birthDate", "deceased", "multipleBirth")
    assert {name: value for name, value in found.items() if name.startswith(told)} == expected


def test_a_time_of_birth_stands_beside_the_day() -> None:
    found = patient('<birthTime value="197001020815+0100"/>')
    assert found["birthDate"] == "1970-01-02"
    (told,) = found["_birthDate"]["extension"]
    assert told["url"].endswith("/patient-birthTime")
    assert told["valueDateTime"].startswith("1970-01-02T08:15")
    assert "_birthDate" not in patient('<birthTime value="19700102"/>')


@pytest.mark.parametrize(
    ("sent", "tag"),
    [("en", "en"), ("eng", "en"), ("en-US", "en-US"), ("pt_pt", "pt-PT"), ("zh-hant-tw", "zh-Hant-TW"), ("deu", "de")],
)
def test_a_language_is_a_tag(sent: str, tag: str) -> None:
    found = patient(f'<languageCommunication><languageCode code="{sent}"/></languageCommunication>')
    assert found["communication"][0]["language"] == {"coding": [{"system": "urn:ietf:bcp:47", "code": tag}]}


@pytest.mark.parametrize("sent", ["xx1", "english", "en-", "en-verylongsubtag", "e n", "en/US"])
def test_what_is_no_language_is_a_text(sent: str) -> None:
    said = f'<languageCommunication><languageCode code="{sent}"/></languageCommunication>'
    done = convert(minimal(recordTarget=target(patient=f"<patient>{said}</patient>")))
    assert one(done, "Patient")["communication"][0]["language"] == {"text": sent}
    assert "vocab-miss" in codes(done)


CDC = 'codeSystem="2.16.840.1.113883.6.238"'


def race(found: Json) -> list[tuple[str, str]]:
    return [
        (inner["url"], inner.get("valueCoding", {}).get("code") or inner["valueString"])
        for each in found.get("extension", ())
        if each["url"].endswith("us-core-race")
        for inner in each["extension"]
    ]


def test_race_holds_every_code_and_one_text() -> None:
    found = patient(
        f'<raceCode code="2106-3" {CDC} displayName="White"/>'
        f'<sdtc:raceCode code="2108-9" {CDC} displayName="European"/><sdtc:raceCode code="2106-3" {CDC}/>'
    )
    assert race(found) == [
        ("ombCategory", "2106-3"), ("detailed", "2108-9"), ("text", "White, European"),
    ]  # fmt: skip


def test_an_asked_question_without_an_answer_is_an_answer() -> None:
    assert race(patient('<raceCode nullFlavor="ASKU"/>')) == [("ombCategory", "ASKU"), ("text", "asked but unknown")]
    assert race(patient('<raceCode nullFlavor="NI"/>')) == []


def test_nothing_american_comes_of_another_countrys_codes() -> None:
    found = patient('<raceCode code="A" codeSystem="2.999.41"/><ethnicGroupCode code="B" codeSystem="2.999.41"/>')
    urls = [each["url"] for each in found["extension"]]
    assert urls == ["urn:chartbridge:race", "urn:chartbridge:ethnicity"]
    european = next(path for path in SAMPLES if path.stem == "header-european").read_text("utf-8")
    bodies = [m.body for m in to_fhir(european.encode(), default()).resources]
    assert "us-core" not in str(bodies)
    assert "us-npi" not in str(bodies)


def test_a_masked_number_stays_without_its_value() -> None:
    found = patient(
        "<name>x</name>", '<id root="2.16.840.1.113883.4.1" nullFlavor="MSK"/><id root="2.999.2" extension="P1"/>'
    )
    (masked, number) = found["identifier"]
    assert masked["system"] == "http://hl7.org/fhir/sid/us-ssn"
    assert masked["_value"]["extension"][0]["valueCode"] == "masked"
    assert number["value"] == "P1"


def test_a_guardian_is_a_contact() -> None:
    (contact,) = patient(
        '<guardian><code code="FTH" codeSystem="2.16.840.1.113883.5.111" displayName="father"/>'
        '<telecom value="tel:+1-555-0101"/><guardianPerson><name>Otto</name></guardianPerson></guardian>'
    )["contact"]
    assert [kind["coding"][0]["code"] for kind in contact["relationship"]] == ["GUARD", "FTH"]
    assert contact["name"] == {"text": "Otto"}
    assert "contact" not in patient('<guardian classCode="GUARD"/>')


# the encounter, cover, the team ---------------------------------------------------------------------------------------


def stay(inner: str) -> str:
    return f"<componentOf><encompassingEncounter>{inner}</encompassingEncounter></componentOf>"


@pytest.mark.parametrize(
    ("inner", "status"),
    [
        ('<effectiveTime><low value="20260201"/><high value="20260228"/></effectiveTime>', "finished"),
        ('<effectiveTime><low value="20260201"/><high value="20260301130000+0100"/></effectiveTime>', "finished"),
        ('<effectiveTime><low value="20260201"/><high value="20260401"/></effectiveTime>', "unknown"),
        ('<effectiveTime><low value="20260201"/><high nullFlavor="UNK"/></effectiveTime>', "unknown"),
        ('<effectiveTime><low value="20260201"/></effectiveTime>', "unknown"),
        ('<dischargeDispositionCode code="1" codeSystem="2.999.1"/>', "finished"),
    ],
)
def test_an_encounter_is_over_when_the_header_says_so(inner: str, status: str) -> None:
    done = convert(minimal(componentOf=stay(f'<id root="2.999.5" extension="V1"/>{inner}')))
    assert one(done, "Encounter")["status"] == status


@pytest.mark.parametrize(
    ("stamp", "told"),
    [
        ("20240601120000", ["no-offset"]), ("2024-06", ["not-a-date", "undated"]), ("", ["undated"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_documents_time_is_told_once(stamp: str, told: list[str]) -> None:
    nobody = '<author><assignedAuthor><id root="2.999.3" extension="A1"/></assignedAuthor></author>'
    done = convert(minimal(effectiveTime=f'<effectiveTime value="{stamp}"/>' if stamp else "", author=nobody))
    assert sorted(codes(done)) == told


def test_a_header_without_a_time_ends_no_encounter() -> None:
    ends = '<effectiveTime><low value="20260201"/><high value="20990228"/></effectiveTime>'
    done = convert(minimal(componentOf=stay(f'<id root="2.999.5" extension="V1"/>{ends}'), effectiveTime=""))
    assert one(done, "Encounter")["status"] == "unknown"


@pytest.mark.parametrize(
    ("code", "class_", "type_"),
    [
        ('<code code="AMB" codeSystem="2.16.840.1.113883.5.4" displayName="ambulatory"/>', "AMB", None),
        ('<code code="99213" codeSystem="2.16.840.1.113883.6.12" displayName="Office visit"/>', None, "99213"),
        (
            '<code code="99213" codeSystem="2.16.840.1.113883.6.12"><translation code="AMB" '
            'codeSystem="2.16.840.1.113883.5.4" displayName="ambulatory"/></code>',
            "AMB",
            "99213",
        ),
    ],
)
def test_only_a_code_of_actcode_is_a_class(code: str, class_: str | None, type_: str | None) -> None:
    done = convert(minimal(componentOf=stay(f'<id root="2.999.5" extension="V1"/>{code}')))
    found = one(done, "Encounter")
    assert found["class"].get("code") == class_
    assert [each["coding"][0]["code"] for each in found.get("type", ())] == ([type_] if type_ else [])
    assert "ambulatory" not in str(found.get("type"))


def test_a_class_that_actcode_does_not_have_is_a_type_and_told_once() -> None:
    code = '<code code="amb" codeSystem="2.16.840.1.113883.5.4"/>'
    done = convert(minimal(componentOf=stay(f'<id root="2.999.5" extension="V1"/>{code}')))
    found = one(done, "Encounter")
    assert "code" not in found["class"]
    assert found["type"][0]["coding"][0]["code"] == "amb"
    assert [each.code for each in done.issues].count("not-in-system") == 1


def test_an_encounter_without_anything_is_none() -> None:
    assert every(convert(minimal(componentOf=stay('<id nullFlavor="NI"/>'))), "Encounter") == []
    assert every(convert(minimal(componentOf=stay('<effectiveTime value="20260101"/>'))), "Encounter") != []


def test_an_encounter_is_the_same_in_two_documents() -> None:
    inner = '<id root="2.999.5" extension="V1"/>'
    ids = {
        one(convert(minimal(componentOf=stay(inner + more))), "Encounter")["id"] for more in ("", "<code code='X'/>")
    }
    assert len(ids) == 1


PCP = '<functionCode code="PCP" codeSystem="2.16.840.1.113883.5.88"/>'


def performer(name: str, function: str = "") -> str:
    person = f"<assignedPerson><name>{name}</name></assignedPerson>"
    entity = f'<assignedEntity><id root="2.999.3" extension="{name}"/>{person}</assignedEntity>'
    return f'<performer typeCode="PRF">{function}{entity}</performer>'


def test_who_performs_is_the_care_team_and_the_primary_provider_the_patients() -> None:
    event = f'<serviceEvent classCode="PCPR">{performer("Ann", PCP)}{performer("Bob")}</serviceEvent>'
    done = convert(minimal(documentationOf=f"<documentationOf>{event}</documentationOf>"))
    assert [each["display"] for each in one(done, "Patient")["generalPractitioner"]] == ["Ann"]
    assert [each["member"]["display"] for each in one(done, "CareTeam")["participant"]] == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("kind", "about", "teams"),
    [
        ("PCPR", ("", ""), 1),
        ("PCPR", ('<code code="A"/>', '<code code="B"/>'), 1),
        ("PROC", ('<effectiveTime value="2025"/>', '<effectiveTime value="2026"/>'), 2),  # another operation
        ("PROC", ('<code code="A"/>', '<code code="A"/>'), 1),
        ("PROC", ("", ""), 2),
    ],
)
def test_the_care_team_of_a_newer_document_takes_the_place_of_the_older_ones(
    kind: str, about: tuple[str, str], teams: int
) -> None:
    event = '<documentationOf><serviceEvent classCode="{}">{}{}</serviceEvent></documentationOf>'
    found = {
        one(convert(minimal(documentationOf=event.format(kind, each, performer(name)))), "CareTeam")["id"]
        for each, name in zip(about, ("Ann", "Bob"), strict=True)
    }
    assert len(found) == teams


def test_a_policy_covers_the_patient() -> None:
    done = convert(
        minimal(
            participant='<participant typeCode="HLD"><associatedEntity classCode="POLHOLD"><id root="2.999.14" '
            'extension="POL"/><code code="SELF" codeSystem="2.16.840.1.113883.5.111"/><scopingOrganization>'
            "<name>Sample Insurance</name></scopingOrganization></associatedEntity></participant>"
        )
    )
    cover, ida = one(done, "Coverage"), one(done, "Patient")
    assert cover["subscriber"] == cover["beneficiary"] == {"reference": f"Patient/{ida['id']}"}
    assert cover["payor"][0]["display"] == "Sample Insurance"
    assert cover["subscriberId"] == "POL"


def test_a_consent_is_named_and_permits_nothing() -> None:
    consent = '<authorization><consent><id root="2.999.19" extension="C1"/></consent></authorization>'
    done = convert(minimal(authorization=consent))
    assert every(done, "Consent") == []
    (related,) = one(done, "DocumentReference")["context"]["related"]
    assert related == {"type": "Consent", "identifier": {"system": "urn:oid:2.999.19", "value": "C1"}}


# whatever comes -------------------------------------------------------------------------------------------------------

EVERYTHING = next(path for path in SAMPLES if path.stem == "header-everything").read_bytes()
_ELEMENTS = sum(1 for _ in etree.fromstring(EVERYTHING).iter("*"))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A header whose elements are removed, doubled, emptied, moved or made null."""
    root = etree.fromstring(EVERYTHING)
    for _ in range(draw(st.integers(1, 6))):
        elements = [each for each in root.iter("*") if each is not root]
        at = elements[draw(st.integers(0, _ELEMENTS)) % len(elements)]
        above = at.getparent()
        assert above is not None
        match draw(st.sampled_from(["remove", "double", "null", "empty", "swap", "junk"])):
            case "remove":
                above.remove(at)
            case "double":
                above.append(etree.fromstring(etree.tostring(at)))
            case "null":
                at.clear()
                at.set("nullFlavor", draw(st.sampled_from(["NI", "UNK", "MSK", "20260101", ""])))
            case "empty":
                for name in list(at.attrib):
                    at.set(name, "")
            case "swap":
                at.append(etree.fromstring(etree.tostring(elements[0])))
            case "junk":
                for name in list(at.attrib):
                    at.set(name, draw(st.sampled_from(["x", "0", "2.999", "\u202e", "é" * 300, "-1", "urn:oid:"])))
    return etree.tostring(root)


@given(damaged())
@settings(max_examples=150, deadline=None)
def test_a_damaged_header_converts_or_is_refused_by_our_error(data: bytes) -> None:
    try:
        done = to_fhir(data, default())
    except UnreadableDocument:
        return
    for mapped in done.resources:
        assert validate(mapped.body) == (), mapped.body["resourceType"]
        inside = {f"#{each['id']}" for each in mapped.body.get("contained", ())}
        assert {each for each in references(mapped.body) if each.startswith("#")} <= inside
    made = {f"{m.body['resourceType']}/{m.body['id']}" for m in done.resources}
    assert {each for m in done.resources for each in references(m.body) if not each.startswith("#")} <= made


# the time of its statements -------------------------------------------------------------------------------------------

RECEIVED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stated", "at", "ahead"),
    [
        ("20260301120000+0100", "2026-03-01T12:00:00+01:00", False),
        ("20260302235900+0000", "2026-03-02T23:59:00+00:00", False),  # a clock that is fast
        ("20260303", "2026-03-03", False),  # where it is tomorrow already
        ("20260304", RECEIVED.isoformat(), True),
        ("22060301120000+0100", RECEIVED.isoformat(), True),
        ("9999", RECEIVED.isoformat(), True),
        ("", RECEIVED.isoformat(), False),
    ],
)
def test_a_document_of_a_time_to_come_counts_as_of_its_receipt(stated: str, at: str, ahead: bool) -> None:
    time = f'<effectiveTime value="{stated}"/>' if stated else ""
    done = to_fhir(minimal(effectiveTime=time), default(), at=RECEIVED)
    assert {each.at for each in done.resources} == {at}
    assert ("dated-ahead" in codes(done)) is ahead
    assert ("undated" in codes(done)) is (not stated)


def test_a_document_of_the_year_2206_does_not_outrank_the_next() -> None:
    """As the store does it: the second statement of one resource comes a day later."""
    first = to_fhir(minimal(effectiveTime='<effectiveTime value="22060301120000+0100"/>'), default(), at=RECEIVED)
    second = to_fhir(
        minimal(effectiveTime='<effectiveTime value="20260303120000+0100"/>'),
        default(),
        at=RECEIVED + timedelta(days=1),
    )
    old, new = (next(m for m in d.resources if m.body["resourceType"] == "DocumentReference") for d in (first, second))
    settled = settle(old.body, new, settle(None, old, {}).clock)
    assert "late-event" not in [issue.code for issue in settled.issues]
    assert settled.body is not None
    assert settled.body["date"] == new.body["date"]


def test_past_and_future_are_measured_by_the_receipt_of_a_document_of_a_time_to_come() -> None:
    stay = """<componentOf><encompassingEncounter><id root="2.999.5" extension="E1"/>
      <effectiveTime><low value="20260301"/><high value="20270301"/></effectiveTime>
      </encompassingEncounter></componentOf>"""
    time = '<effectiveTime value="22060301120000+0100"/>'
    done = to_fhir(minimal(effectiveTime=time, componentOf=stay), default(), at=RECEIVED)
    assert one(done, "Encounter")["status"] != "finished"
