"""Rows that read a document: the Python that paths, conditions and facts of CDA rows become.

    def allergy_AllergyIntolerance(st, ctx, body): ...

`st` is the statement (or the part of one) whose children the paths begin at. Of a single value the first source that
gives one counts; of a list each element of the first alternative that gives any. A row of type `rows[map]` builds one
element of the resource by another map's rows, which begin at the element found.
"""

import re
from typing import Any

from mappings.cda import named
from mappings.cda.paths import (
    STATEMENTS,
    PathRef,
    all_null,
    any_valued,
    first_code,
    is_valued,
    path_grammar,
    reader,
    same,
)
from mappings.rows import runtime
from mappings.rows.emit import WHEN_NOTHING, Emitter, Fact
from mappings.rows.language import Language
from mappings.rows.python import python_name
from mappings.rows.table import Kind

IDS = re.compile(r"([a-z0-9]+\.[A-Za-z][A-Za-z.]*(?:-[a-z]+)*):([a-z0-9-]+)\Z")
_WORDS = {"mood": "ctx.mood", "section": "ctx.section_code", "domain": "ctx.domain"}

READERS: list[Any] = []  # compiled paths, by number
_numbers: dict[PathRef, int] = {}


def _number(ref: PathRef) -> int:
    """The number of a path's reader, made when it is first named."""
    if ref not in _numbers:
        READERS.append(reader(ref))
        _numbers[ref] = len(READERS) - 1
    return _numbers[ref]


class PathNames:
    """The Python expressions for paths inside one map's function; keeps what its head must define."""

    def __init__(self) -> None:
        self.used: set[int] = set()
        self.lists: dict[str, str] = {}  # name → expression of a list that several rows read
        self.texts: dict[str, str] = {}  # name → expression of what the head works out once
        self._times: dict[int, int] = {}

    def found(self, ref: PathRef) -> str:
        """The list of what a path leads to: its name, where the head works it out for several rows."""
        number = _number(ref)
        expression = self._expression(ref, number)
        if any(step.name in STATEMENTS for step in ref.steps):  # to go there says that it was read: only who reads it
            return expression
        self.lists[f"p_{number}"] = expression
        self._times[number] = self._times.get(number, 0) + 1
        return f"p_{number}"

    def _expression(self, ref: PathRef, number: int) -> str:
        """Children of one name stand in the statement's own index; a longer path is only gone where its first step
        leads anywhere."""
        first = ref.steps[0]
        begins = ref.start == "st" and first.name[0] not in ".@*"
        if begins and len(ref.steps) == 1 and not first.tests and first.name not in STATEMENTS and not ref.all:
            return f"kids.get({first.name!r}, ())"
        self.used.add(number)
        return f"(P_{number}(st, ctx) if {first.name!r} in kids else ())" if begins else f"P_{number}(st, ctx)"

    def once(self) -> dict[str, str]:
        """Of the lists, those that only one place reads: they stand there."""
        return {
            name: expression for name, expression in self.lists.items() if self._times[int(name.removeprefix("p_"))] < 2
        }

    def valued(self, ref: PathRef) -> str:
        return f"any_valued({self.found(ref)})"

    def null(self, ref: PathRef) -> str:
        return f"all_null({self.found(ref)})"

    def text(self, ref: PathRef) -> str:
        name = f"t_{_number(ref)}"
        self.texts[name] = f"first_code({self.found(ref)})"
        return name

    def count(self, ref: PathRef) -> str:
        return f"len({self.found(ref)})"

    def word(self, name: str) -> str:
        return _WORDS[name]

    def flag(self, name: str) -> str:
        if name == "negated":
            return "ctx.negated"
        local = f"g_{python_name(name)}"
        self.texts[local] = f"FLAGS[{name!r}](st, ctx)"
        return local


