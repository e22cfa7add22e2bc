"""Rows to Python, once a profile: read, check; emit one function a map when it is first needed, `exec`.

    compiled = compile_maps(rows, environment)
    compiled["PID.Patient"].fast(segment, ctx, body)

Everything that can be wrong with a row is found here and stops the start: a path or cardinality that R4 does not
have, a function, table or resolver that does not exist, a datatype that does not fit its element, a code outside
its required binding, two rows that may both write one value. `check.py` holds the checks between rows, `emit.py`
the text.

Why generated Python: as fast as functions written by hand, several times faster than templates, and the rows stay
something a clinician can review (design chapter HL7 v2 §3).
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import CodeType
from typing import Any, Protocol

from mappings.errors import MappingError
from mappings.fhir.schema import Schema
from mappings.rows import runtime
from mappings.rows.condition import Condition, fields_of, fold, parse_condition
from mappings.rows.emit import WHEN_ABSENT, WHEN_NOTHING, Fact
from mappings.rows.errors import RowsError
from mappings.rows.fields import FIELD_ROWS
from mappings.rows.language import Language
from mappings.rows.python import python_name
from mappings.rows.table import FieldRef, Kind, Row, parse_target
from mappings.rows.target import Resolved, resolve

Json = dict[str, Any]
MapFunction = Callable[[Any, Any, Json], None]

ALTERNATE_CODES = "http://hl7.org/fhir/StructureDefinition/alternate-codes"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_ROWS = re.compile(r"rows\[([a-z0-9]+\.[A-Za-z.-]+)\]\Z")
_ABSENT = re.compile(r"absent\(([a-z-]+)\)\Z")
_KEPT_BY_KEY = frozenset({  # `merge` joins these lists, of one type or all: no message owns the whole of them
    "addresses", "basedOn", "classHistory", "coverage", "extension", "goal", "identifier", "link", "location",
    "modifierExtension", "participant", "qualification", "serviceType", "statusHistory",
})  # fmt: skip
_LISTS = (Kind.APPEND, Kind.SLOT, Kind.EXTENSION)  # what makes an element of each repetition
_NUMERIC = frozenset({"integer", "positiveInt", "unsignedInt", "decimal"})
# a value of the first fits an element of the second
_FITS = frozenset({
    ("string", "markdown"), ("code", "string"), ("id", "string"), ("uri", "url"), ("string", "code"), ("string", "id"),
    ("code", "id"), ("integer", "positiveInt"), ("integer", "unsignedInt"), ("integer", "decimal"),
    ("date", "dateTime"), ("markdown", "string"), ("Quantity", "SimpleQuantity"), ("Quantity", "Duration"),
    ("Quantity", "Age"),
})  # fmt: skip


class Function(Protocol):
    """A datatype function as the registry describes it."""

    @property
    def call(self) -> Callable[..., Any]: ...
    @property
    def fhir_type(self) -> str: ...
    @property
    def takes(self) -> str: ...


class Vocabulary(Protocol):
    """A concept map, as far as the checks look into it."""

    def targets(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Environment:
    """What rows may name."""

    schema: Schema
    functions: Mapping[str, Function]
    resolvers: Mapping[str, Callable[[Any], Any]]
    vocabulary: Callable[[str], Vocabulary]  # raises KeyError
    policy: Mapping[str, str]
    ignore_null: bool
    source_code: str  # url of the extension that keeps a code its binding does not know
    language: Language = FIELD_ROWS


@dataclass(frozen=True, eq=False)
class CompiledMap:
    """One map, checked, and what its rows read. Its function is made when a message first needs it: a feed sends a few
    of the structures that a profile knows."""

    name: str
    resource_type: str
    segment: str
    facts: tuple[Fact, ...]
    rows: tuple[Row, ...]
    fields: frozenset[tuple[str, int]]  # (segment, field) of every live row
    repeated: frozenset[tuple[str, int]]  # those of which a row reads every repetition
    names: Mapping[str, Any]  # what its Python may name
    ignore_null: bool
    language: Language

    @cached_property
    def fast(self) -> MapFunction:
        """`f(segment, ctx, body)`: writes what the rows say into the body."""
        names = dict(self.names)
        exec(_code(self.source, f"<rows of {self.name}>"), names)  # noqa: S102 - our rows, emitted from checked parts
        function: MapFunction = names[python_name(self.name)]
        return function

    @property
    def source(self) -> str:
        """The Python that the rows become."""
        emitter = self.language.emitter(self.name, self.facts, trace=False, ignore_null=self.ignore_null)
        return emitter.source()


@dataclass(frozen=True, slots=True)
class CompiledRows:
    """All maps of one profile, and the twin that traces."""

    maps: Mapping[str, CompiledMap]
    traced: "Traced"

    def __getitem__(self, name: str) -> CompiledMap:
        return self.maps[name]

    @property
    def source(self) -> str:
        """The Python of every map."""
        return "\n\n".join(each.source for each in self.maps.values())


class Traced:
    """The traced variant, compiled when first asked for: production runs without it."""

    def __init__(self, emit: Callable[[], str], names: Mapping[str, Any]) -> None:
        self._emit = emit
        self._names = names
        self._functions: dict[str, MapFunction] | None = None

    def bind(self, **reports: Callable[..., Any]) -> "TracedMaps":
        """The functions, reporting to one conversion's trace: `hit`, `miss`, `place_hits`, what its format adds."""
        code = _code(self._emit(), "<rows, traced>") if self._functions is None else None
        if code is not None:
            self._code = code
            self._functions = {}
        names = dict(self._names) | reports
        exec(self._code, names)  # noqa: S102 - our own rows, emitted by emit.py from checked parts
        return TracedMaps(names)


