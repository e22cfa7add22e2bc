"""CDA documents inside of messages: converted beside the attachment, about the message's patient or not at all.

Source: HL7 v2.9 §9 (MDM_T02), §2A (ED); CDA R2 §3 (MIME package); cda chapter §17.
"""

import base64
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from mappings import embedded
from mappings.bundle import bundle
from mappings.convert import Conversion, Mapped, load_profile, to_fhir
from mappings.fhir.validate import validate
from mappings.hl7v2.explain import explain
from mappings.hl7v2.rules.messages import MESSAGE_DIGEST
from tests.mappings.cda.documents import LEAST, minimal

Json = dict[str, Any]
PROFILE = load_profile("default")

MDM = (
    "MSH|^~\\&|TEXT|HOSP|CB|HOSP|20260305081502+0100||MDM^T02^MDM_T02|M1|P|2.6|||AL|NE||UNICODE UTF-8\r"
    "EVN|T02|20260305081502\rPID|1||P1^^^HOSP&2.999.2&ISO^MR~N9^^^NAT&2.999.9&ISO^NI||Example^Ida||19700101|F\r"
    "TXA|1|DS||||||||||D-1^TEXT|||||AU\r"
)
ORU = (
    "MSH|^~\\&|LAB|HOSP|CB|HOSP|20260305081502+0100||ORU^R01^ORU_R01|M2|P|2.6|||AL|NE||UNICODE UTF-8\r"
    "PID|1||P1^^^HOSP&2.999.2&ISO^MR||Example^Ida||19700101|F\r"
    "OBR|1||F1^LAB|X^Report^99L|||20260305080000|||||||||||||||||LAB|F\r"
)
ALLERGY = """<component><section>
<code code="48765-2" codeSystem="2.16.840.1.113883.6.1"/><title>Allergies</title><text>Nuts</text>
<entry><act classCode="ACT" moodCode="EVN"><code code="CONC" codeSystem="2.16.840.1.113883.5.6"/>
<statusCode code="active"/><entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN">
<id root="2.999.5" extension="AL1"/><code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
<statusCode code="completed"/><effectiveTime><low value="20200101"/></effectiveTime>
<value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CD" code="414285001"
 codeSystem="2.16.840.1.113883.6.96"/>
<participant typeCode="CSM"><participantRole classCode="MANU"><playingEntity classCode="MMAT">
<name>Nuts</name></playingEntity></participantRole></participant></observation></entryRelationship></act></entry>
</section></component>"""
SUMMARY = minimal(ALLERGY)


def obx(data: bytes, kind: str = "text^xml", encoding: str = "Base64", status: str = "F", nth: int = 1) -> str:
    return f"OBX|{nth}|ED|CDA^Document^99T||TEXT^{kind}^{encoding}^{written(data, encoding)}||||||{status}\r"


def written(data: bytes, encoding: str) -> str:
    if encoding == "Base64":
        return base64.b64encode(data).decode()
    if encoding == "Hex":
        return data.hex()
    text = data.decode("utf-8").replace("\\", "\\E\\")
    for char, name in (("|", "F"), ("^", "S"), ("&", "T"), ("~", "R"), ("\r", "X0D"), ("\n", "X0A")):
        text = text.replace(char, f"\\{name}\\")
    return text


def converted(message: str, **more: Any) -> Conversion:
    return to_fhir(message.encode(), PROFILE, **more)


def kinds(found: Conversion) -> Counter[str]:
    return Counter(each.body["resourceType"] for each in found.resources)


def one(found: Conversion, kind: str) -> Mapped:
    (each,) = (each for each in found.resources if each.body["resourceType"] == kind)
    return each


