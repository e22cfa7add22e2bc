"""What kind of observation it is: the category of FHIR, and of results the diagnostic service of HL7 table 0074.

A panel says its service itself (sdtc:category), else by its code, else by its section's; `services.csv` has columns
`system, first, last, service, source`: codes from `first` to `last` of a code system. Nothing said: laboratory.
Source: HL7 table 0074; FHIR R4 observation-category; C-CDA on FHIR, results.
"""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.around import outwards
from mappings.cda.element import Element
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of
from mappings.fhir import values

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]

_FILE: Final = Path(__file__).parent.parent / "services.csv"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"
_BY_DOMAIN: Final = {
    "result": "laboratory", "vital": "vital-signs", "social": "social-history", "pregnancy": "social-history",
    "function": "survey",
}  # fmt: skip
_SCALES: Final = ("2.16.840.1.113883.10.20.22.4.69", "2.16.840.1.113883.10.20.22.4.86")  # C-CDA assessment scales
_LABORATORY, _IMAGING = "LAB", "RAD"
_IMAGES: Final = frozenset({"RAD", "IMG", "CT", "NMR", "NMS", "RUS", "OUS", "VUS", "CUS", "RX", "XRC"})


class _Codes(NamedTuple):
    system: str
    first: str
    last: str
    service: str


@cache
def _table() -> tuple[_Codes, ...]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_Codes(row["system"], row["first"], row["last"], row["service"]) for row in csv.DictReader(file))


def service_of(system: str, code: str) -> str:
    """The diagnostic service of a code; "" where the table does not know it."""
    for row in _table():
        if row.system == system and len(code) == len(row.first) and row.first <= code <= row.last:
            return row.service
    return ""


def service(ctx: "Walk") -> str:
    """The diagnostic service around a statement; "" where nothing says it."""
    for here in outwards(ctx.statement):
        for each in here.named("sdtc:category"):
            if code := code_of(each):
                return code
        for each in _coded(here, ctx):
            if found := service_of(each.get("codeSystem") or "", code_of(each)):
                return found
        if here is ctx.section:
            break
    return ""


def _coded(el: Element, ctx: "Walk") -> Iterator[Element]:
    for code in el.named("code"):
        yield code
        yield from code.named("translation")


def _section_category(ctx: "Walk") -> str:
    row = ctx.section_row
    return str(row.category) if row is not None and row.domain == ctx.domain else ""


def _category(ctx: "Walk") -> str:
    return _section_category(ctx) or _BY_DOMAIN.get(ctx.domain, "")


@resolver("observation-category")
def category(ctx: "Walk") -> Json | None:
    """What kind of observation it is: its section says so, else its domain; of results also what the panel is."""
    code = "imaging" if ctx.domain == "result" and service(ctx) in _IMAGES else _category(ctx)
    return values.concept([{"system": _CATEGORY, "code": code}]) if code else None


@resolver("report-category")
def report_category(ctx: "Walk") -> Json:
    """The diagnostic service of a report."""
    code = service(ctx) or (_IMAGING if _section_category(ctx) == "imaging" else _LABORATORY)
    return {"coding": [{"system": _SERVICE, "code": code}]}


@flag("survey")
def is_survey(el: Element, ctx: "Walk") -> bool:
    """A scale, or one question of it, where the section's category is another."""
    return _category(ctx) != "survey" and bool(ctx.has_template(el, *_SCALES))
