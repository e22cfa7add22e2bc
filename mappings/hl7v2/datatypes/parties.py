"""Who and where: XCN, CN, CNN, NDL, XON, HD as an organization; PL and DLD as locations.

Each is a Reference, and makes the resource it points at through `ctx.make`, keyed by authority and number. A person or
organization without a number is contained, so that no two ever become one by their names.
Source: HL7 v2.9 §2A XCN, XON, PL; v2-to-FHIR guide XCN[Practitioner], XON[Organization], PL[Location].
"""

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.coded import table_coding
from mappings.hl7v2.datatypes.identifiers import authority_in, check_digit, entity, name_of
from mappings.hl7v2.datatypes.names import CNN, XCN, XCN_DETAILS, NamePlan, human_name, name_details, name_use
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import at, part, scoped
from mappings.terminology.concept_map import ConceptMap
from mappings.terminology.systems import is_oid

_PHYSICAL = "http://terminology.hl7.org/CodeSystem/location-physical-type"


# People -------------------------------------------------------------------------------------------------------------


def person(parts: list[str], plan: NamePlan, hd: int, kind_n: int, ctx: Context) -> tuple[Json, str | None]:
    """(body, authority) of a Practitioner: number, name, and whose number it is."""
    number, kind = part(parts, 1, ctx), part(parts, kind_n, ctx) if kind_n else None
    system = authority_in(at(parts, hd), ctx.sub, ctx) if hd else None
    body: Json = {}
    if number is not None:
        system = system or scoped(ctx, "practitioner", kind or "unspecified")
        body["identifier"] = [_numbered(number, system, kind, at(parts, hd) if hd else "", ctx)]
        if plan is XCN and (digits := check_digit(["", at(parts, 11), at(parts, 12)], ctx)):
            body["identifier"][0]["extension"] = digits
    if name := human_name(parts, plan, ctx):
        if plan.tail and (name_type := part(parts, plan.tail, ctx)):
            name_use(name, name_type, ctx)
        if plan is XCN and len(parts) > 14:
            name_details(name, parts, XCN_DETAILS, ctx)
        body["name"] = [name]
    return body, system


def _numbered(number: str, system: str, kind: str | None, authority: str, ctx: Context) -> Json:
    """An Identifier; an authority's name is shown where its universal id took its place in the system."""
    found: Json = {"type": {"coding": [table_coding("0203", kind, ctx)]}} if kind else {}
    found |= {"system": system, "value": number}
    pieces = authority.split(ctx.sub) if ctx.sub in authority else []
    if (name := part(pieces, 1, ctx)) and part(pieces, 2, ctx) and not is_oid(name):
        found["assigner"] = {"display": name}
    return found


def practitioner(body: Json, system: str | None, ctx: Context) -> Json | None:
    """The reference to a person, made where there is a number, contained where there is a name only."""
    if not body:
        return None
    shown = values.name_line(body["name"][0]) if "name" in body else None
    if "identifier" not in body:
        return values.reference(ctx.contained({"resourceType": "Practitioner", **body}), shown)
    key = (system or "", body["identifier"][0]["value"])
    return values.reference(ctx.make("Practitioner", key, body), shown or body["identifier"][0]["value"])


