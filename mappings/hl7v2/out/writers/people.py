"""Names of people: XPN, and the name part of XCN, PPN and CNN.

Source: HL7 v2.9 §2A XPN, FN, table 0200; `mappings/hl7v2/datatypes/names.py` reads them.
"""

from mappings.fhir.fhirpath import Node
from mappings.fhir.values import SOURCE_CODE, STRUCTURE
from mappings.hl7v2.out.writers.time import bounds
from mappings.hl7v2.out.writing import Out, Repetition, Writer, bare
from mappings.outbound.reading import Json
from mappings.outbound.vocabulary import backwards

_OWN_AND_PARTNER = tuple(
    STRUCTURE + f"humanname-{part}" for part in ("own-prefix", "own-name", "partner-prefix", "partner-name")
)
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_REPRESENTATIONS = {"ABC": "A", "IDE": "I", "SYL": "P"}  # the value set of that extension -> table 0465
_ORDER = STRUCTURE + "humanname-assembly-order"


def family(name: Json, out: Out) -> list[str]:
    """FN: the surname and what it is made of."""
    made = name.get("_family")
    parts = [out.text(out.extension(made, url), "valueString") for url in _OWN_AND_PARTNER]
    return [out.text(name, "family"), *parts] if any(parts) else [out.text(name, "family")]


def core(name: Json, out: Out) -> list[str | list[str]]:
    """Family, given, further given, suffix, prefix, degree: the order of XPN. A second suffix is the degree."""
    given = [str(each) for each in out.take(name, "given") or ()]
    suffixes = [str(each) for each in out.take(name, "suffix") or ()]
    prefix = " ".join(str(each) for each in out.take(name, "prefix") or ())
    first, more = given[0] if given else "", " ".join(given[1:])
    return [family(name, out), first, more, *_suffixes(suffixes, prefix)]


def _suffixes(suffixes: list[str], prefix: str) -> tuple[str, str, str]:
    first, degree = [*suffixes, "", ""][:2]
    return first, prefix, degree


def professional(name: Json) -> str:
    """What stands behind suffix and degree, read with them."""
    return " ".join(str(each) for each in name.get("suffix", ())[2:])


def kind(name: Json, out: Out) -> str:
    """XPN.7: the code that was sent, else FHIR's use."""
    sent = (out.extension(name, SOURCE_CODE) or {}).get("valueCoding")
    if sent:
        out.take(sent, "system")
        return out.text(sent, "code")
    use = out.text(name, "use")
    return backwards("v2-0200.name-use").get(use, "") if use else ""


def details(name: Json, out: Out) -> tuple[str, str, tuple[str, str]]:
    """(representation, order of assembly, validity)."""
    shown = out.text(out.extension(name, _REPRESENTATION), "valueCode")
    order = out.text(out.extension(name, _ORDER), "valueCode")
    return _REPRESENTATIONS.get(shown, ""), order, bounds(name.get("period"), out)


def xpn(node: Node, out: Out) -> Repetition | None:
    """A name; a nickname without a surname is what the person is called (.15)."""
    name = node[1]
    if not isinstance(name, dict):
        out.mark(name)
        return [str(name)] if name else None
    if not (name.get("family") or name.get("given")) and name.get("text"):
        return bare([out.text(name, "text"), *[""] * 5, kind(name, out)])
    parts = core(name, out)
    type_ = kind(name, out)
    shown, order, (start, end) = details(name, out)
    return bare([*parts, type_, shown, "", "", order, start, end, professional(name)])


WRITERS: dict[str, Writer] = {"XPN": xpn}
