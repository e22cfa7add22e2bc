"""FHIR files to HL7 v2 messages: `convert --to`, whole or not at all (design chapter HL7 v2 §16)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapter.write_files import WrittenFile, control_id, write_document, write_file
from mappings.hl7v2.out import Receiver
from mappings.profile import load_profile
from tests.adapter.cli.command import Command

SAMPLES = Path(__file__).parents[2] / "samples" / "fhir"
RESULT = SAMPLES / "laboratory-result.json"
AT = datetime(2025, 3, 8, 12, tzinfo=UTC)
PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "1", "name": [{"family": "Geheim"}]}


def write(source: Path, message: str = "ORU^R01", **receiver: Any) -> WrittenFile:
    return write_file(source, source.parent / "out" / "x.hl7", message, Receiver(**receiver), AT)


def put(folder: Path, value: Any) -> Path:
    path = folder / "in.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def test_a_bundle_becomes_one_message(tmp_path: Path) -> None:
    done = write_file(RESULT, tmp_path / "deep" / "x.hl7", "ORU^R01", Receiver(), AT)
    written = (tmp_path / "deep" / "x.hl7").read_bytes()
    assert (done.failure, done.segments) == ("", written.count(b"\r"))
    assert written.startswith(b"MSH|^~\\&|CHARTBRIDGE||||20250308120000+0000||ORU^R01^ORU_R01|")


def test_one_resource_is_a_bundle_of_one(tmp_path: Path) -> None:
    done = write(put(tmp_path, PATIENT), "ADT^A08")
    assert (done.failure, done.segments) == ("", 4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Resource"),
        ("[]", "is not a JSON object"),
        ({"resourceType": "Bundle", "type": "collection"}, "PID: expected 1"),
        ({**PATIENT, "gender": "Geheim"}, "Patient.gender"),
        ({**PATIENT, "name": {"family": "Geheim"}}, "Patient.name"),
    ],
)
def test_a_file_that_cannot_become_a_message_says_why_and_leaves_none(tmp_path: Path, content: Any, said: str) -> None:
    done = write(put(tmp_path, content), "ADT^A08")
    assert said in done.failure
    assert "Geheim" not in done.failure
    assert not (tmp_path / "out").exists()


def test_what_was_not_carried_is_told_by_its_path(tmp_path: Path) -> None:
    done = write(put(tmp_path, {**PATIENT, "active": True}), "ADT^A08")
    assert done.left == ("Patient/1#active",)


def test_the_control_id_is_the_content_s(tmp_path: Path) -> None:
    data = RESULT.read_bytes()
    assert control_id(data, "ORU^R01") == control_id(data, "ORU^R01")
    assert len({control_id(data, "ORU^R01"), control_id(data, "ADT^A08"), control_id(data + b" ", "ORU^R01")}) == 3
    assert len(control_id(data, "ORU^R01")) == 20


def test_the_verb_writes_a_folder_and_ends_as_convert_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    verb = Command(capsys)
    inbox, out = tmp_path / "in", tmp_path / "out"
    (inbox / "ward").mkdir(parents=True)
    (inbox / "ward" / "a.json").write_bytes(RESULT.read_bytes())
    assert verb("convert", "--to", "ORU^R01", "--out", out, inbox).code == 0
    assert (out / "ward" / "a.hl7").read_bytes().startswith(b"MSH")
    (inbox / "b.json").write_text("{}")
    some = verb("convert", "--to", "ORU^R01", "--out", out, inbox, json=True)
    assert (some.code, some.schemas()) == (8, {"chartbridge.write/1"})
    assert verb("convert", "--to", "ORU^R01", "--out", out, inbox / "b.json").code == 1


@pytest.mark.parametrize(
    "words",
    [("--to", "ACK"), ("--receiver", str(SAMPLES / "old-laboratory.toml")),
     ("--to", "ORU^R01", "--receiver", "nowhere.toml"), ("--to", "ORU^R01", "--receiver", str(RESULT))],
)  # fmt: skip
def test_a_wrong_call_is_one(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...]) -> None:
    assert Command(capsys)("convert", *words, "--out", tmp_path / "out", RESULT).code == 2


def test_the_receiver_s_file_decides(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    receiver = SAMPLES / "old-laboratory.toml"
    done = Command(capsys)("convert", "--to", "ORU^R01", "--receiver", receiver, "--out", tmp_path, RESULT)
    assert done.code == 0
    written = (tmp_path / "laboratory-result.hl7").read_bytes()
    assert "Mühl".encode("latin-1") in written
    assert b"|P|2.3||||||8859/1\r" in written


# documents: `convert --to ccd` (design chapter CDA §16)

SUMMARY = SAMPLES / "patient-summary.json"


def document(source: Path, folder: Path) -> WrittenFile:
    return write_document(source, folder / "out" / "x.xml", "ccd", load_profile("default"))


def test_a_document_bundle_becomes_a_cda_document(tmp_path: Path) -> None:
    done = document(SUMMARY, tmp_path)
    written = (tmp_path / "out" / "x.xml").read_bytes()
    assert (done.failure, done.segments) == ("", written.count(b"<entry "))
    assert b'<ClinicalDocument xmlns="urn:hl7-org:v3"' in written
    assert any(path.endswith("#status") for path in done.left)  # that a result was corrected has no code


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PATIENT, "expected a Bundle of type document"),
        ({"resourceType": "Bundle", "type": "document"}, "no Composition"),
        ({"resourceType": "Bundle", "type": "document", "entry": [{"resource": {**PATIENT, "gender": "Geheim"}}]},
         "Patient.gender"),
        ("{", "Resource"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_document_says_why_and_leaves_none(tmp_path: Path, content: Any, said: str) -> None:
    done = document(put(tmp_path, content), tmp_path)
    assert said in done.failure
    assert "Geheim" not in done.failure
    assert not (tmp_path / "out").exists()


def test_a_document_has_no_receiver(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plain = Command(capsys)
    receiver = SAMPLES / "old-laboratory.toml"
    assert plain("convert", "--to", "ccd", "--receiver", receiver, "--out", tmp_path / "o", SUMMARY).code == 2
    assert plain("convert", "--to", "ehdsi-ps", "--out", tmp_path / "o", SUMMARY).code == 0
    assert (tmp_path / "o" / "patient-summary.xml").is_file()
