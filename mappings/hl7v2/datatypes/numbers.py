"""Numbers with and without units: NM, SI, SN, NR, CQ, MO, CP.

A number keeps its lexeme: `1.20` and twenty digits pass through. A unit becomes a UCUM code only where the sender says
UCUM or our table has that very spelling; otherwise it stays text.
Source: HL7 v2.9 §2A; FHIR R4 Quantity, Range, Ratio; UCUM.
"""

import re
from typing import Any

from mappings.fhir import values
from mappings.fhir.codec import number
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import at, first, part, st_string
from mappings.terminology import ucum
from mappings.terminology.concept_map import ConceptMap

_COMMA = re.compile(r"[<>]?=?[+-]?\d*,\d+", re.ASCII)
_COMPARATORS = frozenset({"<", "<=", ">", ">="})
_MAX_INT = 2_147_483_647  # FHIR integer, positiveInt, unsignedInt


def lexeme_of(found: str, ctx: Context) -> tuple[str | None, str] | None:
    """(comparator, JSON number) of an NM; None where it is no number. `+5` is 5, `.5` is 0.5, `007` is 7."""
    if "," in found and ctx.profile.policy.get("decimal_comma") and _COMMA.fullmatch(found):
        found = found.replace(",", ".")
    return values.number_lexeme(found)