def embedded_issues(found: Conversion) -> list[tuple[str, str, str]]:
    return [(each.code, str(each.place), each.detail) for each in found.issues if each.row == embedded.ROW]


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [("text^xml", "Base64"), ("text^x-hl7-cda-level-one", "Base64"), ("application^xml", "Hex"), ("text^xml", "A")],
)
@pytest.mark.parametrize("head", [MDM, ORU], ids=["mdm", "oru"])
def test_a_document_inside_is_an_attachment_and_a_document_of_its_own(head: str, kind: str, encoding: str) -> None:
    plain, found = converted(head + obx(b"<note/>", kind, encoding)), converted(head + obx(SUMMARY, kind, encoding))
    assert embedded_issues(found) == []
    gained = kinds(found) - kinds(plain)
    assert gained["Composition"] == gained["AllergyIntolerance"] == 1
    assert kinds(found)["DocumentReference"] >= kinds(plain)["DocumentReference"] == 1
    assert (
        one(found, "AllergyIntolerance").body["patient"]["reference"] == f"Patient/{one(found, 'Patient').body['id']}"
    )
    assert len(found.tally) == 2, "what became of its statements is told"


def test_it_is_the_same_document_that_comes_alone() -> None:
    """Same ids, same time: whichever comes second changes nothing."""
    alone, inside = to_fhir(SUMMARY, PROFILE), converted(MDM + obx(SUMMARY))
    for kind in ("Composition", "AllergyIntolerance"):
        first, second = one(alone, kind), one(inside, kind)
        assert (first.body, first.at, first.mode) == (second.body, second.at, second.mode)


def test_a_document_of_a_time_to_come_counts_as_of_the_receipt_of_its_message() -> None:
    received = datetime(2026, 3, 2, tzinfo=UTC)
    ahead = minimal(effectiveTime='<effectiveTime value="22060301120000+0100"/>')
    found = converted(MDM + obx(ahead), at=received)
    assert one(found, "Composition").at == received.isoformat()
    assert "dated-ahead" in [issue.code for issue in found.issues]


def test_the_provenance_of_the_message_names_what_the_document_states() -> None:
    found = converted(MDM + obx(SUMMARY))
    digest = {"system": MESSAGE_DIGEST, "value": found.digest.hex()}
    told = [each.body for each in found.resources if each.body["resourceType"] == "Provenance"]
    assert all(any(entity["what"].get("identifier") == digest for entity in body["entity"]) for body in told)
    targets = {target["reference"] for target in told[0]["target"]}
    stated = {"Composition", "AllergyIntolerance", "DocumentReference"}
    assert stated <= {reference.split("/")[0] for reference in targets}


@pytest.mark.parametrize("events", [True, False])
def test_no_resource_stands_twice_and_every_reference_leads_somewhere(events: bool) -> None:
    found = converted(MDM + obx(SUMMARY) + obx(minimal(id='<id root="2.999.1" extension="D2"/>'), nth=2), events=events)
    refs = [f"{each.body['resourceType']}/{each.body['id']}" for each in found.resources]
    assert len(refs) == len(set(refs))
    assert kinds(found)["Composition"] == 2
    assert validate(bundle(found, "collection")) == ()


def test_a_patient_known_by_another_of_her_numbers_is_the_messages_patient() -> None:
    other = LEAST["recordTarget"].replace('root="2.999.2" extension="P1"', 'root="2.999.9" extension="N9"')
    found = converted(MDM + obx(minimal(ALLERGY, recordTarget=other)))
    patient = one(found, "Patient")
    assert patient.body["identifier"][0]["value"] == "P1"
    assert one(found, "AllergyIntolerance").body["patient"]["reference"] == f"Patient/{patient.body['id']}"
    assert one(found, "Composition").body["subject"]["reference"] == f"Patient/{patient.body['id']}"


OTHER = LEAST["recordTarget"].replace('extension="P1"', 'extension="P2"')
NOBODY = MDM.replace("P1^^^HOSP&2.999.2&ISO^MR~N9^^^NAT&2.999.9&ISO^NI", "")
WITHOUT = "\r".join(line for line in MDM.split("\r") if not line.startswith("PID"))


