"""How a message family is put together: `messages/*.toml` read, checked, indexed by (group, segment).

    extends = "oru"          a family beside it whose file is read first; here a group, a make of the same group and
                             map, or a list of the same name takes the place of what stands there, the rest is added
    drop = ["ORDER/X.Y"]     what it has there (group/map) and this family has not
    pairing = ["prior"]      rules of `pairing.py`
    root = ["MSH", "EVN"]    what stands outside of every group (MESSAGE)
    reads = ["NTE", "MRG.Patient"]  segments and maps that rules read

    [group.VISIT]            which segments form a group: what opens it, what it holds besides
    in = "PATIENT"
    opens = ["PV1"]
    holds = ["PV2", "ROL"]

    [[make]]                 which group makes which resource
    group = "VISIT"          from the segment its map names (PV1.Encounter)
    map = "PV1.Encounter"
    when = "PV1-2 != N"      the language of `rows/condition.py`
    key = "encounter"        a function of `keys/`: what identifies it
    mode = "update"          state, update, stub or event
    scope = "PATIENT"        the ancestor group whose segments may refer to it, too
    link = { subject = "Patient" }          element = type of the resource it points to
    gather = { "result[]" = "Observation@OBSERVATION" }   element = every such resource made below (by that group)
    with = ["ORC.ServiceRequest"]           maps of segments near it that write into the same resource
    finish = ["encounter_status"]           named rules of `rules/`

    [[add]]                  a map that writes into a resource made elsewhere
    group = "PATIENT"
    map = "PD1.Patient"

    after = ["labels"]       named rules over everything the message made, in this order

Source: design chapter HL7 v2 §3, §4; the guide's message maps say which segment feeds which resource.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mappings.fhir.schema import Schema
from mappings.hl7v2.pairing import PAIRINGS
from mappings.hl7v2.structure import ROOT, Family, GroupRule
from mappings.rows.check import missing
from mappings.rows.compiler import CompiledMap, CompiledRows
from mappings.rows.condition import Condition, fold, parse_condition, python
from mappings.rows.errors import RowsError
from mappings.rows.fields import resource_type
from mappings.rows.python import MapNames
from mappings.rows.runtime import NIL, NULL, PAD, count, part, text

Json = dict[str, Any]
Mode = Literal["state", "update", "stub", "event"]
MODES = ("state", "update", "stub", "event")
_FOLDER = Path(__file__).parent / "messages"

_MAKE = frozenset({"group", "map", "when", "key", "mode", "scope", "link", "gather", "with", "finish", "provides"})
_ADD = frozenset({"group", "map", "when", "to"})
_GROUP = frozenset({"in", "opens", "holds"})
_REMEMBERED = 256  # sets of segments that messages of a family hold; a feed sends a few


@dataclass(frozen=True, slots=True)
class Link:
    """One reference: `subject` is a value, `result[]` an element of a list."""

    name: str
    many: bool
    type: str  # resource type it points to
    required: bool  # absent, it says so
    group: str = ""  # only what groups of this name made; "" for any


@dataclass(frozen=True, slots=True)
class Make:
    """One resource that a segment of a group makes."""

    map: str
    type: str
    when: Callable[[Any, Any], bool] | None
    key: Callable[[Any, Any], tuple[str, ...] | None]
    mode: Mode
    scope: str
    links: tuple[Link, ...]
    outward: bool  # no link leads to what its own group makes: the lines of one order share what they lead to
    gathers: tuple[Link, ...]
    beside: tuple[CompiledMap, ...]
    finish: tuple[tuple[str, Callable[..., None]], ...]
    rows: CompiledMap


@dataclass(frozen=True, slots=True)
class Add:
    """One map that writes into a resource already made."""

    map: str
    to: str
    when: Callable[[Any, Any], bool] | None
    rows: CompiledMap


@dataclass(frozen=True, slots=True)
class Wiring:
    """One family, ready: its groups, and what each segment in each group does."""

    name: str
    family: Family
    makes: Mapping[tuple[str, str], tuple[Make, ...]]
    adds: Mapping[tuple[str, str], tuple[Add, ...]]
    after: tuple[tuple[str, Callable[..., None]], ...]
    maps: frozenset[str]
    segments: frozenset[str]  # that some map or rule reads
    needs: Mapping[str, frozenset[str]]
    asked: dict[frozenset[str], "Rules"] = field(default_factory=dict, repr=False, compare=False)

    def rules_for(self, present: frozenset[str]) -> "Rules":
        """The named rules that have something to do in a message of these segments, by make and over the whole."""
        found = self.asked.get(present)
        if found is None:
            found = Rules({id(make): self._kept(make.finish, present) for each in self.makes.values() for make in each},
                          self._kept(self.after, present))  # fmt: skip
            if len(self.asked) < _REMEMBERED:
                self.asked[present] = found
        return found

    def _kept(self, rules: "NamedRules", present: frozenset[str]) -> "NamedRules":
        return tuple((name, rule) for name, rule in rules if self.needs.get(name, present) & present)


NamedRules = tuple[tuple[str, Callable[..., None]], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Named rules to run: of a resource, by the id of its `Make`; of the whole message."""

    finish: Mapping[int, NamedRules]
    after: NamedRules


