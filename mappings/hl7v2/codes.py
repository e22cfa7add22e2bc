"""The codes of a feed that nobody has mapped yet, most frequent first: what a terminologist works through.

    for each in worklist(messages, profile): each.field, each.system, each.code, each.reason, each.messages

Three reasons. `vocab-miss`: a row's concept map does not know the code, so a FHIR element stays empty or unknown.
`local`: the code stands in the output, but only in a system of this feed's own; an entry of the profile's `codes` with
a `map` would set a standard code beside it. `not-in-system`: in a document, a code under a system of HL7's that does
not have it; an entry of the profile can say whose it is. Codes of a profile's own system (`codes.99LAB`) that its map
does not know count as local. Codes are shown, texts and everything else of a message are not; bytes that are no message
are passed over.

Source: design chapter HL7 v2 §12 (`codes`), §13 (reasons).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mappings.cda.place import XmlPlace
from mappings.convert import is_document, to_fhir
from mappings.errors import MappingError
from mappings.hl7v2 import message
from mappings.hl7v2.explain import explain
from mappings.hl7v2.place import Place
from mappings.profile import Profile

Json = dict[str, Any]
MAP_COLUMNS = ("code", "target", "system", "display", "equivalence", "note", "source")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One code as senders use it: in which field, under which name or URI of a system ("" where none is given)."""

    field: str  # PV1-10; "" where a rule beside the rows made the coding
    system: str
    code: str
    reason: str  # vocab-miss, not-in-system, local


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A code of the worklist, and in how many messages and places it stands."""

    field: str
    system: str
    code: str
    reason: str
    messages: int
    times: int


def worklist(data: Iterable[bytes], profile: Profile) -> tuple[Unmapped, ...]:
    """Every unmapped code, by the number of messages it stands in, then by name."""
    counts: dict[Key, list[int]] = {}
    for each in data:
        try:
            found = list(_of_document(each, profile) if is_document(each) else _of_message(each, profile))
        except MappingError:
            continue
        for key in set(found):
            totals = counts.setdefault(key, [0, 0])
            totals[0] += 1
            totals[1] += found.count(key)
    ordered = sorted(counts.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
    return tuple(Unmapped(key.field, key.system, key.code, key.reason, *totals) for key, totals in ordered)


def as_map(codes: Iterable[Unmapped], system: str) -> list[tuple[str, ...]]:
    """Rows for a profile's `codes/*.csv`, their targets still to be filled in: the local codes of one system."""
    found = sorted({each.code for each in codes if each.system == system and each.reason == "local"})
    return [MAP_COLUMNS, *((code, "", "", "", "unmatched", "", "") for code in found)]


def _of_document(data: bytes, profile: Profile) -> Iterator[Key]:
    """Of a document: codes that no map knows, or that are none of the system they name."""
    from mappings.cda.explain import explain as explain_document  # here: messages never load it

    found = explain_document(data, profile)
    for each in found.conversion.issues:
        if each.code in ("vocab-miss", "not-in-system") and isinstance(each.place, XmlPlace):
            yield Key(each.place.kind, *found.coded(each.place), each.code)


def _of_message(data: bytes, profile: Profile) -> Iterator[Key]:
    conversion = to_fhir(data, profile)
    read = profile.read(data)
    missed: set[tuple[str, str]] = set()
    for issue in conversion.issues:
        if issue.code == "vocab-miss" and isinstance(issue.place, Place):
            key = Key(issue.place.kind, _system(read, issue.place), _code(read, issue.place), "vocab-miss")
            missed.add((key.field, key.code))
            yield key
    own = {str(entry["system"]) for entry in profile.codes.values()}
    explained = explain(data, profile)
    places = {(fact.resource, fact.path): fact.place for fact in explained.facts if fact.path.endswith(".code")}
    for mapped in explained.conversion.resources:
        reference = f"{mapped.body['resourceType']}/{mapped.body['id']}"
        for path, coding in _alone(mapped.body, "", (profile.namespace, *own)):
            place = places.get((reference, f"{path}.code"))
            field = place.kind if place is not None else ""
            if (field, coding["code"]) not in missed:  # told already, and by the worse reason
                yield Key(field, _short(coding["system"], profile), coding["code"], "local")


def _alone(value: Any, path: str, local: tuple[str, ...]) -> Iterator[tuple[str, Json]]:
    """(path, coding) of each coding in a system of the feed's own without a standard one beside it."""
    if isinstance(value, list):
        codings = [each for each in value if isinstance(each, dict) and "code" in each and "system" in each]
        if path.endswith("coding") and any(not _is_local(each, local) for each in codings):
            return
        for index, each in enumerate(value):
            yield from _alone(each, f"{path}[{index}]", local)
    elif isinstance(value, dict):
        if isinstance(value.get("code"), str) and isinstance(value.get("system"), str) and _is_local(value, local):
            yield path, value
        for name, each in value.items():
            yield from _alone(each, f"{path}.{name}".lstrip("."), local)


def _is_local(coding: Json, local: tuple[str, ...]) -> bool:
    return any(coding["system"] == own or coding["system"].startswith(f"{own}/") for own in local)


def _short(system: str, profile: Profile) -> str:
    """The name a sender knows a system by: the profile's, else what stands behind the feed's namespace."""
    for name, entry in profile.codes.items():
        if entry["system"] == system:
            return str(name)
    return system.removeprefix(f"{profile.namespace}/")


def _code(read: message.Message, place: Place) -> str:
    return _component(read, place, 1)


def _system(read: message.Message, place: Place) -> str:
    return _component(read, place, 3)


def _component(read: message.Message, place: Place, number: int) -> str:
    """A component of the repetition that an issue names; of the first, where it names the field."""
    for segment in read.segments:
        if (segment.name, segment.nth) == (place.segment, place.nth):
            repetitions = segment.reps(place.field)
            index = max(place.rep, 1) - 1
            parts = repetitions[index].split(read.sep.comp) if index < len(repetitions) else []
            return parts[number - 1].strip() if number <= len(parts) else ""
    return ""
