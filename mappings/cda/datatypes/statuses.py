"""What a row's map knows of a code, and no more: the mapped coding, or the mapped code, alone.

For statuses, of which what was sent is another system's word; and for a second reading of a value that another row
keeps whole.
"""

from typing import TYPE_CHECKING

from mappings.cda.datatypes.coded import read
from mappings.cda.datatypes.registry import Json, datatype
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element


@datatype("CD[status]", gives="CodeableConcept", reads={"@code", "@codeSystem", "translation"})
def cd_status(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """The mapped coding; None, with an issue, where the map does not know the code."""
    found = read(node, ctx, vocab)
    return None if found.mapped is None else {"coding": [found.mapped]}


@datatype("CD[known]", gives="code", reads={"@code", "@codeSystem", "translation"})
def cd_known(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """The mapped code; None where the map does not know the one sent, of which another row tells."""
    codes = [coding.get("code", "") for coding in read(node, ctx, None).codings] if vocab is not None else []
    hits = (vocab.get(code) for code in codes) if vocab is not None else ()
    return next((hit.code for hit in hits if hit is not None), None)
