"""What identifies each resource: the first complete key, always with its authority or the feed.

Each function reads its fields from the segment that makes the resource, or from one near it, and returns key fields for
`identity.py`; None means that the segment makes no such resource. Where nothing identifies a thing its place in the
message does: feed, digest of the message (MSH-7 blanked) and segment ordinal, never MSH-10, for real senders restart
their counters.

Source: design chapter HL7 v2 §6, the key table.
"""

from collections.abc import Callable
from typing import Any

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.datatypes.identifiers import authority_in
from mappings.hl7v2.lines import goes_on
from mappings.hl7v2.message import Segment, Separators
from mappings.rows.runtime import NULL, part, text

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


# parts of keys -------------------------------------------------------------------------------------------------------


def components(raw: str, ctx: Any) -> list[str]:
    """The components of the first repetition, nulls as absent, escapes as written: a key compares, it is not read."""
    if not raw or raw == NULL:
        return []
    found = raw.split(ctx.rep, 1)[0] if ctx.rep in raw else raw
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
    words = (parts[1] if len(parts) > 1 else "") or (parts[8] if len(parts) > 8 else "")
    return ("", words.casefold()) if words else None


def position(segment: Segment, ctx: Any) -> Key:
    """The last resort: where in which message it stands."""
    ctx.issue("no-identity")
    return ("message", ctx.feed, ctx.digest.hex(), str(segment.ordinal))


def _patient(ctx: Any) -> str:
    """The id of the patient a segment is about, "" where the message names none."""
    found = ctx.made_near("Patient")
    return found.id if found is not None else ""


def _encounter(ctx: Any) -> str:
    found = ctx.made_near("Encounter")
    return found.id if found is not None else ""


class Scan:
    """As much of a context as choosing an identity asks for: at receipt no more is read than PID and MRG."""

    __slots__ = ("cache", "comp", "esc", "feed", "field", "issues", "profile", "rep", "row", "seg", "sub", "trunc")

    def __init__(self, sep: Separators, profile: Any) -> None:
        self.comp, self.rep, self.esc, self.sub, self.trunc = sep.comp, sep.rep, sep.esc, sep.sub, sep.trunc
        self.profile = profile
        self.feed: str = profile.namespace
        self.cache = profile.cache_of(sep, "scan")
        self.issues: list[Any] = []

    def issue(self, code: str, comp: int = 0, sub: int = 0, detail: str = "") -> None:
        """A scan reports nothing: the conversion will."""


# the message itself ---------------------------------------------------------------------------------------------------


@key("message")
def message_key(segment: Segment, ctx: Assembly) -> Key:
    """MessageHeader, Provenance: the message by its digest."""
    return ("message", ctx.feed, ctx.digest.hex())


@key("software")
def software(segment: Segment, ctx: Assembly) -> Key | None:
    """Device of SFT: vendor, product, version and build."""
    facts = tuple(text(segment.field(number), ctx.rep, ctx.comp) for number in (1, 3, 2, 4))
    return (ctx.feed, *facts) if any(facts) else None


# persons --------------------------------------------------------------------------------------------------------------


@key("patient")
def patient(segment: Segment, ctx: Assembly) -> Key:
    """The PID-3 that the profile chose, else PID-2, else the place of this PID."""
    return known_patient(segment, ctx) or position(segment, ctx)


def known_patient(segment: Segment, ctx: Assembly) -> Key | None:
    """The same where a number identifies the patient."""
    return choose_identity(segment.reps(3), ctx) or identifier(segment.field(2), ctx)


def choose_identity(repetitions: list[str], ctx: Any) -> Key | None:
    """By `patient.identity`, each wish in turn: `MR@HOSP`, `PI`; by default the first MR or PI with an authority, then
    the first that is valued."""
    found = [parts for raw in repetitions if (parts := components(raw, ctx)) and parts[0]]
    if not found:
        return None
    for wish in ctx.profile.identity:
        kind, _, where = wish.partition("@")
        for parts in found:
            if _is_kind(parts, kind) and (not where or _names(parts, where, ctx)):
                return number_of(parts, ctx)
    if not ctx.profile.identity:
        for parts in found:
            if len(parts) > 4 and parts[4] in ("MR", "PI") and parts[3]:
                return number_of(parts, ctx)
    return number_of(found[0], ctx)


def _is_kind(parts: list[str], kind: str) -> bool:
    return len(parts) > 4 and parts[4] == kind


def _names(parts: list[str], where: str, ctx: Any) -> bool:
    hd = parts[3].split(ctx.sub) if len(parts) > 3 else []
    return where in hd[:2] or (number_of(parts, ctx) or ("",))[0] == where


