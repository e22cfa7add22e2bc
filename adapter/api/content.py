"""Content negotiation: which form the asker wants, and which one a body has.

`_format` beats `Accept`. JSON is asked for as `application/fhir+json`, `application/json`, `text/json`,
`application/json+fhir`, `json`, any type, or nothing at all; XML under the same names with xml. `fhirVersion` must be
4.0 where it stands, `charset` UTF-8: a range with another is as if it were not there. Of what is left the greatest
weight wins; of equal weights a range that names its form, then the first. Bodies have the same names (415 otherwise).

Source: FHIR R4 §3.1.0.1.11 (content types and encodings), RFC 9110 §12.4.2 (weights), §12.5.1; fhir chapter §12.
"""

import re
from enum import Enum
from functools import lru_cache

from adapter.errors import NotAcceptable, UnsupportedMedia


class Form(Enum):
    """The two forms of a resource, by the media type that answers name."""

    JSON = "application/fhir+json"
    XML = "application/fhir+xml"

    @property
    def media_type(self) -> str:
        return f"{self.value}; charset=utf-8"


MEDIA_TYPE = Form.JSON.media_type
FORM_OF = {
    name.format(form.name.lower()): form
    for form in Form
    for name in ("application/fhir+{}", "application/{}", "text/{}", "application/{}+fhir", "{}")
}
JSON_PATCH = "application/json-patch+json"
PATCHES = (JSON_PATCH, "application/merge-patch+json", Form.JSON.value, "application/json")  # all but the first merge
WILD = frozenset({"*/*", "application/*", "*"})
MAX_HEADER_CHARS = 2048  # of an Accept header; bounds what we parse
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def negotiate(accept: str | None, asked_format: str | None) -> Form:
    """The form of the answer. Raises NotAcceptable where it is neither JSON nor XML."""
    if asked_format is not None:
        name, _, parameters = asked_format.partition(";")
        wanted = _range(f"{name.strip().replace(' ', '+')};{parameters}")  # a bare + in a query arrives as a blank
        found = FORM_OF.get(wanted[0]) if wanted is not None and wanted[1] > 0 else None
    else:
        found = _accepted(accept) if accept else Form.JSON
    if found is None:
        raise NotAcceptable("the answer can only be JSON or XML of FHIR 4.0 in UTF-8", code="format")
    return found


@lru_cache(maxsize=256)
def _accepted(accept: str) -> Form | None:
    """The form that a header likes best. What names a form speaks for it; only without that do wild cards."""
    if len(accept) > MAX_HEADER_CHARS:
        return None
    named: dict[Form, float] = {}
    wild: float | None = None
    for text in accept.split(","):
        if (read := _range(text)) is None:
            continue
        name, weight = read
        if name in FORM_OF:
            named[FORM_OF[name]] = max(weight, named.get(FORM_OF[name], 0.0))
        elif name in WILD:
            wild = max(weight, wild or 0.0)
    liked = named | ({form: wild for form in Form if form not in named} if wild else {})
    best = max(liked, key=lambda form: liked[form], default=None)  # the first of the greatest: those named come first
    return best if best is not None and liked[best] > 0 else None


def _range(text: str) -> tuple[str, float] | None:
    """A media range in lower case and its weight; None where it asks for another version or character set."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = 1.0
    for parameter in parameters:
        key, _, value = (part.strip() for part in parameter.partition("="))
        value = value.strip('"')
        if key == "q":
            weight = float(value) if _WEIGHT.fullmatch(value) else 0.0
        elif (key == "fhirversion" and value != "4.0") or (key == "charset" and value not in ("utf-8", "utf8")):
            return None
    return name, weight


@lru_cache(maxsize=64)
def body_form(content_type: str | None) -> Form:
    """The form of a body. Raises UnsupportedMedia unless it says that it is JSON or XML of R4 in UTF-8."""
    read = _range(content_type) if content_type and len(content_type) <= MAX_HEADER_CHARS else None
    if read is None or read[0] not in FORM_OF:
        raise UnsupportedMedia(f"a body must be {Form.JSON.value} or {Form.XML.value}", code="body-type")
    return FORM_OF[read[0]]


@lru_cache(maxsize=64)
def patch_type(content_type: str | None) -> str:
    """The media type of a patch, in lower case. Raises UnsupportedMedia unless it is one of `PATCHES`, in UTF-8."""
    read = _range(content_type) if content_type and len(content_type) <= MAX_HEADER_CHARS else None
    if read is None or read[0] not in PATCHES:
        raise UnsupportedMedia(f"a patch must be one of {', '.join(PATCHES)}", code="patch-type")
    return read[0]


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether an answer is to be gzip (RFC 9110 §12.5.3): no less liked than identity, by name or as any coding."""
    if not accept_encoding or len(accept_encoding) > MAX_HEADER_CHARS:
        return False
    weights = dict(read for text in accept_encoding.split(",") if (read := _range(text)) is not None)
    named = [weights[name] for name in ("gzip", "x-gzip") if name in weights]
    weight = max(named or [weights.get("*", 0.0)])
    return weight > 0 and weight >= weights.get("identity", 0.0)
