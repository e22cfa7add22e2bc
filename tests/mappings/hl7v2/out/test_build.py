"""Messages from resources that never were HL7 v2; character sets; what ends a message, and what is told of it.

Source: design chapter HL7 v2 §16; HL7 v2.9 §2.5 to §2.7, table 0211.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mappings.convert import to_fhir
from mappings.fhir.codec import decode, encode
from mappings.fhir.validate import validate
from mappings.hl7v2 import message as messages
from mappings.hl7v2.lint import lint
from mappings.hl7v2.out import Name, OutboundError, Receiver, read_receiver, to_v2
from tests.mappings.hl7v2.messages import ROOT, default
from tests.mappings.hl7v2.out.test_round_trip import IDS, PAIRS, trip
from tests.mappings.hl7v2.out.written import AT, Json, again, line, lines, receiver, write

FHIR = ROOT / "samples/fhir"
OLD = FHIR / "old-laboratory.toml"
FILES = {"laboratory-result": "ORU^R01", "loose-results": "ORU^R01", "discharge-letter": "MDM^T02",
         "patient-update": "ADT^A08"}  # fmt: skip

PATIENT: Json = {
    "resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:oid:2.999.1.4", "value": "4711"}],
    "name": [{"family": "Demo", "given": ["Ana"]}],
}  # fmt: skip
# What hl7apy says of messages that are right. 2.3: TQ is not required, though it is there once. 2.8: lines of a report
# are not those of a document in the order. 2.7 and later want a type with each number, and FHIR need not have one.
MISREAD = re.compile(
    r"Missing required child (OBR\.OBR_27|ORC\.ORC_7|OBX\.OBX_[24]|\w+\.CX_5|ORU_R01_COMMON_ORDER\.ORC"
    r"|ORU_R01_ORDER_DOCUMENT\.TXA|ORU_R01_ORDER_OBSERVATION\.ORU_R01_OBSERVATION)"
    r"|Child limit exceeded ORU_R01_(COMMON_ORDER\.ORU_R01_ORDER_DOCUMENT|ORDER_OBSERVATION\.ORU_R01_COMMON_ORDER)"
)


def bundle(name: str) -> list[Json]:
    entries: list[Json] = decode((FHIR / f"{name}.json").read_bytes())["entry"]
    return entries


def observation(**more: Any) -> Json:
    code = {"coding": [{"system": "http://loinc.org", "code": "2345-7", "display": "Glucose"}]}
    return {"resourceType": "Observation", "id": "o", "status": "final", "code": code,
            "subject": {"reference": "Patient/1"}, **more}  # fmt: skip


# resources that came by FHIR only ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.3", "2.5.1", "2.8"])
@pytest.mark.parametrize("name", FILES)
def test_what_came_by_fhir_only_becomes_a_valid_message(name: str, version: str) -> None:
    written = write(bundle(name), FILES[name], receiver(version), check=True)
    errors = [finding.text for finding in written.findings if finding.severity == "error"]
    assert [text for text in errors if not (version != "2.5.1" and MISREAD.fullmatch(text))] == []
    assert all(validate(mapped.body) == () for mapped in again(written).resources)


NOTICES = ("mdm-t01-notification", "mdm-t11-cancelled")  # documents without content, which T02 should carry


@pytest.mark.parametrize(("path", "version"), PAIRS, ids=IDS)
def test_hl7apy_finds_nothing_wrong_with_what_is_written(path: Path, version: str) -> None:
    errors = [finding.text for finding in lint(trip(path, version).written.data) if finding.severity == "error"]
    if path.stem in NOTICES:
        assert [text for text in errors if not text.startswith("Missing required child MDM_T02.")] == []
        return
    assert [text for text in errors if not (version != "2.5.1" and MISREAD.fullmatch(text))] == []


def test_a_result_by_fhir_only_is_the_same_result_for_a_v2_receiver() -> None:
    found = again(write(bundle("laboratory-result")))
    by_code = {
        mapped.body["code"]["coding"][0]["code"]: mapped.body
        for mapped in found.resources
        if mapped.body["resourceType"] == "Observation"
    }
    assert encode(by_code["2345-7"]["valueQuantity"]).startswith(b'{"code":"mmol/L"')
    assert str(by_code["2345-7"]["valueQuantity"]["value"]) == "1.20"
    assert by_code["2345-7"]["interpretation"][0]["coding"][0]["code"] == "LL"
    assert by_code["1988-5"]["valueQuantity"]["comparator"] == "<"
    assert by_code["600-7"]["valueCodeableConcept"] == {"text": "No growth after 48 h"}
    assert by_code["8251-1"]["valueString"] == "Sample arrived warm.\nRepeat if in doubt | call 5550199."
    assert by_code["8251-1"]["note"] == [{"text": "Told to the ward."}]
    report = next(mapped.body for mapped in found.resources if mapped.body["resourceType"] == "DiagnosticReport")
    assert len(report["result"]) == 4
    assert report["extension"][0]["valueAnnotation"]["text"] == "Hypoglycaemia."


def test_an_observation_without_a_report_gets_an_order_of_its_own() -> None:
    written = write([PATIENT, observation(valueBoolean=True, effectiveDateTime="2025-03-06T08:30:00Z")])
    assert [each[:3] for each in lines(written)] == ["MSH", "PID", "OBR", "OBX"]
    assert line(written, "OBR")[4] == "2345-7^Glucose^LN"


def reported(*values: Json) -> list[Json]:
    """A report whose lines have one code and these values."""
    found = [{**observation(**value), "id": f"o{n}"} for n, value in enumerate(values)]
    results = [{"reference": f"Observation/{each['id']}"} for each in found]
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "code": {"text": "Panel"},
              "subject": {"reference": "Patient/1"}, "result": results}  # fmt: skip
    return [PATIENT, report, *found]


@pytest.mark.parametrize(
    "values",
    [
        [{"valueString": "one"}, {"valueString": "two"}, {"valueString": "three\nfour"}],
        [{"valueString": "one\ntwo"}, {"valueString": "three"}],
        [{"valueQuantity": {"value": 5}}, {"valueString": "taken\nlate"}],
    ],
)
def test_lines_of_one_code_stay_as_many_as_they_are(values: list[Json]) -> None:
    """Text over several OBX is one value to a reader, and text behind a number its comment."""
    found = [m.body for m in again(write(reported(*values))).resources if m.body["resourceType"] == "Observation"]
    assert [each.get("valueString") for each in found] == [each.get("valueString") for each in values]
    assert not any("note" in each for each in found)


def test_a_question_of_an_order_is_no_result_for_receivers_that_cannot_tell() -> None:
    old, new = (write(bundle("loose-results"), to=receiver(version)) for version in ("2.5.1", "2.8.2"))
    assert not any("49541-6" in each for each in lines(old))
    assert any(each.startswith("Observation/") and each.endswith("24") for each in old.left)
    asked = next(each for each in lines(new) if "49541-6" in each)
    assert asked.split("|")[29] == "QST"


def test_an_intolerance_is_not_called_an_allergy() -> None:
    allergy = {"resourceType": "AllergyIntolerance", "id": "a", "category": ["food"], "code": {"text": "Milk"},
               "patient": {"reference": "Patient/1"}}  # fmt: skip
    for type_, said in (("allergy", "FA"), ("intolerance", "")):
        written = write([PATIENT, {**allergy, "type": type_}], "ADT^A08")
        assert line(written, "AL1")[2] == said
        assert ("AllergyIntolerance/a#type" in written.left) == (type_ == "intolerance")


def test_a_bare_code_never_means_something_else_to_its_reader() -> None:
    """OBX-8 holds a code of table 0078 alone before 2.7: another system's A would read as abnormal."""
    alien = [{"coding": [{"system": "https://example.org/flags", "code": code}]} for code in ("A", "QQ7")]
    written = write([PATIENT, observation(valueString="x", interpretation=alien)])
    assert line(written, "OBX")[8] == "QQ7"
    assert [each.code for each in written.issues] == ["left-out", "system-unnamed"]
    assert "Observation/o#interpretation[0]" in written.left
    assert line(write([PATIENT, observation(interpretation=alien)], to=receiver("2.8")), "OBX")[8] == "A^^L~QQ7^^L"


