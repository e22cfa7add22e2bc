"""The syntax of FHIR's primitive types: one test per type, of a decoded JSON value.

Each test says yes or no and is quick where the answer is yes. The patterns are the schema's own, with these additions
from the prose: dates exist in the calendar, strings hold something to read and no control characters, integers fit 32
bits, base64 can be decoded. What a code may be is `validate.py`'s, from the value sets; narrative is
`narrative.py`'s.

Source: FHIR R4 4.0.1 §2.24.0.1 (primitive types).
"""

import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from mappings.fhir.codec import lexeme
from mappings.fhir.schema import schema

Test = Callable[[Any], bool]

INTEGER_MAX: Final = 2**31 - 1  # FHIR's integers are 32 bits wide and signed
INTEGER_MIN: Final = -(2**31)

# A media type (RFC 2045 §5.1) with parameters, whose values are often written with spaces and without the quotes they
# need; a bare token is one too, for `json` and `xml` are formats of a CapabilityStatement.
_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE: Final = re.compile(rf"{_WORD}(?:/{_WORD}(?:\s*;[^\x00-\x1f]*)?)?", re.ASCII)

_UNREADABLE: Final = re.compile(r"[^ \r\n\t\S]|[\x00-\x08\x0b\x0c\x0e-\x1f]", re.ASCII)


def _pattern(kind: str) -> Callable[[str], re.Match[str] | None]:
    """The schema's pattern of a type. ASCII, so that `[0-9]` and `\\s` mean no other script's."""
    declared = schema().types[kind].pattern
    if declared is None:
        raise RuntimeError(f"{kind} has no pattern")
    return re.compile(declared, re.ASCII).fullmatch


_code, _date, _datetime, _instant = _pattern("code"), _pattern("date"), _pattern("dateTime"), _pattern("instant")
_id, _oid, _time, _uuid, _decimal = (
    _pattern("id"),
    _pattern("oid"),
    _pattern("time"),
    _pattern("uuid"),
    _pattern("decimal"),
)


def is_boolean(value: Any) -> bool:
    """`true` or `false`, not `1`."""
    return value is True or value is False


def is_integer(value: Any) -> bool:
    """A JSON integer of 32 bits; `1.0` is none."""
    return value.__class__ is int and INTEGER_MIN <= value <= INTEGER_MAX


def is_unsigned(value: Any) -> bool:
    """Zero or more."""
    return value.__class__ is int and 0 <= value <= INTEGER_MAX


def is_positive(value: Any) -> bool:
    """One or more."""
    return value.__class__ is int and 1 <= value <= INTEGER_MAX


def is_decimal(value: Any) -> bool:
    """A JSON number in whatever form it was written; NaN and infinity, which code could make, have none."""
    kind = value.__class__
    if kind is int:
        return True
    if kind is Decimal:
        return bool(value.is_finite())
    return kind is msgspec.Raw and _decimal(lexeme(value)) is not None


def is_string(value: Any) -> bool:
    """Something to read: not empty, not blank, no control characters but tab, CR and LF."""
    if value.__class__ is not str:
        return False
    if not value or value.isspace():
        return False
    return value.isprintable() or _UNREADABLE.search(value) is None


def is_code(value: Any) -> bool:
    """No white space at the ends, and single white space inside."""
    if value.__class__ is not str:
        return False
    text: str = value
    return text.isalnum() or text.replace("-", "").isalnum() or _code(text) is not None


def is_uri(value: Any) -> bool:
    """No white space, and not empty."""
    if value.__class__ is not str or not value:
        return False
    if value.isprintable() and " " not in value:
        return True
    return not any(letter in " \t\n\r\f\v" for letter in value)


def is_id(value: Any) -> bool:
    """1 to 64 letters, digits, `-` and `.`."""
    return value.__class__ is str and _id(value) is not None


def is_oid(value: Any) -> bool:
    """`urn:oid:` and an object identifier."""
    return value.__class__ is str and _oid(value) is not None


def is_uuid(value: Any) -> bool:
    """`urn:uuid:` and a UUID."""
    return value.__class__ is str and _uuid(value) is not None


def is_time(value: Any) -> bool:
    """`hh:mm:ss`, with fractions."""
    return value.__class__ is str and _time(value) is not None


def in_calendar(text: str) -> bool:
    """Whether the day that a well-formed date or time begins with exists: 30 February does not."""
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def _plain_day(text: str) -> bool:
    """A day as `yyyy-mm-dd`; the patterns, which know the other forms, cost several times as much."""
    return len(text) == 10 and text[4] == "-" == text[7] and in_calendar(text)


def _plain_moment(text: str) -> bool:
    """The same of `yyyy-mm-ddThh:mm:ss+hh:mm`, whose offset is below 14:00."""
    if len(text) != 25 or text[10] != "T" or text[20:22] > "13" or text[23] > "5":
        return False
    if not (text[4] == "-" == text[7] and text[13] == ":" == text[16] == text[22] and text[19] in "+-"):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_date(value: Any) -> bool:
    """A year, a month or a day that exists."""
    if value.__class__ is not str:
        return False
    if _plain_day(value):
        return True
    return _date(value) is not None and (len(value) < 10 or in_calendar(value))


def is_datetime(value: Any) -> bool:
    """As a date, or to the second with its zone."""
    if value.__class__ is not str:
        return False
    if _plain_moment(value):
        return True
    return _datetime(value) is not None and (len(value) < 10 or in_calendar(value))


def is_instant(value: Any) -> bool:
    """To the second or finer, with its zone."""
    if value.__class__ is not str:
        return False
    return _plain_moment(value) or (_instant(value) is not None and in_calendar(value))


def is_base64(value: Any) -> bool:
    """Base64 that decodes, white space aside. A function, for the schema's pattern backtracks without end."""
    if value.__class__ is not str or not value:
        return False
    try:
        binascii.a2b_base64("".join(value.split()), strict_mode=True)
    except ValueError:
        return False
    return True


def is_media_type(value: Any) -> bool:
    """A media type with its parameters; the binding `mimetypes` (BCP 13) cannot be listed."""
    return value.__class__ is str and _MEDIA_TYPE.fullmatch(value) is not None


def is_any_string(value: Any) -> bool:
    """A string; what is in it is judged elsewhere."""
    return value.__class__ is str and bool(value)


PRIMITIVES: Final[Mapping[str, Test]] = {
    "base64Binary": is_base64,
    "boolean": is_boolean,
    "canonical": is_uri,
    "code": is_code,
    "date": is_date,
    "dateTime": is_datetime,
    "decimal": is_decimal,
    "id": is_id,
    "instant": is_instant,
    "integer": is_integer,
    "markdown": is_string,
    "oid": is_oid,
    "positiveInt": is_positive,
    "string": is_string,
    "time": is_time,
    "unsignedInt": is_unsigned,
    "uri": is_uri,
    "url": is_uri,
    "uuid": is_uuid,
    "xhtml": is_any_string,
}

# What JSON calls a value, with its article; and what it must be for a primitive, where that is no string.
_JSON_TYPES: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    Decimal: "a number",
    msgspec.Raw: "a number",
    type(None): "null",
}
JSON_TYPE_OF: Final = {
    "boolean": "a boolean",
    "decimal": "a number",
    "integer": "a number",
    "positiveInt": "a number",
    "unsignedInt": "a number",
}


def json_type(value: Any) -> str:
    """What JSON calls a decoded value. Anything else was put there by code."""
    return _JSON_TYPES.get(value.__class__, "no JSON value")
