"""Coded values: CE, CWE, CNE, and IS or ID where the version has no more room.

Codings in their order, as many as there is room for. The coding that the inbound map made of the sender's own is not
sent: the sender's is, and gives it again. A system goes out under the receiver's name, HL7's, or its OID.
Source: HL7 v2.9 §2A.1 CWE, table 0396; `mappings/hl7v2/datatypes/coded.py` reads them.
"""

from typing import Any

from mappings.fhir.fhirpath import Node
from mappings.fhir.values import UCUM
from mappings.hl7v2.out.writers.identifiers import unscoped
from mappings.hl7v2.out.writing import Out, Repetition, Writer, bare
from mappings.outbound.reading import Json
from mappings.outbound.vocabulary import backwards, mnemonic, oid
from mappings.terminology import tables

_V2 = "http://terminology.hl7.org/CodeSystem/v2-"
_TRIPLETS = ((1, 2, 3, 7, 14), (4, 5, 6, 8, 17), (10, 11, 12, 13, 20))
_TEXT = 9


def cwe(node: Node, out: Out) -> Repetition | None:
    """A CodeableConcept, Coding or code."""
    _, value, sibling = node
    if not isinstance(value, dict):
        return _code(value, sibling, out)
    concept = value if "coding" in value or "text" in value else {"coding": [value]}
    codings = _as_sent([each for each in concept.get("coding", ()) if isinstance(each, dict)], out)
    if not out.slot.parts:
        return _bare(codings, concept, out)
    return bare(_spread(codings, out.text(concept, "text"), len(out.slot.parts), out))


def _code(value: Any, sibling: Json | None, out: Out) -> Repetition | None:
    from mappings.hl7v2.out.writers.text import code

    return code(("code", value, sibling), out)


def spread(concept: Json, room: int, out: Out) -> Repetition:
    """The components of a concept where `room` of them fit; for OBX-5, whose room OBX-2 decides."""
    codings = [each for each in concept.get("coding", ()) if isinstance(each, dict)]
    return _spread(_as_sent(codings, out), out.text(concept, "text"), room, out)


def _spread(codings: list[Json], text: str, room: int, out: Out) -> Repetition:
    parts: Repetition = [""] * max(room, 3)
    fitting = [each for each in _TRIPLETS if each[2] <= room]
    for coding in codings[len(fitting) :]:
        out.issue("left-out", detail=f"a coding beyond the {len(fitting)} there is room for" if coding else "")
    for coding, (code_n, text_n, name_n, version_n, oid_n) in zip(codings, fitting, strict=False):
        parts[code_n - 1], parts[text_n - 1] = out.text(coding, "code"), out.text(coding, "display")
        name, number = system_name(coding, out)
        parts[name_n - 1] = name or ("" if oid_n <= room else number)
        if oid_n <= room and number and not name:
            parts[oid_n - 1] = number
        version = out.text(coding, "version")
        if version and version_n <= room:
            parts[version_n - 1] = version
        elif version:
            out.issue("not-in-version", version_n)
    _put_text(parts, text, room, codings, out)
    return parts


def _put_text(parts: Repetition, text: str, room: int, codings: list[Json], out: Out) -> None:
    """What the user saw: CWE.9, else the text of a code that has none; without a code CWE.2 is all there is. A code
    of HL7's tables has no display of its own in FHIR, for that is HL7's to word: its text is CWE.2."""
    if not text or (text == parts[1] and room < _TEXT):
        return
    own = not codings or str(codings[0].get("system", "")).startswith(_V2)
    if not parts[1] and (own or room < _TEXT):
        parts[1] = text
    elif room >= _TEXT:
        parts[_TEXT - 1] = text
    else:
        out.issue("not-in-version", _TEXT)


def _as_sent(codings: list[Json], out: Out) -> list[Json]:
    """Without the codings that the row's map gives again; the map read backwards where it is all there is."""
    vocab = out.vocab
    if vocab is None or not codings:
        return codings
    own = [each for each in codings if _mapped_from(each, out)]
    images = [vocab.concepts[each["code"]] for each in own if each["code"] in vocab.concepts]
    if own:
        kept = []
        for each in codings:
            if each not in own and any((each.get("system"), each.get("code")) == (i.system, i.code) for i in images):
                out.mark_all(each)
            else:
                kept.append(each)
        return kept
    for each in codings:
        code = backwards(vocab.name).get(each.get("code", ""))
        if code is not None and vocab.concepts[code].system == each.get("system"):
            out.mark_all(each)
            return [{"system": f"{_V2}{vocab.table}", "code": code}, *(one for one in codings if one is not each)]
    return codings


