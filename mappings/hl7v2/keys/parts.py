"""What keys are made of: identifiers with their authority, codes with their system, a place in a message.

Values are compared, never read: escapes stay as written, nulls count as absent.

Source: design chapter HL7 v2 §6, the key table.
"""

from collections.abc import Callable
from typing import Any

from mappings.hl7v2.context import Context
from mappings.hl7v2.datatypes.identifiers import authority_in
from mappings.hl7v2.message import Segment, Separators
from mappings.rows.runtime import NULL, text

Key = tuple[str, ...]
KeyFunction = Callable[[Segment, Any], Key | None]

KEYS: dict[str, KeyFunction] = {}

_CACHED = 160  # characters of a code worth remembering: longer ones are text


def key(name: str) -> Callable[[KeyFunction], KeyFunction]:
    """Registers a key function under the name that wiring uses."""

    def register(function: KeyFunction) -> KeyFunction:
        KEYS[name] = function
        return function

    return register


def components(raw: str, ctx: Any) -> list[str]:
    """The components of the first repetition, nulls as absent, escapes as written: a key compares, it is not read."""
    if not raw or raw == NULL:
        return []
    found = raw.split(ctx.rep, 1)[0] if ctx.rep in raw else raw
    if not found.isprintable():  # some keys become identifiers, and no FHIR string holds control characters
        found = "".join(letter for letter in found if letter >= " ")
    return ["" if each == NULL else each.strip() for each in found.split(ctx.comp)]


def entity(raw: str, ctx: Any) -> Key | None:
    """EI: (authority, number); the feed where the number names no authority."""
    parts = components(raw, ctx)
    if not parts or not parts[0]:
        return None
    if len(parts) == 1:
        return (ctx.feed, parts[0])
    return (authority_in(ctx.comp.join(parts[1:4]), ctx.comp, ctx) or ctx.feed, parts[0])


def identifier(raw: str, ctx: Any) -> Key | None:
    """CX: (assigning authority, number); the feed where it names none."""
    return number_of(components(raw, ctx), ctx)


def number_of(parts: list[str], ctx: Any) -> Key | None:
    """The same of a CX that is split already."""
    if not parts or not parts[0]:
        return None
    if len(parts) < 4 or not parts[3]:
        return (ctx.feed, parts[0])
    return (authority_in(parts[3], ctx.sub, ctx) or ctx.feed, parts[0])


def code(raw: str, ctx: Any) -> Key | None:
    """CWE: (coding system as sent, code), else ("", text): two systems' equal codes are two things."""
    if not raw:
        return None
    known: Key | None = ctx.cache.get(("code", raw))
    if known is None:
        known = _code(components(raw, ctx))
        if known is not None and len(raw) <= _CACHED:
            ctx.cache["code", raw] = known
    return known


def _code(parts: list[str]) -> Key | None:
    if not parts:
        return None
    if parts[0]:
        return (parts[2] if len(parts) > 2 else "", parts[0])
    found = (parts[1] if len(parts) > 1 else "") or (parts[8] if len(parts) > 8 else "")
    return ("", found.casefold()) if found else None


def position(segment: Segment, ctx: Any) -> Key:
    """The last resort: where in which message it stands."""
    ctx.issue("no-identity")
    return ("message", ctx.feed, ctx.digest.hex(), str(segment.ordinal))


def patient_id(ctx: Any) -> str:
    """The id of the patient a segment is about, "" where the message names none."""
    found = ctx.made_near("Patient")
    return found.id if found is not None else ""


def encounter_id(ctx: Any) -> str:
    found = ctx.made_near("Encounter")
    return found.id if found is not None else ""


class Scan(Context):
    """As much of a context as choosing an identity asks for: at receipt no more is read than PID and MRG. What needs a
    message is not set."""

    __slots__ = ("feed",)

    def __init__(self, sep: Separators, profile: Any) -> None:
        self.comp, self.rep, self.esc, self.sub, self.trunc = sep.comp, sep.rep, sep.esc, sep.sub, sep.trunc
        self.profile = profile
        self.feed: str = profile.namespace
        self.cache = profile.cache_of(sep, "scan")
        self.issues = []

    def issue(self, code: str, comp: int = 0, sub: int = 0, detail: str = "") -> None:
        """A scan reports nothing: the conversion will."""


def words(raw: str, ctx: Any) -> Key | None:
    found = text(raw, ctx.rep, ctx.comp)
    return ("", found.casefold()) if found else None