@pytest.mark.parametrize(
    "message",
    [
        MDM + obx(minimal(ALLERGY, recordTarget=OTHER)),
        MDM + obx(minimal(ALLERGY, recordTarget=OTHER.replace("2.999.2", "2.999.3"))),
        NOBODY + obx(SUMMARY),
        WITHOUT + obx(SUMMARY),
    ],
    ids=["another number", "another authority", "a message of nobody", "a message without PID"],
)
def test_a_document_about_another_patient_stays_an_attachment(message: str) -> None:
    found = converted(message)
    assert embedded_issues(found) == [("document-of-another", "OBX-5", "")]
    assert not kinds(found) & Counter({"Composition": 1, "AllergyIntolerance": 1})
    assert kinds(found)["DocumentReference"] == 1
    assert "P2" not in str([each.body for each in found.resources if each.body["resourceType"] == "Patient"])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (SUMMARY[:-20], "not-xml"),
        (
            SUMMARY.replace(b"<?xml", b"<?xml", 1).replace(b"<ClinicalDocument", b"<!DOCTYPE x><ClinicalDocument", 1),
            "doctype-refused",
        ),
        (minimal(recordTarget=LEAST["recordTarget"] + OTHER), "several-patients"),
        (minimal(recordTarget="<recordTarget/>"), "no-patient"),
    ],
    ids=["cut", "doctype", "two patients", "no patient"],
)
def test_a_document_that_cannot_be_converted_never_costs_the_message(data: bytes, code: str) -> None:
    plain, found = converted(MDM + obx(b"<note/>")), converted(MDM + obx(data))
    assert embedded_issues(found) == [("document-failed", "OBX-5", code)]
    assert kinds(found) == kinds(plain)


def test_a_fault_of_ours_in_a_document_never_costs_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **more: Any) -> Any:
        raise KeyError("P1")

    monkeypatch.setattr(embedded, "to_fhir", broken)
    found = converted(MDM + obx(SUMMARY))
    assert embedded_issues(found) == [("document-failed", "OBX-5", "")]
    assert kinds(found)["DocumentReference"] == 1


@pytest.mark.parametrize(
    "data",
    [b"<html>ClinicalDocument</html", b"%PDF-1.4", b"<svg/>", b"plain", b"MIME-Version: 1.0\r\n\r\nClinicalDocument"],
)
def test_what_is_no_document_is_an_attachment_and_no_more(data: bytes) -> None:
    found = converted(MDM + obx(data))
    assert [each for each in embedded_issues(found) if each[2] != "not-xml"] == []
    assert "Composition" not in kinds(found)


@pytest.mark.parametrize("status", ["D", "W"])
def test_a_line_that_was_taken_back_states_nothing(status: str) -> None:
    assert "Composition" not in kinds(converted(MDM + obx(SUMMARY, status=status)))


def test_a_mime_package_holds_its_first_document() -> None:
    """CDA R2 §3: the document, then what its observationMedia refer to."""
    package = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="x"; type="text/xml"\r\n\r\n--x\r\n'
        b"Content-Type: text/xml\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(SUMMARY)
        + b"\r\n--x\r\nContent-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lGODdh\r\n--x--\r\n"
    )
    for encoding in ("Base64", "A"):
        found = converted(MDM + obx(package, "multipart^x-hl7-cda-level-one", encoding))
        assert (embedded_issues(found), kinds(found)["AllergyIntolerance"]) == ([], 1)


def test_parts_in_parts_in_parts_end_somewhere() -> None:
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(3_000))
    assert "Composition" not in kinds(converted(MDM + obx(deep, "multipart^mixed")))


def test_text_in_the_messages_character_set_is_read_whatever_the_document_declares() -> None:
    title = "<title>Entlassung für Gärtner</title>"
    data = minimal(title=title).decode()
    declared = '<?xml version="1.0" encoding="ISO-8859-1"?>' + data.split("?>")[-1]
    found = converted(MDM + obx(declared.encode("utf-8"), encoding="A"))
    assert one(found, "Composition").body["title"] == "Entlassung für Gärtner"


def test_explain_says_which_field_a_document_came_from() -> None:
    message = (MDM + obx(SUMMARY)).encode()
    facts = [fact for fact in explain(message, PROFILE).facts if fact.resource.startswith("AllergyIntolerance/")]
    assert facts
    assert {(str(fact.place), fact.row) for fact in facts} == {("OBX-5", "@embedded")}


def test_same_message_same_bytes() -> None:
    at = datetime(2026, 3, 5, tzinfo=UTC)
    assert converted(MDM + obx(SUMMARY), at=at) == converted(MDM + obx(SUMMARY), at=at)
