"""v2 → FHIR → v2 → FHIR keeps the facts: identity, status, code, value, unit, time, and whatever has room.

Every sample of ADT, ORU and MDM that tells of one patient goes out in three versions and comes in again. What of the
clinical facts does not come back is an exception below, with its reason; of everything else that does not, the writer
said so itself.

Source: design chapter HL7 v2 §16, last paragraph.
"""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from mappings.convert import Conversion, to_fhir
from mappings.hl7v2.out import Written
from tests.mappings.hl7v2.messages import SAMPLES, default
from tests.mappings.hl7v2.out.written import MESSAGES, Fact, again, facts, names, receiver, resources, write

VERSIONS = ("2.3", "2.5.1", "2.8")
# Merges, links, swaps, moves and the state of a bed tell of several patients, or of none
SEVERAL = re.compile(r"adt-a(17|20|24|37|40|43|44|45)")
ROUND = [path for path in SAMPLES if path.stem[:3] in MESSAGES and not SEVERAL.match(path.stem)]
PAIRS = [(path, version) for path in ROUND for version in VERSIONS]
IDS = [f"{path.stem}-{version}" for path, version in PAIRS]

CLINICAL = re.compile(
    r"""Patient\ (identifier\.(system|value|type\.coding\.code)|name|_?birthDate|gender|deceased|address|telecom)
    |RelatedPerson\ (name|relationship|telecom|address)
    |Encounter\ (class\.code|identifier\.(system|value)|period|location\.location|subject)
    |AllergyIntolerance\ (code|criticality|patient)
    |Condition\ (code|onset|subject|encounter)
    |DiagnosticReport\ (code|status|identifier\.(system|value)|effective|issued|result|category|basedOn|subject)
    |DiagnosticReport\ (extension|conclusion)
    |Observation\ (code|status|value|component|referenceRange|interpretation|effective|note|dataAbsentReason|subject)
    |Specimen\ (identifier\.(system|value)|type|collection\.collected)
    |ServiceRequest\ (identifier\.(system|value)|code|requester|priority)
    |DocumentReference\ (masterIdentifier|type|status|docStatus|content|date|author|context\.period|relatesTo|subject)
    """,
    re.VERBOSE,
)


class Waiver(NamedTuple):
    """A clinical fact that does not come back, or comes back otherwise."""

    fact: str  # pattern of "Type path"
    samples: str  # pattern of the samples' names
    versions: str  # pattern of the versions
    reason: str


ANY, BEFORE_2_7 = ".*", "2.3|2.5.1"
WAIVERS = (
    Waiver("DocumentReference .*", "oru-r01-(order-document|participants)", ANY, "a TXA: no segment of ORU^R01"),
    Waiver("DocumentReference (content|masterIdentifier|relatesTo|status|subject).*", "mdm-t(06|10)", ANY,
           "the document before: TXA-13 names it, and MDM^T02 does not say what becomes of it"),
    Waiver("DocumentReference content.attachment.title", "mdm-t02-text", ANY,
           "OBX-3 must be there: a text without a title has the kind of its document"),
    Waiver("DocumentReference type.text", "mdm", BEFORE_2_7, "TXA-2 holds a code alone"),
    Waiver("Encounter .*", "adt-a42", ANY, "a stay that a merge took back, beside the one of PV1"),
    Waiver("Encounter identifier.*", "adt-a(06|50)", ANY, "the number the stay had before: MRG is not written"),
    Waiver("Encounter location.*", "adt-a08-dense", ANY, "a place of PV2, which is not written"),
    Waiver("Observation .*", "adt-a03", ANY, "an accident: ACC is not written, its components are lines of their own"),
    Waiver("Observation .*", "oru-r01-participants", ANY,
           "what surrounds an order is no result of it, and OBX-29 came with 2.8.1"),
    Waiver("Observation valueCodeableConcept.text", "oru-r01-value-types", "2.3", "CE has no original text"),
    Waiver("Patient identifier.system", "adt-a08-dense", "2.8", "PID-20 was withdrawn; CX has no issuer"),
    Waiver("ServiceRequest .*", "adt-a03", ANY, "a referral: RF1 is not written"),
    Waiver("ServiceRequest .*", "mdm-t02-text", ANY, "a document names its orders by number: TXA-14, TXA-15"),
    Waiver("ServiceRequest identifier.*", "oru-r01-(dense|old-specimen)", ANY, "ORC-38, and before 2.7 OBR-53"),
    Waiver("ServiceRequest priority", "oru-r01-(dense|old-specimen)", "2.8", "OBR-5 was withdrawn, TQ1 is not written"),
    Waiver("Specimen .*", "oru-r01", "2.3", "SPM came with 2.5: OBR-15 tells the kind of the first specimen"),
    Waiver("Specimen identifier.*", "oru-r01-dense", ANY, "numbers beside the pair of SPM-2: SPM-31, SPM-32"),
)  # fmt: skip
# Said in the message, and read otherwise
NOT_SILENT = {
    "Encounter identifier.type.coding.display": "HL7's own word for a code of its table",
    "Observation component": "a component with a code of its own is a line of its own",
    "Patient contact.telecom": "reading takes the first repetition of NK1-5 and of NK1-6",
    "Patient generalPractitioner.reference": "PD1-4 names the person in the role",
}