@dataclass(frozen=True, slots=True)
class Registry:
    """What wiring may name: functions of `keys/` and `rules/`."""

    keys: Mapping[str, Callable[[Any, Any], tuple[str, ...] | None]]
    rules: Mapping[str, Callable[..., None]]
    after: Mapping[str, Callable[..., None]]
    needs: Mapping[str, frozenset[str]]


def read_table(path: Path) -> Json:
    """A family's file, laid over the one it extends: a profile's family may extend one of ours."""
    table: Json = tomllib.loads(path.read_text("utf-8"))
    if not (base := table.pop("extends", "")):
        return table
    beside = path.with_name(f"{base}.toml")
    found = read_table(beside if beside.exists() and beside != path else _FOLDER / beside.name)
    for kind in ("make", "add"):
        own = {(each.get("group"), each.get("map")) for each in table.get(kind, ())}
        own |= {tuple(each.split("/", 1)) for each in table.get("drop", ())}
        kept = [each for each in found.get(kind, ()) if (each.get("group"), each.get("map")) not in own]
        found[kind] = [*kept, *table.pop(kind, ())]
    table.pop("drop", None)
    found["group"] = found.get("group", {}) | table.pop("group", {})
    return found | table


class _Reader:
    """One TOML file to a Wiring; collects every fault."""

    def __init__(self, path: Path, rows: CompiledRows, registry: Registry, policy: Mapping[str, str], schema: Schema):
        self.path, self.rows, self.registry, self.policy, self.schema = path, rows, registry, policy, schema
        self.faults: list[str] = []
        self.table: Json = read_table(path)

    def fault(self, words: str) -> None:
        self.faults.append(f"messages/{self.path.name}: {words}")

    def family(self, extra: Mapping[str, str]) -> Family:
        """The groups; `extra` puts a profile's Z segments where they hang."""
        groups: dict[str, GroupRule] = {}
        for name, entry in self.table.get("group", {}).items():
            self._keys(f"group.{name}", entry, _GROUP)
            holds = (*entry.get("holds", ()), *(segment for segment, group in extra.items() if group == name))
            groups[name] = GroupRule(name, entry.get("in", ""), tuple(entry.get("opens", ())), holds)
        for name, rule in groups.items():
            if rule.parent and rule.parent not in groups:
                self.fault(f"group {name} lies in {rule.parent}, which is none")
        pairing = tuple(self.table.get("pairing", ()))
        for name in set(pairing) - PAIRINGS:
            self.fault(f"no pairing rule {name}")
        return Family(self.path.stem, groups, tuple(self.table.get("root", ())), pairing)

    def _keys(self, where: str, entry: Json, known: frozenset[str]) -> None:
        for key in entry.keys() - known:
            self.fault(f"{where}: unknown key {key}")

    def make(self, entry: Json, groups: Mapping[str, GroupRule]) -> Make | None:
        self._keys(f"make {entry.get('map')}", entry, _MAKE)
        name, key = entry.get("map", ""), entry.get("key", "")
        if not self._known(name, entry.get("group", ""), groups):
            return None
        if key not in self.registry.keys:
            self.fault(f"make {name}: no key function {key}")
        rules = tuple(rule for rule in entry.get("finish", ()) if self._rule(name, rule))
        if (mode := entry.get("mode", "update")) not in MODES:
            self.fault(f"make {name}: no mode {mode}")
        if self.faults:
            return None
        kind = resource_type(name)
        return Make(
            map=name,
            type=kind,
            when=self._when(entry, name),
            key=self.registry.keys[key],
            mode=mode,
            scope=entry.get("scope", ""),
            links=(links := self._links(kind, entry.get("link", {}))),
            outward=not {link.type for link in links} & self._made_in(entry["group"]),
            gathers=self._links(kind, entry.get("gather", {})),
            beside=tuple(self.rows[each] for each in entry.get("with", ()) if self._beside(each)),
            finish=tuple((rule, self.registry.rules[rule]) for rule in rules),
            rows=self.rows[name],
        )

    def _made_in(self, group: str) -> set[str]:
        """The resource types that a group makes, or that are shown to it."""
        makes = self.table.get("make", ())
        return {resource_type(each.get("map", "")) for each in makes if group in (each.get("group"), each.get("scope"))}

    def add(self, entry: Json, groups: Mapping[str, GroupRule]) -> Add | None:
        self._keys(f"add {entry.get('map')}", entry, _ADD)
        name = entry.get("map", "")
        if not self._known(name, entry.get("group", ""), groups):
            return None
        return Add(name, entry.get("to", resource_type(name)), self._when(entry, name), self.rows[name])

    def _known(self, name: str, group: str, groups: Mapping[str, GroupRule]) -> bool:
        if name not in self.rows.maps:
            self.fault(f"no map {name}")
        elif group != ROOT and group not in groups:
            self.fault(f"{name}: no group {group}")
        elif name[:3] not in self._segments(group, groups):
            self.fault(f"{name}: group {group} never holds {name[:3]}")
        else:
            return True
        return False

    def _beside(self, name: str) -> bool:
        if name not in self.rows.maps:
            self.fault(f"no map {name}")
            return False
        return True

    def _segments(self, group: str, groups: Mapping[str, GroupRule]) -> tuple[str, ...]:
        if group == ROOT:
            return tuple(self.table.get("root", ()))
        return (*groups[group].opens, *groups[group].holds)

    def _rule(self, name: str, rule: str) -> bool:
        if rule not in self.registry.rules:
            self.fault(f"make {name}: no rule {rule}")
            return False
        return True

    def _when(self, entry: Json, name: str) -> Callable[[Any, Any], bool] | None:
        if not (words := entry.get("when", "")):
            return None
        try:
            condition = fold(parse_condition(words), self.policy)
            if isinstance(condition, bool):
                return (lambda seg, ctx: True) if condition else (lambda seg, ctx: False)
            return predicate(condition, name[:3])
        except ValueError as exc:
            self.fault(f"{name}: {exc.args[0]}")
            return None

    def off(self, entry: Json) -> bool:
        """Whether the profile's policy switches an entry off: then nothing reads its segment, and that is told."""
        words = entry.get("when", "")
        return bool(words) and fold(parse_condition(words), self.policy) is False

    def _links(self, kind: str, entries: Mapping[str, str]) -> tuple[Link, ...]:
        links = []
        for target, written in entries.items():
            points_to, _, group = written.partition("@")
            name = target.removesuffix("[]")
            element = self.schema.element(kind, name)
            if element is None or element.types != ("Reference",) or element.many != target.endswith("[]"):
                self.fault(f"{kind}.{target} takes no such reference")
            elif element.targets and points_to not in element.targets and element.targets != ("Resource",):
                self.fault(f"{kind}.{name} does not refer to {points_to}")
            links.append(Link(name, target.endswith("[]"), points_to, element is not None and element.min > 0, group))
        return tuple(links)


