"""Structures and grouping: HL7 v2.9 chapters 3 and 7; no segment is ever lost (hl7v2.md §4)."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.hl7v2.message import Message, Segment, parse
from mappings.hl7v2.structure import ROOT, Family, Group, Grouped, GroupRule, group, structure_of, structure_row

HEADER = "MSH|^~\\&|A|B|||20240501||{type}|1|P|2.5.1"


def family(name: str, root: str, *rules: tuple[str, str, str, str], pairing: str = "") -> Family:
    """(name, parent, opens, holds), the last two as words."""
    made = {n: GroupRule(n, parent, tuple(opens.split()), tuple(holds.split())) for n, parent, opens, holds in rules}
    return Family(name, made, tuple(root.split()), tuple(pairing.split()))


ADT = family(
    "adt",
    "MSH SFT EVN",
    ("PATIENT", "", "PID", "PD1 NK1 ROL AL1 DG1 MRG GT1"),
    ("VISIT", "PATIENT", "PV1", "PV2 ROL"),
    ("PROCEDURE", "PATIENT", "PR1", "ROL"),
    ("INSURANCE", "PATIENT", "IN1", "IN2 IN3"),
)
ORU = family(
    "oru",
    "MSH SFT",
    ("PATIENT", "", "PID", "PD1 NTE NK1"),
    ("VISIT", "PATIENT", "PV1", "PV2"),
    ("ORDER", "PATIENT", "ORC OBR", "NTE TQ1 CTD FT1"),
    ("OBSERVATION", "ORDER", "OBX", "NTE"),
    ("SPECIMEN", "ORDER", "SPM", "OBX NTE"),
    pairing="results-after-specimen",
)


def message(names: str, type_: str = "ORU^R01") -> Message:
    return parse("\r".join([HEADER.format(type=type_), *(f"{name}|" for name in names.split())]).encode())


def tree(found: Group) -> str:
    """A group as `NAME(segments GROUP(…))`, its own segments first."""
    inner = [segment.name for segment in found.segments] + [tree(child) for child in found.groups]
    return f"{found.name}({' '.join(inner)})"


def shape(names: str, rules: Family) -> tuple[str, list[str]]:
    grouped = group(message(names), rules)
    return "".join(tree(child) for child in grouped.root.groups), [issue.code for issue in grouped.issues]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("PID PV1 PV2", "PATIENT(PID VISIT(PV1 PV2))"),
        ("PID PD1 ROL NK1 PV1 ROL PV2 AL1", "PATIENT(PID PD1 ROL NK1 AL1 VISIT(PV1 ROL PV2))"),
        (
            "PID PR1 ROL PR1 IN1 IN2 IN1",
            "PATIENT(PID PROCEDURE(PR1 ROL) PROCEDURE(PR1) INSURANCE(IN1 IN2) INSURANCE(IN1))",
        ),
        ("PID MRG PID MRG", "PATIENT(PID MRG)PATIENT(PID MRG)"),
        ("PV1 PID", "PATIENT(VISIT(PV1))PATIENT(PID)"),  # a missing parent opens implicitly
    ],
)
def test_adt_groups(names: str, expected: str) -> None:
    assert shape(names, ADT) == (expected, [])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("PID OBR OBX OBX", "PATIENT(PID ORDER(OBR OBSERVATION(OBX) OBSERVATION(OBX)))"),
        ("PID ORC OBR OBX", "PATIENT(PID ORDER(ORC OBR OBSERVATION(OBX)))"),
        ("PID ORC OBR OBR OBX", "PATIENT(PID ORDER(ORC OBR) ORDER(OBR OBSERVATION(OBX)))"),
        ("PID ORC OBR ORC OBR", "PATIENT(PID ORDER(ORC OBR) ORDER(ORC OBR))"),
        ("PID ORC TQ1 OBR", "PATIENT(PID ORDER(ORC TQ1 OBR))"),
        ("PID OBR NTE OBX NTE NTE OBX", "PATIENT(PID ORDER(OBR NTE OBSERVATION(OBX NTE NTE) OBSERVATION(OBX)))"),
        ("PID NTE PV1 OBR OBX", "PATIENT(PID NTE VISIT(PV1) ORDER(OBR OBSERVATION(OBX)))"),
        ("PID OBR OBX SPM", "PATIENT(PID ORDER(OBR OBSERVATION(OBX) SPECIMEN(SPM)))"),
        ("PID OBR OBX SPM OBX NTE", "PATIENT(PID ORDER(OBR OBSERVATION(OBX) SPECIMEN(SPM OBX NTE)))"),
        ("PID OBR OBX PID OBR OBX", "PATIENT(PID ORDER(OBR OBSERVATION(OBX)))" * 2),
        ("OBR OBX", "PATIENT(ORDER(OBR OBSERVATION(OBX)))"),
        ("OBX", "PATIENT(ORDER(OBSERVATION(OBX)))"),
        ("PID OBR OBX NTE ZX1 NTE", "PATIENT(PID ORDER(OBR OBSERVATION(OBX NTE ZX1 NTE)))"),
    ],
)
def test_one_report_per_obr_with_its_own_order(names: str, expected: str) -> None:
    assert shape(names, ORU) == (expected, [])


def test_results_after_the_specimen_are_the_orders() -> None:
    expected = "PATIENT(PID ORDER(OBR SPECIMEN(SPM) OBSERVATION(OBX) OBSERVATION(OBX NTE)))"
    assert shape("PID OBR SPM OBX OBX NTE", ORU) == (expected, ["results-after-specimen"])


def test_an_unexpected_segment_stays_where_it_stands_and_closes_nothing() -> None:
    expected = "PATIENT(PID ORDER(OBR OBSERVATION(OBX GOL NTE) OBSERVATION(OBX)))"
    assert shape("PID OBR OBX GOL NTE OBX", ORU) == (expected, ["unexpected-segment"])


def test_a_segment_of_an_outer_group_closes_the_inner_ones() -> None:
    assert shape("PID OBR OBX PD1 OBR", ORU)[0] == "PATIENT(PID PD1 ORDER(OBR OBSERVATION(OBX)) ORDER(OBR))"


def test_a_segment_is_found_in_the_groups_around() -> None:
    grouped = group(message("PID PV1 ORC OBR OBX"), ORU)
    observation = grouped.root.all("OBSERVATION")[0]
    names = [found.name for name in ("OBX", "OBR", "ORC", "PID", "MSH") if (found := observation.find(name))]
    assert names == ["OBX", "OBR", "ORC", "PID", "MSH"]
    assert observation.find("PV1") is None  # a neighbour is not around


def segments_of(found: Group) -> list[Segment]:
    return [segment for each in found.walk() for segment in each.segments]


def holds_every_segment_once(grouped: Grouped, read: Message) -> bool:
    ordinals = [segment.ordinal for segment in segments_of(grouped.root)]
    return sorted(ordinals) == list(range(len(read.segments)))


_NAMES = st.sampled_from("MSH PID PD1 PV1 PV2 NK1 ROL PR1 IN1 ORC OBR OBX NTE SPM SAC TQ1 ZX1 QQQ MRG EVN GOL".split())


@settings(max_examples=300, deadline=None)
@given(st.lists(_NAMES, max_size=25), st.sampled_from([ADT, ORU]))
def test_no_segment_is_lost_and_order_holds_inside_a_group(names: list[str], rules: Family) -> None:
    read = message(" ".join(names))
    grouped = group(read, rules)
    assert holds_every_segment_once(grouped, read)
    for found in grouped.root.walk():
        ordinals = [segment.ordinal for segment in found.segments]
        assert ordinals == sorted(ordinals)
        assert all(child.parent is found for child in found.groups)
        assert found.name == ROOT or found.name in rules.groups


# structures.csv -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "structure", "family_name", "tier"),
    [
        ("ADT^A01", "ADT_A01", "adt", "full"),
        ("ADT^A08", "ADT_A01", "adt", "full"),
        ("ADT^A08^ADT_A01", "ADT_A01", "adt", "full"),
        ("ADT^A31", "ADT_A05", "adt", "full"),
        ("ADT^A40", "ADT_A39", "adt", "full"),
        ("ADT^A11", "ADT_A09", "adt", "full"),
        ("ADT^A60", "ADT_A60", "adt", "full"),
        ("ORU^R01", "ORU_R01", "oru", "full"),
        ("oru^r01", "ORU_R01", "oru", "full"),
        ("SIU^S12", "SIU_S12", "siu", "full"),
        ("SIU^S23", "SIU_S12", "slots", "full"),
        ("MDM^T02", "MDM_T02", "mdm", "full"),
        ("ORU", "ORU_R01", "oru", "full"),  # as older senders write them
        ("ORU^^ORU_R01", "ORU_R01", "oru", "full"),
        ("ORM", "ORM_O01", "order", "full"),
        ("VXU", "VXU_V04", "vxu", "full"),
        ("ACK", "ACK", "kept", "kept"),
        ("ACK^A01", "ACK", "kept", "kept"),
    ],
)
def test_an_event_has_its_structure(type_: str, structure: str, family_name: str, tier: str) -> None:
    row = structure_of(message("PID", type_))
    assert row is not None
    assert (row.structure, row.family, row.tier) == (structure, family_name, tier)


@pytest.mark.parametrize("type_", ["ZZZ^Z01", "ADT^Z99", "ORU^Z99", "ORU^Z99^ORU_R01", "AC", ""])
def test_an_unknown_event_has_none(type_: str) -> None:
    assert structure_of(message("PID", type_)) is None


ADT_EVENTS = {
    "ADT_A01": "A01 A04 A08 A13", "ADT_A02": "A02", "ADT_A03": "A03", "ADT_A05": "A05 A14 A28 A31",
    "ADT_A06": "A06 A07", "ADT_A09": "A09 A10 A11", "ADT_A12": "A12", "ADT_A15": "A15", "ADT_A16": "A16",
    "ADT_A17": "A17", "ADT_A18": "A18", "ADT_A20": "A20", "ADT_A21": "A21 A22 A23 A25 A26 A27 A29 A32 A33",
    "ADT_A24": "A24", "ADT_A30": "A30 A34 A35 A36 A46 A47 A48 A49", "ADT_A37": "A37", "ADT_A38": "A38",
    "ADT_A39": "A39 A40 A41 A42", "ADT_A43": "A43", "ADT_A44": "A44", "ADT_A45": "A45", "ADT_A50": "A50 A51",
    "ADT_A52": "A52 A53", "ADT_A54": "A54 A55", "ADT_A60": "A60", "ADT_A61": "A61 A62",
}  # fmt: skip
VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9")


@pytest.mark.parametrize("structure", ADT_EVENTS)
@pytest.mark.parametrize("version", ["", *VERSIONS])
def test_every_event_of_adt_has_its_structure_in_every_version(structure: str, version: str) -> None:
    """With MSH-9.3, without, and with one that names the event instead."""
    for event in ADT_EVENTS[structure].split():
        expected = "ADT_A43" if event == "A44" and version and version < "2.7" else structure
        told = expected if version else structure
        for sent in ("", told, f"ADT_{event}", event):
            row = structure_row("ADT", event, sent, version)
            assert row is not None
            assert (row.family, row.tier) == ("adt", "full")
            if version:
                assert row.structure == expected


def test_no_event_of_adt_is_forgotten() -> None:
    """A19 is a query; A56 to A59 were never given out."""
    told = {event for events in ADT_EVENTS.values() for event in events.split()}
    assert told == {f"A{n:02}" for n in range(1, 63)} - {"A19", "A56", "A57", "A58", "A59"}


def test_a_structure_older_than_its_table_is_still_found() -> None:
    assert structure_row("ADT", "A01", version="2.1") is not None
    assert structure_row("ADT", "A40", "ADT_A40", "2.3") is not None


# corpus -------------------------------------------------------------------------------------------------------------

CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", "corpus")) / "hl7v2" / "messages"


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="CHARTBRIDGE_CORPUS names no corpus folder")
def test_every_message_of_the_corpus_is_read_and_grouped() -> None:
    files = sorted(CORPUS.glob("*.hl7"))
    assert files
    for file in files:
        read = parse(file.read_bytes())
        assert {issue.code for issue in read.issues} <= {"charset-lies", "charset-guessed", "charset-unknown"}, (
            file.name
        )
        for rules in (ADT, ORU):
            assert holds_every_segment_once(group(read, rules), read), file.name
        assert structure_of(read) is not None, file.name
