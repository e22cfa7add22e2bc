"""Coded values: CE, CWE, CNE, CF, and IS, ID, ST where FHIR wants a coding.

Three triplets (code, text, system) in order; duplicates go. A system comes from the name by `systems.csv`, else from
its OID, the profile, the field's own HL7 table, and last the feed itself: never one URI for everyone's `L`, nor HL7's
URI for a code that its system does not have. A row's vocabulary map applies to codes of its table and adds the mapped
coding before what was sent.
Source: HL7 v2.9 §2A.1 CWE, table 0396; FHIR R4 CodeableConcept, Coding.
"""

from typing import Any, NamedTuple

from mappings.fhir import values
from mappings.hl7v2 import fields
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import (
    at,
    first,
    part,
    scoped,
    st_string,
    table_system,
    tidy_code,
)  # fmt: skip
from mappings.terminology.concept_map import ConceptMap
from mappings.terminology.hl7_codes import TABLE, lacks, own_name
from mappings.terminology.systems import oid_uri, system_for

# Components of each triplet: code, text, system name, system version, system OID
_TRIPLETS = ((1, 2, 3, 7, 14), (4, 5, 6, 8, 17), (10, 11, 12, 13, 20))
_READS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 20})
_CACHED = 160  # characters; longer values are text and do not repeat
_LOCAL = frozenset({"L", "LOCAL", "99ZZZ"})


class Coded(NamedTuple):
    """A coded value as read, before it takes one of FHIR's shapes."""

    codings: tuple[Json, ...]  # as sent
    mapped: Json | None  # through the row's vocabulary
    missed: str | None  # a code of the row's table that has no row in its map
    text: str | None
    shaped: tuple[Json, ...]  # what a concept holds: the mapped coding, then those sent


def read(raw: str, ctx: Context, vocab: ConceptMap | None) -> Coded:
    """A CWE's codings, cached by raw text: results repeat the same few hundred codes."""
    key = (raw, vocab.name if vocab else None, ctx.seg.name, ctx.field)
    cached: Coded | None = ctx.cache.get(key)
    if cached is None:
        before = len(ctx.issues)
        cached = _read(raw.split(ctx.comp), ctx, vocab)
        if len(ctx.issues) == before and len(raw) <= _CACHED:
            ctx.cache[key] = cached
    if cached.missed is not None:
        ctx.issue("vocab-miss")
    return cached


def _read(parts: list[str], ctx: Context, vocab: ConceptMap | None) -> Coded:
    codings: list[Json] = []
    mapped, missed, said = None, None, None
    for code_n, text_n, name_n, version_n, oid_n in _TRIPLETS:
        if code_n > len(parts):
            break
        code, shown = part(parts, code_n, ctx), part(parts, text_n, ctx)
        if code is None:
            if shown is not None and code_n > 1:
                codings.append({"display": shown})
            continue
        code = tidy_code(code, ctx)
        name, oid = part(parts, name_n, ctx), part(parts, oid_n, ctx)
        if vocab is not None and mapped is None and _of_table(name, oid, vocab):
            mapped = _mapped(code, vocab)
            missed = code if mapped is None and code not in vocab.known else None
        system = system_of(code, name, oid, ctx, vocab.table if vocab else "")
        if shown is not None and system is not None and system.startswith(values.HL7_SYSTEMS):
            said, shown = said or shown, None  # a display of HL7's tables is HL7's to word; the sender's is text
        made = values.coding(system, code, shown, part(parts, version_n, ctx))
        if made and not any(_same(made, known) for known in codings):
            codings.append(made)
        codings += [extra for extra in _standard(code, name, ctx) if extra not in codings]
    shaped = codings
    if mapped is not None and not any(_same(mapped, coding) for coding in codings):
        shaped = [mapped, *codings]
    return Coded(tuple(codings), mapped, None if mapped else missed, _text(parts, ctx) or said, tuple(shaped))


def _text(parts: list[str], ctx: Context) -> str | None:
    """CWE.9 is what the user saw; without a code CWE.2 is all there is."""
    if (original := part(parts, 9, ctx)) is not None:
        return original
    return part(parts, 2, ctx) if not at(parts, 1).strip() else None


def _same(one: Json, other: Json) -> bool:
    return one.get("system") == other.get("system") and one.get("code") == other.get("code")


def _of_table(name: str | None, oid: str | None, vocab: ConceptMap) -> bool:
    """A map reads codes of its own table: those without a system, and those that name the table."""
    if name is None and oid is None:
        return True
    if not vocab.table:
        return False
    if vocab.also and (name or "").upper().replace("-", "").replace("_", "") in vocab.also:
        return True
    return (name or "").upper().replace("-", "") in (f"HL7{vocab.table}", f"HL7V2{vocab.table}", vocab.table)


def _mapped(code: str, vocab: ConceptMap) -> Json | None:
    hit = vocab.concepts.get(code)
    return None if hit is None else values.coding(hit.system or None, hit.code, hit.display)


def system_of(code: str, name: str | None, oid: str | None, ctx: Context, table: str = "") -> str | None:
    """The URI of a code's system, in the order of belief of the module docstring. `table`: the row's own."""
    lacking = None
    if name is not None:
        upper = name.upper()
        if upper.startswith("HL7") and upper[-4:].isdigit():
            return table_system(upper[-4:], code, ctx)
        if upper not in _LOCAL and (registered := system_for(upper)) is not None:
            if not lacks(registered, code):
                return registered
            lacking = registered
    if oid is not None:
        known = oid_uri(oid)
        if lacks(known, code):
            lacking = lacking or known
        elif lacking is None or not known.startswith("urn:oid:"):
            return known
    if name is not None and (site := ctx.profile.codes.get(name)) is not None:
        return str(site["system"])
    if lacking is not None:
        return _own_system(lacking, ctx)
    if name is not None:
        return scoped(ctx, "codes", name)
    if table := table or fields.table_of(ctx.seg.name, ctx.field):
        return table_system(table, code, ctx)
    return scoped(ctx, "field", f"{ctx.seg.name}-{ctx.field}")


