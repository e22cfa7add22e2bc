"""What a search parameter sees: one kind of value for each search type, and how each datatype becomes one.

`converter(kind, type, valueset)` gives the function that turns one decoded element into its values. The values keep
what was written (a date's text, a number's digits); zones, prefixes and letter case are the matcher's. They are
msgspec structs, frozen as our dataclasses are, because some twenty are made for every resource that is stored and a
dataclass costs five times as much.
Source: FHIR R4 search.html §3.1.1.4 (which datatypes each search type reads).
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from mappings.fhir import temporal
from mappings.fhir.codec import Json, decimal
from mappings.fhir.fhirpath_env import reference_type
from mappings.fhir.schema import schema

BOOLEANS: Final = "http://terminology.hl7.org/CodeSystem/special-values"
CURRENCIES: Final = "urn:iso:std:iso:4217"


class TokenValue(msgspec.Struct, frozen=True, gc=False):
    """A code, identifier or flag.

    `implied`: the system is that of the element's value set and does not stand in the resource. `text` is what
    `:text` reads; where it belongs to a whole concept it is a value of its own, without a code. `types` are an
    identifier's, for `:of-type`.
    """

    system: str | None
    code: str | None
    text: str | None = None
    implied: bool = False
    types: tuple[tuple[str | None, str], ...] = ()


class StringValue(msgspec.Struct, frozen=True, gc=False):
    """A text as it was written."""

    text: str


class DateValue(msgspec.Struct, frozen=True, gc=False):
    """A date or a period by the texts of its two sides; a date is its own start and end, None is an open side."""

    start: str | None
    end: str | None


class NumberValue(msgspec.Struct, frozen=True, gc=False):
    """A number, or the range it lies in."""

    low: Decimal | None
    high: Decimal | None


class QuantityValue(msgspec.Struct, frozen=True, gc=False):
    """An amount between `low` and `high` (None: open; `<5` has no low side) with its unit.

    `above` and `below` say that the side itself is not included.
    """

    low: Decimal | None
    high: Decimal | None
    unit: str | None
    system: str | None
    code: str | None
    above: bool = False
    below: bool = False


class ReferenceValue(msgspec.Struct, frozen=True, gc=False):
    """A reference: by type and id on this server, by `url` elsewhere (or contained: `#x`), or logically by identifier.

    `version` is that of a canonical; the version of a literal reference is left out.
    """

    type: str | None = None
    id: str | None = None
    url: str | None = None
    version: str | None = None
    identifier: TokenValue | None = None


class UriValue(msgspec.Struct, frozen=True, gc=False):
    uri: str


class CompositeValue(msgspec.Struct, frozen=True, gc=False):
    """What one node says of each component, in the order of the definition."""

    parts: "tuple[tuple[Value, ...], ...]"


Value: TypeAlias = (
    TokenValue | StringValue | DateValue | NumberValue | QuantityValue | ReferenceValue | UriValue | CompositeValue
)
Values: TypeAlias = tuple[Value, ...]
Convert: TypeAlias = Callable[[Any], Values]


# --- token ------------------------------------------------------------------------------------------------------------


def _coding(value: Json) -> Values:
    return (TokenValue(value.get("system"), value.get("code"), value.get("display")),)


def _concept(value: Json) -> Values:
    found = [TokenValue(one.get("system"), one.get("code"), one.get("display")) for one in value.get("coding", ())]
    if text := value.get("text"):
        found.append(TokenValue(None, None, text))
    return tuple(found)


def _identifier(value: Json) -> Values:
    kind = value.get("type")
    if kind is None:
        return (TokenValue(value.get("system"), value.get("value")),)
    types = tuple((one.get("system"), one["code"]) for one in kind.get("coding", ()) if "code" in one)
    return (TokenValue(value.get("system"), value.get("value"), kind.get("text"), False, types),)


def _contact(value: Json) -> Values:
    return (TokenValue(None, value.get("value")),)


def _boolean(value: bool) -> Values:
    return (TokenValue(BOOLEANS, "true" if value else "false", None, True),)


def _plain_token(value: str) -> Values:
    return (TokenValue(None, value),)


def _code_of(valueset: str | None) -> Convert:
    """A `code`, with the system that its required value set gives it; a set of several systems says which code is
    whose.
    """
    listed = schema().valueset(valueset) if valueset else None
    systems = {code: system for system, codes in (listed or {}).items() for code in codes}
    tokens = {code: (TokenValue(system, code, None, True),) for code, system in systems.items()}
    return lambda value: tokens.get(value) or _plain_token(value)


# --- string -----------------------------------------------------------------------------------------------------------


def _string(value: str) -> Values:
    return (StringValue(value),)


def _texts(*members: str) -> Convert:
    """A datatype whose parts are all searched, each for itself."""

    def parts(value: Json) -> Iterator[StringValue]:
        for name in members:
            part = value.get(name)
            if part is not None:
                yield from map(StringValue, filter(None, part)) if type(part) is list else (StringValue(part),)

    return lambda value: tuple(parts(value))


# --- date -------------------------------------------------------------------------------------------------------------


def _date(value: str) -> Values:
    return (DateValue(value, value),)


def _period(value: Json) -> Values:
    start, end = value.get("start"), value.get("end")
    return (DateValue(start, end),) if start or end else ()


def _timing(value: Json) -> Values:
    """The outer limits: the bounds where they are a period, else from the first event to the last."""
    bounds = value.get("repeat", {}).get("boundsPeriod")
    if bounds is not None:
        return _period(bounds)
    events = [event for event in value.get("event", ()) if event is not None]
    if not events:
        return ()
    first = min(events, key=lambda event: temporal.interval(event, UTC).start)
    last = max(events, key=lambda event: temporal.interval(event, UTC).end)
    return (DateValue(first, last),)


# --- number, quantity -------------------------------------------------------------------------------------------------


def _number(value: Any) -> Values:
    amount = decimal(value)
    return (NumberValue(amount, amount),)


def _side(value: Json, name: str) -> Decimal | None:
    side = value.get(name, {})
    return decimal(side["value"]) if "value" in side else None


def _number_range(value: Json) -> Values:
    return (NumberValue(_side(value, "low"), _side(value, "high")),)


def _quantity(value: Json) -> Values:
    if "value" not in value:
        return ()
    amount, unit = decimal(value["value"]), (value.get("unit"), value.get("system"), value.get("code"))
    match value.get("comparator"):
        case None:
            return (QuantityValue(amount, amount, *unit),)
        case "<" | "<=" as sign:
            return (QuantityValue(None, amount, *unit, below=sign == "<"),)
        case sign:
            return (QuantityValue(amount, None, *unit, above=sign == ">"),)


def _quantity_range(value: Json) -> Values:
    named = value.get("low") or value.get("high") or {}
    unit = named.get("unit"), named.get("system"), named.get("code")
    return (QuantityValue(_side(value, "low"), _side(value, "high"), *unit),)


def _money(value: Json) -> Values:
    if "value" not in value:
        return ()
    amount, currency = decimal(value["value"]), value.get("currency")
    return (QuantityValue(amount, amount, currency, CURRENCIES, currency),)


_SAMPLE: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def _sampled(value: Json) -> Values:
    """From the least to the greatest sample, in the unit of the origin; `E`, `L` and `U` are no samples."""
    origin = value.get("origin", {})
    samples = [Decimal(text) for text in value.get("data", "").split() if _SAMPLE.fullmatch(text)]
    if not samples or "value" not in origin:
        return ()
    zero, factor = decimal(origin["value"]), decimal(value.get("factor", 1))
    one, other = zero + factor * min(samples), zero + factor * max(samples)  # a negative factor turns them round
    unit = origin.get("unit"), origin.get("system"), origin.get("code")
    return (QuantityValue(min(one, other), max(one, other), *unit),)


# --- reference, uri ---------------------------------------------------------------------------------------------------

_RELATIVE: Final = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")
_VERSION: Final = re.compile(r"/_history/[A-Za-z0-9.-]{1,64}$")


@lru_cache(maxsize=4_096)  # the resources of one message all point to its patient, stay and doctors
def literal_reference(text: str) -> ReferenceValue:
    """A literal reference as it is compared: local by type and id, any other by its URL; the version left out."""
    match = _RELATIVE.fullmatch(text)
    if match is not None:
        return ReferenceValue(match[1], match[2])
    return ReferenceValue(reference_type(text) or None, None, _VERSION.sub("", text))


def _reference(value: Json) -> Values:
    literal, logical = value.get("reference"), value.get("identifier")
    identifier = None if logical is None else TokenValue(logical.get("system"), logical.get("value"))
    if literal is None:  # perhaps no more than a display: it is there, and points to nothing
        return (ReferenceValue(value.get("type"), identifier=identifier),)
    found = literal_reference(literal)
    if identifier is None:
        return (found,)
    return (ReferenceValue(found.type, found.id, found.url, None, identifier),)


def _canonical(value: str) -> Values:
    url, _, version = value.partition("|")
    if _RELATIVE.fullmatch(url):
        return (literal_reference(url),)
    return (ReferenceValue(None, None, url, version or None),)


def _resource(value: Json) -> Values:
    """A resource within a Bundle, as the reference that would point to it."""
    return (ReferenceValue(value.get("resourceType"), value.get("id")),)


def _uri(value: str) -> Values:
    return (UriValue(value),)


_URIS: Final = ("uri", "url", "canonical", "oid", "uuid")
_STRINGS: Final = ("string", "markdown", "code", "id", *_URIS)
_INTEGERS: Final = ("integer", "positiveInt", "unsignedInt")
_QUANTITIES: Final = ("Quantity", "Age", "Count", "Distance", "Duration")

_CONVERTERS: Final[dict[str, dict[str, Convert]]] = {
    "token": {
        "boolean": _boolean,
        "CodeableConcept": _concept,
        "Coding": _coding,
        "ContactPoint": _contact,
        "Identifier": _identifier,
        **dict.fromkeys(_STRINGS, _plain_token),
    },
    "string": {
        "Address": _texts("text", "line", "city", "district", "state", "postalCode", "country"),
        "HumanName": _texts("text", "family", "given", "prefix", "suffix"),
        **dict.fromkeys(_STRINGS, _string),
    },
    "date": {
        **dict.fromkeys(("date", "dateTime", "instant"), _date),
        "Period": _period,
        "Timing": _timing,
    },
    "number": {
        "decimal": _number,
        "Range": _number_range,
        **dict.fromkeys(_INTEGERS, _number),
    },
    "quantity": {
        **dict.fromkeys(_QUANTITIES, _quantity),
        "Money": _money,
        "Range": _quantity_range,
        "SampledData": _sampled,
    },
    "reference": {
        "canonical": _canonical,
        "Reference": _reference,
        "Resource": _resource,
        "uri": _canonical,
        "url": _canonical,
    },
    "uri": dict.fromkeys(_URIS, _uri),
}


@cache
def converter(kind: str, type_: str, valueset: str | None = None) -> Convert | None:
    """How a search type reads a datatype; None where it does not (a Ratio has no place among quantities)."""
    if kind == "token" and type_ == "code":
        return _code_of(valueset)
    if kind == "reference" and type_ in schema().resource_types:
        return _resource
    return _CONVERTERS[kind].get(type_)
