"""Null flavors: why a value is not there, in FHIR's words.

`null_flavors.csv` has columns `flavor, reason, says_more, source`. Documents carry dozens of NI and UNK, and noise
hides facts: a reason is written only where R4 requires the element, which its row says, or where the flavor says more
than that nothing is here. Some writers put dates or words into nullFlavor; these count as unknown.
Source: HL7 v3 datatypes R1, NullFlavor; FHIR R4 data-absent-reason.
"""

import csv
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.datatypes.registry import Json, datatype
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_FILE: Final = Path(__file__).with_name("null_flavors.csv")


class Flavor(NamedTuple):
    """What one flavor becomes; `says_more` than that there is no value."""

    reason: str
    says_more: bool


_UNKNOWN: Final = Flavor("unknown", False)


@cache
def flavors() -> dict[str, Flavor]:
    """Every flavor of HL7's, by its code."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {row["flavor"]: Flavor(row["reason"], bool(row["says_more"])) for row in csv.DictReader(file)}


def flavor_of(node: "Element | str", ctx: "Context") -> Flavor | None:
    """The flavor of an element, or of the text of its attribute; None where it has none."""
    written = node if isinstance(node, str) else node.get("nullFlavor")
    if written is None:
        return None
    found = flavors().get(written) or flavors().get(written.strip().upper())
    if found is None:
        ctx.issue("bad-null-flavor", None if isinstance(node, str) else node)
        return _UNKNOWN
    return found


def tell_strange(ctx: "Context") -> None:
    """The flavors of a document that are none and that no row has come across, each at its place."""
    strange = [el for el in ctx.doc.flavored if (el.get("nullFlavor") or "").strip().upper() not in flavors()]
    told = {each.place for each in ctx.issues if each.code == "bad-null-flavor"} if strange else set()
    ctx.row = ""
    for el in strange:
        if ctx.doc.place(el) not in told:
            ctx.issue("bad-null-flavor", el)


def absent_reason(node: "Element | str", ctx: "Context") -> str | None:
    """The code of data-absent-reason that its flavor means, whatever the flavor; None where it has none."""
    found = flavor_of(node, ctx)
    return None if found is None else found.reason


def says_more(node: "Element | str", ctx: "Context", *, end: bool = False) -> Json | None:
    """The extension data-absent-reason, where the flavor says more than that there is no value. An `end` that is
    unknown is a fact: something is over, and no one knows since when."""
    found = flavor_of(node, ctx)
    if found is None or not (found.says_more or (end and found.reason == "unknown" and _is_unknown(node))):
        return None
    return {"url": values.DATA_ABSENT_REASON, "valueCode": found.reason}


def _is_unknown(node: "Element | str") -> bool:
    """Only UNK: NI and the others say nothing about an end."""
    written = node if isinstance(node, str) else node.get("nullFlavor", "")
    return written.strip().upper() == "UNK"


def absence(node: "Element | str", ctx: "Context") -> Json | None:
    """An element that holds nothing but its reason, where that says more than nothing."""
    found = says_more(node, ctx)
    return None if found is None else {"extension": [found]}


def absent_primitive(node: "Element | str", ctx: "Context") -> Any:
    """The same for a primitive, as a datatype function returns it: a sibling without a value, or None."""
    found = absence(node, ctx)
    return None if found is None else (None, found)


@datatype("NF[code]", gives="code", reads={"@nullFlavor"})
def nf_code(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """Why it is absent, as a code of data-absent-reason; through the row's map where it has one."""
    if vocab is not None:
        written = node if isinstance(node, str) else node.get("nullFlavor", "")
        hit = vocab.concepts.get(written.strip().upper())
        return None if hit is None else hit.code
    return absent_reason(node, ctx)


@datatype("NF[CodeableConcept]", gives="CodeableConcept", reads={"@nullFlavor"})
def nf_concept(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """The same for elements like Observation.dataAbsentReason."""
    reason = nf_code(node, ctx, vocab)
    return None if reason is None else {"coding": [{"system": values.REASONS, "code": reason}]}