class PathEmitter(Emitter):
    """Emits one map over the elements of a document."""

    names: PathNames

    def __init__(self, name: str, facts: tuple[Fact, ...], *, trace: bool, ignore_null: bool) -> None:
        super().__init__(name, facts, trace=trace, ignore_null=ignore_null)
        self.names = PathNames()

    def _head(self) -> list[str]:
        once = self.names.once()
        if once:
            inline = re.compile(r"\b(" + "|".join(once) + r")\b")
            self.out.lines = [inline.sub(lambda match: once[match[0]], line) for line in self.out.lines]
            texts = {name: inline.sub(lambda match: once[match[0]], text) for name, text in self.names.texts.items()}
        else:
            texts = self.names.texts
        several = {name: text for name, text in self.names.lists.items() if name not in once}
        head = [f"P_{number} = READERS[{number}]" for number in sorted(self.names.used)]
        head.append(f"def {python_name(self.name)}(st, ctx, body):")
        head.append("    kids = st.kids")
        return head + [f"    {name} = {expression}" for name, expression in (several | texts).items()]

    def _simple(self, fact: Fact) -> None:
        holds = self._holds(fact)
        with self.out.block(f"if {holds}:" if holds else "if True:"):
            if fact.target.last.kind is Kind.APPEND and not fact.takes_all:
                self._many(fact)
            else:
                self._one(fact)
        self._missed(fact, holds)

    def _constant(self, fact: Fact) -> None:
        """A resolver reads what stands around the statement: its issues are told of there, and of its row."""
        if fact.row.value.startswith("@"):
            self.out.put(f"ctx.row = {fact.row.id!r}; ctx.node = st")
        super()._constant(fact)

    def _many(self, fact: Fact) -> None:
        """Each element of the first alternative that gives any value."""
        several = len(fact.sources) > 1
        if several:
            self.out.put("g = 0")
        for ref in fact.sources:
            with self.out.block(f"if not g and (r := {self.names.found(ref)}):" if several else "if True:"):
                with self.out.block(f"for q in {'r' if several else self.names.found(ref)}:"):
                    self._stand(fact, ref)
                    self._convert(fact, "q", lambda: self._stored(fact, several=several))

    def _stored(self, fact: Fact, *, several: bool) -> None:
        if several:
            self.out.put("g = 1")
        self._store(fact, "body", fact.target.steps)

    def _one(self, fact: Fact) -> None:
        """The first source that gives a value; a function of all elements takes them at once."""
        found = self._all_found(fact.sources)
        if fact.takes_all:
            with self.out.block(f"if q := {found}:"):
                self.out.put(f"ctx.row = {fact.row.id!r}")
                self.out.put("ctx.node = q[0] if type(q[0]) is not str else st")
                self._convert(fact, "q", lambda: self._store(fact, "body", fact.target.steps))
            return
        with self.out.block(f"if r := {found}:"):
            self.out.put("x = None")
            with self.out.block("for q in r:"):
                self._stand(fact, *fact.sources)
                self._read(fact, "q")
                with self.out.block("if x is not None:"):
                    if not all(map(_attribute, fact.sources)):
                        several = len(fact.sources) > 1
                        every = ", ".join(self.names.found(ref) for ref in fact.sources) if several else "r"
                        self.out.put(f"if len(r) > 1: tell_others(q, {every}, ctx=ctx)")
                    self.out.put("break")
            if fact.default == WHEN_NOTHING:
                if fact.primitive:
                    self.out.put(f"if type(x) is tuple and x[0] is None: x = ({fact.constant}, x[1])")
                self.out.put(f"if x is None: x = {fact.constant}")
            with self.out.block("if x is not None:"):
                self._store(fact, "body", fact.target.steps)

    def _all_found(self, sources: tuple[PathRef, ...]) -> str:
        """What all paths lead to, in their order."""
        found = [self.names.found(ref) for ref in sources]
        return found[0] if len(found) == 1 else "[" + ", ".join(f"*{each}" for each in found) + "]"

    def _stand(self, fact: Fact, *refs: PathRef) -> None:
        """Tells the context which row reads which element; of an attribute, the statement it stands in."""
        self.out.put(f"ctx.row = {fact.row.id!r}")
        attributes = {ref.steps[-1].name.startswith("@") for ref in refs}
        if attributes == {False}:
            self.out.put("ctx.node = q")
        else:
            self.out.put("ctx.node = st" if attributes == {True} else "ctx.node = st if type(q) is str else q")

    def _read(self, fact: Fact, raw: str) -> None:
        """`x`: what the function, or the rows of another map, make of an element."""
        if not fact.rows:
            self.out.put(f"x = {fact.function}({raw}, ctx, {fact.vocab})")
            return
        self.out.put("x = {}; filled = ctx.filled; ctx.filled = []")
        if self.trace:
            self.out.put("m = mark()")
        self.out.put(f"{fact.function}({raw}, ctx, x)")
        self.out.put("ctx.filled = filled; x = x or None")

    def _convert(self, fact: Fact, raw: str, store: Any) -> None:
        if not fact.rows:
            super()._convert(fact, raw, store)
            return
        self._read(fact, raw)
        with self.out.block("if x is not None:"):
            store()

    def _missed(self, fact: Fact, holds: str) -> None:
        if self.trace and holds:
            with self.out.block("else:"):
                self.out.put("read, ctx.read = ctx.read, set()")  # a row that does not hold has read nothing
                for ref in fact.sources:
                    with self.out.block(f"for q in {self.names.found(ref)}:"):
                        self.out.put(f"miss({fact.row.id!r}, {'st' if _attribute(ref) else 'q'}, 0)")
                self.out.put("ctx.read = read")

    # elements of a list that several rows build -----------------------------------------------------------------------

    def _repeated(self, facts: list[Fact], driving: list[Fact], constants: list[Fact]) -> None:
        lists = {}
        for index, fact in enumerate(driving):
            self.out.put(f"r{index} = {' or '.join(self.names.found(ref) for ref in fact.sources)}")
            lists[fact.row.id] = f"r{index}"
        longest = ", ".join(f"len({name})" for name in lists.values())
        with self.out.block(f"for i in range({f'max({longest})' if len(lists) > 1 else longest}):"):
            self._element_body(facts, lists, constants)

    def _element_fact(self, fact: Fact, repetitions: str) -> None:
        holds = self._holds(fact)
        test = f"i == 0 and {repetitions}" if fact.takes_all else f"i < len({repetitions})"
        with self.out.block(f"if {test}" + (f" and {holds}:" if holds else ":")):
            self.out.put(f"q = {repetitions}" + ("" if fact.takes_all else "[i]"))
            self.out.put(f"ctx.row = {fact.row.id!r}")
            first = "q[0]" if fact.takes_all else "q"
            self.out.put(f"ctx.node = st if type({first}) is str else {first}")
            rest = fact.target.steps[fact.target.anchor + 1 :]
            self._convert(fact, "q", lambda: self._store(fact, "e", rest, element=True))
        if self.trace and holds:
            with self.out.block(f"elif {test}:"):
                self.out.put(f"miss({fact.row.id!r}, st, 0)")

    # trace ------------------------------------------------------------------------------------------------------------

    def _record(self, fact: Fact, path: str, *, element: bool = False, steps: tuple[Any, ...] = ()) -> None:
        if fact.rows and self.trace:
            prefix = "".join(f"{step.name}." for step in steps)
            self.out.put(f"below(m, {prefix!r} + {path})")
            self.out.put(f"hit({fact.row.id!r}, q, 0, 0, {prefix!r} + {path})")
            return
        super()._record(fact, path, element=element, steps=steps)

    def _place(self, fact: Fact) -> str:
        return "ctx.node, 0, 0"

    def _element_place(self, fact: Fact) -> str:
        return "ctx.node, 0, 0"


