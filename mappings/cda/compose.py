"""What the document becomes as a whole: its Composition, the DocumentReference to the original, what is known of who
made which statement.

- the original is kept as it came: a Binary of the very bytes, which the DocumentReference shows with SHA-1 and size
- a document is known by its patient and ClinicalDocument/id: one which replaces it names it though it never came here,
  and none of another patient's reaches it
- a replaced document is superseded, as in HL7 v2 (`hl7v2/rules/documents.py`)
- one Provenance for the document, one for each other (author, time), with what they wrote

Source: C-CDA on FHIR, document level; CDA R2 §4.2.3 (relatedDocument); FHIR R4 documents, DocumentReference,
Provenance.
"""

import csv
from collections.abc import Collection, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mappings.cda import labels, parties, unstructured
from mappings.cda.assemble import composition_key
from mappings.cda.datatypes.coded import cd_string
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.statuses import cd_status
from mappings.cda.datatypes.times import ts_instant
from mappings.cda.element import Element
from mappings.cda.named import resolver
from mappings.cda.paths import code_of, is_valued
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap, load

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
Key = tuple[str, ...]

_FORMATS: Final = Path(__file__).with_name("formats.csv")
_FORMAT_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-HL7DocumentFormatCodes"
_MEDIA: Final = "text/xml"  # IHE ITI, XDS metadata of CDA documents
_REPLACES: Final = "replaces"
_UNTITLED: Final = "Document"
_OF_THE_WHOLE: Final = frozenset({"Binary", "Provenance"})  # no Provenance is about them


def compose(walk: "Walk", sections: list[Json]) -> None:
    """The Composition, first in the document's Bundle, and what stands beside it."""
    root = walk.doc.root
    walk.section = walk.statement = walk.act = None
    original = _original(walk, root)
    made = walk.place_one("Composition", composition_key(walk.doc), "state", root)
    walk.fill("header.Composition", root, made)
    walk.name_sections(made.ref, sections)
    if unstructured.bodies(walk):
        sections = [*sections, *unstructured.sections(original, made.body.get("title", _UNTITLED))]
    if sections:
        made.body["section"] = [_with_something(each) for each in sections]
    made.first = -1
    _provenance(walk, root, original)
    labels.apply(walk, original)


def _with_something(section: Json) -> Json:
    """A section holds text, entries or sections (cmp-1): one with neither keeps its title as text."""
    if "section" in section:
        section["section"] = [_with_something(each) for each in section["section"]]
    elif "text" not in section and "entry" not in section:
        shown = section.get("title") or section.get("code", {}).get("text") or "-"
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(shown, quote=False)}</div>'
        section["text"] = {"status": "empty", "div": div}
    return section


@resolver("document-kind")
def document_kind(ctx: "Walk") -> str:
    """What the document is, by its code."""
    found = next((cd_string(each, ctx) for each in ctx.doc.root.named("code") if is_valued(each)), None)
    return found or _UNTITLED


@resolver("section-title")
def section_title(ctx: "Walk") -> str | None:
    """What a section of that code is called where it has no title of its own."""
    row = ctx.section_row
    return (row.title or None) if row is not None else None


# the original ---------------------------------------------------------------------------------------------------------


def document_number(ids: Collection[Element], walk: "Walk") -> Key | None:
    """System and value of a document's number: the first of its ids that names it."""
    for each in ids:
        body = ii_identifier(each, walk)
        if body is not None and "value" in body:
            return body.get("system", ""), body["value"]
    return None


def _document_key(number: Key, walk: "Walk") -> Key:
    """What identifies a document: whose it is, and its number."""
    return "document", walk.subject.id, *number


def _original(walk: "Walk", root: Element) -> Any:
    """The DocumentReference to the bytes, and the documents it relates to."""
    own = document_number(root.named("id"), walk) or ("", walk.doc.digest.hex())
    made = walk.place_one("DocumentReference", _document_key(own, walk), "state", root)
    walk.fill("header.DocumentReference", root, made)
    made.body["content"] = [_content(walk, made), *unstructured.content(walk, made)]
    tell(walk, "original", made, "content", root)
    related = list(_related(walk, root, own))
    if related:
        made.body["relatesTo"] = related
        tell(walk, "related", made, "relatesTo", root.kids["relatedDocument"][0])
    return made


