"""Pictures and sounds: an observationMedia is a Media, and the picture that the narrative shows.

A regionOfInterest marks a part of a picture: the picture is shown, the region is told of by the narrative only.
Source: CDA R2 §4.3.6.4 (observationMedia), §4.3.6.7 (regionOfInterest), §4.3.5.6 (renderMultiMedia).
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from mappings.cda.datatypes.attachments import content
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.walk import Walk
from mappings.fhir import values

Json = dict[str, Any]

_PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif"})


@handles("media", "observationMedia", "regionOfInterest")
def media(walk: Walk, el: Element) -> None:
    """One of them; of a region what it is a part of."""
    if el.short == "observationMedia":
        walk.state("media.Media", el)
        return
    for relation in el.named("entryRelationship"):
        for each in relation.named("observationMedia"):
            if each not in walk.outcomes:
                walk.take(each, "media")
                walk.statement = el


def shown(section: Element, walk: Walk) -> Callable[[str], str | None]:
    """`f(ID)`: the URL of the picture that a statement of the section with that ID is, or marks a part of."""
    known: dict[str, Element] = {}

    def picture(name: str) -> str | None:
        if not known:
            for el in section.iter("{urn:hl7-org:v3}observationMedia", "{urn:hl7-org:v3}regionOfInterest"):
                known.setdefault(el.get("ID") or "", el)
        found = known.get(name)
        return _url(found, walk) if found is not None else None

    return picture


def _url(el: Element, walk: Walk) -> str:
    """A `data:` URL, for more data the Binary of the Media; "" for what is no picture."""
    pictures = [el] if el.short == "observationMedia" else list(el.iter("{urn:hl7-org:v3}observationMedia"))
    for each in pictures:
        for value in each.named("value"):
            told, walk.issues = walk.issues, []  # the row of the Media tells of it
            inside = content(value, walk)
            walk.issues = told
            if inside is None or inside.media not in _PICTURES:
                continue
            if len(inside.data) <= values.INLINE_BYTES:
                return f"data:{inside.media};base64,{b64encode(inside.data).decode('ascii')}"
            body = {"contentType": inside.media, "data": b64encode(inside.data).decode("ascii")}
            return walk.make("Binary", (hashlib.sha256(inside.data).hexdigest(),), body) or ""
    return ""
