"""The message's own resources: MessageHeader (in bundles only) and one Provenance for all that it stated.

Source: design chapter HL7 v2 §4 (MSH row of the segment table), §6; FHIR R4 Provenance.
"""

from typing import Any

from mappings.fhir.values import CANONICAL, absent
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes.text import st_string
from mappings.hl7v2.rules import after, finish, resolver

MESSAGE_DIGEST = f"{CANONICAL}:message-digest"  # identifier system: SHA-256 of the raw message


@resolver("received")
def received(ctx: Any) -> Any:
    """The time of receipt, the last resort for an instant; an absent reason where no one told."""
    return ctx.at


@finish("message_header")
def message_header(ctx: Assembly, builder: Builder) -> None:
    """What the message is about, and by which software; an event that it does not name is absent, not guessed."""
    _software(ctx, builder)
    for destination in builder.body.get("destination", ()):
        if "endpoint" not in destination:  # a receiver who has no address
            destination.setdefault("_endpoint", absent("unknown"))
    if "eventCoding" not in builder.body:
        builder.body["eventCoding"] = absent("unknown")
    patients = [{"reference": other.ref} for other in ctx.made if other.type == "Patient" and other.into is None]
    if patients:
        builder.body["focus"] = patients


def _software(ctx: Assembly, builder: Builder) -> None:
    """Version and name of the first software that handled the message (the guide's SFT[MessageHeader])."""
    segment = ctx.message.first("SFT")
    if segment is None:
        return
    ctx.seg = segment
    source = builder.body.setdefault("source", {})
    for number, name in ((2, "version"), (3, "software")):
        if (text := st_string(segment.field(number), ctx)) is not None:
            source[name] = text
            if ctx.trace is not None:
                ctx.trace.rule("message_header", builder.ref, f"source.{name}", segment.place(number))


@after("provenance")
def provenance(ctx: Assembly) -> None:
    """One Provenance a message: everything it stated, who answers for it, which bytes it came from."""
    for builder in ctx.made:
        if builder.type == "Provenance" and builder.make is not None:
            break
    else:
        return
    body = builder.body
    stored = [other for other in ctx.made if other.mode != "event" and other.type != "Provenance"]
    stated = [other for other in stored if other.mode != "stub"] or stored  # stubs change nothing that is known
    targets = [{"reference": other.ref} for other in stated]
    if not targets:
        ctx.made.remove(builder)
        del ctx.by_ref[builder.ref]
        return
    body["target"] = targets
    if "agent" not in body:
        body["agent"] = [{"who": absent("unknown")}]
    if "recorded" not in body:
        body["_recorded"] = absent("unknown")
    digest = {"system": MESSAGE_DIGEST, "value": ctx.shared["digest"]}
    body["entity"] = [{"role": "source", "what": {"identifier": digest}}]
    if ctx.trace is not None:
        for path in ("target", "agent", "entity"):
            ctx.trace.rule("provenance", builder.ref, path)
