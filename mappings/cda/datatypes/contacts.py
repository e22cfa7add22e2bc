"""Where to find someone: AD and TEL.

An address keeps its country as written and its lines in order; where only the parts of a line are given, house number
and street stand as in its country (`house_numbers.csv`: `country, stands, source`), else as they came. A telecom's
scheme decides what it is.
Source: HL7 v3 datatypes R1, AD, ADXP, TEL, AddressUse; FHIR R4 Address, ContactPoint and their extensions.
"""

import csv
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mappings.cda.datatypes.names import loose_text
from mappings.cda.datatypes.nulls import absence, absent_primitive
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import folded, inline
from mappings.cda.datatypes.timing import gts_bounds
from mappings.cda.datatypes.uses import set_use, uses_of
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap, load

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_HOUSE_NUMBERS: Final = Path(__file__).with_name("house_numbers.csv")
_SYSTEM: Final = "v3-AddressUse"
_LINES: Final = (
    "streetAddressLine",
    "deliveryAddressLine",
    "careOf",
    "additionalLocator",
    "unitType",
    "unitID",
    "postBox",
)
_STREET: Final = ("streetName", "streetNameBase", "streetNameType", "direction")
_NUMBER: Final = ("houseNumber", "houseNumberNumeric", "buildingNumberSuffix")
_SIMPLE: Final = ("city", "state", "postalCode", "country")
_AD: Final = frozenset(
    {"#text", "@use", "@nullFlavor", "county", "precinct", "censusTract", "delimiter", "useablePeriod",
     *_LINES, *_STREET, *_NUMBER, *_SIMPLE}
)  # fmt: skip
_TEL: Final = frozenset({"@value", "@use", "@nullFlavor", "useablePeriod", "#text"})
_TYPES: Final = frozenset({"PST", "PHYS"})
_DIALLED: Final = frozenset(
    {"tel", "fax", "sms", "mailto", "x-text-fax", "x-text-tel", "modem"}
)  # the rest are addresses
_LONGEST: Final = 2_048  # characters of a telecom


@cache
def _house_numbers() -> dict[str, str]:
    with _HOUSE_NUMBERS.open(encoding="utf-8", newline="") as file:
        return {row["country"]: row["stands"] for row in csv.DictReader(file)}


# Addresses -----------------------------------------------------------------------------------------------------------