def _own_system(lacking: str, ctx: Context) -> str:
    """Whose a code is that HL7's system lacks: this feed's."""
    kind, tail = own_name(lacking)
    if kind != TABLE:
        ctx.issue("not-in-system")
    return scoped(ctx, kind, tail)


def _standard(code: str, name: str | None, ctx: Context) -> tuple[Json, ...]:
    """The standard codings that a profile's map gives for a local code."""
    site = ctx.profile.codes.get(name) if name else None
    table = site.get("table") if site else None
    return tuple(dict(coding) for coding in table.get(code, ())) if table else ()


# Shapes -------------------------------------------------------------------------------------------------------------

_COMPLEX = ("CWE", "CE", "CNE", "CF")


def _names(shape: str, *types: str) -> tuple[str, ...]:
    return tuple(f"{name}[{shape}]" for name in types)


@datatype(*_names("CodeableConcept", *_COMPLEX), gives="CodeableConcept", reads=_READS)
def cwe_concept(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    if not raw or raw == '""':
        return None
    return shape_concept(read(raw, ctx, vocab))


def shape_concept(found: Coded) -> Json | None:
    if not found.shaped:
        return {"text": found.text} if found.text else None
    codings = [coding.copy() for coding in found.shaped]
    return {"coding": codings, "text": found.text} if found.text else {"coding": codings}


@datatype(*_names("Coding", *_COMPLEX), gives="Coding", reads=_READS)
def cwe_coding(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """One coding: the mapped one, else the first sent. A text alone becomes its display."""
    if not raw or raw == '""':
        return None
    found = read(raw, ctx, vocab)
    if found.mapped is not None:
        return dict(found.mapped)
    if found.codings:
        if len(found.codings) > 1:
            ctx.issue("extra-value", detail="one coding of several")
        return dict(found.codings[0])
    return {"display": found.text} if found.text else None


@datatype(*_names("code", *_COMPLEX), gives="code", reads=_READS)
def cwe_code(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Any:
    """A bare code through the row's map; without a map the code as sent. What has no code goes to the sibling."""
    if vocab is not None and (hit := vocab.concepts.get(raw)) is not None:
        return hit.code
    if not raw or raw == '""':
        return None
    if vocab is None:
        found = first(raw, ctx)
        return None if found is None else tidy_code(found, ctx)
    coded = read(raw, ctx, vocab)
    if coded.mapped is not None:
        return coded.mapped["code"]
    if coded.missed is None and coded.codings:
        ctx.issue("vocab-miss")
    concept = shape_concept(coded)
    return None if concept is None else (None, values.alternate(concept))


@datatype(*_names("string", *_COMPLEX), gives="string", reads={1, 2, 9})
def cwe_string(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    """The text a person would read."""
    parts = raw.split(ctx.comp)
    return part(parts, 9, ctx) or part(parts, 2, ctx) or part(parts, 1, ctx)


@datatype(*_names("Annotation", *_COMPLEX), gives="Annotation", reads={1, 2, 9})
def cwe_annotation(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = cwe_string(raw, ctx)
    return None if found is None else {"text": found}


@datatype(*_names("uri", *_COMPLEX), gives="uri", reads={1, 3, 14})
def cwe_uri(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> str | None:
    """The system of the code, for elements that name a system."""
    found = read(raw, ctx, None)
    return found.codings[0].get("system") if found.codings else None


@datatype(*_names("Identifier", *_COMPLEX), gives="Identifier", reads={1, 2, 3, 14})
def cwe_identifier(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = read(raw, ctx, None)
    coding = found.codings[0] if found.codings else {}
    return values.identifier(coding.get("code"), coding.get("system"))


@datatype(
    *_names("Reference(Organization)", *_COMPLEX), *_names("Reference(Location)", *_COMPLEX),
    gives="Reference", reads={1, 2, 3, 9, 14},
)  # fmt: skip
def cwe_reference(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A party known by a code only: a logical reference, for nothing else is known of it."""
    named = cwe_identifier(raw, ctx)
    return values.present(identifier=named, display=cwe_string(raw, ctx))


# IS, ID, ST as codings ----------------------------------------------------------------------------------------------


def _bare(raw: str, ctx: Context, vocab: ConceptMap | None) -> Coded | None:
    """A lone code. Later versions made many IS fields CWE, so components are read where they are there."""
    if not raw or raw == '""':
        return None
    return read(raw, ctx, vocab)


@datatype(*_names("CodeableConcept", "IS", "ID", "SI", "EI"), gives="CodeableConcept", reads=_READS)
def is_concept(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = _bare(raw, ctx, vocab)
    return None if found is None else shape_concept(found)


@datatype(*_names("Coding", "IS", "ID", "SI"), gives="Coding", reads=_READS)
def is_coding(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    return cwe_coding(raw, ctx, vocab)


@datatype("ST[CodeableConcept]", "TX[CodeableConcept]", "FT[CodeableConcept]", gives="CodeableConcept")
def st_concept(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A text without a code."""
    found = st_string(raw, ctx)
    return None if found is None else {"text": found}


@datatype("ST[Coding]", gives="Coding")
def st_coding(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = st_string(raw, ctx)
    return None if found is None else {"display": found}


def table_coding(table: str, code: str, ctx: Context) -> Json:
    """A code of an HL7 table inside another datatype (CX.5, XON.7)."""
    return {"system": table_system(table, code, ctx), "code": code}
