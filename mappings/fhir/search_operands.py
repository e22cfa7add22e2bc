"""The value side of a search parameter, read into what is compared: one kind of operand for each search type.

`READERS[type](text, modifier, base)` reads one alternative; `split` takes a value apart at `,`, `$` and `|` where
these are not escaped. Whether an operand is met is `search_match.py`'s. A value that cannot be read raises
SearchError.
Source: FHIR R4 search.html §3.1.1.4.3 (prefixes), §3.1.1.4.6 to 14 (types), §3.1.1.4.19 (escaping).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Context, Decimal
from typing import Final, TypeAlias

from mappings.errors import MappingError
from mappings.fhir import temporal
from mappings.fhir.schema import schema
from mappings.fhir.search_text import normalise
from mappings.fhir.search_values import literal_reference

MAX_LEXEME: Final = 64  # characters of a number, as of one in a resource
MAX_EXPONENT: Final = 100
WIDE: Final = Context(prec=3 * MAX_EXPONENT)  # enough digits for any bound of such numbers to be exact

VALUESET: Final = "http://hl7.org/fhir/ValueSet/"


class SearchError(MappingError):
    """A search that cannot be served.

    `code` is the issue type of an OperationOutcome (`invalid`, `not-supported`, `too-costly`), `parameter` the name
    it is about, as the searcher wrote it: for the answer, not for a log.
    """

    def __init__(self, code: str, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Missing:
    """`:missing`: whether the resource has no value."""

    missing: bool


@dataclass(frozen=True, slots=True)
class Token:
    """`code`, `system|code`, `|code` (system ""), `system|` (code None); without a bar the system is None: any."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class OfType:
    """`:of-type`: an identifier's type (system and code) and its value."""

    system: str
    code: str
    value: str


@dataclass(frozen=True, slots=True)
class InSet:
    """`:in`, `:above` and `:below`: the codes of a value set or of a branch of one system's tree, by system."""

    codes: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Text:
    """A string, unescaped, as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Date:
    prefix: str
    lexeme: str


@dataclass(frozen=True, slots=True)
class Number:
    """`margin` is half of the last digit given: 5.4 means 5.35 to 5.45."""

    prefix: str
    value: Decimal
    margin: Decimal


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit: system and code; a code without a system is a code or a unit; without both, any unit."""

    number: Number
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """`Type/id`, `id` (type None) or a URL with the version of a canonical."""

    type: str | None
    id: str | None
    url: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Uri:
    uri: str


@dataclass(frozen=True, slots=True)
class Composite:
    parts: "tuple[Operand, ...]"


Operand: TypeAlias = Missing | Token | OfType | InSet | Text | Date | Number | Quantity | Reference | Uri | Composite


