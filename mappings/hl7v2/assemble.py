"""Puts one message together: walks its groups, runs the maps, links what they made.

1. every segment in document order: the resources its wiring makes get an id and the facts of their rows
2. references between them, once all have their ids
3. named rules beside the rows: of each resource, then over the whole message
4. what was not mapped becomes an issue at its place

The rows do the mapping; this file knows no segment and no resource type by name. Pure: ids, time and profile arrive
with the profile and the call.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from mappings import finishing
from mappings.fhir.leaves import leaves
from mappings.fhir.values import absent
from mappings.hl7v2 import unread
from mappings.hl7v2.context import Context, nothing_contained, nothing_made
from mappings.hl7v2.message import Message, Segment
from mappings.hl7v2.pairing import ORC_BEHIND
from mappings.hl7v2.place import Place
from mappings.hl7v2.structure import ROOT, Group
from mappings.hl7v2.wiring import Add, Link, Make, Mode, NamedRules, Wiring
from mappings.identity import Identities
from mappings.issues import issue
from mappings.rows.compiler import CompiledMap
from mappings.rows.condition import version
from mappings.rows.runtime import NIL
from mappings.rows.trace import Trace

Json = dict[str, Any]
Stub = tuple[str, str, str, Json]  # type, id, reference, body
Key = tuple[str, ...]

_LONGEST_VERSION = 16  # characters of MSH-12.1 worth remembering: HL7's versions have at most seven


class Builder:
    """One resource under construction.

    What a stub never has stands as a default of the class: a message makes several stubs for each resource it states.
    """

    mode: Mode = "stub"
    segment: Segment | None = None
    tail: Segment | None = None  # the last segment that goes on with it
    group: Group | None = None
    make: Make | None = None
    into: str | None = None
    was: str | None = None
    key: Key = ()
    elsewhere: tuple[Group, ...] = ()  # groups before that stated it, too

    def __init__(self, kind: str, id_: str, ref: str, body: Json, first: int) -> None:
        self.type = kind
        self.id = id_
        self.ref = ref
        self.body = body
        self.first = first  # ordinal of the segment that made it
        self.sources = [first]
        self.clear: list[str] = []  # its own, of a stub as well: what one message clears must not reach another
        self.filled: list[str] = []
        self.own: list[str] = []

    @classmethod
    def made(
        cls, kind: str, id_: str, mode: Mode, segment: Segment | None, group: Group | None, make: Make | None = None
    ) -> "Builder":
        """A resource that a segment states."""
        built = cls(kind, id_, f"{kind}/{id_}", {"resourceType": kind, "id": id_}, segment.ordinal if segment else 0)
        built.mode = mode
        built.segment = built.tail = segment
        built.group = group
        built.make = make
        return built

    @property
    def place(self) -> str:
        """The name of the segment that made it, "" for a stub."""
        return "" if self.segment is None else self.segment.name


class Maps(Protocol):
    """Map functions by name: the fast ones or the traced ones."""

    def __getitem__(self, name: str) -> Callable[[Any, Any, Json], None]: ...


class Assembly(Context):
    """The context of one message's conversion, and everything that it makes."""

    __slots__ = (
        "builder", "by_group", "by_home", "by_ref", "clear", "digest", "effects", "events", "feed", "filled", "group",
        "groups", "identities", "linked", "made", "placed", "recording", "root", "seen_keys", "shared", "trace",
        "traced", "waiting", "wiring",
    )  # fmt: skip

    def __init__(
        self,
        message: Message,
        profile: Any,
        wiring: Wiring,
        root: Group,
        placed: Sequence[tuple[Segment, Group]],
        digest: bytes,
    ) -> None:
        super().__init__(message, profile, profile.cache_of(message.sep, message.charset))
        self.version = _version(message.version)
        self.event = message.event
        self.wiring = wiring
        self.root = root
        self.group = root
        self.groups = _below(root)
        self.linked: dict[tuple[int, int], list[tuple[Link, Builder | None]]] = {}
        self.identities: Identities = profile.identities
        self.feed: str = profile.namespace
        self.digest = digest
        self.made: list[Builder] = []
        self.by_ref: dict[str, Builder] = {}
        self.by_group: dict[tuple[int, str], Builder] = {}
        self.by_home: dict[int, list[Builder]] | None = None  # what each group made, once all is made
        self.waiting: list[tuple[Add, Segment, Group]] = []
        self.placed = placed
        self.seen_keys: dict[tuple[str, ...], int] = {}
        self.shared: dict[Any, Any] = {}  # rules of one message leave word for each other here
        self.effects: list[Any] = []
        self.events = True  # make what lives in bundles only
        self.trace: Trace | None = None
        self.traced: Maps | None = None
        self.clear: list[str] = []
        self.filled: list[str] = []
        self.builder: Builder | None = None
        self.recording: list[Stub] | None = None
        self.make = self._make_stub
        self.contained = self._contain

    def place_of(self, builder: Builder) -> Place:
        """The segment that states a resource."""
        return Place(builder.segment.name, builder.segment.nth) if builder.segment is not None else Place("MSH", 1)

    def release(self) -> None:
        """Lets go of what refers back to itself, once all is handed out: then memory is free at once, and the next
        message finds it warm; else it waits for the collector. The assembly cannot be used again."""
        self.make, self.contained = nothing_made, nothing_contained
        for group in self.groups:
            group.parent = None

    # what rows, keys and rules ask ----------------------------------------------------------------------------------

    def near(self, name: str) -> Segment | None:
        """A segment by name: in this group, in each around it, and an ORC that later OBRs of its order share."""
        if (found := self.group.find(name)) is not None:
            return found
        if name == "ORC" and self.group.parent is not None:
            return self._shared_order()
        return None

    def _shared_order(self) -> Segment | None:
        """The ORC of the group before: further OBRs under one ORC share its facts, unless ORC stands behind its OBR."""
        parent = self.group.parent
        if parent is None or ORC_BEHIND in self.wiring.family.pairing:
            return None
        known: dict[int, Segment | None] | None = self.shared.get(id(parent))
        if known is None:
            known, latest = self.shared.setdefault(id(parent), {}), None
            for group in parent.groups:
                known[id(group)] = latest
                latest = next((segment for segment in group.segments if segment.name == "ORC"), latest)
        return known.get(id(self.group))

    def made_near(self, kind: str, group: Group | None = None) -> Builder | None:
        """The resource of that type made last in this group, else in each around it."""
        group = group or self.group
        known = self.by_group
        while group is not None:
            if (id(group), kind) in known:
                return known[id(group), kind]
            group = group.parent
        return None

    def null(self, emptied: str = "", others: Iterable[str] = ()) -> None:
        """A null in one of several fields or repetitions of a list, which it empties where the others say nothing."""
        if emptied and all(other in NIL for other in others):
            if emptied not in self.clear:
                self.clear.append(emptied)
            return
        place = self.place()  # rows that read one field say it once
        if all(known.code != "null-not-applied" or known.place != place for known in self.issues):
            self.issue("null-not-applied")

    # making -----------------------------------------------------------------------------------------------------------

    def build(self, make: Make, segment: Segment) -> None:
        """One resource of one segment: id first, so that everything may refer to it, then its rows."""
        self.seg = segment
        if make.when is not None and not make.when(segment, self):
            return
        key = make.key(segment, self)
        if key is None:
            return
        group, told = self.group, None
        builder = Builder.made(make.type, self.identities.make(make.type, key), make.mode, segment, group, make)
        if (known := self.by_ref.get(builder.ref)) is not None:
            told = known.body if "stub" not in (known.mode, builder.mode) else None
            builder = self._again(known, builder)
        else:
            builder.key = key
            self.made.append(builder)
            self.by_ref[builder.ref] = builder
        self.by_group[id(group), make.type] = builder
        if make.scope:
            self._show(builder, group, make.scope)
        self.run(make.rows, builder, segment)
        for rows in make.beside:
            if (beside := self.near(rows.segment)) is not None:
                builder.sources.append(beside.ordinal)
                self.run(rows, builder, beside)
        if told is not None and any(builder.body.get(name) != value for name, value in told.items()):
            self.issues.append(issue("stated-twice", segment.place(), row=make.map))

    def _show(self, builder: Builder, group: Group, scope: str) -> None:
        """Lets the segments of a group around it refer to it, too."""
        around: Group | None = group
        while around is not None and around.name != scope:
            around = around.parent
        if around is not None:
            self.by_group[id(around), builder.type] = builder

    def _again(self, known: Builder, builder: Builder) -> Builder:
        """The same thing a second time in one message: a stub gives way, else the later segment speaks."""
        if known.mode == "stub":
            known.mode, known.make, known.group = builder.mode, builder.make, builder.group
            known.body, known.clear, known.filled, known.own = builder.body, builder.clear, builder.filled, builder.own
        known.segment = known.tail = builder.segment
        known.sources += builder.sources
        if builder.mode != "stub":
            if known.group is not None and builder.group is not known.group:
                apart = known.type != "Patient" and (  # a patient is never another's
                    self.made_near("Patient", known.group) is not self.made_near("Patient", builder.group)
                )
                known.elsewhere = () if apart else (*known.elsewhere, known.group)
                if apart:
                    self.issues.append(issue("other-patient", self.seg.place()))
                known.group = builder.group  # else its facts would meet those that stand around the earlier segment
            _forget(known)
        return known

    def extend(self, add: Add, segment: Segment, *, last: bool = False) -> None:
        """A map that writes into what another segment made, or will make: TQ1 stands before its OBR or behind it."""
        self.seg = segment
        if add.when is not None and not add.when(segment, self):
            return
        builder = self.made_near(add.to)
        if builder is not None:
            builder.sources.append(segment.ordinal)
            self.run(add.rows, builder, segment)
        elif not last:
            self.waiting.append((add, segment, self.group))
        else:
            self.issues.append(issue("no-target", segment.place(), row=add.map))

    def run(self, rows: CompiledMap, builder: Builder, segment: Segment) -> None:
        """One map on one segment."""
        function = rows.fast
        self.builder = builder
        self.clear = builder.clear
        self.filled = builder.filled
        if self.traced is not None and self.trace is not None:
            self.trace.resource = builder.ref
            function = self.traced[rows.name]
        function(segment, self, builder.body)
        self.field = self.rep_index = 0
        self.row = ""

    def _make_stub(self, resource_type: str, key_parts: tuple[str, ...], body: Json) -> str | None:
        """A resource a datatype function meets on its way: created only where nothing is stored."""
        return self.stub(resource_type, key_parts, body)

    def stub(self, resource_type: str, key: tuple[str, ...], body: Json) -> str:
        """A stub by its key."""
        id_ = self.identities.make(resource_type, key)
        ref = f"{resource_type}/{id_}"
        made = (resource_type, id_, ref, {"resourceType": resource_type, "id": id_} | body)
        if self.recording is not None:
            self.recording.append(made)
        self.again((made,))
        return ref

    def again(self, stubs: Iterable[Stub]) -> None:
        """Stubs made before from the same text; what this message knows already only gains what it lacks."""
        by_ref, here = self.by_ref, self.seg.ordinal
        for kind, id_, ref, body in stubs:
            if ref not in by_ref:
                builder = by_ref[ref] = Builder(kind, id_, ref, body.copy(), here)
                self.made.append(builder)
            else:
                known = by_ref[ref]
                if known.mode == "stub" and known.make is None:
                    for name, value in body.items():
                        known.body.setdefault(name, value)
            if self.trace is not None:
                for path, _ in leaves(body):
                    self.trace.rule(self.row, ref, path, self.place())

    def _contain(self, body: Json) -> str | None:
        """A thing without an id of its own lives inside the resource that speaks of it."""
        if self.builder is None:
            return None
        id_ = "c" + self.identities.make("contained", (repr(body),))[:8]  # of its content: equal in every version
        inside = self.builder.body.setdefault("contained", [])
        if all(each["id"] != id_ for each in inside):
            inside.append({**body, "id": id_})
        return f"#{id_}"


