"""Which structure a message has, and its segments in groups.

`structures.csv` says for an event which structure it has, which family of `messages/*.toml` maps it, and how far
(`full`, `core`, `kept`). Its event column is ours: HL7's table 0354 has structures without events, and MSH-9.3 is
usually absent. Grouping is a tolerant automaton, not the standard's grammar: a segment opens a group of its family,
else joins the innermost open group that holds it, else the innermost open one (`unexpected-segment`). None is dropped,
and none closes a group by surprise. The pairing rules of orders, results and specimens are bullets at `_Grouper`.
Source: HL7 v2.9 chapters 3, 4 and 7; hl7v2.md §4.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mappings.hl7v2.issues import Issue, issue
from mappings.hl7v2.message import Message, Segment

ROOT = "MESSAGE"
PRIOR = "PRIOR_RESULT"

_FILE = Path(__file__).parent / "structures.csv"
_CARRIERS = frozenset({"NTE", "PRT"})  # belong to the segment before them, wherever that stands
_RESULTS_AFTER_ORDER = frozenset({"OUL_R22", "OUL_R23", "OUL_R24"})
_PRIOR_FAMILIES = frozenset({"OML", "OMG", "ORM"})
_PRIOR_OPENERS = frozenset({"PID", "PV1", "AL1"})


class StructureRow(NamedTuple):
    """One line of structures.csv. `message` and `event` are MSH-9.1 and .2; `since`, `until` versions of HL7."""

    message: str
    event: str
    structure: str
    since: str
    until: str
    family: str
    tier: str


@dataclass(frozen=True, slots=True)
class GroupRule:
    """A group of a family: its parent ("" is the message), the segments that open it and those it may hold."""

    name: str
    parent: str
    opens: tuple[str, ...]
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """The groups of a family of messages. `root` names what may stand outside every group, MSH and SFT say."""

    name: str
    groups: dict[str, GroupRule]
    root: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Group:
    """Segments that stand together; the outermost is named MESSAGE. Orders are those of the message."""

    name: str
    parent: "Group | None" = None
    segments: list[Segment] = field(default_factory=list)
    groups: list["Group"] = field(default_factory=list)

    def walk(self) -> Iterator["Group"]:
        """This group and all below, in order."""
        yield self
        for group in self.groups:
            yield from group.walk()

    def all(self, name: str) -> list["Group"]:
        return [group for group in self.walk() if group.name == name]

    def find(self, segment: str) -> Segment | None:
        """The first segment of that name in this group, then in each group around it."""
        group: Group | None = self
        while group is not None:
            for candidate in group.segments:
                if candidate.name == segment:
                    return candidate
            group = group.parent
        return None


@dataclass(frozen=True, slots=True)
class Grouped:
    """The tree and what was out of place in it."""

    root: Group
    issues: tuple[Issue, ...]


@cache
def _rows() -> dict[tuple[str, str], list[StructureRow]]:
    found: dict[tuple[str, str], list[StructureRow]] = {}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            line = StructureRow(*(row[name] for name in StructureRow._fields))
            found.setdefault((line.message, line.event), []).append(line)
    return found


def structure_of(message: Message) -> StructureRow | None:
    """The row of the message's type and event; MSH-9.3 decides only where the event alone leaves it open."""
    code, event = message.component(9, 1).upper(), message.event
    return structure_row(code, event, message.component(9, 3).upper(), message.version)


def structure_row(code: str, event: str, structure: str = "", version: str = "") -> StructureRow | None:
    """The same from the parts of MSH-9 and MSH-12, for the listener."""
    rows = _rows().get((code, event)) or _rows().get((code, ""))
    if not rows:
        return None
    current = [row for row in rows if _holds(row, version)] or rows
    return next((row for row in current if row.structure == structure), current[0])


def _holds(row: StructureRow, version: str) -> bool:
    """Versions compare as text: 2.3.1 stands between 2.3 and 2.4."""
    return not version or ((not row.since or row.since <= version) and (not row.until or version <= row.until))


def group(message: Message, family: Family, structure: str = "") -> Grouped:
    """The message's segments as a tree of its family's groups. Every segment is in it exactly once."""
    return _Grouper(message, family, structure).run()


