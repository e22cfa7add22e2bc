"""Encapsulated data and pointers: ED, RP.

Data is decoded once and checked; what is not in the encoding it declares is dropped with an issue, never stored as if
it were. Sizes over the limit for inline data are the caller's to move into a Binary.
Source: HL7 v2.9 §2A ED, RP, tables 0191, 0291, 0299; FHIR R4 Attachment.
"""

import base64
import binascii
from typing import NamedTuple

from mappings.fhir import values
from mappings.fhir.primitives import is_media_type
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import at, part, void
from mappings.terminology.concept_map import ConceptMap

# Tables 0191 and 0291 -> media types of the IANA registry
_MEDIA = {
    "AP": "application", "AU": "audio", "IM": "image", "MU": "multipart", "TX": "text", "TEXT": "text",
    "APPLICATION": "application", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "video", "MULTIPART": "multipart",
}  # fmt: skip
_SUBTYPES = {
    "PDF": "application/pdf", "RTF": "application/rtf", "HTML": "text/html", "XML": "application/xml",
    "PLAIN": "text/plain", "TEXT": "text/plain", "TXT": "text/plain", "JPEG": "image/jpeg", "JPG": "image/jpeg",
    "PNG": "image/png", "GIF": "image/gif", "TIFF": "image/tiff", "TIF": "image/tiff", "DICOM": "application/dicom",
    "BASIC": "audio/basic", "X-HL7-CDA-LEVEL-ONE": "text/xml", "MSWORD": "application/msword",
    "RICHTEXT": "text/richtext",
}  # fmt: skip


class Content(NamedTuple):
    """Encapsulated data as bytes."""

    media: str | None
    data: bytes


@datatype("ED[Attachment]", gives="Attachment", reads={1, 2, 3, 4, 5})
def ed_attachment(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    found = ed_content(raw, ctx)
    if found is None:
        return None
    return values.attachment(found.media, found.data)


def ed_content(raw: str, ctx: Context) -> Content | None:
    """ED: source, type, subtype, encoding, data. The data may hold unescaped separators, so it is all that is left."""
    parts = raw.split(ctx.comp, 4)
    encoding = (part(parts, 4, ctx) or "").upper()
    written = at(parts, 5).rstrip(ctx.comp)
    if not written or void(written, ctx.comp + ctx.sub):
        return None
    data = _decoded(written, encoding, ctx)
    if data is None:
        ctx.issue("bad-encoding", 5)
        return None
    return Content(media_type(part(parts, 2, ctx), part(parts, 3, ctx)), data)


def _decoded(written: str, encoding: str, ctx: Context) -> bytes | None:
    """Base64 and hexadecimal with line breaks and `\\X0A\\` or `\\.br\\` between; A is the text itself."""
    if encoding in ("A", ""):
        shown = part([written], 1, ctx)
        return shown.encode("utf-8", "replace") if shown else None
    if ctx.esc in written:
        written = part([written], 1, ctx) or ""
    compact = "".join(written.split())
    try:
        if encoding == "BASE64":
            return base64.b64decode(compact, validate=True) or None
        if encoding == "HEX":
            return bytes.fromhex(compact) or None
    except (binascii.Error, ValueError):
        return None
    return None


def media_type(kind: str | None, subtype: str | None) -> str | None:
    """A media type of ED.2 and .3; None where they name none, since a wrong one is worse."""
    upper = (subtype or "").upper()
    whole = next((text.lower() for text in (subtype, kind) if text and "/" in text), None)
    if whole is not None:
        return whole if is_media_type(whole) else None
    if upper in _SUBTYPES:
        return _SUBTYPES[upper]
    top = _MEDIA.get((kind or "").upper())
    if top == "text" and not subtype:
        return "text/plain"
    if top and subtype and all(letter.isalnum() or letter in ".+-" for letter in subtype) and subtype.isascii():
        return None if upper == "OCTET-STREAM" and top != "application" else f"{top}/{subtype.lower()}"
    return None


@datatype("RP[Attachment]", gives="Attachment", reads={1, 2, 3, 4})
def rp_attachment(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """RP: pointer, application, type, subtype. Only what a browser could fetch is a URL, the rest a title."""
    parts = raw.split(ctx.comp)
    pointer = part(parts, 1, ctx)
    if pointer is None:
        return None
    media = media_type(part(parts, 3, ctx), part(parts, 4, ctx))
    body: Json = {"contentType": media} if media else {}
    if pointer.startswith(("http://", "https://")) and not any(letter.isspace() for letter in pointer):
        body["url"] = pointer
    else:
        body["title"] = pointer
    return body
