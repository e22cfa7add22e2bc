"""What identifies referrals, the providers they name, and authorizations.

Source: design chapter HL7 v2 §6, the key table; where nothing identifies a provider, its place in the message does: no
two people ever become one by their names.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.keys.parts import Key, entity, key, position
from mappings.hl7v2.message import Segment


def here(segment: Segment, ctx: Assembly) -> Key:
    """The segment's place, unreported: a name in a letter has no number more often than not."""
    return ("message", ctx.feed, ctx.digest.hex(), str(segment.ordinal))


@key("referral")
def referral(segment: Segment, ctx: Assembly) -> Key:
    """RF1-6, the number of who refers; else RF1-11."""
    for field in (6, 11):
        if (number := entity(segment.field(field), ctx)) is not None:
            return ("RF1", *number)
    return position(segment, ctx)


@key("provider")
def provider(segment: Segment, ctx: Assembly) -> Key:
    """PRD-7: a license, with its kind and place."""
    return _numbered(segment, 7, "PLN[Identifier]", ctx) or here(segment, ctx)


@key("provider_organization")
def provider_organization(segment: Segment, ctx: Assembly) -> Key:
    """PRD-10, as every XON is identified."""
    return _numbered(segment, 10, "XON[Identifier]", ctx) or here(segment, ctx)


@key("provider_role")
def provider_role(segment: Segment, ctx: Assembly) -> Key:
    """A role in this referral; the person and the organization are known beyond it."""
    return ("PRD", *here(segment, ctx))


@key("authorization")
def authorization(segment: Segment, ctx: Assembly) -> Key:
    """AUT-6."""
    number = entity(segment.field(6), ctx)
    return ("AUT", *number) if number is not None else here(segment, ctx)


def _numbered(segment: Segment, field: int, kind: str, ctx: Assembly) -> Key | None:
    """The first number of a field, by the identifier that its rows make of it."""
    ctx.seg, ctx.field = segment, field
    for raw in segment.reps(field):
        if (found := FUNCTIONS[kind].call(raw, ctx, None)) is not None:
            return (found["system"], found["value"])
    return None
