"""One document, written otherwise: each variant says the same, or differs from the original in one known way.

    for variant in VARIANTS: variant.write(data) -> bytes; variant.breaks(original, varied) -> what is wrong

Metamorphic tests run them over every sample and the corpus; `make figures` counts them. `negated_statements` asks
statement by statement: a negation turned round.
"""

import copy
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lxml import etree

from mappings.cda.document import XSI, XSI_TYPE, parse
from mappings.cda.element import SDTC, V3
from mappings.cda.outcome import Outcome
from mappings.cda.paths import STATEMENTS
from mappings.convert import Conversion, Profile, to_fhir
from mappings.fhir.codec import encode
from mappings.xml_parser import tree

Json = dict[str, Any]

# of the document and not of the patient: their ids and digests change with every byte
_OF_THE_DOCUMENT = frozenset({"Composition", "DocumentReference", "Binary", "Provenance"})
_TIMED = frozenset({"effectiveTime", "time", "low", "high", "center", "birthTime", "phase"})
_OFFSET = re.compile(r"[+-][0-9]{4}\Z")
_FHIR_OFFSET = re.compile(r"T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})")
_UNKNOWN = (
    '<component xmlns="urn:hl7-org:v3"><section><code code="99999-9" codeSystem="2.16.840.1.113883.6.1"/>'
    "<title>Unknown</title><text>Nobody knows this section.</text></section></component>"
)
# what things are called, and what each section that tells of one adds to it
_NAMES = frozenset({
    "text", "id", "identifier", "reference", "contained", "category", "recorder", "recordedDate", "encounter", "note",
    "asserter", "extension", "requester", "authoredOn", "meta", "achievementStatus", "reasonReference",
})  # fmt: skip
# lists whose order is that of the sections
_SETS = ("category", "note", "identifier", "contained", "name", "telecom", "address")
_PAYERS = "48768-6"
_SEED = 20_260_301


class Variant(NamedTuple):
    """How a document is rewritten, and what must hold of both conversions."""

    name: str
    write: Callable[[bytes], bytes]
    breaks: Callable[[Conversion, Conversion], str]


# facts ----------------------------------------------------------------------------------------------------------------


def facts(done: Conversion, *, leave: frozenset[str] = frozenset({"text"})) -> Counter[bytes]:
    """What a conversion says of the patient, whatever the order; members of `leave` aside, wherever they stand."""
    bodies = [m.body for m in done.resources if m.body["resourceType"] not in _OF_THE_DOCUMENT]
    return Counter(encode(_plain(body, leave)) for body in bodies)


def _plain(value: Any, leave: frozenset[str]) -> Any:
    if isinstance(value, dict):
        plain = {name: _plain(each, leave) for name, each in sorted(value.items()) if name not in leave}
        if "reference" in leave:  # what was nothing but a link
            plain = {name: each for name, each in plain.items() if each not in ({}, []) and not _is_bare(each)}
        for name in _SETS:
            if isinstance(plain.get(name), list):
                plain[name] = sorted(plain[name], key=lambda each: encode({"": each}))
        return plain
    return [_plain(each, leave) for each in value] if isinstance(value, list) else value


def _is_bare(value: Any) -> bool:
    return isinstance(value, list) and all(each == {} for each in value)


def _same(one: Conversion, other: Conversion) -> str:
    return _difference(facts(one), facts(other))


def _difference(one: Counter[bytes], other: Counter[bytes]) -> str:
    missing, more = one - other, other - one
    if not missing and not more:
        return ""
    kinds = [_kind(body) for body in (*missing, *more)]
    return f"{missing.total()} facts are gone and {more.total()} came: {', '.join(sorted(set(kinds)))}"


def _kind(body: bytes) -> str:
    match = re.search(rb'"resourceType":"([A-Za-z]+)"', body)
    return match[1].decode() if match else "?"


# writing otherwise ----------------------------------------------------------------------------------------------------


def _tree(data: bytes) -> Any:
    return tree(data)


def _bytes(root: Any, encoding: str = "UTF-8") -> bytes:
    written: bytes = etree.tostring(root, xml_declaration=True, encoding=encoding)
    return written


def other_prefixes(data: bytes) -> bytes:
    """Every namespace under a name of its own, none by default; xsi:type follows."""
    names = {"a1": V3, "b2": SDTC, "c3": XSI}

    def renamed(el: Any) -> Any:
        attributes = {k: (f"a1:{v.rpartition(':')[2]}" if k == XSI_TYPE else v) for k, v in el.attrib.items()}
        made = etree.Element(el.tag, attributes, nsmap=names)
        made.text, made.tail = el.text, el.tail
        made.extend([renamed(child) for child in el])
        return made

    return _bytes(renamed(_tree(data)))


