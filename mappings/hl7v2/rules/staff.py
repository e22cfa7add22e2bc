"""Staff and places of master files: what an event makes of a record, and what STF, CER, LOC and LDP say in shapes of
their own.

A record that is deleted or deactivated stays, inactive: other messages refer to it.

Source: HL7 v2.9 chapters 8 and 15 (tables 0180, 0183, 0267, 0536; events B01 to B08); FHIR R4 Practitioner, Location.
"""

from typing import Any

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import timing
from mappings.hl7v2.datatypes.coded import cwe_concept
from mappings.hl7v2.datatypes.identifiers import authority_in
from mappings.hl7v2.datatypes.parties import levels, physical_type, pl_location, place_number
from mappings.hl7v2.datatypes.text import at, part, scoped
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, finish, function
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

_ACTIVE = {"A": True, "I": False}  # table 0183
# what MFE-1 (table 0180) and the events of PMU do to the record as a whole
_RECORD = {"MDL": False, "MDC": False, "MAC": True, "B03": False, "B04": True, "B05": False, "B06": False}
_OVER = frozenset({"R", "E", "I"})  # table 0536: revoked, expired, inactive
_REVOKED = "B08"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


# fields in shapes of their own ---------------------------------------------------------------------------------------


@function("ACTIVE[boolean]", "boolean")
def active(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> bool | None:
    """Table 0183."""
    code = part(raw.split(ctx.comp), 1, ctx)
    found = _ACTIVE.get(code or "")
    if code is not None and found is None:
        ctx.issue("vocab-miss")
    return found


@function("STF1[Identifier]", "Identifier")
def primary_key(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """STF-1, a CWE that names a person: its system, else that of an XCN without an authority."""
    parts = raw.split(ctx.comp)
    number, system = part(parts, 1, ctx), part(parts, 3, ctx)
    if number is None:
        return None
    found = authority_in(system, ctx.comp, ctx) if system else scoped(ctx, "practitioner", "unspecified")
    return {"system": found, "value": number}


@function("JCC[CodeableConcept]", "CodeableConcept")
def job(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """JCC: job code (0327), and in words; its class (0328) is that of the employment."""
    parts = raw.split(ctx.comp)
    found = cwe_concept(at(parts, 1), ctx) or {}
    words = part(parts, 3, ctx)
    return ({**found, "text": words} if words else found) or None


@function("SPD[CodeableConcept]", "CodeableConcept")
def specialty(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """SPD: a specialty by its name; its board and the date of certification have no element."""
    name = part(raw.split(ctx.comp), 1, ctx)
    return {"text": name} if name else None


@function("CER[dateTime]", "dateTime")
def certified_until(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Any:
    """CER-29; else, for one that holds no more (CER-31, B08), the time of the event; else CER-27."""
    segment = ctx.seg
    revoked = segment.field(29)
    if revoked and revoked != NULL:
        return timing.dtm_datetime(revoked, ctx)
    status = segment.field(31).split(ctx.comp, 1)[0].strip()
    if status in _OVER or ctx.event == _REVOKED:
        return _event_time(ctx)
    expires = segment.field(27)
    return timing.dtm_datetime(expires, ctx) if expires and expires != NULL else None


def _event_time(ctx: Any) -> Any:
    """EVN-6, EVN-2, else MSH-7."""
    evn, msh = ctx.message.first("EVN"), ctx.message.msh
    candidates = ((evn, 6), (evn, 2), (msh, 7))
    raw = next((each.field(n) for each, n in candidates if each is not None and each.field(n) not in ("", NULL)), "")
    return timing.dtm_datetime(raw, ctx) if raw else None


def _split(raw: str, ctx: Any) -> tuple[list[str], tuple[int, str, str] | None]:
    """(parts of a PL, its innermost level)."""
    parts = raw.split(ctx.comp)
    found = levels(parts, ctx)
    return parts, found[-1] if found else None


@function("PLACE[string]", "string")
def place_name(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> str | None:
    _, innermost = _split(raw, ctx)
    return innermost[2] if innermost is not None else None


@function("PLACE[CodeableConcept]", "CodeableConcept")
def place_kind(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    _, innermost = _split(raw, ctx)
    return physical_type(innermost[1]) if innermost is not None else None


@function("PLACE[Identifier]", "Identifier")
def place_identifier(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PL.10, else the URI of a level that is an HD."""
    parts, innermost = _split(raw, ctx)
    if (number := place_number(parts, ctx)) is not None or innermost is None:
        return number
    level = at(parts, innermost[0])
    system = authority_in(level, ctx.sub, ctx) if ctx.sub in level else None
    return {"system": "urn:ietf:rfc:3986", "value": system} if system else None


@function("PLACE[Reference(Location)]", "Reference")
def place_around(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """The levels around the innermost one."""
    parts, innermost = _split(raw, ctx)
    if innermost is None:
        return None
    outside = [*parts[: innermost[0] - 1], "", *parts[innermost[0] : 8]]
    return pl_location(ctx.comp.join(outside), ctx)


# what becomes of a record --------------------------------------------------------------------------------------------


def _told(ctx: Assembly, builder: Builder) -> bool | None:
    """Whether the record as a whole was set active or inactive."""
    record = builder.group
    while record is not None:
        for segment in record.segments:
            if segment.name == "MFE":
                return _RECORD.get(segment.field(1).split(ctx.comp, 1)[0].strip())
        record = record.parent
    return _RECORD.get(ctx.event) if ctx.message.code == "PMU" else None


@finish("staff_state")
def staff_state(ctx: Assembly, builder: Builder) -> None:
    """MFE-1 and the events of PMU over STF-7."""
    if (told := _told(ctx, builder)) is not None:
        builder.body["active"] = told
        builder.own.append("active")


@finish("qualified")
def qualified(ctx: Assembly, builder: Builder) -> None:
    """R4 demands a code of each qualification."""
    for each in builder.body.get("qualification", ()):
        each.setdefault("code", values.absent("unknown"))


@finish("place_state")
def place_state(ctx: Assembly, builder: Builder) -> None:
    """MFE-1."""
    if (told := _told(ctx, builder)) is not None:
        builder.body["status"] = "active" if told else "inactive"
        builder.own.append("status")


@finish("department")
def department(ctx: Assembly, builder: Builder) -> None:
    """The place around a department, and when it may be visited."""
    parent = builder.group.parent if builder.group is not None else None
    around = ctx.by_group.get((id(parent), "Location")) if parent is not None else None
    if around is not None:
        builder.body["partOf"] = {"reference": around.ref}
    if builder.segment is not None and (hours := _visiting_hours(ctx, builder.segment)):
        builder.body["hoursOfOperation"] = hours


def _visiting_hours(ctx: Assembly, segment: Segment) -> list[Json]:
    """LDP-10, VH: first and last day (table 0267), first and last hour."""
    found: list[Json] = []
    for index, raw in enumerate(segment.reps(10)):
        ctx.seg, ctx.field, ctx.rep_index = segment, 10, index
        parts = raw.split(ctx.comp)
        each: Json = {}
        if days := _days(part(parts, 1, ctx), part(parts, 2, ctx)):
            each["daysOfWeek"] = days
        for number, name in ((3, "openingTime"), (4, "closingTime")):
            read = timing.tm_time(at(parts, number), ctx) if at(parts, number) else None
            time = read[0] if isinstance(read, tuple) else read
            if time is not None:
                each[name] = time
        found += [each] if each else []
    return found


def _days(first: str | None, last: str | None) -> list[str]:
    """From one day to another, over the week's end where need be; one day where the last is not told."""
    start = (first or "")[:3].lower()
    end = (last or start)[:3].lower()
    if start not in _DAYS or end not in _DAYS:
        return []
    begin, length = _DAYS.index(start), (_DAYS.index(end) - _DAYS.index(start)) % 7 + 1
    return [_DAYS[(begin + step) % 7] for step in range(length)]
