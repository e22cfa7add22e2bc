"""OBX5[value]: the value of an observation, whose type another field names.

OBX-2 decides. What FHIR's value[x] has no shape for is text with an issue, never nothing. ED and RP give
`valueAttachment`, which R4 does not have: the caller moves it where R4 keeps attachments.
Source: HL7 v2.9 §7.4.2, table 0125; FHIR R4 Observation.value[x].
"""

from collections.abc import Callable
from typing import Any

from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes import attachments, coded, numbers, text, timing
from mappings.hl7v2.datatypes.registry import FUNCTIONS, Json, datatype
from mappings.terminology.concept_map import ConceptMap

_LINES = frozenset({"TX", "FT", "ST"})
_CODED = frozenset({"CE", "CWE", "CNE", "CF", "IS", "ID"})
_ARRAYS = frozenset({"NA", "MA"})
_PEOPLE = {"XCN": "XCN[string]", "CN": "XCN[string]", "XPN": "XPN[string]", "PN": "XPN[string]", "XON": "XON[string]"}


@datatype("OBX5[value]", gives="value[x]", takes="all")
def obx5_value(raws: list[str] | str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """Repetitions of text are its lines; of anything else the caller hands one at a time."""
    raws = [raws] if isinstance(raws, str) else raws
    kind = ctx.seg.field(2).strip()
    if kind == "NM" and len(raws) == 1:
        return _number(raws[0], ctx)
    kind = kind.upper()
    if kind in _LINES:
        return _string(text.tx_string(raws, ctx))
    if kind in _ARRAYS:
        return _array(raws, ctx)
    for index, raw in enumerate(raws):
        ctx.rep_index = max(ctx.rep_index, index)
        if raw and raw != '""' and (found := _one(kind, raw, ctx)) is not None:
            return found
    return None


def _one(kind: str, raw: str, ctx: Context) -> Json | None:
    if kind in _CODED:
        found = coded.cwe_concept(raw, ctx)
        return None if found is None else {"valueCodeableConcept": found}
    if (reader := _READERS.get(kind)) is not None:
        return reader(raw, ctx)
    if not kind:
        return _inferred(raw, ctx)
    if (person := _PEOPLE.get(kind)) is not None:
        return _string(FUNCTIONS[person].call(raw, ctx, None))
    return _unshaped(kind, raw, ctx)


def _string(found: str | None) -> Json | None:
    return None if found is None else {"valueString": found}


def _number(raw: str, ctx: Context) -> Json | None:
    """NM, the hot path. A text where a number should be stays text: "positive" must not get lost."""
    found = text.st_string(raw, ctx) if ctx.comp in raw else text.text(raw, ctx)
    if found is None:
        return None
    made = numbers.quantity(found, numbers.sibling_unit(ctx), ctx)
    if made is not None:
        return {"valueQuantity": made}
    ctx.issue("not-a-number")
    return {"valueString": found}


def _structured(raw: str, ctx: Context) -> Json | None:
    return numbers.sn_value(raw, ctx)


def _range(raw: str, ctx: Context) -> Json | None:
    found = numbers.nr_range(raw, ctx)
    return {"valueRange": found} if found else _string(_readable(raw, ctx))


def _moment(raw: str, ctx: Context) -> Json | None:
    return _primitive("valueDateTime", timing.dtm_datetime(raw, ctx), raw, ctx)


def _time(raw: str, ctx: Context) -> Json | None:
    return _primitive("valueTime", timing.tm_time(raw, ctx), raw, ctx)


def _primitive(name: str, found: Any, raw: str, ctx: Context) -> Json | None:
    """A time, with its sibling; what is no time at all is text, since value[x] has a text slot."""
    if found is None:
        return None
    if not isinstance(found, tuple):
        return {name: found}
    value, sibling = found
    return {name: value, f"_{name}": sibling} if value is not None else _string(_readable(raw, ctx))


def _period(raw: str, ctx: Context) -> Json | None:
    found = timing.dr_period(raw, ctx)
    if found and ("start" in found or "end" in found):
        return {"valuePeriod": found}
    return _string(_readable(raw, ctx))


def _attachment(raw: str, ctx: Context) -> Json | None:
    found = attachments.ed_attachment(raw, ctx)
    return {"valueAttachment": found} if found else None


def _pointer(raw: str, ctx: Context) -> Json | None:
    found = attachments.rp_attachment(raw, ctx)
    return {"valueAttachment": found} if found else None


def _priced(raw: str, ctx: Context) -> Json | None:
    """MO and CP: R4's value[x] has no Money."""
    return _unshaped("MO", raw, ctx)


def _counted(raw: str, ctx: Context) -> Json | None:
    found = numbers.cq_quantity(raw, ctx)
    return {"valueQuantity": found} if found else _string(_readable(raw, ctx))


def _inferred(raw: str, ctx: Context) -> Json | None:
    """OBX-2 is empty, which old senders allow themselves: a number if it is one, else text."""
    found = _readable(raw, ctx)
    if found is None:
        return None
    ctx.issue("type-inferred")
    made = numbers.quantity(found, numbers.sibling_unit(ctx), ctx)
    return {"valueQuantity": made} if made is not None else {"valueString": found}


def _array(raws: list[str], ctx: Context) -> Json | None:
    """SampledData demands the time between two samples, which OBX does not have."""
    lines = [line for raw in raws if (line := _readable(raw, ctx))]
    if not lines:
        return None
    ctx.issue("sampled-data-without-period")
    return {"valueString": "\n".join(lines)}


def _unshaped(kind: str, raw: str, ctx: Context) -> Json | None:
    found = _readable(raw, ctx)
    if found is not None:
        ctx.issue("unknown-value-type", detail="kept as text")
    return _string(found)


def _readable(raw: str, ctx: Context) -> str | None:
    """Any composite as a line of its parts."""
    parts = raw.replace(ctx.sub, ctx.comp).split(ctx.comp)
    return " ".join(found for piece in parts if (found := text.text(piece, ctx))) or None


_READERS: dict[str, Callable[[str, Context], Json | None]] = {
    "NM": _number, "SN": _structured, "NR": _range, "DR": _period, "DT": _moment, "TS": _moment, "DTM": _moment,
    "TM": _time, "ED": _attachment, "RP": _pointer, "CQ": _counted, "MO": _priced, "CP": _priced,
}  # fmt: skip
