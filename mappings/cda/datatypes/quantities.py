"""Numbers with and without units: PQ, INT, REAL, MO, IVL_PQ, RTO.

A number keeps its lexeme: `1.030`. CDA declares units to be UCUM; what writers put there often is not, so spellings are
repaired by `terminology/ucum.csv` and by `units.csv` here (`unit, code, source`; without a code: UCUM has the symbol,
but writers mean something else by it), and what is no UCUM after that stays text. An element is told by its shape, for
a dose may hold a value or an interval whatever its type is. Bounds of intervals are inclusive unless they say not.
Source: HL7 v3 datatypes R1, PQ, INT, REAL, MO, IVL, RTO; FHIR R4 Quantity, Range, Ratio, Money; UCUM.
"""

import csv
import re
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.datatypes.coded import cd_coding
from mappings.cda.datatypes.nulls import absence, absent_primitive
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import ed_text
from mappings.fhir import values
from mappings.fhir.codec import decimal, number
from mappings.fhir.primitives import INTEGER_MAX, INTEGER_MIN
from mappings.terminology import ucum
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_UNITS: Final = Path(__file__).with_name("units.csv")
_PQ: Final = frozenset({"@value", "@unit", "@nullFlavor", "translation", "low", "high", "center", "width"})
_INT: Final = frozenset({"@value", "@nullFlavor", "low", "high", "center"})
_RTO: Final = frozenset({"numerator", "denominator", "@nullFlavor"})
_PQ_TRANSLATION: Final = values.STRUCTURE + "iso21090-PQ-translation"
_COMMA: Final = re.compile(r"[<>]?=?[+-]?\d*,\d+", re.ASCII)
_EXPONENT: Final = re.compile(r"([+-]?)(\d+)(\.\d+)?[eE]([+-]?\d{1,3})", re.ASCII)  # of xs:double
_LONGEST_UNIT: Final = 256  # characters
_MOST_UNITS: Final = 4096  # spellings remembered
_MOST_TRANSLATIONS: Final = 8  # of one quantity
_OPEN: Final = frozenset({"NINF", "PINF"})  # as an end: there is none
_OF_TIME: Final = frozenset({"s", "min", "h", "d", "wk", "mo", "a"})  # UCUM: what an age or a duration is counted in


# Units ---------------------------------------------------------------------------------------------------------------


@cache
def repairs() -> dict[str, str]:
    """Spelling to UCUM code; "" for a symbol that is UCUM's and not what writers mean."""
    with _UNITS.open(encoding="utf-8", newline="") as file:
        return {row["unit"]: row["code"] for row in csv.DictReader(file)}


@lru_cache(_MOST_UNITS)
def known_unit(written: str) -> Json:
    """`unit`, and `system` and `code` where it is UCUM. Shared by all who ask: not to be changed."""
    code = repairs().get(written)
    if code is None:
        code = ucum.code_for(written) or (written if ucum.is_code(written) else None)
    return values.unit(written, code or None)


def unit_of(written: str | None, ctx: "Context") -> Json | None:
    """The same of an attribute."""
    if not written:
        return None
    if len(written) > _LONGEST_UNIT:
        ctx.issue("over-long")
        return None
    found = written if written.isalnum() else " ".join(written.split())
    return known_unit(found) if found else None


# One number ----------------------------------------------------------------------------------------------------------


def measured(written: str, unit: Json | None, ctx: "Context") -> Json | None:
    """A Quantity of a number's text; None where it is no number."""
    found = written.strip()
    if "," in found and ctx.profile.policy.get("decimal_comma") and _COMMA.fullmatch(found):
        found = found.replace(",", ".")
    if not found:
        return None
    made = values.measured(found, unit)
    if made is None and (match := _EXPONENT.fullmatch(found)) and len(found) <= values.LONGEST_NUMBER:
        sign = "-" if match[1] == "-" else ""
        made = {"value": number(f"{sign}{match[2].lstrip('0') or '0'}{match[3] or ''}e{match[4]}"), **(unit or {})}
    return made


def point(node: "Element", ctx: "Context") -> Json | None:
    """A PQ's own value and unit; a null or missing one gives way to its translation. None where it is no number."""
    written = node.get("value")
    if written:
        made = measured(written, unit_of(node.get("unit"), ctx), ctx)
        if made is None:
            if written.strip():
                ctx.issue("not-a-number", node)
            return None
        if len(node) and "translation" in (kids := node.kids):
            _translate(made, kids["translation"], ctx)
        return made
    if len(node):
        for each in node.named("translation")[:_MOST_TRANSLATIONS]:
            if (made := _translation(each, ctx)) is not None:
                return made
    return None