@datatype("NM[decimal]", "SI[decimal]", gives="decimal", reads={1})
def nm_decimal(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """A bare decimal has no room for a comparator: `<5` is not one."""
    found = first(raw, ctx)
    if found is None:
        return None
    read = lexeme_of(found, ctx)
    if read is None or read[0]:
        ctx.issue("not-a-number")
        return None
    return number(read[1])


@datatype("NM[integer]", "SI[integer]", "ST[integer]", gives="integer", reads={1})
def nm_integer(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> int | None:
    found = first(raw, ctx)
    return None if found is None else _integer(found, -_MAX_INT - 1, ctx)


@datatype("NM[unsignedInt]", "SI[unsignedInt]", gives="unsignedInt", reads={1})
def nm_unsigned(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> int | None:
    found = first(raw, ctx)
    return None if found is None else _integer(found, 0, ctx)


@datatype("NM[positiveInt]", "SI[positiveInt]", gives="positiveInt", reads={1})
def nm_positive(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> int | None:
    found = first(raw, ctx)
    return None if found is None else _integer(found, 1, ctx)


def _integer(found: str, least: int, ctx: Context) -> int | None:
    read = lexeme_of(found, ctx)
    if read is not None and not read[0] and (whole := read[1].split(".")) and not "".join(whole[1:]).strip("0"):
        value = int(whole[0])
        if least <= value <= _MAX_INT:
            return value
    ctx.issue("not-a-number")
    return None


# Units --------------------------------------------------------------------------------------------------------------


def unit_of(raw: str, ctx: Context) -> Json | None:
    """`unit`, and `system` and `code` where it is UCUM, of a raw CE or CWE (OBX-6)."""
    known = _known_unit(raw, ctx)
    return known.copy() if known else None


def _known_unit(raw: str, ctx: Context) -> Json | None:
    """The same, shared by all who ask: not to be changed."""
    if not raw:
        return None
    key = ("unit", raw)
    cached: Json | None = ctx.cache.get(key)
    if cached is None:
        before = len(ctx.issues)
        cached = _unit(raw.split(ctx.comp), ctx)
        if len(ctx.issues) == before and len(raw) <= values.LONGEST_NUMBER:
            ctx.cache[key] = cached
    return cached or None


def _unit(parts: list[str], ctx: Context) -> Json:
    if "10" in parts or "x10" in parts:
        parts = _rejoined(parts)
    code, shown, system = part(parts, 1, ctx), part(parts, 2, ctx), part(parts, 3, ctx)
    if code is None:
        return values.unit(shown, None) if shown is not None else {}
    known = code if (system or "").upper() == "UCUM" else None
    known = known or (ucum.code_for(code) if system is None or not _other_system(system) else None)
    if known is None and part(parts, 6, ctx) == "UCUM":
        known = part(parts, 4, ctx)
    if known is not None and ucum.is_code(known):
        return values.unit(shown or code, known)
    return values.unit(shown or code, None)


def _rejoined(parts: list[str]) -> list[str]:
    """`10^9/L` with its caret unescaped is one text; a unit of "10" would be false by nine orders of magnitude."""
    found: list[str] = []
    for piece in parts:
        if found and found[-1] in ("10", "x10") and piece[:1].isdigit():
            found[-1] = f"{found[-1]}^{piece}"
        else:
            found.append(piece)
    return found


def _other_system(name: str) -> bool:
    """ISO+ and ANS+ are the standard's own older unit tables, whose spellings UCUM mostly kept; others are not ours."""
    return name.upper() not in ("ISO+", "ANS+", "ANSI+", "ISO", "L", "UCUM")


def quantity(found: str, unit: Json | None, ctx: Context) -> Json | None:
    """A Quantity of a number's text, or None where it is no number (the caller keeps the text)."""
    if "," in found and ctx.profile.policy.get("decimal_comma") and _COMMA.fullmatch(found):
        found = found.replace(",", ".")
    return values.measured(found, unit)


def sibling_unit(ctx: Context) -> Json | None:
    """The unit field of the segment at work: OBX-6. For `quantity`, which copies it."""
    return _known_unit(ctx.seg.field(6), ctx) if ctx.seg.name == "OBX" else None


@datatype("NM[Quantity]", gives="Quantity", reads={1})
def nm_quantity(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = first(raw, ctx)
    if found is None:
        return None
    made = quantity(found, sibling_unit(ctx), ctx)
    if made is None:
        ctx.issue("not-a-number")
    return made


@datatype("NM[Duration.d]", gives="Duration", reads={1})
def nm_days(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A length of stay is counted in days (PV2-10, PV2-11)."""
    value = nm_decimal(raw, ctx)
    return None if value is None else {"value": value, "unit": "d", "system": values.UCUM, "code": "d"}


@datatype("CQ[Quantity]", "CQ[Duration]", gives="Quantity", reads={1, 2})
def cq_quantity(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """CQ.1 the number, CQ.2 the unit, its components as subcomponents."""
    parts = raw.split(ctx.comp)
    found = part(parts, 1, ctx)
    if found is None:
        return None
    made = quantity(found, unit_of(at(parts, 2).replace(ctx.sub, ctx.comp), ctx), ctx)
    if made is None:
        ctx.issue("not-a-number", 1)
    return made


@datatype("CQ[decimal]", gives="decimal", reads={1})
def cq_decimal(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    return nm_decimal(raw.split(ctx.comp, 1)[0], ctx)


@datatype("CQ[unsignedInt]", gives="unsignedInt", reads={1})
def cq_unsigned(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> int | None:
    return nm_unsigned(raw.split(ctx.comp, 1)[0], ctx)


@datatype("CWE[Quantity]", "CE[Quantity]", gives="Quantity", reads={1, 2, 3})
def cwe_quantity(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A unit alone, for an element whose number another row brings."""
    return unit_of(raw, ctx)


@datatype("MO[Money]", gives="Money", reads={1, 2})
def mo_money(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    parts = raw.split(ctx.comp)
    return _money(part(parts, 1, ctx), part(parts, 2, ctx), ctx)


@datatype("CP[Money]", gives="Money", reads={1})
def cp_money(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """CP.1 is an MO, its components as subcomponents."""
    parts = at(raw.split(ctx.comp), 1).split(ctx.sub)
    return _money(part(parts, 1, ctx), part(parts, 2, ctx), ctx)


def _money(amount: str | None, currency: str | None, ctx: Context) -> Json | None:
    if amount is None:
        return None
    read = lexeme_of(amount, ctx)
    if read is None or read[0]:
        ctx.issue("not-a-number", 1)
        return None
    currency = currency.upper() if currency else None
    if currency is not None and currency not in values.currencies():
        ctx.issue("bad-value", 2)
        currency = None
    return values.money(number(read[1]), currency)


# Structured numbers -------------------------------------------------------------------------------------------------


@datatype("SN[value]", gives="value[x]", reads={1, 2, 3, 4})
def sn_value(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """SN: comparator, number, separator, number. What none of FHIR's shapes can hold is text."""
    parts = raw.split(ctx.comp)
    comparator, low, separator, high = (part(parts, n, ctx) for n in (1, 2, 3, 4))
    written = "".join(piece for piece in (comparator, low, separator, high) if piece)
    if not written:
        return None
    unit = sibling_unit(ctx)
    shape = _sn_shape("" if comparator == "=" else comparator or "", low, separator, high, unit, ctx)
    if shape is None:
        ctx.issue("not-a-number", detail="structured number kept as text")
        return {"valueString": written}
    return shape


def _sn_shape(
    comparator: str, low: str | None, separator: str | None, high: str | None, unit: Json | None, ctx: Context
) -> Json | None:
    if comparator and comparator not in _COMPARATORS:
        return None
    first_number = quantity(low, unit, ctx) if low else None
    second_number = quantity(high, unit, ctx) if high else None
    if any(found and "comparator" in found for found in (first_number, second_number)):
        return None
    if separator is None and high is None and first_number:
        return {"valueQuantity": {**first_number, **({"comparator": comparator} if comparator else {})}}
    if separator == "-" and not comparator and (first_number or not low) and (second_number or not high):
        return {"valueRange": found} if (found := values.range_(first_number, second_number)) else None
    if separator in (":", "/") and first_number and second_number:
        return {"valueRatio": _ratio(comparator, low or "", high or "", unit, ctx)}
    return None


def _ratio(comparator: str, low: str, high: str, unit: Json | None, ctx: Context) -> Json:
    """A titre 1:128 is a ratio of two plain numbers; a unit belongs to its numerator."""
    numerator = {**(quantity(low, unit, ctx) or {}), **({"comparator": comparator} if comparator else {})}
    return {"numerator": numerator, "denominator": quantity(high, None, ctx) or {}}


def _only(kind: str, raw: str, ctx: Context) -> Any:
    found = sn_value(raw, ctx)
    return None if found is None else found.get(kind)


@datatype("SN[Quantity]", gives="Quantity", reads={1, 2, 3, 4})
def sn_quantity(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    return _only("valueQuantity", raw, ctx)


@datatype("SN[Range]", gives="Range", reads={1, 2, 3, 4})
def sn_range(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    return _only("valueRange", raw, ctx)


@datatype("SN[Ratio]", gives="Ratio", reads={1, 2, 3, 4})
def sn_ratio(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    return _only("valueRatio", raw, ctx)


@datatype("NR[Range]", gives="Range", reads={1, 2})
def nr_range(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """NR: low and high, either open."""
    parts = raw.split(ctx.comp)
    unit = sibling_unit(ctx)
    ends: list[Json | None] = []
    for n in (1, 2):
        found = part(parts, n, ctx)
        made = quantity(found, unit, ctx) if found else None
        if found and (made is None or "comparator" in made):
            ctx.issue("not-a-number", n)
            return None
        ends.append(made)
    return values.range_(*ends)


# Reference ranges ---------------------------------------------------------------------------------------------------

_RANGE = re.compile(r"([+-]?\d+(?:[.,]\d+)?) ?- ?([+-]?\d+(?:[.,]\d+)?)", re.ASCII)
_BOUND = re.compile(r"(<=|>=) ?([+-]?\d+(?:[.,]\d+)?)", re.ASCII)


@datatype("ST[Observation.referenceRange]", gives="Observation.referenceRange")
def st_reference_range(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """OBX-7: always as text; low and high too where it is `3.5-5.0`, `<=5` or `>=10`. FHIR's bounds are inclusive, so
    `<5` and `>10` stay text alone.
    """
    unit_raw = ctx.seg.field(6) if ctx.seg.name == "OBX" else ""
    key = ("range", raw, unit_raw)
    cached: Json | None = ctx.cache.get(key)
    if cached is None:
        before = len(ctx.issues)
        cached = _reference_range(raw, unit_raw, ctx)
        if cached is not None and len(ctx.issues) == before and len(raw) <= values.LONGEST_NUMBER:
            ctx.cache[key] = cached
    return {name: found if isinstance(found, str) else dict(found) for name, found in (cached or {}).items()} or None


def _reference_range(raw: str, unit_raw: str, ctx: Context) -> Json | None:
    written = st_string(raw, ctx)
    if written is None:
        return None
    unit = unit_of(unit_raw, ctx)
    low = high = None
    if found := _RANGE.fullmatch(written):
        low, high = quantity(found[1], unit, ctx), quantity(found[2], unit, ctx)
        if low is None or high is None:  # a comma is a decimal sign by policy only
            low = high = None
    elif found := _BOUND.fullmatch(written):
        made = quantity(found[2], unit, ctx)
        low, high = (made, None) if found[1][0] == ">" else (None, made)
    return values.present(low=low, high=high, text=written)
