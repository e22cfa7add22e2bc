"""Devices that a message names: EI and CWE as a reference, every repetition a number of the one device.

Keyed by authority and number, as persons are; a device with a name only is contained.
Source: HL7 v2.9 §2A EI, §7.4.2.18 OBX-18, §4.5.1.18 ORC-18; v2-to-FHIR guide, EI[Identifier-Extension].
"""

from mappings.fhir import values
from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes import coded, identifiers
from mappings.hl7v2.datatypes.registry import Json, datatype
from mappings.hl7v2.datatypes.text import NULL
from mappings.terminology.concept_map import ConceptMap


@datatype("EI[Reference(Device)]", gives="Reference", takes="all")
def ei_device(raws: list[str] | str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """The device by its first number; the others, its model's or its system's, are identifiers as well."""
    found: list[Json] = []
    for index, raw in enumerate([raws] if isinstance(raws, str) else raws):
        ctx.rep_index = index
        identifier = identifiers.ei_identifier(raw, ctx) if raw and raw != NULL else None
        if identifier is not None and identifier not in found:
            found.append(identifier)
    if not found:
        return None
    number = found[0]["value"]
    reference = ctx.make("Device", (found[0].get("system", ""), number), {"identifier": found})
    return values.reference(reference, number)


@datatype("CWE[Reference(Device)]", "CE[Reference(Device)]", gives="Reference", reads={1, 2, 3, 9, 14})
def cwe_device(raw: str, ctx: Context, vocab: ConceptMap | None = None) -> Json | None:
    """A device by a code of the site's table."""
    identifier, name = coded.cwe_identifier(raw, ctx), coded.cwe_string(raw, ctx)
    names: Json = {"deviceName": [{"name": name, "type": "user-friendly-name"}]} if name else {}
    if identifier is None:
        contained = ctx.contained({"resourceType": "Device", **names}) if names else None
        return values.reference(contained, name)
    key = (identifier.get("system", ""), identifier["value"])
    return values.reference(ctx.make("Device", key, {"identifier": [identifier], **names}), name)
