"""Statements that say nothing but which one they are: a reference by number to what is stated elsewhere.

What stands around a product that is not named (`consumable/manufacturedProduct/manufacturedMaterial`, which the schema
wants) says nothing, however deep; neither do templates, and attributes that only say of what class something is.
Source: CDA R2 §4.3.8 (act relationships); eHDSI eDispensation (the prescription that was dispensed, by its number).
"""

from typing import TYPE_CHECKING, Final

from mappings.cda.document import XSI_TYPE
from mappings.cda.element import Element
from mappings.cda.paths import code_of, denied

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

_OF_THE_CLASS: Final = frozenset({
    "nullFlavor", "classCode", "moodCode", "typeCode", "determinerCode", "contextConductionInd", "contextControlCode",
    "inversionInd", XSI_TYPE,
})  # fmt: skip
_NO_WORD: Final = frozenset({"realmCode", "typeId", "templateId"})
_OF_DRUGS: Final = frozenset({"substanceAdministration", "supply"})
_POINTING: Final = _OF_DRUGS | {"observation"}
_NUMBERED: Final = frozenset({"id", "statusCode"})
_DRUG: Final = "DRUG"  # HL7 v3 ActCode: what every statement of a medication is


def says_anything(el: Element) -> bool:
    """Whether an element, or one inside of it, holds a text or an attribute that tells of something."""
    if el.short in _NO_WORD:
        return False
    if (el.text and el.text.strip()) or any(
        name not in _OF_THE_CLASS and value.strip() for name, value in el.attrib.items()
    ):
        return True
    return any(says_anything(each) for each in el)


def is_bare(el: Element, ctx: "Walk") -> bool:
    """Whether a statement within another has a number, perhaps a status, and says nothing. A supply within a medication
    is of what that names: it says that there is one."""
    tag = el.short
    if tag not in _POINTING or el.get("nullFlavor") or denied(el) or ctx.negated:
        return False
    if not any((each.get("root") or "").strip() for each in el.named("id")):
        return False
    owner = el.parent.parent if el.parent is not None else None
    if tag == "supply" and owner is not None and owner.short in _OF_DRUGS:
        return False
    for name, found in el.kids.items():
        if name == "code" and tag in _OF_DRUGS and all(code_of(each) == _DRUG for each in found):
            continue
        if name not in _NUMBERED and any(says_anything(each) for each in found):
            return False
    return True


def names_nothing(order: Element, ctx: "Walk") -> bool:
    """Whether a medication or supply says neither of what nor how much: it is only pointed at."""
    kids = order.kids
    return not any(says_anything(each) for name in ("consumable", "product", "quantity") for each in kids.get(name, ()))
