"""Unique device identifiers: the human readable form taken apart into device identifier and production identifiers.

    parse("(01)00848486001048(11)181015(10)ABC999(21)bi1234", 2020) -> Udi(issuer=GS1, device="00848486001048", …)

A form that none of the three agencies publishes gives an Udi without parts: the whole string stays what it is. Dates of
two digits a year are of the hundred years around a year that the caller gives. A date that is none is left out.
Source: FDA, UDI formats by FDA-accredited issuing agency 1.3; GS1 General Specifications (dates: century, day 00);
ANSI/HIBC 2.6 (secondary data); ISBT 128; FHIR R4 Device.udiCarrier (issuers).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

_ISSUERS: Final = "http://hl7.org/fhir/NamingSystem/"
GS1: Final = _ISSUERS + "gs1-di"
HIBCC: Final = _ISSUERS + "hibcc-dI"
ICCBBA: Final = _ISSUERS + "iccbba-other-di"
ICCBBA_BLOOD: Final = _ISSUERS + "iccbba-blood-di"
_LONGEST: Final = 256  # characters; the longest that is published has 87
_CENTURY: Final = 100


@dataclass(frozen=True, slots=True)
class Udi:
    """What an identifier says; "" for what it does not. Dates are as FHIR writes them, of a month or of a day."""

    issuer: str = ""
    device: str = ""
    lot: str = ""
    serial: str = ""
    made: str = ""
    expires: str = ""
    distinct: str = ""
    bad_date: bool = False


def parse(written: str, year: int) -> Udi:
    """One identifier; `year` is about when it was written down."""
    text = "".join(written.split())
    if len(text) > _LONGEST:
        return Udi()
    if text.startswith("("):
        return _gs1(text, year)
    if text.startswith("+"):
        return _hibcc(text, year)
    if text.startswith(("=", "&")):
        return _iccbba(text)
    if (bare := _BARE_GS1.match(text)) is not None:
        return _gs1(_in_brackets(bare), year)
    return Udi()


# GS1 ------------------------------------------------------------------------------------------------------------------

_GS1_PART: Final = re.compile(r"\((\d{2})\)([^(]*)", re.ASCII)
_GTIN: Final = re.compile(r"\d{14}\Z", re.ASCII)
# Without brackets only parts of fixed length can be told apart, and one of any length at the end.
_BARE_GS1: Final = re.compile(r"(?:01)?(\d{14})((?:1[17]\d{6})*)(?:(10|21)([^()]{1,20}))?\Z", re.ASCII)
_NAMES: Final = {"01": "device", "10": "lot", "21": "serial", "11": "made", "17": "expires"}


def _in_brackets(bare: re.Match[str]) -> str:
    device, fixed, identifier, rest = bare.groups()
    dates = "".join(f"({fixed[at : at + 2]}){fixed[at + 2 : at + 8]}" for at in range(0, len(fixed), 8))
    return f"(01){device}{dates}" + (f"({identifier}){rest}" if identifier else "")


def _gs1(text: str, year: int) -> Udi:
    found = {_NAMES[name]: value for name, value in _GS1_PART.findall(text) if name in _NAMES and value}
    if _GTIN.match(found.get("device", "")) is None:
        return Udi()
    udi = Udi(GS1, found["device"], found.get("lot", ""), found.get("serial", ""))
    for name in ("made", "expires"):
        if name in found:
            udi = _dated(udi, name, _two_digits(found[name], year))
    return udi


def _dated(udi: Udi, name: str, value: str) -> Udi:
    if not value:
        return replace(udi, bad_date=True)
    return replace(udi, made=value) if name == "made" else replace(udi, expires=value)


def _two_digits(written: str, near: int) -> str:
    """YYMMDD; day 00 is the month."""
    if len(written) != 6 or not (written.isascii() and written.isdigit()):
        return ""
    year = _near(int(written[:2]), near)
    if written[4:] == "00":
        return f"{year:04}-{written[2:4]}" if "01" <= written[2:4] <= "12" else ""
    return _day(year, int(written[2:4]), int(written[4:]))


def _near(two: int, near: int) -> int:
    """Of a year's last two digits: from 49 years before to 50 years after."""
    base = near - near % _CENTURY
    distance = two - near % _CENTURY
    return base + two + (-_CENTURY if distance > 50 else _CENTURY if distance < -49 else 0)


