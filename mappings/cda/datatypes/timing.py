"""When something is to happen: GTS, the list of effectiveTime elements of a medication, as Timing and Period.

A list holds bounds (IVL_TS), how often (PIVL_TS), on which events (EIVL_TS), or an expression of these (SXPR_TS), in
any order; each is told by what it holds, for types are left out and come with foreign prefixes. Bounds and one
frequency are a Timing. Where the institution sets the hours, a period is a count per day: BID is not every 12 hours.
What FHIR has no structure for stays as text, whole, for half a timing is another dose.
Source: HL7 v3 datatypes R1, GTS, PIVL<TS>, EIVL<TS>, SXPR<TS>; FHIR R4 Timing, its invariants tim-1 to tim-10.
"""

from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.datatypes.quantities import unit_of
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.times import Bound, Span, bound, choice_of, interval, period_of
from mappings.fhir import temporal, values
from mappings.fhir.codec import number
from mappings.moments import SECONDS
from mappings.terminology.concept_map import ConceptMap, load

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

Node = Any  # an element, or the text of its attribute

_GTS: Final = frozenset(
    {"@value", "@nullFlavor", "@operator", "@institutionSpecified", "@alignment", "low", "high", "center", "width",
     "period", "phase", "event", "offset", "comp"}
)  # fmt: skip
_EVENTS: Final = "cda-timing-event.event-timing"
_MEALS: Final = frozenset({"C", "CM", "CD", "CV"})  # at a meal: no offset (tim-9)
_NOT_SAID: Final = frozenset({"E", "H", "P"})  # excluded, hulls: no Timing can say them
_UNITS_OF_TIME: Final = frozenset({*SECONDS, "mo", "a"})
_DAY, _WEEK = SECONDS["d"], SECONDS["wk"]
_MOST_A_DAY: Final = 1440  # a count beyond once a minute is an interval, whoever sets the hours
_MOST_NESTED: Final = 8  # expressions in expressions
_LONGEST_WORD, _LONGEST_TEXT = 100, 1000  # characters
_LONGEST_OFFSET: Final = 10 * 366 * _DAY  # seconds


class Length(NamedTuple):
    """A length of time: its number as written, its unit of UCUM, and seconds, where all of them are as long."""

    value: Any
    unit: str
    seconds: Decimal | None


@dataclass
class Plan:
    """What a list says, by kind."""

    spans: list[Span] = field(default_factory=list)
    points: list[Bound] = field(default_factory=list)
    closed: list[Bound] = field(default_factory=list)  # those that are both ends of a stretch: a day's course ends, too
    phases: list[Span] = field(default_factory=list)
    lengths: list[Length] = field(default_factory=list)  # how long, of no known beginning
    every: list[Json] = field(default_factory=list)
    when: list[str] = field(default_factory=list)
    offsets: list[int | None] = field(default_factory=list)
    unsaid: bool = False  # something has no place in Timing

    @property
    def repeats(self) -> bool:
        return bool(self.every or self.when or self.unsaid)


# Reading -------------------------------------------------------------------------------------------------------------


def plan_of(nodes: list[Node], ctx: "Context") -> Plan:
    """All elements of a list, whatever their order."""
    plan = Plan()
    for node in nodes:
        if not isinstance(node, str):
            _add(plan, node, ctx, 0)
        elif (found := bound(node, ctx)) is not None:
            _once(plan.points, found)
    return plan


def _add(plan: Plan, node: "Element", ctx: "Context", depth: int) -> None:
    if (node.get("operator") or "").strip() in _NOT_SAID or depth > _MOST_NESTED:
        plan.unsaid = True
        return
    kids = node.kids if len(node) else {}
    if "comp" in kids:
        for comp in kids["comp"]:
            _add(plan, comp, ctx, depth + 1)
    if "event" in kids:
        _event(plan, kids, ctx)
    length = _frequency(plan, node, kids, ctx) if "period" in kids else None
    if "phase" in kids:
        _phase(plan, kids["phase"][0], length, ctx)
    _stretch(plan, node, kids, ctx)


def _once(known: list[Any], found: Any) -> None:
    if found not in known:
        known.append(found)


