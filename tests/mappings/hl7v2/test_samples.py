"""The samples are the specification by example: each maps as recorded, and together they fire every row.

Source: design chapter HL7 v2 §6, §13; STYLE §4.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.convert import UnreadableMessage, bundle, patient_keys, to_fhir
from mappings.fhir.codec import encode
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from mappings.hl7v2 import explain, message
from mappings.hl7v2.place import Place
from mappings.hl7v2.registry import crosswalk
from mappings.record import record
from tests import golden
from tests.mappings.hl7v2.messages import BROKEN, MR, SAMPLES, default, header
from tests.mappings.hl7v2.messages import message as built

READABLE = [path for path in SAMPLES if path.stem not in BROKEN]
BENCH = sorted((SAMPLES[0].parent / "bench").glob("*.hl7"))


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_sample_maps_as_recorded(sample: Path) -> None:
    conversion = to_fhir(sample.read_bytes(), default())
    golden.check(golden.FOLDER / "hl7v2" / f"{sample.stem}.json", record(conversion))


@pytest.mark.parametrize("sample", [*READABLE, *BENCH], ids=lambda path: path.stem)
def test_every_resource_of_a_sample_is_valid(sample: Path) -> None:
    for mapped in to_fhir(sample.read_bytes(), default()).resources:
        assert validate(mapped.body) == (), mapped.body["resourceType"]
        assert broken(mapped.body) == (), mapped.body["resourceType"]


def test_what_is_no_message_is_refused_by_our_error() -> None:
    broken = next(path for path in SAMPLES if path.stem == "broken-no-msh")
    with pytest.raises(UnreadableMessage):
        to_fhir(broken.read_bytes(), default())


def test_every_row_is_fired_by_some_sample() -> None:
    found = explain.coverage([sample.read_bytes() for sample in SAMPLES], default())
    assert [row.id for row in found.silent] == []


def test_every_field_of_a_mapped_segment_has_a_row_or_a_reason() -> None:
    """`crosswalk.csv` says why a field has no row, and says nothing of one that has."""
    read = {place for compiled in default().maps.rows.maps.values() for place in compiled.fields}
    told = {(place[:3], int(place[4:])): status for place, (status, _) in crosswalk().items()}
    assert set(told.values()) <= {"reader", "rule", "n/a"}
    assert all(why for _, why in crosswalk().values())
    assert {place for place, status in told.items() if status == "n/a"} & read == set()
    for segment in {name for name, _ in read}:
        numbers = {number for name, number in {*read, *told} if name == segment}
        assert numbers == set(range(1, max(numbers) + 1)), segment


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_nothing_dropped_in_silence(sample: Path) -> None:
    """Every valued place is in the trace, in an issue, or in the list of what was not mapped."""
    assert_nothing_dropped(sample.read_bytes())


def assert_nothing_dropped(data: bytes) -> None:
    found = explain.explain(data, default())
    read = message.parse(data)
    steps = {
        (p.segment, p.nth, p.field) for step in found.conversion.trace or () if isinstance(p := step.source, Place)
    }
    issues = {(p.segment, p.nth, p.field) for issue in found.conversion.issues if isinstance(p := issue.place, Place)}
    listed = {(each.place.segment, each.place.nth, each.place.field) for each in found.unmapped}
    consumed = {place for place, (status, _) in crosswalk().items() if status in ("reader", "rule")}
    for place in explain.valued_places(read):
        here = (place.segment, place.nth, place.field)
        assert here in steps | issues | listed or f"{place.segment}-{place.field}" in consumed, str(place)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["PID", "PV1", "PV2", "NK1", "AL1", "DG1", "OBX", "OBR", "ORC", "NTE", "SPM", "IN1", "ZZ1", "XYZ"]
            ),
            st.lists(
                st.sampled_from(["", "A", '""', "1^B^L", "20250101", "x~y", "1&2^3", "N", "4711" + MR]), max_size=12
            ),
        ),
        max_size=8,
    ),
    st.sampled_from(["ADT^A01", "ADT^A08", "ADT^A40", "ORU^R01", "SIU^S12", "ZZZ^Z99"]),
)
@settings(max_examples=60, deadline=None)
def test_nothing_dropped_in_silence_of_any_message(lines: list[tuple[str, list[str]]], event: str) -> None:
    data = built(header(event), *("|".join([name, *fields]) for name, fields in lines))
    assert_nothing_dropped(data)
    for mapped in to_fhir(data, default()).resources:
        assert validate(mapped.body) == ()


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_same_input_same_bytes(sample: Path) -> None:
    data = sample.read_bytes()
    first, second, traced = to_fhir(data, default()), to_fhir(data, default()), to_fhir(data, default(), trace=True)
    for other in (second, traced):
        assert [encode(m.body) for m in first.resources] == [encode(m.body) for m in other.resources]
        assert first.issues == other.issues
        assert first.effects == other.effects
    assert encode(bundle(first)) == encode(bundle(second))


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_convert_or_raise_our_error(data: bytes) -> None:
    for candidate in (data, header().encode() + b"\r" + data, header("ORU^R01").encode() + b"\rOBX|" + data):
        try:
            to_fhir(candidate, default())
        except UnreadableMessage:
            continue


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_the_scan_at_receipt_names_the_patients_of_the_conversion(sample: Path) -> None:
    for data in (sample.read_bytes(), sample.read_bytes().replace(b"\n", b"\r")):
        patients = [m for m in to_fhir(data, default()).resources if m.body["resourceType"] == "Patient"]
        named = {m.body["id"] for m in patients} | {m.was for m in patients if m.was}
        assert {key.id for key in patient_keys(data, default())} == named


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_no_value_in_any_issue(sample: Path) -> None:
    """Issues travel into logs and acknowledgments: codes, places, rows and fixed phrases only."""
    data = sample.read_bytes()
    words = {
        word for word in data.decode().replace("|", "^").replace("~", "^").replace("&", "^").split("^") if len(word) > 5
    }
    for issue in to_fhir(data, default()).issues:
        assert not words & set(f"{issue.detail} {issue.row}".split())
