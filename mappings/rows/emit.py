"""Rows of one map to the text of one Python function.

    def PID_Patient(seg, ctx, body): ...

`body` is the resource under construction; what the sender nulled goes to `ctx.clear`, what a `??` row put there to
`ctx.filled`. The traced twin calls `hit` after each fact and `miss` where a valued field's condition does not hold;
it is the same rows through the same code here, so the two cannot disagree. Which names a map may use is
`compiler.py`'s to bind.

Order: rows stand as in their table; rows of one slot (`participant[att]`) or extension build one element together
and pair by repetition; `??` rows come last.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mappings.rows import condition as conditions
from mappings.rows.condition import Condition
from mappings.rows.python import MapNames, Writer
from mappings.rows.table import FieldRef, Kind, Row, Step
from mappings.rows.target import Resolved

WHEN_ABSENT, WHEN_NOTHING = "??", "?"


@dataclass(frozen=True, slots=True)
class Fact:
    """A row made ready: source, condition and target parsed and checked, the constant as a Python expression."""

    row: Row
    sources: tuple[FieldRef, ...]
    when: Condition | None  # None: always
    target: Resolved
    function: str  # name bound to the datatype function, "" for a constant
    vocab: str  # name bound to the concept map, or "None"
    takes_all: bool
    constant: str  # Python expression of the value, its `?` and `??` taken off; "" if there is none
    beside: bool  # the constant is an absent reason: it stands in the primitive's sibling
    default: str  # "", "?" or "??"
    primitive: bool
    required_code: bool  # a code its binding limits: without a value the coding goes to the parent
    sibling_taken: bool  # another row writes this element's alternate-codes
    clear: str  # what a null clears; "" where that cannot be told


class MapEmitter:
    """Emits one map; `trace` chooses the variant."""

    def __init__(self, name: str, facts: tuple[Fact, ...], *, trace: bool, ignore_null: bool) -> None:
        self.name = name
        self.facts = facts
        self.trace = trace
        self.ignore_null = ignore_null
        self.names = MapNames(name[:3])
        self.chosen: dict[str, str] = {}  # row id → variable of its chosen alternative
        self.out = Writer()

    def source(self) -> str:
        """The whole function."""
        plain = [fact for fact in self.facts if fact.default != WHEN_ABSENT or fact.sources]
        done: set[str] = set()
        for fact in plain:
            anchor = fact.target.anchor
            if anchor < 0:
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

    def _head(self) -> list[str]:
        head = [f"def {self.name.replace('.', '_').replace('-', '_')}(seg, ctx, body):"]
        head.append("    rep = ctx.rep")
        head.append("    comp = ctx.comp")
        head += _padded("f", "seg", self.names.width)
        for segment, width in sorted(self.names.foreign.items()):
            head.append(f"    s_{segment} = ctx.near({segment!r})")
            head.append(f"    if s_{segment} is None: f_{segment} = PAD[{width + 1}]")
            head.append("    else:")
            head += ["    " + line for line in _padded(f"f_{segment}", f"s_{segment}", width)]
        head += [f"    {name} = {expression}" for name, expression in self.names.texts.items()]
        head.append("    ctx.seg = seg")
        return head

    # simple targets -------------------------------------------------------------------------------------------------

    def _simple(self, fact: Fact) -> None:
        self.out.put(f"# {fact.row.id}")
        if not fact.sources or not fact.function:
            self._constant(fact)
            return
        many = fact.target.last.kind is Kind.APPEND and not fact.takes_all and fact.sources[0].rep is None
        with self._chosen(fact):
            self._null(fact, "r")
            with self.out.block("else:"):
                self._stand(fact)
                if many:
                    with self.out.block("for ctx.rep_index, q in enumerate(r.split(rep)):"), self._valued("q"):
                        self._convert(fact, "q", lambda: self._store(fact, "body", fact.target.steps))
                    return
                self.out.put("ctx.rep_index = 0")
                with self._one(fact):
                    self._convert(fact, "q", lambda: self._store(fact, "body", fact.target.steps))

    @contextmanager
    def _one(self, fact: Fact) -> Iterator[None]:
        """`q`: the one repetition (or all of them as a list) that a single-valued target takes."""
        ref = fact.sources[0]
        if fact.takes_all:
            self.out.put("q = r.split(rep)")
        elif (ref.rep or 1) > 1:
            self.out.put(f"ctx.rep_index = {(ref.rep or 1) - 1}")
            self.out.put(f"q = part(r, rep, comp, {ref.rep}, 0)")
        else:
            self.out.put("q = r.split(rep, 1)[0] if rep in r else r")
        with self._valued("q") if not fact.takes_all else self.out.block("if q:"):
            yield

    @contextmanager
    def _chosen(self, fact: Fact) -> Iterator[None]:
        """`r`: the first valued source, under the row's condition."""
        holds = self._holds(fact)
        if len(fact.sources) == 1:
            test = f"(r := {self.names.whole(fact.sources[0])})" + (f" and {holds}" if holds else "")
        else:
            self.out.put(f"r, s, n = {self._first_valued(fact)}")
            test = "r" + (f" and {holds}" if holds else "")
        with self.out.block(f"if {test}:"):
            yield
        if self.trace and holds:
            for ref in fact.sources:
                self.out.put(
                    f"elif {self.names.whole(ref)}: miss({fact.row.id!r}, {self.names.holder(ref)}, {ref.field})"
                )
                break

    def _holds(self, fact: Fact) -> str:
        return "" if fact.when is None else conditions.python(fact.when, self.names)

    def _null(self, fact: Fact, name: str) -> None:
        """What HL7's null does: it clears, or where the profile says so, nothing."""
        with self.out.block(f"if {name} == NULL:"):
            if self.ignore_null:
                self.out.put("pass")
            else:
                self.out.put(f"ctx.clear.append({fact.clear!r})" if fact.clear else "ctx.null()")
            if self.trace:
                self._hit(fact, repr(fact.clear), whole=True)

    def _stand(self, fact: Fact, alternative: str = "") -> None:
        """Tells the context which row reads which field; `alternative` names the variables of a chosen source."""
        ref = fact.sources[0]
        if ref.segment != self.names.segment and len(fact.sources) == 1:
            self.out.put(f"ctx.seg = s_{ref.segment}")
        elif len(fact.sources) == 1 and self.names.foreign:
            self.out.put("ctx.seg = seg")
        self.out.put(f"ctx.row = {fact.row.id!r}")
        if len(fact.sources) > 1:
            self.out.put(
                f"ctx.seg, ctx.field = {alternative}s, {alternative}n" if alternative else "ctx.seg, ctx.field = s, n"
            )
        else:
            self.out.put(f"ctx.field = {ref.field}")

    def _first_valued(self, fact: Fact) -> str:
        """(raw, segment, field) of the first valued alternative, else of one that is null, else of the last."""
        triples = [f"({self.names.whole(ref)}, {self.names.holder(ref)}, {ref.field})" for ref in fact.sources]
        tests = [
            f"{triple} if {self.names.whole(ref)} not in NIL else "
            for triple, ref in zip(triples, fact.sources, strict=True)
        ]
        empty = [
            f" else {triple} if {self.names.whole(ref)}"
            for triple, ref in zip(triples[:-1], fact.sources[:-1], strict=True)
        ]
        last = f"{triples[-1]} if {self.names.whole(fact.sources[-1])}"
        return "".join(tests[:-1]) + last + "".join(empty) + f" else {triples[-1]}"

    @contextmanager
    def _valued(self, name: str) -> Iterator[None]:
        with self.out.block(f"if {name} and {name} != NULL:"):
            yield

    def _convert(self, fact: Fact, name: str, store: Callable[[], None]) -> None:
        """`x`: what the datatype function makes of the text; `store` says where it goes."""
        ref = fact.sources[0]
        raw = f"part({name}, rep, comp, 1, {ref.comp})" if ref.comp and not fact.takes_all else name
        self.out.put(f"x = {fact.function}({raw}, ctx, {fact.vocab})")
        if fact.default == WHEN_NOTHING:
            if fact.primitive:
                self.out.put(f"if type(x) is tuple: x = ({fact.constant} if x[0] is None else x[0], x[1])")
                self.out.put(f"elif x is None: x = {fact.constant}")
            else:
                self.out.put(f"if x is None: x = {fact.constant}")
        with self.out.block("if x is not None:"):
            store()

    def _constant(self, fact: Fact) -> None:
        """A row that converts nothing: its value, where its condition holds."""
        holds = self._holds(fact)
        head = f"if {holds}:" if holds else "if True:"
        with self.out.block(head):
            self.out.put(f"x = {fact.constant}")
            with self.out.block("if x is not None:"):
                self._store(fact, "body", fact.target.steps)

    # elements of a list that several rows build -----------------------------------------------------------------------

    def _element(self, facts: list[Fact]) -> None:
        """The rows of one slot or extension: one element a repetition."""
        driving = [fact for fact in facts if fact.function]
        constants = [fact for fact in facts if not fact.function]
        self.out.put("# " + " ".join(fact.row.id for fact in facts))
        if not driving:
            holds = " or ".join(f"({self._holds(fact)})" for fact in constants if fact.when is not None)
            with self.out.block(f"if {holds or 'True'}:"):
                self._element_body(facts, [], constants)
            return
        for index, fact in enumerate(driving):
            if len(fact.sources) > 1:
                self.out.put(f"a{index}, a{index}s, a{index}n = {self._first_valued(fact)}")
                self.chosen[fact.row.id] = f"a{index}"
        wholes = list(dict.fromkeys(self._raw_of(fact) for fact in driving))
        with self.out.block("if " + " or ".join(wholes) + ":"):
            for fact in driving:
                self._null_of_element(fact)
            tests = [self._holds(fact) for fact in driving]
            if self.trace or not all(tests):
                self._elements(facts, wholes, constants)
            else:  # where no row applies there is no element; the traced twin must say of which row that is so
                with self.out.block("if " + " or ".join(f"({each})" for each in dict.fromkeys(tests)) + ":"):
                    self._elements(facts, wholes, constants)

    def _elements(self, facts: list[Fact], wholes: list[str], constants: list[Fact]) -> None:
        """One element for each repetition of the longest of the fields that drive it."""
        names = {whole: f"r{index}" for index, whole in enumerate(wholes)}
        for whole, name in names.items():
            self.out.put(f"{name} = repetitions({whole}, rep)")
        longest = ", ".join(f"len({name})" for name in names.values())
        most = f"max({longest})" if len(names) > 1 else longest
        with self.out.block(f"for i in range({most}):"):
            self._element_body(facts, list(names.items()), constants)

    def _raw_of(self, fact: Fact) -> str:
        """The variable or expression of the field that drives a fact of an element."""
        return self.chosen.get(fact.row.id) or self.names.whole(fact.sources[0])

    def _null_of_element(self, fact: Fact) -> None:
        whole = self._raw_of(fact)
        with self.out.block(f"if {whole} == NULL:"):
            if self.ignore_null:
                self.out.put("pass")
            else:
                self._stand(fact, self.chosen.get(fact.row.id, ""))
                self.out.put(f"ctx.clear.append({fact.clear!r})" if fact.clear else "ctx.null()")
            if self.trace:
                self._hit(fact, repr(fact.clear), whole=True)

    def _element_body(self, facts: list[Fact], repetitions: list[tuple[str, str]], constants: list[Fact]) -> None:
        steps = facts[0].target.steps[: facts[0].target.anchor + 1]
        url = steps[-1].key if steps[-1].kind is Kind.EXTENSION else ""
        self.out.put(f"e = {{'url': {url!r}}}" if url else "e = {}")
        if self.trace:
            self.out.put("hits = []")
        names = dict(repetitions)
        for fact in facts:
            if fact.function:
                self._element_fact(fact, names[self._raw_of(fact)])
        started = len(constants) < len(facts)
        with self.out.block(("if len(e) > 1:" if url else "if e:") if started else "if True:"):
            for fact in constants:
                self._element_constant(fact)
            holder = self._holders("body", steps[:-1])
            self._push(holder, steps[-1].name, "e")
            if self.trace:
                prefix = "".join(_step_path(step) + "." for step in steps[:-1])
                self.out.put(f"place_hits(hits, {prefix!r} + {_indexed(holder, steps[-1].name)})")

    def _element_fact(self, fact: Fact, repetitions: str) -> None:
        ref = fact.sources[0]
        rest = fact.target.steps[fact.target.anchor + 1 :]
        holds = self._holds(fact)
        tests = [f"i < len({repetitions})", f"(q := {repetitions}[i])", "q != NULL"]
        if ref.rep is not None:
            tests.insert(0, f"i == {ref.rep - 1}")
        if fact.takes_all:
            tests, raw = [f"i == 0 and (q := {repetitions})"], "q"
        else:
            raw = "q"
        with self.out.block("if " + " and ".join([*tests, *([holds] if holds else [])]) + ":"):
            self._stand(fact, self.chosen.get(fact.row.id, ""))
            self.out.put("ctx.rep_index = i")
            self._convert(fact, raw, lambda: self._store(fact, "e", rest, element=True))
        if self.trace and holds:
            with self.out.block("elif " + " and ".join(tests) + ":"):
                self.out.put(f"miss({fact.row.id!r}, {self.names.holder(ref)}, {ref.field})")

    def _element_constant(self, fact: Fact) -> None:
        rest = fact.target.steps[fact.target.anchor + 1 :]
        holds = self._holds(fact)
        if fact.default == WHEN_NOTHING and rest:
            absent = f"{rest[-1].name!r} not in e"
            holds = f"{absent} and {holds}" if holds else absent
        with self.out.block(f"if {holds}:" if holds else "if True:"):
            self.out.put(f"x = {fact.constant}")
            self._store(fact, "e", rest, element=True)

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
        if not fact.primitive or not fact.function:
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
                self.out.put(f"{self._holders('body', tuple(above))}[{name!r}] = x")
                path = ".".join([*(step.name for step in above), fact.target.element.name])
                self.out.put(f"ctx.filled.append({path!r})")
                if self.trace:
                    self._hit(fact, repr(".".join(step.name for step in fact.target.steps)), filled=True)

    # trace ------------------------------------------------------------------------------------------------------------

    def _record(self, fact: Fact, path: str, *, element: bool = False, steps: tuple[Step, ...] = ()) -> None:
        if not self.trace:
            return
        prefix = ".".join(_step_path(step) for step in steps)
        full = f"{prefix + '.'!r} + ({path})" if prefix else path
        if element:
            place = "ctx.seg, ctx.field, ctx.rep_index" if fact.function else "None, 0, 0"
            self.out.put(f"hits.append(({fact.row.id!r}, {place}, {full}))")
        else:
            self._hit(fact, full)

    def _hit(self, fact: Fact, path: str, *, whole: bool = False, filled: bool = False) -> None:
        if filled or not fact.function:
            self.out.put(f"hit({fact.row.id!r}, None, 0, 0, {path})")
        elif whole:
            ref = fact.sources[0]
            self.out.put(f"hit({fact.row.id!r}, {self.names.holder(ref)}, {ref.field}, 0, {path})")
        else:
            rep = "-1" if fact.takes_all else "ctx.rep_index"
            self.out.put(f"hit({fact.row.id!r}, ctx.seg, ctx.field, {rep}, {path})")


def _group_key(fact: Fact) -> str:
    """What rows of one element share: the path up to their slot."""
    anchor = fact.target.anchor
    if anchor < 0:
        return f"simple {fact.row.id}"
    steps = fact.target.steps[: anchor + 1]
    if steps[-1].kind is Kind.APPEND:
        return f"row {fact.row.id}"
    return "/".join(f"{step.kind.value} {step.name} {step.key}" for step in steps)


def _padded(name: str, holder: str, width: int) -> list[str]:
    """`name`: the segment's fields, long enough for every field a row asks for."""
    return [
        f"    {name} = {holder}.fields",
        f"    if len({name}) <= {width}: {name} = {name} + PAD[{width + 1} - len({name})]",
    ]


def _step_path(step: Step) -> str:
    return f"{step.name}({step.key})" if step.kind is Kind.EXTENSION else step.name


def _indexed(holder: str, name: str) -> str:
    """The Python expression of `name[n]`, the element appended last."""
    return f"'{name}[%d]' % (len({holder}[{name!r}]) - 1)"