def shuffled(data: bytes) -> bytes:
    """Sections and templateIds in another order."""
    root = _tree(data)
    chance = random.Random(_SEED)  # noqa: S311 - a fixed order, no secret
    for holder in root.iter(f"{{{V3}}}structuredBody", f"{{{V3}}}section"):
        for tag in ("component", "templateId"):
            places = [index for index, each in enumerate(holder) if each.tag == f"{{{V3}}}{tag}"]
            moved = [holder[index] for index in places]
            chance.shuffle(moved)
            for index, each in zip(places, [copy.deepcopy(each) for each in moved], strict=True):
                holder[index] = each
    return _bytes(root)


def bare(data: bytes) -> bytes:
    """No white space but in narratives and texts. Comments are gone with the first parse."""
    root = _tree(data)
    for el in root.iter():
        if not _in_text(el):
            if el.text is not None and not el.text.strip():
                el.text = None
            if el.tail is not None and not el.tail.strip():
                el.tail = None
    return _bytes(root)


def _in_text(el: Any) -> bool:
    return any(each.tag in (f"{{{V3}}}text", f"{{{V3}}}name", f"{{{V3}}}addr") for each in (el, *el.iterancestors()))


def wide(data: bytes) -> bytes:
    """UTF-16."""
    return _bytes(_tree(data), "UTF-16")


def one_id(data: bytes) -> bytes:
    """Every statement under one and the same id, as real generators do it; but for payers, where ids are data, and for
    encounters that nothing but their number makes one: that of the header, and one that is only named."""
    root = _tree(data)
    payers = [el for el in root.iter(f"{{{V3}}}section") if _code(el) == _PAYERS]
    theirs = {el for section in payers for el in section.iter()}
    stays = {tuple(each.items()) for each in root.iterfind(f".//{{{V3}}}encompassingEncounter/{{{V3}}}id")}
    for el in root.iter(*(f"{{{V3}}}{name}" for name in STATEMENTS)):
        bare = el.tag == f"{{{V3}}}encounter" and all(each.tag == f"{{{V3}}}id" for each in el)
        if el not in theirs and el.find(f"{{{V3}}}act") is None and not bare:
            for each in el.findall(f"{{{V3}}}id"):
                if tuple(each.items()) in stays:
                    continue
                each.attrib.clear()
                each.set("root", "2.999.7")
                each.set("extension", "one")
    return _bytes(root)


def _code(section: Any) -> str:
    code = section.find(f"{{{V3}}}code")
    return "" if code is None else str(code.get("code", ""))


def without_offsets(data: bytes) -> bytes:
    """No time with an offset."""
    root = _tree(data)
    for el in root.iter():
        if etree.QName(el).localname in _TIMED and (value := el.get("value")) is not None:
            el.set("value", _OFFSET.sub("", value.strip()))
    return _bytes(root)


def unknown_section(data: bytes) -> bytes:
    """One more section, of a kind nobody knows."""
    root = _tree(data)
    for body in root.iter(f"{{{V3}}}structuredBody"):
        body.insert(0, tree(_wrapped(_UNKNOWN))[-1])
    return _bytes(root)


def _wrapped(component: str) -> bytes:
    return f'<ClinicalDocument xmlns="{V3}">{component}</ClinicalDocument>'.encode()


# what must hold -------------------------------------------------------------------------------------------------------


def _as_many(one: Conversion, other: Conversion) -> str:
    """One id everywhere: not one fact more or less, whatever they are called."""
    before, after = (facts(each, leave=_NAMES) for each in (one, other))
    return _difference(Counter(set(before)), Counter(set(after)))  # what was said twice under two ids is said once


def _no_offset_invented(one: Conversion, other: Conversion) -> str:
    kinds = _difference(_types(one), _types(other))
    said = [m.body for m in other.resources if m.body["resourceType"] != "Binary"]
    found = [body["resourceType"] for body in said if _FHIR_OFFSET.search(encode(body).decode())]
    return kinds or (f"an offset was invented in {found[0]}" if found else "")


def _types(done: Conversion) -> Counter[bytes]:
    return Counter(
        encode({"resourceType": m.body["resourceType"]})
        for m in done.resources
        if m.body["resourceType"] not in _OF_THE_DOCUMENT
    )


def _one_section_more(one: Conversion, other: Conversion) -> str:
    before, after = (_sections(each) for each in (one, other))
    if after not in (before, before + 1):
        return f"{before} sections became {after}"
    return _same(one, other)


def _sections(done: Conversion) -> int:
    compositions = [m.body for m in done.resources if m.body["resourceType"] == "Composition"]
    return sum(len(each.get("section", ())) for each in compositions)


VARIANTS = (
    Variant("other namespace prefixes", other_prefixes, _same),
    Variant("shuffled sections and templateIds", shuffled, _same),
    Variant("no comments, no blanks", bare, _same),
    Variant("UTF-16", wide, _same),
    Variant("one id everywhere", one_id, _as_many),
    Variant("no offsets", without_offsets, _no_offset_invented),
    Variant("an unknown section", unknown_section, _one_section_more),
)


# negation, statement by statement -------------------------------------------------------------------------------------