class Trip(NamedTuple):
    first: Conversion
    written: Written
    second: Conversion


@cache
def trip(path: Path, version: str) -> Trip:
    first = to_fhir(path.read_bytes(), default())
    written = write(resources(first), MESSAGES[path.stem[:3]], receiver(version))
    return Trip(first, written, again(written))


def differences(path: Path, version: str) -> tuple[Counter[Fact], Counter[Fact]]:
    """(facts that did not come back, facts that were not there before)."""
    found = trip(path, version)
    stable = names(found.first) & names(found.second)
    before, after = facts(found.first, stable), facts(found.second, stable)
    return before - after, after - before


def waived(fact: Fact, sample: str, version: str) -> bool:
    said = f"{fact[0]} {fact[1]}"
    return any(
        re.fullmatch(each.fact, said) and re.match(each.samples, sample) and re.fullmatch(each.versions, version)
        for each in WAIVERS
    )


def clinical(found: Counter[Fact], sample: str, version: str) -> list[str]:
    return sorted(
        f"{name} {path} {value}"
        for name, path, value in found
        if CLINICAL.match(f"{name} {path}") and not waived((name, path, value), sample, version)
    )


@pytest.mark.parametrize(("path", "version"), PAIRS, ids=IDS)
def test_clinical_facts_come_back(path: Path, version: str) -> None:
    lost, new = differences(path, version)
    assert clinical(lost, path.stem, version) == []
    assert clinical(new, path.stem, version) == []


@pytest.mark.parametrize(("path", "version"), PAIRS, ids=IDS)
def test_what_does_not_come_back_was_said_by_the_writer(path: Path, version: str) -> None:
    lost, _ = differences(path, version)
    written = trip(path, version).written
    left = {re.sub(r"/[^#]*", "", re.sub(r"\[\d+\]", "", each)) for each in written.left}
    for body in resources(trip(path, version).first):
        name = f"{body['resourceType']}/{body['id']}"
        for n, inside in enumerate(body.get("contained", ())):
            if name in written.left or f"{name}#contained[{n}]" in written.left:
                left.add(inside["resourceType"])
    said = tuple(NOT_SILENT)
    silent = [fact for fact in lost if not _listed(fact, left) and not f"{fact[0]} {fact[1]}".startswith(said)]
    assert not silent or written.issues, silent[:5]


def _listed(fact: Fact, left: set[str]) -> bool:
    name, path, _ = fact
    steps = path.split(".")
    return name in left or any(f"{name}#{'.'.join(steps[:n])}" in left for n in range(1, len(steps) + 1))


def test_every_waiver_is_needed() -> None:
    unused = set(WAIVERS)
    for path, version in PAIRS:
        lost, new = differences(path, version)
        for fact in (*lost, *new):
            said = f"{fact[0]} {fact[1]}"
            unused -= {
                each
                for each in unused
                if re.fullmatch(each.fact, said)
                and re.match(each.samples, path.stem)
                and re.fullmatch(each.versions, version)
                and CLINICAL.match(f"{fact[0]} {fact[1]}")
            }
    assert not unused
