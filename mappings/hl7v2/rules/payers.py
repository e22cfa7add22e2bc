"""Organizations of insurance and of relatives, who reported an allergy, where an accident happened: what several fields
of a segment name.

A party has its name in one field, its number in another, and address, phone and a person to ask in others; so what they
make is never remembered by one field's text. A party without a number stays inside the resource that names it.

Source: the guide's IN1[Coverage], NK1[Patient], IAM[AllergyIntolerance], PV1[Coverage]; HL7 v2.9 §6.5.9 (ACC).
"""

from typing import Any

from mappings.fhir.values import name_line, present, reference
from mappings.hl7v2.datatypes import FUNCTIONS as DATATYPES
from mappings.hl7v2.datatypes import names, parties
from mappings.hl7v2.datatypes import text as texts
from mappings.hl7v2.datatypes.coded import read
from mappings.hl7v2.keys.parts import code, components
from mappings.hl7v2.rules import Json, function
from mappings.rows.runtime import NIL
from mappings.terminology.concept_map import ConceptMap

SELF = "SEL"  # table 0063


def _one(ctx: Any, number: int, kind: str) -> Json | None:
    """The first repetition of a field of the same segment, read by a datatype function."""
    raw = ctx.seg.field(number).split(ctx.rep, 1)[0]
    if raw in NIL:
        return None
    field, ctx.field = ctx.field, number
    found: Json | None = DATATYPES[kind].call(raw, ctx, None)
    ctx.field = field
    return found


def _several(ctx: Any, number: int, kind: str) -> list[Json]:
    field, ctx.field = ctx.field, number
    raw = ctx.seg.field(number)
    found = [DATATYPES[kind].call(each, ctx, None) for each in raw.split(ctx.rep) if each not in NIL]
    ctx.field = field
    return [each for each in found if each]


def _organization(ctx: Any, name: str | None, number: Json | None, about: Json) -> Json | None:
    """By its number a resource of its own, by its name alone one inside the resource that names it."""
    if number is not None and "system" in number:
        body = {"identifier": [number]} | ({"name": name} if name else {}) | about
        return reference(ctx.make("Organization", (number["system"], number["value"]), body), name or number["value"])
    if not name and number is None:
        return None
    inside = ({"identifier": [number]} if number else {}) | ({"name": name} if name else {}) | about
    return reference(ctx.contained({"resourceType": "Organization", **inside}), name)


def _numbered(raw: str, ctx: Any) -> Json | None:
    """XON.10 or .3 as an identifier."""
    found: Json | None = DATATYPES["XON[Reference(Organization)]"].call(raw, ctx, None)
    if found is None or found.get("reference", "#").startswith("#"):
        return None
    body = ctx.by_ref[found["reference"]].body if found["reference"] in ctx.by_ref else {}
    numbers: list[Json] = body.get("identifier", [])
    return numbers[0] if numbers else None