@datatype("AD[Address]", gives="Address", reads=_AD)
def ad_address(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    if isinstance(node, str):
        found = folded(node, ctx)
        return {"text": found} if found else None
    made = _parts(node, ctx) if len(node) else {}
    if text := loose_text(node, ctx):
        made["text"] = text
    if not made:
        return absence(node, ctx)
    codes = uses_of(node, ctx)
    if codes:
        set_use(made, codes, "cda-address-use.address-use", _SYSTEM, node, ctx, said=_TYPES)
        _type(made, codes)
    _valid(made, node, ctx)
    return made


@datatype("AD[string]", gives="string", reads=_AD)
def ad_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """A place as one line: the birth place is a text."""
    if isinstance(node, str):
        return folded(node, ctx)
    if text := loose_text(node, ctx):
        return text
    made = _parts(node, ctx) if len(node) else {}
    names = ("city", "district", "state", "postalCode", "country")
    pieces = [*(made.get("line") or ()), *(made.get(name) for name in names)]
    found = ", ".join(piece for piece in pieces if piece) or None
    return absent_primitive(node, ctx) if found is None else found


def _parts(node: "Element", ctx: "Context") -> Json:
    found: dict[str, list[str]] = {}
    for each in node:
        if (text := folded(inline(each), ctx)) is not None:
            found.setdefault(each.short, []).append(text)
    made: Json = {}
    lines = _lines(found)
    if "county" in found:
        lines += found.get("precinct", [])
    if lines:
        made["line"] = lines
    for name in _SIMPLE:
        if name in found:
            made[name] = ", ".join(dict.fromkeys(found[name]))
    if district := found.get("county") or found.get("precinct"):
        made["district"] = ", ".join(dict.fromkeys(district))
    if tract := found.get("censusTract"):
        values.census_tract(made, tract[0])
    return made


def _lines(found: dict[str, list[str]]) -> list[str]:
    """Whole lines as they are; a line of street and number where there is none that says it already."""
    whole = found.get("streetAddressLine", [])
    street = " ".join(text for name in _STREET if name in found for text in found[name])
    numbered = " ".join(text for name in _NUMBER[:2] if name in found for text in found[name][:1])
    if "houseNumber" in found and "houseNumberNumeric" in found:
        numbered = found["houseNumber"][0]  # the second repeats the first as a number
    numbered += "".join(found.get("buildingNumberSuffix", [])[:1])
    lines = list(whole)
    for line in _street_lines(found, street, numbered):
        if not any(line in each for each in whole):
            lines.append(line)
    for name in ("unitType", "postBox", "careOf", "additionalLocator", "deliveryAddressLine"):
        lines += _unit(found) if name == "unitType" else found.get(name, [])
    return lines


def _unit(found: dict[str, list[str]]) -> list[str]:
    """`Apt 3`."""
    line = " ".join([*found.get("unitType", []), *found.get("unitID", [])])
    return [line] if line else []


def _street_lines(found: dict[str, list[str]], street: str, numbered: str) -> list[str]:
    if not street or not numbered:
        return [line for line in (street, numbered) if line]
    country = " ".join(found.get("country", [])[:1]).upper()
    stands = _house_numbers().get(country)
    if stands is None:  # as it came
        names = list(found)
        first = min(names.index(name) for name in _STREET if name in found)
        stands = "before" if min(names.index(name) for name in _NUMBER if name in found) < first else "after"
    return [f"{numbered} {street}" if stands == "before" else f"{street} {numbered}"]


def _type(made: Json, codes: list[str]) -> None:
    known = load("cda-address-use.address-type").concepts
    types = list(dict.fromkeys(known[code].code for code in codes if code in known))
    if types:
        made["type"] = types[0] if len(types) == 1 else "both"


def _valid(made: Json, node: "Element", ctx: "Context") -> None:
    if len(node) and (useable := node.kids.get("useablePeriod")) and (period := gts_bounds(useable, ctx)):
        made["period"] = period


# Telecommunication ---------------------------------------------------------------------------------------------------


@datatype("TEL[ContactPoint]", gives="ContactPoint", reads=_TEL)
def tel_contact(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    found = _value(node, ctx)
    if found is None:
        return None if isinstance(node, str) else absence(node, ctx)
    system, value = found
    made: Json = {"system": system, "value": value}
    if isinstance(node, str):
        return made
    codes = uses_of(node, ctx)
    if codes:
        known = load("cda-telecom-use.contact-point-system").concepts
        systems = [code for code in codes if code in known]
        if systems and system in ("phone", "other"):
            made["system"] = known[systems[0]].code
        set_use(made, codes, "cda-telecom-use.contact-point-use", _SYSTEM, node, ctx, said=frozenset(systems))
    _valid(made, node, ctx)
    return made


@datatype("TEL[string]", gives="string", reads=_TEL)
def tel_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """The number or address alone."""
    found = _value(node, ctx)
    if found is None:
        return None if isinstance(node, str) else absent_primitive(node, ctx)
    return found[1]


def _value(node: "Element | str", ctx: "Context") -> tuple[str, str] | None:
    """(system, value): the scheme decides; without one, the look."""
    written = node if isinstance(node, str) else (node.get("value") or inline(node))
    text = folded(written, ctx)
    if text is None:
        return None
    here = None if isinstance(node, str) else node
    if len(text) > _LONGEST:
        ctx.issue("over-long", here)
        return None
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if colon and scheme in _DIALLED:
        if not (value := _plain(rest.strip())):
            ctx.issue("bad-value", here)
            return None
        return values.contact_system(f"{scheme}:x") or "phone", value
    if (system := values.contact_system(text)) is not None:
        return system, text
    if rest.startswith("//") or text.lower().startswith("www."):
        return "url", text
    return ("phone" if any(letter.isdigit() for letter in text) else "other"), text


def _plain(text: str) -> str:
    """Percent-encoding undone where letters come of it."""
    if "%" not in text:
        return text
    found = unquote(text, errors="replace").strip()
    return found if found.isprintable() and "\ufffd" not in found else text
