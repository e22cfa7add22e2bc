"""One document in, FHIR R4 out: `to_fhir(data, profile) -> Conversion`, as for HL7 v2.

1. guard and parse (`document.py`)
2. the header: whose it is (`header.py`)
3. the body: sections, entries, statements (`walk.py`, `domains/`); where an entry fails, 2 and 3 again without it
4. the whole: Composition, original, provenance (`compose.py`)
5. what no single row can see (`mappings/finishing.py`)

Pure: the profile carries the ids' key, `at` the time of receipt. Same input, same output.
"""

from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Final

from mappings import finishing
from mappings.cda.compose import compose
from mappings.cda.datatypes.nulls import tell_strange
from mappings.cda.document import Limits, parse
from mappings.cda.domains import entry_reference, personal
from mappings.cda.element import Element
from mappings.cda.header import instant, patient_key, patient_role, read_header
from mappings.cda.place import XmlPlace
from mappings.cda.trace import DocumentTrace
from mappings.cda.walk import Walk
from mappings.convert import Conversion, Mapped, PatientKey
from mappings.hl7v2.place import Place
from mappings.issues import Issue
from mappings.profile import Profile

_FIRST: Final = attrgetter("first")


def to_fhir(data: bytes, profile: Profile, *, at: datetime | None = None, trace: bool = False) -> Conversion:
    """The whole conversion. `at`: time of receipt, for a document without a time, and the latest that one counts as.
    Raises UnreadableDocument."""
    doc = parse(data, Limits(**profile.cda.limits))
    failed: frozenset[Element] = frozenset()
    while True:  # each round without one entry more; nearly always there is one round
        walk = Walk(doc, profile, profile.cda.entries, failed)
        walk.at = at.isoformat() if at is not None else ""
        if trace:
            _trace(walk)
        read_header(walk)
        sections = walk.body()
        if not walk.failed:
            break
        failed |= walk.failed
        walk.release()
    entry_reference.settle(walk)
    compose(walk, sections)
    finishing.finish(walk)
    tell_strange(walk)
    personal.follow(walk)
    walk.release()
    return Conversion(
        resources=tuple(
            Mapped(made.body, made.mode, (), tuple(made.filled), made.own, walk.at, (max(made.first, 0),), None)
            for made in sorted(walk.made, key=_FIRST)
        ),
        effects=(),
        issues=tuple(_once(walk.issues)),
        trace=walk.trace,
        digest=walk.doc.digest,
        rows=profile.revision,
        tally=tuple(walk.outcomes.values()),
        instant=instant(walk),
    )


def _once(issues: list[Issue]) -> Iterator[Issue]:
    """What is wrong with an element of the header once, however many rows read it: the document's time has four."""
    told: set[tuple[str, Place | XmlPlace | None, str]] = set()
    for each in issues:
        if isinstance(each.place, XmlPlace) and not each.place.path.startswith("section["):
            key = each.code, each.place, each.detail
            if key in told:
                continue
            told.add(key)
        yield each


def _trace(walk: Walk) -> None:
    found = walk.trace = DocumentTrace(walk.doc)
    reports = {name: getattr(found, name) for name in ("hit", "miss", "place_hits", "mark", "below")}
    walk.traced = walk.entries.rows.traced.bind(**reports)


def walk_of(data: bytes, profile: Profile) -> Walk:
    """A document, ready to be walked."""
    return Walk(parse(data, Limits(**profile.cda.limits)), profile, profile.cda.entries)


def patient_keys(data: bytes, profile: Profile) -> tuple[PatientKey, ...]:
    """The patient that a document names, for lanes at receipt. Raises UnreadableDocument."""
    walk = walk_of(data, profile)
    key = patient_key(patient_role(walk), walk)
    return (PatientKey(profile.identities.make("Patient", key), key),)
