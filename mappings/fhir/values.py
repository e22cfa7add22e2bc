"""Builders for the FHIR R4 datatypes that HL7 v2 and CDA share, and the numbers people write in both.

Plain dicts, never text of JSON. What is None or empty is left out, so that absent stays absent; a builder that ends
with nothing returns None. Reading the source format is the caller's; these know FHIR only.
Source: FHIR R4 datatypes (http://hl7.org/fhir/R4/datatypes.html).
"""

import base64
import hashlib
import re
from decimal import Decimal
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mappings.fhir.codec import number
from mappings.fhir.schema import schema

Json = dict[str, Any]

# Our own extensions and naming systems. A URN, because it must name things and never be fetched.
CANONICAL: Final = "urn:chartbridge"
SOURCE_LEXEME: Final = f"{CANONICAL}:source-lexeme"  # valueString: a date or time as it was sent
SOURCE_CODE: Final = f"{CANONICAL}:source-code"  # valueCoding: a code that a required binding does not know
QUALIFIER: Final = f"{CANONICAL}:qualifier"  # name and value, valueCodeableConcept: what narrows a coded term
BY_PLACE: Final = f"{CANONICAL}:by-place"  # valueBoolean, on a reference: only the order of lines tells this one apart

STRUCTURE: Final = "http://hl7.org/fhir/StructureDefinition/"
TRANSLATION: Final = STRUCTURE + "translation"  # on a text: lang, content
ORDINAL_VALUE: Final = STRUCTURE + "ordinalValue"  # on a coding: its place in an order
ALTERNATE_CODES: Final = STRUCTURE + "alternate-codes"
CENSUS_TRACT: Final = STRUCTURE + "iso21090-ADXP-censusTract"
DATA_ABSENT_REASON: Final = STRUCTURE + "data-absent-reason"
UCUM: Final = "http://unitsofmeasure.org"
HL7_SYSTEMS: Final = "http://terminology.hl7.org/CodeSystem/"  # a display of these is HL7's to word
REASONS: Final = HL7_SYSTEMS + "data-absent-reason"
_PATHLESS: Final = ("urn:oid:", "urn:uuid:")
_NUMBER: Final = re.compile(r"([<>]=?)? ?([+-]?)(\d*)(?:\.(\d*))?", re.ASCII)
_PLAIN_START: Final = frozenset("123456789")  # of digits whose Decimal is written as they are; 0.0000001 is not
INLINE_BYTES: Final = 32 * 1024  # larger data becomes a Binary
ANY_BYTES: Final = "application/octet-stream"
LONGEST_NUMBER: Final = 64  # characters; beyond it the value is no measurement


def present(**members: Any) -> Json | None:
    """The members that have a value; None if none has. A trailing underscore keeps a Python keyword apart."""
    found: Json = {}
    for name, value in members.items():
        if isinstance(value, str) or (value is not None and value != [] and value != {}):
            found[name.rstrip("_") if name.endswith("_") else name] = value
    return found or None


def extension(url: str, kind: str, value: Any) -> Json:
    """`extension(url, "String", "x")`."""
    return {"url": url, f"value{kind}": value}


def put(target: Json, name: str, value: Any, *extensions: Json) -> None:
    """Set a primitive and its sibling: `put(period, "start", None, lexeme)` makes `_start` alone."""
    if value is not None:
        target[name] = value
    if extensions:
        target.setdefault(f"_{name}", {}).setdefault("extension", []).extend(extensions)


def lexeme(text: str) -> Json:
    """The extension that keeps what was sent beside what could be said."""
    return {"url": SOURCE_LEXEME, "valueString": text}