@function("PAYOR[Reference(Organization)]", "Reference", alone=False)
def payor(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """The insurer: number of IN1-3, name of IN1-4, address IN1-5, whom to ask IN1-6, phone IN1-7."""
    named = ctx.seg.field(4).split(ctx.rep, 1)[0]
    name = parties.xon_string(named, ctx) if named not in NIL else None
    number = _one(ctx, 3, "CX[Identifier]") or (_numbered(named, ctx) if _has_number(named, ctx) else None)
    contact = present(name=_one(ctx, 6, "XPN[HumanName]"))
    about = present(
        telecom=_several(ctx, 7, "XTN[ContactPoint]"),
        address=_several(ctx, 5, "XAD[Address]"),
        contact=[contact] if contact else None,
    )
    return _organization(ctx, name, number, about or {})


def _has_number(raw: str, ctx: Any) -> bool:
    parts = raw.split(ctx.comp)
    return any(len(parts) > index and parts[index] for index in (2, 9))


@function("HOLDER[Reference(Organization)]", "Reference", alone=False)
def holder(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """The employer whose group is insured: name of IN1-11, number of IN1-10 unless it is the insured's own (SN)."""
    named = ctx.seg.field(11).split(ctx.rep, 1)[0]
    group = ctx.seg.field(10).split(ctx.rep, 1)[0].split(ctx.comp)
    own = len(group) > 4 and group[4] == "SN"
    number = None if own else _one(ctx, 10, "CX[Identifier]")
    if number is None and _has_number(named, ctx):
        number = _numbered(named, ctx)
    return _organization(ctx, parties.xon_string(named, ctx) if named not in NIL else None, number, _employer(ctx))


def _employer(ctx: Any) -> Json:
    """Address IN1-44, phone IN2-64; whom to ask there IN2-49, by phone IN2-50."""
    about: Json = present(address=_several(ctx, 44, "XAD[Address]")) or {}
    segment = ctx.seg
    if (more := ctx.near("IN2")) is not None:
        ctx.seg = more
        contact = present(name=_one(ctx, 49, "XPN[HumanName]"), telecom=_several(ctx, 50, "XTN[ContactPoint]"))
        about |= present(telecom=_several(ctx, 64, "XTN[ContactPoint]"), contact=[contact] if contact else None) or {}
        ctx.seg = segment
    return about


@function("NK1[Reference(Organization)]", "Reference", alone=False)
def relative_organization(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """NK1-13, with the person to ask for there: NK1-30, phone NK1-31, address NK1-32."""
    contact = present(
        name=_one(ctx, 30, "XPN[HumanName]"),
        telecom=_several(ctx, 31, "XTN[ContactPoint]"),
        address=_one(ctx, 32, "XAD[Address]"),
    )
    number = _numbered(raw, ctx) if _has_number(raw, ctx) else None
    return _organization(ctx, parties.xon_string(raw, ctx), number, {"contact": [contact]} if contact else {})


@function("NK1[ContactPoint]", "ContactPoint")
def business_phone(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """NK1-6: a phone at work where XTN.2 does not say otherwise."""
    found: Json | None = DATATYPES["XTN[ContactPoint]"].call(raw, ctx, None)
    return found and ({"use": "work"} | found if "_use" not in found else found)


@function("FC[CodeableConcept]", "CodeableConcept")
def financial_class(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """FC.1, a code with its own subcomponents; FC.2 says since when."""
    found: Json | None = DATATYPES["CWE[CodeableConcept]"].call(
        raw.split(ctx.comp, 1)[0].replace(ctx.sub, ctx.comp), ctx, vocab
    )
    return found


@function("CRITICALITY[CodeableConcept]", "CodeableConcept")
def criticality_word(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """The sender's word for how dangerous an allergy is, where table 0128 gives FHIR's code for it to stand beside."""
    noticed = len(ctx.issues)
    mapped = read(raw, ctx, vocab).mapped
    del ctx.issues[noticed:]  # the row of the code says what was missed
    found: Json | None = DATATYPES["CWE[CodeableConcept]"].call(raw, ctx, None) if mapped is not None else None
    return found


@function("RECORDER[Reference(Practitioner)]", "Reference", alone=False)
def recorder(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """IAM-14: the patient herself or a relative where IAM-15 says so, else a practitioner known by name."""
    relation = code(ctx.seg.field(15), ctx)
    patient = ctx.made_near("Patient")
    name = names.xpn_name(raw, ctx)
    if name is None:
        return None
    shown = name_line(name)
    if relation is None or patient is None:
        return reference(ctx.contained({"resourceType": "Practitioner", "name": [name]}), shown)
    if relation[1] == SELF:
        return {"reference": patient.ref}
    key = ("NK1", patient.id, "^".join(components(raw, ctx)[:3]).casefold(), *relation)
    body: Json = {"patient": {"reference": patient.ref}, "name": [name]}
    if (kind := _one(ctx, 15, "CWE[CodeableConcept]")) is not None:
        body["relationship"] = [kind]
    return reference(ctx.make("RelatedPerson", key, body), shown)


@function("ACCIDENT[Reference(Location)]", "Reference", alone=False)
def accident_place(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """Its name ACC-3, its address ACC-11; nothing identifies it."""
    named = ctx.seg.field(3).split(ctx.rep, 1)[0]
    name = texts.st_string(named, ctx) if named not in NIL else None
    body = present(name=name, address=_one(ctx, 11, "XAD[Address]"))
    return reference(ctx.contained({"resourceType": "Location"} | body), name) if body else None
