"""Text, booleans and bare codes: ST, ED where FHIR wants text, BL, CS.

Indentation is no text: blanks fold, and where FHIR has lines the source's line breaks are kept without the blanks
around them. A text may stand in the element or in the narrative that its `reference` points at; both are joined. An
attribute reaches these functions as its own text.
Source: HL7 v3 datatypes R1, ST, ED, BL, CS; CDA R2 §4.3.5.1 (references to narrative); FHIR R4 string, markdown, code.
"""

from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes.nulls import absent_primitive
from mappings.cda.datatypes.registry import Json, datatype
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_LONGEST: Final = 1024 * 1024  # FHIR R4 string: at most 1 MB
_LONGEST_CODE: Final = 1024  # characters: expressions of SNOMED CT are codes, too
_ID: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")
_TRUE_FALSE: Final = {"true": True, "false": False, "1": True, "0": False}  # XML Schema's boolean
_UNREAD: Final = frozenset({"{urn:hl7-org:v3}thumbnail", "{urn:hl7-org:v3}integrityCheck"})


def inline(node: "Element") -> str:
    """The text inside an element and inside its mark-up, as it stands; never that of its thumbnail."""
    if not len(node):
        return node.text or ""
    pieces = [node.text or ""]
    for child in node:
        if child.tag not in _UNREAD:
            pieces.append("".join(child.itertext()))
        pieces.append(child.tail or "")
    return "".join(pieces)


def folded(written: str | None, ctx: "Context") -> str | None:
    """One line: blanks fold, ends go. None where nothing is left."""
    if not written:
        return None
    if written.isalnum() and len(written) <= _LONGEST // 4:
        return written
    found = " ".join(written.split())
    return _shortened(found, ctx) if found else None


def lines(written: str | None, ctx: "Context") -> str | None:
    """The same, line by line."""
    if not written or "\n" not in written:
        return folded(written, ctx)
    found = "\n".join(" ".join(line.split()) for line in written.splitlines()).strip()
    return _shortened(found, ctx) if found else None


def _shortened(found: str, ctx: "Context") -> str:
    if len(found) <= _LONGEST // 4 or len(found.encode("utf-8", "ignore")) <= _LONGEST:
        return found
    ctx.issue("over-long")
    return found.encode("utf-8", "ignore")[:_LONGEST].decode("utf-8", "ignore").rstrip()


def pointer(node: "Element", ctx: "Context") -> str:
    """Where an ED's reference points; "" where it has none."""
    if not len(node):
        return ""
    found = node.kids.get("reference")
    return found[0].get("value", "").strip() if found else ""


def ed_text(node: "Element", ctx: "Context", *, keep_lines: bool = False) -> str | None:
    """What an ED or ST says: inline text, the narrative it refers to, or both, the same words once."""
    shape = lines if keep_lines else folded
    here = shape(inline(node), ctx)
    target = pointer(node, ctx)
    if not target or "://" in target:
        return here
    there = ctx.narrative(target)
    if there is None or (there := shape(there, ctx)) is None:
        return here
    if here is None or here in there:
        return there
    return here if there in here else f"{here}{chr(10) if keep_lines else ' '}{there}"


def tidy_code(written: str, ctx: "Context") -> str | None:
    """A code without line ends and blanks around it; single blanks inside."""
    if len(written) > _LONGEST_CODE:
        ctx.issue("over-long")
        return None  # cut short it would be another code
    if written.isalnum() or written.replace("-", "").isalnum():
        return written
    found = written.strip()
    tidy = " ".join(found.split())
    if tidy != found:
        ctx.issue("not-a-code")
    return tidy or None


# Row functions ------------------------------------------------------------------------------------------------------


@datatype("ST[string]", "ED[string]", "SC[string]", gives="string", reads={"#text", "reference"})
def st_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    if isinstance(node, str):
        return folded(node, ctx)
    found = ed_text(node, ctx)
    return absent_primitive(node, ctx) if found is None else found


@datatype("ST[markdown]", "ED[markdown]", gives="markdown", reads={"#text", "reference"})
def st_markdown(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    if isinstance(node, str):
        return lines(node, ctx)
    found = ed_text(node, ctx, keep_lines=True)
    return absent_primitive(node, ctx) if found is None else found


@datatype("ST[Annotation]", "ED[Annotation]", gives="Annotation", reads={"#text", "reference"})
def st_annotation(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    found = lines(node, ctx) if isinstance(node, str) else ed_text(node, ctx, keep_lines=True)
    return values.annotation(found)


@datatype("ST[CodeableConcept]", "ED[CodeableConcept]", gives="CodeableConcept", reads={"#text", "reference"})
def st_concept(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """A text without a code."""
    found = folded(node, ctx) if isinstance(node, str) else ed_text(node, ctx)
    return None if found is None else {"text": found}


@datatype("ST[uri]", gives="uri")
def st_uri(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """An address: of a TEL its value, of a text itself."""
    written = node if isinstance(node, str) else (node.get("value") or inline(node))
    found = written.strip()
    if not found:
        return None
    if ":" not in found or any(letter.isspace() for letter in found):
        ctx.issue("bad-value")
        return None
    return found


@datatype("ST[id]", gives="id")
def st_id(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    found = folded(node if isinstance(node, str) else inline(node), ctx)
    if found is not None and (len(found) > 64 or not _ID.issuperset(found)):
        ctx.issue("bad-value")
        return None
    return found


@datatype("BL[boolean]", "BN[boolean]", gives="boolean", reads={"@value", "@nullFlavor"})
def bl_boolean(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """`true` and `false`; 1 and 0 are XML Schema's."""
    written = node if isinstance(node, str) else node.get("value")
    if written is None:
        return None if isinstance(node, str) else absent_primitive(node, ctx)
    found = written.strip()
    if not found:
        return None
    if (flag := _TRUE_FALSE.get(found.lower())) is None:
        ctx.issue("not-a-boolean")
    return flag
