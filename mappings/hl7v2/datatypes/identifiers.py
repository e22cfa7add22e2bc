"""Identifiers and authorities: HD, CX, EI, EIP, PLN, DLN, ST; and the small header types MSG, PT, VID.

A number is text (007 is not 7) and means something only with its authority: an OID or UUID before a name, the profile's
URI for a name, and for a name no one registered a URI of this feed, since "MRN" is no system. A number without any
authority gets the feed's URI as well, so that two feeds' bare numbers never meet.
Source: HL7 v2.9 §2A.1; v2-to-FHIR guide CX[Identifier], EI[Identifier], HD[uri] (which puts the name before the OID).
"""

from typing import Any

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.coded import table_coding
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import at, first, part, scoped, tidy_code
from mappings.hl7v2.datatypes.timing import period
from mappings.terminology.concept_map import ConceptMap
from mappings.terminology.systems import is_absolute, is_oid, is_uuid, issuer_uri

_DIGIT_URL = values.STRUCTURE + "identifier-checkDigit"


def authority_in(raw: str, separator: str, ctx: Context) -> str | None:
    """The URI of a raw HD, its parts apart by `separator` (components of a field, subcomponents inside CX.4)."""
    if not raw or raw == '""':
        return None
    key = ("hd", raw, separator)
    cached: str | None = ctx.cache.get(key)
    if cached is None:
        before = len(ctx.issues)
        parts = raw.split(separator)
        cached = authority(part(parts, 1, ctx), part(parts, 2, ctx), part(parts, 3, ctx), ctx)
        if cached is not None and len(ctx.issues) == before:
            ctx.cache[key] = cached
    return cached


def authority(name: str | None, universal: str | None, kind: str | None, ctx: Context) -> str | None:
    """The URI of an authority: the profile's entry for either part, the universal id, the feed's own for a name. An
    absent part is None or "".
    """
    known = ctx.profile.authorities
    for entry in (universal, name):
        if entry and (found := known.get(entry)) is not None:
            return str(found)
    if universal:
        return universal_uri(universal, (kind or "").upper()) or scoped(ctx, "authority", universal)
    if not name:
        return None
    if is_oid(name):  # senders without HD.2 put the OID where the name goes
        return issuer_uri(name)
    return scoped(ctx, "authority", name)


def universal_uri(universal: str, kind: str) -> str | None:
    """A universal id by its looks first: senders mislabel types, but an OID cannot be taken for anything else."""
    bare = universal.removeprefix("urn:oid:").removeprefix("urn:uuid:")
    if is_oid(bare):
        return issuer_uri(bare)
    if is_uuid(bare):
        return f"urn:uuid:{bare.lower()}"
    if is_absolute(universal):
        return universal
    if kind in ("DNS", "") and _is_domain(universal):
        return f"urn:dns:{universal.lower()}"
    return None


def _is_domain(found: str) -> bool:
    labels = found.split(".")
    return len(labels) > 1 and all(label.replace("-", "").isalnum() and label.isascii() for label in labels)


def name_of(raw: str, separator: str, ctx: Context) -> str | None:
    """The name of an authority, for display."""
    parts = raw.split(separator)
    return part(parts, 1, ctx) or part(parts, 2, ctx)


@datatype("HD[uri]", "HD[url]", gives="uri", reads={1, 2, 3})
def hd_uri(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    return authority_in(raw, ctx.comp, ctx)


@datatype("HD[string]", gives="string", reads={1, 2})
def hd_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    return name_of(raw, ctx.comp, ctx)


@datatype("HD[Identifier]", gives="Identifier", reads={1, 2, 3})
def hd_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The authority as a thing that is identified: its URI, or its name in this feed."""
    parts = raw.split(ctx.comp)
    universal = part(parts, 2, ctx)
    if universal and (uri := universal_uri(universal, (part(parts, 3, ctx) or "").upper())):
        return {"system": "urn:ietf:rfc:3986", "value": uri}
    name = part(parts, 1, ctx) or universal
    return {"system": scoped(ctx, "authority", "names"), "value": name} if name else None


# CX and EI ----------------------------------------------------------------------------------------------------------


@datatype("CX[Identifier]", gives="Identifier", reads={1, 2, 3, 4, 5, 6, 7, 8})
def cx_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A number, and who gave it out. CX-9 and CX-10 are not mapped: CX-4 says it better."""
    parts = raw.split(ctx.comp)
    value = part(parts, 1, ctx)
    if value is None:
        return None
    found: Json = {}
    kind = part(parts, 5, ctx)
    if kind is not None:
        found["type"] = {"coding": [table_coding("0203", kind, ctx)]}
    found["system"] = authority_in(at(parts, 4), ctx.sub, ctx) or scoped(ctx, "identifier", kind or "unspecified")
    found["value"] = value
    if len(parts) > 1 and (digits := check_digit(parts, ctx)):
        found["extension"] = digits
    if len(parts) > 6 and (valid := period(at(parts, 7), at(parts, 8), ctx)):
        found["period"] = valid
    if assigner := _assigner(parts, ctx):
        found["assigner"] = assigner
    return found


def check_digit(parts: list[str], ctx: Context) -> list[Json]:
    """CX.2 and CX.3: the digit, and the scheme that made it, as written."""
    digit, scheme = part(parts, 2, ctx), part(parts, 3, ctx)
    if digit is None:
        return []
    return [values.extension(_DIGIT_URL, "String", f"{digit} {scheme}" if scheme else digit)]


def _assigner(parts: list[str], ctx: Context) -> Json | None:
    """A display only, for an authority is not an Organization: the facility of CX.6, else the authority's name, which
    stands beside the facility as what it is known by."""
    facility, assigned = at(parts, 6), at(parts, 4)
    name = part(assigned.split(ctx.sub), 1, ctx) if assigned else None
    if facility and (shown := name_of(facility, ctx.sub, ctx)):
        return {"display": shown, "identifier": {"value": name}} if name and name != shown else {"display": shown}
    return {"display": name} if name else None


@datatype("CX[string]", "EI[string]", gives="string", reads={1})
def cx_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    return first(raw, ctx)


def entity(parts: list[str], ctx: Context) -> Json | None:
    """EI: the number, then an HD spread over the next three parts."""
    value = part(parts, 1, ctx)
    if value is None:
        return None
    spread = ctx.comp.join(parts[1:4])
    system = authority_in(spread, ctx.comp, ctx) if spread.strip(ctx.comp) else None
    return {"system": system or scoped(ctx, "identifier", "unspecified"), "value": value}


@datatype(
    "EI[Identifier]", "EI[Identifier-System]", "EI[Identifier-Extension]", gives="Identifier", reads={1, 2, 3, 4}
)  # fmt: skip
def ei_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return entity(raw.split(ctx.comp), ctx)


def typed(found: Json | None, code: str) -> Json | None:
    """With a type of table 0203 that the field implies (PLAC, FILL)."""
    if found is not None:
        found["type"] = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}
    return found


