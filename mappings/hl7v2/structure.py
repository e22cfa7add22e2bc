"""Which structure a message has, and its segments in groups.

`structures.csv` says for an event which structure it has, which family of `messages/*.toml` maps it, and how far
(`full`, `core`, `kept`). Its event column is ours: HL7's table 0354 has structures without events, and MSH-9.3 is
usually absent. Grouping is a tolerant automaton, not the standard's grammar: a segment opens a group of its family,
else joins the innermost open group that holds it, else the innermost open one (`unexpected-segment`). None is dropped,
and none closes a group by surprise. The pairing rules of orders, results and specimens, which a family asks for by
name (`pairing`), are `pairing.py`'s.
Source: HL7 v2.9 chapters 3, 4 and 7; hl7v2.md §4.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from mappings.hl7v2 import pairing
from mappings.hl7v2.message import Message, Segment
from mappings.issues import Issue, issue

ROOT = "MESSAGE"
ANY = "*"  # stands for every event that has no line of its own

_FILE = Path(__file__).parent / "structures.csv"
_CARRIERS = frozenset({"NTE", "PRT"})  # belong to the segment before them, wherever that stands
_LONGEST_NAMES = 64  # characters of MSH-9 and MSH-12 worth remembering: no structure has longer ones


class StructureRow(NamedTuple):
    """One line of structures.csv. `message` and `event` are MSH-9.1 and .2 ("" where none is sent, `*` for any other);
    `since`, `until` versions of HL7.
    """

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


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """The groups of a family of messages. `root` names what may stand outside every group, MSH and SFT say."""

    name: str
    groups: dict[str, GroupRule]
    root: tuple[str, ...] = ()
    pairing: tuple[str, ...] = ()  # the rules of `pairing.py` that hold in it


class Group:
    """Segments that stand together, in the message's order; the outermost group is named MESSAGE."""

    __slots__ = ("groups", "name", "parent", "segments")

    def __init__(self, name: str, parent: "Group | None" = None, segments: list[Segment] | None = None) -> None:
        self.name = name
        self.parent = parent
        self.segments: list[Segment] = [] if segments is None else segments
        self.groups: list[Group] = []

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
    placed: list[tuple[Segment, Group]]  # every segment with its group, in the order of the message


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
    structure = message.component(9, 3).upper()
    asked = (message.code, message.event, structure, message.version)
    return _known_row(*asked) if sum(map(len, asked)) <= _LONGEST_NAMES else structure_row(*asked)


@lru_cache(maxsize=1024)
def _known_row(code: str, event: str, structure: str, version: str) -> StructureRow | None:
    return structure_row(code, event, structure, version)


def structure_row(code: str, event: str, structure: str = "", version: str = "") -> StructureRow | None:
    """The same from the parts of MSH-9 and MSH-12, for the listener."""
    rows = _rows().get((code, event)) or _rows().get((code, ANY))
    if not rows:
        return None
    current = [row for row in rows if _holds(row, version)] or rows
    return next((row for row in current if row.structure == structure), current[0])


def _holds(row: StructureRow, version: str) -> bool:
    """Versions compare as text: 2.3.1 stands between 2.3 and 2.4."""
    return not version or ((not row.since or row.since <= version) and (not row.until or version <= row.until))


def group(message: Message, family: Family) -> Grouped:
    """The message's segments as a tree of its family's groups. Every segment is in it exactly once."""
    return Grouper(message, family).run()


class _Plan(NamedTuple):
    """A family's rules by what the automaton asks."""

    below: dict[tuple[str, str], GroupRule]  # (open group, segment) -> the group it opens there
    first: dict[str, GroupRule]  # segment -> the group it opens where nothing fits
    holds: dict[str, frozenset[str]]
    orders: frozenset[str]  # the groups that an OBR opens
    rules: dict[str, tuple[pairing.Rule, ...]]


@lru_cache(maxsize=256)
def _plan(family: Family) -> _Plan:
    below: dict[tuple[str, str], GroupRule] = {}
    first: dict[str, GroupRule] = {}
    for rule in family.groups.values():
        for name in rule.opens:
            below.setdefault((rule.parent or ROOT, name), rule)
            first.setdefault(name, rule)
    holds = {rule.name: frozenset(rule.holds) for rule in family.groups.values()}
    orders = frozenset(rule.name for rule in family.groups.values() if "OBR" in rule.opens)
    rules = pairing.rules_of(family.pairing) if orders else {}
    return _Plan(below, first, {**holds, ROOT: frozenset(family.root)}, orders, rules)


