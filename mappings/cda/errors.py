"""What makes a whole document unusable. What is wrong inside of one is an issue (`mappings/issues.py`), never an error.

- UnreadableDocument: no document can be made of these bytes, or none of a known patient
"""

from mappings.cda.place import XmlPlace
from mappings.hl7v2.errors import UnreadableMessage


class UnreadableDocument(UnreadableMessage):
    """`code` is one of mappings/issues.py: doctype-refused, not-xml, not-a-document, over-limit, no-patient,
    several-patients; `place`, if any, is where it was found. An edge that answers for messages answers for these."""

    def __init__(self, code: str, place: XmlPlace | None = None, text: str = "") -> None:
        super().__init__(code, place, text)
