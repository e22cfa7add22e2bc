"""Drugs as a whole: dosages put together, a Medication where a code does not tell all, prescriptions and pharmacies.

- dosages: what is said once (dose, route, instructions) joins every timing of the order; what stands behind the RXE
  wins over what stands behind the RXO
- a Medication is contained: alone it has no patient, and would outlive an erasure
- a dispense or an administration names its prescription, by number where the message does not hold it

Source: design chapter HL7 v2 §9, drugs; HL7 v2.9 chapter 4A.
"""

from copy import deepcopy
from decimal import Decimal
from typing import Any

from mappings.fhir.values import absent
from mappings.hl7v2 import keys
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS as DATATYPES
from mappings.hl7v2.datatypes import coded, timing
from mappings.hl7v2.datatypes.text import first, part, scoped
from mappings.hl7v2.keys.drugs import known_order
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, finish, function
from mappings.hl7v2.rules.dosage import left_to_say, unread_dose
from mappings.hl7v2.rules.drugs import amount, whole
from mappings.hl7v2.rules.results import readable
from mappings.hl7v2.rules.scratch import retell, run_apart
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

_TIMED = ("timing", "asNeededBoolean", "asNeededCodeableConcept")
_GIVEN = frozenset({"G", "T"})  # RXD-11, table 0167: a generic or another drug was dispensed
# segment → strength, its unit, in what volume, its unit
_STRENGTHS = {
    "RXO": (18, 19, 25, 26), "RXE": (25, 26, 33, 34), "RXD": (16, 17, 28, 29), "RXA": (13, 14, 23, 24),
    "RXG": (17, 18, 23, 24),
}  # fmt: skip
# resource → element of the pharmacy; segment → name, address, telephone
_PHARMACIES = {"RXE": (40, 41, 45), "RXO": (32, 33, 36), "RXD": (30, 31, 34)}

# strengths and ingredients --------------------------------------------------------------------------------------------


