"""Values of narrative attributes, made harmless: what is not known to be good is left out.

Source: CDA R2 §4.3.5 (ID, language, styleCode, href); FHIR R4 §2.4.0 (what XHTML may refer to).
"""

import re
from typing import Final

from mappings.cda.narrative.elements import CLASSES

# A whole URL: nothing that a browser would skip (white space, control characters), nothing that ends an attribute.
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20\x7f-\xa0\"'<>\\^`{|}]+", re.IGNORECASE)
# Pictures inside of the FHIR document, or of the narrative itself; R4 narratives show no others.
_PICTURE: Final = re.compile(
    r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/]+={0,2}"
    r"|Binary/[A-Za-z0-9.-]{1,64}"
    r"|urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|#[A-Za-z0-9.-]{1,64}"
)
_PLAIN: Final = re.compile(r"[\w .:/#-]*")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")  # BCP 47, as XML 1.0 §2.12 has it
_SPAN: Final = re.compile(r"0*[1-9][0-9]{0,2}")
_SCOPES: Final = frozenset(("row", "col", "rowgroup", "colgroup"))
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")  # an xs:ID (NCName), of the letters in use
# What XML 1.0 §2.2 forbids. No parser lets it in; trees made by hand may hold U+FFFE, and FHIR forbids the same.
FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escape_text(text: str) -> str:
    """Text as it may stand in an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def escape(value: str) -> str:
    """A value as it may stand within double quotes."""
    if _PLAIN.fullmatch(value):  # as nearly all are
        return value
    return escape_text(FORBIDDEN.sub("", value)).replace('"', "&quot;")


def anchor(prefix: str, name: str) -> str:
    """The `id` in XHTML of what has this ID in the document; a narrative link ends in `#` and this."""
    return prefix + "_".join(name.split())


def link(href: str) -> str | None:
    """An address outside of the document that may be a link; None for any other."""
    href = href.strip()
    return href if _LINK.fullmatch(href) else None


def picture(url: str) -> str | None:
    return url if _PICTURE.fullmatch(url) else None


def language(value: str) -> str | None:
    value = value.strip()
    return value if _LANGUAGE.fullmatch(value) else None


def classes(style_code: str) -> str | None:
    """The classes for the style codes that CDA defines; a sender's own ones have no meaning here."""
    known = dict.fromkeys(CLASSES[code] for code in style_code.lower().split() if code in CLASSES)
    return " ".join(known) or None


def cell_attribute(name: str, value: str) -> str | None:
    """The value of `colspan`, `rowspan` or `scope`."""
    value = value.strip()
    if name == "scope":
        return value if value in _SCOPES else None
    return value if _SPAN.fullmatch(value) else None


def xml_id(name: str) -> str | None:
    """An ID as documents we write may hold it."""
    return name if _NAME.fullmatch(name) else None
