"""What identifies the patient, stay and allergies of earlier results that travel with an order.

The same as anywhere; but what the message names already is not made a second time: the copy adds nothing to it.

Source: design chapter HL7 v2 §4 (PRIOR_RESULT), §6.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.clinical import allergy
from mappings.hl7v2.keys.parts import Key, key
from mappings.hl7v2.keys.persons import known_patient
from mappings.hl7v2.keys.stays import encounter
from mappings.hl7v2.message import Segment


def _unless_known(kind: str, found: Key | None, ctx: Assembly) -> Key | None:
    if found is None or f"{kind}/{ctx.identities.make(kind, found)}" in ctx.by_ref:
        return None
    return found


@key("prior_patient")
def prior_patient(segment: Segment, ctx: Assembly) -> Key | None:
    """The number under which the earlier results were filed."""
    return _unless_known("Patient", known_patient(segment, ctx), ctx)


@key("prior_encounter")
def prior_encounter(segment: Segment, ctx: Assembly) -> Key | None:
    return _unless_known("Encounter", encounter(segment, ctx), ctx)


@key("prior_allergy")
def prior_allergy(segment: Segment, ctx: Assembly) -> Key | None:
    return _unless_known("AllergyIntolerance", allergy(segment, ctx), ctx)