def _translation(node: "Element", ctx: "Context") -> Json | None:
    """A PQR: the value in another unit, which is a coded value itself."""
    written = node.get("value")
    made = measured(written, None, ctx) if written else None
    if made is None:
        return None
    if (unit := unit_of(node.get("unit"), ctx)) is not None:  # as writers do who take it for a PQ
        return {**made, **unit}
    coding = cd_coding(node, ctx) or {}
    code, system = coding.get("code"), coding.get("system")
    if code is not None and system in (None, values.UCUM):
        made.update(known_unit(code))
    elif code is not None:
        made |= {"system": system, "code": code}
    if (shown := coding.get("display") or code) is not None:
        made["unit"] = shown
    return made


def _translate(made: Json, translations: list["Element"], ctx: "Context") -> None:
    """Keeps the value in other units; a translation that only words the unit is the unit as written."""
    kept: list[Json] = []
    for each in translations[:_MOST_TRANSLATIONS]:
        if (other := _translation(each, ctx)) is not None:
            kept.append(values.extension(_PQ_TRANSLATION, "Quantity", other))
        elif made.get("code", "1") == "1" and len(each) and (original := each.kids.get("originalText")):
            if (words := ed_text(original[0], ctx)) is not None:
                made["unit"] = words
    if kept:
        made["extension"] = kept


# By shape ------------------------------------------------------------------------------------------------------------


class Measure(NamedTuple):
    """What an element of numbers says: one of these."""

    quantity: Json | None = None
    range: Json | None = None
    ratio: Json | None = None


_NOTHING: Final = Measure()


def measure(node: "Element", ctx: "Context") -> Measure:
    """Low and high win over a value beside them, as they say more."""
    if not len(node):
        return Measure(point(node, ctx))
    kids = node.kids
    if "numerator" in kids or "denominator" in kids:
        return Measure(ratio=ratio(node, ctx))
    if "low" in kids or "high" in kids or "width" in kids:
        found = _interval(kids, ctx)
        if found is not _NOTHING:
            return found
    if (own := point(node, ctx)) is None and "center" in kids:
        own = point(kids["center"][0], ctx)
    return Measure(own)


def _interval(kids: dict[str, list["Element"]], ctx: "Context") -> Measure:
    """Both ends are a Range, one is a Quantity with its comparator, equal ones are a point."""
    low_node, high_node = (kids[name][0] if name in kids else None for name in ("low", "high"))
    low, high = _ends(kids, ctx)
    if low is not None and high is not None:
        low.pop("comparator", None)
        high.pop("comparator", None)
        if low == high:
            return Measure(low)
        if low.get("code") == high.get("code") and decimal(low["value"]) > decimal(high["value"]):
            ctx.issue("contradiction", low_node, "low above high")
            return _NOTHING
        if _exclusive(low_node) or _exclusive(high_node):
            ctx.issue("extra-value", low_node, "a bound that is not included")
        return Measure(range={"low": low, "high": high})
    if low is not None:
        return Measure({**low, "comparator": ">" if _exclusive(low_node) else ">="})
    if high is not None:
        return Measure({**high, "comparator": "<" if _exclusive(high_node) else "<="})
    return _NOTHING


def _ends(kids: dict[str, list["Element"]], ctx: "Context") -> tuple[Json | None, Json | None]:
    """Low and high; the one that is missing by way of the width, both by center and width."""
    low, high, center, width = (
        _end(kids[name][0] if name in kids else None, ctx) for name in ("low", "high", "center", "width")
    )
    if width is None or (low is not None and high is not None):
        return low, high
    by = decimal(width["value"])
    if low is not None and _alike(low, width):
        return low, _moved(low, by)
    if high is not None and _alike(high, width):
        return _moved(high, -by), high
    if low is None and high is None and center is not None and _alike(center, width):
        return _moved(center, -by / 2), _moved(center, by / 2)
    ctx.issue("extra-value", kids["width"][0], "a width that computes no end")
    return low, high


def _alike(one: Json, other: Json) -> bool:
    """Whether two amounts can be added: plain ones of the same unit."""
    return all(one.get(name) == other.get(name) for name in ("code", "unit", "comparator")) and "comparator" not in one


