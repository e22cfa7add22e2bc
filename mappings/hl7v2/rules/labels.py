"""Security labels: each field by its own table (`labels.csv`), and closed where a code is in none.

A protected patient (PD1-12, ARV at PID) labels all that the message says of her, a protected stay (PV1-16, PV2-22, ARV
at PV1) what hangs on the stay, an order (ORC-28) its reports and results, a problem (PRB-25, the site's own table,
read as 0177) all that stands below it. Consent decisions rest on these, so an unknown or local code means restricted
and keeps its own coding. `merge` never lowers a label because it is absent.

Source: design chapter HL7 v2 §10.
"""

import csv
from functools import cache
from pathlib import Path

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.message import Segment
from mappings.hl7v2.pairing import ORC_BEHIND
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, after
from mappings.hl7v2.rules.patients import patient_group
from mappings.hl7v2.structure import ROOT, Group
from mappings.issues import issue
from mappings.rows.runtime import NULL

_FILE = Path(__file__).parent.parent / "labels.csv"
_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
CONFIDENTIALITY = _SYSTEM + "v3-Confidentiality"
RESTRICTED: Json = {"system": CONFIDENTIALITY, "code": "R"}
ORDER_OF = ("U", "L", "M", "N", "R", "V")  # v3-Confidentiality, weakest first
SHARED = frozenset({"Practitioner", "PractitionerRole", "Organization", "Location", "Device", "MessageHeader"})
TAKES_AWAY, CHANGES_NOTHING = "D", "X"  # ARV-2, table 0206


@cache
def _table() -> dict[tuple[str, str], Json | None]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {(row["table"], row["code"]): _coding(row["label"]) for row in csv.DictReader(file)}


def _coding(label: str) -> Json | None:
    system, _, code = label.partition("#")
    return {"system": _SYSTEM + system, "code": code} if label else None


def labels(ctx: Assembly, segment: Segment, number: int, table: str) -> tuple[list[Json], bool]:
    """(labels of a field, whether it says aloud that there are none)."""
    found: list[Json] = []
    said_none = False
    raw = segment.field(number)
    if raw == NULL:
        return [], True
    for index, repetition in enumerate(raw.split(ctx.rep) if raw else ()):
        code = repetition.split(ctx.comp, 1)[0].strip()
        if not code and not repetition.strip(ctx.comp + " "):
            continue
        place = Place(segment.name, segment.nth, number, index + 1)
        if (table, code) in _table():
            label = _table()[table, code]
            said_none = said_none or label is None
            found += [label] if label is not None else []
        else:
            found += [RESTRICTED, *_original(ctx, segment, number, repetition)]
            ctx.issues.append(issue("label-unknown", place, row="@labels"))
        if ctx.trace is not None:
            ctx.trace.rule("labels", "", "meta.security", place)
    return found, said_none and not found


def _original(ctx: Assembly, segment: Segment, number: int, raw: str) -> list[Json]:
    """The sender's own code beside the label that closes."""
    ctx.seg, ctx.field = segment, number
    coding = FUNCTIONS["CWE[Coding]"].call(raw, ctx, None)
    return [coding] if isinstance(coding, dict) and "code" in coding else []


@after("labels")
def apply(ctx: Assembly) -> None:
    """Every labelled segment, to what it covers."""
    for group in ctx.groups:
        for segment in group.segments:
            if segment.name == "PD1" and segment.field(12):
                _cover(ctx, _of_patient(ctx, group), *labels(ctx, segment, 12, "0136"))
            elif segment.name == "PV1" and segment.field(16):
                _cover(ctx, _of_encounter(ctx, group), *labels(ctx, segment, 16, "0099"))
            elif segment.name == "PV2" and segment.field(22):
                _cover(ctx, _of_encounter(ctx, group), *labels(ctx, segment, 22, "0136"))
            elif segment.name == "ORC" and segment.field(28):
                _cover(ctx, _of_order(ctx, group), *labels(ctx, segment, 28, "0177"))
            elif segment.name == "PRB" and segment.field(25):
                _cover(ctx, _below(ctx, [group]), *labels(ctx, segment, 25, "0177"))
            elif segment.name == "TXA" and segment.field(18):
                _cover(ctx, _below(ctx, [group]), *labels(ctx, segment, 18, "0272"))
            elif segment.name == "ARV":
                _restriction(ctx, group, segment)


