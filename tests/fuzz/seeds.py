"""What each target begins with: our samples, rows and expressions, and for generated messages some decisions."""

import csv
import hashlib
from collections.abc import Iterator

from adapter.inbound.mllp import frame
from mappings.fhir.schema import schema
from tests.fuzz import documents
from tests.mappings.hl7v2.messages import ROOT, SAMPLES

VECTORS = ROOT / "tests" / "vectors"
DECISIONS = 24  # seeds of a generated message
ESCAPES = (rb"\F\\S\\T\\R\\E\\P\ \H\x\N\ ", rb"\.br\\.sp3\\.sk2\\.in+4\\.ce\ ", rb"\XC3BC\\XC3\\XBC\ \Zx\ \unclosed")


def seeds(target: str) -> Iterator[bytes]:
    """The inputs to start from, in an order of their own."""
    if target in ("any_message", "frames", "charsets"):
        for path in SAMPLES:
            data = path.read_bytes().replace(b"\n", b"\r")
            yield bytes(range(8)) + frame(data) if target == "frames" else data
    elif target in ("built_message", "changed_message", "changed_document", "datatypes", "narratives"):
        yield from (hashlib.shake_256(b"%d" % number).digest(64 << number % 5) for number in range(DECISIONS))
    elif target == "any_document":
        yield from documents.seeds()
    elif target == "escapes":
        yield from (bytes([kind]) + text for kind in range(5) for text in ESCAPES)
    elif target == "conditions":
        yield from _conditions()
    elif target == "expressions":
        yield from (constraint.expression.encode() for constraint in schema().constraints.values())
    elif target == "resources":
        for folder in ("invariants", "mutants"):
            yield from (path.read_bytes() for path in sorted((VECTORS / folder).glob("*.json")))


def _conditions() -> Iterator[bytes]:
    """Every `when` of the shipped rows."""
    for path in sorted((ROOT / "mappings/hl7v2/segments").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            yield from {row["when"].encode(): None for row in csv.DictReader(lines) if row["when"]}
