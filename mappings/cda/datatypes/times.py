"""Points and stretches of time: TS and IVL_TS as FHIR date, dateTime, instant, Period, or the choice between them.

An element is told by its shape, never by its name: a TS may hold low and high, an IVL_TS a bare value. Low and high say
more than a value beside them; equal ends are one point; a width computes the end that is missing. `operator="A"` is a
part of a calculation and no period. What FHIR cannot say stands beside the value in `source-lexeme`.
Source: HL7 v3 datatypes R1, TS, IVL<TS>; FHIR R4 date, dateTime, instant, Period.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.datatypes.nulls import says_more
from mappings.cda.datatypes.quantities import unit_of
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.document import type_of
from mappings.cda.time import moment
from mappings.fhir import values
from mappings.hl7v2.periods import reversed_
from mappings.moments import shifted
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

# Elements that hold a date, a time, a stretch of either; each is `<name>[x]` in FHIR
CHOICES: Final = (
    "abatement", "collected", "effective", "identified", "occurred", "occurrence", "onset", "performed", "timing",
)  # fmt: skip
_POINT: Final = frozenset({"@value", "@nullFlavor"})
_INTERVAL: Final = _POINT | {"@operator", "low", "high", "center", "width"}
_NO_PERIOD: Final = frozenset({"A", "E", "P"})  # intersected, excluded, a hull of repetitions: parts of a calculation
_REPEATING: Final = frozenset({"PIVL_TS", "EIVL_TS", "SXPR_TS"})
_REPEATING_PARTS: Final = ("period", "event", "comp")
_OF_OFFSETS: Final = frozenset({"no-offset", "time-in-gap", "time-ambiguous"})
_LONGEST_LEXEME: Final = 100  # characters; a TS has 24
_WIDTH: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


class Bound(NamedTuple):
    """One end or point: FHIR text if it is a time, and what else is to be said of it."""

    value: str | None
    lexeme: str = ""  # as it was sent; "" where only a null flavor stands
    extensions: tuple[Json, ...] = ()

    @property
    def primitive(self) -> Any:
        """As a datatype function returns it."""
        return (self.value, {"extension": list(self.extensions)}) if self.extensions else self.value

    @property
    def pair(self) -> tuple[str | None, list[Json]]:
        """As `values.period` takes it."""
        return self.value, list(self.extensions)


class Span(NamedTuple):
    """What an interval says: a point, or a start, an end, both."""

    point: Bound | None = None
    start: Bound | None = None
    end: Bound | None = None


# Points --------------------------------------------------------------------------------------------------------------


def bound(node: "Element | str | None", ctx: "Context", *, end: bool = False) -> Bound | None:
    """The time that an element's own value says; None where it says nothing. An `end` that is unknown is a fact."""
    if node is None:
        return None
    raw, here = (node, ctx.node) if isinstance(node, str) else (node.get("value"), node)
    if raw is None:
        reason = None if isinstance(node, str) else says_more(node, ctx, end=end)
        return None if reason is None else Bound(None, "", (reason,))
    lexeme = raw.strip()
    if not lexeme:
        if here is None or here.get("nullFlavor") is None:
            ctx.issue("not-a-date", here)
        return None
    found = moment(lexeme, here, ctx)
    return Bound(found.value, lexeme, (values.lexeme(lexeme[:_LONGEST_LEXEME]),) if found.keep else ())


def _unread(lexeme: str) -> Bound:
    """A time that cannot be said, as it was sent."""
    return Bound(None, lexeme, (values.lexeme(lexeme[:_LONGEST_LEXEME]),))


def point(node: "Element | str", ctx: "Context") -> Bound | None:
    """The one time an element says: its value, else where its interval begins."""
    if isinstance(node, str) or not len(node):
        return bound(node, ctx)
    span = span_of(node, ctx)
    if span is None:
        return None
    if span.end is not None and span.end.lexeme:
        ctx.issue("extra-value", node)  # an end that says something else is more than one time can hold
    return span.point or span.start


