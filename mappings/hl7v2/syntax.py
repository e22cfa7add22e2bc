"""The separators a message brings, and what may stand before its first segment.

Source: HL7 v2.9 §2.5.4, MSH-1 and MSH-2: one to five characters (five, with the truncation character, also below 2.7).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.place import Place

NONE = "\r"  # stands for a separator that MSH-2 does not declare: no line can contain it
SKIP = "\ufeff\x0b\0 \t\r\n"  # what may stand before the header
SKIP_BYTES = b"\x0b\0 \t\r\n"
LINE_END = re.compile(r"\r\n|\r|\n")
HEADERS = frozenset({"MSH", "FHS", "BHS"})


@dataclass(frozen=True, slots=True)
class Separators:
    """MSH-1 and MSH-2. One that is not declared is NONE: where `&` is no separator, "Bed & Breakfast" is text."""

    field: str
    comp: str = NONE
    rep: str = NONE
    esc: str = NONE
    sub: str = NONE
    trunc: str = NONE


def separators(text: str) -> tuple[Separators, bool]:
    """(separators, whether one was declared twice) from text that begins with MSH, FHS or BHS."""
    return _usual(text[:9]) if text[3:4] == text[8:9] != "" else _separators(text)


@lru_cache(maxsize=64)
def _usual(start: str) -> tuple[Separators, bool]:
    """Of four characters behind the first, as nearly every sender declares them."""
    return _separators(start)


def _separators(text: str) -> tuple[Separators, bool]:
    if text[:3].upper() not in HEADERS or len(text) < 4:
        raise UnreadableMessage("no-message", text="the first segment is not MSH")
    field = text[3]
    if field.isalnum() or field.isspace() or not field.isprintable():
        raise UnreadableMessage("bad-separators", Place("MSH", field=1))
    end = min(
        (n for n in (text.find(field, 4, 64), text.find("\r", 4, 64), text.find("\n", 4, 64)) if n > 0), default=-1
    )
    declared = text[4:end] if end > 0 else text[4:64]
    if not 1 <= len(declared) <= 5 or any(c.isalnum() or c.isspace() or not c.isprintable() for c in declared):
        raise UnreadableMessage("bad-separators", Place("MSH", field=2))
    kept = [c if c not in declared[:i] else NONE for i, c in enumerate(declared)]
    return Separators(field, *kept), NONE in kept
