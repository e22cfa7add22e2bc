"""Facts of a vaccination that come as observations behind it.

Which LOINC code is which element is rows (`OBX.Immunization`). Here is what they cannot say: lines of one sheet share
their OBX-4, all lines about the series are one protocol, and a reaction is an Observation that the Immunization names.
A line that was taken back (OBX-11 D, W, X; OBX-31 D) says nothing.

Source: design chapter HL7 v2 §9; the CDC's guide to VXU for the codes.
"""

from collections.abc import Iterator

from mappings.fhir.values import absent
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, finish
from mappings.hl7v2.rules.results import annotation
from mappings.hl7v2.rules.scratch import run_apart

FACTS_MAP = "OBX.Immunization"
NO_VACCINE = "998"  # CVX: nothing was given, its lines are about the patient
REACTION = "31044-1"
FACTS = frozenset({
    "64994-7", "30963-3", "30956-7", "69764-9", "29768-9", "29769-7", "30973-2", "59780-7", "59782-3", "59785-6",
    "48767-8",
})  # fmt: skip
_TAKEN_BACK = frozenset({"D", "W", "X"})


@finish("vaccine_facts")
def vaccine_facts(ctx: Assembly, builder: Builder) -> None:
    """Every OBX of this RXA that is about the vaccination itself."""
    if builder.segment is None or _code(builder.segment, 5, ctx) == NO_VACCINE:
        return
    sheets: dict[str, Json] = {}
    for line in _lines(builder):
        code = _code(line, 3, ctx)
        if code == REACTION:
            _reaction(ctx, builder, line)
        elif code in FACTS and line.field(11).strip() not in _TAKEN_BACK and line.field(31).strip() != "D":
            _fact(ctx, builder, line, sheets)
    protocol = builder.body.get("protocolApplied", [{}])[0]
    if protocol and not any(name.startswith("doseNumber") for name in protocol):
        protocol["_doseNumberString"] = absent("unknown")


def _lines(builder: Builder) -> Iterator[Segment]:
    for group in builder.group.walk() if builder.group is not None else ():
        yield from (segment for segment in group.segments if segment.name == "OBX")


def _code(segment: Segment, number: int, ctx: Assembly) -> str:
    return segment.field(number).split(ctx.comp, 1)[0].strip()


def _fact(ctx: Assembly, builder: Builder, line: Segment, sheets: dict[str, Json]) -> None:
    found, moved = run_apart(ctx, builder, FACTS_MAP, line)
    body = builder.body
    for name, value in found.items():
        place = name
        if name == "education":
            place = _sheet(body, sheets, line.field(4).strip(), value[0])
        elif name == "protocolApplied":
            body.setdefault(name, [{}])[0].update(value[0])
            place = f"{name}[0]"
        elif isinstance(value, list):
            place = f"{name}[{len(body.get(name, ()))}]"
            body.setdefault(name, []).extend(value)
        else:
            body[name] = value
        moved(f"{name}[0]" if place.endswith("]") else name, place)
    if (note := annotation(ctx, line, builder)) is not None:
        body.setdefault("note", []).append(note)


def _sheet(body: Json, sheets: dict[str, Json], sub: str, facts: Json) -> str:
    """Where the facts of an information sheet went: OBX-4 tells the sheets apart."""
    known = body.setdefault("education", [])
    sheet = sheets.get(sub)
    if sheet is None or sheet.keys() & facts.keys() - {"extension"}:
        sheet = sheets[sub] = {}
        known.append(sheet)
    sheet.update(facts)
    return f"education[{next(number for number, each in enumerate(known) if each is sheet)}]"


def _reaction(ctx: Assembly, builder: Builder, line: Segment) -> None:
    """The Observation of a reaction, made by its own line."""
    for other in ctx.made:
        if other.segment is line and other.type == "Observation":
            reaction: Json = {"detail": {"reference": other.ref}}
            if (when := other.body.get("effectiveDateTime")) is not None:
                reaction["date"] = when
            builder.body.setdefault("reaction", []).append(reaction)
            if ctx.trace is not None:
                at = f"reaction[{len(builder.body['reaction']) - 1}].detail"
                ctx.trace.rule("vaccine_facts", builder.ref, at, line.place(3))
