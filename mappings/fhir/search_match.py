"""The exact matcher: whether one resource, in clear, is found by a query.

It is the only judge; every index is a pre-filter whose hits come here. `matcher` compiles a query once for many
resources. A zone for dates that name none, the time `ap` measures from, and the way to what a chain follows are
arguments. Amounts in UCUM are compared across units, any other by the code of their unit.
Source: FHIR R4 search.html §3.1.1.4; where it leaves room: strings without marks and punctuation, codes without
regard to case unless their system says otherwise (fhir.md §4 of the design).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from mappings.fhir import temporal
from mappings.fhir.codec import Json
from mappings.fhir.schema import schema
from mappings.fhir.search_operands import (
    WIDE,
    Composite,
    Date,
    InSet,
    Missing,
    Number,
    OfType,
    Operand,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
)
from mappings.fhir.search_plan import extract
from mappings.fhir.search_query import Criterion, Has, Query
from mappings.fhir.search_text import normalise
from mappings.fhir.search_values import (
    CompositeValue,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from mappings.fhir.temporal import Interval
from mappings.terminology.ucum_scale import scale

UCUM: Final = "http://unitsofmeasure.org"
TENTH: Final = Decimal("0.1")

Resolve: TypeAlias = Callable[[str], Json | None]
# (resource, type, parameter) -> resources of the type whose parameter points to the resource
Referrers: TypeAlias = Callable[[Json, str, str], Iterable[Json]]
Test: TypeAlias = Callable[[Value], bool]


class Setting(NamedTuple):
    """What a comparison needs besides its two sides."""

    now: int  # nanoseconds, as `temporal.instant`
    zone: tzinfo


def match(query: Query, resource: Json, resolve: Resolve, *, now: datetime, zone: tzinfo) -> bool:
    """Whether the resource is found; for more than one resource, `matcher` reads the query once."""
    return matcher(query, resolve, now=now, zone=zone)(resource)


def _nobody(resource: Json, kind: str, code: str) -> Iterable[Json]:
    return ()


def matcher(
    query: Query, resolve: Resolve, *, now: datetime, zone: tzinfo, referrers: Referrers = _nobody
) -> Callable[[Json], bool]:
    """A query as a predicate. `resolve` gives what a reference points to (`Type/id` or a URL), or None; chains ask.
    `referrers` gives what points to a resource; `_has` asks.

    References are compared as they stand: who knows several ids of one resource puts them all into the query.
    """
    setting = Setting(temporal.instant(now), zone)
    tests = [
        _criterion(query.type, criterion, setting, resolve)
        if criterion.has is None
        else _has(criterion.has, setting, resolve, referrers)
        for criterion in query.criteria
    ]

    def found(resource: Json) -> bool:
        return resource.get("resourceType") == query.type and all(test(resource) for test in tests)

    return found


def _criterion(type_: str, criterion: Criterion, setting: Setting, resolve: Resolve) -> Callable[[Json], bool]:
    code, only = criterion.code, frozenset({criterion.code})
    if criterion.chain is not None:
        return _chain(type_, criterion, criterion.chain, setting, resolve)
    if criterion.modifier == "missing":
        wanted = {operand.missing for operand in criterion.operands if isinstance(operand, Missing)}
        return lambda resource: (code not in extract(type_, resource, only)) in wanted
    tests = [_test(operand, criterion, setting) for operand in criterion.operands]

    def found(resource: Json) -> bool:
        values = extract(type_, resource, only).get(code, ())
        return any(test(value) for value in values for test in tests)

    return (lambda resource: not found(resource)) if criterion.modifier == "not" else found


def _chain(
    type_: str, criterion: Criterion, chain: Mapping[str, Criterion], setting: Setting, resolve: Resolve
) -> Callable[[Json], bool]:
    """A resource is found where one that it refers to meets the rest of the chain."""
    code, only = criterion.code, frozenset({criterion.code})
    tests = {target: _criterion(target, rest, setting, resolve) for target, rest in chain.items()}

    def found(resource: Json) -> bool:
        for value in extract(type_, resource, only).get(code, ()):
            target = _fetched(value, resolve)
            if target is not None and (test := tests.get(target.get("resourceType", ""))) and test(target):
                return True
        return False

    return found


def _has(has: Has, setting: Setting, resolve: Resolve, referrers: Referrers) -> Callable[[Json], bool]:
    """A resource is found where one that refers to it meets the rest."""
    meets = _criterion(has.source, has.rest, setting, resolve)
    return lambda resource: any(meets(one) for one in referrers(resource, has.source, has.code))


def _fetched(value: Value, resolve: Resolve) -> Json | None:
    if not isinstance(value, ReferenceValue):
        return None
    if value.id is not None:
        return resolve(f"{value.type}/{value.id}")
    return None if value.url is None else resolve(value.url)


def _test(operand: Operand, criterion: Criterion, setting: Setting) -> Test:
    """One operand as a test of one value. A value of another kind than the operand is none it looks for."""
    match operand:
        case Token():
            return _identifier_test(operand) if criterion.modifier == "identifier" else _token_test(operand)
        case OfType():
            return _of_type_test(operand)
        case InSet(codes=codes):
            return lambda value: isinstance(value, TokenValue) and value.code in codes.get(value.system or "", ())
        case Text(text=text):
            return _token_text_test(text) if criterion.modifier == "text" else _string_test(text, criterion.modifier)
        case Date():
            return _date_test(operand, setting)
        case Number():
            return _number_test(operand)
        case Quantity():
            return _quantity_test(operand)
        case Reference():
            return _reference_test(operand)
        case Uri(uri=uri):
            return _uri_test(uri, criterion.modifier)
        case Composite(parts=parts):
            return _composite_test([_test(part, criterion, setting) for part in parts])
        case Missing():
            raise RuntimeError(":missing is a test of all values, not of one")


# --- token ------------------------------------------------------------------------------------------------------------


def keeps_case(system: str | None) -> bool:
    """Whether codes of a system differ by letter case. UCUM does (`mg`, `Mg`); a system we do not know does not."""
    return system == UCUM or schema().case_sensitive.get(system or "", False)


def _token_test(operand: Token) -> Test:
    system, code = operand.system, operand.code
    folded = None if code is None else code.casefold()

    def test(value: Value) -> bool:
        if not isinstance(value, TokenValue):
            return False
        if system is not None and (value.system or "") != system and not (system == "" and value.implied):
            return False
        if code is None:
            return value.code is not None
        if value.code is None:
            return False
        return value.code == code or (value.code.casefold() == folded and not keeps_case(value.system))

    return test


def _of_type_test(operand: OfType) -> Test:
    kind, code = (operand.system, operand.code), operand.value.casefold()

    def test(value: Value) -> bool:
        return (
            isinstance(value, TokenValue)
            and kind in value.types
            and value.code is not None
            and value.code.casefold() == code
        )

    return test


def _token_text_test(text: str) -> Test:
    wanted = normalise(text)
    return lambda value: (
        isinstance(value, TokenValue) and value.text is not None and normalise(value.text).startswith(wanted)
    )


def _identifier_test(operand: Token) -> Test:
    token = _token_test(operand)
    return lambda value: isinstance(value, ReferenceValue) and value.identifier is not None and token(value.identifier)


# --- string, uri ------------------------------------------------------------------------------------------------------


def _string_test(text: str, modifier: str) -> Test:
    if modifier == "exact":
        return lambda value: isinstance(value, StringValue) and value.text == text
    wanted = normalise(text)
    if modifier == "contains":
        return lambda value: isinstance(value, StringValue) and wanted in normalise(value.text)
    return lambda value: isinstance(value, StringValue) and normalise(value.text).startswith(wanted)


def _uri_test(uri: str, modifier: str) -> Test:
    if modifier == "below":
        return lambda value: isinstance(value, UriValue) and _is_below(value.uri, uri)
    if modifier == "above":
        return lambda value: isinstance(value, UriValue) and _is_below(uri, value.uri)
    return lambda value: isinstance(value, UriValue) and value.uri == uri


def _is_below(uri: str, ancestor: str) -> bool:
    """Whether a URI is another or lies under it, by whole segments of its path: `/a/bc` is not below `/a/b`."""
    return uri == ancestor or uri.startswith(ancestor if ancestor.endswith("/") else f"{ancestor}/")


# --- date -------------------------------------------------------------------------------------------------------------

# (what was asked, what the resource says)
_DATE_RULES: Final[Mapping[str, Callable[[Interval, Interval], bool]]] = {
    "eq": lambda asked, said: asked.contains(said),
    "ne": lambda asked, said: not asked.contains(said),
    "gt": lambda asked, said: said.end > asked.end,
    "lt": lambda asked, said: said.start < asked.start,
    "ge": lambda asked, said: said.end > asked.end or asked.contains(said),
    "le": lambda asked, said: said.start < asked.start or asked.contains(said),
    "sa": lambda asked, said: said.start >= asked.end,
    "eb": lambda asked, said: said.end <= asked.start,
    "ap": lambda asked, said: asked.overlaps(said),
}


def asked_interval(operand: Date, now: int, zone: tzinfo) -> Interval:
    """What a date operand covers; `ap` reaches a tenth of its distance from now further on both sides."""
    span = temporal.interval(operand.lexeme, zone)
    if operand.prefix != "ap":
        return span
    slack = max(span.start - now, now - span.end, 0) // 10
    return Interval(span.start - slack, span.end + slack)


def said_interval(value: DateValue, zone: tzinfo) -> Interval:
    """What a date of a resource covers."""
    if value.start is not None and value.start == value.end:
        return temporal.interval(value.start, zone)
    return temporal.period(value.start, value.end, zone)


def _date_test(operand: Date, setting: Setting) -> Test:
    asked, rule, zone = asked_interval(operand, setting.now, setting.zone), _DATE_RULES[operand.prefix], setting.zone
    return lambda value: isinstance(value, DateValue) and rule(asked, said_interval(value, zone))


# --- number, quantity -------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """What a resource says of an amount; None is an open side, `above` and `below` leave the side itself out."""

    low: Decimal | None
    high: Decimal | None
    above: bool = False
    below: bool = False

    def within(self, low: Decimal, high: Decimal) -> bool:
        """Inside [low, high)."""
        if self.low is None or self.high is None:
            return False
        return low <= self.low and (self.high < high or (self.below and self.high == high))

    def over(self, bound: Decimal) -> bool:
        return self.high is None or self.high > bound

    def under(self, bound: Decimal) -> bool:
        return self.low is None or self.low < bound

    def is_exactly(self, amount: Decimal) -> bool:
        return self.low == amount == self.high

    def starts_after(self, bound: Decimal) -> bool:
        return self.low is not None and (self.low > bound or (self.above and self.low == bound))

    def ends_before(self, bound: Decimal) -> bool:
        return self.high is not None and (self.high < bound or (self.below and self.high == bound))


def _within(span: Span, value: Decimal, margin: Decimal) -> bool:
    return span.within(WIDE.subtract(value, margin), WIDE.add(value, margin))


def _about(span: Span, value: Decimal, margin: Decimal) -> bool:
    """`ap`: some of it lies no further away than a tenth of the amount."""
    slack = WIDE.multiply(abs(value), TENTH)
    return not span.starts_after(WIDE.add(value, slack)) and not span.ends_before(WIDE.subtract(value, slack))


# (what the resource says, amount asked, margin). Only eq and ne look at the margin; to the others the amount is exact.
_AMOUNT_RULES: Final[Mapping[str, Callable[[Span, Decimal, Decimal], bool]]] = {
    "eq": _within,
    "ne": lambda span, value, margin: not _within(span, value, margin),
    "gt": lambda span, value, margin: span.over(value),
    "lt": lambda span, value, margin: span.under(value),
    "ge": lambda span, value, margin: span.over(value) or span.is_exactly(value),
    "le": lambda span, value, margin: span.under(value) or span.is_exactly(value),
    "sa": lambda span, value, margin: span.starts_after(value),
    "eb": lambda span, value, margin: span.ends_before(value),
    "ap": _about,
}


def _number_test(operand: Number) -> Test:
    rule, amount, margin = _AMOUNT_RULES[operand.prefix], operand.value, operand.margin
    return lambda value: isinstance(value, NumberValue) and rule(Span(value.low, value.high), amount, margin)


def _quantity_test(operand: Quantity) -> Test:
    number = operand.number
    rule = _AMOUNT_RULES[number.prefix]

    def test(value: Value) -> bool:
        if not isinstance(value, QuantityValue):
            return False
        if _same_unit(operand, value):
            return rule(Span(value.low, value.high, value.above, value.below), number.value, number.margin)
        return operand.system == UCUM == value.system and _converted(operand, value)

    return test


def _same_unit(operand: Quantity, value: QuantityValue) -> bool:
    if operand.system is not None:
        return operand.system == value.system and operand.code == value.code
    return operand.code is None or operand.code in (value.code, value.unit)


def _converted(operand: Quantity, value: QuantityValue) -> bool:
    """The comparison in one unit, without rounding: each side is multiplied by its part of the ratio of the two."""
    asked, said = scale(operand.code or ""), scale(value.code or "")
    if asked is None or said is None or asked.dimension != said.dimension:
        return False
    ratio, number = asked.factor / said.factor, operand.number
    mine, theirs = Decimal(ratio.numerator), Decimal(ratio.denominator)
    low, high = (None if side is None else WIDE.multiply(side, theirs) for side in (value.low, value.high))
    span = Span(low, high, value.above, value.below)
    return _AMOUNT_RULES[number.prefix](span, WIDE.multiply(number.value, mine), WIDE.multiply(number.margin, mine))


# --- reference, composite ---------------------------------------------------------------------------------------------


def _reference_test(operand: Reference) -> Test:
    type_, id_, url, version = operand.type, operand.id, operand.url, operand.version

    def test(value: Value) -> bool:
        if not isinstance(value, ReferenceValue):
            return False
        if url is not None:
            return value.url == url and version in (None, value.version)
        return value.id == id_ and type_ in (None, value.type)

    return test


def _composite_test(tests: list[Test]) -> Test:
    """Each component met by some value of the same node."""
    return lambda value: (
        isinstance(value, CompositeValue)
        and all(any(map(test, part)) for test, part in zip(tests, value.parts, strict=True))
    )
