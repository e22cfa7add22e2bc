"""Reports and their lines: statuses the tables alone cannot say, and parents.

A line of a child report comes from the line that OBR-26, OBR-29 and OBR-50 name. Text over several lines is
`lines.py`'s, attachments are `attached.py`'s, notes `notes.py`'s, specimens `specimens.py`'s.

Source: design chapter HL7 v2 §9 (tables, corrections, parents).
"""

from collections.abc import Iterator
from typing import Any

from mappings.fhir.values import BY_PLACE, CANONICAL, DATA_ABSENT_REASON, REASONS
from mappings.hl7v2 import keys
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.datatypes.identifiers import ei_identifier
from mappings.hl7v2.keys.orders import BY_POSITION
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, finish, resolver
from mappings.hl7v2.rules.asides import QUESTIONS, set_aside
from mappings.hl7v2.rules.attached import attach
from mappings.hl7v2.rules.notes import NOTE, annotation
from mappings.hl7v2.rules.performers import laboratory_address
from mappings.hl7v2.rules.specimens import own_specimen
from mappings.hl7v2.structure import Group
from mappings.issues import issue
from mappings.rows.runtime import NULL
from mappings.terminology import concept_map
from mappings.vitals import readable

__all__ = ["NOTE", "OBSERVATION_SYSTEM", "annotation", "lines_of", "observation_line", "readable", "status_of"]

OBSERVATION_SYSTEM = f"{CANONICAL}:observation"  # identifier: filler order ␟ code ␟ sub-id
UNIT_SEPARATOR = "\u241f"
_LONG = 24  # fields: a line with more says what few lines say
_BY_PLACE: Json = {"url": BY_PLACE, "valueBoolean": True}  # `merge` lets such a line go when a full report omits it
_ABSENT = {"X": "not-performed", "N": "not-asked"}  # whatever stands in OBX-5
_PENDING = frozenset({"I", "O"})
_REPORT_OF_LINE = {"partial": "preliminary"}


def status_of(raw: str, name: str, ctx: Any) -> str | None:
    """A status code through its table."""
    found = concept_map.load(name).get(raw.split(ctx.comp, 1)[0].strip())
    return found.code if found is not None else None


# statuses ------------------------------------------------------------------------------------------------------------


@resolver("observation_status")
def observation_status(ctx: Any) -> str:
    """OBX-11 is empty: OBR-25's row, else unknown."""
    obr = ctx.near("OBR")
    found = status_of(obr.field(25), "v2-0123.diagnostic-report-status", ctx) if obr is not None else None
    return _REPORT_OF_LINE.get(found, found) if found else "unknown"


def lines_of(group: Group) -> Iterator[Segment]:
    """The OBX of a report, in order."""
    for each in group.walk():
        for segment in each.segments:
            if segment.name == "OBX":
                yield segment


@resolver("report_status")
def report_status(ctx: Any) -> str:
    """OBR-25 is empty: all lines final → final, some → partial, else unknown."""
    statuses = [status_of(line.field(11), "v2-0085.observation-status", ctx) for line in lines_of(ctx.group)]
    final = [status in ("final", "corrected", "amended") for status in statuses]
    if not final:
        return "unknown"
    return "final" if all(final) else "partial" if any(final) else "unknown"


@finish("report_correction")
def report_correction(ctx: Assembly, builder: Builder) -> None:
    """A final report with a corrected line is a corrected report; Y and Z know no order."""
    group = builder.group
    assert group is not None  # noqa: S101 - rules run on resources that a segment made
    if builder.body.get("status") == "final" and any(line.field(11).strip() == "C" for line in lines_of(group)):
        builder.body["status"] = "corrected"
    if builder.segment is not None and builder.segment.field(25).strip() in ("Y", "Z"):
        ctx.issues.append(issue("report-without-order", Place("OBR", builder.segment.nth, 25)))


