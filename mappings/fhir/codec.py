"""JSON and FHIR resources: the only code that turns one into the other.

`decode` and `encode` keep every number as it was written; `encode` gives the canonical form that is hashed, sealed,
stored and served: UTF-8, no white space, members sorted by code point, shortest legal escapes. `check_bytes` is the
first layer of validation, for bytes from outside: size, UTF-8, depth, lengths, members named twice. What the members
mean is `validate.py`'s.

Source: RFC 8259 (JSON), FHIR R4 4.0.1 §2.6.2 (JSON representation) and §2.24.0.1 (decimals keep their precision). RFC
8785 is another form, which rewrites numbers, and serves signatures only.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final

import msgspec

from mappings.errors import MappingError

Json = dict[str, Any]

BOM: Final = b"\xef\xbb\xbf"
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What bytes from outside may ask of us."""

    max_bytes: int = 16 * MIB
    max_depth: int = 64
    max_string: int = MIB  # characters, FHIR's own limit of a string; base64 is limited by `max_bytes` only
    max_lexeme: int = 64  # characters of one number
    max_exponent: int = 999  # beyond any measurement; arithmetic on 1e999999999 would fail far from here


RESOURCE: Final = Limits()
TRANSACTION: Final = Limits(max_bytes=50 * MIB)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a resource, as an OperationOutcome issue says it. Never a value of the resource."""

    severity: str  # "error" or "warning"
    code: str  # http://hl7.org/fhir/issue-type
    expression: str  # FHIRPath of the element
    text: str


class BytesError(MappingError):
    """Bytes that are no JSON object we would read."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.expression}: {fault.text}" for fault in faults))
        self.faults = faults


class _BadNumber(ValueError):
    """A number beyond the limits, met inside msgspec."""


def number(lexeme: str) -> Decimal | msgspec.Raw:
    """A number that encodes to the lexeme it came from: `0.0000001` and `1e2` are not what Decimal gives back."""
    return _kept(lexeme, Decimal(lexeme))


def _kept(lexeme: str, value: Decimal) -> Decimal | msgspec.Raw:
    return value if str(value) == lexeme else msgspec.Raw(lexeme.encode())


def decimal(value: int | Decimal | msgspec.Raw) -> Decimal:
    """The value of a decoded number, however it is kept."""
    if isinstance(value, Decimal):
        return value
    return Decimal(value if isinstance(value, int) else bytes(value).decode())


def lexeme(value: int | Decimal | msgspec.Raw) -> str:
    """A decoded number as it was written."""
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value)


_decoder = msgspec.json.Decoder(float_hook=number)
_encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")


# JSON that we wrote ourselves; what comes from outside goes through `check_bytes`
decode: Callable[[bytes | str], Json] = _decoder.decode


def encode(value: Any) -> bytes:
    """The canonical bytes of a resource or of any part of one. Raises BytesError for what cannot be written."""
    try:
        return _encoder.encode(value)
    except RecursionError as exc:
        raise _refuse("structure", "is too deep to be written") from exc
    except ValueError as exc:  # half of a surrogate pair, an integer of thousands of digits
        raise _refuse("value", "has a value that JSON cannot hold") from exc


# -- the bytes layer --


def check_bytes(data: bytes, limits: Limits = RESOURCE) -> Json:
    """Decode bytes from outside within limits, or raise BytesError. What they say is `validate.py`'s to judge.

    1. size, and a byte order mark dropped
    2. JSON in strict UTF-8, its numbers within limits
    3. one object, not too deep, its strings not too long
    4. no member named twice: of two, readers take either, so what was checked need not be what is read

    Bytes too small for a fault of 3, which the value gives back as they are, need no walk through the value.
    """
    data = data.removeprefix(BOM)
    if len(data) > limits.max_bytes:  # 1
        raise _refuse("too-long", f"is longer than {limits.max_bytes} bytes")
    value = _decode_strictly(data, limits)  # 2
    if not isinstance(value, dict):
        raise _refuse("structure", "is not a JSON object")
    if _is_small(data, limits) and _encoder.encode(value) == data:
        return value
    members = measure(value, limits, long=len(data) > limits.max_string)  # 3
    if _names_at_most(data) != members and _names(data) != members:  # 4
        raise BytesError(tuple(_duplicates(data)))
    return value


def _refuse(code: str, text: str) -> BytesError:
    return BytesError((Fault("error", code, "Resource", text),))


@cache
def _strict(limits: Limits) -> Callable[[bytes], Any]:
    def bounded(lexeme: str) -> Decimal | msgspec.Raw:
        if len(lexeme) > limits.max_lexeme:
            raise _BadNumber
        try:
            value = Decimal(lexeme)
        except InvalidOperation as exc:  # an exponent that Decimal itself cannot hold
            raise _BadNumber from exc
        if value and abs(value.adjusted()) > limits.max_exponent:
            raise _BadNumber
        return _kept(lexeme, value)

    return msgspec.json.Decoder(float_hook=bounded).decode