def _restriction(ctx: Assembly, group: Group, segment: Segment) -> None:
    """ARV covers the patient, or the stay where it stands behind PV1."""
    action = segment.field(2).split(ctx.comp, 1)[0].strip()
    if ctx.trace is not None and action:
        ctx.trace.rule("labels", "", "meta.security", Place("ARV", segment.nth, 2, 1))
    if action == CHANGES_NOTHING:
        return
    covered = _of_encounter(ctx, group) if group.name == "VISIT" else _of_patient(ctx, group)
    found, none = labels(ctx, segment, 3, "0717")
    if action == TAKES_AWAY:
        found, none = [], True
    _cover(ctx, covered, found, none)


def _of_patient(ctx: Assembly, group: Group) -> list[Builder]:
    mine = patient_group(group)
    around = _around(mine)
    return [
        b
        for b in ctx.made
        if b.type not in SHARED
        and b.group is not None
        and (patient_group(b.group) is mine or (around and id(b.group) in around and patient_group(b.group) is None))
    ]


def _around(mine: Group | None) -> set[int]:
    """The groups of what several patients share, an appointment and its services: each patient's label covers it."""
    outer = mine.parent if mine is not None else None
    return {id(each) for each in outer.walk()} if outer is not None and outer.name != ROOT else set()


def _of_encounter(ctx: Assembly, group: Group) -> list[Builder]:
    ctx.group = group
    stay = ctx.made_near("Encounter")
    if stay is None:
        return []
    mine = {"reference": stay.ref}
    return [b for b in ctx.made if b is stay or b.body.get("encounter") == mine or _in_context(b.body, mine)]


def _in_context(body: Json, mine: Json) -> bool:
    """R4 has a stay as the context of a dispense, and in the context of a document."""
    context = body.get("context")
    return context == mine or (isinstance(context, dict) and mine in context.get("encounter", ()))


def _of_order(ctx: Assembly, group: Group) -> list[Builder]:
    """The order's group, and those of further OBRs that share its ORC."""
    groups = [group]
    if group.parent is not None and ORC_BEHIND not in ctx.wiring.family.pairing:
        siblings = group.parent.groups
        for other in siblings[siblings.index(group) + 1 :]:
            if any(segment.name == "ORC" for segment in other.segments):
                break
            groups.append(other)
    return _below(ctx, groups)


def _below(ctx: Assembly, groups: list[Group]) -> list[Builder]:
    inside = {id(each) for top in groups for each in top.walk()}
    return [b for b in ctx.made if b.type not in SHARED and id(b.group) in inside]


def _cover(ctx: Assembly, builders: list[Builder], found: list[Json], none: bool) -> None:
    for builder in builders:
        if none:
            builder.clear.append("meta.security")
        for label in found:
            add_label(builder.body, label)


def add_label(body: Json, label: Json) -> None:
    """Adds a label; of two confidentialities the stricter stands."""
    security: list[Json] = body.setdefault("meta", {}).setdefault("security", [])
    same = [s for s in security if s.get("system") == label.get("system") and s.get("code") == label.get("code")]
    if same:
        return
    if label.get("system") == CONFIDENTIALITY:
        held = [s for s in security if s.get("system") == CONFIDENTIALITY]
        if held:
            if strictness(label) > strictness(held[0]):
                security[security.index(held[0])] = dict(label)
            return
    security.append(dict(label))


def strictness(label: Json) -> int:
    """The rank of a confidentiality; what is not in the scale is as strict as can be."""
    code = label.get("code", "")
    return ORDER_OF.index(code) if code in ORDER_OF else len(ORDER_OF)
