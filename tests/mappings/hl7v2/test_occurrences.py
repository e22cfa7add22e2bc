"""Segments that stand too often, patients that are missing or too many: HL7 v2.9 §3.3, §7.3."""

import csv

import pytest

from mappings.hl7v2 import occurrences
from mappings.hl7v2.errors import UnreadableMessage
from tests.mappings.hl7v2.messages import MR, codes, convert, header, mapped, obr, obx
from tools import compile_hl7v2

EVN = "EVN||20250304081500+0100"
PID, OTHER = f"PID|1||4711{MR}", f"PID|2||4712{MR}"
PV1 = "PV1|1|I|W^1^1|||||||||||||||V1^^^HOSP"
PV2 = "PV2|||FEVER"
MRG = f"MRG|4713{MR}"


def unexpected(*segments: str) -> list[str]:
    return [str(each.place) for each in convert(*segments).issues if each.code == "unexpected-segment"]


@pytest.mark.parametrize(
    ("event", "segments", "places"),
    [
        ("ADT^A08", [EVN, PID, PV1, PV2], []),
        ("ADT^A08", [EVN, EVN, PID, PV1], ["EVN[2]"]),
        ("ADT^A08", [EVN, PID, PID, PV1], ["PID[2]"]),
        ("ADT^A01", [EVN, PID, "PD1", "PD1", PV1], ["PD1[2]"]),
        ("ADT^A08", [EVN, PID, PV1, PV1], ["PV1[2]"]),
        ("ADT^A08", [EVN, PID, PV1, PV2, PV2, PV2], ["PV2[2]", "PV2[3]"]),
        ("ADT^A17", [EVN, PID, PV1, OTHER, PV1], []),
        ("ADT^A17", [EVN, PID, PV1, PV1, OTHER, PV1], ["PV1[2]"]),
        ("ADT^A24", [EVN, PID, OTHER], []),
        ("ADT^A40", [EVN, PID, MRG, OTHER, MRG.replace("3", "4")], []),
        ("ADT^A40", [EVN, PID, OTHER, MRG], ["PID[2]"]),
        ("ADT^A45", [EVN, PID, MRG, PV1, MRG, PV1], []),
        ("BAR^P01", [EVN, PID, PV1, PV2, PV1, PV2], []),
        ("BAR^P01", [EVN, PID, PV1, PV2, PV2], ["PV2[2]"]),
        ("ORU^R01", [PID, PV1, obr(), obx(), OTHER, PV1, obr("F2"), obx()], []),
        ("ORU^R01", [PID, PV1, PV2, PV2, obr(), obx()], ["PV2[2]"]),
        ("ORU^R01", [PID, OTHER, obr(), obx()], ["PID[2]"]),
        ("ORM^O01", [PID, "ORC|NW|P1", obr(), PID, PV1, "ORC|PR|P0", obr("F0")], []),
        ("SIU^S12", ["SCH|P1|F1", PID, PV1, OTHER, PV1], []),
    ],
)
def test_a_segment_stands_as_often_as_its_structure_has_it(event: str, segments: list[str], places: list[str]) -> None:
    assert unexpected(header(event), *segments) == places


@pytest.mark.parametrize("event", ["ADT^A08", "ADT^A01", "ADT^A06", "ORM^O01", "VXU^V04", "MDM^T02"])
@pytest.mark.parametrize("other", [OTHER, "PID|2||||Doe^Ann"])
def test_two_patients_in_a_structure_of_one_are_refused(event: str, other: str) -> None:
    with pytest.raises(UnreadableMessage, match=r"^several-patients at PID\[2\]") as raised:
        convert(header(event), EVN, PID, other, PV1)
    assert raised.value.code == "several-patients"


@pytest.mark.parametrize("event", ["A17", "A18", "A24", "A30", "A34", "A37", "A40", "A43", "A50"])
def test_merges_links_and_swaps_name_two(event: str) -> None:
    assert convert(header(f"ADT^{event}"), EVN, PID, MRG, PV1, OTHER, MRG, PV1).resources


@pytest.mark.parametrize(
    ("event", "segments"),
    [("ADT^A01", [EVN, PV1]), ("ADT^A40", [EVN, MRG]), ("VXU^V04", ["ORC|RE"]), ("MDM^T01", [EVN, PV1, "TXA|1"])],
)
def test_a_structure_without_the_patient_that_it_needs_says_so(event: str, segments: list[str]) -> None:
    found = [each for each in convert(header(event), *segments).issues if each.code == "no-patient"]
    assert "MSH" in {str(each.place) for each in found}


def test_where_no_patient_is_needed_none_is_missed() -> None:
    assert "no-patient" not in codes(convert(header("ADT^A20"), EVN, "NPU|W^1^1|O"))
    assert mapped(convert(header("ORU^R01"), obr(), obx()), "DiagnosticReport")


def test_the_table_is_what_the_standard_says() -> None:
    """Else run `python -m tools.compile_hl7v2`."""
    with occurrences._FILE.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1:] == list(compile_hl7v2.occurrences())