def test_contained_people_are_found_in_the_resource_that_contains_them() -> None:
    inside = {"resourceType": "Practitioner", "id": "p", "name": [{"family": "Kaya"}]}
    order = {"resourceType": "ServiceRequest", "id": "s", "status": "active", "intent": "order", "contained": [inside],
             "subject": {"reference": "Patient/1"}, "requester": {"reference": "#p"}}  # fmt: skip
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "code": {"text": "Panel"},
              "basedOn": [{"reference": "ServiceRequest/s"}], "contained": [{**inside, "name": [{"family": "Other"}]}],
              "resultsInterpreter": [{"reference": "#p"}]}  # fmt: skip
    written = write([PATIENT, order, report])
    assert line(written, "OBR")[16] == "^Kaya"
    assert line(written, "OBR")[32] == "&Other"


# the receiver --------------------------------------------------------------------------------------------------------


def test_a_receiver_s_file_says_how_it_reads() -> None:
    found = read_receiver(OLD)
    written = write(bundle("laboratory-result"), to=found)
    assert line(written.__class__(written.data.decode("latin-1").encode(), (), (), ()), "MSH")[3:7] == [
        "CHARTBRIDGE", "HOSP", "OLDLAB", "LAB",
    ]  # fmt: skip
    assert found.zone is not None
    assert found.zone.key == "Europe/Vienna"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('version = "3.0"', "no version we write"),
        ('charset = "EBCDIC"', "no character set we write"),
        ('charset = "UNICODE UTF-16"', "no character set we write"),
        ('zone = "Mars/Olympus"', "no such time zone"),
        ('procesing = "P"', "unknown key procesing"),
        ('processing = "X"', "expected P, T or D"),
        ('authorities = { A = "urn:x", B = "urn:x" }', "A and B stand for one system"),
        ("version = ", "receiver.toml"),
    ],
)
def test_a_receiver_s_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(OutboundError, match=re.escape(said)):
        read_receiver(path)