@datatype("EI[Identifier-Placer]", gives="Identifier", reads={1, 2, 3, 4})
def ei_placer(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return typed(entity(raw.split(ctx.comp), ctx), "PLAC")


@datatype("EI[Identifier-Filler]", gives="Identifier", reads={1, 2, 3, 4})
def ei_filler(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return typed(entity(raw.split(ctx.comp), ctx), "FILL")


@datatype("EIP[Identifier-PlacerAssignedIdentifier]", gives="Identifier", reads={1})
def eip_placer(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """EIP.1, an EI in subcomponents."""
    return typed(entity(at(raw.split(ctx.comp), 1).split(ctx.sub), ctx), "PLAC")


@datatype("EIP[Identifier-FillerAssignedIdentifier]", gives="Identifier", reads={2})
def eip_filler(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return typed(entity(at(raw.split(ctx.comp), 2).split(ctx.sub), ctx), "FILL")


@datatype("EI[Identifier-PlacerGroup]", gives="Identifier", reads={1, 2, 3, 4})
def ei_placer_group(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The placer's number of a group of orders: an EI, from 2.9 on the first part of an EIP."""
    parts = raw.split(ctx.comp)
    return typed(entity(at(parts, 1).split(ctx.sub) if _is_pair(parts, ctx) else parts, ctx), "PGN")


@datatype("EI[Identifier-FillerGroup]", gives="Identifier", reads={1, 2, 3, 4})
def ei_filler_group(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The filler's number of a group of orders: an EI of its own."""
    return typed(entity(raw.split(ctx.comp), ctx), "FGN")


def _is_pair(parts: list[str], ctx: Context) -> bool:
    """Whether a value is an EIP: its components have parts, those of an EI have none."""
    return any(ctx.sub in part for part in parts[:2])


@datatype("PLN[Identifier]", gives="Identifier", reads={1, 2, 3, 4})
def pln_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """PLN: number, type (0338), state or other qualifier, expiration."""
    parts = raw.split(ctx.comp)
    value, kind, place = part(parts, 1, ctx), part(parts, 2, ctx), part(parts, 3, ctx)
    if value is None:
        return None
    return values.identifier(
        value,
        scoped(ctx, "license", "-".join(name for name in (kind, place) if name) or "unspecified"),
        type_={"coding": [table_coding("0338", kind, ctx)]} if kind else None,
        period_=period("", at(parts, 4), ctx),
        assigner=place,
    )


@datatype("DLN[Identifier]", gives="Identifier", reads={1, 2, 3})
def dln_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """DLN: a driver's license, its issuer as it was written, its expiration."""
    parts = raw.split(ctx.comp)
    value, issuer = part(parts, 1, ctx), part(parts, 2, ctx)
    if value is None:
        return None
    return values.identifier(
        value,
        scoped(ctx, "drivers-license", issuer or "unspecified"),
        type_={"coding": [table_coding("0203", "DL", ctx)]},
        period_=period("", at(parts, 3), ctx),
        assigner=issuer,
    )


@datatype("ST[Identifier]", "IS[Identifier]", "ID[Identifier]", "NM[Identifier]", gives="Identifier")
def st_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A bare number: the row gives its system, else the field of this feed does."""
    found = first(raw, ctx)
    if found is None:
        return None
    return {"system": scoped(ctx, "field", f"{ctx.seg.name}-{ctx.field}"), "value": found}


# The header's own ---------------------------------------------------------------------------------------------------


@datatype("MSG[Coding]", gives="Coding", reads={1, 2, 3})
def msg_coding(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The trigger event, of table 0003."""
    event = _component_code(raw, 2, ctx)
    return table_coding("0003", event.upper(), ctx) if event else None


def _component_code(raw: str, number: int, ctx: Context) -> str | None:
    """A component as a code, which holds single blanks at most."""
    found = part(raw.split(ctx.comp), number, ctx)
    return tidy_code(found, ctx) if found else None


@datatype("MSG[code]", gives="code", reads={2})
def msg_code(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    return _component_code(raw, 2, ctx)


@datatype("PT[code]", "VID[code]", "VID[string]", gives="code", reads={1})
def pt_code(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    return _component_code(raw, 1, ctx)


@datatype("PT[Coding]", gives="Coding", reads={1})
def pt_coding(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """MSH-11 as a tag: table 0103."""
    found = _component_code(raw, 1, ctx)
    return table_coding("0103", found, ctx) if found else None
