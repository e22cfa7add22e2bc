"""Where to find someone: XAD, AD, SAD, XTN, TN.

An address keeps its country as written. A telephone is what the machine can dial if the sender gave that, else its
parts; what looks like a mail address or a URL is one, whatever XTN.3 says.
Source: HL7 v2.9 §2A XAD, XTN, tables 0190, 0201, 0202; FHIR R4 Address, ContactPoint and their extensions.
"""

from typing import Any

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import at, part, table_system, text
from mappings.hl7v2.datatypes.timing import period
from mappings.terminology.concept_map import ConceptMap, load

_PARTS = (
    (5, values.STRUCTURE + "contactpoint-country"),
    (6, values.STRUCTURE + "contactpoint-area"),
    (7, values.STRUCTURE + "contactpoint-local"),
    (8, values.STRUCTURE + "contactpoint-extension"),
)
_FURTHER_LINES = (2, 8, 19)  # other designation, other geographic designation, addressee


# Addresses ----------------------------------------------------------------------------------------------------------


@datatype("XAD[Address]", "AD[Address]", gives="Address", reads={1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 19})
def xad_address(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    parts = raw.split(ctx.comp)
    found: Json = {}
    lines = _street(at(parts, 1), ctx)
    for n in _FURTHER_LINES:
        if more := part(parts, n, ctx):
            lines.append(more)
    if lines:
        found["line"] = lines
    for name, n in (("city", 3), ("state", 4), ("postalCode", 5), ("country", 6)):
        if value := part(parts, n, ctx):
            found[name] = value
    if len(parts) > 8:
        if district := _coded_text(at(parts, 9), ctx):
            found["district"] = district
        if tract := _coded_text(at(parts, 10), ctx):
            values.census_tract(found, tract)
    if found and (kind := part(parts, 7, ctx)):
        address_use(found, kind, ctx)
    if found and len(parts) > 11:
        _valid(found, parts, ctx)
    return found or None


def _street(raw: str, ctx: Context) -> list[str]:
    """SAD: the address line, else street and number; the name of a dwelling is a line of its own."""
    if not raw:
        return []
    if ctx.sub not in raw:
        return [line] if (line := text(raw, ctx)) else []
    pieces = raw.split(ctx.sub)
    whole, street, number = (part(pieces, n, ctx) for n in (1, 2, 3))
    extra = f"{street} {number}" if street and number else street or number
    if whole and extra and all(piece in whole for piece in (street, number) if piece):
        extra = None  # many senders give the line and its parts again
    return [line for line in (whole, extra) if line]


def _coded_text(raw: str, ctx: Context) -> str | None:
    """County and census tract are a code in old versions, a CWE in subcomponents in new ones."""
    pieces = raw.split(ctx.sub)
    return part(pieces, 2, ctx) or part(pieces, 1, ctx)


def address_use(found: Json, kind: str, ctx: Context) -> None:
    """Table 0190 says use and type in one code; a code FHIR has neither for stays beside."""
    use = load("v2-0190.address-use").concepts.get(kind)
    type_ = load("v2-0190.address-type").concepts.get(kind)
    if use:
        found["use"] = use.code
    if type_:
        found["type"] = type_.code
    if not use and not type_:
        coding = {"system": table_system("0190", kind, ctx), "code": kind}
        found.setdefault("extension", []).append(values.extension(values.SOURCE_CODE, "Coding", coding))


def _valid(found: Json, parts: list[str], ctx: Context) -> None:
    """The range of .12 is older than the two dates of .13 and .14, which win."""
    start, end = at(parts, 13), at(parts, 14)
    if not start and not end:
        start, _, end = at(parts, 12).partition(ctx.sub)
    if valid := period(start, end, ctx):
        found["period"] = valid


@datatype("SAD[Address]", gives="Address", reads={1, 2, 3})
def sad_address(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    lines = _street(raw.replace(ctx.comp, ctx.sub), ctx)
    return {"line": lines} if lines else None


@datatype("XAD[string]", "AD[string]", gives="string", reads={1, 2, 3, 4, 5, 6})
def xad_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    """A place as one line: the birth place is a text."""
    parts = raw.split(ctx.comp)
    pieces = [*_street(at(parts, 1), ctx), *(part(parts, n, ctx) for n in range(2, 7))]
    return ", ".join(piece for piece in pieces if piece) or None


# Telecommunication --------------------------------------------------------------------------------------------------


@datatype("XTN[ContactPoint]", "TN[ContactPoint]", gives="ContactPoint", reads={1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 18})
def xtn_contact(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    if ctx.comp not in raw:
        value = text(raw, ctx)
        return None if value is None else {"system": values.contact_system(value) or "phone", "value": value}
    parts = raw.split(ctx.comp)
    value, kind = _value(parts, ctx), part(parts, 3, ctx) or ""
    if value is None:
        return None
    found: Json = {"system": values.contact_system(value) or _system(kind), "value": value}
    _use(found, part(parts, 2, ctx), kind, ctx)
    if extensions := [values.extension(url, "String", piece) for n, url in _PARTS if (piece := part(parts, n, ctx))]:
        found["extension"] = [*found.get("extension", ()), *extensions]
    if len(parts) > 12 and (valid := period(at(parts, 13), at(parts, 14), ctx)):
        found["period"] = valid
    if (rank := part(parts, 18, ctx)) is not None:
        _rank(found, rank, ctx)
    return found


def _value(parts: list[str], ctx: Context) -> str | None:
    """The unformatted number, else a communication address, else the parts, else the old formatted number."""
    if value := part(parts, 12, ctx):
        return value
    if (address := part(parts, 4, ctx)) and (values.contact_system(address) or not part(parts, 7, ctx)):
        return address
    country, area, local, extension = (part(parts, n, ctx) for n in (5, 6, 7, 8))
    if local is None:
        return part(parts, 1, ctx)
    pieces = [f"+{country.lstrip('+')}" if country else None, area, local, f"x{extension}" if extension else None]
    return " ".join(piece for piece in pieces if piece)


def _system(kind: str) -> str:
    """Table 0202; equipment FHIR has no word for is `other`, and what is not said is a telephone."""
    if not kind:
        return "phone"
    found = load("v2-0202.contact-point-system").concepts.get(kind)
    return found.code if found else "other"


def _use(found: Json, use: str | None, kind: str, ctx: Context) -> None:
    """Table 0201; a cellular phone is mobile whatever it is used for, and what it is used for stays beside."""
    known = load("v2-0201.contact-point-use").concepts.get(use) if use else None
    if kind == "CP":
        found["use"] = "mobile"
    elif known is not None:
        found["use"] = known.code
    if use and (known is None or known.code != found.get("use")):
        coding = {"system": table_system("0201", use, ctx), "code": use}
        found["extension"] = [values.extension(values.SOURCE_CODE, "Coding", coding)]


def _rank(found: Json, rank: str, ctx: Context) -> None:
    if rank.isascii() and rank.isdigit() and 0 < int(rank[:10]) <= 2_147_483_647:
        found["rank"] = int(rank[:10])
    else:
        ctx.issue("not-a-number", 18)


@datatype("XTN[string]", "TN[string]", gives="string", reads={1, 4, 5, 6, 7, 8, 12})
def xtn_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    return _value(raw.split(ctx.comp), ctx)
