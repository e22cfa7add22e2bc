"""Queries are refused aloud, at receipt and in a conversion; replies are kept without any claim about a patient.

Source: design chapter HL7 v2 §4 (kept tier), §11 (AR 200).
"""

import pytest

from adapter.inbound.ack import Rules, judge
from mappings.convert import UnreadableMessage, to_fhir
from mappings.hl7v2.header import QUERIES
from mappings.hl7v2.message import peek
from mappings.hl7v2.structure import structure_row
from tests.mappings.hl7v2.messages import MR, codes, convert, default, header, message, obr, obx

QUERY = ("QPD|Q22^Find candidates^HL70471|QRY1|@PID.5.1^Demo", "RCP|I")


@pytest.mark.parametrize("code", sorted(QUERIES))
def test_a_query_is_refused_and_never_converted(code: str) -> None:
    data = message(header(f"{code}^Q22"), *QUERY)
    reason = judge(peek(data), data, Rules())
    assert reason is not None
    assert (reason.condition, reason.issue) == ("200", "query")
    with pytest.raises(UnreadableMessage) as refused:
        to_fhir(data, default())
    assert refused.value.code == "query"
    assert "Demo" not in str(refused.value)


@pytest.mark.parametrize(
    "kind",
    ["ACK", "ACK^A01", "ORR^O02", "ORL^O22", "RRE^O12", "RRI^I12", "SRR^S01", "RSP^K22", "MFK^M02", "MFK^M05"],
)
def test_a_reply_is_kept_and_says_nothing_of_anybody(kind: str) -> None:
    conversion = convert(header(kind), "MSA|AA|MSG00001")
    assert {each.body["resourceType"] for each in conversion.resources} <= {
        "MessageHeader",
        "Organization",
        "Provenance",
    }
    assert "unknown-event" not in codes(conversion)
    assert "unsupported-structure" in codes(conversion)


def test_an_event_without_a_structure_is_still_named() -> None:
    assert "unknown-event" in codes(convert(header("ZZZ^Z01"), "PID|1||4711"))
    row = structure_row("ACK", "A01")
    assert row is not None
    assert row.tier == "kept"


@pytest.mark.parametrize(
    ("kind", "lines", "made"),
    [
        ("ORU", (obr(), obx("98")), {"DiagnosticReport", "Observation"}),
        ("ORM", ("ORC|NW|A1", "OBR|1|A1||718-7^Hb^LN"), {"ServiceRequest"}),
        ("VXU", ("ORC|RE||F1", "RXA|0|1|20240501||21^Varicella^CVX|999"), {"Immunization"}),
    ],
)
def test_a_message_that_names_no_event_is_the_usual_one(kind: str, lines: tuple[str, ...], made: set[str]) -> None:
    conversion = convert(header(kind), f"PID|1||4711{MR}", *lines)
    assert made <= {each.body["resourceType"] for each in conversion.resources}
    assert not {"unknown-event", "unsupported-structure"} & set(codes(conversion))


def test_an_event_that_nobody_knows_is_not_taken_for_the_usual_one() -> None:
    conversion = convert(header("ORU^Z99"), f"PID|1||4711{MR}", obr(), obx("98"))
    assert "Patient" in {each.body["resourceType"] for each in conversion.resources}
    assert "Observation" not in {each.body["resourceType"] for each in conversion.resources}
    assert {"unknown-event", "unsupported-structure"} <= set(codes(conversion))
