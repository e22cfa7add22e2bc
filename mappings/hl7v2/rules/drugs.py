"""Amounts, sites and notes of drugs and vaccines: what several fields say together.

The number and its unit stand in two fields (RXA-6 and RXA-7); FHIR has one Quantity. A site has a modifier (RXR-6)
that says which side. Source: HL7 v2.9 chapter 4A; design chapter HL7 v2 §9.
"""

from typing import Any

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS as DATATYPES
from mappings.hl7v2.datatypes import coded, numbers
from mappings.hl7v2.datatypes.text import first, id_code, part
from mappings.hl7v2.effects import Reach
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, finish, function
from mappings.hl7v2.rules.results import annotation
from mappings.issues import issue
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

NIP001 = frozenset({"00", "01", "02", "03", "04", "05", "06", "07", "08"})  # new, or told by whom: RXA-9 in the USA
_UNITS_OF_HL7 = frozenset({"ISO+", "ANS+", "ANSI+", "ISO", "UCUM"})  # a spelling that UCUM does not know is text
UNKNOWN_DOSE = "999"  # RXA-6
_CORRECTING = frozenset({"U", "D"})  # RXA-21, table 0206
_NOTED = ("ORC", "RXO", "RXE", "RXD", "RXG", "RXA")  # an NTE behind any of them is about the order or the dose


@function("RXA20[code]", "code")
def completion(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Any:
    """RXA-20 in either case; where it is empty a refusal in RXA-18. A code that nobody knows is not "completed":
    R4 has no unknown vaccination, so a lot or an amount must say that it was given."""
    if ctx.field != 20:
        return "not-done"
    if vocab is not None and (hit := vocab.get((first(raw, ctx) or "").upper())) is not None:
        return hit.code
    found = id_code(raw, ctx, vocab)
    if not isinstance(found, tuple):
        return found
    if ctx.builder is None or ctx.builder.type != "Immunization":
        return "unknown", found[1]
    dose = first(whole(ctx.seg, 6, ctx), ctx)
    given = whole(ctx.seg, 15, ctx) or dose not in (None, "0", UNKNOWN_DOSE)
    return "completed" if given else "not-done", found[1]


def whole(segment: Segment, number: int, ctx: Any) -> str:
    """The first repetition of a field, "" where it is empty or null."""
    raw = segment.field(number).split(ctx.rep, 1)[0]
    return "" if raw == NULL else raw


def amount(ctx: Any, segment: Segment, number: int, unit: int) -> Json | None:
    """A Quantity of two fields; what is no number is an issue at its place."""
    found = first(whole(segment, number, ctx), ctx)
    if found is None:
        return None
    made = numbers.quantity(found, unit_of(ctx, segment, unit), ctx)
    if made is None or "comparator" in made:  # doses are SimpleQuantity (sqty-1)
        ctx.issues.append(issue("not-a-number", segment.place(number), row=ctx.row))
        return None
    return made


def unit_of(ctx: Any, segment: Segment, number: int) -> Json | None:
    """The unit of a dose: UCUM where it is UCUM, else the code that it has, a tablet in the site's own system."""
    raw = whole(segment, number, ctx)
    found = numbers.unit_of(raw, ctx)
    system = part(raw.split(ctx.comp), 3, ctx)
    if found is None or "code" in found or system is None or system.upper() in _UNITS_OF_HL7:
        return found
    held = ctx.seg, ctx.field
    ctx.seg, ctx.field = segment, number
    coding = coded.cwe_coding(raw.split(ctx.comp)[0] + ctx.comp * 2 + system, ctx) or {}
    ctx.seg, ctx.field = held
    return found | {name: coding[name] for name in ("system", "code") if name in coding and "code" in coding}


@function("NM[Quantity-Next]", "Quantity")
def amount_with_unit(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """A number whose unit is the next field: RXA-6 and RXA-7."""
    return amount(ctx, ctx.seg, ctx.field, ctx.field + 1)


@function("RXA9[Annotation]", "Annotation")
def administration_note(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXA-9 where it is a note and no code of table NIP001."""
    if raw.split(ctx.comp, 1)[0].strip() in NIP001:
        return None
    found: Json | None = DATATYPES["CWE[Annotation]"].call(raw, ctx, None)
    return found


@function("RXR2[CodeableConcept]", "CodeableConcept")
def site(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXR-2; where RXR-6 says which side, the text says it with the site, for R4 has one code for both."""
    found = coded.cwe_concept(raw, ctx, vocab)
    modifier = whole(ctx.seg, 6, ctx)
    if found is None or not modifier:
        return found
    words = (found.get("text") or coded.cwe_string(raw, ctx), coded.cwe_string(modifier, ctx))
    return {**found, "text": ", ".join(word for word in words if word)}


@function("NM[doseNumber]", "doseNumber[x]")
def dose_number(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """OBX-5 of 30973-2: a number, else its text."""
    return _counted("doseNumber", raw, ctx)


@function("NM[seriesDoses]", "seriesDoses[x]")
def series_doses(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """OBX-5 of 59782-3: a number, else its text."""
    return _counted("seriesDoses", raw, ctx)


def _counted(name: str, raw: str, ctx: Any) -> Json | None:
    found = first(raw, ctx)
    if found is None:
        return None
    if found.isascii() and found.isdecimal() and 0 < int(found[:9]) and len(found) < 9:
        return {f"{name}PositiveInt": int(found)}
    return {f"{name}String": coded.cwe_string(raw, ctx) or found}


@finish("corrects")
def corrects(ctx: Assembly, builder: Builder) -> None:
    """RXA-21 U or D: what it corrects may be known by another time, for the time is part of its key."""
    if builder.segment is not None and whole(builder.segment, 21, ctx).strip() in _CORRECTING:
        ctx.effects.append(Reach(builder.ref, one=True))


@finish("order_notes")
def order_notes(ctx: Assembly, builder: Builder) -> None:
    """The NTE behind each segment that speaks of the order, its own and those around it."""
    group = builder.group
    if group is None or builder.segment is None:
        return
    told = [each for each in group.segments if each.name in _NOTED]
    around = ctx.near("ORC")
    if around is not None and around not in told and around.name not in [each.name for each in told]:
        told.insert(0, around)
    for segment in told:
        if (found := annotation(ctx, segment, builder)) is not None:
            builder.body.setdefault("note", []).append(found)


@finish("administered_at")
def administered_at(ctx: Assembly, builder: Builder) -> None:
    """RXA-28, the address of the place; a place known by its address alone lives inside."""
    segment = builder.segment
    raw = whole(segment, 28, ctx) if segment is not None else ""
    if segment is None or not raw:
        return
    ctx.seg, ctx.field = segment, 28
    address = DATATYPES["XAD[Address]"].call(raw, ctx, None)
    if address is None:
        return
    place = builder.body.get("location", {}).get("reference")
    known = ctx.by_ref.get(place) if place else None
    if known is not None:
        known.body["address"] = address
    elif (inside := ctx.contained({"resourceType": "Location", "address": address})) is not None:
        builder.body["location"] = {**builder.body.get("location", {}), **(values.reference(inside) or {})}
    if ctx.trace is not None:
        ref, path = (known.ref, "address") if known is not None else (builder.ref, "location")
        ctx.trace.rule("administered_at", ref, path, segment.place(28))