def _mapped_from(coding: Json, out: Out) -> bool:
    """Whether the row's map reads this coding: of its table, or of another system that it reads too."""
    vocab, code = out.vocab, coding.get("code")
    if vocab is None or code not in vocab.known:
        return False
    target = vocab.concepts.get(str(code))
    also = bool(vocab.also) and target is not None and coding.get("system") != target.system
    return also or _of_table(coding.get("system"), out)


def _of_table(system: str | None, out: Out) -> bool:
    table = out.vocab.table if out.vocab is not None and out.vocab.table else out.slot.table
    return bool(table) and (
        system == f"{_V2}{table}" or unscoped(system or "", out.receiver) == ("table", table)
    )  # fmt: skip


def _bare(codings: list[Json], concept: Json, out: Out) -> Repetition | None:
    """One code, for a field that holds no more: that of the field's table, else the first."""
    chosen = next((each for each in codings if _of_table(each.get("system"), out)), codings[0] if codings else None)
    if chosen is None or not chosen.get("code"):
        text = out.text(concept, "text") or out.text(chosen, "display")
        return [text] if text else None
    system = str(chosen.get("system", ""))
    if not (_of_table(system, out) or not system or _of_field(system, out) or _in_table(system, chosen, out)):
        if out.slot.table and chosen["code"] in tables.codes(out.slot.table):
            out.issue("left-out", detail="a code that means something else in the table of the field")
            return None
        out.issue("system-unnamed")
    out.take(chosen, "system")
    if system.startswith(_V2):
        out.take(chosen, "display")  # the table's own word for it
    for each in codings:
        if each is not chosen:
            out.issue("left-out", detail="a coding beyond the one there is room for")
    return [out.text(chosen, "code")]


def _in_table(system: str, coding: Json, out: Out) -> bool:
    return bool(out.slot.table) and tables.system_of(out.slot.table, coding["code"]) == system


def _of_field(system: str, out: Out) -> bool:
    return unscoped(system, out.receiver) == ("field", f"{out.slot.segment}-{out.slot.number}")


def system_name(coding: Json, out: Out) -> tuple[str, str]:
    """(name of table 0396 or of the receiver, OID) of a coding's system; both "" where it needs none."""
    system = out.text(coding, "system")
    if not system or _of_field(system, out):
        return "", ""
    if (known := out.receiver.codes.get(system)) is not None:
        return known, oid(system) or ""
    if system.startswith(_V2) and system[len(_V2) :].isdigit():
        return f"HL7{system[len(_V2) :]}", ""
    made = unscoped(system, out.receiver)
    if made is not None and made[0] in ("codes", "table"):
        return (made[1] if made[0] == "codes" else f"HL7{made[1]}"), ""
    if system == UCUM:
        return "UCUM", ""
    found, number = mnemonic(system), oid(system)
    if found or number:
        return found or "", number or ""
    out.issue("system-unnamed")
    return "L", ""


def in_subcomponents(node: Node, out: Out) -> Repetition | None:
    """A concept as the first component of a field (OBR-15.1)."""
    parts = bare(spread(node[1], out.slot.parts[0] if out.slot.parts else 1, out))
    return [[str(each) for each in parts]] if parts else None


def words(node: Node, out: Out) -> Repetition | None:
    """A concept in a field of text: its text, else what its first coding shows."""
    concept = node[1]
    if (text := out.text(concept, "text")) or not concept.get("coding"):
        return [text] if text else None
    shown = out.text(concept["coding"][0], "display") or out.text(concept["coding"][0], "code")
    return [shown] if shown else None


def title(node: Node, out: Out) -> Repetition | None:
    """A text in a coded field: no code, CWE.2."""
    out.mark(node[1])
    return ["", str(node[1])] if node[1] else None


def codes_only(node: Node, out: Out) -> Repetition | None:
    """A concept whose text another field of the segment says."""
    codings = node[1].get("coding")
    return cwe((node[0], {"coding": codings}, None), out) if codings else None


WRITERS: dict[str, Writer] = {
    "CWE": cwe,
    "CWE.codes": codes_only,
    "CWE.sub": in_subcomponents,
    "CWE.text": words,
    "CWE.title": title,
}