def read_wiring(
    path: Path,
    rows: CompiledRows,
    registry: Registry,
    policy: Mapping[str, str],
    schema: Schema,
    extra: Mapping[str, str],
) -> Wiring:
    """One family's file; `extra`: Z segment → group, each with its own maps. Raises RowsError with every fault."""
    reader = _Reader(path, rows, registry, policy, schema)
    family = reader.family(extra)
    makes: dict[tuple[str, str], list[Make]] = {}
    adds: dict[tuple[str, str], list[Add]] = {}
    for entry in reader.table.get("make", ()):
        if (make := reader.make(entry, family.groups)) is not None and not reader.off(entry):
            makes.setdefault((entry["group"], make.map[:3]), []).append(make)
            _check_required(reader, make, tuple(entry.get("provides", ())))
    entries = [*reader.table.get("add", ()), *_site_adds(rows, extra, family.groups)]
    for entry in entries:
        if (add := reader.add(entry, family.groups)) is not None and not reader.off(entry):
            adds.setdefault((entry["group"], add.map[:3]), []).append(add)
    after = [name for name in reader.table.get("after", ()) if name in registry.after]
    for name in set(reader.table.get("after", ())) - set(after):
        reader.fault(f"no rule {name}")
    for key in reader.table.keys() - {"root", "group", "make", "add", "after", "reads", "pairing"}:
        reader.fault(f"unknown key {key}")
    if reader.faults:
        raise RowsError(tuple(reader.faults))
    maps = {make.map for found in makes.values() for make in found} | {
        add.map for found in adds.values() for add in found
    }
    maps |= {beside.name for found in makes.values() for make in found for beside in make.beside}
    maps |= {name for name in reader.table.get("reads", ()) if len(name) > 3}
    return Wiring(
        name=path.stem,
        family=family,
        makes={place: tuple(found) for place, found in makes.items()},
        adds={place: tuple(found) for place, found in adds.items()},
        after=tuple((name, registry.after[name]) for name in after),
        maps=frozenset(maps),
        segments=frozenset({name[:3] for name in maps} | {name[:3] for name in reader.table.get("reads", ())}),
        needs=registry.needs,
    )


