"""hl7apy reads the same fields, components and subcomponents, wherever it accepts the message."""

from pathlib import Path

import pytest
from hl7apy.core import Message as Theirs
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from mappings.errors import MappingError
from mappings.hl7v2.message import Message, parse

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "hl7v2").glob("*.hl7"))

WRITTEN = (
    "MSH|^~\\&|A|B^1.2.3^ISO|C|D|20240501101530||ADT^A01^ADT_A01|MSG1|P|2.5\r"
    "EVN|A01|20240501101530\r"
    "PID|1||7^^^A&1.2.3&ISO^MR~8^^^B||Doe&van&Doe^Jane^^^Dr||19700101|F|||1 Main St&Main St&1^^Town||^PRN^PH^^1^270\r"
    "NK1|1|Roe^Richard\r"
    "PV1|1|I|W1^2^3^HOSP||||||||||||||||4711^^^A\r"
    "OBX|1|NM|718-7^Hb^LN||13.20|g/dL\r"
    "AL1|1||^Peanuts\r",
    "MSH|^~\\&|LAB|X|||20240501||ORU^R01^ORU_R01|2|P|2.5.1\r"
    "PID|1||7\r"
    "OBR|1|1^P|2^F|718-7^Hb^LN|||20240501\r"
    "OBX|1|ST|1^a^L||text with \\T\\ and \\S\\ escapes\r"
    "NTE|1||first~second\r",
)


def raw_fields(data: str) -> dict[tuple[int, int], list[str]] | None:
    """(segment, field) -> raw repetitions, by hl7apy."""
    try:
        read: Theirs = parse_message(data, find_groups=False)
        found: dict[tuple[int, int], list[str]] = {}
        for ordinal, segment in enumerate(read.children):
            for field in segment.children:
                number = int(field.name.rsplit("_", 1)[1])
                found.setdefault((ordinal, number), []).append(field.to_er7())
    except (HL7apyException, ValueError, KeyError, IndexError, AttributeError):
        return None
    return found


def ours(read: Message) -> dict[tuple[int, int], list[str]]:
    """The same by our reader: fields that are not empty. MSH-1 and -2 are syntax to both."""
    found: dict[tuple[int, int], list[str]] = {}
    for segment in read.segments:
        for number in range(3 if segment.name == "MSH" else 1, len(segment.fields)):
            if repetitions := [raw for raw in segment.reps(number) if raw]:
                found[(segment.ordinal, number)] = repetitions
    return found


def parts(raw: str, separators: str) -> list[str]:
    """The components and subcomponents that are there. hl7apy loses empty ones where its version of the datatype has
    fewer, and escapes an escape again when it writes, so positions and escapes are compared by the next test."""
    for separator in separators[1:]:
        raw = raw.replace(separator, separators[0])
    return [part for part in raw.split(separators[0]) if part]


def compared(read: Message, data: str) -> bool:
    expected = raw_fields(data)
    if expected is None:
        return False
    sep = read.sep
    found = ours(read)
    for place, raws in expected.items():
        if place[0] == 0 and place[1] < 3:
            continue
        mine = [part for raw in found.pop(place, []) for part in parts(raw, sep.comp + sep.sub)]
        if not any(sep.esc in part for part in mine):
            assert mine == [part for raw in raws for part in parts(raw, sep.comp + sep.sub)], place
    assert [raws for raws in found.values() if any(parts(raw, sep.comp + sep.sub) for raw in raws)] == []
    return True


@pytest.mark.parametrize("data", WRITTEN)
def test_hl7apy_reads_the_same_fields(data: str) -> None:
    assert compared(parse(data.encode(), charset="utf-8"), data)


@pytest.mark.parametrize("data", WRITTEN)
def test_hl7apy_splits_the_same_components(data: str) -> None:
    read = parse(data.encode(), charset="utf-8")
    message: Theirs = parse_message(data, find_groups=False)
    seen = 0
    for segment, other in zip(read.segments[1:], message.children[1:], strict=True):
        for field in other.children:
            repetitions = segment.reps(int(field.name.rsplit("_", 1)[1]))
            for component in field.children if len(repetitions) == 1 else ():
                number = (component.name or "").rsplit("_", 1)[-1]
                if number.isdigit() and "\\" not in repetitions[0]:
                    assert repetitions[0].split("^")[int(number) - 1] == component.to_er7()
                    seen += 1
    assert seen > 5


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_hl7apy_reads_the_samples_the_same(sample: Path) -> None:
    try:
        read = parse(sample.read_bytes())
    except MappingError:
        return  # what we refuse has no fields to compare
    if not read.issues:  # hl7apy knows no continued lines, and no charset but the one it is told
        compared(read, read.text.replace("\r\n", "\r").replace("\n", "\r"))
