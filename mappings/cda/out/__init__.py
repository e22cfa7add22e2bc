"""A FHIR document as a CDA document. `build.py` is where to begin.

Rows are in `entries/out/`, the order of elements in `classes.csv`, templates in `templates.csv`, sections in
`sections.csv`, what a narrative's tables show in `columns.csv`; one writer a datatype in `writers/`.
"""

from mappings.cda.out.build import Composed, compose
from mappings.cda.out.settings import KINDS, Kind, Writing
from mappings.outbound.errors import OutboundError

__all__ = ["KINDS", "Composed", "Kind", "OutboundError", "Writing", "compose"]
