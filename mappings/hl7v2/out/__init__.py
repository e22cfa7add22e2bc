"""FHIR resources as one HL7 v2 message: `to_v2(resources, "ORU^R01", receiver, …) -> Written`.

`build.py` is where to begin. Rows are in `segments/`, the order of segments in `messages/`, one writer a datatype in
`writers/`.
"""

from mappings.hl7v2.out.build import Written, messages, to_v2
from mappings.hl7v2.out.receiver import Name, Receiver, read_receiver
from mappings.outbound.errors import OutboundError

__all__ = ["Name", "OutboundError", "Receiver", "Written", "messages", "read_receiver", "to_v2"]
