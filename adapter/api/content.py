"""Content negotiation: which form the asker wants, and whether we have it.

`_format` beats `Accept`. JSON is asked for as `application/fhir+json`, `application/json`, `text/json`,
`application/json+fhir`, `json`, any type, or nothing at all; `fhirVersion` must be 4.0 where it stands, `charset`
UTF-8. XML is known and not served yet: 406. Bodies that come in are JSON under the same names (415 otherwise).

Source: FHIR R4 §3.1.0.1.11 (content types and encodings), RFC 9110 §12.5.1; fhir chapter §12.
"""

from functools import lru_cache

from adapter.errors import NotAcceptable, UnsupportedMedia

FHIR_JSON = "application/fhir+json"
MEDIA_TYPE = f"{FHIR_JSON}; charset=utf-8"
JSON_NAMES = frozenset({FHIR_JSON, "application/json", "text/json", "application/json+fhir", "json"})
WILD = frozenset({"*/*", "application/*", "*"})
MAX_HEADER_CHARS = 2048  # of an Accept header; bounds what we parse


def negotiate(accept: str | None, asked_format: str | None) -> None:
    """Raises NotAcceptable unless the answer may be FHIR JSON, the one form there is."""
    if asked_format is not None:
        wanted = asked_format.replace(" ", "+")  # a bare + in a query string arrives as a blank
        if _media_type(wanted) is None:
            raise _not_acceptable()
    elif accept and not _accepts_json(accept):
        raise _not_acceptable()


@lru_cache(maxsize=256)
def _accepts_json(accept: str) -> bool:
    if len(accept) > MAX_HEADER_CHARS:
        return False
    return any(_media_type(part, wild=True) is not None for part in accept.split(",") if part.strip())


def _media_type(text: str, *, wild: bool = False) -> str | None:
    """The media type of one range when it is JSON of R4 in UTF-8 and its weight is not 0."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    if name not in JSON_NAMES and not (wild and name in WILD):
        return None
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        value = value.strip().strip('"')
        if key == "fhirversion" and value != "4.0":
            return None
        if key == "charset" and value not in ("utf-8", "utf8"):
            return None
        if key == "q" and value.strip("0.") == "":
            return None
    return name


@lru_cache(maxsize=64)
def check_json_body(content_type: str | None) -> None:
    """Raises UnsupportedMedia unless the body says that it is JSON of R4."""
    if not content_type or len(content_type) > MAX_HEADER_CHARS or _media_type(content_type) is None:
        raise UnsupportedMedia(f"a body must be {FHIR_JSON}", code="body-type")


def _not_acceptable() -> NotAcceptable:
    return NotAcceptable(f"the answer can only be {FHIR_JSON} of FHIR 4.0", code="format")
