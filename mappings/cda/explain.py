"""Where every FHIR value of a document came from, what was not mapped, and what became of each statement.

    for fact in explain(data, profile).facts: fact.path, fact.place, fact.row …

The readings are those of HL7 v2 (`hl7v2/explain.py`), with elements for fields: a place is a path and a line. No
content here, but for `Explanation.said`.
Source: design of explain and of the unmapped-data report; CDA R2.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mappings.cda.compiled import used
from mappings.cda.convert import walk_of
from mappings.cda.element import Element
from mappings.cda.outcome import SAID
from mappings.cda.place import XmlPlace
from mappings.cda.rows import resource_type
from mappings.cda.trace import CONTAINED
from mappings.cda.unread import Unmapped, unmapped
from mappings.cda.walk import Walk
from mappings.convert import Conversion, is_document, to_fhir
from mappings.errors import MappingError
from mappings.fhir.leaves import leaves
from mappings.fhir.schema import schema
from mappings.hl7v2.explain import Coverage, writer
from mappings.profile import Profile
from mappings.rows.table import Row
from mappings.rows.trace import TraceStep

_SAID_BY = ("value", "code", "extension", "root", "displayName")


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of one resource: what wrote it, from where. Rules beside the rows have `row = "@name"` and no type."""

    resource: str  # Type/id
    path: str
    place: XmlPlace | None
    type: str
    vocab: str
    row: str
    source: str  # entries/allergy.AllergyIntolerance.csv:4, "" for a rule
    overlay: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Facts in the order of the resources, what was not mapped in the order of the document, statements by outcome."""

    facts: tuple[Fact, ...]
    unmapped: tuple[Unmapped, ...]
    tally: dict[str, int]
    conversion: Conversion
    walk: Walk = field(repr=False, compare=False)

    def said(self, place: XmlPlace | None) -> str:
        """The content of a place, for who may see it: its value, code or number, else its text."""
        el: Any = _element(self.walk, place) if place is not None else None
        if el is None:
            return ""
        written = next((text for name in _SAID_BY if (text := (el.get(name) or "").strip())), "")
        return written or " ".join("".join(el.itertext()).split())

    def coded(self, place: XmlPlace) -> tuple[str, str]:
        """(system, code) of a place, as the document writes them."""
        el = _element(self.walk, place)
        return ("", "") if el is None else (el.get("codeSystem", ""), el.get("code", "").strip())


def explain(data: bytes, profile: Profile) -> Explanation:
    """Every value with its element, every element without a value. Raises UnreadableDocument, RowsError."""
    conversion, walk = to_fhir(data, profile, trace=True), walk_of(data, profile)
    facts, left = tuple(_facts(conversion, profile)), tuple(unmapped(conversion, walk))
    return Explanation(facts, left, tally(conversion), conversion, walk)


def tally(conversion: Conversion) -> dict[str, int]:
    """How many statements there are, and what became of how many."""
    counted = Counter(outcome.outcome for outcome in conversion.tally)
    return {"statements": len(conversion.tally), **{said: counted[said] for said in SAID}}


def coverage(samples: Iterable[bytes], profile: Profile) -> Coverage:
    """Row coverage over documents; bytes that are none fire nothing."""
    fired: set[str] = set()
    for data in samples:
        try:
            conversion = to_fhir(data, profile, trace=True) if is_document(data) else None
        except MappingError:
            continue
        if conversion is not None and conversion.trace is not None:
            fired |= {step.row for step in conversion.trace}
    live = used(profile.cda.entries.rows)
    return Coverage(frozenset(fired), tuple(row for id_, row in live.items() if id_ not in fired))


def _facts(conversion: Conversion, profile: Profile) -> Iterator[Fact]:
    table = profile.cda.entries.table
    steps: dict[str, dict[str, TraceStep]] = {}
    for step in conversion.trace or ():
        if _writes(step, table):
            steps.setdefault(step.resource, {})[step.path] = step
    for mapped in conversion.resources:
        reference = f"{mapped.body['resourceType']}/{mapped.body['id']}"
        known = steps.get(reference, {})
        for path, _ in leaves(mapped.body):
            if path in ("resourceType", "id"):
                continue
            found = writer(known, path)
            row = table.get(found.row) if found is not None else None
            yield Fact(
                resource=reference,
                path=path,
                place=found.source if found is not None and isinstance(found.source, XmlPlace) else None,
                type=row.type if row is not None else "",
                vocab=row.vocab if row is not None else "",
                row=found.row if found is not None else "@assemble",
                source=row.place if row is not None else "",
                overlay=row.overlay if row is not None else "",
            )


def _writes(step: TraceStep, table: Mapping[str, Row]) -> bool:
    """Whether a step can have written into its resource: a party or a section that is read while a resource is under
    construction has rows of its own type."""
    row = table.get(step.row)
    if row is None or step.path.startswith(CONTAINED):
        return True
    kind = resource_type(row.map).partition(".")[0]
    return kind == step.resource.partition("/")[0] or not schema().is_a(kind, "Resource")


def _element(walk: Walk, place: XmlPlace) -> Element | None:
    lines = (el for el in walk.doc.root.iter() if el.sourceline == place.line)
    return next((el for el in lines if walk.doc.place(el) == place), None)