def _day(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return ""


def _day_of_year(year: int, written: str) -> str:
    day = int(written)
    found = date(year, 1, 1) + timedelta(days=day - 1)
    return found.isoformat() if day and found.year == year else ""


# HIBCC ----------------------------------------------------------------------------------------------------------------

_PRIMARY: Final = re.compile(r"\+([A-Z][A-Z0-9]{3}[A-Z0-9]{1,18}[0-9])", re.ASCII)
_QUANTITY: Final = re.compile(r"\$\$(\+?)(?:8\d{2}|9\d{5})", re.ASCII)
# after $$: how the date is written, by the first digit -> where year, month, day stand, digits in all
_FORMS: Final = {"2": "MMDDYY", "3": "YYMMDD", "4": "YYMMDDHH", "5": "YYJJJ", "6": "YYJJJHH"}


def _hibcc(text: str, year: int) -> Udi:
    """The last character of the whole is its check character."""
    primary, *secondary = text[:-1].split("/")
    if (found := _PRIMARY.fullmatch(primary)) is None:
        return Udi()
    udi = Udi(HIBCC, found[1])
    for part in secondary:
        udi = _secondary(udi, part, year)
    return udi


def _secondary(udi: Udi, part: str, year: int) -> Udi:
    if part.startswith("$"):
        return _dollar(udi, part, year)
    if part.startswith("S"):
        return replace(udi, serial=part[1:])
    if part.startswith(("16D", "14D")):
        written = part[3:]
        whole = len(written) == 8 and written.isascii() and written.isdigit()
        value = _day(int(written[:4]), int(written[4:6]), int(written[6:])) if whole else ""
        return _dated(udi, "made" if part[1] == "6" else "expires", value)
    if len(part) >= 5 and part[:5].isascii() and part[:5].isdigit():  # YYJJJ and a lot
        udi = _dated(udi, "expires", _by_form("YYJJJ", part[:5], year))
        return replace(udi, lot=part[5:])
    return udi


def _dollar(udi: Udi, part: str, year: int) -> Udi:
    """`$` a lot, `$+` a serial number; `$$` the same after a date."""
    part = _QUANTITY.sub(r"$$\1", part, count=1)
    bare = part.lstrip("$")
    dated = part.startswith("$$")
    serial = bare.startswith("+")
    rest = bare.removeprefix("+")
    if dated and rest[:1] == "7":
        rest = rest[1:]
    elif dated and rest[:1] in _FORMS:
        form = _FORMS[rest[0]]
        udi = _dated(udi, "expires", _by_form(form, rest[1 : 1 + len(form)], year))
        rest = rest[1 + len(form) :]
    elif dated and rest[:1] in ("0", "1"):
        udi = _dated(udi, "expires", _by_form("MMYY", rest[:4], year))
        rest = rest[4:]
    return replace(udi, serial=rest) if serial else replace(udi, lot=rest)


def _by_form(form: str, written: str, near: int) -> str:
    if len(written) != len(form) or not (written.isascii() and written.isdigit()):
        return ""
    part = {
        name: written[form.index(name) : form.index(name) + len(name)]
        for name in ("YY", "MM", "DD", "JJJ")
        if name in form
    }
    year = _near(int(part["YY"]), near)
    if "JJJ" in part:
        return _day_of_year(year, part["JJJ"])
    if "DD" in part:
        return _day(year, int(part["MM"]), int(part["DD"]))
    return f"{year:04}-{part['MM']}" if "01" <= part["MM"] <= "12" else ""


# ICCBBA ---------------------------------------------------------------------------------------------------------------

# ISBT 128 data identifiers, those of two characters first; `=` and a letter or digit is a donation number
_ISBT: Final = re.compile(r"(=/|=,|=>|=\}|&,1|=\)|&\)|=(?=[A-Z0-9]))([^=&]*)", re.ASCII)
_MILLENNIA: Final = {"0": 2000, "9": 1900}  # the first of three digits of a year


def _iccbba(text: str) -> Udi:
    udi = Udi()
    for mark, value in _parts(text):
        if mark in ("=/", "=)"):
            udi = replace(udi, issuer=ICCBBA if mark == "=/" else ICCBBA_BLOOD, device=value)
        elif mark == "=,":
            udi = replace(udi, serial=value)
        elif mark in ("&,1", "&)"):
            udi = replace(udi, lot=value)
        elif mark == "=":
            udi = replace(udi, distinct=value)
        else:
            udi = _dated(udi, "expires" if mark == "=>" else "made", _three_digits(value))
    return udi if udi.device else Udi()


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for found in _ISBT.finditer(text):
        if found[2]:
            yield found[1], found[2]


def _three_digits(written: str) -> str:
    """YYYJJJ: the last three digits of the year, the day in it."""
    if len(written) != 6 or not (written.isascii() and written.isdigit()) or written[0] not in _MILLENNIA:
        return ""
    return _day_of_year(_MILLENNIA[written[0]] + int(written[1:3]), written[3:])
