"""There and back: a document to FHIR, to a document of ours, to FHIR again."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mappings.bundle import bundle
from mappings.cda.errors import UnreadableDocument
from mappings.cda.write import Composed, compose
from mappings.convert import Conversion, to_fhir
from mappings.fhir.codec import decode, encode
from mappings.profile import Profile
from tests.mappings.cda.converted import default
from tests.mappings.cda.documents import wrapped
from tests.mappings.cda.out.facts import ROOT, Fact, facts, told_by

Json = dict[str, Any]
Kind = Literal["ccd", "ehdsi-ps"]
KINDS: tuple[Kind, ...] = ("ccd", "ehdsi-ps")
# what a fact of these kinds says must never appear from nowhere: a denial, an absence, something not done
_DENIALS = ("refuted", "denied", "none: ", "not-done", '{"v": false}', "not-taken")


class Trip(NamedTuple):
    first: Conversion
    written: Composed
    second: Conversion

    @property
    def lost(self) -> Counter[Fact]:
        return facts(bodies(self.first)) - facts(bodies(self.second))

    @property
    def new(self) -> Counter[Fact]:
        return facts(bodies(self.second)) - facts(bodies(self.first))

    @property
    def untold(self) -> list[Fact]:
        """What was lost and the writer did not say so."""
        told = {path.partition("#")[0] for path in self.written.left}
        owners: dict[Fact, set[str]] = {}
        for fact, ref in told_by(bodies(self.first)):
            owners.setdefault(fact, set()).add(ref)
        return sorted(fact for fact in self.lost if not owners[fact] & told)

    @property
    def invented(self) -> list[Fact]:
        """Denials that nobody made."""
        return sorted(fact for fact in self.new if any(denial in part for part in fact for denial in _DENIALS))


def bodies(done: Conversion) -> list[Json]:
    """The resources as JSON has them."""
    return [decode(encode(each.body)) for each in done.resources]


def document(data: bytes, profile: Profile | None = None) -> Json:
    """The document Bundle of a CDA document."""
    found: Json = decode(encode(bundle(to_fhir(data, profile or default()), "document")))
    return found


def trip(data: bytes, kind: Kind, profile: Profile | None = None) -> Trip:
    used = profile or default()
    first = to_fhir(data, used)
    written = compose(decode(encode(bundle(first, "document"))), kind, used)
    return Trip(first, written, to_fhir(written.data, used))


@cache
def of_file(path: Path, kind: Kind) -> Trip:
    data = path.read_bytes()
    try:
        return trip(data, kind)
    except UnreadableDocument:
        return trip(wrapped(data), kind)


PAIRS_OF_SAMPLES: list[tuple[Path, Kind]] = [
    (path, kind) for path in sorted((ROOT / "samples/cda").glob("*.xml")) for kind in KINDS
]


def in_bundle(
    *resources: Json, sections: dict[str, list[str]] | None = None, identified: bool = True, **composition: Any
) -> Json:
    """A document Bundle: sections by LOINC code with the references of their entries."""
    found = [
        {"title": code, "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
         **({"entry": [{"reference": each} for each in refs]} if refs else {"emptyReason": UNAVAILABLE})}
        for code, refs in (sections or {}).items()
    ]  # fmt: skip
    head = {
        "resourceType": "Composition", "id": "c1", "status": "final", "date": "2026-03-01T12:00:00+01:00",
        "type": {"coding": [{"system": "http://loinc.org", "code": "60591-5"}]}, "title": "Summary",
        "subject": {"reference": "Patient/p1"}, "author": [{"display": "Example Hospital"}], **composition,
    }  # fmt: skip
    if found:
        head["section"] = found
    patient = {
        "resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:oid:2.999.2", "value": "P1"}],
        "name": [{"family": "Example", "given": ["Ida"]}], "gender": "female", "birthDate": "1970-01-01",
    }  # fmt: skip
    entries = [{"fullUrl": f"urn:x:{n}", "resource": each} for n, each in enumerate((head, patient, *resources))]
    identifier = {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}
    if not identified:  # neither the document nor the patient has a number, and nobody signed it by name
        del patient["identifier"]
        head["attester"] = [{"mode": "legal"}]
    made = {
        "resourceType": "Bundle",
        "type": "document",
        "entry": entries,
        **({"identifier": identifier} if identified else {}),
    }
    found_bundle: Json = decode(encode(made))
    return found_bundle


UNAVAILABLE = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-empty-reason", "code": "unavailable"}]
}  # fmt: skip
