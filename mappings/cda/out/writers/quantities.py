"""Numbers with units: PQ, IVL_PQ, RTO_PQ_PQ.

The number keeps its lexeme. A unit is its UCUM code; words that are none stay words: the original text of a
translation, where reading finds them again. A comparator is an interval with one end.
Source: HL7 v3 datatypes R1, PQ, IVL<PQ>, RTO; FHIR R4 Quantity, Range, Ratio. `mappings/cda/datatypes/quantities.py`
reads them.
"""

from mappings.cda.element import V3
from mappings.cda.out.writing import Out, Writer, element, typed
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import UCUM
from mappings.outbound.reading import Amount, Json
from mappings.terminology import ucum
from mappings.xml_parser import Element

_PLAIN = frozenset("0123456789.+-")
_LOW, _HIGH = f"{{{V3}}}low", f"{{{V3}}}high"
_ENDS = {"<": (_HIGH, "false"), "<=": (_HIGH, ""), ">": (_LOW, "false"), ">=": (_LOW, "")}


def lexeme(value: object) -> str:
    """A number as it was written, without an exponent."""
    written = value.written if isinstance(value, Amount) else str(value)
    if _PLAIN.issuperset(written) or not isinstance(value, Amount):
        return written
    return f"{value:f}"


def point(found: Json | None, tag: str, out: Out, inclusive: str = "") -> Element | None:
    """One number with its unit; a comparator is its caller's."""
    amount = (found or {}).get("value")
    out.mark(amount)
    if found is None or amount is None:
        return None
    shown, system, code = (out.text(found, name) for name in ("unit", "system", "code"))
    unit = code if code and system in ("", UCUM) else _known(shown)
    made = element(tag, value=lexeme(amount), unit=unit, inclusive=inclusive)
    if shown and not unit:
        words = element(f"{{{V3}}}translation", nullFlavor="OTH")
        words.append(element(f"{{{V3}}}originalText", shown))
        made.append(words)
    return made


def _known(words: str) -> str:
    """The code of a unit that only its words tell, where they are safe to read."""
    return ucum.code_for(words) or (words if ucum.is_code(words) else "")


def quantity(found: Json, tag: str, out: Out) -> tuple[str, Element] | None:
    """(datatype, element) of a Quantity."""
    comparator = out.text(found, "comparator")
    if not comparator:
        made = point(found, tag, out)
        return None if made is None else ("PQ", made)
    end, inclusive = _ENDS[comparator]
    inner = point(found, end, out, inclusive)
    if inner is None:
        return None
    made = element(tag)
    made.append(inner)
    return "IVL_PQ", made


def interval(found: Json, tag: str, out: Out) -> Element | None:
    """A Range."""
    ends = [point(found.get(name), f"{{{V3}}}{name}", out) for name in ("low", "high")]
    made = element(tag)
    made.extend(each for each in ends if each is not None)
    return made if len(made) else None


def ratio(found: Json, tag: str, out: Out) -> Element | None:
    """Both ends of a Ratio, each with its type: RTO's are of any quantity."""
    made = element(tag)
    for name in ("numerator", "denominator"):
        end = point(found.get(name), f"{{{V3}}}{name}", out)
        if end is None:
            out.left_out("a ratio of one number")
            return None
        made.append(typed(end, "PQ"))
    return made


def pq(node: Node, tag: str, out: Out) -> Element | None:
    """A simple quantity."""
    found = quantity(node[1], tag, out)
    if found is not None and found[0] != "PQ":
        out.left_out("a comparator")
        return None
    return None if found is None else found[1]


def ivl_pq(node: Node, tag: str, out: Out) -> Element | None:
    """A quantity, with or without comparator, or a Range."""
    if "numerator" in node[1]:
        out.left_out("a ratio")
        return None
    if "low" in node[1] or "high" in node[1]:
        return interval(node[1], tag, out)
    found = quantity(node[1], tag, out)
    return None if found is None else found[1]


def range_text(node: Node, tag: str, out: Out) -> Element | None:
    """A reference range as text: `therapeutic: 10 - 20 mg/L`."""
    found: Json = node[1]
    labels = [_label(each) for each in (found.get("type") or {}, *found.get("appliesTo", ()))]
    if age := " - ".join(filter(None, (_words((found.get("age") or {}).get(name), out) for name in ("low", "high")))):
        labels.append(f"age {age}")
    for name in ("type", "appliesTo", "age"):
        out.mark_all(found.get(name))
    ends = " - ".join(_words(found.get(name), out) or "..." for name in ("low", "high"))
    return element(tag, ": ".join(filter(None, [", ".join(filter(None, labels)), ends])))


def _label(concept: Json) -> str:
    codings = concept.get("coding", ())
    return str(concept.get("text") or next((e.get("display") or e.get("code") for e in codings), ""))


def _words(found: Json | None, out: Out) -> str:
    if not found or found.get("value") is None:
        return ""
    out.mark_all(found)
    return f"{lexeme(found['value'])} {found.get('unit') or found.get('code') or ''}".strip()


def rto(node: Node, tag: str, out: Out) -> Element | None:
    return ratio(node[1], tag, out)


WRITERS: dict[str, Writer] = {"PQ": pq, "IVL_PQ": ivl_pq, "ST.range": range_text, "RTO_PQ_PQ": rto}