class TracedMaps:
    """The traced functions by map name."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> MapFunction:
        function: MapFunction = self._names[python_name(name)]
        return function


def _code(source: str, label: str) -> CodeType:
    return compile(source, label, "exec", dont_inherit=True, optimize=1)


class _Compiler:
    """Reads rows into facts; collects every fault before it gives up."""

    def __init__(self, env: Environment, maps: Collection[str]) -> None:
        self.env = env
        self.maps = maps
        self.faults: list[str] = []
        self.names: dict[str, Any] = dict(env.language.names) | {"SOURCE_CODE": env.source_code}

    def fact(self, row: Row, resource_type: str) -> Fact | None:
        """One row made ready; None where it is folded away or faulty."""
        try:
            when = fold(parse_condition(row.when, self.env.language.grammar), self.env.policy) if row.when else True
            if when is False:
                parse_target(row.target)
                return None
            target = resolve(self.env.schema, resource_type, parse_target(row.target))
            return self._fact(row, target, None if when is True else when)
        except (ValueError, KeyError, MappingError) as exc:
            self.faults.append(f"{row.place}: {row.id}: {exc.args[0] if exc.args else 'is not understood'}")
            return None

    def _fact(self, row: Row, target: Resolved, when: Condition | None) -> Fact:
        default, value = _default(row.value)
        function, takes_all = "", False
        if not row.constant:
            function, takes_all = self._function(row, target)
        elif not row.value:
            raise ValueError("a constant needs a value")
        if default == WHEN_ABSENT and target.anchor >= 0:
            raise ValueError("?? fills an element of the resource; one of a list takes a constant row with a condition")
        if any(step.kind in (Kind.APPEND, Kind.SLOT) for step in target.steps[target.anchor + 1 : -1]):
            raise ValueError("a list inside an element of a list ends a path: its elements have no rows of their own")
        primitive = bool(target.type) and not self.env.schema.has_children(target.type)
        sources = self.env.language.grammar.sources(row.source)
        return Fact(
            row=row,
            sources=sources,
            when=when,
            target=target,
            function=function,
            rows=_rows_named(row.type),
            vocab=self._vocab(row, target),
            takes_all=takes_all or (bool(sources) and sources[0].all),
            constant=self._constant(value, target) if value else "",
            beside=primitive and _ABSENT.match(value) is not None,
            default=default,
            primitive=primitive,
            required_code=primitive and target.type == "code" and target.element.valueset is not None,
            sibling_taken=False,
            clear="",
        )

    def _function(self, row: Row, target: Resolved) -> tuple[str, bool]:
        if rows := _rows_named(row.type):
            return self._rows(rows, row, target), False
        if (function := self.env.functions.get(row.type)) is None:
            raise ValueError(f"no datatype function {row.type}")
        if not _fits(function.fhir_type, row.type, target):
            raise ValueError(f"{row.type} gives {function.fhir_type}, {row.target} takes {target.type or 'a choice'}")
        name = "F_" + re.sub(r"\W+", "_", row.type).strip("_")
        while self.names.setdefault(name, function.call) is not function.call:  # XPN[HumanName] and XPN[HumanName[]]
            name += "_"
        return name, function.takes == "all"

    def _rows(self, rows: str, row: Row, target: Resolved) -> str:
        """The function of a map whose rows build one element of a list, or one part of the resource, each time."""
        if rows not in self.maps:
            raise ValueError(f"no map {rows}")
        if (given := self.env.language.resource_type(rows)) != target.type:
            raise ValueError(f"{rows} gives {given}, {row.target} takes {target.type or 'a choice'}")
        if target.anchor not in (-1, len(target.steps) - 1):
            raise ValueError("rows of another map build whole elements, not parts of one")
        return python_name(rows)

    def _vocab(self, row: Row, target: Resolved) -> str:
        if not row.vocab:
            return "None"
        vocabulary = self.env.vocabulary(row.vocab)
        name = "V_" + re.sub(r"\W", "_", row.vocab)
        while self.names.setdefault(name, vocabulary) is not vocabulary:
            name += "_"
        if target.type == "code" and target.element.valueset is not None:
            allowed = _codes(self.env.schema, target.element.valueset)
            if allowed is not None and (outside := vocabulary.targets() - allowed):
                raise ValueError(f"{row.vocab} gives {sorted(outside)[0]}, which {row.target} cannot hold")
        return name

    def _constant(self, value: str, target: Resolved) -> str:
        """The Python expression of a value."""
        if value.startswith("@"):
            return self._resolver(value[1:])
        if (match := _ABSENT.match(value)) is not None:
            return repr({"extension": [{"url": runtime.ABSENT, "valueCode": match[1]}]})
        return repr(self._literal(value, target))

    def _resolver(self, name: str) -> str:
        if name.startswith("policy."):
            return repr(self.env.policy[name.removeprefix("policy.")])
        if (resolver := self.env.resolvers.get(name)) is None:
            raise ValueError(f"no resolver @{name}")
        bound = "R_" + python_name(name)
        self.names[bound] = resolver
        return f"{bound}(ctx)"

    def _literal(self, value: str, target: Resolved) -> Any:
        if target.type in ("Coding", "CodeableConcept"):
            system, _, rest = value.rpartition("#")
            code, _, display = rest.partition("|")
            coding = {"system": system if "://" in system else TERMINOLOGY + system, "code": code}
            if not system or not code:
                raise ValueError("a coded constant is system#code|display")
            coding |= {"display": display} if display else {}
            return coding if target.type == "Coding" else {"coding": [coding]}
        if target.type == "boolean":
            return {"true": True, "false": False}[value]
        if target.type in _NUMERIC:
            return int(value)
        if not target.type or self.env.schema.has_children(target.type):
            raise ValueError(f"no constant can be written for {target.type or 'a choice'}")
        if target.element.valueset is not None:
            allowed = _codes(self.env.schema, target.element.valueset)
            if allowed is not None and value not in allowed:
                raise ValueError(f"{value} is outside of the required value set")
        return value


def _default(value: str) -> tuple[str, str]:
    for mark in (WHEN_ABSENT, WHEN_NOTHING):
        if value.startswith(mark):
            return mark, value.removeprefix(mark)
    return "", value


def _fits(given: str, name: str, target: Resolved) -> bool:
    if target.last.kind is Kind.CHOICE:
        return given.endswith("[x]")
    if given == "Reference":
        wanted = target.element.targets
        kind = name.partition("(")[2].partition(")")[0]  # XCN[Reference(Practitioner)]
        return target.type == "Reference" and (not wanted or wanted == ("Resource",) or kind in wanted)
    return given == target.type or (given, target.type) in _FITS


def _codes(schema: Schema, valueset: str) -> frozenset[str] | None:
    systems = schema.valueset(valueset)
    return None if systems is None else frozenset().union(*systems.values())


def _finished(facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """Facts with what only the whole map tells: shared lists, siblings written by another row."""
    siblings = {fact.target.root for fact in facts if _writes_alternate_codes(fact)}
    return tuple(
        replace(
            fact,
            clear=clear,
            sibling_taken=fact.target.root in siblings,
            emptied="" if clear else emptied,
            rivals=rivals,
        )
        for fact in facts
        for clear in (clear_path(fact, facts),)
        for emptied, rivals in (shared_list(fact, facts),)
    )


def _writes_alternate_codes(fact: Fact) -> bool:
    steps = fact.target.steps
    return steps[0].name.startswith("_") and len(steps) > 1 and steps[1].key == ALTERNATE_CODES


def clear_path(fact: Fact, facts: Sequence[Fact]) -> str:
    """What a null in this row's field takes away: a path for `merge`, "" where other fields fill the same list.

    `gender`, `period.start`, `value[x]`; `extension(url)`; `participant[type=ATND]` where a constant row of the
    slot tells its element from the others.
    """
    target, anchor = fact.target, fact.target.anchor
    if target.steps[0].name.startswith("_"):
        return target.root
    names = target.names[: anchor + 1 or None]
    if anchor >= 0 and target.steps[anchor].kind is Kind.EXTENSION:
        return ".".join([*names[:-1], f"extension({target.steps[anchor].key})"])
    if anchor < 0 and target.last.kind is not Kind.APPEND:
        return ".".join([*names[:-1], target.element.name])
    path = ".".join(names)
    sharing = [other for other in facts if other.function and other.target.names[: len(names)] == names]
    if _whole(fact):
        sharing = [other for other in sharing if _whole(other)]  # details of elements do not own the list
    if all(other.sources[:1] == fact.sources[:1] for other in sharing):
        return path
    told = next((code for other in facts if (code := _telling(other, fact))), "")
    return f"{path}[{told}]" if told else ""


def shared_list(fact: Fact, facts: Sequence[Fact]) -> tuple[str, tuple[Any, ...]]:
    """A list that several fields fill with whole elements, and the sources of the others: where those are empty, a null
    in this one empties it. Not one that is kept by key, nor one with elements that no field gave.
    """
    last = fact.target.last
    if last.kind is not Kind.APPEND or len(fact.target.steps) > 1 or last.name in _KEPT_BY_KEY:
        return "", ()
    others = [other for other in facts if other.target.names[:1] == (last.name,) and _whole(other)]
    if any(not other.sources for other in others):
        return "", ()
    return last.name, tuple({ref: None for other in others for ref in other.sources if ref not in fact.sources})


def _whole(fact: Fact) -> bool:
    """Whether a row gives whole elements of a list."""
    return fact.target.anchor in (-1, len(fact.target.steps) - 1)


def _telling(other: Fact, fact: Fact) -> str:
    """`type=ATND`: the constant row that marks the element of this fact's slot."""
    anchor = fact.target.anchor
    same = other.target.steps[: anchor + 1] == fact.target.steps[: anchor + 1]
    rest = other.target.steps[anchor + 1 :]
    if anchor < 0 or other.function or not same or len(rest) != 1:
        return ""
    _, value = _default(other.row.value)
    if _ABSENT.match(value) is not None:  # says nothing, and so tells nothing apart
        return ""
    return f"{rest[0].name}={value.rpartition('#')[2].partition('|')[0]}" if not value.startswith("@") else ""