def tell(walk: "Walk", rule: str, made: Any, path: str, el: Element) -> None:
    """Leaves word in the trace of what no row wrote; the whole document is no place in it."""
    if walk.trace is not None:
        walk.trace.rule(rule, made.ref, path, walk.doc.place(el) if el is not walk.doc.root else None)


def _content(walk: "Walk", made: Any) -> Json:
    """The document itself, and its format where HL7 names one."""
    data = walk.doc.raw
    shown = values.attachment(_MEDIA, data)
    attachment: Json = {"contentType": _MEDIA, "size": len(data), "hash": values.sha1(data)}
    binary = walk.place_one("Binary", (*_key_of(made), walk.doc.digest.hex()), "state")
    tell(walk, "original", binary, "", walk.doc.root)
    binary.body |= {"contentType": _MEDIA, "securityContext": {"reference": made.ref}, "data": shown["data"]}
    attachment["url"] = binary.ref
    for name, kind in (("title", "description"), ("creation", "date")):
        if kind in made.body:
            attachment[name] = made.body[kind]
    language = next((code_of(each) for each in walk.doc.root.named("languageCode")), "")
    if language and (tag := _language(walk, language)):
        attachment["language"] = tag
    found: Json = {"attachment": attachment}
    if (format_ := _format(walk)) is not None:
        found["format"] = format_
    return found


def _key_of(made: Any) -> Key:
    return made.type, made.id


def _language(walk: "Walk", written: str) -> str | None:
    from mappings.cda.header import language_tag

    told, walk.issues = walk.issues, []  # the Composition's row has told of it
    found = language_tag(written, walk)
    walk.issues = told
    return found


@cache
def _formats() -> dict[tuple[str, str, str], Json]:
    with _FORMATS.open(encoding="utf-8", newline="") as file:
        return {
            (row["root"], row["extension"], row["body"]): {
                "system": _FORMAT_SYSTEM,
                "code": row["code"],
                "display": row["display"],
            }
            for row in csv.DictReader(file)
        }


def _format(walk: "Walk") -> Json | None:
    """By the templates that the document claims: the newest release that has a format of its own."""
    body = "unstructured" if unstructured.bodies(walk) else "structured"
    claimed: set[tuple[str, str]] = {
        ((each.get("root") or "").strip(), (each.get("extension") or "").strip())
        for each in walk.doc.root.named("templateId")
    }
    for root, extension in sorted(claimed, reverse=True):
        if (found := _formats().get((root, extension, body))) is not None:
            return dict(found)
    return None


# related documents ----------------------------------------------------------------------------------------------------


def _related(walk: "Walk", root: Element, own: Key) -> Iterator[Json]:
    known = load("cda-related.document-relationship")
    for related in root.named("relatedDocument"):
        code = known.get((related.get("typeCode") or "").strip())
        for parent in related.named("parentDocument"):
            ids = parent.named("id")
            named = document_number(ids, walk)
            if code is None or named is None or named == own:
                continue
            reference = {"reference": _parent(walk, parent, named, replaced=code.code == _REPLACES)}
            number = next((ii_identifier(each, walk) for each in ids), None)
            yield {"code": code.code, "target": reference | ({"identifier": number} if number else {})}


def _parent(walk: "Walk", parent: Element, number: Key, *, replaced: bool) -> str:
    """The other document of the patient, as much as is known of it: superseded where it was replaced, whatever the date
    of what replaces it; else as it is stored."""
    made = walk.place_one("DocumentReference", _document_key(number, walk), "stub", parent)
    fresh: Json = {
        "masterIdentifier": values.present(system=number[0] or None, value=number[1]),
        "status": "current",
        "subject": {"reference": walk.subject.ref},
        "content": [{"attachment": values.absent("unknown")}],
    }
    for name, value in fresh.items():
        made.body.setdefault(name, value)
    tell(walk, "related", made, "", parent)
    if replaced:
        made.mode, made.body["status"] = "update", "superseded"
        made.filled = ["content", "masterIdentifier", "subject"]
        made.own = ("status",)
    reference: str = made.ref
    return reference


