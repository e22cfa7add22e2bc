"""Rows that read the fields of HL7 v2 segments.

Compiled code works on a padded list of raw fields, repetitions split where a row asks for them; the context is told
which field is read before each datatype function. What HL7's null (`""`) clears is `ctx.clear`'s.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mappings.rows import runtime
from mappings.rows.condition import FIELDS
from mappings.rows.emit import Emitter, Fact
from mappings.rows.language import Language
from mappings.rows.python import MapNames, python_name
from mappings.rows.table import FIELD_IDS, Kind


class FieldEmitter(Emitter):
    """Emits one map of a segment's fields."""

    names: MapNames

    def __init__(self, name: str, facts: tuple[Fact, ...], *, trace: bool, ignore_null: bool) -> None:
        super().__init__(name, facts, trace=trace, ignore_null=ignore_null)
        self.names = MapNames(name[:3])
        self.chosen: dict[str, str] = {}  # row id → variable of its chosen alternative

    def _head(self) -> list[str]:
        head = [f"def {python_name(self.name)}(seg, ctx, body):"]
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
        many = fact.target.last.kind is Kind.APPEND and not fact.takes_all and fact.sources[0].rep is None
        with self._chosen(fact):
            self._null(fact, "r")
            with self.out.block("else:"):
                self._stand(fact)
                if many:
                    with self.out.block("for ctx.rep_index, q in enumerate(r.split(rep)):"):
                        with self._valued("q"):
                            self._converted(fact, "q", lambda: self._store(fact, "body", fact.target.steps))
                        self._null_of_one("q")
                    return
                self.out.put("ctx.rep_index = 0")
                with self._one(fact):
                    self._converted(fact, "q", lambda: self._store(fact, "body", fact.target.steps))

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
        if not fact.takes_all:
            self._null_of_one("q")

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

    def _null(self, fact: Fact, name: str) -> None:
        """What HL7's null does: it clears, or where the profile says so, nothing."""
        with self.out.block(f"if {name} == NULL:"):
            if self.ignore_null:
                self.out.put("pass")
            elif fact.clear:
                self.out.put(f"ctx.clear.append({fact.clear!r})")
            else:
                self._stand(fact)
                self._unowned(fact)
            if self.trace:
                self._hit_whole(fact)

    def _unowned(self, fact: Fact) -> None:
        """A null in one of several fields of a list."""
        self.out.put("ctx.rep_index = 0")
        others = "".join(f"{self.names.whole(ref)}, " for ref in fact.rivals)
        self.out.put(f"ctx.null({fact.emptied!r}, ({others}))" if fact.emptied else "ctx.null()")

    def _null_of_one(self, name: str) -> None:
        """A null in place of one repetition: which of those stored it means is not said."""
        if not self.ignore_null:
            self.out.put(f"elif {name} == NULL: ctx.null()")

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

    def _converted(self, fact: Fact, name: str, store: Callable[[], None]) -> None:
        ref = fact.sources[0]
        raw = f"part({name}, rep, comp, 1, {ref.comp})" if ref.comp and not fact.takes_all else name
        self._convert(fact, raw, store)

    # elements of a list that several rows build -----------------------------------------------------------------------

    def _repeated(self, facts: list[Fact], driving: list[Fact], constants: list[Fact]) -> None:
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
        lists = {fact.row.id: names[self._raw_of(fact)] for fact in facts if fact.function}
        longest = ", ".join(f"len({name})" for name in names.values())
        most = f"max({longest})" if len(names) > 1 else longest
        with self.out.block(f"for i in range({most}):"):
            self._element_body(facts, lists, constants)

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
                if fact.clear:
                    self.out.put(f"ctx.clear.append({fact.clear!r})")
                else:
                    self._unowned(fact)
            if self.trace:
                self._hit_whole(fact)

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
        if not fact.takes_all and not self.ignore_null:
            with self.out.block(f"if i < len({repetitions}) and {repetitions}[i] == NULL:"):
                self._stand(fact, self.chosen.get(fact.row.id, ""))
                self.out.put("ctx.rep_index = i")
                self.out.put("ctx.null()")
        with self.out.block("if " + " and ".join([*tests, *([holds] if holds else [])]) + ":"):
            self._stand(fact, self.chosen.get(fact.row.id, ""))
            self.out.put("ctx.rep_index = i")
            self._converted(fact, raw, lambda: self._store(fact, "e", rest, element=True))
        if self.trace and holds:
            with self.out.block("elif " + " and ".join(tests) + ":"):
                self.out.put(f"miss({fact.row.id!r}, {self.names.holder(ref)}, {ref.field})")

    def _place(self, fact: Fact) -> str:
        return f"ctx.seg, ctx.field, {'-1' if fact.takes_all else 'ctx.rep_index'}"

    def _element_place(self, fact: Fact) -> str:
        return "ctx.seg, ctx.field, ctx.rep_index"

    def _hit_whole(self, fact: Fact) -> None:
        """What a null cleared, at the whole field."""
        ref = fact.sources[0]
        self.out.put(f"hit({fact.row.id!r}, {self.names.holder(ref)}, {ref.field}, 0, {fact.clear!r})")


def _padded(name: str, holder: str, width: int) -> list[str]:
    """`name`: the segment's fields, long enough for every field a row asks for."""
    return [
        f"    {name} = {holder}.fields",
        f"    if len({name}) <= {width}: {name} = {name} + PAD[{width + 1} - len({name})]",
    ]


def resource_type(name: str) -> str:
    """`PID.Patient` → Patient; `OBX.Observation-Component` → Observation."""
    return name[4:].partition("-")[0]


FIELD_ROWS = Language(
    ids=FIELD_IDS,
    grammar=FIELDS,
    emitter=FieldEmitter,
    resource_type=resource_type,
    names={
        name: getattr(runtime, name)
        for name in (
            "NIL", "NULL", "PAD", "count", "inner_extension", "part", "push_primitive", "put_primitive",
            "repetitions", "source_code", "text",
        )
    },
)  # fmt: skip
