"""Documents inside a message: ED, RP, and the lines of a text document.

Data goes out as Base64; what is only a pointer, as RP. Text documents have their lines in OBX of type TX.
Source: HL7 v2.9 §2A ED, RP, tables 0191, 0291, 0299; `mappings/hl7v2/datatypes/attachments.py` reads them.
"""

import base64
import binascii

from mappings.fhir.fhirpath import Node
from mappings.hl7v2.out.writing import Out, Repetition, Several, Writer
from mappings.outbound.reading import Json

# Media type -> (ED.2 of table 0191, ED.3 of table 0291)
_MEDIA = {
    "application/pdf": ("AP", "PDF"), "application/rtf": ("AP", "RTF"), "text/html": ("TEXT", "HTML"),
    "application/xml": ("AP", "XML"), "text/plain": ("TEXT", "PLAIN"), "image/jpeg": ("IM", "JPEG"),
    "image/png": ("IM", "PNG"), "image/gif": ("IM", "GIF"), "image/tiff": ("IM", "TIFF"),
    "application/dicom": ("AP", "DICOM"), "audio/basic": ("AU", "BASIC"),
    "text/xml": ("TEXT", "x-hl7-cda-level-one"),
}  # fmt: skip
_TOPS = {"application": "AP", "audio": "AU", "image": "IM", "multipart": "multipart", "text": "TEXT"}
_OCTETS = ("AP", "octet-stream")


def media(content_type: str) -> tuple[str, str]:
    bare = content_type.partition(";")[0].strip().lower()
    if (known := _MEDIA.get(bare)) is not None:
        return known
    top, _, sub = bare.partition("/")
    return (_TOPS[top], sub) if top in _TOPS and sub else _OCTETS


def ed(attachment: Json, out: Out) -> tuple[str, Repetition]:
    """(ED or RP, components) of an attachment; nothing where it holds nothing."""
    content_type = out.text(attachment, "contentType")
    data = attachment.get("data") or _binary(attachment, out)
    if data:
        for name in ("data", "size", "hash"):
            out.take(attachment, name)
        kind, sub = media(content_type)
        return "ED", ["", kind, sub, "Base64", str(data)]
    url, title = out.text(attachment, "url"), ""
    if not url:
        title = out.text(attachment, "title")
    kind, sub = media(content_type) if content_type else ("", "")
    return ("RP", [url or title, "", kind, sub]) if url or title else ("", [])


def _binary(attachment: Json, out: Out) -> str:
    """The bytes of a Binary handed in that the attachment points at."""
    found = out.find(str(attachment.get("url", "")))
    if found is None or found.get("resourceType") != "Binary":
        return ""
    out.take(attachment, "url")
    out.take(found, "contentType")
    if found.get("securityContext"):
        out.mark_all(found["securityContext"])
    return out.text(found, "data")


def is_text(attachment: Json) -> bool:
    return str(attachment.get("contentType", "")).partition(";")[0] == "text/plain" and bool(attachment.get("data"))


def text_of(attachment: Json) -> str | None:
    """The text of a text/plain attachment; None where it is no text."""
    try:
        return base64.b64decode(str(attachment["data"])).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def _as_lines(attachment: Json) -> list[str] | None:
    found = text_of(attachment) if is_text(attachment) else None
    return found.split("\n") if found is not None else None


def kind_of_document(node: Node, out: Out) -> Repetition | None:
    kind, _ = ed(node[1], out)
    return [kind] if kind else None


def document(node: Node, out: Out) -> Repetition | None:
    kind, repetition = ed(node[1], out)
    out.constants["@kind"] = [kind]
    return repetition or None


def lines(node: Node, out: Out) -> Several | None:
    """The lines of a text; what is no text in UTF-8 goes out as data."""
    attachment = node[1]
    text = text_of(attachment)
    out.constants["@kind"] = ["TX"]
    if text is None:
        out.issue("bad-encoding")
        return None
    for name in ("data", "size", "hash", "contentType"):
        out.take(attachment, name)
    return Several([line] for line in text.split("\n"))


def presentation(node: Node, out: Out) -> Repetition | None:
    """TXA-3, table 0191: TX for text, else the kind of the first content."""
    attachment = ((node[1].get("content") or [{}])[0].get("attachment")) or {}
    if not attachment.get("contentType"):
        return None
    return ["TX" if is_text(attachment) else media(str(attachment["contentType"]))[0]]


WRITERS: dict[str, Writer] = {
    "DOC.type": kind_of_document, "DOC.value": document, "DOC.lines": lines, "DOC.presentation": presentation,
}  # fmt: skip