def _stretch(plan: Plan, node: "Element", kids: "dict[str, list[Element]]", ctx: "Context") -> None:
    """What an element says as an interval: a point, a stretch, or only how long."""
    span = interval(node, ctx)
    if span is None:
        if "width" in kids and (length := length_of(kids["width"][0], ctx)) is not None:
            _once(plan.lengths, length)
    elif span.point is not None:
        _once(plan.points, span.point)
        if "low" in kids and "high" in kids:
            _once(plan.closed, span.point)
    else:
        _once(plan.spans, span)


def _frequency(plan: Plan, node: "Element", kids: "dict[str, list[Element]]", ctx: "Context") -> Length | None:
    """PIVL.period: one length, or a range of them. Gives the length, against which a phase is measured."""
    period = kids["period"][0]
    ends = period.kids if len(period) else {}
    low, high = ends.get("low"), ends.get("high")
    least = length_of(low[0] if low else period, ctx)
    if least is None:
        if _speaks(period, ctx):
            ctx.issue("bad-timing", period)
            plan.unsaid = True
        return None
    most = length_of(high[0], ctx) if high else None
    if high and _speaks(high[0], ctx) and (most is None or most.unit != least.unit):
        ctx.issue("bad-timing", period)
        plan.unsaid = True
    elif most is not None and Decimal(str_of(most)) != Decimal(str_of(least)):
        _once(plan.every, values.every(least.value, least.unit, at_most=most.value))
    elif (node.get("institutionSpecified") or "").strip() in ("true", "1"):
        _once(plan.every, _per_day(least))
    else:
        _once(plan.every, values.every(least.value, least.unit))
    return most or least


def str_of(length: Length) -> str:
    value = length.value
    return str(value) if isinstance(value, Decimal) else bytes(value).decode()


def _per_day(length: Length) -> Json:
    """How often a day, or a week, where the institution chooses the hours."""
    if length.seconds is not None and length.seconds * _MOST_A_DAY >= _DAY:
        for seconds, unit in ((_DAY, "d"), (_WEEK, "wk")):
            if length.seconds <= seconds and seconds % length.seconds == 0:
                return values.every(1, unit, times=int(seconds / length.seconds))
    return values.every(length.value, length.unit)


def length_of(node: "Element", ctx: "Context") -> Length | None:
    """A PQ of time; None where it is none, or nothing, or less."""
    read = values.number_lexeme((node.get("value") or "").strip())
    unit = (unit_of(node.get("unit"), ctx) or {}).get("code", "")
    if read is None or read[0] or unit not in _UNITS_OF_TIME or not (counted := Decimal(read[1])) > 0:
        return None
    return Length(number(read[1]), unit, counted * SECONDS[unit] if unit in SECONDS else None)


def _speaks(node: "Element", ctx: "Context") -> bool:
    """Whether it has a value, readable or not."""
    if node.get("value"):
        return True
    return bool(len(node)) and any(each.get("value") for kids in node.kids.values() for each in kids)


def _phase(plan: Plan, node: "Element", length: Length | None, ctx: "Context") -> None:
    """PIVL.phase: when the first one is. Shorter than the period it is how long each takes; else it bounds them all."""
    span = interval(node, ctx)
    if span is None:
        return
    start, end = span.point or span.start, span.end
    each = _between(start, end) if length is not None else None
    if each is not None and length is not None and length.seconds is not None and each <= length.seconds and plan.every:
        plan.every[-1] = {**plan.every[-1], **_lasting(each)}
        end = None
    _once(plan.phases, Span(None, start, end))


def _between(start: Bound | None, end: Bound | None) -> Decimal | None:
    """Seconds from one time to another; None where both are not times of day."""
    if start is None or end is None or not start.value or not end.value or min(len(start.value), len(end.value)) <= 10:
        return None
    ticks = temporal.interval(end.value, UTC).start - temporal.interval(start.value, UTC).start
    return Decimal(ticks) / temporal.SECOND if ticks > 0 else None


