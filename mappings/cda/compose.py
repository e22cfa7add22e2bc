"""What the document becomes as a whole: Composition, DocumentReference to the original, Provenance.

Source: C-CDA on FHIR, document level; FHIR R4 documents.
"""

from typing import Any

Json = dict[str, Any]


def compose(walk: Any, sections: list[Json]) -> None:
    """The Composition, first in the document's Bundle."""
    root = walk.doc.root
    made = walk.place_one("Composition", ("document", walk.feed, walk.doc.digest.hex()), "state", root)
    walk.fill("header.Composition", root, made)
    if sections:
        made.body["section"] = sections
    made.first = -1
