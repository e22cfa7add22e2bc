"""Statuses that FHIR holds as a concept of its own code system: the mapped coding alone.

What was sent is another system's word for it; beside the mapped one it would tell nobody more.
"""

from typing import TYPE_CHECKING

from mappings.cda.datatypes.coded import read
from mappings.cda.datatypes.registry import Json, datatype
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.document import Element


@datatype("CD[status]", gives="CodeableConcept", reads={"@code", "@codeSystem", "translation"})
def cd_status(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """The mapped coding; None, with an issue, where the map does not know the code."""
    found = read(node, ctx, vocab)
    if found.mapped is None:
        if found.missed:
            ctx.issue("vocab-miss")
        return None
    return {"coding": [found.mapped]}
