"""Where every FHIR value came from, and what of a message was not mapped: readings of one trace.

    for fact in explain(data, profile).facts: fact.path, fact.place, fact.row …

No content here: places, paths, rows, byte ranges. Who prints values reads them from the message by their range.
Source: design chapter HL7 v2 §13.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mappings.convert import Conversion, to_fhir
from mappings.fhir.leaves import leaves
from mappings.hl7v2 import datatypes, message
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.place import Place
from mappings.hl7v2.registry import crosswalk
from mappings.issues import Issue
from mappings.profile import Profile
from mappings.rows.table import Row, parse_source
from mappings.rows.trace import Trace, TraceStep

Json = dict[str, Any]

_BAD_VALUES = frozenset({
    "bad-value", "not-a-date", "not-a-number", "not-a-boolean", "not-a-code", "bad-encoding", "bad-timing", "over-long",
})  # fmt: skip
FINGERPRINT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of one resource: what wrote it, from where. Rules beside the rows have `row = "@name"` and no type."""

    resource: str  # Type/id
    path: str
    place: Place | None
    bytes: tuple[int, int] | None
    type: str
    vocab: str
    row: str
    source: str  # segments/PID.Patient.csv:14, "" for a rule
    overlay: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """One valued place that became nothing, and why."""

    place: Place
    bytes: tuple[int, int] | None  # None in a message that a hook changed
    reason: str  # no-row, condition-false, disabled, vocab-miss, bad-value, unsupported-structure


@dataclass(frozen=True, slots=True)
class Explanation:
    """Facts in the order of the resources, then what was not mapped in the order of the message."""

    facts: tuple[Fact, ...]
    unmapped: tuple[Unmapped, ...]
    conversion: Conversion
    charset: str = "utf_8"  # Python's codec of the message, for who shows content


def explain(data: bytes, profile: Profile) -> Explanation:
    """Every value with its field, every field without a value. Raises UnreadableMessage."""
    conversion = to_fhir(data, profile, trace=True)
    if conversion.filtered:  # the profile says not to map it: nothing was read, and nothing is missing
        return Explanation((), (), conversion)
    read = profile.read(data)
    trace = conversion.trace
    assert trace is not None  # noqa: S101 - asked for above
    facts = tuple(_facts(conversion, trace, read, profile))
    return Explanation(facts, tuple(unmapped(conversion, read, profile)), conversion, read.charset)


def _range(read: message.Message, place: Place | None) -> tuple[int, int] | None:
    """Where a place stands in the bytes as received; nowhere, once a hook has changed the text."""
    return None if place is None or read.edited else message.byte_range(read, place)


def _facts(conversion: Conversion, trace: Trace, read: message.Message, profile: Profile) -> Iterator[Fact]:
    steps: dict[str, dict[str, TraceStep]] = {}
    for step in trace:
        steps.setdefault(step.resource, {})[step.path] = step
    for mapped in conversion.resources:
        reference = f"{mapped.body['resourceType']}/{mapped.body['id']}"
        known = steps.get(reference, {})
        for path, _ in leaves(mapped.body):
            if path in ("resourceType", "id"):
                continue
            yield _fact(reference, path, writer(known, path), read, profile)


def writer(known: dict[str, TraceStep], path: str) -> TraceStep | None:
    """The step that wrote a leaf: that of the longest path above it."""
    here = path
    while here:
        if (step := known.get(here)) is not None:
            return step
        cut = max(here.rfind("."), here.rfind("["))
        here = here[:cut] if cut > 0 else ""
    plain = path.removeprefix("_")
    return known.get(plain.partition(".")[0].partition("[")[0]) or known.get("")


def _fact(reference: str, path: str, step: TraceStep | None, read: message.Message, profile: Profile) -> Fact:
    row: Row | None = profile.maps.table.get(step.row) if step is not None else None
    source = step.source if step is not None else None
    place = source if isinstance(source, Place) else None
    return Fact(
        resource=reference,
        path=path,
        place=place,
        bytes=_range(read, place),
        type=row.type if row is not None else "",
        vocab=row.vocab if row is not None else "",
        row=step.row if step is not None else "@assemble",
        source=row.place if row is not None else "",
        overlay=row.overlay if row is not None else "",
    )


# what was not mapped --------------------------------------------------------------------------------------------------


def unmapped(conversion: Conversion, read: message.Message, profile: Profile) -> Iterator[Unmapped]:
    """Every valued component that no step of the trace covers, with its reason."""
    trace = conversion.trace
    if trace is None:
        raise RuntimeError("the conversion has no trace")
    covered = _covered(trace, profile)
    misses = ((row, place) for row, place in trace.missed if isinstance(place, Place))
    missed = {(place.segment, place.nth, place.field): row for row, place in misses}
    reasons = _reasons(conversion.issues)
    known = profile.reads(family_of(read, profile))
    switched_off = _switched_off(profile)
    for place in valued_places(read):
        key = (place.segment, place.nth, place.field, place.rep)
        components = covered.get(key)
        if components is not None and (components == {0} or place.comp in components):
            continue
        if crosswalk().get(f"{place.segment}-{place.field}", ("", ""))[0] in ("reader", "rule"):
            continue
        reason = reasons.get((place.segment, place.nth, place.field))
        if reason is None and place.segment not in known:
            reason = "unsupported-structure"
        elif reason is None and key[:3] in missed and components is None:
            reason = "condition-false"
        elif reason is None and (place.segment, place.field) in switched_off:
            reason = "disabled"
        yield Unmapped(place, _range(read, place), reason or "no-row")