def _decode_strictly(data: bytes, limits: Limits) -> Any:
    """JSON, or a BytesError; a message of the parser could quote the data, so none is passed on."""
    try:
        return _strict(limits)(data)
    except UnicodeDecodeError as exc:
        raise _refuse("structure", "is not UTF-8") from exc
    except RecursionError as exc:
        raise _refuse("structure", f"is deeper than {limits.max_depth} levels") from exc
    except (_BadNumber, msgspec.ValidationError) as exc:  # the second: an integer of thousands of digits
        raise _refuse("value", "has a number that is too long or too large") from exc
    except msgspec.DecodeError as exc:
        raise _refuse("structure", "is not JSON") from exc


def read_number(text: str, limits: Limits = RESOURCE) -> int | Decimal | msgspec.Raw:
    """What JSON would make of this number, which must have JSON's syntax. Raises BytesError beyond the limits."""
    found: int | Decimal | msgspec.Raw = _decode_strictly(text.encode(), limits)
    return found


_DIGITS: Final = bytes(ord("0") if chr(byte).isdigit() else ord(" ") for byte in range(128)).ljust(256)
_NEXT_REFERENCE: Final = b'},{"reference":'
_LONG_INTEGER: Final = b"0" * 19  # what is shorter fits into 64 bits, and the encoder takes it


def _is_small(data: bytes, limits: Limits) -> bool:
    """Whether no string, depth or integer in these bytes can be beyond the limits: seen at memory speed."""
    return (
        len(data) <= limits.max_string
        and _depth_at_most(data, limits.max_depth) <= limits.max_depth
        and _LONG_INTEGER[: limits.max_lexeme + 1] not in data.translate(_DIGITS)
    )


def _depth_at_most(data: bytes, enough: int) -> int:
    """No less than the depth of canonical bytes: every bracket that opens, but in a list of references the last alone.

    Those close one and open the next. No string holds such bytes: a quote inside one has a backslash before it, and
    one that ends it is never followed by a letter.
    """
    opened = data.count(b"{") + data.count(b"[")
    return opened if opened <= enough else opened - data.count(_NEXT_REFERENCE)


def is_deeper(root: Any, levels: int) -> bool:
    """Whether objects and arrays stand in each other more than so many levels deep."""
    level = [root]
    for _ in range(levels + 1):
        below: list[Any] = []
        for node in level:
            if node.__class__ is dict:
                below += node.values()
            elif node.__class__ is list:
                below += node
        level = [node for node in below if node.__class__ is dict or node.__class__ is list]
        if not level:
            return False
    return True


def measure(root: Json, limits: Limits, *, long: bool) -> int:
    """Count the members of all objects, level by level, and hold depth, strings and integers to their limits.

    `long` says that a string may be beyond its limit. Raises BytesError.
    """
    members = 0
    above, below_zero = 10**limits.max_lexeme, -(10 ** (limits.max_lexeme - 1))  # a minus is a character, too
    level: list[Any] = [root]
    for _ in range(limits.max_depth):
        below: list[Any] = []
        for node in level:
            values = node
            if node.__class__ is dict:
                members += len(node)
                values = node.values()
            if long:
                _measure_strings(values, limits)
            for value in [value for value in values if value.__class__ is not str]:  # most are strings: they cost least
                kind = value.__class__
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is int and not below_zero < value < above:
                    raise _refuse("value", "has a number that is too long or too large")
        if not below:
            return members
        level = below
    raise _refuse("structure", f"is deeper than {limits.max_depth} levels")


def _measure_strings(values: Iterable[Any], limits: Limits) -> None:
    for value in values:
        if isinstance(value, str) and len(value) > limits.max_string and not _BASE64.fullmatch(value):
            raise _refuse("too-long", f"has a string longer than {limits.max_string} characters")


_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\s]*", re.ASCII)
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"([ \t\r\n]*+:)?', re.DOTALL)


def _names_at_most(data: bytes) -> int:
    """No fewer than the names in the bytes, at memory speed: white space aside, a quote and a colon end each.

    No fewer is enough: the members that were read are no more than the names, so where the two agree nothing is hidden.
    """
    return data.translate(None, b" \t\r\n").count(b'":')


def _names(data: bytes) -> int:
    """The names in the bytes, exactly: strings with a colon after them."""
    return sum(1 for string in _STRING.finditer(data) if string[1])


class _Pairs:
    """An object with all its members, repeated ones too."""

    __slots__ = ("members",)

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        self.members = members


def _duplicates(data: bytes) -> Iterator[Fault]:
    """Each member that is named twice, by its path."""
    root = json.loads(data, object_pairs_hook=_Pairs, parse_float=str)
    named = next((value for name, value in root.members if name == "resourceType" and isinstance(value, str)), "")
    stack: list[tuple[str, Any]] = [(named if named.isascii() and named.isalpha() else "Resource", root)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, _Pairs):
            seen: set[str] = set()
            for name, value in node.members:
                here = f"{path}.{name}" if name.isidentifier() and name.isascii() else path
                if name in seen:
                    yield Fault("error", "structure", here, "is named twice")
                seen.add(name)
                stack.append((here, value))
        elif isinstance(node, list):
            stack.extend((f"{path}[{index}]", item) for index, item in enumerate(node))
