"""What changed between two records of one message: values by path, effects, issues; and whether it got worse.

    compare(old, new).verdict      unchanged, changed or worse

Worse is what an analyst must look at before a new mapping goes live: a value or a resource that is gone, an issue that
was not there, a message that cannot be converted any more. Resources are paired by type and id, for ids come from what
identifies a thing and not from the mapping. A change names paths; what stood there is for those who may see content.

Source: operations chapter §1 (`map diff`), §4 (replay, dry run).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from msgspec import Raw

from mappings.fhir.codec import decode, lexeme
from mappings.fhir.leaves import leaves
from mappings.issues import CODES

Json = dict[str, Any]
Verdict = Literal["unchanged", "changed", "worse"]
Kind = Literal["added", "removed", "changed"]

# Beside a primitive stands why it is absent or what was written in its place: gone, once it has its value.
_SAYS_WHY = re.compile(r"(^|\.)_[a-z]\w*(\[\d+\])?\.extension\b")
_ABOUT = ("mode", "at", "clear", "own", "into", "was")  # how a resource joins what is stored, beside its body


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `old` and `new` are content: "" where there is none."""

    kind: Kind
    resource: str  # Type/id; "" for issues and effects
    path: str
    old: str = ""
    new: str = ""

    @property
    def lost(self) -> bool:
        """Whether something that was said is said no more, or something new is wrong."""
        if self.path == "issue":
            return self.kind == "added" and _severity(self.new) != "information"
        return self.kind == "removed" and _SAYS_WHY.search(self.path) is None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences between two records, in the order of the old one, then what is new."""

    changes: tuple[Change, ...]

    @property
    def verdict(self) -> Verdict:
        if not self.changes:
            return "unchanged"
        return "worse" if any(change.lost for change in self.changes) else "changed"


def compare(old: bytes | None, new: bytes | None) -> Comparison:
    """Two records (`record.py`) of the same bytes; None where they could not be converted."""
    if old is None or new is None:
        if old is new:
            return Comparison(())
        return Comparison((Change("removed" if new is None else "added", "", "conversion"),))
    before, after = decode(old), decode(new)
    changes = [*_resources(before["resources"], after["resources"])]
    changes += _counted("effect", before["effects"], after["effects"])
    changes += _counted("issue", before["issues"], after["issues"])
    return Comparison(tuple(changes))


def _resources(old: Sequence[Json], new: Sequence[Json]) -> Iterator[Change]:
    before, after = _by_reference(old), _by_reference(new)
    for reference in [*before, *(each for each in after if each not in before)]:
        if reference not in after:
            yield Change("removed", reference, "resource")
        elif reference not in before:
            yield Change("added", reference, "resource")
        else:
            yield from _values(reference, before[reference], after[reference])


def _by_reference(resources: Sequence[Json]) -> dict[str, Json]:
    return {f"{each['body']['resourceType']}/{each['body']['id']}": each for each in resources}


def _values(reference: str, old: Json, new: Json) -> Iterator[Change]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for path in [*before, *(each for each in after if each not in before)]:
        if path not in after:
            yield Change("removed", reference, path, old=before[path])
        elif path not in before:
            yield Change("added", reference, path, new=after[path])
        elif before[path] != after[path]:
            yield Change("changed", reference, path, before[path], after[path])


def _leaves(entry: Json) -> Iterator[tuple[str, str]]:
    """(path, value) of the body, and of what is said about it, whose paths begin with `@`."""
    for name in _ABOUT:
        if value := entry.get(name):  # a record of an older version may lack it
            yield f"@{name}", str(value)
    yield from ((path, _text(value)) for path, value in leaves(entry["body"]))


def _text(value: Any) -> str:
    """A leaf as text; a number as it was written."""
    return lexeme(value) if isinstance(value, (Decimal, Raw)) else str(value)


def _counted(path: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """What a list holds more or fewer of; the order says nothing."""
    before, after = Counter(old), Counter(new)
    for text in (before - after).elements():
        yield Change("removed", "", path, old=text)
    for text in (after - before).elements():
        yield Change("added", "", path, new=text)


def _severity(issue: str) -> str:
    """Of a recorded issue, whose first word is its code; an unknown one counts as an error."""
    code = CODES.get(issue.partition(" ")[0])
    return code.severity if code is not None else "error"
