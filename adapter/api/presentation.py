"""An answer in the form that was asked for: JSON as it is stored, indented, or XML; and gzip where it is taken.

Interactions answer in canonical JSON, which is what the gate released and the log recorded; another form of it is made
here, for this one answer, and kept nowhere. Large ones are made beside the event loop.

Source: FHIR R4 §3.1.0.1.11, §3.1.0.1.12 (`_pretty`); RFC 9110 §12.5.5 (Vary); fhir chapter §2, §12.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import msgspec

from adapter.api.content import Form, negotiate, takes_gzip
from adapter.api.encoding import BESIDE_BYTES, MIN_ANSWER_BYTES, packed
from adapter.errors import NotAcceptable
from mappings.fhir.codec import decode
from mappings.fhir.xml import to_xml

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Presentation:
    """How one answer is to look. `parameters` asked for it, as a link to another page repeats them."""

    form: Form = Form.JSON
    pretty: bool = False
    gzip: bool = False
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Presented:
    """A body as it is sent. `varies`: another asker could get it with another coding."""

    body: bytes
    media_type: str
    gzip: bool
    varies: bool


PLAIN = Presentation()
PARAMETERS = ("_format", "_pretty")


def asked(headers: Mapping[bytes, bytes], pairs: Pairs) -> Presentation:
    """What headers and parameters ask for; of a parameter that stands twice the last. Raises NotAcceptable."""
    values = dict(pairs)
    form = negotiate(_text(headers, b"accept"), values.get("_format"))
    gzip = takes_gzip(_text(headers, b"accept-encoding"))
    parameters = urlencode([(name, values[name]) for name in PARAMETERS if name in values])
    return Presentation(form, values.get("_pretty") == "true", gzip, parameters)


def asked_of_framework(headers: Mapping[bytes, bytes], query: bytes) -> Presentation:
    """The same for a refusal that no interaction of ours makes: what cannot be understood asks for nothing."""
    try:
        return asked(headers, parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    except NotAcceptable:
        return PLAIN


async def presented(body: bytes, wish: Presentation) -> Presented:
    """FHIR JSON as it was asked for. Raises Unwritable for what XML cannot hold."""
    if wish.pretty or wish.form is Form.XML:
        body = _made(body, wish) if len(body) < BESIDE_BYTES else await asyncio.to_thread(_made, body, wish)
    varies = len(body) > MIN_ANSWER_BYTES
    gzip = wish.gzip and varies
    return Presented(await packed(body) if gzip else body, wish.form.media_type, gzip, varies)


def _made(body: bytes, wish: Presentation) -> bytes:
    if wish.form is Form.XML:
        return to_xml(decode(body), pretty=wish.pretty)
    return msgspec.json.format(body, indent=2)


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