@finish("report_lines")
def report_lines(ctx: Assembly, builder: Builder) -> None:
    """Lines entered in error leave the report; `merge` takes them out of the stored one too."""
    wrong, by_place = _marked_lines(ctx)
    if not wrong and not by_place:
        return
    held: list[Json] = builder.body.pop("result", [])
    lines = [each for each in held if each["reference"] not in wrong]
    builder.clear += [f"result[reference={each['reference']}]" for each in held if each["reference"] in wrong]
    if by_place:
        lines = [each | {"extension": [_BY_PLACE]} if each["reference"] in by_place else each for each in lines]
    if lines:
        builder.body["result"] = lines


def _marked_lines(ctx: Assembly) -> tuple[set[str], set[str]]:
    """(lines entered in error, lines that only their place tells apart): looked up once a message."""
    found: tuple[set[str], set[str]] | None = ctx.shared.get("marked lines")
    if found is None:
        places = ctx.shared.get(BY_POSITION, ())
        lines = [other for other in ctx.made if other.type == "Observation"]
        wrong = {line.ref for line in lines if line.body.get("status") == "entered-in-error"}
        found = ctx.shared["marked lines"] = (
            wrong,
            {line.ref for line in lines if line.key in places} if places else set(),
        )
    return found


@finish("observation_line")
def observation_line(ctx: Assembly, builder: Builder) -> None:
    """What OBX-11 says beside the status, the line's identifier, its attachment and further text."""
    body, segment = builder.body, builder.segment
    assert segment is not None  # noqa: S101 - rules run on resources that a segment made
    status = segment.field(11).strip()
    value = _value_name(body)
    written = _with_unit(ctx, segment, str(body["valueString"])) if value == "valueString" else None
    if status in _ABSENT:
        if value is not None:
            _value_to_note(body, value, written)
        _absent(body, _ABSENT[status])
    elif value is None and "component" not in body:
        if status == "U":
            builder.mode = "update"  # final now; the value is the one that is stored
        elif status in _PENDING:
            _absent(body, "temp-unknown")
        else:
            _absent_by_sender(ctx, builder, segment)
    elif written is not None:
        body.setdefault("note", []).append({"text": written})
    if "valueAttachment" in body:
        attach(ctx, builder)
    if len(segment.fields) > _LONG:
        _far_fields(ctx, builder, segment)
    _identify(ctx, builder, segment)


