"""A conversion as readable JSON: what fixtures record, and what two revisions of a mapping are compared by.

One resource after the other with how it is to be joined with what is stored, then effects, then issues. Numbers keep
their lexemes, members are sorted: equal conversions are equal texts. Whoever commits a record has read it, for each
line is a claim about a patient.

Source: design chapter HL7 v2 §3 (fixtures of a profile), operations chapter §1 (`map test`, `map diff`).
"""

from typing import Any

import msgspec

from mappings.convert import Conversion
from mappings.fhir.codec import encode

Json = dict[str, Any]


def record(conversion: Conversion) -> bytes:
    """The recorded form, indented, with a line feed at its end."""
    resources = [
        {
            "mode": mapped.mode,
            "at": mapped.at,
            "clear": list(mapped.clear),
            "filled": list(mapped.filled),
            "own": list(mapped.own),
            "into": mapped.into,
            **({"was": mapped.was} if mapped.was else {}),
            "segments": list(mapped.source),
            "body": msgspec.Raw(encode(mapped.body)),
        }
        for mapped in conversion.resources
    ]
    whole: Json = {
        **({"filtered": conversion.filtered} if conversion.filtered else {}),
        "resources": resources,
        "effects": [f"{type(effect).__name__} {effect}" for effect in conversion.effects],
        "issues": [" ".join(filter(None, (i.code, str(i.place or ""), i.row, i.detail))) for i in conversion.issues],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
