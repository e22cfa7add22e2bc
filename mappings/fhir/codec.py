"""JSON and FHIR resources: the only code that turns one into the other.

`decode` and `encode` keep every number as it was written; `encode` gives the canonical form that is hashed, sealed, stored and
served: UTF-8, no white space, members sorted by code point, shortest legal escapes. `check_bytes` is the first layer of
validation, for bytes from outside: size, UTF-8, depth, lengths, members named twice. What the members mean is `validate.py`'s.

Source: RFC 8259 (JSON), FHIR R4 §2.6.2 (JSON representation). RFC 8785 is another form (it rewrites numbers) and serves
signatures only.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import msgspec

from mappings.errors import MappingError

Json = dict[str, Any]

BOM = b"\xef\xbb\xbf"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What bytes from outside may ask of us."""

    max_bytes: int = 16 * MIB
    max_depth: int = 64
    max_string_bytes: int = MIB  # FHIR R4 §2.24.0.1: strings SHALL NOT exceed 1 MB
    max_lexeme: int = 64  # characters of one number


RESOURCE = Limits()
TRANSACTION = Limits(max_bytes=50 * MIB)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a resource: severity and code of an OperationOutcome issue, where, and what, without values."""

    severity: str  # "error" or "warning"
    code: str  # http://hl7.org/fhir/issue-type
    expression: str  # FHIRPath of the element
    text: str


class BytesError(MappingError):
    """Bytes that are no JSON object we would read."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.expression}: {fault.text}" for fault in faults))
        self.faults = faults


def number(lexeme: str) -> Decimal | msgspec.Raw:
    """A number that encodes to the lexeme it came from: `0.0000001` and `1e2` are beyond what Decimal gives back."""
    value = Decimal(lexeme)
    if str(value) == lexeme:
        return value
    return msgspec.Raw(lexeme.encode())


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


def decode(data: bytes | str) -> Json:
    """JSON that we wrote ourselves; what comes from outside goes through `check_bytes`."""
    return cast(Json, _decoder.decode(data))


def encode(value: Any) -> bytes:
    """The canonical bytes of a resource or of any part of one."""
    return _encoder.encode(value)