def compile_maps(maps: Mapping[str, Sequence[Row]], env: Environment) -> CompiledRows:
    """Every map of a profile; raises RowsError with every fault."""
    from mappings.rows.check import faults_between  # here, for check.py reads facts made in this file

    compiler = _Compiler(env, maps)
    facts: dict[str, tuple[Fact, ...]] = {}
    for name, rows in maps.items():
        made = [compiler.fact(row, env.language.resource_type(name)) for row in rows if row.live]
        facts[name] = _finished([fact for fact in made if fact is not None])
    faults = compiler.faults + faults_between(facts, env.schema)
    if faults:
        raise RowsError(tuple(faults))
    compiled = {
        name: CompiledMap(
            name,
            env.language.resource_type(name),
            name[:3],
            facts[name],
            tuple(rows),
            _reads(facts[name]),
            _repeated(facts[name]),
            compiler.names,
            env.ignore_null,
            env.language,
        )
        for name, rows in maps.items()
    }
    compiler.names |= {python_name(name): _Late(compiled, name) for name in _named(facts)}
    return CompiledRows(compiled, Traced(lambda: _emit_traced(facts, env), compiler.names))


class _Late:
    """The function of a map that rows of another name: made when it is first called."""

    __slots__ = ("maps", "name")

    def __init__(self, maps: Mapping[str, CompiledMap], name: str) -> None:
        self.maps = maps
        self.name = name

    def __call__(self, node: Any, ctx: Any, body: Json) -> None:
        self.maps[self.name].fast(node, ctx, body)