def _far_fields(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    """What few lines have: the laboratory's address, whether it is a result at all, whose specimen it is."""
    if segment.field(24):
        laboratory_address(ctx, builder, segment)
    if segment.field(29).strip() in QUESTIONS:
        set_aside(ctx, builder)
    if segment.field(33):
        own_specimen(ctx, builder, segment)


def _value_name(body: Json) -> str | None:
    for name in body:
        if name.startswith("value"):
            return name
    return None


def _absent(body: Json, reason: str) -> None:
    body["dataAbsentReason"] = {"coding": [{"system": REASONS, "code": reason}]}


def _absent_by_sender(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    """OBX-32 says why there is no value; a line with neither is left as it is: it may head others."""
    reason = segment.field(32)
    if reason and reason != NULL:
        ctx.field = 32
        found = FUNCTIONS["CWE[CodeableConcept]"].call(reason.split(ctx.rep, 1)[0], ctx, None)
        if found is not None:
            builder.body["dataAbsentReason"] = found
            return
    if segment.field(5) == NULL:
        _absent(builder.body, "unknown")


def _with_unit(ctx: Assembly, segment: Segment, written: str) -> str | None:
    """A number sent as text (`<5`, `12,5`) with its unit, which valueString has no place for."""
    raw = segment.field(6).split(ctx.rep, 1)[0]
    if not raw or raw == NULL or "\n" in written or not any(each.isdigit() for each in written):
        return None
    ctx.field = 6
    unit = FUNCTIONS["CWE[string]"].call(raw, ctx, None)
    if not unit or unit in written:
        return None
    if ctx.trace is not None:
        ctx.trace.rule("observation_line", ctx.builder.ref if ctx.builder else "", "note", segment.place(6))
    return f"{written} {unit}"


def _value_to_note(body: Json, name: str, said: str | None) -> None:
    """X and N with a value: the line has none, and what was written must not get lost (obs-6)."""
    written = said or readable(body[name])
    del body[name]
    body.pop("_" + name, None)
    if written:
        body.setdefault("note", []).append({"text": written})


def _identify(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    """Filler order, code and sub-id: what a child names its parent by, also from another message."""
    obr = ctx.near("OBR")
    if obr is None:
        return
    if obr.ordinal > segment.ordinal:
        set_aside(ctx, builder)  # between ORC and OBR: the order came with it
    filler = ctx.shared.get(obr)
    if filler is None:
        parts = keys.components(obr.field(3), ctx)
        filler = ctx.shared[obr] = parts[0] if parts else ""
    code = keys.code(segment.field(3), ctx) if filler else None
    if code is not None:
        number = _line_number(filler, code[1], segment.field(4))
        builder.body.setdefault("identifier", []).append(number)


def _line_number(filler: str, code: str, sub: str) -> Json:
    """The identifier of a line, of raw texts: what no FHIR string holds is left out, for parent and child alike."""
    value = UNIT_SEPARATOR.join((filler, code, sub.strip()))
    if not value.isprintable():
        value = "".join(letter for letter in value if letter >= " ")
    return {"system": OBSERVATION_SYSTEM, "value": value}


# parents and children ------------------------------------------------------------------------------------------------


@finish("parent")
def parent(ctx: Assembly, builder: Builder) -> None:
    """A line of a child report comes from the line its OBR-26 and OBR-29 name: looked up once a report."""
    obr = ctx.near("OBR")
    if obr is None or len(obr.fields) < 27 or not obr.fields[26]:
        return
    known = ("parent", obr.ordinal)
    if known not in ctx.shared:
        ctx.shared[known] = _parent_reference(ctx, obr)
    reference: Json | None = ctx.shared[known]
    if reference is None:
        return
    builder.body.setdefault("derivedFrom", []).append(dict(reference))
    if ctx.trace is not None:
        ctx.trace.rule("parent", builder.ref, "derivedFrom[0]", Place("OBR", obr.nth, 26, 1))
        ctx.trace.rule("parent", builder.ref, "derivedFrom[0]", Place("OBR", obr.nth, 29, 1))


def _parent_reference(ctx: Assembly, obr: Segment) -> Json | None:
    """The parent line: in this message, by its key, else by the identifier that every line carries."""
    ctx.seg, ctx.field = obr, 26
    parts = [each.split(ctx.sub) for each in keys.components(obr.field(26), ctx)]
    if not parts or not parts[0][0]:
        return None
    sub = parts[1][0].strip() if len(parts) > 1 else ""
    found = _parent_in_message(ctx, obr, parts[0], sub) or _parent_by_key(ctx, obr, parts[0], sub)
    if found is not None:
        return {"reference": found}
    filler = _parent_order(ctx, obr, 2)
    if filler is None:
        return None
    return {"type": "Observation", "identifier": _line_number(filler[1], parts[0][0].strip(), sub)}


def _parent_order(ctx: Any, obr: Segment, component: int) -> keys.Key | None:
    """OBR-29.1 the placer's, .2 the filler's number of the parent order, each an EI in subcomponents."""
    parts = keys.components(obr.field(29), ctx)
    if len(parts) < component or not parts[component - 1]:
        return None
    return keys.entity(parts[component - 1].replace(ctx.sub, ctx.comp), ctx)


def _parent_in_message(ctx: Assembly, obr: Segment, code: list[str], sub: str) -> str | None:
    """A line of the OBR of this message that OBR-29 names."""
    wanted = {_parent_order(ctx, obr, 1), _parent_order(ctx, obr, 2)} - {None}
    for other in ctx.made:
        segment = other.segment
        if other.type != "Observation" or segment is None or segment.name != "OBX" or other.group is None:
            continue
        order = other.group.find("OBR")
        if order is None or order is obr or not wanted & {keys.entity(order.field(n), ctx) for n in (2, 3)}:
            continue
        if keys.components(segment.field(3), ctx)[:1] == [code[0].strip()] and segment.field(4).strip() == sub:
            return other.ref
    return None


def _parent_by_key(ctx: Assembly, obr: Segment, code: list[str], sub: str) -> str | None:
    """OBR-50 names the parent's service: then its key is known, wherever it is stored."""
    service, filler = keys.code(obr.field(50), ctx), _parent_order(ctx, obr, 2)
    if service is None or filler is None:
        return None
    system = code[2].strip() if len(code) > 2 else ""
    report = ctx.identities.make("DiagnosticReport", ("filler", *filler, *service))
    key = ("report", report, system, code[0].strip(), sub)
    return f"Observation/{ctx.identities.make('Observation', key)}"


@finish("parent_order")
def parent_order(ctx: Assembly, builder: Builder) -> None:
    """A child order is based on its parent's."""
    obr = builder.segment
    if obr is None or not obr.field(29):
        return
    wanted = [each for each in (_parent_order(ctx, obr, 1), _parent_order(ctx, obr, 2)) if each is not None]
    for named in wanted:
        for other in _orders(ctx).get(named, ()):
            if other is not builder:
                builder.body["basedOn"] = [{"reference": other.ref}]
                return
    for part in keys.components(obr.field(29), ctx)[:2]:  # the placer's number, else the filler's
        if (identifier := ei_identifier(part.replace(ctx.sub, ctx.comp), ctx)) is not None:
            builder.body["basedOn"] = [{"type": "ServiceRequest", "identifier": identifier}]
            return


def _orders(ctx: Assembly) -> dict[keys.Key, list[Builder]]:
    """The orders of the message by their numbers."""
    found: dict[keys.Key, list[Builder]] | None = ctx.shared.get("orders")
    if found is None:
        found = ctx.shared["orders"] = {}
        for other in ctx.made:
            if other.type == "ServiceRequest" and other.segment is not None:
                for number in (2, 3):
                    if (named := keys.entity(other.segment.field(number), ctx)) is not None:
                        found.setdefault(named, []).append(other)
    return found


# components -----------------------------------------------------------------------------------------------------------


@resolver("observation_code")
def observation_code(ctx: Any) -> Json | None:
    """The code of the line, for each component of its repeated value."""
    field = ctx.field
    ctx.field = 3
    found: Json | None = FUNCTIONS["CWE[CodeableConcept]"].call(ctx.seg.field(3).split(ctx.rep, 1)[0], ctx, None)
    ctx.field = field
    return found or {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "unknown"}]}


@finish("split_values")
def split_values(ctx: Assembly, builder: Builder) -> None:
    """`policy.obx5_repeat = "split"`: each repetition is a line of its own."""
    if "component" not in builder.body or ctx.profile.policy["obx5_repeat"] != "split":
        return
    values = builder.body.pop("component")
    shared = {name: value for name, value in builder.body.items() if name != "id"}
    for number, component in enumerate(values):
        value = {name: each for name, each in component.items() if name != "code"}
        if number == 0:
            builder.body.update(value)
            continue
        key = (*builder.key, f"~{number + 1}")
        twin = Builder.made(
            "Observation", ctx.identities.make("Observation", key), builder.mode, builder.segment, builder.group, None
        )
        twin.body = {**shared, "id": twin.id, **value}
        twin.key = key
        ctx.made.append(twin)
        ctx.by_ref[twin.ref] = twin
        report = ctx.made_near("DiagnosticReport")
        if report is not None and "result" in report.body:
            report.body["result"].append({"reference": twin.ref})