@function("STRENGTH[Ratio]", "Ratio")
def strength(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """How much of the substance in how much of the product; one unit of it where no volume is said (rat-1)."""
    return _ratio(ctx, ctx.seg, *_STRENGTHS[ctx.seg.name])


@function("COMPONENT[Ratio]", "Ratio")
def component(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXC-3 of the whole; else the component's own strength, RXC-5 in RXC-8."""
    if ctx.field == 3:
        found = amount(ctx, ctx.seg, 3, 4)
        return {"numerator": found, "denominator": {"value": Decimal(1)}} if found is not None else None
    return _ratio(ctx, ctx.seg, 5, 6, 8, 9)


@function("COMPONENT[string]", "string")
def component_words(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    """The component by name, with its own strength."""
    own, name = _ratio(ctx, ctx.seg, 5, 6, 8, 9), coded.cwe_string(whole(ctx.seg, 2, ctx), ctx)
    if own is None:
        return None
    words = readable(own["numerator"])
    if own["denominator"] != {"value": Decimal(1)}:
        words += f"/{readable(own['denominator'])}"
    return f"{name} ({words})" if name else words


def _ratio(ctx: Any, segment: Segment, number: int, unit: int, volume: int, volume_unit: int) -> Json | None:
    found = amount(ctx, segment, number, unit)
    if found is None:
        return None
    return {"numerator": found, "denominator": amount(ctx, segment, volume, volume_unit) or {"value": Decimal(1)}}


@function("RXE39[Quantity]", "Quantity")
def initial_fill(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXE-39, in the unit of RXE-11."""
    return amount(ctx, ctx.seg, 39, 11)


@function("CWE[lines]", "string", takes="all")
def instructions(raws: list[str], ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    """Every repetition without a code, a line each."""
    found = [coded.cwe_string(raw, ctx) for raw in raws if raw and raw != NULL and not _has_code(raw, ctx)]
    return "\n".join(line for line in found if line) or None


@function("CWE[coded]", "CodeableConcept")
def instruction(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """A repetition that has a code."""
    return coded.cwe_concept(raw, ctx, vocab) if _has_code(raw, ctx) else None


def _has_code(raw: str, ctx: Any) -> bool:
    """Senders put sentences where the code belongs: with blanks and without a coding system it is none."""
    code, system = first(raw, ctx), part(raw.split(ctx.comp), 3, ctx)
    return code is not None and (system is not None or " " not in code)


@function("ST[Identifier-Prescription]", "Identifier")
def prescription_number(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXE-15 and RXD-7 are one number: both have one system of this feed."""
    found = first(raw, ctx)
    return {"system": scoped(ctx, "identifier", "prescription"), "value": found} if found else None


@function("RXD11[boolean]", "boolean")
def was_substituted(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> bool | None:
    """RXD-11, table 0167."""
    code = first(raw, ctx)
    return code.upper() in _GIVEN if code else None


# when it is given -----------------------------------------------------------------------------------------------------


@function("RXA[effective]", "effective[x]")
def given_when(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """RXA-3; a period where RXA-4 says another time."""
    start, end = whole(ctx.seg, 3, ctx), whole(ctx.seg, 4, ctx)
    if start and end and start != end:
        period = timing.period(start, end, ctx)
        return {"effectivePeriod": period} if period else None
    return _at_time(start or end, ctx)


@function("RXG[effective]", "effective[x]")
def to_be_given_when(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """TQ1-7, else the start in RXG-3, a TQ."""
    parts = raw.split(ctx.comp)
    return _at_time(raw if ctx.seg.name == "TQ1" else parts[3] if len(parts) > 3 else "", ctx)


def _at_time(raw: str, ctx: Any) -> Json | None:
    found = timing.dtm_datetime(raw, ctx) if raw and raw != NULL else None
    if isinstance(found, tuple):
        return {"_effectiveDateTime": found[1], **({"effectiveDateTime": found[0]} if found[0] else {})}
    return {"effectiveDateTime": found} if found else None


# dosages --------------------------------------------------------------------------------------------------------------


@finish("dosages")
def dosages(ctx: Assembly, builder: Builder) -> None:
    """What is said once joins every timing; a further route is an alternative, in words."""
    pieces: list[Json] = builder.body.pop("dosageInstruction", [])
    base: Json = {}
    timed: list[Json] = []
    moves: dict[str, str] = {}
    for number, piece in enumerate(pieces):
        alone = not any(name in piece for name in _TIMED)
        if alone:
            _join(base, piece)
        else:
            timed.append(piece)
        moves[f"dosageInstruction[{number}]"] = f"dosageInstruction[{0 if alone else len(timed) - 1}]"
    retell(ctx, builder.ref, builder.ref, moves)
    _routes(ctx, builder, base)
    _limits(ctx, builder, base)
    for name in ("RXE", "RXO"):
        if (words := unread_dose(ctx, ctx.near(name))) is not None and "doseAndRate" not in base:
            _put(base, "text", words, front=True)
    if behind := _behind(builder, "TQ1"):
        timed = _timings(ctx, builder, behind) or timed
    timed = _needed(timed)
    for each in timed:
        for name, value in base.items():
            _put(each, name, left_to_say(each, name, deepcopy(value)), front=True)
    found = timed or ([base] if base else [])
    found += _infusions(ctx, builder, len(found))
    if found:
        builder.body["dosageInstruction"] = found


def _behind(builder: Builder, name: str) -> list[Segment]:
    """Segments of a name that belong to the resource: behind the one that made it, else before it."""
    if builder.group is None or builder.segment is None:
        return []
    mine = [each for each in builder.group.segments if each.name == name]
    later = [each for each in mine if each.ordinal > builder.segment.ordinal]
    return later or mine


def _put(piece: Json, name: str, value: Any, *, front: bool = False) -> None:
    """One fact into a dosage: lists grow, words follow each other, else the first stands."""
    held = piece.get(name)
    if held is None:
        piece[name] = value
    elif isinstance(value, list):
        new = [each for each in value if each not in held]
        piece[name] = [*new, *held] if front else [*held, *new]
    elif name == "text" and value != held:
        piece[name] = f"{value}\n{held}" if front else f"{held}\n{value}"


def _join(base: Json, piece: Json) -> None:
    for name, value in piece.items():
        _put(base, name, value)


def _routes(ctx: Assembly, builder: Builder, base: Json) -> None:
    """RXR: the first is the route; further ones are routes that may be taken instead."""
    name = f"RXR.{builder.type}"
    for number, segment in enumerate(_behind(builder, "RXR")):
        found, moved = run_apart(ctx, builder, name, segment)
        for piece in found.get("dosageInstruction", ()):
            if number:
                route = [piece[each] for each in ("route", "site", "method") if each in piece]
                _put(base, "additionalInstruction", [*route, *piece.get("additionalInstruction", ())])
            else:
                _join(base, piece)
        moved("dosageInstruction[0]", "dosageInstruction[0]")


def _limits(ctx: Assembly, builder: Builder, base: Json) -> None:
    """CDO: the most that may be given in all; one with the action code D is taken back."""
    for segment in _behind(builder, "CDO"):
        if segment.field(2).strip() != "D":
            found, moved = run_apart(ctx, builder, f"CDO.{builder.type}", segment)
            for piece in found.get("dosageInstruction", ()):
                held = base.get("maxDosePerPeriod")
                _join(base, piece)
                limit = piece.get("maxDosePerPeriod")
                if held is not None and limit is not None and limit != held:  # R4 holds one: the other stays readable
                    words = " / ".join(readable(limit[each]) for each in ("numerator", "denominator"))
                    _put(base, "text", f"max {words}")
            moved("dosageInstruction[0]", "dosageInstruction[0]")


def _timings(ctx: Assembly, builder: Builder, segments: list[Segment]) -> list[Json]:
    """The dosages of every TQ1. TQ1-12 S: the next comes after this one, else beside it."""
    found: list[Json] = []
    sequence, several = 1, len(segments) > 1
    for segment in segments:
        made, moved = run_apart(ctx, builder, "TQ1.MedicationRequest", segment)
        pieces = made.pop("dosageInstruction", [])
        for name, value in made.items():
            if name not in builder.body:
                builder.body[name] = value
                moved(name, name)
        shared = {name: value for name, value in (pieces[0] if pieces else {}).items() if name not in _TIMED}
        for number, piece in enumerate(pieces):
            moved(f"dosageInstruction[{number}]", f"dosageInstruction[{len(found)}]")
            found.append({**deepcopy(shared), **piece})
            if several and any(each.field(12).strip() for each in segments):
                found[-1]["sequence"] = sequence
        sequence += segment.field(12).strip() == "S"
    return found


def _needed(timed: list[Json]) -> list[Json]:
    """A repetition that only says PRN is about the others: `Q4H~PRN`."""
    bare = [each for each in timed if "timing" not in each]
    others = [each for each in timed if "timing" in each]
    if not bare or not others:
        return timed
    for each in others:
        for piece in bare:
            for name, value in piece.items():
                if name not in _TIMED or not any(known in each for known in _TIMED[1:]):
                    _put(each, name, deepcopy(value))
    return others


def _infusions(ctx: Assembly, builder: Builder, before: int) -> list[Json]:
    """RXV: a bolus, and what the patient may ask for, are dosages of their own."""
    found: list[Json] = []
    for segment in _behind(builder, "RXV"):
        made, moved = run_apart(ctx, builder, "RXV.MedicationRequest", segment)
        for number, piece in enumerate(made.get("dosageInstruction", ())):
            moved(f"dosageInstruction[{number}]", f"dosageInstruction[{before + len(found)}]")
            found.append(piece)
    return found


@finish("given")
def given(ctx: Assembly, builder: Builder) -> None:
    """An administration: several RXA share the RXR behind the last; a dosage has a dose or a rate (mad-1)."""
    dosage = builder.body.get("dosage")
    if (words := unread_dose(ctx, builder.segment)) is not None:
        dosage = builder.body["dosage"] = {"text": words, **(dosage or {})}
    if (route := _shared_route(ctx, builder)) is not None:
        found, moved = run_apart(ctx, builder, "RXR.MedicationAdministration", route)
        dosage = builder.body["dosage"] = {**found.get("dosage", {}), **(dosage or {})}
        moved("dosage", "dosage")
    if dosage and not any(name in dosage for name in ("dose", "rateRatio", "rateQuantity")):
        dosage["dose"] = absent("unknown")


def _shared_route(ctx: Assembly, builder: Builder) -> Segment | None:
    """The RXR behind a later RXA of the same drug, where this one has none."""
    group, segment = builder.group, builder.segment
    if group is None or group.parent is None or segment is None or segment.name != "RXA":
        return None
    siblings = group.parent.groups
    for other in [group, *siblings[siblings.index(group) + 1 :]]:
        drug = next((each for each in other.segments if each.name == "RXA"), None)
        if drug is None or keys.code(drug.field(5), ctx) != keys.code(segment.field(5), ctx):
            return None
        if (found := next((each for each in other.segments if each.name == "RXR"), None)) is not None:
            return found if other is not group else None
    return None


# the drug itself ------------------------------------------------------------------------------------------------------


@finish("medication")
def medication(ctx: Assembly, builder: Builder) -> None:
    """A contained Medication where there is more to say than a code: ingredients, form, lot, maker."""
    body = builder.body
    _settle_code(builder)
    moves: dict[str, str] = {}
    found: Json = {}
    for name, segment in _tellers(ctx, builder):
        made, moved = run_apart(ctx, builder, name, segment, kind="Medication")
        for each, value in made.items():
            if isinstance(value, list):
                start = len(found.setdefault(each, []))
                moved(f"{each}[0]", f"contained.{each}[{start}]")
                found[each] += value
            elif each not in found:
                found[each] = value
                moved(each, f"contained.{each}")
    if not found:
        return
    code = body.pop("medicationCodeableConcept", None)
    inside: Json = {"resourceType": "Medication", **({"code": code} if code else {}), **_one_each(found)}
    reference = ctx.contained(inside)
    if reference is None:
        return
    body["medicationReference"] = {"reference": reference}
    number = next(n for n, each in enumerate(body["contained"]) if f"#{each['id']}" == reference)
    moves = {"medicationCodeableConcept": f"contained[{number}].code"}
    moves |= {f"contained.{name}": f"contained[{number}].{name}" for name in found}
    retell(ctx, builder.ref, builder.ref, moves)
    builder.filled = [name for name in builder.filled if name != "medication[x]"]


def _settle_code(builder: Builder) -> None:
    """The code of the RXO, or words, where the RXE has none: then it is not absent."""
    code = builder.body.get("medicationCodeableConcept")
    if code and ("coding" in code or "text" in code):
        code.pop("extension", None)
        builder.filled = [name for name in builder.filled if name != "medication[x]"]


@finish("medication_unsaid")
def medication_unsaid(ctx: Assembly, builder: Builder) -> None:
    """An ORC alone changes an order and does not repeat the drug."""
    builder.body["medicationCodeableConcept"] = absent("unknown")
    builder.filled.append("medication[x]")


def _tellers(ctx: Assembly, builder: Builder) -> list[tuple[str, Segment]]:
    """(map, segment) that speak of the drug: its own, the RXO before an RXE, the RXC."""
    segment = builder.segment
    found: list[tuple[str, Segment]] = []
    if segment is not None and segment.name in _STRENGTHS:
        found.append((f"{segment.name}.Medication", segment))
    if segment is not None and segment.name == "RXE" and (ordered := ctx.near("RXO")) is not None:
        found.append(("RXO.Medication", ordered))
    return found + [("RXC.Medication", each) for each in _behind(builder, "RXC")]


def _one_each(found: Json) -> Json:
    """The strength of the product belongs to the ingredient that is the product, where RXC names it too."""
    listed: list[Json] = found.get("ingredient", [])
    kept: list[Json] = []
    for each in listed:
        same = [other for other in kept if _codes(other) & _codes(each)]
        if same and ("strength" not in same[0] or "strength" not in each or each["strength"] == same[0]["strength"]):
            same[0].update({**each, **same[0]})
        else:
            kept.append(each)
    return {**found, "ingredient": kept} if kept else found


def _codes(ingredient: Json) -> set[tuple[str | None, str]]:
    codings = ingredient.get("itemCodeableConcept", {}).get("coding", ())
    return {(each.get("system"), each["code"]) for each in codings if "code" in each}


# prescriptions and pharmacies -----------------------------------------------------------------------------------------


@finish("prescription")
def prescription(ctx: Assembly, builder: Builder) -> None:
    """What was ordered: the request of this message, else its number."""
    request = ctx.made_near("MedicationRequest")
    reference: Json = {"reference": request.ref} if request is not None else _by_number(ctx)
    if builder.type == "MedicationDispense":
        known: list[Json] = builder.body.get("authorizingPrescription", [])
        if known and request is not None:
            known[0]["reference"] = request.ref
        elif reference:
            builder.body["authorizingPrescription"] = [*known, reference]
    elif reference:
        builder.body["request"] = reference


def _by_number(ctx: Assembly) -> Json:
    orc = ctx.near("ORC")
    found = (keys.entity(orc.field(2), ctx) or keys.entity(orc.field(3), ctx)) if orc is not None else None
    if found is None:
        return {}
    return {"type": "MedicationRequest", "identifier": {"system": found[0], "value": found[1]}}


@finish("prior_prescription")
def prior_prescription(ctx: Assembly, builder: Builder) -> None:
    """ORC-1 = RO with numbers of both sides: the placer's old order is replaced."""
    orc = ctx.near("ORC")
    if orc is None or orc.field(1).strip() != "RO" or (placer := keys.entity(orc.field(2), ctx)) is None:
        return
    if (
        known_order(orc, ctx) is not None
        and ctx.identities.make("MedicationRequest", ("placer", *placer)) != builder.id
    ):
        identifier = {"system": placer[0], "value": placer[1]}
        builder.body["priorPrescription"] = {"type": "MedicationRequest", "identifier": identifier}


@finish("pharmacy")
def pharmacy(ctx: Assembly, builder: Builder) -> None:
    """The address and telephone of the pharmacy: an Organization inside, known by its code as well."""
    for name in ("RXE", "RXO") if builder.type == "MedicationRequest" else ("RXD",):
        segment = builder.segment if builder.type != "MedicationRequest" else ctx.near(name)
        if segment is None or segment.name != name or _pharmacy(ctx, builder, segment):
            return


def _pharmacy(ctx: Assembly, builder: Builder, segment: Segment) -> bool:
    """Whether the segment names a pharmacy: then the other segment's does not count."""
    named, *details = _PHARMACIES[segment.name]
    told = [number for number in (named, *details) if whole(segment, number, ctx)]
    if told and told != [named]:
        place, known = _pharmacy_holder(builder, segment, bool(whole(segment, named, ctx)))
        inside: Json = {"resourceType": "Organization", **_reached(ctx, segment, *details)}
        if "identifier" in known:
            inside["identifier"] = [known.pop("identifier")]
        if "display" in known:
            inside["name"] = known["display"]
        if "name" not in inside and "identifier" not in inside:
            inside["_name"] = absent("unknown")  # org-1
        known["reference"] = ctx.contained(inside)
        if ctx.trace is not None:
            for number in told:
                ctx.trace.rule("pharmacy", builder.ref, place, segment.place(number))
    return bool(told)


def _reached(ctx: Assembly, segment: Segment, address: int, telephone: int) -> Json:
    """Address and telephone."""
    found: Json = {}
    ctx.seg = segment
    for number, element, kind in ((address, "address", "XAD[Address]"), (telephone, "telecom", "XTN[ContactPoint]")):
        ctx.field = number
        made = [DATATYPES[kind].call(raw, ctx, None) for raw in segment.reps(number) if raw and raw != NULL]
        for each in made:
            if each is not None:
                if each.get("use") == "home":
                    del each["use"]  # org-2, org-3
                found.setdefault(element, []).append(each)
    return found


def _pharmacy_holder(builder: Builder, segment: Segment, named: bool) -> tuple[str, Json]:
    """(path, reference) of the pharmacy; one known by its address only has none yet."""
    body = builder.body
    if builder.type == "MedicationDispense":
        performers: list[Json] = body.setdefault("performer", [])
        if not named:
            performers.append({"actor": {}})
        actor: Json = performers[-1]["actor"]
        return f"performer[{len(performers) - 1}].actor", actor
    found: Json = body.setdefault("dispenseRequest", {}).setdefault("performer", {})
    return "dispenseRequest.performer", found
