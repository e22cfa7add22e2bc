"""Reference ranges: the normal one is the range, every other is text with its meaning; whom it holds for, of what age.

Source: CDA R2 §4.3.6.1 (ObservationRange) and its extensions of HL7 (sdtc:precondition1) and IHE PaLM
(lab:precondition); C-CDA on FHIR, results.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes.any_value import any_string
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.quantities import as_range
from mappings.cda.datatypes.text import ed_text
from mappings.cda.element import Element
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued
from mappings.fhir.codec import decimal

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]

_NORMAL: Final = "N"  # HL7 v3 ObservationInterpretation
_OF_AGES: Final = frozenset({"a", "mo", "wk", "d", "h", "min"})  # UCUM: what ages are counted in


@flag("normal-range")
def is_normal(el: Element, ctx: "Walk") -> bool:
    """Only the normal range is the reference range; one without a meaning is taken for it."""
    codes = [code_of(each) for each in el.named("interpretationCode") if is_valued(each)]
    return not codes or codes[0] == _NORMAL


@resolver("range-text")
def range_text(ctx: "Walk") -> str | None:
    """Another range: its words and its numbers."""
    kids = ctx.being_read.kids
    said = next((found for each in kids.get("text", ()) if (found := ed_text(each, ctx))), None)
    shown = next((found for each in kids.get("value", ()) if (found := any_string(each, ctx, None))), None)
    if said and shown and shown not in said:
        return f"{said}: {shown}"
    return said or shown


def _criteria(ctx: "Walk") -> Iterator[Element]:
    """The values of the criteria under which a range holds: the extensions of HL7 and of IHE's laboratory reports."""
    for name, found in ctx.being_read.kids.items():
        if name.rpartition("}")[2].rpartition(":")[2] in ("precondition", "precondition1"):
            for each in found:
                yield from each.iter("{*}value")


@resolver("range-applies")
def range_applies(ctx: "Walk") -> Json | None:
    """Whom a range holds for, where that is coded."""
    return next((found for each in _criteria(ctx) if (found := cd_concept(each, ctx)) is not None), None)


@resolver("range-age")
def range_age(ctx: "Walk") -> Json | None:
    """Of what age, where the criterion is an interval of time."""
    for each in _criteria(ctx):
        found = as_range(each, ctx)
        if found is None or not all(end.get("code") in _OF_AGES for end in found.values()):
            continue
        if _rises(found):
            return found
        ctx.issue("contradiction", each, "low above high")
    return None


def _rises(found: Json) -> bool:
    """Whether the low end is not above the high one (rng-2)."""
    low, high = found.get("low", {}), found.get("high", {})
    if "value" not in low or "value" not in high or low["code"] != high["code"]:
        return True
    return decimal(low["value"]) <= decimal(high["value"])