@key("mother")
def mother(segment: Segment, ctx: Assembly) -> Key:
    """RelatedPerson of PID-21: the patient and the mother's number."""
    return ("mother", _patient(ctx), *(identifier(segment.field(21), ctx) or ()))


@key("next_of_kin")
def next_of_kin(segment: Segment, ctx: Assembly) -> Key | None:
    """RelatedPerson: patient and NK1-33, else patient, name and relationship."""
    if (number := identifier(segment.field(33), ctx)) is not None:
        return ("NK1", _patient(ctx), *number)
    name = "^".join(components(segment.field(2), ctx)[:3]).casefold()
    organization = "^".join(components(segment.field(13), ctx)[:1]).casefold()
    if not name and not organization:
        return None if segment.field(2) == NULL else ("NK1", _patient(ctx), *position(segment, ctx))
    return ("NK1", _patient(ctx), name or organization, *(code(segment.field(3), ctx) or ("", "")))


# stays and accounts ---------------------------------------------------------------------------------------------------


@key("encounter")
def encounter(segment: Segment, ctx: Assembly) -> Key | None:
    """PV1-19 · PV1-50 · PID-18 (policy) · patient and PV1-44."""
    if not _says_something(segment):
        return None
    if (number := identifier(segment.field(19), ctx) or identifier(segment.field(50), ctx)) is not None:
        return number
    pid = ctx.near("PID")
    if ctx.profile.policy["visit"] == "account" and pid is not None:
        if (number := identifier(pid.field(18), ctx)) is not None:
            return ("account", *number)
    if start := text(segment.field(44), ctx.rep, ctx.comp):
        return ("stay", _patient(ctx), start)
    return ("stay", _patient(ctx), *position(segment, ctx))


def _says_something(segment: Segment) -> bool:
    """PV1 with nothing beyond PV1-2, or of class N, is a stay of nobody: usual in A28 and A31."""
    fields = segment.fields
    if len(fields) < 4 or fields[2].strip().startswith("N"):
        return False
    for field in fields[3:]:
        if field and field != NULL:
            return True
    return False


@key("account")
def account(segment: Segment, ctx: Assembly) -> Key | None:
    """Account: PID-18."""
    return identifier(segment.field(18), ctx)


@key("guarantor")
def guarantor(segment: Segment, ctx: Assembly) -> Key | None:
    """RelatedPerson of GT1: its number, else patient and name."""
    if (number := identifier(segment.field(2), ctx)) is not None:
        return ("GT1", *number)
    name = "^".join(components(segment.field(3), ctx)[:3]).casefold()
    return ("GT1", _patient(ctx), name) if name else None


@key("subscriber")
def subscriber(segment: Segment, ctx: Assembly) -> Key:
    """RelatedPerson of IN1-16: patient, name and relationship, as a relative of NK1 is found."""
    name = "^".join(components(segment.field(16), ctx)[:3]).casefold()
    return ("NK1", _patient(ctx), name, *(code(segment.field(17), ctx) or ("", "")))


@key("coverage")
def coverage(segment: Segment, ctx: Assembly) -> Key:
    """patient + IN1-2 + IN1-3 + (IN1-36 · IN1-49 · IN1-1)."""
    plan = code(segment.field(2), ctx) or ("", "")
    company = identifier(segment.field(3), ctx) or ("", "")
    policy = (
        text(segment.field(36), ctx.rep, ctx.comp)
        or part(segment.field(49), ctx.rep, ctx.comp, 1, 1)
        or "#" + segment.field(1)
    )
    return (_patient(ctx), *plan, *company, policy)


# orders and results ---------------------------------------------------------------------------------------------------


def _order_number(obr: Segment, ctx: Any, obr_field: int, orc_field: int) -> Key | None:
    """OBR-2 or -3, else the same of the ORC before it."""
    if (found := entity(obr.field(obr_field), ctx)) is not None:
        return found
    orc = ctx.near("ORC") if obr.name != "ORC" else None
    return entity(orc.field(orc_field), ctx) if orc is not None else None


@key("service_request")
def service_request(segment: Segment, ctx: Assembly) -> Key | None:
    """ORC-2/OBR-2 + OBR-4 code · ORC-3/OBR-3 + OBR-4 code; ORC-1 = RO: ORC-3, else ORC-2 and the message's digest."""
    placer, filler = _order_number(segment, ctx, 2, 2), _order_number(segment, ctx, 3, 3)
    service = code(segment.field(4), ctx) or ("", "")
    orc = ctx.near("ORC")
    if orc is not None and orc.field(1).strip() == "RO":
        if filler is not None:
            return ("filler", *filler, *service)
        if placer is not None:
            return ("replacement", *placer, *service, ctx.digest.hex())
    if placer is not None:
        return ("placer", *placer, *service)
    return ("filler", *filler, *service) if filler is not None else None


