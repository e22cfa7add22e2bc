"""Vital signs: R4 holds an Observation with one of their LOINC codes to its profile unasked.

Whatever format they come from: the category, a second code where the profile asks for it beside the one sent, units of
the profile; what is no such quantity goes to a note, with a reason. A blood pressure is one Observation whose halves
are components. Codes and units are `vitals.csv`, spellings of units `vital_units.csv`.

Source: FHIR R4 profiles vitalsigns, heartrate, bp and their kin.
"""

import csv
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from mappings.fhir import values

Json = dict[str, Any]

LOINC: Final = "http://loinc.org"
CATEGORY: Final[Json] = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]
}
PANEL, SYSTOLIC, DIASTOLIC = "85354-9", "8480-6", "8462-4"
WHOLE_DAY: Final = len("2025-01-01")  # vs-1: a time of at least a day
_BOTH: Final = re.compile(r"\s*(\d{1,3}(?:\.\d)?)\s*/\s*(\d{1,3}(?:\.\d)?)\s*", re.ASCII)  # 120/80
_OF_A_COMPONENT: Final = ("code", "dataAbsentReason", "interpretation", "referenceRange")
_FOLDER: Final = Path(__file__).parent


@cache
def codes() -> Mapping[str, tuple[str, ...]]:
    """LOINC code → UCUM codes its profile allows."""
    return {row["code"]: tuple(row["units"].split()) for row in _rows("vitals.csv")}


@cache
def beside() -> Mapping[str, str]:
    """LOINC code → the code that its profile asks for beside it."""
    return {row["code"]: row["also"] for row in _rows("vitals.csv") if row["also"]}


@cache
def _spellings() -> Mapping[str, str]:
    return {row["unit"]: row["code"] for row in _rows("vital_units.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def vital_code(body: Json) -> str | None:
    """The vital-sign code of an Observation or component."""
    for coding in body.get("code", {}).get("coding", ()):
        if coding.get("system") == LOINC and coding.get("code") in codes():
            found: str = coding["code"]
            return found
    return None


def has_day(body: Json) -> bool:
    """Whether it has a time of at least a day, or a period."""
    return "effectivePeriod" in body or len(body.get("effectiveDateTime", "")) >= WHOLE_DAY


def fit(body: Json, code: str) -> None:
    """Category, value and codes as the profile of this code has them; the time is the caller's."""
    known = body.get("category", [])
    if CATEGORY not in known:
        body["category"] = [*known, {"coding": [dict(CATEGORY["coding"][0])]}]
    _fit_value(body, codes()[code])
    also = beside().get(code)
    if PANEL in (code, also) and "component" not in body:
        _halves(body)
    if also is not None:
        add_code(body, also)


def add_code(body: Json, code: str) -> None:
    """A LOINC code beside those that are there."""
    codings = body["code"].get("coding", [])
    if all(coding.get("code") != code for coding in codings):
        body["code"] = {**body["code"], "coding": [{"system": LOINC, "code": code}, *codings]}


def component(body: Json) -> Json:
    """What an Observation says, as a component of another."""
    return {name: value for name, value in body.items() if name in _OF_A_COMPONENT or name.startswith("value")}


def fit_component(body: Json) -> None:
    """The unit of a component, as the profile of its code has it; another stays as it was sent."""
    quantity = body.get("valueQuantity")
    code = vital_code(body)
    if quantity is not None and code is not None:
        _repair(quantity, codes()[code])


def missing(code: str, reason: str = "unknown") -> Json:
    """A component that nothing is known of."""
    return {"code": {"coding": [{"system": LOINC, "code": code}]}, "dataAbsentReason": _reason(reason)}


def _reason(code: str) -> Json:
    return {"coding": [{"system": values.REASONS, "code": code}]}


def _fit_value(body: Json, units: tuple[str, ...]) -> None:
    """The profile's unit, or the value as a note."""
    if not units:
        return
    quantity = body.get("valueQuantity")
    if quantity is not None and _repair(quantity, units):
        return
    names = [name for name in body if name.startswith("value")]
    for name in names:
        written = readable(body.pop(name))
        body.pop("_" + name, None)
        if written:
            body.setdefault("note", []).append({"text": written})
    for each in body.get("component", ()):
        inner = each.get("valueQuantity")
        if inner is not None:
            _repair(inner, units)
    if "dataAbsentReason" not in body:
        body["dataAbsentReason"] = _reason("as-text" if names else "unknown")


def _halves(body: Json) -> None:
    """A blood pressure in one value: its halves, where it is written as two numbers; a reason for each, where not."""
    ratio = body.get("valueRatio", {})
    ends = [str(ratio.get(end, {}).get("value", "")) for end in ("numerator", "denominator")]
    written = [readable(body.pop(name)) for name in [name for name in body if name.startswith("value")]]
    if all(ends):
        written = ["/".join(ends)]
    both = _BOTH.fullmatch(written[0]) if written else None
    halves: list[Json] = []
    for index, code in enumerate((SYSTOLIC, DIASTOLIC), 1):
        half = missing(code, "as-text" if written else "unknown")
        if both is not None:
            del half["dataAbsentReason"]
            half["valueQuantity"] = {"value": Decimal(both[index]), **values.unit("mm[Hg]", "mm[Hg]")}
        halves.append(half)
    body["component"] = halves
    body.pop("dataAbsentReason", None)
    if written and both is None:
        body.setdefault("note", []).append({"text": written[0]})


def _repair(quantity: Json, units: tuple[str, ...]) -> bool:
    """Whether the quantity has, or now has, a unit of the profile."""
    if "value" not in quantity:
        return False
    written = quantity.get("code") or quantity.get("unit", "")
    code = written if written in units else _spellings().get(written) or _spellings().get(quantity.get("unit", ""))
    if code not in units:
        return False
    quantity |= {"system": values.UCUM, "code": code}
    quantity.setdefault("unit", code)
    return True


def readable(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, dict):
        if "value" in value:
            return " ".join(str(value[part]) for part in ("comparator", "value", "unit") if part in value)
        if "text" in value or "coding" in value:
            codings = value.get("coding", ())
            shown = [coding.get("display") or coding.get("code", "") for coding in codings]
            return str(value.get("text") or next((each for each in shown if each), ""))
        return " ".join(filter(None, (readable(each) for each in value.values())))
    return "" if value is None else str(value)
