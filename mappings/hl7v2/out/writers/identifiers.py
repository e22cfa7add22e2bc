"""Numbers and who gave them out: HD, CX, EI, EIP, DLN.

The receiver's own name for a system stands first, then a universal id: OID, UUID, DNS name, URI. A URI that a feed's
profile made of a name turns into that name again; one that it made for a number without an authority, into nothing.
Source: HL7 v2.9 §2A.1 HD, CX, EI; `mappings/hl7v2/datatypes/identifiers.py` reads them.
"""

from urllib.parse import unquote

from mappings.fhir import values
from mappings.fhir.fhirpath import Node
from mappings.hl7v2.out.receiver import Name, Receiver
from mappings.hl7v2.out.writers.time import bounds
from mappings.hl7v2.out.writing import Out, Repetition, Writer, bare
from mappings.outbound.reading import Json
from mappings.outbound.vocabulary import oid

_DIGIT = values.STRUCTURE + "identifier-checkDigit"
_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
URIS = "urn:ietf:rfc:3986"
_IMPLIED = frozenset({"identifier", "practitioner", "organization", "field"})  # read again, these come back


def unscoped(uri: str, receiver: Receiver) -> tuple[str, str] | None:
    """(kind, name) of a URI that the feed's profile made."""
    base = receiver.scope
    if not base or not uri.startswith(f"{base}/"):
        return None
    kind, slash, name = uri[len(base) + 1 :].partition("/")
    return (kind, unquote(name)) if slash else None


def hd(uri: str, receiver: Receiver) -> Name:
    """An authority; nothing for a system the feed made up because nobody was named."""
    if (known := receiver.namespaces.get(uri)) is not None:
        return known
    if (made := unscoped(uri, receiver)) is not None:
        return Name(made[1]) if made[0] == "authority" else Name()
    if uri.startswith("urn:uuid:"):
        return Name("", uri[9:], "UUID")
    if uri.startswith("urn:dns:"):
        return Name("", uri[8:], "DNS")
    registered = oid(uri)
    return Name("", registered, "ISO") if registered else Name("", uri, "URI")


def authority(identifier: Json, out: Out) -> tuple[list[str], list[str]]:
    """(HD, facility) of an Identifier; its assigner names the one or the other."""
    system = out.text(identifier, "system")
    found = hd(system, out.receiver) if system else Name()
    if found == Name() and (made := unscoped(system, out.receiver)) and made[0] not in _IMPLIED:
        out.issue("left-out", detail="whose number it is")
    assigner = identifier.get("assigner") or {}
    shown, facility = out.text(assigner, "display"), ""
    beside = out.text(assigner.get("identifier"), "value")
    if beside:
        shown, facility = beside, shown
    elif shown and found.namespace and shown != found.namespace:
        shown, facility = "", shown
    if found != Name() and not found.namespace and shown:
        found = found._replace(namespace=shown)
    elif shown and found == Name():
        facility = facility or shown
    return trimmed(found), [facility] if facility else []


def trimmed(name: Name) -> list[str]:
    found = list(name)
    while found and not found[-1]:
        found.pop()
    return found


def kind_of(identifier: Json, out: Out) -> str:
    """The type of an identifier: its code of table 0203, or the site's own beside it."""
    for coding in (identifier.get("type") or {}).get("coding", ()):
        scoped = unscoped(coding.get("system", ""), out.receiver)
        if coding.get("system") == _TYPES or scoped == ("table", "0203"):
            out.take(coding, "system")
            out.take(coding, "display")
            return out.text(coding, "code")
    return ""


def check_digit(identifier: Json, out: Out) -> tuple[str, str]:
    digit, _, scheme = out.text(out.extension(identifier, _DIGIT), "valueString").partition(" ")
    return digit, scheme