@key("report")
def report(segment: Segment, ctx: Assembly) -> Key:
    """OBR-3/ORC-3 + OBR-4 code · OBR-2/ORC-2 + OBR-4 code."""
    service = code(segment.field(4), ctx) or ("", "")
    if (filler := _order_number(segment, ctx, 3, 3)) is not None:
        return ("filler", *filler, *service)
    if (placer := _order_number(segment, ctx, 2, 2)) is not None:
        return ("placer", *placer, *service)
    return position(segment, ctx)


@key("observation")
def observation(segment: Segment, ctx: Assembly) -> Key | None:
    """Report + OBX-3 + OBX-4, joined by OBX-21; without a report: patient + PV1-19 + OBX-3 + OBX-4 + OBX-14.

    OBX-21 never stands alone: real feeds repeat it. Equal lines are told apart by their order; a line that goes on with
    the one before makes nothing of its own.
    """
    if goes_on(segment, ctx):
        return None
    fields = segment.fields
    length = len(fields)
    what = (code(fields[3], ctx) if length > 3 else None) or ("", "")
    sub = fields[4].strip() if length > 4 else ""
    instance = (entity(fields[21], ctx) or ()) if length > 21 else ()
    parent = ctx.made_near("DiagnosticReport")
    if parent is not None:
        found: Key = ("report", parent.id, *what, sub, *instance)
    else:
        found = ("loose", _patient(ctx), _encounter(ctx), *what, sub, segment.field(14).strip(), *instance)
    count = ctx.seen_keys.get(found, 0)
    ctx.seen_keys[found] = count + 1
    if count == 0:
        return found
    ctx.issue("identity-by-position")
    return (*found, f"#{count + 1}")


@key("specimen")
def specimen(segment: Segment, ctx: Assembly) -> Key:
    """SPM-2 with a universal id, else patient + SPM-2."""
    pair = segment.field(2).split(ctx.rep, 1)[0]
    for number in reversed(pair.split(ctx.comp)):  # the filler's number counts more than the placer's
        parts = number.split(ctx.sub)
        if parts[0].strip() and parts[0] != NULL:
            source = authority_in(ctx.sub.join(parts[1:4]), ctx.sub, ctx) or ctx.feed
            universal = len(parts) > 2 and bool(parts[2])
            return (source, parts[0].strip()) if universal else (_patient(ctx), source, parts[0].strip())
    if (parent := ctx.made_near("DiagnosticReport")) is not None:
        return ("of", *parent.key, text(segment.field(4), ctx.rep, ctx.comp), segment.field(1).strip())
    return position(segment, ctx)


@key("report_specimen")
def report_specimen(segment: Segment, ctx: Assembly) -> Key | None:
    """Specimen of OBR-15, below version 2.5: it belongs to its report."""
    return ("OBR-15", *parent.key) if (parent := ctx.made_near("DiagnosticReport")) is not None else None


# clinical statements --------------------------------------------------------------------------------------------------


@key("allergy")
def allergy(segment: Segment, ctx: Assembly) -> Key | None:
    """IAM-7; else patient + code or text, the same in AL1 and IAM: IAM wins for one code."""
    if segment.name == "IAM" and (number := entity(segment.field(7), ctx)) is not None:
        return ("allergy", *number)
    substance = code(segment.field(3), ctx)
    if substance is None:
        return None if segment.field(3) == NULL else position(segment, ctx)
    return ("allergy", _patient(ctx), *substance)


@key("condition")
def condition(segment: Segment, ctx: Assembly) -> Key | None:
    """DG1-20; else patient + encounter + code or text + date."""
    if (number := entity(segment.field(20), ctx)) is not None:
        return ("DG1", *number)
    what = code(segment.field(3), ctx) or _words(segment.field(4), ctx)
    if what is None:
        return None if NULL in (segment.field(3), segment.field(4)) else position(segment, ctx)
    return ("DG1", _patient(ctx), _encounter(ctx), *what, text(segment.field(5), ctx.rep, ctx.comp))


@key("procedure")
def procedure(segment: Segment, ctx: Assembly) -> Key | None:
    """PR1-19; else patient + encounter + code or text + date."""
    if (number := entity(segment.field(19), ctx)) is not None:
        return ("PR1", *number)
    what = code(segment.field(3), ctx) or _words(segment.field(4), ctx)
    if what is None:
        return None if NULL in (segment.field(3), segment.field(4)) else position(segment, ctx)
    return ("PR1", _patient(ctx), _encounter(ctx), *what, text(segment.field(5), ctx.rep, ctx.comp))


def _words(raw: str, ctx: Any) -> Key | None:
    words = text(raw, ctx.rep, ctx.comp)
    return ("", words.casefold()) if words else None
