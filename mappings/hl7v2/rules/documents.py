"""Documents: content, relations, context; consents.

- content: every text line of the message is one text, whose parts are headed by their OBX-3 where it changes; ED and RP
  are one content each; a notification without OBX leaves the stored content
- relations: T05 and T06 append to TXA-13, T09 and T10 replace it and make it superseded; of any other event TXA-13 is
  something related
- context: the stay, the orders of the message, TXA-14 and TXA-15 by number
- under TXA no OBX is an Observation; a value that is no text is a line that names what it is
- the document that an order of results comes with (ORDER_DOCUMENT) has its OBX before it, and belongs to that order

Source: HL7 v2.9 chapter 9; v2-to-FHIR guide MDM_T02, TXA[DocumentReference], OBX[DocumentReference],
NTE[DocumentReference]; FHIR R4 DocumentReference; design chapter HL7 v2 §4, §9.
"""

import base64
from typing import Any

from mappings.fhir import values
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS, attachments, coded, identifiers, timing
from mappings.hl7v2.datatypes import text as texts
from mappings.hl7v2.keys.documents import document_number
from mappings.hl7v2.message import Segment
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, after, finish, function, resolver
from mappings.hl7v2.rules.attachments import completed
from mappings.hl7v2.rules.results import NOTE, annotation, readable
from mappings.issues import issue
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

APPENDS, REPLACES = frozenset({"T05", "T06"}), frozenset({"T09", "T10"})
CANCELS = "T11"
ENCAPSULATED = frozenset({"ED", "RP"})
LINES = frozenset({"TX", "FT", "ST", ""})
WITHDRAWN = frozenset({"D", "W"})  # OBX-11: a line that was sent in error
OF_ORDER = "ORDER_DOCUMENT"  # the group of oru.toml
CONTENT_FIELDS = (2, 3, 4, 5, 6, 11, 14)  # of OBX: what a text line, its heading and its time are made of


# content --------------------------------------------------------------------------------------------------------------


