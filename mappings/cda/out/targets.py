"""Where a row writes: the path of an element or attribute below the element of its map, and how it is found or made.

    target    = "." | step *("/" step) ["/" "@" name] | "@" name
    step      = name ["*"] ["[" "@" name "='" value "'" *(" and " "@" name "='" value "'") "]"]

A step takes the child that an earlier row made with the same attributes, else makes it; with `*` it makes one of its
own for each value. Names are those of `document.short`: `value`, `sdtc:raceCode`, `pharm:formCode`.
Source: CDA R2 (POCD_MT000040).
"""

import re
from dataclasses import dataclass

from mappings.cda.document import XSI, XSI_TYPE
from mappings.cda.element import SDTC, V3

PHARMACY = "urn:epsos-org:ep:medication"  # eHDSI until its wave 6
NAMESPACES = {None: V3, "sdtc": SDTC, "xsi": XSI}
_PREFIXES = {"": V3, "sdtc": SDTC, "pharm": PHARMACY}

_STEP = re.compile(r"((?:(?:sdtc|pharm):)?[A-Za-z][A-Za-z0-9]*)(\*?)(?:\[(.+)\])?\Z")
_TEST = re.compile(r"@([A-Za-z:]+)='([^']*)'\Z")


@dataclass(frozen=True, slots=True)
class Step:
    """One element: its short name, the attributes that tell it from others, whether each value has one of its own."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    each: bool = False

    @property
    def tag(self) -> str:
        return clark(self.name)


@dataclass(frozen=True, slots=True)
class Target:
    """Elements from the map's own down, and the attribute of the last one ("" for the element itself)."""

    steps: tuple[Step, ...]
    attribute: str = ""


def clark(name: str) -> str:
    """`{urn:hl7-org:sdtc}raceCode` of `sdtc:raceCode`."""
    prefix, _, local = name.rpartition(":")
    return f"{{{_PREFIXES[prefix]}}}{local}"


def parse_target(text: str) -> Target:
    """Raises ValueError with what is wrong."""
    if text == ".":
        return Target(())
    parts = _split(text)
    attribute = ""
    if parts and parts[-1].startswith("@"):
        attribute = parts.pop()[1:]
    return Target(tuple(map(_step, parts)), XSI_TYPE if attribute == "xsi:type" else attribute)


def _split(text: str) -> list[str]:
    """At slashes outside of brackets."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "/" and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _step(text: str) -> Step:
    if (match := _STEP.match(text)) is None:
        raise ValueError(f"not a step: {text}")
    attributes = []
    for each in match[3].split(" and ") if match[3] else ():
        if (test := _TEST.match(each)) is None:
            raise ValueError(f"not an attribute: {each}")
        attributes.append((XSI_TYPE if test[1] == "xsi:type" else test[1], test[2]))
    return Step(match[1], tuple(attributes), bool(match[2]))
