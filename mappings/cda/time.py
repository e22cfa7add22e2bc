"""What the times of a document mean, most of which come without an offset.

Offset of a time, in order: its own, that of another time in its entry, in its section, the document's effectiveTime's,
the profile's zone. Where a lent offset agrees with the zone at its own instant the zone decides, for it knows summers.
Many systems stamp what they write +0000 whatever their clock says, so a lent +0000 that contradicts the profile's zone
counts as none, unless the profile trusts it. Nothing known: the time is cut to its date and the lexeme kept. UTC is
never invented. What a lexeme is, `mappings/moments.py` knows.
Source: HL7 v3 datatypes R1, TS literal form; CDA R2 §4.3.1.4 (ClinicalDocument.effectiveTime).
"""

from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from mappings.moments import Moment, Zone, moment_of

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.document import Document
    from mappings.cda.element import Element

__all__ = ["DocumentZone", "Moment", "moment"]

_SCOPES: Final = frozenset({"{urn:hl7-org:v3}entry", "{urn:hl7-org:v3}section"})
_BODY: Final = "{urn:hl7-org:v3}component"  # the only child of the document that is no part of its header
_ZERO: Final = frozenset({"+00:00", "-00:00"})
_NOWHERE: Final = Zone()
_FLOATING: Final = Moment(None, False, ("no-offset",))  # stands for a lexeme whose reading depends on its place
_SHORTEST_STAMP: Final = len("2024050110+0200")


def moment(lexeme: str, node: "Element | None", ctx: "Context") -> Moment:
    """The reading of a TS lexeme that stands at `node`. Issues are recorded there, at every occurrence."""
    found = ctx.zone.read(lexeme, node)
    for code in found.issues:
        ctx.issue(code, node)
    return found


class _Base:
    """One meaning of times without an offset, and what was read by it: a document repeats its times."""

    __slots__ = ("times", "zone")

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.times: dict[str, Moment] = {}


class DocumentZone:
    """What a time without an offset means in one document, from place to place.

    Lazy: nothing is searched before a time without an offset asks, and then once. What an element means is remembered
    for all that stands in it, so that neither depth nor number makes a document slow.
    """

    __slots__ = ("_bases", "_elements", "_searched", "_times", "_trust_zero", "_whole", "mismatch", "zone")

    def __init__(
        self,
        elements: "list[Element]",
        stamp: str = "",
        zone: ZoneInfo | None = None,
        *,
        trust_zero: bool = False,
    ) -> None:
        """`elements`: all of the document, in their order."""
        found = Zone.of(stamp, zone)
        self.zone = zone
        self.mismatch = found.mismatch
        self._elements = elements
        self._searched = False
        self._trust_zero = trust_zero
        self._whole = _Base(self._believed(found) or Zone(zone))
        self._bases: dict[Element, _Base] = {}
        self._times: dict[str, Moment] = {}

    @classmethod
    def of(cls, doc: "Document", zone: ZoneInfo | None, zero_offset: str = "verify") -> "DocumentZone":
        """Weigh the offset of the document's effectiveTime against the profile's zone; `zero_offset` is `verify`, or
        `trust` for a feed that is known to write UTC."""
        stamps = (node.get("value") for node in doc.root.named("effectiveTime"))
        return cls(doc.elements, next(filter(None, stamps), ""), zone, trust_zero=zero_offset == "trust")

    def read(self, lexeme: str, node: "Element | None") -> Moment:
        """The reading of one lexeme; without a node, as at the top of the document."""
        known = self._times.get(lexeme)
        if known is None:
            known = moment_of(lexeme, _NOWHERE)
            if known.issues == _FLOATING.issues:
                known = _FLOATING
            self._times[lexeme] = known
        if known is not _FLOATING:
            return known
        base = self._base(node)
        known = base.times.get(lexeme)
        if known is None:
            known = base.times[lexeme] = moment_of(lexeme, base.zone)
        return known

    def at(self, node: "Element | None") -> Zone:
        """What a time without an offset means at an element: as in its entry, its section, the document."""
        return self._base(node).zone

    def _base(self, node: "Element | None") -> _Base:
        if not self._searched:
            self._search()
        bases, asked = self._bases, []
        found = None
        while node is not None and (found := bases.get(node)) is None:
            asked.append(node)
            node = node.parent
        if found is None:
            found = self._whole
        for each in asked:
            bases[each] = found
        return found

    def _search(self) -> None:
        """Let the first stamped time in each entry, section and part of the header speak for it."""
        self._searched = True
        root = self._elements[0]
        read: dict[str, Zone | None] = {}
        made: dict[Zone, _Base] = {}
        passed: set[Element] = {root}  # elements around a stamp: what is around them is, too
        for el in self._elements:
            stamp = el.get("value")
            if stamp is None or len(stamp) < _SHORTEST_STAMP:  # nearly all: this is asked of every element
                continue
            stamp = stamp.strip()
            if len(stamp) < _SHORTEST_STAMP or stamp[-5] not in "+-" or el.parent in passed:
                continue
            if stamp not in read:
                read[stamp] = self._stamped(stamp)
            if (zone := read[stamp]) is None:
                continue
            base = made.setdefault(zone, _Base(zone))
            around: Element | None = el
            while around is not None and around not in passed:
                passed.add(around)
                above = around.parent
                if around.tag in _SCOPES or (above is root and around.tag != _BODY):
                    self._bases[around] = base
                around = above

    def _stamped(self, stamp: str) -> Zone | None:
        """What the offset of a time says of its neighbours; None where it is no time, or not to be believed."""
        if moment_of(stamp, _NOWHERE).value is None:
            return None  # ten digits and a hyphen are a telephone
        return self._believed(Zone.of(stamp, self.zone))

    def _believed(self, found: Zone) -> Zone | None:
        """None for an offset of zero that the profile's zone contradicts."""
        doubtful = found.mismatch and found.offset in _ZERO and not self._trust_zero
        return None if doubtful else found
