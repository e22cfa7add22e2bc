"""Builders for the FHIR R4 datatypes that HL7 v2 and CDA share.

Plain dicts, never text of JSON. What is None or empty is left out, so that absent stays absent; a builder that ends
with nothing returns None. Reading the source format is the caller's; these know FHIR only.
Source: FHIR R4 datatypes (http://hl7.org/fhir/R4/datatypes.html).
"""

from typing import Any, Final

Json = dict[str, Any]

# Our own extensions and naming systems. A URN, because it must name things and never be fetched.
CANONICAL: Final = "urn:chartbridge"
SOURCE_LEXEME: Final = f"{CANONICAL}:source-lexeme"  # valueString: a date or time as it was sent
SOURCE_CODE: Final = f"{CANONICAL}:source-code"  # valueCoding: a code that a required binding does not know
BY_PLACE: Final = f"{CANONICAL}:by-place"  # valueBoolean, on a reference: only the order of lines tells this one apart

STRUCTURE: Final = "http://hl7.org/fhir/StructureDefinition/"
ALTERNATE_CODES: Final = STRUCTURE + "alternate-codes"
DATA_ABSENT_REASON: Final = STRUCTURE + "data-absent-reason"
UCUM: Final = "http://unitsofmeasure.org"
REASONS: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


def present(**members: Any) -> Json | None:
    """The members that have a value; None if none has. A trailing underscore keeps a Python keyword apart."""
    found = {
        name.rstrip("_"): value for name, value in members.items() if value is not None and value != [] and value != {}
    }
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


def coding(system: str | None, code: str | None, display: str | None = None, version: str | None = None) -> Json | None:
    return present(system=system, version=version, code=code, display=display)


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
    return present(
        use=use,
        type=type_,
        system=system,
        value=value,
        period=period_,
        assigner={"display": assigner} if assigner else None,
    )


def quantity(
    value: Any, *, unit: str | None = None, system: str | None = None, code: str | None = None,
    comparator: str | None = None,
) -> Json | None:  # fmt: skip
    if value is None:
        return None
    return present(value=value, comparator=comparator, unit=unit, system=system, code=code)


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


def reference(target: str | None, display: str | None = None) -> Json | None:
    return present(reference=target, display=display)


def annotation(text: str | None, time: str | None = None, author: str | None = None) -> Json | None:
    return present(text=text, time=time, authorString=author) if text else None