def test_a_profile_s_authorities_are_read_backwards() -> None:
    to = Receiver.of(default())
    assert to.namespace == default().namespace
    named = Receiver(namespaces={"urn:oid:2.999.1.4": Name("HOSP", "2.999.1.4", "ISO")})
    assert line(write([PATIENT], to=named), "PID")[3] == "4711^^^HOSP&2.999.1.4&ISO"


def test_iso_8859_1_is_one_byte_a_letter_and_says_so() -> None:
    written = write(bundle("laboratory-result"), to=receiver(charset="8859/1"))
    assert "Mühl^Änne".encode("latin-1") in written.data
    read = messages.parse(written.data)
    assert read.charset == "iso8859_1"
    assert read.issues == ()
    assert to_fhir(written.data, default()).issues == ()


def test_a_character_that_the_set_lacks_is_an_error_that_names_the_field_alone() -> None:
    patient = {**PATIENT, "name": [{"family": "Łukasz"}]}
    with pytest.raises(OutboundError) as found:
        write([patient], to=receiver(charset="8859/1"))
    assert str(found.value).startswith("PID-5")
    assert "ukasz" not in str(found.value)
    assert "Łukasz".encode() in write([patient]).data


@pytest.mark.parametrize(
    "text", ["a|b", "a^b&c", "a~b", "back\\slash", "\\.br\\", "\\X41\\", "tab\there", "two\nlines"]
)
@pytest.mark.parametrize("version", ["2.3", "2.8"])
def test_no_text_can_break_out_of_its_field(text: str, version: str) -> None:
    written = write([PATIENT, observation(valueString=text)], to=receiver(version))
    assert len(lines(written)) == 4
    value = next(m.body for m in again(written).resources if m.body["resourceType"] == "Observation")["valueString"]
    assert value == text


def test_a_segment_s_end_in_a_value_makes_no_segment() -> None:
    written = write([PATIENT, observation(valueString="x\rPID|2||999")])
    assert [each[:3] for each in lines(written)] == ["MSH", "PID", "OBR", "OBX"]


# what ends a message, what is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize("resources", [[], [PATIENT, {**PATIENT, "id": "2"}]], ids=["nobody", "two"])
@pytest.mark.parametrize("message", ["ADT^A08", "ORU^R01", "MDM^T02"])
def test_a_message_tells_of_one_patient(resources: list[Json], message: str) -> None:
    with pytest.raises(OutboundError, match="PID: expected 1"):
        write(resources, message)


def test_what_no_row_reads_is_a_path_and_never_a_value() -> None:
    patient = {**PATIENT, "photo": [{"contentType": "image/png", "title": "Geheim"}], "active": True}
    written = write([patient, {"resourceType": "Goal", "id": "g", "description": {"text": "Geheim"}}])
    assert "Patient/1#photo[0]" in written.left
    assert "Patient/1#active" in written.left
    assert "Goal/g" in written.left
    assert "Geheim" not in " ".join(written.left)


def test_an_equal_value_elsewhere_does_not_pass_for_a_carried_one() -> None:
    patient = {**PATIENT, "contact": [{"name": {"family": "Demo"}}]}
    assert "Patient/1#contact[0]" in write([patient]).left


def test_a_field_that_the_version_lacks_is_an_issue_with_its_place() -> None:
    code = {"coding": [{"system": "http://loinc.org", "code": "LA1-1"}]}
    written = write([PATIENT, observation(valueString="x", bodySite=code)], to=receiver("2.3"))
    assert [(each.code, str(each.place)) for each in written.issues] == [("not-in-version", "OBX-20")]
    assert "Observation/o#bodySite" in written.left


def test_nothing_is_said_of_values_in_issues_findings_and_paths() -> None:
    written = write(bundle("patient-update"), "ADT^A08", receiver("2.3"), check=True)
    said = f"{written.issues}{written.left}{written.findings}"
    assert "Mühl" not in said
    assert "4711" not in said


# pure ----------------------------------------------------------------------------------------------------------------


def test_equal_input_gives_equal_bytes_and_is_not_changed() -> None:
    entries = bundle("laboratory-result")
    before = encode(entries)
    assert write(entries).data == write(entries).data
    assert encode(entries) == before


def test_the_control_id_and_the_time_are_the_caller_s() -> None:
    written = to_v2([PATIENT], "ADT^A08", receiver("2.3"), control_id="ABC", at=AT)
    header = line(written, "MSH")
    assert (header[7], header[10], header[12]) == ("20250308130000+0100", "ABC", "2.3")
    with pytest.raises(RuntimeError):
        to_v2(
            [PATIENT], "ADT^A08", receiver(), control_id="ABC", at=datetime(2025, 3, 8, tzinfo=UTC).replace(tzinfo=None)
        )
    with pytest.raises(RuntimeError):
        to_v2([PATIENT], "ADT^A08", receiver("2.3"), control_id="X" * 21, at=AT)
