"""The header: whose document it is, and what it says of itself.

Source: CDA R2 §4.2 (document header); C-CDA on FHIR, patient and participations.
"""

from typing import Any

from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.document import Element
from mappings.cda.errors import UnreadableDocument

Json = dict[str, Any]


def read_header(walk: Any) -> None:
    """The patient and what else the body refers to; raises UnreadableDocument where no patient can be known."""
    root = walk.doc.root
    times = walk.kids[root].get("effectiveTime", ())
    found = ts_datetime(times[0], walk, None) if times else None
    walk.at = (found[0] if isinstance(found, tuple) else found) or walk.at
    role = patient_role(walk)
    key = patient_key(role, walk)
    walk.patient = walk.place_one("Patient", key, "update", role)
    walk.fill("header.Patient", role, walk.patient)


def patient_role(walk: Any) -> Element:
    """The one patientRole of the document."""
    targets = walk.kids[walk.doc.root].get("recordTarget", ())
    roles = [role for each in targets for role in walk.kids[each].get("patientRole", ())]
    if not roles:
        raise UnreadableDocument("no-patient", walk.doc.place(walk.doc.root), "no recordTarget/patientRole")
    if len(roles) > 1:
        raise UnreadableDocument("several-patients", walk.doc.place(roles[1]), "more than one recordTarget")
    found: Element = roles[0]
    return found


def patient_key(role: Element, walk: Any) -> tuple[str, ...]:
    """What identifies the patient: the first id with root and extension, as HL7 v2 keys hers."""
    body: Json = {"resourceType": "Patient"}
    walk.run("header.Patient", role, body)
    for each in body.get("identifier", ()):
        if "system" in each and "value" in each:
            return each["system"], each["value"]
    raise UnreadableDocument("no-patient", walk.doc.place(role), "no id with root and extension")
