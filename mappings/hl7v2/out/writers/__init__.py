"""One writer a datatype: a FHIR value as the components of an HL7 v2 field. `WRITERS` is what rows may name.

Each is the counterpart of a function in `mappings/hl7v2/datatypes/`: reading what it writes gives the value again.
"""

from mappings.hl7v2.out.writers import coded, contacts, documents, identifiers, observation, parties, people, text, time
from mappings.hl7v2.out.writing import Writer

WRITERS: dict[str, Writer] = {
    **text.WRITERS, **identifiers.WRITERS, **coded.WRITERS, **people.WRITERS, **contacts.WRITERS, **parties.WRITERS,
    **time.WRITERS, **observation.WRITERS, **documents.WRITERS,
}  # fmt: skip

__all__ = ["WRITERS"]
