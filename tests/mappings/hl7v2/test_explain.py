"""Explain: every value has its field, every valued field its value or a reason.

Source: design chapter HL7 v2 §13.
"""

from pathlib import Path

import pytest

from mappings.hl7v2 import lint
from mappings.hl7v2.explain import explain, fingerprint
from mappings.hl7v2.place import Place
from mappings.profile import load_profile
from tests.mappings.hl7v2.messages import BROKEN, MR, SAMPLES, default, header, message, obr, obx, segment

READABLE = [path for path in SAMPLES if path.stem not in BROKEN]


def test_a_value_is_traced_to_its_bytes() -> None:
    data = message(header("ORU^R01"), f"PID|1||1{MR}", obr(), obx("98"), obx("1.50", code="2160-0^Creatinine^LN"))
    facts = {(fact.resource.partition("/")[0], fact.path): fact for fact in explain(data, default()).facts}
    value = facts["Observation", "valueQuantity.value"]
    assert str(value.place) == "OBX[2]-5"  # the last line's, the two share a key of the table above
    assert value.bytes is not None
    assert data[slice(*value.bytes)] == b"1.50"
    assert (value.row, value.type) == ("OBX.Observation:5a", "OBX5[value]")
    assert value.source.startswith("segments/OBX.Observation.csv:")
    assert value.overlay == "base"


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_every_value_of_a_sample_names_its_writer(sample: Path) -> None:
    found = explain(sample.read_bytes(), default())
    assert found.facts
    for fact in found.facts:
        assert fact.row, fact.path
        if fact.place is not None:
            assert fact.bytes is not None


@pytest.mark.parametrize(
    ("line", "place", "reason"),
    [
        (segment("PID", f3="1" + MR, f38="VET"), "PID-38", "no-row"),
        (segment("PID", f3="1" + MR, f24="Y", f25="2"), "PID-24", "condition-false"),
        ("PID|1||1" + MR + "||||19801345", "PID-7", ""),  # kept as written beside the element: not lost
        ("XYZ|1|value", "XYZ-2", "unsupported-structure"),
        ("PID|1||1^^^HOSP^MR^^^^^extra", "PID-3", "no-row"),
    ],
)
def test_what_was_not_mapped_has_a_reason(line: str, place: str, reason: str) -> None:
    lines = [header(), line] if line.startswith("PID") else [header(), f"PID|1||1{MR}", line]
    found = {str(each.place).partition(".")[0]: each.reason for each in explain(message(*lines), default()).unmapped}
    assert found.get(place, "") == reason


def test_a_row_that_the_profile_switched_off_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "profile.toml").write_text('name = "off"\nnamespace = "urn:oid:2.999.8"\n')
    (tmp_path / "segments/PID.Patient.csv").write_text(
        "id,source,when,target,type,vocab,value,note\nPID.Patient:23,PID-23,never,gender,ST[string],,,\n"
    )
    data = message(header(), f"PID|1||1{MR}" + "|" * 20 + "Krems")
    (each,) = explain(data, load_profile(tmp_path)).unmapped
    assert (str(each.place), each.reason) == ("PID-23.1", "disabled")


def test_a_row_that_the_policy_folds_away_is_named_as_such() -> None:
    data = message(header(), segment("PID", f3="1" + MR, f19="123-45-6789", f38="VET"))
    found = {str(each.place): each.reason for each in explain(data, default()).unmapped}
    assert found == {"PID-19.1": "disabled", "PID-38.1": "no-row"}  # policy.pid19 = none, unless a profile says more


def test_every_alternative_of_a_row_that_is_switched_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "profile.toml").write_text('name = "off"\nnamespace = "urn:oid:2.999.8"\n')
    (tmp_path / "segments/PID.Patient.csv").write_text(
        "id,source,when,target,type,vocab,value,note\n"
        "PID.Patient:37,PID-37|PID-38,policy.pid19 != none,extension(urn:oid:2.999.7).valueString,ST[string],,,\n"
    )
    data = message(header(), segment("PID", f3="1" + MR, f37="Maine", f38="VET"))
    found = {str(each.place): each.reason for each in explain(data, load_profile(tmp_path)).unmapped}
    assert found == {"PID-37.1": "disabled", "PID-38.1": "disabled"}


def test_a_fingerprint_holds_no_ordinal() -> None:
    first = fingerprint("lab", "map", "not-a-date", Place("OBX", 2, 14, 1), "OBX.Observation:14a")
    assert first == fingerprint("lab", "map", "not-a-date", Place("OBX", 9, 14, 3), "OBX.Observation:14a")
    assert first != fingerprint("lab", "map", "not-a-date", Place("OBX", 2, 19, 1), "OBX.Observation:14a")
    assert len(first) == 12


def test_lint_reports_what_the_grammar_says_without_values() -> None:
    data = message(header("ADT^A01^ADT_A01"), f"PID|1||1{MR}||Geheim^Gerda", "PV1|1|QQQ")
    found = lint.lint(data)
    assert any(finding.severity == "error" for finding in found)
    assert "QQQ" not in " ".join(finding.text for finding in found)
    assert "Geheim" not in " ".join(finding.text for finding in found)


def test_lint_of_what_is_no_message_is_one_finding() -> None:
    assert [finding.severity for finding in lint.lint(b"PID|1")] == ["error"]
    assert [finding.severity for finding in lint.lint(message("MSH|^~\\&|"))] == ["error"]
