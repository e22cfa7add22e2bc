"""Names of people: XPN, PPN, PN, FN; and the name part of XCN and its kin.

Source: HL7 v2.9 §2A XPN, FN, table 0200; FHIR R4 HumanName and its extensions for own and partner names. The guide puts
XPN.15 (called by) into a name of its own; so do we, where the element holds a list of names.
"""

from typing import NamedTuple

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import at, part, table_system
from mappings.hl7v2.datatypes.timing import period
from mappings.terminology.concept_map import ConceptMap, load

_OWN_AND_PARTNER = (
    (2, values.STRUCTURE + "humanname-own-prefix"),
    (3, values.STRUCTURE + "humanname-own-name"),
    (4, values.STRUCTURE + "humanname-partner-prefix"),
    (5, values.STRUCTURE + "humanname-partner-name"),
)
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_REPRESENTATIONS = {"A": "ABC", "I": "IDE", "P": "SYL"}  # table 0465 -> the value set of that extension
_ORDER = values.STRUCTURE + "humanname-assembly-order"
_NAME_TYPES = "v2-0200.name-use"


class DetailPlan(NamedTuple):
    """The components of a name's later details; `start` is followed by the end."""

    representation: int
    range: int
    order: int
    start: int
    professional: int


XPN_DETAILS = DetailPlan(8, 10, 11, 12, 14)
XCN_DETAILS = DetailPlan(15, 17, 18, 19, 21)


class NamePlan:
    """Which components of a datatype hold what, and in which order they stand in ours."""

    __slots__ = ("degree", "family", "given", "more", "prefix", "suffix", "tail")

    def __init__(self, family: int, tail: int) -> None:
        self.family, self.given, self.more = family, family + 1, family + 2
        self.suffix, self.prefix, self.degree = family + 3, family + 4, family + 5
        self.tail = tail  # the component of the name type; 0 where there is none


XPN = NamePlan(1, 7)
XCN = NamePlan(2, 10)  # .8 and .9 are the source table and the authority
PPN = NamePlan(2, 10)
CNN = NamePlan(2, 0)


def human_name(parts: list[str], plan: NamePlan, ctx: Context) -> Json | None:
    """The name proper: family with its parts, given, suffix with degree, prefix."""
    found: Json = {}
    family = at(parts, plan.family)
    if family:
        _family(found, family, plan.family, ctx)
    if given := part(parts, plan.given, ctx):
        found["given"] = [given]
    if more := part(parts, plan.more, ctx):
        found.setdefault("given", []).append(more)
    if len(parts) >= plan.suffix:
        if prefix := part(parts, plan.prefix, ctx):
            found["prefix"] = [prefix]
        suffixes = [suffix for n in (plan.suffix, plan.degree) if (suffix := part(parts, n, ctx))]
        if suffixes:
            found["suffix"] = suffixes
    return found or None


def _family(found: Json, raw: str, comp: int, ctx: Context) -> None:
    """FN: the surname, and what it is made of as extensions of it."""
    if ctx.sub not in raw:
        if family := part([raw], 1, ctx):
            found["family"] = family
        return
    pieces = raw.split(ctx.sub)
    made = [values.extension(url, "String", piece) for n, url in _OWN_AND_PARTNER if (piece := part(pieces, n, ctx))]
    family = part(pieces, 1, ctx) or " ".join(extension["valueString"] for extension in made)
    if family:
        values.put(found, "family", family, *made)


def name_use(found: Json, kind: str, ctx: Context) -> None:
    """Table 0200; S pseudonyms mask the name; a type without a FHIR use keeps its own code on the name."""
    use = load(_NAME_TYPES).concepts.get(kind)
    if use is not None:
        found["use"] = use.code
        return
    if kind != "U":  # unspecified says nothing
        coding = {"system": table_system("0200", kind, ctx), "code": kind}
        found.setdefault("extension", []).append(values.extension(values.SOURCE_CODE, "Coding", coding))


@datatype("XPN[HumanName]", "PN[HumanName]", gives="HumanName", reads={1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15})
def xpn_name(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    parts = raw.split(ctx.comp)
    found = human_name(parts, XPN, ctx)
    if len(parts) > 6:
        found = _details(found, parts, ctx)
    return found


def _details(found: Json | None, parts: list[str], ctx: Context) -> Json | None:
    """XPN.7 and what follows it; nothing of it makes a name by itself, except what the person is called."""
    if found is None:
        called = part(parts, 15, ctx)
        return {"use": "nickname", "given": [called]} if called else None
    if kind := part(parts, 7, ctx):
        name_use(found, kind, ctx)
    name_details(found, parts, XPN_DETAILS, ctx)
    return found


def name_details(found: Json, parts: list[str], plan: DetailPlan, ctx: Context) -> None:
    """Professional suffix, representation, order of assembly, validity."""
    if professional := part(parts, plan.professional, ctx):
        found.setdefault("suffix", []).append(professional)
    representation = _REPRESENTATIONS.get(part(parts, plan.representation, ctx) or "")
    if representation:
        found.setdefault("extension", []).append(values.extension(_REPRESENTATION, "Code", representation))
    order = load("v2-0444.name-assembly-order").concepts.get(part(parts, plan.order, ctx) or "")
    if order:
        found.setdefault("extension", []).append(values.extension(_ORDER, "Code", order.code))
    start, end = at(parts, plan.start), at(parts, plan.start + 1)
    if not start and not end:  # the range is older than the two dates, which win
        start, _, end = at(parts, plan.range).partition(ctx.sub)
    if valid := period(start, end, ctx):
        found["period"] = valid


@datatype("XPN[HumanName-Called]", gives="HumanName", reads={15})
def xpn_called(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """What a person who has a name is called (.15); without another name XPN[HumanName] says it."""
    parts = raw.split(ctx.comp)
    called = part(parts, 15, ctx)
    name = human_name(parts, XPN, ctx) if called else None
    return {"use": "nickname", "given": [called]} if name and name.get("given") != [called] else None


@datatype("XPN[string]", "PN[string]", "FN[string]", gives="string", reads={1, 2, 3, 4, 5, 6})
def xpn_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    found = human_name(raw.split(ctx.comp), XPN, ctx)
    return values.name_line(found)


@datatype("FN[HumanName]", gives="HumanName", reads={1})
def fn_name(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A surname alone, its own parts apart by component here."""
    found: Json = {}
    _family(found, raw.replace(ctx.comp, ctx.sub), 1, ctx)
    return found or None