def _moved(amount: Json, by: Decimal) -> Json:
    return {**amount, "value": number(str(decimal(amount["value"]) + by))}


def _end(node: "Element | None", ctx: "Context") -> Json | None:
    return None if node is None or node.get("nullFlavor") in _OPEN else point(node, ctx)


def _exclusive(node: "Element | None") -> bool:
    return node is not None and node.get("inclusive", "").strip().lower() in ("false", "0")


def ratio(node: "Element", ctx: "Context") -> Json | None:
    """A ratio has both of its ends, in R4 and in life."""
    kids = node.kids
    ends = [point(kids[name][0], ctx) if name in kids else None for name in ("numerator", "denominator")]
    made = values.ratio(*ends)
    if made is None and any(ends):
        ctx.issue("bad-value", node, "a ratio of one number")
    return made


def as_range(node: "Element", ctx: "Context") -> Json | None:
    """An interval that may be open; None for what is none."""
    kids = node.kids if len(node) else {}
    low, high = _ends(kids, ctx)
    for end in (low, high):
        if end is not None:
            end.pop("comparator", None)
    return values.range_(low, high)


# Row functions -------------------------------------------------------------------------------------------------------


@datatype("PQ[Quantity]", "IVL_PQ[Quantity]", "REAL[Quantity]", "INT[Quantity]", gives="Quantity", reads=_PQ)
def pq_quantity(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """A quantity, of an interval with one end too; both ends have no place here."""
    if isinstance(node, str):
        return _of_text(node, ctx)
    if not len(node):
        made = point(node, ctx)
        return absence(node, ctx) if made is None else made
    found = measure(node, ctx)
    if found.quantity is None and (found.range or found.ratio):
        ctx.issue("bad-value", node, "an interval where one number was expected")
    return found.quantity or absence(node, ctx)


def _of_text(written: str, ctx: "Context") -> Json | None:
    made = measured(written, None, ctx)
    if made is None and written.strip():
        ctx.issue("not-a-number")
    return made


@datatype("PQ[SimpleQuantity]", "IVL_PQ[SimpleQuantity]", gives="Quantity", reads=_PQ)
def pq_simple(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """A quantity without a comparator, which would say another thing without it."""
    made = pq_quantity(node, ctx)
    if made is not None and "comparator" in made:
        ctx.issue("bad-value", detail="a comparator where one number was expected")
        return None
    return made


@datatype("PQ[Duration]", "IVL_PQ[Duration]", gives="Quantity", reads=_PQ)
@datatype("PQ[Age]", "IVL_PQ[Age]", "INT[Age]", gives="Age", reads=_PQ)
def pq_age(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """A time that passed: counted in one of UCUM's units of time, and more than none of it (age-1)."""
    made = pq_quantity(node, ctx)
    if made is None or "value" not in made:
        return made
    if made.get("code") not in _OF_TIME or decimal(made["value"]) <= 0:
        ctx.issue("bad-value", detail="not a length of time")
        return None
    return made


@datatype("IVL_PQ[Range]", "PQ[Range]", gives="Range", reads=_PQ)
def ivl_range(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """An interval, one end of which may be open."""
    if isinstance(node, str):
        return None
    return as_range(node, ctx) or absence(node, ctx)


@datatype("RTO[Ratio]", gives="Ratio", reads=_RTO)
def rto_ratio(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    if isinstance(node, str):
        return None
    return (ratio(node, ctx) if len(node) else None) or absence(node, ctx)


@datatype("MO[Money]", gives="Money", reads={"@value", "@currency", "@nullFlavor"})
def mo_money(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    written = node if isinstance(node, str) else node.get("value")
    made = _of_text(written, ctx) if written else None
    if made is None or "comparator" in made:
        return None if isinstance(node, str) else absence(node, ctx)
    currency = None if isinstance(node, str) else node.get("currency", "").strip().upper() or None
    if currency is not None and currency not in values.currencies():
        ctx.issue("bad-value", detail="not a currency")
        currency = None
    return values.money(made["value"], currency)


# Choices: `value[x]`, `dose[x]`, `rate[x]` ---------------------------------------------------------------------------


def pq_value(node: "Element", ctx: "Context", name: str = "value", *, simple: bool = False) -> Json | None:
    """Whichever shape it has. Where R4 wants a simple quantity, an interval with one end is an open Range."""
    found = measure(node, ctx)
    if found.range is not None:
        return {f"{name}Range": found.range}
    if found.ratio is not None:
        return {f"{name}Ratio": found.ratio}
    if found.quantity is None:
        return None
    if simple and "comparator" in found.quantity:
        opened = as_range(node, ctx)
        if opened is None:
            ctx.issue("bad-value", node, "a comparator where one number was expected")
        return None if opened is None else {f"{name}Range": opened}
    return {f"{name}Quantity": found.quantity}


_ANY_OF: Final = ("PQ", "IVL_PQ", "RTO")


@datatype(*(f"{kind}[value]" for kind in _ANY_OF), gives="value[x]", reads=_PQ | _RTO)
def any_value(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    return None if isinstance(node, str) else pq_value(node, ctx)


@datatype(*(f"{kind}[dose]" for kind in _ANY_OF), gives="dose[x]", reads=_PQ)
def dose(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """Dosage.doseAndRate.dose[x]: a quantity or a range; a ratio is no dose."""
    found = None if isinstance(node, str) else pq_value(node, ctx, "dose", simple=True)
    if found is not None and "doseRatio" in found:
        ctx.issue("bad-value", detail="a ratio where a dose was expected")
        return None
    return found


@datatype(*(f"{kind}[rate]" for kind in _ANY_OF), gives="rate[x]", reads=_PQ | _RTO)
def rate(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """Dosage.doseAndRate.rate[x]."""
    return None if isinstance(node, str) else pq_value(node, ctx, "rate", simple=True)


# Plain numbers -------------------------------------------------------------------------------------------------------


@datatype("REAL[decimal]", "INT[decimal]", "PQ[decimal]", gives="decimal", reads={"@value", "@nullFlavor"})
def real_decimal(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """A bare decimal has no room for a comparator: `<5` is not one."""
    written = node if isinstance(node, str) else node.get("value")
    if not written:
        return None if isinstance(node, str) else absent_primitive(node, ctx)
    made = _of_text(written, ctx)
    if made is not None and "comparator" in made:
        ctx.issue("not-a-number")
        return None
    return None if made is None else made["value"]


def integer_of(node: "Element | str", least: int, ctx: "Context") -> int | None:
    """A whole number within FHIR's integers; of an interval its high end, else its low one."""
    written = node if isinstance(node, str) else node.get("value")
    if not written and not isinstance(node, str) and len(node):
        kids = node.kids
        ends = (kids[name][0].get("value") for name in ("high", "low", "center") if name in kids)
        written = next((end for end in ends if end), None)
    if not written:
        return None
    read = values.number_lexeme(written.strip())
    if read is not None and read[0] is None:
        whole, _, rest = read[1].partition(".")
        if not rest.strip("0") and least <= int(whole) <= INTEGER_MAX:
            return int(whole)
    ctx.issue("not-a-number", None if isinstance(node, str) else node)
    return None


def _whole(node: "Element | str", least: int, ctx: "Context") -> Any:
    found = integer_of(node, least, ctx)
    if found is not None or isinstance(node, str):
        return found
    return absent_primitive(node, ctx)


@datatype("INT[integer]", "IVL_INT[integer]", "PQ[integer]", gives="integer", reads=_INT)
def int_integer(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    return _whole(node, INTEGER_MIN, ctx)


@datatype("INT[unsignedInt]", "IVL_INT[unsignedInt]", "PQ[unsignedInt]", gives="unsignedInt", reads=_INT)
def int_unsigned(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    return _whole(node, 0, ctx)


@datatype("INT[positiveInt]", "IVL_INT[positiveInt]", "PQ[positiveInt]", gives="positiveInt", reads=_INT)
def int_positive(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    return _whole(node, 1, ctx)


@datatype("INT[minus-one]", "IVL_INT[minus-one]", gives="unsignedInt", reads=_INT)
def int_minus_one(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """repeatNumber: CDA counts the first fill, FHIR the repeats after it."""
    found = integer_of(node, 0, ctx)
    if found is None:
        return None if isinstance(node, str) else absent_primitive(node, ctx)
    return max(found - 1, 0)


@datatype("INT[string]", "IVL_INT[string]", gives="string", reads=_INT)
def int_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """A number where FHIR wants text, like a dose's place in its series."""
    found = integer_of(node, INTEGER_MIN, ctx)
    return None if found is None else str(found)