def family_of(read: message.Message, profile: Profile) -> str:
    """The family that maps a message."""
    from mappings.hl7v2.structure import structure_of
    from mappings.profile import KEPT

    row = structure_of(read)
    return profile.family(row.family if row is not None else KEPT).name


def valued_places(read: message.Message) -> Iterator[Place]:
    """Every component of the message that says something: a repetition's components, HL7's null too."""
    for segment in read.segments:
        for number, raw in enumerate(segment.fields):
            if not number or not raw or (segment.name == "MSH" and number <= 2):
                continue
            for repetition, text in enumerate(raw.split(read.sep.rep), 1):
                for component, value in enumerate(text.split(read.sep.comp), 1):
                    if value.strip(read.sep.sub + " "):
                        yield Place(segment.name, segment.nth, number, repetition, component)


def _covered(trace: Trace, profile: Profile) -> dict[tuple[str, int, int, int], set[int]]:
    """(segment, nth, field, repetition) → components that some step read; {0} means all of them."""
    found: dict[tuple[str, int, int, int], set[int]] = {}
    every: set[tuple[str, int, int]] = set()
    for step in trace:
        if not isinstance(place := step.source, Place):
            continue
        reads = _reads(step.row, profile)
        if place.rep == 0:
            every.add((place.segment, place.nth, place.field))
        here = found.setdefault((place.segment, place.nth, place.field, place.rep), set())
        here |= {0} if reads is None else reads
    return _Everywhere(found, every)


class _Everywhere(dict[tuple[str, int, int, int], set[int]]):
    """Covered places; a field that was read as a whole covers all its repetitions."""

    def __init__(self, found: dict[tuple[str, int, int, int], set[int]], every: set[tuple[str, int, int]]) -> None:
        super().__init__({key: {0} if 0 in value else value for key, value in found.items()})
        self._every = every

    def get(self, key: tuple[str, int, int, int], default: Any = None) -> Any:
        return {0} if key[:3] in self._every else super().get(key, default)


def _reads(row_id: str, profile: Profile) -> set[int] | None:
    """The components a row's function looks at; None: all."""
    row = profile.maps.table.get(row_id)
    if row is None:
        return None
    function = datatypes.FUNCTIONS.get(row.type)
    if function is None or function.reads is None:
        return None
    return set(function.reads)


def _reasons(issues: Iterable[Issue]) -> dict[tuple[str, int, int], str]:
    found = {}
    for issue in issues:
        if not isinstance(issue.place, Place):
            continue
        key = (issue.place.segment, issue.place.nth, issue.place.field)
        if issue.code == "vocab-miss":
            found[key] = "vocab-miss"
        elif issue.code in _BAD_VALUES:
            found[key] = "bad-value"
    return found


def _switched_off(profile: Profile) -> frozenset[tuple[str, int]]:
    """(segment, field) of every row that does not run: disabled by an overlay, or folded away by the policy."""
    runs = {fact.row.id for each in profile.maps.rows.maps.values() for fact in each.facts}
    off = (row for row in profile.maps.table.values() if row.id not in runs)
    return frozenset((ref.segment, ref.field) for row in off for ref in parse_source(row.source))


# fingerprints ---------------------------------------------------------------------------------------------------------


def fingerprint(feed: str, stage: str, code: str, place: Place | None = None, row: str = "") -> str:
    """What quarantine groups by: no value, no ordinal goes in."""
    text = "\u241f".join((feed, stage, code, place.kind if place is not None else "", row))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


# coverage -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coverage:
    """Rows that some message fired, and rows that none did."""

    fired: frozenset[str]
    silent: tuple[Row, ...]


def coverage(samples: Iterable[bytes], profile: Profile) -> Coverage:
    """Row coverage over fixtures; bytes that are no message fire nothing."""
    fired: set[str] = set()
    for data in samples:
        try:
            conversion = to_fhir(data, profile, trace=True)
        except UnreadableMessage:
            continue
        if conversion.trace is not None:
            fired |= {step.row for step in conversion.trace}
    wired = {name for family in profile.maps.families.values() for name in family.maps}  # what no policy switches off
    live = [fact.row for name in profile.maps.rows.maps if name in wired for fact in profile.maps.rows[name].facts]
    return Coverage(frozenset(fired), tuple(row for row in live if row.id not in fired))
