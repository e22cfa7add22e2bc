"""The rows of outbound messages: what is wrong with them is an error when they are loaded, and each is used.

Source: design chapter HL7 v2 §3 (checks), §16.
"""

import csv
from pathlib import Path

import pytest

from mappings.fhir.codec import decode
from mappings.hl7v2.out import OutboundError, messages, read_receiver, rows
from mappings.hl7v2.out.rows import layout, read_layout
from mappings.outbound import vocabulary
from tests.mappings.hl7v2.messages import ROOT
from tests.mappings.hl7v2.out.test_round_trip import PAIRS, trip
from tests.mappings.hl7v2.out.written import receiver, write

HEADER = "id,field,versions,source,when,type,vocab,value,says,note\n"
LAYOUT = 'message = "ORU^R01"\nstructure = "ORU_R01"\n[[segment]]\nmap = "PID.Patient"\n'
SEGMENTS = ROOT / "mappings/hl7v2/out/segments"


def fault(tmp_path: Path, row: str, layout_: str = LAYOUT) -> str:
    (tmp_path / "PID.Patient.csv").write_text(HEADER + row, "utf-8")
    (tmp_path / "m.toml").write_text(layout_, "utf-8")
    with pytest.raises(OutboundError) as found:
        read_layout(tmp_path / "m.toml", tmp_path)
    return str(found.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("PID.Patient:99,PID-99,,name,,XPN,,,,", "PID-99 is no field of any version"),
        ("PID.Patient:40,PID-40,2.5-,telecom,,XTN,,,,", "PID-40 is no field of 2.5, 2.5.1, 2.6"),
        ("PID.Patient:2,PID-2,,identifier,,CX,,,,\nPID.Patient:2,PID-2,,identifier,,CX,,,,", "two rows of this id"),
        ("PID.Patient:5,PID-5,,name,,XPM,,,,", "no writer XPM"),
        ("PID.Patient:5,PID-5,,name.where(,,XPN,,,,", "PID.Patient:5:"),
        ("PID.Patient:5,PID-5,,name,use =,XPN,,,,", "PID.Patient:5:"),
        ("PID.Patient:5,PID-5,,name.frobnicate(),,XPN,,,,", "a function outside our subset"),
        ("PID.Patient:8,PID-8,,gender,,IS,v2-9999.nothing,,,", "no vocabulary map v2-9999.nothing"),
        ("PID.Patient:8,PID-8,,gender,,IS,v2-0278.participation-status,,,", "has several codes"),
        ("PID.Patient:1,PID-1,,,,=,,@nothing,,", "no value @nothing"),
        ("PID.Patient:1,PID-1,,,,=,,,,", "a constant has a value"),
        ("PID.Patient:5,PID-5,,,,XPN,,,,", "everything else a source"),
        ("PID.Patient:5,PID-5,2.10-,name,,XPN,,,,", "versions: expected"),
        ("PV1.Encounter:5,PID-5,,name,,XPN,,,,", "no row of PID.Patient"),
    ],
)
def test_a_row_that_cannot_work_is_an_error_when_loaded(tmp_path: Path, row: str, said: str) -> None:
    assert said in fault(tmp_path, row)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('each = "name.("\n', "m.toml: PID.Patient:"),
        ('in = "ORDER"\n', "no segment is ORDER"),
        ('ech = "name"\n', "unknown key ech"),
    ],
)
def test_a_layout_that_cannot_work_is_an_error_when_loaded(tmp_path: Path, entry: str, said: str) -> None:
    assert said in fault(tmp_path, "PID.Patient:5,PID-5,,name,,XPN,,,,", LAYOUT + entry)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    found = fault(tmp_path, "PID.Patient:5,PID-5,,name,,XPM,,,,\nPID.Patient:99,PID-99,,name,,XPN,,,,")
    assert "PID.Patient:5" in found
    assert "PID.Patient:99" in found


def test_an_unknown_message_names_those_there_are() -> None:
    assert messages() == ("ADT^A08", "MDM^T02", "ORU^R01")
    with pytest.raises(OutboundError, match=r"ADT\^A08, MDM\^T02, ORU\^R01"):
        layout("VXU^V04")


def test_every_preference_chooses_between_codes_and_has_a_reason() -> None:
    for (name, target), code in vocabulary.preferences().items():
        if name not in ("mnemonic", "oid"):
            assert vocabulary.backwards(name).get(target, "") == code


def test_a_preferred_code_that_does_not_mean_the_target_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "preferences", lambda: {("v2-0001.administrative-gender", "other"): "F"})
    with pytest.raises(OutboundError, match="F does not mean other"):
        vocabulary.backwards.__wrapped__("v2-0001.administrative-gender")


def test_every_row_is_used_by_some_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no sample writes is not known to work."""
    from mappings.hl7v2.out import build

    fired: set[str] = set()
    inner = build._Work._texts

    def watched(work: build._Work, row: rows.Row, *rest: object) -> list[str]:
        texts = inner(work, row, *rest)  # type: ignore[arg-type]
        if texts:
            fired.add(row.id)
        return texts

    monkeypatch.setattr(build._Work, "_texts", watched)
    trip.cache_clear()
    for path, version in PAIRS:
        trip(path, version)
    for path in sorted((ROOT / "samples/fhir").glob("*.json")):
        kind = {"l": "ORU^R01", "d": "MDM^T02", "p": "ADT^A08"}[path.stem[0]]
        for to in (read_receiver(ROOT / "samples/fhir/old-laboratory.toml"), receiver(), receiver("2.8.2")):
            write(decode(path.read_bytes())["entry"], kind, to)
    known = {
        row["id"] for file in SEGMENTS.glob("*.csv") for row in csv.DictReader(file.read_text("utf-8").splitlines())
    }
    assert sorted(known - fired) == []