def absent(reason: str) -> Json:
    """The sibling of a primitive that must be there and is not; `reason` from data-absent-reason."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": reason}]}


def alternate(concept: Json) -> Json:
    """The sibling of a code that could not be mapped: what was sent, beside the element."""
    return {"extension": [{"url": ALTERNATE_CODES, "valueCodeableConcept": concept}]}


def scoped(namespace: str, kind: str, name: str) -> str:
    """A URI of one feed for a name that no one registered. An OID or UUID takes no path: there it stands in ours."""
    if namespace.startswith(_PATHLESS):
        namespace = f"{CANONICAL}:{namespace[4:]}"
    if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        name = quote(name, safe="-._~")  # a URI holds no blanks
    return f"{namespace}/{kind}/{name}"


def coding(system: str | None, code: str | None, display: str | None = None, version: str | None = None) -> Json | None:
    found: Json = {}
    if system is not None:
        found["system"] = system
    if version is not None:
        found["version"] = version
    if code is not None:
        found["code"] = code
    if display is not None:
        found["display"] = display
    return found or None


def translate(coding_: Json, lang: str, content: str) -> None:
    """Add what a coding is called in another language beside its display."""
    made: Json = {
        "url": TRANSLATION,
        "extension": [{"url": "lang", "valueCode": lang}, {"url": "content", "valueString": content}],
    }
    beside = coding_.setdefault("_display", {}).setdefault("extension", [])
    if all(known["extension"][1:] != made["extension"][1:] for known in beside):
        beside.append(made)


def qualifier(name: Json | None, value: Json) -> Json:
    """The extension of a concept that narrows it: `name` says how, `value` what to."""
    inner = [extension("name", "CodeableConcept", name)] if name else []
    return {"url": QUALIFIER, "extension": [*inner, extension("value", "CodeableConcept", value)]}


def concept(codings: list[Json], text: str | None = None) -> Json | None:
    return present(coding=codings, text=text)


def identifier(
    value: str | None,
    system: str | None = None,
    *,
    type_: Json | None = None,
    use: str | None = None,
    period_: Json | None = None,
    assigner: str | None = None,
) -> Json | None:
    """None without a value: a type or a system alone identifies nobody."""
    if value is None:
        return None
    found: Json = {}
    if use is not None:
        found["use"] = use
    if type_:
        found["type"] = type_
    if system is not None:
        found["system"] = system
    found["value"] = value
    if period_:
        found["period"] = period_
    if assigner:
        found["assigner"] = {"display": assigner}
    return found


def quantity(
    value: Any, *, unit: str | None = None, system: str | None = None, code: str | None = None,
    comparator: str | None = None,
) -> Json | None:  # fmt: skip
    if value is None:
        return None
    return present(value=value, comparator=comparator, unit=unit, system=system, code=code)


def number_lexeme(written: str) -> tuple[str | None, str] | None:
    """(comparator, JSON number) of a number as people write it: `+5` is 5, `.5` is 0.5, `007` is 7. None for others."""
    match = _NUMBER.fullmatch(written)
    if match is None or not (match[3] or match[4]) or len(written) > LONGEST_NUMBER:
        return None
    whole = match[3].lstrip("0") or "0"
    sign = "-" if match[2] == "-" else ""
    return match[1], f"{sign}{whole}.{match[4]}" if match[4] else sign + whole


def unit(shown: str, code: str | None) -> Json:
    """The unit of a quantity: as written, and its code where it is one of UCUM."""
    return {"unit": shown, "system": UCUM, "code": code} if code else {"unit": shown}


def measured(written: str, unit_: Json | None) -> Json | None:
    """A Quantity of a written number, whose digits it keeps; None where it is no number (the caller keeps the text)."""
    if written[:1] in _PLAIN_START and written[-1] != "." and written.isascii():
        if written.replace(".", "", 1).isdecimal() and len(written) <= LONGEST_NUMBER:
            return {"value": Decimal(written), **unit_} if unit_ else {"value": Decimal(written)}
    read = number_lexeme(written)
    if read is None:
        return None
    made: Json = {"value": number(read[1])}
    if read[0]:
        made["comparator"] = read[0]
    if unit_:
        made.update(unit_)
    return made


def money(value: Any, currency: str | None) -> Json | None:
    return present(value=value, currency=currency)


@cache
def currencies() -> frozenset[str]:
    """ISO 4217, as R4 binds it."""
    listed = schema().valueset("currencies") or {}
    return frozenset(code for codes in listed.values() for code in codes)


def range_(low: Json | None, high: Json | None) -> Json | None:
    return present(low=low, high=high)


def ratio(numerator: Json | None, denominator: Json | None) -> Json | None:
    """A ratio needs both ends (rat-1)."""
    if numerator is None or denominator is None:
        return None
    return {"numerator": numerator, "denominator": denominator}


def period(
    start: tuple[str | None, list[Json]] | None = None, end: tuple[str | None, list[Json]] | None = None
) -> Json | None:
    """Each bound is (dateTime, extensions of the primitive)."""
    found: Json = {}
    for name, bound in (("start", start), ("end", end)):
        if bound is not None:
            put(found, name, bound[0], *bound[1])
    return found or None


def attachment(media: str | None, data: bytes) -> Json:
    """An attachment that holds its bytes."""
    found: Json = {"contentType": media} if media else {}
    found["data"] = msgspec.to_builtins(data)  # base64, in half the time of Python's own
    found["size"] = len(data)
    return found


def sha1(data: bytes) -> str:
    """The hash of an attachment, as R4 defines it."""
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def reference(target: str | None, display: str | None = None) -> Json | None:
    if target is None:
        return None if display is None else {"display": display}
    return {"reference": target} if display is None else {"reference": target, "display": display}


def annotation(text: str | None, time: str | None = None, author: str | None = None) -> Json | None:
    return present(text=text, time=time, authorString=author) if text else None


def every(period_: Any, unit_: str, *, times: int = 1, at_most: Any = None) -> Json:
    """Timing.repeat of what recurs `times` in each period; `at_most` is the longest, where the period is a range."""
    made: Json = {"frequency": times, "period": period_, "periodUnit": unit_}
    return made if at_most is None else {**made, "periodMax": at_most}


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}:\S+", re.ASCII)
_SCHEMES: Final = {
    "mailto": "email", "tel": "phone", "sms": "sms", "fax": "fax",
    "x-text-fax": "fax", "x-text-tel": "phone", "modem": "other",  # HL7 v3 URLScheme
}  # fmt: skip


def contact_system(value: str) -> str | None:
    """ContactPoint.system by the look of the value; None for what could be a number."""
    if _SCHEME.fullmatch(value):
        return _SCHEMES.get(value.split(":", 1)[0].lower(), "url")
    name, at_sign, host = value.partition("@")
    return "email" if at_sign and name and host and " " not in value else None


def name_line(name: Json | None) -> str | None:
    """A HumanName as one line: prefix, given, family, suffix; its text where it has no parts."""
    if name is None:
        return None
    pieces: list[Any] = [*name.get("prefix", ()), *name.get("given", ()), name.get("family"), *name.get("suffix", ())]
    return " ".join(piece for piece in pieces if piece) or name.get("text")


def census_tract(address: Json, tract: str) -> None:
    """Add the tract: its extension stands at the first line, so there must be one."""
    lines = address.setdefault("line", [])
    beside = {"extension": [extension(CENSUS_TRACT, "String", tract)]}
    if not lines:
        lines.append(None)
    address["_line"] = [beside, *([None] * (len(lines) - 1))]
