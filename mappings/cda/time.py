"""What the times of a document mean, most of which come without an offset.

Offset of a time, in order: its own, that of another time in its entry, in its section, the document's effectiveTime's,
the profile's zone. Where a lent offset agrees with the zone at its own instant the zone decides, for it knows summers.
Many systems stamp what they write +0000 whatever their clock says, so a lent +0000 that contradicts the profile's zone
counts as none, unless the profile trusts it. Nothing known: the time is cut to its date and the lexeme kept. UTC is
never invented. What a lexeme is, `mappings/moments.py` knows.
Source: HL7 v3 datatypes R1, TS literal form; CDA R2 §4.3.1.4 (ClinicalDocument.effectiveTime).
"""

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from lxml import etree

from mappings.moments import Moment, Zone, moment_of

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.document import Document, Element

__all__ = ["DocumentZone", "Moment", "moment"]

_HL7: Final = "{urn:hl7-org:v3}"
_ENTRY: Final = _HL7 + "entry"
_SECTION: Final = _HL7 + "section"
_ZERO: Final = frozenset({"+00:00", "-00:00"})
_NOWHERE: Final = Zone()
_FLOATING: Final = Moment(None, False, ("no-offset",))  # stands for a lexeme whose reading depends on its place
_MOST_STAMPS: Final = 8  # what looks like a stamp and is none should not cost us the real one behind it

# Values that are digits, one sign, and long enough to hold an hour and an offset: nothing but a stamped time.
_STAMPS: Final = etree.XPath(
    "(.//@value[string-length(.) > 14 and contains('|+|-|.+|.-|', concat('|', translate(., '0123456789', ''), '|'))])"
    f"[position() <= {_MOST_STAMPS}]",
    smart_strings=False,
)


def moment(lexeme: str, node: "Element | None", ctx: "Context") -> Moment:
    """The reading of a TS lexeme that stands at `node`. Issues are recorded there, at every occurrence."""
    found = ctx.zone.read(lexeme, node)
    for code in found.issues:
        ctx.issue(code, node)
    return found


class DocumentZone:
    """What a time without an offset means in one document, from place to place.

    Lazy: nothing is searched before a time without an offset asks, and no entry or section twice.
    """

    __slots__ = ("_scopes", "_times", "_trust_zero", "_whole", "mismatch", "zone")

    def __init__(self, stamp: str = "", zone: ZoneInfo | None = None, *, trust_zero: bool = False) -> None:
        self.zone = zone
        self._trust_zero = trust_zero
        self._scopes: dict[Any, Zone] = {}
        self._times: dict[str, Moment] = {}
        found = Zone.of(stamp, zone)
        self.mismatch = found.mismatch
        self._whole = self._believed(found) or Zone(zone)

    @classmethod
    def of(cls, doc: "Document", zone: ZoneInfo | None, zero_offset: str = "verify") -> "DocumentZone":
        """Weigh the offset of the document's effectiveTime against the profile's zone; `zero_offset` is `verify`, or
        `trust` for a feed that is known to write UTC."""
        stamps = (node.get("value") for node in doc.kids[doc.root].get("effectiveTime", ()))
        return cls(next(filter(None, stamps), ""), zone, trust_zero=zero_offset == "trust")

    def read(self, lexeme: str, node: "Element | None") -> Moment:
        """The reading of one lexeme; without a node, as at the top of the document."""
        known = self._times.get(lexeme)
        if known is None:
            known = moment_of(lexeme, _NOWHERE)
            if known.issues == _FLOATING.issues:
                known = _FLOATING
            self._times[lexeme] = known
        return known if known is not _FLOATING else moment_of(lexeme, self.at(node))

    def at(self, node: "Element | None") -> Zone:
        """What a time without an offset means at an element: as in its entry, its section, the document."""
        entry, section = _scopes_of(node)
        for scope in (entry, section):
            if scope is None:
                continue
            found = self._scopes.get(scope)
            if found is None:
                found = self._scopes[scope] = self._lent(scope)
            if found is not _NOWHERE:
                return found
        return self._whole

    def _lent(self, scope: "Element") -> Zone:
        """By the first stamped time within an element; NOWHERE where none has a believable offset."""
        stamps: Any = _STAMPS(scope)
        for stamp in stamps:
            if moment_of(stamp, _NOWHERE).value is None:
                continue  # fifteen digits and a hyphen are no time
            believed = self._believed(Zone.of(stamp, self.zone))
            if believed is not None:
                return believed
        return _NOWHERE

    def _believed(self, found: Zone) -> Zone | None:
        """None for an offset of zero that the profile's zone contradicts."""
        doubtful = found.mismatch and found.offset in _ZERO and not self._trust_zero
        return None if doubtful else found


def _scopes_of(node: "Element | None") -> tuple["Element | None", "Element | None"]:
    """The nearest entry and section around an element; in the header, the part of it stands for the entry."""
    entry: Element | None = None
    part: Element | None = None
    while node is not None:
        above = node.getparent()
        if above is None:
            break
        tag = node.tag
        if tag == _SECTION:
            return entry, node
        if tag == _ENTRY and entry is None:
            entry = node
        part, node = node, above
    return entry or part, None
