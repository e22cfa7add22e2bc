"""Rows: the grammar of sources and targets, reading a file, laying one table over another.

Source: design chapter HL7 v2 §3.
"""

from pathlib import Path

import pytest

from mappings.rows.errors import RowsError
from mappings.rows.table import FieldRef, Kind, Row, Step, disabled, lay_over, parse_source, parse_target, read_rows

HEADER = "id,source,when,target,type,vocab,value,note\n"


def row(id_: str = "PID.Patient:8", *, note: str = "", overlay: str = "base", target: str = "gender") -> Row:
    return Row(id_, "PID-8", "", target, "CWE[code]", "", "", note, "segments/PID.Patient.csv", 2, overlay)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PID-3", (FieldRef("PID", 3),)),
        ("PID-3[1]", (FieldRef("PID", 3, 1),)),
        ("OBX-5[*]", (FieldRef("OBX", 5, None, True),)),
        ("PID-3.4", (FieldRef("PID", 3, None, False, 4),)),
        ("OBR-3|OBR-2", (FieldRef("OBR", 3), FieldRef("OBR", 2))),
        ("ZPV-2", (FieldRef("ZPV", 2),)),
        ("", ()),
    ],
)
def test_a_source_is_read(text: str, expected: tuple[FieldRef, ...]) -> None:
    assert parse_source(text) == expected
    assert "|".join(str(field) for field in expected) == text


@pytest.mark.parametrize(
    "text", ["PID", "PID-0", "PID-3[0]", "pid-3", "PID-3.0", "PID-3||PID-4", "PID-3[x]", "PID-3 4"]
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"field"):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gender", (Step(Kind.PLAIN, "gender"),)),
        ("name[]", (Step(Kind.APPEND, "name"),)),
        ("participant[att].individual", (Step(Kind.SLOT, "participant", "att"), Step(Kind.PLAIN, "individual"))),
        ("value[x]", (Step(Kind.CHOICE, "value"),)),
        (
            "_birthDate.extension(http://a.b/c.d).valueDateTime",
            (
                Step(Kind.PLAIN, "_birthDate"),
                Step(Kind.EXTENSION, "extension", "http://a.b/c.d"),
                Step(Kind.PLAIN, "valueDateTime"),
            ),
        ),
    ],
)
def test_a_target_is_read(text: str, expected: tuple[Step, ...]) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize("text", ["", "a.", "name[A]", "extension()", "name]", "1name"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"step"):
        parse_target(text)


def test_a_file_reports_every_fault_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "PID.Patient.csv"
    path.write_text(
        HEADER
        + "PID.Patient:8,PID-8,,gender,CWE[code],,,\n"
        + "PID.Patient:x,PID-8,,gender,CWE[code],,,\n"
        + "PD1.Patient:4,PD1-4,,name[],X,,,\n"
        + "PID.Patient:9,PID-9,,name[,X,,,\n"
        + "PID.Patient:10,PID-10\n"
        + "PID.Patient:11,,,gender,CWE[code],,,\n"
        + "PID.Patient:12,,,gender,=,,,\n"
    )
    with pytest.raises(RowsError) as caught:
        read_rows(path, "site", "segments/PID.Patient.csv")
    lines = [fault.split(":")[1] for fault in caught.value.faults]
    assert lines == ["3", "4", "5", "6", "7", "8"]


def test_a_file_with_another_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "PID.Patient.csv"
    path.write_text("id,source\n")
    with pytest.raises(RowsError, match="header"):
        read_rows(path, "site", "x.csv")


def test_an_overlay_replaces_disables_and_adds() -> None:
    base = (row("PID.Patient:8"), row("PID.Patient:9"))
    site = (row("PID.Patient:8", note="ours", overlay="site"), disabled(row("PID.Patient:9")), row("PID.Patient:99"))
    found = lay_over([base, site])
    assert [each.id for each in found] == ["PID.Patient:8", "PID.Patient:9", "PID.Patient:99"]
    assert found[0].note == "ours"
    assert [each.live for each in found] == [True, False, True]


def test_one_layer_names_an_id_once() -> None:
    with pytest.raises(RowsError, match="twice"):
        lay_over([(row(), row())])
