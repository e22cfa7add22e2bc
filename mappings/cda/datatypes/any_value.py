"""ANY: a value whose type its own xsi:type names, by its local name, for prefixes are the writer's; else its shape.

What value[x] has no shape for is text with an issue, never nothing. ED gives `valueAttachment`, which R4 does not have:
the caller moves it where R4 keeps attachments.
Source: HL7 v3 datatypes R1; CDA R2 Observation.value; FHIR R4 Observation.value[x].
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes import attachments, coded, identifiers, quantities, text, times
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.document import type_of
from mappings.fhir.codec import lexeme
from mappings.fhir.primitives import INTEGER_MAX, INTEGER_MIN
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

Reader = Callable[["Element", "Context", ConceptMap | None], Json | None]

_TIMES_BEGIN: Final = ("19", "20")  # centuries of the living
_LENGTHS_OF_TIMES: Final = (8, 12, 14)  # digits of a TS to the day, the minute, the second


@datatype("ANY[value]", gives="value[x]")
def any_value(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """One element's value as whole elements: `valueQuantity`, `valueCodeableConcept` and so on."""
    if isinstance(node, str):
        return _string(text.lines(node, ctx))
    kind = type_of(node) or _shape_of(node, ctx)
    reader = _READERS.get(kind)
    if reader is None:
        return _unshaped(node, ctx) if kind else None
    return reader(node, ctx, vocab)


def _string(found: Any) -> Json | None:
    return None if found is None else {"valueString": found}


def _concept(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    found = coded.cd_concept(node, ctx, vocab)
    return None if found is None or found.keys() == {"extension"} else {"valueCodeableConcept": found}


def _measure(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    """PQ, IVL_PQ, RTO. What is no number is text: "positive" must not get lost."""
    return quantities.pq_value(node, ctx) or _written(node, ctx)


def _integer(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    """A whole number; one that FHIR's integers cannot hold is a quantity."""
    written = node.get("value", "").strip()
    digits = written[1:] if written[:1] in ("-", "+") else written
    if digits.isascii() and digits.isdigit() and len(digits) < 12 and INTEGER_MIN <= int(written) <= INTEGER_MAX:
        return {"valueInteger": int(written)}
    return _measure(node, ctx, vocab)


def _text(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    found = text.ed_text(node, ctx, keep_lines=True)
    if found is None and node.get("code"):  # SC has a code beside its text
        return _concept(node, ctx, vocab)
    return _string(found)


def _identifier(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    return _string(identifiers.ii_string(node, ctx))


def _boolean(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    found = text.bl_boolean(node, ctx)
    return {"valueBoolean": found} if isinstance(found, bool) else _written(node, ctx)


def _time(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    """A time; what is none is text, since value[x] has room for it."""
    found = times.choice("value", node, ctx)
    if found is None or "valueDateTime" in found or "valuePeriod" in found:
        return found
    return _written(node, ctx)


def _data(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    """ED: text where it is text, else an attachment."""
    media = (node.get("mediaType") or "text/plain").strip().lower()
    packed = node.get("representation") == "B64" or node.get("compression")
    target = text.pointer(node, ctx)
    if media == "text/plain" and not packed and (not target or "://" not in target):
        return _text(node, ctx, vocab)
    found = attachments.ed_attachment(node, ctx)
    return None if found is None or found.keys() == {"extension"} else {"valueAttachment": found}


def _money(node: "Element", ctx: "Context", vocab: ConceptMap | None) -> Json | None:
    """R4's value[x] has no Money."""
    return _unshaped(node, ctx)


def _written(node: "Element", ctx: "Context") -> Json | None:
    """The words of a value that its type cannot hold."""
    pieces = [node.get("value"), node.get("unit"), node.get("currency")]
    shown = " ".join(piece.strip() for piece in pieces if piece and piece.strip()) if node.get("value") else ""
    return _string(text.lines(shown, ctx) or text.ed_text(node, ctx, keep_lines=True))


def _unshaped(node: "Element", ctx: "Context") -> Json | None:
    found = _written(node, ctx) or _string(coded.cd_string(node, ctx))
    if found is not None:
        ctx.issue("unknown-value-type", node, "kept as text")
    return found


# Without xsi:type ----------------------------------------------------------------------------------------------------


def _shape_of(node: "Element", ctx: "Context") -> str:
    """The type that an element looks like; "" where it says nothing."""
    if node.get("code"):
        return "CD"
    if node.get("value"):
        found = _of_value(node)
    elif node.get("root") or node.get("extension"):
        found = "II"
    elif node.get("mediaType") or node.get("representation"):
        found = "ED"
    else:
        found = _of_children(node, ctx) or ("CD" if node.get("displayName") else "")
    found = found or ("ST" if text.inline(node).strip() else "")
    if found:
        ctx.issue("type-inferred", node)
    return found


def _of_value(node: "Element") -> str:
    written = node.get("value", "").strip()
    if node.get("unit"):
        return "PQ"
    if written in ("true", "false"):
        return "BL"
    digits = written[:14].partition("+")[0]
    if digits.isdigit() and digits.startswith(_TIMES_BEGIN) and len(digits) in _LENGTHS_OF_TIMES:
        return "TS"
    return "REAL"


def _of_children(node: "Element", ctx: "Context") -> str:
    if not len(node):
        return ""
    kids = node.kids
    if "numerator" in kids or "denominator" in kids:
        return "RTO"
    ends = [kids[name][0] for name in ("low", "high", "center") if name in kids]
    if ends:
        return "IVL_TS" if any(_of_value(end) == "TS" for end in ends) else "IVL_PQ"
    if "reference" in kids:
        return "ED"
    return "CD" if "translation" in kids or "originalText" in kids else ""


_READERS: Final[dict[str, Reader]] = {
    "CD": _concept, "CE": _concept, "CV": _concept, "CO": _concept, "CS": _concept, "CR": _concept,
    "PQ": _measure, "IVL_PQ": _measure, "RTO": _measure, "RTO_PQ_PQ": _measure, "RTO_QTY_QTY": _measure,
    "REAL": _measure, "IVL_REAL": _measure, "IVL_INT": _measure, "INT": _integer, "MO": _money,
    "ST": _text, "SC": _text, "II": _identifier, "BL": _boolean, "BN": _boolean,
    "TS": _time, "IVL_TS": _time, "ED": _data,
}  # fmt: skip


@datatype("ANY[string]", gives="string")
def any_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """Whatever it is, as a person would read it: for elements that FHIR has as text only."""
    found = any_value(node, ctx, vocab)
    return None if found is None else shown(found)


def shown(found: Json) -> str | None:
    """A value of value[x] in words."""
    for name, value in found.items():
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if name == "valueCodeableConcept":
            return coded.shown_of(value)
        if name == "valueQuantity":
            return _of_quantity(value)
        if name == "valueRange":
            return f"{_of_quantity(value['low'])} - {_of_quantity(value['high'])}"
        if name == "valueRatio":
            return f"{_of_quantity(value['numerator'])} / {_of_quantity(value['denominator'])}"
    return None


def _of_quantity(found: Json) -> str:
    number = lexeme(found["value"])
    return " ".join(piece for piece in (found.get("comparator"), number, found.get("unit")) if piece)