@function("DOCUMENT[Attachment]", "Attachment")
def document(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """OBX-5 as OBX-2 says it is; OBX-3 is its title, OBX-14 its time."""
    segment = ctx.seg
    pointer = segment.field(2).strip().upper() == "RP"
    read = attachments.rp_attachment if pointer else attachments.ed_attachment
    found = read(raw, ctx)
    return _dated(found, segment, ctx) if found is not None else None


def _dated(found: Json, segment: Segment, ctx: Any) -> Json:
    """With the title and the time that the line has for it."""
    kept = ctx.field
    ctx.field = 3
    title = _heading(segment, ctx)
    if title:
        found.setdefault("title", title)
    ctx.field = 14
    _created(found, segment.field(14).split(ctx.rep)[0] or _origin(ctx), ctx)
    ctx.field = kept
    return found


def _created(found: Json, raw: str, ctx: Any) -> Json:
    made = timing.dtm_datetime(raw, ctx) if raw and raw != NULL else None
    value, sibling = made if isinstance(made, tuple) else (made, None)
    values.put(found, "creation", value, *(sibling or {}).get("extension", ()))
    return found


def _origin(ctx: Any) -> str:
    """TXA-6, for a line without a time of its own; a day is enough there."""
    txa = ctx.near("TXA")
    return str(txa.field(6).split(ctx.rep)[0]) if txa is not None else ""


def _heading(segment: Segment, ctx: Any) -> str:
    raw = segment.field(3).split(ctx.rep)[0]
    return (coded.cwe_string(raw, ctx) or "") if raw and raw != NULL else ""


@finish("document_content")
def document_content(ctx: Assembly, builder: Builder) -> None:
    """The text first, then what is encapsulated or pointed to."""
    body = builder.body
    content: list[Json] = body.setdefault("content", [])
    if (written := _text(ctx, builder)) is not None:
        content.insert(0, {"attachment": written})
    media = _media(ctx, builder)
    if not content:
        ctx.seg = builder.segment or ctx.seg
        gone = any(each.field(11).strip() in WITHDRAWN for each in _observations(ctx, builder))
        told = {} if gone else _created({"contentType": media} if media else {}, _origin(ctx), ctx)
        content.append({"attachment": told or values.absent("unknown")})
        if not gone:  # where every line is taken back, what is stored of them must not stay
            builder.filled.append("content")
            builder.mode = "update"  # a notification of what is stored
    for each in content:
        if media and "contentType" not in each["attachment"] and "extension" not in each["attachment"]:
            each["attachment"]["contentType"] = media
        completed(ctx, builder, each["attachment"])


def _media(ctx: Assembly, builder: Builder) -> str | None:
    """TXA-3, where the content does not say what it is."""
    raw = builder.segment.field(3).split(ctx.comp)[0].strip() if builder.segment is not None else ""
    return attachments.media_type(raw, None) if raw and raw != NULL else None


def _observations(ctx: Assembly, builder: Builder) -> list[Segment]:
    inside = {id(each) for each in builder.group.walk()} if builder.group is not None else set()
    return [segment for segment, group in ctx.placed if segment.name == "OBX" and id(group) in inside]


@after("lines_without_document")
def lines_without_document(ctx: Assembly) -> None:
    """An OBX before the TXA, or without one, belongs to no document: never in silence."""
    for segment, group in ctx.placed:
        if segment.name == "OBX" and segment.field(2).strip().upper() not in ENCAPSULATED:
            ctx.group = group
            if ctx.near("TXA") is None:
                ctx.issues.append(issue("no-target", segment.place(), row="@lines_without_document"))


def _lines_of(ctx: Assembly, builder: Builder) -> list[Segment]:
    found = [each for each in _observations(ctx, builder) if each.field(11).strip() not in WITHDRAWN]
    return [each for each in found if each.field(2).strip().upper() not in ENCAPSULATED]


@finish("order_document")
def order_document(ctx: Assembly, builder: Builder) -> None:
    """The order came with it."""
    if (order := ctx.made_near("ServiceRequest")) is not None:
        order.body.setdefault("supportingInfo", []).append({"reference": builder.ref})


def _text(ctx: Assembly, builder: Builder) -> Json | None:
    """All lines that are text, or can be said as text, as one attachment."""
    parts = _lines_of(ctx, builder)
    headed = len({each.field(3) for each in parts if _is_text(each)}) > 1
    written: list[str] = []
    before = ""
    for segment in parts:
        ctx.seg, ctx.field, ctx.rep_index, ctx.row = segment, 5, 0, "@document_content"
        words = _words(segment, ctx)
        if headed and _is_text(segment) and segment.field(3) != before:
            written += [*([""] if written else []), _heading(segment, ctx)]
            before = segment.field(3)
        written += [words] if words is not None else []
        _leave_word(ctx, builder, segment)
    if not any(written):
        return None
    data = "\n".join(written).encode("utf-8", "replace")
    found: Json = {"contentType": "text/plain", "data": base64.b64encode(data).decode("ascii"), "size": len(data)}
    dated = _dated(found, next((each for each in parts if each.field(14)), parts[0]), _at(ctx, parts[0]))
    if headed:
        dated.pop("title", None)
    return dated


def _at(ctx: Assembly, segment: Segment) -> Assembly:
    ctx.seg = segment
    return ctx


def _is_text(segment: Segment) -> bool:
    return segment.field(2).strip().upper() in LINES


def _words(segment: Segment, ctx: Assembly) -> str | None:
    """The line of one OBX; an empty one is an empty line, as the writer left it."""
    raw = segment.field(5)
    if _is_text(segment):
        return texts.tx_string(raw.split(ctx.rep), ctx) or "" if raw != NULL else None
    if not raw or raw == NULL:
        return None
    found = FUNCTIONS["OBX5[value]"].call(raw.split(ctx.rep), ctx, None)
    said = readable(found) if found else ""
    name = _heading(segment, ctx)
    return ": ".join(each for each in (name, said) if each) or None


def _leave_word(ctx: Assembly, builder: Builder, segment: Segment) -> None:
    builder.sources.append(segment.ordinal)
    if ctx.trace is not None:
        for number in CONTENT_FIELDS:
            if segment.field(number):
                place = Place("OBX", segment.nth, number)
                ctx.trace.rule("document_content", builder.ref, "content[0].attachment.data", place)


# relations ------------------------------------------------------------------------------------------------------------


@finish("document_relations")
def document_relations(ctx: Assembly, builder: Builder) -> None:
    """What becomes of the document that TXA-13 names."""
    txa = builder.segment
    if txa is None:
        return
    if ctx.event == CANCELS:
        builder.own.append("status")
    key = document_number(txa, ctx, 13)
    if key is None:
        if ctx.event in APPENDS | REPLACES:
            ctx.issues.append(issue("no-target", Place("TXA", txa.nth, 13), row="@document_relations"))
        return
    if key == document_number(txa, ctx, 12):
        return
    ctx.seg, ctx.field, ctx.row = txa, 13, "@document_relations"
    number = identifiers.ei_identifier(txa.field(13).split(ctx.rep)[0], ctx)
    if number is None:  # separators and nulls name nothing
        return
    if ctx.event in APPENDS | REPLACES:
        ref = _parent(ctx, builder, key, number)
        code = "appends" if ctx.event in APPENDS else "replaces"
        builder.body.setdefault("relatesTo", []).append(
            {"code": code, "target": {"reference": ref, "identifier": number}}
        )
        path = "relatesTo[0]"
    else:
        path = _relate(builder, {"type": "DocumentReference", "identifier": number})
    if ctx.trace is not None:
        ctx.trace.rule("document_relations", builder.ref, path, Place("TXA", txa.nth, 13, 1))


def _parent(ctx: Assembly, builder: Builder, key: tuple[str, ...], number: Json) -> str:
    """The document before: as much as is known of it, superseded where it was replaced."""
    replaced = ctx.event in REPLACES
    body: Json = {
        "masterIdentifier": number,
        "status": "superseded" if replaced else "current",
        **{name: builder.body[name] for name in ("subject",) if name in builder.body},
        "content": [{"attachment": values.absent("unknown")}],
    }
    ref = ctx.stub("DocumentReference", key, body)
    made = ctx.by_ref[ref]
    made.group = builder.group
    if replaced:
        made.mode = "update"
        made.filled += ["content", "subject"]
        made.own.append("status")
    return ref


def _relate(builder: Builder, reference: Json) -> str:
    related: list[Json] = builder.body.setdefault("context", {}).setdefault("related", [])
    if reference not in related:
        related.append(reference)
    return f"context.related[{related.index(reference)}]"


@finish("document_context")
def document_context(ctx: Assembly, builder: Builder) -> None:
    """The stay in which it was written, the orders it answers."""
    stay = ctx.made_near("Encounter")
    if stay is not None:
        builder.body.setdefault("context", {})["encounter"] = [{"reference": stay.ref}]
    known: set[str] = set()
    for other in _orders(ctx, builder):
        _relate(builder, {"reference": other.ref})
        known |= {each["value"] for each in other.body.get("identifier", ())}
    txa = builder.segment
    for number, kind in ((14, "EI[Identifier-Placer]"), (15, "EI[Identifier-Filler]")):
        ctx.field = number
        for index, raw in enumerate(txa.field(number).split(ctx.rep) if txa is not None else ()):
            found = FUNCTIONS[kind].call(raw, ctx, None) if raw and raw != NULL else None
            if found is None or txa is None:
                continue
            path = "context.related"
            if found["value"] not in known:
                path = _relate(builder, {"type": "ServiceRequest", "identifier": found})
            if ctx.trace is not None:
                ctx.trace.rule("document_context", builder.ref, path, Place("TXA", txa.nth, number, index + 1))


def _orders(ctx: Assembly, builder: Builder) -> list[Builder]:
    """Those of the message; of a document inside an order, that order."""
    if builder.group is not None and builder.group.name == OF_ORDER:
        order = ctx.made_near("ServiceRequest")
        return [] if order is None else [order]
    return [each for each in ctx.made if each.type == "ServiceRequest" and each.make is not None]


@finish("document_notes")
def document_notes(ctx: Assembly, builder: Builder) -> None:
    """NTE behind TXA, CON and each OBX: notes on the document, with who wrote them and when."""
    inside = {id(each) for each in builder.group.walk()} if builder.group is not None else set()
    for segment, group in ctx.placed:
        if id(group) in inside and segment.name != "NTE":
            if (found := annotation(ctx, segment, builder)) is not None:
                builder.body.setdefault("extension", []).append({"url": NOTE, "valueAnnotation": found})


# consents -------------------------------------------------------------------------------------------------------------


@resolver("no_policy")
def no_policy(ctx: Any) -> Json:
    """ppc-1 asks for a policy; the sender names none."""
    return values.absent("unknown")


@function("CON[Attachment]", "Attachment")
def consent_text(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """CON-5 is its label, CON-6 to CON-9 what it says."""
    segment = ctx.seg
    title = texts.tx_string(segment.field(5).split(ctx.rep), ctx) if segment.field(5) not in ("", NULL) else None
    lines = [
        texts.tx_string(segment.field(number).split(ctx.rep), ctx)
        for number in (6, 7, 8, 9)
        if segment.field(number) not in ("", NULL)
    ]
    data = "\n".join(filter(None, lines)).encode("utf-8", "replace")
    found: Json = {"contentType": "text/plain", **({"title": title} if title else {})}
    if data:
        found |= {"data": base64.b64encode(data).decode("ascii"), "size": len(data)}
    return found if len(found) > 1 else None


@function("CON[Reference(RelatedPerson)]", "Reference")
def consenter(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """CON-24 and CON-25: who consented, inside the Consent, for nothing identifies that person."""
    name = FUNCTIONS["XPN[HumanName]"].call(raw, ctx, None)
    patient = ctx.made_near("Patient")
    if name is None or patient is None:
        return None
    kept, ctx.field = ctx.field, 25
    written = ctx.seg.field(25).split(ctx.rep)[0]
    relation = coded.cwe_concept(written, ctx) if written and written != NULL else None
    ctx.field = kept
    body: Json = {"resourceType": "RelatedPerson", "patient": {"reference": patient.ref}, "name": [name]}
    if relation is not None:
        body["relationship"] = [relation]
    return values.reference(ctx.contained(body))
