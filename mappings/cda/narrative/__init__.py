"""The narrative of a CDA document: to XHTML, to plain words, and back.

Source: CDA R2 §4.3.5 (section narrative block); FHIR R4 §2.4.0 (Narrative).
"""

from mappings.cda.narrative.attributes import anchor
from mappings.cda.narrative.plain_text import plain_text
from mappings.cda.narrative.strucdoc import from_xhtml, table
from mappings.cda.narrative.tables import Headers
from mappings.cda.narrative.xhtml import NO_NARRATIVE, block, to_xhtml

__all__ = ["NO_NARRATIVE", "Headers", "anchor", "block", "from_xhtml", "plain_text", "table", "to_xhtml"]