def negated_statements(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(place, the document with that statement's negation turned round), for each statement that may be negated."""
    doc = parse(data)
    places = [
        (doc.place(el).path, index)
        for index, el in enumerate(doc.root.iter())
        if el.short in STATEMENTS and el.short != "organizer"
    ]
    for path, index in places:
        root = tree(data)
        el = next(each for at, each in enumerate(root.iter()) if at == index)
        el.set("negationInd", "false" if el.get("negationInd") in ("true", "1") else "true")
        yield path, _bytes(root)


def says_not(body: Json) -> bool:
    """Whether a resource says that something is not so, was not done, or that there is none."""
    kind = body["resourceType"]
    if kind in ("AllergyIntolerance", "Condition"):
        codes = [each.get("code") for each in body.get("verificationStatus", {}).get("coding", ())]
        return "refuted" in codes or _no_known(body.get("code", {}))
    if kind in ("Immunization", "Procedure"):
        return body.get("status") == "not-done" or _no_known(body.get("vaccineCode") or body.get("code") or {})
    if kind == "Encounter":
        return body.get("status") == "cancelled"
    if kind in ("MedicationRequest", "ServiceRequest", "CommunicationRequest"):
        return bool(body.get("doNotPerform"))
    if kind == "MedicationStatement":
        return body.get("status") == "not-taken" or _no_known(body.get("medicationCodeableConcept", {}))
    if kind == "DeviceUseStatement":
        return says_none(body)
    if kind == "Observation":
        answers = body.get("valueCodeableConcept", {}).get("coding", ())
        return body.get("valueBoolean") is False or any(each.get("code") == _NOT_PREGNANT for each in answers)
    return False


_NOT_PREGNANT = "60001007"  # SNOMED CT: what a denied pregnancy says
_NONE = frozenset({
    "716186003", "409137002", "429625007", "428607008", "160245001", "787481004", "787480003", "787483001", "787482006",
})  # fmt: skip


def says_none(body: Json) -> bool:
    """Whether a resource says that there is none of a kind."""
    of = [body, *body.get("contained", ())]
    names = ("code", "vaccineCode", "medicationCodeableConcept", "type")
    return any(_no_known(each[name]) for each in of for name in names if isinstance(each.get(name), dict))


def _no_known(concept: Json) -> bool:
    return any(each.get("code") in _NONE for each in concept.get("coding", ()))


def turned_wrong(data: bytes, profile: Profile) -> dict[str, str]:
    """Statements whose negation did not do what it must: place, and what was made of it."""
    before = to_fhir(data, profile)
    wrong: dict[str, str] = {}
    for place, turned in negated_statements(data):
        told = fault(before, to_fhir(turned, profile), place)
        if told:
            wrong[place] = told
    return wrong


def fault(before: Conversion, after: Conversion, place: str) -> str:
    """What is wrong with the statement at `place` once its negation is turned round; "" if nothing is."""
    one, other = outcome(before, place), outcome(after, place)
    if one is None or other is None:
        return "no outcome"
    if is_void(after, other):
        return ""  # entered in error, whatever it said
    was, became = body_says_not(before, one), body_says_not(after, other)
    if other.outcome == "unsupported" or other.outcome in ("narrative", "merged") or not other.resource:
        return ""  # in the narrative, where it says what it says
    if one.outcome == "mapped" and not owns(before, one, place):
        return ""  # part of another statement, whose own word counts
    if was and became and no_known(before, one):
        return ""  # that there is none is said by its code, and no negation says it louder
    if in_error(before, one) and in_error(after, other):
        return ""  # what was withdrawn says nothing, either way
    if one.outcome in ("unsupported", "narrative") and not became:
        return ""  # denied before, and refused; now it is stated
    return "" if was != became else f"{other.resource.partition('/')[0]} says the same as before"


def outcome(done: Conversion, place: str) -> Outcome | None:
    return next((each for each in done.tally if each.place.path == place), None)


def owns(done: Conversion, told: Outcome, place: str) -> bool:
    """Whether the statement states its resource itself, not as a part of a statement around it."""
    return not any(
        each.resource == told.resource and place.startswith(each.place.path + "/") for each in done.tally
    ) and not any(each.resource == told.resource and each.place.path.startswith(place + "/") for each in done.tally)


def is_void(done: Conversion, told: Outcome) -> bool:
    """Whether a statement was entered in error."""
    return any(
        "entered-in-error" in encode({"": m.body.get("verificationStatus", m.body.get("status", ""))}).decode()
        for m in done.resources
        if f"{m.body['resourceType']}/{m.body['id']}" == told.resource
    )


def no_known(done: Conversion, told: Outcome) -> bool:
    return any(says_none(m.body) for m in done.resources if f"{m.body['resourceType']}/{m.body['id']}" == told.resource)


def in_error(done: Conversion, told: Outcome) -> bool:
    return any(
        m.body.get("status") == "entered-in-error"
        for m in done.resources
        if f"{m.body['resourceType']}/{m.body['id']}" == told.resource
    )


def body_says_not(done: Conversion, told: Outcome) -> bool:
    return any(says_not(m.body) for m in done.resources if f"{m.body['resourceType']}/{m.body['id']}" == told.resource)
