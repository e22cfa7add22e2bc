"""What identifies each resource: the first complete key, always with its authority or the feed.

Each function reads its fields from the segment that makes the resource, or from one near it, and returns key fields for
`identity.py`; None means that the segment makes no such resource. Where nothing identifies a thing its place in the
message does: feed, digest of the message (MSH-7 blanked) and segment ordinal, never MSH-10, for real senders restart
their counters. A module for each kind of thing; importing one registers what it holds.

Source: design chapter HL7 v2 §6, the key table.
"""

from mappings.hl7v2.keys import (
    appointments,
    care,
    charges,
    clinical,
    documents,
    drugs,
    incidents,
    message,
    orders,
    persons,
    prior,
    referrals,
    staff,
    stays,
)
from mappings.hl7v2.keys.parts import (
    KEYS,
    Key,
    KeyFunction,
    Scan,
    code,
    components,
    entity,
    identifier,
    key,
    number_of,
    position,
)  # fmt: skip
from mappings.hl7v2.keys.persons import choose_identity, known_patient

__all__ = [
    "KEYS", "Key", "KeyFunction", "Scan", "appointments", "care", "charges", "choose_identity", "clinical", "code",
    "components", "documents", "drugs", "entity", "identifier", "incidents", "key", "known_patient", "message",
    "number_of", "orders", "persons", "position", "prior", "referrals", "staff", "stays",
]  # fmt: skip
