"""What a row's map knows of a code or of a word, and no more: the mapped coding, or the mapped code, alone.

For statuses, of which what was sent is another system's word; and for a second reading of a value that another row
keeps whole.
"""

from typing import TYPE_CHECKING, Final

from mappings.cda.datatypes.coded import Coded, read
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import folded
from mappings.fhir.values import coding
from mappings.issues import Issue
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element


@datatype("CD[status]", gives="CodeableConcept", reads={"@code", "@codeSystem", "translation"})
def cd_status(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """The mapped coding; None, with an issue, where the map does not know the code."""
    found = read(node, ctx, vocab)
    return None if found.mapped is None else {"coding": [found.mapped]}


_SAYS: Final = frozenset({"@code", "@codeSystem", "@displayName", "@nullFlavor", "originalText", "translation", "text"})


@datatype("CD[said-status]", gives="CodeableConcept", reads=_SAYS)
def cd_said_status(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """A status as a code or in the words of one: local codes and free text often say no more than "Resolved".

    None, with an issue, where it says another thing: what it says is `unread_status`'s.
    """
    if vocab is None:
        return None
    found, mapped, told = _said(node, ctx, vocab)
    ctx.issues += told
    if mapped is None and _says(found):
        ctx.issue("vocab-miss", None if isinstance(node, str) else node)
    return None if mapped is None else {"coding": [mapped]}


def said_status(node: "Element", ctx: "Context", vocab: ConceptMap) -> str:
    """The code of the map that a status says; "" for none. A row tells of what is wrong with it."""
    mapped = _said(node, ctx, vocab)[1]
    return "" if mapped is None else str(mapped["code"])


def unread_status(node: "Element", ctx: "Context", vocab: ConceptMap) -> str | None:
    """The words of a status that is neither a code nor a word of the map; None where it is, or says nothing."""
    found, mapped, _ = _said(node, ctx, vocab)
    return next(iter(_words(found)), None) if mapped is None else None


def _said(node: "Element | str", ctx: "Context", vocab: ConceptMap) -> tuple[Coded, Json | None, list[Issue]]:
    """What is said, the coding that the map has for it, and what is wrong with it besides that the map has none."""
    told, ctx.issues = ctx.issues, []
    found = read(node, ctx, vocab)
    if not _says(found) and not isinstance(node, str) and (text := folded(node.text, ctx)):
        found = Coded([], None, False, text)  # xsi:type="ST"
    wrong, ctx.issues = [issue for issue in ctx.issues if issue.code != "vocab-miss"], told
    if found.mapped is not None or (found.codings and not found.missed):
        return found, found.mapped, wrong
    hit = next((hit for word in _words(found) if (hit := vocab.get(word.casefold())) is not None), None)
    return found, None if hit is None else coding(hit.system, hit.code, hit.display), wrong


def _says(found: Coded) -> bool:
    return bool(found.codings or found.text)


def _words(found: Coded) -> list[str]:
    """What was sent, as words: its text, then displays and codes."""
    shown = [word for each in found.codings for word in (each.get("display", ""), each.get("code", ""))]
    return [word for word in (found.text or "", *shown) if word]


@datatype("CD[known]", gives="code", reads={"@code", "@codeSystem", "translation"})
def cd_known(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """The mapped code; None where the map does not know the one sent, of which another row tells."""
    codes = [each.get("code", "") for each in read(node, ctx, None).codings] if vocab is not None else []
    hits = (vocab.get(code) for code in codes) if vocab is not None else ()
    return next((hit.code for hit in hits if hit is not None), None)