@datatype("TS[dateTime]", "IVL_TS[dateTime]", gives="dateTime", reads=_INTERVAL)
def ts_datetime(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    found = point(node, ctx)
    return None if found is None else found.primitive


@datatype("TS[date]", "IVL_TS[date]", gives="date", reads=_INTERVAL)
def ts_date(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """The day alone; where the lexeme says more, another row reads the time. A missing offset does not matter."""
    before = len(ctx.issues)
    found = point(node, ctx)
    if found is None:
        return None
    if found.value is None:
        return found.primitive
    ctx.issues[before:] = [each for each in ctx.issues[before:] if each.code not in _OF_OFFSETS]
    return found.value[:10]


@datatype("TS[instant]", "IVL_TS[instant]", gives="instant", reads=_INTERVAL)
def ts_instant(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """An instant must be whole; what is not keeps its lexeme alone."""
    found = point(node, ctx)
    if found is None:
        return None
    if found.value is not None and len(found.value) <= 10:
        found = _unread(found.lexeme)
    return found.primitive


# Stretches -----------------------------------------------------------------------------------------------------------


def span_of(node: "Element", ctx: "Context") -> Span | None:
    """What an interval says, by its shape; None where it says nothing, or is no interval but a part of one."""
    if node.get("operator") in _NO_PERIOD or is_repeating(node, ctx):
        return None
    return interval(node, ctx)


def is_repeating(node: "Element", ctx: "Context") -> bool:
    """Whether an element states a frequency: by its type, else by what it holds."""
    if type_of(node) in _REPEATING:
        return True
    if not len(node):
        return False
    kids = node.kids
    return any(name in kids for name in _REPEATING_PARTS)


def interval(node: "Element", ctx: "Context") -> Span | None:
    """Low and high, else a point; whatever the operator says."""
    if not len(node):
        found = bound(node, ctx)
        return None if found is None else Span(found)
    kids = node.kids
    low, high, center, width = (_first(kids.get(name)) for name in ("low", "high", "center", "width"))
    start, end = bound(low, ctx), bound(high, ctx, end=True)
    point = bound(center, ctx)
    if width is not None:
        start, end, point = _widened(start, end, point, width, ctx)
    if not _said(start) and not _said(end):
        own = bound(node, ctx) if node.get("value") is not None else None
        if (found := own or point) is not None:
            return Span(found)
        return Span(None, start, end) if start is not None else None
    if start is not None and end is not None and (start.lexeme == end.lexeme or _same(start, end)):
        return Span(start)
    return Span(None, start, _straight(start, end, high, ctx))


def _first(nodes: "list[Element] | None") -> "Element | None":
    return nodes[0] if nodes else None


def _said(each: Bound | None) -> bool:
    return each is not None and bool(each.lexeme)


def _same(start: Bound, end: Bound) -> bool:
    """Whether two ends are one time, exactly: two times cut to one day are not."""
    return start.value is not None and start.value == end.value and not start.extensions and not end.extensions


def _straight(start: Bound | None, end: Bound | None, high: "Element | None", ctx: "Context") -> Bound | None:
    """An end before its start cannot stand: the start does, the end is kept as it was sent."""
    if start is None or end is None or not start.value or not end.value or not reversed_(start.value, end.value):
        return end
    ctx.issue("contradiction", high)
    return _unread(end.lexeme)


def period_of(span: Span | None) -> Json | None:
    """A point is a period that begins and ends with it: without an end it would still go on."""
    if span is None:
        return None
    start, end = span.start, span.end
    if span.point is not None:
        start = end = span.point
    return values.period(start.pair if start else None, end.pair if end else None)


@datatype("IVL_TS[Period]", "TS[Period]", gives="Period", reads=_INTERVAL)
def ivl_ts_period(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    if isinstance(node, str):
        found = bound(node, ctx)
        return period_of(Span(found)) if found else None
    return period_of(span_of(node, ctx))


@datatype("IVL_TS[Period.start]", "TS[Period.start]", gives="Period", reads=_POINT)
def ts_period_start(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """A period that begins at a time and of whose end nothing is said."""
    return _one_end(node, ctx, end=False)


@datatype("IVL_TS[Period.end]", "TS[Period.end]", gives="Period", reads=_POINT)
def ts_period_end(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    return _one_end(node, ctx, end=True)


def _one_end(node: "Element | str", ctx: "Context", *, end: bool) -> Json | None:
    found = bound(node, ctx, end=end)
    if found is None:
        return None
    return values.period(None, found.pair) if end else values.period(found.pair)


# Choices -------------------------------------------------------------------------------------------------------------


def choice(name: str, node: "Element | str", ctx: "Context") -> Json | None:
    """`{name}DateTime` for a point, `{name}Period` for a stretch."""
    if isinstance(node, str) or not len(node):
        found = None if not isinstance(node, str) and node.get("operator") in _NO_PERIOD else bound(node, ctx)
        span = None if found is None else Span(found)
    else:
        span = span_of(node, ctx)
    return choice_of(name, span)


def choice_of(name: str, span: Span | None) -> Json | None:
    """The same of what was read."""
    if span is None:
        return None
    if span.point is None:
        return {f"{name}Period": period_of(span)}
    made: Json = {}
    values.put(made, f"{name}DateTime", span.point.value, *span.point.extensions)
    return made


def _registered(name: str) -> Callable[..., Json | None]:
    def call(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
        return choice(name, node, ctx)

    call.__doc__ = f"`{name}[x]`: {name}DateTime or {name}Period."
    return datatype(f"TS[{name}]", f"IVL_TS[{name}]", gives=f"{name}[x]", reads=_INTERVAL)(call)


for _name in CHOICES:
    _registered(_name)


# Widths --------------------------------------------------------------------------------------------------------------


def _widened(
    start: Bound | None, end: Bound | None, point: Bound | None, width: "Element", ctx: "Context"
) -> tuple[Bound | None, Bound | None, Bound | None]:
    """The end that is missing, from the other and the width; both from the center."""
    if _said(start) and _said(end):
        return start, end, point
    length, unit = (width.get("value") or "").strip(), width.get("unit") or ""
    if not length:
        return start, end, point
    code = (unit_of(unit, ctx) or {}).get("code", "")
    by = _Width(Decimal(length) if _WIDTH.fullmatch(length) else None, code, f"{length} {unit}".strip(), width)
    if start is not None and start.value:
        return start, _moved(start.value, by, Decimal(1), ctx), point
    if end is not None and end.value:
        return _moved(end.value, by, Decimal(-1), ctx), end, point
    if point is not None and point.value:
        half = Decimal("0.5")
        return _moved(point.value, by, -half, ctx, inside=False), _moved(point.value, by, half, ctx, inside=False), None
    return start, end, point


class _Width(NamedTuple):
    number: Decimal | None
    unit: str
    lexeme: str
    node: "Element"


def _moved(value: str, by: _Width, factor: Decimal, ctx: "Context", *, inside: bool = True) -> Bound:
    """A bound by way of a width, in which the first and the last day count; where none can be computed, the width as it
    was sent."""
    moved = None if by.number is None else shifted(value, factor * by.number, by.unit, inside=inside)
    if moved is not None:
        return Bound(moved, moved)
    ctx.issue("not-a-date", by.node)
    return _unread(by.lexeme)