@datatype(
    "XCN[Reference(Practitioner)]", "PPN[Reference(Practitioner)]",
    gives="Reference", reads={1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21},
)  # fmt: skip
def xcn_practitioner(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    body, system = person(raw.split(ctx.comp), XCN, 9, 13, ctx)
    return practitioner(body, system, ctx)


@datatype(
    "XCN[Practitioner]", "PPN[Practitioner]",
    gives="Practitioner", reads={1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21},
)  # fmt: skip
def xcn_body(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The resource itself, for a row whose map makes Practitioners (STF, PRA)."""
    body, _ = person(raw.split(ctx.comp), XCN, 9, 13, ctx)
    return body or None


@datatype("CN[Reference(Practitioner)]", gives="Reference", reads={1, 2, 3, 4, 5, 6, 7, 9})
def cn_practitioner(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """CN is XCN before 2.3."""
    body, system = person(raw.split(ctx.comp), XCN, 9, 0, ctx)
    return practitioner(body, system, ctx)


def _cnn(raw: str, ctx: Context) -> Json | None:
    """CNN in subcomponents: number, name, and an HD spread over the last three."""
    parts = raw.split(ctx.sub)
    spread = ctx.sub.join(parts[8:11])
    joined = [*parts[:8], *([""] * (8 - len(parts[:8]))), spread]
    body, system = person(joined, CNN, 9, 0, ctx)
    return practitioner(body, system, ctx)


@datatype("CNN[Reference(Practitioner)]", gives="Reference")
def cnn_practitioner(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return _cnn(raw.replace(ctx.comp, ctx.sub), ctx)


@datatype("NDL[Reference(Practitioner)]", gives="Reference", reads={1})
def ndl_practitioner(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """NDL.1 is the person (OBR-32); times and places of the rest have no slot in a reference."""
    return _cnn(at(raw.split(ctx.comp), 1), ctx)


@datatype("XCN[string]", "CN[string]", "PPN[string]", gives="string", reads={1, 2, 3, 4, 5, 6, 7})
def xcn_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    parts = raw.split(ctx.comp)
    return values.name_line(human_name(parts, XCN, ctx)) or part(parts, 1, ctx)


@datatype("XCN[HumanName]", gives="HumanName", reads={2, 3, 4, 5, 6, 7, 10})
def xcn_name(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    parts = raw.split(ctx.comp)
    name = human_name(parts, XCN, ctx)
    if name and (kind := part(parts, XCN.tail, ctx)):
        name_use(name, kind, ctx)
    return name


@datatype("XCN[Identifier]", gives="Identifier", reads={1, 9, 11, 12, 13})
def xcn_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    body, _ = person(raw.split(ctx.comp), XCN, 9, 13, ctx)
    found: Json | None = body["identifier"][0] if "identifier" in body else None
    return found


# Organizations ------------------------------------------------------------------------------------------------------


@datatype("XON[Reference(Organization)]", gives="Reference", reads={1, 3, 4, 5, 6, 7, 10})
def xon_organization(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """XON: .10 or .3 is the number, .6 who gave it out, .1 the name."""
    parts = raw.split(ctx.comp)
    name, number, kind = part(parts, 1, ctx), part(parts, 10, ctx) or part(parts, 3, ctx), part(parts, 7, ctx)
    if name is None and number is None:
        return None
    body: Json = {"name": name} if name else {}
    if number is None:
        return values.reference(ctx.contained({"resourceType": "Organization", **body}), name)
    system = authority_in(at(parts, 6), ctx.sub, ctx) or scoped(ctx, "organization", kind or "unspecified")
    body["identifier"] = [_numbered(number, system, kind, at(parts, 6), ctx)]
    if digits := check_digit(["", at(parts, 4), at(parts, 5)], ctx):
        body["identifier"][0]["extension"] = digits
    return values.reference(ctx.make("Organization", (system, number), body), name or number)


@datatype("XON[Identifier]", gives="Identifier", reads={3, 6, 7, 10})
def xon_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The number alone, as the organization it refers to has it."""
    parts = raw.split(ctx.comp)
    number, kind = part(parts, 10, ctx) or part(parts, 3, ctx), part(parts, 7, ctx)
    if number is None:
        return None
    system = authority_in(at(parts, 6), ctx.sub, ctx) or scoped(ctx, "organization", kind or "unspecified")
    found: Json = {"type": {"coding": [table_coding("0203", kind, ctx)]}} if kind else {}
    return {**found, "system": system, "value": number}


@datatype("XON[string]", gives="string", reads={1, 3, 10})
def xon_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    parts = raw.split(ctx.comp)
    return part(parts, 1, ctx) or part(parts, 10, ctx) or part(parts, 3, ctx)


@datatype("HD[Reference(Organization)]", gives="Reference", reads={1, 2, 3})
def hd_organization(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A facility known by its HD alone."""
    system = authority_in(raw, ctx.comp, ctx)
    name = name_of(raw, ctx.comp, ctx)
    if system is None or name is None:
        return None
    body: Json = {"identifier": [{"system": "urn:ietf:rfc:3986", "value": system}]}
    if not is_oid(name):
        body["name"] = name
    return values.reference(ctx.make("Organization", (system,), body), name)


# Places -------------------------------------------------------------------------------------------------------------

# Component, physical type of FHIR's code system, from the outside in
_LEVELS = ((4, "si"), (7, "bu"), (8, "lvl"), (1, "wa"), (2, "ro"), (3, "bd"))
_LEVEL_NAMES = {"si": "Site", "bu": "Building", "lvl": "Level", "wa": "Ward", "ro": "Room", "bd": "Bed"}


@datatype("PL[Reference(Location)]", gives="Reference", reads={1, 2, 3, 4, 7, 8, 9, 10, 11})
def pl_location(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """PL: each level a Location, part of the one around it; the reference is to the innermost."""
    parts = raw.split(ctx.comp)
    key: tuple[str, ...] = ()
    outer: Json | None = None
    named = levels(parts, ctx)
    for component, level, name in named:
        key = (*key, level, name)
        innermost = component == named[-1][0]
        outer = _location(parts, component, level, key, outer, place_number(parts, ctx) if innermost else None, ctx)
    if outer is None and (described := part(parts, 9, ctx)):
        return {"display": described}
    if outer is not None and (described := part(parts, 9, ctx)):
        outer = {**outer, "display": described}
    return outer


def levels(parts: list[str], ctx: Context) -> list[tuple[int, str, str]]:
    """(component, physical type, name) of each level that a PL names, from the outside in."""
    return [(n, level, name) for n, level in _LEVELS if (name := _level(at(parts, n), ctx)) is not None]


def physical_type(level: str) -> Json:
    return {"coding": [{"system": _PHYSICAL, "code": level, "display": _LEVEL_NAMES[level]}]}


def place_number(parts: list[str], ctx: Context) -> Json | None:
    """PL.10, an EI in subcomponents; PL.11 gives it out where the EI names no one."""
    found = at(parts, 10)
    if not found:
        return None
    pieces = [*found.split(ctx.sub), "", "", ""]
    if not any(pieces[1:4]):
        pieces = [pieces[0], *at(parts, 11).split(ctx.sub)]
    return entity(pieces[:4], ctx)


def _level(raw: str, ctx: Context) -> str | None:
    """The name of a level: HDs (facility, and from 2.6 on all of them) by their first part that is valued."""
    return name_of(raw, ctx.sub, ctx) if raw else None


def _location(
    parts: list[str],
    component: int,
    level: str,
    key: tuple[str, ...],
    outer: Json | None,
    number: Json | None,
    ctx: Context,
) -> Json | None:
    body: Json = {
        "name": key[-1],
        "mode": "instance",
        "physicalType": physical_type(level),
    }
    raw = at(parts, component)
    if ctx.sub in raw and (system := authority_in(raw, ctx.sub, ctx)):
        body["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": system}]
    if number is not None:
        body.setdefault("identifier", []).append(number)
    if outer is not None and "reference" in outer:
        body["partOf"] = {"reference": outer["reference"]}
    return values.reference(ctx.make("Location", key, body), key[-1])


@datatype("PL[string]", gives="string")
def pl_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    parts = raw.split(ctx.comp)
    names = [_level(at(parts, component), ctx) for component, _ in _LEVELS]
    return part(parts, 9, ctx) or " ".join(name for name in names if name) or None


@datatype("DLD[Reference(Location)]", gives="Reference", reads={1})
def dld_location(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """DLD.1: where to, a code of table 0113 that each site fills: the kind of place, for it names none."""
    pieces = at(raw.split(ctx.comp), 1).split(ctx.sub)
    code = part(pieces, 1, ctx)
    kind = {"type": [{"coding": [table_coding("0113", code, ctx)]}]} if code else {}
    return _named_location(at(raw.split(ctx.comp), 1), "discharge", ctx, kind)


@datatype("IS[Reference(Location)]", "ST[Reference(Location)]", gives="Reference", reads={1})
def is_location(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return _named_location(raw.split(ctx.comp, 1)[0], f"{ctx.seg.name}-{ctx.field}", ctx)


def _named_location(raw: str, kind: str, ctx: Context, more: Json | None = None) -> Json | None:
    pieces = raw.split(ctx.sub)
    name = part(pieces, 1, ctx)
    if name is None:
        return None
    shown = part(pieces, 2, ctx) or name
    return values.reference(
        ctx.make("Location", (kind, name), {"name": shown, "mode": "instance", **(more or {})}), shown
    )