def cx(node: Node, out: Out) -> Repetition | None:
    found = node[1]
    number = out.text(found, "value")
    if not number:
        return None
    given, facility = authority(found, out)
    digit, scheme = check_digit(found, out)
    kind = kind_of(found, out)
    if kind == "VN" and unscoped(found.get("system", ""), out.receiver) == ("identifier", "unspecified"):
        kind = ""  # PV1-19 said it; a type would name another series of numbers
    return bare([number, digit, scheme, given, kind, facility, *bounds(found.get("period"), out)])


def entity(found: Json | None, out: Out) -> list[str]:
    """The four parts of an EI."""
    number = out.text(found, "value")
    if found is None or not number:
        return []
    _implied(found, out)
    given, facility = authority(found, out)
    if facility:
        out.issue("left-out", detail="the name of who gave the number out")
    return [number, *given]


def _implied(identifier: Json, out: Out) -> None:
    """The type of an order's number (PLAC, FILL, PGN, FGN) is its field's to say."""
    if kind_of(identifier, out) not in ("PLAC", "FILL", "PGN", "FGN", ""):
        out.issue("left-out", detail="the type of the number")


def ei(node: Node, out: Out) -> Repetition | None:
    return list(entity(node[1], out)) or None


def ei_in_pair(node: Node, out: Out) -> Repetition | None:
    """EI before 2.8, EIP from then on (ORC-4): the number in the first part."""
    found = entity(node[1], out)
    return ([found] if max(out.slot.parts or (1,)) > 1 else list(found)) if found else None


def eip(node: Node, out: Out) -> Repetition | None:
    """A thing's numbers as a pair: the placer's and the filler's, of `identifier`."""
    known = {kind_of_quietly(each): each for each in reversed(node[1].get("identifier", ()))}
    placer, filler = entity(known.get("PLAC"), out), entity(known.get("FILL"), out)
    if not placer and not filler and "" in known:
        filler = entity(known[""], out)
    return bare([placer, filler])


def kind_of_quietly(identifier: Json) -> str:
    """The type, without reading it."""
    codings = (identifier.get("type") or {}).get("coding", ())
    return next((str(each.get("code", "")) for each in codings if each.get("system") == _TYPES), "")


def parent(node: Node, out: Out) -> Repetition | None:
    """EIP of one Identifier: the placer's where it says so, else the filler's."""
    found = node[1]
    side = kind_of_quietly(found)
    number = entity(found, out)
    return bare([number, []] if side == "PLAC" else [[], number])


def dln(node: Node, out: Out) -> Repetition | None:
    """A driver's license: number, issuer, expiration."""
    found = node[1]
    number = out.text(found, "value")
    kind_of(found, out)
    issuer = out.text(found.get("assigner"), "display")
    made = unscoped(out.text(found, "system"), out.receiver)
    issuer = issuer or (made[1] if made and made[1] != "unspecified" else "")
    return bare([number, issuer, bounds(found.get("period"), out)[1]]) if number else None


def plain(node: Node, out: Out) -> Repetition | None:
    """The number alone, for a field that has no room for more and says by itself whose it is."""
    out.text(node[1], "system")
    kind_of(node[1], out)
    number = out.text(node[1], "value")
    return [number] if number else None


def hd_of_reference(node: Node, out: Out) -> Repetition | None:
    """An Organization that is known by its HD: its URI, and its name."""
    found = out.resolved(node[1])
    name = out.text(found, "name") or out.text(node[1], "display")
    for identifier in (found or {}).get("identifier", ()):
        if identifier.get("system") == URIS:
            out.take(identifier, "system")
            known = hd(out.text(identifier, "value"), out.receiver)
            return [*trimmed(known if known.namespace else known._replace(namespace=name))]
    return [name] if name else None


WRITERS: dict[str, Writer] = {
    "CX": cx, "EI": ei, "EI.pair": ei_in_pair, "EIP": eip, "EIP.parent": parent, "DLN": dln, "CX.number": plain,
    "HD": hd_of_reference,
}  # fmt: skip
