"""When two Patients are certainly one person: the rule of `Patient/$match`.

Certain is either of
- an identifier: the same value in the same system, neither of them `old` where it is asked for
- the same family name, given names, birth date and gender, and one address or one telecom of both

Names and addresses are compared normalised (case, accents, punctuation); given names as far as both state them, the
first at least; telephone numbers by their digits, e-mail addresses without case. Likeness is never enough: what is
missing on one side is not the same.

Source: FHIR R4 patient-operation-match.html (which leaves the rule to the server).
"""

import re
from collections.abc import Iterator

from mappings.fhir.codec import Json
from mappings.fhir.search_text import normalise

FULL_DATE = 10
DIGITS = 6  # a shorter number is an extension: it reaches somebody else in another house
OLD = "old"
_NOT_DIGITS = re.compile(r"\D")

Identifier = tuple[str, str]
Name = tuple[str, tuple[str, ...]]


def certain(asked: Json, held: Json) -> bool:
    """Whether `held` is certainly the person `asked` describes."""
    if not set(identifiers(asked)).isdisjoint(every_identifier(held)):
        return True
    return _named_alike(asked, held) and _reached_alike(asked, held)


def is_enough(asked: Json) -> bool:
    """Whether a certain match is possible at all."""
    if any(identifiers(asked)):
        return True
    born = len(asked.get("birthDate", "")) == FULL_DATE and "gender" in asked
    return born and any(_names(asked)) and (any(_addresses(asked)) or any(_telecoms(asked)))


def identifiers(patient: Json) -> Iterator[Identifier]:
    """System and value of those in use."""
    for one in patient.get("identifier", ()):
        if one.get("use") != OLD and one.get("system") and one.get("value"):
            yield one["system"], one["value"]


def every_identifier(patient: Json) -> Iterator[Identifier]:
    """Old ones too: a merge gives the survivor the number of the record that went into hers."""
    for one in patient.get("identifier", ()):
        if one.get("system") and one.get("value"):
            yield one["system"], one["value"]


def _named_alike(asked: Json, held: Json) -> bool:
    birth, gender = asked.get("birthDate", ""), asked.get("gender")
    if len(birth) != FULL_DATE or gender is None or gender == "unknown":
        return False
    if birth != held.get("birthDate") or gender != held.get("gender"):
        return False
    return any(_same_name(one, other) for one in _names(asked) for other in _names(held))


def _names(patient: Json) -> Iterator[Name]:
    for name in patient.get("name", ()):
        family, given = name.get("family"), [one for one in name.get("given", ()) if one]
        if family and given:
            yield normalise(family), tuple(map(normalise, given))


def _same_name(one: Name, other: Name) -> bool:
    shorter = min(len(one[1]), len(other[1]))
    return one[0] == other[0] and bool(one[0]) and one[1][:shorter] == other[1][:shorter] and bool(one[1][0])


def _reached_alike(asked: Json, held: Json) -> bool:
    if not set(_telecoms(asked)).isdisjoint(_telecoms(held)):
        return True
    return any(_same_address(one, other) for one in _addresses(asked) for other in _addresses(held))


def _telecoms(patient: Json) -> Iterator[tuple[str, str]]:
    for one in patient.get("telecom", ()):
        value, system = one.get("value"), one.get("system")
        if not value or one.get("use") == OLD:
            continue
        if system == "email":
            yield system, value.strip().casefold()
        elif system in ("phone", "sms"):
            digits = _NOT_DIGITS.sub("", value)
            if len(digits) >= DIGITS:
                yield "phone", digits.removeprefix("00")


def _addresses(patient: Json) -> Iterator[Json]:
    """Those that say a street and a place."""
    for one in patient.get("address", ()):
        line = normalise(" ".join(part for part in one.get("line", ()) if part))
        if line and one.get("use") != OLD and (one.get("postalCode") or one.get("city")):
            places = {name: normalise(one[name]) for name in ("postalCode", "city", "country") if one.get(name)}
            yield {"line": line, **places}


def _same_address(one: Json, other: Json) -> bool:
    """The same street, one place that both say, and none that contradicts; a city may be spelled in two ways."""
    if one["line"] != other["line"]:
        return False
    said = [name for name in ("postalCode", "city", "country") if name in one and name in other]
    same = {name for name in said if one[name] == other[name]}
    if "postalCode" in said:
        return "postalCode" in same and ("country" not in said or "country" in same)
    return "city" in same and ("country" not in said or "country" in same)
