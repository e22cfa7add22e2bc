"""What a pile of messages holds that the mapping does not read: places, with why and how often. Counts only.

    census = Census(profile)
    census.add(data, seen="2026-03-04T09:00:00Z")
    census.unmapped()        # the commonest first

The worklist of codes that no map knows is `codes.py`'s. Source: design chapter HL7 v2 §13.
"""

from collections import Counter
from dataclasses import dataclass

from mappings.convert import is_document
from mappings.errors import MappingError
from mappings.hl7v2.explain import explain
from mappings.profile import Profile


@dataclass(frozen=True, slots=True)
class Unread:
    """A kind of place that became nothing: `PV1-41`, never the how-manieth."""

    place: str
    reason: str  # as `explain.Unmapped`
    messages: int
    seen: str  # when last; "" where nobody knows


class Census:
    """One pass over messages that one profile reads."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._messages: Counter[tuple[str, str]] = Counter()
        self._seen: dict[tuple[str, str], str] = {}
        self.read = 0
        self.unreadable = 0

    def add(self, data: bytes, seen: str = "") -> None:
        """Count one message or document; one that cannot be converted at all is counted as such."""
        try:
            found = _places(data, self._profile)
        except MappingError:
            self.unreadable += 1
            return
        self.read += 1
        for key in found:
            self._messages[key] += 1
            self._seen[key] = max(seen, self._seen.get(key, ""))

    def unmapped(self) -> list[Unread]:
        """What most messages hold first."""
        ordered = sorted(self._messages.items(), key=lambda item: (-item[1], item[0]))
        return [Unread(place, reason, count, self._seen[place, reason]) for (place, reason), count in ordered]


def _places(data: bytes, profile: Profile) -> set[tuple[str, str]]:
    """(kind of place, reason) of all that was not mapped."""
    if is_document(data):
        from mappings.cda.explain import explain as explain_document  # here: messages never load it

        return {(each.place.kind, each.reason) for each in explain_document(data, profile).unmapped}
    return {(each.place.kind, each.reason) for each in explain(data, profile).unmapped}
