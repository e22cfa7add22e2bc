"""Where to find someone: XAD, XTN.

Source: HL7 v2.9 §2A XAD, XTN, tables 0190, 0201, 0202; `mappings/hl7v2/datatypes/contacts.py` reads them.
"""

from mappings.fhir.fhirpath import Node
from mappings.fhir.values import SOURCE_CODE, STRUCTURE
from mappings.hl7v2.out.writers.text import number
from mappings.hl7v2.out.writers.time import bounds
from mappings.hl7v2.out.writing import Out, Repetition, Writer, bare
from mappings.outbound.reading import Json
from mappings.outbound.vocabulary import backwards

_CENSUS = STRUCTURE + "iso21090-ADXP-censusTract"
_PARTS = tuple(STRUCTURE + f"contactpoint-{part}" for part in ("country", "area", "local", "extension"))
_EQUIPMENT = {
    "email": "Internet",
    "url": "Internet",
    "fax": "FX",
    "pager": "BP",
    "phone": "PH",
    "sms": "CP",
}  # table 0202


def xad(node: Node, out: Out) -> Repetition | None:
    found = node[1]
    lines = [str(each) for each in out.take(found, "line") or () if each is not None]
    text = out.text(found, "text")
    if not lines and text and not (found.get("city") or found.get("postalCode")):
        lines = [text]
    place = [out.text(found, name) for name in ("city", "state", "postalCode", "country")]
    first, *more = lines or [""]
    second, third, *rest = [*more, "", ""]
    if any(rest):
        out.issue("left-out", detail="a line of an address beyond the third")
    tract = out.text(_census(found, out), "valueString")
    used: Repetition = [*place, _kind(found, out), third, [out.text(found, "district")], [tract], "", ""]
    return bare([[first], second, *used, *bounds(found.get("period"), out)])


def _census(address: Json, out: Out) -> Json | None:
    """The extension of the first line."""
    beside = address.get("_line") or [None]
    return out.extension(beside[0], _CENSUS) if beside[0] else None


def _kind(address: Json, out: Out) -> str:
    """Table 0190: the code that was sent, else FHIR's use, else its type."""
    sent = (out.extension(address, SOURCE_CODE) or {}).get("valueCoding")
    if sent:
        out.take(sent, "system")
        return out.text(sent, "code")
    use, type_ = address.get("use"), address.get("type")
    if use and (code := backwards("v2-0190.address-use").get(use)):
        out.take(address, "use")
        return code
    if type_ and (code := backwards("v2-0190.address-type").get(type_)):
        out.take(address, "type")
        return code
    return ""


def xtn(node: Node, out: Out) -> Repetition | None:
    """.1 is what every version reads; the unformatted number (.12) what the newer ones do."""
    found = node[1]
    value, system = out.text(found, "value"), out.text(found, "system")
    if not value:
        return None
    use = _use(found, out)
    equipment = "CP" if found.get("use") == "mobile" and system == "phone" else _EQUIPMENT.get(system, "")
    if system and not equipment:
        out.issue("left-out", 3, detail="a kind of equipment that table 0202 does not have")
    pieces = [out.text(out.extension(found, url), "valueString") for url in _PARTS]
    parts = ["", use, equipment, "", *pieces, "", "", "", ""]
    spoken = any(pieces) and _spoken(pieces) == value
    if system in ("email", "url"):
        parts[3] = value
    elif len(out.slot.parts) >= 12 and not spoken:
        parts[11] = value
    elif not spoken:
        parts[0] = value
    rank = found.get("rank")
    out.mark(rank)
    start, end = bounds(found.get("period"), out)
    return bare([*parts, start, end, "", "", "", number(rank) if rank is not None else ""])


def _spoken(pieces: list[str]) -> str:
    """The number as reading its parts gives it."""
    country, area, local, extension = pieces
    shown = [f"+{country.lstrip('+')}" if country else "", area, local, f"x{extension}" if extension else ""]
    return " ".join(each for each in shown if each) if local else ""


def _use(contact: Json, out: Out) -> str:
    """Table 0201: the code that was sent, else FHIR's use; mail has a use of its own."""
    sent = (out.extension(contact, SOURCE_CODE) or {}).get("valueCoding")
    use = out.text(contact, "use")
    if sent:
        out.take(sent, "system")
        return out.text(sent, "code")
    if contact.get("system") in ("email", "url") and not use:
        return "NET"
    return backwards("v2-0201.contact-point-use").get(use, "") if use else ""


WRITERS: dict[str, Writer] = {"XAD": xad, "XTN": xtn}
