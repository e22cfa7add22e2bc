"""What an edge has to know of a document before it keeps it: whether it is one, its number, whose it is.

    found = receipt(data, profile)          raises UnreadableDocument where the bytes are no document
    found.id, found.patients

A document of several patients, or of none that can be known, is one all the same: its conversion says so, and a person
decides. Source: CDA R2 §4.2.1.1 (ClinicalDocument.id), §4.2.2.11 (recordTarget).
"""

from dataclasses import dataclass

from mappings.cda.convert import walk_of
from mappings.cda.errors import UnreadableDocument
from mappings.cda.header import patient_key
from mappings.cda.walk import Walk
from mappings.convert import PatientKey
from mappings.profile import Profile


@dataclass(frozen=True, slots=True)
class Receipt:
    """`id` is (root, extension) of ClinicalDocument/id, both "" where there is none."""

    id: tuple[str, str]
    patients: tuple[PatientKey, ...]


def receipt(data: bytes, profile: Profile) -> Receipt:
    """The header, as far as receipt needs it. Raises UnreadableDocument, RowsError."""
    walk = walk_of(data, profile)
    named = {id_: PatientKey(id_, key) for id_, key in _patients(walk, profile)}
    return Receipt(_number(walk), tuple(named.values()))


def _number(walk: Walk) -> tuple[str, str]:
    for each in walk.doc.root.named("id"):
        if root := (each.get("root") or "").strip().lower():
            return root, (each.get("extension") or "").strip()
    return "", ""


def _patients(walk: Walk, profile: Profile) -> list[tuple[str, tuple[str, ...]]]:
    """Every recordTarget's, so that what comes later for any of them waits behind this document."""
    found = []
    for target in walk.doc.root.named("recordTarget"):
        for role in target.named("patientRole"):
            try:
                key = patient_key(role, walk)
            except UnreadableDocument:
                continue
            found.append((profile.identities.make("Patient", key), key))
    return found
