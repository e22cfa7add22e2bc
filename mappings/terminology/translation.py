"""A code through the vocabulary maps, forwards or back: the rule of `$translate`.

Each map of `maps/` is a concept map with the canonical `urn:chartbridge:map:NAME`. Maps that read an HL7 v2 table have
its code system as source; those that read what CDA writers put there have none, and are asked by name only. Backwards a
wider target is a narrower source.

Source: FHIR R4 conceptmap-operation-translate.html, concept-map-equivalence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from mappings.terminology import concept_map
from mappings.terminology.concept_map import ConceptMap

CANONICAL: Final = "urn:chartbridge:map:"
_BACKWARDS = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}


@dataclass(frozen=True, slots=True)
class Match:
    """One translation, and the map it comes from. A code of a source without a system has none."""

    equivalence: str
    system: str | None
    code: str
    display: str | None
    canonical: str


def named(canonical: str) -> ConceptMap | None:
    """The map of a canonical; maps have no versions of their own."""
    name = canonical.removeprefix(CANONICAL)
    return concept_map.load(name) if name != canonical and name in _names() else None


def fitting(system: str, target: str | None, *, reverse: bool) -> list[ConceptMap]:
    """The maps that begin at a code system and lead to the target, where one is asked for."""
    ends = [(one, one.source, _targets(one.name)) for one in map(concept_map.load, sorted(_names()))]
    if reverse:
        return [one for one, source, targets in ends if system in targets and target in (None, source)]
    return [one for one, source, targets in ends if source == system and (target is None or target in targets)]


def translate(one: ConceptMap, system: str | None, code: str, target: str | None, *, reverse: bool) -> Iterator[Match]:
    """What a map makes of a code."""
    canonical = CANONICAL + one.name
    if not reverse:
        found = one.get(code) if system == one.source or one.source is None else None
        if found is not None and target in (None, found.system):
            yield Match(found.equivalence, found.system, found.code, found.display, canonical)
    elif target in (None, one.source):
        for source, concept in one.concepts.items():
            if (concept.system, concept.code) == (system, code):
                equivalence = _BACKWARDS.get(concept.equivalence, concept.equivalence)
                yield Match(equivalence, one.source, source, None, canonical)


@cache
def _names() -> frozenset[str]:
    return frozenset(concept_map.names())


@cache
def _targets(name: str) -> frozenset[str]:
    return frozenset(concept.system for concept in concept_map.load(name).concepts.values())