@lru_cache(maxsize=1024)
def _rules(family: Family, decisive: frozenset[str]) -> dict[str, tuple[pairing.Rule, ...]]:
    """Segment name → the rules of its pairing that a message with these segments asks."""
    return pairing.rules_in(_plan(family).rules, decisive)


class Grouper:
    """One run of the automaton. From the innermost open group outward, the first that can take a segment does: by a
    group it may hold that the segment opens, or by holding the segment itself. NTE and PRT stay with the segment before
    them, wherever that stands; orders, results and specimens are paired by `pairing.py`."""

    def __init__(self, message: Message, family: Family) -> None:
        self.message = message
        self.family = family
        self.issues: list[Issue] = []
        self.root = Group(ROOT)
        self.open = self.root  # the innermost open group
        self.plan = _plan(family)
        self.rules = _rules(family, pairing.DECISIVE.intersection([segment.name for segment in message.segments]))
        self.ordered = False  # an order has begun
        self.prior: Group | None = None  # the results of an earlier order, while they are told
        self.before = self.root  # what was open before those
        self.known: dict[int, bool] = {}  # answers that a rule of `pairing.py` keeps

    def run(self) -> Grouped:
        placed = [(segment, self._place(segment)) for segment in self.message.segments]
        return Grouped(self.root, tuple(self.issues), placed)

    def _place(self, segment: Segment) -> Group:
        """The group that takes the segment; it is the innermost open one from now on, except for carriers."""
        name = segment.name
        if name in _CARRIERS and name not in self.plan.first:
            self.open.segments.append(segment)
            return self.open
        for rule in self.rules.get(name, ()):
            if (paired := rule(self, segment)) is not None:
                return paired
        if self.prior is not None and not self._taken_in_prior(name):
            self.leave_prior()
        below, holds = self.plan.below, self.plan.holds
        group: Group | None = self.open
        while group is not None:
            if (opens := below.get((group.name, name))) is not None:
                return self._enter(opens, group, segment)
            if name in holds[group.name]:
                return self.join(group, segment)
            group = group.parent
        return self._place_without_parent(segment)

    def _place_without_parent(self, segment: Segment) -> Group:
        """The parent is missing: it opens implicitly. Nothing takes the segment at all: it stays where it stands, and
        the groups around it stay open."""
        if (rule := self.plan.first.get(segment.name)) is not None:
            return self._enter(rule, self._parent(rule.parent), segment)
        if not segment.name.startswith("Z"):
            self.issues.append(issue("unexpected-segment", segment.place()))
        self.open.segments.append(segment)
        return self.open

    def _enter(self, rule: GroupRule, parent: Group, segment: Segment) -> Group:
        opened = Group(rule.name, parent, [segment])
        parent.groups.append(opened)
        self.open = opened
        return opened

    def _parent(self, name: str) -> Group:
        """The nearest open group of that name, or a new one where the message left it out."""
        if name in ("", ROOT):
            return self.root
        for candidate in self.enclosing():
            if candidate.name == name:
                return candidate
        return self._add(name)

    def _add(self, name: str) -> Group:
        above = self._parent(self.family.groups[name].parent)
        made = Group(name, above)
        above.groups.append(made)
        return made

    # what the rules of `pairing.py` ask ---------------------------------------------------------------------------

    def enclosing(self) -> Iterator[Group]:
        """The open groups, from the innermost outward."""
        group: Group | None = self.open
        while group is not None:
            yield group
            group = group.parent

    def order(self) -> Group | None:
        """The open order, if there is one."""
        return next((group for group in self.enclosing() if group.name in self.plan.orders), None)

    def join(self, group: Group, segment: Segment) -> Group:
        """Puts a segment into an open group, and closes what is open in it."""
        group.segments.append(segment)
        self.open = group
        return group

    def make(self, name: str) -> Group:
        """Opens a group without a segment."""
        self.open = self._add(name)
        return self.open

    def leave_prior(self) -> None:
        """Back to the order before the earlier results."""
        self.open, self.prior = self.before, None

    def _taken_in_prior(self, name: str) -> bool:
        """Whether the earlier results take a segment, or nothing does: then it stays where it stands."""
        for group in self.enclosing():
            if self._takes(group, name):
                return True
            if group is self.prior:
                break
        outside: Group | None = self.before
        while outside is not None:
            if self._takes(outside, name):
                return False
            outside = outside.parent
        return name not in self.plan.first

    def _takes(self, group: Group, name: str) -> bool:
        return (group.name, name) in self.plan.below or name in self.plan.holds[group.name]
