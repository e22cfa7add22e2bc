"""A conversion as one Bundle.

Source: FHIR R4 Bundle; design chapter HL7 v2 §6.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mappings.bundle import KINDS, Kind, NoSuchBundle, bundle, usual
from mappings.convert import to_fhir
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from tests.mappings.cda.documents import LEAST, minimal
from tests.mappings.hl7v2.messages import BROKEN, SAMPLES, default

READABLE = [path for path in SAMPLES if path.stem not in BROKEN]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["reference"]} if isinstance(value.get("reference"), str) else set()
        return found.union(*(references(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(references(each) for each in value))
    return set()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "document"])
@pytest.mark.parametrize("sample", READABLE, ids=lambda path: path.stem)
def test_a_bundle_is_valid_and_points_nowhere_outside(sample: Path, kind: Kind) -> None:
    found = bundle(to_fhir(sample.read_bytes(), default()), kind)
    assert validate(found) == ()
    urls = [entry["fullUrl"] for entry in found["entry"]]
    assert len(set(urls)) == len(urls)
    assert {each for each in references(found) if not each.startswith("#")} <= set(urls)


def test_a_message_begins_with_its_header() -> None:
    data = next(path for path in SAMPLES if path.stem == "adt-a01-admission").read_bytes()
    found = bundle(to_fhir(data, default()), "message")
    assert found["entry"][0]["resource"]["resourceType"] == "MessageHeader"
    assert found["timestamp"].startswith("2025-03-04")


def test_a_transaction_puts_what_would_be_stored() -> None:
    data = next(path for path in SAMPLES if path.stem == "adt-a01-admission").read_bytes()
    found = bundle(to_fhir(data, default()))
    for entry in found["entry"]:
        kind, id_ = entry["resource"]["resourceType"], entry["resource"]["id"]
        assert entry["request"] == {"method": "PUT", "url": f"{kind}/{id_}"}
        assert kind != "MessageHeader"


def test_a_document_begins_with_its_composition_under_its_own_identifier_and_time() -> None:
    found = bundle(to_fhir(minimal(), default()), "document")
    composition = found["entry"][0]["resource"]
    assert (found["type"], composition["resourceType"]) == ("document", "Composition")
    assert found["timestamp"] == composition["date"] == "2026-03-01T12:00:00+01:00"
    assert found["identifier"]["value"]
    assert found["identifier"]["system"], "bdl-9 asks for both"
    assert all("request" not in entry for entry in found["entry"])
    assert {each for each in references(found) if not each.startswith("#")} <= {e["fullUrl"] for e in found["entry"]}
    assert validate(found) == ()


NOBODY = '<author><time value="2026"/><assignedAuthor><id root="2.999.3" extension="A1"/></assignedAuthor></author>'
ASSEMBLED = "2026-03-02T08:00:00+00:00"


@pytest.mark.parametrize(
    ("time", "zone", "author", "expected"),
    [
        ("20260301", "Europe/Berlin", NOBODY, "2026-03-01T00:00:00+01:00"),
        ("20260701", "Europe/Berlin", NOBODY, "2026-07-01T00:00:00+02:00"),
        ("20260301", "", LEAST["author"], "2026-03-01T00:00:00+01:00"),
        ("20260301", "", NOBODY, ASSEMBLED),
        ("202603", "Europe/Berlin", NOBODY, ASSEMBLED),
    ],
    ids=["winter", "summer", "the author's offset", "no zone", "a month"],
)
def test_the_time_of_a_document_is_an_instant_and_utc_is_never_invented(
    time: str, zone: str, author: str, expected: str
) -> None:
    """bdl-10: a document has a timestamp; R4: it says when the Bundle was assembled."""
    used = replace(default(), zone=ZoneInfo(zone) if zone else None)
    done = to_fhir(minimal(effectiveTime=f'<effectiveTime value="{time}"/>', author=author), used)
    found = bundle(done, "document", ASSEMBLED)
    assert found["timestamp"] == expected
    assert found["entry"][0]["resource"]["date"].replace("-", "") == time, "the Composition keeps the day"
    assert broken(found) == ()


def test_what_nobody_asks_for_is_a_document_of_a_document_and_a_transaction_of_a_message() -> None:
    message = next(path for path in SAMPLES if path.stem == "adt-a01-admission").read_bytes()
    assert (usual(to_fhir(minimal(), default())), usual(to_fhir(message, default()))) == ("document", "transaction")
    for data, kind in ((minimal(), "message"), (message, "document")):
        with pytest.raises(NoSuchBundle):
            bundle(to_fhir(data, default()), kind)  # type: ignore[arg-type]