def _site_adds(rows: CompiledRows, extra: Mapping[str, str], groups: Mapping[str, GroupRule]) -> list[Json]:
    """A Z segment's maps write into the resources of the group where it hangs."""
    return [
        {"group": group, "map": name}
        for segment, group in extra.items()
        if group in groups
        for name in rows.maps
        if name[:3] == segment
    ]


def _check_required(reader: _Reader, make: Make, provides: tuple[str, ...]) -> None:
    """Every required element has a row, a link, a rule that says so, or a default."""
    written = {step.name.removeprefix("_") for fact in reader.rows[make.map].facts for step in fact.target.steps[:1]}
    written |= {link.name for link in (*make.links, *make.gathers)} | set(provides)
    written |= {fact.target.root for beside in make.beside for fact in beside.facts}
    for name in missing(reader.schema, make.type, written):
        reader.fault(f"make {make.map}: nothing writes {name}, which {make.type} requires")


@lru_cache(maxsize=4_096)  # families say the same of the same segments
def predicate(condition: Condition, segment: str) -> Callable[[Any, Any], bool]:
    """A condition as a function of (segment, ctx)."""
    names = MapNames(segment)
    expression = python(condition, names)
    lines = ["def holds(seg, ctx):", "    rep = ctx.rep", "    comp = ctx.comp"]
    if names.width:
        lines += [f"    f = seg.fields + PAD[{names.width + 1}]"]
    for other, width in names.foreign.items():
        lines += [f"    s = ctx.near({other!r})", f"    f_{other} = (s.fields if s else []) + PAD[{width + 1}]"]
    lines += [f"    {name} = {value}" for name, value in names.texts.items()]
    lines += [f"    return {expression}"]
    scope: dict[str, Any] = {"PAD": PAD, "NIL": NIL, "NULL": NULL, "text": text, "part": part, "count": count}
    exec("\n".join(lines), scope)  # noqa: S102 - emitted from a parsed condition
    holds: Callable[[Any, Any], bool] = scope["holds"]
    return holds
