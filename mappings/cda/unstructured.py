"""Documents whose body is no XML: a PDF, a picture, a text.

The body is decoded once, its media type checked against its first bytes, and kept as it came: a Binary that the
DocumentReference shows beside the original, and a section that says so. Nothing here is ever rendered.
Source: CDA R2 §4.3.1.3 (nonXMLBody); C-CDA R2.1, unstructured document; IHE ITI XDS-SD; eHDSI, level 1 documents.
"""

import hashlib
from html import escape
from typing import TYPE_CHECKING, Any

from mappings.cda.datatypes.attachments import content as content_of
from mappings.cda.datatypes.attachments import ed_attachment
from mappings.cda.datatypes.text import inline
from mappings.cda.element import Element
from mappings.fhir import values

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]


def bodies(walk: "Walk") -> list[Element]:
    """The text of each nonXMLBody."""
    return [
        text
        for component in walk.doc.root.named("component")
        for body in component.named("nonXMLBody")
        for text in body.named("text")
    ]


def content(walk: "Walk", original: Any) -> list[Json]:
    """The DocumentReference's further contents: each body as an attachment."""
    found = [_attachment(each, walk, original) for each in bodies(walk)]
    return [{"attachment": each} for each in found if each is not None]


def _attachment(text: Element, walk: "Walk", original: Any) -> Json | None:
    """Bytes as a Binary, be they many or few; a pointer to what is elsewhere as a pointer."""
    walk.node = text
    inside = content_of(text, walk)
    if inside is None:
        return None if inline(text).strip() else ed_attachment(text, walk)
    media = inside.media or values.ANY_BYTES
    data = values.attachment(media, inside.data)
    key = (original.type, original.id, hashlib.sha256(inside.data).hexdigest())
    binary = walk.place_one("Binary", key, "state", text)
    binary.body |= {
        "contentType": media,
        "securityContext": {"reference": original.ref},
        "data": data["data"],
    }
    return {"contentType": media, "size": len(inside.data), "hash": values.sha1(inside.data), "url": binary.ref}


def sections(original: Any, title: str) -> list[Json]:
    """One section for each body: what it is, how long, and where it is kept."""
    return [
        {
            "title": title,
            "text": {"status": "generated", "div": _told(each["attachment"])},
            "entry": [{"reference": original.ref}],
        }
        for each in original.body["content"][1:]
    ]


def _told(attachment: Json) -> str:
    """What a reader is told of it."""
    named = ("contentType", "size") if "size" in attachment else ("contentType", "title", "url")
    said = [f"{attachment[name]}{' bytes' if name == 'size' else ''}" for name in named if name in attachment]
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(", ".join(said) or "-", quote=False)}</div>'