def remembering(call: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes references, asked again for a text it knows: a feed names the same wards and doctors
    all day.

    Only clean results are kept, and only for one row, one set of separators and one charset (`Profile.cache_of`).
    """

    def reference(raw: Any, ctx: Assembly, vocab: Any = None) -> Any:
        key = (call, raw, ctx.row)
        known = ctx.cache.get(key)
        if known is not None:
            ctx.again(known[1])
            return known[0].copy()
        outer, issues = ctx.recording, len(ctx.issues)
        made: list[Stub] = []
        ctx.recording = made
        found = call(raw, ctx, vocab)
        ctx.recording = outer
        local = found is not None and str(found.get("reference", "")).startswith("#")
        if found is not None and made and not local and len(ctx.issues) == issues:
            ctx.cache[key] = (found.copy(), tuple(made))
        return found

    return reference


def _forget(known: Builder) -> None:
    """Facts of an earlier segment about the same thing give way; `build` says so where they were others."""
    known.body = {"resourceType": known.type, "id": known.id}
    known.clear.clear()
    known.filled.clear()


def _below(root: Group) -> list[Group]:
    """A group and all below it, in order, as `Group.walk` finds them."""
    found = [root]
    for group in root.groups:
        found += _below(group) if group.groups else (group,)
    return found


def _version(text: str) -> tuple[int, ...]:
    return (_known_version if len(text) <= _LONGEST_VERSION else _known_version.__wrapped__)(text)


@lru_cache(maxsize=64)
def _known_version(text: str) -> tuple[int, ...]:
    try:
        return version(text)
    except ValueError:
        return ()


def assemble(assembly: Assembly) -> None:
    """Steps 1 to 4 for one message."""
    rules = assembly.wiring.rules_for(frozenset([segment.name for segment in assembly.message.segments]))
    _walk(assembly)
    for builder in assembly.made:
        if builder.make is not None:
            _link(assembly, builder)
    for builder in list(assembly.made):
        if builder.make is not None and (finish := rules.finish.get(id(builder.make))):
            _finish(assembly, builder, finish)
    for name, rule in rules.after:
        assembly.row = "@" + name
        rule(assembly)
    assembly.row = ""
    finishing.finish(assembly)
    unread.report(assembly)


def _walk(assembly: Assembly) -> None:
    """Every segment in the order of the message, each in its group: a stay before the diagnoses of its patient."""
    makes, adds, events = assembly.wiring.makes, assembly.wiring.adds, assembly.events
    for segment, group in assembly.placed:
        place = (group.name, segment.name)
        assembly.group = group
        for make in makes.get(place, ()):
            if events or make.mode != "event":
                assembly.build(make, segment)
        for add in adds.get(place, ()):
            assembly.extend(add, segment)
    for add, segment, group in assembly.waiting:
        assembly.group = group
        assembly.extend(add, segment, last=True)


def _link(assembly: Assembly, builder: Builder) -> None:
    """References to what is near, and to what was made below."""
    make, group = builder.make, builder.group
    if make is None or group is None:
        return
    body = builder.body
    for link, found in _nearby(assembly, make, group):
        if found is None:
            if link.required:
                _missing_link(assembly, builder, link)
        elif found is not builder:
            reference = {"reference": found.ref}
            body[link.name] = [reference] if link.many else reference
            if assembly.trace is not None:
                assembly.trace.rule("link", builder.ref, f"{link.name}[0]" if link.many else link.name)
    if make.gathers:
        _gather(assembly, make, group, builder)


def _nearby(assembly: Assembly, make: Make, group: Group) -> list[tuple[Link, Builder | None]]:
    """What the links of a resource lead to; lines of one order look it up once."""
    if not make.links:
        return []
    parent = group.parent
    if make.outward and parent is not None:
        key = (id(make), id(parent))
        known = assembly.linked.get(key)
        if known is None:
            assembly.group = group
            known = assembly.linked[key] = [(link, assembly.made_near(link.type)) for link in make.links]
        return known
    assembly.group = group
    return [(link, assembly.made_near(link.type)) for link in make.links]


def _gather(assembly: Assembly, make: Make, group: Group, builder: Builder) -> None:
    """Every resource of a type made in this group or below it."""
    inside = dict.fromkeys(other for each in (*builder.elsewhere, group) for other in _inside(assembly, each))
    for link in make.gathers:
        found = [
            {"reference": other.ref}
            for other in inside
            if other.type == link.type
            and other is not builder
            and (not link.group or (other.group is not None and other.group.name == link.group))
        ]
        if found:
            builder.body[link.name] = found
            if assembly.trace is not None:
                for index in range(len(found)):
                    assembly.trace.rule("gather", builder.ref, f"{link.name}[{index}]")


def _inside(assembly: Assembly, group: Group) -> list[Builder]:
    """What a group and those below it made; asked of every order, so that many orders cost no more than one."""
    if assembly.by_home is None:
        homes: dict[int, list[Builder]] = {}
        for other in assembly.made:
            if other.group is not None:
                for home in (*other.elsewhere, other.group):
                    homes.setdefault(id(home), []).append(other)
        assembly.by_home = homes
    homes = assembly.by_home
    return [other for each in group.walk() for other in homes.get(id(each), ())]


def _missing_link(assembly: Assembly, builder: Builder, link: Link) -> None:
    """R4 demands the reference and the message names nobody."""
    builder.body[link.name] = [absent("unknown")] if link.many else absent("unknown")
    if builder.segment is not None:
        assembly.issues.append(issue("no-patient", builder.segment.place(), row="@link"))


def _finish(assembly: Assembly, builder: Builder, rules: NamedRules) -> None:
    """The named rules of the wiring, in its order."""
    if builder.group is None or builder.segment is None:
        return
    assembly.group, assembly.seg, assembly.builder = builder.group, builder.segment, builder
    before = _snapshot(builder) if assembly.trace is not None else None
    for name, rule in rules:
        assembly.row = "@" + name
        rule(assembly, builder)
        if before is not None and assembly.trace is not None:
            after = _snapshot(builder)
            for path in after.keys() - before.keys() | {p for p in before if after.get(p, p) != before[p]}:
                assembly.trace.rule(name, builder.ref, path)
            before = after
    assembly.row = ""


def _snapshot(builder: Builder) -> dict[str, str]:
    return {name: repr(value) for name, value in builder.body.items()}


__all__ = ["ROOT", "Assembly", "Builder", "assemble"]
