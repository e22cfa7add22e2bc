"""Texts, bare codes, booleans and numbers: ST, TX, FT, ID, IS, NM.

Source: HL7 v2.9 §2A; FHIR R4 string, code, boolean, decimal.
"""

from mappings.fhir.fhirpath import Node
from mappings.fhir.values import ALTERNATE_CODES
from mappings.hl7v2.out.writing import Out, Repetition, Several, Writer
from mappings.outbound.reading import Amount, Json
from mappings.outbound.vocabulary import backwards

_PLAIN = frozenset("0123456789.+-")


def number(value: object) -> str:
    """An NM has no exponent; the digits stay as they were written."""
    written = value.written if isinstance(value, Amount) else str(value)
    if _PLAIN.issuperset(written) or not isinstance(value, Amount):
        return written
    return f"{value:f}"


def st(node: Node, out: Out) -> Repetition | None:
    _, value, _ = node
    if value is True or value is False:
        return ["Y" if value else "N"]
    out.mark(value)
    return [number(value)] if value is not None and not isinstance(value, dict) else None


def lines(node: Node, out: Out) -> Several | None:
    """A text as the repetitions of a TX or FT field: a line each."""
    value = node[1]
    out.mark(value)
    return Several([line] for line in str(value).split("\n")) if value else None


def code(node: Node, out: Out) -> Repetition | None:
    """A code through the row's table, read backwards. The code that was sent, kept beside it, says more."""
    _, value, sibling = node
    if value is True or value is False:
        return ["Y" if value else "N"]
    if (sent := _sent(sibling, out)) is not None:
        out.mark(value)
        return [sent]
    if value is None:
        return None
    out.mark(value)
    if out.vocab is None:
        return [str(value)]
    found = backwards(out.vocab.name).get(str(value))
    if found is None:
        out.issue("vocab-miss")
        return None
    return [found]


def _sent(sibling: Json | None, out: Out) -> str | None:
    """The code of `alternate-codes`: of the field's own table, and one that means what stands beside it."""
    kept = out.extension(sibling, ALTERNATE_CODES)
    codings = ((kept or {}).get("valueCodeableConcept") or {}).get("coding", ())
    for coding in codings:
        if coding.get("code") and (out.vocab is None or coding["code"] in out.vocab.known or len(codings) == 1):
            out.mark_all(coding)
            return str(coding["code"])
    return None


WRITERS: dict[str, Writer] = {
    "ST": st, "NM": st, "SI": st, "TX": lines, "FT": lines, "ID": code, "IS": code,
}  # fmt: skip