def tell_others(taken: Any, *alternatives: Any, ctx: Any) -> None:
    """Of several elements where FHIR takes one, those that say something else than the one taken are told of; an
    alternative path is another wording of it."""
    beside = next((found for found in alternatives if taken in found), ())
    for other in beside:
        if other is not taken and type(other) is not str and is_valued(other) and not same(other, taken):
            ctx.issue("extra-value", other)


def _attribute(ref: PathRef) -> bool:
    return ref.steps[-1].name.startswith("@")


def resource_type(name: str) -> str:
    """`allergy.AllergyIntolerance.reaction` → AllergyIntolerance.reaction; `result.Observation-lone` → Observation."""
    return name.partition(".")[2].partition("-")[0]


def language() -> Language:
    """CDA's, once everything that rows may name is registered."""
    return Language(
        ids=IDS,
        grammar=path_grammar(frozenset(_WORDS), frozenset({"negated", *named.FLAGS})),
        emitter=PathEmitter,
        resource_type=resource_type,
        names={
            "FLAGS": named.FLAGS,
            "READERS": READERS,
            "all_null": all_null,
            "any_valued": any_valued,
            "first_code": first_code,
            "inner_extension": runtime.inner_extension,
            "push_primitive": runtime.push_primitive,
            "put_primitive": runtime.put_primitive,
            "source_code": runtime.source_code,
            "tell_others": tell_others,
        },
    )
