"""Datatype functions: HL7 v2 datatypes to FHIR's, one module a family, all in `FUNCTIONS` by their row names."""

from mappings.hl7v2.datatypes import (
    attachments,
    coded,
    contacts,
    devices,
    identifiers,
    names,
    numbers,
    observation,
    parties,
    text,
    timing,
)  # fmt: skip
from mappings.hl7v2.datatypes.registry import FUNCTIONS, DatatypeFunction

__all__ = ["FUNCTIONS", "DatatypeFunction"]

# importing a family registers it
_ = (attachments, coded, contacts, devices, identifiers, names, numbers, observation, parties, text, timing)
