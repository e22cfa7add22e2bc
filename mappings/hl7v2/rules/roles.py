"""Who does what for whom: ROL and PRT as a PractitionerRole where they say more than a person, and as a care team.

- A person alone is a Practitioner; with a specialty, an organization, a place or a phone of the role, a
  PractitionerRole that names the Practitioner. It is keyed by the person, the role and where it is held, for ROL-1
  numbers the entry in the message and not the role.
- A person without a number stays inside the resource that speaks of her: her phone and address go there, too.
- ROL and PRT that follow the patient, but for the primary care provider (PP), and the case manager of IN3 are the
  members of one CareTeam a patient.

Source: the guide's ROL[Encounter-PractitionerRole], ROL[Patient-GeneralPractitioner], ROL[CareTeam],
PRT[PractitionerRole], PRT[CareTeam], IN3[CareTeam]; design chapter HL7 v2 §4.
"""

from dataclasses import dataclass
from typing import Any

from mappings.fhir.values import absent, present, reference
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS, parties
from mappings.hl7v2.datatypes.names import XCN
from mappings.hl7v2.message import Segment
from mappings.hl7v2.rules import Json, after, function
from mappings.hl7v2.rules.patients import leads, patient_group
from mappings.hl7v2.structure import Group
from mappings.hl7v2.wiring import Mode
from mappings.rows.runtime import NIL, NULL
from mappings.terminology.concept_map import ConceptMap

GONE = frozenset({"D", "DE", "DC", "UC", "UN"})  # table 0206 and 0287: deleted, unlinked
PRIMARY_CARE = "PP"
AFTER_PATIENT = frozenset({"PID", "PD1", "ARV", "ROL", "PRT", "NTE"})


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a segment says what of a role."""

    instance: int
    role: int
    specialty: int
    unit: int
    address: int
    phone: int
    location: int
    organization: int
    begin: int
    end: int
    contact: int = 0  # numbers to reach the person by (PLN)


ROL = Fields(1, 3, 9, 10, 11, 12, 13, 14, 5, 6)
PRT = Fields(1, 4, 6, 7, 14, 15, 9, 8, 11, 12, 24)


@function("ROL[Reference(PractitionerRole)]", "Reference", alone=False)
def rol_role(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """ROL-4 in the role that its segment describes."""
    return _role(raw, ctx, ROL)


@function("PRT[Reference(PractitionerRole)]", "Reference", alone=False)
def prt_role(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PRT-5 in the role that its segment describes."""
    return _role(raw, ctx, PRT)