# provenance -----------------------------------------------------------------------------------------------------------


@datatype("PART[CodeableConcept]", gives="CodeableConcept")
def part_taken(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """As what someone takes part: by the element's name, of a participant by its function or type."""
    if isinstance(node, str):
        return None
    tag = node.short
    if tag != "participant":
        return cd_status(tag, ctx, vocab)
    function = next((code_of(each) for each in node.named("functionCode")), "")
    known = vocab is not None and function in vocab.known
    return cd_status(function if known else node.get("typeCode", ""), ctx, vocab)


@datatype("AUTHOR[instant]", gives="instant")
def recorded(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Any:
    """When an author wrote, where that is an instant; else when the document was made."""
    times = [] if isinstance(node, str) else node.named("time")
    told, ctx.issues = ctx.issues, []  # the row of the time has told of it
    found = [ts_instant(each, ctx) for each in (*times, *ctx.doc.root.named("effectiveTime"))]
    ctx.issues = told
    whole = (each for each in found if each is not None and (not isinstance(each, tuple) or each[0] is not None))
    return next(whole, None)


def _provenance(walk: "Walk", root: Element, original: Any) -> None:
    """One for each author and time of statements, one for the document and all that nobody else signs."""
    source = {"role": "source", "what": {"reference": original.ref}}
    known: dict[Element, Key] = {}  # by author: all statements of a section name the same ones

    def signature_of(author: Element) -> Key:
        if (found := known.get(author)) is None:
            found = known[author] = _signature(author, walk)
        return found

    header = {signature_of(each) for each in root.named("author")}
    written: dict[Key, tuple[Element, list[str]]] = {}
    of_others: set[str] = set()
    for el, outcome in walk.outcomes.items():
        if outcome.resource not in walk.by_ref:
            continue
        for author in _own_authors(el, walk):
            signature = signature_of(author)
            if signature in header:
                continue
            targets = written.setdefault(signature, (author, []))[1]
            if outcome.resource not in targets:
                targets.append(outcome.resource)
    for signature, (author, targets) in written.items():
        made = walk.place_one("Provenance", ("provenance", walk.doc.digest.hex(), *signature), "state", author)
        made.body["target"] = [{"reference": each} for each in targets]
        walk.fill("header.Provenance-author", author, made)
        if _agents(walk, made):
            made.body["entity"] = [dict(source)]
            of_others.update(targets)
            tell(walk, "provenance", made, "target", author)
            tell(walk, "provenance", made, "entity", root)
    made = walk.place_one("Provenance", ("provenance", walk.doc.digest.hex(), "document"), "state", root)
    walk.fill("header.Provenance", root, made)
    stated = [each.ref for each in walk.made if each.mode != "stub" and each.type not in _OF_THE_WHOLE]
    made.body["target"] = [{"reference": each} for each in stated if each not in of_others]
    agents = [each for each in made.body.get("agent", ()) if "who" in each]
    made.body["agent"] = agents or [{"who": values.absent("unknown")}]
    made.body["entity"] = [source]
    for path in ("target", "entity"):
        tell(walk, "provenance", made, path, root)


def _agents(walk: "Walk", made: Any) -> bool:
    """Whether anybody made it; a Provenance of nobody goes."""
    if any("who" in each for each in made.body.get("agent", ())):
        return True
    walk.made.remove(made)
    del walk.by_ref[made.ref]
    return False


def _own_authors(el: Element, walk: "Walk") -> list[Element]:
    """The authors that a statement, its wrapper or its section names."""
    here: Element | None = el
    while here is not None and here is not walk.doc.root:
        found: list[Element] = here.named("author")
        if found:
            return found
        here = here.parent
    return []


def _signature(author: Element, walk: "Walk") -> Key:
    """Who wrote and when, as it is written: the same author at the same time is one."""
    time = next(((each.get("value") or "") for each in author.named("time")), "")
    role = parties.role_of(author, walk)
    if role is None:
        return time, ""
    numbers = sorted(parties.raw_keys(role, walk))
    if numbers:
        return (time, *numbers[0])
    return time, "", " ".join("".join(role.itertext()).split())
