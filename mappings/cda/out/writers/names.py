"""Names of people and organizations: PN, ON.

Source: HL7 v3 datatypes R1, EN, PN, ON; FHIR R4 HumanName. `mappings/cda/datatypes/names.py` reads them.
"""

from typing import Any

from mappings.cda.element import V3
from mappings.cda.out.writers.times import ivl_ts
from mappings.cda.out.writing import Out, Writer, element
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import DATA_ABSENT_REASON, SOURCE_CODE, name_line
from mappings.outbound.reading import Json
from mappings.outbound.vocabulary import backwards
from mappings.xml_parser import Element

_QUALIFIER = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-qualifier"
_PARTS = ("prefix", "given", "family", "suffix")


def pn(node: Node, tag: str, out: Out) -> Element | None:
    """A HumanName: its parts; without any its text."""
    found: Json = node[1]
    made = element(tag, use=uses(found, "cda-entity-name-use.name-use", out))
    for kind in _PARTS:
        made.extend(_parts(found, kind, out))
    text = out.text(found, "text")
    if not len(made):
        made.text = element(tag, text).text
    elif text and text != name_line(found):
        out.left_out("the text of a name beside its parts")
    _valid(found, made, "validTime", out)
    if not len(made) and not made.text:
        reason = out.extension(found, DATA_ABSENT_REASON) or out.extension(found.get("_family"), DATA_ABSENT_REASON)
        out.mark_all(reason)
        return element(tag, nullFlavor="UNK") if reason else None
    return made


def _parts(found: Json, kind: str, out: Out) -> list[Element]:
    texts, beside = found.get(kind) or [], found.get(f"_{kind}") or []
    texts, beside = [each if isinstance(each, list) else [each] for each in (texts, beside)]
    made = []
    for n, text in enumerate(texts):
        out.mark(text)
        sibling = beside[n] if n < len(beside) else None
        if text:
            made.append(element(f"{{{V3}}}{kind}", str(text), qualifier=_qualifiers(sibling, out)))
    return made


def _qualifiers(sibling: Json | None, out: Out) -> str:
    found = [each for each in (sibling or {}).get("extension", ()) if each.get("url") == _QUALIFIER]
    for each in found:
        out.mark_all(each)
    return " ".join(str(each.get("valueCode", "")) for each in found)


def uses(found: Json, vocab: str, out: Out) -> str:
    """`use`, and the codes of it that FHIR has no word for."""
    use = out.text(found, "use")
    codes = [backwards(vocab).get(use, "")] if use else []
    if use and not codes[0]:
        out.left_out("a use that has no code in CDA")
    for each in found.get("extension", ()):
        if each.get("url") == SOURCE_CODE and "code" in each.get("valueCoding", {}):
            out.mark_all(each)
            codes.append(str(each["valueCoding"]["code"]))
    return " ".join(filter(None, dict.fromkeys(codes)))


def _valid(found: Json, made: Element, tag: str, out: Out) -> None:
    if (period := found.get("period")) and (
        valid := ivl_ts(("Period", period, None), f"{{{V3}}}{tag}", out)
    ) is not None:
        made.append(valid)


def valid_of(found: Json, made: Element, out: Out) -> None:
    """How long an address or telecom is of use."""
    outer, out.declared = out.declared, "SXCM_TS"
    _valid(found, made, "useablePeriod", out)
    out.declared = outer


def on(node: Node, tag: str, out: Out) -> Element | None:
    """The name of an organization, a text."""
    value: Any = node[1]
    if isinstance(value, dict):
        return pn(node, tag, out)
    out.mark(value)
    return element(tag, str(value)) if value else None


WRITERS: dict[str, Writer] = {"PN": pn, "ON": on}
