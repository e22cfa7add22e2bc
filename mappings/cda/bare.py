"""Statements that say nothing but which one they are: a reference by number to what is stated elsewhere.

What stands around a product that is not named (`consumable/manufacturedProduct/manufacturedMaterial`, which the schema
wants) says nothing, however deep; neither do templates, and attributes that only say of what class something is.
Source: CDA R2 §4.3.8 (act relationships); eHDSI eDispensation (the prescription that was dispensed, by its number).
"""

from typing import Any, Final

from mappings.cda.document import XSI_TYPE, Element, short

_OF_THE_CLASS: Final = frozenset({
    "nullFlavor", "classCode", "moodCode", "typeCode", "determinerCode", "contextConductionInd", "contextControlCode",
    "inversionInd", XSI_TYPE,
})  # fmt: skip
_NO_WORD: Final = frozenset({"realmCode", "typeId", "templateId"})


def says_anything(el: Element) -> bool:
    """Whether an element, or one inside of it, holds a text or an attribute that tells of something."""
    if not isinstance(el.tag, str) or short(el.tag) in _NO_WORD:
        return False
    if (el.text and el.text.strip()) or any(
        name not in _OF_THE_CLASS and value.strip() for name, value in el.attrib.items()
    ):
        return True
    return any(says_anything(each) for each in el)


def names_nothing(order: Element, ctx: Any) -> bool:
    """Whether a medication or supply says neither of what nor how much: it is only pointed at."""
    kids = ctx.kids[order]
    return not any(says_anything(each) for name in ("consumable", "product", "quantity") for each in kids.get(name, ()))
