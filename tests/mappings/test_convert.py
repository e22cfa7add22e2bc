"""What a caller may leave out of a conversion, and that one message leaves nothing behind for the next.

Source: design chapter HL7 v2 §6 (mode `event`).
"""

from pathlib import Path

import pytest

from mappings.convert import patient_keys, to_fhir
from mappings.fhir.codec import encode
from mappings.hl7v2.assemble import Builder
from tests.mappings.hl7v2.messages import BROKEN, SAMPLES, default

READABLE = [path for path in SAMPLES if path.stem not in BROKEN]


@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_without_events_only_the_header_and_whom_it_alone_names_are_left_out(sample: Path) -> None:
    data = sample.read_bytes()
    whole = {m.body["id"]: m for m in to_fhir(data, default()).resources}
    stored = {m.body["id"]: m for m in to_fhir(data, default(), events=False).resources}
    for id_, mapped in stored.items():
        assert encode(mapped.body) == encode(whole[id_].body)
    left = [whole[id_] for id_ in whole.keys() - stored.keys()]
    assert {m.body["resourceType"] for m in left if m.mode != "stub"} <= {"MessageHeader"}
    text = b"".join(encode(mapped.body) for mapped in stored.values())
    for mapped in left:
        assert f"/{mapped.body['id']}".encode() not in text


def test_what_is_cleared_on_one_stub_reaches_no_other() -> None:
    one, other = (Builder("Location", name, f"Location/{name}", {}, 0) for name in "ab")
    one.clear.append("meta.security")
    one.filled.append("status")
    one.own.append("status")
    assert (other.clear, other.filled, other.own) == ([], [], [])


def test_the_patients_named_are_read_in_the_message_s_own_letters() -> None:
    """ISO-2022-JP is plain ASCII to the eye, and its second bytes may be separators: 厚 holds the bar's."""
    data = "MSH|^~\\&|SYS|HOSP|||20240501||ADT^A01|1|P|2.5\rPID|1||7^^^厚生病院^MR\r".encode("iso2022_jp")
    made = [each.body for each in to_fhir(data, default()).resources]
    patients = [body["id"] for body in made if body["resourceType"] == "Patient"]
    assert [key.id for key in patient_keys(data, default())] == patients
