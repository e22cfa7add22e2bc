"""What makes a whole HL7 v2 message unusable. Bad values inside a message are issues (`issues.py`), never errors.

- UnreadableMessage: no message can be made of these bytes
"""

from mappings.cda.place import XmlPlace
from mappings.errors import MappingError
from mappings.hl7v2.place import Place


class UnreadableMessage(MappingError):
    """`code` is one of no-message, batch, query, bad-separators, over-limit,
    several-patients; `place`, if any, is where it was found."""

    def __init__(self, code: str, place: Place | XmlPlace | None = None, text: str = "") -> None:
        where = f" at {place}" if place else ""
        super().__init__(f"{code}{where}" + (f": {text}" if text else ""))
        self.code = code
        self.place = place