def _lasting(seconds: Decimal) -> Json:
    for unit in ("h", "min"):
        if seconds % SECONDS[unit] == 0:
            return {"duration": seconds // SECONDS[unit], "durationUnit": unit}
    return {"duration": seconds, "durationUnit": "s"}


def _event(plan: Plan, kids: "dict[str, list[Element]]", ctx: "Context") -> None:
    """EIVL: an event of the day, and how far from it."""
    event = kids["event"][0]
    code = (event.get("code") or "").strip().upper()
    if not code:
        return
    known = load(_EVENTS).concepts.get(code)
    if known is None:
        plan.unsaid = True  # between meals, or a sender's own
        if code not in load(_EVENTS).known:
            ctx.issue("vocab-miss", event)
        return
    offset = _offset(kids["offset"][0], ctx) if "offset" in kids else None
    if offset and known.code in _MEALS:
        ctx.issue("extra-value", event)
        offset = None
    _once(plan.when, known.code)
    _once(plan.offsets, offset or None)


def _offset(node: "Element", ctx: "Context") -> int | None:
    """Minutes, however they are signed: the event says whether before or after."""
    if not _speaks(node, ctx):
        return None
    kids = node.kids if len(node) else {}
    ends = [kids[name][0] for name in ("low", "center", "high") if name in kids and kids[name][0].get("value")]
    found = [_minutes(each, ctx) for each in ([node] if node.get("value") else ends)]
    if not found or found[0] is None:
        ctx.issue("bad-timing", node)
        return None
    if any(each != found[0] for each in found[1:]):
        ctx.issue("extra-value", node)
    return found[0]


def _minutes(node: "Element", ctx: "Context") -> int | None:
    read = values.number_lexeme((node.get("value") or "").strip())
    seconds = SECONDS.get((unit_of(node.get("unit"), ctx) or {}).get("code", ""))
    if read is None or read[0] or seconds is None:
        return None
    exact = abs(Decimal(read[1])) * seconds
    return int(exact / 60) if exact <= _LONGEST_OFFSET and exact % 60 == 0 else None


# Writing -------------------------------------------------------------------------------------------------------------


@datatype("GTS[Timing]", gives="Timing", takes="all", reads=_GTS)
def gts_timing(nodes: list[Node], ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """The whole list. What cannot be said in structure is all of it text; bounds stand beside it."""
    plan = plan_of(nodes, ctx)
    said = not plan.unsaid and len(plan.every) < 2 and len(plan.spans) < 2 and len(plan.offsets) < 2
    said = said and not (plan.repeats and len(plan.points) > 1)
    repeat = _bounds(plan)
    if plan.spans and any(each.start not in (None, plan.spans[0].start) for each in plan.phases):
        ctx.issue("extra-value", _element(nodes))  # bounds say more than when the first one is
    if said:
        repeat |= _repeat(plan)
    text = None if said else "; ".join(filter(None, (_words(node, ctx) for node in nodes)))[:_LONGEST_TEXT].strip()
    if not said and not plan.unsaid:
        ctx.issue("bad-timing", _element(nodes))
    made: Json = {}
    if not plan.repeats and not plan.phases:
        _at(made, plan.points)
    if repeat:
        made["repeat"] = repeat
    if text:
        made["code"] = {"text": text}
    return made or None


def _element(nodes: list[Node]) -> "Element | None":
    return next((node for node in nodes if not isinstance(node, str)), None)


def _repeat(plan: Plan) -> Json:
    made: Json = dict(plan.every[0]) if plan.every else {}
    if plan.when:
        made["when"] = list(plan.when)
        if plan.offsets[0]:
            made["offset"] = plan.offsets[0]
    return made


def _at(made: Json, points: list[Bound]) -> None:
    """Timing.event: single times."""
    said = [each for each in points if each.lexeme]
    if said:
        made["event"] = [each.value for each in said]
    if any(each.extensions for each in said):
        made["_event"] = [{"extension": list(each.extensions)} if each.extensions else None for each in said]


def _bounds(plan: Plan) -> Json:
    period = _period(plan)
    if period is not None:
        return {"boundsPeriod": period}
    if len(plan.lengths) == 1 and not plan.spans:
        length = plan.lengths[0]
        return {"boundsDuration": {"value": length.value, **values.unit(length.unit, length.unit)}}
    return {}


def _period(plan: Plan) -> Json | None:
    """The one stretch of a list; else where its repetitions begin."""
    if plan.spans:
        return period_of(plan.spans[0]) if len(plan.spans) == 1 else None
    if len(plan.phases) == 1:
        return period_of(plan.phases[0])
    if plan.repeats and len(plan.points) == 1:
        point = plan.points[0]
        return period_of(Span(None, point, point if point in plan.closed else None))
    return None


@datatype("GTS[bounds]", gives="Period", takes="all", reads=_GTS)
def gts_bounds(nodes: list[Node], ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """From when until when, and nothing of how often. A single time is no period (`GTS[occurrence]`)."""
    return _whole(plan_of(nodes, ctx), nodes, ctx)


def _whole(plan: Plan, nodes: list[Node], ctx: "Context") -> Json | None:
    if len(plan.spans) > 1:
        ctx.issue("repetition-unread", _element(nodes))
        return period_of(plan.spans[0])
    return _period(plan)


@datatype("GTS[dateTime]", gives="dateTime", takes="all", reads=_GTS)
def gts_datetime(nodes: list[Node], ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """The one time of a list, else where its stretch begins."""
    found = _time(plan_of(nodes, ctx), nodes, ctx)
    return None if found is None else found.primitive


def _time(plan: Plan, nodes: list[Node], ctx: "Context") -> Bound | None:
    if len(plan.points) > 1 or (not plan.points and len(plan.spans) > 1):
        ctx.issue("repetition-unread", _element(nodes))
    if plan.points:
        return plan.points[0]
    if not plan.spans:
        return None
    span = plan.spans[0]
    if span.end is not None and span.end.lexeme:
        ctx.issue("extra-value", _element(nodes))
    return span.start


@datatype("GTS[occurrence]", gives="occurrence[x]", takes="all", reads=_GTS)
def gts_occurrence(nodes: list[Node], ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """What happened once: `occurrenceDateTime`, never a period, which Immunization has no room for."""
    found = _time(plan_of(nodes, ctx), nodes, ctx)
    return None if found is None else choice_of("occurrence", Span(found))


@datatype("GTS[effective]", gives="effective[x]", takes="all", reads=_GTS)
def gts_effective(nodes: list[Node], ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """`effectivePeriod` of the list's stretch, else `effectiveDateTime` of its one time."""
    plan = plan_of(nodes, ctx)
    if (period := _whole(plan, nodes, ctx)) is not None:
        return {"effectivePeriod": period}
    found = _time(plan, nodes, ctx)
    return None if found is None else choice_of("effective", Span(found))


# Words ---------------------------------------------------------------------------------------------------------------


def _words(node: Node, ctx: "Context", depth: int = 0) -> str:
    """An element in words: of codes, numbers and times as they were sent."""
    if isinstance(node, str):
        return _word(node)
    if depth > _MOST_NESTED:
        return ""
    kids = node.kids if len(node) else {}
    said = []
    if "comp" in kids:
        parts = [found for comp in kids["comp"] if (found := _words(comp, ctx, depth + 1))]
        said.append(f"({'; '.join(parts)})" if len(parts) > 1 else "".join(parts))
    said += ["every " + found for each in kids.get("period", ()) if (found := _range_words(each, ctx))]
    said += [_word(each.get("code") or "") for each in kids.get("event", ())]
    said += ["offset " + found for each in kids.get("offset", ()) if (found := _range_words(each, ctx))]
    said += ["phase " + found for each in kids.get("phase", ()) if (found := _range_words(each, ctx))]
    said.append(_range_words(node, ctx))
    words = " ".join(filter(None, said))
    return f"except {words}" if words and (node.get("operator") or "").strip() == "E" else words


def _range_words(node: "Element", ctx: "Context") -> str:
    """`4 h`, `4 h to 6 h`, `20240501 to 20240510`."""
    kids = node.kids if len(node) else {}
    low, high, center, width = (_amount(kids[name][0]) if name in kids else "" for name in _ENDS)
    ends = f"{low} to {high}".strip() if high else (low and f"from {low}" if "high" not in kids else low)
    return " ".join(filter(None, (ends or center or _amount(node), f"for {width}" if width else "")))


_ENDS: Final = ("low", "high", "center", "width")


def _amount(node: "Element") -> str:
    return f"{_word(node.get('value') or '')} {_word(node.get('unit') or '')}".strip()


def _word(text: str) -> str:
    return " ".join(text[:_LONGEST_WORD].split())