def split(text: str, separator: str) -> list[str]:
    """The parts between unescaped separators, with their escapes still in them."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    """`\\,` `\\|` `\\$` and `\\\\` as the characters they stand for. Raises SearchError for any other use of a
    backslash.
    """
    if "\\" not in text:
        return text
    if re.fullmatch(r"(?:[^\\]|\\[,|$\\])*", text, re.DOTALL) is None:
        raise SearchError("invalid", "a backslash stands before , | $ or another backslash only")
    return re.sub(r"\\(.)", r"\1", text)


def _given(text: str) -> str:
    """A value that has to be there: an empty one would match nothing, or all, depending on whom you ask."""
    if not text:
        raise SearchError("invalid", "a value is empty")
    return unescape(text)


def read_missing(text: str) -> Operand:
    if text not in ("true", "false"):
        raise SearchError("invalid", "expected true or false")
    return Missing(text == "true")


def read_text(text: str) -> Operand:
    """A text to be found at the start of others: something has to be left of it, for nothing is the start of them
    all.
    """
    wanted = _given(text)
    if not normalise(wanted):
        raise SearchError("invalid", "nothing is left without marks and punctuation")
    return Text(wanted)


# --- token ------------------------------------------------------------------------------------------------------------


def read_token(text: str, modifier: str, base: str) -> Operand:
    """A token, or what `:in`, `:of-type`, `:above` and `:below` take in its place."""
    if modifier == "in":
        return _value_set(_given(text))
    parts = split(text, "|")
    if modifier == "of-type":
        return _of_type(parts)
    if modifier in ("above", "below"):
        return _branch(parts, modifier)
    if len(parts) > 2:
        raise SearchError("invalid", "expected system|code")
    if len(parts) == 1:
        return Token(None, _given(text))
    system, code = unescape(parts[0]), unescape(parts[1])
    if not system and not code:
        raise SearchError("invalid", "a value is empty")
    return Token(system, code or None)


def _of_type(parts: list[str]) -> Operand:
    if len(parts) != 3 or not all(parts):
        raise SearchError("invalid", "expected system|code|value")
    return OfType(*map(unescape, parts))


def _value_set(url: str) -> Operand:
    """A value set that the schema lists: those the standard itself requires somewhere."""
    name = url.partition("|")[0].removeprefix(VALUESET)
    try:
        codes = schema().valueset(name)
    except KeyError:
        codes = None
    if codes is None:
        raise SearchError("not-supported", "no value set of that URL here")
    return InSet(codes)


def _branch(parts: list[str], modifier: str) -> Operand:
    """A code with all that stand above or below it in the tree of its system, where we hold that tree."""
    if len(parts) != 2 or not all(parts):
        raise SearchError("not-supported", "expected system|code: a tree belongs to a system")
    system, code = map(unescape, parts)
    parents = schema().parents.get(system)
    if parents is None:
        raise SearchError("not-supported", "the tree of that code system is not here")
    if modifier == "above":
        return InSet({system: _upwards(parents, code)})
    return InSet({system: frozenset({code, *(one for one in parents if code in _upwards(parents, one))})})


def _upwards(parents: Mapping[str, str], code: str) -> frozenset[str]:
    """A code and its ancestors."""
    found: set[str] = set()
    while code and code not in found:
        found.add(code)
        code = parents.get(code, "")
    return frozenset(found)


# --- string, uri ------------------------------------------------------------------------------------------------------


def read_string(text: str, modifier: str, base: str) -> Operand:
    return Text(_given(text)) if modifier == "exact" else read_text(text)


def read_uri(text: str, modifier: str, base: str) -> Operand:
    return Uri(_given(text))


# --- date, number, quantity -------------------------------------------------------------------------------------------

PREFIXES: Final = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def _prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def read_date(text: str, modifier: str, base: str) -> Operand:
    prefix, lexeme = _prefixed(_given(text))
    try:
        temporal.interval(lexeme, UTC)
    except temporal.TemporalError as exc:
        raise SearchError("invalid", str(exc)) from exc
    return Date(prefix, lexeme)


def read_number(text: str, modifier: str, base: str) -> Operand:
    return _number(_given(text))


def _number(text: str) -> Number:
    prefix, lexeme = _prefixed(text)
    if len(lexeme) > MAX_LEXEME or _NUMBER.fullmatch(lexeme) is None:
        raise SearchError("invalid", "not a number")
    value = Decimal(lexeme)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > MAX_EXPONENT:
        raise SearchError("invalid", "not a number of reasonable size")
    return Number(prefix, value, Decimal((0, (5,), exponent - 1)))


def read_quantity(text: str, modifier: str, base: str) -> Operand:
    """`number`, `number|system|code` or `number||code`."""
    parts = split(text, "|")
    number = _number(_given(parts[0]))
    if len(parts) == 1:
        return Quantity(number, None, None)
    if len(parts) != 3:
        raise SearchError("invalid", "expected number|system|code")
    system, code = unescape(parts[1]), unescape(parts[2])
    if system and not code:
        raise SearchError("invalid", "a unit system without a code")
    return Quantity(number, system or None, code or None)


# --- reference --------------------------------------------------------------------------------------------------------

_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+", re.DOTALL)


def read_reference(text: str, modifier: str, base: str) -> Operand:
    """A reference in any of its forms; a `:Type` modifier is the type of a bare id."""
    if modifier == "identifier":
        return read_token(text, "", base)
    raw = _given(text)
    local = raw.removeprefix(f"{base.rstrip('/')}/") if base else raw
    if _ID.fullmatch(local):
        return Reference(modifier or None, local)
    if _ABSOLUTE.fullmatch(local):
        url, _, version = local.partition("|")
        return Reference(None, None, literal_reference(url).url, version or None)
    found = literal_reference(local)
    if found.id is None or found.type not in schema().resource_types:
        raise SearchError("invalid", "not a reference")
    if modifier and found.type != modifier:
        raise SearchError("invalid", "the reference is of another type than the modifier says")
    return Reference(found.type, found.id)


Reader: TypeAlias = Callable[[str, str, str], Operand]

# (text, modifier, base) -> operand
READERS: Final[Mapping[str, Reader]] = {
    "date": read_date,
    "number": read_number,
    "quantity": read_quantity,
    "reference": read_reference,
    "string": read_string,
    "token": read_token,
    "uri": read_uri,
}
