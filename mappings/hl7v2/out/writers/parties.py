"""People, organizations and places that a reference leads to: XCN, PPN, CNN, NDL, XON, PL, DLD.

A reference that leads to nothing handed in goes out with what it says itself: its identifier, else its display.
Source: HL7 v2.9 §2A XCN, XON, PL; `mappings/hl7v2/datatypes/parties.py` reads them.
"""

from mappings.fhir.fhirpath import Node
from mappings.hl7v2.out.writers.identifiers import (
    URIS,
    authority,
    check_digit,
    entity,
    hd,
    kind_of,
    trimmed,
    unscoped,
)
from mappings.hl7v2.out.writers.people import core, details, kind, professional
from mappings.hl7v2.out.writing import Out, Repetition, Writer, bare
from mappings.outbound.reading import Json

_MOST_LEVELS = 8
# FHIR's physical type -> component of PL
_LEVELS = {"si": 4, "bu": 7, "lvl": 8, "wa": 1, "ro": 2, "bd": 3}
_POINT_OF_CARE = 1


# People -------------------------------------------------------------------------------------------------------------


def _person(reference: Json, out: Out) -> tuple[Json, Json]:
    """(identifier, name) of whom a reference leads to; through a PractitionerRole to its Practitioner."""
    found = out.resolved(reference)
    if found is not None and found.get("resourceType") == "PractitionerRole" and "practitioner" in found:
        if (behind := out.resolved(found["practitioner"])) is not None:
            found = behind
    if found is None:
        return reference.get("identifier") or {}, {}
    numbers, names = found.get("identifier") or [{}], found.get("name") or [{}]
    if not isinstance(names, list):  # an Organization or Device in a person's place
        return numbers[0], {"text": names}
    return numbers[0], names[0]


def _shown(reference: Json, number: Json, name: Json, out: Out) -> list[str | list[str]]:
    """The six components of a name; a display alone stands where the surname does."""
    if name.get("text") and not (name.get("family") or name.get("given")):
        return [[out.text(name, "text")], "", "", "", "", ""]
    if name:
        return core(name, out)
    shown = out.text(reference, "display")
    return [[shown if shown != number.get("value") else ""], "", "", "", "", ""]


def xcn(node: Node, out: Out) -> Repetition | None:
    """XCN and PPN. Before 2.3 made it XCN the shorter CN held the same; what has no room is left out."""
    reference = node[1]
    number, name = _person(reference, out)
    value, shown = out.text(number, "value"), _shown(reference, number, name, out)
    given, facility = authority(number, out) if number else ([], [])
    if not given and number.get("system"):
        made = unscoped(number["system"], out.receiver)
        given = [] if made else trimmed(hd(number["system"], out.receiver))
    digit, scheme = check_digit(number, out)
    type_ = kind(name, out)
    shape, order, (start, end) = details(name, out)
    tail: Repetition = [
        digit,
        scheme,
        kind_of(number, out),
        facility,
        shape,
        "",
        "",
        order,
        start,
        end,
        professional(name),
    ]
    return bare([value, *shown, "", given, type_, *tail])


def _cnn(reference: Json, out: Out) -> list[str]:
    """CNN in subcomponents: number, name, an HD spread over the last three."""
    number, name = _person(reference, out)
    value, shown = out.text(number, "value"), _shown(reference, number, name, out)
    given, facility = authority(number, out) if number else ([], [])
    if facility or kind_of(number, out):
        out.issue("left-out", detail="the kind of a person's number, or who manages it")
    flat = [each if isinstance(each, str) else each[0] for each in shown]
    return [value, *flat, "", *[*given, "", "", ""][:3]]


def ndl(node: Node, out: Out) -> Repetition | None:
    """NDL: the person in the first component."""
    parts = _cnn(node[1], out)
    while parts and not parts[-1]:
        parts.pop()
    return [parts] if parts else None


# Organizations ------------------------------------------------------------------------------------------------------


def xon(node: Node, out: Out) -> Repetition | None:
    """XON: .1 the name, .6 who gave the number out, .10 the number (before 2.7 in .3 where .10 has no room)."""
    reference = node[1]
    found = out.resolved(reference)
    number = ((found or {}).get("identifier") or [{}])[0] if found else reference.get("identifier") or {}
    name = out.text(found, "name") or out.text(reference, "display")
    value = out.text(number, "value")
    if name == value:
        name = ""
    given, facility = authority(number, out) if number else ([], [])
    digit, scheme = check_digit(number, out)
    wide = len(out.slot.parts) >= 10
    return bare(
        [
            name,
            "",
            "" if wide else value,
            digit,
            scheme,
            given,
            kind_of(number, out),
            facility,
            "",
            value if wide else "",
        ]
    )


def coded_party(node: Node, out: Out) -> Repetition | None:
    """A CWE for a party that is known by its code: the logical reference of OBX-15."""
    from mappings.hl7v2.out.writers.coded import spread

    reference = node[1]
    number = reference.get("identifier") or {}
    concept: Json = {"coding": [{"system": number.get("system"), "code": number.get("value")}]} if number else {}
    parts = spread(concept, len(out.slot.parts), out)
    parts[1] = out.text(reference, "display")
    if parts[1] == parts[0]:
        parts[1] = ""
    return bare(parts)


# Places -------------------------------------------------------------------------------------------------------------


def pl(node: Node, out: Out) -> Repetition | None:
    """PL: the Location and those around it, each in the component of its physical type."""
    reference = node[1]
    parts: Repetition = [""] * 11
    place = out.resolved(reference)
    if place is None:
        parts[8] = out.text(reference, "display")
        return bare(parts)
    for depth in range(_MOST_LEVELS):
        at = _level(place, out)
        parts[(at or _POINT_OF_CARE) - 1] = _named(place, out, depth == 0, parts)
        around = place.get("partOf")
        if not around or (place := out.resolved(around) or {}) == {}:
            break
    return bare(parts)


def _level(place: Json, out: Out) -> int:
    for coding in (place.get("physicalType") or {}).get("coding", ()):
        if coding.get("code") in _LEVELS:
            out.mark_all(place["physicalType"])
            return _LEVELS[coding["code"]]
    return 0


def _named(place: Json, out: Out, innermost: bool, parts: Repetition) -> str | list[str]:
    """The name of a level, with its universal id; the number of the innermost goes to PL.10."""
    name = out.text(place, "name")
    out.take(place, "mode")
    found: list[str] = [name]
    for identifier in place.get("identifier", ()):
        if identifier.get("system") == URIS:
            known = hd(str(identifier.get("value", "")), out.receiver)
            out.mark_all(identifier)
            found = [name, *known[1:]]
        elif innermost:
            parts[9] = entity(identifier, out)
    return found if len(found) > 1 else name


def dld(node: Node, out: Out) -> Repetition | None:
    """DLD, or a code alone: a place by its code, else by its name."""
    place = out.resolved(node[1]) or {}
    for coding in (place.get("type") or [{}])[0].get("coding", ()):
        out.take(coding, "system")
        code, name = out.text(coding, "code"), out.text(place, "name")
        out.take(place, "mode")
        return [[code, name] if name != code else [code]]
    shown = out.text(place, "name") or out.text(node[1], "display")
    return [[shown]] if shown else None


WRITERS: dict[str, Writer] = {
    "XCN": xcn, "PPN": xcn, "NDL": ndl, "XON": xon, "PL": pl, "DLD": dld, "CWE.party": coded_party,
}  # fmt: skip
