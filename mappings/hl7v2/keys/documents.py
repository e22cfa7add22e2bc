"""What identifies documents and consents.

Source: design chapter HL7 v2 §6, the key table.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, entity, key, patient_id, position
from mappings.hl7v2.message import Segment


@key("document")
def document(segment: Segment, ctx: Assembly) -> Key:
    """TXA-12."""
    return document_number(segment, ctx, 12) or position(segment, ctx)


def document_number(segment: Segment, ctx: Assembly, field: int) -> Key | None:
    """The key of the document that TXA-12, or of its parent that TXA-13 names."""
    found = entity(segment.field(field), ctx)
    return ("TXA", *found) if found is not None else None


@key("consent")
def consent(segment: Segment, ctx: Assembly) -> Key:
    """CON-4, of one patient."""
    found = entity(segment.field(4), ctx)
    return ("CON", patient_id(ctx), *found) if found is not None else position(segment, ctx)
