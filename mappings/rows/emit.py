"""Rows of one map to the text of one Python function: what is the same whatever format the sources are in.

    def PID_Patient(seg, ctx, body): ...

`body` is the resource under construction; what the sender nulled goes to `ctx.clear`, what a `??` row put there to
`ctx.filled`. The traced twin calls `hit` after each fact and `miss` where a valued source's condition does not hold;
it is the same rows through the same code here, so the two cannot disagree. Which names a map may use is
`compiler.py`'s to bind, how a source is read is the format's (`fields.py` for HL7 v2).

Order: rows stand as in their table; rows of one slot (`participant[att]`) or extension build one element together
and pair by repetition; `??` rows come last.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mappings.rows import condition as conditions
from mappings.rows.condition import Condition, Names
from mappings.rows.python import Writer
from mappings.rows.table import Kind, Row, Step
from mappings.rows.target import Resolved

WHEN_ABSENT, WHEN_NOTHING = "??", "?"


@dataclass(frozen=True, slots=True)
class Fact:
    """A row made ready: source, condition and target parsed and checked, the constant as a Python expression."""

    row: Row
    sources: tuple[Any, ...]  # FieldRef, PathRef
    when: Condition | None  # None: always
    target: Resolved
    function: str  # name bound to the datatype function, "" for a constant
    vocab: str  # name bound to the concept map, or "None"
    rows: str  # the map whose rows build the value, one element of the source each; "" for a function
    takes_all: bool
    constant: str  # Python expression of the value, its `?` and `??` taken off; "" if there is none
    beside: bool  # the constant is an absent reason: it stands in the primitive's sibling
    default: str  # "", "?" or "??"
    primitive: bool
    required_code: bool  # a code its binding limits: without a value the coding goes to the parent
    sibling_taken: bool  # another row writes this element's alternate-codes
    clear: str  # what a null clears; "" where that cannot be told
    emptied: str = ""  # the list that it clears all the same where none of its `rivals` is valued
    rivals: tuple[Any, ...] = ()  # the other sources of that list


class Emitter(ABC):
    """Emits one map; `trace` chooses the variant. A format says how its sources are read."""

    names: Names

    def __init__(self, name: str, facts: tuple[Fact, ...], *, trace: bool, ignore_null: bool) -> None:
        self.name = name
        self.facts = facts
        self.trace = trace
        self.ignore_null = ignore_null
        self.out = Writer()

    def source(self) -> str:
        """The whole function."""
        plain = [fact for fact in self.facts if fact.default != WHEN_ABSENT or fact.sources]
        done: set[str] = set()
        for fact in plain:
            anchor = fact.target.anchor
            if anchor < 0:
                self.out.put(f"# {fact.row.id}")
                if not fact.sources or not fact.function:
                    self._constant(fact)
                else:
                    self._simple(fact)
                continue
            group = _group_key(fact)
            if group not in done:
                done.add(group)
                self._element([other for other in plain if _group_key(other) == group])
        for fact in self.facts:
            if fact.default == WHEN_ABSENT:
                self._fill(fact)
        return "\n".join([*self._head(), *self.out.lines, ""])

    # what a format says -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _head(self) -> list[str]:
        """The first lines of the function."""

    @abstractmethod
    def _simple(self, fact: Fact) -> None:
        """A row that reads a source and writes one place."""

    @abstractmethod
    def _repeated(self, facts: list[Fact], driving: list[Fact], constants: list[Fact]) -> None:
        """The elements that rows of one slot or extension build: as many as the sources of the driving rows give."""

    @abstractmethod
    def _element_fact(self, fact: Fact, repetitions: str) -> None:
        """A row that reads a source, within an element; `repetitions` names the list it takes its value from."""

    @abstractmethod
    def _place(self, fact: Fact) -> str:
        """The Python expressions of where a value was read: three arguments of `hit`."""

    @abstractmethod
    def _element_place(self, fact: Fact) -> str:
        """The same within an element."""

    # what all share ---------------------------------------------------------------------------------------------------

    def _holds(self, fact: Fact) -> str:
        return "" if fact.when is None else conditions.python(fact.when, self.names)

    def _constant(self, fact: Fact) -> None:
        """A row that converts nothing: its value, where its condition holds."""
        holds = self._holds(fact)
        head = f"if {holds}:" if holds else "if True:"
        with self.out.block(head):
            self.out.put(f"x = {fact.constant}")
            with self.out.block("if x is not None:"):
                self._store(fact, "body", fact.target.steps)

    def _element(self, facts: list[Fact]) -> None:
        """The rows of one slot or extension: one element a repetition."""
        driving = [fact for fact in facts if fact.function]
        constants = [fact for fact in facts if not fact.function]
        self.out.put("# " + " ".join(fact.row.id for fact in facts))
        if driving:
            self._repeated(facts, driving, constants)
            return
        holds = " or ".join(f"({self._holds(fact)})" for fact in constants if fact.when is not None)
        with self.out.block(f"if {holds or 'True'}:"):
            self._element_body(facts, {}, constants)

    def _element_body(self, facts: list[Fact], repetitions: dict[str, str], constants: list[Fact]) -> None:
        """One element; `repetitions` names by row id the list that a driving row reads."""
        steps = facts[0].target.steps[: facts[0].target.anchor + 1]
        url = steps[-1].key if steps[-1].kind is Kind.EXTENSION else ""
        self.out.put(f"e = {{'url': {url!r}}}" if url else "e = {}")
        if self.trace:
            self.out.put("hits = []")
        for fact in facts:
            if fact.function:
                self._element_fact(fact, repetitions[fact.row.id])
        started = len(constants) < len(facts)
        with self.out.block(("if len(e) > 1:" if url else "if e:") if started else "if True:"):
            for fact in constants:
                self._element_constant(fact)
            holder = self._holders("body", steps[:-1])
            self._push(holder, steps[-1].name, "e")
            if self.trace:
                prefix = "".join(_step_path(step) + "." for step in steps[:-1])
                self.out.put(f"place_hits(hits, {prefix!r} + {_indexed(holder, steps[-1].name)})")

    def _element_constant(self, fact: Fact) -> None:
        rest = fact.target.steps[fact.target.anchor + 1 :]
        holds = self._holds(fact)
        if fact.default == WHEN_NOTHING and rest:
            absent = f"{rest[-1].name!r} not in e"
            holds = f"{absent} and {holds}" if holds else absent
        with self.out.block(f"if {holds}:" if holds else "if True:"):
            self.out.put(f"x = {fact.constant}")
            self._store(fact, "e", rest, element=True)

    def _convert(self, fact: Fact, raw: str, store: Callable[[], None]) -> None:
        """`x`: what the datatype function makes of what was read; `store` says where it goes."""
        self.out.put(f"x = {fact.function}({raw}, ctx, {fact.vocab})")
        if fact.default == WHEN_NOTHING:
            if fact.primitive:
                self.out.put(f"if type(x) is tuple: x = ({fact.constant} if x[0] is None else x[0], x[1])")
                self.out.put(f"elif x is None: x = {fact.constant}")
            else:
                self.out.put(f"if x is None: x = {fact.constant}")
        with self.out.block("if x is not None:"):
            store()

    # storing ----------------------------------------------------------------------------------------------------------

    def _store(self, fact: Fact, holder: str, steps: tuple[Step, ...], *, element: bool = False) -> None:
        """Puts `x` at the end of the path below `holder`."""
        if not steps:
            self.out.put(f"{holder}.update(x)")
            self._record(fact, "''", element=element)
            return
        last = steps[-1]
        inner = self._holders(holder, steps[:-1])
        if last.kind is Kind.CHOICE:
            self.out.put(f"{inner}.update(x)")
            self._record(fact, f"sorted(x)[0] if x else {last.name!r}", element=element, steps=steps[:-1])
        elif last.kind is Kind.APPEND:
            self._append(fact, inner, last.name)
            if self.trace and fact.primitive:
                with self.out.block(f"if {last.name!r} in {inner}:"):  # a code may have gone to the parent instead
                    self._record(fact, _indexed(inner, last.name), element=element, steps=steps[:-1])
            else:
                self._record(fact, _indexed(inner, last.name), element=element, steps=steps[:-1])
        else:
            self._assign(fact, inner, last.name)
            self._record(fact, repr(last.name), element=element, steps=steps[:-1])

    def _assign(self, fact: Fact, holder: str, name: str) -> None:
        if not fact.primitive or not (fact.function or fact.row.value.lstrip("?").startswith("@")):
            self.out.put(f"{holder}[{name!r}] = x")
            return
        with self.out.block("if type(x) is tuple:"):
            if fact.required_code:
                with self.out.block("if x[0] is None:"):
                    self.out.put(f"source_code({holder}, x[1], SOURCE_CODE)")
                self.out.put("else:")
                self.out.depth += 1
            if fact.sibling_taken:
                self.out.put(f"if x[0] is not None: {holder}[{name!r}] = x[0]")
            else:
                self.out.put(f"put_primitive({holder}, {name!r}, x)")
            if fact.required_code:
                self.out.depth -= 1
        self.out.put(f"else: {holder}[{name!r}] = x")

    def _append(self, fact: Fact, holder: str, name: str) -> None:
        if fact.primitive and fact.function:
            with self.out.block("if type(x) is tuple:"):
                if fact.required_code:
                    self.out.put(f"if x[0] is None: source_code({holder}, x[1], SOURCE_CODE)")
                    self.out.put(f"else: push_primitive({holder}, {name!r}, x)")
                else:
                    self.out.put(f"push_primitive({holder}, {name!r}, x)")
            self.out.put("else:")
            self.out.depth += 1
            self._push(holder, name, "x")
            self.out.depth -= 1
            return
        self._push(holder, name, "x")

    def _push(self, holder: str, name: str, value: str) -> None:
        self.out.put(f"if (l := {holder}.get({name!r})) is None: {holder}[{name!r}] = [{value}]")
        self.out.put(f"else: l.append({value})")

    def _holders(self, holder: str, steps: tuple[Step, ...]) -> str:
        """The name bound to the innermost element of the path, made where it is not there yet."""
        for index, step in enumerate(steps):
            inner = f"{'c' if holder[0] != 'c' else 'd'}{index}"
            if step.kind is Kind.EXTENSION:
                self.out.put(f"{inner} = inner_extension({holder}, {step.name!r}, {step.key!r})")
            else:
                self.out.put(
                    f"if ({inner} := {holder}.get({step.name!r})) is None: {inner} = {holder}[{step.name!r}] = {{}}"
                )
            holder = inner
        return holder

    def _fill(self, fact: Fact) -> None:
        """A `??` row: a required element that nothing gave."""
        *above, last = fact.target.steps
        known = sorted(fact.target.element.names)  # a choice is there by any of its names
        name = "_" + last.name if fact.beside else last.name
        holder = "".join(f".get({step.name!r}, {{}})" for step in above)
        test = " and ".join(f"{each!r} not in body{holder}" for each in known)
        holds = self._holds(fact)
        self.out.put(f"# {fact.row.id} ??")
        with self.out.block(f"if {test}" + (f" and {holds}:" if holds else ":")):
            self.out.put(f"x = {fact.constant}")
            with self.out.block("if x is not None:"):
                into = self._holders("body", tuple(above))
                self._fill_in(fact, into, name)
                path = ".".join([*(step.name for step in above), fact.target.element.name])
                self.out.put(f"ctx.filled.append({path!r})")
                if self.trace:
                    self._hit(fact, repr(".".join(step.name for step in fact.target.steps)), filled=True)

    def _fill_in(self, fact: Fact, holder: str, name: str) -> None:
        """What a resolver found may be a primitive with its sibling."""
        if fact.primitive and fact.row.value.startswith("??@"):
            with self.out.block("if type(x) is tuple:"):
                self.out.put(f"put_primitive({holder}, {name!r}, x)")
            self.out.put(f"else: {holder}[{name!r}] = x")
        else:
            self.out.put(f"{holder}[{name!r}] = x")

    # trace ------------------------------------------------------------------------------------------------------------

    def _record(self, fact: Fact, path: str, *, element: bool = False, steps: tuple[Step, ...] = ()) -> None:
        if not self.trace:
            return
        prefix = ".".join(_step_path(step) for step in steps)
        full = f"{prefix + '.'!r} + ({path})" if prefix else path
        if element:
            place = self._element_place(fact) if fact.function else "None, 0, 0"
            self.out.put(f"hits.append(({fact.row.id!r}, {place}, {full}))")
        else:
            self._hit(fact, full)

    def _hit(self, fact: Fact, path: str, *, filled: bool = False) -> None:
        place = "None, 0, 0" if filled or not fact.function else self._place(fact)
        self.out.put(f"hit({fact.row.id!r}, {place}, {path})")


def _group_key(fact: Fact) -> str:
    """What rows of one element share: the path up to their slot."""
    anchor = fact.target.anchor
    if anchor < 0:
        return f"simple {fact.row.id}"
    steps = fact.target.steps[: anchor + 1]
    if steps[-1].kind is Kind.APPEND:
        return f"row {fact.row.id}"
    return "/".join(f"{step.kind.value} {step.name} {step.key}" for step in steps)


def _step_path(step: Step) -> str:
    return f"{step.name}({step.key})" if step.kind is Kind.EXTENSION else step.name


def _indexed(holder: str, name: str) -> str:
    """The Python expression of `name[n]`, the element appended last."""
    return f"'{name}[%d]' % (len({holder}[{name!r}]) - 1)"