def _named(facts: Mapping[str, tuple[Fact, ...]]) -> set[str]:
    return {fact.rows for each in facts.values() for fact in each if fact.rows}


def _rows_named(type_: str) -> str:
    """`rows[allergy.AllergyIntolerance.reaction]` names a map; any other type a datatype function."""
    match = _ROWS.match(type_)
    return match[1] if match is not None else ""


def _emit_traced(facts: Mapping[str, tuple[Fact, ...]], env: Environment) -> str:
    return "\n\n".join(
        env.language.emitter(name, each, trace=True, ignore_null=env.ignore_null).source()
        for name, each in facts.items()
    )


def _reads(facts: Sequence[Fact]) -> frozenset[tuple[str, int]]:
    refs: list[Any] = []
    for fact in facts:
        refs += fact.sources
        refs += fields_of(fact.when) if fact.when is not None else ()
    return frozenset((ref.segment, ref.field) for ref in refs if isinstance(ref, FieldRef))


def _repeated(facts: Sequence[Fact]) -> frozenset[tuple[str, int]]:
    """Fields read in all their repetitions: into a list or a slot, or by a function that takes them all."""
    return frozenset(
        (ref.segment, ref.field)
        for fact in facts
        for ref in fact.sources
        if isinstance(ref, FieldRef)
        if ref.all or fact.takes_all or (ref.rep is None and any(step.kind in _LISTS for step in fact.target.steps))
    )