@function("CASE[CodeableConcept]", "CodeableConcept")
def case_manager(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json:
    """What IN3-21 is called: words, for the guide's code is of SNOMED CT."""
    return {"text": "case manager"}


def _role(raw: str, ctx: Any, fields: Fields) -> Json | None:
    body, system = parties.person(raw.split(ctx.comp), XCN, 9, 13, ctx)
    if not body:
        return None
    addresses, phones = _all(ctx, fields.address, "XAD[Address]"), _all(ctx, fields.phone, "XTN[ContactPoint]")
    about: Json = (
        present(
            specialty=_all(ctx, fields.specialty, "CWE[CodeableConcept]"),
            location=_all(ctx, fields.location, "PL[Reference(Location)]"),
            organization=_organization(ctx, fields),
        )
        or {}
    )
    named = "identifier" in body
    if addresses:
        body["address"] = addresses
    if phones and not named:
        body["telecom"] = phones
    person = parties.practitioner(body, system, ctx)
    if person is None or not named or not (about or phones):
        if about:
            ctx.issue("extra-value")
        return person
    for place in (about.get("organization", {}), *about.get("location", ())):
        if place.get("reference", "").startswith("#"):  # contained elsewhere: no reference leads into another resource
            del place["reference"]
            if not place:
                place |= absent("unknown")
    role = _all(ctx, fields.role, "CWE[CodeableConcept]")
    numbers = _all(ctx, fields.instance, "EI[Identifier]") + (
        _all(ctx, fields.contact, "PLN[Identifier]") if fields.contact else []
    )
    held: Json = {"identifier": numbers} if numbers else {}
    held |= {"practitioner": {"reference": person["reference"]}} | ({"code": role} if role else {}) | about
    held |= {"telecom": phones} if phones else {}
    where = about.get("organization", {}).get("reference", "") + "".join(
        each.get("reference", "") for each in about.get("location", ())
    )
    codes = [coding.get("code", "") for each in role for coding in each.get("coding", ())]
    key = ("role", person["reference"], *codes, where)
    return reference(ctx.make("PractitionerRole", key, held), person.get("display"))


def _all(ctx: Any, number: int, kind: str) -> list[Json]:
    """Every repetition of a field of the same segment, read by a datatype function."""
    seg, field = ctx.seg, ctx.field
    raw = seg.field(number)
    if raw in NIL:
        return []
    ctx.field = number
    found = [FUNCTIONS[kind].call(each, ctx, None) for each in raw.split(ctx.rep) if each and each != NULL]
    ctx.field = field
    return [each for each in found if each]


def _organization(ctx: Any, fields: Fields) -> Json | None:
    """For whom: by number a resource, by its name alone only the name; the kind of unit where nothing else is told."""
    raw = ctx.seg.field(fields.organization).split(ctx.rep, 1)[0]
    parts = raw.split(ctx.comp) if raw not in NIL else []
    numbered = any(len(parts) > index and parts[index] for index in (2, 9))
    if numbered:
        found = _all(ctx, fields.organization, "XON[Reference(Organization)]")
        return found[0] if found else None
    name = parties.xon_string(raw, ctx) if parts else None
    units = [] if name else _all(ctx, fields.unit, "CWE[string]")
    shown = name or (units[0] if units else None)
    return {"display": shown} if shown else None


# the care team --------------------------------------------------------------------------------------------------------


@after("care_team", "ROL", "PRT", "IN3")
def care_team(ctx: Assembly) -> None:
    """One team a patient: everyone that ROL and PRT behind her name, and the case manager of her insurance. Who does
    not state demographics makes one where nobody knows any."""
    for patient in [each for each in ctx.made if each.type == "Patient" and each.make is not None]:
        group = patient_group(patient.group)
        members = _members(ctx, group) if group is not None else []
        if members and group is not None:
            _team(ctx, patient, group, members)


def _members(ctx: Assembly, group: Group) -> list[tuple[str, Segment]]:
    """(map, segment) of each member."""
    found = []
    for segment in group.segments:
        if segment.name == "ROL" and _code(ctx, segment, ROL.role) != PRIMARY_CARE:
            if segment.field(4) or segment.field(ROL.organization):
                found.append(("ROL.CareTeam", segment))
        elif segment.name == "PRT" and _code(ctx, segment, PRT.role) != PRIMARY_CARE and _of_patient(ctx, segment):
            if segment.field(5) or segment.field(PRT.organization):
                found.append(("PRT.CareTeam", segment))
    found += [
        ("IN3.CareTeam", segment)
        for each in group.groups
        for segment in each.segments
        if segment.name == "IN3" and segment.field(21)
    ]
    return found


def _code(ctx: Assembly, segment: Segment, number: int) -> str:
    return segment.field(number).split(ctx.rep, 1)[0].split(ctx.comp, 1)[0].strip()


def _of_patient(ctx: Assembly, segment: Segment) -> bool:
    """PRT stays with the segment before it: behind PID it is the patient's."""
    ordinal = segment.ordinal - 1
    while ordinal > 0 and ctx.message.segments[ordinal].name in ("PRT", "NTE"):
        ordinal -= 1
    return ctx.message.segments[ordinal].name in AFTER_PATIENT


def _team(ctx: Assembly, patient: Builder, group: Group, members: list[tuple[str, Segment]]) -> None:
    first = members[0][1]
    mode: Mode = "update" if leads(ctx) else "stub"
    team = Builder.made("CareTeam", ctx.identities.make("CareTeam", ("team", patient.id)), mode, first, group)
    team.body["subject"] = {"reference": patient.ref}
    for name, segment in members:
        held = len(team.body.get("participant", ()))
        ctx.seg, ctx.group = segment, group
        ctx.run(ctx.profile.maps.rows[name], team, segment)
        team.sources.append(segment.ordinal)
        if name != "IN3.CareTeam" and _code(ctx, segment, 2) in GONE:
            _leaves(team, held)
    for each in team.body.get("participant", ()):
        if each.get("member", {}).get("reference", "").startswith("PractitionerRole/"):
            each.pop("onBehalfOf", None)  # the role says for whom (ctm-1)
    ctx.made.append(team)
    ctx.by_ref[team.ref] = team


def _leaves(team: Builder, held: int) -> None:
    """Who is taken out of the team: whom the segment named, from what is stored."""
    for each in team.body.get("participant", [])[held:]:
        if "reference" in each.get("member", {}):
            team.clear.append(f"participant[member={each['member']['reference']}]")
    kept = team.body.get("participant", [])[:held]
    if kept:
        team.body["participant"] = kept
    else:
        team.body.pop("participant", None)