class _Grouper:
    """One run of the automaton. Beside the general rule:

    - ORC belongs to the next OBR (in OUL_R22, R23, R24 to the previous one); an OBR after an ORC that has its OBR
      already opens a group of the same kind, and an OBR without ORC opens an order.
    - NTE and PRT stay where the segment before them stands; so do Z segments the family does not place.
    - In OML, OMG and ORM after the first order a PID, PV1 or AL1, or an ORC with ORC-1 = PR, opens PRIOR_RESULT; an ORC
      whose ORC-1 is neither PR nor empty closes it again, unless it follows the opener directly.
    """

    def __init__(self, message: Message, family: Family, structure: str) -> None:
        self.message = message
        self.family = family
        self.structure = structure
        self.issues: list[Issue] = []
        self.root = Group(ROOT)
        self.open = self.root  # the innermost open group
        self.previous = ""
        self.openers: dict[str, list[GroupRule]] = {}
        for rule in family.groups.values():
            for name in rule.opens:
                self.openers.setdefault(name, []).append(rule)
        self.has_prior = PRIOR in family.groups and family.name.upper()[:3] in _PRIOR_FAMILIES

    def run(self) -> Grouped:
        for segment in self.message.segments:
            self._place(segment)
            self.previous = segment.name
        return Grouped(self.root, tuple(self.issues))

    def _place(self, segment: Segment) -> None:
        name = segment.name
        if name in _CARRIERS and name not in self.openers:
            self._add(self.open, segment)
        elif self.has_prior and (rule := self._prior(segment)) is not None:
            self._open(rule, segment)
        elif name == "OBR" and self._joins_order():
            self._add(self.open, segment)
        elif name == "ORC" and self._ends_order():
            self._add(self._innermost("OBR") or self.open, segment)
        elif (rule := self._opening(name)) is not None:
            self._open(rule, segment)
        else:
            self._join(segment)

    def _opening(self, name: str) -> GroupRule | None:
        """The rule by which a segment opens a group here: the deepest one whose parent is open."""
        rules = self.openers.get(name)
        if not rules:
            return None
        around = [group.name for group in self._enclosing()]
        if self._held_by_fresh(name):
            return None
        return min(rules, key=lambda rule: around.index(rule.parent) if rule.parent in around else len(around))

    def _held_by_fresh(self, name: str) -> bool:
        """A group that both opens with and holds a segment takes the first one it has not got yet: in an order opened
        by ORC, the OBR. Another one opens a new group."""
        rule = self.family.groups.get(self.open.name)
        return rule is not None and name in rule.holds and not any(s.name == name for s in self.open.segments)

    def _open(self, rule: GroupRule, segment: Segment) -> None:
        parent = self._parent(rule.parent)
        opened = Group(rule.name, parent)
        parent.groups.append(opened)
        self._add(opened, segment)

    def _parent(self, name: str) -> Group:
        """The nearest open group of that name; one is opened where the message left it out."""
        if name in ("", ROOT):
            return self.root
        for candidate in self._enclosing():
            if candidate.name == name:
                return candidate
        above = self._parent(self.family.groups[name].parent)
        made = Group(name, above)
        above.groups.append(made)
        return made

    def _join(self, segment: Segment) -> None:
        name = segment.name
        for candidate in self._enclosing():
            rule = self.family.groups.get(candidate.name)
            if (rule is not None and name in rule.holds) or (rule is None and name in self.family.root):
                self._add(candidate, segment)
                return
        if not name.startswith("Z"):
            self.issues.append(issue("unexpected-segment", segment.place()))
        self._add(self.open, segment, stay=True)

    def _add(self, target: Group, segment: Segment, *, stay: bool = False) -> None:
        """`stay`: a segment that nothing expects must not close the groups around the next one."""
        target.segments.append(segment)
        if not stay:
            self.open = target

    def _enclosing(self) -> Iterator[Group]:
        group: Group | None = self.open
        while group is not None:
            yield group
            group = group.parent

    def _innermost(self, segment: str) -> Group | None:
        return next((g for g in self._enclosing() if any(s.name == segment for s in g.segments)), None)

    # Orders ---------------------------------------------------------------------------------------------------------

    def _joins_order(self) -> bool:
        """An OBR whose group was opened by its ORC and has no OBR yet."""
        names = [segment.name for segment in self.open.segments]
        return "ORC" in names and "OBR" not in names

    def _ends_order(self) -> bool:
        """In OUL_R22, R23, R24 the ORC stands behind its OBR."""
        if self.structure not in _RESULTS_AFTER_ORDER:
            return False
        order = self._innermost("OBR")
        return order is not None and not any(segment.name == "ORC" for segment in order.segments)

    def _prior(self, segment: Segment) -> GroupRule | None:
        name = segment.name
        if not any(group.name == "ORDER" for group in self.root.walk()):
            return None
        inside = next((group for group in self._enclosing() if group.name == PRIOR), None)
        if name in _PRIOR_OPENERS:
            fresh = inside is not None and self.previous in _PRIOR_OPENERS
            return None if fresh else self.family.groups[PRIOR]
        if name != "ORC":
            return None
        control = segment.field(1).strip()
        if control == "PR" and inside is None:
            return self.family.groups[PRIOR]
        if inside is not None and control not in ("", "PR") and self.previous not in _PRIOR_OPENERS:
            return self.family.groups["ORDER"]
        return None
