"""Encapsulated data: ED as an attachment.

Data is decoded once and checked: base64 that is none, a compression that is none or swells beyond measure, are dropped
with an issue, never stored as if they were what they claim. A media type that the first bytes contradict gives way to
them. More than 32 KiB become a Binary, if the walk makes one. A pointer is a URL only where a browser could fetch it.
Source: HL7 v3 datatypes R1, ED (representation, compression, reference); CDA R2 §4.3.1.3 (nonXMLBody); FHIR R4
Attachment; RFC 1950, 1951, 1952.
"""

import binascii
import hashlib
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from mappings.cda.datatypes.nulls import absence
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import ed_text, folded, inline, lines, pointer
from mappings.fhir import values
from mappings.fhir.primitives import is_code, is_media_type
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

MOST_BYTES: Final = 50_000_000  # of what a compression gives back
_LONGEST_URL: Final = 64 * 1024  # characters
_PLAIN: Final = "text/plain"
# compression -> what zlib calls it, tried in this order; writers take zlib's own format for deflate
_WINDOWS: Final = {"DF": (-zlib.MAX_WBITS, zlib.MAX_WBITS), "GZ": (zlib.MAX_WBITS | 16,), "ZL": (zlib.MAX_WBITS,)}
# The bytes a file of that type begins with: RFC 8118, W3C PNG, JFIF, GIF 89a, TIFF 6.0, Microsoft's RTF 1.9.1
_MAGIC: Final = (
    (b"%PDF-", "application/pdf"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"), (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"),
    (b"{\\rtf", "application/rtf"),
)  # fmt: skip
_SAME: Final = {"text/rtf": "application/rtf", "image/jpg": "image/jpeg", "image/tif": "image/tiff"}
_URL: Final = ("http://", "https://")
_READS: Final = frozenset({
    "@mediaType", "@representation", "@compression", "@language", "@nullFlavor", "#text", "reference",
})  # fmt: skip


class Content(NamedTuple):
    """Encapsulated data as bytes."""

    media: str | None
    data: bytes


def content(node: "Element", ctx: "Context") -> Content | None:
    """The bytes inside an ED, decoded and decompressed once; None where there are none, or none that can be read."""
    written = inline(node)
    if not written.strip():
        return None
    media = media_type(node, ctx)
    if (node.get("representation") or "").strip().upper() == "B64":
        data = _base64(written)
    elif node.get("compression"):
        data = None  # compressed bytes are no text
    else:
        data = _undeclared(written, media, ctx)
    if data is None:
        ctx.issue("bad-encoding", node)
        return None
    if (compression := (node.get("compression") or "").strip().upper()) and (
        data := _decompressed(data, compression, node, ctx)
    ) is None:
        return None
    return Content(_checked(media, data, node, ctx), data) if data else None


def _undeclared(written: str, media: str | None, ctx: "Context") -> bytes | None:
    """Text; but a picture or a PDF without `representation` is base64 all the same."""
    if media is not None and not _is_text(media):
        data = _base64(written)
        return data if data and _magic(data) else None
    found = lines(written, ctx)
    return found.encode("utf-8") if found else None


def _is_text(media: str) -> bool:
    return media.startswith("text/") or media.partition(";")[0].rstrip().endswith(("xml", "json"))


def _base64(written: str) -> bytes | None:
    try:
        return binascii.a2b_base64("".join(written.split()), strict_mode=True)
    except ValueError:
        return None


def _decompressed(data: bytes, compression: str, node: "Element", ctx: "Context") -> bytes | None:
    """What was compressed, as long as that is not more than anyone would send."""
    for window in _WINDOWS.get(compression, ()):
        inflater = zlib.decompressobj(window)
        try:
            found = inflater.decompress(data, MOST_BYTES + 1)
        except zlib.error:
            continue
        if len(found) > MOST_BYTES:
            ctx.issue("over-limit", node, "compressed data")
            return None
        if inflater.eof:
            return found
    ctx.issue("bad-encoding", node, "compression")
    return None


def media_type(node: "Element", ctx: "Context") -> str | None:
    """The media type that an ED states."""
    written = node.get("mediaType")
    if not written or not (found := written.strip()):
        return None
    if len(found) > 256 or "/" not in found or not is_media_type(found):
        ctx.issue("bad-value", node, "not a media type")
        return None
    return found


def _magic(data: bytes) -> str | None:
    return next((media for magic, media in _MAGIC if data.startswith(magic)), None)


def _checked(media: str | None, data: bytes, node: "Element", ctx: "Context") -> str | None:
    """The media type, unless the data begins as another does."""
    found = _magic(data)
    if found is None:
        return media
    if media is not None and _SAME.get(media.lower(), media.lower()) != found:
        ctx.issue("bad-value", node, "the data is not of its media type")
    return found


@datatype("ED[Attachment]", "ST[Attachment]", gives="Attachment", reads=_READS)
def ed_attachment(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """Data, text or a pointer. Where both are there the data counts, and the pointer says where it came from."""
    if isinstance(node, str):
        found = folded(node, ctx)
        return values.attachment(_PLAIN, found.encode("utf-8")) if found else None
    target = pointer(node, ctx)
    inside = content(node, ctx) or _narrative(node, target, ctx)
    made = _stored(inside, ctx) if inside else {}
    if target:
        _point(made, target, media_type(node, ctx))
    language = (node.get("language") or "").strip()
    if made and language and len(language) <= 64 and is_code(language):
        made["language"] = language
    return made or absence(node, ctx)


def _narrative(node: "Element", target: str, ctx: "Context") -> Content | None:
    """Data that is only said in the narrative."""
    if not target.startswith("#"):
        return None
    found = ed_text(node, ctx, keep_lines=True)
    return Content(_PLAIN, found.encode("utf-8")) if found else None


def _stored(found: Content, ctx: "Context") -> Json:
    """Data has a content type (att-1); more of it than a resource should carry is a Binary."""
    made = values.attachment(found.media or _guess(found.data), found.data)
    if len(found.data) <= values.INLINE_BYTES:
        return made
    body: Json = {"contentType": made["contentType"], "data": made["data"]}
    url = ctx.make("Binary", (hashlib.sha256(found.data).hexdigest(),), body)
    if url is not None:
        del made["data"]
        made["url"] = url
        made["hash"] = values.sha1(found.data)
    return made


def _guess(data: bytes) -> str:
    """CDA's own default is text; bytes that are none are just bytes."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return values.ANY_BYTES
    return _PLAIN


def _point(made: Json, target: str, media: str | None) -> None:
    if target.startswith("#") or "url" in made or len(target) > _LONGEST_URL:
        return
    if target.startswith(_URL) and not any(letter.isspace() for letter in target):
        made["url"] = target
    else:
        made["title"] = " ".join(target.split())
    if media is not None:
        made.setdefault("contentType", media)
